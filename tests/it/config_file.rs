//! `--config`: options in a file, with their precedence and their errors.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    generated::check_generated_file,
    process::{command, run_cli},
};

/// A configuration file in a folder of its own.
struct ConfigFile {
    folder: TempDir,
    path: PathBuf,
}

impl ConfigFile {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portkey-mcp.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        Self { folder, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Runs the binary with this file from another folder.
    fn run(&self, args: &[&str], variables: &[(&str, &str)]) -> Output {
        let elsewhere = tempfile::tempdir().unwrap();
        command(&[args, &["--config", self.path()]].concat())
            .env_remove("PORTKEY_MCP_NO_JOURNAL")
            .envs(variables.iter().copied())
            .current_dir(elsewhere.path())
            .output()
            .unwrap()
    }

    /// Returns value and source of an option of a command.
    #[track_caller]
    fn show(
        &self,
        command: &str,
        args: &[&str],
        variables: &[(&str, &str)],
        option: &str,
    ) -> Value {
        let args = [&["config", "show", command, "--json"], args].concat();
        let output = self.run(&args, variables);
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}{errors}");
        let report: Value = serde_json::from_str(&text).unwrap();
        let options = report["options"].as_array().unwrap();
        let found = options.iter().find(|shown| shown["option"] == option);
        found.cloned().unwrap_or(Value::Null)
    }
}

/// Runs the binary, and returns its success with both outputs.
fn outcome(output: &Output) -> (bool, String) {
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text.into_owned())
}

#[test]
fn value_comes_from_flag_then_variable_then_file_then_default() {
    let file = ConfigFile::new("retries = 5\n");
    struct Case {
        args: &'static [&'static str],
        variables: &'static [(&'static str, &'static str)],
        value: &'static str,
        kind: &'static str,
    }
    let cases = [
        Case {
            args: &["--retries", "7"],
            variables: &[("PORTKEY_MCP_RETRIES", "6")],
            value: "7",
            kind: "command_line",
        },
        Case {
            args: &[],
            variables: &[("PORTKEY_MCP_RETRIES", "6")],
            value: "6",
            kind: "variable",
        },
        Case {
            args: &[],
            variables: &[("PORTKEY_MCP_RETRIES", "")],
            value: "5",
            kind: "file",
        },
    ];
    for Case {
        args,
        variables,
        value,
        kind,
    } in cases
    {
        let shown = file.show("stdio", args, variables, "--retries");
        assert_eq!(shown["values"], json!([value]), "{shown}");
        assert_eq!(shown["source"]["kind"], kind, "{shown}");
    }
    let shown = file.show("stdio", &[], &[], "--timeout");
    assert_eq!(shown["values"], json!(["30"]));
    assert_eq!(shown["source"]["kind"], "default");
    let shown = file.show("http", &[], &[], "--retries");
    assert_eq!(shown["source"]["line"], 1, "{shown}");
}

#[test]
fn options_of_the_file_take_effect() {
    let file = ConfigFile::new(
        "sandbox = true\nread-only = true\ntoolsets = [\"labels\", \"prompts\"]\ntimeout = \"90s\"\n\
         sandbox-now = 2026-05-31T12:00:00Z\n",
    );
    let (ok, text) = outcome(&file.run(&["call", "list-labels"], &[]));
    assert!(ok, "{text}");
    let (ok, text) = outcome(&file.run(&["call", "create-label", "name=a"], &[]));
    assert!(!ok && text.contains("--read-only"), "{text}");
    let (ok, text) = outcome(&file.run(&["tools"], &[]));
    assert!(
        ok && text.contains("list-labels") && !text.contains("list-all-configs"),
        "{text}"
    );
    // The command line replaces a list as a whole.
    let (ok, text) = outcome(&file.run(&["tools", "--toolsets", "configs"], &[]));
    assert!(
        ok && text.contains("list-all-configs") && !text.contains("list-labels"),
        "{text}"
    );
    // A variable turns off what the file turns on.
    let off = [("PORTKEY_MCP_READ_ONLY", "false")];
    let (ok, text) = outcome(&file.run(&["call", "create-label", "name=a"], &off));
    assert!(ok, "{text}");
}

#[test]
fn file_is_named_by_a_variable_as_well() {
    let file = ConfigFile::new("sandbox = true\n");
    let named = [("PORTKEY_MCP_CONFIG", file.path())];
    let output = command(&["call", "list-labels"])
        .envs(named)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = command(&["call", "list-labels"])
        .env("PORTKEY_MCP_CONFIG", "")
        .output()
        .unwrap();
    assert!(!output.status.success(), "an empty variable names no file");
}

#[test]
fn relative_paths_begin_at_the_folder_of_the_file() {
    let file = ConfigFile::new("sandbox = true\naudit-log = \"logs/audit.jsonl\"\n");
    fs::create_dir(file.folder.path().join("logs")).unwrap();
    let (ok, text) = outcome(&file.run(&["call", "list-labels"], &[]));
    assert!(ok, "{text}");
    assert!(file.folder.path().join("logs/audit.jsonl").is_file());
    let shown = file.show("stdio", &[], &[], "--audit-log");
    let expected = file.folder.path().join("logs/audit.jsonl");
    assert_eq!(shown["values"], json!([expected.to_str().unwrap()]));
    // Standard error is no file.
    let file = ConfigFile::new("audit-log = \"-\"\n");
    assert_eq!(
        file.show("stdio", &[], &[], "--audit-log")["values"],
        json!(["-"])
    );
}

#[test]
fn invalid_file_is_rejected_with_its_line() {
    struct Case {
        text: &'static str,
        parts: &'static [&'static str],
    }
    let cases = [
        Case {
            text: "sandbox = true\n\nread-onyl = true\n",
            parts: &[
                "portkey-mcp.toml:3:",
                "`read-onyl`",
                "did you mean `read-only`?",
            ],
        },
        Case {
            text: "read_only = true",
            parts: &[":1:", "did you mean `read-only`?"],
        },
        Case {
            text: "xyzzy = true",
            parts: &[":1:", "there is no option `xyzzy`", "config example"],
        },
        Case {
            text: "# a comment\ntimeout = ",
            parts: &["portkey-mcp.toml:2:", "not valid TOML"],
        },
        Case {
            text: "sandbox = true\nsandbox = false",
            parts: &["portkey-mcp.toml:2:", "not valid TOML"],
        },
        Case {
            text: "sandbox = \"yes\"",
            parts: &[
                ":1:",
                "`sandbox` takes true or false, and the file has a text",
            ],
        },
        Case {
            text: "timeout = true",
            parts: &[
                ":1:",
                "`timeout` takes a text or a number, and the file has true or false",
            ],
        },
        Case {
            text: "timeout = [1]",
            parts: &[
                ":1:",
                "`timeout` takes a text or a number, and the file has a list",
            ],
        },
        Case {
            text: "toolsets = [true]",
            parts: &[":1:", "`toolsets` takes a list of texts"],
        },
        Case {
            text: "toolsets = [\"a,b\"]",
            parts: &[":1:", "`toolsets` has a `,` in it"],
        },
        Case {
            text: "\n\ntimeout = \"soon\"",
            parts: &[
                "portkey-mcp.toml:3:",
                "invalid value 'soon'",
                "number of seconds",
            ],
        },
        Case {
            text: "audit-sync = \"often\"",
            parts: &["portkey-mcp.toml:1:", "'often'", "interval"],
        },
        Case {
            text: "gateway-url = \"\"",
            parts: &[":1:", "`gateway-url` is empty"],
        },
        Case {
            text: "policy = \"~/policy.yaml\"",
            parts: &[":1:", "`policy` begins with `~`"],
        },
        Case {
            text: "config = \"other.toml\"",
            parts: &[":1:", "`config` can only be given on the command line"],
        },
        Case {
            text: "url = \"http://127.0.0.1\"",
            parts: &[":1:", "`url` can only be given on the command line"],
        },
        Case {
            text: "[commands.htp]\n",
            parts: &[":1:", "there is no command `htp`", "did you mean `http`?"],
        },
        Case {
            text: "[http]\nlisten = \"127.0.0.1:0\"\n",
            parts: &[":1:", "there is no option `http`"],
        },
    ];
    for Case { text, parts } in cases {
        let file = ConfigFile::new(text);
        let (ok, shown) = outcome(&file.run(&["tools"], &[]));
        let (ok, shown) = match ok {
            // The command does not use the option, so that its value is not looked at.
            true => outcome(&file.run(&["config", "show"], &[])),
            false => (ok, shown),
        };
        assert!(!ok, "{text}: {shown}");
        for part in parts {
            assert!(shown.contains(part), "{text}: no `{part}` in {shown}");
        }
    }
}

#[test]
fn unreadable_file_is_rejected_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("utf16"), b"\xff\xfes\0a\0").unwrap();
    fs::write(path("open"), "sandbox = true\n").unwrap();
    fs::set_permissions(path("open"), fs::Permissions::from_mode(0o666)).unwrap();
    for (name, reason) in [
        ("missing", "No such file"),
        ("utf16", "UTF-16"),
        ("open", "everybody may write it"),
        ("", "a folder"),
    ] {
        let named = path(name);
        let (ok, _, text) = run_cli(&["tools", "--config", named.to_str().unwrap()]);
        assert!(!ok && text.contains(reason), "{name}: {text}");
        assert!(
            text.contains("cannot read the configuration file"),
            "{text}"
        );
    }
    // A byte order mark is only skipped.
    fs::write(path("bom"), "\u{feff}sandbox = true\n").unwrap();
    let (ok, _, text) = run_cli(&[
        "call",
        "list-labels",
        "--config",
        path("bom").to_str().unwrap(),
    ]);
    assert!(ok, "{text}");
}

#[test]
fn secret_stands_only_in_a_file_that_nobody_else_can_read() {
    const KEY: &str = "sandbox-workspace-ws-research";
    let file = ConfigFile::new(&format!("sandbox = true\napi-key = \"{KEY}\"\n"));
    let (ok, text) = outcome(&file.run(&["call", "whoami"], &[]));
    assert!(ok, "{text}");
    let shown = file.show("stdio", &[], &[], "--api-key");
    assert_eq!(shown["values"], json!(["***"]));
    assert_eq!(shown["is_secret"], true);
    let (_, text) = outcome(&file.run(&["config", "show"], &[]));
    assert!(text.contains("--api-key = ***"), "{text}");
    assert!(!text.contains(KEY), "{text}");
    for mode in [0o640, 0o604, 0o644] {
        fs::set_permissions(&file.path, fs::Permissions::from_mode(mode)).unwrap();
        let (ok, text) = outcome(&file.run(&["call", "whoami"], &[]));
        assert!(!ok && !text.contains(KEY), "{mode:o}: {text}");
        for part in [
            "portkey-mcp.toml:2:",
            "`api-key` is a secret",
            "chmod 600",
            "`api-key-file`",
        ] {
            assert!(text.contains(part), "{mode:o}: no `{part}` in {text}");
        }
    }
    // Without a secret, others may read the file.
    let file = ConfigFile::new("sandbox = true\n");
    fs::set_permissions(&file.path, fs::Permissions::from_mode(0o644)).unwrap();
    let (ok, text) = outcome(&file.run(&["call", "whoami"], &[]));
    assert!(ok, "{text}");
}

#[test]
fn invalid_file_does_not_show_its_secrets() {
    const KEY: &str = "planted-7Qz";
    for text in [
        format!("api-key = {KEY}\n"),
        format!("api-key = [\"{KEY}\"]\n"),
        format!("api-key = \"{KEY}\" # and\nretries = \"{{}}\"\n"),
        format!("approval-webhook = \"ftp://hooks.example.com/{KEY}\"\n"),
    ] {
        let file = ConfigFile::new(&text);
        for args in [&["call", "list-labels"][..], &["config", "show"]] {
            let (ok, shown) = outcome(&file.run(args, &[]));
            assert!(!ok && !shown.contains(KEY), "{text}: {shown}");
        }
    }
}

#[test]
fn option_with_precedence_replaces_its_alternatives() {
    let file =
        ConfigFile::new("api-key-file = \"missing\"\njournal = \"journal.db\"\nsandbox = true\n");
    let (ok, text) = outcome(&file.run(
        &[
            "call",
            "list-labels",
            "--no-journal",
            "--api-key",
            "sandbox-admin",
        ],
        &[],
    ));
    assert!(ok, "{text}");
    assert!(!file.folder.path().join("journal.db").exists());
    let variables = [("PORTKEY_API_KEY", "k"), ("PORTKEY_MCP_NO_JOURNAL", "true")];
    let (ok, text) = outcome(&file.run(&["call", "list-labels"], &variables));
    assert!(ok, "{text}");
    let (ok, text) = outcome(&file.run(&["call", "list-labels"], &[]));
    assert!(!ok && text.contains("missing"), "{text}");
}

#[test]
fn options_of_other_commands_are_ignored() {
    let file = ConfigFile::new(
        "listen = \"127.0.0.1:9\"\nauth = \"key\"\nread-only = true\nsandbox = true\nretries = 1\n",
    );
    for args in [
        &["call", "list-labels"][..],
        &["tools"],
        &["state-key", "new", "--id", "a"],
        &["token", "new", "--name", "a", "--scope", "portkey:read"],
    ] {
        let (ok, text) = outcome(&file.run(args, &[]));
        assert!(ok, "{args:?}: {text}");
    }
}

#[test]
fn table_of_a_command_takes_precedence() {
    let file = ConfigFile::new(
        "retries = 1\nlisten = \"127.0.0.1:1\"\n[commands.http]\nretries = 2\n[commands.sandbox]\n\
         listen = \"127.0.0.1:2\"\n",
    );
    let value =
        |command: &str, option: &str| file.show(command, &[], &[], option)["values"].clone();
    assert_eq!(value("stdio", "--retries"), json!(["1"]));
    assert_eq!(value("http", "--retries"), json!(["2"]));
    assert_eq!(value("http", "--listen"), json!(["127.0.0.1:1"]));
    assert_eq!(value("sandbox", "--listen"), json!(["127.0.0.1:2"]));
}

#[test]
fn doctor_names_the_file_as_a_source() {
    let file = ConfigFile::new("sandbox = true\nno-journal = true\n");
    let (ok, text) = outcome(&file.run(&["doctor"], &[]));
    assert!(ok, "{text}");
    let expected = format!("--sandbox = true ({}:1)", file.path());
    assert!(text.contains(&expected), "no `{expected}` in {text}");
}

#[test]
fn help_is_printed_whatever_the_file_says() {
    let file = ConfigFile::new("xyzzy = 1\n");
    for args in [&["--help"][..], &["http", "-h"], &["--version"]] {
        let (ok, text) = outcome(&file.run(args, &[]));
        assert!(ok, "{args:?}: {text}");
    }
}

/// The example has every option, and each line of it can be used.
#[test]
fn example_file_is_up_to_date() {
    let (ok, example, errors) = run_cli(&["config", "example"]);
    assert!(ok, "{errors}");
    check_generated_file(Path::new("examples/portkey-mcp.toml"), &example);
    let settings: Vec<_> = example
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| !line.starts_with([' ', '#', '[']) && line.contains(" = "))
        .collect();
    assert!(settings.len() > 80, "{}", settings.len());
    for setting in settings {
        let file = ConfigFile::new(setting);
        let (ok, text) = outcome(&file.run(&["config", "show", "http", "--json"], &[]));
        // Placeholders are no addresses.
        let is_value = text.contains("portkey-mcp.toml:1: invalid value");
        assert!(ok || is_value, "{setting}: {text}");
    }
}

#[test]
fn every_option_with_a_variable_can_stand_in_the_file() {
    let (_, example, _) = run_cli(&["config", "example"]);
    let command = portkey_mcp::cli::command();
    let http = command.find_subcommand("http").unwrap();
    for option in command.get_arguments().chain(http.get_arguments()) {
        let (Some(name), Some(_)) = (option.get_long(), option.get_env()) else {
            continue;
        };
        let is_there = example.contains(&format!("\n#{name} = "));
        assert_eq!(is_there, name != "config", "{name}");
    }
}

#[test]
fn empty_list_is_an_error() {
    for name in ["tools", "toolsets"] {
        let file = ConfigFile::new(&format!("retries = 1\n{name} = []\n"));
        let (ok, text) = outcome(&file.run(&["tools"], &[]));
        let expected = format!("portkey-mcp.toml:2: `{name}` is empty");
        assert!(!ok && text.contains(&expected), "{text}");
    }
}

#[test]
fn option_given_with_precedence_rules_out_what_belongs_to_another_value() {
    let file = ConfigFile::new(
        "auth = \"token\"\nauth-file = \"tokens.toml\"\njournal = \"journal.db\"\njournal-max-age = \"5d\"\n",
    );
    let shown = |args: &[&str], option: &str| {
        file.show("http", args, &[], option)["source"]["kind"].clone()
    };
    assert_eq!(shown(&[], "--auth-file"), "file");
    assert_eq!(shown(&[], "--journal-max-age"), "file");
    let variables = |auth: &'static str| [("PORTKEY_MCP_AUTH", auth)];
    for (auth, is_kept) in [("none", false), ("oauth", false), ("token", true)] {
        let shown = file.show("http", &[], &variables(auth), "--auth-file");
        assert_eq!(shown != Value::Null, is_kept, "{auth}");
    }
    assert_eq!(shown(&["--no-journal"], "--journal-max-age"), "default");
}

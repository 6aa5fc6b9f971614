//! `portkey-mcp setup`: changes of the configuration files of clients.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    generated::check_generated_file,
    process::{command, run_cli},
    programs::is_missing,
};

/// A text in the fixtures that stands for secrets of the user.
const PLANTED: &str = "planted-7f3d9a";

/// A home folder.
struct Home(TempDir);

/// What a run printed.
struct Run {
    is_success: bool,
    out: String,
    err: String,
}

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut setup = command(args);
        setup.env("HOME", self.0.path()).current_dir(self.0.path());
        for variable in [
            "XDG_CONFIG_HOME",
            "CLAUDE_CONFIG_DIR",
            "CODEX_HOME",
            "GEMINI_CLI_HOME",
        ] {
            setup.env_remove(variable);
        }
        setup
    }

    fn run_with(&self, args: &[&str], input: &str) -> Run {
        let input_file = self.write(".input", input);
        let mut setup = self.command(args);
        setup.stdin(Stdio::from(fs::File::open(input_file).unwrap()));
        let output = setup.output().unwrap();
        let text = |bytes| portable(&String::from_utf8(bytes).unwrap());
        Run {
            is_success: output.status.success(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, "")
    }

    /// Runs `setup`, which has to succeed.
    #[track_caller]
    fn setup(&self, args: &[&str]) -> Run {
        let run = self.run(&[&["setup"], args].concat());
        assert!(run.is_success, "{args:?}: {}{}", run.out, run.err);
        run
    }

    /// Runs `setup`, which has to fail, and returns the error.
    #[track_caller]
    fn fail(&self, args: &[&str]) -> String {
        let run = self.run(&[&["setup"], args].concat());
        assert!(!run.is_success, "{args:?}: {}", run.out);
        run.err
    }

    /// Returns the names of the files in a folder.
    fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Writes the name of the program in place of its path on this machine.
fn portable(text: &str) -> String {
    text.replace(env!("CARGO_BIN_EXE_portkey-mcp"), "portkey-mcp")
}

struct Case {
    client: &'static str,
    /// File of the client below the home folder.
    file: &'static str,
    fixture: &'static str,
    args: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        client: "claude-desktop",
        file: ".config/Claude/claude_desktop_config.json",
        fixture: "claude-desktop.json",
        args: &["--sandbox"],
    },
    Case {
        client: "claude-code",
        file: ".claude.json",
        fixture: "claude-code.json",
        args: &[],
    },
    Case {
        client: "cursor",
        file: ".cursor/mcp.json",
        fixture: "cursor.json",
        args: &["--read-only", "--toolsets", "prompts,configs"],
    },
    Case {
        client: "vscode",
        file: ".config/Code/User/mcp.json",
        fixture: "vscode.json",
        args: &[],
    },
    Case {
        client: "codex",
        file: ".codex/config.toml",
        fixture: "codex.toml",
        args: &[],
    },
    Case {
        client: "gemini",
        file: ".gemini/settings.json",
        fixture: "gemini.json",
        args: &["--variable", "MY_PORTKEY_KEY"],
    },
    Case {
        client: "windsurf",
        file: ".codeium/windsurf/mcp_config.json",
        fixture: "windsurf.json",
        args: &[
            "--url",
            "https://mcp.example.com/mcp",
            "--token",
            "reference",
        ],
    },
    Case {
        client: "zed",
        file: ".config/zed/settings.json",
        fixture: "zed.json",
        args: &[],
    },
    Case {
        client: "cline",
        file: ".config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
        fixture: "cline.json",
        args: &["--url", "http://127.0.0.1:8787/mcp"],
    },
    Case {
        client: "jetbrains",
        file: ".junie/mcp/mcp.json",
        fixture: "jetbrains.json",
        args: &["--surface", "operations"],
    },
];

fn fixture(name: &str) -> String {
    fs::read_to_string(Path::new("tests/data/setup").join(name)).unwrap()
}

/// The files after the change are beside the fixtures, as `NAME.after.json`.
#[test]
fn changed_client_files_are_up_to_date() {
    for case in CASES {
        let home = Home::new();
        let before = fixture(case.fixture);
        home.write(case.file, &before);
        let args = [&["setup", case.client, "--yes"], case.args].concat();
        let run = home.run(&args);
        assert!(run.is_success, "{}: {}", case.client, run.err);
        let after = portable(&home.read(case.file));
        let (name, extension) = case.fixture.rsplit_once('.').unwrap();
        let expected = format!("tests/data/setup/{name}.after.{extension}");
        check_generated_file(Path::new(&expected), &after);

        assert_eq!(home.read(&format!("{}.bak", case.file)), before);
        assert!(
            !(run.out + &run.err).contains(PLANTED),
            "{} shows a secret",
            case.client
        );
    }
}

/// What is not in the entry of this server stays, letter by letter.
#[test]
fn other_servers_and_comments_are_kept() {
    for case in CASES {
        // Its fixture is on one line, or has nothing but the entry that changes.
        if ["windsurf", "cline", "jetbrains", "cursor"].contains(&case.client) {
            continue;
        }
        let home = Home::new();
        home.write(case.file, &fixture(case.fixture));
        home.run(&[&["setup", case.client, "--yes"], case.args].concat());
        let after = home.read(case.file);
        let after: Vec<_> = after
            .lines()
            .map(|line| line.trim_end_matches(','))
            .collect();
        for line in fixture(case.fixture).lines() {
            let line = line.trim_end_matches(',');
            assert!(after.contains(&line), "{} lost {line}", case.client);
        }
    }
}

#[test]
fn second_run_changes_nothing() {
    for case in CASES {
        let home = Home::new();
        home.write(case.file, &fixture(case.fixture));
        let args = [&["setup", case.client, "--yes"], case.args].concat();
        home.run(&args);
        let after = home.read(case.file);
        let again = home.run(&args);
        assert!(
            again.is_success && again.out.starts_with("nothing to change"),
            "{}: {}{}",
            case.client,
            again.out,
            again.err
        );
        assert_eq!(home.read(case.file), after);
        assert!(!home.path(&format!("{}.bak.1", case.file)).exists());
    }
}

#[test]
fn missing_file_is_created_for_its_owner_only() {
    for case in CASES {
        let home = Home::new();
        let args = [&["setup", case.client, "--yes"], case.args].concat();
        let run = home.run(&args);
        assert!(run.is_success, "{}: {}", case.client, run.err);
        let file = home.path(case.file);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!home.path(&format!("{}.bak", case.file)).exists());
        let again = home.run(&args);
        assert!(again.out.starts_with("nothing to change"), "{}", again.out);
    }
}

#[test]
fn entry_keeps_what_the_user_added_to_it() {
    let home = Home::new();
    home.write(".cursor/mcp.json", &fixture("cursor.json"));
    home.setup(&["cursor", "--yes"]);
    let after: Value = serde_json::from_str(&home.read(".cursor/mcp.json")).unwrap();
    let entry = &after["mcpServers"]["portkey"];
    assert_eq!(entry["disabled"], true);
    assert_eq!(entry["env"]["HTTPS_PROXY"], "http://proxy:3128");
    assert_eq!(entry["env"]["PORTKEY_API_KEY"], "${env:PORTKEY_API_KEY}");
    // Another transport has no variables, and what is the user's stays.
    home.setup(&[
        "cursor",
        "--yes",
        "--url",
        "https://mcp.example.com/mcp",
        "--token",
        "reference",
    ]);
    let after: Value = serde_json::from_str(&home.read(".cursor/mcp.json")).unwrap();
    let token = "Bearer ${env:PORTKEY_MCP_TOKEN}";
    assert_eq!(
        after["mcpServers"]["portkey"],
        json!({
            "disabled": true,
            "url": "https://mcp.example.com/mcp",
            "headers": { "Authorization": token },
        })
    );
    assert_eq!(
        home.files(".cursor"),
        ["mcp.json", "mcp.json.bak", "mcp.json.bak.1"]
    );
}

#[test]
fn invalid_file_is_left_as_it_is() {
    struct Invalid {
        client: &'static str,
        file: &'static str,
        text: &'static str,
        error: &'static str,
    }
    let cases = [
        Invalid {
            client: "cursor",
            file: ".cursor/mcp.json",
            text: "{\n  \"mcpServers\": {\n",
            error: "line 2",
        },
        Invalid {
            client: "cursor",
            file: ".cursor/mcp.json",
            text: "[1]",
            error: "the file holds something else",
        },
        Invalid {
            client: "zed",
            file: ".config/zed/settings.json",
            text: "{ \"context_servers\": [] }",
            error: "`context_servers` holds something else",
        },
        Invalid {
            client: "codex",
            file: ".codex/config.toml",
            text: "model = \"gpt\"\nmcp_servers = = 1\n",
            error: "line 2",
        },
        Invalid {
            client: "codex",
            file: ".codex/config.toml",
            text: "mcp_servers = 5\n",
            error: "`mcp_servers` holds something else",
        },
    ];
    for case in cases {
        let home = Home::new();
        home.write(case.file, case.text);
        let error = home.fail(&[case.client, "--yes"]);
        assert!(
            error.contains(case.error) && error.contains("nothing was written"),
            "{error}"
        );
        assert_eq!(home.read(case.file), case.text);
        let folder = Path::new(case.file).parent().unwrap().to_str().unwrap();
        assert_eq!(home.files(folder).len(), 1);
    }
}

#[test]
fn unreadable_file_is_an_error() {
    let home = Home::new();
    fs::create_dir_all(home.path(".cursor/mcp.json")).unwrap();
    let error = home.fail(&["cursor", "--yes"]);
    assert!(error.contains("it is a folder"), "{error}");
    fs::create_dir_all(home.path(".codex")).unwrap();
    symlink(home.path("nowhere.toml"), home.path(".codex/config.toml")).unwrap();
    let error = home.fail(&["codex", "--yes"]);
    assert!(error.contains("Nothing was written"), "{error}");
    assert!(!home.path("nowhere.toml").exists());
}

#[test]
fn link_is_followed_and_the_mode_is_kept() {
    let home = Home::new();
    let target = home.write("dotfiles/cursor.json", "{}\n");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    fs::create_dir_all(home.path(".cursor")).unwrap();
    symlink(&target, home.path(".cursor/mcp.json")).unwrap();
    home.setup(&["cursor", "--sandbox", "--yes"]);
    assert!(home.path(".cursor/mcp.json").is_symlink());
    assert!(home.read("dotfiles/cursor.json").contains("--sandbox"));
    for name in ["dotfiles/cursor.json", "dotfiles/cursor.json.bak"] {
        let mode = home.path(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{name}");
    }
    assert_eq!(home.files(".cursor"), ["mcp.json"]);
}

#[test]
fn nothing_is_written_without_an_answer() {
    let home = Home::new();
    home.write(".cursor/mcp.json", &fixture("cursor.json"));
    let run = home.run(&["setup", "cursor"]);
    assert!(!run.is_success);
    assert!(
        run.err.contains("--yes")
            && run
                .out
                .contains("+            \"command\": \"portkey-mcp\""),
        "{}{}",
        run.out,
        run.err
    );
    // The old key is in arguments and variables, and another server's in its address.
    assert!(!run.out.contains(PLANTED), "{}", run.out);
    assert_eq!(home.read(".cursor/mcp.json"), fixture("cursor.json"));
    assert_eq!(home.files(".cursor"), ["mcp.json"]);
}

/// `script` provides the terminal.
#[test]
fn answer_on_the_terminal_decides() {
    if is_missing("script") {
        return;
    }
    for (said, is_written) in [("y", true), ("n", false), ("", false)] {
        let home = Home::new();
        let binary = env!("CARGO_BIN_EXE_portkey-mcp");
        let mut terminal = home.command(&[]);
        let mut script = Command::new("script");
        script.args([
            "-qec",
            &format!("{binary} setup cursor --sandbox"),
            "/dev/null",
        ]);
        for (name, value) in terminal.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        terminal = script;
        let input = home.write(".input", &format!("{said}\n"));
        let output = terminal
            .current_dir(home.0.path())
            .stdin(fs::File::open(input).unwrap())
            .output()
            .unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && shown.contains("[y/N]"),
            "{shown}"
        );
        assert_eq!(
            home.path(".cursor/mcp.json").exists(),
            is_written,
            "{shown}"
        );
    }
}

#[test]
fn printed_entry_changes_no_file() {
    let home = Home::new();
    let run = home.setup(&["vscode", "--print"]);
    let printed: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(
        printed,
        json!({
            "inputs": [{
                "id": "portkey-key",
                "type": "promptString",
                "description": "Portkey API key",
                "password": true,
            }],
            "servers": { "portkey": {
                "type": "stdio",
                "command": "portkey-mcp",
                "args": ["stdio", "--surface", "compact"],
                "env": { "PORTKEY_API_KEY": "${input:portkey-key}" },
            } },
        })
    );
    let run = home.setup(&["codex", "--print", "--url", "https://mcp.example.com/mcp"]);
    assert_eq!(
        run.out,
        "[mcp_servers.portkey]\nurl = \"https://mcp.example.com/mcp\"\n"
    );
    assert_eq!(home.files(""), [".input"]);
}

#[test]
fn project_file_starts_the_server_by_name() {
    let home = Home::new();
    home.setup(&["claude-code", "--project", "--yes", "--name", "admin"]);
    let text = home.read(".mcp.json");
    let file: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        file["mcpServers"]["admin"],
        json!({
            "type": "stdio",
            "command": "portkey-mcp",
            "args": ["stdio"],
            "env": { "PORTKEY_API_KEY": "${PORTKEY_API_KEY}" },
        })
    );
    let error = home.fail(&["windsurf", "--project", "--yes"]);
    assert!(error.contains("leave --project out"), "{error}");
}

#[test]
fn files_of_the_server_are_named_from_the_root() {
    let home = Home::new();
    let run = home.setup(&[
        "cursor",
        "--print",
        "--policy",
        "policy.yaml",
        "--log-level=debug",
    ]);
    let printed: Value = serde_json::from_str(&run.out).unwrap();
    let args = &printed["mcpServers"]["portkey"]["args"];
    let policy = home.0.path().canonicalize().unwrap().join("policy.yaml");
    let has = |wanted: &[&str]| {
        let args: Vec<_> = args
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        args.windows(wanted.len()).any(|window| window == wanted)
    };
    assert!(has(&["--policy", policy.to_str().unwrap()]), "{args}");
    assert!(has(&["--log-level", "debug"]), "{args}");
}

#[test]
fn contradictions_are_told() {
    struct Contradiction {
        args: &'static [&'static str],
        error: &'static str,
    }
    let home = Home::new();
    let cases = [
        Contradiction {
            args: &["claude-desktop", "--url", "https://mcp.example.com/mcp"],
            error: "Connectors",
        },
        Contradiction {
            args: &["jetbrains", "--url", "https://mcp.example.com/mcp"],
            error: "Leave --url out",
        },
        Contradiction {
            args: &["zed", "--key", "reference"],
            error: "--key login",
        },
        Contradiction {
            args: &[
                "zed",
                "--url",
                "http://127.0.0.1:8787/mcp",
                "--token",
                "reference",
            ],
            error: "--token clear",
        },
        Contradiction {
            args: &["cursor", "--url", "http://127.0.0.1:8787/mcp", "--sandbox"],
            error: "--sandbox is an option of the server",
        },
        Contradiction {
            args: &["cursor", "--url", "http://user:pw@127.0.0.1:8787/mcp"],
            error: "may not hold credentials",
        },
        Contradiction {
            args: &["cursor", "--api-key", "pk-1"],
            error: "portkey-mcp login",
        },
        Contradiction {
            args: &["cursor", "--sandbox", "--key", "reference"],
            error: "leave --key out",
        },
        Contradiction {
            args: &["codex", "--variable", "OTHER"],
            error: "PORTKEY_API_KEY",
        },
        Contradiction {
            args: &["cursor", "--name", "a b"],
            error: "at most 24 letters",
        },
        Contradiction {
            args: &["cursor", "--token", "clear"],
            error: "--url",
        },
    ];
    for case in cases {
        let error = home.fail(&[case.args, &["--print"]].concat());
        assert!(error.contains(case.error), "{:?}: {error}", case.args);
    }
    assert_eq!(home.files(""), [".input"]);
}

#[test]
fn key_is_written_only_where_that_is_asked_for() {
    let home = Home::new();
    let args = ["setup", "zed", "--key", "clear", "--yes"];
    let run = home.run_with(&args, "pk-clear-9Z8y7X6w\n");
    assert!(run.is_success, "{}", run.err);
    assert!(!(run.out + &run.err).contains("pk-clear"));
    let file: Value = serde_json::from_str(&home.read(".config/zed/settings.json")).unwrap();
    let entry = &file["context_servers"]["portkey"];
    assert_eq!(entry["env"]["PORTKEY_API_KEY"], "pk-clear-9Z8y7X6w");
    // Another key: the diff has nothing to show.
    let run = home.run_with(&args, "pk-clear-other-1A2b3C\n");
    assert!(
        run.is_success && run.out.contains("not shown"),
        "{}",
        run.out
    );
    for (input, error) in [
        ("", "there is no Portkey API key"),
        ("\"pk-1\"", "is in quotes"),
        ("Bearer pk-1", "begins with `Bearer`"),
    ] {
        let run = home.run_with(&args, input);
        assert!(!run.is_success && run.err.contains(error), "{}", run.err);
    }
    // By default it is not.
    home.setup(&["zed", "--yes"]);
    assert!(!home.read(".config/zed/settings.json").contains("pk-clear"));
}

#[test]
fn clients_of_the_machine_are_listed() {
    let home = Home::new();
    let run = home.setup(&[]);
    assert!(run.out.contains("no known client was found"), "{}", run.out);
    assert!(run.out.contains("claude-desktop, claude-code"));
    home.write(".cursor/mcp.json", "{}");
    home.write(".codex/config.toml", "= 1");
    fs::create_dir_all(home.path(".gemini")).unwrap();
    let run = home.setup(&["--sandbox"]);
    assert!(
        run.out
            .contains("would get `portkey`: portkey-mcp stdio --sandbox --surface compact"),
        "{}",
        run.out
    );
    assert!(run.out.contains("gemini"), "{}", run.out);
    assert!(run.out.contains("line 1, column 1"), "{}", run.out);
    assert!(!run.out.contains("windsurf"), "{}", run.out);
    home.setup(&["cursor", "--sandbox", "--yes"]);
    let run = home.setup(&["--sandbox"]);
    assert!(run.out.contains("has `portkey`"), "{}", run.out);
}

/// The folder that a variable names is used in place of the usual one.
#[test]
fn variables_of_clients_name_their_folders() {
    for (client, variable, file) in [
        ("claude-code", "CLAUDE_CONFIG_DIR", ".claude.json"),
        ("codex", "CODEX_HOME", "config.toml"),
        ("cursor", "HOME", ".cursor/mcp.json"),
        ("zed", "XDG_CONFIG_HOME", "zed/settings.json"),
        ("vscode", "XDG_CONFIG_HOME", "Code/User/mcp.json"),
    ] {
        let home = Home::new();
        let mut setup = home.command(&["setup", client, "--sandbox", "--yes"]);
        let output = setup
            .env(variable, home.path("elsewhere"))
            .output()
            .unwrap();
        assert!(output.status.success());
        assert!(home.path("elsewhere").join(file).is_file(), "{client}");
    }
}

#[test]
fn unknown_client_is_a_usage_error() {
    let (ok, _, err) = run_cli(&["setup", "emacs"]);
    assert!(!ok && err.contains("claude-desktop"), "{err}");
}

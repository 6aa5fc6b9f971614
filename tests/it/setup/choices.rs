//! What is written, printed and asked for each choice.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use serde_json::{Value, json};

use super::{Home, PLANTED, fixture};
use crate::support::{process::run_cli, programs::is_missing};

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
    for (said, is_written) in [("y", true), ("Yes", true), ("n", false), ("", false)] {
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
    let run = home.setup(&[]);
    assert!(
        run.out.contains("; key: ${env:PORTKEY_API_KEY}"),
        "{}",
        run.out
    );
    home.setup(&["cursor", "--sandbox", "--yes"]);
    let run = home.setup(&["--sandbox"]);
    assert!(run.out.contains("has `portkey`"), "{}", run.out);
}

#[test]
fn unknown_client_is_a_usage_error() {
    let (ok, _, err) = run_cli(&["setup", "emacs"]);
    assert!(!ok && err.contains("claude-desktop"), "{err}");
}

#[test]
fn texts_of_the_entry_before_are_hidden() {
    let home = Home::new();
    home.write(
        ".cursor/mcp.json",
        r#"{
  "mcpServers": {
    // x-portkey-api-key: planted-7f3d9a
    "portkey": {
      "command": "docker",
      "args": [
        "run",
        "-e", "PORTKEY_API_KEY=planted-7f3d9a",
        "--header", "x-portkey-api-key: planted-7f3d9a",
        "-k", "planted-7f3d9a",
        "--set=planted-7f3d9a",
        "https://mcp.example.com/planted-7f3d9a/mcp"
      ]
    }
  }
}
"#,
    );
    home.write(
        ".codex/config.toml",
        "[mcp_servers.portkey]\n# api_key = planted-7f3d9a\ncommand = \"docker\"\n\
         args = [\"-e\", \"PORTKEY_API_KEY=planted-7f3d9a\"]\n",
    );
    for client in ["cursor", "codex"] {
        let run = home.setup(&[client, "--sandbox", "--yes"]);
        assert!(!run.out.contains(PLANTED), "{}", run.out);
        assert!(
            run.out.contains("\"-e\"") && run.out.contains("\"--sandbox\""),
            "{}",
            run.out
        );
    }
}

#[test]
fn standard_error_is_not_named_from_the_root() {
    let home = Home::new();
    let run = home.setup(&["cursor", "--print", "--audit-log", "-"]);
    let printed: Value = serde_json::from_str(&run.out).unwrap();
    let args = printed["mcpServers"]["portkey"]["args"].as_array().unwrap();
    let at = args.iter().position(|arg| arg == "--audit-log").unwrap();
    assert_eq!(args[at + 1], "-");
}

#[test]
fn options_that_the_server_rejects_are_not_written() {
    let home = Home::new();
    let cases: [(&[&str], &str); 6] = [
        (&["--read-only", "--dry-run"], "`--dry-run` has no effect"),
        (&["--audit-keep", "3"], "`--audit-keep` has no effect"),
        (&["--approve-by-name"], "`--approve-by-name` has no effect"),
        (&["--secrets", "file"], "--secrets-dir"),
        (&["--toolsets", "nope"], "nope"),
        (
            &["--base-url", "https://user:planted-7f3d9a@example.com/v1"],
            "may not hold credentials",
        ),
    ];
    for (args, expected) in cases {
        let error = home.fail(&[&["zed", "--print"], args].concat());
        assert!(
            error.contains("the server would not start") && error.contains(expected),
            "{args:?}: {error}"
        );
        assert!(!error.contains(PLANTED), "{error}");
    }
}

#[test]
fn configuration_file_decides_about_the_surface() {
    let home = Home::new();
    let file = home.write("portkey.toml", "surface = \"operations\"\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let run = home.setup(&["zed", "--print", "--config", "portkey.toml"]);
    assert!(
        run.out.contains("--config") && !run.out.contains("--surface"),
        "{}",
        run.out
    );
}

/// A reference says where a value comes from, and is no secret. A default in it may be one.
#[test]
fn references_are_shown_and_their_defaults_are_not() {
    let home = Home::new();
    let before = r#"{ "mcpServers": { "portkey": { "type": "http", "url": "https://old.example.com/mcp",
        "headers": { "X-Key": "${KEY:-planted-7f3d9a}", "X-Team": "planted-7f3d9a" } } } }"#;
    home.write(".claude.json", before);
    let run = home.setup(&[
        "claude-code",
        "--url",
        "https://mcp.example.com/mcp",
        "--token",
        "reference",
        "--yes",
    ]);
    assert!(
        run.out.contains("\"Bearer ${PORTKEY_MCP_TOKEN}\""),
        "{}",
        run.out
    );
    assert!(!run.out.contains(PLANTED), "{}", run.out);
    let run = home.setup(&["cursor", "--yes"]);
    assert!(
        run.out.contains("\"${env:PORTKEY_API_KEY}\""),
        "{}",
        run.out
    );
}

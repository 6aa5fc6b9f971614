//! What becomes of the files.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Stdio,
};

use serde_json::{Value, json};

use super::{CASES, Home, PLANTED, fixture, portable};
use crate::support::generated::check_generated_file;

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
fn line_breaks_and_byte_order_mark_are_kept() {
    for (client, file, text) in [
        (
            "cursor",
            ".cursor/mcp.json",
            "\u{feff}{\r\n  \"mcpServers\": {\r\n  }\r\n}\r\n",
        ),
        (
            "codex",
            ".codex/config.toml",
            "model = \"a\"\r\n\r\n[mcp_servers.b]\r\ncommand = \"b\"\r\n",
        ),
    ] {
        let home = Home::new();
        home.write(file, text);
        let run = home.setup(&[client, "--sandbox", "--yes"]);
        assert!(!run.out.contains("\\u000d"), "{}", run.out);
        let after = home.read(file);
        assert_eq!(
            after.matches('\n').count(),
            after.matches("\r\n").count(),
            "{after:?}"
        );
        assert_eq!(after.starts_with('\u{feff}'), text.starts_with('\u{feff}'));
        let again = home.setup(&[client, "--sandbox", "--yes"]);
        assert!(again.out.starts_with("nothing to change"), "{}", again.out);
    }
}

#[test]
fn file_with_a_key_is_for_its_owner_only() {
    let home = Home::new();
    let file = home.write(".config/zed/settings.json", "{}\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let args = ["setup", "zed", "--key", "clear", "--yes"];
    let run = home.run_with(&args, "pk-clear-9Z8y7X6w\n");
    assert!(run.is_success, "{}", run.err);
    for name in ["settings.json", "settings.json.bak"] {
        let path = home.path(".config/zed").join(name);
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn concurrent_runs_lose_no_entry() {
    let home = Home::new();
    home.write(".cursor/mcp.json", "{}\n");
    let names = ["one", "two", "three", "four", "five", "six"];
    let started = names.map(|name| {
        let mut setup = home.command(&["setup", "cursor", "--sandbox", "--yes", "--name", name]);
        setup.stdout(Stdio::null()).stderr(Stdio::null());
        setup.spawn().unwrap()
    });
    let ended = started.map(|mut child| child.wait().unwrap().success());
    let file: Value = serde_json::from_str(&home.read(".cursor/mcp.json")).unwrap();
    for (name, is_success) in names.into_iter().zip(ended) {
        assert_eq!(file["mcpServers"].get(name).is_some(), is_success, "{name}");
    }
}

#[test]
fn entry_that_is_there_twice_is_an_error() {
    for text in [
        r#"{ "mcpServers": {}, "mcpServers": {} }"#,
        r#"{ "mcpServers": { "portkey": {}, "portkey": {} } }"#,
        r#"{ "mcpServers": { "portkey": { "args": [], "args": [] } } }"#,
        r#"{ "mcpServers": { "portkey": { "env": { "PORTKEY_API_KEY": "a", "PORTKEY_API_KEY": "b" } } } }"#,
    ] {
        let home = Home::new();
        home.write(".cursor/mcp.json", text);
        let error = home.fail(&["cursor", "--sandbox", "--yes"]);
        assert!(error.contains("is there twice"), "{error}");
        assert_eq!(home.read(".cursor/mcp.json"), text);
    }
}

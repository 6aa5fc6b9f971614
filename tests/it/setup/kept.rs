//! Members and elements of an entry that stay when it is changed.

use super::{Home, portable};

/// Members and elements that stay keep their comments, the form of their numbers and their lines.
#[test]
fn entry_keeps_what_does_not_change_letter_by_letter() {
    struct Case {
        client: &'static str,
        file: &'static str,
        args: &'static [&'static str],
        before: &'static str,
        after: &'static str,
    }
    let cases = [
        Case {
            client: "cursor",
            file: ".cursor/mcp.json",
            args: &["--read-only", "--surface", "operations"],
            before: r#"{
  "mcpServers": {
    "portkey": {
      "command": "old", // the one of last year
      "args": [
        "stdio",
        // The list.
        "--surface",
        "compact", // small
        "--read-only", // since May
        "--dry-run" // for the trial
      ],
      "timeout": 1.50e1,
      "env": {
        // Of the office.
        "HTTPS_PROXY": "http://proxy:3128", // until it moves
        "LEVEL": 1.0,
        "PORTKEY_API_KEY": "planted-7f3d9a", // mine
        "LARGE": 12345678901234567890123
      }
    }
  }
}
"#,
            after: r#"{
  "mcpServers": {
    "portkey": {
      "command": "portkey-mcp", // the one of last year
      "args": [
        "stdio",
        // The list.
        "--surface",
        "operations", // small
        "--read-only" // since May
      ],
      "timeout": 1.50e1,
      "env": {
        // Of the office.
        "HTTPS_PROXY": "http://proxy:3128", // until it moves
        "LEVEL": 1.0,
        "PORTKEY_API_KEY": "${env:PORTKEY_API_KEY}", // mine
        "LARGE": 12345678901234567890123
      }
    }
  }
}
"#,
        },
        Case {
            client: "vscode",
            file: ".config/Code/User/mcp.json",
            args: &["--url", "https://mcp.example.com/mcp"],
            before: r#"{
  "servers": {
    "portkey": {
      "type": "http",
      "url": "https://old.example.com/mcp",
      "headers": {
        "X-Team": "a", // kept
        "Authorization": "Bearer planted-7f3d9a"
      }
    }
  }
}
"#,
            after: r#"{
  "servers": {
    "portkey": {
      "type": "http",
      "url": "https://mcp.example.com/mcp",
      "headers": {
        "X-Team": "a" // kept
      }
    }
  }
}
"#,
        },
        Case {
            client: "codex",
            file: ".codex/config.toml",
            args: &["--read-only", "--surface", "operations", "--key", "login"],
            before: r#"[mcp_servers.portkey]
command = "old" # the one of last year
args = [
    "stdio", # the transport
    # The list.
    "--surface",
    "compact", # small
    "--dry-run" # for the trial
]
env_vars = [
    "OTHER", # of another tool
    "PORTKEY_API_KEY", # mine
    { name = "REMOTE", source = "remote" },
]
startup_timeout_sec = 1_0.5

[mcp_servers.portkey.env]
# Of the office.
HTTPS_PROXY = "http://proxy:3128" # until it moves
LEVEL = 0x10
PORTKEY_API_KEY = "planted-7f3d9a"
"#,
            after: r#"[mcp_servers.portkey]
command = "portkey-mcp" # the one of last year
args = [
    "stdio", # the transport
    # The list.
    "--surface",
    "operations", # small
    "--read-only" # for the trial
]
env_vars = [
    "OTHER", # of another tool
    { name = "REMOTE", source = "remote" },
]
startup_timeout_sec = 1_0.5

[mcp_servers.portkey.env]
# Of the office.
HTTPS_PROXY = "http://proxy:3128" # until it moves
LEVEL = 0x10
"#,
        },
        // Elements are added between others and at the end.
        Case {
            client: "codex",
            file: ".codex/config.toml",
            args: &["--read-only", "--surface", "operations", "--no-delete"],
            before: r#"[mcp_servers.portkey]
command = "portkey-mcp"
args = [
    "stdio", # the transport
    "--surface", # of the list
    "operations" # large
]
env_vars = ["PORTKEY_API_KEY"]
"#,
            after: r#"[mcp_servers.portkey]
command = "portkey-mcp"
args = [
    "stdio", # the transport
    "--surface", # of the list
    "operations", # large
    "--read-only",
    "--no-delete"
]
env_vars = ["PORTKEY_API_KEY"]
"#,
        },
    ];
    for case in cases {
        let home = Home::new();
        home.write(case.file, case.before);
        let args = [&[case.client, "--yes"], case.args].concat();
        home.setup(&args);
        assert_eq!(
            portable(&home.read(case.file)),
            case.after,
            "{}",
            case.client
        );
        let again = home.setup(&args);
        assert!(again.out.starts_with("nothing to change"), "{}", again.out);
    }
}

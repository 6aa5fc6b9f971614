//! Options that have no effect are rejected, and the help of a command shows only those that have one.

use std::{collections::BTreeSet, net::TcpListener};

use clap::{Arg, ArgAction, Command};

use crate::support::process::{command, run_cli};

/// Options that are rejected if they are given alone, to a server in the sandbox.
const NEED_ANOTHER: &[&str] = &[
    "admin-listen",
    "admin-auth",
    "admin-file",
    "admin-name-header",
    "admin-trusted-proxies",
    "admin-url",
    "approval-timeout",
    "approval-webhook",
    "approval-webhook-key-file",
    "approve-by-name",
    "audit-failure",
    "audit-keep",
    "audit-key-file",
    "audit-max-bytes",
    "audit-sync",
    "auth-file",
    "journal-max-age",
    "journal-max-bytes",
    "redis-timeout",
    "redis-url",
    "redis-url-file",
    "rest-unknown",
    "secret-caller",
    "secrets-dir",
    "tls-cert",
    "tls-key",
];

/// Options that change something by themselves.
const WORK_ALONE: &[&str] = &[
    "address-concurrency",
    "address-rate-limit",
    "allow-unauthenticated",
    "allowed-host",
    "allowed-origin",
    "api-key",
    "api-key-file",
    "approve-deletes",
    "approve-sensitive",
    "approve-writes",
    "audit-log",
    "auth",
    "base-url",
    "body-timeout",
    "ca-file",
    "concurrency",
    "config",
    "connect-timeout",
    "descriptions",
    "drain-delay",
    "dry-run",
    "enkrypt-api-key",
    "enkrypt-api-key-file",
    "enkrypt-base-url",
    "exclude-tools",
    "gateway-url",
    "idle-timeout",
    "ipv6-prefix",
    "journal",
    "journal-url",
    "journal-url-file",
    "listen",
    "log-format",
    "log-level",
    "max-connections",
    "max-head-bytes",
    "max-request-bytes",
    "max-response-bytes",
    "max-result-bytes",
    "max-sessions",
    "max-sessions-per-principal",
    "max-unread-bytes",
    "metrics-listen",
    "no-delete",
    "no-journal",
    "no-login",
    "path-prefix",
    "policy",
    "preview",
    "prompts",
    "rate-limit",
    "read-only",
    "registry-url",
    "rest",
    "rest-listen",
    "result-ttl",
    "results",
    "retries",
    "sandbox",
    "sandbox-faults",
    "sandbox-now",
    "schema-profile",
    "secret-dir",
    "secret-env",
    "secrets",
    "session-idle",
    "session-ttl",
    "state-key-file",
    "surface",
    "threads",
    "timeout",
    "timezone",
    "tool-names",
    "tools",
    "tools-page",
    "toolsets",
    "trusted-proxies",
    "unknown-fields",
    "write-timeout",
];

/// Options that have no effect with `--sandbox`.
const OF_UPSTREAMS: &[&str] = &[
    "api-key",
    "base-url",
    "enkrypt-api-key",
    "enkrypt-base-url",
    "gateway-url",
    "registry-url",
];

/// Returns the option as it is given, with a value that its parser accepts.
fn given(option: &Arg) -> String {
    let name = option.get_long().unwrap();
    if !matches!(option.get_action(), ArgAction::Set | ArgAction::Append) {
        return format!("--{name}");
    }
    let default = option.get_default_values().first();
    let default = default
        .map(|value| value.to_str().unwrap())
        .filter(|value| !value.is_empty());
    let names = option.get_value_names().unwrap_or_default();
    let value = default.unwrap_or(match names.first().map_or("", |name| name.as_str()) {
        "URL" => "https://portkey.example/",
        "ADDRESS" => "127.0.0.1:0",
        "KEY" => "pk-1",
        "NET" => "10.0.0.0/8",
        "HEADER" => "x-forwarded-user",
        "ORIGIN" => "https://console.example.com",
        "RATE" => "20/s",
        "RFC3339" => "2026-05-31T12:00:00Z",
        "FAULTS" => "latency:1ms",
        "PATH" => "/portkey",
        "N" | "BYTES" | "SECONDS" => "2",
        "GLOB" => "list-*",
        "DOMAIN" => "prompts",
        _ => name,
    });
    format!("--{name}={value}")
}

fn server_options(definition: &Command) -> Vec<Arg> {
    let http = definition.find_subcommand("http").unwrap();
    let all = definition.get_arguments().chain(http.get_arguments());
    all.filter(|option| option.get_env().is_some())
        .cloned()
        .collect()
}

/// A new option has to be put into one of the two lists.
#[test]
fn each_option_works_alone_or_says_what_it_needs() {
    let definition = portkey_mcp::cli::command();
    let options = server_options(&definition);
    let names: BTreeSet<_> = options.iter().filter_map(Arg::get_long).collect();
    let listed: BTreeSet<_> = NEED_ANOTHER.iter().chain(WORK_ALONE).copied().collect();
    assert_eq!(names, listed);
    assert_eq!(listed.len(), NEED_ANOTHER.len() + WORK_ALONE.len());

    // A start that gets as far as listening had no complaint about options.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    for name in NEED_ANOTHER {
        let option = options
            .iter()
            .find(|option| option.get_long() == Some(name))
            .unwrap();
        let mut server = command(&["http", "--sandbox", "--listen", &taken, &given(option)]);
        let output = server.current_dir(folder.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{name}");
        assert!(
            text.contains(&format!("--{name}")) && !text.contains("cannot listen"),
            "{name}: {text}"
        );
    }
    let needs_file = |name: &str| {
        [
            "file",
            "dir",
            "policy",
            "prompts",
            "descriptions",
            "config",
            "journal-url",
        ]
        .iter()
        .any(|part| name.contains(part))
    };
    for name in WORK_ALONE.iter().filter(|name| !needs_file(name)) {
        let option = options
            .iter()
            .find(|option| option.get_long() == Some(name))
            .unwrap();
        let mut args = vec!["http"];
        let given = given(option);
        if *name != "sandbox" && !OF_UPSTREAMS.contains(name) {
            args.push("--sandbox");
        }
        if *name != "listen" {
            args.extend(["--listen", &taken]);
        } else {
            continue;
        }
        args.push(&given);
        let mut server = command(&args);
        let output = server
            .env_remove("PORTKEY_MCP_NO_JOURNAL")
            .current_dir(folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("cannot listen"), "{name}: {text}");
    }
}

#[test]
fn option_without_effect_stops_the_start() {
    struct Case {
        args: &'static [&'static str],
        expected: &'static str,
    }
    let cases = [
        Case {
            args: &["--admin-file", "a"],
            expected: "`--admin-file` has no effect without --admin-listen",
        },
        Case {
            args: &["http", "--sandbox-faults", "latency:1ms"],
            expected: "`--sandbox-faults` has no effect without --sandbox",
        },
        Case {
            args: &["--audit-log", "-", "--audit-max-bytes", "5"],
            expected: "`--audit-max-bytes` has no effect with `--audit-log -`",
        },
        Case {
            args: &["--audit-log", "a", "--audit-keep", "5"],
            expected: "`--audit-keep` has no effect without --audit-max-bytes",
        },
        Case {
            args: &["--no-journal", "--journal-max-age", "5d"],
            expected: "`--journal-max-age` has no effect where no history is kept",
        },
        Case {
            args: &["http", "--auth", "key", "--allow-unauthenticated"],
            expected: "`--allow-unauthenticated` has no effect unless --auth is none",
        },
        Case {
            args: &["--max-result-bytes", "0", "--result-ttl", "5"],
            expected: "`--result-ttl` has no effect with --max-result-bytes 0",
        },
        Case {
            args: &["--secrets-dir", "a"],
            expected: "--secrets-dir belongs to --secrets file",
        },
        Case {
            args: &[
                "call",
                "list-labels",
                "--sandbox",
                "--admin-url",
                "https://a.example",
            ],
            expected: "`--admin-url` has no effect without --admin-listen",
        },
        Case {
            args: &["--sandbox", "--api-key", "k"],
            expected: "`--api-key` has no effect with --sandbox",
        },
        Case {
            args: &[
                "call",
                "list-labels",
                "--sandbox",
                "--api-key-file",
                "LICENSE",
            ],
            expected: "`--api-key-file` has no effect with --sandbox",
        },
        Case {
            args: &["--sandbox", "--base-url", "https://portkey.example/v1"],
            expected: "`--base-url` has no effect with --sandbox",
        },
        Case {
            args: &["http", "--sandbox", "--gateway-url", "https://a.example"],
            expected: "`--gateway-url` has no effect with --sandbox",
        },
        Case {
            args: &["--sandbox", "--registry-url", "https://a.example"],
            expected: "`--registry-url` has no effect with --sandbox",
        },
        Case {
            args: &["--sandbox", "--enkrypt-api-key", "k"],
            expected: "`--enkrypt-api-key` has no effect with --sandbox",
        },
        Case {
            args: &["--sandbox", "--enkrypt-base-url", "https://a.example"],
            expected: "`--enkrypt-base-url` has no effect with --sandbox",
        },
        Case {
            args: &["--read-only", "--approve-writes"],
            expected: "`--approve-writes` has no effect with --read-only",
        },
        Case {
            args: &["http", "--sandbox", "--read-only", "--approve-deletes"],
            expected: "`--approve-deletes` has no effect with --read-only",
        },
        Case {
            args: &["--read-only", "--approve-sensitive"],
            expected: "`--approve-sensitive` has no effect with --read-only",
        },
        Case {
            args: &["--read-only", "--dry-run"],
            expected: "`--dry-run` has no effect with --read-only",
        },
        Case {
            args: &["--dry-run", "--approve-writes"],
            expected: "`--approve-writes` has no effect with --dry-run",
        },
        Case {
            args: &["apply", "a", "--sandbox", "--dry-run", "--approve-deletes"],
            expected: "`--approve-deletes` has no effect with --dry-run",
        },
        Case {
            args: &["http", "--sandbox", "--admin-listen", "127.0.0.1:0"],
            expected: "`--admin-listen` has no effect where no call needs approval",
        },
        Case {
            args: &["health", "--api-key", "k"],
            expected: "`--api-key` has no effect on `portkey-mcp health`",
        },
        // Wherever it stands.
        Case {
            args: &["--read-only", "state-key", "new", "--id", "a"],
            expected: "`--read-only` has no effect on `portkey-mcp state-key new`",
        },
        Case {
            args: &["export", "a", "--sandbox", "--dry-run"],
            expected: "`--dry-run` has no effect on `portkey-mcp export`",
        },
        Case {
            args: &["changes", "list", "--dry-run"],
            expected: "`--dry-run` has no effect on `portkey-mcp changes list`",
        },
        Case {
            args: &["changes", "show", "a", "--approve-writes"],
            expected: "`--approve-writes` has no effect on `portkey-mcp changes show`",
        },
    ];
    for Case { args, expected } in cases {
        let (ok, _, text) = run_cli(args);
        assert!(!ok && text.contains(expected), "{args:?}: {text}");
    }
}

/// One environment serves several commands: a variable may be meant for `approvals`.
#[test]
fn unused_variable_is_a_warning() {
    let named = [("PORTKEY_MCP_ADMIN_FILE", "approvals.json")];
    let server = command(&["stdio", "--sandbox"])
        .envs(named)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&server.stderr);
    let expected = "`--admin-file` (PORTKEY_MCP_ADMIN_FILE) has no effect without --admin-listen";
    assert!(server.status.success() && text.contains(expected), "{text}");
    let call = command(&["call", "list-labels", "--sandbox"])
        .envs(named)
        .output()
        .unwrap();
    assert!(call.status.success(), "{call:?}");
    let key = [("PORTKEY_API_KEY", "k")];
    let made = command(&["state-key", "new", "--id", "a"])
        .envs(key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

/// Many shells have these variables set.
#[test]
fn variables_of_an_upstream_do_not_stop_the_sandbox() {
    let variables = [
        ("PORTKEY_API_KEY", "pk-live"),
        ("PORTKEY_BASE_URL", "https://portkey.example/v1"),
        ("PORTKEY_GATEWAY_URL", "https://portkey.example/v1"),
        ("PORTKEY_REGISTRY_URL", "https://portkey.example/v1"),
        ("ENKRYPT_API_KEY", "ek-live"),
        ("ENKRYPT_BASE_URL", "https://enkrypt.example"),
        ("PORTKEY_MCP_APPROVE_SENSITIVE", "true"),
    ];
    let run = |args: &[&str]| {
        let mut command = command(args);
        let output = command
            .envs(variables)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {text}");
        text
    };
    assert_eq!(run(&["call", "list-labels", "--sandbox"]), "");
    let text = run(&["stdio", "--sandbox", "--read-only"]);
    for (name, _) in variables {
        let expected = format!("({name}) has no effect with");
        assert!(text.contains(&expected), "no {name} in {text}");
    }
    assert!(
        !text.contains("pk-live") && !text.contains("ek-live"),
        "{text}"
    );
}

/// The console shows more than calls that wait, and the sandbox takes keys of its own.
#[test]
fn option_with_an_effect_beside_others_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "sandbox-workspace-ws-research\n").unwrap();
    let key = key.to_str().unwrap();
    let console = [
        "--admin-listen",
        "127.0.0.1:0",
        "--admin-file",
        "admin.json",
    ];
    let cases: &[&[&str]] = &[
        &["--api-key", "sandbox-admin"],
        &["--api-key-file", key],
        &["--approve-writes", "--approve-deletes", "--approve-by-name"],
        &["--read-only", "--no-delete"],
        &[&console[..], &["--approve-sensitive"]].concat(),
        &[&console[..], &["--audit-log", "audit.jsonl"]].concat(),
        &[&console[..], &["--journal", "journal.db"]].concat(),
    ];
    for args in cases {
        let mut server = command(&["http", "--sandbox", "--listen", &taken]);
        let output = server
            .args(*args)
            .env_remove("PORTKEY_MCP_NO_JOURNAL")
            .current_dir(folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("cannot listen"), "{args:?}: {text}");
    }
}

/// A command may have an option of its own under the name of one of servers.
#[test]
fn own_option_of_a_command_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policy.yaml"), "version: \"1\"\n").unwrap();
    let tokens = folder.path().join("tokens.toml");
    let (ok, _, text) = run_cli(&[
        "token",
        "new",
        "--name",
        "a",
        "--scope",
        "portkey:read",
        "--policy",
        "policy.yaml",
        "--file",
        tokens.to_str().unwrap(),
    ]);
    assert!(!text.contains("no effect"), "{ok}: {text}");
}

/// Commands with the arguments that they need, so that a hidden option is what is rejected.
const SMALL_COMMANDS: &[&[&str]] = &[
    &["health"],
    &["token", "new", "--name", "a", "--scope", "portkey:read"],
    &["state-key", "new", "--id", "a"],
    &["audit", "verify", "missing"],
    &["policy", "check", "missing"],
    &["approvals", "list"],
    &["sandbox"],
    &["tools"],
];

#[test]
fn command_accepts_the_options_that_its_help_shows() {
    let described = portkey_mcp::cli::described_command();
    for args in SMALL_COMMANDS {
        let mut command = &described;
        for name in args.iter() {
            match command.find_subcommand(name) {
                Some(below) => command = below,
                None => break,
            }
        }
        let hidden: Vec<_> = command
            .get_arguments()
            .filter(|option| option.is_global_set() && option.is_hide_set())
            .collect();
        assert!(hidden.len() > 40, "{args:?}: {}", hidden.len());
        // All at once: each of them is named.
        let given: Vec<_> = hidden.iter().map(|option| given(option)).collect();
        let given: Vec<_> = given.iter().map(String::as_str).collect();
        let (ok, _, text) = run_cli(&[*args, &given[..]].concat());
        assert!(!ok, "{args:?}");
        for option in hidden {
            let name = option.get_long().unwrap();
            let expected = format!("`--{name}` has no effect on `portkey-mcp {}", args[0]);
            assert!(text.contains(&expected), "{args:?} {name}: {text}");
        }
    }
}

#[test]
fn help_of_small_commands_has_no_options_of_portkey() {
    for path in [
        &["health"][..],
        &["token", "new"],
        &["state-key", "new"],
        &["audit", "verify"],
        &["policy", "check"],
        &["policy", "test"],
        &["config", "example"],
    ] {
        for flag in ["-h", "--help"] {
            let (ok, text, _) = run_cli(&[path, &[flag]].concat());
            assert!(ok, "{path:?}");
            for option in ["--api-key", "--base-url", "--read-only", "--approve-writes"] {
                assert!(!text.contains(option), "{path:?} {flag}: {text}");
            }
        }
    }
    let (_, text, _) = run_cli(&["audit", "verify", "-h"]);
    assert!(text.contains("--audit-key-file"), "{text}");
    let (_, text, _) = run_cli(&["health", "-h"]);
    assert!(text.contains("--ca-file"), "{text}");
}

/// Returns the number of options that a help shows. Lines of descriptions are indented further.
fn shown_options(help: &str) -> usize {
    let options = help.split("Examples:").next().unwrap();
    let is_option = |line: &&str| line.starts_with("  -") || line.starts_with("      --");
    options.lines().filter(is_option).count()
}

#[test]
fn short_help_has_a_dozen_options_and_long_help_all() {
    for path in [&[][..], &["stdio"], &["http"]] {
        let (_, short, _) = run_cli(&[path, &["-h"]].concat());
        // Beside those of clap: --help and --version.
        let shown = shown_options(&short);
        assert!((12..=14).contains(&shown), "{path:?}: {shown}: {short}");
        assert!(
            short.contains("Usage:") && short.contains("Examples:"),
            "{short}"
        );
        let (_, long, _) = run_cli(&[path, &["--help"]].concat());
        let shown = shown_options(&long);
        assert!(shown > 65, "{path:?}: {shown}");
        assert!(long.contains("\nApproval:\n"), "{long}");
    }
}

#[test]
fn help_command_prints_commands_and_groups() {
    struct Case {
        args: &'static [&'static str],
        parts: &'static [&'static str],
    }
    let cases = [
        Case {
            args: &["help"],
            parts: &["Usage: portkey-mcp", "Examples:"],
        },
        Case {
            args: &["help", "policy", "check"],
            parts: &["Usage: portkey-mcp policy check"],
        },
        Case {
            args: &["help", "options"],
            parts: &["enkrypt-ai", "--approve-writes", "replicas"],
        },
        Case {
            args: &["help", "options", "Enkrypt", "AI"],
            parts: &["--enkrypt-api-key-file", "ENKRYPT_API_KEY_FILE"],
        },
        Case {
            args: &["help", "options", "limits"],
            parts: &[
                "--max-sessions",
                "PORTKEY_MCP_MAX_SESSIONS",
                "default: 1000",
            ],
        },
    ];
    for Case { args, parts } in cases {
        let (ok, text, errors) = run_cli(args);
        assert!(ok, "{args:?}: {errors}");
        for part in parts {
            assert!(text.contains(part), "{args:?}: no `{part}` in {text}");
        }
    }
    let (ok, _, text) = run_cli(&["help", "polcy"]);
    assert!(!ok && text.contains("did you mean `policy`?"), "{text}");
    let (ok, _, text) = run_cli(&["help", "options", "limit"]);
    assert!(!ok && text.contains("did you mean `limits`?"), "{text}");
}

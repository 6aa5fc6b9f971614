//! The command line.

use std::{fs, io, process::Stdio};

use portkey_mcp::mcp::{server, surface::Surface};
use portkey_operation::Upstream;
use serde_json::{Value, json};

use crate::support::{
    catalogs::default_catalog,
    process::{command, run_cli},
    requests::client_builder,
    server::{ServerProcess, StdioServer},
};

#[test]
fn json_tool_list_equals_the_protocol_list() {
    let (ok, out, _) = run_cli(&["tools", "--format", "json"]);
    assert!(ok);
    let mut pipe = StdioServer::builder().start();
    pipe.send(r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#);
    pipe.receive();
    pipe.send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    let listed = pipe.receive()["result"]["tools"].to_string();
    assert_eq!(out.trim_end(), listed);
}

/// The examples are on unbroken lines.
#[test]
fn help_of_every_command_has_examples() {
    let commands: &[&[&str]] = &[
        &[],
        &["stdio"],
        &["http"],
        &["audit", "verify"],
        &["token", "new"],
        &["state-key", "new"],
        &["policy", "check"],
        &["policy", "explain"],
        &["policy", "test"],
        &["policy", "init"],
        &["tools"],
        &["call"],
        &["export"],
        &["drift"],
        &["approvals"],
        &["approvals", "list"],
        &["approvals", "show"],
        &["approvals", "approve"],
        &["approvals", "deny"],
        &["sandbox"],
        &["health"],
        &["config", "show"],
        &["config", "example"],
        &["help"],
    ];
    for command in commands {
        let (ok, out, _) = run_cli(&[command, &["--help"][..]].concat());
        let examples: Vec<_> = out
            .lines()
            .skip_while(|line| !matches!(*line, "Example:" | "Examples:"))
            .skip(1)
            .take_while(|line| !line.is_empty())
            .collect();
        assert!(ok && !examples.is_empty(), "{command:?}: {out}");
        for line in examples {
            assert!(line.starts_with("  "), "{command:?}: {line}");
        }
    }
}

#[test]
fn tools_command_prints_a_table_and_markdown() {
    let (ok, table, _) = run_cli(&["tools"]);
    let catalog = default_catalog().without_upstream(Upstream::Enkrypt);
    let offered =
        server::build_tools(Surface::Operations, catalog.presentation(), catalog.iter()).len();
    assert!(ok && table.lines().count() == offered + 2, "{table}");
    let line = table
        .lines()
        .find(|line| line.starts_with("delete-provider "))
        .unwrap();
    for part in ["providers", "delete", "destructive, idempotent"] {
        assert!(line.contains(part), "{line}");
    }
    let (ok, markdown, _) = run_cli(&["tools", "--format", "markdown"]);
    let line = "| `delete-provider` | `DELETE /v1/providers/{slug}` | destructive, idempotent | deletion | `providers.delete`, `virtual_keys.delete` |  |";
    assert!(ok && markdown.contains(line), "{markdown}");
}

#[test]
fn table_of_tools_keeps_its_columns() {
    let (ok, table, log) = run_cli(&["tools", "--sandbox", "--preview"]);
    assert!(ok, "{log}");
    let effect = table.lines().next().unwrap().find("EFFECT").unwrap();
    for line in table.lines().filter(|line| !line.contains(" tools ")) {
        assert_eq!(line.as_bytes()[effect - 1], b' ', "{line}");
        assert_ne!(line.as_bytes()[effect], b' ', "{line}");
    }
}

#[test]
fn tools_command_searches_by_terms() {
    let first = |args: &[&str]| {
        let (ok, out, log) = run_cli(&[&["tools", "--search"][..], args].concat());
        assert!(ok, "{args:?}: {log}");
        (out.lines().nth(1).unwrap_or_default().to_owned(), out)
    };
    let (line, table) = first(&["delete an api key"]);
    assert!(line.starts_with("delete-api-key ") && line.contains("  delete  Delete an API key"));
    assert_eq!(table.lines().count(), 11, "a head and the ten best");
    let (_, markdown) = first(&["API-Schlüssel löschen", "--format", "markdown"]);
    let line = "| `delete-api-key` | delete | Delete an API key |";
    assert_eq!(markdown.lines().nth(2), Some(line), "{markdown}");
    let (_, json) = first(&["delete an api key", "--format", "json"]);
    let tools: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&tools[0]["name"], tools.as_array().unwrap().len()),
        (&json!("delete-api-key"), 10)
    );
    for narrow in ["--read-only", "--no-delete", "--exclude-tools=delete-*"] {
        let (_, table) = first(&["delete an api key", narrow]);
        assert!(!table.contains("delete-api-key"), "{narrow}: {table}");
    }
    let enkrypt = "get an enkrypt mcp gateway";
    assert!(
        !first(&[enkrypt]).1.contains("\nget-mcp-gateway "),
        "it is off without a key"
    );
    assert!(
        first(&[enkrypt, "--sandbox"])
            .1
            .contains("\nget-mcp-gateway ")
    );
}

#[test]
fn search_without_a_match_gives_advice() {
    for words in ["", "??", "the of", "xyzzy qwrtz"] {
        let (ok, out, log) = run_cli(&["tools", "--search", words]);
        assert!(
            !ok && out.is_empty() && log.contains("Try a resource and an action"),
            "{words}: {out} {log}"
        );
    }
}

#[test]
fn call_command_calls_operations() {
    let json = |args: &[&str]| -> Value {
        let mut all = vec!["call"];
        all.extend(args);
        all.push("--sandbox");
        let (ok, out, log) = run_cli(&all);
        assert!(ok, "{args:?}: {log}");
        serde_json::from_str(&out).unwrap()
    };
    assert_eq!(
        json(&["list-all-integrations", "page_size=1"])["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        json(&["list_integrations", r#"{"page_size": 1}"#])["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        json(&["list-all-integrations", "page_size:=1"])["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        json(&[
            "create-integration",
            "name=A b",
            "ai_provider_id=openai",
            "slug=a-b",
            "key=sk"
        ])["slug"],
        "a-b"
    );
}

/// The shell can call every built-in tool that agents can call, and lists take the same list
/// options.
#[test]
fn call_command_calls_builtin_tools() {
    struct Case {
        args: &'static [&'static str],
        pointer: &'static str,
        expected: Value,
    }

    let cases: &[Case] = &[
        Case {
            args: &["whoami"],
            pointer: "/caller",
            expected: json!("local"),
        },
        Case {
            args: &["whoami"],
            pointer: "/may_read/workspaces",
            expected: json!("yes"),
        },
        Case {
            args: &["search-operations", "query=delete an api key"],
            pointer: "/operations/0/operation",
            expected: json!("delete-api-key"),
        },
        Case {
            args: &["describe_operation", "operation=get-config"],
            pointer: "/call_by",
            expected: json!("read-operation"),
        },
        Case {
            args: &[
                "read-operation",
                "operation=get-integration",
                r#"arguments:={"slug":"openai-production"}"#,
            ],
            pointer: "/slug",
            expected: json!("openai-production"),
        },
        Case {
            args: &[
                "read-operation",
                "operation=list-users",
                r#"arguments:={"fields":["id"],"pageSize":1}"#,
            ],
            pointer: "/next/fields",
            expected: json!(["id"]),
        },
        Case {
            args: &["list-all-integrations", "page_size=1"],
            pointer: "/returned",
            expected: json!(1),
        },
        Case {
            args: &["list-all-integrations", "page_size:=1"],
            pointer: "/next",
            expected: json!({ "page_size": 1, "current_page": 1 }),
        },
    ];
    for Case {
        args,
        pointer,
        expected,
    } in cases
    {
        let (ok, out, log) = run_cli(&[&["call"], *args, &["--sandbox"]].concat());
        assert!(ok, "{args:?}: {log}");
        let answer: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            answer.pointer(pointer),
            Some(expected),
            "{args:?}: {answer}"
        );
    }
    let gather = [
        "call",
        "list-all-integrations",
        "page_size=1",
        "all=true",
        "fields=slug",
        "--sandbox",
    ];
    let (ok, out, log) = run_cli(&gather);
    let list: Value = serde_json::from_str(&out).unwrap();
    let items = list["data"].as_array().unwrap();
    assert!(
        ok && items.len() > 1 && list["next"].is_null(),
        "{log}{list}"
    );
    assert!(
        items
            .iter()
            .all(|item| item.as_object().unwrap().keys().eq(["slug"])),
        "{list}"
    );
}

#[test]
fn closed_output_is_not_a_failure() {
    let cases: [&[&str]; 3] = [
        &["tools"],
        &["tools", "--format", "json"],
        &["call", "list-all-integrations", "--sandbox"],
    ];
    for args in cases {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = command(args)
            .stdin(Stdio::null())
            .stdout(writer)
            .output()
            .unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && log.is_empty(), "{args:?}: {log}");
    }
}

#[test]
fn unencrypted_upstream_address_is_warned_about() {
    let warns = |args: &[&str]| {
        let (ok, _, log) = run_cli(args);
        assert!(ok, "{args:?}: {log}");
        log.contains("unencrypted")
    };
    for (option, variable) in [
        ("--base-url", "PORTKEY_BASE_URL"),
        ("--gateway-url", "PORTKEY_GATEWAY_URL"),
        ("--registry-url", "PORTKEY_REGISTRY_URL"),
        ("--enkrypt-base-url", "ENKRYPT_BASE_URL"),
    ] {
        assert!(warns(&[option, "http://portkey.example/v1"]), "{option}");
        let unused = command(&["--sandbox"])
            .env(variable, "http://portkey.example/v1")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&unused.stderr);
        assert!(
            unused.status.success() && !log.contains("unencrypted"),
            "{option}: {log}"
        );
        assert!(!warns(&[option, "http://127.0.0.1/v1"]), "{option}");
        assert!(!warns(&[option, "https://portkey.example/v1"]), "{option}");
    }
}

#[test]
fn failing_call_exits_with_an_error_and_prints_no_result() {
    let cases: &[(&[&str], &str)] = &[
        (
            &["call", "get-integration", "slug=nope", "--sandbox"],
            "404 AB08",
        ),
        (
            &["call", "get-integration", "--sandbox"],
            "`slug`: is required",
        ),
        (
            &["call", "get-integraton", "--sandbox"],
            "did you mean `get-integration`?",
        ),
        (
            &["call", "get_server", "--sandbox"],
            "did you mean `get-mcp-server`?",
        ),
        (
            &["call", "get-integration", "slug", "--sandbox"],
            "name=text",
        ),
        (
            &["call", "get-integration", "slug=a", "slug=b", "--sandbox"],
            "given twice",
        ),
        (
            &["call", "get-integration", "slug:=a", "--sandbox"],
            "`slug` is not JSON",
        ),
        (
            &["call", "get-integration", "{slug}", "--sandbox"],
            "not a JSON object",
        ),
        (&["call", "list-all-integrations"], "PORTKEY_API_KEY"),
        (&["call", "whoami", "who=me", "--sandbox"], "`who`"),
        (
            &["call", "read-result", "handle=0f", "--sandbox"],
            "--max-result-bytes",
        ),
        (
            &["call", "list-all-integrations", "all=maybe", "--sandbox"],
            "`all`: takes true or false",
        ),
        (
            &[
                "call",
                "read-operation",
                "operation=delete-config",
                "--sandbox",
            ],
            "`delete-operation`",
        ),
    ];
    for (args, expected) in cases {
        let (ok, out, log) = run_cli(args);
        assert!(
            !ok && out.is_empty() && log.contains(expected),
            "{args:?}: {out} {log}"
        );
    }
}

#[test]
fn invalid_options_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    fs::write(&empty, "\n").unwrap();
    let empty = empty.to_str().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (
            &["--base-url", "portkey"],
            "such as https://api.portkey.ai/v1",
        ),
        (&["--base-url", "ftp://x/v1"], "only http and https"),
        (
            &[
                "call",
                "list-all-integrations",
                "--base-url",
                "https://user:pw@x/v1",
            ],
            "credentials",
        ),
        (&["--base-url", "https://x/v1?a=b"], "query"),
        (&["--timeout", "0"], "above zero"),
        (&["--timeout", "soon"], "number of seconds"),
        (
            &["--api-key-file", "/nonexistent/key"],
            "cannot read the key file",
        ),
        (&["--api-key-file", empty], "the API key is empty"),
        (&["--api-key", "a\nb"], "line breaks"),
        (&["--api-key", "a", "--api-key-file", empty], "set only one"),
        (&["--ca-file", empty], "no PEM certificates"),
        (&["--sandbox-faults", "often"], "429:0.2"),
        (&["--sandbox-now", "tomorrow"], "2026-05-31T12:00:00Z"),
        (&["--log-level", "a=b=c"], "portkey-mcp:"),
        (&["--tools-page", "0"], "--tools-page"),
    ];
    for (args, expected) in cases {
        let (ok, out, log) = run_cli(args);
        assert!(
            !ok && out.is_empty() && log.contains(expected),
            "{args:?}: {log}"
        );
        assert!(!log.contains("pw@"), "{log}");
    }
}

#[test]
fn sandbox_clock_is_set_by_option_or_variable() {
    let args = ["call", "create-label", "name=new", "--sandbox"];
    let made = "2024-02-29T12:00:00Z";
    let outputs = [
        command(&[&args[..], &["--sandbox-now", made]].concat())
            .output()
            .unwrap(),
        command(&args)
            .env("PORTKEY_MCP_SANDBOX_NOW", made)
            .output()
            .unwrap(),
    ];
    let [option, variable] = outputs.map(|output| {
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    });
    assert_eq!(option, variable);
    let listed = [
        "call",
        "list-all-workspaces",
        "--sandbox",
        "--sandbox-now",
        made,
    ];
    let listed: Value = serde_json::from_str(&run_cli(&listed).1).unwrap();
    assert_eq!(listed["data"][0]["created_at"], "2023-10-22T10:00:00.000Z");
}

#[test]
fn key_is_read_from_a_variable_or_a_file() {
    let sandbox = ServerProcess::sandbox_api().start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    fs::write(&file, "pk-from-file\n").unwrap();
    let args = [
        "call",
        "list-all-integrations",
        "--base-url",
        sandbox.url.as_str(),
    ];
    let ways: [&[(&str, &str)]; 3] = [
        &[("PORTKEY_API_KEY", "pk-from-variable")],
        &[("PORTKEY_API_KEY_FILE", file.to_str().unwrap())],
        &[
            ("PORTKEY_API_KEY", ""),
            ("PORTKEY_API_KEY_FILE", file.to_str().unwrap()),
        ],
    ];
    for way in ways {
        let output = command(&args).envs(way.iter().copied()).output().unwrap();
        assert!(
            output.status.success(),
            "{way:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let output = command(&args).env("PORTKEY_API_KEY", "").output().unwrap();
    assert!(!output.status.success(), "an empty variable is no key");
}

/// MCP clients pass unset variables as empty ones.
#[test]
fn empty_variables_are_ignored() {
    let (_, help, _) = run_cli(&["http", "--help"]);
    let variables: Vec<_> = help
        .split("[env: ")
        .skip(1)
        .filter_map(|rest| rest.split([']', '=']).next())
        .collect();
    assert!(variables.len() > 15, "{variables:?}");
    let mut call = command(&["call", "list-all-integrations", "--sandbox"]);
    let output = call
        .envs(variables.iter().map(|name| (name, "")))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn boolean_variable_accepts_several_spellings() {
    for (word, on) in [
        ("1", true),
        ("true", true),
        ("yes", true),
        ("0", false),
        ("off", false),
    ] {
        let mut call = command(&["call", "list-all-integrations"]);
        let output = call.env("PORTKEY_MCP_SANDBOX", word).output().unwrap();
        assert_eq!(output.status.success(), on, "{word}");
    }
}

/// `portkey-mcp sandbox` emulates Portkey for other clients.
#[tokio::test]
async fn sandbox_command_serves_other_clients() {
    let sandbox = ServerProcess::sandbox_api().start();
    let url = format!("{}/integrations?page_size=1", sandbox.url);
    let client = client_builder().build().unwrap();
    assert_eq!(client.get(&url).send().await.unwrap().status(), 401);
    let answer = client
        .get(&url)
        .header("x-portkey-api-key", "any")
        .send()
        .await
        .unwrap();
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(
        (&body["object"], body["data"].as_array().unwrap().len()),
        (&json!("list"), 1)
    );
    let (status, log) = tokio::task::spawn_blocking(|| sandbox.terminate())
        .await
        .unwrap();
    assert!(status.success(), "{log}");
}

#[test]
fn json_log_format_writes_json_lines() {
    let mut pipe = StdioServer::builder()
        .args(&["--log-format", "json", "--log-level", "debug"])
        .sandbox()
        .start();
    pipe.send(r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#);
    pipe.receive();
    pipe.send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list-all-integrations"}}"#);
    pipe.receive();
    let (_, _, log) = pipe.end();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let call = lines
        .iter()
        .find(|line| line["fields"]["tool"] == "list-all-integrations");
    assert!(
        call.is_some_and(|line| line["fields"]["duration_ms"].is_number()),
        "{log}"
    );
}

//! Surfaces: the same operations behind a dozen tools, for real clients over both transports and
//! both protocols.

use portkey_api::catalog::Catalog;
use portkey_mcp::{
    mcp::surface::{BuiltinAction, Surface, builtin_tools},
    workflows::WORKFLOWS,
};
use serde_json::{Value, json};

use crate::support::{
    catalogs::default_catalog,
    official_client::{ConnectedClient, connect_everywhere},
    process::run_cli,
};

const COMPACT: [&str; 5] = [
    "--sandbox",
    "--surface",
    "compact",
    "--max-result-bytes",
    "1500",
];

/// Clients ask for confirmation by hints. The hints of a tool must cover all operations that it can
/// call.
#[test]
fn tool_hints_cover_all_reachable_operations() {
    let catalog = Catalog::full();
    for own in builtin_tools() {
        let BuiltinAction::Execute(effect) = own.action else {
            continue;
        };
        let promised = own.operation.hints();
        let workflows = WORKFLOWS.iter().map(|workflow| &workflow.operation);
        let reached = catalog.iter().map(|entry| entry.operation).chain(workflows);
        for operation in reached.filter(|operation| operation.effect() == effect) {
            let name = operation.name();
            let hints = operation.hints();
            assert!(!promised.read_only || hints.read_only, "{name}");
            assert!(promised.destructive || !hints.destructive, "{name}");
            assert!(!promised.idempotent || hints.idempotent, "{name}");
            assert!(promised.open_world || !hints.open_world, "{name}");
        }
    }
}

/// Returns the result, or the whole error text.
async fn call_or_error_text(
    client: &ConnectedClient,
    tool: &'static str,
    args: Value,
) -> Result<Value, String> {
    let result = client.result(tool, args).await;
    let texts: Vec<_> = result
        .content
        .iter()
        .map(|block| block.as_text().unwrap().text.clone())
        .collect();
    match result.is_error {
        Some(true) => Err(texts.join("\n")),
        _ => Ok(result.structured_content.unwrap()),
    }
}

#[tokio::test]
async fn compact_surface_finds_describes_and_calls_operations() {
    struct Case {
        query: &'static str,
        effect: Option<&'static str>,
        first: &'static str,
    }

    for client in connect_everywhere(&COMPACT, &[]).await {
        let way = client.way;
        let names: Vec<_> = client
            .tools()
            .await
            .iter()
            .map(|tool| tool.name.to_string())
            .collect();
        assert_eq!(
            names,
            Surface::Compact
                .builtin_tools(|_| true, |_| true)
                .map(|own| own.operation.name())
                .collect::<Vec<_>>()
        );

        for Case {
            query,
            effect,
            first,
        } in [
            Case {
                query: "turn off an AI provider key",
                effect: None,
                first: "",
            },
            Case {
                query: "add openai credentials for everyone",
                effect: Some("create"),
                first: "create-integration",
            },
            Case {
                query: "Ausgaben pro Modell",
                effect: Some("read"),
                first: "",
            },
        ] {
            let mut args = json!({ "query": query, "limit": 5 });
            args["effect"] = effect.map_or(Value::Null, Value::from);
            let found = call_or_error_text(&client, "search-operations", args)
                .await
                .unwrap();
            let found = found["operations"].as_array().unwrap();
            assert!((1..=5).contains(&found.len()), "{way} {query}: {found:?}");
            let names: Vec<_> = found
                .iter()
                .map(|one| one["operation"].as_str().unwrap())
                .collect();
            assert!(
                first.is_empty() || names.contains(&first),
                "{way} {query}: {names:?}"
            );
            let call_by = effect.map(|effect| format!("{effect}-operation"));
            let fits = |one: &&Value| call_by.as_deref().is_none_or(|by| one["call_by"] == by);
            assert!(
                found.iter().all(|one| fits(&one)),
                "{way} {query}: {found:?}"
            );
        }

        let described = json!({ "operation": "create_integration" });
        let described = call_or_error_text(&client, "describe-operation", described)
            .await
            .unwrap();
        assert_eq!(
            described["call_by"], "create-operation",
            "{way}: {described}"
        );
        let required = described["arguments"]["required"].as_array().unwrap();
        assert!(
            required.contains(&json!("ai_provider_id")),
            "{way}: {described}"
        );

        let made = json!({ "name": "A", "slug": "a", "ai_provider_id": "openai", "key": "sk-1" });
        let call = json!({ "operation": "create-integration", "arguments": made });
        call_or_error_text(&client, "create-operation", call)
            .await
            .unwrap();
        let call = |name: &str| json!({ "operation": name, "arguments": { "slug": "a" } });
        let read = call_or_error_text(&client, "read_operation", call("get-integration"))
            .await
            .unwrap();
        assert_eq!(read["name"], "A", "{way}");
        let update =
            json!({ "operation": "update-integration", "arguments": { "slug": "a", "name": "B" } });
        call_or_error_text(&client, "update-operation", update)
            .await
            .unwrap();
        // By its own name, which is not listed.
        let read = call_or_error_text(&client, "get-integration", json!({ "slug": "a" }))
            .await
            .unwrap();
        assert_eq!(read["name"], "B", "{way}");
        let listed = json!({ "operation": "list-all-integrations" });
        assert!(
            call_or_error_text(&client, "read-operation", listed)
                .await
                .is_ok(),
            "{way}"
        );
        call_or_error_text(&client, "delete-operation", call("delete-integration"))
            .await
            .unwrap();
        let gone = call_or_error_text(&client, "read-operation", call("get-integration"))
            .await
            .unwrap_err();
        assert!(gone.contains("404"), "{way}: {gone}");

        // A truncated result is readable.
        let all = json!({ "operation": "list-all-integrations", "arguments": { "all": true } });
        let cut = call_or_error_text(&client, "read-operation", all)
            .await
            .unwrap();
        let handle = cut["truncated"]["handle"]
            .as_str()
            .unwrap_or_else(|| panic!("{way}: {cut}"));
        let rest = json!({ "handle": handle, "pointer": "/data", "offset": 1, "limit": 2 });
        let rest = call_or_error_text(&client, "read-result", rest)
            .await
            .unwrap();
        assert_eq!(rest["data"].as_array().unwrap().len(), 2, "{way}: {rest}");
        let foreign = call_or_error_text(&client, "read-result", json!({ "handle": "x" }))
            .await
            .unwrap_err();
        assert!(
            foreign.contains("there is no such handle"),
            "{way}: {foreign}"
        );
        for (name, most) in [("search", 256), ("pointer", 2_048)] {
            let long = json!({ "handle": handle, name: "x".repeat(most + 1) });
            let error = call_or_error_text(&client, "read-result", long)
                .await
                .unwrap_err();
            assert!(
                error.contains(name) && error.contains(&most.to_string()),
                "{way}: {error}"
            );
        }

        let me = call_or_error_text(&client, "whoami", json!({}))
            .await
            .unwrap();
        assert_eq!(
            (&me["caller"], &me["may_read"]["workspaces"]),
            (&json!("local"), &json!("yes"))
        );
    }
}

#[tokio::test]
async fn compact_surface_errors_name_the_fix() {
    struct Case {
        tool: &'static str,
        args: Value,
        words: &'static [&'static str],
    }

    let client = &connect_everywhere(&COMPACT, &[]).await[1];
    for Case { tool, args, words } in [
        Case {
            tool: "read-operation",
            args: json!({ "operation": "delete-integration", "arguments": { "slug": "openai-production" } }),
            words: &["of the effect delete", "`delete-operation`"] as &[&str],
        },
        Case {
            tool: "delete-operation",
            args: json!({ "operation": "get-integration" }),
            words: &["`read-operation`"],
        },
        Case {
            tool: "read-operation",
            args: json!({ "operation": "get-integration", "arguments": { "slog": "a" } }),
            words: &[
                "slug",
                "`get-integration` takes, as JSON Schema: {",
                "\"required\":[\"slug\"]",
            ],
        },
        Case {
            tool: "read-operation",
            args: json!({ "operation": "get-integrations" }),
            words: &["did you mean `get-integration`?"],
        },
        Case {
            tool: "read-operation",
            args: json!({ "operation": "whoami" }),
            words: &["`whoami` is a built-in tool and no operation; call it by its own name"],
        },
        Case {
            tool: "read-operation",
            args: json!({}),
            words: &["operation"],
        },
        Case {
            tool: "search-operations",
            args: json!({ "query": "" }),
            words: &["query"],
        },
        Case {
            tool: "search-operations",
            args: json!({ "query": "x", "effect": "destroy" }),
            words: &["effect", "delete"],
        },
        Case {
            tool: "describe-operation",
            args: json!({ "operation": "make-coffee" }),
            words: &["there is no tool `make-coffee`"],
        },
        Case {
            tool: "whoami",
            args: json!({ "who": "me" }),
            words: &["who"],
        },
    ] {
        let error = call_or_error_text(client, tool, args.clone())
            .await
            .unwrap_err();
        for words in words {
            assert!(
                error.contains(words),
                "{tool} {args}: no {words} in {error}"
            );
        }
    }
    let there = call_or_error_text(
        client,
        "get-integration",
        json!({ "slug": "openai-production" }),
    )
    .await;
    assert!(there.is_ok());
}

/// Tool filters and policies apply to operations through every tool.
#[tokio::test]
async fn denied_operations_are_denied_through_every_tool() {
    struct Case {
        tool: &'static str,
        operation: &'static str,
        words: &'static str,
    }

    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    let text = "version: '1'\nhide: [list-users]\nrules: [{ name: no, action: deny, match: { tools: [get-config] } }]";
    std::fs::write(&policy, text).unwrap();
    let args = [
        &COMPACT[..],
        &["--read-only", "--policy", policy.to_str().unwrap()],
    ]
    .concat();
    for client in connect_everywhere(&args, &[]).await {
        let way = client.way;
        let tools = client.tools().await;
        let names: Vec<_> = tools.iter().map(|tool| &*tool.name).collect();
        assert_eq!(
            names,
            [
                "describe-operation",
                "find-usages",
                "read-operation",
                "read-result",
                "report-budgets",
                "report-costs",
                "search-operations",
                "whoami"
            ]
        );
        for Case {
            tool,
            operation,
            words,
        } in [
            Case {
                tool: "delete-operation",
                operation: "delete-integration",
                words: "`delete-integration` is not on offer: ",
            },
            Case {
                tool: "describe-operation",
                operation: "create-config",
                words: "`create-config` is not on offer here",
            },
            Case {
                tool: "describe-operation",
                operation: "list-users",
                words: "`list-users` is not on offer here",
            },
            Case {
                tool: "read-operation",
                operation: "create-config",
                words: "`create-config` is not on offer here",
            },
            Case {
                tool: "read-operation",
                operation: "list-users",
                words: "`list-users` is hidden by the policy",
            },
        ] {
            let error = call_or_error_text(&client, tool, json!({ "operation": operation }))
                .await
                .unwrap_err();
            assert!(error.contains(words), "{way} {operation}: {error}");
        }
        let call = json!({ "operation": "get-config", "arguments": { "slug": "a" } });
        let error = call_or_error_text(&client, "read-operation", call)
            .await
            .unwrap_err();
        assert!(
            error.contains("the policy rule `no` denies `get-config`"),
            "{way}: {error}"
        );
    }
}

#[test]
fn tools_command_lists_the_tools_of_a_surface() {
    let builtin_count = |surface: Surface| surface.builtin_tools(|_| true, |_| true).count();
    let compact = builtin_count(Surface::Compact);
    let all = default_catalog().iter().count() + builtin_count(Surface::Operations);
    for (more, count) in [(&["--surface", "compact"] as &[&str], compact), (&[], all)] {
        let (ok, out, log) = run_cli(&[&["tools", "--format", "json", "--sandbox"], more].concat());
        let listed: Vec<Value> = serde_json::from_str(&out).unwrap();
        assert!(ok && listed.len() == count, "{}: {log}", listed.len());
        let (ok, out, log) = run_cli(&[&["tools", "--sandbox"], more].concat());
        assert!(
            ok && out.contains("whoami") && out.contains(&format!("{count} tools")),
            "{log}"
        );
    }
}

/// A workflow that the compact surface does not list is found, described and called like an operation.
#[tokio::test]
async fn unlisted_workflow_is_called_like_an_operation() {
    for client in connect_everywhere(&["--sandbox", "--surface", "compact"], &[]).await {
        let way = client.way;
        let query = json!({ "query": "who can do too much" });
        let found = client.call("search-operations", query).await.unwrap();
        let hit = json!({ "tool": "review-access", "title": "Review access", "call_by": "read-operation" });
        let hits = found["tools"].as_array().unwrap();
        assert!(hits.contains(&hit), "{way}: {found}");
        let name = json!({ "operation": "review-access" });
        let described = client.call("describe-operation", name).await.unwrap();
        assert_eq!(described["call_by"], "read-operation", "{way}");
        assert!(
            described["arguments"]["properties"]["workspace_id"].is_object(),
            "{way}"
        );
        let call = json!({ "operation": "review-access", "arguments": { "unused_days": 7 } });
        let direct = json!({ "unused_days": 7 });
        let called = client.call("read-operation", call.clone()).await.unwrap();
        let expected = client.call("review-access", direct).await.unwrap();
        assert_eq!(called["findings"], expected["findings"], "{way}");
        let refused = client.call("delete-operation", call).await.unwrap_err();
        assert!(
            refused.contains("call it by `read-operation`"),
            "{way}: {refused}"
        );
        let wrong = json!({ "operation": "review-access", "arguments": { "unused": 7 } });
        let refused = client.call("read-operation", wrong).await.unwrap_err();
        assert!(refused.contains("unused_days"), "{way}: {refused}");
    }
}

//! Calls through the compact tools are audited under the name of their operation.

use serde_json::{Value, json};

use super::{AuditFolder, assert_fields, create_arguments};
use crate::support::{requests, server::serve_sandbox};

#[tokio::test]
async fn rejected_call_through_a_compact_tool_is_audited() {
    struct Case {
        tool: &'static str,
        arguments: Value,
        expected: Value,
    }

    let folder = AuditFolder::new();
    let options = [
        "--audit-log",
        &folder.log_path(),
        "--surface",
        "compact",
        "--no-delete",
    ];
    let server = serve_sandbox(&options);
    let by = |operation: &str, arguments: Value| json!({ "operation": operation, "arguments": arguments });
    let turned_back = |tool: &str, effect: &str| {
        json!({
            "tool": tool, "effect": effect, "decision": "allow", "outcome": "rejected",
            "arguments": null, "target": null, "status": null,
        })
    };
    let withheld = json!({
        "tool": "delete-integration", "effect": "delete", "decision": "deny", "rule": "mode",
        "outcome": "withheld",
    });
    let slug = json!({ "slug": "openai-production" });
    let cases = [
        // An operation of another effect, an unknown operation, and no operation.
        Case {
            tool: "read-operation",
            arguments: by("create-integration", create_arguments("mine")),
            expected: turned_back("create-integration", "create"),
        },
        Case {
            tool: "read-operation",
            arguments: by("delete_integration", slug.clone()),
            expected: turned_back("delete-integration", "delete"),
        },
        Case {
            tool: "update-operation",
            arguments: by("sk-planted", json!({})),
            expected: turned_back("update-operation", "update"),
        },
        Case {
            tool: "create-operation",
            arguments: json!({}),
            expected: turned_back("create-operation", "create"),
        },
        // A tool that is not offered has the same entry under either name.
        Case {
            tool: "delete-operation",
            arguments: by("delete-integration", slug.clone()),
            expected: withheld.clone(),
        },
        Case {
            tool: "delete-integration",
            arguments: slug,
            expected: withheld,
        },
        // Accepted by the compact tool and rejected by the validation.
        Case {
            tool: "read-operation",
            arguments: by("get-integration", json!({ "slugg": "x" })),
            expected: turned_back("get-integration", "read"),
        },
        // The list options are not in the schema of the tool.
        Case {
            tool: "list-all-integrations",
            arguments: json!({ "fields": 7 }),
            expected: turned_back("list-all-integrations", "read"),
        },
        Case {
            tool: "read-operation",
            arguments: by("list-users", json!({ "all": "maybe" })),
            expected: turned_back("list-users", "read"),
        },
        Case {
            tool: "read-operation",
            arguments: by("list-users", json!({ "pageSize": 1 })),
            expected: json!({ "tool": "list-users", "outcome": "answered", "arguments": { "pageSize": 1 } }),
        },
    ];
    for Case {
        tool, arguments, ..
    } in &cases
    {
        requests::call_request(&server, tool, arguments.clone())
            .send()
            .await
            .unwrap();
        // These tools send no request to Portkey, so they have no entry.
        for (tool, arguments) in [
            ("search-operations", json!({ "query": "users" })),
            ("describe-operation", json!({ "operation": "sk-planted" })),
            ("read-result", json!({ "handle": "x" })),
        ] {
            requests::call_request(&server, tool, arguments)
                .send()
                .await
                .unwrap();
        }
    }
    assert!(server.terminate().0.success());
    let lines = folder.entries();
    assert_eq!(lines.len(), cases.len(), "{lines:#?}");
    for (line, Case { expected, .. }) in lines.iter().zip(&cases) {
        assert_fields(line, expected);
    }
    assert_eq!(lines[4]["arguments_hmac"], lines[5]["arguments_hmac"]);
    assert!(!json!(lines).to_string().contains("sk-planted"));
}

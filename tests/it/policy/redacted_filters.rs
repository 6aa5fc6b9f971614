//! Filters by a field that a policy redacts are rejected: what matches would tell the hidden value.

use serde_json::{Value, json};

use crate::support::{
    official_client::{ConnectedClient, connect_everywhere},
    policy::PolicyFile,
};

const POLICY: &str = r#"
version: "1"
rules:
  - { name: no-costs, redact: ["rows[].cost", "rows[].metadata.customer"], match: { tools: [download-log-export] } }
  - { name: no-trace, redact: ["trace_id"], match: { tools: [get-log] } }
  - { name: no-mail, redact: ["data[].email"], match: { tools: [list-users] } }
  - { name: no-names, redact: ["data[].name"], match: { tools: [list-labels] } }
  - { name: no-address, redact: ["records[].client_ip"], match: { tools: [list-audit-logs] } }
"#;

/// A call, and the rule that rejects it; empty if it is made.
struct Case {
    tool: &'static str,
    args: Value,
    rule: &'static str,
}

fn case(tool: &'static str, args: Value, rule: &'static str) -> Case {
    Case { tool, args, rule }
}

fn export(filters: Value) -> Value {
    let mut all = json!({ "time_of_generation_min": "2026-01-01T00:00:00Z" });
    all.as_object_mut()
        .unwrap()
        .extend(filters.as_object().unwrap().clone());
    json!({ "filters": all, "requested_data": ["id"], "workspace_id": "ws-research" })
}

fn traffic(filter: Value) -> Value {
    let mut all = json!({ "time_of_generation_min": "7d", "time_of_generation_max": "now" });
    all.as_object_mut()
        .unwrap()
        .extend(filter.as_object().unwrap().clone());
    all
}

async fn assert_cases(client: &ConnectedClient, cases: Vec<Case>) {
    for Case { tool, args, rule } in cases {
        let answer = client.call(tool, args.clone()).await;
        let what = format!("{} {tool} {args}: {answer:?}", client.way);
        match rule {
            "" => assert!(answer.is_ok(), "{what}"),
            rule => {
                let error = answer.unwrap_err();
                assert!(error.contains(&format!("`{rule}`")), "{what}");
                assert!(error.contains("Leave the filter out"), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn filters_by_redacted_fields_are_rejected() {
    let policy = PolicyFile::with(POLICY);
    for client in connect_everywhere(&["--sandbox", "--policy", policy.path()], &[]).await {
        let create = "create-log-export";
        assert_cases(
            &client,
            vec![
                case(create, export(json!({})), ""),
                case(create, export(json!({ "ai_model": "gpt-4o" })), ""),
                case(create, export(json!({ "cost_min": 3 })), "no-costs"),
                case(create, export(json!({ "cost_max": 3 })), "no-costs"),
                case(
                    create,
                    export(json!({ "metadata": { "customer": "a" } })),
                    "no-costs",
                ),
                case(create, export(json!({ "trace_id": "t" })), "no-trace"),
                // By the names that other servers have for the filter.
                case(
                    create,
                    json!({ "cost_min": 3, "requested_data": ["id"], "workspace_id": "ws-research",
                        "time_min": "2026-01-01T00:00:00Z" }),
                    "no-costs",
                ),
                case("get-requests-graph", traffic(json!({})), ""),
                case(
                    "get-requests-graph",
                    traffic(json!({ "configs": "pc-a" })),
                    "",
                ),
                case(
                    "get-requests-graph",
                    traffic(json!({ "cost_min": 3 })),
                    "no-costs",
                ),
                case(
                    "get-users-grouped-data",
                    traffic(json!({ "trace_id": "t" })),
                    "no-trace",
                ),
                case("list-users", json!({}), ""),
                case("list-users", json!({ "role": "admin" }), ""),
                case(
                    "list-users",
                    json!({ "email": "ada@example.com" }),
                    "no-mail",
                ),
                case("list-labels", json!({ "workspace_id": "ws-research" }), ""),
                case("list-labels", json!({ "search": "prod" }), "no-names"),
                case(
                    "list-audit-logs",
                    json!({ "start_time": "7d", "end_time": "now", "action": "update" }),
                    "",
                ),
                case(
                    "list-audit-logs",
                    json!({ "start_time": "7d", "end_time": "now", "client_ip": "10.0.0.1" }),
                    "no-address",
                ),
            ],
        )
        .await;
        client.client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn draft_does_not_get_a_filter_by_a_redacted_field() {
    let policy = PolicyFile::with(POLICY);
    let options = ["--sandbox", "--policy", policy.path()];
    let client = connect_everywhere(&options, &[]).await.remove(0);
    let draft = client.call("create-log-export", export(json!({}))).await;
    let id = draft.unwrap()["id"].clone();
    let mut replaced = export(json!({ "cost_min": 3 }));
    replaced["export_id"] = id.clone();
    let patch = json!({ "export_id": id, "patch": { "filters": { "cost_min": 3 } } });
    let steps = json!({ "steps": [{ "tool": "update-log-export", "arguments": replaced }] });
    assert_cases(
        &client,
        vec![
            case("update-log-export", replaced.clone(), "no-costs"),
            case("update-log-export", patch, "no-costs"),
        ],
    )
    .await;
    // Nor by a plan.
    let planned = client.call("plan-changes", steps).await;
    let text = format!("{planned:?}");
    assert!(text.contains("no-costs"), "{text}");
    let export = client.call("get-log-export", json!({ "export_id": id }));
    let export = export.await.unwrap();
    assert!(export["filters"].get("cost_min").is_none(), "{export}");
}

/// The workflow filters the rows itself, after they were redacted.
#[tokio::test]
async fn workflow_reads_an_export_without_such_a_filter() {
    let policy = PolicyFile::with(POLICY);
    let options = ["--sandbox", "--policy", policy.path()];
    let client = connect_everywhere(&options, &[]).await.remove(0);
    let args =
        json!({ "workspace_id": "ws-research", "period": "6h", "trace_id": "none", "cost_min": 1 });
    let answer = client.call("read-log-export", args).await.unwrap();
    assert_eq!(answer["matched"], 0, "{answer}");
}

/// The link leads to the whole file, whatever is redacted of its rows.
#[tokio::test]
async fn workflow_reads_a_file_whose_link_is_redacted() {
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - { name: no-link, redact: [\"signed_url\", \"rows[].request\"], match: { tools: \
         [download-log-export] } }\n",
    );
    let options = ["--sandbox", "--policy", policy.path()];
    let client = connect_everywhere(&options, &[]).await.remove(0);
    let args = json!({ "workspace_id": "ws-research", "period": "6h", "limit": 1, "fields": ["id", "request"] });
    let answer = client.call("read-log-export", args).await.unwrap();
    assert!(answer["read"].as_u64().unwrap() > 0, "{answer}");
    assert_eq!(answer["rows"][0]["request"], "[redacted by policy]");
    let link = json!({ "export_id": answer["export"]["id"] });
    let link = client.call("download-log-export", link).await.unwrap();
    assert_eq!(link["signed_url"], "[redacted by policy]", "{link}");
}

//! Workspace exclusions: two independent lists.

use reqwest::Method;
use serde_json::{Value, json};

use super::Portkey;

const INPUT_PATH: &str = "/workspace-exclusions/input-guardrails";
const OUTPUT_PATH: &str = "/workspace-exclusions/output-guardrails";

fn exclusion_rows(rows: &[(&str, bool)], replace: bool) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|(id, excluded)| json!({ "workspace_id": id, "excluded": excluded }))
        .collect();
    json!({ "workspaces": rows, "override_existing": replace })
}

#[tokio::test]
async fn exclusions_are_merged_unless_replacement_is_requested() {
    let portkey = Portkey::start().await;
    let id = |workspace: Value| workspace["id"].as_str().unwrap().to_owned();
    let shared = id(portkey.get("/admin/workspaces/ws-shared").await);
    let research = id(portkey.get("/admin/workspaces/ws-research").await);
    let output = portkey.get(OUTPUT_PATH).await;
    // Each row continues from the previous one; slugs are returned as ids.
    for (change, expected) in [
        (exclusion_rows(&[], false), vec![(&research, true)]),
        (
            exclusion_rows(&[("ws-shared", true)], false),
            vec![(&research, true), (&shared, true)],
        ),
        (
            exclusion_rows(&[(&research, false)], false),
            vec![(&research, false), (&shared, true)],
        ),
        (
            exclusion_rows(&[("ws-research", true)], true),
            vec![(&research, true)],
        ),
        (exclusion_rows(&[], true), vec![]),
    ] {
        assert_eq!(
            portkey.put(INPUT_PATH, change.clone()).await,
            json!({}),
            "{change}"
        );
        let expected: Vec<(&str, bool)> = expected
            .iter()
            .map(|(id, excluded)| (id.as_str(), *excluded))
            .collect();
        assert_eq!(
            portkey.get(INPUT_PATH).await["workspaces"],
            exclusion_rows(&expected, false)["workspaces"],
            "{change}"
        );
    }
    assert_eq!(
        portkey.get(OUTPUT_PATH).await,
        output,
        "the other list has changed"
    );
}

#[tokio::test]
async fn invalid_exclusion_is_rejected() {
    let portkey = Portkey::start().await;
    let twice = exclusion_rows(&[("ws-shared", true), ("ws-shared", false)], false);
    let elsewhere = json!({ "workspaces": [], "organisation_id": "another" });
    for (body, status) in [
        (json!({}), 400),
        (
            json!({ "workspaces": [{ "workspace_id": "ws-shared" }] }),
            400,
        ),
        (
            json!({ "workspaces": [{ "workspace_id": "ws-shared", "excluded": 1 }] }),
            400,
        ),
        (twice, 400),
        (exclusion_rows(&[("ws-none", true)], false), 403),
        (elsewhere, 403),
    ] {
        for path in [INPUT_PATH, OUTPUT_PATH] {
            let refusal = portkey.refusal(Method::PUT, path, body.clone()).await;
            assert_eq!(refusal.0, status, "{path} {body}: {}", refusal.2);
        }
    }
}

//! Determinism: equal calls get equal responses, byte for byte, in every sandbox.

use reqwest::Method;
use serde_json::{Value, json};

use super::Portkey;

async fn record_transcript() -> Vec<(u16, String, String)> {
    let portkey = Portkey::start().await;
    let integration = json!({ "name": "Two Words", "ai_provider_id": "openai", "key": "k",
        "workspace_id": "ws-shared" });
    let provider =
        json!({ "name": "P", "integration_id": "anthropic", "workspace_id": "ws-shared" });
    let mut transcript = Vec::new();
    for (method, path, body) in [
        (Method::GET, "/integrations", Value::Null),
        (Method::POST, "/integrations", integration.clone()),
        (Method::POST, "/integrations", integration),
        (Method::POST, "/providers", provider),
        (
            Method::GET,
            "/providers?workspace_id=ws-shared",
            Value::Null,
        ),
        (Method::POST, "/mcp-integrations/old-wiki/test", Value::Null),
        (
            Method::GET,
            "/mcp-integrations/issue-tracker/capabilities",
            Value::Null,
        ),
        (Method::GET, "/admin/workspaces", Value::Null),
        (Method::DELETE, "/integrations/anthropic", Value::Null),
        (Method::GET, "/integrations/anthropic", Value::Null),
        (Method::GET, "/integrations", Value::Null),
    ] {
        let answer = portkey.send(method, path, body).await;
        let id = answer.headers()["x-portkey-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        transcript.push((answer.status().as_u16(), id, answer.text().await.unwrap()));
    }
    transcript
}

#[tokio::test]
async fn two_sandboxes_give_equal_responses() {
    let (one, other) = tokio::join!(record_transcript(), record_transcript());
    assert_eq!(one, other);
}

#[tokio::test]
async fn two_sandboxes_share_no_state() {
    let one = Portkey::start().await;
    let other = Portkey::start().await;
    one.delete("/integrations/anthropic").await;
    other.get("/integrations/anthropic").await;
}

#[tokio::test]
async fn slug_is_a_prefix_of_the_name_with_six_hex_digits() {
    struct Case {
        path: &'static str,
        body: Value,
        begins: &'static str,
    }
    let portkey = Portkey::start().await;
    for Case { path, body, begins } in [
        Case {
            path: "/configs",
            body: json!({ "name": "cencora-gemini-ocr", "config": {} }),
            begins: "pc-cencor-",
        },
        Case {
            path: "/configs",
            body: json!({ "name": "pea websearch", "config": {} }),
            begins: "pc-pea-we-",
        },
        Case {
            path: "/prompts",
            body: json!({ "name": "gira-summarize-thread", "collection_id": "co-replies",
                "string": "", "parameters": {}, "virtual_key": "anthropic" }),
            begins: "pp-gira-summa-",
        },
        Case {
            path: "/collections",
            body: json!({ "name": "gira" }),
            begins: "co-gira-",
        },
        Case {
            path: "/guardrails",
            body: json!({ "name": "Sync Guard", "actions": {}, "checks": [{ "id": "a.b" }] }),
            begins: "pg-sync-g-",
        },
        Case {
            path: "/admin/workspaces",
            body: json!({ "name": "Shared Team Workspace" }),
            begins: "ws-shared-",
        },
        Case {
            path: "/providers",
            body: json!({ "name": "Copy of Anthropic", "integration_id": "anthropic" }),
            begins: "copy-of-anthrop-",
        },
    ] {
        let mut slugs = Vec::new();
        for _ in 0..2 {
            let mut body = body.clone();
            body["workspace_id"] = json!("ws-support-bot");
            let made = portkey.post(path, body).await;
            let slug = made["slug"].as_str().unwrap().to_owned();
            let digits = slug
                .strip_prefix(begins)
                .unwrap_or_else(|| panic!("{slug}"));
            let are_hex = digits
                .chars()
                .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
            assert!(digits.len() == 6 && are_hex, "{slug}");
            slugs.push(slug);
        }
        assert_ne!(slugs[0], slugs[1], "the same name twice");
    }
}

#[tokio::test]
async fn ids_are_uuids_and_never_repeat() {
    let portkey = Portkey::start().await;
    let mut ids = Vec::new();
    for path in ["/integrations", "/mcp-integrations", "/admin/workspaces"] {
        let list = portkey.get(path).await;
        ids.extend(
            super::string_column(&list["data"], "id")
                .iter()
                .map(|id| (*id).to_owned()),
        );
    }
    for id in &ids {
        let widths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(widths, [8, 4, 4, 4, 12], "{id}");
        assert!(
            id.chars().all(|c| c == '-' || c.is_ascii_hexdigit()),
            "{id}"
        );
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[tokio::test]
async fn new_sandbox_contains_a_small_organisation() {
    let portkey = Portkey::start().await;
    let workspaces = portkey.get("/admin/workspaces").await;
    assert_eq!(
        workspaces["data"][0]["created_at"],
        "2025-08-23T22:00:00.000Z"
    );
    let defaults: Vec<&Value> = workspaces["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|workspace| workspace["is_default"] == 1)
        .collect();
    assert_eq!(defaults.len(), 1);

    let mut providers = 0;
    for slug in super::string_column(&workspaces["data"], "slug") {
        let list = portkey
            .get(&format!("/providers?workspace_id={slug}"))
            .await;
        providers += list["total"].as_u64().unwrap();
    }
    assert_eq!((workspaces["total"].as_u64(), providers), (Some(3), 8));

    let integrations = portkey.get("/integrations").await;
    let statuses = super::string_column(&integrations["data"], "status");
    assert_eq!(
        statuses
            .iter()
            .filter(|status| **status == "archived")
            .count(),
        1
    );
    let servers = portkey.get("/mcp-integrations").await;
    for slug in super::string_column(&servers["data"], "slug") {
        let list = portkey
            .get(&format!("/mcp-integrations/{slug}/capabilities"))
            .await;
        assert!(
            (3..=12).contains(&list["total"].as_u64().unwrap()),
            "{slug}"
        );
    }
}

//! Guardrails: versions, valid checks, and the mapped MCP servers.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

fn deny_actions() -> Value {
    let feedback = json!({ "feedback": { "value": 5, "weight": 1, "metadata": "" } });
    json!({ "deny": true, "async": false, "on_success": feedback, "on_fail": feedback })
}

#[tokio::test]
async fn every_update_adds_a_version() {
    let portkey = Portkey::start().await;
    let check = json!({ "id": "default.wordCount", "parameters": { "maxWords": 9 } });
    let body = json!({ "name": "Nine Words", "workspace_id": "ws-shared", "actions": deny_actions(),
        "checks": [check, { "id": "portkey.gibberish", "is_enabled": false }] });
    let made = portkey.post("/guardrails", body).await;
    let slug = made["slug"].as_str().unwrap();
    let id = made["id"].as_str().unwrap();
    let path = format!("/guardrails/{id}");
    let read = portkey.get(&path).await;
    assert_eq!(read, portkey.get(&format!("/guardrails/{slug}")).await);
    assert_eq!(read["version_id"], made["version_id"]);
    assert_eq!(
        read["checks"],
        json!([check, { "id": "portkey.gibberish", "is_enabled": false }])
    );
    assert_eq!(
        (&read["status"], &read["updated_by"]),
        (&json!("active"), &Value::Null)
    );

    let mut versions = vec![made["version_id"].clone()];
    for (change, field, expected) in [
        (json!({ "name": "Ten" }), "checks", read["checks"].clone()),
        (
            json!({ "checks": [{ "id": "portkey.gibberish", "is_enabled": true }] }),
            "checks",
            json!([{ "id": "portkey.gibberish" }]),
        ),
        (json!({ "target": "mcp_tools" }), "target", json!("llm")),
        (json!({}), "name", json!("Ten")),
    ] {
        let answer = portkey.put(&path, change.clone()).await;
        assert_eq!(
            (&answer["id"], &answer["slug"]),
            (&made["id"], &made["slug"])
        );
        assert!(!versions.contains(&answer["version_id"]), "{change}");
        versions.push(answer["version_id"].clone());
        let read = portkey.get(&path).await;
        assert_eq!(
            (&read[field], &read["version_id"]),
            (&expected, &answer["version_id"])
        );
    }
    assert_eq!(portkey.delete(&path).await, json!({}));
    let gone = portkey.refusal(Method::GET, &path, Value::Null).await;
    assert_eq!(
        (gone.0, gone.1.as_str()),
        (403, "AB03"),
        "what is gone is not allowed"
    );
}

#[tokio::test]
async fn guardrails_are_filtered_by_workspace_or_organisation() {
    let portkey = Portkey::start().await;
    let all = portkey.get("/guardrails").await;
    assert!(
        all.get("object").is_none(),
        "this list does not call itself one"
    );
    let organisation = all["data"][0]["organisation_id"].as_str().unwrap();
    let first = all["data"][0]["id"].as_str().unwrap();
    for (query, slugs) in [
        (
            "workspace_id=ws-support-bot".to_owned(),
            vec!["guard_personal-data", "guard_tool-calls"],
        ),
        ("workspace_id=ws-research".to_owned(), vec![]),
        (
            format!("organisation_id={organisation}"),
            vec!["guard_plain-language"],
        ),
        (format!("ids=x,{first}"), vec!["guard_personal-data"]),
        (
            "current_page=1&page_size=2".to_owned(),
            vec!["guard_tool-calls"],
        ),
    ] {
        let list = portkey.get(&format!("/guardrails?{query}")).await;
        assert_eq!(string_column(&list["data"], "slug"), slugs, "{query}");
    }
    let too_many = portkey
        .refusal(Method::GET, "/guardrails?page_size=1001", Value::Null)
        .await;
    assert_eq!(too_many.0, 400);
}

#[tokio::test]
async fn invalid_guardrail_is_rejected_with_its_field() {
    let portkey = Portkey::start().await;
    let guardrail = |checks: Value, actions: Value| json!({ "name": "New", "workspace_id": "ws-shared", "checks": checks, "actions": actions });
    let check = || json!([{ "id": "portkey.gibberish" }]);
    for (body, field) in [
        (guardrail(json!([]), deny_actions()), "checks"),
        (
            guardrail(json!([{ "parameters": {} }]), deny_actions()),
            "checks[0].id",
        ),
        (guardrail(check(), json!("block")), "actions"),
        (guardrail(check(), Value::Null), "actions"),
    ] {
        let refusal = portkey
            .refusal(Method::POST, "/guardrails", body.clone())
            .await;
        assert_eq!((refusal.0, refusal.1.as_str()), (400, "AB01"), "{body}");
        assert!(
            refusal.2.contains(&format!("`{field}`")),
            "{body}: {}",
            refusal.2
        );
    }
}

#[tokio::test]
async fn checks_and_actions_of_any_form_are_stored() {
    let portkey = Portkey::start().await;
    let check = |id: &str| json!([{ "id": id, "parameters": { "a": 1 }, "own": "setting" }]);
    for (checks, actions) in [
        (
            check("javelin.guardrails"),
            json!({ "onFail": "block", "message": "m" }),
        ),
        (
            check("partner.new"),
            json!({ "on_fail": "deny", "on_success": "continue" }),
        ),
        (
            check("default.regexMatch"),
            json!({ "deny": true, "sequential": true }),
        ),
        (check("default.requestParametersCheck"), json!({})),
    ] {
        let body = json!({ "name": "Any Form", "checks": checks, "actions": actions });
        let made = portkey.post("/guardrails", body).await;
        let read = portkey
            .get(&format!("/guardrails/{}", made["id"].as_str().unwrap()))
            .await;
        assert_eq!((&read["checks"], &read["actions"]), (&checks, &actions));
        assert_eq!(
            read["workspace_id"],
            Value::Null,
            "without a workspace the organisation's"
        );
    }
}

#[tokio::test]
async fn update_of_a_missing_guardrail_is_a_bad_request() {
    let portkey = Portkey::start().await;
    let refusal = portkey
        .refusal(Method::PUT, "/guardrails/pg-none", json!({ "name": "N" }))
        .await;
    let expected = (
        400,
        "AB01".to_owned(),
        "No update fields provided".to_owned(),
    );
    assert_eq!(refusal, expected);
}

#[tokio::test]
async fn mcp_servers_are_mapped_singly_or_together() {
    struct Case<'a> {
        body: Value,
        changed: bool,
        added: Vec<&'a String>,
        updated: Vec<&'a String>,
        removed: Vec<&'a String>,
    }

    let portkey = Portkey::start().await;
    let path = "/guardrails/guard_tool-calls/mcp-servers";
    let id = async |slug: &str| {
        let server = portkey.get(&format!("/mcp-servers/{slug}")).await;
        server["id"].as_str().unwrap().to_owned()
    };
    let (issues, support, papers) = (
        id("issues").await,
        id("support-issues").await,
        id("papers").await,
    );
    let mapped = async || {
        let servers = portkey.get(path).await["mcp_servers"].clone();
        servers
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(mapped().await, std::slice::from_ref(&support));

    let one = format!("{path}/issues");
    let made = portkey.put(&one, json!({ "run_on": ["input"] })).await;
    let again = portkey
        .put(
            &one,
            json!({ "run_on": ["output"],
        "mcp_integration_capability_ids": ["get_issue"] }),
        )
        .await;
    assert_eq!(made["map_id"], again["map_id"], "the same mapping, changed");
    portkey.put(&one, json!({ "run_on": ["input"] })).await;
    let servers = portkey.get(path).await;
    assert_eq!(
        servers["mcp_servers"][&issues],
        json!({ "run_on": ["input"], "mcp_integration_capability_ids": ["get_issue"] })
    );

    let both = |side: &str| {
        json!({ "mcp_servers": {
        "issues": { "run_on": [side], "mcp_integration_capability_ids": ["get_issue"] },
        (papers.as_str()): { "run_on": ["output"] } } })
    };
    for Case {
        body,
        changed,
        added,
        updated,
        removed,
    } in [
        Case {
            body: both("input"),
            changed: true,
            added: vec![&papers],
            updated: vec![],
            removed: vec![&support],
        },
        Case {
            body: both("input"),
            changed: false,
            added: vec![],
            updated: vec![],
            removed: vec![],
        },
        Case {
            body: both("output"),
            changed: true,
            added: vec![],
            updated: vec![&issues],
            removed: vec![],
        },
        Case {
            body: json!({ "mcp_servers": {} }),
            changed: true,
            added: vec![],
            updated: vec![],
            removed: vec![&issues, &papers],
        },
    ] {
        let answer = portkey.put(path, body.clone()).await;
        let expected = json!({ "changed": changed, "added": added, "updated": updated,
            "removed": removed });
        assert_eq!(answer, expected, "{body}");
    }
    assert!(mapped().await.is_empty());
}

#[tokio::test]
async fn invalid_mapping_is_rejected_without_a_change() {
    let portkey = Portkey::start().await;
    let path = "/guardrails/guard_tool-calls/mcp-servers";
    let before = portkey.get(path).await;
    let good = json!({ "run_on": ["input"] });
    for (path, body, status) in [
        (
            path.to_owned(),
            json!({ "mcp_servers": { "issues": good, "none": good } }),
            404,
        ),
        (
            path.to_owned(),
            json!({ "mcp_servers": { "issues": { "run_on": ["before"] } } }),
            400,
        ),
        (path.to_owned(), json!({}), 400),
        (format!("{path}/none"), good.clone(), 404),
        (format!("{path}/issues"), json!({}), 400),
        (
            "/guardrails/guard_plain-language/mcp-servers/issues".to_owned(),
            good.clone(),
            400,
        ),
        (
            "/guardrails/guard_none/mcp-servers/issues".to_owned(),
            good.clone(),
            403,
        ),
    ] {
        assert_eq!(
            portkey.refusal(Method::PUT, &path, body.clone()).await.0,
            status,
            "{body}"
        );
    }
    assert_eq!(portkey.get(path).await, before);
}

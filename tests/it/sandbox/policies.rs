//! Usage and rate limit policies: equal conditions and lifecycle, different limits.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

const USAGE_POLICIES: &str = "/policies/usage-limits";
const RATE_POLICIES: &str = "/policies/rate-limits";

/// Returns a valid policy of either kind, with these changes.
fn policy_body(kind: &str, change: Value) -> Value {
    let mut body = json!({ "name": "One", "workspace_id": "ws-shared",
        "conditions": [{ "key": "model", "value": "*" }], "group_by": [{ "key": "api_key" }] });
    let own = match kind {
        USAGE_POLICIES => json!({ "type": "cost", "credit_limit": 12.5, "alert_threshold": 10 }),
        _ => json!({ "type": "requests", "unit": "rpw", "value": 5 }),
    };
    for more in [own, change] {
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
    }
    body
}

async fn create_policy(portkey: &Portkey, kind: &str) -> String {
    let answer = portkey.post(kind, policy_body(kind, json!({}))).await;
    format!("{kind}/{}", answer["id"].as_str().unwrap())
}

#[tokio::test]
async fn deleted_policy_is_archived() {
    let portkey = Portkey::start().await;
    for kind in [USAGE_POLICIES, RATE_POLICIES] {
        let path = create_policy(&portkey, kind).await;
        let active = format!("{kind}?workspace_id=ws-shared");
        let read = portkey.get(&path).await;
        assert_eq!(read["status"], "active");
        assert_ne!(read["workspace_id"], "ws-shared", "a slug becomes a UUID");
        let list = portkey.get(&active).await;
        assert_eq!(
            (list["total"].as_u64(), &list["data"][0]["id"]),
            (Some(1), &read["id"])
        );

        assert_eq!(portkey.delete(&path).await, json!({}));
        assert_eq!(portkey.get(&active).await["total"], 0);
        for (method, path) in [
            (Method::GET, path.clone()),
            (Method::GET, format!("{path}?status=active")),
            (Method::PUT, path.clone()),
            (Method::DELETE, path.clone()),
        ] {
            let refusal = portkey.refusal(method.clone(), &path, json!({})).await;
            assert_eq!(
                (refusal.0, refusal.1.as_str()),
                (404, "AB08"),
                "{method} {path}"
            );
        }
        let archived = portkey.get(&format!("{active}&status=archived")).await;
        assert_eq!(archived["data"][0]["id"], read["id"]);
        assert_eq!(
            portkey.get(&format!("{path}?status=archived")).await["status"],
            "archived"
        );
        let nowhere = format!("{kind}?workspace_id=ws-none");
        assert_eq!(
            portkey.refusal(Method::GET, &nowhere, Value::Null).await.0,
            403
        );
    }
}

#[tokio::test]
async fn invalid_policy_is_rejected_with_its_field() {
    let portkey = Portkey::start().await;
    let when = |condition: Value| json!({ "conditions": [condition] });
    for (kind, change, named) in [
        (USAGE_POLICIES, json!({ "conditions": [] }), "conditions"),
        (RATE_POLICIES, json!({ "conditions": [] }), "conditions"),
        (USAGE_POLICIES, json!({ "group_by": [] }), "group_by"),
        (
            RATE_POLICIES,
            json!({ "group_by": [{ "key": "metadata." }] }),
            "group_by[0]",
        ),
        (
            USAGE_POLICIES,
            json!({ "alert_threshold": 0 }),
            "alert_threshold",
        ),
        (
            RATE_POLICIES,
            json!({ "description": "d".repeat(501) }),
            "description",
        ),
        (RATE_POLICIES, json!({ "status": "paused" }), "status"),
        (
            USAGE_POLICIES,
            when(json!({ "field": "model", "operator": "is", "value": "x" })),
            "key",
        ),
        (
            USAGE_POLICIES,
            when(json!({ "key": "metadata.", "value": "x" })),
            "conditions[0]",
        ),
        (
            RATE_POLICIES,
            when(json!({ "key": "model" })),
            "conditions[0]",
        ),
        (
            RATE_POLICIES,
            when(json!({ "key": "model", "value": [1] })),
            "conditions[0]",
        ),
        (
            USAGE_POLICIES,
            json!({ "credit_limit": -1 }),
            "credit_limit",
        ),
        (
            USAGE_POLICIES,
            json!({ "alert_threshold": 12.5 }),
            "alert_threshold",
        ),
        (
            USAGE_POLICIES,
            json!({ "type": "tokens", "credit_limit": 99 }),
            "credit_limit",
        ),
        (
            USAGE_POLICIES,
            json!({ "periodic_reset": "weekly", "periodic_reset_days": 7 }),
            "periodic_reset",
        ),
        (
            USAGE_POLICIES,
            json!({ "periodic_reset_days": 366 }),
            "periodic_reset_days",
        ),
        (RATE_POLICIES, json!({ "unit": "rpc" }), "unit"),
        (RATE_POLICIES, json!({ "type": "cost" }), "type"),
        (RATE_POLICIES, json!({ "target": "images" }), "target"),
    ] {
        let body = policy_body(kind, change.clone());
        let (status, code, message) = portkey.refusal(Method::POST, kind, body).await;
        assert_eq!(
            (status, code.as_str()),
            (400, "AB01"),
            "{change}: {message}"
        );
        assert!(message.contains(named), "{change}: {message}");
    }
    let several = json!({ "key": "metadata.team", "value": ["a", "b"], "excludes": "c" });
    for kind in [USAGE_POLICIES, RATE_POLICIES] {
        portkey
            .post(kind, policy_body(kind, when(several.clone())))
            .await;
    }
}

#[tokio::test]
async fn update_sets_keeps_or_clears_fields() {
    let portkey = Portkey::start().await;
    let path = create_policy(&portkey, USAGE_POLICIES).await;
    portkey
        .put(&path, json!({ "periodic_reset": "weekly" }))
        .await;
    let both = json!({ "periodic_reset_days": 7 });
    assert_eq!(
        portkey.refusal(Method::PUT, &path, both).await.0,
        400,
        "weekly is still there"
    );
    let change = json!({ "periodic_reset": null, "periodic_reset_days": 7, "type": "tokens",
        "conditions": [{ "key": "provider", "value": "openai" }] });
    assert_eq!(portkey.put(&path, change).await, json!({}));
    let read = portkey.get(&path).await;
    assert_eq!(read["periodic_reset_days"], 7);
    assert_eq!(
        (&read["periodic_reset"], &read["type"]),
        (&Value::Null, &json!("cost"))
    );
    assert_eq!(
        (&read["alert_threshold"], &read["credit_limit"]),
        (&json!(10), &json!(12.5))
    );
    assert_eq!(
        read["conditions"],
        json!([{ "key": "provider", "value": "openai" }])
    );
    let low = portkey
        .refusal(Method::PUT, &path, json!({ "credit_limit": 9 }))
        .await;
    assert!(low.0 == 400 && low.2.contains("alert_threshold"), "{low:?}");
    portkey
        .put(&path, json!({ "alert_threshold": null, "credit_limit": 9 }))
        .await;
    assert_eq!(portkey.get(&path).await["alert_threshold"], Value::Null);

    let path = create_policy(&portkey, RATE_POLICIES).await;
    portkey
        .put(&path, json!({ "unit": "rpd", "target": "mcp_tools" }))
        .await;
    let read = portkey.get(&path).await;
    assert_eq!((&read["unit"], &read["value"]), (&json!("rpd"), &json!(5)));
    assert_eq!(
        read.get("target"),
        None,
        "a target is given at first or never"
    );
}

#[tokio::test]
async fn documented_policy_is_stored_as_written() {
    let portkey = Portkey::start().await;
    let conditions = json!([{ "key": "mcp_tool", "value": "*", "excludes": ["a", "b"] },
        { "key": "a_key_of_tomorrow", "value": "x" }]);
    for (kind, more) in [
        (USAGE_POLICIES, json!({})),
        (RATE_POLICIES, json!({ "unit": "tpd", "type": "tokens" })),
    ] {
        let mut change = json!({ "description": "d".repeat(500), "status": "active",
            "conditions": conditions, "group_by": [] });
        change
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let mut body = policy_body(kind, change);
        body.as_object_mut().unwrap().shift_remove("group_by");
        let made = portkey.post(kind, body.clone()).await;
        let path = format!("{kind}/{}", made["id"].as_str().unwrap());
        let read = portkey.get(&path).await;
        for field in ["description", "status", "conditions"] {
            assert_eq!(read[field], body[field], "{kind} {field}");
        }
        assert_eq!(read["group_by"], json!([]), "{kind}");
        portkey.put(&path, json!({ "description": null })).await;
        assert_eq!(
            portkey.get(&path).await["description"],
            Value::Null,
            "{kind}"
        );
        let unknown = format!("{path}?status=AAA");
        assert_eq!(
            portkey.refusal(Method::GET, &unknown, Value::Null).await.0,
            400,
            "{kind}"
        );
    }
}

#[tokio::test]
async fn policies_are_filtered() {
    let portkey = Portkey::start().await;
    for change in [json!({ "unit": "rpm" }), json!({ "type": "tokens" })] {
        portkey
            .post(RATE_POLICIES, policy_body(RATE_POLICIES, change))
            .await;
    }
    for (query, total) in [
        ("", 2),
        ("&unit=rpm", 1),
        ("&type=tokens", 1),
        ("&type=tokens&unit=rpm", 0),
    ] {
        let list = portkey
            .get(&format!("{RATE_POLICIES}?workspace_id=ws-shared{query}"))
            .await;
        assert_eq!(list["total"], total, "{query}");
    }
    let seeded = portkey
        .get(&format!(
            "{USAGE_POLICIES}?workspace_id=ws-research&status=archived"
        ))
        .await;
    assert_eq!(string_column(&seeded["data"], "name"), ["Last year"]);
}

#[tokio::test]
async fn usage_can_be_read_and_reset() {
    let portkey = Portkey::start().await;
    let list = portkey
        .get(&format!("{USAGE_POLICIES}?workspace_id=ws-research"))
        .await;
    let path = format!(
        "{USAGE_POLICIES}/{}",
        list["data"][0]["id"].as_str().unwrap()
    );
    let usage = format!("{path}?include_usage=true");
    let entities = format!("{path}/entities");
    assert_eq!(portkey.get(&path).await.get("value_key_usage_map"), None);
    let map = portkey.get(&usage).await["value_key_usage_map"].clone();
    let translation = map["metadata.project:translation"]["current_usage"].clone();
    assert!(translation.as_f64().unwrap() > 1.0, "{map}");
    for (project, status, alerted) in [
        ("summaries", "active", false),
        ("translation", "active", false),
        ("evaluation", "exhausted", true),
    ] {
        let usage_entry = &map[format!("metadata.project:{project}")];
        assert_eq!(
            (
                &usage_entry["status"],
                &usage_entry["is_threshold_alerts_sent"]
            ),
            (&json!(status), &json!(alerted))
        );
    }
    for (query, total) in [
        ("", 3),
        ("?status=exhausted", 1),
        ("?search=PROJECT:s", 1),
        ("?search=z", 0),
    ] {
        assert_eq!(
            portkey.get(&format!("{entities}{query}")).await["total"],
            total,
            "{query}"
        );
    }
    let page = portkey
        .get(&format!("{entities}?page_size=1&current_page=1"))
        .await;
    assert_eq!(
        string_column(&page["data"], "value_key"),
        ["metadata.project:translation"]
    );
    for query in ["status=archived", "page_size=101"] {
        let path = format!("{entities}?{query}");
        assert_eq!(
            portkey.refusal(Method::GET, &path, Value::Null).await.0,
            400,
            "{query}"
        );
    }

    let spent = portkey.get(&format!("{entities}?status=exhausted")).await["data"][0].clone();
    let reset = format!("{entities}/{}/reset", spent["id"].as_str().unwrap());
    assert_eq!(portkey.put(&reset, Value::Null).await, json!({}));
    assert_eq!(
        portkey.get(&format!("{entities}?status=exhausted")).await["total"],
        0
    );
    let missing = format!("{entities}/none/reset");
    assert_eq!(
        portkey.refusal(Method::PUT, &missing, Value::Null).await.0,
        404
    );
    portkey
        .put(
            &path,
            json!({ "reset_usage_for_value": "metadata.project:summaries" }),
        )
        .await;
    let map = portkey.get(&usage).await["value_key_usage_map"].clone();
    assert_eq!(map["metadata.project:summaries"]["current_usage"], 0.0);
    assert_eq!(
        map["metadata.project:translation"]["current_usage"],
        translation
    );
}

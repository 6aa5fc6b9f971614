//! `review-access`: findings that equal what the sandbox's own operations tell.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    official_client::{ConnectedClient, connect_everywhere},
    policy::PolicyFile,
    upstream::{MockUpstream, ResponseAction, http_response, json_response},
};

async fn sandbox_client(options: &[&str], variables: &[(&str, &str)]) -> ConnectedClient {
    let options = [&["--sandbox"], options].concat();
    connect_everywhere(&options, variables).await.remove(0)
}

async fn call(client: &ConnectedClient, tool: &'static str, args: Value) -> Value {
    client.call(tool, args).await.unwrap()
}

fn find<'a>(review: &'a Value, finding: &str) -> &'a Value {
    let findings = review["findings"].as_array().unwrap();
    let found = findings.iter().find(|item| item["finding"] == finding);
    found.unwrap_or(&Value::Null)
}

/// Returns the ids that a finding names.
fn ids(review: &Value, finding: &str) -> BTreeSet<String> {
    let first = find(review, finding)["first"].as_array().cloned();
    let rows = first.unwrap_or_default();
    rows.iter()
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Returns the ids of the items of a list that pass a test.
fn ids_where(list: &Value, wanted: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    let items = list["data"].as_array().unwrap().iter();
    items
        .filter(|item| wanted(item))
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

fn has_scope(key: &Value, scope: &str) -> bool {
    key["scopes"].as_array().unwrap().contains(&scope.into())
}

#[tokio::test]
async fn findings_are_those_of_the_lists() {
    let client = sandbox_client(&[], &[]).await;
    let review = call(&client, "review-access", json!({ "limit": 100 })).await;
    let keys = call(&client, "list-all-api-keys", json!({})).await;
    let used = json!({ "group_by": "api_key", "time_of_generation_min": "30d", "time_of_generation_max": "now" });
    let used = call(&client, "get-analytics-grouped-data", used).await;
    let is_used = |key: &Value| {
        let mut groups = used["data"].as_array().unwrap().iter();
        groups.any(|group| group["api_key"] == key["id"])
    };
    let sends = |key: &Value| has_scope(key, "completions.write");
    let unused = ids_where(&keys, |key| sends(key) && !is_used(key));
    assert_eq!(unused.len(), 1, "{keys}");
    assert_eq!(ids(&review, "unused_key"), unused, "{review}");
    let is_lasting = |key: &Value| key["expires_at"].is_null() && key["rotation_policy"].is_null();
    assert_eq!(
        ids(&review, "lasting_key"),
        ids_where(&keys, is_lasting),
        "{review}"
    );
    let workspaces = call(&client, "list-all-workspaces", json!({})).await;
    let limited = ids_where(&workspaces, |workspace| {
        workspace["usage_limits"].is_array()
    });
    let is_limited = |key: &Value| limited.contains(key["workspace_id"].as_str().unwrap_or(""));
    let spends = |key: &Value| sends(key) && key["usage_limits"].is_null();
    assert_eq!(
        ids(&review, "key_without_budget"),
        ids_where(&keys, |key| spends(key) && !is_limited(key)),
        "{review}"
    );
    assert_eq!(
        ids(&review, "key_without_own_budget"),
        ids_where(&keys, |key| spends(key) && is_limited(key)),
        "{review}"
    );
    let users = call(&client, "list-users", json!({})).await;
    assert_eq!(
        ids(&review, "organisation_admin"),
        ids_where(&users, |user| user["role"] != "member"),
        "{review}"
    );
    let invites = call(&client, "list-all-invites", json!({})).await;
    for (finding, status) in [("pending_invite", "pending"), ("expired_invite", "expired")] {
        assert_eq!(
            ids(&review, finding),
            ids_where(&invites, |invite| invite["status"] == status),
            "{review}"
        );
    }
    let several = find(&review, "admin_of_several_workspaces");
    assert_eq!(
        several["first"][0]["workspaces"],
        json!(["ws-shared", "ws-support-bot"]),
        "{review}"
    );
    assert_eq!(review["reviewed"]["keys"], keys["total"]);
    assert_eq!(review["reviewed"]["people"], users["total"]);
    // Two lists of people, one of keys, one of their use, one of workspaces, and their members.
    let workspaces = workspaces["total"].as_u64().unwrap();
    assert_eq!(review["calls"], 5 + workspaces, "{review}");
    let short = call(&client, "review-access", json!({})).await.to_string();
    assert!(short.len() <= 4_000, "{}: {short}", short.len());
}

#[tokio::test]
async fn created_keys_are_judged_by_scopes_expiry_and_owner() {
    let client = sandbox_client(&[], &[]).await;
    let in_days = |days: i64| {
        let time = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    let create = async |args: Value| {
        let created = call(&client, "create-api-key", args).await;
        created["id"].as_str().unwrap().to_owned()
    };
    let wide = create(json!({ "type": "workspace", "sub-type": "service", "name": "CI", "workspace_id": "ws-shared",
        "scopes": ["completions.write", "workspace_service_api_keys.create", "configs.read"], "expires_at": in_days(9) }))
    .await;
    let bounded = create(json!({ "type": "workspace", "sub-type": "service", "name": "App", "workspace_id": "ws-shared",
        "scopes": ["completions.write"], "expires_at": in_days(60), "alert_emails": ["a@example.com"],
        "usage_limits": { "type": "cost", "credit_limit": 5 } }))
    .await;
    let review = call(&client, "review-access", json!({ "limit": 100 })).await;
    for finding in [
        "escalating_key",
        "over_scoped_key",
        "expiring_key",
        "key_without_owner",
    ] {
        assert!(ids(&review, finding).contains(&wide), "{finding}: {review}");
    }
    assert_eq!(
        find(&review, "escalating_key")["first"][0]["scopes"],
        json!(["workspace_service_api_keys.create"])
    );
    // It was created too late to count as unused.
    assert!(!ids(&review, "unused_key").contains(&wide), "{review}");
    assert!(!review.to_string().contains(&bounded), "{review}");
    assert_eq!(review["findings"][0]["severity"], "high", "{review}");
    let high = call(&client, "review-access", json!({ "severity": "high" })).await;
    assert_eq!(high["high"], review["high"]);
    assert_eq!(high["findings"].as_array().unwrap().len(), 1, "{high}");
    let soon = json!({ "expires_within_days": 5, "limit": 100, "workspace_id": "ws-shared" });
    let soon = call(&client, "review-access", soon).await;
    assert!(!ids(&soon, "expiring_key").contains(&wide), "{soon}");
}

#[tokio::test]
async fn what_could_not_be_seen_is_said() {
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - { name: closed, action: deny, match: { tools: [get-analytics-grouped-data] } }\n",
    );
    let client = sandbox_client(&["--policy", policy.path()], &[]).await;
    let review = call(&client, "review-access", json!({})).await;
    let missing = review["not_seen"].to_string();
    assert!(
        missing.contains("which keys are used: ") && missing.contains("closed"),
        "{missing}"
    );
    assert!(find(&review, "unused_key").is_null(), "{review}");

    // A key of a workspace may not list people and invites.
    let key = [("PORTKEY_API_KEY", "sandbox-workspace-ws-research")];
    let client = sandbox_client(&[], &key).await;
    let review = call(&client, "review-access", json!({})).await;
    let missing = review["not_seen"].to_string();
    assert!(
        missing.contains("people: ") && missing.contains("invites: "),
        "{missing}"
    );
    assert_eq!(review["reviewed"]["people"], 0);
    assert!(
        review["reviewed"]["keys"].as_u64().unwrap() >= 2,
        "{review}"
    );
}

/// Answers as Portkey does where an Admin key has to name the workspace in a list of keys.
fn answer_to_admin_key(target: &str) -> ResponseAction {
    let key = |id: &str| {
        json!({ "total": 1, "data": [{ "id": id, "name": id, "scopes": ["completions.write"],
            "created_at": "2020-01-01T00:00:00Z" }] })
    };
    let list = match target.split_once('?').unwrap_or((target, "")) {
        ("/v1/api-keys", "") => {
            let body =
                r#"{"success":false,"data":{"message":"name a workspace","errorCode":"AB03"}}"#;
            let kind = "content-type: application/json\r\n";
            return http_response("403 Forbidden", kind, body);
        }
        ("/v1/api-keys", query) if query.contains("ws-a") => key("key-a"),
        ("/v1/api-keys", _) => key("key-b"),
        ("/v1/admin/workspaces", _) => json!({ "total": 2, "data": [
            { "id": "a", "slug": "ws-a" }, { "id": "b", "slug": "ws-b" }] }),
        _ => json!({ "total": 0, "data": [] }),
    };
    json_response(&list.to_string())
}

#[tokio::test]
async fn keys_are_read_by_workspace_if_one_has_to_be_named() {
    let upstream = MockUpstream::start_by(|request, _| answer_to_admin_key(&request.target)).await;
    let options = ["--base-url", &upstream.base_url, "--api-key", "pk-test"];
    let client = connect_everywhere(&options, &[]).await.remove(0);
    let review = call(&client, "review-access", json!({})).await;
    assert_eq!(review["reviewed"]["keys"], 2, "{review}");
    let unused = ids(&review, "unused_key");
    assert_eq!(
        unused,
        ["key-a", "key-b"].map(str::to_owned).into(),
        "{review}"
    );
    let missing = review["not_seen"].to_string();
    assert!(!missing.contains("name a workspace"), "{missing}");
}

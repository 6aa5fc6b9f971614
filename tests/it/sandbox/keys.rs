//! Keys: the permissions of each kind of key, and how its text determines the kind.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, read_json as body_of, string_column};

const ADMIN_KEY: &str = "sandbox-admin";
const RESEARCH_KEY: &str = "sandbox-workspace-ws-research";

const PERIOD: &str =
    "time_of_generation_min=2025-12-01T00:00:00Z&time_of_generation_max=2026-01-01T00:00:00Z";

impl Portkey {
    /// Returns status and body of the response to a key.
    async fn exchange_as(
        &self,
        key: &str,
        method: Method,
        path: &str,
        body: Value,
    ) -> (u16, Value) {
        let answer = self.send_as(key, method, path, body).await;
        (answer.status().as_u16(), body_of(answer).await)
    }

    async fn read(&self, key: &str, path: &str) -> Value {
        let (status, body) = self.exchange_as(key, Method::GET, path, Value::Null).await;
        assert_eq!(status, 200, "{key}: {path}: {body}");
        body
    }

    /// Returns status and error code of the response to a key.
    async fn rejection(&self, key: &str, method: Method, path: &str, body: Value) -> (u16, String) {
        let (status, body) = self.exchange_as(key, method, path, body).await;
        (
            status,
            body["data"]["errorCode"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    }
}

fn log_entry() -> Value {
    json!({ "request": { "url": "https://api.openai.com/v1/x", "body": { "model": "gpt-4o" } },
        "response": { "body": {} } })
}

/// A key with access to everything uses the default workspace instead.
#[tokio::test]
async fn admin_key_must_name_the_workspace_of_a_new_item() {
    let portkey = Portkey::start().await;
    let default = portkey.get("/admin/workspaces/ws-shared").await["id"].clone();
    for (path, body) in [
        (
            "/configs",
            json!({ "name": "N", "config": { "retry": { "attempts": 3 } } }),
        ),
        ("/collections", json!({ "name": "N" })),
        ("/prompts/partials", json!({ "name": "N", "string": "S" })),
        (
            "/virtual-keys",
            json!({ "name": "V", "provider": "openai", "key": "k" }),
        ),
        (
            "/api-keys/workspace/service",
            json!({ "name": "K", "scopes": ["logs.view"] }),
        ),
    ] {
        let refused = portkey
            .rejection(ADMIN_KEY, Method::POST, path, body.clone())
            .await;
        assert_eq!(refused, (403, "AB03".to_owned()), "{path}");
        let (status, made) = portkey.exchange_as("any", Method::POST, path, body).await;
        assert_eq!(status, 200, "{path}: {made}");
    }
    let listed = portkey.get("/configs?page_size=1000").await;
    let made = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|config| config["name"] == "N");
    assert_eq!(made.unwrap()["workspace_id"], default);
}

#[tokio::test]
async fn key_kind_follows_from_its_text() {
    let portkey = Portkey::start().await;
    let id = portkey.get("/admin/workspaces/ws-research").await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let by_id = format!("sandbox-workspace-{id}");
    struct Case<'a> {
        key: &'a str,
        defaults: u16,
        logs: u16,
        labels: u16,
    }
    for Case {
        key,
        defaults,
        logs,
        labels,
    } in [
        Case {
            key: "anything",
            defaults: 200,
            logs: 200,
            labels: 200,
        },
        Case {
            key: portkey_sandbox::DEFAULT_API_KEY,
            defaults: 200,
            logs: 200,
            labels: 200,
        },
        Case {
            key: ADMIN_KEY,
            defaults: 200,
            logs: 403,
            labels: 200,
        },
        Case {
            key: "sandbox-admin-of-mine",
            defaults: 200,
            logs: 403,
            labels: 200,
        },
        Case {
            key: "sandbox-admin-read",
            defaults: 200,
            logs: 403,
            labels: 403,
        },
        Case {
            key: "sandbox-administrator",
            defaults: 200,
            logs: 200,
            labels: 200,
        },
        Case {
            key: RESEARCH_KEY,
            defaults: 403,
            logs: 200,
            labels: 200,
        },
        Case {
            key: &by_id,
            defaults: 403,
            logs: 200,
            labels: 200,
        },
        Case {
            key: "sandbox-workspace-ws-research-read",
            defaults: 403,
            logs: 403,
            labels: 403,
        },
        Case {
            key: "sandbox-workspace-none",
            defaults: 401,
            logs: 401,
            labels: 401,
        },
        Case {
            key: "sandbox-00000000000000000000000000000000",
            defaults: 401,
            logs: 401,
            labels: 401,
        },
    ] {
        let url = portkey
            .sandbox
            .base_url()
            .replace("/v1", "/v2/admin/organisation/defaults");
        let asked = portkey
            .client
            .get(url)
            .header("x-portkey-api-key", key)
            .send()
            .await
            .unwrap();
        assert_eq!(
            asked.status().as_u16(),
            defaults,
            "{key}: organisation defaults"
        );
        let (status, body) = portkey
            .exchange_as(key, Method::POST, "/logs", log_entry())
            .await;
        assert_eq!(status, logs, "{key}: {body}");
        let label = json!({ "name": key });
        let (status, body) = portkey
            .exchange_as(key, Method::POST, "/labels", label)
            .await;
        assert_eq!(status, labels, "{key}: {body}");
    }
}

#[tokio::test]
async fn admin_key_is_rejected_by_the_data_plane() {
    let portkey = Portkey::start().await;
    let run = json!({ "variables": {} });
    let score = json!({ "trace_id": "parcel-1", "value": 1 });
    for (method, path, body) in [
        (Method::POST, "/logs", log_entry()),
        (Method::POST, "/feedback", score.clone()),
        (Method::PUT, "/feedback/some-id", score),
        (
            Method::POST,
            "/prompts/pp-refund-reply/completions",
            run.clone(),
        ),
    ] {
        let refused = portkey.rejection(ADMIN_KEY, method, path, body).await;
        assert_eq!(refused, (403, "AB03".to_owned()), "{path}");
    }
    let (status, _) = portkey
        .exchange_as(
            ADMIN_KEY,
            Method::POST,
            "/prompts/pp-refund-reply/render",
            run,
        )
        .await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn admin_key_lists_items_of_all_workspaces() {
    let portkey = Portkey::start().await;
    for path in [
        "/configs",
        "/collections",
        "/prompts",
        "/prompts/partials",
        "/providers",
        "/mcp-servers",
        "/policies/usage-limits",
        "/policies/rate-limits",
        "/virtual-keys",
        "/api-keys",
        "/guardrails",
        "/labels",
    ] {
        let all = portkey.read(ADMIN_KEY, path).await["total"]
            .as_u64()
            .unwrap();
        assert!(all > 0, "{path}");
        if path == "/providers" || path == "/collections" || path == "/configs" {
            let mut sum = 0;
            for workspace in ["ws-shared", "ws-research", "ws-support-bot"] {
                let one = format!("{path}?workspace_id={workspace}");
                sum += portkey.read(ADMIN_KEY, &one).await["total"]
                    .as_u64()
                    .unwrap();
            }
            assert_eq!(sum, all, "{path}");
        }
    }
    let whole = format!("/analytics/graphs/cost?{PERIOD}");
    let total = |graph: &Value| graph["summary"]["total"].as_f64().unwrap();
    let mut sum = 0.0;
    for workspace in ["ws-shared", "ws-research", "ws-support-bot"] {
        let part = format!("{whole}&workspace_slug={workspace}");
        sum += total(&portkey.read(ADMIN_KEY, &part).await);
    }
    assert!((total(&portkey.read(ADMIN_KEY, &whole).await) - sum).abs() < 0.001);
}

#[tokio::test]
async fn workspace_key_lists_only_its_workspace() {
    let portkey = Portkey::start().await;
    for path in [
        "/configs",
        "/collections",
        "/prompts",
        "/prompts/partials",
        "/providers",
        "/mcp-servers",
        "/policies/usage-limits",
        "/policies/rate-limits",
        "/virtual-keys",
        "/api-keys",
        "/guardrails",
        "/labels",
        "/integrations",
        "/mcp-integrations",
        "/logs/exports",
    ] {
        let own = portkey
            .read(ADMIN_KEY, &format!("{path}?workspace_id=ws-research"))
            .await;
        // The key gets its own workspace, whichever one it names.
        for asked in [
            path.to_owned(),
            format!("{path}?workspace_id=ws-support-bot"),
        ] {
            assert_eq!(portkey.read(RESEARCH_KEY, &asked).await, own, "{asked}");
        }
    }
    let listed = portkey.read(RESEARCH_KEY, "/admin/workspaces").await;
    assert_eq!(string_column(&listed["data"], "slug"), ["ws-research"]);

    let research = format!("/analytics/graphs/cost?{PERIOD}&workspace_slug=ws-research");
    let expected = portkey.read(ADMIN_KEY, &research).await;
    for more in ["", "&workspace_slug=ws-support-bot"] {
        let asked = format!("/analytics/graphs/cost?{PERIOD}{more}");
        assert_eq!(portkey.read(RESEARCH_KEY, &asked).await, expected, "{more}");
    }
    let groups = portkey
        .read(
            RESEARCH_KEY,
            &format!("/analytics/groups/workspaces?{PERIOD}"),
        )
        .await;
    assert_eq!(string_column(&groups["data"], "workspace"), ["ws-research"]);
}

#[tokio::test]
async fn workspace_key_sees_only_its_own_access_entry() {
    let portkey = Portkey::start().await;
    let key = "sandbox-workspace-ws-shared";
    for path in [
        "/integrations/openai-production",
        "/mcp-integrations/issue-tracker",
    ] {
        let path = format!("{path}/workspaces");
        let all = portkey.read(ADMIN_KEY, &path).await["workspaces"]
            .as_array()
            .unwrap()
            .len();
        assert!(all > 1, "{path}");
        let own = portkey.read(key, &path).await;
        assert_eq!(
            string_column(&own["workspaces"], "id"),
            ["ws-shared"],
            "{path}"
        );
    }
}

#[tokio::test]
async fn workspace_key_cannot_access_another_workspace() {
    let portkey = Portkey::start().await;
    let support = portkey.get("/api-keys?workspace_id=ws-support-bot").await;
    let api_key = format!("/api-keys/{}", support["data"][0]["id"].as_str().unwrap());
    let policy = portkey
        .get("/policies/rate-limits?workspace_id=ws-support-bot")
        .await;
    let policy = format!(
        "/policies/rate-limits/{}",
        policy["data"][0]["id"].as_str().unwrap()
    );
    let name = || json!({ "name": "Taken over" });
    let prompt = json!({ "name": "P", "collection_id": "co-replies", "string": "S",
        "parameters": {}, "virtual_key": "gemini" });
    for (method, path, body) in [
        (Method::GET, "/configs/pc-support-fallback", Value::Null),
        (Method::PUT, "/configs/pc-support-fallback", name()),
        (Method::DELETE, "/configs/pc-support-fallback", Value::Null),
        (
            Method::GET,
            "/configs/pc-support-fallback/versions",
            Value::Null,
        ),
        (Method::GET, "/prompts/pp-refund-reply", Value::Null),
        (
            Method::POST,
            "/prompts/pp-refund-reply/completions",
            json!({ "variables": {} }),
        ),
        (
            Method::POST,
            "/prompts/pp-refund-reply@1/render",
            json!({ "variables": {} }),
        ),
        (Method::POST, "/prompts", prompt),
        (
            Method::GET,
            "/prompts?collection_id=co-replies",
            Value::Null,
        ),
        (Method::GET, "/prompts/partials/pp-house-style", Value::Null),
        (Method::PUT, "/mcp-servers/issues", name()),
        (Method::GET, "/mcp-servers/issues/capabilities", Value::Null),
        (Method::GET, "/guardrails/guard_personal-data", Value::Null),
        (Method::GET, "/virtual-keys/cohere-trial", Value::Null),
        (Method::GET, api_key.as_str(), Value::Null),
        (Method::GET, policy.as_str(), Value::Null),
        (Method::GET, "/admin/workspaces/ws-shared", Value::Null),
        (
            Method::GET,
            "/admin/workspaces/ws-shared/users",
            Value::Null,
        ),
        // Items shared with other workspaces, and items that only the organisation may change.
        (Method::GET, "/integrations/azure-eu", Value::Null),
        (Method::PUT, "/integrations/anthropic", name()),
        (Method::PUT, "/guardrails/guard_plain-language", name()),
    ] {
        let refused = portkey
            .rejection(RESEARCH_KEY, method.clone(), path, body)
            .await;
        assert_eq!(refused, (403, "AB03".to_owned()), "{method} {path}");
    }
    for path in [
        "/configs/pc-trial-split",
        "/integrations/anthropic",
        "/guardrails/guard_plain-language",
    ] {
        portkey.read(RESEARCH_KEY, path).await;
    }
}

#[tokio::test]
async fn workspace_key_is_rejected_for_admin_operations() {
    let portkey = Portkey::start().await;
    let key = json!({ "name": "K", "scopes": ["workspaces.list"] });
    for (method, path, body) in [
        (
            Method::GET,
            "/audit-logs?start_time=2026-01-01T00:00:00Z&end_time=2026-02-01T00:00:00Z",
            Value::Null,
        ),
        (
            Method::GET,
            "/workspace-exclusions/input-guardrails",
            Value::Null,
        ),
        (Method::GET, "/scim/workspaces", Value::Null),
        (Method::GET, "/admin/users", Value::Null),
        (
            Method::POST,
            "/admin/users/invites",
            json!({ "email": "a@example.com", "role": "member" }),
        ),
        (Method::POST, "/admin/workspaces", json!({ "name": "W" })),
        (
            Method::DELETE,
            "/admin/workspaces/ws-research",
            json!({ "name": "Research" }),
        ),
        (Method::POST, "/api-keys/organisation/service", key),
        (Method::GET, "/secret-references", Value::Null),
    ] {
        let refused = portkey
            .rejection(RESEARCH_KEY, method.clone(), path, body)
            .await;
        assert_eq!(refused, (403, "AB03".to_owned()), "{method} {path}");
    }
    for path in ["deployments", "admin/organisation/defaults"] {
        let url = portkey
            .sandbox
            .base_url()
            .replace("/v1", &format!("/v2/{path}"));
        let asked = portkey
            .client
            .get(url)
            .bearer_auth(RESEARCH_KEY)
            .send()
            .await
            .unwrap();
        assert_eq!(asked.status(), 403, "{path}");
    }
}

#[tokio::test]
async fn items_created_by_a_workspace_key_belong_to_its_workspace() {
    let portkey = Portkey::start().await;
    let id = portkey.get("/admin/workspaces/ws-research").await["id"].clone();
    let config = json!({ "name": "C", "config": { "retry": { "attempts": 2 } },
        "workspace_id": "ws-support-bot" });
    for (path, body) in [
        ("/configs", config),
        (
            "/labels",
            json!({ "name": "mine", "workspace_id": "ws-shared" }),
        ),
        ("/collections", json!({ "name": "Mine" })),
        (
            "/integrations",
            json!({ "name": "Mine", "ai_provider_id": "openai", "key": "k" }),
        ),
        (
            "/virtual-keys",
            json!({ "name": "Mine", "provider": "openai", "key": "k" }),
        ),
    ] {
        let before = portkey
            .get(&format!("{path}?workspace_id=ws-research"))
            .await;
        let (status, made) = portkey
            .exchange_as(RESEARCH_KEY, Method::POST, path, body)
            .await;
        assert_eq!(status, 200, "{path}: {made}");
        let after = portkey
            .get(&format!("{path}?workspace_id=ws-research"))
            .await;
        let total = |list: &Value| list["total"].as_u64().unwrap();
        assert_eq!(total(&after), total(&before) + 1, "{path}");
    }
    let (status, made) = portkey
        .exchange_as(RESEARCH_KEY, Method::POST, "/logs", log_entry())
        .await;
    assert_eq!(status, 200, "{made}");
    let log = format!("/logs/{}", made["log_ids"][0].as_str().unwrap());
    assert_eq!(
        portkey.read(RESEARCH_KEY, &log).await["metrics"]["workspace_slug"],
        "ws-research"
    );
    let elsewhere = portkey.rejection(
        "sandbox-workspace-ws-shared",
        Method::GET,
        &log,
        Value::Null,
    );
    assert_eq!(elsewhere.await.0, 404);
    assert!(id.is_string());
}

#[tokio::test]
async fn created_key_works_until_deleted_or_expired() {
    let portkey = Portkey::start().await;
    let made = async |kind: &str, more: Value| {
        let mut key = json!({ "name": "K", "scopes": ["logs.write"] });
        key.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        portkey.post(&format!("/api-keys/{kind}"), key).await
    };
    let text = |key: &Value| key["key"].as_str().unwrap().to_owned();
    let admin = text(&made("organisation/service", json!({})).await);
    assert_eq!(
        portkey
            .exchange_as(&admin, Method::POST, "/logs", log_entry())
            .await
            .0,
        403
    );
    let key = made(
        "workspace/service",
        json!({ "workspace_id": "ws-research" }),
    )
    .await;
    let path = format!("/api-keys/{}", key["id"].as_str().unwrap());
    let listed = portkey.read(&text(&key), "/admin/workspaces").await;
    assert_eq!(string_column(&listed["data"], "slug"), ["ws-research"]);

    // Both secrets are valid for half an hour after a rotation; each write takes a second.
    let rotated = portkey.post(&format!("{path}/rotate"), json!({})).await;
    for secret in [text(&key), text(&rotated)] {
        portkey.read(&secret, "/admin/workspaces").await;
    }
    portkey.delete(&path).await;
    for secret in [text(&key), text(&rotated)] {
        let refused = portkey
            .rejection(&secret, Method::GET, "/admin/workspaces", Value::Null)
            .await;
        assert_eq!(refused, (401, "AB05".to_owned()));
    }
    let past = json!({ "workspace_id": "ws-research", "expires_at": "2025-12-31T00:00:00Z" });
    let expired = text(&made("workspace/service", past).await);
    assert_eq!(
        portkey
            .rejection(&expired, Method::GET, "/labels", Value::Null)
            .await
            .0,
        401
    );
}

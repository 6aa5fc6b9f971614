//! One organisation: cascading deletes, retained items, and required references.

use reqwest::Method;
use serde_json::{Value, json};

use super::{DEFAULT_API_KEY, Portkey, read_json as body, string_column};

/// The workspace that is deleted, and the others.
const DELETED_WORKSPACE: &str = "ws-support-bot";
const OTHER_WORKSPACES: [&str; 2] = ["ws-shared", "ws-research"];

/// Lists of items that belong to a workspace, without the workspace parameter, and the field that
/// identifies an item in its path.
const WORKSPACE_LISTS: [(&str, &str); 16] = [
    ("/api-keys", "id"),
    ("/collections", "id"),
    ("/configs", "slug"),
    ("/guardrails", "id"),
    ("/integrations?type=workspace", "slug"),
    ("/labels", "id"),
    ("/logs/exports", "id"),
    ("/mcp-integrations?type=workspace", "id"),
    ("/mcp-servers", "id"),
    ("/policies/rate-limits", "id"),
    ("/policies/usage-limits", "id"),
    ("/prompts", "id"),
    ("/prompts/partials", "id"),
    ("/providers", "slug"),
    ("/scim/workspaces", "id"),
    ("/virtual-keys", "slug"),
];

/// Returns items that the seeded workspace lacks, so that it has some of each kind.
fn missing_items() -> [(&'static str, Value); 5] {
    [
        (
            "/integrations",
            json!({ "name": "Own", "slug": "own-openai", "ai_provider_id": "openai", "key": "k",
                "workspace_id": DELETED_WORKSPACE }),
        ),
        (
            "/mcp-integrations",
            json!({ "name": "Own Tools", "auth_type": "none", "transport": "http",
                "url": "https://tools.example.com", "workspace_id": DELETED_WORKSPACE }),
        ),
        (
            "/policies/usage-limits",
            json!({ "name": "Budget", "workspace_id": DELETED_WORKSPACE, "type": "cost", "credit_limit": 5,
                "conditions": [{ "key": "model", "value": "gpt-4o" }],
                "group_by": [{ "key": "api_key" }] }),
        ),
        (
            "/logs/exports",
            json!({ "workspace_id": DELETED_WORKSPACE, "requested_data": ["id"], "filters": {
                "time_of_generation_min": "2025-12-01T00:00:00Z",
                "time_of_generation_max": "2025-12-31T23:59:59Z" } }),
        ),
        (
            "/prompts",
            json!({ "name": "Greeting", "collection_id": "co-customers", "string": "Hello",
                "parameters": {}, "virtual_key": "openai-production" }),
        ),
    ]
}

impl Portkey {
    /// Returns the list items that belong to a workspace, without those shared by all workspaces.
    async fn own(&self, list: &str, workspace: &str) -> Vec<Value> {
        let id = self.get(&format!("/admin/workspaces/{workspace}")).await["id"].clone();
        // One list requires an id.
        let id = id.as_str().unwrap();
        let more = if list.contains('?') { '&' } else { '?' };
        let answer = self.get(&format!("{list}{more}workspace_id={id}")).await;
        let rows = answer
            .get("data")
            .or(answer.get("mappings"))
            .and_then(Value::as_array);
        let is_own = |row: &&Value| row.get("workspace_id").is_none_or(|place| place == id);
        rows.unwrap().iter().filter(is_own).cloned().collect()
    }

    /// Deletes the items that block the deletion of a workspace, then the workspace.
    async fn delete_workspace(&self, slug: &str, name: &str) {
        for (list, handle) in [
            ("/virtual-keys", "slug"),
            ("/configs", "slug"),
            ("/prompts", "id"),
            ("/prompts/partials", "id"),
            ("/guardrails", "id"),
            ("/api-keys", "id"),
        ] {
            for row in self.own(list, slug).await {
                let handle = row[handle].as_str().unwrap();
                self.delete(&format!("{list}/{handle}?workspace_id={slug}"))
                    .await;
            }
        }
        let sure = json!({ "name": name });
        self.call(Method::DELETE, &format!("/admin/workspaces/{slug}"), sure)
            .await;
    }

    /// Sends a request to v2 that must succeed.
    async fn v2(&self, method: Method, path: &str, sent: Value) -> Value {
        let url = format!("http://{}/v2{path}", self.sandbox.address());
        let request = self
            .client
            .request(method, url)
            .header("x-portkey-api-key", DEFAULT_API_KEY);
        let answer = if sent.is_null() {
            request
        } else {
            request.json(&sent)
        }
        .send()
        .await
        .unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        body(answer).await
    }
}

#[tokio::test]
async fn deleting_a_workspace_deletes_its_items() {
    let portkey = Portkey::start().await;
    for (path, body) in missing_items() {
        portkey.post(path, body).await;
    }
    let mut doomed = Vec::new();
    let mut kept = Vec::new();
    for (list, handle) in WORKSPACE_LISTS {
        let own = portkey.own(list, DELETED_WORKSPACE).await;
        assert!(!own.is_empty(), "{list}: nothing to lose");
        let (path, _) = list.split_once('?').unwrap_or((list, ""));
        let item = |row: &Value| format!("{path}/{}", row[handle].as_str().unwrap());
        doomed.extend(own.iter().map(item));
        for other in OTHER_WORKSPACES {
            kept.push((list, other, portkey.own(list, other).await));
        }
    }
    portkey
        .delete_workspace(DELETED_WORKSPACE, "Support Bot")
        .await;

    for path in doomed {
        // An item that is only listed is looked for by deleting it; a provider needs its workspace.
        let (method, path) = match path.split('/').nth(1) {
            Some("scim") => (Method::DELETE, path),
            Some("providers" | "virtual-keys") => (
                Method::GET,
                format!("{path}?workspace_id={DELETED_WORKSPACE}"),
            ),
            _ => (Method::GET, path),
        };
        let (status, ..) = portkey.refusal(method, &path, Value::Null).await;
        assert!([403, 404].contains(&status), "{path}: {status}");
    }
    for (list, other, before) in kept {
        assert_eq!(portkey.own(list, other).await, before, "{list} of {other}");
    }
    let path = format!("/admin/workspaces/{DELETED_WORKSPACE}/users");
    assert_eq!(
        portkey.refusal(Method::GET, &path, Value::Null).await.0,
        403
    );
}

#[tokio::test]
async fn deleting_a_workspace_removes_references_to_it() {
    let portkey = Portkey::start().await;
    let exclusions = "/workspace-exclusions/input-guardrails";
    let excluded =
        json!({ "workspaces": [{ "workspace_id": DELETED_WORKSPACE, "excluded": true }] });
    portkey.put(exclusions, excluded).await;
    let shared = json!({ "allowed_workspaces": [DELETED_WORKSPACE, "ws-research"] });
    portkey
        .put("/secret-references/support-mailbox", shared)
        .await;
    let defaults = json!({ "input_guardrails": ["guard_personal-data", "guard_plain-language"] });
    portkey
        .put(
            "/admin/workspaces/ws-research",
            json!({ "defaults": defaults }),
        )
        .await;
    let feedback = json!({ "feedback": { "value": 0 } });
    let guardrail = json!({ "name": "Everywhere", "target": "mcp_tools",
        "organisation_id": portkey.get("/admin/workspaces/ws-shared").await["organisation_id"],
        "actions": { "deny": true, "async": false, "on_success": feedback, "on_fail": feedback },
        "checks": [{ "id": "portkey.gibberish" }] });
    let made = portkey.post("/guardrails", guardrail).await;
    let servers = format!("/guardrails/{}/mcp-servers", made["id"].as_str().unwrap());
    let servers = servers.as_str();
    let input = json!({ "run_on": ["input"] });
    portkey
        .put(
            servers,
            json!({ "mcp_servers": { "issues": input, "support-issues": input } }),
        )
        .await;
    let deployment = portkey
        .v2(Method::GET, "/deployments/self", Value::Null)
        .await;
    let deployment = format!("/deployments/{}", deployment["id"].as_str().unwrap());
    let subjects = json!({ "gateway-eu": DELETED_WORKSPACE, "gateway-us": "ws-shared" });
    let subjects = json!({ "auth_settings": { "jwt_sub_workspace_mapping": subjects } });
    portkey.v2(Method::PUT, &deployment, subjects).await;

    let lead = "/admin/users/0a5d0000-0000-4000-8000-00000000ada3";
    let read = async |path: &str| match path.starts_with("/deployments") {
        true => portkey.v2(Method::GET, path, Value::Null).await,
        false => portkey.get(path).await,
    };
    let places = [
        (
            "/integrations/openai-production/workspaces",
            "/workspaces",
            3,
        ),
        ("/integrations/anthropic/workspaces", "/workspaces", 1),
        (
            "/mcp-integrations/issue-tracker/workspaces",
            "/workspaces",
            2,
        ),
        (exclusions, "/workspaces", 2),
        (lead, "/workspace_ids", 2),
        (
            "/secret-references/support-mailbox",
            "/allowed_workspaces",
            2,
        ),
        (
            "/admin/workspaces/ws-research",
            "/defaults/input_guardrails",
            2,
        ),
        (servers, "/mcp_servers", 2),
        (&deployment, "/auth_settings/workspaces_allowed", 2),
        (&deployment, "/auth_settings/jwt_sub_workspace_mapping", 2),
    ];
    let count = |answer: &Value, place: &str| match answer.pointer(place) {
        Some(Value::Array(list)) => list.len(),
        Some(Value::Object(fields)) => fields.len(),
        other => panic!("{place}: {other:?}"),
    };
    for (path, place, before) in places {
        assert_eq!(count(&read(path).await, place), before, "{path} before");
    }
    let integration = portkey.get("/integrations/openai-production").await;
    portkey
        .delete_workspace(DELETED_WORKSPACE, "Support Bot")
        .await;
    for (path, place, before) in places {
        assert_eq!(count(&read(path).await, place), before - 1, "{path} after");
    }
    let left = portkey.get("/integrations/openai-production").await;
    assert_eq!(
        (&integration["workspace_count"], &left["workspace_count"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(
        left["last_updated_at"], integration["last_updated_at"],
        "nobody has changed it"
    );
}

#[tokio::test]
async fn workspace_with_an_item_cannot_be_deleted() {
    let portkey = Portkey::start().await;
    let config = json!({ "name": "C", "config": {} });
    let key = json!({ "name": "K", "scopes": ["completions.write"] });
    let virtual_key = json!({ "name": "V", "provider": "openai", "key": "k" });
    let provider = json!({ "name": "P", "integration_id": "anthropic" });
    let partial = json!({ "name": "N", "string": "S" });
    let guardrail = json!({ "name": "G", "checks": [{ "id": "portkey.pii" }], "actions": {} });
    // One workspace per row. Items that every workspace has do not block its deletion.
    for (path, body, kind) in [
        ("/configs", config, "Configs"),
        ("/api-keys/workspace/service", key, "API Keys"),
        ("/virtual-keys", virtual_key, "Virtual Keys"),
        ("/providers", provider, "Virtual Keys"),
        ("/prompts/partials", partial, "Prompt Partials"),
        ("/guardrails", guardrail, "Guardrails"),
    ] {
        let made = portkey
            .post("/admin/workspaces", json!({ "name": "Nights" }))
            .await;
        let workspace = format!("/admin/workspaces/{}", made["id"].as_str().unwrap());
        let sure = json!({ "name": "Nights", "force_delete": true });
        let member = json!({ "id": "0a5d0000-0000-4000-8000-00000000ada3", "role": "member" });
        portkey
            .post(&format!("{workspace}/users"), json!({ "users": [member] }))
            .await;
        let mut body = body;
        body["workspace_id"] = made["id"].clone();
        portkey.post(path, body).await;
        let (status, code, message) = portkey
            .refusal(Method::DELETE, &workspace, sure.clone())
            .await;
        assert_eq!((status, code.as_str()), (409, "AB07"), "{path}");
        let expected = format!("Unable to delete. Please ensure that all {kind} are deleted");
        assert_eq!(message, expected, "{path}");
        portkey
            .delete_workspace(made["id"].as_str().unwrap(), "Nights")
            .await;
    }
    let made = portkey
        .post("/admin/workspaces", json!({ "name": "Days" }))
        .await;
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        portkey
            .get(&format!("/collections?workspace_id={id}"))
            .await["total"],
        1
    );
    let path = format!("/admin/workspaces/{id}");
    portkey
        .call(Method::DELETE, &path, json!({ "name": "Days" }))
        .await;
}

#[tokio::test]
async fn history_survives_the_deletion_of_a_workspace() {
    let portkey = Portkey::start().await;
    let log = json!({ "request": { "url": "https://api.openai.com/v1/x", "body": {} },
        "response": { "body": {} }, "metadata": { "team": DELETED_WORKSPACE, "trace_id": "t" } });
    let made = portkey.post("/logs", log).await;
    let log = format!("/logs/{}", made["log_ids"][0].as_str().unwrap());
    let named = json!({ "name": "Kept", "workspace_id": DELETED_WORKSPACE, "config": {} });
    portkey.post("/configs", named).await;
    let groups = "/analytics/groups/workspace?workspace_slug=ws-shared\
        &time_of_generation_min=2025-12-01T00:00:00Z&time_of_generation_max=2026-01-31T00:00:00Z";
    let audit = "/audit-logs?start_time=2026-01-01T00:00:00Z&end_time=2027-01-01T00:00:00Z";
    let mut before = Vec::new();
    for path in [&log, groups] {
        before.push((path, portkey.get(path).await));
    }
    assert!(
        before[1].1.to_string().contains(DELETED_WORKSPACE),
        "{}",
        before[1].1
    );
    let entries = portkey.get(audit).await["records"]
        .as_array()
        .unwrap()
        .clone();
    portkey
        .delete_workspace(DELETED_WORKSPACE, "Support Bot")
        .await;
    for (path, answer) in before {
        assert_eq!(portkey.get(path).await, answer, "{path}");
    }
    let after = portkey.get(audit).await["records"]
        .as_array()
        .unwrap()
        .clone();
    assert!(after.ends_with(&entries), "the deletions are entries more");
    assert_eq!(
        (&after[0]["action"], &after[0]["resource_type"]),
        (&json!("delete"), &json!("workspaces"))
    );
    let kept = after
        .iter()
        .find(|entry| entry["action"] == "create")
        .unwrap();
    assert!(
        kept["workspace_id"].is_string(),
        "the entry still says where it was"
    );
}

#[tokio::test]
async fn deleted_user_is_removed_from_mcp_servers() {
    let portkey = Portkey::start().await;
    let lead = "0a5d0000-0000-4000-8000-00000000ada2";
    let access = "/mcp-servers/papers/user-access";
    let connections = "/mcp-servers/papers/connections";
    let users = portkey.get("/admin/users").await;
    let listed = portkey.get(access).await;
    assert_eq!(
        string_column(&listed["data"], "user_id"),
        string_column(&users["data"], "id"),
        "the same people"
    );
    assert!(string_column(&portkey.get(connections).await["data"], "user_id").contains(&lead));
    portkey.delete(&format!("/admin/users/{lead}")).await;
    for path in [access, connections] {
        let left = portkey.get(path).await;
        assert!(
            !string_column(&left["data"], "user_id").contains(&lead),
            "{path}"
        );
    }
    let grant = json!({ "user_access": [{ "user_id": lead, "enabled": true }] });
    assert_eq!(portkey.refusal(Method::PUT, access, grant).await.0, 404);
}

#[tokio::test]
async fn reference_to_a_missing_item_is_rejected() {
    struct Case {
        method: Method,
        path: &'static str,
        body: Value,
        status: u16,
    }

    let portkey = Portkey::start().await;
    let vault = |handle: &str, target: &str| json!([{ "target_field": target, "secret_reference_id": handle }]);
    // The only seeded reference that is restricted to one workspace.
    let restricted = "research-providers";
    let integration = |workspace: &str, handle: &str| {
        json!({ "name": "I", "ai_provider_id": "cohere", "workspace_id": workspace,
            "secret_mappings": vault(handle, "key") })
    };
    let key = |workspace: &str, handle: &str| {
        json!({ "name": "V", "provider": "cohere", "workspace_id": workspace,
            "secret_mappings": vault(handle, "key") })
    };
    let tools = |handle: &str| json!({ "secret_mappings": vault(handle, "configurations.x") });
    let research = "/admin/workspaces/ws-research";
    let defaults = |field: &str, value: Value| json!({ "defaults": { (field): value } });
    let keys = "/api-keys/workspace/service";
    let with_config = |config: &str| {
        json!({ "name": "K", "workspace_id": "ws-research", "scopes": [],
            "defaults": { "config_id": config } })
    };
    for Case {
        method,
        path,
        body,
        status,
    } in [
        Case {
            method: Method::POST,
            path: "/integrations",
            body: integration("ws-shared", "none"),
            status: 404,
        },
        Case {
            method: Method::POST,
            path: "/integrations",
            body: integration("ws-shared", restricted),
            status: 403,
        },
        Case {
            method: Method::POST,
            path: "/integrations",
            body: integration("ws-research", restricted),
            status: 200,
        },
        Case {
            method: Method::PUT,
            path: "/integrations/anthropic",
            body: tools("none"),
            status: 404,
        },
        Case {
            method: Method::PUT,
            path: "/integrations/anthropic",
            body: tools(restricted),
            status: 200,
        },
        Case {
            method: Method::POST,
            path: "/virtual-keys",
            body: key("ws-shared", "none"),
            status: 404,
        },
        Case {
            method: Method::POST,
            path: "/virtual-keys",
            body: key("ws-shared", restricted),
            status: 403,
        },
        Case {
            method: Method::POST,
            path: "/virtual-keys",
            body: key("ws-shared", "support-mailbox"),
            status: 200,
        },
        Case {
            method: Method::PUT,
            path: "/virtual-keys/cohere-trial",
            body: tools(restricted),
            status: 403,
        },
        Case {
            method: Method::PUT,
            path: "/mcp-integrations/issue-tracker",
            body: tools("none"),
            status: 404,
        },
        Case {
            method: Method::PUT,
            path: "/mcp-integrations/documents",
            body: tools(restricted),
            status: 200,
        },
        Case {
            method: Method::PUT,
            path: research,
            body: defaults("input_guardrails", json!(["none"])),
            status: 403,
        },
        Case {
            method: Method::PUT,
            path: research,
            body: defaults("output_guardrails", json!(["guard_tool-calls"])),
            status: 200,
        },
        Case {
            method: Method::PUT,
            path: research,
            body: defaults("user_api_key_config", json!("pc-none")),
            status: 404,
        },
        Case {
            method: Method::PUT,
            path: research,
            body: defaults("user_api_key_config", json!("pc-cached-answers")),
            status: 400,
        },
        Case {
            method: Method::PUT,
            path: research,
            body: defaults("user_api_key_config", json!("pc-trial-split")),
            status: 200,
        },
        Case {
            method: Method::POST,
            path: keys,
            body: with_config("pc-none"),
            status: 404,
        },
        Case {
            method: Method::POST,
            path: keys,
            body: with_config("pc-trial-split"),
            status: 200,
        },
    ] {
        let answer = portkey.send(method.clone(), path, body.clone()).await;
        assert_eq!(answer.status(), status, "{method} {path} {body}");
    }
    let in_use = format!("/secret-references/{restricted}");
    assert_eq!(
        portkey
            .refusal(Method::DELETE, &in_use, Value::Null)
            .await
            .0,
        400
    );
}

#[tokio::test]
async fn deleting_an_item_in_use_is_rejected_or_cascades() {
    struct Case {
        path: &'static str,
        status: u16,
        user: &'static str,
        pointer: &'static str,
        after: Value,
    }

    let portkey = Portkey::start().await;
    let change = json!({ "defaults": { "user_api_key_config": "pc-cached-answers" } });
    portkey
        .put("/admin/workspaces/ws-support-bot", change)
        .await;
    // Item in use, status of its deletion, and a field of its user afterwards.
    for Case {
        path,
        status,
        user,
        pointer,
        after,
    } in [
        Case {
            path: "/secret-references/vertex-service-account",
            status: 400,
            user: "/integrations/vertex-ai",
            pointer: "/status",
            after: json!("active"),
        },
        Case {
            path: "/configs/pc-cached-answers",
            status: 409,
            user: "/admin/workspaces/ws-support-bot",
            pointer: "/defaults/user_api_key_config",
            after: json!("pc-cached-answers"),
        },
        Case {
            path: "/integrations/anthropic",
            status: 200,
            user: "/providers/anthropic?workspace_id=ws-support-bot",
            pointer: "/status",
            after: json!("expired"),
        },
        Case {
            path: "/mcp-integrations/documents",
            status: 200,
            user: "/mcp-servers/papers",
            pointer: "/mcp_integration_details",
            after: Value::Null,
        },
        Case {
            path: "/mcp-servers/support-issues",
            status: 200,
            user: "/guardrails/guard_tool-calls/mcp-servers",
            pointer: "/mcp_servers",
            after: json!({}),
        },
    ] {
        let answer = portkey.send(Method::DELETE, path, Value::Null).await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(
            portkey.get(user).await.pointer(pointer),
            Some(&after),
            "{path}: {user}"
        );
    }
    portkey.delete("/guardrails/guard_plain-language").await;
    let defaults = portkey
        .v2(Method::GET, "/admin/organisation/defaults", Value::Null)
        .await;
    assert_eq!(
        defaults["input_guardrails"],
        json!([]),
        "a default that is gone is none"
    );
}

//! Error responses: status, body and message, as clients need them.

use reqwest::Method;
use serde_json::{Value, json};

use super::{NO_SUCH_ENDPOINT, Portkey, read_json};

#[tokio::test]
async fn any_key_is_accepted_and_a_missing_one_rejected() {
    let portkey = Portkey::start().await;
    for (header, value, status) in [
        ("x-portkey-api-key", "anything", 200),
        ("authorization", "Bearer anything", 200),
        ("x-portkey-api-key", "  ", 401),
        ("authorization", "Basic anything", 401),
        ("authorization", "Bearer ", 401),
        ("x-other", "anything", 401),
    ] {
        let request = portkey
            .request(Method::GET, "/integrations")
            .header(header, value);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{header}: {value}");
        if status == 401 {
            assert_eq!(read_json(answer).await["data"]["errorCode"], "AB05");
        }
    }
}

#[tokio::test]
async fn too_large_body_is_rejected_in_json() {
    let portkey = Portkey::start().await;
    let large = json!({ "name": "x".repeat(8 << 20) });
    let answer = portkey.send(Method::POST, "/integrations", large).await;
    assert_eq!(answer.status(), 413);
    let expected =
        json!({ "success": false, "data": { "message": "The request body is too large" } });
    assert_eq!(read_json(answer).await, expected);
}

#[tokio::test]
async fn every_response_has_its_own_request_id() {
    let portkey = Portkey::start().await;
    let mut ids = Vec::new();
    for path in ["/integrations", "/integrations/nothing", "/nothing"] {
        let answer = portkey.send(Method::GET, path, Value::Null).await;
        ids.push(
            answer.headers()["x-portkey-request-id"]
                .to_str()
                .unwrap()
                .to_owned(),
        );
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn unknown_route_says_where_to_add_it() {
    let portkey = Portkey::start().await;
    for (method, path) in [
        (Method::GET, "/workspaces"),
        (Method::GET, "/admin/integrations"),
        (Method::PATCH, "/integrations"),
        (Method::DELETE, "/integrations"),
        (Method::POST, "/integrations/openai-production"),
        (Method::GET, "/integrations/"),
        (Method::PUT, "/integrations/a/b/models"),
    ] {
        let answer = portkey.send(method.clone(), path, Value::Null).await;
        assert_eq!(answer.status(), 400, "{method} {path}");
        let body = read_json(answer).await;
        assert_eq!(body["status"], "failure", "{method} {path}: {body}");
        assert_eq!(body["message"], NO_SUCH_ENDPOINT, "{method} {path}");
    }
}

#[tokio::test]
async fn some_domains_are_served_under_v2() {
    let portkey = Portkey::start().await;
    for (path, status) in [
        ("integrations", 200),
        ("admin/workspaces", 200),
        ("providers", 400),
    ] {
        let url = portkey.sandbox.base_url().replace("/v1", "/v2");
        let request = portkey
            .client
            .get(format!("{url}/{path}"))
            .bearer_auth("key");
        assert_eq!(request.send().await.unwrap().status(), status, "{path}");
    }
}

#[tokio::test]
async fn missing_item_is_not_found_and_a_missing_workspace_forbidden() {
    struct Case {
        method: Method,
        path: &'static str,
        status: u16,
        code: &'static str,
    }

    let portkey = Portkey::start().await;
    for Case {
        method,
        path,
        status,
        code,
    } in [
        Case {
            method: Method::GET,
            path: "/integrations/none",
            status: 404,
            code: "AB08",
        },
        Case {
            method: Method::PUT,
            path: "/integrations/none",
            status: 404,
            code: "AB08",
        },
        Case {
            method: Method::DELETE,
            path: "/integrations/none",
            status: 404,
            code: "AB08",
        },
        Case {
            method: Method::GET,
            path: "/integrations/none/models",
            status: 404,
            code: "AB08",
        },
        Case {
            method: Method::PUT,
            path: "/integrations/none/workspaces",
            status: 404,
            code: "AB08",
        },
        Case {
            method: Method::GET,
            path: "/mcp-integrations/none",
            status: 404,
            code: "AB08",
        },
        Case {
            method: Method::POST,
            path: "/mcp-integrations/none/test",
            status: 404,
            code: "AB08",
        },
        Case {
            method: Method::GET,
            path: "/mcp-integrations/none/metadata",
            status: 404,
            code: "AB08",
        },
        Case {
            method: Method::GET,
            path: "/providers/none?workspace_id=ws-shared",
            status: 404,
            code: "AB08",
        },
        Case {
            method: Method::GET,
            path: "/providers?workspace_id=ws-none",
            status: 403,
            code: "AB03",
        },
        Case {
            method: Method::GET,
            path: "/integrations?workspace_id=ws-none",
            status: 403,
            code: "AB03",
        },
        Case {
            method: Method::GET,
            path: "/mcp-integrations?organisation_id=another",
            status: 403,
            code: "AB03",
        },
        Case {
            method: Method::GET,
            path: "/admin/workspaces/ws-none",
            status: 403,
            code: "AB03",
        },
    ] {
        let body = if method == Method::PUT {
            json!({})
        } else {
            Value::Null
        };
        let refusal = portkey.refusal(method.clone(), path, body).await;
        assert_eq!(
            (refusal.0, refusal.1.as_str()),
            (status, code),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn integration_is_not_found_by_its_id() {
    let portkey = Portkey::start().await;
    let listed = portkey.get("/integrations").await;
    let id = listed["data"][0]["id"].as_str().unwrap();
    let refusal = portkey
        .refusal(Method::GET, &format!("/integrations/{id}"), Value::Null)
        .await;
    assert_eq!(refusal.0, 404);
}

#[tokio::test]
async fn body_that_is_not_a_json_object_is_rejected() {
    let portkey = Portkey::start().await;
    let deep = "[".repeat(10_000);
    for (media, body) in [
        ("application/json", "{"),
        ("application/json", "[]"),
        ("application/json", "null"),
        ("application/json", "\"name\""),
        ("application/json", deep.as_str()),
        ("application/json", "{\"name\":\"\u{0}\"}"),
        (
            "text/plain",
            "{\"name\":\"A\",\"ai_provider_id\":\"openai\",\"key\":\"k\"}",
        ),
    ] {
        let request = portkey
            .request(Method::POST, "/integrations")
            .bearer_auth("key");
        let answer = request
            .header("content-type", media)
            .body(body.to_owned())
            .send()
            .await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 400, "{media}");
        assert_eq!(
            read_json(answer).await["data"]["errorCode"],
            "AB01",
            "{media}"
        );
    }
}

#[tokio::test]
async fn body_up_to_the_size_limit_is_accepted() {
    let portkey = Portkey::start().await;
    for (length, status) in [(7 * 1024 * 1024, 200), (8 * 1024 * 1024, 413)] {
        let body = json!({ "description": "x".repeat(length) });
        let answer = portkey
            .send(Method::PUT, "/integrations/anthropic", body)
            .await;
        assert_eq!(answer.status(), status, "{length}");
    }
}

#[tokio::test]
async fn full_sandbox_rejects_writes_and_names_the_limit() {
    let portkey = Portkey::start().await;
    let records = || async {
        let range = "start_time=2020-01-01T00:00:00Z&end_time=2030-01-01T00:00:00Z";
        portkey.get(&format!("/audit-logs?{range}")).await["total"]
            .as_u64()
            .unwrap()
    };
    let mut slugs = Vec::new();
    let before = records().await;
    let refused = loop {
        let integration = json!({
            "name": "Large",
            "ai_provider_id": "openai",
            "key": "sk-1",
            "description": "x".repeat(7 << 20),
        });
        let answer = portkey
            .send(Method::POST, "/integrations", integration)
            .await;
        if answer.status() != 200 {
            break answer;
        }
        slugs.push(read_json(answer).await["slug"].as_str().unwrap().to_owned());
        assert!(slugs.len() < 20, "no bound");
    };
    assert_eq!((slugs.len(), refused.status().as_u16()), (9, 409));
    let error = read_json(refused).await;
    let message = "This is a limit of the sandbox, which holds at most 64 MiB; delete something, or \
                   start it anew";
    assert_eq!(
        error["data"],
        json!({ "message": message, "errorCode": "AB07" })
    );
    // A rejected write stores nothing, and a deletion frees space.
    assert_eq!(records().await, before + 9);
    portkey.delete(&format!("/integrations/{}", slugs[0])).await;
    let small = json!({ "name": "Small", "ai_provider_id": "openai", "key": "sk-1" });
    portkey.post("/integrations", small).await;
}

#[tokio::test]
async fn invalid_field_is_named() {
    let portkey = Portkey::start().await;
    let long = "n".repeat(256);
    let limit = |limit: Value| {
        json!({ "workspaces": [
        { "id": "ws-shared", "enabled": true, "usage_limits": [limit] }] })
    };
    let mapping = |target: &str| json!({ "target_field": target, "secret_reference_id": "s" });
    let create = "/integrations";
    let update = "/integrations/anthropic";
    let access = "/integrations/anthropic/workspaces";
    for (path, body, field) in [
        (create, json!({}), "name"),
        (create, json!({ "name": "A" }), "ai_provider_id"),
        (
            create,
            json!({ "name": "A", "ai_provider_id": "openai" }),
            "key",
        ),
        (
            create,
            json!({ "name": 1, "ai_provider_id": "openai", "key": "k" }),
            "name",
        ),
        (
            create,
            json!({ "name": long, "ai_provider_id": "openai", "key": "k" }),
            "name",
        ),
        (
            create,
            json!({ "name": null, "ai_provider_id": "openai", "key": "k" }),
            "name",
        ),
        (
            create,
            json!({ "name": "A", "ai_provider_id": "openai", "key": "k", "slug": "a b" }),
            "slug",
        ),
        (
            create,
            json!({ "name": "A", "ai_provider_id": "bedrock",
                "configurations": { "aws_auth_type": "accessKey" } }),
            "aws_region",
        ),
        (update, json!({ "description": null }), "description"),
        (update, json!({ "tags": { "team": 1 } }), "tags"),
        (update, json!({ "configurations": [] }), "configurations"),
        (
            update,
            json!({ "configurations": { "custom_host": "http://10.0.0.1" } }),
            "custom_host",
        ),
        (
            update,
            json!({ "configurations": { "custom_host": "http://[::1]/" } }),
            "custom_host",
        ),
        (
            update,
            json!({ "configurations": { "custom_host": "https://a.b#c" } }),
            "custom_host",
        ),
        (
            update,
            json!({ "pricing_adjustments": { "multiplier": { "default": -1 } } }),
            "pricing",
        ),
        (
            update,
            json!({ "secret_mappings": [{ "target_field": "key" }] }),
            "secret_reference_id",
        ),
        (
            update,
            json!({ "secret_mappings": [mapping("name")] }),
            "secret_mappings[0]",
        ),
        (
            update,
            json!({ "secret_mappings": [mapping("key"), mapping("key")] }),
            "target_field",
        ),
        (access, json!({}), "global_workspace_access"),
        (
            access,
            json!({ "workspaces": [{ "id": "ws-shared" }] }),
            "workspaces[0].enabled",
        ),
        (
            access,
            limit(json!({ "type": "cost", "credit_limit": 0 })),
            "credit_limit",
        ),
        (
            access,
            limit(json!({ "type": "requests", "credit_limit": 5 })),
            "type",
        ),
        (
            access,
            limit(json!({ "type": "cost", "credit_limit": 5, "alert_threshold": 5 })),
            "usage_limits[0]",
        ),
        (
            access,
            limit(json!({ "periodic_reset": "weekly", "periodic_reset_days": 3 })),
            "usage_limits[0]",
        ),
        (
            access,
            json!({ "workspaces": [{ "id": "ws-shared", "enabled": true,
                "rate_limits": [{ "value": 1 }, { "value": 2 }] }] }),
            "rate_limits",
        ),
        (
            "/integrations/anthropic/models",
            json!({ "models": [{ "slug": "m" }] }),
            "enabled",
        ),
        (
            "/mcp-integrations/issue-tracker",
            json!({ "url": "ftp://example.com" }),
            "url",
        ),
        (
            "/mcp-integrations/issue-tracker",
            json!({ "auth_type": "" }),
            "auth_type",
        ),
        (
            "/mcp-integrations/issue-tracker",
            json!({ "name": null }),
            "name",
        ),
        (
            "/mcp-integrations/issue-tracker/capabilities",
            json!({ "capabilities": [] }),
            "items",
        ),
    ] {
        let method = if path == create {
            Method::POST
        } else {
            Method::PUT
        };
        let (status, code, message) = portkey.refusal(method, path, body.clone()).await;
        assert_eq!(
            (status, code.as_str()),
            (400, "AB01"),
            "{path} {body}: {message}"
        );
        assert!(message.contains(field), "{path} {body}: {message}");
    }
}

#[tokio::test]
async fn taken_slug_conflicts_and_undeclared_field_is_ignored() {
    let portkey = Portkey::start().await;
    let body = json!({ "name": "A", "slug": "anthropic", "ai_provider_id": "openai", "key": "k" });
    let refusal = portkey.refusal(Method::POST, "/integrations", body).await;
    assert_eq!((refusal.0, refusal.1.as_str()), (409, "AB07"));

    let body = json!({ "name": "A", "ai_provider_id": "openai", "key": "k", "colour": "red" });
    let made = portkey.post("/integrations", body).await;
    let read = portkey
        .get(&format!("/integrations/{}", made["slug"].as_str().unwrap()))
        .await;
    assert_eq!(read.get("colour"), None);
}

//! Enkrypt AI's MCP gateways in the sandbox: selected by headers, changed by merge patches.

use portkey_api::catalog::Catalog;
use portkey_mcp::{
    mcp::reply,
    pipeline::Dispatcher,
    upstream::{UpstreamClient, UpstreamSettings},
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{NO_SUCH_ENDPOINT, Portkey, read_json};
use crate::support::upstream::{self, operator};

/// Returns a dispatcher that calls this sandbox.
fn dispatcher(portkey: &Portkey) -> Dispatcher {
    let settings: UpstreamSettings = upstream::settings(&portkey.sandbox.base_url());
    Dispatcher::new(Catalog::full(), UpstreamClient::new(settings))
}

async fn call(dispatcher: &Dispatcher, tool: &str, args: Value) -> Result<Value, String> {
    let outcome = dispatcher
        .call_as_local(&operator(), tool, args.as_object().unwrap().clone())
        .await;
    outcome.map_err(|error| reply::error_message(&error))
}

#[tokio::test]
async fn gateway_is_read_previewed_and_changed() {
    let portkey = Portkey::start().await;
    let enkrypt = dispatcher(&portkey);
    let before = call(
        &enkrypt,
        "get-mcp-gateway",
        json!({ "gateway": "support-tools" }),
    )
    .await
    .unwrap();
    assert_eq!(
        (&before["gateway_version"], &before["is_active"]),
        (&json!("v1"), &json!(true))
    );

    let mut change = json!({
        "gateway": "support-tools", "is_sample": true,
        "servers_config": {
            "common_overrides": { "output_guardrails_config": null },
            "servers": [
                { "saved_name": "ticket_desk", "_delete": true },
                { "saved_name": "paper_search", "server_version": "v2" },
                { "saved_name": "team_sheets", "input_guardrails_config": { "enabled": false,
                    "guardrail_name": "Support Guard", "block": [],
                    "additional_config": { "threshold": null, "pii": { "redact": true } } } },
            ],
        },
    });
    let mut preview = change.clone();
    preview["preview"] = json!(true);
    let preview = call(&enkrypt, "modify-mcp-gateway", preview).await.unwrap();
    assert_eq!(preview["stored"], before);
    let read = call(
        &enkrypt,
        "get-mcp-gateway",
        json!({ "gateway": "support-tools" }),
    )
    .await
    .unwrap();
    assert_eq!(read, before, "a preview changes nothing");

    let answer = call(&enkrypt, "modify-mcp-gateway", change.clone())
        .await
        .unwrap();
    let after = &answer["data"];
    let servers: Vec<_> = super::string_column(&after["servers_config"]["servers"], "saved_name");
    assert_eq!(servers, ["team_sheets", "paper_search"]);
    let overrides = after["servers_config"]["common_overrides"]
        .as_object()
        .unwrap();
    assert_eq!(
        overrides.keys().collect::<Vec<_>>(),
        ["server_tools_guardrails_config"]
    );
    assert_eq!(
        after["servers_config"]["servers"][0]["input_guardrails_config"],
        json!({ "enabled": false, "guardrail_name": "Support Guard", "block": [],
            "additional_config": { "pii": { "entities": ["email", "phone"], "redact": true } } })
    );
    assert!(!after.to_string().contains("_delete"));
    let mut foretold = preview["merged"].clone();
    foretold["updated_at"] = after["updated_at"].clone();
    assert_eq!(&foretold, after, "the preview told the outcome");
    let read = call(
        &enkrypt,
        "get-mcp-gateway",
        json!({ "gateway": "support-tools" }),
    )
    .await
    .unwrap();
    assert_eq!(&read, after);

    // The same patch again changes only the time.
    let mut again = call(&enkrypt, "modify-mcp-gateway", change.clone())
        .await
        .unwrap()["data"]
        .take();
    assert_ne!(again["updated_at"], after["updated_at"]);
    again["updated_at"] = after["updated_at"].clone();
    assert_eq!(&again, after);

    change["servers_config"] = json!({ "servers": null });
    let emptied = call(&enkrypt, "modify-mcp-gateway", change).await.unwrap();
    assert_eq!(emptied["data"]["servers_config"]["servers"], json!([]));
    assert_eq!(
        emptied["data"]["servers_config"]["common_overrides"],
        json!(overrides)
    );
}

#[tokio::test]
async fn running_config_includes_registry_details() {
    let portkey = Portkey::start().await;
    let enkrypt = dispatcher(&portkey);
    let attach = json!({ "gateway": "research-tools", "gateway_version": "v2",
        "servers_config": { "servers": [{ "saved_name": "nobody_knows_it" }] } });
    call(&enkrypt, "modify-mcp-gateway", attach).await.unwrap();
    let asked = json!({ "gateway": "research-tools", "gateway_version": "v2" });
    let config = call(&enkrypt, "get-mcp-gateway-config", asked)
        .await
        .unwrap();
    let asked = json!({ "server": "paper_search", "server_version": "v2" });
    let server = call(&enkrypt, "get-mcp-registry-server", asked)
        .await
        .unwrap();
    let expanded = &config["expanded_servers"];
    assert_eq!(
        super::string_column(expanded, "saved_name"),
        ["paper_search", "nobody_knows_it"]
    );
    for field in ["server_name", "description", "is_active", "mcp_config"] {
        assert_eq!(expanded[0][field], server[field], "{field}");
        assert!(expanded[1][field].is_null(), "{field}");
    }
    assert_eq!(config["request_context"]["gateway_version"], "v2");
    assert_eq!(server["mcp_config"]["config"]["command"], "papers-mcp");
}

#[tokio::test]
async fn gateway_is_found_by_name_version_and_project() {
    let portkey = Portkey::start().await;
    let enkrypt = dispatcher(&portkey);
    let found = [
        (
            "get-mcp-gateway",
            json!({ "gateway": "research-tools", "gateway_version": "v2", "project": "default" }),
        ),
        (
            "get-mcp-registry-server",
            json!({ "server": "team_sheets", "registry": "default" }),
        ),
    ];
    for (tool, args) in found {
        assert!(
            call(&enkrypt, tool, args.clone()).await.is_ok(),
            "{tool} {args}"
        );
    }
    let missing = [
        ("get-mcp-gateway", json!({ "gateway": "research-tools" })),
        (
            "get-mcp-gateway-config",
            json!({ "gateway": "research-tools", "gateway_version": "2" }),
        ),
        (
            "modify-mcp-gateway",
            json!({ "gateway": "research-tools", "is_active": false }),
        ),
        (
            "modify-mcp-gateway",
            json!({ "gateway": "research-tools", "is_active": false, "preview": true }),
        ),
        (
            "get-mcp-gateway",
            json!({ "gateway": "support-tools", "project": "another" }),
        ),
        (
            "get-mcp-registry-server",
            json!({ "server": "paper_search" }),
        ),
        (
            "get-mcp-registry-server",
            json!({ "server": "team_sheets", "registry": "another" }),
        ),
    ];
    for (tool, args) in missing {
        let text = call(&enkrypt, tool, args.clone()).await.unwrap_err();
        assert!(
            text.contains("with 404: MCP ") && text.contains(" not found"),
            "{tool} {args}: {text}"
        );
    }
}

/// Sends a request with these headers, without the checks of our client; returns status and body.
async fn send_raw(
    portkey: &Portkey,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, Value) {
    let url = portkey.sandbox.base_url().replace("/v1", path);
    let mut request = portkey
        .client
        .request(method, url)
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.body(body.to_owned()).send().await.unwrap();
    (answer.status().as_u16(), read_json(answer).await)
}

#[tokio::test]
async fn errors_have_the_format_of_enkrypt() {
    struct Case<'a> {
        method: Method,
        path: &'a str,
        headers: Vec<(&'a str, &'a str)>,
        body: &'a str,
        status: u16,
        error: &'a str,
        message: &'a str,
    }

    let portkey = Portkey::start().await;
    let get = "/mcp-gateway/get-gateway";
    let patch = "/mcp-gateway/modify-gateway";
    let key = ("apikey", "any");
    let gateway = ("x-enkrypt-mcp-gateway", "support-tools");
    let long = "g".repeat(33);
    let missing = ("x-enkrypt-mcp-gateway", "nobody");
    for Case {
        method,
        path,
        headers,
        body,
        status,
        error,
        message,
    } in [
        Case {
            method: Method::GET,
            path: get,
            headers: vec![gateway],
            body: "",
            status: 401,
            error: "Unauthorized",
            message: "apikey",
        },
        Case {
            method: Method::GET,
            path: get,
            headers: vec![gateway, ("apikey", " ")],
            body: "",
            status: 401,
            error: "Unauthorized",
            message: "apikey",
        },
        Case {
            method: Method::GET,
            path: get,
            headers: vec![gateway, ("x-portkey-api-key", "any")],
            body: "",
            status: 401,
            error: "Unauthorized",
            message: "apikey",
        },
        Case {
            method: Method::GET,
            path: get,
            headers: vec![key],
            body: "",
            status: 400,
            error: "Bad Request",
            message: "x-enkrypt-mcp-gateway is required",
        },
        Case {
            method: Method::GET,
            path: get,
            headers: vec![key, ("x-enkrypt-mcp-gateway", &long)],
            body: "",
            status: 400,
            error: "Bad Request",
            message: "32 characters",
        },
        Case {
            method: Method::GET,
            path: get,
            headers: vec![key, missing],
            body: "",
            status: 404,
            error: "Resource not found",
            message: "MCP gateway not found",
        },
        Case {
            method: Method::PATCH,
            path: patch,
            headers: vec![key, missing],
            body: "{}",
            status: 404,
            error: "Resource not found",
            message: "MCP gateway not found",
        },
        Case {
            method: Method::POST,
            path: get,
            headers: vec![key, gateway],
            body: "{}",
            status: 404,
            error: "Resource not found",
            message: NO_SUCH_ENDPOINT,
        },
        Case {
            method: Method::GET,
            path: "/mcp-gateway/list-gateways",
            headers: vec![key],
            body: "",
            status: 404,
            error: "Resource not found",
            message: NO_SUCH_ENDPOINT,
        },
        Case {
            method: Method::PATCH,
            path: patch,
            headers: vec![key, gateway],
            body: "[]",
            status: 400,
            error: "Bad Request",
            message: "not a JSON object",
        },
        Case {
            method: Method::PATCH,
            path: patch,
            headers: vec![key, gateway],
            body: r#"{"is_active":1}"#,
            status: 400,
            error: "Bad Request",
            message: "`is_active`",
        },
        Case {
            method: Method::PATCH,
            path: patch,
            headers: vec![key, gateway],
            body: r#"{"is_active":null}"#,
            status: 400,
            error: "Bad Request",
            message: "`is_active`",
        },
        Case {
            method: Method::PATCH,
            path: patch,
            headers: vec![key, gateway],
            body: r#"{"servers_config":{"servers":[{"server_version":"v1"}]}}"#,
            status: 400,
            error: "Bad Request",
            message: "`servers_config.servers[0].saved_name` is required",
        },
        Case {
            method: Method::PATCH,
            path: patch,
            headers: vec![key, gateway],
            body: r#"{"servers_config":{"common_overrides":{"input_guardrails_config":{"block":"all"}}}}"#,
            status: 400,
            error: "Bad Request",
            message: "input_guardrails_config.block",
        },
    ] {
        let (got, answer) = send_raw(&portkey, method.clone(), path, &headers, body).await;
        assert_eq!(got, status, "{method} {path} {headers:?} {body}: {answer}");
        assert_eq!(
            (&answer["code"], &answer["error"]),
            (&json!(status), &json!(error)),
            "{answer}"
        );
        assert!(
            answer["message"].as_str().unwrap().contains(message),
            "{answer}"
        );
    }
    // None of these calls is in Portkey's audit log, which begins with one change, and no key of
    // Enkrypt's is valid for Portkey.
    let span = "start_time=2000-01-01T00:00:00Z&end_time=2100-01-01T00:00:00Z";
    assert_eq!(
        portkey.get(&format!("/audit-logs?{span}")).await["total"],
        1
    );
    let answer = portkey
        .request(Method::GET, "/integrations")
        .header("apikey", "any")
        .send()
        .await;
    assert_eq!(answer.unwrap().status(), 401);
}

/// Undeclared fields of a patch are not stored, in particular no other name.
#[tokio::test]
async fn patch_ignores_undeclared_fields() {
    let portkey = Portkey::start().await;
    let headers = [
        ("apikey", "any"),
        ("x-enkrypt-mcp-gateway", "support-tools"),
    ];
    let body = r#"{"gateway_saved_name":"mine","slug":"x","servers_config":{"colour":"red"}}"#;
    let patch = "/mcp-gateway/modify-gateway";
    let (status, answer) = send_raw(&portkey, Method::PATCH, patch, &headers, body).await;
    assert_eq!(
        (status, &answer["data"]["gateway_saved_name"]),
        (200, &json!("support-tools"))
    );
    assert_eq!(answer["data"]["servers_config"].get("colour"), None);
}

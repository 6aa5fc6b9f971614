//! Start, stop and robustness of a sandbox.

use std::time::Duration;

use portkey_sandbox::{Faults, Sandbox};
use reqwest::Method;
use serde_json::{Value, json};

use super::Portkey;

#[tokio::test]
async fn stopped_sandbox_releases_its_port() {
    let Portkey {
        mut sandbox,
        client,
    } = Portkey::start().await;
    let address = sandbox.address();
    let url = sandbox.base_url();
    assert_eq!(url, format!("http://{address}/v1"));
    assert!(
        Sandbox::start(address, Faults::default()).await.is_err(),
        "the port is taken"
    );
    let waiting = tokio::time::timeout(Duration::ZERO, sandbox.wait_until_stopped()).await;
    assert!(waiting.is_err(), "nothing has stopped it");

    // The client keeps its connection open, which must not delay the stop.
    client.get(&url).send().await.unwrap();
    sandbox.stop().await;
    assert!(client.get(&url).send().await.is_err());
    Sandbox::start(address, Faults::default())
        .await
        .unwrap()
        .stop()
        .await;
}

#[tokio::test]
async fn dropped_sandbox_stops() {
    let Portkey { sandbox, client } = Portkey::start().await;
    let url = sandbox.base_url();
    drop(sandbox);
    let refused = async { while client.get(&url).send().await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), refused)
        .await
        .expect("it still answers");
}

#[tokio::test]
async fn base_url_of_an_unspecified_address_is_loopback() {
    let sandbox = Sandbox::start("0.0.0.0:0".parse().unwrap(), Faults::default())
        .await
        .unwrap();
    assert!(
        sandbox.base_url().starts_with("http://127.0.0.1:"),
        "{}",
        sandbox.base_url()
    );
}

#[tokio::test]
async fn any_input_gets_a_response() {
    let portkey = Portkey::start().await;
    let odd = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("ws-shared"),
        json!("é\u{0}\u{10ffff}"),
        json!("2026-02-30T25:61:61+99:99"),
        json!("http://[::"),
        json!([]),
        json!([null]),
        json!([[]]),
        json!([{}]),
        json!([{ "id": "ws-shared", "enabled": true, "name": "", "type": "tool", "slug": "s" }]),
        json!({}),
        json!({ "": null, "enabled": 1, "a": { "b": [] } }),
    ];
    let access: &[_] = &[
        "workspaces",
        "global_workspace_access",
        "default_provider_slug",
    ];
    let upkeep: &[_] = &[
        "name",
        "configurations",
        "secret_mappings",
        "description",
        "url",
    ];
    let limits: &[_] = &[
        "usage_limits",
        "rate_limits",
        "expires_at",
        "defaults",
        "workspace_id",
    ];
    for (method, path, fields) in [
        (
            Method::POST,
            "/integrations",
            &["slug", "ai_provider_id", "workspace_id", "tags"][..],
        ),
        (Method::PUT, "/integrations/anthropic", upkeep),
        (Method::PUT, "/integrations/anthropic/models", &["models"]),
        (Method::PUT, "/integrations/anthropic/workspaces", access),
        (
            Method::POST,
            "/mcp-integrations",
            &["slug", "organisation_id", "url"],
        ),
        (Method::PUT, "/mcp-integrations/old-wiki", upkeep),
        (
            Method::PUT,
            "/mcp-integrations/old-wiki/capabilities",
            &["capabilities"],
        ),
        (
            Method::POST,
            "/mcp-integrations/old-wiki/sync",
            &["capabilities", "server_info"],
        ),
        (Method::PUT, "/mcp-integrations/old-wiki/workspaces", access),
        (Method::POST, "/providers?workspace_id=ws-shared", limits),
        (
            Method::PUT,
            "/providers/anthropic?workspace_id=ws-support-bot",
            limits,
        ),
        (Method::POST, "/admin/workspaces", limits),
        (Method::PUT, "/admin/workspaces/ws-research", limits),
        (
            Method::DELETE,
            "/admin/workspaces/ws-research",
            &["name", "force_delete"],
        ),
    ] {
        for field in fields {
            for value in &odd {
                // Required fields are present, so that the unusual field decides.
                let mut body = json!({ "name": "N", "ai_provider_id": "x", "key": "k",
                    "url": "https://example.com", "auth_type": "none", "transport": "http",
                    "integration_id": "anthropic" });
                body[field] = value.clone();
                let answer = portkey.send(method.clone(), path, body).await;
                let status = answer.status().as_u16();
                assert!(
                    [200, 400, 403, 404, 409].contains(&status),
                    "{path} {field} {value}"
                );
            }
        }
    }
    for path in [
        "/integrations/%FF",
        "/integrations/%00",
        "/integrations/%2e%2e%2fadmin",
        "/integrations?current_page=99999999999999999999999",
        "/integrations?current_page=18446744073709551615&page_size=18446744073709551615",
        "/integrations?&&=&%=%&a",
        "/integrations?tags=%FF",
        "/providers?workspace_id=%00",
        "/admin/workspaces?status=,,,",
        "//",
        "/integrations/anthropic/models/",
    ] {
        let status = portkey
            .send(Method::GET, path, Value::Null)
            .await
            .status()
            .as_u16();
        assert!([200, 400, 403, 404].contains(&status), "{path}");
    }
}

//! The sandbox over real HTTP: the behaviour that clients' tests rely on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

mod agent_servers;
mod analytics;
mod api_keys;
mod audit_logs;
mod cascade;
mod collections;
mod configs;
mod deployments;
mod enkrypt_mcp_gateway;
mod errors;
mod faults;
mod feedback;
mod guardrails;
mod integrations;
mod keys;
mod labels;
mod lifetime;
mod lists;
mod log_exports;
mod logs;
mod mcp_integrations;
mod mcp_registry;
mod mcp_servers;
mod model_pricing;
mod organisation_defaults;
mod policies;
mod prompt_partials;
mod prompts;
mod providers;
mod repeatable;
mod scim;
mod secret_references;
mod secrets;
mod terraform_shapes;
mod time;
mod updates;
mod user_invites;
mod users;
mod virtual_keys;
mod workspace_exclusions;
mod workspace_members;
mod workspaces;

use portkey_sandbox::{DEFAULT_API_KEY, Faults, Sandbox};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use crate::support::requests::client_builder;

/// Time of the clock in these tests.
const NOW: &str = "2026-01-01T00:00:00Z";

/// Message for an endpoint that the sandbox lacks.
const NO_SUCH_ENDPOINT: &str =
    "no such endpoint in the sandbox: add a route in crates/sandbox/src/domains/<domain>.rs";

/// A sandbox and its client.
struct Portkey {
    sandbox: Sandbox,
    client: reqwest::Client,
}

impl Portkey {
    /// Starts a sandbox without faults.
    async fn start() -> Self {
        Self::with_faults("").await
    }

    async fn with_faults(faults: &str) -> Self {
        Self::begin(faults.parse().unwrap(), Some(NOW)).await
    }

    /// Starts a sandbox with a pinned clock.
    async fn pinned_at(now: &str) -> Self {
        Self::begin(Faults::default(), Some(now)).await
    }

    /// Starts a sandbox with the system clock.
    async fn with_real_clock() -> Self {
        Self::begin(Faults::default(), None).await
    }

    async fn begin(faults: Faults, now: Option<&str>) -> Self {
        let now = now.map(|now| now.parse().unwrap());
        let listen = "127.0.0.1:0".parse().unwrap();
        let sandbox = Sandbox::start_with_clock(listen, faults, now)
            .await
            .unwrap();
        let client = client_builder().no_proxy().build().unwrap();
        Self { sandbox, client }
    }

    /// Builds a request without a key.
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.sandbox.base_url()))
    }

    /// Sends a request with a key and, unless it is `null`, a JSON body.
    async fn send(&self, method: Method, path: &str, body: Value) -> Response {
        self.send_as(DEFAULT_API_KEY, method, path, body).await
    }

    /// Sends a request with this key.
    async fn send_as(&self, key: &str, method: Method, path: &str, body: Value) -> Response {
        let mut request = self.request(method, path).header("x-portkey-api-key", key);
        if !body.is_null() {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        request.send().await.unwrap()
    }

    /// Sends a request that must succeed; returns the body.
    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let answer = self.send(method, path, body).await;
        let status = answer.status();
        let body = read_json(answer).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.call(Method::POST, path, body).await
    }

    async fn put(&self, path: &str, body: Value) -> Value {
        self.call(Method::PUT, path, body).await
    }

    async fn delete(&self, path: &str) -> Value {
        self.call(Method::DELETE, path, Value::Null).await
    }

    /// Sends a request that must fail; returns status, error code and message.
    async fn refusal(&self, method: Method, path: &str, body: Value) -> (u16, String, String) {
        let answer = self.send(method, path, body).await;
        let status = answer.status().as_u16();
        let body = read_json(answer).await;
        assert_eq!(body["success"], false, "{path}: {status} {body}");
        let text = |name: &str| body["data"][name].as_str().unwrap_or_default().to_owned();
        (status, text("errorCode"), text("message"))
    }
}

async fn read_json(answer: Response) -> Value {
    let text = answer.text().await.unwrap();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"))
}

/// Returns one text field of each item of a list.
fn string_column<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    let items = list.as_array().expect("a list");
    items
        .iter()
        .map(|item| item[field].as_str().expect("a text"))
        .collect()
}

//! The public price list: no version, no key, prices in cents per token.

use reqwest::Method;
use serde_json::Value;

use super::{Portkey, read_json};

impl Portkey {
    /// Sends a request without a key to a path without a version; returns status and body.
    async fn public(&self, method: Method, path: &str) -> (u16, Value) {
        let url = format!("http://{}{path}", self.sandbox.address());
        let answer = self.client.request(method, url).send().await.unwrap();
        (answer.status().as_u16(), read_json(answer).await)
    }
}

#[tokio::test]
async fn prices_are_public_and_consistent() {
    let portkey = Portkey::start().await;
    let (status, list) = portkey.public(Method::GET, "/pricing/openai.json").await;
    assert_eq!(status, 200);
    let models = list.as_object().unwrap();
    assert!(models.len() > 1);
    for (model, listed) in models {
        let path = format!("/model-configs/pricing/openai/{model}");
        let (status, price) = portkey.public(Method::GET, &path).await;
        assert_eq!(
            (status, &price),
            (200, &listed["pricing_config"]),
            "{model}"
        );
        assert_eq!(price["currency"], "USD");
        for token in ["request_token", "response_token"] {
            let cents = price["pay_as_you_go"][token]["price"].as_f64().unwrap();
            assert!(
                cents > 0.0 && cents < 0.01,
                "{model}: {cents} cents for one {token}"
            );
        }
        let path = format!("/model-configs/general/openai/{model}");
        assert!(
            portkey.public(Method::GET, &path).await.1["params"].is_array(),
            "{model}"
        );
    }
}

#[tokio::test]
async fn missing_price_is_not_found() {
    let portkey = Portkey::start().await;
    for path in [
        "/model-configs/pricing/openai/gpt-0",
        "/model-configs/pricing/nobody/gpt-4o",
        "/model-configs/general/anthropic/gpt-4o",
        "/pricing/nobody.json",
        "/pricing/openai",
    ] {
        let (status, body) = portkey.public(Method::GET, path).await;
        assert_eq!(status, 404, "{path}");
        assert!(body["error"].is_string(), "{path}: {body}");
    }
}

#[tokio::test]
async fn only_the_price_list_is_public() {
    let portkey = Portkey::start().await;
    for (method, path, status) in [
        (Method::GET, "/integrations", 401),
        (Method::POST, "/pricing/openai.json", 401),
        (Method::GET, "/v1/pricing/openai.json", 401),
        (Method::GET, "/v1/integrations", 401),
        (Method::GET, "/v0.1/servers", 401),
    ] {
        assert_eq!(
            portkey.public(method.clone(), path).await.0,
            status,
            "{method} {path}"
        );
    }
}

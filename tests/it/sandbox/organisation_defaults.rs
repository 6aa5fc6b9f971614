//! Organisation defaults: served by v2 only, each list independent.

use reqwest::Method;
use serde_json::{Value, json};

use super::{DEFAULT_API_KEY, Portkey, read_json as read, string_column};

const SEEDED_GUARDRAIL: &str = "guard_plain-language";
const PATH: &str = "/admin/organisation/defaults";

/// Sends a request to v2; returns status and body.
async fn send_v2(portkey: &Portkey, method: Method, body: Value) -> (u16, Value) {
    let url = portkey.sandbox.base_url().replace("/v1", "/v2") + PATH;
    let request = portkey
        .client
        .request(method, url)
        .header("x-portkey-api-key", DEFAULT_API_KEY);
    let request = request
        .header("content-type", "application/json")
        .body(body.to_string());
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), read(answer).await)
}

#[tokio::test]
async fn given_list_replaces_and_omitted_list_stays() {
    let portkey = Portkey::start().await;
    // An id is accepted as well; the response has the slug as well.
    let plain = portkey.get("/guardrails/guard_plain-language").await["id"].clone();
    let body = json!({ "name": "Second", "checks": [{ "id": "portkey.pii" }], "actions": {} });
    let second = portkey.post("/guardrails", body).await;
    let second = second["slug"].as_str().unwrap();
    // Each row continues from the previous one.
    for (change, input, output) in [
        (json!({}), vec![SEEDED_GUARDRAIL], vec![]),
        (
            json!({ "output_guardrails": [plain, second] }),
            vec![SEEDED_GUARDRAIL],
            vec![SEEDED_GUARDRAIL, second],
        ),
        (
            json!({ "output_guardrails": [second], "input_guardrails": [] }),
            vec![],
            vec![second],
        ),
    ] {
        assert_eq!(
            send_v2(&portkey, Method::PUT, change.clone()).await,
            (200, json!({})),
            "{change}"
        );
        let (_, defaults) = send_v2(&portkey, Method::GET, json!({})).await;
        assert_eq!(
            string_column(&defaults["input_guardrails"], "slug"),
            input,
            "{change}"
        );
        assert_eq!(
            string_column(&defaults["output_guardrails"], "slug"),
            output,
            "{change}"
        );
    }
}

#[tokio::test]
async fn invalid_guardrail_lists_are_rejected() {
    let portkey = Portkey::start().await;
    for list in [json!("a"), json!([1]), json!([""]), Value::Null] {
        let body = json!({ "input_guardrails": list });
        let (status, answer) = send_v2(&portkey, Method::PUT, body.clone()).await;
        assert_eq!(
            (status, &answer["data"]["errorCode"]),
            (400, &json!("AB01")),
            "{body}"
        );
    }
    let unknown =
        json!({ "input_guardrails": [SEEDED_GUARDRAIL, "guard_none"], "output_guardrails": [] });
    let (status, answer) = send_v2(&portkey, Method::PUT, unknown).await;
    assert_eq!(
        (status, &answer["data"]["errorCode"]),
        (403, &json!("AB03")),
        "{answer}"
    );
    let of_a_workspace = json!({ "input_guardrails": ["guard_personal-data"] });
    let (status, answer) = send_v2(&portkey, Method::PUT, of_a_workspace).await;
    assert_eq!(
        (status, &answer["data"]["errorCode"]),
        (400, &json!("AB01")),
        "{answer}"
    );
}

#[tokio::test]
async fn organisation_defaults_are_unknown_to_v1() {
    let portkey = Portkey::start().await;
    let answer = portkey.send(Method::GET, PATH, Value::Null).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(
        read(answer).await["status"],
        "failure",
        "the gateway answers, not the API"
    );
}

//! Faults: frequency, repeatability, and that they occur before any effect.

use portkey_sandbox::Faults;
use reqwest::Method;
use serde_json::{Value, json};

use super::Portkey;

/// Returns the status of each request; `None` if the connection was closed.
async fn request_statuses(faults: &str, requests: usize) -> Vec<Option<u16>> {
    let portkey = Portkey::with_faults(faults).await;
    let mut statuses = Vec::new();
    for _ in 0..requests {
        let request = portkey
            .request(Method::GET, "/integrations")
            .bearer_auth("key");
        statuses.push(
            request
                .send()
                .await
                .ok()
                .map(|answer| answer.status().as_u16()),
        );
    }
    statuses
}

#[tokio::test]
async fn equal_seeds_give_equal_faults() {
    let faults = "429:0.3,503:0.2,reset:0.2,seed:7";
    let first = request_statuses(faults, 60).await;
    assert_eq!(first, request_statuses(faults, 60).await);
    assert_ne!(
        first,
        request_statuses("429:0.3,503:0.2,reset:0.2,seed:8", 60).await
    );
    for outcome in [Some(200), Some(429), Some(503), None] {
        let times = first.iter().filter(|status| **status == outcome).count();
        assert!((4..40).contains(&times), "{outcome:?} came {times} times");
    }
}

#[tokio::test]
async fn certain_faults_always_and_impossible_faults_never_occur() {
    for (faults, expected) in [
        ("", Some(200)),
        ("500:0", Some(200)),
        ("latency:1ms", Some(200)),
        ("500:1", Some(500)),
        ("404:1.0", Some(404)),
        ("reset:1", None),
        ("lost:1", None),
    ] {
        assert_eq!(request_statuses(faults, 5).await, [expected; 5], "{faults}");
    }
}

#[tokio::test]
async fn write_with_an_injected_fault_has_no_effect() {
    let portkey = Portkey::with_faults("503:0.4,reset:0.2,seed:3").await;
    let mut made = 0;
    for _ in 0..40 {
        let body = json!({ "name": "A", "ai_provider_id": "openai", "key": "k" }).to_string();
        let request = portkey
            .request(Method::POST, "/integrations")
            .bearer_auth("key");
        let request = request
            .header("content-type", "application/json")
            .body(body);
        made += usize::from(
            request
                .send()
                .await
                .is_ok_and(|answer| answer.status() == 200),
        );
    }
    assert!((1..40).contains(&made));
    let total = loop {
        let request = portkey.request(Method::GET, "/integrations?type=organisation");
        let Ok(answer) = request.bearer_auth("key").send().await else {
            continue;
        };
        if answer.status() == 200 {
            break super::read_json(answer).await["total"].as_u64().unwrap();
        }
    };
    let before = Portkey::start()
        .await
        .get("/integrations?type=organisation")
        .await;
    assert_eq!(total, before["total"].as_u64().unwrap() + made as u64);
}

#[tokio::test]
async fn write_with_a_lost_response_takes_effect() {
    let portkey = Portkey::with_faults("lost:0.5,seed:3").await;
    let organisation = "/integrations?type=organisation";
    let before = Portkey::start().await.get(organisation).await["total"]
        .as_u64()
        .unwrap();
    let mut lost = 0;
    for _ in 0..20 {
        let body = json!({ "name": "A", "ai_provider_id": "openai", "key": "k" }).to_string();
        let request = portkey
            .request(Method::POST, "/integrations")
            .bearer_auth("key");
        let request = request
            .header("content-type", "application/json")
            .body(body);
        lost += u64::from(request.send().await.is_err());
    }
    assert!((1..20).contains(&lost));
    let total = loop {
        let request = portkey
            .request(Method::GET, organisation)
            .bearer_auth("key");
        if let Ok(answer) = request.send().await {
            break super::read_json(answer).await["total"].as_u64().unwrap();
        }
    };
    assert_eq!(total, before + 20);
}

#[tokio::test]
async fn fault_response_has_the_format_of_portkey_or_its_proxy() {
    for (faults, code, retry_after) in [
        ("429:1", Some("AB06"), None),
        ("429:1:retry-after=1", Some("AB06"), Some("1")),
        ("500:1", Some("AB04"), None),
        ("502:1", None, None),
        ("503:1:retry-after=2", None, Some("2")),
    ] {
        let portkey = Portkey::with_faults(faults).await;
        let answer = portkey
            .send(Method::GET, "/integrations", Value::Null)
            .await;
        let given = answer
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().unwrap());
        assert_eq!(given, retry_after, "{faults}");
        let body: Option<Value> = serde_json::from_str(&answer.text().await.unwrap()).ok();
        let given = body
            .as_ref()
            .and_then(|body| body["data"]["errorCode"].as_str());
        assert_eq!(given, code, "{faults}");
    }
}

#[test]
fn invalid_fault_list_is_rejected_with_an_example() {
    for (faults, part) in [
        ("429", "429"),
        ("429:0.2,oops:1", "oops:1"),
        ("200:0.5", "200:0.5"),
        ("600:0.5", "600:0.5"),
        ("503:1.5", "503:1.5"),
        ("503:-0.1", "503:-0.1"),
        ("503:NaN", "503:NaN"),
        ("503:often", "503:often"),
        ("429:0.2:after=1", "429:0.2:after=1"),
        ("429:0.2:retry-after=soon", "429:0.2:retry-after=soon"),
        ("latency:50", "latency:50"),
        ("latency:2h", "latency:2h"),
        ("latency:61s", "latency:61s"),
        (
            "latency:99999999999999999999ms",
            "latency:99999999999999999999ms",
        ),
        ("reset:2", "reset:2"),
        ("seed:lucky", "seed:lucky"),
        ("429:0.6,reset:0.6", "429:0.6,reset:0.6"),
    ] {
        let error = faults.parse::<Faults>().unwrap_err().to_string();
        let (named, example) = error.split_once(": ").unwrap();
        assert_eq!(named, format!("`{part}`"), "{error}");
        let example = example.rsplit('`').nth(1).unwrap();
        assert!(example.parse::<Faults>().is_ok(), "{error}");
    }
}

//! Time: traffic up to the current minute, an incident and an exceeded budget that can be found,
//! and a pinned clock.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde_json::{Value, json};

use super::{NOW, Portkey};

/// A Thursday morning.
const PINNED_TIME: &str = "2026-05-14T10:30:20Z";

impl Portkey {
    /// Returns the summary of a graph.
    async fn figure(&self, graph: &str, from: &str, until: &str, more: &str) -> Value {
        let period = format!("time_of_generation_min={from}&time_of_generation_max={until}{more}");
        self.get(&format!("/analytics/graphs/{graph}?{period}"))
            .await["summary"]
            .clone()
    }

    /// Returns the points of a graph.
    async fn points(&self, graph: &str, from: &str, until: &str, more: &str) -> Vec<Value> {
        let period = format!("time_of_generation_min={from}&time_of_generation_max={until}{more}");
        let graph = self
            .get(&format!("/analytics/graphs/{graph}?{period}"))
            .await;
        graph["data_points"].as_array().unwrap().clone()
    }

    /// Returns the total in the summary of a graph.
    async fn total(&self, graph: &str, from: &str, until: &str, more: &str) -> f64 {
        let summary = self.figure(graph, from, until, more).await;
        summary["total"]
            .as_f64()
            .unwrap_or_else(|| panic!("{graph}: {summary}"))
    }
}

/// Formats seconds since 1970 as RFC 3339.
fn format_rfc3339(seconds: u64) -> String {
    let time = chrono::DateTime::from_timestamp(i64::try_from(seconds).unwrap(), 0).unwrap();
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[tokio::test]
async fn current_month_has_cost_on_the_real_clock() {
    let portkey = Portkey::with_real_clock().await;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let today = format_rfc3339(now - 3600);
    let later = format_rfc3339(now + 86_400);
    let month = format!("{}-01T00:00:00Z", &format_rfc3339(now)[..7]);
    assert!(
        portkey.total("cost", &month, &later, "").await > 0.0,
        "since {month}"
    );
    // Up to the current minute, and not later.
    assert!(
        portkey
            .total("requests", &format_rfc3339(now - 300), &later, "")
            .await
            > 0.0
    );
    let soon = format_rfc3339(now + 600);
    let later = format_rfc3339(now + 86_400);
    assert_eq!(portkey.total("requests", &soon, &later, "").await, 0.0);
    assert!(portkey.total("requests", &today, &soon, "").await > 20.0);
    for workspace in ["ws-shared", "ws-support-bot"] {
        let quarter = format_rfc3339(now - 92 * 86_400);
        let slug = format!("&workspace_slug={workspace}");
        let days = portkey.points("cost", &quarter, &later, &slug).await;
        assert!(days.len() >= 92, "{workspace}: {} days", days.len());
    }
    // A secret that is rotated now stays valid during its transition.
    let key = json!({ "name": "K", "workspace_id": "ws-shared", "scopes": ["logs.list"] });
    let key = portkey.post("/api-keys/workspace/service", key).await;
    let rotate = format!("/api-keys/{}/rotate", key["id"].as_str().unwrap());
    let rotated = portkey.post(&rotate, json!({})).await;
    let until = rotated["key_transition_expires_at"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        until > format_rfc3339(now) && until < format_rfc3339(now + 3600),
        "{until}"
    );
}

#[tokio::test]
async fn parts_of_a_period_add_up_to_the_whole() {
    let portkey = Portkey::pinned_at(PINNED_TIME).await;
    let ends = [
        "2026-05-08T23:59:00Z",
        "2026-05-11T13:16:30Z",
        "2026-05-11T13:17:00Z",
        "2026-05-11T13:40:00Z",
        "2026-05-11T15:41:59Z",
        "2026-05-11T18:00:00Z",
        "2026-05-13T09:00:00Z",
        "2026-05-14T10:30:20Z",
    ];
    for graph in ["requests", "cost", "tokens", "errors", "feedbacks"] {
        let whole = portkey.total(graph, ends[0], ends[7], "").await;
        let mut parts = 0.0;
        for pair in ends.windows(2) {
            let part = portkey.total(graph, pair[0], pair[1], "").await;
            let points = portkey.points(graph, pair[0], pair[1], "").await;
            let sum: f64 = points
                .iter()
                .map(|point| point["total"].as_f64().unwrap())
                .sum();
            assert!(
                (sum - part).abs() < 0.001,
                "{graph} of {pair:?}: {sum} and {part}"
            );
            parts += part;
        }
        assert!(
            (whole - parts).abs() < 0.001,
            "{graph}: {whole} and {parts}"
        );
        assert!(whole > 0.0, "{graph}");
    }
}

#[tokio::test]
async fn incident_of_last_week_is_visible_to_the_minute() {
    let portkey = Portkey::pinned_at(PINNED_TIME).await;
    let from = "2026-05-07T10:30:20Z";
    let until = PINNED_TIME;
    // The day with an unusual error rate.
    let days = portkey
        .points("errors/rate", from, until, "&workspace_slug=ws-support-bot")
        .await;
    let bad: Vec<_> = days
        .iter()
        .filter(|day| day["rate"].as_f64() > Some(5.0))
        .collect();
    assert_eq!(bad.len(), 1, "{days:?}");
    assert_eq!(bad[0]["timestamp"], "2026-05-11T00:00:00.000Z");
    // The provider of the errors.
    let period = format!("time_of_generation_min={from}&time_of_generation_max={until}");
    let groups = |dimension: &str, more: &str| {
        format!(
            "/analytics/groups/{dimension}?{period}&columns=error_count,first_seen,last_seen{more}"
        )
    };
    let failed = portkey.get(&groups("provider", "&status_code=503")).await;
    assert_eq!(failed["total"], 1, "{failed}");
    assert_eq!(failed["data"][0]["provider"], "openai");
    // The period in minutes. The last minute with errors is the one before the end.
    let minute = |field: &str| failed["data"][0][field].as_str().unwrap()[..16].to_owned();
    assert_eq!(minute("first_seen"), "2026-05-11T13:17");
    assert_eq!(minute("last_seen"), "2026-05-11T15:41");
    // The same count in groups by status, in graphs and in the logs that an export counts.
    let count = failed["data"][0]["requests"].as_u64().unwrap();
    assert!(count > 100, "{count}");
    let statuses = portkey.get(&groups("status_code", "")).await;
    let of = |status: &str| {
        statuses["data"]
            .as_array()
            .unwrap()
            .iter()
            .find(|g| g["status_code"] == status)
    };
    assert_eq!(of("503").unwrap()["requests"], count);
    let codes = portkey.points("errors/status-codes", from, until, "").await;
    assert!(
        codes.contains(&json!({ "status_code": 503, "count": count })),
        "{codes:?}"
    );
    let mut exported = 0;
    for workspace in ["ws-shared", "ws-research", "ws-support-bot"] {
        let job = json!({ "workspace_id": workspace, "requested_data": ["id"], "filters": {
            "time_of_generation_min": from, "time_of_generation_max": until, "status_code": 503 } });
        exported += portkey.post("/logs/exports", job).await["total"]
            .as_u64()
            .unwrap();
    }
    assert_eq!(exported, count);
    // By minute, in a period that is short enough.
    let from = "2026-05-11T13:10:00Z";
    let until = "2026-05-11T13:25:00Z";
    let minutes = portkey
        .points("errors/rate", from, until, "&workspace_slug=ws-support-bot")
        .await;
    let rate = |minute: &str| {
        let found = minutes
            .iter()
            .find(|point| point["timestamp"] == format!("{minute}:00.000Z"));
        found.map(|point| point["rate"].as_f64().unwrap())
    };
    assert!(
        rate("2026-05-11T13:16").is_none_or(|rate| rate < 40.0),
        "{minutes:?}"
    );
    assert!(rate("2026-05-11T13:17") > Some(40.0), "{minutes:?}");
}

#[tokio::test]
async fn workspace_over_budget_is_visible_with_its_hour() {
    let portkey = Portkey::pinned_at(PINNED_TIME).await;
    let listed = portkey.get("/admin/workspaces").await;
    let mut over = Vec::new();
    for workspace in listed["data"].as_array().unwrap() {
        let Some(budget) = workspace["usage_limits"].get(0) else {
            continue;
        };
        let slug = workspace["slug"].as_str().unwrap();
        let read = portkey.get(&format!("/admin/workspaces/{slug}")).await;
        let since = read["last_reset_at"].as_str().unwrap();
        let more = format!("&workspace_slug={slug}");
        let cents = portkey.total("cost", since, PINNED_TIME, &more).await;
        let limit = budget["credit_limit"].as_f64().unwrap() * 100.0;
        if cents >= limit {
            over.push((slug.to_owned(), since.to_owned(), limit));
        }
    }
    let [(slug, since, limit)] = over.as_slice() else {
        panic!("{over:?}")
    };
    assert_eq!(slug, "ws-research");
    let more = format!("&workspace_slug={slug}");
    // The hour that exhausted the budget is the last with cost; all later requests are rejected.
    let hours = portkey
        .points("cost", "2026-05-13T00:00:00Z", PINNED_TIME, &more)
        .await;
    let before = portkey
        .total("cost", since, "2026-05-12T23:59:59Z", &more)
        .await;
    let mut spent = before;
    assert!(before < *limit);
    let crossed = hours.iter().find(|hour| {
        spent += hour["total"].as_f64().unwrap();
        spent >= *limit
    });
    let crossed = crossed.unwrap()["timestamp"].as_str().unwrap().to_owned();
    let later: Vec<_> = hours
        .iter()
        .filter(|h| h["timestamp"].as_str() > Some(&crossed))
        .collect();
    assert!(later.len() > 12, "{hours:?}");
    assert!(later.iter().all(|hour| hour["total"] == 0.0), "{later:?}");
    let period = format!("time_of_generation_min={since}&time_of_generation_max={PINNED_TIME}");
    let refused =
        format!("/analytics/groups/workspace?{period}&status_code=412&columns=first_seen,cost");
    let refused = portkey.get(&refused).await["data"].clone();
    assert_eq!(refused.as_array().unwrap().len(), 1, "{refused}");
    assert_eq!(
        (&refused[0]["workspace"], &refused[0]["cost"]),
        (&json!(slug), &json!(0.0))
    );
    let first = refused[0]["first_seen"].as_str().unwrap();
    assert!(first > crossed.as_str(), "{first} and {crossed}");
}

#[tokio::test]
async fn keys_differ_in_their_usage() {
    let portkey = Portkey::pinned_at(PINNED_TIME).await;
    let keys = portkey.get("/api-keys").await["data"].clone();
    let quarter = "2026-02-10T00:00:00Z";
    let day = "2026-05-13T10:30:20Z";
    let mut used = Vec::new();
    for key in keys.as_array().unwrap() {
        let more = format!("&api_key_ids={}", key["id"].as_str().unwrap());
        let ever = portkey.total("requests", quarter, PINNED_TIME, &more).await > 0.0;
        let lately = portkey.total("requests", day, PINNED_TIME, &more).await > 0.0;
        used.push((key["name"].as_str().unwrap().to_owned(), ever, lately));
    }
    let expected = [
        ("Platform automation", false, false),
        ("Support bot production", true, true),
        ("Evaluation runs", true, false),
        ("Research notebooks", true, true),
        ("Shared assistants", true, true),
        ("Support bot staging", false, false),
    ];
    assert_eq!(
        used,
        expected.map(|(name, ever, lately)| (name.to_owned(), ever, lately))
    );
    // The exhausted key has spent its budget, and so have its provider and its project.
    let key = &keys.as_array().unwrap()[2];
    assert_eq!(key["status"], "exhausted");
    let more = format!("&api_key_ids={}", key["id"].as_str().unwrap());
    let cents = portkey.total("cost", quarter, PINNED_TIME, &more).await;
    let provider = portkey
        .total("cost", quarter, PINNED_TIME, "&virtual_keys=claude-trials")
        .await;
    assert!(
        cents >= key["usage_limits"]["credit_limit"].as_f64().unwrap() * 100.0,
        "{cents}"
    );
    assert_eq!(cents, provider);
    let policies = portkey.get("/policies/usage-limits").await["data"].clone();
    let usage = &policies[0]["value_key_usage_map"]["metadata.project:evaluation"];
    assert_eq!(usage["status"], "exhausted");
    assert!(
        (usage["current_usage"].as_f64().unwrap() * 100.0 - cents).abs() <= 1.0,
        "{usage}"
    );
}

#[tokio::test]
async fn pinned_clock_gives_equal_responses() {
    let period =
        format!("time_of_generation_min=2026-02-10T00:00:00Z&time_of_generation_max={PINNED_TIME}");
    let mut answers = Vec::new();
    for _ in 0..2 {
        let portkey = Portkey::pinned_at(PINNED_TIME).await;
        let mut responses = Vec::new();
        for path in ["cost", "errors/rate", "latency", "cache/hit-rate"] {
            responses.push(
                portkey
                    .get(&format!("/analytics/graphs/{path}?{period}"))
                    .await,
            );
        }
        responses.push(portkey.post("/labels", json!({ "name": "new" })).await);
        responses.push(portkey.get("/labels").await);
        responses.push(portkey.get("/admin/users/invites").await);
        answers.push(responses);
    }
    assert_eq!(answers[0], answers[1]);
    let label = &answers[0][5]["data"].as_array().unwrap().last().unwrap()["created_at"];
    assert_eq!(label, "2026-05-14T10:30:20.000Z");
}

#[tokio::test]
async fn past_figures_do_not_depend_on_the_time_of_day() {
    let from = "2026-02-10T00:00:00Z";
    let until = "2026-05-14T03:00:00Z";
    let mut seen = Vec::new();
    for now in ["2026-05-14T03:00:00Z", "2026-05-14T23:59:59Z"] {
        let portkey = Portkey::pinned_at(now).await;
        let status = portkey
            .send(Method::GET, "/logs/none", Value::Null)
            .await
            .status();
        assert_eq!(status, 404);
        let mut figures = Vec::new();
        for graph in ["requests", "cost", "errors"] {
            // The shared workspace contains a log of each sandbox.
            figures.push(
                portkey
                    .figure(graph, from, until, "&workspace_slug=ws-support-bot")
                    .await,
            );
        }
        seen.push(figures);
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn no_item_is_created_in_the_future() {
    let portkey = Portkey::pinned_at(NOW).await;
    for path in [
        "/admin/workspaces",
        "/api-keys",
        "/integrations",
        "/prompts",
        "/configs",
        "/admin/users",
    ] {
        let listed = portkey.get(path).await["data"].clone();
        for item in listed.as_array().unwrap() {
            for field in ["created_at", "last_updated_at"] {
                let at = item[field].as_str().unwrap_or_default();
                assert!(at < NOW, "{path}: {field} of {item}");
            }
        }
    }
}

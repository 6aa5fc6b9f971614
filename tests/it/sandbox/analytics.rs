//! Analytics: consistent figures of the same traffic in every view.

use reqwest::Method;
use serde_json::{Value, json};

use super::Portkey;

const WORKSPACES: [&str; 3] = ["ws-shared", "ws-research", "ws-support-bot"];

/// Returns a period with the seeded traffic and the inserted logs.
fn whole_period(workspace: &str) -> String {
    period(workspace, "2025-12-01T00:00:00Z", "2026-01-31T00:00:00Z")
}

fn period(workspace: &str, from: &str, until: &str) -> String {
    format!(
        "workspace_slug={workspace}&time_of_generation_min={from}&time_of_generation_max={until}"
    )
}

impl Portkey {
    async fn graph(&self, path: &str, query: &str) -> Value {
        let graph = self.get(&format!("/analytics/graphs/{path}?{query}")).await;
        assert_eq!(graph["object"], "analytics-graph");
        graph
    }

    async fn groups(&self, path: &str, query: &str) -> Vec<Value> {
        let groups = self.get(&format!("/analytics/groups/{path}?{query}")).await;
        let data = groups["data"].as_array().unwrap().clone();
        assert_eq!(groups["total"], data.len());
        assert!(
            data.iter()
                .all(|group| group["object"] == "analytics-group")
        );
        data
    }
}

/// Sums a field that is a number or a text.
fn sum(list: &[Value], field: &str) -> f64 {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
    list.iter()
        .map(|item| number(&item[field]).unwrap_or_else(|| panic!("{field}: {item}")))
        .sum()
}

fn data_points(graph: &Value) -> &[Value] {
    graph["data_points"].as_array().unwrap()
}

fn assert_close(one: f64, other: f64, what: &str) {
    assert!((one - other).abs() < 0.001, "{what}: {one} and {other}");
}

#[tokio::test]
async fn figures_of_all_graphs_agree() {
    let portkey = Portkey::start().await;
    portkey.post("/logs", log_entry("gpt-4o", 200)).await;
    let mut all_requests = 0.0;
    let mut all_cost = 0.0;
    for workspace in WORKSPACES {
        let query = whole_period(workspace);
        let graph = async |path: &str| portkey.graph(path, &query).await;
        let requests = graph("requests").await;
        let cost = graph("cost").await;
        let total = requests["summary"]["total"].as_f64().unwrap();
        let spent = cost["summary"]["total"].as_f64().unwrap();
        assert!(total > 1000.0 && spent > 100.0, "{workspace}");
        assert_close(
            sum(data_points(&requests), "total"),
            total,
            "requests by day",
        );
        assert_close(sum(data_points(&cost), "total"), spent, "cost by day");
        for dimension in [
            "ai-models",
            "users",
            "provider",
            "model",
            "api_key",
            "config",
            "prompt",
        ] {
            let groups = portkey.groups(dimension, &query).await;
            assert_close(sum(&groups, "requests"), total, dimension);
            assert_close(sum(&groups, "cost"), spent, dimension);
        }
        let errors = graph("errors").await["summary"]["total"].as_f64().unwrap();
        assert!(errors > 0.0 && errors < total, "{workspace}");
        let codes = graph("errors/status-codes").await;
        assert_close(
            sum(data_points(&codes), "count"),
            errors,
            "errors by status",
        );
        let stacks = graph("errors/stacks").await;
        let stacked = data_points(&stacks)
            .iter()
            .map(|p| sum(p["stats"].as_array().unwrap(), "count"));
        assert_close(stacked.sum(), errors, "stacked errors");
        let statuses = portkey
            .groups("status_code", &format!("{query}&columns=error_count"))
            .await;
        assert_close(sum(&statuses, "error_count"), errors, "errors in groups");
        assert_close(sum(&statuses, "requests"), total, "requests by status");

        let hits = graph("cache/hit-rate").await;
        let summary = portkey
            .get(&format!("/analytics/summary/cache?{query}"))
            .await["summary"]
            .clone();
        assert_eq!(summary["hits"], hits["summary"]["total"]);
        assert_eq!(summary["total_requests"], requests["summary"]["total"]);
        let simple = sum(data_points(&hits), "simple_hits");
        let semantic = sum(data_points(&hits), "semantic_hits");
        assert_close(simple + semantic, summary["hits"].as_f64().unwrap(), "hits");
        let users = graph("users/requests").await["summary"]["unique"].clone();
        assert_eq!(users, graph("users").await["summary"]["total"]);
        let feedback = graph("feedbacks").await;
        let given = feedback["summary"]["total"].as_f64().unwrap();
        assert_close(
            sum(data_points(&feedback), "total"),
            given,
            "feedback by day",
        );
        for split in ["feedbacks/scores", "feedbacks/ai-models"] {
            assert_close(sum(data_points(&graph(split).await), "total"), given, split);
        }
        let latency = graph("latency").await["summary"].clone();
        let [p50, p90, p99] = ["p50", "p90", "p99"].map(|p| latency[p].as_u64().unwrap());
        assert!(0 < p50 && p50 <= p90 && p90 <= p99);
        let rescued = graph("requests/rescued").await["summary"].clone();
        assert!(rescued["retry"].as_f64().unwrap() + rescued["fallback"].as_f64().unwrap() < total);
        all_requests += total;
        all_cost += spent;
    }
    for dimension in ["workspaces", "workspace"] {
        let groups = portkey.groups(dimension, &whole_period("ws-shared")).await;
        assert_close(sum(&groups, "requests"), all_requests, dimension);
        assert_close(sum(&groups, "cost"), all_cost, dimension);
    }
}

fn log_entry(model: &str, status: u16) -> Value {
    json!({
        "request": { "url": "https://api.openai.com/v1/x", "body": { "model": model } },
        "response": { "status": status, "response_time": 90_000,
            "body": { "usage": { "prompt_tokens": 4000, "completion_tokens": 1000 } } },
        "metadata": { "trace_id": "of-today", "_user": "newcomer@example.com", "team": "new" },
    })
}

#[tokio::test]
async fn inserted_logs_and_feedback_are_counted() {
    let portkey = Portkey::start().await;
    let query = whole_period("ws-shared");
    let summary = async |path: &str| portkey.graph(path, &query).await["summary"].clone();
    let number = |value: Value| value["total"].as_f64().unwrap();
    let paths = ["requests", "cost", "tokens", "errors", "users", "feedbacks"];
    let mut before = Vec::new();
    for path in paths {
        before.push(number(summary(path).await));
    }
    portkey
        .post(
            "/logs",
            json!([log_entry("gpt-4o", 200), log_entry("gpt-4o", 500)]),
        )
        .await;
    portkey
        .post("/feedback", json!({ "trace_id": "of-another", "value": 9 }))
        .await;
    portkey
        .post(
            "/feedback",
            json!({ "trace_id": "of-today", "value": 9, "weight": 0.5 }),
        )
        .await;
    for ((path, before), more) in paths
        .iter()
        .zip(before)
        .zip([2.0, 4.0, 10_000.0, 1.0, 1.0, 2.0])
    {
        assert_close(number(summary(path).await) - before, more, path);
    }
    let teams = portkey.groups("metadata/team", &query).await;
    let team = teams
        .iter()
        .find(|team| team["metadata_value"] == "new")
        .unwrap();
    assert_eq!(team["requests"], 2);
    assert_eq!(team["requests_with_feedback"], 2);
    assert_close(
        team["avg_weighted_feedback"].as_f64().unwrap(),
        4.5,
        "feedback",
    );
}

#[tokio::test]
async fn filters_partition_the_requests() {
    let portkey = Portkey::start().await;
    let base = whole_period("ws-support-bot");
    let count = async |filter: &str| {
        let graph = portkey.graph("requests", &format!("{base}&{filter}")).await;
        graph["summary"]["total"].as_u64().unwrap()
    };
    let all = count("").await;
    for (one, other) in [
        ("status_code=200", "status_code=429,500,503,412"),
        (
            "ai_org_model=openai__gpt-4o-mini",
            "ai_org_model=azure-openai__gpt-4o",
        ),
        ("virtual_keys=azure", "virtual_keys=openai-production"),
        ("prompt_slug=pp-refund-reply", "prompt_slug=pp-escalation"),
        ("cost_max=0", "cost_min=0.0001"),
        ("total_units_max=900", "total_units_min=901"),
        (
            "metadata=%7B%22_user%22%3A%22support-lead@example.com%22%7D",
            "metadata=%7B%22_user%22%3A%22support-bot@example.com%22,%22team%22%3A%22support%22%7D",
        ),
    ] {
        let one = count(one).await;
        let other = count(other).await;
        assert!(one > 0 && other > 0);
        assert_eq!(one + other, all);
    }
    for nothing in [
        "configs=none",
        "api_key_ids=none",
        "trace_id=none",
        "span_id=none",
    ] {
        assert_eq!(count(nothing).await, 0, "{nothing}");
    }
    // Two streams have one rating per day; during the incident one of them has none.
    assert_eq!(count("weighted_feedback_min=-10").await, 61);
    let page = format!("/analytics/groups/users?{base}&page_size=1&current_page=1");
    let page = portkey.get(&page).await;
    assert_eq!(
        (
            page["total"].as_u64(),
            page["data"].as_array().unwrap().len()
        ),
        (Some(2), 1)
    );
}

#[tokio::test]
async fn traffic_refers_to_existing_items() {
    let portkey = Portkey::start().await;
    let base = whole_period("ws-support-bot");
    for (filter, slug, path) in [
        (
            "configs",
            "pc-support-fallback",
            "/configs/pc-support-fallback",
        ),
        ("prompt_slug", "pp-refund-reply", "/prompts/pp-refund-reply"),
        (
            "virtual_keys",
            "azure",
            "/providers/azure?workspace_id=ws-support-bot",
        ),
    ] {
        assert_eq!(portkey.get(path).await["slug"], slug);
        let graph = portkey
            .graph("requests", &format!("{base}&{filter}={slug}"))
            .await;
        assert!(
            graph["summary"]["total"].as_u64().unwrap() > 0,
            "{filter}={slug}"
        );
    }
}

#[tokio::test]
async fn invalid_query_is_rejected() {
    let portkey = Portkey::start().await;
    let base = whole_period("ws-shared");
    let none = whole_period("ws-none");
    for (path, status, word) in [
        ("graphs/requests".to_owned(), 400, "time_of_generation_min"),
        (
            "graphs/requests?time_of_generation_min=2025-12-01&time_of_generation_max=x".to_owned(),
            400,
            "time_of_generation_min",
        ),
        (
            format!("graphs/requests?{base}&cost_min=much"),
            400,
            "cost_min",
        ),
        (
            format!("graphs/requests?{base}&metadata=team"),
            400,
            "metadata",
        ),
        (
            format!("groups/model?{base}&columns=cost,colour"),
            400,
            "colour",
        ),
        (format!("groups/users?{base}&page_size=x"), 400, "page_size"),
        (format!("graphs/requests?{none}"), 403, "workspace"),
        (
            format!("graphs/requests-per-user?{base}"),
            404,
            "requests-per-user",
        ),
        (format!("groups/models?{base}"), 404, "models"),
    ] {
        let path = format!("/analytics/{path}");
        let (actual, _, message) = portkey.refusal(Method::GET, &path, Value::Null).await;
        assert_eq!(actual, status, "{path}: {message}");
        assert!(message.contains(word), "{path}: {message}");
    }
}

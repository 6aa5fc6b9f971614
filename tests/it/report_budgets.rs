//! `report-budgets`: figures that equal those of the sandbox's own operations.

use serde_json::{Value, json};

use crate::support::{
    official_client::{ConnectedClient, connect_everywhere},
    policy::PolicyFile,
};

async fn sandbox_client(options: &[&str]) -> ConnectedClient {
    let options = [&["--sandbox"], options].concat();
    connect_everywhere(&options, &[]).await.remove(0)
}

async fn call(client: &ConnectedClient, tool: &'static str, args: Value) -> Value {
    client.call(tool, args).await.unwrap()
}

fn find<'a>(report: &'a Value, holder: &str, name: &str) -> &'a Value {
    let rows = report["budgets"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["holder"] == holder && row["name"].as_str().unwrap().contains(name));
    row.unwrap_or_else(|| panic!("{holder} {name}: {report}"))
}

/// Returns thirty days, as dates.
fn days_from(since: jiff::Timestamp) -> Vec<String> {
    let day = |day: i64| since + jiff::SignedDuration::from_hours(24 * day);
    (0..30)
        .map(|number| day(number).to_string()[..10].to_owned())
        .collect()
}

/// Returns the hour in which the cost of some requests reached an amount of cents, by adding up the
/// hours of each day.
async fn hour_of_crossing(
    client: &ConnectedClient,
    filter: Value,
    days: &[String],
    cents: f64,
) -> String {
    let mut sum = 0.0;
    for day in days {
        let mut args = filter.clone();
        args["time_of_generation_min"] = format!("{day}T00:00:00Z").into();
        args["time_of_generation_max"] = format!("{day}T23:59:59.999Z").into();
        let graph = call(client, "get-cost-graph", args).await;
        for point in graph["data_points"].as_array().unwrap() {
            sum += point["total"].as_f64().unwrap();
            if sum >= cents {
                return point["timestamp"].as_str().unwrap()[..13].to_owned();
            }
        }
    }
    panic!("{sum} is less than {cents}");
}

#[tokio::test]
async fn used_and_crossed_limits_are_those_of_the_analytics() {
    let client = sandbox_client(&[]).await;
    let report = call(&client, "report-budgets", json!({})).await;
    assert!(
        report.to_string().len() <= 2_500,
        "{}",
        report.to_string().len()
    );
    assert_eq!(report["not_included"], Value::Null, "{report}");

    let row = find(&report, "workspace", "ws-research");
    let workspaces = call(&client, "list-all-workspaces", json!({})).await;
    let workspaces = workspaces["data"].as_array().unwrap();
    let limit = &workspaces
        .iter()
        .find(|item| item["slug"] == "ws-research")
        .unwrap()["usage_limits"][0];
    assert_eq!(row["limit"], limit["credit_limit"].as_f64().unwrap());
    let reset: jiff::Timestamp = limit["next_usage_reset_at"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let since = reset
        - jiff::SignedDuration::from_hours(24 * limit["periodic_reset_days"].as_i64().unwrap());
    let filter = json!({ "workspace_slug": "ws-research" });
    let mut whole = filter.clone();
    whole["time_of_generation_min"] = since.to_string().into();
    whole["time_of_generation_max"] = "now".into();
    let graph = call(&client, "get-cost-graph", whole).await;
    let used = graph["summary"]["total"].as_f64().unwrap() / 100.0;
    assert!(
        (row["used"].as_f64().unwrap() - used).abs() < 0.02,
        "{row} {used}"
    );
    assert_eq!(
        row["state"],
        if used >= 500.0 { "over" } else { "at_risk" },
        "{row}"
    );
    if row["state"] == "over" {
        let hour = hour_of_crossing(&client, filter, &days_from(since), 50_000.0).await;
        assert!(
            row["crossed_at"].as_str().unwrap().starts_with(&hour),
            "{row}: {hour}"
        );
    }

    let policies = call(&client, "list-usage-limits-policies", json!({})).await;
    let groups = policies["data"][0]["value_key_usage_map"]
        .as_object()
        .unwrap();
    for (group, usage) in groups {
        let row = find(&report, "policy", group);
        assert_eq!(row["used"], usage["current_usage"], "{group}");
        let is_over = usage["status"] == "exhausted";
        assert_eq!(row["state"] == "over", is_over, "{row}");
        assert_eq!(row["crossed_at"].is_string(), is_over, "{row}");
        if is_over {
            let value = group.split_once(':').unwrap().1;
            let filter = json!({ "workspace_slug": "ws-research",
                "metadata": json!({ "project": value }).to_string() });
            let created = policies["data"][0]["created_at"].as_str().unwrap();
            let created: jiff::Timestamp = created.parse().unwrap();
            let hour = hour_of_crossing(&client, filter, &days_from(created), 15_000.0).await;
            assert!(
                row["crossed_at"].as_str().unwrap().starts_with(&hour),
                "{row}: {hour}"
            );
        }
    }
    for (holder, name) in [
        ("provider", "claude-trials"),
        ("api_key", "Evaluation runs"),
    ] {
        let row = find(&report, holder, name);
        assert!(row["used"].as_f64().unwrap() >= 140.0, "{row}");
    }
}

#[tokio::test]
async fn limits_are_filtered_by_their_state() {
    let client = sandbox_client(&[]).await;
    let all = call(&client, "report-budgets", json!({})).await;
    let over = call(&client, "report-budgets", json!({ "state": "over" })).await;
    assert_eq!(over["over"], all["over"]);
    assert_eq!(
        over["budgets"].as_array().unwrap().len() as u64,
        over["over"].as_u64().unwrap()
    );
    let one = call(&client, "report-budgets", json!({ "limit": 1 })).await;
    let total: u64 = ["over", "at_risk", "ok"]
        .iter()
        .map(|state| all[*state].as_u64().unwrap())
        .sum();
    assert_eq!(one["more"], total - 1, "{one}");
}

#[tokio::test]
async fn lists_that_may_not_be_read_are_named() {
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - { name: closed, action: deny, match: { tools: [list-all-api-keys] } }\n",
    );
    let client = sandbox_client(&["--policy", policy.path()]).await;
    let report = call(&client, "report-budgets", json!({})).await;
    let missing = report["not_included"][0].as_str().unwrap();
    assert!(
        missing.contains("`list-all-api-keys`") && missing.contains("closed"),
        "{missing}"
    );
    assert!(
        find(&report, "workspace", "ws-research")["used"]
            .as_f64()
            .unwrap()
            > 0.0
    );
}

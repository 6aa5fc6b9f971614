//! `report-costs`: figures that equal those of the sandbox's own operations.

use base64::{Engine, prelude::BASE64_STANDARD};
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

/// Returns the dollars of an amount of cents, which some answers have as text.
fn dollars(cents: &Value) -> f64 {
    let cents = match cents {
        Value::String(text) => text.parse().unwrap(),
        other => other.as_f64().unwrap(),
    };
    (cents / 1.0_f64).round() / 100.0
}

fn assert_close(left: f64, right: f64, what: &str) {
    assert!(
        (left - right).abs() < 0.011,
        "{what}: {left} is not {right}"
    );
}

#[tokio::test]
async fn report_has_the_figures_of_both_periods() {
    let client = sandbox_client(&[]).await;
    let report = call(&client, "report-costs", json!({ "period": "last month" })).await;
    for (fields, total) in [
        (&report, &report["total"]),
        (&report["compared_with"], &report["previous_total"]),
    ] {
        let traffic = json!({ "time_of_generation_min": fields["from"], "time_of_generation_max": fields["to"] });
        let graph = call(&client, "get-cost-graph", traffic.clone()).await;
        let expected = dollars(&graph["summary"]["total"]);
        assert_close(total.as_f64().unwrap(), expected, "total");
        let groups = call(&client, "get-workspaces-grouped-data", traffic).await;
        for group in groups["data"].as_array().unwrap() {
            let rows = report["groups"].as_array().unwrap();
            let row = rows
                .iter()
                .find(|row| row["name"] == group["workspace"])
                .unwrap();
            let field = if std::ptr::eq(fields, &raw const report) {
                "cost"
            } else {
                "previous"
            };
            assert_close(row[field].as_f64().unwrap(), dollars(&group["cost"]), field);
        }
    }
    let (total, before) = (
        report["total"].as_f64().unwrap(),
        report["previous_total"].as_f64().unwrap(),
    );
    assert!(total > 0.0 && before > 0.0, "{report}");
    let change = (total - before) / before * 100.0;
    assert!(
        (report["change_percent"].as_f64().unwrap() - change).abs() < 0.1,
        "{report}"
    );
    assert_eq!(report["unit"], "USD");
    assert_eq!(report["not_included"], Value::Null, "{report}");
    let research = report["groups"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == "ws-research");
    assert_eq!(research.unwrap()["budget"], 500.0, "{report}");
    assert!(
        report.to_string().len() <= 2_000,
        "{}",
        report.to_string().len()
    );
}

#[tokio::test]
async fn every_dimension_sums_up_to_the_total() {
    let client = sandbox_client(&[]).await;
    for by in [
        "workspace",
        "model",
        "provider",
        "user",
        "api_key",
        "config",
        "prompt",
        "metadata",
    ] {
        let mut args = json!({ "by": by, "limit": 1 });
        if by == "metadata" {
            args["metadata_key"] = "project".into();
        }
        let report = call(&client, "report-costs", args).await;
        let total = report["total"].as_f64().unwrap();
        let first = report["groups"][0]["cost"].as_f64().unwrap();
        let others = report["others"]["cost"].as_f64().unwrap_or_default();
        assert!((first + others - total).abs() < 0.03, "{by}: {report}");
    }
}

#[tokio::test]
async fn csv_has_every_group() {
    let client = sandbox_client(&[]).await;
    let report = call(
        &client,
        "report-costs",
        json!({ "by": "user", "csv": true, "limit": 1 }),
    )
    .await;
    let csv = report["csv"].as_str().unwrap();
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines[0], "user,cost_usd,previous_usd");
    assert!(
        lines.len() > 3
            && lines
                .iter()
                .any(|line| line.starts_with("research-lead@example.com,")),
        "{csv}"
    );
}

/// The page of the workflow says how requests without a group are called, that the CSV has the totals beside
/// it, and that keys have names.
#[tokio::test]
async fn groups_and_csv_are_as_documented() {
    let client = sandbox_client(&[]).await;
    let keys = call(&client, "list-all-api-keys", json!({})).await;
    let keys = keys["data"].as_array().unwrap();
    for by in [
        "workspace",
        "model",
        "provider",
        "user",
        "api_key",
        "config",
        "prompt",
        "metadata",
    ] {
        let mut args = json!({ "by": by, "limit": 100, "period": "last month" });
        let mut label = by;
        if by == "metadata" {
            label = "project";
            args["metadata_key"] = label.into();
        }
        let report = call(&client, "report-costs", args.clone()).await;
        let groups = report["groups"].as_array().unwrap();
        let nameless = format!("(without {label})");
        for group in groups {
            let name = group["name"].as_str().unwrap();
            assert!(!name.starts_with('(') || name == nameless, "{by}: {report}");
            let id = group.get("id");
            let key = keys.iter().find(|key| Some(&key["id"]) == id);
            assert_eq!(
                key.map(|key| &key["name"]),
                (by == "api_key" && name != nameless).then_some(&group["name"]),
                "{by}: {report}"
            );
        }
        let names: Vec<_> = groups.iter().map(|group| &group["name"]).collect();
        let count = |name: &Value| names.iter().filter(|other| **other == name).count();
        assert!(names.iter().all(|name| count(name) == 1), "{by}: {report}");

        args["csv"] = true.into();
        let table = call(&client, "report-costs", args).await;
        for field in ["unit", "by"] {
            assert_eq!(table[field], report[field], "{by}: {table}");
        }
        for field in ["total", "previous_total"] {
            let figures = [&table, &report].map(|answer| answer[field].as_f64().unwrap());
            assert_close(figures[0], figures[1], field);
        }
        for field in ["from", "to", "change_percent", "compared_with"] {
            assert!(table.get(field).is_some(), "{by}: {field} of {table}");
        }
        assert_eq!(table.get("not_included"), None, "{by}: {table}");
        let lines: Vec<_> = table["csv"].as_str().unwrap().lines().collect();
        assert_eq!(lines.len(), groups.len() + 1, "{by}: {table}");
        let heading = match by {
            "api_key" => "api_key,name,cost_usd,previous_usd".to_owned(),
            by => format!("{by},cost_usd,previous_usd"),
        };
        assert_eq!(lines[0], heading);
    }
}

#[tokio::test]
async fn keys_whose_names_may_not_be_read_have_their_ids() {
    let policy = PolicyFile::with(
        "version: \"1\"\nrules: [{ name: closed, action: deny, match: { tools: [list-all-api-keys] } }]\n",
    );
    let client = sandbox_client(&["--policy", policy.path()]).await;
    let report = call(&client, "report-costs", json!({ "by": "api_key" })).await;
    let missing = report["not_included"].to_string();
    assert!(missing.contains("the names of the keys"), "{report}");
    assert_eq!(
        report["groups"][0]["name"].as_str().unwrap().len(),
        36,
        "{report}"
    );
    assert_eq!(report["groups"][0].get("id"), None, "{report}");
}

#[tokio::test]
async fn part_that_may_not_be_read_is_named() {
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - { name: closed, action: deny, match: { tools: [list-all-workspaces] } }\n",
    );
    let client = sandbox_client(&["--policy", policy.path()]).await;
    let report = call(&client, "report-costs", json!({})).await;
    let missing = report["not_included"][0].as_str().unwrap();
    assert!(
        missing.starts_with("the budgets of the workspaces: "),
        "{missing}"
    );
    assert!(missing.contains("closed"), "{missing}");
    assert!(report["total"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn unclear_periods_are_rejected_with_the_forms() {
    let client = sandbox_client(&[]).await;
    for (args, says) in [
        (json!({ "period": "next month" }), "last month"),
        (json!({ "period": "soon" }), "last month"),
        (json!({ "period": "7d", "from": "2026-11-01" }), "excludes"),
        (json!({ "to": "2026-11-01" }), "`to`"),
        (json!({ "by": "metadata" }), "metadata_key"),
        (
            json!({ "by": "model", "metadata_key": "project" }),
            "metadata_key",
        ),
    ] {
        let error = client.call("report-costs", args.clone()).await.unwrap_err();
        assert!(error.contains(says), "{args}: {error}");
    }
}

/// Returns the texts of an SVG.
fn svg_texts(svg: &str) -> Vec<&str> {
    let texts = svg.split("<text ").skip(1);
    texts
        .map(|part| part.split('>').nth(1).unwrap().split('<').next().unwrap())
        .collect()
}

#[tokio::test]
async fn chart_has_the_figures_of_the_report() {
    let client = sandbox_client(&[]).await;
    let args = json!({ "period": "last month", "by": "model", "chart": "svg" });
    let report = call(&client, "report-costs", args).await;
    let svg = report["chart"]["svg"].as_str().unwrap();
    let texts = svg_texts(svg);
    for group in report["groups"].as_array().unwrap() {
        let cost = format!("{:.2}", group["cost"].as_f64().unwrap());
        let name = group["name"].as_str().unwrap();
        assert!(texts.contains(&name), "{name}: {svg}");
        assert!(texts.contains(&cost.as_str()), "{cost}: {svg}");
    }
    assert!(svg.len() <= 8_000, "{}", svg.len());

    let args = json!({ "period": "last month", "by": "model", "chart": "png" });
    let result = client.result("report-costs", args).await;
    let structured = result.structured_content.unwrap();
    assert!(structured["chart"]["data"].is_null(), "{structured}");
    let image = result.content[1].as_image().unwrap();
    assert_eq!(image.mime_type, "image/png");
    let data = BASE64_STANDARD.decode(&image.data).unwrap();
    assert!(
        data.starts_with(b"\x89PNG") && data.len() <= 16_000,
        "{}",
        data.len()
    );

    let both = json!({ "chart": "svg", "csv": true });
    let error = client.call("report-costs", both).await.unwrap_err();
    assert!(error.contains("excludes `csv`"), "{error}");
}

#[test]
fn periods_of_no_length_and_of_centuries_are_refused_in_words() {
    for (args, words) in [
        (&["period=0d"][..], "`period`: is less than a second"),
        (&["period=99999d"], "`period`: is longer than 10 years"),
        (
            &["from=1990-01-01T00:00:00Z", "to=2026-01-01T00:00:00Z"],
            "`from`: is longer than 10 years",
        ),
    ] {
        let args = [&["call", "report-costs", "--sandbox"][..], args].concat();
        let (ok, _, log) = crate::support::process::run_cli(&args);
        assert!(!ok && log.contains(words), "{args:?}: {log}");
    }
}

//! The Grafana dashboard queries existing metrics by existing labels.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    metered_server::MeteredServer,
    requests::{end_session, open_session, send_request, stateless_request},
};

fn dashboard() -> Value {
    let text = std::fs::read_to_string("deploy/grafana-dashboard.json").unwrap();
    serde_json::from_str(&text).unwrap()
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().unwrap()
}

/// Labels that Prometheus adds, or derives from a histogram.
const PROMETHEUS_LABELS: [&str; 3] = ["job", "instance", "le"];

/// Returns the names of metrics and of labels in a query.
fn metric_and_label_names(query: &str) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = query
        .split(|c| !is_name(c))
        .filter(|word| word.contains('_'));
    let ours = ["mcp_server_", "portkey_mcp_", "process_"];
    let metrics = words
        .filter(|word| ours.iter().any(|mark| word.starts_with(mark)))
        .collect();
    let grouped = query
        .split(" by (")
        .skip(1)
        .flat_map(|rest| rest.split(')').next().unwrap().split(',').map(str::trim));
    let matched = query.split('{').skip(1).flat_map(|rest| {
        let selector = rest.split('}').next().unwrap();
        selector
            .split("\", ")
            .map(|each| each.split(|c| !is_name(c)).next().unwrap())
    });
    let labels = grouped
        .chain(matched)
        .filter(|label| !PROMETHEUS_LABELS.contains(label))
        .collect();
    (metrics, labels)
}

#[test]
fn panels_are_complete_and_do_not_overlap() {
    let dashboard = dashboard();
    let ids: BTreeSet<u64> = panels(&dashboard)
        .iter()
        .map(|panel| panel["id"].as_u64().unwrap())
        .collect();
    assert_eq!(
        ids.len(),
        panels(&dashboard).len(),
        "two panels have one id"
    );
    let mut taken = BTreeSet::new();
    for panel in panels(&dashboard) {
        let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(
                    x < 24 && taken.insert((x, y)),
                    "{} covers another",
                    panel["title"]
                );
            }
        }
        assert!(
            panel["title"]
                .as_str()
                .is_some_and(|title| !title.is_empty()),
            "{panel}"
        );
        let asks = panel["targets"]
            .as_array()
            .is_some_and(|targets| !targets.is_empty());
        assert_eq!(asks, panel["type"] != "row", "{panel}");
    }
}

#[tokio::test]
async fn queried_metrics_and_labels_exist() {
    let folder = tempfile::tempdir().unwrap();
    // A component that the server depends on.
    let policy = folder.path().join("policy.yaml");
    std::fs::write(&policy, "version: \"1\"\n").unwrap();
    let faults = ["--sandbox-faults", "503:0.5,seed:1", "--retries", "8"];
    let policy = ["--policy", policy.to_str().unwrap()];
    let measured = MeteredServer::start(&[&faults[..], &policy].concat());
    for tool in [
        "list-all-integrations",
        "list-labels",
        "list-users",
        "no-such-tool",
    ] {
        let call = json!({ "name": tool, "arguments": {} });
        send_request(stateless_request(&measured.server, "tools/call", call)).await;
    }
    let id = open_session(&measured.server).await;
    end_session(&measured.server, &id).await;
    let mut text = measured.scrape().await;
    while !text.contains("mcp_server_session_duration_seconds_count") {
        text = measured.scrape().await;
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let samples = || text.lines().filter(|line| !line.starts_with('#'));
    let there: BTreeSet<&str> = samples()
        .filter_map(|line| line.split(|c| !is_name(c)).next())
        .collect();
    let mut asked = 0;
    let mut shown = BTreeSet::new();
    let dashboard = dashboard();
    for target in panels(&dashboard)
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten()
    {
        let query = target["expr"].as_str().unwrap();
        let (metrics, labels) = metric_and_label_names(query);
        assert!(!metrics.is_empty(), "{query} asks for nothing");
        for metric in metrics {
            assert!(
                there.contains(metric),
                "there is no {metric}, for {query}, in\n{text}"
            );
            asked += 1;
            shown.insert(metric.to_owned());
            for label in &labels {
                let labelled = format!("{label}=\"");
                let has =
                    samples().any(|line| line.starts_with(metric) && line.contains(&labelled));
                assert!(has, "{metric} has no {label}, for {query}");
            }
        }
    }
    assert!(asked > 20, "{asked}");
    // Every metric of this server has a panel.
    for family in text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE portkey_mcp_"))
    {
        let name = format!("portkey_mcp_{}", family.split(' ').next().unwrap());
        assert!(
            shown.iter().any(|metric| metric.starts_with(&name)),
            "{name} has no panel"
        );
    }
}

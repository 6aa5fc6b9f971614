//! `diagnose-failures`: figures that equal those of the sandbox's own operations, and a plan that can be made.

use serde_json::{Value, json};

use crate::support::{
    form_client::{FormClient, FormSession, connect_to},
    official_client::{ConnectedClient, connect_everywhere},
    policy::PolicyFile,
    server::ServerProcess,
};

async fn sandbox_client(options: &[&str]) -> ConnectedClient {
    let options = [&["--sandbox"], options].concat();
    connect_everywhere(&options, &[]).await.remove(0)
}

async fn call(client: &ConnectedClient, tool: &'static str, args: Value) -> Value {
    client.call(tool, args).await.unwrap()
}

/// Returns the total of a graph of the workspace with the incident.
async fn total(client: &ConnectedClient, graph: &'static str, from: &str, to: &str) -> u64 {
    let args = json!({ "workspace_slug": "ws-support-bot",
        "time_of_generation_min": from, "time_of_generation_max": to });
    let graph = call(client, graph, args).await;
    graph["summary"]["total"].as_u64().unwrap()
}

/// Returns the day of the sandbox's incident.
fn incident_day() -> String {
    let day = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(72);
    day.strftime("%Y-%m-%d").to_string()
}

fn first_id<'a>(report: &'a Value, dimension: &str) -> &'a str {
    let row = &report["concerned"][dimension][0];
    row["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{dimension}: {report}"))
}

#[tokio::test]
async fn incident_is_found_to_the_minute_with_its_mitigation() {
    let client = sandbox_client(&[]).await;
    let day = incident_day();
    for period in ["7d", "30d"] {
        let args = json!({ "period": period, "workspace_slug": "ws-support-bot" });
        let report = call(&client, "diagnose-failures", args).await;
        assert_eq!(report["onset"], format!("{day}T13:17Z"), "{report}");
        assert_eq!(report["end"], format!("{day}T15:42Z"), "{report}");
        assert_eq!(report["ongoing"], false, "{report}");
        assert_eq!(report["not_seen"], Value::Null, "{report}");
        assert!(report.to_string().len() <= 3_000, "{report}");
    }

    let args = json!({ "period": "7d", "workspace_slug": "ws-support-bot" });
    let report = call(&client, "diagnose-failures", args).await;
    let from = format!("{day}T13:17:00Z");
    let to = format!("{day}T15:42:00Z");
    let requests = total(&client, "get-requests-graph", &from, &to).await;
    let errors = total(&client, "get-errors-graph", &from, &to).await;
    assert_eq!(report["requests"], requests, "{report}");
    assert_eq!(report["errors"], errors, "{report}");
    let rate = errors as f64 / requests as f64 * 100.0;
    assert!(
        (report["rate_percent"].as_f64().unwrap() - rate).abs() < 0.06,
        "{report}"
    );
    for (dimension, id) in [
        ("status_code", "503"),
        ("provider", "openai"),
        ("model", "gpt-4o-mini"),
        ("config", "pc-support-fallback"),
        ("prompt", "pp-refund-reply"),
    ] {
        assert_eq!(first_id(&report, dimension), id, "{report}");
    }
    let by_status = json!({ "group_by": "status_code", "columns": "error_count", "workspace_slug": "ws-support-bot",
        "time_of_generation_min": from, "time_of_generation_max": to });
    let by_status = call(&client, "get-analytics-grouped-data", by_status).await;
    let mut groups = by_status["data"].as_array().unwrap().iter();
    let failed = groups.find(|group| group["status_code"] == "503").unwrap();
    assert_eq!(
        report["concerned"]["status_code"][0]["errors"], failed["error_count"],
        "{report}"
    );
    assert_eq!(report["not_concerned"]["provider"], json!(["azure-openai"]));
    let keys = call(&client, "list-all-api-keys", json!({})).await;
    let mut keys = keys["data"].as_array().unwrap().iter();
    let key = keys
        .find(|key| key["name"] == "Support bot production")
        .unwrap();
    assert_eq!(first_id(&report, "api_key"), key["id"], "{report}");
    assert_eq!(report["concerned"]["api_key"][0]["name"], key["name"]);

    let log = json!({ "start_time": format!("{day}T12:00:00Z"), "end_time": from });
    let log = call(&client, "list-audit-logs", log).await;
    let change = &report["changes_near_onset"][0];
    assert_eq!(change["uri"], log["records"][0]["uri"], "{report}");
    assert_eq!(change["minutes_before"], 8, "{report}");
    assert!(report["calls"].as_u64().unwrap() <= 30, "{report}");

    // The steps are those that a plan takes, and the provider that works comes first.
    let steps = &report["mitigation"]["steps"];
    let plan = call(&client, "plan-changes", json!({ "steps": steps })).await;
    let before = call(
        &client,
        "get-config",
        json!({ "slug": "pc-support-fallback" }),
    )
    .await;
    assert!(
        before["config"].as_str().unwrap().find("@openai").unwrap()
            < before["config"]
                .as_str()
                .unwrap()
                .find("@anthropic")
                .unwrap(),
        "nothing was sent: {before}"
    );
    call(&client, "apply-plan", json!({ "plan": plan["plan"] })).await;
    let after = call(
        &client,
        "get-config",
        json!({ "slug": "pc-support-fallback" }),
    )
    .await;
    let document: Value = serde_json::from_str(after["config"].as_str().unwrap()).unwrap();
    let targets: Vec<&Value> = document["targets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|target| &target["provider"])
        .collect();
    assert_eq!(targets, ["@anthropic", "@openai-production"], "{document}");
}

#[tokio::test]
async fn failures_that_go_on_have_no_end_and_need_a_decision() {
    let client = sandbox_client(&[]).await;
    let report = call(
        &client,
        "diagnose-failures",
        json!({ "period": "7d", "workspace_slug": "ws-research" }),
    )
    .await;
    let refused = json!({ "group_by": "status_code", "columns": "first_seen", "status_code": "412",
        "workspace_slug": "ws-research", "time_of_generation_min": "7d", "time_of_generation_max": "now" });
    let refused = call(&client, "get-analytics-grouped-data", refused).await;
    let first = refused["data"][0]["first_seen"].as_str().unwrap();
    assert_eq!(
        report["onset"].as_str().unwrap()[..16],
        first[..16],
        "{report}"
    );
    assert_eq!(
        (&report["end"], &report["ongoing"]),
        (&Value::Null, &json!(true)),
        "{report}"
    );
    assert_eq!(first_id(&report, "status_code"), "412");
    assert_eq!(report["mitigation"]["steps"], Value::Null, "{report}");
    let advice = report["mitigation"]["advice"].as_str().unwrap();
    assert!(advice.contains("report-budgets"), "{advice}");
}

#[tokio::test]
async fn usual_failures_are_no_episode() {
    let client = sandbox_client(&[]).await;
    let day = incident_day();
    let report = call(
        &client,
        "diagnose-failures",
        json!({ "from": format!("{day}T02:00:00Z"), "to": format!("{day}T12:00:00Z") }),
    )
    .await;
    assert!(report["onset"].is_null(), "{report}");
    assert!(
        report["summary"].as_str().unwrap().contains("no failures"),
        "{report}"
    );
    assert!(report["requests"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn part_that_may_not_be_read_is_named() {
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - { name: closed, action: deny, match: { tools: [list-audit-logs] } }\n",
    );
    let client = sandbox_client(&["--policy", policy.path()]).await;
    let args = json!({ "period": "7d", "workspace_slug": "ws-support-bot" });
    let report = call(&client, "diagnose-failures", args).await;
    let missing = report["not_seen"].to_string();
    assert!(
        missing.contains("changes by the audit log: ") && missing.contains("closed"),
        "{missing}"
    );
    assert_eq!(first_id(&report, "status_code"), "503");
}

/// A server with a journal, whose sandbox has its incident within a day from now.
struct IncidentServer {
    _server: ServerProcess,
    session: FormSession,
    /// Day of the incident.
    day: String,
    /// Arguments of a diagnosis. Its range has begun, because Portkey has nothing of the future.
    args: Value,
}

/// Starts a server near its incident, at any time of the day.
async fn start_near_the_incident(folder: &std::path::Path, more: &[&str]) -> IncidentServer {
    let now = jiff::Timestamp::now();
    let on_day = |day: jiff::Timestamp, time: &str| {
        let text = format!("{}T{time}Z", day.strftime("%Y-%m-%d"));
        text.parse::<jiff::Timestamp>().unwrap()
    };
    let day = jiff::SignedDuration::from_hours(24);
    // Changes until ten minutes after the onset count.
    let onset = match on_day(now, "13:20:00") > now {
        true => on_day(now, "13:17:00"),
        false => on_day(now + day, "13:17:00"),
    };
    let sandbox_now = (onset + day * 3).to_string();
    let journal = folder.join("journal.db");
    let options = [
        &[
            "--sandbox-now",
            &*sandbox_now,
            "--journal",
            journal.to_str().unwrap(),
        ],
        more,
    ]
    .concat();
    let server = ServerProcess::http()
        .sandbox()
        .args(&options)
        .variables(&[("PORTKEY_MCP_NO_JOURNAL", "false")])
        .start();
    let session = connect_to(&server, &FormClient::new(true)).await;
    let day = onset.strftime("%Y-%m-%d").to_string();
    let from = now.min(on_day(onset, "00:00:00"));
    let args = json!({ "from": from.to_string(), "to": format!("{day}T23:00:00Z"),
        "workspace_slug": "ws-support-bot" });
    IncidentServer {
        _server: server,
        session,
        day,
        args,
    }
}

async fn call_session(session: &FormSession, tool: &'static str, args: Value) -> Value {
    let (is_done, text) = session.call_text(tool, args).await;
    assert!(is_done, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn changes_of_the_journal_are_named_with_their_source() {
    let folder = tempfile::tempdir().unwrap();
    let IncidentServer {
        _server,
        session,
        day,
        args,
    } = start_near_the_incident(folder.path(), &[]).await;
    let rename = json!({ "slug": "pc-support-fallback", "name": "Renamed" });
    call_session(&session, "update-config", rename).await;
    // One that Portkey refuses takes no effect.
    let refused = json!({ "slug": "pc-none", "name": "Renamed" });
    assert!(!session.call_text("update-config", refused).await.0);
    let report = call_session(&session, "diagnose-failures", args).await;
    assert_eq!(report["onset"], format!("{day}T13:17Z"), "{report}");
    let changes = report["changes_near_onset"].as_array().unwrap();
    let own: Vec<_> = changes
        .iter()
        .filter(|change| change["seen_in"] == json!(["journal"]))
        .collect();
    assert_eq!(own.len(), 1, "{report}");
    assert_eq!(own[0]["tool"], "update-config", "{report}");
    assert_eq!(own[0]["target"], json!({ "slug": "pc-support-fallback" }));
    assert!(
        changes
            .iter()
            .any(|change| change["seen_in"] == json!(["audit_log"])),
        "{report}"
    );
    let sources = &report["change_sources"];
    assert_eq!(sources["audit_log"], "read", "{sources}");
    assert!(
        sources["journal"].as_str().unwrap().contains("your key"),
        "{sources}"
    );
    // The id is what takes the change back.
    let undo = json!({ "id": own[0]["change"] });
    call_session(&session, "undo-change", undo).await;
    let config = json!({ "slug": "pc-support-fallback" });
    let config = call_session(&session, "get-config", config).await;
    assert_ne!(config["name"], "Renamed", "{config}");
}

#[tokio::test]
async fn source_that_shows_nothing_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let policy = PolicyFile::with("version: \"1\"\nhide: [list-changes]\n");
    let options = ["--policy", policy.path()];
    let near = start_near_the_incident(folder.path(), &options).await;
    let report = call_session(&near.session, "diagnose-failures", near.args).await;
    assert_eq!(report["change_sources"]["journal"], "a policy hides it");

    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - { name: closed, action: deny, match: { tools: [list-audit-logs] } }\n",
    );
    let client = sandbox_client(&["--policy", policy.path()]).await;
    let args = json!({ "period": "7d", "workspace_slug": "ws-support-bot" });
    let report = call(&client, "diagnose-failures", args).await;
    let sources = &report["change_sources"];
    assert_eq!(sources["journal"], "there is none here", "{report}");
    assert_eq!(sources["audit_log"], "not read, see `not_seen`", "{report}");
}

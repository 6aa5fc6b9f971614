//! What an answer to an administrator's question costs: calls, bytes that a model reads, and requests to
//! Portkey.

use std::{fmt::Write, path::Path};

use portkey_mcp::workflows::WORKFLOWS;
use serde_json::{Value, json};

use crate::{
    readme::replace_block,
    support::{
        form_client::{FormClient, connect_to},
        generated::check_generated_file,
        metered_server::MeteredServer,
        process::command,
    },
};

/// Time of the sandbox, so that the figures stay the same.
const NOW: &str = "2026-05-31T12:00:00Z";

/// A question, and the call that answers it.
struct Question {
    question: &'static str,
    tool: &'static str,
    args: Value,
    /// Calls and bytes by operations alone, as an agent made them.
    before: &'static str,
    /// Maximum number of bytes of the answer.
    max_bytes: Option<usize>,
}

fn questions() -> Vec<Question> {
    let question = |question, tool, args| Question {
        question,
        tool,
        args,
        before: "not measured",
        max_bytes: None,
    };
    vec![
        Question {
            before: "27 calls, 14.7 kB",
            max_bytes: Some(1_500),
            ..question(
                "Who uses this integration?",
                "find-usages",
                json!({ "kind": "integration", "id": "openai-production" }),
            )
        },
        Question {
            before: "12 calls, 30 points added up by hand",
            max_bytes: Some(2_000),
            ..question(
                "Who is over budget, and since when?",
                "report-budgets",
                json!({}),
            )
        },
        Question {
            max_bytes: Some(2_000),
            ..question(
                "What did we spend last month?",
                "report-costs",
                json!({ "period": "last month" }),
            )
        },
        question(
            "Since when do requests fail, and why?",
            "diagnose-failures",
            json!({ "period": "7d", "workspace_slug": "ws-support-bot" }),
        ),
        question(
            "Who can do too much?",
            "review-access",
            json!({ "severity": "medium" }),
        ),
        question(
            "What do the failed requests of yesterday say?",
            "read-log-export",
            json!({ "workspace_id": "ws-shared", "period": "yesterday", "status": "5xx", "limit": 5,
                "fields": ["created_at", "ai_model", "response.body.error.message"] }),
        ),
    ]
}

/// Returns the number of requests that a server has sent.
async fn upstream_requests(server: &MeteredServer) -> u64 {
    let text = server.scrape().await;
    let lines = text.lines();
    let counts = lines
        .filter(|line| line.starts_with("portkey_mcp_upstream_request_duration_seconds_count"));
    counts
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

fn max_requests(tool: &str) -> usize {
    let is_it = |workflow: &&portkey_mcp::workflows::Workflow| workflow.operation.name() == tool;
    WORKFLOWS.iter().find(is_it).unwrap().max_steps
}

#[tokio::test]
async fn costs_of_questions_are_within_their_bounds_and_up_to_date() {
    let server = MeteredServer::start(&["--sandbox-now", NOW]);
    let session = connect_to(&server.server, &FormClient::new(true)).await;
    let mut table =
        "| Question | By operations | By a workflow | Calls | Bytes | Requests | At most |\n\
                     | --- | --- | --- | ---: | ---: | ---: | ---: |\n"
            .to_owned();
    for question in questions() {
        let Question {
            question,
            tool,
            args,
            before,
            max_bytes,
        } = question;
        let requests_before = upstream_requests(&server).await;
        let (is_done, text) = session.call_text(tool, args).await;
        assert!(is_done, "{tool}: {text}");
        let requests = upstream_requests(&server).await - requests_before;
        let bytes = text.len();
        if let Some(max) = max_bytes {
            assert!(bytes <= max, "{tool} answers with {bytes} bytes: {text}");
        }
        let max = max_requests(tool);
        assert!(
            requests > 0 && requests <= max as u64,
            "{tool}: {requests} of {max}"
        );
        writeln!(
            table,
            "| {question} | {before} | `{tool}` | 1 | {bytes} | {requests} | {max} |"
        )
        .unwrap();
    }
    let requests_before = upstream_requests(&server).await;
    let (is_done, text) = session.call_text("export-snapshot", json!({})).await;
    assert!(is_done, "{text}");
    let requests = upstream_requests(&server).await - requests_before;
    let max = max_requests("export-snapshot");
    writeln!(
        table,
        "| All settings, for git | 78 calls, 62.8 kB | `portkey-mcp export DIR` | 0 | 0 | {requests} | {max} |"
    )
    .unwrap();
    let fresh = replace_block("docs/workflows.md", "costs", &table);
    check_generated_file(Path::new("docs/workflows.md"), &fresh);
    session.client.cancel().await.unwrap();
}

/// The shell writes files, and nothing of them reaches a model.
#[test]
fn export_in_the_shell_prints_counts_alone() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("settings");
    let mut export = command(&["export", to.to_str().unwrap(), "--sandbox"]);
    let output = export.output().unwrap();
    assert!(output.status.success());
    assert!(output.stdout.len() < 600, "{}", output.stdout.len());
    assert!(to.join("snapshot.yaml").exists());
}

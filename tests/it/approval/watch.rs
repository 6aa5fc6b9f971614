//! `portkey-mcp approvals list` with target and reason, and `approvals watch`.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use serde_json::json;

use crate::support::{
    approvals::{AdminFolder, SLUG, TOOL, serve_with_admin, ticket_id},
    mcp_client::McpClient,
    policy::PolicyFile,
    process::command,
};

const POLICY: &str = "
version: 1
rules:
  - name: integrations-are-asked-for
    match: { tools: [delete-integration] }
    action: approve
    reason: Integrations serve production
";

#[tokio::test]
async fn each_new_call_is_one_line_with_target_and_reason() {
    let policy = PolicyFile::with(POLICY);
    let admin = AdminFolder::new();
    let server = serve_with_admin(&admin, &["--policy", policy.path()]);
    let file = admin.file_path();
    let mut watch = command(&["approvals", "watch", "--admin-file", &file])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let caller = McpClient::new(&server.url, "pk-alice");
    for (slug, name) in [(SLUG, "OpenAI Production"), ("anthropic", "Anthropic")] {
        let answer = caller.modern(TOOL, &json!({ "slug": slug })).await.unwrap();
        let id = ticket_id(
            answer.message["result"]["content"][0]["text"]
                .as_str()
                .unwrap(),
        );
        let line = lines.next().unwrap().unwrap();
        for text in [
            &*id,
            TOOL,
            name,
            "asked by",
            "Integrations serve production",
        ] {
            assert!(line.contains(text), "{text}: {line}");
        }
    }
    watch.kill().unwrap();
    watch.wait().unwrap();
    let (_, list, _) = admin.run_approvals(&["list"]);
    for text in [
        "TARGET",
        "REASON",
        "OpenAI Production",
        "integrations-are-asked-for",
    ] {
        assert!(list.contains(text), "{text}: {list}");
    }
}

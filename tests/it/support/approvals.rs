//! Approvals: a dispatcher with tickets, and a server with an approval server.

use std::{fs, sync::Arc, time::Duration};

use portkey_file_watch::WatchedValue;
use portkey_mcp::{
    pipeline::{
        Dispatcher,
        approval::{ApprovalDefaults, Approvals},
    },
    security::signed_state::Keyring,
};
use portkey_store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    mcp_client::McpClient,
    process::run_cli,
    server::ServerProcess,
    upstream::{MockUpstream, dispatcher},
};

pub(crate) fn dispatcher_with_approvals(
    upstream: &MockUpstream,
    always: ApprovalDefaults,
) -> Dispatcher {
    dispatcher_with_store(upstream, always, Store::in_memory())
}

pub(crate) fn dispatcher_with_store(
    upstream: &MockUpstream,
    always: ApprovalDefaults,
    store: Store,
) -> Dispatcher {
    let keys = Arc::new(WatchedValue::fixed(Keyring::random().unwrap()));
    let approvals = Approvals::new(keys, store, Duration::from_secs(60));
    dispatcher(upstream)
        .with_approval_defaults(always)
        .with_approvals(Arc::new(approvals))
}

pub(crate) const SLUG: &str = "openai-production";

pub(crate) const TOOL: &str = "delete-integration";

/// A folder with the file for the address and token of the approval server.
pub(crate) struct AdminFolder {
    folder: TempDir,
}

impl AdminFolder {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn file_path(&self) -> String {
        self.folder
            .path()
            .join("admin.json")
            .to_str()
            .unwrap()
            .to_owned()
    }

    pub(crate) fn options(&self) -> Vec<String> {
        let options = [
            "--approve-deletes",
            "--admin-listen",
            "127.0.0.1:0",
            "--admin-file",
        ];
        options
            .into_iter()
            .map(str::to_owned)
            .chain([self.file_path()])
            .collect()
    }

    /// Runs `portkey-mcp approvals` and returns success, output and log.
    pub(crate) fn run_approvals(&self, args: &[&str]) -> (bool, String, String) {
        let file = self.file_path();
        run_cli(&[&["approvals", "--admin-file", &file], args].concat())
    }

    pub(crate) fn url(&self) -> String {
        self.read_field("url")
    }

    pub(crate) fn read_field(&self, field: &str) -> String {
        let text = fs::read_to_string(self.file_path()).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()[field]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

pub(crate) fn strs(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

/// Extracts the ticket id from the text for the caller.
pub(crate) fn ticket_id(text: &str) -> String {
    assert!(text.contains("waits for the approval"), "{text}");
    text.split("ticket is ")
        .nth(1)
        .unwrap()
        .split(':')
        .next()
        .unwrap()
        .to_owned()
}

pub(crate) fn serve_with_admin(admin: &AdminFolder, more: &[&str]) -> ServerProcess {
    let options = admin.options();
    ServerProcess::http()
        .sandbox()
        .auth("key")
        .args(&strs(&options))
        .args(more)
        .start()
}

/// Returns the URL of the page of a new ticket. Only the log contains it.
pub(crate) async fn ticket_page_url(
    server: &mut ServerProcess,
    caller: &McpClient,
    slug: &str,
) -> String {
    let answer = caller.modern(TOOL, &json!({ "slug": slug })).await.unwrap();
    ticket_id(
        answer.message["result"]["content"][0]["text"]
            .as_str()
            .unwrap(),
    );
    let line = server.read_until("/decide/");
    let at = line.find("http://").unwrap();
    line[at..]
        .split([' ', '"', '\n'])
        .next()
        .unwrap()
        .trim()
        .to_owned()
}

/// Returns the hidden fields of a page in the order in which its form sends them after `token=`.
pub(crate) fn form_token(html: &str) -> String {
    let value = |name: &str| {
        let field = format!("name=\"{name}\" value=\"");
        html.split(&field)
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .to_owned()
    };
    format!("{}&digest={}", value("token"), value("digest"))
}

//! The history of changes, and undo, from outside.

#[cfg(unix)]
mod crash;
mod history;
#[cfg(all(unix, feature = "postgres"))]
mod postgres;
#[cfg(all(unix, feature = "postgres"))]
mod postgres_tls;
mod secrets;
mod sequences;
mod store;
mod undo;
mod undo_handles;
mod undo_safety;
mod upstreams;

use std::{path::PathBuf, time::Duration};

use portkey_journal::{JournalPlace, JournalSettings, Retention};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    requests::{call_request, send_request},
    server::{ServerBuilder, ServerProcess},
};

/// The variable that switches the journal off in tests, set so that it does not.
const WITH_JOURNAL: &[(&str, &str)] = &[("PORTKEY_MCP_NO_JOURNAL", "false")];

/// Returns settings for a file.
fn file_settings(file: &std::path::Path) -> JournalSettings {
    JournalSettings {
        place: JournalPlace::File {
            path: file.to_owned(),
            is_default: false,
        },
        retention: Retention {
            max_age: Duration::from_secs(86_400),
            max_bytes: 64 << 20,
        },
    }
}

/// A server with a journal, in front of a sandbox.
struct HistoryServer {
    server: ServerProcess,
    _folder: TempDir,
    file: PathBuf,
}

impl HistoryServer {
    fn start(more: &[&str]) -> Self {
        Self::start_from(ServerProcess::http().sandbox().args(more))
    }

    fn start_from(builder: ServerBuilder<ServerProcess>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state/journal.db");
        let server = builder
            .variables(WITH_JOURNAL)
            .args(&["--journal", file.to_str().unwrap()])
            .start();
        Self {
            server,
            _folder: folder,
            file,
        }
    }

    /// Calls a tool; returns whether it failed, and the text of the answer.
    async fn call(&self, tool: &str, args: Value) -> (bool, String) {
        call(&self.server, tool, args).await
    }

    async fn answer(&self, tool: &str, args: Value) -> Value {
        let (failed, text) = self.call(tool, args).await;
        assert!(!failed, "{tool}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn error(&self, tool: &str, args: Value) -> String {
        let (failed, text) = self.call(tool, args).await;
        assert!(failed, "{tool}: {text}");
        text
    }

    async fn changes(&self, filter: Value) -> Vec<Value> {
        let answer = self.answer("list-changes", filter).await;
        answer["changes"].as_array().unwrap().clone()
    }

    async fn last_change(&self) -> Value {
        self.changes(json!({ "limit": 1 })).await.remove(0)
    }

    /// Undoes the latest change.
    async fn undo_last(&self) -> Value {
        let id = self.last_change().await["id"].clone();
        self.answer("undo-change", json!({ "id": id })).await
    }
}

/// Calls a tool; returns whether it failed, and the text of the answer.
async fn call(server: &ServerProcess, tool: &str, args: Value) -> (bool, String) {
    let (_, message) = send_request(call_request(server, tool, args)).await;
    let result = &message["result"];
    let text = result["content"][0]["text"].as_str();
    let text = text.unwrap_or_else(|| panic!("{message}"));
    (result["isError"] == true, text.to_owned())
}

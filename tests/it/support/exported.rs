//! A sandbox whose settings are exported to a folder.

use std::{path::PathBuf, process::Stdio};

use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{process::command, requests::client as http_client, server::ServerProcess};

/// Secrets of the sandbox.
pub(crate) const SECRETS: [&str; 4] = [
    "sandbox-issues-token",
    "sk-sandbox-openai-0001",
    "sk-ant-sandbox-0002",
    "sandbox-cohere-0010",
];

/// A sandbox, and a folder for its export.
pub(crate) struct Exported {
    pub(crate) sandbox: ServerProcess,
    pub(crate) folder: TempDir,
}

impl Exported {
    pub(crate) fn start() -> Self {
        Self {
            sandbox: ServerProcess::sandbox_api().start(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Returns the folder, which the first export makes.
    pub(crate) fn dir(&self) -> PathBuf {
        self.folder.path().join("settings")
    }

    /// Runs a command against the sandbox, and returns its exit code and what it wrote.
    pub(crate) fn run_with_key(&self, key: &str, args: &[&str]) -> (i32, String) {
        let mut command = command(args);
        command.args(["--base-url", &self.sandbox.url, "--api-key", key]);
        command.stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), text)
    }

    pub(crate) fn run(&self, args: &[&str]) -> (i32, String) {
        self.run_with_key("any", args)
    }

    /// Exports to the folder, with further options.
    pub(crate) fn export(&self, more: &[&str]) -> (i32, String) {
        let dir = self.dir();
        self.run(&[&["export", dir.to_str().unwrap()], more].concat())
    }

    /// Sends a request to the sandbox.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = http_client()
            .request(method, format!("{}{path}", self.sandbox.url))
            .header("x-portkey-api-key", "any");
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let response = request.send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {response:?}");
        serde_json::from_str(&response.text().await.unwrap()).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.send(Method::GET, path, None).await
    }
}

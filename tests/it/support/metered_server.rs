//! A server that publishes its metrics.

use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    requests::{client, stateless_request},
    server::{ServerProcess, serve_sandbox},
};

/// A server with metrics, and their URL.
pub(crate) struct MeteredServer {
    pub(crate) server: ServerProcess,
    pub(crate) url: String,
}

impl MeteredServer {
    pub(crate) fn start(more: &[&str]) -> Self {
        let mut server = serve_sandbox(&[&["--metrics-listen", "127.0.0.1:0"], more].concat());
        let line = server.read_until("/metrics");
        let url = line[line.find("http://").unwrap()..].trim_end().to_owned();
        Self { server, url }
    }

    pub(crate) async fn scrape(&self) -> String {
        let answer = client().get(&self.url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let kind = answer.headers()["content-type"].to_str().unwrap();
        assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
        answer.text().await.unwrap()
    }

    /// Scrapes until this line appears: a connection ends shortly after its response.
    pub(crate) async fn scrape_until(&self, line: &str) {
        let mut text = String::new();
        for _ in 0..10_000 {
            text = self.scrape().await;
            if text.lines().any(|each| each == line) {
                return;
            }
        }
        panic!("no `{line}` in\n{text}");
    }

    pub(crate) fn call(&self, tool: &str, arguments: &Value) -> RequestBuilder {
        stateless_request(
            &self.server,
            "tools/call",
            json!({ "name": tool, "arguments": arguments }),
        )
    }
}

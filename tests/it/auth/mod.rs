//! Authentication of callers over HTTP, and the upstream key for each.

mod key;
pub(crate) mod oauth;
mod token;

use http::{HeaderMap, header};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    process::run_cli,
    requests::{
        call_request, client, initialize_request, post_request, send_request, stateless_request,
    },
    server::ServerProcess,
    upstream::MockUpstream,
};

/// Returns the keys that the upstream received, in order.
fn upstream_keys(upstream: &MockUpstream) -> Vec<String> {
    let key = |head: String| {
        let line = head
            .lines()
            .find_map(|line| line.strip_prefix("x-portkey-api-key: "));
        line.unwrap_or_default().to_owned()
    };
    upstream
        .requests()
        .into_iter()
        .map(|seen| key(seen.head))
        .collect()
}

async fn rejection(request: RequestBuilder) -> (StatusCode, HeaderMap, String) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let headers = response.headers().clone();
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    (
        status,
        headers,
        body["error"]["message"].as_str().unwrap().to_owned(),
    )
}

#[tokio::test]
async fn credentials_in_the_url_are_rejected() {
    for mode in [&["--sandbox"] as &[&str], &["--auth", "key"]] {
        let mut server = ServerProcess::http().args(mode).start();
        let plain = server.url.clone();
        for query in [
            "token=x",
            "a=b&Access_Token=x",
            "x-portkey-api-key=x",
            "api%5Fkey=x",
        ] {
            server.url = format!("{plain}?{query}");
            let request = stateless_request(&server, "tools/list", json!({}));
            let (status, _, text) = rejection(request.header("x-portkey-api-key", "pk-1")).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
            assert!(
                text.contains("may not stand in the address"),
                "{query}: {text}"
            );
        }
        server.url = plain;
    }
}

/// A caller that sends a key expects its use. If the server does not use it, the request is
/// rejected.
#[tokio::test]
async fn unused_key_header_is_rejected() {
    let server = ServerProcess::http().sandbox().start();
    for header in ["x-portkey-api-key", "x-enkrypt-api-key"] {
        let request =
            call_request(&server, "list-all-integrations", json!({})).header(header, "pk-1");
        let (status, _, text) = rejection(request).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(
            text.contains("of a kind that this server does not take"),
            "{text}"
        );
    }
}

#[test]
fn contradictory_auth_options_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    std::fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["--auth", "key", "--api-key", "pk-1"], "PORTKEY_API_KEY"),
        (
            &["--auth", "key", "--enkrypt-api-key", "ek-1"],
            "ENKRYPT_API_KEY",
        ),
        (
            &["--auth", "key", "--api-key-file", file],
            "PORTKEY_API_KEY_FILE",
        ),
        (
            &["--auth", "token", "--auth-file", file, "--api-key", "pk-1"],
            "PORTKEY_API_KEY",
        ),
        (&["--auth", "token"], "portkey-mcp token new"),
        (
            &["--auth", "key", "--auth-file", file],
            "--auth-file belongs to",
        ),
        (
            &["--auth", "token", "--auth-file", "/nonexistent/tokens"],
            "/nonexistent/tokens",
        ),
        (
            &["--auth", "none", "--listen", "0.0.0.0:0"],
            "--auth key, token",
        ),
    ];
    for (args, expected) in cases {
        let args = [&["http", "--listen", "127.0.0.1:0"], *args].concat();
        // A second `--listen` would be an error.
        let args = match args.iter().rposition(|arg| *arg == "--listen") {
            Some(at) if at > 1 => [&args[..1], &args[3..]].concat(),
            _ => args,
        };
        let (ok, out, log) = run_cli(&args);
        assert!(
            !ok && out.is_empty() && log.contains(expected),
            "{args:?}: {log}"
        );
        assert!(!log.contains("pk-1") && !log.contains("ek-1"), "{log}");
    }
}

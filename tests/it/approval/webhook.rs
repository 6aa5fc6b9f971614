//! Notices of waiting calls to a web address.

use std::fs;

use ring::hmac;
use serde_json::{Value, json};

use crate::support::{
    approvals::{AdminFolder, SLUG, TOOL, serve_with_admin, ticket_id},
    mcp_client::McpClient,
    process::run_cli,
    upstream::{MockUpstream, ResponseAction, http_response},
};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A file with a key that only its owner can read.
fn key_file(folder: &tempfile::TempDir, key: &str) -> String {
    let file = folder.path().join("webhook.key");
    fs::write(&file, key).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    file.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn waiting_call_is_announced_with_a_valid_signature() {
    let receiver = MockUpstream::start(|before| match before {
        0 => http_response("503 Service Unavailable", "", ""),
        _ => http_response("200 OK", "", "ok"),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let admin = AdminFolder::new();
    let options = [
        "--approval-webhook",
        &receiver.base_url,
        "--approval-webhook-key-file",
        &key_file(&folder, KEY),
        "--admin-url",
        "https://approvals.example.com",
    ];
    let server = serve_with_admin(&admin, &options);
    let caller = McpClient::new(&server.url, "pk-alice");
    let answer = caller.modern(TOOL, &json!({ "slug": SLUG })).await.unwrap();
    let id = ticket_id(
        answer.message["result"]["content"][0]["text"]
            .as_str()
            .unwrap(),
    );
    receiver.wait_for_requests(2).await;
    for request in receiver.requests() {
        let signature = request.header("x-portkey-mcp-signature").unwrap();
        let (time, signature) = signature.split_once(',').unwrap();
        let time = time.strip_prefix("t=").unwrap();
        let signature = hex::decode(signature.strip_prefix("v1=").unwrap()).unwrap();
        let signed = [time.as_bytes(), b".", &request.body].concat();
        let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes());
        hmac::verify(&key, &signed, &signature).unwrap();
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert!(body["expires"].is_u64(), "{body}");
        let link = format!("https://approvals.example.com/calls/{id}");
        let text = format!("{TOOL} on OpenAI Production waits for approval (");
        assert!(body["text"].as_str().unwrap().starts_with(&text), "{body}");
        assert!(body["text"].as_str().unwrap().ends_with(&link), "{body}");
        assert_eq!(body["ticket"], json!(id));
        assert_eq!(body["tool"], json!(TOOL));
        assert_eq!(body["target"], json!("OpenAI Production"));
        assert_eq!(body["link"], json!(link));
        let fields: Vec<_> = body.as_object().unwrap().keys().collect();
        let expected = [
            "text", "event", "ticket", "tool", "target", "risks", "link", "expires",
        ];
        assert_eq!(fields, expected, "nothing else is passed on");
    }
}

/// A receiver that does not answer neither delays the call nor stops later ones.
#[tokio::test]
async fn silent_receiver_delays_no_call() {
    let receiver = MockUpstream::start(|_| ResponseAction::Hang).await;
    let folder = tempfile::tempdir().unwrap();
    let admin = AdminFolder::new();
    let options = [
        "--approval-webhook",
        &receiver.base_url,
        "--approval-webhook-key-file",
        &key_file(&folder, KEY),
    ];
    let server = serve_with_admin(&admin, &options);
    let caller = McpClient::new(&server.url, "pk-alice");
    for slug in [SLUG, "anthropic"] {
        let answer = caller.modern(TOOL, &json!({ "slug": slug })).await.unwrap();
        ticket_id(
            answer.message["result"]["content"][0]["text"]
                .as_str()
                .unwrap(),
        );
    }
    receiver.wait_for_requests(1).await;
}

#[test]
fn invalid_webhook_is_rejected_without_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let short = key_file(&folder, "short");
    for (options, expected) in [
        (
            vec!["--approval-webhook", "http://hooks.example.com/T0/planted"],
            "https://",
        ),
        (
            vec![
                "--approval-webhook",
                "https://hooks.example.com/T0/planted",
                "--approval-webhook-key-file",
                &short,
            ],
            "32 characters",
        ),
        (
            vec!["--approval-webhook", "https://hooks.example.com/T0/planted"],
            "--approval-webhook-key-file",
        ),
    ] {
        let (good, _, log) = run_cli(&[&["stdio", "--approve-writes"], &options[..]].concat());
        assert!(!good && log.contains(expected), "{log}");
    }
}

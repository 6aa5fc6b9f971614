//! Watched files: the version behind the path is in effect, and its state is reported.

use std::{fs, os::unix::fs::symlink, path::Path};

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    process::run_cli,
    requests::{self, client, send_request},
    server::{ServerProcess, serve_sandbox},
};

/// Creates a token file with one token, and returns the token.
fn create_token_file(file: &Path) -> String {
    let file = file.to_str().unwrap();
    let args = [
        "token",
        "new",
        "--name",
        "a",
        "--scope",
        "portkey:read",
        "--file",
        file,
    ];
    let (ok, token, err) = run_cli(&args);
    assert!(ok, "{err}");
    token.trim().to_owned()
}

async fn status(server: &ServerProcess, token: &str) -> StatusCode {
    let request = requests::call_request(server, "list-labels", json!({})).bearer_auth(token);
    send_request(request).await.0
}

async fn readiness_component(server: &ServerProcess, name: &str) -> Value {
    let answer = client()
        .get(server.url.replace("/mcp", "/readyz"))
        .send()
        .await
        .unwrap();
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    body["components"][name].clone()
}

#[tokio::test]
async fn token_removed_through_a_hard_link_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let link = other.path().join("link");
    let token = create_token_file(&file);
    fs::hard_link(&file, &link).unwrap();
    let mut server = serve_sandbox(&["--auth", "token", "--auth-file", file.to_str().unwrap()]);
    assert_eq!(status(&server, &token).await, StatusCode::OK);
    fs::write(&link, "").unwrap();
    server.read_until("reloaded the changed file");
    assert_eq!(status(&server, &token).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn token_removed_by_a_swapped_folder_link_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["old", "new"] {
        fs::create_dir(at(name)).unwrap();
    }
    let token = create_token_file(&at("old").join("tokens.toml"));
    fs::write(at("new").join("tokens.toml"), "").unwrap();
    symlink(at("old"), at("current")).unwrap();
    let file = at("current").join("tokens.toml");
    let mut server = serve_sandbox(&["--auth", "token", "--auth-file", file.to_str().unwrap()]);
    assert_eq!(status(&server, &token).await, StatusCode::OK);
    symlink(at("new"), at("next")).unwrap();
    fs::rename(at("next"), at("current")).unwrap();
    server.read_until("reloaded the changed file");
    assert_eq!(status(&server, &token).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn invalid_file_version_is_reported_at_readyz_until_fixed() {
    let folder = tempfile::tempdir().unwrap();
    let (file, policy) = (
        folder.path().join("tokens.toml"),
        folder.path().join("later.yaml"),
    );
    let token = create_token_file(&file);
    let mut server = serve_sandbox(&["--auth", "token", "--auth-file", file.to_str().unwrap()]);
    assert_eq!(
        readiness_component(&server, "token_file").await["status"],
        "ok"
    );
    // The new version names a file that does not exist yet.
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}policy = \"later.yaml\"\n")).unwrap();
    server.read_until("the change is invalid");
    let state = readiness_component(&server, "token_file").await;
    assert_eq!(
        (&state["status"], &state["reason"]),
        (&json!("degraded"), &json!("invalid_version"))
    );
    assert_eq!(status(&server, &token).await, StatusCode::OK);
    fs::write(&policy, "version: \"1\"\nhide: [list-labels]\n").unwrap();
    server.read_until("reloaded the changed file");
    assert_eq!(
        readiness_component(&server, "token_file").await["status"],
        "ok"
    );
}

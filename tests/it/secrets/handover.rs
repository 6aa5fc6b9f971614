//! Handing over what a call reveals: in the answer, in a file, or not at all.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use serde_json::{Value, json};

use super::everywhere;
use crate::{
    process::said,
    upstream::{Upstream, answer, ok},
};

fn invite() -> Value {
    json!({
        "email": "new@example.com", "role": "member",
        "workspaces": [{ "id": "ws-research", "role": "member" }],
        "workspace_api_key_details": { "scopes": ["logs.list"] },
    })
}

#[tokio::test]
async fn inline_is_in_the_answer() {
    for connected in everywhere(&["--sandbox"], &[]).await {
        let link = connected.call("invite-user", invite()).await.unwrap()["invite_link"].clone();
        assert!(link.as_str().unwrap().starts_with("https://"), "{}: {link}", connected.way);
    }
}

#[tokio::test]
async fn a_file_holds_it_and_is_for_its_owner_only() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("made/for/it");
    let folder_text = folder.to_str().unwrap();
    let args = ["--sandbox", "--secrets", "file", "--secrets-dir", folder_text];
    let mut paths = Vec::new();
    for connected in everywhere(&args, &[]).await {
        let answer = connected.call("invite-user", invite()).await.unwrap();
        let path = answer["invite_link"].as_str().unwrap().to_owned();
        assert!(fs::read_to_string(&path).unwrap().starts_with("https://"), "{}", connected.way);
        assert!(Path::new(&path).starts_with(folder.canonicalize().unwrap()), "{path}");
        assert_eq!(mode(Path::new(&path)), 0o600, "{path}");
        paths.push(path);
        // What reveals nothing makes no file, and neither does what is refused.
        connected.call("list-all-invites", json!({})).await.unwrap();
        connected.call("rotate-api-key", json!({ "id": "no-such" })).await.unwrap_err();
    }
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), paths.len());
    paths.dedup();
    assert_eq!(paths.len(), 4);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Several secrets are several files, and one that is no text is written as JSON.
#[tokio::test]
async fn each_secret_has_its_file() {
    let body = r#"{"id":"d","client_auth":"auth","credentials":{"username":"u","password":"p"}}"#;
    let upstream = Upstream::start(move |_| ok(body)).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    let args = ["--base-url", &upstream.base_url, "--secrets", "file", "--secrets-dir", path];
    for connected in everywhere(&args, &[("PORTKEY_API_KEY", "any-key")]).await {
        let args = json!({ "deployment_id": "d", "rotate_auth": true });
        let answer = connected.call("update-deployment", args).await.unwrap();
        let read = |field: &str| fs::read_to_string(answer[field].as_str().unwrap()).unwrap();
        assert_eq!(read("client_auth"), "auth");
        assert_eq!(read("credentials"), r#"{"username":"u","password":"p"}"#);
    }
    assert_eq!(fs::read_dir(path).unwrap().count(), 8);
}

/// Nothing may come to be whose key nobody gets.
#[tokio::test]
async fn what_cannot_be_handed_over_is_not_sent() {
    let upstream = Upstream::start(|_| answer("200 OK", "", "{}")).await;
    let base = ["--base-url", upstream.base_url.as_str()];
    let key = [("PORTKEY_API_KEY", "any-key")];
    for connected in everywhere(&[&base[..], &["--secrets", "deny"]].concat(), &key).await {
        let error = connected.call("invite-user", invite()).await.unwrap_err();
        assert!(error.contains("--secrets deny") && error.contains("Nothing was sent"), "{error}");
        let rotates = json!({ "deployment_id": "d", "rotate_auth": true });
        connected.call("update-deployment", rotates).await.unwrap_err();
        assert_eq!(upstream.count(), 0, "{}", connected.way);
    }
    // An update that reveals nothing is none of those.
    let [connected, ..] =
        &everywhere(&[&base[..], &["--secrets", "deny"]].concat(), &key).await[..]
    else {
        panic!("no client")
    };
    let plain = json!({ "deployment_id": "d", "name": "n" });
    connected.call("update-deployment", plain).await.unwrap();
    assert_eq!(upstream.count(), 1);

    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let to = ["--secrets", "file", "--secrets-dir", folder.path().to_str().unwrap()];
    let all = everywhere(&[&base[..], &to].concat(), &key).await;
    drop(folder);
    for connected in all {
        let error = connected.call("invite-user", invite()).await.unwrap_err();
        assert!(error.contains("cannot be made") && error.contains("Nothing was sent"), "{error}");
    }
    assert_eq!(upstream.count(), 1);
}

#[test]
fn a_folder_that_others_can_look_into_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().to_str().unwrap();
    for (args, told) in [
        (&["--secrets", "file", "--secrets-dir", path][..], "others can look into it"),
        (&["--secrets", "file"], "needs --secrets-dir"),
        (&["--secrets", "deny", "--secrets-dir", path], "belongs to --secrets file"),
    ] {
        let call = ["call", "list-all-invites", "--sandbox"];
        let (ok, _, log) = said(&[&call[..], args].concat());
        assert!(!ok && log.contains(told), "{log}");
    }
}

//! Delivery of one-time secrets: in the result, in a file, or not at all.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};

use portkey_mcp::{
    pipeline::Dispatcher,
    security::secrets::{DeliveryMode, SecretReferences, Secrets},
};
use serde_json::{Value, json};

use crate::support::{
    official_client::connect_everywhere,
    process::run_cli,
    upstream::{MockUpstream, dispatcher, http_response, json_response, operator},
};

fn invite_args() -> Value {
    json!({
        "email": "new@example.com", "role": "member",
        "workspaces": [{ "id": "ws-research", "role": "member" }],
        "workspace_api_key_details": { "scopes": ["logs.list"] },
    })
}

#[tokio::test]
async fn inline_secret_is_in_the_result() {
    for connected in connect_everywhere(&["--sandbox"], &[]).await {
        let link =
            connected.call("invite-user", invite_args()).await.unwrap()["invite_link"].clone();
        assert!(
            link.as_str().unwrap().starts_with("https://"),
            "{}: {link}",
            connected.way
        );
    }
}

#[tokio::test]
async fn delivered_secret_file_is_private() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("made/for/it");
    let folder_text = folder.to_str().unwrap();
    let args = [
        "--sandbox",
        "--secrets",
        "file",
        "--secrets-dir",
        folder_text,
    ];
    let mut paths = Vec::new();
    for connected in connect_everywhere(&args, &[]).await {
        let answer = connected.call("invite-user", invite_args()).await.unwrap();
        let path = answer["invite_link"].as_str().unwrap().to_owned();
        assert!(
            fs::read_to_string(&path).unwrap().starts_with("https://"),
            "{}",
            connected.way
        );
        assert!(
            Path::new(&path).starts_with(folder.canonicalize().unwrap()),
            "{path}"
        );
        assert_eq!(file_mode(Path::new(&path)), 0o600, "{path}");
        paths.push(path);
        // A call without a one-time secret creates no file, and neither does a failed call.
        connected.call("list-all-invites", json!({})).await.unwrap();
        connected
            .call("rotate-api-key", json!({ "id": "no-such" }))
            .await
            .unwrap_err();
    }
    assert_eq!(file_mode(&folder), 0o700);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), paths.len());
    paths.dedup();
    assert_eq!(paths.len(), 4);
}

fn file_mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Several secrets are several files, and a secret that is no text is written as JSON.
#[tokio::test]
async fn each_secret_has_its_own_file() {
    let body = r#"{"id":"d","client_auth":"auth","credentials":{"username":"u","password":"p"}}"#;
    let upstream = MockUpstream::start(move |_| json_response(body)).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    let args = [
        "--base-url",
        &upstream.base_url,
        "--secrets",
        "file",
        "--secrets-dir",
        path,
    ];
    for connected in connect_everywhere(&args, &[("PORTKEY_API_KEY", "any-key")]).await {
        let args = json!({ "deployment_id": "d", "rotate_auth": true });
        let answer = connected.call("update-deployment", args).await.unwrap();
        let read = |field: &str| fs::read_to_string(answer[field].as_str().unwrap()).unwrap();
        assert_eq!(read("client_auth"), "auth");
        assert_eq!(read("credentials"), r#"{"username":"u","password":"p"}"#);
    }
    assert_eq!(fs::read_dir(path).unwrap().count(), 8);
}

/// A key must not be created if nobody can receive it.
#[tokio::test]
async fn call_is_not_sent_if_its_secret_cannot_be_delivered() {
    let upstream = MockUpstream::start(|_| http_response("200 OK", "", "{}")).await;
    let base = ["--base-url", upstream.base_url.as_str()];
    let key = [("PORTKEY_API_KEY", "any-key")];
    for connected in connect_everywhere(&[&base[..], &["--secrets", "deny"]].concat(), &key).await {
        let error = connected
            .call("invite-user", invite_args())
            .await
            .unwrap_err();
        assert!(
            error.contains("--secrets deny") && error.contains("Nothing was sent"),
            "{error}"
        );
        let rotates = json!({ "deployment_id": "d", "rotate_auth": true });
        connected
            .call("update-deployment", rotates)
            .await
            .unwrap_err();
        assert_eq!(upstream.count(), 0, "{}", connected.way);
    }
    // An update without a one-time secret is sent.
    let [connected, ..] =
        &connect_everywhere(&[&base[..], &["--secrets", "deny"]].concat(), &key).await[..]
    else {
        panic!("no client")
    };
    let plain = json!({ "deployment_id": "d", "name": "n" });
    connected.call("update-deployment", plain).await.unwrap();
    assert_eq!(upstream.count(), 1);

    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let to = [
        "--secrets",
        "file",
        "--secrets-dir",
        folder.path().to_str().unwrap(),
    ];
    let all = connect_everywhere(&[&base[..], &to].concat(), &key).await;
    drop(folder);
    for connected in all {
        let error = connected
            .call("invite-user", invite_args())
            .await
            .unwrap_err();
        assert!(
            error.contains("cannot be made") && error.contains("Nothing was sent"),
            "{error}"
        );
    }
    assert_eq!(upstream.count(), 1);
}

#[test]
fn secrets_dir_readable_by_others_fails_the_start() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().to_str().unwrap();
    for (args, message) in [
        (
            &["--secrets", "file", "--secrets-dir", path][..],
            "others can look into it",
        ),
        (&["--secrets", "file"], "needs --secrets-dir"),
        (
            &["--secrets", "deny", "--secrets-dir", path],
            "belongs to --secrets file",
        ),
    ] {
        let call = ["call", "list-all-invites", "--sandbox"];
        let (ok, _, log) = run_cli(&[&call[..], args].concat());
        assert!(!ok && log.contains(message), "{log}");
    }
}

/// Returns a parent, a private folder in it, and the delivery to this folder.
fn private_dir() -> (tempfile::TempDir, PathBuf, DeliveryMode) {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().canonicalize().unwrap().join("secrets");
    let delivery = DeliveryMode::in_folder(&folder).unwrap();
    (parent, folder, delivery)
}

fn dispatcher_with_delivery(upstream: &MockUpstream, delivery: DeliveryMode) -> Dispatcher {
    dispatcher(upstream).with_secrets(Secrets::new(delivery, SecretReferences::default()))
}

async fn call_invite(dispatcher: &Dispatcher) -> Result<Value, String> {
    let args = invite_args().as_object().unwrap().clone();
    let outcome = dispatcher
        .call_as_local(&operator(), "invite-user", args)
        .await;
    outcome.map_err(|error| error.to_string())
}

/// A change of the folder after the start, and the error that follows.
struct ChangedFolderCase {
    what: &'static str,
    change: fn(&Path),
    message: &'static str,
}

#[tokio::test]
async fn secrets_dir_is_checked_at_every_use() {
    let cases = [
        ChangedFolderCase {
            what: "opened to others",
            change: |folder| {
                fs::set_permissions(folder, fs::Permissions::from_mode(0o750)).unwrap()
            },
            message: "others can look into it",
        },
        ChangedFolderCase {
            what: "replaced by a link",
            change: |folder| {
                let other = folder.with_file_name("other");
                fs::rename(folder, &other).unwrap();
                symlink(&other, folder).unwrap();
            },
            message: "cannot be made",
        },
        ChangedFolderCase {
            what: "below a link",
            change: |folder| {
                let (parent, moved) = (
                    folder.parent().unwrap(),
                    folder.parent().unwrap().with_extension("moved"),
                );
                fs::rename(parent, &moved).unwrap();
                symlink(&moved, parent).unwrap();
            },
            message: "a link leads there now",
        },
        ChangedFolderCase {
            what: "removed",
            change: |folder| fs::remove_dir(folder).unwrap(),
            message: "cannot be made",
        },
        ChangedFolderCase {
            what: "a file",
            change: |folder| {
                fs::remove_dir(folder).unwrap();
                fs::write(folder, "").unwrap();
            },
            message: "cannot be made",
        },
    ];
    for ChangedFolderCase {
        what,
        change,
        message,
    } in cases
    {
        let upstream =
            MockUpstream::start(|_| json_response(r#"{"invite_link":"https://l"}"#)).await;
        let (parent, folder, delivery) = private_dir();
        let dispatcher = dispatcher_with_delivery(&upstream, delivery);
        change(&folder);
        let error = call_invite(&dispatcher).await.unwrap_err();
        assert!(
            error.contains(message) && error.contains("Nothing was sent"),
            "{what}: {error}"
        );
        assert_eq!(upstream.count(), 0, "{what}");
        // One of the cases moves the folder beside its parent.
        _ = fs::remove_dir_all(parent.path().with_extension("moved"));
    }
}

#[tokio::test]
async fn secrets_dir_of_another_user_is_rejected() {
    let (_parent, folder, delivery) = private_dir();
    // Only root can change the owner.
    if chown(&folder, Some(65_534), None).is_err() {
        eprintln!("skipped: this user may not give folders away");
        return;
    }
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let error = call_invite(&dispatcher_with_delivery(&upstream, delivery))
        .await
        .unwrap_err();
    assert!(error.contains("belongs to another user"), "{error}");
    assert!(
        DeliveryMode::in_folder(&folder)
            .unwrap_err()
            .to_string()
            .contains("another user")
    );
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn recreated_secrets_dir_is_used() {
    let upstream = MockUpstream::start(|_| json_response(r#"{"invite_link":"https://l"}"#)).await;
    let (_parent, folder, delivery) = private_dir();
    let dispatcher = dispatcher_with_delivery(&upstream, delivery);
    fs::remove_dir(&folder).unwrap();
    DeliveryMode::in_folder(&folder).unwrap();
    let answer = call_invite(&dispatcher).await.unwrap();
    assert_eq!(
        fs::read_to_string(answer["invite_link"].as_str().unwrap()).unwrap(),
        "https://l"
    );
}

/// The secret exists when the response arrives. It is not lost if its file was moved, and never
/// written where others can read it.
#[tokio::test]
async fn secret_file_removed_during_the_call_is_recreated() {
    let (_parent, folder, delivery) = private_dir();
    let looked_at = folder.clone();
    let upstream = MockUpstream::start(move |before| {
        for file in fs::read_dir(&looked_at).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        if before == 1 {
            fs::set_permissions(&looked_at, fs::Permissions::from_mode(0o755)).unwrap();
        }
        json_response(r#"{"invite_link":"https://l"}"#)
    })
    .await;
    let dispatcher = dispatcher_with_delivery(&upstream, delivery);
    let answer = call_invite(&dispatcher).await.unwrap();
    let path = answer["invite_link"].as_str().unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), "https://l");
    assert_eq!(file_mode(Path::new(path)), 0o600);
    fs::remove_file(path).unwrap();
    let answer = call_invite(&dispatcher).await.unwrap();
    let lost = answer["invite_link"].as_str().unwrap();
    assert!(
        lost.starts_with("[lost: ") && lost.contains("others can look into it"),
        "{lost}"
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

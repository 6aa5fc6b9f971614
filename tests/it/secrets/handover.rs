//! Handing over what a call reveals: in the answer, in a file, or not at all.

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

use super::everywhere;
use crate::{
    process::said,
    upstream::{Upstream, answer, dispatcher, ok, operator},
};

fn invite() -> Value {
    json!({
        "email": "new@example.com", "role": "member",
        "workspaces": [{ "id": "ws-research", "role": "member" }],
        "workspace_api_key_details": { "scopes": ["logs.list"] },
    })
}

#[tokio::test]
async fn inline_secret_is_in_the_result() {
    for connected in everywhere(&["--sandbox"], &[]).await {
        let link = connected.call("invite-user", invite()).await.unwrap()["invite_link"].clone();
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
    for connected in everywhere(&args, &[]).await {
        let answer = connected.call("invite-user", invite()).await.unwrap();
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
        assert_eq!(mode(Path::new(&path)), 0o600, "{path}");
        paths.push(path);
        // What reveals nothing makes no file, and neither does what is refused.
        connected.call("list-all-invites", json!({})).await.unwrap();
        connected
            .call("rotate-api-key", json!({ "id": "no-such" }))
            .await
            .unwrap_err();
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
async fn each_secret_has_its_own_file() {
    let body = r#"{"id":"d","client_auth":"auth","credentials":{"username":"u","password":"p"}}"#;
    let upstream = Upstream::start(move |_| ok(body)).await;
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
async fn call_is_not_sent_if_its_secret_cannot_be_delivered() {
    let upstream = Upstream::start(|_| answer("200 OK", "", "{}")).await;
    let base = ["--base-url", upstream.base_url.as_str()];
    let key = [("PORTKEY_API_KEY", "any-key")];
    for connected in everywhere(&[&base[..], &["--secrets", "deny"]].concat(), &key).await {
        let error = connected.call("invite-user", invite()).await.unwrap_err();
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
    let to = [
        "--secrets",
        "file",
        "--secrets-dir",
        folder.path().to_str().unwrap(),
    ];
    let all = everywhere(&[&base[..], &to].concat(), &key).await;
    drop(folder);
    for connected in all {
        let error = connected.call("invite-user", invite()).await.unwrap_err();
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
    for (args, told) in [
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
        let (ok, _, log) = said(&[&call[..], args].concat());
        assert!(!ok && log.contains(told), "{log}");
    }
}

/// A parent, and a private folder in it that secrets go to.
fn private() -> (tempfile::TempDir, PathBuf, DeliveryMode) {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().canonicalize().unwrap().join("secrets");
    let delivery = DeliveryMode::in_folder(&folder).unwrap();
    (parent, folder, delivery)
}

fn handing(upstream: &Upstream, delivery: DeliveryMode) -> Dispatcher {
    dispatcher(upstream).with_secrets(Secrets::new(delivery, SecretReferences::default()))
}

async fn invited(dispatcher: &Dispatcher) -> Result<Value, String> {
    let args = invite().as_object().unwrap().clone();
    let outcome = dispatcher
        .call_as_local(&operator(), "invite-user", args)
        .await;
    outcome.map_err(|error| error.to_string())
}

/// What somebody does to the folder after the start, and why it is not used then.
struct Changed {
    what: &'static str,
    change: fn(&Path),
    told: &'static str,
}

#[tokio::test]
async fn secrets_dir_is_checked_at_every_use() {
    let cases = [
        Changed {
            what: "opened to others",
            change: |folder| {
                fs::set_permissions(folder, fs::Permissions::from_mode(0o750)).unwrap()
            },
            told: "others can look into it",
        },
        Changed {
            what: "replaced by a link",
            change: |folder| {
                let other = folder.with_file_name("other");
                fs::rename(folder, &other).unwrap();
                symlink(&other, folder).unwrap();
            },
            told: "cannot be made",
        },
        Changed {
            what: "below a link",
            change: |folder| {
                let (parent, moved) = (
                    folder.parent().unwrap(),
                    folder.parent().unwrap().with_extension("moved"),
                );
                fs::rename(parent, &moved).unwrap();
                symlink(&moved, parent).unwrap();
            },
            told: "a link leads there now",
        },
        Changed {
            what: "removed",
            change: |folder| fs::remove_dir(folder).unwrap(),
            told: "cannot be made",
        },
        Changed {
            what: "a file",
            change: |folder| {
                fs::remove_dir(folder).unwrap();
                fs::write(folder, "").unwrap();
            },
            told: "cannot be made",
        },
    ];
    for Changed { what, change, told } in cases {
        let upstream = Upstream::start(|_| ok(r#"{"invite_link":"https://l"}"#)).await;
        let (parent, folder, delivery) = private();
        let dispatcher = handing(&upstream, delivery);
        change(&folder);
        let error = invited(&dispatcher).await.unwrap_err();
        assert!(
            error.contains(told) && error.contains("Nothing was sent"),
            "{what}: {error}"
        );
        assert_eq!(upstream.count(), 0, "{what}");
        // What was moved away stands beside, for one of the cases.
        _ = fs::remove_dir_all(parent.path().with_extension("moved"));
    }
}

#[tokio::test]
async fn secrets_dir_of_another_user_is_rejected() {
    let (_parent, folder, delivery) = private();
    // Only root may give it away.
    if chown(&folder, Some(65_534), None).is_err() {
        eprintln!("skipped: this user may not give folders away");
        return;
    }
    let upstream = Upstream::start(|_| ok("{}")).await;
    let error = invited(&handing(&upstream, delivery)).await.unwrap_err();
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
    let upstream = Upstream::start(|_| ok(r#"{"invite_link":"https://l"}"#)).await;
    let (_parent, folder, delivery) = private();
    let dispatcher = handing(&upstream, delivery);
    fs::remove_dir(&folder).unwrap();
    DeliveryMode::in_folder(&folder).unwrap();
    let answer = invited(&dispatcher).await.unwrap();
    assert_eq!(
        fs::read_to_string(answer["invite_link"].as_str().unwrap()).unwrap(),
        "https://l"
    );
}

/// By the time of the answer the secret exists: it is not lost because its file was moved, and never written to
/// where others may look.
#[tokio::test]
async fn secret_file_removed_during_the_call_is_recreated() {
    let (_parent, folder, delivery) = private();
    let looked_at = folder.clone();
    let upstream = Upstream::start(move |before| {
        for file in fs::read_dir(&looked_at).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        if before == 1 {
            fs::set_permissions(&looked_at, fs::Permissions::from_mode(0o755)).unwrap();
        }
        ok(r#"{"invite_link":"https://l"}"#)
    })
    .await;
    let dispatcher = handing(&upstream, delivery);
    let answer = invited(&dispatcher).await.unwrap();
    let path = answer["invite_link"].as_str().unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), "https://l");
    assert_eq!(mode(Path::new(path)), 0o600);
    fs::remove_file(path).unwrap();
    let answer = invited(&dispatcher).await.unwrap();
    let lost = answer["invite_link"].as_str().unwrap();
    assert!(
        lost.starts_with("[lost: ") && lost.contains("others can look into it"),
        "{lost}"
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

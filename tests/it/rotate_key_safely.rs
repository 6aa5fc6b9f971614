//! `rotate-key-safely`: the keys of the sandbox in each phase, and where the secret goes.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    form_client::{FormClient, connect_to},
    official_client::{ConnectedClient, connect_everywhere},
    rotation::{STARTED, start_upstream_with_successor},
    server::ServerProcess,
    upstream::{MockUpstream, ReceivedRequest},
};

async fn call(client: &ConnectedClient, tool: &'static str, args: Value) -> Value {
    client.call(tool, args).await.unwrap()
}

/// Returns the keys of a workspace with this name.
async fn keys(client: &ConnectedClient, workspace: &str, name: &str) -> Vec<Value> {
    let listed = call(
        client,
        "list-all-api-keys",
        json!({ "workspace_id": workspace }),
    )
    .await;
    let rows = listed["data"].as_array().unwrap().iter();
    rows.filter(|key| key["name"] == name).cloned().collect()
}

fn id(key: &Value) -> &str {
    key["id"].as_str().unwrap()
}

#[tokio::test]
async fn successor_has_the_settings_and_its_secret_goes_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().join("secrets");
    let options = [
        "--sandbox",
        "--secrets",
        "file",
        "--secrets-dir",
        secrets.to_str().unwrap(),
    ];
    for client in connect_everywhere(&options, &[]).await {
        let way = client.way;
        let old = keys(&client, "ws-research", "Evaluation runs")
            .await
            .remove(0);
        let rotate = |phase: &str| json!({ "id": id(&old), "phase": phase });
        let status = call(&client, "rotate-key-safely", json!({ "id": id(&old) })).await;
        assert_eq!(status["state"], "not_started", "{way}: {status}");

        let started = call(&client, "rotate-key-safely", rotate("start")).await;
        let path = started["key"].to_string();
        let mut files = fs::read_dir(&secrets).unwrap().map(Result::unwrap);
        let file = files.find(|file| path.contains(file.file_name().to_str().unwrap()));
        let secret = fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!started.to_string().contains(secret.trim()), "{way}");

        let both = keys(&client, "ws-research", "Evaluation runs").await;
        let new = both.iter().find(|key| id(key) != id(&old)).unwrap();
        for field in ["type", "scopes", "expires_at", "rate_limits"] {
            assert_eq!(new[field], old[field], "{way} {field}");
        }
        assert_eq!(
            new["usage_limits"]["credit_limit"], old["usage_limits"]["credit_limit"],
            "{way}"
        );
        let again = call(&client, "rotate-key-safely", rotate("start")).await;
        assert_eq!(again["new"]["id"], new["id"], "{way}: {again}");
        assert!(again.get("key").is_none(), "{way}");
        assert_eq!(
            keys(&client, "ws-research", "Evaluation runs").await.len(),
            2,
            "{way}"
        );

        let cancelled = call(&client, "rotate-key-safely", rotate("cancel")).await;
        assert_eq!(cancelled["deleted"], new["id"], "{way}: {cancelled}");
        let left = keys(&client, "ws-research", "Evaluation runs").await;
        assert_eq!((left.len(), id(&left[0])), (1, id(&old)), "{way}");
        client.client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn key_in_use_ends_only_when_its_requests_have_moved() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let old = keys(&client, "ws-support-bot", "Support bot production")
        .await
        .remove(0);
    let rotate = |phase: &str| json!({ "id": id(&old), "phase": phase, "hours": 72 });
    let started = call(&client, "rotate-key-safely", rotate("start")).await;
    assert!(started["key"].is_string(), "{started}");

    let status = call(&client, "rotate-key-safely", rotate("status")).await;
    assert_eq!(status["state"], "not_moved", "{status}");
    assert!(
        status["requests"]["old_before_start"].as_u64().unwrap() > 0,
        "{status}"
    );
    for count in ["old_since_start", "new_since_start"] {
        assert!(status["requests"][count].is_u64(), "{status}");
    }
    let error = client
        .call("rotate-key-safely", rotate("finish"))
        .await
        .unwrap_err();
    assert!(
        error.contains("no request has come with the new key"),
        "{error}"
    );
    assert_eq!(
        keys(&client, "ws-support-bot", "Support bot production")
            .await
            .len(),
        2
    );

    let mut forced = rotate("finish");
    forced["force"] = true.into();
    forced["dry_run"] = true.into();
    let planned = call(&client, "rotate-key-safely", forced.clone()).await;
    assert_eq!(
        planned["would_call"][0]["operation"], "delete-api-key",
        "{planned}"
    );
    forced["dry_run"] = false.into();
    let finished = call(&client, "rotate-key-safely", forced).await;
    assert_eq!(finished["deleted"], old["id"], "{finished}");
    let left = keys(&client, "ws-support-bot", "Support bot production").await;
    assert_eq!((left.len(), &left[0]["id"]), (1, &started["new"]["id"]));
}

#[tokio::test]
async fn idle_key_ends_and_a_key_rotates_in_place() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let old = keys(&client, "ws-support-bot", "Support bot staging")
        .await
        .remove(0);
    let rotate = |phase: &str| json!({ "id": id(&old), "phase": phase });
    call(&client, "rotate-key-safely", rotate("start")).await;
    let finished = call(&client, "rotate-key-safely", rotate("finish")).await;
    assert_eq!(
        (&finished["state"], &finished["deleted"]),
        (&json!("idle"), &old["id"]),
        "{finished}"
    );
    let new = keys(&client, "ws-support-bot", "Support bot staging")
        .await
        .remove(0);
    let in_place =
        json!({ "id": id(&new), "phase": "start", "in_place": true, "transition_hours": 2 });
    let rotated = call(&client, "rotate-key-safely", in_place.clone()).await;
    assert!(rotated["key"].is_string(), "{rotated}");
    assert!(rotated["old_secret_works_until"].is_string(), "{rotated}");
    let error = client
        .call("rotate-key-safely", in_place)
        .await
        .unwrap_err();
    assert!(error.contains("being rotated already"), "{error}");
    let wrong = json!({ "id": id(&new), "transition_hours": 2 });
    assert!(client.call("rotate-key-safely", wrong).await.is_err());
}

/// An upstream with a key and its successor, and requests of both.
async fn start_upstream(old: u64, new: u64) -> MockUpstream {
    start_upstream_with_successor(Value::Null, Value::Null, move |target| {
        // Requests of the hours before the start end with it.
        let is_before = target.contains(&format!("time_of_generation_max={STARTED_DATE}"));
        let total = match (target.contains("api_key_ids=new"), is_before) {
            (true, _) => new,
            (false, true) => 5,
            (false, false) => old,
        };
        json!({ "summary": { "total": total }, "data_points": [{ "timestamp": STARTED, "total": total }] })
    })
    .await
}

const STARTED_DATE: &str = "2026-01-10T08";

#[tokio::test]
async fn state_says_where_the_requests_are() {
    struct Case {
        old: u64,
        new: u64,
        state: &'static str,
        /// Part of the error of `finish`; empty if the old key is deleted.
        finish: &'static str,
    }
    let cases = [
        Case {
            old: 0,
            new: 7,
            state: "moved",
            finish: "",
        },
        Case {
            old: 3,
            new: 7,
            state: "moving",
            finish: "the old key still has requests",
        },
        Case {
            old: 3,
            new: 0,
            state: "not_moved",
            finish: "no request has come with the new key",
        },
    ];
    for case in cases {
        let upstream = start_upstream(case.old, case.new).await;
        let server = ServerProcess::http()
            .upstream(&upstream.base_url)
            .api_key("pk-any-key-0123456789")
            .start();
        let session = connect_to(&server, &FormClient::new(true)).await;
        let rotate = |phase: &str| json!({ "id": "old", "phase": phase });
        let (is_done, text) = session
            .call_text("rotate-key-safely", rotate("status"))
            .await;
        assert!(is_done, "{text}");
        let status: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(status["state"], case.state, "{text}");
        assert_eq!(
            status["requests"],
            json!({ "hours": 24, "old_before_start": 5, "old_since_start": case.old,
                "new_since_start": case.new }),
            "{text}"
        );
        let deleted = || {
            let requests = upstream.requests().into_iter();
            let deletes = requests.filter(|request| request.method == "DELETE");
            let target =
                |request: ReceivedRequest| request.target.rsplit('/').next().unwrap().to_owned();
            deletes.map(target).collect::<Vec<_>>()
        };
        // The new key is in use, unless no request has come with it.
        let (is_done, text) = session
            .call_text("rotate-key-safely", rotate("cancel"))
            .await;
        match case.new {
            0 => assert!(is_done && deleted() == ["new"], "{text}"),
            _ => {
                assert!(
                    !is_done && text.contains("the new key has requests, which would fail"),
                    "{text}"
                );
                assert!(deleted().is_empty());
            }
        }
        let before = deleted().len();
        let (is_done, text) = session
            .call_text("rotate-key-safely", rotate("finish"))
            .await;
        match case.finish {
            "" => assert!(is_done && deleted()[before..] == ["old"], "{text}"),
            error => assert!(
                !is_done && text.contains(error) && deleted().len() == before,
                "{text}"
            ),
        }
    }
}

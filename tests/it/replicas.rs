//! Three replicas with one Redis, behind a balancer that sends each connection to the next one.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use portkey_mcp::security::signed_state::Keyring;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::support::{
    mcp_client::McpClient,
    programs::is_missing,
    redis::RedisServer,
    requests::{client, client_builder},
    server::ServerProcess,
};

struct Replicas {
    sandbox: ServerProcess,
    redis: RedisServer,
    served: Vec<ServerProcess>,
    /// URL of the balancer.
    url: String,
    _files: TempDir,
}

impl Replicas {
    /// Starts replicas with these options. Upstream responses take a while, so that calls overlap.
    async fn start(more: &[&str]) -> Self {
        let sandbox = ServerProcess::sandbox_api()
            .args(&["--sandbox-faults", "latency:10ms"])
            .start();
        let redis = RedisServer::start();
        let files = tempfile::tempdir().unwrap();
        let keys = files.path().join("keys");
        let url = files.path().join("redis");
        fs::write(&keys, Keyring::generate_line("k1").unwrap()).unwrap();
        fs::write(&url, redis.url()).unwrap();
        let replica = |_| {
            ServerProcess::http()
                .auth("key")
                .upstream(&sandbox.url)
                .args(&["--state-key-file", keys.to_str().unwrap()])
                .args(&["--redis-url-file", url.to_str().unwrap()])
                .args(more)
                .start()
        };
        let served: Vec<_> = (0..3).map(replica).collect();
        let backends = served.iter().map(|replica| host_of(&replica.url)).collect();
        let url = start_balancer(backends).await;
        Self {
            sandbox,
            redis,
            served,
            url,
            _files: files,
        }
    }
}

fn host_of(url: &str) -> String {
    url.trim_start_matches("http://")
        .trim_end_matches("/mcp")
        .to_owned()
}

/// Sends each connection to the next backend, and skips backends that accept none.
async fn start_balancer(backends: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for first in 0.. {
            let (mut client, _) = listener.accept().await.unwrap();
            let backends = backends.clone();
            tokio::spawn(async move {
                for at in 0..backends.len() {
                    let backend = &backends[(first + at) % backends.len()];
                    if let Ok(mut server) = TcpStream::connect(backend).await {
                        _ = copy_bidirectional(&mut client, &mut server).await;
                        return;
                    }
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn session_continues_at_another_replica() {
    if is_missing("redis-server") {
        return;
    }
    let replicas = Replicas::start(&[]).await;
    let mut alice = McpClient::new(&replicas.url, "pk-alice");
    assert_eq!(alice.initialize().await.status, StatusCode::OK);
    for _ in 0..6 {
        assert!(alice.lists_tools().await);
    }
    let args = json!({ "name": "list-all-integrations", "arguments": {} });
    for replica in &replicas.served {
        let here = alice.at(&replica.url);
        let answer = here.call("tools/call", args.clone()).await;
        assert!(
            answer.message["result"]["structuredContent"].is_object(),
            "{answer:?}"
        );
        // At no replica can another caller use it.
        let thief = here
            .taken_over_by("pk-bob")
            .call("tools/call", args.clone())
            .await;
        assert_eq!(thief.status, StatusCode::NOT_FOUND, "{thief:?}");
    }
    // Each replica has the session in memory, and each learns that it ended.
    assert_eq!(alice.end().await.status, StatusCode::NO_CONTENT);
    for replica in &replicas.served {
        let answer = alice
            .at(&replica.url)
            .call("tools/call", args.clone())
            .await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
    }
}

#[tokio::test]
async fn session_continues_at_its_replica_without_redis() {
    if is_missing("redis-server") {
        return;
    }
    // Limits would reject everything meanwhile.
    let unlimited = ["--rate-limit", "none", "--address-rate-limit", "none"];
    let mut replicas = Replicas::start(&unlimited).await;
    let [first, second, _] = &replicas.served[..] else {
        panic!("three replicas")
    };
    let mut before = McpClient::new(&first.url, "pk-alice");
    before.initialize().await;
    let report = read_readiness(first).await;
    assert_eq!(report["status"], "ready", "{report}");
    assert_eq!(report["components"]["redis"], json!({ "status": "ok" }));
    replicas.redis.kill();
    assert!(before.lists_tools().await);
    let elsewhere = before.at(&second.url).call("tools/list", json!({})).await;
    assert_eq!(elsewhere.status, StatusCode::NOT_FOUND);
    let mut meanwhile = McpClient::new(&first.url, "pk-alice");
    assert_eq!(meanwhile.initialize().await.status, StatusCode::OK);
    assert!(meanwhile.lists_tools().await);
    let report = read_readiness(first).await;
    assert_eq!(report["status"], "degraded", "{report}");
    let away = json!({ "status": "degraded", "reason": "unreachable" });
    assert_eq!(report["components"]["redis"], away);
    assert_eq!(before.end().await.status, StatusCode::NO_CONTENT);
    assert!(!before.lists_tools().await);
    // A Redis that returns without data ends no session.
    replicas.redis.restart();
    assert!(meanwhile.lists_tools().await);
}

/// Returns the response of a replica at `/readyz`, at the address of its MCP endpoint.
async fn read_readiness(replica: &ServerProcess) -> Value {
    let answer = client()
        .get(replica.url.replace("/mcp", "/readyz"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn rate_limit_is_shared_by_all_replicas() {
    if is_missing("redis-server") {
        return;
    }
    let replicas = Replicas::start(&["--rate-limit", "5/h"]).await;
    let status = async |url: &str, key| {
        let caller = McpClient::new(url, key);
        caller
            .modern("list-all-integrations", &json!({}))
            .await
            .unwrap()
            .status
            .as_u16()
    };
    let mut statuses = Vec::new();
    for _ in 0..7 {
        statuses.push(status(&replicas.url, "pk-alice").await);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429]);
    for replica in &replicas.served {
        assert_eq!(status(&replica.url, "pk-alice").await, 429);
        assert_eq!(status(&replica.url, "pk-bob").await, 200);
    }
}

/// Creates an integration, with one retry if the request fails. Returns the number of attempts.
async fn write_with_retry(caller: &McpClient, slug: &str) -> usize {
    let args = json!({ "name": slug, "slug": slug, "ai_provider_id": "openai", "key": "sk-1" });
    for tried in 1..=2 {
        let Ok(answer) = caller.modern("create-integration", &args).await else {
            continue;
        };
        let result = &answer.message["result"];
        let done = answer.status == StatusCode::OK && result["isError"] != true;
        // The first attempt may have taken effect all the same.
        let was_done = tried == 2 && result.to_string().contains("already");
        assert!(done || was_done, "{slug}: {answer:?}");
        return tried;
    }
    panic!("{slug} failed twice");
}

#[tokio::test]
async fn finished_writes_survive_a_killed_replica() {
    if is_missing("redis-server") {
        return;
    }
    let mut replicas = Replicas::start(&[]).await;
    let victim = Arc::new(Mutex::new(Some(replicas.served.remove(0))));
    let finished = Arc::new(AtomicUsize::new(0));
    let retried = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let caller = McpClient::new(&replicas.url, "pk-alice");
        let victim = victim.clone();
        let finished = finished.clone();
        let retried = retried.clone();
        clients.spawn(async move {
            for at in 0..12 {
                let tried = write_with_retry(&caller, &format!("write-{client}-{at}")).await;
                retried.fetch_add(tried - 1, Ordering::Relaxed);
                // During the test, with calls of the others in flight.
                if finished.fetch_add(1, Ordering::Relaxed) == 30 {
                    drop(victim.lock().unwrap().take());
                }
            }
        });
    }
    clients.join_all().await;
    assert!(victim.lock().unwrap().is_none(), "it was killed");
    // At most the calls in flight there had to be repeated.
    assert!(retried.load(Ordering::Relaxed) <= 8, "{retried:?}");
    let made = count_created(&replicas.sandbox).await;
    assert_eq!(made.len(), 8 * 12);
    assert!(made.values().all(|times| *times == 1), "{made:?}");
}

/// Counts how often each integration was created, by the sandbox's own audit log.
async fn count_created(sandbox: &ServerProcess) -> BTreeMap<String, usize> {
    let client = client_builder().no_proxy().build().unwrap();
    let mut made = BTreeMap::new();
    for page in 0.. {
        let url = format!(
            "{}/audit-logs?start_time=2000-01-01T00:00:00Z&end_time=2100-01-01T00:00:00Z\
             &method=POST&page_size=100&current_page={page}",
            sandbox.url
        );
        let answer = client
            .get(url)
            .header("x-portkey-api-key", "any")
            .send()
            .await
            .unwrap();
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let records = answer["records"]
            .as_array()
            .unwrap_or_else(|| panic!("{answer}"));
        if records.is_empty() {
            return made;
        }
        for record in records {
            let status = &record["response_status_code"];
            let body = &record["request_body"];
            let body = match body.as_str() {
                Some(text) => serde_json::from_str(text).unwrap(),
                None => body.clone(),
            };
            let Some(slug) = body["slug"]
                .as_str()
                .filter(|slug| slug.starts_with("write-"))
            else {
                continue;
            };
            if status.to_string().trim_matches('"').starts_with('2') {
                *made.entry(slug.to_owned()).or_default() += 1;
            }
        }
    }
    made
}

/// A Redis that lost its data does not make an approval response valid again, and the server
/// reports the loss.
#[tokio::test]
async fn approval_response_is_single_use_after_redis_data_loss() {
    if is_missing("redis-server") {
        return;
    }
    let mut replicas = Replicas::start(&["--approve-writes"]).await;
    let caller = McpClient::new(&replicas.served[0].url, "pk-alice");
    let args = json!({ "name": "A", "slug": "a", "ai_provider_id": "openai", "key": "sk-1" });
    let call = async |state: Option<&str>| {
        let mut params = json!({ "arguments": args });
        if let Some(state) = state {
            let response = json!({ "action": "accept", "content": { "approve": true } });
            params["requestState"] = json!(state);
            params["inputResponses"] = json!({ "approval": response });
        }
        let forms = json!({ "elicitation": {} });
        let answer = caller
            .modern_with("create-integration", params, forms)
            .await
            .unwrap();
        answer.message["result"].clone()
    };
    let asked = call(None).await;
    let state = asked["requestState"].as_str().unwrap().to_owned();
    let done = call(Some(&state)).await;
    assert_eq!(done["structuredContent"]["slug"], "a", "{done}");
    for restarts in [false, true] {
        if restarts {
            replicas.redis.kill();
            replicas.redis.restart();
        } else {
            replicas.redis.run(&["FLUSHALL"]);
        }
        let again = call(Some(&state)).await;
        assert!(
            again.to_string().contains("used already"),
            "{restarts}: {again}"
        );
        let report = read_readiness(&replicas.served[0]).await;
        let forgotten = json!({ "status": "degraded", "reason": "forgotten" });
        assert_eq!(report["components"]["redis"], forgotten, "{restarts}");
    }
    let (_, log) = replicas.served.remove(0).terminate();
    assert!(
        log.contains("Redis has forgotten what replicas share"),
        "{log}"
    );
}

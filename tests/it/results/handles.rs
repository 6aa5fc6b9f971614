//! Handles: readable by their caller only, until they expire, at every replica, within the size
//! limits.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use portkey_concurrency::worker_pool::{MAX_PER_CALLER, PoolBusy, WorkerPool};
use portkey_file_watch::WatchedValue;
use portkey_mcp::{
    auth::principal::Principal,
    mcp::results::{
        MAX_BYTES_PER_CALLER, PartRequest, RenderedResult, ResultContent, ResultError, ResultFlags,
        Results,
    },
    security::signed_state::Keyring,
};
use portkey_operation::JsonMap;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{STORABLE, handle_of, results_with_limit};
use crate::support::{
    programs::is_missing,
    redis::RedisServer,
    upstream::{MockUpstream, dispatcher, json_response, operator, principal_named},
};

fn large_value(bytes: usize) -> Value {
    json!({ "data": "x".repeat(bytes) })
}

async fn store_result(results: &Results, who: &str, bytes: usize) -> RenderedResult {
    results
        .render(&principal_named(who), large_value(bytes), STORABLE)
        .await
}

async fn read_total(
    results: &Results,
    who: &Principal,
    handle: &str,
) -> Result<Value, ResultError> {
    let request = PartRequest {
        pointer: "/data".to_owned(),
        limit: Some(1),
        ..PartRequest::default()
    };
    results
        .read(who, handle, &request)
        .await
        .map(|part| part.value["total"].clone())
}

#[tokio::test]
async fn handle_is_readable_only_by_its_caller() {
    let results = results_with_limit(2_000);
    let alice = principal_named("alice");
    let bob = principal_named("bob");
    let shown = store_result(&results, "alice", 5_000).await;
    let handle = handle_of(&shown);
    assert_eq!(
        read_total(&results, &alice, &handle).await,
        Ok(json!(5_000))
    );
    // A handle of another caller is reported like an unknown one.
    for (who, handle) in [
        (&bob, handle.as_str()),
        (&alice, ""),
        (&alice, "../x"),
        (&bob, "0f"),
    ] {
        assert_eq!(
            read_total(&results, who, handle).await,
            Err(ResultError::NoSuchHandle)
        );
    }
}

#[tokio::test]
async fn handle_expires() {
    let results = Results::new(Some(2_000), ResultContent::Both, Duration::from_millis(1));
    let handle = handle_of(&store_result(&results, "alice", 5_000).await);
    let start = Instant::now();
    while read_total(&results, &principal_named("alice"), &handle)
        .await
        .is_ok()
    {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "it never expires"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn stored_result_keeps_its_untrusted_flag() {
    let results = results_with_limit(2_000);
    let alice = principal_named("alice");
    for untrusted in [true, false] {
        let origin = ResultFlags {
            is_untrusted: untrusted,
            returns_secret: false,
        };
        let handle = handle_of(&results.render(&alice, large_value(5_000), origin).await);
        let part = results
            .read(&alice, &handle, &PartRequest::default())
            .await
            .unwrap();
        assert_eq!(part.is_untrusted, untrusted);
    }
}

/// More than one value of the store can contain, and more than a caller may store.
#[tokio::test]
async fn oldest_result_of_a_caller_is_evicted_first() {
    let results = results_with_limit(2_000);
    let alice = principal_named("alice");
    let size = MAX_BYTES_PER_CALLER * 2 / 5;
    let others = handle_of(&store_result(&results, "bob", 5_000).await);
    let mut handles = Vec::new();
    for _ in 0..3 {
        handles.push(handle_of(&store_result(&results, "alice", size).await));
    }
    let expected = [
        Err(ResultError::NoSuchHandle),
        Ok(json!(size)),
        Ok(json!(size)),
    ];
    for (handle, expected) in handles.iter().zip(expected) {
        assert_eq!(read_total(&results, &alice, handle).await, expected);
    }
    assert_eq!(
        read_total(&results, &principal_named("bob"), &others).await,
        Ok(json!(5_000))
    );
    let too_large = store_result(&results, "alice", MAX_BYTES_PER_CALLER).await;
    assert_eq!(too_large.structured["truncated"]["handle"], Value::Null);
}

#[tokio::test]
async fn handle_works_at_every_replica_while_redis_is_available() {
    if is_missing("redis-server") {
        return;
    }
    let mut server = RedisServer::start();
    let keys = random_keyring();
    let here = results_with_limit(2_000).with_shared_store(&server.store().await, &keys);
    let there = results_with_limit(2_000).with_shared_store(&server.store().await, &keys);
    // Split into several values.
    let handle = handle_of(&store_result(&here, "alice", 3 << 20).await);
    assert_eq!(
        read_total(&there, &principal_named("alice"), &handle).await,
        Ok(json!(3 << 20))
    );
    assert_eq!(
        read_total(&there, &principal_named("bob"), &handle).await,
        Err(ResultError::NoSuchHandle)
    );
    server.kill();
    let away = read_total(&there, &principal_named("alice"), &handle).await;
    assert!(matches!(away, Err(ResultError::Unavailable(_))), "{away:?}");
    let shown = store_result(&here, "alice", 5_000).await;
    let notice = &shown.structured["truncated"];
    assert_eq!(notice["handle"], Value::Null);
    assert!(
        notice["read"]
            .as_str()
            .unwrap()
            .contains("the store cannot be reached"),
        "{notice}"
    );
}

fn random_keyring() -> Arc<WatchedValue<Keyring>> {
    Arc::new(WatchedValue::fixed(Keyring::random().unwrap()))
}

/// A reader of Redis learns nothing of a result, and without its key a result does not exist.
#[tokio::test]
async fn stored_result_in_redis_is_encrypted() {
    if is_missing("redis-server") {
        return;
    }
    let server = RedisServer::start();
    let keys = random_keyring();
    let here = results_with_limit(2_000).with_shared_store(&server.store().await, &keys);
    let answer = json!({ "planted": "nobody-shall-read-this ".repeat(1_000) });
    let shown = here
        .render(&principal_named("alice"), answer, STORABLE)
        .await;
    let handle = handle_of(&shown);
    let dump = server.dump();
    assert!(dump.len() > 20_000, "{}", dump.len());
    let dump = String::from_utf8_lossy(&dump);
    assert!(
        !dump.contains("nobody-shall") && !dump.contains("planted"),
        "{dump}"
    );
    let part = PartRequest {
        pointer: "/planted".to_owned(),
        limit: Some(1),
        ..PartRequest::default()
    };
    assert!(
        here.read(&principal_named("alice"), &handle, &part)
            .await
            .is_ok()
    );
    let stranger =
        results_with_limit(2_000).with_shared_store(&server.store().await, &self::random_keyring());
    let read = stranger
        .read(&principal_named("alice"), &handle, &part)
        .await;
    assert_eq!(read.map(drop), Err(ResultError::NoSuchHandle));
}

/// Blocks the worker threads until the senders are dropped: those for callers, and those for
/// responses.
fn block_workers(workers: &WorkerPool) -> [mpsc::Sender<()>; 2] {
    let (started, begins) = mpsc::channel();
    let blocks = [true, false].map(|is_for_callers| {
        let (release, held) = mpsc::channel::<()>();
        let workers = workers.clone();
        let started = started.clone();
        let runtime = Handle::current();
        let wait = move || {
            started.send(()).unwrap();
            // Until the sender is dropped.
            _ = held.recv();
        };
        // In another thread, so that the test can wait for the start.
        thread::spawn(move || {
            runtime.block_on(async {
                match is_for_callers {
                    true => workers.run(&"somebody".into(), wait).await.unwrap(),
                    false => workers.run_finishing(wait).await,
                }
            });
        });
        release
    });
    for _ in &blocks {
        begins.recv().unwrap();
    }
    blocks
}

#[tokio::test]
async fn large_stored_result_is_read_on_a_worker() {
    let workers = WorkerPool::new(1);
    let results = results_with_limit(2_000).with_workers(workers.clone());
    let alice = principal_named("alice");
    let large = handle_of(&store_result(&results, "alice", 3 << 20).await);
    let small = handle_of(&store_result(&results, "alice", 5_000).await);
    let blocked = block_workers(&workers);
    let request = PartRequest {
        search: Some("xxx".to_owned()),
        ..PartRequest::default()
    };
    let mut reading = Box::pin(results.read(&alice, &large, &request));
    assert!(futures_util::poll!(&mut reading).is_pending());
    // This thread stays responsive, and small results need no worker.
    assert_eq!(read_total(&results, &alice, &small).await, Ok(json!(5_000)));
    assert!(futures_util::poll!(&mut reading).is_pending());
    drop(blocked);
    assert_eq!(reading.await.unwrap().value["total"], 1);
}

#[tokio::test]
async fn caller_with_too_many_reads_is_rejected_and_others_are_not() {
    let workers = WorkerPool::new(1);
    let results = results_with_limit(2_000).with_workers(workers.clone());
    let alice = principal_named("alice");
    let bob = principal_named("bob");
    let of_alice = handle_of(&store_result(&results, "alice", 1 << 20).await);
    let of_bob = handle_of(&store_result(&results, "bob", 1 << 20).await);
    let blocked = block_workers(&workers);
    let request = PartRequest::default();
    let mut reading: Vec<_> = (0..MAX_PER_CALLER)
        .map(|_| Box::pin(results.read(&alice, &of_alice, &request)))
        .collect();
    for one in &mut reading {
        assert!(futures_util::poll!(one).is_pending());
    }
    let refused = results.read(&alice, &of_alice, &request).await.unwrap_err();
    assert_eq!(refused, ResultError::Busy(PoolBusy::Caller));
    assert!(refused.to_string().contains("call again"), "{refused}");
    let mut other = Box::pin(results.read(&bob, &of_bob, &request));
    assert!(futures_util::poll!(&mut other).is_pending());
    drop(blocked);
    for one in reading {
        one.await.unwrap();
    }
    other.await.unwrap();
}

#[tokio::test]
async fn large_result_is_truncated_on_a_worker() {
    let workers = WorkerPool::new(1);
    let results = results_with_limit(2_000).with_workers(workers.clone());
    let alice = principal_named("alice");
    let blocked = block_workers(&workers);
    let mut bounding = Box::pin(results.render(&alice, large_value(1 << 20), STORABLE));
    assert!(futures_util::poll!(&mut bounding).is_pending());
    let small = results.render(&alice, large_value(5_000), STORABLE).await;
    assert!(small.structured["truncated"]["handle"].is_string());
    drop(blocked);
    let shown = bounding.await;
    assert_eq!(shown.structured["truncated"]["bytes"], (1 << 20) + 11);
    assert_eq!(
        read_total(&results, &alice, &handle_of(&shown)).await,
        Ok(json!(1 << 20))
    );
}

#[tokio::test]
async fn large_upstream_response_is_parsed_on_a_worker() {
    let body = json!({ "data": [{ "slug": "pc-one", "name": "x".repeat(1 << 20) }] }).to_string();
    let upstream = MockUpstream::start(move |_| json_response(&body)).await;
    let workers = WorkerPool::new(1);
    let dispatcher = dispatcher(&upstream).with_workers(workers.clone());
    let blocked = block_workers(&workers);
    let operator = operator();
    let mut calling = Box::pin(dispatcher.call_as_local(&operator, "list-configs", JsonMap::new()));
    while upstream.count() == 0 {
        assert!(futures_util::poll!(&mut calling).is_pending());
        tokio::task::yield_now().await;
    }
    // The response arrives long before as many turns.
    for _ in 0..10_000 {
        assert!(futures_util::poll!(&mut calling).is_pending());
        tokio::task::yield_now().await;
    }
    drop(blocked);
    assert_eq!(calling.await.unwrap()["data"][0]["slug"], "pc-one");
}

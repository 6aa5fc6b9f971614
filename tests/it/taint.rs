//! Taint: a session that read untrusted content is marked, at every replica.

use portkey_mcp::{
    observability::request::RequestInfo,
    pipeline::{CallRecord, Dispatcher, ToolCall, taint::Taint},
};
use portkey_store::Store;
use serde_json::json;

use crate::support::{
    programs::is_missing,
    redis::RedisServer,
    store::{StorePair, store_pairs},
    upstream::{MockUpstream, dispatcher, http_response, json_response, operator, principal_named},
};

fn request_in_session(session: Option<&str>) -> RequestInfo {
    RequestInfo {
        session: session.map(Into::into),
        ..RequestInfo::local()
    }
}

#[tokio::test]
async fn taint_of_a_session_is_shared_by_all_replicas() {
    let alice = principal_named("alice");
    let bob = principal_named("bob");
    for read_in in [Some("one"), None] {
        for StorePair {
            kind, one, other, ..
        } in store_pairs().await
        {
            let here = Taint::new(one);
            let there = Taint::new(other);
            assert!(
                !here.is_tainted(&alice, &request_in_session(read_in)).await,
                "{kind}"
            );
            here.mark(&alice, &request_in_session(read_in)).await;
            let asked = [Some("one"), Some("two"), None];
            for taint in [&here, &there] {
                for session in asked {
                    let tainted = taint.is_tainted(&alice, &request_in_session(session)).await;
                    assert_eq!(tainted, session == read_in, "{kind}: {session:?}");
                    assert!(
                        !taint.is_tainted(&bob, &request_in_session(session)).await,
                        "{kind}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn session_counts_as_tainted_while_redis_is_unavailable() {
    if is_missing("redis-server") {
        return;
    }
    let mut server = RedisServer::start();
    let taint = Taint::new(server.store().await);
    let alice = principal_named("alice");
    let read = request_in_session(Some("read"));
    let other = request_in_session(Some("other"));
    assert!(!taint.is_tainted(&alice, &other).await);
    let epoch = server.run(&["GET", "portkey-mcp:epoch"]);
    server.kill();
    taint.mark(&alice, &read).await;
    assert!(taint.is_tainted(&alice, &other).await);
    // Nothing was lost meanwhile: the epoch record is restored.
    server.restart();
    server.run(&["SET", "portkey-mcp:epoch", &epoch]);
    let start = std::time::Instant::now();
    while taint.is_tainted(&alice, &other).await {
        assert!(start.elapsed().as_secs() < 20, "never well again");
        tokio::task::yield_now().await;
    }
    // The replica remembers its own marks from meanwhile.
    assert!(taint.is_tainted(&alice, &read).await);
}

/// The store no longer knows the tainted sessions, so every session may be one.
#[tokio::test]
async fn every_session_is_tainted_after_redis_data_loss() {
    if is_missing("redis-server") {
        return;
    }
    let server = RedisServer::start();
    let store = server.store().await;
    let taint = Taint::new(store.clone());
    let alice = principal_named("alice");
    let other = request_in_session(Some("other"));
    assert!(!taint.is_tainted(&alice, &other).await);
    assert_eq!(server.run(&["FLUSHALL"]), "OK");
    // The loss is noticed within seconds, or when a stamp is issued.
    store.stamp().await.unwrap();
    assert!(taint.is_tainted(&alice, &other).await);
}

async fn call_and_ignore(
    dispatcher: &Dispatcher,
    request_info: &RequestInfo,
    name: &str,
    args: serde_json::Value,
) {
    let principal = &operator();
    let args = args.as_object().unwrap().clone();
    let call = ToolCall {
        principal,
        request_info,
        name,
        args,
        approval_response: None,
    };
    _ = dispatcher.call(call, &mut CallRecord::default()).await;
}

#[tokio::test]
async fn reading_prompts_and_logs_taints_the_session() {
    struct Case {
        tool: &'static str,
        args: serde_json::Value,
        is_found: bool,
        is_tainted: bool,
    }

    let table = [
        Case {
            tool: "get-prompt",
            args: json!({ "prompt_id": "p" }),
            is_found: true,
            is_tainted: true,
        },
        Case {
            tool: "get_log",
            args: json!({ "log_id": "l" }),
            is_found: true,
            is_tainted: true,
        },
        Case {
            tool: "get-integration",
            args: json!({ "slug": "s" }),
            is_found: true,
            is_tainted: false,
        },
        // Nothing was read.
        Case {
            tool: "get-prompt",
            args: json!({ "prompt_id": "p" }),
            is_found: false,
            is_tainted: false,
        },
        Case {
            tool: "get-prompt",
            args: json!({}),
            is_found: true,
            is_tainted: false,
        },
    ];
    for Case {
        tool,
        args,
        is_found,
        is_tainted,
    } in table
    {
        let upstream = MockUpstream::start(move |_| match is_found {
            true => json_response("{}"),
            false => http_response("404 Not Found", "", "{}"),
        })
        .await;
        let dispatcher = dispatcher(&upstream).with_store(Store::in_memory());
        let request_info = request_in_session(Some("one"));
        call_and_ignore(&dispatcher, &request_info, tool, args).await;
        let tainted = dispatcher
            .taint()
            .is_tainted(&operator(), &request_info)
            .await;
        assert_eq!(tainted, is_tainted, "{tool}, {is_found}");
    }
}

//! Callers with a key that the upstream may not know: nothing is stored, and no approval requested,
//! for them.

use std::{fs, net::IpAddr, sync::Arc, time::Duration};

use portkey_mcp::{auth::Auth, mcp::server::Server};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::{
    in_process::{InProcessServer, wait_for_listeners},
    mcp_client::McpClient,
    process::run_cli,
    requests::{call_request, client_builder, send_request, stateless_request},
    server::ServerProcess,
    upstream::{
        MockUpstream, ReceivedRequest, ResponseAction, http_response as answered, json_response,
    },
};

const KNOWN_KEY: &str = "pk-real";
const DELETE_TOOL: &str = "delete-integration";

/// Starts an upstream that knows one key, and fails for keys with the prefix `pk-silent`.
async fn start_upstream() -> MockUpstream {
    MockUpstream::start_by(|request, _| answer_by_key(request)).await
}

fn answer_by_key(request: &ReceivedRequest) -> ResponseAction {
    let json = "content-type: application/json\r\n";
    match request.header("x-portkey-api-key") {
        Some(KNOWN_KEY) => json_response(r#"{"data":[],"total":0}"#),
        Some(key) if key.starts_with("pk-silent") => answered("500 Internal Server Error", "", ""),
        Some("pk-narrow") if request.target.starts_with("/v1/configs") => answered(
            "403 Forbidden",
            json,
            r#"{"success":false,"data":{"errorCode":"AB03"}}"#,
        ),
        Some("pk-narrow") => json_response("{}"),
        _ => answered(
            "401 Unauthorized",
            json,
            r#"{"success":false,"data":{"errorCode":"AB05"}}"#,
        ),
    }
}

fn start_server(upstream: &MockUpstream, more: &[&str]) -> ServerProcess {
    ServerProcess::http()
        .auth("key")
        .args(&["--retries", "0"])
        .upstream(&upstream.base_url)
        .args(more)
        .start()
}

/// Counts the requests that checked a key.
fn count_key_checks(upstream: &MockUpstream) -> usize {
    let targets = upstream.requests().into_iter().map(|seen| seen.target);
    targets
        .filter(|target| target == "/v1/configs?current_page=0&page_size=1")
        .count()
}

async fn call_with_key(request: RequestBuilder, key: &str) -> (bool, String) {
    let (_, body) = send_request(request.header("x-portkey-api-key", key)).await;
    let text = body["result"]["content"][0]["text"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (body["result"]["isError"] == json!(false), text)
}

const KEY_REJECTED: &str = "Portkey does not accept the key of this request";
const KEY_UNVERIFIED: &str = "Portkey does not say at the moment";

#[tokio::test]
async fn unknown_key_gets_no_approval_ticket() {
    let upstream = start_upstream().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin.json");
    let file = file.to_str().unwrap();
    let admin = [
        "--approve-deletes",
        "--admin-listen",
        "127.0.0.1:0",
        "--admin-file",
        file,
    ];
    let server = start_server(&upstream, &admin);
    let delete = || call_request(&server, DELETE_TOOL, json!({ "slug": "a" }));
    for (key, message) in [
        ("pk-made-up", KEY_REJECTED),
        ("pk-made-up", KEY_REJECTED),
        ("pk-silent", KEY_UNVERIFIED),
    ] {
        let (_, text) = call_with_key(delete(), key).await;
        assert!(text.contains(message), "{key}: {text}");
    }
    assert_eq!(count_key_checks(&upstream), 2, "a refusal is remembered");
    let tickets = || run_cli(&["approvals", "--admin-file", file, "list"]).1;
    assert!(!tickets().contains(DELETE_TOOL), "{}", tickets());
    for key in [KNOWN_KEY, "pk-narrow"] {
        let (_, text) = call_with_key(delete(), key).await;
        assert!(text.contains("waits for the approval"), "{key}: {text}");
    }
    assert!(tickets().contains(DELETE_TOOL), "{}", tickets());
    assert!(
        upstream.requests().iter().all(|seen| seen.method == "GET"),
        "nothing was deleted"
    );
}

#[tokio::test]
async fn successful_call_verifies_its_key_without_another_request() {
    let upstream = start_upstream().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin.json");
    let admin = [
        "--admin-listen",
        "127.0.0.1:0",
        "--admin-file",
        file.to_str().unwrap(),
    ];
    let server = start_server(&upstream, &[&["--approve-deletes"], &admin[..]].concat());
    let list = || call_request(&server, "list-all-integrations", json!({}));
    assert!(call_with_key(list(), KNOWN_KEY).await.0 && call_with_key(list(), KNOWN_KEY).await.0);
    assert!(!call_with_key(list(), "pk-made-up").await.0);
    assert_eq!((upstream.count(), count_key_checks(&upstream)), (3, 0));
    let (_, text) = call_with_key(
        call_request(&server, DELETE_TOOL, json!({ "slug": "a" })),
        KNOWN_KEY,
    )
    .await;
    assert!(text.contains("waits for the approval"), "{text}");
    assert_eq!(
        count_key_checks(&upstream),
        0,
        "it was proven by the calls before"
    );
}

/// A key is verified by the response of an endpoint that checks it. Other results are shown and not
/// stored.
#[tokio::test]
async fn public_result_is_not_stored_for_an_unknown_key() {
    let upstream = MockUpstream::start_by(|request, _| {
        let prices: Value = (0..1_000)
            .map(|i| (format!("model-{i}"), json!({ "price": i })))
            .collect();
        if request.target.ends_with(".json") {
            json_response(&prices.to_string())
        } else {
            answer_by_key(request)
        }
    });
    let upstream = upstream.await;
    // In this process, because the binary reads public lists at their real address.
    let dispatcher = Arc::new(crate::support::upstream::dispatcher(&upstream));
    let server = Server::new(dispatcher.clone(), None);
    let url = InProcessServer::new(server)
        .with_auth(Auth::Key(dispatcher))
        .serve()
        .await;
    let answer = async |key, tool, args| {
        let answer = McpClient::new(&url, key).modern(tool, &args).await.unwrap();
        answer.message["result"]["structuredContent"].clone()
    };
    let list = "list-provider-pricing";
    let provider = json!({ "provider": "a" });
    for (key, is_kept) in [("pk-made-up", false), (KNOWN_KEY, true)] {
        let shown = answer(key, list, provider.clone()).await;
        let notice = &shown["truncated"];
        assert_eq!(notice["handle"].is_string(), is_kept, "{key}: {notice}");
    }
    assert_eq!(count_key_checks(&upstream), 2);
    let model = json!({ "provider": "a", "model": "b" });
    answer("pk-other", "get-model-pricing", model).await;
    assert_eq!(count_key_checks(&upstream), 2, "a small answer is not kept");
}

#[tokio::test]
async fn unknown_key_does_not_count_against_limits() {
    let upstream = start_upstream().await;
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    let limits = "limits: [{ max: 2, window: day, scope: global }]";
    let rule =
        format!("{{ name: two, action: allow, match: {{ tools: [list-labels] }}, {limits} }}");
    let text = format!("version: \"1\"\nrules:\n  - {rule}\n");
    fs::write(&policy, text).unwrap();
    let server = start_server(&upstream, &["--policy", policy.to_str().unwrap()]);
    let list = || call_request(&server, "list-labels", json!({}));
    for _ in 0..5 {
        let (_, text) = call_with_key(list(), "pk-made-up").await;
        assert!(text.contains(KEY_REJECTED), "{text}");
    }
    assert_eq!((upstream.count(), count_key_checks(&upstream)), (1, 1));
    let outcomes = [
        call_with_key(list(), KNOWN_KEY).await,
        call_with_key(list(), KNOWN_KEY).await,
    ];
    assert!(outcomes.iter().all(|(done, _)| *done), "{outcomes:?}");
    let (done, text) = call_with_key(list(), KNOWN_KEY).await;
    assert!(!done && text.contains("2"), "{text}");
    assert_eq!(count_key_checks(&upstream), 2);
}

fn listen_request(server: &ServerProcess, key: &str) -> RequestBuilder {
    let filter = json!({ "notifications": { "toolsListChanged": true } });
    stateless_request(server, "subscriptions/listen", filter).header("x-portkey-api-key", key)
}

async fn read_error(response: reqwest::Response) -> (StatusCode, String) {
    let status = response.status();
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    (
        status,
        body["error"]["message"].as_str().unwrap().to_owned(),
    )
}

#[tokio::test]
async fn stream_requires_a_verified_key() {
    struct Case {
        key: &'static str,
        expected: StatusCode,
        message: &'static str,
    }

    let upstream = start_upstream().await;
    let server = start_server(&upstream, &[]);
    let cases = [
        Case {
            key: "pk-made-up",
            expected: StatusCode::UNAUTHORIZED,
            message: KEY_REJECTED,
        },
        Case {
            key: "pk-silent",
            expected: StatusCode::SERVICE_UNAVAILABLE,
            message: KEY_UNVERIFIED,
        },
    ];
    for Case {
        key,
        expected,
        message,
    } in cases
    {
        let (status, text) = read_error(listen_request(&server, key).send().await.unwrap()).await;
        assert!(
            status == expected && text.contains(message),
            "{key}: {status} {text}"
        );
        let mut caller = McpClient::new(&server.url, key);
        assert_eq!(caller.initialize().await.status, StatusCode::OK);
        let stream = caller.request(reqwest::Method::GET).send().await.unwrap();
        let (status, text) = read_error(stream).await;
        assert!(
            status == expected && text.contains(message),
            "{key}: {status} {text}"
        );
        assert!(
            caller.lists_tools().await,
            "the session goes on without a stream"
        );
    }
    assert_eq!(
        listen_request(&server, KNOWN_KEY)
            .send()
            .await
            .unwrap()
            .status(),
        StatusCode::OK
    );
    let mut caller = McpClient::new(&server.url, KNOWN_KEY);
    caller.initialize().await;
    let stream = caller.request(reqwest::Method::GET).send().await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    // One check per silent key, which is cached only briefly, and one per other key.
    assert!(
        (3..=4).contains(&count_key_checks(&upstream)),
        "{}",
        count_key_checks(&upstream)
    );
}

/// Sessions of unknown keys displace each other, and none of verified callers.
#[tokio::test]
async fn sessions_of_unknown_keys_do_not_displace_verified_callers() {
    let upstream = start_upstream().await;
    let server = start_server(&upstream, &["--max-sessions", "3"]);
    let real = McpClient::new(&server.url, KNOWN_KEY);
    assert!(
        real.modern("list-all-integrations", &json!({}))
            .await
            .unwrap()
            .status
            .is_success()
    );
    let mut made_up = Vec::new();
    for _ in 0..40 {
        let mut caller = McpClient::new(&server.url, "pk-made-up");
        assert_eq!(caller.initialize().await.status, StatusCode::OK);
        made_up.push(caller);
    }
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut caller = real.clone();
        assert_eq!(caller.initialize().await.status, StatusCode::OK);
        let stream = caller.request(reqwest::Method::GET).send().await.unwrap();
        assert_eq!(stream.status(), StatusCode::OK);
        streams.push((caller, stream));
    }
    let full = real.clone().initialize().await;
    assert_eq!(
        full.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "three are in use"
    );
    // An evicted session continues in place of another one.
    assert!(made_up[0].lists_tools().await && made_up[39].lists_tools().await);
    for (caller, _) in &streams {
        assert!(caller.lists_tools().await);
    }
}

/// A minute passes on a paused clock.
#[tokio::test]
async fn session_of_an_unverified_key_ends_after_a_minute() {
    let upstream = start_upstream().await;
    let dispatcher = Arc::new(crate::support::upstream::dispatcher(&upstream));
    let server = Server::new(dispatcher.clone(), None);
    let url = InProcessServer::new(server.clone())
        .with_auth(Auth::Key(dispatcher))
        .serve()
        .await;
    for (key, sessions) in [("pk-made-up", 1), (KNOWN_KEY, 2)] {
        assert_eq!(
            McpClient::new(&url, key).initialize().await.status,
            StatusCode::OK
        );
        wait_for_listeners(server.notifier(), sessions).await;
    }
    let real = McpClient::new(&url, KNOWN_KEY);
    assert!(
        real.modern("list-all-integrations", &json!({}))
            .await
            .unwrap()
            .status
            .is_success()
    );
    tokio::time::pause();
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(21)).await;
        tokio::task::yield_now().await;
    }
    wait_for_listeners(server.notifier(), 1).await;
}

/// Sessions from two networks; one network alone may have 25.
#[tokio::test]
async fn many_sessions_of_unverified_keys_end_sooner() {
    let upstream = start_upstream().await;
    let dispatcher = Arc::new(crate::support::upstream::dispatcher(&upstream));
    let server = Server::new(dispatcher.clone(), None);
    let url = InProcessServer::new(server.clone())
        .with_auth(Auth::Key(dispatcher))
        .serve()
        .await;
    for address in [[127, 0, 0, 2], [127, 0, 0, 3]] {
        let client = client_builder()
            .local_address(IpAddr::from(address))
            .pool_max_idle_per_host(0);
        let client = client.no_proxy().build().unwrap();
        for _ in 0..20 {
            let response = McpClient::by(client.clone(), &url, "pk-made-up")
                .initialize()
                .await;
            assert_eq!(response.status, StatusCode::OK);
        }
    }
    wait_for_listeners(server.notifier(), 40).await;
    tokio::time::pause();
    for _ in 0..2 {
        tokio::time::advance(Duration::from_secs(11)).await;
        tokio::task::yield_now().await;
    }
    // The last of them, too, although they are few then: they have idled among the others.
    wait_for_listeners(server.notifier(), 0).await;
}

/// The number of checks for a network with failing keys is bounded.
#[tokio::test]
async fn key_checks_per_network_are_bounded() {
    let upstream = start_upstream().await;
    let server = start_server(&upstream, &[]);
    let requests = (0..200).map(|i| listen_request(&server, &format!("pk-made-up-{i}")).send());
    let answers = futures_util::future::try_join_all(requests).await.unwrap();
    let count = |status| {
        answers
            .iter()
            .filter(|answer| answer.status() == status)
            .count()
    };
    let refused = count(StatusCode::UNAUTHORIZED);
    let not_asked = count(StatusCode::TOO_MANY_REQUESTS);
    // One more check per second.
    assert!(
        refused >= 60 && not_asked > 0 && refused + not_asked == 200,
        "{refused}, {not_asked}"
    );
    assert_eq!(count_key_checks(&upstream), refused);
    // A call is made as usual, and verifies its key.
    let list = call_request(&server, "list-all-integrations", json!({}));
    assert!(call_with_key(list, KNOWN_KEY).await.0);
    assert_eq!(
        listen_request(&server, KNOWN_KEY)
            .send()
            .await
            .unwrap()
            .status(),
        StatusCode::OK
    );
}

/// Each holds its body until the upstream responds. With a limit per key, invented keys could hold
/// any number.
#[tokio::test]
async fn large_requests_of_unverified_keys_are_bounded_per_network() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let upstream = MockUpstream::start_by(move |request, _| match request.method.as_str() {
        "POST" => ResponseAction::Later(held.clone(), "{}"),
        _ => answer_by_key(request),
    });
    let upstream = upstream.await;
    let server = start_server(&upstream, &[]);
    let note = "x".repeat(3_900 << 10);
    let create = |key: &str| {
        let args = json!({ "name": "n", "config": { "note": note } });
        call_request(&server, "create-config", args).header("x-portkey-api-key", key)
    };
    let mut under_way = Vec::new();
    // 32 MiB suffice for eight of them.
    for count in 1..=8 {
        under_way.push(tokio::spawn(create(&format!("pk-made-up-{count}")).send()));
        upstream.wait_for_requests(count).await;
    }
    let refused = tokio::select! {
        answer = create("pk-made-up-9").send() => answer.unwrap(),
        () = upstream.wait_for_requests(9) => panic!("a ninth body is held"),
    };
    let (status, text) = read_error(refused).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{text}");
    assert!(text.contains("too many large requests at once"), "{text}");
    let list = call_request(&server, "list-all-integrations", json!({}));
    assert!(
        call_with_key(list, KNOWN_KEY).await.0,
        "a small request is no large one, and proves its key"
    );
    under_way.push(tokio::spawn(create(KNOWN_KEY).send()));
    upstream.wait_for_requests(10).await;
    gate.add_permits(100);
    for request in under_way {
        assert_eq!(request.await.unwrap().unwrap().status(), StatusCode::OK);
    }
}

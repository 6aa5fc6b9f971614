//! Lists that are collected page by page, with clients on both transports and both protocols:
//! progress, result, and cancellation.

use futures_util::future::join_all;
use rmcp::{
    ClientHandler, ClientLifecycleMode, RoleClient,
    model::{
        CallToolRequest, CallToolRequestParams, ClientRequest, ProgressNotificationParam,
        ProtocolVersion, ServerResult,
    },
    service::{
        ClientServiceExt, NotificationContext, PeerRequestOptions, RequestHandle, RunningService,
    },
    transport::{
        StreamableHttpClientTransport, TokioChildProcess,
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::{
    form_client::TRANSPORTS_AND_GENERATIONS,
    process::command,
    requests,
    server::ServerProcess,
    upstream::{MockUpstream, ResponseAction, http_response, json_response},
};

/// Progress of a call: items so far, and the total.
type Progress = (f64, Option<f64>);

/// A client that records progress notifications.
struct ProgressClient(mpsc::UnboundedSender<Progress>);

impl ClientHandler for ProgressClient {
    async fn on_progress(
        &self,
        note: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.0.send((note.progress, note.total)).unwrap();
    }
}

fn page_json(number: usize) -> String {
    json!({ "total": 6, "data": [{ "id": 2 * number }, { "id": 2 * number + 1 }] }).to_string()
}

/// A call in flight that collects pages, with an upstream that responds to the third page with
/// `third`.
struct PagedCall {
    upstream: MockUpstream,
    client: RunningService<RoleClient, ProgressClient>,
    sent: RequestHandle<RoleClient>,
    progress: mpsc::UnboundedReceiver<Progress>,
    _server: Option<ServerProcess>,
}

async fn start_paged_call(
    (http, modern): (bool, bool),
    third: fn() -> ResponseAction,
) -> PagedCall {
    let upstream = MockUpstream::start(move |i| {
        if i == 2 {
            third()
        } else {
            json_response(&page_json(i))
        }
    })
    .await;
    let portkey = ["--api-key", "k", "--base-url", &upstream.base_url];
    let (notifications, progress) = mpsc::unbounded_channel();
    let lifecycle = match modern {
        false => ClientLifecycleMode::Initialize,
        true => ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        },
    };
    let (client, _server) = if http {
        let server = ServerProcess::http().args(&portkey).start();
        let config = StreamableHttpClientTransportConfig::with_uri(server.url.clone());
        let transport = StreamableHttpClientTransport::with_client(requests::client(), config);
        let client = ProgressClient(notifications)
            .serve_with_lifecycle(transport, lifecycle)
            .await
            .unwrap();
        (client, Some(server))
    } else {
        let process = TokioChildProcess::new(tokio::process::Command::from(command(&portkey)));
        let client = ProgressClient(notifications)
            .serve_with_lifecycle(process.unwrap(), lifecycle)
            .await
            .unwrap();
        (client, None)
    };
    let args = json!({ "page_size": 2, "all": true })
        .as_object()
        .unwrap()
        .clone();
    let call = CallToolRequestParams::new("list-all-integrations").with_arguments(args);
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(call));
    // The client requests progress by itself.
    let options = PeerRequestOptions::no_options();
    let sent = client
        .send_cancellable_request(request, options)
        .await
        .unwrap();
    PagedCall {
        upstream,
        client,
        sent,
        progress,
        _server,
    }
}

/// Runs a call to its end; returns the result, the upstream and the progress.
async fn run_paged_call(
    way: (bool, bool),
    third: fn() -> ResponseAction,
) -> (Value, MockUpstream, Vec<Progress>) {
    let PagedCall {
        upstream,
        client,
        sent,
        mut progress,
        _server,
    } = start_paged_call(way, third).await;
    let ServerResult::CallToolResult(result) = sent.await_response().await.unwrap() else {
        panic!("no result");
    };
    client.cancel().await.unwrap();
    let mut notifications = Vec::new();
    while let Some(note) = progress.recv().await {
        notifications.push(note);
    }
    (result.structured_content.unwrap(), upstream, notifications)
}

#[tokio::test]
async fn each_page_is_requested_and_progress_reported() {
    for way in TRANSPORTS_AND_GENERATIONS {
        let (list, upstream, progress) = run_paged_call(way, || json_response(&page_json(2))).await;
        assert_eq!(
            (&list["returned"], &list["next"]),
            (&json!(6), &Value::Null),
            "{way:?}"
        );
        let targets: Vec<_> = upstream
            .requests()
            .into_iter()
            .map(|seen| seen.target)
            .collect();
        assert_eq!(targets.len(), 3, "{way:?}");
        assert!(
            targets[2].contains("current_page=2"),
            "{way:?}: {targets:?}"
        );
        assert_eq!(progress, [(2.0, Some(6.0)), (4.0, Some(6.0))], "{way:?}");
    }
}

/// The collected pages are returned although one failed.
#[tokio::test]
async fn failed_page_ends_the_list() {
    let refused = || http_response("403 Forbidden", "content-type: application/json\r\n", "{}");
    let (list, ..) = run_paged_call(TRANSPORTS_AND_GENERATIONS[0], refused).await;
    assert_eq!(list["returned"], 4);
    assert_eq!(
        list["next"],
        json!({ "page_size": 2, "current_page": 2, "all": true })
    );
    assert!(list["stopped"].as_str().unwrap().contains("403"), "{list}");
}

/// The upstream withholds the third page. The client has progress of the first two, then cancels.
#[tokio::test]
async fn cancelled_call_requests_no_more_pages() {
    for way in TRANSPORTS_AND_GENERATIONS {
        let PagedCall {
            upstream,
            client,
            sent,
            mut progress,
            _server,
        } = start_paged_call(way, || ResponseAction::Hang).await;
        upstream.wait_for_requests(3).await;
        for expected in [2.0, 4.0] {
            assert_eq!(
                progress.recv().await,
                Some((expected, Some(6.0))),
                "{way:?}"
            );
        }
        sent.cancel(None).await.unwrap();
        upstream.disconnects.acquire().await.unwrap().forget();
        // The server serves the next call, and that page was the last one requested.
        let args = json!({ "page_size": 1 }).as_object().unwrap().clone();
        let next = CallToolRequestParams::new("list-all-integrations").with_arguments(args);
        assert_eq!(
            client.call_tool(next).await.unwrap().is_error,
            Some(false),
            "{way:?}"
        );
        let targets: Vec<_> = upstream
            .requests()
            .into_iter()
            .map(|seen| seen.target)
            .collect();
        assert_eq!(targets.len(), 4, "{way:?}: {targets:?}");
        assert!(targets[3].contains("page_size=1"), "{way:?}: {targets:?}");
        client.cancel().await.unwrap();
    }
}

/// A client of either protocol that disconnects without a message ends its page requests.
#[tokio::test]
async fn disconnected_client_ends_its_page_requests() {
    let disconnect = async |way| {
        let PagedCall {
            upstream,
            client,
            sent,
            _server,
            ..
        } = start_paged_call(way, || ResponseAction::Hang).await;
        upstream.wait_for_requests(3).await;
        drop(sent);
        client.cancel().await.unwrap();
        upstream.disconnects.acquire().await.unwrap().forget();
        assert_eq!(upstream.count(), 3, "{way:?}");
    };
    // Side by side, because a process goes on with its calls for seconds.
    let ways = [(false, false), (false, true), (true, true)];
    join_all(ways.map(disconnect)).await;
}

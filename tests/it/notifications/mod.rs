//! Change notifications: notified and ignored clients, in both generations and on both transports.

mod lists;
mod notifying_server;

use std::sync::Arc;

use portkey_api::catalog::Catalog;
use portkey_mcp::{
    mcp::{
        notifications::{ChangeNotifier, MAX_WATCHED_RESOURCES, SessionSubscription},
        server::Server,
    },
    pipeline::Dispatcher,
    transport::{http::DirectCallHandler, stdio::LineTransport},
    upstream::UpstreamClient,
};
use rmcp::{
    ClientHandler, ClientLifecycleMode, Peer, RoleClient, ServiceExt,
    model::{
        ProtocolVersion, ResourceUpdatedNotificationParam, ServerNotification,
        SubscribeRequestParams, SubscriptionFilter, UnsubscribeRequestParams,
    },
    service::{
        ClientServiceExt, NotificationContext, RunningService, Subscription, SubscriptionEnd,
    },
    transport::{
        StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::json;
use tokio::sync::mpsc;

use self::notifying_server::NotifyingServer;
use crate::support::{
    in_process::{InProcessServer, wait_for_listeners},
    server::{ServerProcess, StdioServer},
    upstream::settings,
};

const RESOURCE_URI: &str = "test://resource";

/// A client that records the notifications outside its subscription streams.
#[derive(Clone, Debug)]
struct NotificationRecorder(mpsc::UnboundedSender<String>);

impl ClientHandler for NotificationRecorder {
    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.send("tools".to_owned()).unwrap();
    }

    async fn on_prompt_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.send("prompts".to_owned()).unwrap();
    }

    async fn on_resource_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.send("resources".to_owned()).unwrap();
    }

    async fn on_resource_updated(
        &self,
        update: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.0.send(update.uri).unwrap();
    }
}

#[derive(Clone, Copy, Debug)]
enum TransportKind {
    Http,
    Stdio,
}

#[derive(Clone, Copy, Debug)]
enum Generation {
    Sessions,
    Stateless,
}

struct ConnectedClient {
    client: RunningService<RoleClient, NotificationRecorder>,
    notifications: mpsc::UnboundedReceiver<String>,
}

async fn connect<H: DirectCallHandler + Clone>(
    handler: &H,
    over: TransportKind,
    generation: Generation,
) -> ConnectedClient {
    let (ears, heard) = mpsc::unbounded_channel();
    let lifecycle = match generation {
        Generation::Sessions => ClientLifecycleMode::Initialize,
        Generation::Stateless => ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        },
    };
    let client = match over {
        TransportKind::Http => {
            let url = InProcessServer::new(handler.clone()).serve().await;
            let client = crate::support::requests::client_builder().build().unwrap();
            let config = StreamableHttpClientTransportConfig::with_uri(url);
            let transport = StreamableHttpClientTransport::with_client(client, config);
            NotificationRecorder(ears)
                .serve_with_lifecycle(transport, lifecycle)
                .await
                .unwrap()
        }
        TransportKind::Stdio => {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let (input, output) = tokio::io::split(theirs);
            let handler = handler.clone();
            tokio::spawn(async move {
                let running = handler
                    .serve(LineTransport::new(input, output))
                    .await
                    .unwrap();
                running.waiting().await.unwrap();
            });
            NotificationRecorder(ears)
                .serve_with_lifecycle(ours, lifecycle)
                .await
                .unwrap()
        }
    };
    ConnectedClient {
        client,
        notifications: heard,
    }
}

fn server() -> Server {
    let portkey = UpstreamClient::new(settings("http://127.0.0.1:9"));
    Server::new(Arc::new(Dispatcher::new(Catalog::full(), portkey)), None)
}

fn all_notifications() -> SubscriptionFilter {
    let mut filter = SubscriptionFilter::default();
    filter.tools_list_changed = Some(true);
    filter.prompts_list_changed = Some(true);
    filter.resources_list_changed = Some(true);
    filter.resource_subscriptions = Some(vec![RESOURCE_URI.to_owned()]);
    filter
}

async fn next_notification(subscription: &mut Subscription) -> String {
    match subscription.next().await.unwrap().unwrap() {
        ServerNotification::ToolListChangedNotification(_) => "tools".to_owned(),
        ServerNotification::PromptListChangedNotification(_) => "prompts".to_owned(),
        ServerNotification::ResourceListChangedNotification(_) => "resources".to_owned(),
        ServerNotification::ResourceUpdatedNotification(update) => update.params.uri,
        other => panic!("{other:?}"),
    }
}

fn notify_all(notifier: &ChangeNotifier) {
    notifier.notify_prompts_changed();
    notifier.notify_resource_updated("test://elsewhere");
    notifier.notify_resource_updated(RESOURCE_URI);
    notifier.notify_resources_changed();
    notifier.notify_tools_changed();
}

#[allow(deprecated, reason = "how sessions watch a resource")]
async fn subscribe_resource(client: &Peer<RoleClient>) {
    client
        .subscribe(SubscribeRequestParams::new(RESOURCE_URI))
        .await
        .unwrap();
}

#[allow(deprecated, reason = "how sessions stop watching a resource")]
async fn unsubscribe_resource(client: &Peer<RoleClient>) {
    client
        .unsubscribe(UnsubscribeRequestParams::new(RESOURCE_URI))
        .await
        .unwrap();
}

#[tokio::test]
async fn session_is_notified_of_lists_and_subscribed_resources() {
    for over in [TransportKind::Http, TransportKind::Stdio] {
        let handler = NotifyingServer::default();
        let mut connected = connect(&handler, over, Generation::Sessions).await;
        wait_for_listeners(&handler.notifier, 1).await;
        subscribe_resource(&connected.client).await;
        notify_all(&handler.notifier);
        for expected in ["prompts", RESOURCE_URI, "resources", "tools"] {
            assert_eq!(
                connected.notifications.recv().await.unwrap(),
                expected,
                "{over:?}"
            );
        }
        unsubscribe_resource(&connected.client).await;
        notify_all(&handler.notifier);
        for expected in ["prompts", "resources", "tools"] {
            assert_eq!(
                connected.notifications.recv().await.unwrap(),
                expected,
                "{over:?}"
            );
        }
        connected.client.cancel().await.unwrap();
        wait_for_listeners(&handler.notifier, 0).await;
    }
}

#[tokio::test]
async fn stream_gets_only_the_requested_notifications() {
    for over in [TransportKind::Http, TransportKind::Stdio] {
        let handler = NotifyingServer::default();
        let mut connected = connect(&handler, over, Generation::Stateless).await;
        let mut all = connected.client.listen(all_notifications()).await.unwrap();
        let mut tools = SubscriptionFilter::default();
        tools.tools_list_changed = Some(true);
        let mut tools = connected.client.listen(tools).await.unwrap();
        wait_for_listeners(&handler.notifier, 2).await;
        notify_all(&handler.notifier);
        for expected in ["prompts", RESOURCE_URI, "resources", "tools"] {
            assert_eq!(next_notification(&mut all).await, expected, "{over:?}");
        }
        assert_eq!(next_notification(&mut tools).await, "tools", "{over:?}");
        tools.cancel().await.unwrap();
        wait_for_listeners(&handler.notifier, 1).await;
        handler.notifier.close();
        assert!(all.next().await.unwrap().is_none(), "{over:?}");
        assert!(
            matches!(all.end(), Some(SubscriptionEnd::Graceful(_))),
            "{:?}",
            all.end()
        );
        let mut late = connected.client.listen(all_notifications()).await.unwrap();
        assert!(late.next().await.unwrap().is_none(), "{over:?}");
        assert!(connected.notifications.try_recv().is_err(), "{over:?}");
        wait_for_listeners(&handler.notifier, 0).await;
    }
}

#[tokio::test]
async fn disconnected_listener_is_removed() {
    let cases = [Generation::Sessions, Generation::Stateless];
    for (over, generation) in [
        (TransportKind::Http, cases[1]),
        (TransportKind::Stdio, cases[0]),
        (TransportKind::Stdio, cases[1]),
    ] {
        let handler = NotifyingServer::default();
        let connected = connect(&handler, over, generation).await;
        let stream = match generation {
            Generation::Sessions => None,
            Generation::Stateless => {
                Some(connected.client.listen(all_notifications()).await.unwrap())
            }
        };
        wait_for_listeners(&handler.notifier, 1).await;
        drop(stream);
        drop(connected);
        wait_for_listeners(&handler.notifier, 0).await;
    }
}

/// The notifications are sent at once, so that this single-threaded test cannot forward them in
/// between.
#[tokio::test]
async fn lagging_listener_is_told_that_everything_changed() {
    let handler = NotifyingServer::default();
    let mut session = connect(&handler, TransportKind::Stdio, Generation::Sessions).await;
    let stateless = connect(&handler, TransportKind::Stdio, Generation::Stateless).await;
    let mut stream = stateless.client.listen(all_notifications()).await.unwrap();
    wait_for_listeners(&handler.notifier, 2).await;
    subscribe_resource(&session.client).await;
    handler.notifier.notify_prompts_changed();
    handler.notifier.notify_resource_updated(RESOURCE_URI);
    for i in 0..1_000 {
        handler
            .notifier
            .notify_resource_updated(format!("test://{i}"));
    }
    for expected in ["tools", "prompts", "resources", RESOURCE_URI] {
        assert_eq!(next_notification(&mut stream).await, expected);
        assert_eq!(session.notifications.recv().await.unwrap(), expected);
    }
    // The client is still subscribed and gets the next notification as usual.
    handler.notifier.notify_tools_changed();
    assert_eq!(next_notification(&mut stream).await, "tools");
    assert_eq!(session.notifications.recv().await.unwrap(), "tools");
}

#[tokio::test]
async fn number_of_subscribed_resources_is_limited() {
    let many = |count: usize| {
        (0..count)
            .map(|i| format!("test://{i}"))
            .collect::<Vec<_>>()
    };
    let accepted = |count| {
        let mut filter = all_notifications();
        filter.resource_subscriptions = Some(many(count));
        ChangeNotifier::limit_filter(&filter)
    };
    let all = accepted(MAX_WATCHED_RESOURCES);
    assert_eq!(
        all.resource_subscriptions.unwrap().len(),
        MAX_WATCHED_RESOURCES
    );
    let none = accepted(MAX_WATCHED_RESOURCES + 1);
    assert_eq!(
        (none.tools_list_changed, none.resource_subscriptions),
        (Some(true), Some(vec![]))
    );
    let session = SessionSubscription::default();
    assert!(
        many(MAX_WATCHED_RESOURCES)
            .into_iter()
            .all(|uri| session.watch(uri))
    );
    assert!(!session.watch(RESOURCE_URI.to_owned()));
    assert!(
        session.watch("test://0".to_owned()),
        "it is watched already"
    );
    session.unwatch("test://0");
    assert!(session.watch(RESOURCE_URI.to_owned()));
}

/// The production server has tools, and announces no other list.
#[tokio::test]
async fn tool_list_change_notifies_clients() {
    for over in [TransportKind::Http, TransportKind::Stdio] {
        let server = server();
        let mut session = connect(&server, over, Generation::Sessions).await;
        let info = session.client.peer_info().unwrap();
        assert_eq!(
            info.capabilities.tools.as_ref().unwrap().list_changed,
            Some(true)
        );
        let stateless = connect(&server, over, Generation::Stateless).await;
        let mut stream = stateless.client.listen(all_notifications()).await.unwrap();
        let mut offered = SubscriptionFilter::default();
        offered.tools_list_changed = Some(true);
        assert_eq!(*stream.acknowledged(), offered, "{over:?}");
        wait_for_listeners(server.notifier(), 2).await;
        notify_all(server.notifier());
        assert_eq!(next_notification(&mut stream).await, "tools", "{over:?}");
        assert_eq!(
            session.notifications.recv().await.unwrap(),
            "tools",
            "{over:?}"
        );
        server.drain().await;
        assert!(stream.next().await.unwrap().is_none(), "{over:?}");
        assert!(
            matches!(stream.end(), Some(SubscriptionEnd::Graceful(_))),
            "{:?}",
            stream.end()
        );
        assert!(session.notifications.try_recv().is_err(), "{over:?}");
    }
}

fn stateless_request(id: u32, method: &str, more: serde_json::Value) -> serde_json::Value {
    let mut params = json!({ "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    } });
    params
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// A client that disconnects while it listens gets its response at once. The server does not wait
/// for it as for a client with calls in flight.
#[test]
fn client_disconnect_ends_stdio_subscriptions() {
    let mut pipe = StdioServer::builder().sandbox().start();
    let listen = json!({ "notifications": { "toolsListChanged": true } });
    pipe.send(&stateless_request(7, "subscriptions/listen", listen).to_string());
    let acknowledged = pipe.receive();
    assert_eq!(
        acknowledged["method"], "notifications/subscriptions/acknowledged",
        "{acknowledged}"
    );
    // A client of the other generation sends this notification. It must not open a session here.
    pipe.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    let (status, rest, log) = pipe.end();
    assert!(status.success(), "{log}");
    let last: serde_json::Value = serde_json::from_str(&rest).unwrap();
    assert_eq!(
        (&last["id"], &last["result"]["resultType"]),
        (&json!(7), &json!("complete"))
    );
}

#[tokio::test]
async fn shutdown_ends_http_subscriptions() {
    let server = ServerProcess::http().sandbox().start();
    let listen = json!({ "notifications": { "toolsListChanged": true } });
    let body = stateless_request(7, "subscriptions/listen", listen).to_string();
    let client = crate::support::requests::client_builder().build().unwrap();
    let mut stream = client
        .post(&server.url)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "subscriptions/listen")
        .body(body)
        .send()
        .await
        .unwrap();
    let first = stream.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("acknowledged"));
    server.signal("TERM");
    let mut rest = String::new();
    while let Some(chunk) = stream.chunk().await.unwrap() {
        rest.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(rest.contains(r#""resultType":"complete""#), "{rest}");
    let (status, log) = server.end();
    assert!(status.success() && !log.contains("cut off"), "{log}");
}

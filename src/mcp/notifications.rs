//! Notifications of changed lists and resources, sent to every client that subscribed.
//!
//! A change is reported once. Clients of 2026-07-28 receive it on their `subscriptions/listen`
//! streams, those of earlier revisions in their sessions. A client that does not read delays
//! nobody: each subscriber has its own position in a short queue. One that falls behind is told
//! that everything it subscribed to changed.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use rmcp::{
    Peer, RoleServer,
    model::{
        Notification, NotificationNoParam, RequestId, ResourceUpdatedNotificationParam,
        ServerCapabilities, ServerNotification, SubscriptionFilter,
    },
    service::{SubscriptionContext, SubscriptionSendError, SubscriptionSink},
};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

/// Maximum number of pending changes of one subscriber. A subscriber with more counts as fallen
/// behind.
const MAX_PENDING_CHANGES: usize = 64;

/// Maximum number of resources that one subscriber watches: rmcp compares each with each.
pub const MAX_WATCHED_RESOURCES: usize = 1_000;

/// Maximum total size of the URIs that one subscriber watches, in bytes.
pub const MAX_FILTER_BYTES: usize = 64 << 10;

/// Maximum size of the part of a subscription request that is kept beside its filter, in bytes.
const MAX_REQUEST_BYTES: usize = 4 << 10;

/// Sends change notifications to subscribers. Clones share the same subscribers.
#[derive(Clone, Debug)]
pub struct ChangeNotifier {
    changes: broadcast::Sender<Change>,
    closed: CancellationToken,
}

/// A change that clients can be notified of.
#[derive(Clone, Debug)]
enum Change {
    Tools,
    Prompts,
    Resources,
    Resource(Arc<str>),
}

impl Default for ChangeNotifier {
    fn default() -> Self {
        Self {
            changes: broadcast::Sender::new(MAX_PENDING_CHANGES),
            closed: CancellationToken::new(),
        }
    }
}

impl ChangeNotifier {
    /// Notifies subscribers that the list of tools changed. Like the other notifications it returns
    /// at once.
    pub fn notify_tools_changed(&self) {
        self.notify(Change::Tools);
    }

    /// Notifies subscribers that all lists changed, because the access of callers did.
    pub fn notify_lists_changed(&self) {
        self.notify_tools_changed();
        self.notify_prompts_changed();
        self.notify_resources_changed();
    }

    /// Notifies subscribers that the list of prompts changed.
    pub fn notify_prompts_changed(&self) {
        self.notify(Change::Prompts);
    }

    /// Notifies subscribers that the list of resources changed.
    pub fn notify_resources_changed(&self) {
        self.notify(Change::Resources);
    }

    /// Notifies those that watch a resource that its content changed.
    pub fn notify_resource_updated(&self, uri: impl Into<Arc<str>>) {
        self.notify(Change::Resource(uri.into()));
    }

    /// Returns the number of current subscribers.
    pub fn subscriber_count(&self) -> usize {
        self.changes.receiver_count()
    }

    /// Ends every stream, later ones included, so that their clients get a final response.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Returns the part of a `subscriptions/listen` filter that is accepted, before rmcp removes
    /// what the server does not offer.
    ///
    /// Accepts no resources if there are more than [`MAX_WATCHED_RESOURCES`] of them or more than
    /// [`MAX_FILTER_BYTES`] of URIs.
    pub fn limit_filter(requested: &SubscriptionFilter) -> SubscriptionFilter {
        let mut accepted = SubscriptionFilter::default();
        accepted.tools_list_changed = requested.tools_list_changed;
        accepted.prompts_list_changed = requested.prompts_list_changed;
        accepted.resources_list_changed = requested.resources_list_changed;
        accepted.resource_subscriptions = match &requested.resource_subscriptions {
            Some(uris) if !is_within_limits(uris.iter()) => Some(Vec::new()),
            uris => uris.clone(),
        };
        accepted
    }

    /// Serves one `subscriptions/listen` request until its client disconnects or the notifier is
    /// closed.
    ///
    /// A request that exceeds the limits ends at once. Transports truncate requests before, so only
    /// a client that tried to evade the limits gets here.
    pub async fn listen(&self, subscription: SubscriptionContext) {
        if !is_request_within_limits(&subscription) {
            warn!("a subscription was ended: more would be kept of its request than is allowed");
            return;
        }
        let listener = Subscriber::Stream(subscription.sink().clone());
        tokio::select! {
            () = subscription.cancelled() => {}
            () = self.closed.cancelled() => {}
            () = listener.forward_changes(self.changes.subscribe()) => {}
        }
    }

    fn notify(&self, change: Change) {
        // Sending fails only if there are no subscribers.
        _ = self.changes.send(change);
    }
}

/// Subscription of a client of up to 2025-11-25. It lasts as long as this value, which is as long
/// as the client's session.
#[derive(Debug, Default)]
pub struct SessionSubscription {
    stop_guard: OnceLock<DropGuard>,
    resources: OnceLock<WatchedUris>,
}

/// URIs of the resources that a session watches.
type WatchedUris = Arc<Mutex<BTreeSet<String>>>;

/// A clone starts without a subscription: each clone of a server serves another session.
impl Clone for SessionSubscription {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl SessionSubscription {
    /// Notifies the client from now on of the changes that the server's capabilities announce.
    ///
    /// Call this when the client has opened its session. A second call, or one without a session,
    /// has no effect.
    pub fn subscribe(
        &self,
        hub: &ChangeNotifier,
        client: Peer<RoleServer>,
        capabilities: &ServerCapabilities,
    ) {
        // Clients of 2026-07-28 send no `initialize`, and may be notified on their streams only.
        if client.peer_info().is_none() {
            return;
        }
        let ended = CancellationToken::new();
        if self.stop_guard.set(ended.clone().drop_guard()).is_err() {
            return;
        }
        let mut lists = SubscriptionFilter::default();
        lists.tools_list_changed = Some(true);
        lists.prompts_list_changed = Some(true);
        lists.resources_list_changed = Some(true);
        let lists = lists.supported_by(capabilities);
        let listener = Subscriber::Session {
            client,
            lists,
            resources: self.resources().clone(),
        };
        let changes = hub.changes.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = listener.forward_changes(changes) => {}
            }
        });
    }

    /// Watches a resource. Returns `false` if that would exceed [`MAX_WATCHED_RESOURCES`] or
    /// [`MAX_FILTER_BYTES`].
    pub fn watch(&self, uri: String) -> bool {
        let mut resources = lock(self.resources());
        let fits = resources.contains(&uri) || is_within_limits(resources.iter().chain([&uri]));
        if fits {
            resources.insert(uri);
        }
        fits
    }

    /// Stops watching a resource.
    pub fn unwatch(&self, uri: &str) {
        lock(self.resources()).remove(uri);
    }

    fn resources(&self) -> &WatchedUris {
        self.resources.get_or_init(WatchedUris::default)
    }
}

/// A client to notify, by stream or by session.
enum Subscriber {
    Stream(SubscriptionSink),
    Session {
        client: Peer<RoleServer>,
        lists: SubscriptionFilter,
        resources: WatchedUris,
    },
}

impl Subscriber {
    /// Forwards changes until the client has disconnected.
    async fn forward_changes(&self, mut changes: broadcast::Receiver<Change>) {
        loop {
            let news = match changes.recv().await {
                Ok(change) => vec![change],
                Err(RecvError::Lagged(_)) => self.all_changes(),
                Err(RecvError::Closed) => return,
            };
            for change in news {
                if !self.notify(change).await {
                    return;
                }
            }
        }
    }

    /// Sends a change if the client subscribed to it. Returns `false` if the client has
    /// disconnected.
    async fn notify(&self, change: Change) -> bool {
        match self {
            // The stream applies its filter itself.
            Self::Stream(stream) => !matches!(
                stream.send(change.into_notification()).await,
                Err(SubscriptionSendError::SubscriptionClosed | SubscriptionSendError::Service(_))
            ),
            Self::Session {
                client,
                lists,
                resources,
            } => {
                let wanted = match &change {
                    Change::Tools => lists.tools_list_changed == Some(true),
                    Change::Prompts => lists.prompts_list_changed == Some(true),
                    Change::Resources => lists.resources_list_changed == Some(true),
                    Change::Resource(uri) => lock(resources).contains(&**uri),
                };
                !wanted
                    || client
                        .send_notification(change.into_notification())
                        .await
                        .is_ok()
            }
        }
    }

    /// Returns every change that this subscriber could have missed.
    fn all_changes(&self) -> Vec<Change> {
        let mut all = vec![Change::Tools, Change::Prompts, Change::Resources];
        let resource = |uri: &String| Change::Resource(uri.as_str().into());
        match self {
            Self::Stream(stream) => {
                all.extend(
                    stream
                        .accepted()
                        .resource_subscriptions
                        .iter()
                        .flatten()
                        .map(resource),
                );
            }
            Self::Session { resources, .. } => all.extend(lock(resources).iter().map(resource)),
        }
        all
    }
}

impl Change {
    fn into_notification(self) -> ServerNotification {
        match self {
            Self::Tools => {
                ServerNotification::ToolListChangedNotification(NotificationNoParam::default())
            }
            Self::Prompts => {
                ServerNotification::PromptListChangedNotification(NotificationNoParam::default())
            }
            Self::Resources => {
                ServerNotification::ResourceListChangedNotification(NotificationNoParam::default())
            }
            Self::Resource(uri) => ServerNotification::ResourceUpdatedNotification(
                Notification::new(ResourceUpdatedNotificationParam::new(uri.as_ref())),
            ),
        }
    }
}

/// Returns `true` if one subscriber may watch these URIs.
fn is_within_limits<'a>(uris: impl Iterator<Item = &'a String>) -> bool {
    let mut count = 0;
    let mut bytes = 0_usize;
    for uri in uris {
        count += 1;
        bytes = bytes.saturating_add(uri.len());
    }
    count <= MAX_WATCHED_RESOURCES && bytes <= MAX_FILTER_BYTES
}

/// Returns `true` if the parts of a request that rmcp keeps for the life of its stream are within
/// the limits.
fn is_request_within_limits(subscription: &SubscriptionContext) -> bool {
    let uris = subscription
        .requested()
        .resource_subscriptions
        .iter()
        .flatten();
    let request = subscription.request_context();
    let meta = serde_json::to_string(&request.meta).map_or(usize::MAX, |meta| meta.len());
    let id = match &request.id {
        RequestId::String(id) => id.len(),
        RequestId::Number(_) => 0,
    };
    is_within_limits(uris) && meta.saturating_add(id) <= MAX_REQUEST_BYTES
}

/// Locks the set. Poisoning is ignored: each update leaves the set complete, so a panic elsewhere
/// damages nothing.
fn lock(resources: &WatchedUris) -> MutexGuard<'_, BTreeSet<String>> {
    resources.lock().unwrap_or_else(PoisonError::into_inner)
}

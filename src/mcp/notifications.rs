//! Announcements: what has changed, told to every client that wants to hear of it.
//!
//! Whoever changes something says so once. Clients of 2026-07-28 hear of it on their
//! `subscriptions/listen` streams, those of earlier revisions in their sessions. Nobody waits for a
//! client that does not read: each has its own place in a short queue, and one that falls behind is told
//! that everything it listens for changed.

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

/// How many announcements a listener may have before it before it counts as fallen behind.
const BACKLOG: usize = 64;

/// How many resources one listener may watch: rmcp compares each with each.
pub const MOST_RESOURCES: usize = 1_000;

/// Bound on the addresses of the resources that one listener watches, in bytes.
pub const MAX_FILTER_BYTES: usize = 64 << 10;

/// Bound on what is kept of a request that opens a stream beside its filter, in bytes.
const MAX_REQUEST_BYTES: usize = 4 << 10;

/// Where changes are announced; a copy is the same hub.
#[derive(Clone, Debug)]
pub struct Hub {
    changes: broadcast::Sender<Change>,
    closed: CancellationToken,
}

/// What clients can be told of.
#[derive(Clone, Debug)]
enum Change {
    Tools,
    Prompts,
    Resources,
    Resource(Arc<str>),
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            changes: broadcast::Sender::new(BACKLOG),
            closed: CancellationToken::new(),
        }
    }
}

impl Hub {
    /// Announces that the list of tools changed. Like its siblings it returns at once.
    pub fn tools_changed(&self) {
        self.announce(Change::Tools);
    }

    /// Announces that all lists changed: what callers may see did.
    pub fn lists_changed(&self) {
        self.tools_changed();
        self.prompts_changed();
        self.resources_changed();
    }

    /// Announces that the list of prompts changed.
    pub fn prompts_changed(&self) {
        self.announce(Change::Prompts);
    }

    /// Announces that the list of resources changed.
    pub fn resources_changed(&self) {
        self.announce(Change::Resources);
    }

    /// Announces that a resource reads differently now, to those that watch it.
    pub fn resource_updated(&self, uri: impl Into<Arc<str>>) {
        self.announce(Change::Resource(uri.into()));
    }

    /// How many clients listen now.
    pub fn listeners(&self) -> usize {
        self.changes.receiver_count()
    }

    /// Ends every stream, those still to come included, so that their clients get a final answer.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// What is accepted of a `subscriptions/listen` request, before rmcp takes out what the server does
    /// not offer. Of more than [`MOST_RESOURCES`] resources, or [`MAX_FILTER_BYTES`] of addresses, none.
    pub fn accepted(requested: &SubscriptionFilter) -> SubscriptionFilter {
        let mut accepted = SubscriptionFilter::default();
        accepted.tools_list_changed = requested.tools_list_changed;
        accepted.prompts_list_changed = requested.prompts_list_changed;
        accepted.resources_list_changed = requested.resources_list_changed;
        accepted.resource_subscriptions = match &requested.resource_subscriptions {
            Some(uris) if !is_bounded(uris.iter()) => Some(Vec::new()),
            uris => uris.clone(),
        };
        accepted
    }

    /// Serves one `subscriptions/listen` request, until its client goes away or the hub is closed. One of
    /// which more would be kept than the bounds allow ends at once: transports cut requests down, so that
    /// only one comes here whose client tried to get around that.
    pub async fn listen(&self, subscription: SubscriptionContext) {
        if !is_kept_small(&subscription) {
            warn!("a subscription was ended: more would be kept of its request than is allowed");
            return;
        }
        let listener = Listener::Stream(subscription.sink().clone());
        tokio::select! {
            () = subscription.cancelled() => {}
            () = self.closed.cancelled() => {}
            () = listener.follow(self.changes.subscribe()) => {}
        }
    }

    fn announce(&self, change: Change) {
        // It fails where nobody listens.
        _ = self.changes.send(change);
    }
}

/// A client of up to 2025-11-25 for as long as its session lasts, which is as long as this.
#[derive(Debug, Default)]
pub struct Session {
    joined: OnceLock<DropGuard>,
    resources: OnceLock<Watched>,
}

/// The resources that a session watches.
type Watched = Arc<Mutex<BTreeSet<String>>>;

/// Each copy of a server serves a session of its own.
impl Clone for Session {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Session {
    /// Tells the client from now on of those changes that the server says it announces. To be called
    /// when the client has opened its session; a second time, and without a session, it does nothing.
    pub fn join(&self, hub: &Hub, client: Peer<RoleServer>, capabilities: &ServerCapabilities) {
        // Clients of 2026-07-28 never shake hands, and may be told on their streams only.
        if client.peer_info().is_none() {
            return;
        }
        let ended = CancellationToken::new();
        if self.joined.set(ended.clone().drop_guard()).is_err() {
            return;
        }
        let mut lists = SubscriptionFilter::default();
        lists.tools_list_changed = Some(true);
        lists.prompts_list_changed = Some(true);
        lists.resources_list_changed = Some(true);
        let lists = lists.supported_by(capabilities);
        let listener = Listener::Session {
            client,
            lists,
            resources: self.resources().clone(),
        };
        let changes = hub.changes.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = listener.follow(changes) => {}
            }
        });
    }

    /// Watches a resource; whether it is within the bounds [`MOST_RESOURCES`] and [`MAX_FILTER_BYTES`].
    pub fn watch(&self, uri: String) -> bool {
        let mut resources = locked(self.resources());
        let fits = resources.contains(&uri) || is_bounded(resources.iter().chain([&uri]));
        if fits {
            resources.insert(uri);
        }
        fits
    }

    /// Watches a resource no longer.
    pub fn unwatch(&self, uri: &str) {
        locked(self.resources()).remove(uri);
    }

    fn resources(&self) -> &Watched {
        self.resources.get_or_init(Watched::default)
    }
}

/// Who is told, and how.
enum Listener {
    Stream(SubscriptionSink),
    Session {
        client: Peer<RoleServer>,
        lists: SubscriptionFilter,
        resources: Watched,
    },
}

impl Listener {
    /// Passes changes on until the client is gone.
    async fn follow(&self, mut changes: broadcast::Receiver<Change>) {
        loop {
            let news = match changes.recv().await {
                Ok(change) => vec![change],
                Err(RecvError::Lagged(_)) => self.everything(),
                Err(RecvError::Closed) => return,
            };
            for change in news {
                if !self.tell(change).await {
                    return;
                }
            }
        }
    }

    /// Tells of a change if that is wanted; whether the client is still there.
    async fn tell(&self, change: Change) -> bool {
        match self {
            // It knows by itself what is wanted.
            Self::Stream(stream) => !matches!(
                stream.send(change.notification()).await,
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
                    Change::Resource(uri) => locked(resources).contains(&**uri),
                };
                !wanted
                    || client
                        .send_notification(change.notification())
                        .await
                        .is_ok()
            }
        }
    }

    /// All that this listener could have missed.
    fn everything(&self) -> Vec<Change> {
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
            Self::Session { resources, .. } => all.extend(locked(resources).iter().map(resource)),
        }
        all
    }
}

impl Change {
    fn notification(self) -> ServerNotification {
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

/// Whether these addresses may be kept for one listener.
fn is_bounded<'a>(uris: impl Iterator<Item = &'a String>) -> bool {
    let (mut count, mut bytes) = (0, 0_usize);
    for uri in uris {
        count += 1;
        bytes = bytes.saturating_add(uri.len());
    }
    count <= MOST_RESOURCES && bytes <= MAX_FILTER_BYTES
}

/// Whether what rmcp keeps of a request for as long as its stream lasts is within the bounds.
fn is_kept_small(subscription: &SubscriptionContext) -> bool {
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
    is_bounded(uris) && meta.saturating_add(id) <= MAX_REQUEST_BYTES
}

/// A set is whole after each change to it, so a panic elsewhere spoils nothing.
fn locked(resources: &Watched) -> MutexGuard<'_, BTreeSet<String>> {
    resources.lock().unwrap_or_else(PoisonError::into_inner)
}

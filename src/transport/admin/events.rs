//! The state of the inbox, and a stream of its changes for open pages.
//!
//! One task reads the store for all streams, and only while there are streams. A stream ends by
//! itself before the connection's timeout; the browser then opens the next one.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{ServerState, guard::RequestAccess};
use crate::pipeline::approval::{Approvals, Ticket};

/// Maximum number of streams.
const MAX_STREAMS: usize = 16;
/// Lifetime of a stream, less than the timeout of its connection.
const STREAM_LIFETIME: Duration = Duration::from_secs(25);
/// Interval between reads of the store.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The number of waiting calls, and a text that changes with the tickets and their states.
type InboxState = (usize, String);

/// The state of the inbox.
pub(super) struct Inbox {
    approvals: Arc<Approvals>,
    changes: watch::Receiver<InboxState>,
    wanted: Arc<Notify>,
    streams: Arc<Semaphore>,
}

impl Inbox {
    /// Starts the task that reads the store, until `ended` is cancelled.
    pub(super) fn new(approvals: Arc<Approvals>, ended: CancellationToken) -> Self {
        let (sender, changes) = watch::channel(InboxState::default());
        let wanted = Arc::new(Notify::new());
        let task = poll(approvals.clone(), sender, wanted.clone());
        tokio::spawn(async move { ended.run_until_cancelled(task).await });
        Self {
            approvals,
            changes,
            wanted,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        }
    }

    /// Reads the current state. If the store is unavailable, nothing seems to wait.
    pub(super) async fn state(&self) -> InboxState {
        read_state(&self.approvals).await.unwrap_or_default()
    }
}

async fn read_state(approvals: &Approvals) -> Option<InboxState> {
    let tickets = approvals.recent_tickets().await.ok()?;
    let waiting = tickets.iter().filter(|ticket| ticket.is_pending()).count();
    let mut digest = Sha256::new();
    for ticket in &tickets {
        digest.update(&ticket.id);
        digest.update(ticket.state.as_parts().0);
    }
    let mut version = hex::encode(digest.finalize());
    version.truncate(16);
    Some((waiting, version))
}

async fn poll(approvals: Arc<Approvals>, sender: watch::Sender<InboxState>, wanted: Arc<Notify>) {
    loop {
        // The receiver of `Inbox` is always there.
        if sender.receiver_count() <= 1 {
            wanted.notified().await;
        }
        if let Some(state) = read_state(&approvals).await {
            sender.send_if_modified(|known| {
                let is_new = *known != state;
                *known = state;
                is_new
            });
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// A stream that is being read.
struct OpenStream {
    changes: watch::Receiver<InboxState>,
    end: Instant,
    is_first: bool,
    _permit: OwnedSemaphorePermit,
}

/// Streams the state of the inbox, now and after each change.
pub(super) async fn stream(
    State(server): State<Arc<ServerState>>,
    Extension(access): Extension<RequestAccess>,
) -> Result<Response, Response> {
    access.session().ok_or_else(super::pages::not_found)?;
    let inbox = &server.inbox;
    let Ok(permit) = inbox.streams.clone().try_acquire_owned() else {
        // A browser does not try again by itself after this status; the script does.
        let why = "too many pages are open\n";
        return Err((StatusCode::SERVICE_UNAVAILABLE, why).into_response());
    };
    let mut changes = inbox.changes.clone();
    // The state that was read for earlier streams may be an old one.
    changes.mark_unchanged();
    let open = OpenStream {
        changes,
        end: Instant::now() + STREAM_LIFETIME,
        is_first: true,
        _permit: permit,
    };
    inbox.wanted.notify_one();
    let first = inbox.state().await;
    let events = stream::unfold(Some((open, first)), |open| async {
        let (mut open, first) = open?;
        if open.is_first {
            open.is_first = false;
            let event = event(&first);
            return Some((event, Some((open, first))));
        }
        loop {
            match timeout_at(open.end, open.changes.changed()).await {
                Ok(Ok(())) => {
                    let state = open.changes.borrow_and_update().clone();
                    if state.1.is_empty() {
                        continue;
                    }
                    return Some((event(&state), Some((open, first))));
                }
                Ok(Err(_)) | Err(_) => return None,
            }
        }
    });
    let kind = HeaderValue::from_static("text/event-stream");
    let headers = [(header::CONTENT_TYPE, kind)];
    Ok((headers, Body::from_stream(events)).into_response())
}

fn event((waiting, version): &InboxState) -> Result<Bytes, Infallible> {
    let data = json!({ "waiting": waiting, "version": version });
    Ok(format!("retry: 1000\nevent: inbox\ndata: {data}\n\n").into())
}

/// Returns the tickets, the newest first: those that wait, and those that were decided.
pub(super) fn partition(tickets: Vec<Ticket>) -> (Vec<Ticket>, Vec<Ticket>) {
    tickets.into_iter().partition(Ticket::is_pending)
}

//! Backlog of a client on a pipe: the requests and unwritten responses that decide whether to read
//! on.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rmcp::{
    RoleServer,
    model::{ClientNotification, ClientRequest, JsonRpcMessage, RequestId},
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
};
use tokio::sync::Notify;

/// Maximum number of requests that are in flight or wait to be written.
pub(crate) const MAX_OPEN_REQUESTS: usize = 128;
/// Maximum size of unwritten responses before no more requests are read, in bytes.
pub(crate) const MAX_UNWRITTEN_BYTES: usize = 4 << 20;
/// Maximum size of requests in flight before no more are read, in bytes.
const MAX_OPEN_REQUEST_BYTES: usize = 4 << 20;
/// Maximum number of ids of cancelled requests that are remembered.
const MAX_CANCELLED_IDS: usize = 256;

/// The requests between being read and having their responses written.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    state: Mutex<BacklogState>,
    /// Reading is paused.
    is_full: AtomicBool,
    changed: Notify,
}

#[derive(Debug, Default)]
struct BacklogState {
    open: Vec<OpenRequest>,
    /// The ids of cancelled requests, whose handlers may still run.
    cancelled: VecDeque<RequestId>,
    /// The ids of requests from the server that the client has not answered.
    server_requests: Vec<RequestId>,
    unwritten_messages: usize,
    unwritten_bytes: usize,
    is_stopped: bool,
}

/// A request in flight.
#[derive(Debug)]
struct OpenRequest {
    id: RequestId,
    bytes: usize,
    /// The request is a subscription, whose response comes only when it ends.
    is_subscription: bool,
}

/// Reason to reject a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestRejection {
    /// Another request in flight has the same id.
    IdInUse,
    /// Too many requests are in flight, and the client has to answer a request of the server before
    /// any of them can end.
    TooManyRequests,
}

impl BacklogState {
    fn request_count(&self) -> usize {
        self.unwritten_messages
            + self
                .open
                .iter()
                .filter(|open| !open.is_subscription)
                .count()
    }

    /// Returns `true` if reading is paused. While the client has a request to answer, its own
    /// requests are rejected instead, because its answer arrives on the same pipe.
    fn is_full(&self) -> bool {
        let open_bytes: usize = self.open.iter().map(|open| open.bytes).sum();
        self.is_stopped
            || self.unwritten_bytes >= MAX_UNWRITTEN_BYTES
            || self.unwritten_messages >= MAX_OPEN_REQUESTS
            || self.server_requests.is_empty()
                && (self.request_count() >= MAX_OPEN_REQUESTS
                    || open_bytes >= MAX_OPEN_REQUEST_BYTES)
    }
}

impl Backlog {
    /// Waits until the next message may be read.
    pub(super) async fn wait_until_readable(&self) {
        while self.is_full.load(Ordering::Acquire) {
            let changed = self.changed.notified();
            if self.is_full.load(Ordering::Acquire) {
                changed.await;
            }
        }
    }

    /// Never returns once reading has stopped for good.
    pub(super) async fn block_if_stopped(&self) {
        if self.is_full.load(Ordering::Acquire) && self.state().is_stopped {
            pending::<()>().await;
        }
    }

    /// Stops reading for good.
    pub(super) fn stop(&self) {
        self.update(|state| state.is_stopped = true);
    }

    /// Records a received message of this size.
    ///
    /// # Errors
    /// Returns an error if the message is a request that cannot be accepted.
    pub(super) fn record_received(
        &self,
        message: &RxJsonRpcMessage<RoleServer>,
        bytes: usize,
    ) -> Result<(), RequestRejection> {
        match message {
            JsonRpcMessage::Request(request) => {
                let is_subscription = matches!(
                    request.request,
                    ClientRequest::SubscriptionsListenRequest(_)
                );
                let open = OpenRequest {
                    id: request.id.clone(),
                    bytes,
                    is_subscription,
                };
                self.update(|state| {
                    let is_used = state.open.iter().any(|other| other.id == open.id);
                    if is_used || state.cancelled.contains(&open.id) {
                        return Err(RequestRejection::IdInUse);
                    }
                    if state.request_count() >= MAX_OPEN_REQUESTS {
                        return Err(RequestRejection::TooManyRequests);
                    }
                    state.open.push(open);
                    Ok(())
                })
            }
            JsonRpcMessage::Notification(message) => {
                if let ClientNotification::CancelledNotification(cancelled) = &message.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.update(|state| state.cancel_request(id));
                }
                Ok(())
            }
            JsonRpcMessage::Response(response) => {
                self.update(|state| state.server_requests.retain(|id| *id != response.id));
                Ok(())
            }
            JsonRpcMessage::Error(error) => {
                if let Some(of) = &error.id {
                    self.update(|state| state.server_requests.retain(|id| id != of));
                }
                Ok(())
            }
        }
    }

    /// Records a message that is about to be written. It counts until it is written.
    pub(super) fn record_outgoing(&self, message: &TxJsonRpcMessage<RoleServer>, is_refusal: bool) {
        self.update(|state| {
            state.unwritten_messages += 1;
            match message {
                JsonRpcMessage::Response(response) => state.close_request(&response.id),
                // The id of a rejected request is that of another one, which continues.
                JsonRpcMessage::Error(error) if !is_refusal => {
                    error.id.iter().for_each(|id| state.close_request(id));
                }
                JsonRpcMessage::Request(request) => state.server_requests.push(request.id.clone()),
                JsonRpcMessage::Error(_) | JsonRpcMessage::Notification(_) => {}
            }
        });
    }

    /// Adds the size of an unwritten message.
    pub(super) fn add_unwritten_bytes(&self, bytes: usize) {
        self.update(|state| state.unwritten_bytes += bytes);
    }

    /// Removes a message that was written, or never will be.
    pub(super) fn record_written(&self, bytes: usize) {
        self.update(|state| {
            state.unwritten_messages -= 1;
            state.unwritten_bytes -= bytes;
        });
    }

    fn update<T>(&self, change: impl FnOnce(&mut BacklogState) -> T) -> T {
        let mut state = self.state();
        let outcome = change(&mut state);
        let is_full = state.is_full();
        let was_full = self.is_full.swap(is_full, Ordering::AcqRel);
        drop(state);
        if was_full && !is_full {
            self.changed.notify_waiters();
        }
        outcome
    }

    fn state(&self) -> MutexGuard<'_, BacklogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BacklogState {
    fn close_request(&mut self, id: &RequestId) {
        if let Some(at) = self.open.iter().position(|open| open.id == *id) {
            self.open.swap_remove(at);
        }
    }

    fn cancel_request(&mut self, id: &RequestId) {
        let before = self.open.len();
        self.close_request(id);
        if self.open.len() < before {
            if self.cancelled.len() >= MAX_CANCELLED_IDS {
                self.cancelled.pop_front();
            }
            self.cancelled.push_back(id.clone());
        }
    }
}

//! An active session of this process, and its calls on the fast path, which rmcp does not see.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rmcp::{
    Peer, RoleServer,
    model::{InitializeRequestParams, RequestId},
    transport::streamable_http_server::session::SessionId,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::manager::SessionPermits;
use crate::{
    auth::principal::{Grant, Principal},
    transport::trim::{MAX_ID_BYTES, is_short_id},
};

/// Maximum time between two touches of a session in rmcp, which ends idle sessions. Shorter if the
/// idle timeout is short.
const MAX_TOUCH_INTERVAL: Duration = Duration::from_secs(60);

/// Time within which a client may resume a broken stream to receive its response.
const RESUME_TIMEOUT: Duration = Duration::from_secs(60);

/// A session, from its start to its end.
pub(in crate::transport::http) struct ActiveSession {
    pub(super) id: SessionId,
    pub(super) principal: Arc<str>,
    /// Network of the caller, if the caller was unproven.
    pub(super) network: IpAddr,
    started: Instant,
    /// Set while the caller is unproven.
    is_unproven: AtomicBool,
    /// Grant by which the caller was last authenticated.
    grant: Mutex<Grant>,
    /// Released when the session ends, even if other references to it remain.
    permits: Mutex<Option<SessionPermits>>,
    /// Parameters of `initialize`, with the negotiated revision.
    initialize_params: OnceLock<InitializeRequestParams>,
    peer: OnceLock<Peer<RoleServer>>,
    in_flight_calls: Mutex<HashMap<RequestId, CancellationToken>>,
    /// Requests that rmcp answers on streams. For a broken stream, the time until which its
    /// response is kept.
    pending_requests: Mutex<HashMap<RequestId, Option<Instant>>>,
    /// Cancels the calls of the session.
    end: CancellationToken,
    /// Interval of touching the session in rmcp.
    touch_interval: Duration,
    usage: Mutex<SessionUsage>,
}

/// Usage of a session.
struct SessionUsage {
    /// Time of the last touch in rmcp.
    last_touch: Instant,
    /// Time of the last request of the client.
    last_use: Instant,
    /// Number of open streams.
    streams: usize,
    /// Time until which a call with a broken stream may be resumed.
    resumable_until: Option<Instant>,
    /// The session is being evicted, and accepts nothing new.
    is_closing: bool,
}

impl SessionUsage {
    fn is_busy(&self, now: Instant) -> bool {
        self.streams > 0 || self.resumable_until.is_some_and(|until| now < until)
    }
}

impl ActiveSession {
    pub(super) fn new(
        id: SessionId,
        principal: &Principal,
        place: SessionPermits,
        idle: Duration,
        end: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        let streams = 0;
        let resumable = None;
        let is_closing = false;
        let (_, _, of_network) = &place;
        Self {
            id,
            principal: principal.name.clone(),
            network: principal.network.unwrap_or(Ipv6Addr::UNSPECIFIED.into()),
            started: now,
            is_unproven: of_network.is_some().into(),
            grant: principal.grant.into(),
            permits: Some(place).into(),
            initialize_params: OnceLock::new(),
            peer: OnceLock::new(),
            in_flight_calls: Mutex::default(),
            pending_requests: Mutex::default(),
            end,
            touch_interval: MAX_TOUCH_INTERVAL.min(idle / 4),
            usage: SessionUsage {
                last_touch: now,
                last_use: now,
                streams,
                resumable_until: resumable,
                is_closing,
            }
            .into(),
        }
    }

    pub(super) fn set_initialize_params(&self, hello: InitializeRequestParams) {
        // Set once, by the only `initialize` of a session.
        _ = self.initialize_params.set(hello);
    }

    pub(super) fn end(&self) {
        self.release_permits();
        self.end.cancel();
    }

    /// Returns `true` if the caller was unproven at the last check.
    pub(super) fn is_unproven(&self) -> bool {
        self.is_unproven.load(Ordering::Relaxed)
    }

    /// Returns `true` if the session has reached an age. A session with a call in flight may be
    /// twice as old.
    pub(super) fn is_older_than(&self, age: Duration) -> bool {
        let age = if self.in_flight_calls().is_empty() {
            age
        } else {
            2 * age
        };
        self.started.elapsed() >= age
    }

    /// Counts the session as one of a proven caller, with these permits.
    pub(super) fn promote(&self, place: SessionPermits) {
        let mut held = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
        // A session that has released its permits takes no new ones.
        if held.is_some() {
            *held = Some(place);
        }
        self.is_unproven.store(false, Ordering::Relaxed);
    }

    /// Returns the grant by which the caller was last authenticated.
    pub(super) fn grant(&self) -> Grant {
        *self.grant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the caller's renewed grant, which limits the lifetime of the session.
    pub(super) fn renew(&self, grant: Grant) {
        *self.grant.lock().unwrap_or_else(PoisonError::into_inner) = grant;
    }

    /// Returns the time of the last request of the client.
    pub(super) fn last_used(&self) -> Instant {
        self.usage().last_use
    }

    /// Waits until the session has ended.
    pub(super) async fn wait_for_end(&self) {
        self.end.cancelled().await;
    }

    /// Records use, and returns `true` if rmcp has to be touched now. Only one caller gets `true`
    /// in each interval, and has to touch the session.
    pub(super) fn needs_touch(&self) -> bool {
        let mut used = self.usage();
        let now = Instant::now();
        used.last_use = now;
        let is_due = now.duration_since(used.last_touch) >= self.touch_interval;
        if is_due {
            used.last_touch = now;
        }
        is_due
    }

    /// Returns the interval of checking whether the session is in use.
    pub(super) fn touch_interval(&self) -> Duration {
        self.touch_interval
    }

    /// Returns `true` if a stream is open or a call is in flight.
    pub(super) fn is_busy(&self) -> bool {
        !self.in_flight_calls().is_empty() || self.usage().is_busy(Instant::now())
    }

    /// Returns the time of the last use if the session could be evicted.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let used = self.usage();
        let is_idle = !used.is_closing && !used.is_busy(Instant::now());
        (is_idle && self.in_flight_calls().is_empty()).then_some(used.last_use)
    }

    /// Begins the eviction of the session. Returns `false` if it has begun already.
    pub(super) fn begin_closing(&self) -> bool {
        let was_open = !std::mem::replace(&mut self.usage().is_closing, true);
        self.release_permits();
        was_open
    }

    /// Returns `true` if the session is being evicted.
    pub(super) fn is_closing(&self) -> bool {
        self.usage().is_closing
    }

    /// Counts an open stream until the returned value is dropped. `awaited` is the request whose
    /// response the stream brings, if any.
    pub(super) fn open_stream(self: &Arc<Self>, awaited: Option<RequestId>) -> OpenStream {
        self.usage().streams += 1;
        OpenStream {
            session: self.clone(),
            awaited,
        }
    }

    /// Registers a request that rmcp will answer. Of two requests with the same id, rmcp would
    /// answer one and keep the response of the other. A long id would be kept as well.
    ///
    /// # Errors
    /// Returns a message if the id is in use or too long.
    pub(super) fn register_request(&self, id: &RequestId) -> Result<(), String> {
        if !is_short_id(id) {
            return Err(format!(
                "the `id` of a request has at most {MAX_ID_BYTES} bytes"
            ));
        }
        let mut asked = self.pending_requests();
        let now = Instant::now();
        asked.retain(|_, until| until.is_none_or(|until| now < until));
        match asked.entry(id.clone()) {
            Entry::Occupied(_) => Err("a request with this `id` is under way already; give each \
                                       request of a session an `id` of its own"
                .to_owned()),
            Entry::Vacant(place) => {
                place.insert(None);
                Ok(())
            }
        }
    }

    fn pending_requests(&self) -> MutexGuard<'_, HashMap<RequestId, Option<Instant>>> {
        self.pending_requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn release_permits(&self) {
        self.permits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    fn usage(&self) -> MutexGuard<'_, SessionUsage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the peer for the client, which is created from the parameters of `initialize`.
    /// Returns `None` before those have arrived.
    pub(in crate::transport::http) fn peer(
        &self,
        make: impl FnOnce(InitializeRequestParams) -> Peer<RoleServer>,
    ) -> Option<Peer<RoleServer>> {
        let hello = self.initialize_params.get()?;
        Some(self.peer.get_or_init(|| make(hello.clone())).clone())
    }

    /// Begins a call. Returns `None` if another call has the same id, or the session is being
    /// evicted.
    pub(in crate::transport::http) fn begin_call(
        self: &Arc<Self>,
        id: &RequestId,
    ) -> Option<InFlightCall> {
        if self.is_closing() {
            return None;
        }
        match self.in_flight_calls().entry(id.clone()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => {
                let end = self.end.child_token();
                place.insert(end.clone());
                Some(InFlightCall {
                    session: self.clone(),
                    id: id.clone(),
                    end,
                })
            }
        }
    }

    pub(super) fn cancel_call(&self, id: &RequestId) {
        if let Some(end) = self.in_flight_calls().get(id) {
            end.cancel();
        }
    }

    fn in_flight_calls(&self) -> MutexGuard<'_, HashMap<RequestId, CancellationToken>> {
        self.in_flight_calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call in flight, which ends when this is dropped.
pub(in crate::transport::http) struct InFlightCall {
    session: Arc<ActiveSession>,
    id: RequestId,
    /// Cancelled when the client cancels the call, or the session ends.
    pub(in crate::transport::http) end: CancellationToken,
}

impl Drop for InFlightCall {
    fn drop(&mut self) {
        self.session.in_flight_calls().remove(&self.id);
    }
}

/// A stream of a session, which counts as open until this is dropped.
pub(super) struct OpenStream {
    session: Arc<ActiveSession>,
    /// The request whose response the stream brings. `None` once the response has arrived.
    awaited: Option<RequestId>,
}

impl OpenStream {
    /// Records that the response has arrived.
    pub(super) fn mark_answered(&mut self) {
        if let Some(id) = self.awaited.take() {
            self.session.pending_requests().remove(&id);
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut used = self.session.usage();
        let now = Instant::now();
        used.streams = used.streams.saturating_sub(1);
        used.last_use = now;
        if let Some(id) = self.awaited.take() {
            used.resumable_until = Some(now + RESUME_TIMEOUT);
            drop(used);
            if let Some(until) = self.session.pending_requests().get_mut(&id) {
                *until = Some(now + RESUME_TIMEOUT);
            }
        }
    }
}

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

use super::bounded::Place;
use crate::{
    auth::principal::{Grant, Principal},
    transport::trim::{MAX_ID_BYTES, is_short},
};

/// Maximum time between two touches of a session in rmcp, which ends idle sessions. Shorter if the
/// idle timeout is short.
const MAX_UNHEARD: Duration = Duration::from_secs(60);

/// Time within which a client may resume a broken stream to receive its response.
const RESUMABLE: Duration = Duration::from_secs(60);

/// A session, from its start to its end.
pub(in crate::transport::http) struct Live {
    pub(super) id: SessionId,
    pub(super) principal: Arc<str>,
    /// Network of the caller, if the caller was unproven.
    pub(super) network: IpAddr,
    begun: Instant,
    /// Set while the caller is unproven.
    is_unproven: AtomicBool,
    /// Grant by which the caller was last authenticated.
    grant: Mutex<Grant>,
    /// Released when the session ends, even if other references to it remain.
    place: Mutex<Option<Place>>,
    /// Parameters of `initialize`, with the negotiated revision.
    hello: OnceLock<InitializeRequestParams>,
    client: OnceLock<Peer<RoleServer>>,
    calls: Mutex<HashMap<RequestId, CancellationToken>>,
    /// Requests that rmcp answers on streams. For a broken stream, the time until which its
    /// response is kept.
    asked: Mutex<HashMap<RequestId, Option<Instant>>>,
    /// Cancels the calls of the session.
    end: CancellationToken,
    /// Interval of touching the session in rmcp.
    unheard: Duration,
    used: Mutex<Use>,
}

/// Usage of a session.
struct Use {
    /// Time of the last touch in rmcp.
    heard: Instant,
    /// Time of the last request of the client.
    last: Instant,
    /// Number of open streams.
    streams: usize,
    /// Time until which a call with a broken stream may be resumed.
    resumable: Option<Instant>,
    /// The session is being evicted, and accepts nothing new.
    is_closing: bool,
}

impl Use {
    fn is_busy(&self, now: Instant) -> bool {
        self.streams > 0 || self.resumable.is_some_and(|until| now < until)
    }
}

impl Live {
    pub(super) fn new(
        id: SessionId,
        principal: &Principal,
        place: Place,
        idle: Duration,
        end: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        let (streams, resumable, is_closing) = (0, None, false);
        let (_, _, of_network) = &place;
        Self {
            id,
            principal: principal.name.clone(),
            network: principal.network.unwrap_or(Ipv6Addr::UNSPECIFIED.into()),
            begun: now,
            is_unproven: of_network.is_some().into(),
            grant: principal.grant.into(),
            place: Some(place).into(),
            hello: OnceLock::new(),
            client: OnceLock::new(),
            calls: Mutex::default(),
            asked: Mutex::default(),
            end,
            unheard: MAX_UNHEARD.min(idle / 4),
            used: Use {
                heard: now,
                last: now,
                streams,
                resumable,
                is_closing,
            }
            .into(),
        }
    }

    pub(super) fn initialized(&self, hello: InitializeRequestParams) {
        // Set once, by the only `initialize` of a session.
        _ = self.hello.set(hello);
    }

    pub(super) fn end(&self) {
        self.give_back();
        self.end.cancel();
    }

    /// Returns `true` if the caller was unproven at the last check.
    pub(super) fn is_unproven(&self) -> bool {
        self.is_unproven.load(Ordering::Relaxed)
    }

    /// Returns `true` if the session has reached an age. A session with a call in flight may be
    /// twice as old.
    pub(super) fn is_older_than(&self, age: Duration) -> bool {
        let age = if self.calls().is_empty() {
            age
        } else {
            2 * age
        };
        self.begun.elapsed() >= age
    }

    /// Counts the session as one of a proven caller, with these permits.
    pub(super) fn promote(&self, place: Place) {
        let mut held = self.place.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.used().last
    }

    /// Waits until the session has ended.
    pub(super) async fn ended(&self) {
        self.end.cancelled().await;
    }

    /// Records use, and returns `true` if rmcp has to be touched now. Only one caller gets `true`
    /// in each interval, and has to touch the session.
    pub(super) fn take_due(&self) -> bool {
        let mut used = self.used();
        let now = Instant::now();
        used.last = now;
        let is_due = now.duration_since(used.heard) >= self.unheard;
        if is_due {
            used.heard = now;
        }
        is_due
    }

    /// Returns the interval of checking whether the session is in use.
    pub(super) fn interval(&self) -> Duration {
        self.unheard
    }

    /// Returns `true` if a stream is open or a call is in flight.
    pub(super) fn is_busy(&self) -> bool {
        !self.calls().is_empty() || self.used().is_busy(Instant::now())
    }

    /// Returns the time of the last use if the session could be evicted.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let used = self.used();
        let is_idle = !used.is_closing && !used.is_busy(Instant::now());
        (is_idle && self.calls().is_empty()).then_some(used.last)
    }

    /// Begins the eviction of the session. Returns `false` if it has begun already.
    pub(super) fn close(&self) -> bool {
        let was_open = !std::mem::replace(&mut self.used().is_closing, true);
        self.give_back();
        was_open
    }

    /// Returns `true` if the session is being evicted.
    pub(super) fn is_closing(&self) -> bool {
        self.used().is_closing
    }

    /// Counts an open stream until the returned value is dropped. `awaited` is the request whose
    /// response the stream brings, if any.
    pub(super) fn open_stream(self: &Arc<Self>, awaited: Option<RequestId>) -> OpenStream {
        self.used().streams += 1;
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
    pub(super) fn ask(&self, id: &RequestId) -> Result<(), String> {
        if !is_short(id) {
            return Err(format!(
                "the `id` of a request has at most {MAX_ID_BYTES} bytes"
            ));
        }
        let (mut asked, now) = (self.asked(), Instant::now());
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

    fn asked(&self) -> MutexGuard<'_, HashMap<RequestId, Option<Instant>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self) {
        self.place
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    fn used(&self) -> MutexGuard<'_, Use> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the peer for the client, which is created from the parameters of `initialize`.
    /// Returns `None` before those have arrived.
    pub(in crate::transport::http) fn client(
        &self,
        make: impl FnOnce(InitializeRequestParams) -> Peer<RoleServer>,
    ) -> Option<Peer<RoleServer>> {
        let hello = self.hello.get()?;
        Some(self.client.get_or_init(|| make(hello.clone())).clone())
    }

    /// Begins a call. Returns `None` if another call has the same id, or the session is being
    /// evicted.
    pub(in crate::transport::http) fn begin(self: &Arc<Self>, id: &RequestId) -> Option<Begun> {
        if self.is_closing() {
            return None;
        }
        match self.calls().entry(id.clone()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => {
                let end = self.end.child_token();
                place.insert(end.clone());
                Some(Begun {
                    session: self.clone(),
                    id: id.clone(),
                    end,
                })
            }
        }
    }

    pub(super) fn cancel(&self, id: &RequestId) {
        if let Some(end) = self.calls().get(id) {
            end.cancel();
        }
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<RequestId, CancellationToken>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call in flight, which ends when this is dropped.
pub(in crate::transport::http) struct Begun {
    session: Arc<Live>,
    id: RequestId,
    /// Cancelled when the client cancels the call, or the session ends.
    pub(in crate::transport::http) end: CancellationToken,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.session.calls().remove(&self.id);
    }
}

/// A stream of a session, which counts as open until this is dropped.
pub(super) struct OpenStream {
    session: Arc<Live>,
    /// The request whose response the stream brings. `None` once the response has arrived.
    awaited: Option<RequestId>,
}

impl OpenStream {
    /// Records that the response has arrived.
    pub(super) fn answered(&mut self) {
        if let Some(id) = self.awaited.take() {
            self.session.asked().remove(&id);
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut used = self.session.used();
        let now = Instant::now();
        used.streams = used.streams.saturating_sub(1);
        used.last = now;
        if let Some(id) = self.awaited.take() {
            used.resumable = Some(now + RESUMABLE);
            drop(used);
            if let Some(until) = self.session.asked().get_mut(&id) {
                *until = Some(now + RESUMABLE);
            }
        }
    }
}

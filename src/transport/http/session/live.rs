//! A session that is live in this process, and the calls in it that rmcp knows nothing of.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
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

/// How long rmcp, which ends sessions that idle, need not hear of one in use; less if it ends them sooner.
const MAX_UNHEARD: Duration = Duration::from_secs(60);

/// How long a client may take to come back for an answer whose stream broke.
const RESUMABLE: Duration = Duration::from_secs(60);

/// A session, from its beginning to its end.
pub(in crate::transport::http) struct Live {
    pub(super) id: SessionId,
    pub(super) principal: Arc<str>,
    /// Given back when it ends, whoever still holds this.
    place: Mutex<Option<Place>>,
    /// What its client said when it began, with the revision that was agreed on.
    hello: OnceLock<InitializeRequestParams>,
    client: OnceLock<Peer<RoleServer>>,
    calls: Mutex<HashMap<RequestId, CancellationToken>>,
    /// Ends its calls.
    end: CancellationToken,
    /// How long rmcp need not hear of it.
    unheard: Duration,
    used: Mutex<Use>,
}

/// How a session is used.
struct Use {
    /// When rmcp last heard of it.
    heard: Instant,
    /// When its client last was.
    last: Instant,
    /// The streams that are open.
    streams: usize,
    /// Until when a call may be taken up again whose stream broke.
    resumable: Option<Instant>,
    /// It makes room for another, and takes nothing new.
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
        principal: Arc<str>,
        place: Place,
        idle: Duration,
        end: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        let (streams, resumable, is_closing) = (0, None, false);
        Self {
            id,
            principal,
            place: Some(place).into(),
            hello: OnceLock::new(),
            client: OnceLock::new(),
            calls: Mutex::default(),
            end,
            unheard: MAX_UNHEARD.min(idle / 4),
            used: Use { heard: now, last: now, streams, resumable, is_closing }.into(),
        }
    }

    pub(super) fn initialized(&self, hello: InitializeRequestParams) {
        // That happens once.
        _ = self.hello.set(hello);
    }

    pub(super) fn end(&self) {
        self.give_back();
        self.end.cancel();
    }

    /// Done once it has ended.
    pub(super) async fn ended(&self) {
        self.end.cancelled().await;
    }

    /// Whether rmcp has to hear of it now, that it is used. Whoever gets a yes is the one to tell, and the
    /// next is due later.
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

    /// How often it has to be seen whether it is in use.
    pub(super) fn interval(&self) -> Duration {
        self.unheard
    }

    /// Whether it has a stream open or a call under way.
    pub(super) fn is_busy(&self) -> bool {
        !self.calls().is_empty() || self.used().is_busy(Instant::now())
    }

    /// When it was last used, if it could make room for another.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let used = self.used();
        let is_idle = !used.is_closing && !used.is_busy(Instant::now());
        (is_idle && self.calls().is_empty()).then_some(used.last)
    }

    /// Has it make room for another; none if it does already.
    pub(super) fn close(&self) -> bool {
        let was_open = !std::mem::replace(&mut self.used().is_closing, true);
        self.give_back();
        was_open
    }

    /// Whether it makes room for another.
    pub(super) fn is_closing(&self) -> bool {
        self.used().is_closing
    }

    /// A stream is open for as long as this is kept.
    pub(super) fn open_stream(self: &Arc<Self>, awaits_answer: bool) -> OpenStream {
        self.used().streams += 1;
        OpenStream { session: self.clone(), awaits_answer }
    }

    fn give_back(&self) {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn used(&self) -> MutexGuard<'_, Use> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stands for its client, made from what that said of itself; none before it has said that.
    pub(in crate::transport::http) fn client(
        &self,
        make: impl FnOnce(InitializeRequestParams) -> Peer<RoleServer>,
    ) -> Option<Peer<RoleServer>> {
        let hello = self.hello.get()?;
        Some(self.client.get_or_init(|| make(hello.clone())).clone())
    }

    /// Begins a call; none where another of the same id is under way, or the session closes.
    pub(in crate::transport::http) fn begin(self: &Arc<Self>, id: &RequestId) -> Option<Begun> {
        if self.is_closing() {
            return None;
        }
        match self.calls().entry(id.clone()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => {
                let end = self.end.child_token();
                place.insert(end.clone());
                Some(Begun { session: self.clone(), id: id.clone(), end })
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

/// A call under way, for as long as this is kept.
pub(in crate::transport::http) struct Begun {
    session: Arc<Live>,
    id: RequestId,
    /// Cancelled when its client wants it no longer, or its session ends.
    pub(in crate::transport::http) end: CancellationToken,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.session.calls().remove(&self.id);
    }
}

/// A stream of a session, for as long as this is kept.
pub(super) struct OpenStream {
    session: Arc<Live>,
    /// Set until the answer has come that it was opened for.
    pub(super) awaits_answer: bool,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut used = self.session.used();
        let now = Instant::now();
        used.streams = used.streams.saturating_sub(1);
        used.last = now;
        if self.awaits_answer {
            used.resumable = Some(now + RESUMABLE);
        }
    }
}

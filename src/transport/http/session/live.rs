//! A session that is live in this process, and the calls in it that rmcp knows nothing of.

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

/// How long rmcp, which ends sessions that idle, need not hear of one in use; less if it ends them sooner.
const MAX_UNHEARD: Duration = Duration::from_secs(60);

/// How long a client may take to come back for an answer whose stream broke.
const RESUMABLE: Duration = Duration::from_secs(60);

/// A session, from its beginning to its end.
pub(in crate::transport::http) struct Live {
    pub(super) id: SessionId,
    pub(super) principal: Arc<str>,
    /// The network that it came from, where its caller was not proven.
    pub(super) network: IpAddr,
    begun: Instant,
    /// Set while its caller is not proven.
    is_unproven: AtomicBool,
    /// What let its caller in last.
    grant: Mutex<Grant>,
    /// Given back when it ends, whoever still holds this.
    place: Mutex<Option<Place>>,
    /// What its client said when it began, with the revision that was agreed on.
    hello: OnceLock<InitializeRequestParams>,
    client: OnceLock<Peer<RoleServer>>,
    calls: Mutex<HashMap<RequestId, CancellationToken>>,
    /// The requests that rmcp answers on streams; of those whose stream broke, until when the answer is kept.
    asked: Mutex<HashMap<RequestId, Option<Instant>>>,
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
        // That happens once.
        _ = self.hello.set(hello);
    }

    pub(super) fn end(&self) {
        self.give_back();
        self.end.cancel();
    }

    /// Whether its caller was not proven when that was last looked at.
    pub(super) fn is_unproven(&self) -> bool {
        self.is_unproven.load(Ordering::Relaxed)
    }

    /// Whether it began so long ago. One whose call is under way gets as long again.
    pub(super) fn is_older_than(&self, age: Duration) -> bool {
        let age = if self.calls().is_empty() {
            age
        } else {
            2 * age
        };
        self.begun.elapsed() >= age
    }

    /// Its caller is proven, and it has a place among those of such.
    pub(super) fn promote(&self, place: Place) {
        let mut held = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has given its place back takes none any more.
        if held.is_some() {
            *held = Some(place);
        }
        self.is_unproven.store(false, Ordering::Relaxed);
    }

    /// What let its caller in last.
    pub(super) fn grant(&self) -> Grant {
        *self.grant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its caller was let in once more: it lasts for as long as that does.
    pub(super) fn renew(&self, grant: Grant) {
        *self.grant.lock().unwrap_or_else(PoisonError::into_inner) = grant;
    }

    /// When its client was last heard of.
    pub(super) fn last_used(&self) -> Instant {
        self.used().last
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

    /// A stream is open for as long as this is kept, until the answer to this request has come if there is one.
    pub(super) fn open_stream(self: &Arc<Self>, awaited: Option<RequestId>) -> OpenStream {
        self.used().streams += 1;
        OpenStream {
            session: self.clone(),
            awaited,
        }
    }

    /// Whether rmcp may be asked this: of two requests with one id it would answer one, and keep the answer of
    /// the other, and a long id would be kept as well.
    ///
    /// # Errors
    /// Why not, in words.
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
    /// The request that it was opened for, until its answer has come.
    awaited: Option<RequestId>,
}

impl OpenStream {
    /// The answer has come that it was opened for.
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

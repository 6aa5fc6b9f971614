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

/// How long calls may go on before rmcp, which ends sessions that idle, has to hear of them.
const UNHEARD: Duration = Duration::from_secs(60);

/// A session, from its beginning to its end.
pub(in crate::transport::http) struct Live {
    pub(super) id: SessionId,
    _place: Place,
    /// What its client said when it began, with the revision that was agreed on.
    hello: OnceLock<InitializeRequestParams>,
    client: OnceLock<Peer<RoleServer>>,
    calls: Mutex<HashMap<RequestId, CancellationToken>>,
    /// Ends its calls.
    end: CancellationToken,
    /// When rmcp last heard of it.
    heard: Mutex<Instant>,
}

impl Live {
    pub(super) fn new(id: SessionId, place: Place, end: CancellationToken) -> Self {
        Self {
            id,
            _place: place,
            hello: OnceLock::new(),
            client: OnceLock::new(),
            calls: Mutex::default(),
            end,
            heard: Instant::now().into(),
        }
    }

    pub(super) fn initialized(&self, hello: InitializeRequestParams) {
        // That happens once.
        _ = self.hello.set(hello);
    }

    pub(super) fn end(&self) {
        self.end.cancel();
    }

    /// Whether rmcp has to hear of it now. Whoever gets a yes is the one to tell, and the next is due later.
    pub(super) fn take_due(&self) -> bool {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = heard.elapsed() >= UNHEARD;
        if is_due {
            *heard = Instant::now();
        }
        is_due
    }

    /// Stands for its client, made from what that said of itself; none before it has said that.
    pub(in crate::transport::http) fn client(
        &self,
        make: impl FnOnce(InitializeRequestParams) -> Peer<RoleServer>,
    ) -> Option<Peer<RoleServer>> {
        let hello = self.hello.get()?;
        Some(self.client.get_or_init(|| make(hello.clone())).clone())
    }

    /// Begins a call; none where another of the same id is under way.
    pub(in crate::transport::http) fn begin(self: &Arc<Self>, id: &RequestId) -> Option<Begun> {
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

//! Sessions of clients up to 2025-11-25: whose they are, how many there may be, and how they go on at
//! another replica.
//!
//! A client knows its session by a sealed id: it opens for whom it was given to, at every replica, for a
//! time. What a replica needs to go on with a session lies in the store for as long as the session may
//! idle, and so does the word that a client has ended it.

mod bounded;
mod live;

use std::{cell::Cell, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use moka::sync::Cache;
use rmcp::transport::streamable_http_server::session::{
    SessionManager, SessionState, SessionStore, SessionStoreError,
};
use tokio_util::sync::CancellationToken;

pub(super) use self::{
    bounded::Bounded,
    live::{Begun, Live},
};

pub(crate) use self::bounded::{
    CROWDED_UNPROVEN_TTL, FEW_UNPROVEN_SESSIONS, MAX_UNPROVEN_SESSIONS,
    MAX_UNPROVEN_SESSIONS_PER_NETWORK, UNPROVEN_TTL,
};

use portkey_file_watch::Watched;
use portkey_store::{Key, Store};

use self::bounded::{VISIT, Visit};
use super::{refusal::Refusal, streams::Callers};
use crate::{
    auth::principal::Principal,
    security::signed_state::{Broken, Keyring, Purpose},
    transport::trim::trim_initialize,
};

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// The first revision without sessions.
const WITHOUT_SESSIONS: &str = "2026-07-28";

/// How long an idle session is remembered in the store, where it takes some hundred bytes, and can be gone on
/// with. Some clients never come back from a session that is forgotten, so it is long. In memory, where it
/// takes some 50 kB, it stays for [`Bounds::idle`].
pub(crate) const REMEMBERED: Duration = Duration::from_secs(3600);

/// What lies in the store in the place of a session that its client has ended.
const ENDED: &[u8] = b"ended";

/// How long an id that opened is taken for open: to open one takes longer than most else in a call. So its
/// time, and that of a key that was removed, may end by this much later.
const OPEN: Duration = Duration::from_secs(5);

/// When to come back after too many sessions: clients end theirs when they feel like it.
const LATER: Duration = Duration::from_secs(30);

/// The bounds on sessions.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long an id is good, however busy its session.
    pub ttl: Duration,
    /// How long one may idle, without a stream or a call, before its memory is released.
    pub idle: Duration,
    /// How many may be live at this replica.
    pub most: usize,
    /// How many of them may be those of one caller.
    pub most_of_principal: usize,
}

/// The sessions of this replica, and what it knows of others'.
pub(super) struct Sessions {
    live: Arc<Bounded>,
    keys: Arc<Watched<Keyring>>,
    /// Ids that opened a moment ago, by what they are sealed as.
    opened: Cache<HeaderValue, Opened>,
    callers: Callers,
    store: Store,
    ttl: Duration,
}

/// An id, and for whom it opened.
#[derive(Clone)]
struct Opened {
    id: HeaderValue,
    principal: Arc<str>,
}

impl Sessions {
    /// The token ends their calls.
    pub(super) fn new(
        bounds: Bounds,
        keys: Arc<Watched<Keyring>>,
        store: Store,
        callers: Callers,
        end: CancellationToken,
    ) -> Self {
        let most = u64::try_from(bounds.most).unwrap_or(u64::MAX);
        let opened = Cache::builder()
            .time_to_live(OPEN)
            .max_capacity(most)
            .build();
        let live = Bounded::new(bounds, callers.clone(), end);
        Self {
            live,
            keys,
            opened,
            callers,
            store,
            ttl: bounds.ttl,
        }
    }

    /// Where rmcp keeps the sessions that are live here.
    pub(super) fn live(&self) -> &Arc<Bounded> {
        &self.live
    }

    /// Where rmcp looks for sessions that are not.
    pub(super) fn elsewhere(&self) -> Arc<dyn SessionStore> {
        let (store, callers) = (self.store.clone(), self.callers.clone());
        Arc::new(Elsewhere {
            store,
            callers,
            live: self.live.clone(),
        })
    }

    /// Has a request answered: ids are opened on their way in and sealed on their way out.
    pub(super) async fn follow<F: Future<Output = Response>>(
        &self,
        request: Request,
        next: impl FnOnce(Request) -> F,
    ) -> Response {
        self.try_follow(request, next)
            .await
            .unwrap_or_else(IntoResponse::into_response)
    }

    async fn try_follow<F: Future<Output = Response>>(
        &self,
        mut request: Request,
        next: impl FnOnce(Request) -> F,
    ) -> Result<Response, Refusal> {
        let principal = request
            .extensions()
            .get::<Arc<Principal>>()
            .ok_or_else(nobody)?
            .clone();
        match self.opened(&request, &principal)? {
            Some(id) => {
                let name = id.to_str().map_err(|_| Broken)?;
                self.demand_not_ended(name, &principal).await?;
                if principal.grant.can_end() {
                    self.renew(name, &principal, request.method()).await?;
                }
                request.headers_mut().insert(SESSION_ID, id);
            }
            None => _ = request.headers_mut().remove(SESSION_ID),
        }
        let visit = Visit {
            principal: principal.clone(),
            place: Cell::default(),
        };
        let mut response = VISIT.scope(visit, next(request)).await;
        if let Some(id) = response.headers().get(SESSION_ID) {
            let sealed = self.sealed(id, &principal)?;
            response.headers_mut().insert(SESSION_ID, sealed);
        }
        Ok(response)
    }

    /// Has a session last for as long as what let its caller in this time, and be one of a proven caller if
    /// that is one. A stream takes a proven caller.
    async fn renew(&self, id: &str, principal: &Principal, method: &Method) -> Result<(), Refusal> {
        let Some(session) = self.live.find(id) else {
            return Ok(());
        };
        session.renew(principal.grant);
        if !session.is_unproven() {
            return Ok(());
        }
        let opens_stream = *method == Method::GET;
        if opens_stream {
            self.callers.auth.prove(principal).await?;
        }
        if self.callers.auth.is_proven(&principal.name) {
            let promoted = self.live.promote(&session).await;
            // Without a place it goes on as it was.
            promoted.or_else(|_| if opens_stream { Err(full()) } else { Ok(()) })?;
        }
        Ok(())
    }

    /// The id in the header, where sessions mean anything to the request.
    fn opened(
        &self,
        request: &Request,
        principal: &Principal,
    ) -> Result<Option<HeaderValue>, Broken> {
        let Some(sealed) = request.headers().get(SESSION_ID) else {
            return Ok(None);
        };
        let version = request.headers().get(PROTOCOL_VERSION);
        if version.is_some_and(|version| version.as_bytes() >= WITHOUT_SESSIONS.as_bytes()) {
            return Ok(None);
        }
        if let Some(opened) = self.opened.get(sealed)
            && opened.principal == principal.name
        {
            return Ok(Some(opened.id));
        }
        let text = sealed.to_str().map_err(|_| Broken)?;
        let id = self
            .keys
            .get()
            .open(Purpose::Session, &principal.name, b"", text)?;
        let id = HeaderValue::from_maybe_shared(Bytes::from(id)).map_err(|_| Broken)?;
        let opened = Opened {
            id: id.clone(),
            principal: principal.name.clone(),
        };
        // A copy, because the header itself keeps all of its request's head in memory.
        self.opened.insert(header(text)?, opened);
        Ok(Some(id))
    }

    fn sealed(&self, id: &HeaderValue, principal: &Principal) -> Result<HeaderValue, Broken> {
        let keys = self.keys.get();
        header(&keys.seal(
            Purpose::Session,
            &principal.name,
            b"",
            id.as_bytes(),
            self.ttl,
        ))
    }

    /// Makes sure that nobody has ended it, and that it stays known elsewhere for as long as it may idle.
    /// Without the store it goes on where it is.
    async fn demand_not_ended(&self, id: &str, principal: &Principal) -> Result<(), Refusal> {
        let is_proven = self.callers.auth.is_proven(&principal.name)
            || self
                .live
                .find(id)
                .is_some_and(|session| !session.is_unproven());
        let state = match is_proven {
            true => self.store.refresh(&key(id), REMEMBERED).await,
            // It is known for no longer than before: that may be the time of a caller who was proven.
            false => self.store.get(&key(id)).await,
        };
        match state {
            Ok(Some(state)) if state == ENDED => {
                // That it may not be here, or not any more, is no error.
                _ = self.live.close_session(&id.into()).await;
                Err(Broken.into())
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// What replicas know of each other's sessions. A store that is away is an empty one: its sessions then
/// live at their own replica only.
struct Elsewhere {
    store: Store,
    callers: Callers,
    live: Arc<Bounded>,
}

#[async_trait]
impl SessionStore for Elsewhere {
    async fn load(&self, id: &str) -> Result<Option<SessionState>, SessionStoreError> {
        let found = self.store.get(&key(id)).await.ok().flatten();
        Ok(found.and_then(|state| serde_json::from_slice(&state).ok()))
    }

    async fn store(&self, id: &str, state: &SessionState) -> Result<(), SessionStoreError> {
        let mut state = state.clone();
        trim_initialize(&mut state.initialize_params);
        let (mut key, mut time) = (key(id), self.live.unproven_idle());
        _ = VISIT.try_with(|Visit { principal, .. }| {
            let is_proven = self.callers.auth.is_proven(&principal.name);
            if is_proven {
                time = REMEMBERED;
            }
            // Who begins many sessions has the earliest of them forgotten, and not those of others.
            let network = principal.network.filter(|_| !is_proven);
            let network = network.map(|network| network.to_string());
            key = key
                .clone()
                .owned_by(network.as_deref().unwrap_or(&principal.name));
        });
        _ = self
            .store
            .put(&key, serde_json::to_vec(&state)?.into(), time)
            .await;
        Ok(())
    }

    async fn delete(&self, id: &str) -> Result<(), SessionStoreError> {
        // Kept, not removed: a replica that has the session in memory has to learn of it.
        _ = self
            .store
            .put(&key(id), Bytes::from_static(ENDED), REMEMBERED)
            .await;
        Ok(())
    }
}

fn key(id: &str) -> Key {
    Key::new("session", &[id])
}

fn header(text: &str) -> Result<HeaderValue, Broken> {
    HeaderValue::from_str(text).map_err(|_| Broken)
}

/// An id that does not open is that of no session.
impl From<Broken> for Refusal {
    fn from(_: Broken) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "there is no such session; begin one with `initialize`",
        )
    }
}

/// There is room for no more sessions.
pub(super) fn full() -> Refusal {
    let message = "too many sessions are in use; end those that are not needed, or use the protocol of \
                   2026-07-28, which has none";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message).retry_after(LATER)
}

fn nobody() -> Refusal {
    Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the request has no caller",
    )
}

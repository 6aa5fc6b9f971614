//! Sessions of clients up to 2025-11-25: their owners, their limits, and their continuation at
//! another replica.
//!
//! A client knows its session by a signed id. The id is valid at every replica, for the caller it
//! was issued to, for a limited time. The shared store holds what a replica needs to continue a
//! session, for as long as the session may be idle. A marker in the store tells that a client has
//! ended a session.

mod active;
mod manager;

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
    active::{ActiveSession, InFlightCall},
    manager::LimitedSessionManager,
};

pub(crate) use self::manager::{
    CROWDED_UNPROVEN_IDLE_TIMEOUT, CROWDED_UNPROVEN_SESSIONS, MAX_UNPROVEN_SESSIONS,
    MAX_UNPROVEN_SESSIONS_PER_NETWORK, UNPROVEN_SESSION_TTL,
};

use portkey_concurrency::spawn_cache_expiry;
use portkey_file_watch::WatchedValue;
use portkey_store::{Store, StoreKey};

use self::manager::{CURRENT_REQUEST, CurrentRequest};
use super::{error_response::ErrorResponse, streams::CallerAuth};
use crate::{
    auth::principal::Principal,
    security::signed_state::{InvalidState, Keyring, StatePurpose},
    transport::trim::trim_initialize,
};

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// The first revision without sessions.
const FIRST_VERSION_WITHOUT_SESSIONS: &str = "2026-07-28";

/// Lifetime of an idle session in the store, during which it can be continued.
///
/// Some clients never recover from a lost session, so it is long. A session takes some hundred
/// bytes in the store. In memory it takes some 50 kB, for [`SessionBounds::idle_timeout`].
pub(crate) const STORED_SESSION_TTL: Duration = Duration::from_secs(3600);

/// Marker in the store for a session that its client has ended.
const ENDED_MARKER: &[u8] = b"ended";

/// Time for which a verified id is cached, because verifying one takes longer than most other steps
/// of a call. An expired id, or one whose key was removed, may therefore stay valid for this much
/// longer.
const VERIFIED_ID_TTL: Duration = Duration::from_secs(5);

/// Retry delay when there are too many sessions. Clients end sessions whenever they like.
const RETRY_AFTER_SESSION_LIMIT: Duration = Duration::from_secs(30);

/// Limits on sessions.
#[derive(Clone, Copy, Debug)]
pub struct SessionBounds {
    /// Maximum lifetime of an id, however busy its session.
    pub ttl: Duration,
    /// Time without a stream or a call after which a session's memory is released.
    pub idle_timeout: Duration,
    /// Maximum number of active sessions at this replica.
    pub max: usize,
    /// Maximum number of active sessions of one caller.
    pub max_per_principal: usize,
}

/// The sessions of this replica, and those in the shared store.
pub(super) struct Sessions {
    manager: Arc<LimitedSessionManager>,
    keys: Arc<WatchedValue<Keyring>>,
    /// Recently verified ids, by their signed form.
    verified_ids: Arc<Cache<HeaderValue, VerifiedId>>,
    callers: CallerAuth,
    store: Store,
    ttl: Duration,
}

/// A verified id, and the caller it belongs to.
#[derive(Clone)]
struct VerifiedId {
    id: HeaderValue,
    principal: Arc<str>,
}

impl Sessions {
    /// Creates the sessions of a replica. `end` cancels their calls.
    pub(super) fn new(
        bounds: SessionBounds,
        keys: Arc<WatchedValue<Keyring>>,
        store: Store,
        callers: CallerAuth,
        end: CancellationToken,
    ) -> Self {
        let max_sessions = u64::try_from(bounds.max).unwrap_or(u64::MAX);
        let verified_ids = Cache::builder()
            .time_to_live(VERIFIED_ID_TTL)
            .max_capacity(max_sessions)
            .build();
        let verified_ids = Arc::new(verified_ids);
        spawn_cache_expiry(&verified_ids);
        let manager = LimitedSessionManager::new(bounds, callers.clone(), end);
        Self {
            manager,
            keys,
            verified_ids,
            callers,
            store,
            ttl: bounds.ttl,
        }
    }

    /// The manager of active sessions, for rmcp.
    pub(super) fn manager(&self) -> &Arc<LimitedSessionManager> {
        &self.manager
    }

    /// The store of sessions that are not active here, for rmcp.
    pub(super) fn shared_store(&self) -> Arc<dyn SessionStore> {
        let store = self.store.clone();
        let callers = self.callers.clone();
        Arc::new(SharedSessionStore {
            store,
            callers,
            manager: self.manager.clone(),
        })
    }

    /// Serves a request in its session. Session ids are verified in the request and signed in the
    /// response.
    pub(super) async fn serve<F: Future<Output = Response>>(
        &self,
        request: Request,
        next: impl FnOnce(Request) -> F,
    ) -> Response {
        self.try_serve(request, next)
            .await
            .unwrap_or_else(IntoResponse::into_response)
    }

    async fn try_serve<F: Future<Output = Response>>(
        &self,
        mut request: Request,
        next: impl FnOnce(Request) -> F,
    ) -> Result<Response, ErrorResponse> {
        let principal = request
            .extensions()
            .get::<Arc<Principal>>()
            .ok_or_else(missing_caller_error)?
            .clone();
        match self.verify_id(&request, &principal)? {
            Some(id) => {
                let name = id.to_str().map_err(|_| InvalidState)?;
                self.ensure_not_ended(name, &principal).await?;
                if principal.grant.can_end() {
                    self.renew(name, &principal, request.method()).await?;
                }
                request.headers_mut().insert(SESSION_ID, id);
            }
            None => _ = request.headers_mut().remove(SESSION_ID),
        }
        let current_request = CurrentRequest {
            principal: principal.clone(),
            permits: Cell::default(),
        };
        let mut response = CURRENT_REQUEST.scope(current_request, next(request)).await;
        if let Some(id) = response.headers().get(SESSION_ID) {
            let signed_id = self.sign_id(id, &principal)?;
            response.headers_mut().insert(SESSION_ID, signed_id);
        }
        Ok(response)
    }

    /// Extends a session to the grant of this request's caller. Counts it as one of a proven caller
    /// if that is the case. A stream requires a proven caller.
    async fn renew(
        &self,
        id: &str,
        principal: &Principal,
        method: &Method,
    ) -> Result<(), ErrorResponse> {
        let Some(session) = self.manager.find(id) else {
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
            let promoted = self.manager.promote(&session).await;
            // Without permits the session continues as before.
            promoted.or_else(|_| {
                if opens_stream {
                    Err(session_limit_error())
                } else {
                    Ok(())
                }
            })?;
        }
        Ok(())
    }

    /// Verifies the session id in the header. Returns `None` if there is none or the revision has
    /// no sessions.
    fn verify_id(
        &self,
        request: &Request,
        principal: &Principal,
    ) -> Result<Option<HeaderValue>, InvalidState> {
        let Some(signed_id) = request.headers().get(SESSION_ID) else {
            return Ok(None);
        };
        let version = request.headers().get(PROTOCOL_VERSION);
        if version
            .is_some_and(|version| version.as_bytes() >= FIRST_VERSION_WITHOUT_SESSIONS.as_bytes())
        {
            return Ok(None);
        }
        if let Some(verified) = self.verified_ids.get(signed_id)
            && verified.principal == principal.name
        {
            return Ok(Some(verified.id));
        }
        let text = signed_id.to_str().map_err(|_| InvalidState)?;
        let id = self
            .keys
            .get()
            .verify(StatePurpose::Session, &principal.name, b"", text)?;
        let id = HeaderValue::from_maybe_shared(Bytes::from(id)).map_err(|_| InvalidState)?;
        let verified = VerifiedId {
            id: id.clone(),
            principal: principal.name.clone(),
        };
        // A copy, because a header value keeps the whole head of its request in memory.
        self.verified_ids.insert(header_value(text)?, verified);
        Ok(Some(id))
    }

    fn sign_id(
        &self,
        id: &HeaderValue,
        principal: &Principal,
    ) -> Result<HeaderValue, InvalidState> {
        let keys = self.keys.get();
        header_value(&keys.sign(
            StatePurpose::Session,
            &principal.name,
            b"",
            id.as_bytes(),
            self.ttl,
        ))
    }

    /// Checks that the session was not ended, and extends its lifetime in the store. If the store
    /// is unavailable, the session continues at this replica.
    async fn ensure_not_ended(&self, id: &str, principal: &Principal) -> Result<(), ErrorResponse> {
        let is_proven = self.callers.auth.is_proven(&principal.name)
            || self
                .manager
                .find(id)
                .is_some_and(|session| !session.is_unproven());
        let state = match is_proven {
            true => {
                self.store
                    .refresh(&session_key(id), STORED_SESSION_TTL)
                    .await
            }
            // The lifetime in the store is not extended: it may stem from a time when the caller
            // was proven.
            false => self.store.get(&session_key(id)).await,
        };
        match state {
            Ok(Some(state)) if state == ENDED_MARKER => {
                // The session may be inactive here, which is no error.
                _ = self.manager.close_session(&id.into()).await;
                Err(InvalidState.into())
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// The sessions in the shared store. An unavailable store counts as empty: sessions then exist at
/// their own replica only.
struct SharedSessionStore {
    store: Store,
    callers: CallerAuth,
    manager: Arc<LimitedSessionManager>,
}

#[async_trait]
impl SessionStore for SharedSessionStore {
    async fn load(&self, id: &str) -> Result<Option<SessionState>, SessionStoreError> {
        let found = self.store.get(&session_key(id)).await.ok().flatten();
        Ok(found.and_then(|state| serde_json::from_slice(&state).ok()))
    }

    async fn store(&self, id: &str, state: &SessionState) -> Result<(), SessionStoreError> {
        let mut state = state.clone();
        trim_initialize(&mut state.initialize_params);
        let mut key = session_key(id);
        let mut time = self.manager.unproven_idle_timeout();
        _ = CURRENT_REQUEST.try_with(|CurrentRequest { principal, .. }| {
            let is_proven = self.callers.auth.is_proven(&principal.name);
            if is_proven {
                time = STORED_SESSION_TTL;
            }
            // Entries of one owner displace only each other: a caller who starts many sessions
            // loses the oldest of them.
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
        // Marked instead of removed, because replicas with the session in memory have to learn of
        // its end.
        _ = self
            .store
            .put(
                &session_key(id),
                Bytes::from_static(ENDED_MARKER),
                STORED_SESSION_TTL,
            )
            .await;
        Ok(())
    }
}

fn session_key(id: &str) -> StoreKey {
    StoreKey::new("session", &[id])
}

fn header_value(text: &str) -> Result<HeaderValue, InvalidState> {
    HeaderValue::from_str(text).map_err(|_| InvalidState)
}

/// An invalid id names no session.
impl From<InvalidState> for ErrorResponse {
    fn from(_: InvalidState) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "there is no such session; begin one with `initialize`",
        )
    }
}

/// Creates the response for when the limit on sessions is reached.
pub(super) fn session_limit_error() -> ErrorResponse {
    let message = "too many sessions are in use; end those that are not needed, or use the protocol of \
                   2026-07-28, which has none";
    ErrorResponse::new(StatusCode::SERVICE_UNAVAILABLE, message)
        .with_retry_after(RETRY_AFTER_SESSION_LIMIT)
}

fn missing_caller_error() -> ErrorResponse {
    ErrorResponse::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the request has no caller",
    )
}

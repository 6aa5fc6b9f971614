//! A session manager with limits around rmcp's local one. At a limit, an idle session is evicted
//! for a new one. An evicted session can be continued like one that was idle for too long.
//!
//! An unproven caller is one whose key the upstream has not confirmed yet. Sessions of unproven
//! callers have limits of their own.

use std::{
    cell::Cell,
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures_util::{Stream, StreamExt, future::ready, stream};
use portkey_concurrency::shrink_sparse;
use rmcp::{
    ErrorData,
    model::{
        ClientJsonRpcMessage, ClientNotification, ClientRequest, InitializeRequestParams,
        RequestId, ServerJsonRpcMessage, ServerResult,
    },
    transport::streamable_http_server::session::{
        RestoreOutcome, ServerSseMessage, SessionId, SessionManager,
        local::{LocalSessionHandle, LocalSessionManager, LocalSessionManagerError, SessionConfig},
    },
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    SessionBounds,
    active::{ActiveSession, OpenStream},
};
use crate::{
    auth::principal::Principal,
    transport::{
        http::{
            limits::{ConcurrencyLimiter, Permit},
            streams::CallerAuth,
        },
        trim::trim_message,
    },
};

tokio::task_local! {
    /// The request being served. rmcp does not pass it to its session manager.
    pub(super) static CURRENT_REQUEST: CurrentRequest;
}

/// The parts of a request that the session manager needs, and the permits it obtained.
pub(super) struct CurrentRequest {
    pub(super) principal: Arc<Principal>,
    /// Permits for the session that the request may start.
    pub(super) permits: Cell<Option<SessionPermits>>,
}

/// Permits of a session: one of all, and one of its principal. A session of an unproven caller
/// takes one of all unproven, and one of its network instead.
pub(super) type SessionPermits = (Permit<()>, Option<Permit<Arc<str>>>, Option<Permit<IpAddr>>);

/// Maximum number of sessions of unproven callers.
pub(crate) const MAX_UNPROVEN_SESSIONS: usize = 250;

/// Maximum number of sessions of unproven callers in one network.
pub(crate) const MAX_UNPROVEN_SESSIONS_PER_NETWORK: usize = 25;

/// Maximum lifetime of a session while its caller is unproven.
pub(crate) const UNPROVEN_SESSION_TTL: Duration = Duration::from_secs(60);

/// Idle timeout of such a session if more than [`CROWDED_UNPROVEN_SESSIONS`] were active since its last use.
pub(crate) const CROWDED_UNPROVEN_IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Number of sessions of unproven callers above which the shorter idle timeout applies.
pub(crate) const CROWDED_UNPROVEN_SESSIONS: usize = 8;

/// Interval of checking whether the caller of such a session is proven by now.
const PROOF_INTERVAL: Duration = Duration::from_secs(10);

/// Timeout for ending a session that is being evicted.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Stream id that never exists, because ids count up from zero.
const UNUSED_STREAM_ID: u64 = u64::MAX;

pub(in crate::transport::http) struct LimitedSessionManager {
    rmcp: LocalSessionManager,
    all_sessions: Arc<ConcurrencyLimiter<()>>,
    per_principal: Arc<ConcurrencyLimiter<Arc<str>>>,
    unproven: Arc<ConcurrencyLimiter<()>>,
    per_network: Arc<ConcurrencyLimiter<IpAddr>>,
    callers: CallerAuth,
    /// Reference to itself, for the tasks of its sessions.
    this: Weak<Self>,
    active: Mutex<HashMap<SessionId, Arc<ActiveSession>>>,
    idle_timeout: Duration,
    /// Cancels calls that outlive the server.
    end: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
pub(in crate::transport::http) enum SessionError {
    #[error("too many sessions")]
    LimitReached,
    #[error(transparent)]
    Local(#[from] LocalSessionManagerError),
}

impl LimitedSessionManager {
    pub(super) fn new(
        bounds: SessionBounds,
        callers: CallerAuth,
        end: CancellationToken,
    ) -> Arc<Self> {
        let mut rmcp = LocalSessionManager::default();
        let mut config = SessionConfig::default();
        config.keep_alive = Some(bounds.idle_timeout);
        rmcp.session_config = config;
        Arc::new_cyclic(|this| Self {
            rmcp,
            all_sessions: ConcurrencyLimiter::new(bounds.max),
            per_principal: ConcurrencyLimiter::new(bounds.max_per_principal),
            unproven: ConcurrencyLimiter::new(MAX_UNPROVEN_SESSIONS),
            per_network: ConcurrencyLimiter::new(MAX_UNPROVEN_SESSIONS_PER_NETWORK),
            callers,
            this: this.clone(),
            active: Mutex::default(),
            idle_timeout: bounds.idle_timeout,
            end,
        })
    }

    /// Finds an active session.
    pub(in crate::transport::http) fn find(&self, id: &str) -> Option<Arc<ActiveSession>> {
        self.active_sessions().get(id).cloned()
    }

    /// Touches a session in rmcp, which ends sessions that seem idle. Returns `false` if the
    /// session is gone.
    pub(in crate::transport::http) async fn touch(&self, session: &ActiveSession) -> bool {
        if !session.needs_touch() {
            return true;
        }
        match self.handle(&session.id).await {
            Some(handle) => touch_session(&handle).await,
            None => false,
        }
    }

    /// Reserves permits for a session that a request may start, or continue from another replica.
    /// rmcp would report a lack of permits as an error of its own.
    ///
    /// # Errors
    /// Returns an error if the limit is reached and no session is idle.
    pub(in crate::transport::http) async fn reserve_permits(
        &self,
        id: Option<&SessionId>,
        begins: bool,
    ) -> Result<(), SessionError> {
        if let Some(id) = id {
            match self.find(id) {
                // The session can be continued once it has ended.
                Some(session) if session.is_closing() => {
                    _ = timeout(CLOSE_TIMEOUT, session.wait_for_end()).await;
                }
                Some(_) => return Ok(()),
                None => {}
            }
        } else if !begins {
            return Ok(());
        }
        let Ok(principal) = CURRENT_REQUEST.try_with(|visit| visit.principal.clone()) else {
            return Ok(());
        };
        let place = self.acquire_permits(&principal).await?;
        _ = CURRENT_REQUEST.try_with(|visit| visit.permits.set(Some(place)));
        Ok(())
    }

    /// Answers a server's request with an error, in the place of a client that accepts no stream of
    /// events.
    pub(in crate::transport::http) async fn decline_server_request(
        &self,
        id: Option<&SessionId>,
        question: RequestId,
    ) {
        let message = "the client accepts no stream of events, so it cannot be asked";
        let error =
            ClientJsonRpcMessage::error(ErrorData::invalid_request(message, None), Some(question));
        if let Some(id) = id {
            // A session that has ended waits for no answer.
            _ = self.rmcp.accept_message(id, error).await;
        }
    }

    async fn handle(&self, id: &SessionId) -> Option<LocalSessionHandle> {
        self.rmcp.sessions.read().await.get(id).cloned()
    }

    async fn start_session(&self, id: SessionId, principal: &Principal, place: SessionPermits) {
        let end = self.end.child_token();
        let session = Arc::new(ActiveSession::new(
            id.clone(),
            principal,
            place,
            self.idle_timeout,
            end,
        ));
        if let Some(handle) = self.handle(&id).await {
            tokio::spawn(supervise_session(
                self.this.clone(),
                session.clone(),
                handle,
            ));
        }
        self.active_sessions().insert(id, session);
    }

    /// Acquires permits for a session of this caller, evicting another one if necessary.
    async fn acquire_permits(&self, principal: &Principal) -> Result<SessionPermits, SessionError> {
        match self.callers.auth.is_proven(&principal.name) {
            true => self.acquire_proven_permits(&principal.name).await,
            false => {
                self.acquire_unproven_permits(caller_network(principal))
                    .await
            }
        }
    }

    /// Counts a session as one of a proven caller from now on.
    ///
    /// # Errors
    /// Returns an error if the limit is reached and no session is idle.
    pub(super) async fn promote(&self, session: &ActiveSession) -> Result<(), SessionError> {
        let place = self.acquire_proven_permits(&session.principal).await?;
        session.promote(place);
        Ok(())
    }

    async fn acquire_proven_permits(
        &self,
        principal: &Arc<str>,
    ) -> Result<SessionPermits, SessionError> {
        loop {
            let of_anybody = match self.per_principal.acquire(principal.clone()) {
                None => false,
                Some(of_principal) => match self.all_sessions.acquire(()) {
                    Some(all) => return Ok((all, Some(of_principal), None)),
                    None => true,
                },
            };
            let Some(idle) = self.longest_idle(principal, of_anybody) else {
                let bound = if of_anybody {
                    "--max-sessions"
                } else {
                    "--max-sessions-per-principal"
                };
                warn!(
                    caller = &**principal,
                    bound, "session refused: as many as allowed are in use"
                );
                return Err(SessionError::LimitReached);
            };
            self.evict(&idle).await;
        }
    }

    /// Acquires permits for a session of an unproven caller. If necessary, the least recently used
    /// session is evicted, even if one of its streams is open.
    async fn acquire_unproven_permits(
        &self,
        network: IpAddr,
    ) -> Result<SessionPermits, SessionError> {
        loop {
            let of_any = match self.per_network.acquire(network) {
                None => false,
                Some(of_network) => match self.unproven.acquire(()) {
                    Some(all) => return Ok((all, None, Some(of_network))),
                    None => true,
                },
            };
            let oldest = {
                let active = self.active_sessions();
                let unproven = active
                    .values()
                    .filter(|one| one.is_unproven() && !one.is_closing());
                let near = unproven.filter(|one| of_any || one.network == network);
                near.min_by_key(|one| (one.is_busy(), one.last_used()))
                    .cloned()
            };
            // Sessions that are about to start have permits, and cannot be evicted yet.
            let oldest = oldest.ok_or(SessionError::LimitReached)?;
            self.evict(&oldest).await;
        }
    }

    /// Returns the current idle timeout of sessions with an unproven caller.
    pub(super) fn unproven_idle_timeout(&self) -> Duration {
        if self.is_crowded() {
            CROWDED_UNPROVEN_IDLE_TIMEOUT
        } else {
            UNPROVEN_SESSION_TTL
        }
    }

    /// Returns `true` if there are so many sessions of unproven callers that idle ones end early.
    fn is_crowded(&self) -> bool {
        self.unproven.count(&()) > CROWDED_UNPROVEN_SESSIONS
    }

    /// Ends a session in favour of another. The session can be continued.
    async fn evict(&self, session: &ActiveSession) {
        if session.begin_closing()
            && let Some(handle) = self.handle(&session.id).await
        {
            // A session that has ended by itself frees its permits as well.
            _ = handle.close().await;
        }
    }

    /// Returns the session that was idle for longest. Sessions of this caller come first; those of
    /// others count only if `of_anybody` is set.
    fn longest_idle(&self, principal: &Arc<str>, of_anybody: bool) -> Option<Arc<ActiveSession>> {
        let active = self.active_sessions();
        let proven = active.values().filter(|one| !one.is_unproven());
        let idle =
            proven.filter_map(|one| Some((one.principal != *principal, one.idle_since()?, one)));
        let idle = idle.filter(|(is_foreign, ..)| of_anybody || !is_foreign);
        idle.min_by_key(|(is_foreign, since, _)| (*is_foreign, *since))
            .map(|(_, _, one)| one.clone())
    }

    /// Returns the caller and the reserved permits, or acquires others.
    async fn take_permits(&self) -> Result<(Arc<Principal>, SessionPermits), SessionError> {
        let prepared =
            CURRENT_REQUEST.try_with(|visit| (visit.principal.clone(), visit.permits.take()));
        let (principal, place) = prepared.map_err(|_| SessionError::LimitReached)?;
        match place {
            Some(place) => Ok((principal, place)),
            None => Ok((principal.clone(), self.acquire_permits(&principal).await?)),
        }
    }

    fn active_sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<ActiveSession>>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionManager for LimitedSessionManager {
    type Error = SessionError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), SessionError> {
        let (principal, place) = self.take_permits().await?;
        let (id, transport) = self.rmcp.create_session().await?;
        self.start_session(id.clone(), &principal, place).await;
        Ok((id, transport))
    }

    async fn restore_session(
        &self,
        id: SessionId,
    ) -> Result<RestoreOutcome<Self::Transport>, SessionError> {
        let (principal, place) = self.take_permits().await?;
        let outcome = self.rmcp.restore_session(id.clone()).await?;
        if matches!(outcome, RestoreOutcome::Restored(_)) {
            self.start_session(id, &principal, place).await;
        }
        Ok(outcome)
    }

    /// Called whenever a session ends, for whatever reason.
    async fn close_session(&self, id: &SessionId) -> Result<(), SessionError> {
        let session = self.find(id);
        let closed = self.rmcp.close_session(id).await;
        if let Some(session) = session {
            // A request that waits for the end may continue the session at once.
            let mut active = self.active_sessions();
            active.retain(|_, one| !Arc::ptr_eq(one, &session));
            shrink_sparse(&mut active);
            drop(active);
            session.end();
        }
        Ok(closed?)
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        mut message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, SessionError> {
        // rmcp keeps the message for as long as the session lasts.
        trim_message(&mut message);
        let params = initialize_params(&message);
        // The session is not idle, and so not evicted, until the message is answered.
        let _open = self.find(id).map(|session| session.open_stream(None));
        let answer = self.rmcp.initialize_session(id, message).await?;
        if let (Some(mut hello), Some(session)) = (params, self.find(id))
            && let ServerJsonRpcMessage::Response(response) = &answer
            && let ServerResult::InitializeResult(result) = &response.result
        {
            hello.protocol_version = result.protocol_version.clone();
            session.set_initialize_params(hello);
        }
        Ok(answer)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, SessionError> {
        Ok(self.rmcp.has_session(id).await?)
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionError> {
        let request_id = match &message {
            ClientJsonRpcMessage::Request(request) => Some(request.id.clone()),
            _ => None,
        };
        let mut open = None;
        if let Some(session) = self.find(id) {
            if let Some(Err(why)) = request_id
                .as_ref()
                .map(|asked| session.register_request(asked))
            {
                let error = ErrorData::invalid_request(why, None);
                let refused = ServerJsonRpcMessage::error(error, request_id);
                let refused = ServerSseMessage::from_message(refused);
                return Ok(stream::once(ready(refused)).left_stream());
            }
            open = Some(session.open_stream(request_id));
        }
        Ok(track_stream(self.rmcp.create_stream(id, message).await?, open).right_stream())
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), SessionError> {
        if let Some(session) = self.find(id) {
            // The message itself touches the session in rmcp.
            _ = session.needs_touch();
            if let ClientJsonRpcMessage::Notification(said) = &message
                && let ClientNotification::CancelledNotification(cancelled) = &said.notification
                && let Some(call) = &cancelled.params.request_id
            {
                session.cancel_call(call);
            }
        }
        Ok(self.rmcp.accept_message(id, message).await?)
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionError> {
        let open = self.find(id).map(|session| session.open_stream(None));
        Ok(track_stream(
            self.rmcp.create_standalone_stream(id).await?,
            open,
        ))
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionError> {
        let open = self.find(id).map(|session| session.open_stream(None));
        Ok(track_stream(
            self.rmcp.resume(id, last_event_id).await?,
            open,
        ))
    }
}

/// Returns the parameters of an `initialize` request.
fn initialize_params(message: &ClientJsonRpcMessage) -> Option<InitializeRequestParams> {
    let ClientJsonRpcMessage::Request(request) = message else {
        return None;
    };
    let ClientRequest::InitializeRequest(hello) = &request.request else {
        return None;
    };
    Some(hello.params.clone())
}

/// Wraps a stream so that its session counts as in use.
fn track_stream(
    stream: impl Stream<Item = ServerSseMessage> + Send + Sync + 'static,
    mut open: Option<OpenStream>,
) -> impl Stream<Item = ServerSseMessage> + Send + Sync + 'static {
    stream.inspect(move |event| {
        let is_answer = event.message.as_deref().is_some_and(|message| {
            matches!(
                message,
                ServerJsonRpcMessage::Response(_) | ServerJsonRpcMessage::Error(_)
            )
        });
        if let Some(open) = open.as_mut().filter(|_| is_answer) {
            open.mark_answered();
        }
    })
}

/// Touches a session in rmcp for as long as it is in use. Streams and calls count as use, and rmcp
/// notices neither.
///
/// Ends the session when its caller's grant ends, or when an unproven caller is not proven in time.
async fn supervise_session(
    sessions: Weak<LimitedSessionManager>,
    session: Arc<ActiveSession>,
    handle: LocalSessionHandle,
) {
    let Some(CallerAuth { auth, changes }) = sessions.upgrade().map(|all| all.callers.clone())
    else {
        return;
    };
    let mut changes = changes.subscribe();
    let mut last_crowded = None;
    loop {
        let Some(check) = auth.next_check(&session.grant()) else {
            info!(
                caller = &*session.principal,
                "a session ended, because its caller is let in no longer"
            );
            _ = session.begin_closing();
            _ = handle.close().await;
            return;
        };
        let mut interval = session.touch_interval().min(check);
        if session.is_unproven() {
            interval = interval.min(PROOF_INTERVAL);
        }
        tokio::select! {
            () = session.wait_for_end() => return,
            () = tokio::time::sleep(interval) => {}
            () = changes.wait_for_change() => {}
        }
        let Some(all) = sessions.upgrade() else {
            return;
        };
        if session.is_unproven() {
            let is_proven = auth.is_proven(&session.principal);
            if all.is_crowded() {
                last_crowded = Some(Instant::now());
            }
            let is_idle = session
                .idle_since()
                .is_some_and(|since| since.elapsed() >= idle_timeout(since, last_crowded));
            let is_late = is_idle || session.is_older_than(UNPROVEN_SESSION_TTL);
            if is_proven && all.promote(&session).await.is_err() || is_late && session.is_unproven()
            {
                all.evict(&session).await;
                return;
            }
        }
        if session.is_busy() && !touch_session(&handle).await {
            return;
        }
    }
}

/// Returns the idle timeout of a session of an unproven caller, whose last use was at `since`.
///
/// A session that idled in a crowd keeps the shorter timeout after the crowd is gone. Otherwise its last sessions
/// would stay for a minute, scattered over the memory of all others, none of which could be released.
fn idle_timeout(since: Instant, last_crowded: Option<Instant>) -> Duration {
    if last_crowded.is_some_and(|crowded| crowded >= since) {
        CROWDED_UNPROVEN_IDLE_TIMEOUT
    } else {
        UNPROVEN_SESSION_TTL
    }
}

/// Returns the network of an unproven caller.
fn caller_network(principal: &Principal) -> IpAddr {
    principal.network.unwrap_or(Ipv6Addr::UNSPECIFIED.into())
}

/// Touches a session in rmcp. Returns `false` if the session is gone.
async fn touch_session(handle: &LocalSessionHandle) -> bool {
    // Any event counts as use, and this one does nothing else.
    handle
        .close_request_wise_channel(UNUSED_STREAM_ID)
        .await
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_that_idled_in_a_crowd_keeps_the_shorter_timeout() {
        let crowded = Instant::now();
        let earlier = crowded - Duration::from_secs(1);
        let later = crowded + Duration::from_secs(1);
        assert_eq!(
            idle_timeout(earlier, Some(crowded)),
            CROWDED_UNPROVEN_IDLE_TIMEOUT
        );
        assert_eq!(
            idle_timeout(later, Some(crowded)),
            UNPROVEN_SESSION_TTL,
            "it was used when the crowd was gone"
        );
        assert_eq!(idle_timeout(earlier, None), UNPROVEN_SESSION_TTL);
    }
}

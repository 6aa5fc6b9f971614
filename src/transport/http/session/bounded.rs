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
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Bounds,
    live::{Live, OpenStream},
};
use crate::{
    auth::principal::Principal,
    transport::{
        http::{
            limits::{Permit, UnderWay},
            streams::Callers,
        },
        trim::trim,
    },
};

tokio::task_local! {
    /// The request being served. rmcp does not pass it to its session manager.
    pub(super) static VISIT: Visit;
}

/// The parts of a request that the session manager needs, and the permits it obtained.
pub(super) struct Visit {
    pub(super) principal: Arc<Principal>,
    /// Permits for the session that the request may start.
    pub(super) place: Cell<Option<Place>>,
}

/// Permits of a session: one of all, and one of its principal. A session of an unproven caller
/// takes one of all unproven, and one of its network instead.
pub(super) type Place = (Permit<()>, Option<Permit<Arc<str>>>, Option<Permit<IpAddr>>);

/// Maximum number of sessions of unproven callers.
pub(crate) const MAX_UNPROVEN_SESSIONS: usize = 250;

/// Maximum number of sessions of unproven callers in one network.
pub(crate) const MAX_UNPROVEN_SESSIONS_PER_NETWORK: usize = 25;

/// Maximum lifetime of a session while its caller is unproven.
pub(crate) const UNPROVEN_TTL: Duration = Duration::from_secs(60);

/// Idle timeout of such a session while more than [`FEW_UNPROVEN_SESSIONS`] are active.
pub(crate) const CROWDED_UNPROVEN_TTL: Duration = Duration::from_secs(15);

/// Number of sessions of unproven callers above which the shorter idle timeout applies.
pub(crate) const FEW_UNPROVEN_SESSIONS: usize = 32;

/// Interval of checking whether the caller of such a session is proven by now.
const PROOF_INTERVAL: Duration = Duration::from_secs(10);

/// Timeout for ending a session that is being evicted.
const CLOSING: Duration = Duration::from_secs(5);

/// Stream id that never exists, because ids count up from zero.
const NO_STREAM: u64 = u64::MAX;

pub(in crate::transport::http) struct Bounded {
    rmcp: LocalSessionManager,
    all: Arc<UnderWay<()>>,
    of_principal: Arc<UnderWay<Arc<str>>>,
    unproven: Arc<UnderWay<()>>,
    of_network: Arc<UnderWay<IpAddr>>,
    callers: Callers,
    /// Reference to itself, for the tasks of its sessions.
    this: Weak<Self>,
    live: Mutex<HashMap<SessionId, Arc<Live>>>,
    idle: Duration,
    /// Cancels calls that outlive the server.
    end: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
pub(in crate::transport::http) enum Error {
    #[error("too many sessions")]
    Full,
    #[error(transparent)]
    Local(#[from] LocalSessionManagerError),
}

impl Bounded {
    pub(super) fn new(bounds: Bounds, callers: Callers, end: CancellationToken) -> Arc<Self> {
        let mut rmcp = LocalSessionManager::default();
        let mut config = SessionConfig::default();
        config.keep_alive = Some(bounds.idle);
        rmcp.session_config = config;
        Arc::new_cyclic(|this| Self {
            rmcp,
            all: UnderWay::new(bounds.most),
            of_principal: UnderWay::new(bounds.most_of_principal),
            unproven: UnderWay::new(MAX_UNPROVEN_SESSIONS),
            of_network: UnderWay::new(MAX_UNPROVEN_SESSIONS_PER_NETWORK),
            callers,
            this: this.clone(),
            live: Mutex::default(),
            idle: bounds.idle,
            end,
        })
    }

    /// Finds an active session.
    pub(in crate::transport::http) fn find(&self, id: &str) -> Option<Arc<Live>> {
        self.live().get(id).cloned()
    }

    /// Touches a session in rmcp, which ends sessions that seem idle. Returns `false` if the
    /// session is gone.
    pub(in crate::transport::http) async fn keep(&self, session: &Live) -> bool {
        if !session.take_due() {
            return true;
        }
        match self.handle(&session.id).await {
            Some(handle) => is_heard(&handle).await,
            None => false,
        }
    }

    /// Reserves permits for a session that a request may start, or continue from another replica.
    /// rmcp would report a lack of permits as an error of its own.
    ///
    /// # Errors
    /// Returns an error if the limit is reached and no session is idle.
    pub(in crate::transport::http) async fn prepare(
        &self,
        id: Option<&SessionId>,
        begins: bool,
    ) -> Result<(), Error> {
        if let Some(id) = id {
            match self.find(id) {
                // The session can be continued once it has ended.
                Some(session) if session.is_closing() => {
                    _ = timeout(CLOSING, session.ended()).await;
                }
                Some(_) => return Ok(()),
                None => {}
            }
        } else if !begins {
            return Ok(());
        }
        let Ok(principal) = VISIT.try_with(|visit| visit.principal.clone()) else {
            return Ok(());
        };
        let place = self.place(&principal).await?;
        _ = VISIT.try_with(|visit| visit.place.set(Some(place)));
        Ok(())
    }

    /// Answers a server's request with an error, in the place of a client that accepts no stream of
    /// events.
    pub(in crate::transport::http) async fn decline(
        &self,
        id: Option<&SessionId>,
        question: RequestId,
    ) {
        let told = "the client accepts no stream of events, so it cannot be asked";
        let error =
            ClientJsonRpcMessage::error(ErrorData::invalid_request(told, None), Some(question));
        if let Some(id) = id {
            // A session that has ended waits for no answer.
            _ = self.rmcp.accept_message(id, error).await;
        }
    }

    async fn handle(&self, id: &SessionId) -> Option<LocalSessionHandle> {
        self.rmcp.sessions.read().await.get(id).cloned()
    }

    async fn begin(&self, id: SessionId, principal: &Principal, place: Place) {
        let end = self.end.child_token();
        let session = Arc::new(Live::new(id.clone(), principal, place, self.idle, end));
        if let Some(handle) = self.handle(&id).await {
            tokio::spawn(hold(self.this.clone(), session.clone(), handle));
        }
        self.live().insert(id, session);
    }

    /// Acquires permits for a session of this caller, evicting another one if necessary.
    async fn place(&self, principal: &Principal) -> Result<Place, Error> {
        match self.callers.auth.is_proven(&principal.name) {
            true => self.place_of(&principal.name).await,
            false => self.unproven_place(network_of(principal)).await,
        }
    }

    /// Counts a session as one of a proven caller from now on.
    ///
    /// # Errors
    /// Returns an error if the limit is reached and no session is idle.
    pub(super) async fn promote(&self, session: &Live) -> Result<(), Error> {
        let place = self.place_of(&session.principal).await?;
        session.promote(place);
        Ok(())
    }

    async fn place_of(&self, principal: &Arc<str>) -> Result<Place, Error> {
        loop {
            let of_anybody = match self.of_principal.begin(principal.clone()) {
                None => false,
                Some(of_principal) => match self.all.begin(()) {
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
                return Err(Error::Full);
            };
            self.close(&idle).await;
        }
    }

    /// Acquires permits for a session of an unproven caller. If necessary, the least recently used
    /// session is evicted, even if one of its streams is open.
    async fn unproven_place(&self, network: IpAddr) -> Result<Place, Error> {
        loop {
            let of_any = match self.of_network.begin(network) {
                None => false,
                Some(of_network) => match self.unproven.begin(()) {
                    Some(all) => return Ok((all, None, Some(of_network))),
                    None => true,
                },
            };
            let oldest = {
                let live = self.live();
                let unproven = live
                    .values()
                    .filter(|one| one.is_unproven() && !one.is_closing());
                let near = unproven.filter(|one| of_any || one.network == network);
                near.min_by_key(|one| (one.is_busy(), one.last_used()))
                    .cloned()
            };
            // Sessions that are about to start have permits, and cannot be evicted yet.
            let oldest = oldest.ok_or(Error::Full)?;
            self.close(&oldest).await;
        }
    }

    /// Returns the current idle timeout of sessions with an unproven caller.
    pub(super) fn unproven_idle(&self) -> Duration {
        let is_crowded = self.unproven.count(&()) > FEW_UNPROVEN_SESSIONS;
        if is_crowded {
            CROWDED_UNPROVEN_TTL
        } else {
            UNPROVEN_TTL
        }
    }

    /// Ends a session in favour of another. The session can be continued.
    async fn close(&self, session: &Live) {
        if session.close()
            && let Some(handle) = self.handle(&session.id).await
        {
            // A session that has ended by itself frees its permits as well.
            _ = handle.close().await;
        }
    }

    /// Returns the session that was idle for longest. Sessions of this caller come first; those of
    /// others count only if `of_anybody` is set.
    fn longest_idle(&self, principal: &Arc<str>, of_anybody: bool) -> Option<Arc<Live>> {
        let live = self.live();
        let proven = live.values().filter(|one| !one.is_unproven());
        let idle =
            proven.filter_map(|one| Some((one.principal != *principal, one.idle_since()?, one)));
        let idle = idle.filter(|(is_foreign, ..)| of_anybody || !is_foreign);
        idle.min_by_key(|(is_foreign, since, _)| (*is_foreign, *since))
            .map(|(_, _, one)| one.clone())
    }

    /// Returns the caller and the reserved permits, or acquires others.
    async fn prepared(&self) -> Result<(Arc<Principal>, Place), Error> {
        let prepared = VISIT.try_with(|visit| (visit.principal.clone(), visit.place.take()));
        let (principal, place) = prepared.map_err(|_| Error::Full)?;
        match place {
            Some(place) => Ok((principal, place)),
            None => Ok((principal.clone(), self.place(&principal).await?)),
        }
    }

    fn live(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionManager for Bounded {
    type Error = Error;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Error> {
        let (principal, place) = self.prepared().await?;
        let (id, transport) = self.rmcp.create_session().await?;
        self.begin(id.clone(), &principal, place).await;
        Ok((id, transport))
    }

    async fn restore_session(
        &self,
        id: SessionId,
    ) -> Result<RestoreOutcome<Self::Transport>, Error> {
        let (principal, place) = self.prepared().await?;
        let outcome = self.rmcp.restore_session(id.clone()).await?;
        if matches!(outcome, RestoreOutcome::Restored(_)) {
            self.begin(id, &principal, place).await;
        }
        Ok(outcome)
    }

    /// Called whenever a session ends, for whatever reason.
    async fn close_session(&self, id: &SessionId) -> Result<(), Error> {
        let session = self.find(id);
        let closed = self.rmcp.close_session(id).await;
        if let Some(session) = session {
            // A request that waits for the end may continue the session at once.
            self.live().retain(|_, one| !Arc::ptr_eq(one, &session));
            session.end();
        }
        Ok(closed?)
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        mut message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Error> {
        // rmcp keeps the message for as long as the session lasts.
        trim(&mut message);
        let hello = hello(&message);
        // The session is not idle, and so not evicted, until the message is answered.
        let _open = self.find(id).map(|session| session.open_stream(None));
        let answer = self.rmcp.initialize_session(id, message).await?;
        if let (Some(mut hello), Some(session)) = (hello, self.find(id))
            && let ServerJsonRpcMessage::Response(response) = &answer
            && let ServerResult::InitializeResult(result) = &response.result
        {
            hello.protocol_version = result.protocol_version.clone();
            session.initialized(hello);
        }
        Ok(answer)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Error> {
        Ok(self.rmcp.has_session(id).await?)
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Error> {
        let asked = match &message {
            ClientJsonRpcMessage::Request(request) => Some(request.id.clone()),
            _ => None,
        };
        let mut open = None;
        if let Some(session) = self.find(id) {
            if let Some(Err(why)) = asked.as_ref().map(|asked| session.ask(asked)) {
                let error = ErrorData::invalid_request(why, None);
                let refused = ServerJsonRpcMessage::error(error, asked);
                let refused = ServerSseMessage::from_message(refused);
                return Ok(stream::once(ready(refused)).left_stream());
            }
            open = Some(session.open_stream(asked));
        }
        Ok(held(self.rmcp.create_stream(id, message).await?, open).right_stream())
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), Error> {
        if let Some(session) = self.find(id) {
            // The message itself touches the session in rmcp.
            _ = session.take_due();
            if let ClientJsonRpcMessage::Notification(said) = &message
                && let ClientNotification::CancelledNotification(cancelled) = &said.notification
                && let Some(call) = &cancelled.params.request_id
            {
                session.cancel(call);
            }
        }
        Ok(self.rmcp.accept_message(id, message).await?)
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Error> {
        let open = self.find(id).map(|session| session.open_stream(None));
        Ok(held(self.rmcp.create_standalone_stream(id).await?, open))
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Error> {
        let open = self.find(id).map(|session| session.open_stream(None));
        Ok(held(self.rmcp.resume(id, last_event_id).await?, open))
    }
}

/// Returns the parameters of an `initialize` request.
fn hello(message: &ClientJsonRpcMessage) -> Option<InitializeRequestParams> {
    let ClientJsonRpcMessage::Request(request) = message else {
        return None;
    };
    let ClientRequest::InitializeRequest(hello) = &request.request else {
        return None;
    };
    Some(hello.params.clone())
}

/// Wraps a stream so that its session counts as in use.
fn held(
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
            open.answered();
        }
    })
}

/// Touches a session in rmcp for as long as it is in use. Streams and calls count as use, and rmcp
/// notices neither.
///
/// Ends the session when its caller's grant ends, or when an unproven caller is not proven in time.
async fn hold(sessions: Weak<Bounded>, session: Arc<Live>, handle: LocalSessionHandle) {
    let Some(Callers { auth, changes }) = sessions.upgrade().map(|all| all.callers.clone()) else {
        return;
    };
    let mut changes = changes.subscribe();
    loop {
        let Some(check) = auth.next_check(&session.grant()) else {
            info!(
                caller = &*session.principal,
                "a session ended, because its caller is let in no longer"
            );
            _ = session.close();
            _ = handle.close().await;
            return;
        };
        let mut interval = session.interval().min(check);
        if session.is_unproven() {
            interval = interval.min(PROOF_INTERVAL);
        }
        tokio::select! {
            () = session.ended() => return,
            () = tokio::time::sleep(interval) => {}
            () = changes.wait_for_change() => {}
        }
        let Some(all) = sessions.upgrade() else {
            return;
        };
        if session.is_unproven() {
            let is_proven = auth.is_proven(&session.principal);
            let idle = session.idle_since().map(|since| since.elapsed());
            let is_late = session.is_older_than(UNPROVEN_TTL)
                || idle.is_some_and(|idle| idle >= all.unproven_idle());
            if is_proven && all.promote(&session).await.is_err() || is_late && session.is_unproven()
            {
                all.close(&session).await;
                return;
            }
        }
        if session.is_busy() && !is_heard(&handle).await {
            return;
        }
    }
}

/// Returns the network of an unproven caller.
fn network_of(principal: &Principal) -> IpAddr {
    principal.network.unwrap_or(Ipv6Addr::UNSPECIFIED.into())
}

/// Touches a session in rmcp. Returns `false` if the session is gone.
async fn is_heard(handle: &LocalSessionHandle) -> bool {
    // Any event counts as use, and this one does nothing else.
    handle.close_request_wise_channel(NO_STREAM).await.is_ok()
}

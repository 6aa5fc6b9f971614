//! The sessions that live in this process, as rmcp keeps them, but no more than allowed: where that many are
//! live, one that idles makes room for the next. It can be gone on with like one that idled for too long.

use std::{
    cell::Cell,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{Stream, StreamExt};
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
use tracing::warn;

use super::{
    Bounds,
    live::{Live, OpenStream},
};
use crate::transport::{
    http::limits::{Permit, UnderWay},
    trim::trim,
};

tokio::task_local! {
    /// The request that is being served: rmcp does not tell its session manager.
    pub(super) static VISIT: Visit;
}

/// What is to be known of a request here, and what came of it.
pub(super) struct Visit {
    pub(super) principal: Arc<str>,
    /// The place of the session that it may begin.
    pub(super) place: Cell<Option<Place>>,
}

/// What a session takes up: one of all, one of its principal's.
pub(super) type Place = (Permit<()>, Permit<Arc<str>>);

/// How long a session may take to end that makes room for another.
const CLOSING: Duration = Duration::from_secs(5);

/// No stream has this number: they are counted from zero.
const NO_STREAM: u64 = u64::MAX;

pub(in crate::transport::http) struct Bounded {
    rmcp: LocalSessionManager,
    all: Arc<UnderWay<()>>,
    of_principal: Arc<UnderWay<Arc<str>>>,
    live: Mutex<HashMap<SessionId, Arc<Live>>>,
    idle: Duration,
    /// Ends calls that outlive the server.
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
    pub(super) fn new(bounds: Bounds, end: CancellationToken) -> Self {
        let mut rmcp = LocalSessionManager::default();
        let mut config = SessionConfig::default();
        config.keep_alive = Some(bounds.idle);
        rmcp.session_config = config;
        Self {
            rmcp,
            all: UnderWay::new(bounds.most),
            of_principal: UnderWay::new(bounds.most_of_principal),
            live: Mutex::default(),
            idle: bounds.idle,
            end,
        }
    }

    /// A session that is live here.
    pub(in crate::transport::http) fn find(&self, id: &str) -> Option<Arc<Live>> {
        self.live().get(id).cloned()
    }

    /// Has rmcp know that a session is in use, which it otherwise would end for idling; whether it is still
    /// there.
    pub(in crate::transport::http) async fn keep(&self, session: &Live) -> bool {
        if !session.take_due() {
            return true;
        }
        match self.handle(&session.id).await {
            Some(handle) => is_heard(&handle).await,
            None => false,
        }
    }

    /// Sees to it that a session which a request may begin, or go on with from elsewhere, has a place. rmcp
    /// would take the lack of one for an error of its own.
    ///
    /// # Errors
    /// As many as allowed are in use.
    pub(in crate::transport::http) async fn prepare(
        &self,
        id: Option<&SessionId>,
        begins: bool,
    ) -> Result<(), Error> {
        if let Some(id) = id {
            match self.find(id) {
                // It can be gone on with once it has gone.
                Some(session) if session.is_closing() => {
                    _ = timeout(CLOSING, session.ended()).await;
                }
                Some(_) => return Ok(()),
                None => {}
            }
        } else if !begins {
            return Ok(());
        }
        let Ok(principal) = VISIT.try_with(|visit| visit.principal.clone()) else { return Ok(()) };
        let place = self.place(&principal).await?;
        _ = VISIT.try_with(|visit| visit.place.set(Some(place)));
        Ok(())
    }

    /// Tells a session that its client does not answer a question.
    pub(in crate::transport::http) async fn decline(
        &self,
        id: Option<&SessionId>,
        question: RequestId,
    ) {
        let told = "the client accepts no stream of events, so it cannot be asked";
        let error =
            ClientJsonRpcMessage::error(ErrorData::invalid_request(told, None), Some(question));
        if let Some(id) = id {
            // A session that has ended asks nothing any more.
            _ = self.rmcp.accept_message(id, error).await;
        }
    }

    async fn handle(&self, id: &SessionId) -> Option<LocalSessionHandle> {
        self.rmcp.sessions.read().await.get(id).cloned()
    }

    async fn begin(&self, id: SessionId, principal: Arc<str>, place: Place) {
        let end = self.end.child_token();
        let session = Arc::new(Live::new(id.clone(), principal, place, self.idle, end));
        if let Some(handle) = self.handle(&id).await {
            tokio::spawn(hold(session.clone(), handle));
        }
        self.live().insert(id, session);
    }

    /// A place for a session of this caller's, which another may have to make room for.
    async fn place(&self, principal: &Arc<str>) -> Result<Place, Error> {
        loop {
            let of_anybody = match self.of_principal.begin(principal.clone()) {
                None => false,
                Some(of_principal) => match self.all.begin(()) {
                    Some(all) => return Ok((all, of_principal)),
                    None => true,
                },
            };
            let Some(idle) = self.longest_idle(principal, of_anybody) else {
                let bound =
                    if of_anybody { "--max-sessions" } else { "--max-sessions-per-principal" };
                warn!(
                    caller = &**principal,
                    bound, "session refused: as many as allowed are in use"
                );
                return Err(Error::Full);
            };
            if idle.close()
                && let Some(handle) = self.handle(&idle.id).await
            {
                // One that has ended by itself makes room as well.
                _ = handle.close().await;
            }
        }
    }

    /// The session that has idled for longest: one of this caller's if there is one, or if it has to be.
    fn longest_idle(&self, principal: &Arc<str>, of_anybody: bool) -> Option<Arc<Live>> {
        let live = self.live();
        let idle = live
            .values()
            .filter_map(|one| Some((one.principal != *principal, one.idle_since()?, one)));
        let idle = idle.filter(|(is_foreign, ..)| of_anybody || !is_foreign);
        idle.min_by_key(|(is_foreign, since, _)| (*is_foreign, *since))
            .map(|(_, _, one)| one.clone())
    }

    /// The place that was prepared, or another, and whose.
    async fn prepared(&self) -> Result<(Arc<str>, Place), Error> {
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
        self.begin(id.clone(), principal, place).await;
        Ok((id, transport))
    }

    async fn restore_session(
        &self,
        id: SessionId,
    ) -> Result<RestoreOutcome<Self::Transport>, Error> {
        let (principal, place) = self.prepared().await?;
        let outcome = self.rmcp.restore_session(id.clone()).await?;
        if matches!(outcome, RestoreOutcome::Restored(_)) {
            self.begin(id, principal, place).await;
        }
        Ok(outcome)
    }

    /// Called whenever one ends, for whatever reason.
    async fn close_session(&self, id: &SessionId) -> Result<(), Error> {
        let session = self.find(id);
        let closed = self.rmcp.close_session(id).await;
        if let Some(session) = session {
            // Whoever waits for its end may go on with it at once.
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
        // rmcp keeps it for as long as the session lasts.
        trim(&mut message);
        let hello = hello(&message);
        // Until it is answered it makes room for no other.
        let _open = self.find(id).map(|session| session.open_stream(false));
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
        let open = self.find(id).map(|session| session.open_stream(true));
        Ok(held(self.rmcp.create_stream(id, message).await?, open))
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), Error> {
        if let Some(session) = self.find(id) {
            // rmcp hears of it by the message itself.
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
        let open = self.find(id).map(|session| session.open_stream(false));
        Ok(held(self.rmcp.create_standalone_stream(id).await?, open))
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Error> {
        let open = self.find(id).map(|session| session.open_stream(false));
        Ok(held(self.rmcp.resume(id, last_event_id).await?, open))
    }
}

/// What a client says when it begins a session.
fn hello(message: &ClientJsonRpcMessage) -> Option<InitializeRequestParams> {
    let ClientJsonRpcMessage::Request(request) = message else { return None };
    let ClientRequest::InitializeRequest(hello) = &request.request else { return None };
    Some(hello.params.clone())
}

/// A stream that keeps its session in use.
fn held(
    stream: impl Stream<Item = ServerSseMessage> + Send + Sync + 'static,
    mut open: Option<OpenStream>,
) -> impl Stream<Item = ServerSseMessage> + Send + Sync + 'static {
    stream.inspect(move |event| {
        let is_answer = event.message.as_deref().is_some_and(|message| {
            matches!(message, ServerJsonRpcMessage::Response(_) | ServerJsonRpcMessage::Error(_))
        });
        if let Some(open) = open.as_mut().filter(|_| is_answer) {
            open.awaits_answer = false;
        }
    })
}

/// Has rmcp hear of a session for as long as it is in use: streams and calls count as use, and rmcp hears of
/// neither on its own.
async fn hold(session: Arc<Live>, handle: LocalSessionHandle) {
    loop {
        tokio::select! {
            () = session.ended() => return,
            () = tokio::time::sleep(session.interval()) => {}
        }
        if session.is_busy() && !is_heard(&handle).await {
            return;
        }
    }
}

/// Has rmcp hear of a session; whether it is still there.
async fn is_heard(handle: &LocalSessionHandle) -> bool {
    // Whatever it is told counts as use, and this does nothing else.
    handle.close_request_wise_channel(NO_STREAM).await.is_ok()
}

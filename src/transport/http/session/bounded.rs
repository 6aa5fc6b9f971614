//! The sessions that live in this process, as rmcp keeps them, but no more than allowed.

use std::{
    cell::Cell,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::Stream;
use rmcp::{
    model::{
        ClientJsonRpcMessage, ClientNotification, ClientRequest, InitializeRequestParams,
        ServerJsonRpcMessage, ServerResult,
    },
    transport::streamable_http_server::session::{
        RestoreOutcome, ServerSseMessage, SessionId, SessionManager,
        local::{LocalSessionManager, LocalSessionManagerError, SessionConfig},
    },
};
use tokio_util::sync::CancellationToken;

use super::{Bounds, IDLE, live::Live};
use crate::transport::http::limits::{Permit, UnderWay};

tokio::task_local! {
    /// The request that is being served: rmcp does not tell its session manager.
    pub(super) static VISIT: Visit;
}

/// What is to be known of a request here, and what came of it.
pub(super) struct Visit {
    pub(super) principal: Arc<str>,
    /// Whether it would have begun one session too many.
    pub(super) refused: Cell<bool>,
}

/// What a session takes up: one of all, one of its principal's.
pub(super) type Place = (Permit<()>, Permit<Arc<str>>);

/// No stream has this number: they are counted from zero.
const NO_STREAM: u64 = u64::MAX;

pub(in crate::transport::http) struct Bounded {
    rmcp: LocalSessionManager,
    all: Arc<UnderWay<()>>,
    of_principal: Arc<UnderWay<Arc<str>>>,
    live: Mutex<HashMap<SessionId, Arc<Live>>>,
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
        config.keep_alive = Some(IDLE);
        rmcp.session_config = config;
        Self {
            rmcp,
            all: UnderWay::new(bounds.most),
            of_principal: UnderWay::new(bounds.most_of_principal),
            live: Mutex::default(),
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
        let Some(handle) = self.rmcp.sessions.read().await.get(&session.id).cloned() else {
            return false;
        };
        // Whatever it is told counts as use, and this does nothing else.
        handle.close_request_wise_channel(NO_STREAM).await.is_ok()
    }

    fn begin(&self, id: SessionId, place: Place) {
        let session = Live::new(id.clone(), place, self.end.child_token());
        self.live().insert(id, session.into());
    }

    fn place(&self) -> Result<Place, Error> {
        let free = |visit: &Visit| {
            let place = (self.all.begin(())?, self.of_principal.begin(visit.principal.clone())?);
            Some(place)
        };
        let place = VISIT.try_with(|visit| {
            let place = free(visit);
            visit.refused.set(place.is_none());
            place
        });
        place.ok().flatten().ok_or(Error::Full)
    }

    fn live(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionManager for Bounded {
    type Error = Error;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Error> {
        let place = self.place()?;
        let (id, transport) = self.rmcp.create_session().await?;
        self.begin(id.clone(), place);
        Ok((id, transport))
    }

    async fn restore_session(
        &self,
        id: SessionId,
    ) -> Result<RestoreOutcome<Self::Transport>, Error> {
        let place = self.place()?;
        let outcome = self.rmcp.restore_session(id.clone()).await?;
        if matches!(outcome, RestoreOutcome::Restored(_)) {
            self.begin(id, place);
        }
        Ok(outcome)
    }

    /// Called whenever one ends, for whatever reason.
    async fn close_session(&self, id: &SessionId) -> Result<(), Error> {
        if let Some(session) = self.live().remove(id) {
            session.end();
        }
        Ok(self.rmcp.close_session(id).await?)
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Error> {
        let hello = hello(&message);
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
        Ok(self.rmcp.create_stream(id, message).await?)
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), Error> {
        if let ClientJsonRpcMessage::Notification(said) = &message
            && let ClientNotification::CancelledNotification(cancelled) = &said.notification
            && let (Some(call), Some(session)) = (&cancelled.params.request_id, self.find(id))
        {
            session.cancel(call);
        }
        Ok(self.rmcp.accept_message(id, message).await?)
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Error> {
        Ok(self.rmcp.create_standalone_stream(id).await?)
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Error> {
        Ok(self.rmcp.resume(id, last_event_id).await?)
    }
}

/// What a client says when it begins a session.
fn hello(message: &ClientJsonRpcMessage) -> Option<InitializeRequestParams> {
    let ClientJsonRpcMessage::Request(request) = message else { return None };
    let ClientRequest::InitializeRequest(hello) = &request.request else { return None };
    Some(hello.params.clone())
}

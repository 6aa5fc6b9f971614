//! The sessions that live in this process, as rmcp keeps them, but no more than allowed.

use std::{
    cell::Cell,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::Stream;
use rmcp::{
    model::{ClientJsonRpcMessage, ServerJsonRpcMessage},
    transport::streamable_http_server::session::{
        RestoreOutcome, ServerSseMessage, SessionId, SessionManager,
        local::{LocalSessionManager, LocalSessionManagerError, SessionConfig},
    },
};

use super::{Bounds, IDLE};
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
type Place = (Permit<()>, Permit<Arc<str>>);

pub(super) struct Bounded {
    live: LocalSessionManager,
    all: Arc<UnderWay<()>>,
    of_principal: Arc<UnderWay<Arc<str>>>,
    places: Mutex<HashMap<SessionId, Place>>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("too many sessions")]
    Full,
    #[error(transparent)]
    Local(#[from] LocalSessionManagerError),
}

impl Bounded {
    pub(super) fn new(bounds: Bounds) -> Self {
        let mut live = LocalSessionManager::default();
        let mut config = SessionConfig::default();
        config.keep_alive = Some(IDLE);
        live.session_config = config;
        Self {
            live,
            all: UnderWay::new(bounds.most),
            of_principal: UnderWay::new(bounds.most_of_principal),
            places: Mutex::default(),
        }
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

    fn places(&self) -> MutexGuard<'_, HashMap<SessionId, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionManager for Bounded {
    type Error = Error;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Error> {
        let place = self.place()?;
        let (id, transport) = self.live.create_session().await?;
        self.places().insert(id.clone(), place);
        Ok((id, transport))
    }

    async fn restore_session(
        &self,
        id: SessionId,
    ) -> Result<RestoreOutcome<Self::Transport>, Error> {
        let place = self.place()?;
        let outcome = self.live.restore_session(id.clone()).await?;
        if matches!(outcome, RestoreOutcome::Restored(_)) {
            self.places().insert(id, place);
        }
        Ok(outcome)
    }

    /// Called whenever one ends, for whatever reason.
    async fn close_session(&self, id: &SessionId) -> Result<(), Error> {
        self.places().remove(id);
        Ok(self.live.close_session(id).await?)
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Error> {
        Ok(self.live.initialize_session(id, message).await?)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Error> {
        Ok(self.live.has_session(id).await?)
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Error> {
        Ok(self.live.create_stream(id, message).await?)
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), Error> {
        Ok(self.live.accept_message(id, message).await?)
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Error> {
        Ok(self.live.create_standalone_stream(id).await?)
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Error> {
        Ok(self.live.resume(id, last_event_id).await?)
    }
}

//! Streams that wait for notifications: limits on their number, and their end with the caller's
//! grant.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use futures_util::StreamExt;
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::time::sleep;
use tracing::info;

use super::{
    SessionBounds,
    limits::{Permit, UnderWay},
    refusal::Refusal,
};
use crate::auth::{Auth, CallerChanges, principal::Principal};

/// Maximum number of streams of all callers. Higher if more sessions are allowed, because each
/// session may have one.
pub(crate) const MAX_STREAMS: usize = 2_048;

/// Retry delay after too many streams.
const RETRY_DELAY: Duration = Duration::from_secs(30);

/// Marks the response of a request that only listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listening;

/// Authentication of callers, and its changes.
#[derive(Clone, Debug)]
pub(super) struct Callers {
    pub(super) auth: Arc<Auth>,
    pub(super) changes: CallerChanges,
}

impl Callers {
    /// Ends a stream with its caller's grant: at once if it only listens, and otherwise after
    /// `grace`. A call that was made in time can then still be answered.
    pub(super) fn limit(
        &self,
        response: Response,
        principal: Arc<Principal>,
        grace: Duration,
    ) -> Response {
        let listens = response.extensions().get::<Listening>().is_some();
        let Self { auth, changes } = self.clone();
        response.map(|body| {
            let ended = Box::pin(async move {
                auth.wait_until_grant_ends(&principal, changes.subscribe()).await;
                if !listens {
                    sleep(grace).await;
                }
                info!(
                    caller = &*principal.name,
                    "a stream ended, because its caller is let in no longer"
                );
            });
            Body::from_stream(body.into_data_stream().take_until(ended))
        })
    }
}

/// Limits on streams that wait for notifications.
#[derive(Debug)]
pub(super) struct Streams {
    auth: Arc<Auth>,
    all: Arc<UnderWay<()>>,
    of_principal: Arc<UnderWay<Arc<str>>>,
}

/// Permits of one stream.
pub(super) type StreamPermit = (Permit<()>, Permit<Arc<str>>);

impl Streams {
    /// Creates limits. Each caller may have as many streams as concurrent requests, and one for
    /// each session.
    pub(super) fn new(auth: Arc<Auth>, concurrency: usize, sessions: SessionBounds) -> Self {
        Self {
            auth,
            all: UnderWay::new(MAX_STREAMS.max(sessions.most)),
            of_principal: UnderWay::new(concurrency.max(sessions.most_of_principal)),
        }
    }

    /// Acquires permits for a stream. The caller has to be proven.
    pub(super) async fn begin(&self, principal: &Principal) -> Result<StreamPermit, Refusal> {
        self.auth.prove(principal).await?;
        let of_principal = self
            .of_principal
            .begin(principal.name.clone())
            .ok_or_else(|| {
                let told = "this caller has too many streams open; close some of them";
                Refusal::new(StatusCode::TOO_MANY_REQUESTS, told).retry_after(RETRY_DELAY)
            })?;
        let all = self.all.begin(()).ok_or_else(|| {
            let told = "too many streams are open; try again later, or go without one";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, told).retry_after(RETRY_DELAY)
        })?;
        Ok((all, of_principal))
    }
}

/// Holds a stream's permits until the last byte of its response is sent.
pub(super) fn holding(response: Response, permit: StreamPermit) -> Response {
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _held = &permit;
            frame
        }))
    })
}

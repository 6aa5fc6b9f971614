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
    error_response::ErrorResponse,
    limits::{ConcurrencyLimiter, Permit},
};
use crate::auth::{Auth, CallerChanges, principal::Principal};

/// Maximum number of streams of all callers. Higher if more sessions are allowed, because each
/// session may have one.
pub(crate) const MAX_STREAMS: usize = 2_048;

/// Retry delay after too many streams.
const RETRY_AFTER_STREAM_LIMIT: Duration = Duration::from_secs(30);

/// Marks the response of a request that only listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListenOnly;

/// Authentication of callers, and its changes.
#[derive(Clone, Debug)]
pub(super) struct CallerAuth {
    pub(super) auth: Arc<Auth>,
    pub(super) changes: CallerChanges,
}

impl CallerAuth {
    /// Ends a stream with its caller's grant: at once if it only listens, and otherwise after
    /// `grace`. A call that was made in time can then still be answered.
    pub(super) fn end_with_grant(
        &self,
        response: Response,
        principal: Arc<Principal>,
        grace: Duration,
    ) -> Response {
        let listens = response.extensions().get::<ListenOnly>().is_some();
        let Self { auth, changes } = self.clone();
        response.map(|body| {
            let ended = Box::pin(async move {
                auth.wait_until_grant_ends(&principal, changes.subscribe())
                    .await;
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
pub(super) struct StreamLimiter {
    auth: Arc<Auth>,
    all_streams: Arc<ConcurrencyLimiter<()>>,
    per_principal: Arc<ConcurrencyLimiter<Arc<str>>>,
}

/// Permits of one stream.
pub(super) type StreamPermit = (Permit<()>, Permit<Arc<str>>);

impl StreamLimiter {
    /// Creates limits. Each caller may have as many streams as concurrent requests, and one for
    /// each session.
    pub(super) fn new(auth: Arc<Auth>, concurrency: usize, sessions: SessionBounds) -> Self {
        Self {
            auth,
            all_streams: ConcurrencyLimiter::new(MAX_STREAMS.max(sessions.max)),
            per_principal: ConcurrencyLimiter::new(concurrency.max(sessions.max_per_principal)),
        }
    }

    /// Acquires permits for a stream. The caller has to be proven.
    pub(super) async fn acquire(
        &self,
        principal: &Principal,
    ) -> Result<StreamPermit, ErrorResponse> {
        self.auth.prove(principal).await?;
        let of_principal = self
            .per_principal
            .acquire(principal.name.clone())
            .ok_or_else(|| {
                let message = "this caller has too many streams open; close some of them";
                ErrorResponse::new(StatusCode::TOO_MANY_REQUESTS, message)
                    .with_retry_after(RETRY_AFTER_STREAM_LIMIT)
            })?;
        let all = self.all_streams.acquire(()).ok_or_else(|| {
            let message = "too many streams are open; try again later, or go without one";
            ErrorResponse::new(StatusCode::SERVICE_UNAVAILABLE, message)
                .with_retry_after(RETRY_AFTER_STREAM_LIMIT)
        })?;
        Ok((all, of_principal))
    }
}

/// Holds a stream's permits until the last byte of its response is sent.
pub(super) fn hold_permit(response: Response, permit: StreamPermit) -> Response {
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _held = &permit;
            frame
        }))
    })
}

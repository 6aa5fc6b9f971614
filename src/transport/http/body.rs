//! Request bodies: read whole, bounded in size and time, before anything else is done with them.

use std::time::Duration;

use axum::{body::Body, extract::Request};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::refusal::Refusal;

/// Up to which size a request that is too large is read all the same: a client that is still sending
/// when the connection closes never sees why.
const READ_TO_REFUSE: usize = 64 << 20;

/// The bounds on a request body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// In bytes.
    pub(super) size: usize,
    /// From the end of the head to the end of the body.
    pub(super) time: Duration,
}

impl Bounds {
    /// The request with its body at hand.
    pub(super) async fn read(self, request: Request) -> Result<Request, Refusal> {
        let (parts, body) = request.into_parts();
        let read = async {
            if declared(&parts.headers).is_some_and(|length| length > self.size) {
                drain(&parts.headers, body).await;
                return Err(Refusal::too_large());
            }
            match Limited::new(body, self.size).collect().await {
                Ok(body) => Ok(body.to_bytes()),
                Err(error) if error.is::<LengthLimitError>() => Err(Refusal::too_large()),
                Err(_) => Err(Refusal::new(StatusCode::BAD_REQUEST, "the body broke off")),
            }
        };
        let slow = || Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body took too long to arrive");
        let bytes: Bytes = timeout(self.time, read).await.map_err(|_| slow())??;
        Ok(Request::from_parts(parts, bytes.into()))
    }
}

fn declared(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn drain(headers: &HeaderMap, body: Body) {
    // Who asked whether to send has sent nothing yet, and reading would tell it to.
    let asks_first = headers.contains_key(header::EXPECT);
    if declared(headers).is_none_or(|length| length > READ_TO_REFUSE) || asks_first {
        return;
    }
    let mut body = body.into_data_stream();
    while let Some(Ok(_)) = body.next().await {}
}

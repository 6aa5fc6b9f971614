//! Reads request bodies as a whole, with limits on size and time, before anything else is done with
//! them.

use std::{borrow::Cow, time::Duration};

use axum::body::{Body, BodyDataStream, HttpBody};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use portkey_operation::Effect;
use serde::Deserialize;
use tokio::time::timeout;

use super::{
    super::{UTF8_BOM, message_limits},
    error_response::ErrorResponse,
};
use crate::mcp::surface::{self, BuiltinAction};

/// Maximum size of a rejected body that is still read, in bytes. A client that is still sending
/// when the connection closes never sees the error.
const MAX_DRAINED_BYTES: usize = 64 << 20;

/// Maximum time between two parts of a rejected body.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum size of bodies that are limited only by their number, in bytes.
const SMALL_BODY_BYTES: usize = 64 << 10;

/// Maximum size of the large bodies of one caller's requests in flight, in bytes. Unproven callers
/// of one network share it.
pub(crate) const MAX_LARGE_BODY_BYTES_PER_CALLER: usize = 32 << 20;

/// Maximum size of the large bodies of all requests in flight, in bytes.
pub(crate) const MAX_LARGE_BODY_BYTES: usize = 128 << 20;

/// Limits on a request body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyBounds {
    /// Maximum size, in bytes.
    pub(super) max_bytes: usize,
    /// Timeout from the end of the head to the end of the body.
    pub(super) timeout: Duration,
}

impl BodyBounds {
    /// Reads a request's body. `hold` reserves memory for a large one.
    ///
    /// # Errors
    /// Returns an error response if the body is too large, too slow or incomplete, or if `hold`
    /// fails.
    pub(super) async fn read<P>(
        self,
        parts: &Parts,
        body: Body,
        hold: impl Fn(usize) -> Result<P, ErrorResponse>,
    ) -> Result<(Bytes, Option<P>), ErrorResponse> {
        let read = async {
            let declared = declared_length(&parts.headers);
            if declared.is_some_and(|length| length > self.max_bytes) {
                drain(&parts.headers, body).await;
                return Err(ErrorResponse::request_too_large());
            }
            let held = match declared {
                Some(length) if length > SMALL_BODY_BYTES => match hold(length) {
                    Ok(held) => Some(held),
                    Err(error) => {
                        drain(&parts.headers, body).await;
                        return Err(error);
                    }
                },
                Some(_) => None,
                None if body.is_end_stream() => None,
                None => return self.read_undeclared(body, hold).await,
            };
            match Limited::new(body, self.max_bytes).collect().await {
                Ok(body) => Ok((strip_byte_order_mark(body.to_bytes()), held)),
                Err(error) if error.is::<LengthLimitError>() => {
                    Err(ErrorResponse::request_too_large())
                }
                Err(_) => Err(incomplete_body()),
            }
        };
        let timeout_error = || {
            ErrorResponse::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body took too long to arrive",
            )
        };
        timeout(self.timeout, read)
            .await
            .map_err(|_| timeout_error())?
    }

    /// Reads a body of undeclared size. Beyond the size of a small one, it counts as one of the
    /// largest.
    async fn read_undeclared<P>(
        self,
        body: Body,
        hold: impl Fn(usize) -> Result<P, ErrorResponse>,
    ) -> Result<(Bytes, Option<P>), ErrorResponse> {
        let mut read = BytesMut::new();
        let mut held = None;
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| incomplete_body())?;
            let length = read.len() + chunk.len();
            let rejection = if length > self.max_bytes {
                Some(ErrorResponse::request_too_large())
            } else if length > SMALL_BODY_BYTES && held.is_none() {
                hold(self.max_bytes).map(|permit| held = Some(permit)).err()
            } else {
                None
            };
            if let Some(error) = rejection {
                drain_chunks(chunks, MAX_DRAINED_BYTES.saturating_sub(length)).await;
                return Err(error);
            }
            read.extend_from_slice(&chunk);
        }
        Ok((strip_byte_order_mark(read.freeze()), held))
    }
}

fn incomplete_body() -> ErrorResponse {
    ErrorResponse::new(StatusCode::BAD_REQUEST, "the body broke off")
}

/// Removes the byte order mark before a body. JSON has none, and some clients write it (RFC 8259
/// §8.1).
fn strip_byte_order_mark(mut body: Bytes) -> Bytes {
    if body.starts_with(UTF8_BOM) {
        body.advance(UTF8_BOM.len());
    }
    body
}

/// Checks a body against the limits of a message. Also reads which operation it calls, if
/// `wants_call` is set. The time grows with the size of the body.
///
/// # Errors
/// Returns an error response if the body exceeds a limit of [`message_limits::check`].
pub(super) fn check_message(
    body: &[u8],
    wants_call: bool,
) -> Result<Option<CalledOperation<'_>>, ErrorResponse> {
    match message_limits::check(body) {
        Ok(()) if wants_call => Ok(CalledOperation::from_body(body)),
        Ok(()) => Ok(None),
        Err(excess) => Err(ErrorResponse::new(StatusCode::BAD_REQUEST, excess.reason)),
    }
}

/// The operation that a JSON-RPC message calls.
pub(super) struct CalledOperation<'a> {
    /// Name of the operation.
    pub(super) name: Cow<'a, str>,
    /// Effect that the operation must have, if a tool for all operations of that effect calls it.
    pub(super) effect: Option<Effect>,
}

impl<'a> CalledOperation<'a> {
    /// Copies the name out of the body that it borrows from.
    pub(super) fn into_owned(self) -> CalledOperation<'static> {
        CalledOperation {
            name: self.name.into_owned().into(),
            effect: self.effect,
        }
    }

    /// Reads the operation from a body. Returns `None` if the message calls none.
    fn from_body(body: &'a [u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Tool<'a> {
            #[serde(borrow)]
            name: Cow<'a, str>,
        }
        #[derive(Deserialize)]
        struct Execute<'a> {
            #[serde(borrow)]
            arguments: Operation<'a>,
        }
        #[derive(Deserialize)]
        struct Operation<'a> {
            #[serde(borrow)]
            operation: Cow<'a, str>,
        }
        let Tool { name } = parse_params(body)?;
        match surface::find_builtin(&name).map(|own| own.action) {
            None => Some(Self { name, effect: None }),
            // Parsed a second time, because few calls are of this kind.
            Some(BuiltinAction::Execute(effect)) => {
                let Execute {
                    arguments: Operation { operation },
                } = parse_params(body)?;
                Some(Self {
                    name: operation,
                    effect: Some(effect),
                })
            }
            Some(_) => None,
        }
    }
}

/// Parses the parameters of a `tools/call` message into a type. Returns `None` for any other
/// message.
fn parse_params<'a, P: Deserialize<'a>>(body: &'a [u8]) -> Option<P> {
    #[derive(Deserialize)]
    struct Message<'a, P> {
        #[serde(borrow)]
        method: Cow<'a, str>,
        params: P,
    }
    let message: Message<'a, P> = serde_json::from_slice(body).ok()?;
    (message.method == "tools/call").then_some(message.params)
}

fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

async fn drain(headers: &HeaderMap, body: Body) {
    // A client that sends `Expect` has not sent the body yet, and reading would ask for it.
    let asks_first = headers.contains_key(header::EXPECT);
    if declared_length(headers).is_none_or(|length| length > MAX_DRAINED_BYTES) || asks_first {
        return;
    }
    drain_chunks(body.into_data_stream(), MAX_DRAINED_BYTES).await;
}

/// Reads and discards the rest of a body, up to a size and until the client pauses. A client that waits
/// for the response sends nothing.
async fn drain_chunks(mut chunks: BodyDataStream, max_bytes: usize) {
    let mut left = max_bytes;
    while let Ok(Some(Ok(chunk))) = timeout(DRAIN_TIMEOUT, chunks.next()).await {
        match left.checked_sub(chunk.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

//! Request bodies: read whole, bounded in size and time, before anything else is done with them.

use std::{borrow::Cow, time::Duration};

use axum::body::{Body, HttpBody};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use portkey_operation::Effect;
use serde::Deserialize;
use tokio::time::timeout;

use super::{
    super::{MARK, envelope},
    refusal::Refusal,
};
use crate::mcp::surface::{self, Does};

/// Up to which size a request that is too large is read all the same: a client that is still sending
/// when the connection closes never sees why.
const READ_TO_REFUSE: usize = 64 << 20;

/// Up to which size bodies are bounded by their number alone, in bytes.
const SMALL_BODY: usize = 64 << 10;

/// Bound on the larger bodies of one caller's requests under way, in bytes. Of callers who are not proven it
/// is that of their network.
pub(crate) const MAX_BODIES_OF_CALLER: usize = 32 << 20;

/// Bound on the larger bodies of all requests under way, in bytes.
pub(crate) const MAX_BODIES: usize = 128 << 20;

/// The bounds on a request body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// In bytes.
    pub(super) size: usize,
    /// From the end of the head to the end of the body.
    pub(super) time: Duration,
}

impl Bounds {
    /// A request's body, with memory that `hold` gives for it if it is a large one.
    pub(super) async fn read<P>(
        self,
        parts: &Parts,
        body: Body,
        hold: impl Fn(usize) -> Result<P, Refusal>,
    ) -> Result<(Bytes, Option<P>), Refusal> {
        let read = async {
            let declared = declared(&parts.headers);
            if declared.is_some_and(|length| length > self.size) {
                drain(&parts.headers, body).await;
                return Err(Refusal::too_large());
            }
            let held = match declared {
                Some(length) if length > SMALL_BODY => Some(hold(length)?),
                Some(_) => None,
                None if body.is_end_stream() => None,
                None => return self.read_undeclared(body, hold).await,
            };
            match Limited::new(body, self.size).collect().await {
                Ok(body) => Ok((without_mark(body.to_bytes()), held)),
                Err(error) if error.is::<LengthLimitError>() => Err(Refusal::too_large()),
                Err(_) => Err(broken_off()),
            }
        };
        let slow = || {
            Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body took too long to arrive",
            )
        };
        timeout(self.time, read).await.map_err(|_| slow())?
    }

    /// A body of unknown size, which counts as one of the largest once it is not a small one.
    async fn read_undeclared<P>(
        self,
        body: Body,
        hold: impl Fn(usize) -> Result<P, Refusal>,
    ) -> Result<(Bytes, Option<P>), Refusal> {
        let (mut read, mut held) = (BytesMut::new(), None);
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| broken_off())?;
            let length = read.len() + chunk.len();
            if length > self.size {
                return Err(Refusal::too_large());
            }
            if length > SMALL_BODY && held.is_none() {
                held = Some(hold(self.size)?);
            }
            read.extend_from_slice(&chunk);
        }
        Ok((without_mark(read.freeze()), held))
    }
}

fn broken_off() -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "the body broke off")
}

/// A body without the byte order mark before it, which JSON does not have, and some clients write
/// (RFC 8259 §8.1).
fn without_mark(mut body: Bytes) -> Bytes {
    if body.starts_with(MARK) {
        body.advance(MARK.len());
    }
    body
}

/// Checks a body against the bounds of a message, and reads which tool it calls if `wants_call` is set. The time
/// grows with the size of the body.
///
/// # Errors
/// The body exceeds a bound of [`envelope::check`].
pub(super) fn check(body: &[u8], wants_call: bool) -> Result<Option<Called<'_>>, Refusal> {
    match envelope::check(body) {
        Ok(()) if wants_call => Ok(Called::by(body)),
        Ok(()) => Ok(None),
        Err(excess) => Err(Refusal::new(StatusCode::BAD_REQUEST, excess.what)),
    }
}

/// What a JSON-RPC message calls, if that is what it does.
pub(super) struct Called<'a> {
    /// The name of the operation.
    pub(super) name: Cow<'a, str>,
    /// What it has to do, where it is called by a tool for all operations that do so.
    pub(super) effect: Option<Effect>,
}

impl<'a> Called<'a> {
    /// Copies the name out of the body that it borrows from.
    pub(super) fn into_owned(self) -> Called<'static> {
        Called {
            name: self.name.into_owned().into(),
            effect: self.effect,
        }
    }

    /// Reads it from a body.
    fn by(body: &'a [u8]) -> Option<Self> {
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
        let Tool { name } = params(body)?;
        match surface::named(&name).map(|own| own.does) {
            None => Some(Self { name, effect: None }),
            // Read once more, because few calls are such.
            Some(Does::Execute(effect)) => {
                let Execute {
                    arguments: Operation { operation },
                } = params(body)?;
                Some(Self {
                    name: operation,
                    effect: Some(effect),
                })
            }
            Some(_) => None,
        }
    }
}

/// The parameters of a message, if it calls a tool and they have this shape.
fn params<'a, P: Deserialize<'a>>(body: &'a [u8]) -> Option<P> {
    #[derive(Deserialize)]
    struct Message<'a, P> {
        #[serde(borrow)]
        method: Cow<'a, str>,
        params: P,
    }
    let message: Message<'a, P> = serde_json::from_slice(body).ok()?;
    (message.method == "tools/call").then_some(message.params)
}

fn declared(headers: &HeaderMap) -> Option<usize> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
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

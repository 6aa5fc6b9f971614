//! Timeouts of connections: the first bytes must arrive in time, and written bytes must be read in
//! time.
//!
//! hyper's timeout for a request's head starts once the HTTP version is known. A client that sends
//! nothing, or only the beginning of the HTTP/2 preface, would hold its connection for ever.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::writing::{Stall, Writing};

/// Length of the HTTP/2 preface (RFC 9113 §3.4), in bytes. Once this many have arrived, the HTTP
/// version is known.
const OPENING: usize = 24;

/// Beginning of the HTTP/2 preface that no other request has.
const HTTP_2: &[u8] = b"PRI ";

/// A stream with two timeouts. Reads fail if the first bytes arrive late, and writes fail if the
/// peer does not read.
pub(super) struct Prompt<S> {
    stream: S,
    /// `None` once enough bytes have arrived.
    beginning: Option<Beginning>,
    seen: usize,
    is_http_2: bool,
    writing: Arc<Writing>,
    stall: Stall,
    /// Time of the next check for a response that waits for its window.
    tick: Option<Pin<Box<Sleep>>>,
}

struct Beginning {
    until: Pin<Box<Sleep>>,
    _counted: TaskTrackerToken,
}

impl<S> Prompt<S> {
    /// Wraps a stream whose first bytes have to arrive within `time`. It is counted by `counted`
    /// until then.
    pub(super) fn new(
        stream: S,
        time: Duration,
        counted: TaskTrackerToken,
        writing: Arc<Writing>,
    ) -> Self {
        let beginning = Beginning {
            until: Box::pin(sleep(time)),
            _counted: counted,
        };
        let (stall, tick) = (Stall::default(), None);
        Self {
            stream,
            beginning: Some(beginning),
            seen: 0,
            is_http_2: false,
            writing,
            stall,
            tick,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prompt<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let Some(beginning) = &mut this.beginning else {
            if this.is_http_2
                && read.is_pending()
                && this.writing.is_overdue(context, &mut this.tick)
            {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            return read;
        };
        if read.is_pending() && beginning.until.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let new = buffer.filled().get(before..).unwrap_or_default();
        if this.seen == 0 && new.starts_with(HTTP_2) {
            this.is_http_2 = true;
        }
        this.seen += new.len();
        if this.seen >= OPENING {
            this.beginning = None;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prompt<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // A request with a response was complete, however short.
        self.beginning = None;
        let this = &mut *self;
        let wrote = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.stall.wrote(wrote, bytes.len(), &this.writing, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.beginning = None;
        let this = &mut *self;
        let wrote = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        let bytes = if wrote.is_pending() {
            slices.iter().map(|slice| slice.len()).sum()
        } else {
            0
        };
        this.stall.wrote(wrote, bytes, &this.writing, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        this.stall.flushed(flushed, &this.writing, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let shut = Pin::new(&mut this.stream).poll_shutdown(context);
        this.stall.flushed(shut, &this.writing, context)
    }
}

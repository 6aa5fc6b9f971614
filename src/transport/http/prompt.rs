//! Connections that have to say something in time.
//!
//! hyper's bound on a request's head begins once it knows which HTTP is spoken. A client that says
//! nothing, or only the beginning of what opens HTTP/2, would hold its connection for ever.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_util::task::task_tracker::TaskTrackerToken;

/// As many bytes as open HTTP/2 (RFC 9113 §3.4). From here on it is known which HTTP is spoken.
const OPENING: usize = 24;

/// A stream whose reads fail after a time, unless it has begun by then.
pub(super) struct Prompt<S> {
    stream: S,
    /// Gone once the stream has begun.
    beginning: Option<Beginning>,
    seen: usize,
}

struct Beginning {
    until: Pin<Box<Sleep>>,
    _counted: TaskTrackerToken,
}

impl<S> Prompt<S> {
    /// A stream that has this long to begin, and is counted until then.
    pub(super) fn new(stream: S, time: Duration, counted: TaskTrackerToken) -> Self {
        let beginning = Beginning { until: Box::pin(sleep(time)), _counted: counted };
        Self { stream, beginning: Some(beginning), seen: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prompt<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some(beginning) = &mut self.beginning else { return read };
        if read.is_pending() && beginning.until.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.seen += buffer.filled().len() - before;
        if self.seen >= OPENING {
            self.beginning = None;
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
        // What is answered was understood, however short.
        self.beginning = None;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.beginning = None;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

//! Timeouts of connections: the first bytes must arrive in time, and written bytes must be read in
//! time.
//!
//! hyper's timeout for a request's head starts once the HTTP version is known. A client that sends
//! nothing, or only the beginning of the HTTP/2 preface, would hold its connection for ever.

use std::{
    io::{self, IoSlice},
    net::IpAddr,
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
use tracing::info;

use super::write_monitor::{SocketStall, WriteMonitor};
use crate::transport::TLS_HANDSHAKE;

/// Length of the HTTP/2 preface (RFC 9113 §3.4), in bytes. Once this many have arrived, the HTTP
/// version is known.
const HTTP2_PREFACE_BYTES: usize = 24;

/// Beginning of the HTTP/2 preface that no other request has.
const HTTP2_PREFACE_START: &[u8] = b"PRI ";

/// A stream with two timeouts. Reads fail if the first bytes arrive late, and writes fail if the
/// peer does not read.
pub(super) struct FirstByteTimeout<S> {
    stream: S,
    /// Address of the client, for the log.
    peer: Option<IpAddr>,
    /// `None` once enough bytes have arrived.
    start_deadline: Option<StartDeadline>,
    bytes_read: usize,
    is_http_2: bool,
    write_monitor: Arc<WriteMonitor>,
    stall: SocketStall,
    /// Time of the next check for a response that waits for its window.
    tick: Option<Pin<Box<Sleep>>>,
}

struct StartDeadline {
    deadline: Pin<Box<Sleep>>,
    _tracked: TaskTrackerToken,
}

impl<S> FirstByteTimeout<S> {
    /// Wraps a stream whose first bytes have to arrive within `time`. It is counted by `counted`
    /// until then.
    pub(super) fn new(
        stream: S,
        peer: Option<IpAddr>,
        time: Duration,
        counted: TaskTrackerToken,
        writing: Arc<WriteMonitor>,
    ) -> Self {
        let beginning = StartDeadline {
            deadline: Box::pin(sleep(time)),
            _tracked: counted,
        };
        let stall = SocketStall::default();
        let tick = None;
        Self {
            stream,
            peer,
            start_deadline: Some(beginning),
            bytes_read: 0,
            is_http_2: false,
            write_monitor: writing,
            stall,
            tick,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstByteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let Some(beginning) = &mut this.start_deadline else {
            if this.is_http_2
                && read.is_pending()
                && this.write_monitor.is_overdue(context, &mut this.tick)
            {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            return read;
        };
        if read.is_pending() && beginning.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let new = buffer.filled().get(before..).unwrap_or_default();
        if this.bytes_read == 0 && new.starts_with(HTTP2_PREFACE_START) {
            this.is_http_2 = true;
        }
        if this.bytes_read == 0 && new.first() == Some(&TLS_HANDSHAKE) {
            let address = this.peer.map(tracing::field::display);
            info!(
                address,
                "connection refused: TLS on a port with plain HTTP. Clients call an address that begins with http://, \
                 or this server gets --tls-cert and --tls-key"
            );
        }
        this.bytes_read += new.len();
        if this.bytes_read >= HTTP2_PREFACE_BYTES {
            this.start_deadline = None;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstByteTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // A request with a response was complete, however short.
        self.start_deadline = None;
        let this = &mut *self;
        let wrote = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.stall
            .check_write(wrote, bytes.len(), &this.write_monitor, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.start_deadline = None;
        let this = &mut *self;
        let wrote = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        let bytes = if wrote.is_pending() {
            slices.iter().map(|slice| slice.len()).sum()
        } else {
            0
        };
        this.stall
            .check_write(wrote, bytes, &this.write_monitor, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        this.stall
            .check_flush(flushed, &this.write_monitor, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let shut = Pin::new(&mut this.stream).poll_shutdown(context);
        this.stall.check_flush(shut, &this.write_monitor, context)
    }
}

//! Monitors responses that are being sent, which clients have to read in time.
//!
//! A peer that stops reading shows in one of two ways. Its socket accepts no bytes, which
//! [`SocketStall`] notices on write. Over HTTP/2 the socket may accept everything while the window
//! of a stream is closed. hyper then no longer asks for the rest of the response, which
//! [`MonitoredBody`] notices. In both cases the connection is closed, which frees the permits of
//! its requests. A stream without events to send waits for neither.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tracing::info;

use super::unread_responses::{CountedBytes, MIN_COUNTED_BYTES, UnreadResponses};
use crate::observability::{call_record::RejectionReason, metrics::Metrics};

/// Maximum size of a chunk that is handed to hyper, in bytes. Bytes in hyper's buffers are no
/// longer counted for the caller.
const MAX_CHUNK_BYTES: usize = 32 << 10;

/// Number of bytes that the peer must read within the timeout, unless fewer are left.
const MIN_PROGRESS_BYTES: usize = 16 << 10;

/// Interval of checking a connection whose peer does not read. While the limit on unread bytes is
/// reached, this is also the timeout.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The state of writes on one connection.
#[derive(Debug)]
pub(super) struct WriteMonitor {
    timeout: Duration,
    unread: Arc<UnreadResponses>,
    metrics: Metrics,
    waiting: Mutex<WaitingResponses>,
    /// Wakes the task of the connection.
    waker: AtomicWaker,
}

/// Responses that wait for the peer to open their windows, with the start of each wait, in that
/// order.
#[derive(Debug, Default)]
struct WaitingResponses {
    next: u64,
    since: BTreeMap<u64, Instant>,
}

impl WriteMonitor {
    pub(super) fn new(
        timeout: Duration,
        unread: Arc<UnreadResponses>,
        metrics: Metrics,
    ) -> Arc<Self> {
        let waiting = Mutex::default();
        let waker = AtomicWaker::new();
        Arc::new(Self {
            timeout,
            unread,
            metrics,
            waiting,
            waker,
        })
    }

    /// Returns `true` if a response has waited too long over HTTP/2. `tick` wakes the connection
    /// for the next check.
    pub(super) fn is_overdue(
        &self,
        context: &mut Context<'_>,
        tick: &mut Option<Pin<Box<Sleep>>>,
    ) -> bool {
        self.waker.register(context.waker());
        loop {
            let Some(since) = self.waiting().since.first_entry().map(|first| *first.get()) else {
                *tick = None;
                return false;
            };
            if self.is_timed_out(since) {
                return true;
            }
            let next =
                tick.get_or_insert_with(|| Box::pin(sleep(CHECK_INTERVAL.min(self.timeout))));
            if next.as_mut().poll(context).is_pending() {
                return false;
            }
            *tick = None;
        }
    }

    /// Returns `true` if the peer has read nothing since `since` for too long, and logs it.
    fn is_timed_out(&self, since: Instant) -> bool {
        let took = since.elapsed();
        let is_over = took >= self.timeout || took >= CHECK_INTERVAL && self.unread.is_exceeded();
        if is_over {
            info!("connection closed: its client did not take an answer within --write-timeout");
            self.metrics.record_rejection(RejectionReason::Slow);
        }
        is_over
    }

    fn begin_waiting(&self) -> u64 {
        let mut waiting = self.waiting();
        let number = waiting.next;
        waiting.next += 1;
        waiting.since.insert(number, Instant::now());
        let is_first = waiting.since.len() == 1;
        drop(waiting);
        if is_first {
            self.waker.wake();
        }
        number
    }

    fn end_waiting(&self, number: u64) {
        self.waiting().since.remove(&number);
    }

    fn waiting(&self) -> MutexGuard<'_, WaitingResponses> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Measures how long a socket has not accepted the bytes written to it.
#[derive(Debug, Default)]
pub(super) struct SocketStall(Option<StalledWrite>);

#[derive(Debug)]
struct StalledWrite {
    since: Instant,
    tick: Pin<Box<Sleep>>,
    taken: usize,
    /// Bytes buffered before the socket.
    buffered: CountedBytes,
}

impl SocketStall {
    /// Returns the outcome of writing `bytes`, or an error once the peer has read nothing for too
    /// long.
    pub(super) fn check_write(
        &mut self,
        outcome: Poll<io::Result<usize>>,
        bytes: usize,
        writing: &WriteMonitor,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(Ok(taken)) => {
                if let Some(stalled) = &mut self.0 {
                    stalled.taken += taken;
                    if stalled.taken >= MIN_PROGRESS_BYTES {
                        self.0 = None;
                    }
                }
                outcome
            }
            Poll::Ready(Err(_)) => outcome,
            Poll::Pending => self.poll_timeout(bytes, writing, context).map(Err),
        }
    }

    /// Returns the outcome of flushing, after which nothing is pending.
    pub(super) fn check_flush(
        &mut self,
        outcome: Poll<io::Result<()>>,
        writing: &WriteMonitor,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if outcome.is_pending() {
            return self.poll_timeout(0, writing, context).map(Err);
        }
        self.0 = None;
        outcome
    }

    fn poll_timeout(
        &mut self,
        bytes: usize,
        writing: &WriteMonitor,
        context: &mut Context<'_>,
    ) -> Poll<io::Error> {
        let tick = CHECK_INTERVAL.min(writing.timeout);
        let stalled = self.0.get_or_insert_with(|| StalledWrite {
            since: Instant::now(),
            tick: Box::pin(sleep(tick)),
            taken: 0,
            buffered: writing.unread.count_without_caller(),
        });
        stalled.buffered.set_bytes(bytes);
        loop {
            ready!(stalled.tick.as_mut().poll(context));
            if writing.is_timed_out(stalled.since) {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            stalled.tick.as_mut().reset(Instant::now() + tick);
        }
    }
}

/// The body of a response, which holds a value until its last byte is handed over.
pub(super) struct MonitoredBody<T> {
    body: Body,
    /// Data of the body that is not yet handed over.
    remaining: Bytes,
    counted: Option<CountedBytes>,
    /// The size was known at the start, and all of it is counted.
    is_size_known: bool,
    /// Monitor for waits over HTTP/2.
    monitor: Option<Arc<WriteMonitor>>,
    wait_number: Option<u64>,
    _held: T,
}

impl<T> MonitoredBody<T> {
    /// Wraps a body that holds `held`. `counted` counts the whole body if its size is known and
    /// large, and otherwise the remaining data.
    pub(super) fn new(
        body: Body,
        counted: Option<CountedBytes>,
        writing: Option<Arc<WriteMonitor>>,
        held: T,
    ) -> Self {
        let is_whole = body.size_hint().exact().is_some();
        Self {
            body,
            remaining: Bytes::new(),
            counted,
            is_size_known: is_whole,
            monitor: writing,
            wait_number: None,
            _held: held,
        }
    }

    /// Takes the next chunk out of the remaining data.
    fn next_chunk(&mut self) -> Bytes {
        let is_last = self.remaining.len() <= MAX_CHUNK_BYTES && self.body.is_end_stream();
        let size = match &self.monitor {
            // hyper reports nothing about data that is handed over. The last byte is therefore sent
            // separately: hyper asks for it only after the window has taken all bytes before it.
            Some(_) if is_last && self.remaining.len() > 1 => self.remaining.len() - 1,
            _ => self.remaining.len().min(MAX_CHUNK_BYTES),
        };
        let piece = self.remaining.split_to(size);
        self.update_count();
        if let Some(writing) = &self.monitor {
            self.wait_number = Some(writing.begin_waiting());
        }
        piece
    }

    fn update_count(&mut self) {
        if let Some(counted) = self.counted.as_mut().filter(|_| !self.is_size_known) {
            let rest = self.remaining.len();
            counted.set_bytes(if rest >= MIN_COUNTED_BYTES { rest } else { 0 });
        }
    }
}

impl<T: Unpin> HttpBody for MonitoredBody<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if let (Some(number), Some(writing)) = (this.wait_number.take(), &this.monitor) {
            writing.end_waiting(number);
        }
        if this.remaining.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.len() <= MAX_CHUNK_BYTES && this.monitor.is_none() => {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    Ok(data) => this.remaining = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return Poll::Ready(other),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(this.next_chunk()))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.size_hint();
        let rest = self.remaining.len() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

impl<T> Drop for MonitoredBody<T> {
    fn drop(&mut self) {
        if let (Some(number), Some(writing)) = (self.wait_number, &self.monitor) {
            writing.end_waiting(number);
        }
    }
}

//! A bounded pool for work that takes longer than a few milliseconds, apart from the threads that
//! serve requests.
//!
//! Small work is done in place: callers compare its size with [`MAX_INLINE_BYTES`]. Larger work goes to
//! a blocking thread. Few of these run at once, so that a processor stays free for the serving
//! threads. The work of each caller, running or waiting, is limited, and more is rejected.

use std::{
    collections::HashMap,
    fmt,
    future::pending,
    panic::resume_unwind,
    pin::Pin,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::available_parallelism,
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};
use tracing::Span;

/// Maximum amount of JSON, in bytes, that is processed in place, within a few milliseconds.
pub const MAX_INLINE_BYTES: usize = 256 << 10;

/// Maximum amount of work that one caller has running and waiting.
pub const MAX_PER_CALLER: usize = 8;

/// Maximum amount of work that all callers have running and waiting.
pub const MAX_QUEUED: usize = 64;

/// Maximum number of running threads.
const MAX_RUNNING: usize = 4;

/// Maximum time that the work of a caller waits for a thread.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// A pool of worker threads; clones share it.
#[derive(Clone)]
pub struct WorkerPool(Arc<PoolState>);

struct PoolState {
    /// Permits for work that callers request.
    running: Arc<Semaphore>,
    /// Permits for finishing responses, which must not wait behind requests.
    finishing: Arc<Semaphore>,
    /// Permits for polling futures again. A future may wait for one of the other permits, and must
    /// be polled to use it. It would wait forever if the poll needed such a permit, too.
    polling: Arc<Semaphore>,
    counts: Mutex<QueueCounts>,
}

#[derive(Default)]
struct QueueCounts {
    total: usize,
    /// Contains only callers with work.
    by_caller: HashMap<Arc<str>, usize>,
}

/// Reason for which work was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolBusy {
    /// The caller has reached its limit.
    #[error(
        "{MAX_PER_CALLER} of them are under way for this caller. Wait for those, then call again"
    )]
    Caller,
    /// All callers together have reached the limit, or no thread became free in time.
    #[error("the server has too much to do at the moment. Try again in a few seconds")]
    Server,
}

/// Counts the work of a caller until it is done, even if the caller no longer waits for it.
struct QueueSlot {
    inner: Arc<PoolState>,
    caller: Arc<str>,
}

impl WorkerPool {
    /// Creates a pool with at most `max_running` threads for requests, and as many each for responses
    /// and for polling futures again.
    pub fn new(max_running: usize) -> Self {
        let threads = || Arc::new(Semaphore::new(max_running.max(1)));
        let running = threads();
        let finishing = threads();
        let polling = threads();
        Self(Arc::new(PoolState {
            running,
            finishing,
            polling,
            counts: Mutex::default(),
        }))
    }

    /// Returns the pool of this process. Its size is one less than the number of processors, at
    /// least one and at most `MAX_RUNNING`.
    pub fn shared() -> Self {
        static SHARED: LazyLock<WorkerPool> = LazyLock::new(|| {
            let processors = available_parallelism().map_or(1, usize::from);
            WorkerPool::new(processors.saturating_sub(1).clamp(1, MAX_RUNNING))
        });
        SHARED.clone()
    }

    /// Runs work for a caller.
    ///
    /// # Errors
    /// Returns an error if the caller or the pool has too much work, or if no thread becomes free
    /// in time.
    pub async fn run<T: Send + 'static>(
        &self,
        caller: &Arc<str>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolBusy> {
        let counted = self.reserve_slot(caller)?;
        let permit = timeout(QUEUE_TIMEOUT, acquire_permit(&self.0.running))
            .await
            .map_err(|_| PoolBusy::Server)?;
        let work = move || {
            let done = work();
            drop(counted);
            done
        };
        Ok(spawn_with_permit(permit, work).await)
    }

    /// Polls a future for a caller on the pool's threads, so that the waiting thread serves others
    /// meanwhile. The first poll counts towards the limits of the caller.
    ///
    /// # Errors
    /// Returns an error if there is too much work. The future was not polled then.
    pub async fn poll_on_workers<F>(
        &self,
        caller: &Arc<str>,
        future: F,
    ) -> Result<F::Output, PoolBusy>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let woken = Arc::new(NotifyWaker(Notify::new()));
        let (mut polled, mut future) = self
            .run(caller, poll_once(woken.clone(), Box::pin(future)))
            .await?;
        loop {
            match polled {
                Poll::Ready(output) => return Ok(output),
                Poll::Pending => {
                    woken.0.notified().await;
                    let permit = acquire_permit(&self.0.polling).await;
                    let poll = poll_once(woken.clone(), future);
                    (polled, future) = spawn_with_permit(permit, poll).await;
                }
            }
        }
    }

    /// Runs work on a response and waits for a thread as long as necessary. The response of a call
    /// that took effect must not be lost.
    pub async fn run_finishing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        spawn_with_permit(acquire_permit(&self.0.finishing).await, work).await
    }

    /// Runs work on a response if a thread is free at once; otherwise returns `None`.
    pub async fn try_run_finishing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let permit = self.0.finishing.clone().try_acquire_owned().ok()?;
        Some(spawn_with_permit(Some(permit), work).await)
    }

    fn reserve_slot(&self, caller: &Arc<str>) -> Result<QueueSlot, PoolBusy> {
        let mut queued = self.0.lock_counts();
        if queued
            .by_caller
            .get(caller)
            .is_some_and(|count| *count >= MAX_PER_CALLER)
        {
            return Err(PoolBusy::Caller);
        }
        if queued.total >= MAX_QUEUED {
            return Err(PoolBusy::Server);
        }
        queued.total += 1;
        *queued.by_caller.entry(caller.clone()).or_default() += 1;
        drop(queued);
        Ok(QueueSlot {
            inner: self.0.clone(),
            caller: caller.clone(),
        })
    }
}

/// Waker that notifies the task that waits to poll again.
struct NotifyWaker(Notify);

impl Wake for NotifyWaker {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Returns a closure that polls the future once, and hands it back with the result.
fn poll_once<F: Future + ?Sized>(
    woken: Arc<NotifyWaker>,
    mut future: Pin<Box<F>>,
) -> impl FnOnce() -> (Poll<F::Output>, Pin<Box<F>>) {
    let span = Span::current();
    move || {
        let _entered = span.enter();
        let polled = future
            .as_mut()
            .poll(&mut Context::from_waker(&Waker::from(woken)));
        (polled, future)
    }
}

impl PoolState {
    fn lock_counts(&self) -> MutexGuard<'_, QueueCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for QueueSlot {
    fn drop(&mut self) {
        let mut queued = self.inner.lock_counts();
        queued.total = queued.total.saturating_sub(1);
        if let Some(count) = queued.by_caller.get_mut(&self.caller) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                queued.by_caller.remove(&self.caller);
            }
        }
    }
}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Workers({} queued)", self.0.lock_counts().total)
    }
}

async fn acquire_permit(threads: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    // The semaphore is never closed.
    threads.clone().acquire_owned().await.ok()
}

async fn spawn_with_permit<T: Send + 'static>(
    permit: Option<OwnedSemaphorePermit>,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let task = spawn_blocking(move || {
        let done = work();
        drop(permit);
        done
    });
    match task.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is shutting down, and so is the waiting task.
            Err(_) => pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn only_caller_at_its_limit_is_rejected() {
        let workers = WorkerPool::new(1);
        let (alice, bob): (Arc<str>, Arc<str>) = ("alice".into(), "bob".into());
        let (release, held) = mpsc::channel::<()>();
        let blocked = tokio::spawn({
            let workers = workers.clone();
            async move { workers.run(&"carol".into(), move || held.recv()).await }
        });
        while workers.0.running.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            workers.try_run_finishing(|| ()).await,
            Some(()),
            "answers have a thread of their own"
        );
        let mut waiting: Vec<_> = (0..MAX_PER_CALLER)
            .map(|number| {
                let workers = workers.clone();
                let alice = alice.clone();
                tokio::spawn(async move { workers.run(&alice, move || number).await })
            })
            .collect();
        while workers.0.lock_counts().total < MAX_PER_CALLER + 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(workers.run(&alice, || ()).await, Err(PoolBusy::Caller));
        // A caller that disconnects while waiting is no longer counted.
        waiting.pop().unwrap().abort();
        while workers.0.lock_counts().total == MAX_PER_CALLER + 1 {
            tokio::task::yield_now().await;
        }
        let others = tokio::spawn({
            let workers = workers.clone();
            async move { workers.run(&bob, || "bob's").await }
        });
        release.send(()).unwrap();
        assert_eq!(blocked.await.unwrap(), Ok(Ok(())));
        for (number, task) in waiting.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), Ok(number));
        }
        assert_eq!(others.await.unwrap(), Ok("bob's"));
        assert_eq!(workers.run(&alice, || 7).await, Ok(7));
        assert!(workers.0.lock_counts().by_caller.is_empty());
    }

    #[tokio::test]
    async fn future_is_polled_on_other_threads_only() {
        let (send, receive) = tokio::sync::oneshot::channel();
        let here = std::thread::current().id();
        let apart = move || assert_ne!(std::thread::current().id(), here);
        let future = async move {
            apart();
            tokio::task::yield_now().await;
            apart();
            let received = receive.await;
            apart();
            received
        };
        let polled = tokio::spawn({
            let workers = WorkerPool::new(1);
            async move { workers.poll_on_workers(&"alice".into(), future).await }
        });
        tokio::task::yield_now().await;
        send.send(7).unwrap();
        assert_eq!(polled.await.unwrap(), Ok(Ok(7)));
    }

    #[tokio::test]
    async fn polled_future_may_wait_for_work_of_the_same_pool() {
        let workers = WorkerPool::new(1);
        let inner = workers.clone();
        let future = async move {
            let held = acquire_permit(&inner.0.finishing).await;
            let waiting = tokio::spawn({
                let inner = inner.clone();
                async move { inner.run_finishing(|| 1).await }
            });
            tokio::task::yield_now().await;
            drop(held);
            waiting.await.unwrap() + inner.run_finishing(|| 2).await
        };
        let polled = workers.poll_on_workers(&"alice".into(), future).await;
        assert_eq!(polled, Ok(3));
    }

    #[tokio::test]
    async fn future_of_caller_at_its_limit_is_not_polled() {
        let workers = WorkerPool::new(1);
        let alice: Arc<str> = "alice".into();
        let _held: Vec<_> = (0..MAX_PER_CALLER)
            .map(|_| workers.reserve_slot(&alice))
            .collect();
        let future = async { panic!("not to be polled") };
        assert_eq!(
            workers.poll_on_workers::<_>(&alice, future).await,
            Err::<(), _>(PoolBusy::Caller)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_waits_too_long_is_not_done() {
        let workers = WorkerPool::new(1);
        let _held = acquire_permit(&workers.0.running).await;
        assert_eq!(
            workers.run(&"alice".into(), || ()).await,
            Err(PoolBusy::Server)
        );
        assert_eq!(workers.0.lock_counts().total, 0);
        let _all = acquire_permit(&workers.0.finishing).await;
        assert_eq!(
            workers.try_run_finishing(|| ()).await,
            None,
            "no thread is free"
        );
    }

    #[tokio::test]
    #[should_panic(expected = "as it should")]
    async fn panic_of_work_is_raised_in_its_caller() {
        let work = || -> () { panic!("as it should") };
        _ = WorkerPool::new(1).run(&"alice".into(), work).await;
    }
}

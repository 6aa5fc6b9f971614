//! A bounded pool for work that takes longer than a few milliseconds, apart from the threads that
//! serve requests.
//!
//! Small work is done in place: callers compare its size with [`INLINE_BYTES`]. Larger work goes to
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
pub const INLINE_BYTES: usize = 256 << 10;

/// Maximum amount of work that one caller has running and waiting.
pub const MAX_PER_CALLER: usize = 8;

/// Maximum amount of work that all callers have running and waiting.
pub const MAX_QUEUED: usize = 64;

/// Maximum number of running threads.
const MAX_RUNNING: usize = 4;

/// Maximum time that the work of a caller waits for a thread.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// A pool of worker threads; clones share it.
#[derive(Clone)]
pub struct Workers(Arc<Inner>);

struct Inner {
    /// Permits for work that callers request.
    running: Arc<Semaphore>,
    /// Permits for finishing responses, which must not wait behind requests.
    finishing: Arc<Semaphore>,
    queued: Mutex<Queued>,
}

#[derive(Default)]
struct Queued {
    total: usize,
    /// Contains only callers with work.
    by_caller: HashMap<Arc<str>, usize>,
}

/// Reason for which work was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
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
struct Counted {
    inner: Arc<Inner>,
    caller: Arc<str>,
}

impl Workers {
    /// Creates a pool with at most `max_running` threads for requests, and as many for responses.
    pub fn new(max_running: usize) -> Self {
        let threads = || Arc::new(Semaphore::new(max_running.max(1)));
        let (running, finishing) = (threads(), threads());
        Self(Arc::new(Inner {
            running,
            finishing,
            queued: Mutex::default(),
        }))
    }

    /// Returns the pool of this process. Its size is one less than the number of processors, at
    /// least one and at most `MAX_RUNNING`.
    pub fn shared() -> Self {
        static SHARED: LazyLock<Workers> = LazyLock::new(|| {
            let processors = available_parallelism().map_or(1, usize::from);
            Workers::new(processors.saturating_sub(1).clamp(1, MAX_RUNNING))
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
    ) -> Result<T, Busy> {
        let counted = self.count(caller)?;
        let permit = timeout(MAX_WAIT, permit(&self.0.running))
            .await
            .map_err(|_| Busy::Server)?;
        let work = move || {
            let done = work();
            drop(counted);
            done
        };
        Ok(spawn(permit, work).await)
    }

    /// Polls a future for a caller on the pool's threads, so that the waiting thread serves others
    /// meanwhile. The first poll counts towards the limits of the caller.
    ///
    /// # Errors
    /// Returns an error if there is too much work. The future was not polled then.
    pub async fn poll_apart<F>(&self, caller: &Arc<str>, future: F) -> Result<F::Output, Busy>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let woken = Arc::new(Woken(Notify::new()));
        let (mut polled, mut future) = self
            .run(caller, poll(woken.clone(), Box::pin(future)))
            .await?;
        loop {
            match polled {
                Poll::Ready(output) => return Ok(output),
                Poll::Pending => {
                    woken.0.notified().await;
                    (polled, future) = self.run_to_end(poll(woken.clone(), future)).await;
                }
            }
        }
    }

    /// Runs work on a response and waits for a thread as long as necessary. The response of a call
    /// that took effect must not be lost.
    pub async fn run_to_end<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        spawn(permit(&self.0.finishing).await, work).await
    }

    /// Runs work on a response if a thread is free at once; otherwise returns `None`.
    pub async fn try_run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let permit = self.0.finishing.clone().try_acquire_owned().ok()?;
        Some(spawn(Some(permit), work).await)
    }

    fn count(&self, caller: &Arc<str>) -> Result<Counted, Busy> {
        let mut queued = self.0.queued();
        if queued
            .by_caller
            .get(caller)
            .is_some_and(|count| *count >= MAX_PER_CALLER)
        {
            return Err(Busy::Caller);
        }
        if queued.total >= MAX_QUEUED {
            return Err(Busy::Server);
        }
        queued.total += 1;
        *queued.by_caller.entry(caller.clone()).or_default() += 1;
        drop(queued);
        Ok(Counted {
            inner: self.0.clone(),
            caller: caller.clone(),
        })
    }
}

/// Waker that notifies the task that waits to poll again.
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Returns a closure that polls the future once, and hands it back with the result.
fn poll<F: Future + ?Sized>(
    woken: Arc<Woken>,
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

impl Inner {
    fn queued(&self) -> MutexGuard<'_, Queued> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut queued = self.inner.queued();
        queued.total = queued.total.saturating_sub(1);
        if let Some(count) = queued.by_caller.get_mut(&self.caller) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                queued.by_caller.remove(&self.caller);
            }
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Workers({} queued)", self.0.queued().total)
    }
}

async fn permit(threads: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    // The semaphore is never closed.
    threads.clone().acquire_owned().await.ok()
}

async fn spawn<T: Send + 'static>(
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
    async fn caller_with_much_under_way_is_turned_back_alone() {
        let workers = Workers::new(1);
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
            workers.try_run(|| ()).await,
            Some(()),
            "answers have a thread of their own"
        );
        let mut waiting: Vec<_> = (0..MAX_PER_CALLER)
            .map(|number| {
                let (workers, alice) = (workers.clone(), alice.clone());
                tokio::spawn(async move { workers.run(&alice, move || number).await })
            })
            .collect();
        while workers.0.queued().total < MAX_PER_CALLER + 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(workers.run(&alice, || ()).await, Err(Busy::Caller));
        // A caller that hangs up while waiting is no longer counted.
        waiting.pop().unwrap().abort();
        while workers.0.queued().total == MAX_PER_CALLER + 1 {
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
        assert!(workers.0.queued().by_caller.is_empty());
    }

    #[tokio::test]
    async fn future_polled_apart_takes_each_step_on_another_thread() {
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
            let workers = Workers::new(1);
            async move { workers.poll_apart(&"alice".into(), future).await }
        });
        tokio::task::yield_now().await;
        send.send(7).unwrap();
        assert_eq!(polled.await.unwrap(), Ok(Ok(7)));
    }

    #[tokio::test]
    async fn future_of_caller_with_much_under_way_is_not_polled() {
        let workers = Workers::new(1);
        let alice: Arc<str> = "alice".into();
        let _held: Vec<_> = (0..MAX_PER_CALLER).map(|_| workers.count(&alice)).collect();
        let future = async { panic!("not to be polled") };
        assert_eq!(
            workers.poll_apart::<_>(&alice, future).await,
            Err::<(), _>(Busy::Caller)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_waits_for_long_is_not_done() {
        let workers = Workers::new(1);
        let _held = permit(&workers.0.running).await;
        assert_eq!(workers.run(&"alice".into(), || ()).await, Err(Busy::Server));
        assert_eq!(workers.0.queued().total, 0);
        let _all = permit(&workers.0.finishing).await;
        assert_eq!(workers.try_run(|| ()).await, None, "no thread is free");
    }

    #[tokio::test]
    #[should_panic(expected = "as it should")]
    async fn work_that_panics_panics_where_it_was_wanted() {
        let work = || -> () { panic!("as it should") };
        _ = Workers::new(1).run(&"alice".into(), work).await;
    }
}

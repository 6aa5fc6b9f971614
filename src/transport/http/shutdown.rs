//! Shutdown of the HTTP server: its phases in their order, and the time that each may take.

use std::{io, net::SocketAddr, time::Duration};

use axum_server::Handle;
use futures_util::future::BoxFuture;
use tokio::time::{sleep, timeout};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tracing::{info, warn};

use super::HttpSettings;

/// Time until the queue of the listener has been read. Queued connections are reported only after a
/// wait, however short.
const QUEUED_CONNECTION_DELAY: Duration = Duration::from_millis(1);

/// The time that each phase takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct PhaseDurations {
    /// [`Phase::Draining`]: the whole phase, unless the operator interrupts it.
    draining: Duration,
    /// [`Phase::ClosingListener`]: maximum time for the first request of connections that were
    /// accepted just before.
    first_requests: Duration,
    /// [`Phase::FinishingCalls`]: maximum time for calls in flight.
    calls: Duration,
    /// [`Phase::EndingStreams`]: time to send the last responses, before streams end.
    last_responses: Duration,
    /// [`Phase::EndingStreams`]: maximum time until the last connection is closed, with
    /// `last_responses`.
    connections: Duration,
}

impl PhaseDurations {
    /// Returns the durations for these settings.
    pub(super) fn from_settings(settings: &HttpSettings) -> Self {
        Self::new(settings.drain_delay, settings.grace)
    }

    const fn new(drain_delay: Duration, grace: Duration) -> Self {
        Self {
            draining: drain_delay,
            first_requests: Duration::from_secs(1),
            calls: grace,
            last_responses: Duration::from_millis(50),
            connections: Duration::from_secs(3),
        }
    }
}

/// A phase of the shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The server still serves, and asks clients and proxies to go elsewhere.
    Draining,
    /// Connections are no longer accepted. The accepted ones may still send their first request.
    ClosingListener,
    /// Connections close as soon as they are idle, and calls in flight may finish.
    FinishingCalls,
    /// Open streams end, because they never end by themselves.
    EndingStreams,
    /// The remaining connections are aborted.
    AbortingConnections,
}

/// Tells the parts of the server about its shutdown.
#[derive(Clone, Debug, Default)]
pub struct ShutdownTokens {
    /// Cancelled when clients should go elsewhere.
    pub(super) draining: CancellationToken,
    /// Cancelled when open streams and sessions end.
    pub(super) ended: CancellationToken,
}

/// Shuts down the listener and its connections.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionShutdown {
    listener_closed: CancellationToken,
    /// Connections without any request yet.
    idle_new_connections: TaskTracker,
    handle: Handle<SocketAddr>,
}

impl ConnectionShutdown {
    /// Returns the handle with which `axum_server` is shut down.
    pub(super) fn handle(&self) -> Handle<SocketAddr> {
        self.handle.clone()
    }

    /// Counts a connection without any request, until the token is dropped.
    pub(super) fn track_new_connection(&self) -> TaskTrackerToken {
        self.idle_new_connections.token()
    }

    /// Waits until the listener has to close, and the connections in its queue are accepted.
    pub(super) async fn wait_until_listener_closes(&self) {
        self.listener_closed.cancelled().await;
        sleep(QUEUED_CONNECTION_DELAY).await;
    }

    /// Waits until each connection has had a request, or is closed.
    pub(super) async fn wait_for_new_connections(&self) {
        self.idle_new_connections.wait().await;
    }

    /// Stops accepting connections. Waits at most `max` for those without a request yet, because
    /// one may be on its way.
    async fn close_listener(&self, max: Duration) {
        self.listener_closed.cancel();
        self.idle_new_connections.close();
        _ = timeout(max, self.wait_for_new_connections()).await;
    }

    /// Closes each connection as soon as it has no request in flight.
    fn close_idle(&self) {
        self.handle.graceful_shutdown(None);
    }

    /// Aborts all remaining connections.
    fn abort(&self) {
        self.handle.shutdown();
    }
}

/// The shutdown of a server, from the first signal on.
pub(super) struct ShutdownSequence {
    pub(super) durations: PhaseDurations,
    pub(super) tokens: ShutdownTokens,
    pub(super) connections: ConnectionShutdown,
    /// Resolves if the operator interrupts again, and so does not want to wait.
    pub(super) interrupted: BoxFuture<'static, io::Result<()>>,
    /// Resolves once no call is in flight. First polled when calls have to finish.
    pub(super) calls_finished: BoxFuture<'static, ()>,
    /// Resolves once the last connection is closed.
    pub(super) connections_closed: BoxFuture<'static, anyhow::Result<()>>,
}

impl ShutdownSequence {
    /// Shuts the server down, phase by phase.
    ///
    /// # Errors
    /// Returns an error if the system provides no signal handlers, or if serving failed.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        let mut phase = Some(Phase::Draining);
        while let Some(current) = phase {
            phase = self.finish(current).await?;
        }
        Ok(())
    }

    /// Carries out a phase. Returns the next one, or `None` if the shutdown is complete.
    async fn finish(&mut self, phase: Phase) -> anyhow::Result<Option<Phase>> {
        let next = match phase {
            Phase::Draining => {
                self.drain().await?;
                Some(Phase::ClosingListener)
            }
            Phase::ClosingListener => {
                let max = self.durations.first_requests;
                self.connections.close_listener(max).await;
                Some(Phase::FinishingCalls)
            }
            Phase::FinishingCalls => {
                self.finish_calls().await;
                Some(Phase::EndingStreams)
            }
            Phase::EndingStreams => match self.end_streams().await? {
                ConnectionState::Closed => None,
                ConnectionState::Open => Some(Phase::AbortingConnections),
            },
            Phase::AbortingConnections => {
                warn!("connections still open were cut off");
                self.connections.abort();
                None
            }
        };
        Ok(next)
    }

    async fn drain(&mut self) -> io::Result<()> {
        info!("stopping; calls under way may finish");
        self.tokens.draining.cancel();
        tokio::select! {
            () = sleep(self.durations.draining) => Ok(()),
            again = &mut self.interrupted => again,
        }
    }

    async fn finish_calls(&mut self) {
        self.connections.close_idle();
        let finished = timeout(self.durations.calls, &mut self.calls_finished).await;
        if finished.is_err() {
            warn!("calls still under way were cut off");
        }
    }

    async fn end_streams(&mut self) -> anyhow::Result<ConnectionState> {
        let closed = async {
            sleep(self.durations.last_responses).await;
            self.tokens.ended.cancel();
            (&mut self.connections_closed).await
        };
        match timeout(self.durations.connections, closed).await {
            Ok(outcome) => outcome.map(|()| ConnectionState::Closed),
            Err(_) => Ok(ConnectionState::Open),
        }
    }
}

/// State of the connections after the streams were ended.
enum ConnectionState {
    Closed,
    Open,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt;
    use tokio::time::Instant;

    use super::*;

    const DRAIN_DELAY: Duration = Duration::from_secs(10);
    const GRACE: Duration = Duration::from_secs(30);
    const DURATIONS: PhaseDurations = PhaseDurations::new(DRAIN_DELAY, GRACE);

    /// A phase, with the time that it took.
    type TimedPhase = (Phase, Duration);

    /// A server without calls and connections, which nobody interrupts.
    fn idle_server() -> ShutdownSequence {
        ShutdownSequence {
            durations: DURATIONS,
            tokens: ShutdownTokens::default(),
            connections: ConnectionShutdown::default(),
            interrupted: pending().boxed(),
            calls_finished: ready(()).boxed(),
            connections_closed: ready(Ok(())).boxed(),
        }
    }

    async fn run_phases(mut shutdown: ShutdownSequence) -> Vec<TimedPhase> {
        let mut phases = Vec::new();
        let mut phase = Some(Phase::Draining);
        while let Some(current) = phase {
            let start = Instant::now();
            phase = shutdown.finish(current).await.unwrap();
            phases.push((current, start.elapsed()));
        }
        phases
    }

    #[tokio::test(start_paused = true)]
    async fn idle_server_only_drains_and_sends_its_last_responses() {
        let expected = [
            (Phase::Draining, DRAIN_DELAY),
            (Phase::ClosingListener, Duration::ZERO),
            (Phase::FinishingCalls, Duration::ZERO),
            (Phase::EndingStreams, DURATIONS.last_responses),
        ];
        assert_eq!(run_phases(idle_server()).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_of_a_busy_server_ends_in_time() {
        let server = ShutdownSequence {
            calls_finished: pending().boxed(),
            connections_closed: pending().boxed(),
            ..idle_server()
        };
        let _new = server.connections.track_new_connection();
        let expected = [
            (Phase::Draining, DRAIN_DELAY),
            (Phase::ClosingListener, DURATIONS.first_requests),
            (Phase::FinishingCalls, GRACE),
            (Phase::EndingStreams, DURATIONS.connections),
            (Phase::AbortingConnections, Duration::ZERO),
        ];
        assert_eq!(run_phases(server).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn second_signal_ends_the_drain_delay() {
        let mut server = ShutdownSequence {
            interrupted: ready(Ok(())).boxed(),
            ..idle_server()
        };
        let start = Instant::now();
        let next = server.finish(Phase::Draining).await.unwrap();
        assert_eq!(next, Some(Phase::ClosingListener));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn first_request_of_a_new_connection_is_waited_for() {
        let mut server = idle_server();
        let new = server.connections.track_new_connection();
        let arrival = DURATIONS.first_requests / 2;
        tokio::spawn(async move {
            sleep(arrival).await;
            drop(new);
        });
        let start = Instant::now();
        server.finish(Phase::ClosingListener).await.unwrap();
        assert_eq!(start.elapsed(), arrival);
    }

    #[tokio::test(start_paused = true)]
    async fn listener_accepts_its_queue_before_it_closes() {
        let connections = ConnectionShutdown::default();
        let waiting = connections.wait_until_listener_closes();
        tokio::pin!(waiting);
        assert_eq!(waiting.as_mut().now_or_never(), None);
        let start = Instant::now();
        connections.close_listener(Duration::ZERO).await;
        waiting.await;
        assert_eq!(start.elapsed(), QUEUED_CONNECTION_DELAY);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_end_only_after_calls() {
        let mut server = idle_server();
        let ShutdownTokens { draining, ended } = server.tokens.clone();
        let state = || (draining.is_cancelled(), ended.is_cancelled());
        let mut states = vec![state()];
        for phase in [
            Phase::Draining,
            Phase::ClosingListener,
            Phase::FinishingCalls,
            Phase::EndingStreams,
        ] {
            server.finish(phase).await.unwrap();
            states.push(state());
        }
        let drained = (true, false);
        assert_eq!(
            states,
            [(false, false), drained, drained, drained, (true, true)]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn error_of_the_listener_is_returned() {
        let server = ShutdownSequence {
            connections_closed: ready(Err(anyhow::anyhow!("no listener"))).boxed(),
            ..idle_server()
        };
        let error = server.run().await.unwrap_err();
        assert_eq!(error.to_string(), "no listener");
    }
}

//! Retries: which statuses are retried, how often, and after which delay.

use std::time::Duration;

use backon::ExponentialBuilder;
use http::StatusCode;

/// The number of retries and the delays before them.
#[derive(Clone, Copy, Debug)]
pub struct RetrySettings {
    /// Maximum number of retries; zero disables them.
    pub max_retries: usize,
    /// Delay before the first retry; each further delay is twice as long, with jitter.
    pub initial_delay: Duration,
    /// Maximum delay, both of the backoff and of an accepted `Retry-After`.
    pub max_delay: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            max_retries: 3,
            initial_delay: Duration::from_millis(250),
            max_delay: Duration::from_secs(10),
        }
    }
}

impl RetrySettings {
    /// Returns the delays of the exponential backoff, regardless of `Retry-After`.
    pub(super) fn backoff(&self) -> ExponentialBuilder {
        ExponentialBuilder::default()
            .with_jitter()
            .with_factor(2.0)
            .with_min_delay(self.initial_delay)
            .with_max_delay(self.max_delay)
            .with_max_times(self.max_retries)
    }

    /// Returns the delay before the next attempt: `Retry-After` if the upstream sent one, else the
    /// backoff's.
    ///
    /// Returns `None` if no retries are left, or if the delay exceeds the maximum or the time left
    /// for the call.
    pub(super) fn next_delay(
        &self,
        retry_after: Option<Duration>,
        backoff: Option<Duration>,
        time_left: Duration,
    ) -> Option<Duration> {
        let pause = retry_after.unwrap_or(backoff?);
        (backoff.is_some() && pause <= self.max_delay.max(backoff?) && pause < time_left)
            .then_some(pause)
    }
}

/// Returns true if the same request may succeed after a delay.
pub(super) fn is_busy_status(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

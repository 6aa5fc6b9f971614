//! Retries: which statuses are retried, how often, and after which delay.

use std::time::Duration;

use backon::ExponentialBuilder;
use http::StatusCode;

/// The number of retries and the delays before them.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    /// Maximum number of retries; zero disables them.
    pub most: usize,
    /// Delay before the first retry; each further delay is twice as long, with jitter.
    pub first_pause: Duration,
    /// Maximum delay, both of the backoff and of an accepted `Retry-After`.
    pub longest_pause: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            most: 3,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(10),
        }
    }
}

impl Retries {
    /// Returns the delays of the exponential backoff, regardless of `Retry-After`.
    pub(super) fn pauses(&self) -> ExponentialBuilder {
        ExponentialBuilder::default()
            .with_jitter()
            .with_factor(2.0)
            .with_min_delay(self.first_pause)
            .with_max_delay(self.longest_pause)
            .with_max_times(self.most)
    }

    /// Returns the delay before the next attempt: `Retry-After` if the upstream sent one, else the
    /// backoff's.
    ///
    /// Returns `None` if no retries are left, or if the delay exceeds the maximum or the time left
    /// for the call.
    pub(super) fn pause(
        &self,
        asked: Option<Duration>,
        own: Option<Duration>,
        left: Duration,
    ) -> Option<Duration> {
        let pause = asked.unwrap_or(own?);
        (own.is_some() && pause <= self.longest_pause.max(own?) && pause < left).then_some(pause)
    }
}

/// Returns true if the same request may succeed after a delay.
pub(super) fn is_busy(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

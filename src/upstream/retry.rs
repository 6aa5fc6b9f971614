//! What is sent again, how often, and after what pause.

use std::time::Duration;

use backon::ExponentialBuilder;
use http::StatusCode;

/// How often and how patiently.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    /// Repetitions after the first attempt; zero for none.
    pub most: usize,
    /// The first pause; each further one is twice as long, with jitter.
    pub first_pause: Duration,
    /// The longest pause of our own, and the longest `Retry-After` waited for.
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
    /// Our own pauses, without regard to what Portkey asks for.
    pub(super) fn pauses(&self) -> ExponentialBuilder {
        ExponentialBuilder::default()
            .with_jitter()
            .with_factor(2.0)
            .with_min_delay(self.first_pause)
            .with_max_delay(self.longest_pause)
            .with_max_times(self.most)
    }

    /// The pause to make: what Portkey asked for if it did, our own otherwise; none where repetitions
    /// are used up, or where waiting so long would be refused or outlast the call.
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

/// Whether the status says that the same request may fare better in a moment.
pub(super) fn is_busy(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

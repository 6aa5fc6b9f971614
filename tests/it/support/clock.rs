//! The paused clock of a runtime.

use std::time::Duration;

use tokio::time;

/// Advances the clock of tokio.
pub(crate) async fn advance_time(seconds: u64) {
    time::pause();
    time::advance(Duration::from_secs(seconds)).await;
    time::resume();
}

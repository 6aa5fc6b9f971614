//! Circuit breaker for an authorization server that does not respond.
//!
//! Only missing responses count as failures. An error response may concern a single token, whose
//! bearer must not be able to block other callers.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::issuer_client::{ISSUER_TIMEOUT, IssuerError};

/// Number of consecutive requests without a response that opens the breaker.
const MAX_FAILURES: u32 = 3;

/// Time for which the breaker stays open, from the end of the last request.
const OPEN_INTERVAL: Duration = Duration::from_secs(5);

/// A circuit breaker. It opens after several failures, and then allows one trial request at a time.
#[derive(Debug, Default)]
pub(super) struct CircuitBreaker(Mutex<BreakerState>);

#[derive(Debug, Default)]
struct BreakerState {
    failures: u32,
    /// Time until which no request is sent.
    open_until: Option<Instant>,
}

impl CircuitBreaker {
    /// Returns true if requests are blocked at the moment.
    pub(super) fn is_open(&self) -> bool {
        self.lock_state()
            .open_until
            .is_some_and(|until| Instant::now() < until)
    }

    /// Returns true if a request may be sent. After the open interval, one trial request may be
    /// sent; others wait for its result.
    pub(super) fn try_acquire(&self) -> bool {
        let mut state = self.lock_state();
        match state.open_until {
            None => true,
            Some(until) if Instant::now() < until => false,
            Some(_) => {
                state.open_until = Some(Instant::now() + ISSUER_TIMEOUT);
                true
            }
        }
    }

    /// Records the result of a request. Returns true if the result should be logged because the
    /// state has changed.
    pub(super) fn record(&self, fault: Option<&IssuerError>) -> bool {
        let mut state = self.lock_state();
        let was_failing = state.failures > 0;
        if fault.is_some_and(IssuerError::has_no_response) {
            state.failures = state.failures.saturating_add(1);
            if state.failures >= MAX_FAILURES {
                state.open_until = Some(Instant::now() + OPEN_INTERVAL);
            }
            // The first failure is logged, and the one that opens the breaker.
            return state.failures == 1 || state.failures == MAX_FAILURES;
        }
        *state = BreakerState::default();
        was_failing || fault.is_some()
    }

    fn lock_state(&self) -> MutexGuard<'_, BreakerState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn missing_responses_open_the_breaker() {
        let breaker = CircuitBreaker::default();
        for is_news in [true, false, true] {
            assert!(breaker.try_acquire() && !breaker.is_open());
            assert_eq!(breaker.record(Some(&IssuerError::Timeout)), is_news);
        }
        assert!(breaker.is_open() && !breaker.try_acquire());
        advance(OPEN_INTERVAL).await;
        assert!(!breaker.is_open() && breaker.try_acquire());
        assert!(
            breaker.is_open() && !breaker.try_acquire(),
            "another one is under way"
        );
        breaker.record(Some(&IssuerError::Timeout));
        assert!(
            !breaker.try_acquire(),
            "it pauses from the end of the last request"
        );
        advance(OPEN_INTERVAL).await;
        assert!(breaker.try_acquire());
        assert!(breaker.record(None));
        assert!(breaker.try_acquire() && breaker.try_acquire());
    }

    #[test]
    fn error_responses_do_not_open_the_breaker() {
        let breaker = CircuitBreaker::default();
        for _ in 0..10 {
            breaker.record(Some(&IssuerError::Timeout));
            breaker.record(Some(&IssuerError::Status(500)));
        }
        assert!(breaker.try_acquire());
    }
}

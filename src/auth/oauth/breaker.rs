//! Circuit breaker for an authorization server that does not respond.
//!
//! Only missing responses count as failures. An error response may concern a single token, whose
//! bearer must not be able to block other callers.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::remote::{Fault, TIME_LIMIT};

/// Number of consecutive requests without a response that opens the breaker.
const MAX_FAILURES: u32 = 3;

/// Time for which the breaker stays open, from the end of the last request.
const PAUSE: Duration = Duration::from_secs(5);

/// A circuit breaker. It opens after several failures, and then allows one trial request at a time.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Time until which no request is sent.
    open_until: Option<Instant>,
}

impl Breaker {
    /// Returns true if requests are blocked at the moment.
    pub(super) fn is_open(&self) -> bool {
        self.state()
            .open_until
            .is_some_and(|until| Instant::now() < until)
    }

    /// Returns true if a request may be sent. After the open interval, one trial request may be
    /// sent; others wait for its result.
    pub(super) fn admit(&self) -> bool {
        let mut state = self.state();
        match state.open_until {
            None => true,
            Some(until) if Instant::now() < until => false,
            Some(_) => {
                state.open_until = Some(Instant::now() + TIME_LIMIT);
                true
            }
        }
    }

    /// Records the result of a request. Returns true if the result should be logged because the
    /// state has changed.
    pub(super) fn record(&self, fault: Option<&Fault>) -> bool {
        let mut state = self.state();
        let was_failing = state.failures > 0;
        if fault.is_some_and(Fault::is_silence) {
            state.failures = state.failures.saturating_add(1);
            if state.failures >= MAX_FAILURES {
                state.open_until = Some(Instant::now() + PAUSE);
            }
            // The first failure is logged, and the one that opens the breaker.
            return state.failures == 1 || state.failures == MAX_FAILURES;
        }
        *state = State::default();
        was_failing || fault.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_opens_it_and_one_request_at_a_time_tries_again() {
        let breaker = Breaker::default();
        for is_news in [true, false, true] {
            assert!(breaker.admit() && !breaker.is_open());
            assert_eq!(breaker.record(Some(&Fault::Slow)), is_news);
        }
        assert!(breaker.is_open() && !breaker.admit());
        advance(PAUSE).await;
        assert!(!breaker.is_open() && breaker.admit());
        assert!(
            breaker.is_open() && !breaker.admit(),
            "another one is under way"
        );
        breaker.record(Some(&Fault::Slow));
        assert!(
            !breaker.admit(),
            "it pauses from the end of the last request"
        );
        advance(PAUSE).await;
        assert!(breaker.admit());
        assert!(breaker.record(None));
        assert!(breaker.admit() && breaker.admit());
    }

    #[test]
    fn bad_answers_do_not_open_it() {
        let breaker = Breaker::default();
        for _ in 0..10 {
            breaker.record(Some(&Fault::Slow));
            breaker.record(Some(&Fault::Status(500)));
        }
        assert!(breaker.admit());
    }
}

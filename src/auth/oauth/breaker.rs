//! Leaves an authorization server alone that does not answer.
//!
//! Silence counts, and a bad answer does not: that may be about one token, and whoever brings it must not be
//! able to shut the others out.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::remote::{Fault, TIME_LIMIT};

/// How many requests in a row get no answer before the issuer is left alone.
const MAX_FAILURES: u32 = 3;

/// How long it is left alone, from the end of the last request.
const PAUSE: Duration = Duration::from_secs(5);

/// A circuit breaker: open after several failures, then a single request is let through at a time.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Until when nothing is asked.
    open_until: Option<Instant>,
}

impl Breaker {
    /// Whether nothing is asked at the moment.
    pub(super) fn is_open(&self) -> bool {
        self.state()
            .open_until
            .is_some_and(|until| Instant::now() < until)
    }

    /// Whether a request may go out. After the pause the first one may, and others wait for what it comes to.
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

    /// Takes note of what a request came to; whether that is new.
    pub(super) fn record(&self, fault: Option<&Fault>) -> bool {
        let mut state = self.state();
        let was_failing = state.failures > 0;
        if fault.is_some_and(Fault::is_silence) {
            state.failures = state.failures.saturating_add(1);
            if state.failures >= MAX_FAILURES {
                state.open_until = Some(Instant::now() + PAUSE);
            }
            // The first, and the one that opens it.
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

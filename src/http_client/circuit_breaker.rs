//! Circuit breakers of services that are asked for each call: one that keeps failing is not asked for a
//! while, so that nobody waits for it. The caller of this module passes the time.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Number of failures in a row after which a service is not asked.
pub(crate) const MAX_FAILURES: u32 = 5;
/// Time for which it is not asked. After it, one question finds out whether the service is back.
pub(crate) const OPEN_DURATION: Duration = Duration::from_secs(10);
/// Maximum number of services. Beyond it, the one that failed first is forgotten.
const MAX_SERVICES: usize = 64;

/// A service is not asked for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CircuitOpen;

/// A service that failed last time.
#[derive(Debug)]
struct Circuit {
    failures: u32,
    /// Time of the first failure in a row.
    failing_since: Instant,
    /// Time until which it is not asked, once it has failed too often.
    open_until: Instant,
}

/// Circuit breakers by the address of the service.
#[derive(Debug, Default)]
pub(crate) struct CircuitBreakers(Mutex<HashMap<String, Circuit>>);

impl CircuitBreakers {
    /// Returns an error if a service is not asked at this time. Otherwise the caller asks it, and
    /// records the outcome.
    pub(crate) fn admit(&self, service: &str, now: Instant) -> Result<(), CircuitOpen> {
        let mut circuits = self.lock();
        let Some(circuit) = circuits.get_mut(service) else {
            return Ok(());
        };
        if circuit.failures < MAX_FAILURES {
            return Ok(());
        }
        if now < circuit.open_until {
            return Err(CircuitOpen);
        }
        // One question at a time; if its outcome is never recorded, the next one follows later.
        circuit.open_until = now + OPEN_DURATION;
        Ok(())
    }

    /// Records that a service answered.
    pub(crate) fn record_success(&self, service: &str) {
        self.lock().remove(service);
    }

    /// Records that a service failed.
    pub(crate) fn record_failure(&self, service: &str, now: Instant) {
        let mut circuits = self.lock();
        if circuits.len() >= MAX_SERVICES && !circuits.contains_key(service) {
            let oldest = circuits
                .iter()
                .min_by_key(|(_, circuit)| circuit.failing_since)
                .map(|(service, _)| service.clone());
            if let Some(oldest) = oldest {
                circuits.remove(&oldest);
            }
        }
        let circuit = circuits.entry(service.to_owned()).or_insert(Circuit {
            failures: 0,
            failing_since: now,
            open_until: now,
        });
        circuit.failures = circuit.failures.saturating_add(1);
        circuit.open_until = now + OPEN_DURATION;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Circuit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "https://pdp.example.com/";

    fn fail(circuits: &CircuitBreakers, times: u32, now: Instant) {
        for _ in 0..times {
            circuits.record_failure(SERVICE, now);
        }
    }

    #[test]
    fn service_that_keeps_failing_is_not_asked_for_a_while() {
        let circuits = CircuitBreakers::default();
        let start = Instant::now();
        fail(&circuits, MAX_FAILURES - 1, start);
        assert_eq!(circuits.admit(SERVICE, start), Ok(()));
        fail(&circuits, 1, start);
        assert_eq!(circuits.admit(SERVICE, start), Err(CircuitOpen));
        assert_eq!(circuits.admit("https://other.example.com/", start), Ok(()));
        let later = start + OPEN_DURATION;
        assert_eq!(circuits.admit(SERVICE, later), Ok(()), "one question");
        assert_eq!(circuits.admit(SERVICE, later), Err(CircuitOpen));
        fail(&circuits, 1, later);
        let much_later = later + OPEN_DURATION;
        assert_eq!(circuits.admit(SERVICE, much_later), Ok(()));
        circuits.record_success(SERVICE);
        assert_eq!(circuits.admit(SERVICE, much_later), Ok(()));
        assert_eq!(circuits.admit(SERVICE, much_later), Ok(()));
    }

    #[test]
    fn success_in_between_starts_the_count_anew() {
        let circuits = CircuitBreakers::default();
        let now = Instant::now();
        for _ in 0..3 {
            fail(&circuits, MAX_FAILURES - 1, now);
            circuits.record_success(SERVICE);
        }
        assert_eq!(circuits.admit(SERVICE, now), Ok(()));
    }

    #[test]
    fn number_of_services_is_bounded() {
        let circuits = CircuitBreakers::default();
        let start = Instant::now();
        for i in 0..2 * MAX_SERVICES as u64 {
            circuits.record_failure(
                &format!("https://{i}.example.com/"),
                start + Duration::from_secs(i),
            );
        }
        let circuits = circuits.lock();
        assert_eq!(circuits.len(), MAX_SERVICES);
        assert!(circuits.contains_key("https://127.example.com/"));
    }
}

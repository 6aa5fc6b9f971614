//! Which keys of callers the upstream is known to accept: nothing is kept, and nobody asked, in the name of
//! another one.
//!
//! A key counts as proven for a minute after a call with it succeeded, or after a cheap read that was made to
//! find out. Ordinary calls need no proof, because the upstream judges them.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, time::timeout};

use super::Principal;

/// For how long the upstream's word about a key counts.
pub const PROOF_TTL: Duration = Duration::from_secs(60);
/// For how long a check that came to nothing is not made again.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// How long a check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Bound on the keys that are known to be accepted, and on those known to be refused.
pub const MAX_PROOFS: usize = 10_000;
/// Bound on the checks that are made at once.
pub const MAX_CHECKS: usize = 16;

/// What an upstream says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStatus {
    /// It knows the key.
    Accepted,
    /// It does not.
    Refused,
    /// It said neither: it could not be reached, or something else stands in the way.
    Unknown,
}

/// Why nothing is kept, and nobody asked, in a caller's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// The upstream does not know the key.
    #[error(
        "Portkey does not accept the key of this request (401), so nothing is kept or asked in its name. Send \
         a key that Portkey accepts. If this one may only call other operations, a call that succeeds with it \
         proves it for a minute"
    )]
    Refused,
    /// The upstream said nothing of the key.
    #[error(
        "Portkey does not say at the moment whether it accepts the key of this request, so nothing is kept or \
         asked in its name. Try again in a few seconds"
    )]
    Unknown,
    /// Too many keys from one address were checked.
    #[error(
        "too many unknown keys came from one address, so nothing is kept or asked in the name of this one. Try \
         again in a minute, or make a read with the key first: one that succeeds proves it"
    )]
    TooMany,
}

/// The result of [`Prover::prove`], as it is waited for.
pub type Proving<'a> = Pin<Box<dyn Future<Output = Result<(), Unproven>> + Send + 'a>>;

/// Tells whether callers are who they say, where nothing but their key says so.
pub trait Prover: fmt::Debug + Send + Sync {
    /// Whether the caller of this name is proven without asking anybody.
    fn is_proven(&self, name: &str) -> bool;

    /// Makes sure that a caller is proven, and asks the upstream if it has to.
    ///
    /// # Errors
    /// The caller is not proven, or it cannot be told.
    fn prove<'a>(&'a self, principal: &'a Principal) -> Proving<'a>;
}

/// What is known of keys, by the names of their callers.
#[derive(Debug)]
pub struct Proofs {
    known: Mutex<Known>,
    /// Held by the checks that are being made.
    checks: Semaphore,
}

#[derive(Debug)]
struct Known {
    accepted: Fading,
    refused: Fading,
    unknown: Fading,
    /// The keys that are being checked, so that each is by one request at a time.
    checking: HashMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>,
}

impl Default for Proofs {
    fn default() -> Self {
        let fading = |ttl| Fading {
            ttl,
            entries: HashMap::new(),
            order: VecDeque::new(),
        };
        Self {
            known: Mutex::new(Known {
                accepted: fading(PROOF_TTL),
                refused: fading(PROOF_TTL),
                unknown: fading(RETRY_DELAY),
                checking: HashMap::new(),
            }),
            checks: Semaphore::new(MAX_CHECKS),
        }
    }
}

impl Proofs {
    /// Whether the key of a caller is known to be accepted.
    pub fn is_accepted(&self, name: &str) -> bool {
        self.known().accepted.has(name, Instant::now())
    }

    /// Notes that a call with the key of a caller succeeded.
    pub fn accept(&self, name: &Arc<str>) {
        let now = Instant::now();
        self.known().accept(name, now);
    }

    /// Makes sure that the key of a caller is accepted. Where nothing is known of it, `admit` is asked whether
    /// another check may be made, and then `ask` makes it; requests with the same key wait for that.
    ///
    /// # Errors
    /// It is not accepted, or it cannot be told.
    pub async fn check(
        &self,
        name: &Arc<str>,
        admit: impl Future<Output = Result<(), Unproven>>,
        ask: impl Future<Output = KeyStatus>,
    ) -> Result<(), Unproven> {
        if let Some(known) = self.look_up(name) {
            return known;
        }
        let turn = Turn::new(self, name);
        let _held = turn.lock.lock().await;
        // Whoever had the turn before has found out.
        if let Some(known) = self.look_up(name) {
            return known;
        }
        admit.await?;
        let asked = timeout(CHECK_TIMEOUT, async {
            let _permit = self.checks.acquire().await;
            ask.await
        });
        let status = asked.await.unwrap_or(KeyStatus::Unknown);
        let now = Instant::now();
        let mut known = self.known();
        match status {
            KeyStatus::Accepted => known.accept(name, now),
            KeyStatus::Refused => known.refused.insert(name, now),
            KeyStatus::Unknown => known.unknown.insert(name, now),
        }
        // A call may have succeeded meanwhile.
        known.look_up(name, now).unwrap_or(Err(Unproven::Unknown))
    }

    fn look_up(&self, name: &str) -> Option<Result<(), Unproven>> {
        self.known().look_up(name, Instant::now())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn look_up(&self, name: &str, now: Instant) -> Option<Result<(), Unproven>> {
        match () {
            () if self.accepted.has(name, now) => Some(Ok(())),
            () if self.refused.has(name, now) => Some(Err(Unproven::Refused)),
            () if self.unknown.has(name, now) => Some(Err(Unproven::Unknown)),
            () => None,
        }
    }

    fn accept(&mut self, name: &Arc<str>, now: Instant) {
        // Each call that succeeds comes here, so that what is new enough stays.
        if !self.accepted.has(name, now + PROOF_TTL / 4 * 3) {
            self.accepted.insert(name, now);
        }
    }
}

/// The one request that checks a key, or waits for its turn to.
struct Turn<'a> {
    proofs: &'a Proofs,
    name: Arc<str>,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl<'a> Turn<'a> {
    fn new(proofs: &'a Proofs, name: &Arc<str>) -> Self {
        let lock = proofs
            .known()
            .checking
            .entry(name.clone())
            .or_default()
            .clone();
        Self {
            proofs,
            name: name.clone(),
            lock,
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut known = self.proofs.known();
        // Ours, and that of the map.
        if Arc::strong_count(&self.lock) <= 2 {
            known.checking.remove(&self.name);
        }
    }
}

/// Names that are forgotten after a time, or earlier to make room for others.
#[derive(Debug)]
struct Fading {
    ttl: Duration,
    /// When each is forgotten.
    entries: HashMap<Arc<str>, Instant>,
    /// In the order in which they are forgotten. Those that were put in again stand here more than once.
    order: VecDeque<(Instant, Arc<str>)>,
}

impl Fading {
    fn has(&self, name: &str, now: Instant) -> bool {
        self.entries.get(name).is_some_and(|end| now < *end)
    }

    fn insert(&mut self, name: &Arc<str>, now: Instant) {
        let end = now + self.ttl;
        self.entries.insert(name.clone(), end);
        self.order.push_back((end, name.clone()));
        while let Some((end, first)) = self.order.front()
            && (*end <= now
                || self.entries.len() > MAX_PROOFS
                || self.entries.get(first) != Some(end))
        {
            if self.entries.get(first) == Some(end) {
                self.entries.remove(first);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use futures_util::future::join_all;

    use super::*;

    async fn checked(proofs: &Proofs, name: &str, status: KeyStatus) -> Result<(), Unproven> {
        proofs
            .check(&name.into(), ready(Ok(())), ready(status))
            .await
    }

    #[tokio::test]
    async fn answer_about_a_key_counts_without_asking_again() {
        struct Case {
            first: KeyStatus,
            then: Result<(), Unproven>,
        }
        for Case { first, then } in [
            Case {
                first: KeyStatus::Accepted,
                then: Ok(()),
            },
            Case {
                first: KeyStatus::Refused,
                then: Err(Unproven::Refused),
            },
            Case {
                first: KeyStatus::Unknown,
                then: Err(Unproven::Unknown),
            },
        ] {
            let proofs = Proofs::default();
            assert_eq!(checked(&proofs, "a", first).await, then);
            let admit = async { panic!("it is known") };
            let ask = async { panic!("it is known") };
            assert_eq!(
                proofs.check(&"a".into(), admit, ask).await,
                then,
                "{first:?}"
            );
            assert_eq!(proofs.is_accepted("a"), then.is_ok());
            assert!(!proofs.is_accepted("b"));
        }
    }

    #[tokio::test]
    async fn successful_call_proves_a_key_that_was_refused() {
        let proofs = Proofs::default();
        assert_eq!(
            checked(&proofs, "a", KeyStatus::Refused).await,
            Err(Unproven::Refused)
        );
        proofs.accept(&"a".into());
        assert_eq!(checked(&proofs, "a", KeyStatus::Refused).await, Ok(()));
    }

    #[tokio::test]
    async fn check_that_is_not_admitted_asks_nobody() {
        let proofs = Proofs::default();
        let ask = async { panic!("it was not admitted") };
        let checked = proofs
            .check(&"a".into(), ready(Err(Unproven::TooMany)), ask)
            .await;
        assert_eq!(checked, Err(Unproven::TooMany));
        assert!(proofs.known().checking.is_empty());
    }

    #[tokio::test]
    async fn requests_with_one_key_make_one_check() {
        let (proofs, asked) = (Proofs::default(), AtomicUsize::new(0));
        let (name, go) = ("a".into(), Semaphore::new(0));
        let check = || async {
            let ask = async {
                asked.fetch_add(1, Ordering::Relaxed);
                _ = go.acquire().await;
                KeyStatus::Accepted
            };
            proofs.check(&name, ready(Ok(())), ask).await
        };
        let open = async { go.add_permits(100) };
        let (results, ()) = tokio::join!(join_all((0..10).map(|_| check())), open);
        assert_eq!(results, vec![Ok(()); 10]);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert!(proofs.known().checking.is_empty());
    }

    #[tokio::test]
    async fn check_that_is_given_up_is_made_by_the_next() {
        let proofs = Proofs::default();
        let name: Arc<str> = "a".into();
        {
            let abandoned = proofs.check(&name, ready(Ok(())), std::future::pending());
            futures_util::pin_mut!(abandoned);
            assert!(futures_util::poll!(&mut abandoned).is_pending());
        }
        assert_eq!(checked(&proofs, "a", KeyStatus::Accepted).await, Ok(()));
    }

    /// Made-up keys make room for each other, and for none that is accepted.
    #[tokio::test]
    async fn refused_keys_are_bounded_apart_from_accepted_ones() {
        let proofs = Proofs::default();
        assert_eq!(checked(&proofs, "real", KeyStatus::Accepted).await, Ok(()));
        for i in 0..MAX_PROOFS + 10 {
            _ = checked(&proofs, &format!("made-up-{i}"), KeyStatus::Refused).await;
        }
        let known = proofs.known();
        assert_eq!(known.refused.entries.len(), MAX_PROOFS);
        assert_eq!(known.refused.order.len(), MAX_PROOFS);
        assert!(known.accepted.has("real", Instant::now()));
        assert!(!known.refused.has("made-up-0", Instant::now()));
    }

    #[test]
    fn name_that_is_put_in_again_lasts_from_then_on() {
        let mut fading = Fading {
            ttl: PROOF_TTL,
            entries: HashMap::new(),
            order: VecDeque::new(),
        };
        let (start, name) = (Instant::now(), "a".into());
        for i in 0..100 {
            fading.insert(&name, start + Duration::from_secs(i));
        }
        let last = start + Duration::from_secs(99) + PROOF_TTL;
        assert!(fading.has("a", last - Duration::from_millis(1)) && !fading.has("a", last));
        assert_eq!((fading.entries.len(), fading.order.len()), (1, 1));
    }
}

//! Tracks the callers' keys that the upstream is known to accept. Without such a proof, nothing is
//! stored and nobody is asked for approval in a caller's name.
//!
//! A key is proven for a minute after a successful call with it, or after a cheap read made for
//! this purpose. Ordinary calls need no proof, because the upstream checks their key.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use portkey_concurrency::{is_sparse, shrink_sparse};
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use super::Principal;

/// Validity of the upstream's answer about a key.
pub const KEY_PROOF_TTL: Duration = Duration::from_secs(60);
/// Time for which an accepted key is distinguished from keys that may be invented.
pub const KNOWN_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Delay before an inconclusive check is repeated.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// Time limit of one check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval at which expired names are dropped.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum number of remembered accepted keys, and of rejected ones.
pub const MAX_KEY_PROOFS: usize = 10_000;
/// Maximum number of concurrent checks.
pub const MAX_CONCURRENT_CHECKS: usize = 16;

/// Status of a key at the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStatus {
    /// The upstream knows the key.
    Accepted,
    /// The upstream does not know the key.
    Rejected,
    /// The status is unknown: the upstream could not be reached, or failed for another reason.
    Unknown,
}

/// Reason why nothing is stored and nobody is asked in a caller's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The upstream does not know the key.
    #[error(
        "Portkey does not accept the key of this request (401), so nothing is kept or asked in its name. Send \
         a key that Portkey accepts. If this one may only call other operations, a call that succeeds with it \
         proves it for a minute"
    )]
    Rejected,
    /// The upstream gave no conclusive answer about the key.
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
    TooManyKeys,
}

/// Future returned by [`KeyProver::prove`].
pub type ProofFuture<'a> = Pin<Box<dyn Future<Output = Result<(), ProofError>> + Send + 'a>>;

/// Proves that callers are genuine where their key is the only evidence.
pub trait KeyProver: fmt::Debug + Send + Sync {
    /// Returns true if the caller of this name is proven, without asking the upstream.
    fn is_proven(&self, name: &str) -> bool;

    /// Proves a caller; asks the upstream if necessary.
    ///
    /// # Errors
    /// Returns an error if the key is rejected, or if the upstream gives no conclusive answer.
    fn prove<'a>(&'a self, principal: &'a Principal) -> ProofFuture<'a>;
}

/// Statuses of keys, by the names of their callers.
#[derive(Debug)]
pub struct KeyProofs {
    state: Arc<Mutex<ProofState>>,
    /// Limits the number of concurrent checks.
    checks: Semaphore,
}

#[derive(Debug)]
struct ProofState {
    accepted: ExpiringNames,
    /// Keys that were accepted within a day. They are checked again, but do not wait for checks of other keys.
    known: ExpiringNames,
    rejected: ExpiringNames,
    unknown: ExpiringNames,
    /// Keys being checked, each by one request at a time.
    checking: HashMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>,
}

impl Default for KeyProofs {
    /// Creates an empty set. Within a runtime, expired names are dropped every few seconds; elsewhere only when
    /// others are added.
    fn default() -> Self {
        let state = Arc::new(Mutex::new(ProofState {
            accepted: ExpiringNames::new(KEY_PROOF_TTL),
            known: ExpiringNames::new(KNOWN_TTL),
            rejected: ExpiringNames::new(KEY_PROOF_TTL),
            unknown: ExpiringNames::new(RETRY_DELAY),
            checking: HashMap::new(),
        }));
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(run_cleanup(Arc::downgrade(&state)));
        }
        Self {
            state,
            checks: Semaphore::new(MAX_CONCURRENT_CHECKS),
        }
    }
}

impl KeyProofs {
    /// Returns true if the caller's key is known to be accepted.
    pub fn is_accepted(&self, name: &str) -> bool {
        self.lock_state().accepted.contains(name, Instant::now())
    }

    /// Records a successful call with the caller's key.
    pub fn record_accepted(&self, name: &Arc<str>) {
        let now = Instant::now();
        self.lock_state().record_accepted(name, now);
    }

    /// Checks that the caller's key is accepted. If nothing is known about it, `admit` decides
    /// whether another check may be made, and `ask` makes it. Concurrent requests with the same key
    /// wait for that check.
    ///
    /// A key that was accepted within a day is checked without `admit`: at most once a minute, or
    /// once in two seconds while the upstream gives no answer.
    ///
    /// # Errors
    /// Returns an error if the key is rejected, or its status is unknown.
    pub async fn check(
        &self,
        name: &Arc<str>,
        admit: impl Future<Output = Result<(), ProofError>>,
        ask: impl Future<Output = KeyStatus>,
    ) -> Result<(), ProofError> {
        if let Some(known) = self.look_up(name) {
            return known;
        }
        let turn = CheckTurn::new(self, name);
        let _held = turn.lock.lock().await;
        // The previous holder of the lock may have checked the key.
        if let Some(known) = self.look_up(name) {
            return known;
        }
        if !self.lock_state().known.contains(name, Instant::now()) {
            admit.await?;
        }
        let asked = timeout(CHECK_TIMEOUT, async {
            let _permit = self.checks.acquire().await;
            ask.await
        });
        let status = asked.await.unwrap_or(KeyStatus::Unknown);
        let now = Instant::now();
        let mut known = self.lock_state();
        match status {
            KeyStatus::Accepted => known.record_accepted(name, now),
            KeyStatus::Rejected => known.rejected.insert(name, now),
            KeyStatus::Unknown => known.unknown.insert(name, now),
        }
        // A call may have succeeded in the meantime.
        known.look_up(name, now).unwrap_or(Err(ProofError::Unknown))
    }

    fn look_up(&self, name: &str) -> Option<Result<(), ProofError>> {
        self.lock_state().look_up(name, Instant::now())
    }

    fn lock_state(&self) -> MutexGuard<'_, ProofState> {
        lock(&self.state)
    }
}

/// Drops expired names until the set itself is dropped. Invented keys would otherwise stay until others follow.
async fn run_cleanup(state: Weak<Mutex<ProofState>>) {
    loop {
        sleep(CLEANUP_INTERVAL).await;
        let Some(state) = state.upgrade() else {
            return;
        };
        lock(&state).remove_expired(Instant::now());
    }
}

fn lock(state: &Mutex<ProofState>) -> MutexGuard<'_, ProofState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ProofState {
    fn look_up(&self, name: &str, now: Instant) -> Option<Result<(), ProofError>> {
        match () {
            () if self.accepted.contains(name, now) => Some(Ok(())),
            () if self.rejected.contains(name, now) => Some(Err(ProofError::Rejected)),
            () if self.unknown.contains(name, now) => Some(Err(ProofError::Unknown)),
            () => None,
        }
    }

    fn record_accepted(&mut self, name: &Arc<str>, now: Instant) {
        // Every successful call gets here, so a recent entry is kept as it is.
        if !self.accepted.contains(name, now + KEY_PROOF_TTL / 4 * 3) {
            self.accepted.insert(name, now);
        }
        if !self.known.contains(name, now + KNOWN_TTL / 4 * 3) {
            self.known.insert(name, now);
        }
    }

    fn remove_expired(&mut self, now: Instant) {
        for names in [
            &mut self.accepted,
            &mut self.known,
            &mut self.rejected,
            &mut self.unknown,
        ] {
            names.remove_expired(now);
        }
    }
}

/// Exclusive check of one key by one request; other requests wait for its lock.
struct CheckTurn<'a> {
    proofs: &'a KeyProofs,
    name: Arc<str>,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl<'a> CheckTurn<'a> {
    fn new(proofs: &'a KeyProofs, name: &Arc<str>) -> Self {
        let lock = proofs
            .lock_state()
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

impl Drop for CheckTurn<'_> {
    fn drop(&mut self) {
        let mut known = self.proofs.lock_state();
        // One reference is held here and one in the map.
        if Arc::strong_count(&self.lock) <= 2 {
            known.checking.remove(&self.name);
            shrink_sparse(&mut known.checking);
        }
    }
}

/// Names with an expiry. The earliest are evicted when the set is full.
#[derive(Debug)]
struct ExpiringNames {
    ttl: Duration,
    /// Expiry of each name.
    entries: HashMap<Arc<str>, Instant>,
    /// Names by expiry. Names that were inserted again occur more than once.
    order: VecDeque<(Instant, Arc<str>)>,
}

impl ExpiringNames {
    fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            entries: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    fn contains(&self, name: &str, now: Instant) -> bool {
        self.entries.get(name).is_some_and(|end| now < *end)
    }

    fn insert(&mut self, name: &Arc<str>, now: Instant) {
        let end = now + self.ttl;
        self.entries.insert(name.clone(), end);
        self.order.push_back((end, name.clone()));
        self.remove_expired(now);
    }

    /// Removes expired names, and the earliest of too many.
    fn remove_expired(&mut self, now: Instant) {
        while let Some((end, first)) = self.order.front()
            && (*end <= now
                || self.entries.len() > MAX_KEY_PROOFS
                || self.entries.get(first) != Some(end))
        {
            if self.entries.get(first) == Some(end) {
                self.entries.remove(first);
            }
            self.order.pop_front();
        }
        shrink_sparse(&mut self.entries);
        if is_sparse(self.order.capacity(), self.order.len()) {
            self.order.shrink_to(self.order.len().saturating_mul(2));
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
    use portkey_concurrency::MAX_UNUSED_CAPACITY;

    use super::*;

    async fn check_key(
        proofs: &KeyProofs,
        name: &str,
        status: KeyStatus,
    ) -> Result<(), ProofError> {
        proofs
            .check(&name.into(), ready(Ok(())), ready(status))
            .await
    }

    #[tokio::test]
    async fn known_status_is_not_checked_again() {
        struct Case {
            first: KeyStatus,
            then: Result<(), ProofError>,
        }
        for Case { first, then } in [
            Case {
                first: KeyStatus::Accepted,
                then: Ok(()),
            },
            Case {
                first: KeyStatus::Rejected,
                then: Err(ProofError::Rejected),
            },
            Case {
                first: KeyStatus::Unknown,
                then: Err(ProofError::Unknown),
            },
        ] {
            let proofs = KeyProofs::default();
            assert_eq!(check_key(&proofs, "a", first).await, then);
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
    async fn successful_call_proves_a_rejected_key() {
        let proofs = KeyProofs::default();
        assert_eq!(
            check_key(&proofs, "a", KeyStatus::Rejected).await,
            Err(ProofError::Rejected)
        );
        proofs.record_accepted(&"a".into());
        assert_eq!(check_key(&proofs, "a", KeyStatus::Rejected).await, Ok(()));
    }

    #[tokio::test]
    async fn check_without_admission_is_not_made() {
        let proofs = KeyProofs::default();
        let ask = async { panic!("it was not admitted") };
        let checked = proofs
            .check(&"a".into(), ready(Err(ProofError::TooManyKeys)), ask)
            .await;
        assert_eq!(checked, Err(ProofError::TooManyKeys));
        assert!(proofs.lock_state().checking.is_empty());
    }

    /// The number of unknown keys from the same network does not matter.
    #[tokio::test]
    async fn previously_accepted_key_is_checked_without_admission() {
        let proofs = KeyProofs::default();
        let name: Arc<str> = "a".into();
        assert_eq!(check_key(&proofs, "a", KeyStatus::Accepted).await, Ok(()));
        let fade = || proofs.lock_state().accepted.entries.clear();
        fade();
        assert!(!proofs.is_accepted("a"));
        let full = || ready(Err(ProofError::TooManyKeys));
        let again = proofs
            .check(&name, full(), ready(KeyStatus::Accepted))
            .await;
        assert_eq!(again, Ok(()));
        fade();
        let revoked = proofs
            .check(&name, full(), ready(KeyStatus::Rejected))
            .await;
        assert_eq!(revoked, Err(ProofError::Rejected));
        let ask = async { panic!("it is known to be refused") };
        assert_eq!(
            proofs.check(&name, full(), ask).await,
            Err(ProofError::Rejected)
        );
        let other = proofs
            .check(&"b".into(), full(), ready(KeyStatus::Accepted))
            .await;
        assert_eq!(other, Err(ProofError::TooManyKeys));
    }

    #[tokio::test]
    async fn concurrent_requests_with_one_key_share_a_check() {
        let proofs = KeyProofs::default();
        let asked = AtomicUsize::new(0);
        let name = "a".into();
        let go = Semaphore::new(0);
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
        assert!(proofs.lock_state().checking.is_empty());
    }

    #[tokio::test]
    async fn abandoned_check_is_made_by_the_next_request() {
        let proofs = KeyProofs::default();
        let name: Arc<str> = "a".into();
        {
            let abandoned = proofs.check(&name, ready(Ok(())), std::future::pending());
            futures_util::pin_mut!(abandoned);
            assert!(futures_util::poll!(&mut abandoned).is_pending());
        }
        assert_eq!(check_key(&proofs, "a", KeyStatus::Accepted).await, Ok(()));
    }

    /// Unknown keys evict each other and never an accepted key.
    #[tokio::test]
    async fn rejected_keys_never_evict_accepted_ones() {
        let proofs = KeyProofs::default();
        assert_eq!(
            check_key(&proofs, "real", KeyStatus::Accepted).await,
            Ok(())
        );
        for i in 0..MAX_KEY_PROOFS + 10 {
            _ = check_key(&proofs, &format!("made-up-{i}"), KeyStatus::Rejected).await;
        }
        let known = proofs.lock_state();
        assert_eq!(known.rejected.entries.len(), MAX_KEY_PROOFS);
        assert_eq!(known.rejected.order.len(), MAX_KEY_PROOFS);
        assert!(known.accepted.contains("real", Instant::now()));
        assert!(!known.rejected.contains("made-up-0", Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn expired_names_of_an_idle_server_use_no_memory() {
        let proofs = KeyProofs::default();
        for number in 0..1_000 {
            for (status, kind) in [
                (KeyStatus::Accepted, "accepted"),
                (KeyStatus::Rejected, "rejected"),
                (KeyStatus::Unknown, "unknown"),
            ] {
                _ = check_key(&proofs, &format!("{kind}-{number}"), status).await;
            }
        }
        // The number of names of each kind, and the larger of the capacities for them.
        let sizes = || {
            let state = proofs.lock_state();
            let all = [
                &state.accepted,
                &state.rejected,
                &state.unknown,
                &state.known,
            ];
            all.map(|names| {
                let capacity = names.entries.capacity().max(names.order.capacity());
                (names.entries.len(), capacity)
            })
        };
        assert_eq!(sizes().map(|(len, _)| len), [1_000; 4]);
        // Paused time advances to the next cleanup once there is nothing else to do.
        sleep(KEY_PROOF_TTL + CLEANUP_INTERVAL).await;
        let counts = sizes().map(|(len, _)| len);
        assert_eq!(counts, [0, 0, 0, 1_000], "the last are known for a day");
        sleep(KNOWN_TTL).await;
        for (len, capacity) in sizes() {
            assert_eq!(len, 0);
            assert!(capacity <= MAX_UNUSED_CAPACITY, "{capacity}");
        }
    }

    #[test]
    fn reinserted_name_expires_later() {
        let mut fading = ExpiringNames::new(KEY_PROOF_TTL);
        let start = Instant::now();
        let name = "a".into();
        for i in 0..100 {
            fading.insert(&name, start + Duration::from_secs(i));
        }
        let last = start + Duration::from_secs(99) + KEY_PROOF_TTL;
        assert!(
            fading.contains("a", last - Duration::from_millis(1)) && !fading.contains("a", last)
        );
        assert_eq!((fading.entries.len(), fading.order.len()), (1, 1));
    }
}

//! State that replicas share: counters, marks of single use, and small values that expire.

mod counter;
mod epoch;
mod expiring;
mod memory;
mod queue;
mod redis;
mod rights;

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    num::NonZeroU32,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use self::counter::{BudgetShortage, CounterGrant, CounterRequest};
pub use self::{
    counter::{Budget, Reservation, ReserveOutcome, Window},
    epoch::{Stamp, UseOutcome},
    memory::{
        MAX_BYTES_PER_OWNER, MAX_ENTRIES_PER_OWNER, MAX_MEMORY_BYTES, MAX_MEMORY_ENTRIES,
        MemoryStore,
    },
    queue::{EnqueueOutcome, Queue, QueuedId},
    redis::{RedisFault, RedisStore},
    rights::REDIS_RIGHTS,
};

/// Maximum size of one value, in bytes.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// Source of the current time.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The state that replicas share. Cheap to clone; clones share the state.
///
/// A call may fail, and then the caller decides. Protections such as limits and marks of single use
/// must reject: *fail closed*. Optimizations and conveniences, such as a session that another
/// replica began, go on without the store: *fail open*. A call never takes longer than twice the
/// timeout. While Redis is unavailable, most calls fail at once. The outage is logged here, once.
///
/// Redis 6.2 or newer is required. Redis must not evict entries before they expire
/// (`maxmemory-policy noeviction`), or marks of single use are lost early. Redis must also persist
/// its data, or marks are lost in a restart: see [`Store::data_loss_age`]. Servers that must not share
/// anything use different databases of a Redis server. A Redis user needs the rights in
/// [`REDIS_RIGHTS`].
#[derive(Clone, Debug)]
pub enum Store {
    /// Memory of a single replica. The data ends with the process.
    Memory(Arc<MemoryStore>),
    /// A Redis server, for several replicas. Its futures are boxed, or else they would enlarge the
    /// future of every call.
    Redis(Arc<RedisStore>),
}

/// Error of the store.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum StoreError {
    /// Settings of the operator are invalid. The message never repeats the address, which contains
    /// a password.
    #[error("{0}")]
    InvalidSettings(&'static str),
    /// Redis cannot be reached, or gives an unexpected response.
    #[error("Redis at {address} cannot be used: {reason}")]
    Unavailable {
        /// Host and port.
        address: Arc<str>,
        /// Reason in words, without anything that was sent.
        reason: String,
    },
    /// Redis is available, but its user lacks a right.
    #[error(
        "Redis at {address} does not let its user {what}. That is a matter of rights, and no outage: the \
         user needs `{REDIS_RIGHTS}`, as docs/deployment.md has it"
    )]
    NotPermitted {
        /// Host and port.
        address: Arc<str>,
        /// Action that the user is not permitted to take.
        what: String,
    },
    /// Memory has reached its maximum.
    #[error("too much is stored already")]
    Full,
    /// Memory has reached its maximum for one owner: see [`StoreKey::owned_by`].
    #[error("too much is stored for this caller already; wait until some of it has expired")]
    OwnerFull,
    /// The value exceeds [`MAX_VALUE_BYTES`].
    #[error("the value is larger than {MAX_VALUE_BYTES} bytes")]
    TooLarge,
}

/// A rate limit that permits bursts: a token bucket that is counted by GCRA. The stored state of a
/// key is one point in time, at which its bucket is full again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenBucket {
    /// Capacity of the bucket.
    pub burst: NonZeroU32,
    /// Time in which an empty bucket fills.
    pub period: Duration,
}

impl TokenBucket {
    /// Returns the time in which one unit comes back, in whole microseconds, the unit of the Redis
    /// scripts.
    fn interval(&self) -> Duration {
        let each = self
            .period
            .as_micros()
            .div_ceil(u128::from(self.burst.get()))
            .max(1);
        Duration::from_micros(u64::try_from(each).unwrap_or(u64::MAX)).min(MAX_DURATION)
    }

    /// Returns the time in which an empty bucket fills.
    fn capacity(&self) -> Duration {
        self.interval()
            .saturating_mul(self.burst.get())
            .min(MAX_DURATION)
    }
}

/// Result of counting against a rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimitOutcome {
    /// The limit permitted one more, which is counted.
    Allowed,
    /// The limit is exhausted and nothing is counted. One more is permitted after this time.
    RetryAfter(Duration),
}

/// Maximum duration, which bounds all calculations with times.
const MAX_DURATION: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Name of an entry. Names appear in logs and in Redis, so secrets have to be hashed first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreKey {
    name: String,
    owner: Option<Owner>,
}

/// Owner of an entry: a hash with a random key of the process. No caller can choose a name that
/// collides with another caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Owner(u64);

impl StoreKey {
    /// Creates a key from a purpose and the parts that identify the entry. Parts may come from any
    /// source. A part that is long or has unusual characters is replaced by its digest, so that two
    /// names never collide.
    pub fn new(purpose: &'static str, parts: &[&str]) -> Self {
        let mut key = purpose.to_owned();
        for part in parts {
            key.push(':');
            match is_plain_key_part(part) {
                true => key.push_str(part),
                false => {
                    key.push('#');
                    URL_SAFE_NO_PAD.encode_string(Sha256::digest(part.as_bytes()), &mut key);
                }
            }
        }
        Self {
            name: key,
            owner: None,
        }
    }

    /// Assigns the entry to an owner. Memory holds at most [`MAX_ENTRIES_PER_OWNER`] entries of
    /// each kind for one owner, which leaves capacity to others. Redis has no such limit.
    pub fn owned_by(self, owner: &str) -> Self {
        static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self {
            owner: Some(Owner(SECRET.hash_one(owner))),
            ..self
        }
    }
}

fn is_plain_key_part(part: &str) -> bool {
    let is_plain_char = |c: char| c.is_ascii_alphanumeric() || "-._@/".contains(c);
    (1..=64).contains(&part.len()) && part.chars().all(is_plain_char)
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Store {
    /// Creates a store in memory. Within a runtime, expired entries are dropped every few seconds;
    /// elsewhere only when the store is used.
    pub fn in_memory() -> Self {
        Self::from_memory(MemoryStore::default())
    }

    /// Creates a store in memory whose counters use this clock.
    pub fn in_memory_with_clock(clock: Clock) -> Self {
        Self::from_memory(MemoryStore::with_clock(clock))
    }

    fn from_memory(memory: MemoryStore) -> Self {
        let memory = Arc::new(memory);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(memory::run_cleanup(Arc::downgrade(&memory)));
        }
        Self::Memory(memory)
    }

    /// Creates a store in Redis if there is a URL (`redis://user:password@host:6379/0`, or
    /// `rediss://` for TLS), else in memory. `more_roots` are certificate authorities in PEM to
    /// trust in addition to the system's. `timeout` is the maximum time for connecting and for each
    /// response. An outage of Redis is only logged.
    ///
    /// # Errors
    /// Returns an error if the URL or the certificates cannot be parsed.
    pub async fn connect(
        url: Option<&SecretString>,
        more_roots: &[u8],
        timeout: Duration,
    ) -> Result<Self, StoreError> {
        let Some(url) = url else {
            return Ok(Self::in_memory());
        };
        let redis = RedisStore::new(url.expose_secret().trim(), more_roots, timeout)?;
        redis.check_rights().await;
        let redis = Arc::new(redis);
        tokio::spawn(redis::monitor(Arc::downgrade(&redis)));
        Ok(Self::Redis(redis))
    }

    /// Counts one against a rate limit, unless the limit is exhausted. Different limits need
    /// different keys. An error must not be treated as permission.
    ///
    /// # Errors
    /// Returns an error if Redis is unavailable, or if memory is full of other keys or of other
    /// keys of the same owner.
    pub async fn take(
        &self,
        key: &StoreKey,
        limit: &TokenBucket,
    ) -> Result<RateLimitOutcome, StoreError> {
        match self {
            Self::Memory(memory) => memory.take(key, limit),
            Self::Redis(redis) => Box::pin(redis.take(key, limit)).await,
        }
    }

    /// Counts for all of these budgets, or for none of them if one does not permit its amount. An
    /// error must not be treated as permission. Times are those of Redis, if there is one.
    ///
    /// # Errors
    /// Returns an error if Redis is unavailable or its clock is more than a month off. In memory,
    /// returns an error if other keys, or other keys of the same owner, take all the capacity.
    pub async fn reserve(&self, budgets: &[Budget]) -> Result<ReserveOutcome, StoreError> {
        let asked: Vec<_> = budgets
            .iter()
            .map(|budget| CounterRequest::from_budget(budget, self.approximate_now_micros()))
            .collect();
        Ok(match self.try_reserve(&asked).await? {
            Ok(granted) => {
                ReserveOutcome::Reserved(Reservation(asked.into_iter().zip(granted).collect()))
            }
            Err((index, BudgetShortage { counted, wait })) => {
                let can_succeed = asked
                    .get(index)
                    .is_some_and(|asked| asked.amount <= asked.max);
                let retry_after = can_succeed.then(|| Duration::from_micros(wait));
                ReserveOutcome::Exhausted {
                    index,
                    counted,
                    retry_after,
                }
            }
        })
    }

    /// Gives back counted amounts. Has no effect in a later window. After an error, the amounts may
    /// stay counted.
    ///
    /// # Errors
    /// Returns an error if Redis is unavailable. The amounts may or may not have been given back
    /// then.
    pub async fn roll_back(&self, reservation: Reservation) -> Result<(), StoreError> {
        let counted: Vec<_> = reservation
            .0
            .into_iter()
            .filter(|(asked, _)| asked.amount > 0)
            .collect();
        match self {
            _ if counted.is_empty() => Ok(()),
            Self::Memory(memory) => {
                memory.roll_back(&counted);
                Ok(())
            }
            Self::Redis(redis) => Box::pin(redis.roll_back(&counted)).await,
        }
    }

    /// Returns the current count of a window.
    ///
    /// # Errors
    /// Returns an error if Redis is unavailable or its clock is more than a month off.
    pub async fn count(&self, key: &StoreKey, window: Window) -> Result<u64, StoreError> {
        let budget = Budget {
            key: key.clone(),
            window,
            max: u64::MAX,
            amount: 0,
        };
        let asked = [CounterRequest::from_budget(
            &budget,
            self.approximate_now_micros(),
        )];
        Ok(match self.try_reserve(&asked).await? {
            Ok(granted) => granted.first().map_or(0, |granted| granted.counted),
            Err((_, short)) => short.counted,
        })
    }

    async fn try_reserve(&self, asked: &[CounterRequest]) -> Result<GrantResult, StoreError> {
        match self {
            _ if asked.is_empty() => Ok(Ok(Vec::new())),
            Self::Memory(memory) => memory.reserve(asked),
            Self::Redis(redis) => Box::pin(redis.reserve(asked)).await,
        }
    }

    /// Returns the local time in microseconds since 1970. The clock of Redis may differ.
    fn approximate_now_micros(&self) -> u64 {
        match self {
            Self::Memory(memory) => memory.now_micros(),
            Self::Redis(_) => unix_micros(SystemTime::now()),
        }
    }

    /// Returns the current time of the store, for a value that is issued now and may be used once.
    ///
    /// # Errors
    /// Returns an error if Redis is unavailable.
    pub async fn stamp(&self) -> Result<Stamp, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.stamp()),
            Self::Redis(redis) => Box::pin(redis.stamp()).await,
        }
    }

    /// Marks the use of a value that was issued at `stamp` and is valid for `ttl`. Only
    /// [`UseOutcome::First`] is a permission; an error is not.
    ///
    /// # Errors
    /// Returns an error if Redis is unavailable, or if memory is full of marks that have not
    /// expired, in total or of the same owner.
    pub async fn use_once(
        &self,
        stamp: &Stamp,
        key: &StoreKey,
        ttl: Duration,
    ) -> Result<UseOutcome, StoreError> {
        match self {
            Self::Memory(memory) => memory.use_once(stamp, key, clamp_ttl(ttl)),
            Self::Redis(redis) => Box::pin(redis.use_once(stamp, key, clamp_ttl(ttl))).await,
        }
    }

    /// Returns the time since a loss of data was noticed; `None` if there was none. Redis is
    /// checked every few seconds. Memory cannot lose data before its process ends.
    pub fn data_loss_age(&self) -> Option<Duration> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(redis) => redis.data_loss_age(),
        }
    }

    /// Appends a value to a queue, where it expires after `ttl`. The id has to be new and visible
    /// ASCII.
    ///
    /// # Errors
    /// Returns an error if Redis is unavailable or the value is too large.
    pub async fn enqueue(
        &self,
        queue: &Queue,
        id: &str,
        owner: &str,
        value: Bytes,
        ttl: Duration,
    ) -> Result<EnqueueOutcome, StoreError> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(StoreError::TooLarge);
        }
        let ttl = clamp_ttl(ttl);
        match self {
            Self::Memory(memory) => Ok(memory.enqueue(queue, (id, owner), value, ttl)),
            Self::Redis(redis) => {
                Box::pin(redis.enqueue(queue, id, &owner_digest(owner), &value, ttl)).await
            }
        }
    }

    /// Returns the ids in a queue, the oldest first: of one owner, or of all.
    ///
    /// # Errors
    /// Returns an error if Redis is unavailable.
    pub async fn queued_ids(
        &self,
        queue: &Queue,
        owner: Option<&str>,
    ) -> Result<Vec<QueuedId>, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.queued_ids(queue, owner)),
            Self::Redis(redis) => {
                let owner = owner.map(owner_digest);
                Box::pin(redis.queued_ids(queue, owner.as_deref())).await
            }
        }
    }

    /// Returns the values with these ids, and `None` for those that are gone.
    ///
    /// # Errors
    /// Returns an error if Redis is unavailable.
    pub async fn queued_values(
        &self,
        queue: &Queue,
        ids: &[&str],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        match self {
            _ if ids.is_empty() => Ok(Vec::new()),
            Self::Memory(memory) => Ok(memory.queued_values(queue, ids)),
            Self::Redis(redis) => Box::pin(redis.queued_values(queue, ids)).await,
        }
    }

    /// Replaces a value in a queue and keeps its expiry. Returns false if the value is gone.
    ///
    /// # Errors
    /// Returns an error if Redis is unavailable or the value is too large.
    pub async fn replace_queued(
        &self,
        queue: &Queue,
        id: &str,
        value: Bytes,
    ) -> Result<bool, StoreError> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(StoreError::TooLarge);
        }
        match self {
            Self::Memory(memory) => Ok(memory.replace_queued(queue, id, value)),
            Self::Redis(redis) => Box::pin(redis.replace_queued(queue, id, &value)).await,
        }
    }

    /// Removes a value from a queue, if it is there. Its id is remembered.
    ///
    /// # Errors
    /// Returns an error if Redis is unavailable.
    pub async fn dequeue(&self, queue: &Queue, id: &str) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => {
                memory.dequeue(queue, id);
                Ok(())
            }
            Self::Redis(redis) => Box::pin(redis.dequeue(queue, id)).await,
        }
    }

    /// Stores or replaces a value, which expires after `ttl`. If memory is full, the value that
    /// would expire first is dropped: of the same owner, if that owner has reached its maximum.
    ///
    /// # Errors
    /// Returns an error if Redis is unavailable or the value is too large.
    pub async fn put(&self, key: &StoreKey, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(StoreError::TooLarge);
        }
        match self {
            Self::Memory(memory) => {
                memory.put(key, value, clamp_ttl(ttl));
                Ok(())
            }
            Self::Redis(redis) => Box::pin(redis.put(key, value, clamp_ttl(ttl))).await,
        }
    }

    /// Returns a value that has not expired.
    ///
    /// # Errors
    /// Returns an error if Redis is unavailable.
    pub async fn get(&self, key: &StoreKey) -> Result<Option<Bytes>, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.get(key)),
            Self::Redis(redis) => Box::pin(redis.get(key)).await,
        }
    }

    /// Returns a value that has not expired, and sets its remaining time to `ttl`.
    ///
    /// # Errors
    /// Returns an error if Redis is unavailable.
    pub async fn refresh(
        &self,
        key: &StoreKey,
        ttl: Duration,
    ) -> Result<Option<Bytes>, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.refresh(key, clamp_ttl(ttl))),
            Self::Redis(redis) => Box::pin(redis.refresh(key, clamp_ttl(ttl))).await,
        }
    }

    /// Stores a value if there is none. Returns false if there is one.
    ///
    /// # Errors
    /// Returns an error if Redis is unavailable or the value is too large.
    pub async fn put_if_absent(
        &self,
        key: &StoreKey,
        value: Bytes,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(StoreError::TooLarge);
        }
        match self {
            Self::Memory(memory) => Ok(memory.put_if_absent(key, value, clamp_ttl(ttl))),
            Self::Redis(redis) => Box::pin(redis.put_if_absent(key, &value, clamp_ttl(ttl))).await,
        }
    }

    /// Sets the remaining time of a value to `ttl`, if it is still this one. Returns false otherwise.
    ///
    /// # Errors
    /// Returns an error if Redis is unavailable.
    pub async fn refresh_own(
        &self,
        key: &StoreKey,
        value: &Bytes,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.refresh_own(key, value, clamp_ttl(ttl))),
            Self::Redis(redis) => Box::pin(redis.refresh_own(key, value, clamp_ttl(ttl))).await,
        }
    }

    /// Removes a value, if it is still this one.
    ///
    /// # Errors
    /// Returns an error if Redis is unavailable.
    pub async fn remove_own(&self, key: &StoreKey, value: &Bytes) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => {
                memory.remove_own(key, value);
                Ok(())
            }
            Self::Redis(redis) => Box::pin(redis.remove_own(key, value)).await,
        }
    }

    /// Removes a value, if there is one.
    ///
    /// # Errors
    /// Returns an error if Redis is unavailable.
    pub async fn remove(&self, key: &StoreKey) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => {
                memory.remove(key);
                Ok(())
            }
            Self::Redis(redis) => Box::pin(redis.remove(key)).await,
        }
    }
}

/// The grant of each budget, or the index of the first budget that does not permit its amount.
type GrantResult = Result<Vec<CounterGrant>, (usize, BudgetShortage)>;

fn unix_micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Returns the name of an owner of queued values in Redis.
fn owner_digest(owner: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(owner.as_bytes()))
}

fn clamp_ttl(ttl: Duration) -> Duration {
    ttl.clamp(Duration::from_millis(1), MAX_DURATION)
}

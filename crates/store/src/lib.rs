//! What replicas share: counts of calls, marks of what was used, and small values that expire.

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

use self::counter::{Asked, Granted, Short};
pub use self::{
    counter::{Budget, Reservation, Reserved, Window},
    epoch::{Stamp, Use},
    memory::{MAX_BYTES_PER_OWNER, MAX_ENTRIES_PER_OWNER, MOST_BYTES, MOST_ENTRIES, Memory},
    queue::{Queue, Queued, QueuedName},
    redis::{Redis, RedisFault},
    rights::REDIS_RIGHTS,
};

/// Bound on one value, in bytes.
pub const MOST_VALUE_BYTES: usize = 1 << 20;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What replicas share. Cheap to clone; clones share.
///
/// A call may fail, and then the caller decides. What guards something (limits, marks of single use)
/// must refuse: *fail closed*. What only saves work or comfort (a session that another replica began)
/// goes on without: *fail open*. A call never takes longer than twice the timeout, and while Redis is
/// away most fail at once. That it is away is logged here, once.
///
/// It takes Redis 6.2 or newer. That must not evict entries before they expire (`maxmemory-policy
/// noeviction`), or marks of single use are forgotten early, and it must keep them on disk, or they are
/// forgotten with a restart: see [`Store::forgot`]. Servers that must not share anything
/// take different databases of it. A Redis user needs the rights in [`REDIS_RIGHTS`].
#[derive(Clone, Debug)]
pub enum Store {
    /// For a single replica; forgotten when the process ends.
    Memory(Arc<Memory>),
    /// For several replicas. What waits for it is in boxes, or every call would make room for it.
    Redis(Arc<Redis>),
}

/// Why the store could not do it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum StoreError {
    /// What the operator set cannot be used. Never repeats the address, for that holds a password.
    #[error("{0}")]
    Settings(&'static str),
    /// Redis cannot be reached, or does not do as it is told.
    #[error("Redis at {address} cannot be used: {reason}")]
    Away {
        /// Host and port.
        address: Arc<str>,
        /// In words, without anything that was sent.
        reason: String,
    },
    /// Redis is there, and its user lacks a right.
    #[error(
        "Redis at {address} does not let its user {what}. That is a matter of rights, and no outage: the \
         user needs `{REDIS_RIGHTS}`, as docs/deployment.md has it"
    )]
    NotPermitted {
        /// Host and port.
        address: Arc<str>,
        /// What the user may not do.
        what: String,
    },
    /// Memory holds as much as it may.
    #[error("too much is stored already")]
    Full,
    /// Memory holds as much as it may for one owner: see [`Key::owned_by`].
    #[error("too much is stored for this caller already; wait until some of it has expired")]
    OwnerFull,
    /// The value exceeds [`MOST_VALUE_BYTES`].
    #[error("the value is larger than {MOST_VALUE_BYTES} bytes")]
    TooLarge,
}

/// So many in each period; all of them may come at once. A token bucket, counted as GCRA does: what is
/// kept of each key is the one point in time at which its bucket is full again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// How many.
    pub burst: NonZeroU32,
    /// In which time a spent bucket fills.
    pub period: Duration,
}

impl Limit {
    /// In which time one comes back: whole microseconds, because that is what Redis counts in.
    fn interval(&self) -> Duration {
        let each = self
            .period
            .as_micros()
            .div_ceil(u128::from(self.burst.get()))
            .max(1);
        Duration::from_micros(u64::try_from(each).unwrap_or(u64::MAX)).min(LONGEST)
    }

    /// In which time all come back.
    fn capacity(&self) -> Duration {
        self.interval()
            .saturating_mul(self.burst.get())
            .min(LONGEST)
    }
}

/// Whether a limit allowed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Yes, and it is counted.
    Yes,
    /// No, and nothing is counted; it will be allowed after this time.
    RetryAfter(Duration),
}

/// Nothing lasts longer: a bound on what is computed with times.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The name of an entry. It is shown in logs and in Redis: hash what is secret before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    name: String,
    owner: Option<Owner>,
}

/// Whose entry it is: a hash with a secret of the process, so that nobody can choose to be taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Owner(u64);

impl Key {
    /// What the entry is for, then whom or what it is about. The parts may come from anywhere: one that
    /// is long or has unusual characters is named by its digest, so that two names are never mixed up.
    pub fn new(purpose: &'static str, parts: &[&str]) -> Self {
        let mut key = purpose.to_owned();
        for part in parts {
            key.push(':');
            match is_plain(part) {
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

    /// The same, as one of the entries of an owner, of whom memory holds no more than
    /// [`MAX_ENTRIES_PER_OWNER`] of each kind, so that there is room for others'. Redis has no such bound.
    pub fn owned_by(self, owner: &str) -> Self {
        static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self {
            owner: Some(Owner(SECRET.hash_one(owner))),
            ..self
        }
    }
}

fn is_plain(part: &str) -> bool {
    let usual = |c: char| c.is_ascii_alphanumeric() || "-._@/".contains(c);
    (1..=64).contains(&part.len()) && part.chars().all(usual)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Store {
    /// A store in memory. Made within a runtime, it forgets what has expired every few seconds; elsewhere only
    /// when it is used.
    pub fn memory() -> Self {
        Self::in_memory(Memory::default())
    }

    /// A store in memory whose counters go by this clock.
    pub fn memory_by(clock: Clock) -> Self {
        Self::in_memory(Memory::by(clock))
    }

    fn in_memory(memory: Memory) -> Self {
        let memory = Arc::new(memory);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(memory::forget_at_intervals(Arc::downgrade(&memory)));
        }
        Self::Memory(memory)
    }

    /// A store in Redis if there is a URL (`redis://user:password@host:6379/0`, or `rediss://` for
    /// TLS), else in memory. `more_roots` are certificate authorities in PEM to trust beside the
    /// system's; `timeout` bounds connecting, and each answer. Redis may be away now: that is only
    /// logged.
    ///
    /// # Errors
    /// The URL or the certificates cannot be read.
    pub async fn connect(
        url: Option<&SecretString>,
        more_roots: &[u8],
        timeout: Duration,
    ) -> Result<Self, StoreError> {
        let Some(url) = url else {
            return Ok(Self::memory());
        };
        let redis = Redis::new(url.expose_secret().trim(), more_roots, timeout)?;
        redis.greet().await;
        let redis = Arc::new(redis);
        tokio::spawn(redis::follow(Arc::downgrade(&redis)));
        Ok(Self::Redis(redis))
    }

    /// Counts one against a limit, unless that is used up. Whoever limits in different ways takes
    /// different keys for it. A failure is no permission.
    ///
    /// # Errors
    /// Redis is away, or memory is full of other keys, or of other keys of the same owner.
    pub async fn take(&self, key: &Key, limit: &Limit) -> Result<Taken, StoreError> {
        match self {
            Self::Memory(memory) => memory.take(key, limit),
            Self::Redis(redis) => Box::pin(redis.take(key, limit)).await,
        }
    }

    /// Counts for all of these budgets, or for none of them if one does not allow it. A failure is no
    /// permission. The times are those of Redis, if there is one.
    ///
    /// # Errors
    /// Redis is away or its clock more than a month off, or memory is full of other keys, or of other keys of
    /// the same owner.
    pub async fn reserve(&self, budgets: &[Budget]) -> Result<Reserved, StoreError> {
        let asked: Vec<_> = budgets
            .iter()
            .map(|budget| Asked::new(budget, self.about_now()))
            .collect();
        Ok(match self.try_reserve(&asked).await? {
            Ok(granted) => Reserved::Yes(Reservation(asked.into_iter().zip(granted).collect())),
            Err((index, Short { counted, wait })) => {
                let could = asked
                    .get(index)
                    .is_some_and(|asked| asked.amount <= asked.most);
                let retry_after = could.then(|| Duration::from_micros(wait));
                Reserved::Exhausted {
                    index,
                    counted,
                    retry_after,
                }
            }
        })
    }

    /// Gives back what was counted. In a later window that changes nothing, and neither does a failure:
    /// what was counted then stays so.
    ///
    /// # Errors
    /// Redis is away. Whether it was given back is unknown then.
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

    /// How many are counted in a window now.
    ///
    /// # Errors
    /// Redis is away or its clock more than a month off.
    pub async fn counted(&self, key: &Key, window: Window) -> Result<u64, StoreError> {
        let budget = Budget {
            key: key.clone(),
            window,
            most: u64::MAX,
            amount: 0,
        };
        let asked = [Asked::new(&budget, self.about_now())];
        Ok(match self.try_reserve(&asked).await? {
            Ok(granted) => granted.first().map_or(0, |granted| granted.counted),
            Err((_, short)) => short.counted,
        })
    }

    async fn try_reserve(&self, asked: &[Asked]) -> Result<Answer, StoreError> {
        match self {
            _ if asked.is_empty() => Ok(Ok(Vec::new())),
            Self::Memory(memory) => memory.reserve(asked),
            Self::Redis(redis) => Box::pin(redis.reserve(asked)).await,
        }
    }

    /// In microseconds since 1970; that of Redis may differ.
    fn about_now(&self) -> u64 {
        match self {
            Self::Memory(memory) => memory.now(),
            Self::Redis(_) => since_1970(SystemTime::now()),
        }
    }

    /// The present moment, for what is issued now and may be used once.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn stamp(&self) -> Result<Stamp, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.stamp()),
            Self::Redis(redis) => Box::pin(redis.stamp()).await,
        }
    }

    /// Marks the use of what was issued at a moment and is good for a time from then on. Only
    /// [`Use::First`] is a permission; a failure is none.
    ///
    /// # Errors
    /// Redis is away, or memory is full of marks that have not expired, or of those of the same owner.
    pub async fn use_once(
        &self,
        stamp: &Stamp,
        key: &Key,
        ttl: Duration,
    ) -> Result<Use, StoreError> {
        match self {
            Self::Memory(memory) => memory.use_once(stamp, key, within_bounds(ttl)),
            Self::Redis(redis) => Box::pin(redis.use_once(stamp, key, within_bounds(ttl))).await,
        }
    }

    /// How long ago it was noticed that the store had forgotten what it should have kept; none if it was not.
    /// Redis is looked after for that every few seconds. The memory of a process begins and ends with it.
    pub fn forgot(&self) -> Option<Duration> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(redis) => redis.forgot(),
        }
    }

    /// Appends a value to a queue, for this time. The id has to be a new one of visible ASCII.
    ///
    /// # Errors
    /// Redis is away, or the value is too large.
    pub async fn enqueue(
        &self,
        queue: &Queue,
        id: &str,
        owner: &str,
        value: Bytes,
        ttl: Duration,
    ) -> Result<Queued, StoreError> {
        if value.len() > MOST_VALUE_BYTES {
            return Err(StoreError::TooLarge);
        }
        let ttl = within_bounds(ttl);
        match self {
            Self::Memory(memory) => Ok(memory.enqueue(queue, (id, owner), value, ttl)),
            Self::Redis(redis) => {
                Box::pin(redis.enqueue(queue, id, &owner_name(owner), &value, ttl)).await
            }
        }
    }

    /// The names in a queue, the oldest first: of one owner, or all.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn queued(
        &self,
        queue: &Queue,
        owner: Option<&str>,
    ) -> Result<Vec<QueuedName>, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.queued(queue, owner)),
            Self::Redis(redis) => {
                let owner = owner.map(owner_name);
                Box::pin(redis.queued(queue, owner.as_deref())).await
            }
        }
    }

    /// The values of these names, where they are there still.
    ///
    /// # Errors
    /// Redis is away.
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

    /// Puts another value in the place of one, for the time that it has left; whether it was there still.
    ///
    /// # Errors
    /// Redis is away, or the value is too large.
    pub async fn replace_queued(
        &self,
        queue: &Queue,
        id: &str,
        value: Bytes,
    ) -> Result<bool, StoreError> {
        if value.len() > MOST_VALUE_BYTES {
            return Err(StoreError::TooLarge);
        }
        match self {
            Self::Memory(memory) => Ok(memory.replace_queued(queue, id, value)),
            Self::Redis(redis) => Box::pin(redis.replace_queued(queue, id, &value)).await,
        }
    }

    /// Removes a value from a queue, if it is there. Its name is remembered.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn dequeue(&self, queue: &Queue, id: &str) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => {
                memory.dequeue(queue, id);
                Ok(())
            }
            Self::Redis(redis) => Box::pin(redis.dequeue(queue, id)).await,
        }
    }

    /// Keeps a value for this time, in the place of an earlier one. Memory that is full gives up the
    /// value that would expire first: of the same owner, if that has as many as it may.
    ///
    /// # Errors
    /// Redis is away, or the value is too large.
    pub async fn put(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        if value.len() > MOST_VALUE_BYTES {
            return Err(StoreError::TooLarge);
        }
        match self {
            Self::Memory(memory) => {
                memory.put(key, value, within_bounds(ttl));
                Ok(())
            }
            Self::Redis(redis) => Box::pin(redis.put(key, value, within_bounds(ttl))).await,
        }
    }

    /// A value that was kept and has not expired.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.get(key)),
            Self::Redis(redis) => Box::pin(redis.get(key)).await,
        }
    }

    /// A value that was kept, and is from now on for this time.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn refresh(&self, key: &Key, ttl: Duration) -> Result<Option<Bytes>, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.refresh(key, within_bounds(ttl))),
            Self::Redis(redis) => Box::pin(redis.refresh(key, within_bounds(ttl))).await,
        }
    }

    /// Forgets a value, if there is one.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn remove(&self, key: &Key) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => {
                memory.remove(key);
                Ok(())
            }
            Self::Redis(redis) => Box::pin(redis.remove(key)).await,
        }
    }
}

/// What is counted for each budget, or which does not allow it.
type Answer = Result<Vec<Granted>, (usize, Short)>;

fn since_1970(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// What the owner of a queued value is called in Redis.
fn owner_name(owner: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(owner.as_bytes()))
}

fn within_bounds(ttl: Duration) -> Duration {
    ttl.clamp(Duration::from_millis(1), LONGEST)
}

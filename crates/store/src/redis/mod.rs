//! Store in Redis, for several replicas.
//!
//! The connection is managed here. If Redis refuses a connection, for instance while it loads its
//! data, a later call tries again, at most once per [`RECONNECT_DELAY`].

mod epoch;
mod queue;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, LazyLock, Mutex as SyncMutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo, RedisError, RedisResult, Script, TlsCertificates,
    aio::MultiplexedConnection, cmd, io::tcp::TcpSettings,
};
use tokio::{sync::Mutex, time::timeout};
use tracing::{error, info, warn};

use super::{
    GrantResult, RateLimitOutcome, StoreError, StoreKey, TokenBucket,
    counter::{BudgetShortage, CounterGrant, CounterRequest, CountingMethod},
    rights::missing_right,
};

pub(super) use self::epoch::monitor;

/// Delay after a failed attempt to connect. Until it is over, calls fail at once.
const RECONNECT_DELAY: Duration = Duration::from_millis(250);

/// Minimum time between two logged failures.
const FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Time for which a loss of data is reported.
const DATA_LOSS_REPORT_TIME: Duration = Duration::from_secs(3600);

const INVALID_URL: StoreError = StoreError::InvalidSettings(
    "the address of Redis cannot be read; give redis://user:password@host:6379/0, or rediss:// for TLS, \
     with %-escapes where the password has special characters",
);
const INVALID_ROOTS: StoreError = StoreError::InvalidSettings(
    "the certificate authorities for Redis cannot be read; give them in PEM",
);

/// Counts one against a rate limit. Times are microseconds by the clock of Redis, so that the
/// clocks of the replicas need not agree.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local interval, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
         local time = redis.call('TIME')
         local now = time[1] * 1000000 + time[2]
         local known = tonumber(redis.call('GET', KEYS[1]) or now)
         local full_at = math.min(math.max(known, now), now + capacity) + interval
         local wait = full_at - now - capacity
         if wait > 0 then return wait end
         local ttl = math.ceil((full_at - now) / 1000)
         redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', ttl)
         return 0",
    )
});

static RESERVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../reserve.lua")));
static ROLL_BACK: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("../roll_back.lua")));

/// Sets the remaining time of a value, if it is still the given one.
static REFRESH_OWN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
         redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
         return 1",
    )
});
/// Removes a value, if it is still the given one.
static REMOVE_OWN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
         return 0",
    )
});

/// Reason for which Redis is not fully usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisFault {
    /// The last command failed.
    Unreachable,
    /// The Redis user lacks a right.
    MissingRight,
    /// Redis lost data recently: it was emptied, or set back to an earlier state.
    DataLost,
}

/// A Redis server, with a single connection to it.
pub struct RedisStore {
    client: Client,
    address: Arc<str>,
    /// Maximum time for connecting, and for each response.
    timeout: Duration,
    link: Mutex<ConnectionState>,
    /// Separate from the link, which is locked while a connection is made. A call that has timed
    /// out must be logged without waiting for that lock.
    logged_failures: SyncMutex<LoggedFailures>,
    /// True if the last command failed.
    is_unavailable: AtomicBool,
    /// True if the user was found to lack a right.
    lacks_right: AtomicBool,
    epoch_state: SyncMutex<epoch::EpochState>,
}

/// Number of attempts for a command if the connection is closed before the response.
#[derive(Clone, Copy, PartialEq)]
enum Attempts {
    Once,
    Twice,
}

#[derive(Default)]
struct ConnectionState {
    connection: Option<MultiplexedConnection>,
    /// Number of connections so far, so that a late failure of an old one does not end its
    /// successor.
    generation: u64,
    /// Error of the last attempt to connect, and the time of the next one.
    last_failure: Option<(StoreError, Instant)>,
}

/// Record of logged failures.
#[derive(Default)]
struct LoggedFailures {
    /// Time of the last logged failure.
    last_logged: Option<Instant>,
    /// Missing rights that were logged; each is logged once.
    missing_rights: BTreeSet<String>,
}

impl RedisStore {
    pub(super) fn new(url: &str, more_roots: &[u8], timeout: Duration) -> Result<Self, StoreError> {
        // Other schemes are rejected, and so is a fragment, which would disable the verification of
        // certificates.
        let known = ["redis://", "rediss://"]
            .iter()
            .any(|scheme| url.starts_with(scheme));
        if !known || url.contains('#') {
            return Err(INVALID_URL);
        }
        let info: ConnectionInfo = url.into_connection_info().map_err(|_| INVALID_URL)?;
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let address = info.addr().to_string().into();
        let client = match info.addr() {
            ConnectionAddr::TcpTls { .. } => open_tls_client(info, more_roots)?,
            _ => Client::open(info).map_err(|_| INVALID_URL)?,
        };
        Ok(Self {
            client,
            address,
            timeout,
            link: Mutex::default(),
            logged_failures: SyncMutex::default(),
            is_unavailable: AtomicBool::new(false),
            lacks_right: AtomicBool::new(false),
            epoch_state: SyncMutex::default(),
        })
    }

    /// Returns the reason why Redis is not fully usable, as of the last command; `None` while it is.
    pub fn fault(&self) -> Option<RedisFault> {
        if self.is_unavailable.load(Ordering::Relaxed) {
            Some(RedisFault::Unreachable)
        } else if self.lacks_right.load(Ordering::Relaxed) {
            Some(RedisFault::MissingRight)
        } else if self
            .data_loss_age()
            .is_some_and(|ago| ago < DATA_LOSS_REPORT_TIME)
        {
            Some(RedisFault::DataLost)
        } else {
            None
        }
    }

    /// Connects before the first call, and tries the commands that the user needs. A missing right
    /// is thus noticed now, and not when a human wants to approve a call. A failure is only logged.
    pub(super) async fn check_rights(&self) {
        if let Err(StoreError::Unavailable { .. }) = self.query::<()>(&cmd("PING")).await {
            return;
        }
        let key = value_key(&StoreKey::new("rights", &[]));
        let commands = [
            cmd("SET").arg(&key).arg(1).arg("PX").arg(1).take(),
            cmd("GET").arg(&key).take(),
            cmd("GETEX").arg(&key).take(),
            cmd("DEL").arg(&key).take(),
            cmd("TIME"),
        ];
        for command in &commands {
            _ = self.query::<()>(command).await;
        }
        _ = self.roll_back(&[]).await;
        _ = self.check_epoch().await;
    }

    pub(super) async fn take(
        &self,
        key: &StoreKey,
        limit: &TokenBucket,
    ) -> Result<RateLimitOutcome, StoreError> {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let mut call = TAKE.key(format!("portkey-mcp:limit:{key}"));
        call.arg(micros(limit.interval()))
            .arg(micros(limit.capacity()));
        let call = &call;
        let wait = self
            .run(|mut link| async move { call.invoke_async::<u64>(&mut link).await })
            .await?;
        Ok(match wait {
            0 => RateLimitOutcome::Allowed,
            wait => RateLimitOutcome::RetryAfter(Duration::from_micros(wait)),
        })
    }

    pub(super) async fn reserve(
        &self,
        asked: &[CounterRequest],
    ) -> Result<GrantResult, StoreError> {
        let mut call = RESERVE.prepare_invoke();
        for CounterRequest {
            name,
            max: most,
            amount,
            method: how,
            ..
        } in asked
        {
            let (kind, numbers) = match *how {
                CountingMethod::FixedSpans {
                    width,
                    offset,
                    previous: former,
                } => ("even", [width, offset, former, 0]),
                CountingMethod::CalendarSpans(points) => ("between", points),
                CountingMethod::Bucket {
                    interval,
                    capacity,
                    cost,
                } => ("bucket", [interval, capacity, cost, 0]),
            };
            call.key(counter_key(name))
                .arg(kind)
                .arg(*most)
                .arg(*amount)
                .arg(&numbers);
        }
        let call = &call;
        let answer = self
            .run(|mut link| async move { call.invoke_async::<Vec<u64>>(&mut link).await })
            .await?;
        Ok(match answer.split_first() {
            Some((0, marks)) => Ok(marks
                .chunks_exact(2)
                .filter_map(|pair| match *pair {
                    [mark, counted] => Some(CounterGrant { mark, counted }),
                    _ => None,
                })
                .collect()),
            Some((place, &[counted, wait])) => {
                let index = usize::try_from(*place).unwrap_or(usize::MAX) - 1;
                Err((index, BudgetShortage { counted, wait }))
            }
            _ => return Err(self.unavailable("it answers what it was not asked".to_owned())),
        })
    }

    /// Never repeated, unlike the other commands: a second attempt could give back twice what was
    /// counted once.
    pub(super) async fn roll_back(
        &self,
        counted: &[(CounterRequest, CounterGrant)],
    ) -> Result<(), StoreError> {
        let mut call = ROLL_BACK.prepare_invoke();
        for (asked, granted) in counted {
            let (kind, amount) = match asked.method {
                CountingMethod::Bucket { cost, .. } => ("bucket", cost),
                _ => ("spans", asked.amount),
            };
            call.key(counter_key(&asked.name))
                .arg(kind)
                .arg(amount)
                .arg(granted.mark);
        }
        let call = &call;
        let once = Attempts::Once;
        self.run_with_attempts(once, |mut link| async move {
            call.invoke_async::<()>(&mut link).await
        })
        .await
    }

    pub(super) async fn put(
        &self,
        key: &StoreKey,
        value: Bytes,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        let mut set = cmd("SET");
        set.arg(value_key(key))
            .arg(&*value)
            .arg("PX")
            .arg(to_millis(ttl));
        self.query(&set).await
    }

    pub(super) async fn get(&self, key: &StoreKey) -> Result<Option<Bytes>, StoreError> {
        let found: Option<Vec<u8>> = self.query(cmd("GET").arg(value_key(key))).await?;
        Ok(found.map(Bytes::from))
    }

    pub(super) async fn refresh(
        &self,
        key: &StoreKey,
        ttl: Duration,
    ) -> Result<Option<Bytes>, StoreError> {
        let mut get = cmd("GETEX");
        let found: Option<Vec<u8>> = self
            .query(get.arg(value_key(key)).arg("PX").arg(to_millis(ttl)))
            .await?;
        Ok(found.map(Bytes::from))
    }

    pub(super) async fn put_if_absent(
        &self,
        key: &StoreKey,
        value: &Bytes,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let mut set = cmd("SET");
        set.arg(value_key(key))
            .arg(&**value)
            .arg("NX")
            .arg("PX")
            .arg(to_millis(ttl));
        let stored: Option<String> = self.query(&set).await?;
        if stored.is_some() {
            return Ok(true);
        }
        // The first attempt may have stored it before the connection was closed.
        Ok(self.get(key).await?.as_ref() == Some(value))
    }

    pub(super) async fn refresh_own(
        &self,
        key: &StoreKey,
        value: &Bytes,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let mut call = REFRESH_OWN.key(value_key(key));
        call.arg(&**value).arg(to_millis(ttl));
        let call = &call;
        let is_own = self
            .run(|mut link| async move { call.invoke_async::<u8>(&mut link).await })
            .await?;
        Ok(is_own == 1)
    }

    pub(super) async fn remove_own(&self, key: &StoreKey, value: &Bytes) -> Result<(), StoreError> {
        let mut call = REMOVE_OWN.key(value_key(key));
        call.arg(&**value);
        let call = &call;
        self.run(|mut link| async move { call.invoke_async::<u8>(&mut link).await })
            .await?;
        Ok(())
    }

    pub(super) async fn remove(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.query(cmd("DEL").arg(value_key(key))).await
    }

    async fn query<T: redis::FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.run(|mut link| async move { command.query_async(&mut link).await })
            .await
    }

    /// Runs a command on the connection, within twice the timeout.
    async fn run<T, F>(&self, work: impl Fn(MultiplexedConnection) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        self.run_with_attempts(Attempts::Twice, work).await
    }

    async fn run_with_attempts<T, F>(
        &self,
        times: Attempts,
        work: impl Fn(MultiplexedConnection) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let done = timeout(self.timeout.saturating_mul(2), self.try_run(times, work))
            .await
            .unwrap_or_else(|_| Err(self.unavailable("it does not answer in time".to_owned())));
        match &done {
            Err(error) => {
                match error {
                    StoreError::NotPermitted { .. } => &self.lacks_right,
                    _ => &self.is_unavailable,
                }
                .store(true, Ordering::Relaxed);
                self.log_failure(error);
            }
            Ok(_) if self.is_unavailable.load(Ordering::Relaxed) => {
                self.is_unavailable.store(false, Ordering::Relaxed);
                // The rights may have changed. A command without one sets this again.
                self.lacks_right.store(false, Ordering::Relaxed);
            }
            Ok(_) => {}
        }
        done
    }

    /// Runs a command, and repeats it once on a new connection if Redis has closed the old one,
    /// which is noticed only by using it. If Redis received the first attempt, a count or a mark is
    /// made twice. The repetition makes a limit too strict once, and never too lax.
    async fn try_run<T, F>(
        &self,
        times: Attempts,
        work: impl Fn(MultiplexedConnection) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let mut again = times == Attempts::Twice;
        loop {
            let (connection, generation) = self.connection().await?;
            let error = match work(connection).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if is_connection_lost(&error) {
                self.disconnect(generation).await;
            }
            if !(again && error.is_connection_dropped()) {
                return Err(self.to_store_error(&error));
            }
            again = false;
        }
    }

    /// Returns the connection. If there is none, one call makes it while others wait.
    async fn connection(&self) -> Result<(MultiplexedConnection, u64), StoreError> {
        let mut link = self.link.lock().await;
        if let Some(connection) = &link.connection {
            return Ok((connection.clone(), link.generation));
        }
        if let Some((error, _)) = link
            .last_failure
            .as_ref()
            .filter(|(_, until)| Instant::now() < *until)
        {
            return Err(error.clone());
        }
        let bounds = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        match self
            .client
            .get_multiplexed_async_connection_with_config(&bounds)
            .await
        {
            Ok(connection) => {
                info!(address = %self.address, "connected to Redis");
                link.last_failure = None;
                link.generation += 1;
                link.connection = Some(connection.clone());
                Ok((connection, link.generation))
            }
            Err(error) => {
                let error = self.to_connection_error(&error);
                link.last_failure = Some((error.clone(), Instant::now() + RECONNECT_DELAY));
                Err(error)
            }
        }
    }

    async fn disconnect(&self, generation: u64) {
        let mut link = self.link.lock().await;
        if link.generation == generation {
            link.connection = None;
        }
    }

    /// Logs a failure, unless one was logged recently. A missing right is logged once, as it stays
    /// missing.
    fn log_failure(&self, error: &StoreError) {
        let mut complaints = self
            .logged_failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let StoreError::NotPermitted { what, .. } = error {
            if complaints.missing_rights.insert(what.clone()) {
                error!(%error, "the Redis user lacks a right");
            }
        } else if complaints
            .last_logged
            .is_none_or(|at| at.elapsed() > FAILURE_LOG_INTERVAL)
        {
            complaints.last_logged = Some(Instant::now());
            warn!(%error, "replicas share nothing for now");
        }
    }

    fn to_store_error(&self, error: &RedisError) -> StoreError {
        match missing_right(error) {
            Some(what) => StoreError::NotPermitted {
                address: self.address.clone(),
                what,
            },
            None => self.unavailable(describe_error(error)),
        }
    }

    /// Returns the error of a connection that could not be made, with a hint where the address may name the other
    /// protocol: servers with TLS close a connection without, and others wait for more of a handshake.
    fn to_connection_error(&self, error: &RedisError) -> StoreError {
        let is_tls = matches!(
            self.client.get_connection_info().addr(),
            ConnectionAddr::TcpTls { .. }
        );
        let hint = match is_tls {
            false if error.is_connection_dropped() => {
                "if that port speaks TLS, the address has to begin with rediss://"
            }
            true if error.is_timeout() => {
                "if that port does not speak TLS, the address has to begin with redis://"
            }
            _ => return self.to_store_error(error),
        };
        self.unavailable(format!("{}; {hint}", describe_error(error)))
    }

    fn unavailable(&self, reason: String) -> StoreError {
        StoreError::Unavailable {
            address: self.address.clone(),
            reason,
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Creates the client of a `rediss://` URL. The client trusts either its own choice of authorities
/// or the given ones, so the given ones have to include the system's.
fn open_tls_client(info: ConnectionInfo, more_roots: &[u8]) -> Result<Client, StoreError> {
    // Fails if the same provider is installed already.
    _ = rustls::crypto::ring::default_provider().install_default();
    if more_roots.is_empty() {
        return Client::open(info).map_err(|_| INVALID_URL);
    }
    let mut roots = more_roots.to_vec();
    for root in rustls_native_certs::load_native_certs().certs {
        let text = STANDARD.encode(root);
        let pem = format!("\n-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        roots.extend_from_slice(pem.as_bytes());
    }
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: Some(roots),
    };
    Client::build_with_tls(info, certificates).map_err(|_| INVALID_ROOTS)
}

/// Returns true if the connection is unusable. A silent connection may lead to a server that is
/// gone. One that is read-only leads to a server that is no longer the primary.
fn is_connection_lost(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error() || error.code() == Some("READONLY")
}

/// Describes an error without the message of Redis, which repeats commands, including the password.
fn describe_error(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::Io => error.to_string(),
        ErrorKind::AuthenticationFailed => "it refuses the user or the password".to_owned(),
        _ => format!(
            "it answers {}",
            error.code().unwrap_or_else(|| error.category())
        ),
    }
}

fn counter_key(name: &str) -> String {
    format!("portkey-mcp:count:{name}")
}

fn value_key(key: &StoreKey) -> String {
    format!("portkey-mcp:value:{key}")
}

fn to_millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
}

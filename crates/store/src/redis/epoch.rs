//! Single use in Redis, and detection of lost data.

use std::{
    sync::{LazyLock, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use redis::Script;
use tracing::error;

use super::{RedisStore, to_millis};
use crate::{
    Stamp, StoreError, StoreKey, UseOutcome,
    epoch::{EPOCH_BYTES, Epoch, random_epoch},
};

/// Interval at which Redis is checked for availability and lost data.
const EPOCH_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Key of the epoch.
const EPOCH_KEY: &str = "portkey-mcp:epoch";

static CHECK_EPOCH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../pulse.lua")));
static USE_ONCE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../use_once.lua")));

/// Knowledge of this replica about the epoch.
#[derive(Default)]
pub(super) struct EpochState {
    epoch: Option<Epoch>,
    /// Minimum number of uses that were marked in the epoch.
    uses: u64,
    /// Time at which a loss of data was last noticed.
    data_loss_at: Option<Instant>,
}

/// Checks Redis at intervals until the store is dropped.
pub(crate) async fn monitor(redis: Weak<RedisStore>) {
    loop {
        tokio::time::sleep(EPOCH_CHECK_INTERVAL).await;
        let Some(redis) = redis.upgrade() else { return };
        // The check itself logs and records a failure.
        _ = redis.check_epoch().await;
    }
}

impl RedisStore {
    pub(crate) async fn stamp(&self) -> Result<Stamp, StoreError> {
        self.check_epoch().await
    }

    /// Checks that Redis is available and has lost no data. Returns the current time of the store.
    pub(super) async fn check_epoch(&self) -> Result<Stamp, StoreError> {
        let (known, uses) = {
            let known = self.epoch_state();
            (known.epoch, known.uses)
        };
        let mut call = CHECK_EPOCH.key(EPOCH_KEY);
        call.arg(encode_epoch(&random_epoch()));
        call.arg(known.map(|epoch| encode_epoch(&epoch)).unwrap_or_default())
            .arg(uses);
        let call = &call;
        let work =
            |mut link| async move { call.invoke_async::<(String, u64, u64)>(&mut link).await };
        let (epoch, uses, at) = self.run(work).await?;
        let epoch = decode_epoch(&epoch)
            .ok_or_else(|| self.unavailable(format!("what is at `{EPOCH_KEY}` is not ours")))?;
        self.update_epoch(epoch, uses);
        Ok(Stamp {
            epoch,
            issued_at_millis: at,
        })
    }

    pub(crate) async fn use_once(
        &self,
        stamp: &Stamp,
        key: &StoreKey,
        ttl: Duration,
    ) -> Result<UseOutcome, StoreError> {
        let seen = {
            let known = self.epoch_state();
            if known.epoch == Some(stamp.epoch) {
                known.uses
            } else {
                0
            }
        };
        let mut call = USE_ONCE.key(EPOCH_KEY);
        call.key(format!("portkey-mcp:once:{key}"));
        call.arg(encode_epoch(&stamp.epoch))
            .arg(stamp.issued_at_millis)
            .arg(to_millis(ttl))
            .arg(seen);
        let call = &call;
        let work = |mut link| async move { call.invoke_async::<(u8, u64)>(&mut link).await };
        let used = match self.run(work).await? {
            (0, uses) => {
                self.update_epoch(stamp.epoch, uses);
                UseOutcome::First
            }
            (1, _) => UseOutcome::AlreadyUsed,
            (2, _) => UseOutcome::Expired,
            (3, _) => UseOutcome::DataLost,
            _ => return Err(self.unavailable("it answers what it was not asked".to_owned())),
        };
        if used == UseOutcome::DataLost {
            // This notices the loss now, and ends the epoch if Redis was set back to an earlier
            // state.
            _ = self.check_epoch().await;
        }
        Ok(used)
    }

    /// Returns the time since a loss of data was last noticed.
    pub(crate) fn data_loss_age(&self) -> Option<Duration> {
        self.epoch_state().data_loss_at.map(|at| at.elapsed())
    }

    /// Records the epoch of Redis and its number of uses.
    fn update_epoch(&self, epoch: Epoch, uses: u64) {
        let mut known = self.epoch_state();
        if known.epoch == Some(epoch) {
            known.uses = known.uses.max(uses);
            return;
        }
        if known.epoch.is_some() {
            known.data_loss_at = Some(Instant::now());
            error!(
                address = %self.address,
                "Redis has forgotten what replicas share: it was emptied, restarted without its data or set \
                 back. Approvals that were asked for before are void; limits begin anew, and every session counts as tainted for an hour. \
                 docs/deployment.md says what Redis must keep"
            );
        }
        (known.epoch, known.uses) = (Some(epoch), uses);
    }

    fn epoch_state(&self) -> MutexGuard<'_, EpochState> {
        self.epoch_state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode_epoch(epoch: &Epoch) -> String {
    URL_SAFE_NO_PAD.encode(epoch)
}

fn decode_epoch(text: &str) -> Option<Epoch> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    <[u8; EPOCH_BYTES]>::try_from(bytes).ok()
}

//! Progress of a plan that is being applied: kept before and after each write, so that an interrupted plan
//! goes on where it ended.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    future::Future,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use portkey_bounded_file::read_to_string;
use portkey_store::{StoreError, StoreKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    document::{ChangePlan, PLAN_TTL},
    store::PlanStore,
};
use crate::{auth::principal::Principal, security::signed_state::random_bytes};

/// Maximum size of a kept progress, in bytes.
const MAX_PROGRESS_BYTES: usize = 256 << 10;
/// Time after which a plan whose process has ended can be gone on with.
const LEASE_TTL: Duration = Duration::from_secs(3);
/// Interval at which a lease is renewed.
const LEASE_RENEWAL_INTERVAL: Duration = Duration::from_secs(1);
/// Interval at which a lease of another call is looked at.
const LEASE_POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Time for which progress is kept: longer than a plan can be applied.
const PROGRESS_TTL: Duration = Duration::from_secs(2 * PLAN_TTL.as_secs());

/// Progress of the steps that were begun.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct PlanProgress {
    /// Steps by id.
    pub steps: BTreeMap<String, StepProgress>,
}

/// Progress of a step.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepProgress {
    /// Recorded before it is sent; the answer is not known.
    Sent,
    /// Known to have taken effect.
    Done {
        /// Fields of its answer that later steps refer to.
        values: BTreeMap<String, Value>,
    },
}

/// Reason why progress cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum ProgressError {
    /// Another call applies the plan.
    #[error(
        "the plan is being applied by another call; wait for its end, and then apply it again to go on"
    )]
    InUse,
    /// The store failed.
    #[error("its progress cannot be kept: {0}")]
    Store(#[from] StoreError),
    /// The file cannot be used.
    #[error("its progress cannot be kept: {0}")]
    File(#[from] io::Error),
    /// What is kept is invalid.
    #[error("its progress cannot be read: {0}")]
    Invalid(String),
}

/// Keeps the progress of one plan. It is held by one call at a time.
pub trait ProgressKeeper: Sync {
    /// Loads the progress.
    fn load(&self) -> impl Future<Output = Result<PlanProgress, ProgressError>> + Send;

    /// Keeps the progress, durably as far as the place is.
    fn save(
        &self,
        progress: &PlanProgress,
    ) -> impl Future<Output = Result<(), ProgressError>> + Send;

    /// Holds the plan for this call until it is dropped. Never returns.
    fn hold(&self) -> impl Future<Output = ()> + Send;
}

/// Progress in the store of the server, which replicas may share.
#[derive(Debug)]
pub struct StoreProgress<'a> {
    store: &'a PlanStore,
    progress: StoreKey,
    lease: StoreKey,
}

impl<'a> StoreProgress<'a> {
    /// Takes the plan for this call.
    ///
    /// # Errors
    /// Returns an error if another call holds it, or the store is unavailable.
    pub async fn take(
        store: &'a PlanStore,
        principal: &Principal,
        plan: &ChangePlan,
    ) -> Result<Self, ProgressError> {
        let key = |purpose| {
            StoreKey::new(purpose, &[&principal.name, &plan.id]).owned_by(&principal.name)
        };
        let progress = Self {
            store,
            progress: key("plan-progress"),
            lease: key("plan-lease"),
        };
        let values = store.values();
        let own =
            random_bytes::<16>().map_err(|_| StoreError::InvalidSettings("no random numbers"))?;
        let own = Bytes::copy_from_slice(&own);
        // The lease of a process that has ended is over soon.
        let deadline = Instant::now() + LEASE_TTL + LEASE_RENEWAL_INTERVAL;
        while values.get(&progress.lease).await?.is_some() {
            if Instant::now() >= deadline {
                return Err(ProgressError::InUse);
            }
            sleep(LEASE_POLL_INTERVAL).await;
        }
        values.put(&progress.lease, own.clone(), LEASE_TTL).await?;
        // Of two calls that found no lease the last one holds it.
        sleep(LEASE_POLL_INTERVAL).await;
        match values.get(&progress.lease).await? {
            Some(holder) if holder == own => Ok(progress),
            _ => Err(ProgressError::InUse),
        }
    }

    /// Gives the plan back, so that it can be taken at once.
    pub async fn release(self) {
        // Otherwise the lease expires.
        _ = self.store.values().remove(&self.lease).await;
    }
}

impl ProgressKeeper for StoreProgress<'_> {
    async fn load(&self) -> Result<PlanProgress, ProgressError> {
        match self.store.values().get(&self.progress).await? {
            None => Ok(PlanProgress::default()),
            Some(kept) => serde_json::from_slice(&kept)
                .map_err(|error| ProgressError::Invalid(error.to_string())),
        }
    }

    async fn save(&self, progress: &PlanProgress) -> Result<(), ProgressError> {
        let kept = to_json(progress)?;
        Ok(self
            .store
            .values()
            .put(&self.progress, kept.into(), PROGRESS_TTL)
            .await?)
    }

    async fn hold(&self) {
        loop {
            sleep(LEASE_RENEWAL_INTERVAL).await;
            // A store that is unavailable fails the next save, too.
            _ = self
                .store
                .values()
                .store()
                .refresh(&self.lease, LEASE_TTL)
                .await;
        }
    }
}

/// Progress in a file beside the plan, for the shell. The file is locked while the plan is applied.
#[derive(Debug)]
pub struct FileProgress {
    path: PathBuf,
    _lock: File,
}

impl FileProgress {
    /// Takes the plan for this process.
    ///
    /// # Errors
    /// Returns an error if another process holds it, or the file cannot be created.
    pub fn take(path: &Path) -> Result<Self, ProgressError> {
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(ProgressError::InUse),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Removes the files of a plan that is done.
    pub fn remove(self) {
        let mut lock_path = self.path.as_os_str().to_owned();
        lock_path.push(".lock");
        // What is left does no harm.
        _ = fs::remove_file(&self.path);
        _ = fs::remove_file(lock_path);
    }
}

impl ProgressKeeper for FileProgress {
    async fn load(&self) -> Result<PlanProgress, ProgressError> {
        match read_to_string(&self.path, MAX_PROGRESS_BYTES as u64) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(PlanProgress::default()),
            Err(error) => Err(error.into()),
            Ok(kept) => serde_json::from_str(&kept)
                .map_err(|error| ProgressError::Invalid(error.to_string())),
        }
    }

    async fn save(&self, progress: &PlanProgress) -> Result<(), ProgressError> {
        let kept = to_json(progress)?;
        // Replaced as a whole: a crash leaves the old or the new progress.
        let mut new_path = self.path.as_os_str().to_owned();
        new_path.push(".new");
        let mut file = File::create(&new_path)?;
        file.write_all(&kept)?;
        file.sync_all()?;
        fs::rename(&new_path, &self.path)?;
        if let Some(folder) = self
            .path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            OpenOptions::new().read(true).open(folder)?.sync_all()?;
        }
        Ok(())
    }

    async fn hold(&self) {
        std::future::pending().await
    }
}

fn to_json(progress: &PlanProgress) -> Result<Vec<u8>, ProgressError> {
    let kept = serde_json::to_vec(progress).unwrap_or_default();
    match kept.len() {
        0..=MAX_PROGRESS_BYTES => Ok(kept),
        _ => Err(StoreError::TooLarge.into()),
    }
}

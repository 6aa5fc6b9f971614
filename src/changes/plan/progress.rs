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
use portkey_bounded_file::{decode_utf8, open_without_links, read_open_file};
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

/// Progress of the steps of a plan that were begun.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct PlanProgress {
    /// Id of the plan.
    #[serde(default)]
    pub plan: String,
    /// Digest of the plan.
    #[serde(default)]
    pub digest: String,
    /// Steps by id.
    pub steps: BTreeMap<String, StepProgress>,
}

/// Progress of a step.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepProgress {
    /// Recorded before it is sent; the answer is not known.
    Sent {
        /// Time until which the request may still take effect, in seconds since 1970.
        until: u64,
    },
    /// Known to have taken effect.
    Done {
        /// Fields of its answer that later steps refer to.
        values: BTreeMap<String, Value>,
        /// Fields that later steps refer to and the answer does not have, with the reason.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        missing: BTreeMap<String, String>,
    },
}

impl PlanProgress {
    /// Returns the progress of a plan that was not begun.
    pub fn new(plan: &ChangePlan) -> Self {
        Self {
            plan: plan.id.clone(),
            digest: plan.digest(),
            steps: BTreeMap::new(),
        }
    }

    /// Returns true if this is the progress of a plan.
    pub fn is_of(&self, plan: &ChangePlan) -> bool {
        self.plan == plan.id && self.digest == plan.digest()
    }
}

/// Reason why progress cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum ProgressError {
    /// Another call applies the plan.
    #[error(
        "the plan is being applied by another call; wait for its end, and then apply it again to go on"
    )]
    InUse,
    /// Another call has taken over the plan.
    #[error("another call has taken over the plan, so that this one stops")]
    Lost,
    /// The progress is that of another plan.
    #[error(
        "what is kept beside it is the progress of another plan; apply the plan from a file of another name"
    )]
    OtherPlan,
    /// The store failed.
    #[error("its progress cannot be kept: {0}")]
    Store(#[from] StoreError),
    /// The file cannot be used.
    #[error("its progress cannot be kept: {0}")]
    File(#[from] io::Error),
    /// The kept progress is invalid.
    #[error("its progress cannot be read: {0}")]
    Invalid(String),
}

/// Keeps the progress of one plan. It is held by one call at a time.
pub trait ProgressKeeper: Sync {
    /// Takes the plan again, if it was lost while a human was asked.
    fn take_again(&self) -> impl Future<Output = Result<(), ProgressError>> + Send;

    /// Loads the progress.
    fn load(&self) -> impl Future<Output = Result<PlanProgress, ProgressError>> + Send;

    /// Keeps the progress, durably as far as the place is. Fails if another call has taken over.
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
    /// Value of the lease while this call holds it.
    holder: Bytes,
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
        let holder =
            random_bytes::<16>().map_err(|_| StoreError::InvalidSettings("no random numbers"))?;
        let progress = Self {
            store,
            progress: key("plan-progress"),
            lease: key("plan-lease"),
            holder: Bytes::copy_from_slice(&holder),
        };
        // The lease of a process that has ended is over soon.
        let deadline = Instant::now() + LEASE_TTL + LEASE_RENEWAL_INTERVAL;
        while !progress.acquire().await? {
            if Instant::now() >= deadline {
                return Err(ProgressError::InUse);
            }
            sleep(LEASE_POLL_INTERVAL).await;
        }
        Ok(progress)
    }

    /// Gives the plan back, so that it can be taken at once.
    pub async fn release(self) {
        let store = self.store.values().store();
        // Otherwise the lease expires.
        _ = store.remove_own(&self.lease, &self.holder).await;
    }

    /// Takes the lease. Returns false if another call holds it.
    async fn acquire(&self) -> Result<bool, StoreError> {
        let store = self.store.values().store();
        store
            .put_if_absent(&self.lease, self.holder.clone(), LEASE_TTL)
            .await
    }

    /// Renews the lease. Returns false if it was lost.
    async fn renew(&self) -> Result<bool, StoreError> {
        let store = self.store.values().store();
        store
            .refresh_own(&self.lease, &self.holder, LEASE_TTL)
            .await
    }
}

impl ProgressKeeper for StoreProgress<'_> {
    async fn take_again(&self) -> Result<(), ProgressError> {
        match self.renew().await? || self.acquire().await? {
            true => Ok(()),
            false => Err(ProgressError::InUse),
        }
    }

    async fn load(&self) -> Result<PlanProgress, ProgressError> {
        match self.store.values().get(&self.progress).await? {
            None => Ok(PlanProgress::default()),
            Some(kept) => serde_json::from_slice(&kept)
                .map_err(|error| ProgressError::Invalid(error.to_string())),
        }
    }

    async fn save(&self, progress: &PlanProgress) -> Result<(), ProgressError> {
        let kept = to_json(progress)?;
        if !self.renew().await? {
            return Err(ProgressError::Lost);
        }
        self.store
            .values()
            .put(&self.progress, kept.into(), PROGRESS_TTL)
            .await?;
        // A call that paused in between must not go on to send anything.
        match self.renew().await? {
            true => Ok(()),
            false => Err(ProgressError::Lost),
        }
    }

    async fn hold(&self) {
        loop {
            sleep(LEASE_RENEWAL_INTERVAL).await;
            // A lease that is lost, or a store that is unavailable, fails the next save, too.
            _ = self.renew().await;
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
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        set_private(&mut options);
        let lock = open_without_links(Path::new(&lock_path), options)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(ProgressError::InUse),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Returns false if the file shows that no step of the plan was begun.
    pub fn is_begun(&self) -> bool {
        match self.read() {
            Ok(None) => false,
            Ok(Some(progress)) => !progress.steps.is_empty(),
            Err(_) => true,
        }
    }

    fn read(&self) -> Result<Option<PlanProgress>, ProgressError> {
        let mut options = OpenOptions::new();
        options.read(true);
        let file = match open_without_links(&self.path, options) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let kept = decode_utf8(read_open_file(&file, MAX_PROGRESS_BYTES as u64)?)?;
        serde_json::from_str(&kept)
            .map(Some)
            .map_err(|error| ProgressError::Invalid(error.to_string()))
    }

    /// Removes the files of a plan that nobody goes on with.
    pub fn remove(self) {
        let mut lock_path = self.path.as_os_str().to_owned();
        lock_path.push(".lock");
        // What is left does no harm.
        _ = fs::remove_file(&self.path);
        _ = fs::remove_file(lock_path);
    }
}

impl ProgressKeeper for FileProgress {
    /// The file stays locked.
    async fn take_again(&self) -> Result<(), ProgressError> {
        Ok(())
    }

    async fn load(&self) -> Result<PlanProgress, ProgressError> {
        Ok(self.read()?.unwrap_or_default())
    }

    async fn save(&self, progress: &PlanProgress) -> Result<(), ProgressError> {
        let kept = to_json(progress)?;
        Ok(write_private(&self.path, &kept)?)
    }

    async fn hold(&self) {
        std::future::pending().await
    }
}

/// Writes a file that only its user can read. It is replaced as a whole: a crash leaves the old or the
/// new content. A link at its place is an error.
///
/// # Errors
/// Returns an error if the file cannot be written, or something else than a regular file is there.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let is_other = path.symlink_metadata().is_ok_and(|found| !found.is_file());
    if is_other {
        let what = "it is no regular file, and only a regular file can be used here";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let mut new_path = path.as_os_str().to_owned();
    new_path.push(".new");
    // What a crash has left. A link is removed itself.
    match fs::remove_file(&new_path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.create_new(true).write(true);
    set_private(&mut options);
    let mut file = options.open(&new_path)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new_path, path)?;
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        OpenOptions::new().read(true).open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Makes a file that is created readable for its user only.
#[cfg(unix)]
fn set_private(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

#[cfg(not(unix))]
const fn set_private(_: &mut OpenOptions) {}

fn to_json(progress: &PlanProgress) -> Result<Vec<u8>, ProgressError> {
    let kept = serde_json::to_vec(progress).unwrap_or_default();
    match kept.len() {
        0..=MAX_PROGRESS_BYTES => Ok(kept),
        _ => Err(StoreError::TooLarge.into()),
    }
}

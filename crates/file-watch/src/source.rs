//! A watched file with the files it refers to: decides on a reload and applies or rejects the
//! result.

use std::{
    collections::BTreeSet,
    fs::{self, Metadata},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use anyhow::anyhow;
use arc_swap::ArcSwap;
use portkey_bounded_file::{FileIdentity, MAX_CONFIG_BYTES, display_path, read, with_causes};
use sha2::{Digest, Sha256};
use tracing::{error, info};

use super::{ChangeListener, FileKind, FileStatus, ParsedValue};

/// Maximum age of the last read of files that seem unchanged.
const CONTENT_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Time after a change in which another change may leave the same metadata, as file systems have
/// coarse clocks.
const SETTLING_TIME: Duration = Duration::from_secs(3);

/// Delays before a rejected version is read again although nothing seems to have changed. A file
/// that it refers to may be created later. The delay doubles each time.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(500);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);

/// Maximum number of reads of files that change while they are read.
const MAX_READS: usize = 3;

/// Depth of a check for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckDepth {
    /// Compares file identity and metadata.
    Metadata,
    /// Reads and compares the contents.
    Contents,
}

/// A source to watch, independent of the type of its value.
pub(super) trait WatchedSource: Send + Sync {
    /// Checks for changes and reloads the changed files. Returns true if the set of files changed,
    /// or the files that their paths lead to.
    fn check(&self, check: CheckDepth) -> bool;

    /// Sets the kind of the file; only the first call has an effect.
    fn set_kind(&self, kind: FileKind);

    /// Returns the kind of the file, once it is set.
    fn kind(&self) -> Option<FileKind>;

    /// Returns the reload status as a file of this kind.
    fn status(&self, kind: FileKind) -> FileStatus;

    /// Returns the time at which a rejected version is read again, if there is one.
    fn next_retry(&self) -> Option<Instant>;

    /// Returns the folders in which a change of the files is visible.
    fn folders(&self) -> BTreeSet<PathBuf>;
}

type ReadFn<T> = Box<dyn Fn() -> anyhow::Result<ParsedValue<T>> + Send>;
type ListFn = Box<dyn Fn(&[PathBuf]) -> Vec<PathBuf> + Send>;

/// A value and the files that it is read from.
pub(super) struct FileSource<T> {
    path: PathBuf,
    kind: OnceLock<FileKind>,
    current: Arc<ArcSwap<T>>,
    listener: Arc<OnceLock<ChangeListener<T>>>,
    state: Mutex<SourceState<T>>,
    /// Separate from the state, so that a status request does not wait for a file that is being
    /// read.
    outcome: Mutex<SourceOutcome>,
}

struct SourceState<T> {
    read: ReadFn<T>,
    /// Returns the current files.
    list: ListFn,
    files: Vec<FileSnapshot>,
    /// True if any further change would show in the metadata of the files.
    is_settled: bool,
    /// Time of the last check of the contents.
    read_at: Instant,
    /// Time of the next read of a rejected version, and the delay before it.
    retry: Option<(Instant, Duration)>,
}

#[derive(Clone, Debug)]
struct SourceOutcome {
    checked_at: Instant,
    rejection: Option<String>,
    retry: Option<Instant>,
}

/// State of a file when it was last checked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileSnapshot {
    path: PathBuf,
    fingerprint: Option<MetadataFingerprint>,
    /// A hash, because the contents may be secret; `None` if the file cannot be read.
    content_hash: Option<[u8; 32]>,
}

/// Metadata that changes with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MetadataFingerprint {
    identity: FileIdentity,
    length: u64,
    modified: Option<SystemTime>,
    /// Time of the last change of any kind, as recorded by the system. Programs cannot set it.
    changed: Option<(i64, i64)>,
}

impl<T: Send + Sync + 'static> FileSource<T> {
    /// Reads the value for the first time.
    pub(super) fn start(
        path: PathBuf,
        read: ReadFn<T>,
        list: ListFn,
        listener: Arc<OnceLock<ChangeListener<T>>>,
    ) -> anyhow::Result<(Self, Arc<ArcSwap<T>>)> {
        let before = snapshot_files(vec![path.clone()]);
        let (value, files, is_settled) = read_consistently(&read, before)?;
        let current = Arc::new(ArcSwap::from_pointee(value));
        let now = Instant::now();
        let state = SourceState {
            read,
            list,
            files,
            is_settled,
            read_at: now,
            retry: None,
        };
        let outcome = SourceOutcome {
            checked_at: now,
            rejection: None,
            retry: None,
        };
        let state = Mutex::new(state);
        let outcome = Mutex::new(outcome);
        let kind = OnceLock::new();
        Ok((
            Self {
                path,
                kind,
                current: current.clone(),
                listener,
                state,
                outcome,
            },
            current,
        ))
    }

    /// Reloads changed files. Returns true if the set of files changed, or the files that their
    /// paths lead to.
    fn check_files(&self, state: &mut SourceState<T>, check: CheckDepth) -> bool {
        let paths: Vec<_> = state.files.iter().map(|file| file.path.clone()).collect();
        let now = (state.list)(&paths);
        let is_due = state.retry.is_some_and(|(at, _)| Instant::now() >= at);
        let has_changed = now != paths
            || state
                .files
                .iter()
                .any(|file| file.fingerprint != fingerprint(&file.path));
        let is_thorough = check == CheckDepth::Contents
            || !state.is_settled
            || state.read_at.elapsed() >= CONTENT_CHECK_INTERVAL;
        if !has_changed && !is_thorough && !is_due {
            return false;
        }
        let now = snapshot_files(now);
        state.read_at = Instant::now();
        let is_refused = state.retry.is_some();
        if have_same_contents(&now, &state.files)
            && !(is_refused && (is_due || check == CheckDepth::Contents))
        {
            state.is_settled = are_settled(&now);
            state.files = now;
            return has_changed;
        }
        match read_consistently(&state.read, now.clone()) {
            Ok((value, files, is_settled)) => {
                (state.files, state.is_settled, state.retry) = (files, is_settled, None);
                self.apply(value);
            }
            Err(error) => {
                let is_new = has_changed || !have_same_contents(&now, &state.files);
                (state.files, state.is_settled) = (now, true);
                let delay = match state.retry {
                    Some((_, delay)) if !is_new => (delay * 2).min(MAX_RETRY_DELAY),
                    _ => MIN_RETRY_DELAY,
                };
                state.retry = Some((Instant::now() + delay, delay));
                self.reject(&error);
            }
        }
        true
    }

    fn apply(&self, value: T) {
        let value = Arc::new(value);
        let before = self.current.swap(value.clone());
        lock(&self.outcome).rejection = None;
        info!(file = %display_path(&self.path), "reloaded the changed file");
        if let Some(listener) = self.listener.get() {
            listener(&before, &value);
        }
    }

    fn reject(&self, error: &anyhow::Error) {
        let error = with_causes(error.as_ref());
        let mut outcome = lock(&self.outcome);
        // Retries repeat the same error, which is logged only once.
        if outcome.rejection.as_ref() != Some(&error) {
            error!(
                error,
                "the change is invalid; the previous content remains in use"
            );
            outcome.rejection = Some(error);
        }
    }
}

impl<T: Send + Sync + 'static> WatchedSource for FileSource<T> {
    fn check(&self, check: CheckDepth) -> bool {
        let mut state = lock(&self.state);
        // A panic in a parser must not end the watching of this file and all others.
        let looked = catch_unwind(AssertUnwindSafe(|| self.check_files(&mut state, check)));
        let has_changed = looked.unwrap_or_else(|_| {
            let paths = state.files.iter().map(|file| file.path.clone()).collect();
            state.files = snapshot_files(paths);
            state.retry = Some((Instant::now() + MAX_RETRY_DELAY, MAX_RETRY_DELAY));
            self.reject(&anyhow!(
                "cannot use {}: reading it has failed",
                display_path(&self.path)
            ));
            true
        });
        let mut outcome = lock(&self.outcome);
        outcome.checked_at = Instant::now();
        outcome.retry = state.retry.map(|(at, _)| at);
        has_changed
    }

    fn set_kind(&self, kind: FileKind) {
        _ = self.kind.set(kind);
    }

    fn kind(&self) -> Option<FileKind> {
        self.kind.get().copied()
    }

    fn status(&self, kind: FileKind) -> FileStatus {
        let outcome = lock(&self.outcome);
        FileStatus {
            kind,
            since_check: outcome.checked_at.elapsed(),
            is_rejected: outcome.rejection.is_some(),
        }
    }

    fn next_retry(&self) -> Option<Instant> {
        lock(&self.outcome).retry
    }

    fn folders(&self) -> BTreeSet<PathBuf> {
        let paths: Vec<_> = lock(&self.state)
            .files
            .iter()
            .map(|file| file.path.clone())
            .collect();
        // Editors and orchestrators replace a file with a new one, which is visible in its folder.
        // Behind a link, files are also changed in the folder that the link leads to.
        let folders = paths.iter().flat_map(|path| {
            let real = path.canonicalize().ok();
            let of_real = real.and_then(|real| {
                if real.is_dir() {
                    Some(real)
                } else {
                    parent_folder(&real)
                }
            });
            [parent_folder(path), of_real]
        });
        folders.flatten().collect()
    }
}

/// Reads the value together with a consistent state of its files, and repeats that if the files
/// change meanwhile. The flag is true if any further change would show in the metadata.
fn read_consistently<T>(
    read: &ReadFn<T>,
    mut before: Vec<FileSnapshot>,
) -> anyhow::Result<(T, Vec<FileSnapshot>, bool)> {
    let mut reads = 0;
    loop {
        reads += 1;
        let started = SystemTime::now();
        let ParsedValue { value, files } = read()?;
        let after = snapshot_files(files);
        let is_steady =
            after.iter().all(
                |file| match before.iter().find(|one| one.path == file.path) {
                    Some(before) => before.content_hash == file.content_hash,
                    // This file was not known before the value referred to it.
                    None => file
                        .fingerprint
                        .as_ref()
                        .is_some_and(|mark| mark.is_older_than(started)),
                },
            );
        if is_steady || reads >= MAX_READS {
            // Files that are not settled are read again at the next check.
            let is_settled = is_steady && are_settled(&after);
            let files = if is_steady { after } else { before };
            return Ok((value, files, is_settled));
        }
        before = after;
    }
}

impl MetadataFingerprint {
    fn from_metadata(found: &Metadata) -> Self {
        Self {
            identity: FileIdentity::from_metadata(found),
            length: found.len(),
            modified: found.modified().ok(),
            changed: change_time(found),
        }
    }

    /// Returns the time of the last change, if it is known.
    fn last_change(&self) -> Option<SystemTime> {
        let changed = self.changed.and_then(|(seconds, nanos)| {
            let since = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?);
            SystemTime::UNIX_EPOCH.checked_add(since)
        });
        changed.or(self.modified)
    }

    fn is_older_than(&self, time: SystemTime) -> bool {
        let age = self
            .last_change()
            .and_then(|changed| time.duration_since(changed).ok());
        age.is_some_and(|age| age >= SETTLING_TIME)
    }
}

#[cfg(unix)]
fn change_time(found: &Metadata) -> Option<(i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    Some((found.ctime(), found.ctime_nsec()))
}

#[cfg(not(unix))]
const fn change_time(_: &Metadata) -> Option<(i64, i64)> {
    None
}

fn fingerprint(path: &Path) -> Option<MetadataFingerprint> {
    fs::metadata(path)
        .ok()
        .map(|found| MetadataFingerprint::from_metadata(&found))
}

/// Records the current state of files. The metadata is read first, so that a change in between is
/// detected.
fn snapshot_files(paths: Vec<PathBuf>) -> Vec<FileSnapshot> {
    let file = |path: PathBuf| {
        let mark = fingerprint(&path);
        let contents = read(&path, MAX_CONFIG_BYTES).ok();
        let contents = contents.map(|bytes| Sha256::digest(bytes).into());
        FileSnapshot {
            path,
            fingerprint: mark,
            content_hash: contents,
        }
    };
    paths.into_iter().map(file).collect()
}

fn have_same_contents(one: &[FileSnapshot], other: &[FileSnapshot]) -> bool {
    let is_same = |(one, other): (&FileSnapshot, &FileSnapshot)| {
        one.path == other.path
            && one.content_hash == other.content_hash
            // Only existence can be compared if the contents cannot be read, as with a folder.
            && (one.content_hash.is_some() || one.fingerprint.is_some() == other.fingerprint.is_some())
    };
    one.len() == other.len() && one.iter().zip(other).all(is_same)
}

/// Returns true if the last change of each file is old enough for the next change to have another
/// time.
fn are_settled(files: &[FileSnapshot]) -> bool {
    let now = SystemTime::now();
    let is_recent = |mark: &MetadataFingerprint| {
        let Some(time) = mark.last_change() else {
            return false;
        };
        // A time in the future comes from another clock.
        let apart = now
            .duration_since(time)
            .unwrap_or_else(|error| error.duration());
        apart < SETTLING_TIME
    };
    !files
        .iter()
        .filter_map(|file| file.fingerprint.as_ref())
        .any(is_recent)
}

fn parent_folder(file: &Path) -> Option<PathBuf> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    folder.canonicalize().ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

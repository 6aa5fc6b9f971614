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
use portkey_bounded_file::{Identity, MAX_CONFIG_BYTES, read, shown, with_causes};
use sha2::{Digest, Sha256};
use tracing::{error, info};

use super::{FileKind, FileStatus, Listener, Parsed};

/// Maximum age of the last read of files that seem unchanged.
const CONTENT_INTERVAL: Duration = Duration::from_secs(60);

/// Time after a change in which another change may leave the same metadata, as file systems have
/// coarse clocks.
const UNSETTLED: Duration = Duration::from_secs(3);

/// Delays before a rejected version is read again although nothing seems to have changed. A file
/// that it refers to may be created later. The delay doubles each time.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Maximum number of reads of files that change while they are read.
const MAX_READS: usize = 3;

/// Depth of a check for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Compares file identity and metadata.
    Metadata,
    /// Reads and compares the contents.
    Contents,
}

/// A source to watch, independent of the type of its value.
pub(super) trait Source: Send + Sync {
    /// Checks for changes and reloads the changed files. Returns true if the set of files changed,
    /// or the files that their paths lead to.
    fn check(&self, check: Check) -> bool;

    /// Sets the kind of the file; only the first call has an effect.
    fn name(&self, kind: FileKind);

    /// Returns the kind of the file, once it is set.
    fn kind(&self) -> Option<FileKind>;

    /// Returns the reload status as a file of this kind.
    fn status(&self, kind: FileKind) -> FileStatus;

    /// Returns the time at which a rejected version is read again, if there is one.
    fn retry(&self) -> Option<Instant>;

    /// Returns the folders in which a change of the files is visible.
    fn folders(&self) -> BTreeSet<PathBuf>;
}

type Read<T> = Box<dyn Fn() -> anyhow::Result<Parsed<T>> + Send>;
type List = Box<dyn Fn(&[PathBuf]) -> Vec<PathBuf> + Send>;

/// A value and the files that it is read from.
pub(super) struct Target<T> {
    path: PathBuf,
    kind: OnceLock<FileKind>,
    current: Arc<ArcSwap<T>>,
    listener: Arc<OnceLock<Listener<T>>>,
    state: Mutex<State<T>>,
    /// Separate from the state, so that a status request does not wait for a file that is being
    /// read.
    outcome: Mutex<Outcome>,
}

struct State<T> {
    read: Read<T>,
    /// Returns the current files.
    list: List,
    files: Vec<File>,
    /// True if any further change would show in the metadata of the files.
    is_settled: bool,
    /// Time of the last check of the contents.
    read_at: Instant,
    /// Time of the next read of a rejected version, and the delay before it.
    retry: Option<(Instant, Duration)>,
}

#[derive(Clone, Debug)]
struct Outcome {
    checked: Instant,
    refused: Option<String>,
    retry: Option<Instant>,
}

/// State of a file when it was last checked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    path: PathBuf,
    mark: Option<Mark>,
    /// A hash, because the contents may be secret; `None` if the file cannot be read.
    contents: Option<[u8; 32]>,
}

/// Metadata that changes with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    identity: Identity,
    length: u64,
    modified: Option<SystemTime>,
    /// Time of the last change of any kind, as recorded by the system. Programs cannot set it.
    changed: Option<(i64, i64)>,
}

impl<T: Send + Sync + 'static> Target<T> {
    /// Reads the value for the first time.
    pub(super) fn start(
        path: PathBuf,
        read: Read<T>,
        list: List,
        listener: Arc<OnceLock<Listener<T>>>,
    ) -> anyhow::Result<(Self, Arc<ArcSwap<T>>)> {
        let before = found(vec![path.clone()]);
        let (value, files, is_settled) = read_steady(&read, before)?;
        let current = Arc::new(ArcSwap::from_pointee(value));
        let now = Instant::now();
        let state = State {
            read,
            list,
            files,
            is_settled,
            read_at: now,
            retry: None,
        };
        let outcome = Outcome {
            checked: now,
            refused: None,
            retry: None,
        };
        let (state, outcome) = (Mutex::new(state), Mutex::new(outcome));
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
    fn look(&self, state: &mut State<T>, check: Check) -> bool {
        let paths: Vec<_> = state.files.iter().map(|file| file.path.clone()).collect();
        let now = (state.list)(&paths);
        let is_due = state.retry.is_some_and(|(at, _)| Instant::now() >= at);
        let has_changed =
            now != paths || state.files.iter().any(|file| file.mark != mark(&file.path));
        let is_thorough = check == Check::Contents
            || !state.is_settled
            || state.read_at.elapsed() >= CONTENT_INTERVAL;
        if !has_changed && !is_thorough && !is_due {
            return false;
        }
        let now = found(now);
        state.read_at = Instant::now();
        let is_refused = state.retry.is_some();
        if same_contents(&now, &state.files)
            && !(is_refused && (is_due || check == Check::Contents))
        {
            state.is_settled = is_settled(&now);
            state.files = now;
            return has_changed;
        }
        match read_steady(&state.read, now.clone()) {
            Ok((value, files, is_settled)) => {
                (state.files, state.is_settled, state.retry) = (files, is_settled, None);
                self.put_in_effect(value);
            }
            Err(error) => {
                let is_new = has_changed || !same_contents(&now, &state.files);
                (state.files, state.is_settled) = (now, true);
                let delay = match state.retry {
                    Some((_, delay)) if !is_new => (delay * 2).min(LAST_RETRY),
                    _ => FIRST_RETRY,
                };
                state.retry = Some((Instant::now() + delay, delay));
                self.refuse(&error);
            }
        }
        true
    }

    fn put_in_effect(&self, value: T) {
        let value = Arc::new(value);
        let before = self.current.swap(value.clone());
        locked(&self.outcome).refused = None;
        info!(file = %shown(&self.path), "the changed file is in effect");
        if let Some(listener) = self.listener.get() {
            listener(&before, &value);
        }
    }

    fn refuse(&self, error: &anyhow::Error) {
        let error = with_causes(error.as_ref());
        let mut outcome = locked(&self.outcome);
        // Retries repeat the same error, which is logged only once.
        if outcome.refused.as_ref() != Some(&error) {
            error!(
                error,
                "the change does not hold; what was in effect stays so"
            );
            outcome.refused = Some(error);
        }
    }
}

impl<T: Send + Sync + 'static> Source for Target<T> {
    fn check(&self, check: Check) -> bool {
        let mut state = locked(&self.state);
        // A panic in a parser must not end the watching of this file and all others.
        let looked = catch_unwind(AssertUnwindSafe(|| self.look(&mut state, check)));
        let has_changed = looked.unwrap_or_else(|_| {
            let paths = state.files.iter().map(|file| file.path.clone()).collect();
            state.files = found(paths);
            state.retry = Some((Instant::now() + LAST_RETRY, LAST_RETRY));
            self.refuse(&anyhow!(
                "cannot use {}: reading it has failed",
                shown(&self.path)
            ));
            true
        });
        let mut outcome = locked(&self.outcome);
        outcome.checked = Instant::now();
        outcome.retry = state.retry.map(|(at, _)| at);
        has_changed
    }

    fn name(&self, kind: FileKind) {
        _ = self.kind.set(kind);
    }

    fn kind(&self) -> Option<FileKind> {
        self.kind.get().copied()
    }

    fn status(&self, kind: FileKind) -> FileStatus {
        let outcome = locked(&self.outcome);
        FileStatus {
            kind,
            since_check: outcome.checked.elapsed(),
            is_refused: outcome.refused.is_some(),
        }
    }

    fn retry(&self) -> Option<Instant> {
        locked(&self.outcome).retry
    }

    fn folders(&self) -> BTreeSet<PathBuf> {
        let paths: Vec<_> = locked(&self.state)
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
                    folder(&real)
                }
            });
            [folder(path), of_real]
        });
        folders.flatten().collect()
    }
}

/// Reads the value together with a consistent state of its files, and repeats that if the files
/// change meanwhile. The flag is true if any further change would show in the metadata.
fn read_steady<T>(read: &Read<T>, mut before: Vec<File>) -> anyhow::Result<(T, Vec<File>, bool)> {
    let mut reads = 0;
    loop {
        reads += 1;
        let started = SystemTime::now();
        let Parsed { value, files } = read()?;
        let after = found(files);
        let is_steady =
            after.iter().all(
                |file| match before.iter().find(|one| one.path == file.path) {
                    Some(before) => before.contents == file.contents,
                    // This file was not known before the value referred to it.
                    None => file
                        .mark
                        .as_ref()
                        .is_some_and(|mark| mark.is_older_than(started)),
                },
            );
        if is_steady || reads >= MAX_READS {
            // Files that are not settled are read again at the next check.
            let is_settled = is_steady && is_settled(&after);
            let files = if is_steady { after } else { before };
            return Ok((value, files, is_settled));
        }
        before = after;
    }
}

impl Mark {
    fn of(found: &Metadata) -> Self {
        Self {
            identity: Identity::of(found),
            length: found.len(),
            modified: found.modified().ok(),
            changed: changed(found),
        }
    }

    /// Returns the time of the last change, if it is known.
    fn time(&self) -> Option<SystemTime> {
        let changed = self.changed.and_then(|(seconds, nanos)| {
            let since = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?);
            SystemTime::UNIX_EPOCH.checked_add(since)
        });
        changed.or(self.modified)
    }

    fn is_older_than(&self, time: SystemTime) -> bool {
        let age = self
            .time()
            .and_then(|changed| time.duration_since(changed).ok());
        age.is_some_and(|age| age >= UNSETTLED)
    }
}

#[cfg(unix)]
fn changed(found: &Metadata) -> Option<(i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    Some((found.ctime(), found.ctime_nsec()))
}

#[cfg(not(unix))]
const fn changed(_: &Metadata) -> Option<(i64, i64)> {
    None
}

fn mark(path: &Path) -> Option<Mark> {
    fs::metadata(path).ok().map(|found| Mark::of(&found))
}

/// Records the current state of files. The metadata is read first, so that a change in between is
/// detected.
fn found(paths: Vec<PathBuf>) -> Vec<File> {
    let file = |path: PathBuf| {
        let mark = mark(&path);
        let contents = read(&path, MAX_CONFIG_BYTES).ok();
        let contents = contents.map(|bytes| Sha256::digest(bytes).into());
        File {
            path,
            mark,
            contents,
        }
    };
    paths.into_iter().map(file).collect()
}

fn same_contents(one: &[File], other: &[File]) -> bool {
    let is_same = |(one, other): (&File, &File)| {
        one.path == other.path
            && one.contents == other.contents
            // Only existence can be compared if the contents cannot be read, as with a folder.
            && (one.contents.is_some() || one.mark.is_some() == other.mark.is_some())
    };
    one.len() == other.len() && one.iter().zip(other).all(is_same)
}

/// Returns true if the last change of each file is old enough for the next change to have another
/// time.
fn is_settled(files: &[File]) -> bool {
    let now = SystemTime::now();
    let is_recent = |mark: &Mark| {
        let Some(time) = mark.time() else {
            return false;
        };
        // A time in the future comes from another clock.
        let apart = now
            .duration_since(time)
            .unwrap_or_else(|error| error.duration());
        apart < UNSETTLED
    };
    !files
        .iter()
        .filter_map(|file| file.mark.as_ref())
        .any(is_recent)
}

fn folder(file: &Path) -> Option<PathBuf> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    folder.canonicalize().ok()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! One followed file with those it names: when it is read again, and what was found.

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
use portkey_bounded_file::{Identity, MAX_CONFIG_BYTES, read, shown};
use sha2::{Digest, Sha256};
use tracing::{error, info};

use super::{FileKind, FileStatus, Listener, Parsed};

/// How long files that seem unchanged are not read.
const CONTENT_INTERVAL: Duration = Duration::from_secs(60);

/// How long after a change another one may leave the same marks: file systems have coarse clocks.
const UNSETTLED: Duration = Duration::from_secs(3);

/// When a version that was refused is tried again, though nothing seems to have changed: what it names may
/// come later. The delay doubles each time.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// How often files are read anew that change while they are read.
const MAX_READS: usize = 3;

/// How thoroughly a file is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Whether the path leads to the same file, and nobody has changed it since.
    Metadata,
    /// What is in it.
    Contents,
}

/// What can be followed, whatever is made of it.
pub(super) trait Source: Send + Sync {
    /// Looks, and reads again what has changed. Whether the path leads elsewhere, or the files are others.
    fn check(&self, check: Check) -> bool;

    /// Takes what the file is; the first one counts.
    fn name(&self, kind: FileKind);

    /// What the file is, once somebody has said so.
    fn kind(&self) -> Option<FileKind>;

    /// How it is followed, as a file of this kind.
    fn status(&self, kind: FileKind) -> FileStatus;

    /// Until when it need not be looked at, if that is soon.
    fn retry(&self) -> Option<Instant>;

    /// The folders in which a change of its files shows.
    fn folders(&self) -> BTreeSet<PathBuf>;
}

type Read<T> = Box<dyn Fn() -> anyhow::Result<Parsed<T>> + Send>;
type List = Box<dyn Fn(&[PathBuf]) -> Vec<PathBuf> + Send>;

/// A value and the files that it is made from.
pub(super) struct Target<T> {
    path: PathBuf,
    kind: OnceLock<FileKind>,
    current: Arc<ArcSwap<T>>,
    listener: Arc<OnceLock<Listener<T>>>,
    state: Mutex<State<T>>,
    /// Apart, so that asking does not wait for a file that is being read.
    outcome: Mutex<Outcome>,
}

struct State<T> {
    read: Read<T>,
    /// Which files there are now.
    list: List,
    files: Vec<File>,
    /// Whether a further change would be seen by the files' metadata.
    is_settled: bool,
    /// When the contents were last looked at.
    read_at: Instant,
    /// When a refused version is tried again, and the delay after that.
    retry: Option<(Instant, Duration)>,
}

#[derive(Clone, Debug)]
struct Outcome {
    checked: Instant,
    refused: Option<String>,
    retry: Option<Instant>,
}

/// A file as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    path: PathBuf,
    mark: Option<Mark>,
    /// A hash, because there may be secrets in it; none where it cannot be read.
    contents: Option<[u8; 32]>,
}

/// What changes with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    identity: Identity,
    length: u64,
    modified: Option<SystemTime>,
    /// When anything about it was changed, as the system says, whatever else was set.
    changed: Option<(i64, i64)>,
}

impl<T: Send + Sync + 'static> Target<T> {
    /// Reads it for the first time.
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

    /// Reads what has changed. Whether the files or what they lead to are others than before.
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
        let error = format!("{error:#}");
        let mut outcome = locked(&self.outcome);
        // It is tried again and again, and told once.
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
        // Whoever parses may have a fault; that must not end the following of this and all other files.
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
        // Of the folder, because editors and orchestrators put a new file in the place of the old. And of the
        // one that a link leads to, because files are changed there as well.
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

/// What is made of the files, and the files as they were when it was: reads again where they change
/// meanwhile. And whether a further change would show.
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
                    // It was not known before that this one counts.
                    None => file
                        .mark
                        .as_ref()
                        .is_some_and(|mark| mark.is_older_than(started)),
                },
            );
        if is_steady || reads >= MAX_READS {
            // Left unsettled, it is read again at the next look.
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

    /// When it was last changed, as far as is known.
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

/// The files as they are. The mark is taken first, so that whoever changes a file in between is found out.
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
            // Of what cannot be read, a folder for one, nothing else tells.
            && (one.contents.is_some() || one.mark.is_some() == other.mark.is_some())
    };
    one.len() == other.len() && one.iter().zip(other).all(is_same)
}

/// Whether the last change of each file is so long ago that another one has another time.
fn is_settled(files: &[File]) -> bool {
    let now = SystemTime::now();
    let is_recent = |mark: &Mark| {
        let Some(time) = mark.time() else {
            return false;
        };
        // A time that is to come stems from another clock.
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

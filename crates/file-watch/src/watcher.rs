//! The thread that checks all watched files. Timeouts, file system events and reload requests wake
//! it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use portkey_bounded_file::{Identity, shown};
use tracing::warn;

use super::{
    FileKind, FileStatus,
    source::{Check, Source},
};

/// Interval at which the metadata of each file is checked.
const INTERVAL: Duration = Duration::from_secs(2);

/// Time without events after which the files of a folder are read. Programs may write in several
/// steps.
const QUIET: Duration = Duration::from_millis(100);

/// Maximum time to wait for such a pause. The files are read after it in any case.
const MAX_NOISE: Duration = Duration::from_secs(1);

/// The only watcher of the process. A file is watched until its value is dropped.
static WATCHER: OnceLock<Option<Watcher>> = OnceLock::new();

struct Watcher {
    sources: Arc<Mutex<Vec<Weak<dyn Source>>>>,
    wake: SyncSender<()>,
    is_reload: Arc<AtomicBool>,
    /// True if a source was added that the thread does not know yet.
    is_new: Arc<AtomicBool>,
}

/// Watches a source until it is dropped.
pub(super) fn follow(source: &Arc<dyn Source>) -> io::Result<()> {
    let watcher = WATCHER.get_or_init(|| Watcher::start().ok());
    let watcher = watcher.as_ref().ok_or(io::ErrorKind::ResourceBusy)?;
    let mut sources = watcher
        .sources
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    sources.retain(|source| source.strong_count() > 0);
    sources.push(Arc::downgrade(source));
    drop(sources);
    watcher.is_new.store(true, Ordering::Release);
    watcher.wake();
    Ok(())
}

/// Returns the status of all sources, combined by kind.
pub(super) fn status() -> Vec<FileStatus> {
    let mut found = BTreeMap::<FileKind, FileStatus>::new();
    let sources = started().into_iter().flat_map(Watcher::alive);
    for status in sources.filter_map(|source| Some(source.status(source.kind()?))) {
        let same = found.entry(status.kind).or_insert(status);
        same.since_check = same.since_check.max(status.since_check);
        same.is_refused |= status.is_refused;
    }
    found.into_values().collect()
}

/// Requests a reload of all sources.
pub(super) fn reload() {
    if let Some(watcher) = started() {
        watcher.is_reload.store(true, Ordering::Release);
        watcher.wake();
    }
}

fn started() -> Option<&'static Watcher> {
    WATCHER.get().and_then(Option::as_ref)
}

impl Watcher {
    fn start() -> io::Result<Self> {
        // One pending wake-up is enough.
        let (wake, woken) = sync_channel(1);
        let (sources, is_reload, is_new) = (Arc::default(), Arc::default(), Arc::default());
        let watcher = Self {
            sources,
            wake: wake.clone(),
            is_reload,
            is_new,
        };
        let run = Run {
            sources: watcher.sources.clone(),
            is_reload: watcher.is_reload.clone(),
            is_new: watcher.is_new.clone(),
            folders: Folders::new(wake),
        };
        thread::Builder::new()
            .name("files".to_owned())
            .spawn(move || run.forever(&woken))?;
        Ok(watcher)
    }

    fn wake(&self) {
        // A pending wake-up serves the same purpose.
        _ = self.wake.try_send(());
    }

    fn alive(&self) -> Vec<Arc<dyn Source>> {
        alive(&self.sources)
    }
}

fn alive(sources: &Mutex<Vec<Weak<dyn Source>>>) -> Vec<Arc<dyn Source>> {
    let sources = sources.lock().unwrap_or_else(PoisonError::into_inner);
    sources.iter().filter_map(Weak::upgrade).collect()
}

/// State of the thread.
struct Run {
    sources: Arc<Mutex<Vec<Weak<dyn Source>>>>,
    is_reload: Arc<AtomicBool>,
    is_new: Arc<AtomicBool>,
    folders: Folders,
}

impl Run {
    fn forever(mut self, woken: &Receiver<()>) {
        loop {
            match woken.recv_timeout(self.pause()) {
                Ok(()) => quieten(woken),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.look();
        }
    }

    /// Returns the time until the next check is due.
    fn pause(&self) -> Duration {
        let retries = alive(&self.sources)
            .into_iter()
            .filter_map(|source| source.retry());
        let next = retries
            .min()
            .map(|at| at.saturating_duration_since(Instant::now()));
        next.map_or(INTERVAL, |next| next.min(INTERVAL))
    }

    fn look(&mut self) {
        let check = match self.is_reload.swap(false, Ordering::AcqRel) {
            true => Check::Contents,
            false => Check::Metadata,
        };
        let mut has_changed =
            self.is_new.swap(false, Ordering::AcqRel) || self.folders.have_moved();
        let sources = alive(&self.sources);
        for source in &sources {
            has_changed |= source.check(check);
        }
        let folders = || sources.iter().flat_map(|source| source.folders()).collect();
        if has_changed && self.folders.watch(folders()) {
            // Changes may have happened before the new folders were watched.
            for source in &sources {
                source.check(Check::Metadata);
            }
        }
    }
}

/// Waits until no event has come for a while.
fn quieten(woken: &Receiver<()>) {
    let started = Instant::now();
    while woken.recv_timeout(QUIET).is_ok() && started.elapsed() < MAX_NOISE {}
}

/// Folders whose events wake the thread.
struct Folders {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeMap<PathBuf, Option<Identity>>,
    has_warned: bool,
}

impl Folders {
    fn new(wake: SyncSender<()>) -> Self {
        let on_event = move |event: notify::Result<Event>| {
            // Reading the files causes events of this kind, too.
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                _ = wake.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(on_event).ok();
        Self {
            watcher,
            watched: BTreeMap::new(),
            has_warned: false,
        }
    }

    /// Returns true if a watched path now leads to another folder.
    fn have_moved(&self) -> bool {
        self.watched
            .iter()
            .any(|(path, identity)| identity_of(path) != *identity)
    }

    /// Watches these folders and no others. Returns true if any of them is new.
    fn watch(&mut self, wanted: BTreeSet<PathBuf>) -> bool {
        let wanted: BTreeMap<_, _> = wanted
            .into_iter()
            .map(|path| {
                let identity = identity_of(&path);
                (path, identity)
            })
            .collect();
        for (path, identity) in &self.watched {
            if wanted.get(path) != Some(identity)
                && let Some(watcher) = &mut self.watcher
            {
                // The folder may be gone, and its watch with it.
                _ = watcher.unwatch(path);
            }
        }
        let mut is_new = false;
        for (path, identity) in &wanted {
            if self.watched.get(path) != Some(identity) {
                is_new = true;
                let watcher = self.watcher.as_mut();
                let watched = watcher.map(|one| one.watch(path, RecursiveMode::NonRecursive));
                if !matches!(watched, Some(Ok(()))) && !self.has_warned {
                    self.has_warned = true;
                    let folder = shown(path);
                    warn!(%folder, "changes show within seconds only: the system does not tell of them");
                }
            }
        }
        self.watched = wanted;
        is_new
    }
}

fn identity_of(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|found| Identity::of(&found))
}

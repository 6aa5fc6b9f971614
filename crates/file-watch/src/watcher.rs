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
use portkey_bounded_file::{FileIdentity, display_path};
use tracing::warn;

use super::{
    FileKind, FileStatus,
    source::{CheckDepth, WatchedSource},
};

/// Interval at which the metadata of each file is checked.
const METADATA_CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Time without events after which the files of a folder are read. Programs may write in several
/// steps.
const DEBOUNCE_TIME: Duration = Duration::from_millis(100);

/// Maximum time to wait for such a pause. The files are read after it in any case.
const MAX_DEBOUNCE_TIME: Duration = Duration::from_secs(1);

/// The only watcher of the process. A file is watched until its value is dropped.
static WATCHER: OnceLock<Option<FileWatcher>> = OnceLock::new();

struct FileWatcher {
    sources: Arc<Mutex<Vec<Weak<dyn WatchedSource>>>>,
    wake: SyncSender<()>,
    is_reload_requested: Arc<AtomicBool>,
    /// True if a source was added that the thread does not know yet.
    has_new_source: Arc<AtomicBool>,
}

/// Watches a source until it is dropped.
pub(super) fn watch(source: &Arc<dyn WatchedSource>) -> io::Result<()> {
    let watcher = WATCHER.get_or_init(|| FileWatcher::start().ok());
    let watcher = watcher.as_ref().ok_or(io::ErrorKind::ResourceBusy)?;
    let mut sources = watcher
        .sources
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    sources.retain(|source| source.strong_count() > 0);
    sources.push(Arc::downgrade(source));
    drop(sources);
    watcher.has_new_source.store(true, Ordering::Release);
    watcher.wake();
    Ok(())
}

/// Returns the status of all sources, combined by kind.
pub(super) fn file_statuses() -> Vec<FileStatus> {
    let mut found = BTreeMap::<FileKind, FileStatus>::new();
    let sources = running_watcher()
        .into_iter()
        .flat_map(FileWatcher::live_sources);
    for status in sources.filter_map(|source| Some(source.status(source.kind()?))) {
        let same = found.entry(status.kind).or_insert(status);
        same.since_check = same.since_check.max(status.since_check);
        same.is_rejected |= status.is_rejected;
    }
    found.into_values().collect()
}

/// Requests a reload of all sources.
pub(super) fn reload() {
    if let Some(watcher) = running_watcher() {
        watcher.is_reload_requested.store(true, Ordering::Release);
        watcher.wake();
    }
}

fn running_watcher() -> Option<&'static FileWatcher> {
    WATCHER.get().and_then(Option::as_ref)
}

impl FileWatcher {
    fn start() -> io::Result<Self> {
        // One pending wake-up is enough.
        let (wake, woken) = sync_channel(1);
        let sources = Arc::default();
        let is_reload = Arc::default();
        let is_new = Arc::default();
        let watcher = Self {
            sources,
            wake: wake.clone(),
            is_reload_requested: is_reload,
            has_new_source: is_new,
        };
        let run = WatcherThread {
            sources: watcher.sources.clone(),
            is_reload_requested: watcher.is_reload_requested.clone(),
            has_new_source: watcher.has_new_source.clone(),
            folders: FolderWatches::new(wake),
        };
        thread::Builder::new()
            .name("files".to_owned())
            .spawn(move || run.run(&woken))?;
        Ok(watcher)
    }

    fn wake(&self) {
        // A pending wake-up serves the same purpose.
        _ = self.wake.try_send(());
    }

    fn live_sources(&self) -> Vec<Arc<dyn WatchedSource>> {
        live_sources(&self.sources)
    }
}

fn live_sources(sources: &Mutex<Vec<Weak<dyn WatchedSource>>>) -> Vec<Arc<dyn WatchedSource>> {
    let sources = sources.lock().unwrap_or_else(PoisonError::into_inner);
    sources.iter().filter_map(Weak::upgrade).collect()
}

/// State of the thread.
struct WatcherThread {
    sources: Arc<Mutex<Vec<Weak<dyn WatchedSource>>>>,
    is_reload_requested: Arc<AtomicBool>,
    has_new_source: Arc<AtomicBool>,
    folders: FolderWatches,
}

impl WatcherThread {
    fn run(mut self, woken: &Receiver<()>) {
        loop {
            match woken.recv_timeout(self.time_to_next_check()) {
                Ok(()) => debounce(woken),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.check_sources();
        }
    }

    /// Returns the time until the next check is due.
    fn time_to_next_check(&self) -> Duration {
        let retries = live_sources(&self.sources)
            .into_iter()
            .filter_map(|source| source.next_retry());
        let next = retries
            .min()
            .map(|at| at.saturating_duration_since(Instant::now()));
        next.map_or(METADATA_CHECK_INTERVAL, |next| {
            next.min(METADATA_CHECK_INTERVAL)
        })
    }

    fn check_sources(&mut self) {
        let check = match self.is_reload_requested.swap(false, Ordering::AcqRel) {
            true => CheckDepth::Contents,
            false => CheckDepth::Metadata,
        };
        let mut has_changed = self.has_new_source.swap(false, Ordering::AcqRel)
            || self.folders.have_changed_identity();
        let sources = live_sources(&self.sources);
        for source in &sources {
            has_changed |= source.check(check);
        }
        let folders = || sources.iter().flat_map(|source| source.folders()).collect();
        if has_changed && self.folders.set_folders(folders()) {
            // Changes may have happened before the new folders were watched.
            for source in &sources {
                source.check(CheckDepth::Metadata);
            }
        }
    }
}

/// Waits until no event has come for a while.
fn debounce(woken: &Receiver<()>) {
    let started = Instant::now();
    while woken.recv_timeout(DEBOUNCE_TIME).is_ok() && started.elapsed() < MAX_DEBOUNCE_TIME {}
}

/// Folders whose events wake the thread.
struct FolderWatches {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeMap<PathBuf, Option<FileIdentity>>,
    has_warned: bool,
}

impl FolderWatches {
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
    fn have_changed_identity(&self) -> bool {
        self.watched
            .iter()
            .any(|(path, identity)| identity_of(path) != *identity)
    }

    /// Watches these folders and no others. Returns true if any of them is new.
    fn set_folders(&mut self, wanted: BTreeSet<PathBuf>) -> bool {
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
                    let folder = display_path(path);
                    warn!(%folder, "changes show within seconds only: the system does not tell of them");
                }
            }
        }
        self.watched = wanted;
        is_new
    }
}

fn identity_of(path: &Path) -> Option<FileIdentity> {
    fs::metadata(path)
        .ok()
        .map(|found| FileIdentity::from_metadata(&found))
}

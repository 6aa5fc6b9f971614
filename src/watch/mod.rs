//! Files that take effect when they change: read at the start, read again on a change, swapped whole.

use std::{
    collections::BTreeSet,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context, anyhow};
use arc_swap::{ArcSwap, Guard};
use notify_debouncer_mini::{
    DebounceEventResult, Debouncer, new_debouncer,
    notify::{RecommendedWatcher, RecursiveMode},
};
use sha2::{Digest, Sha256};
use tracing::{error, info};

/// How long a folder is quiet before its files are read: whoever writes may take several steps.
const QUIET: Duration = Duration::from_millis(100);

/// What was made of a file.
#[derive(Debug)]
pub struct Parsed<T> {
    /// The value.
    pub value: T,
    /// Other files that it was made from; a change of theirs counts as well.
    pub files: Vec<PathBuf>,
}

/// Is told what was in effect, and what is now.
type Listener<T> = Box<dyn Fn(&T, &T) + Send + Sync>;

/// A value that follows its file. A version that does not hold is told in the log, and the value before
/// it stays. Of other files, those are followed that stand in a folder which had some at the start.
pub struct Watched<T> {
    current: Arc<ArcSwap<T>>,
    listener: Arc<OnceLock<Listener<T>>>,
    _watcher: Option<Debouncer<RecommendedWatcher>>,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the file and follows it from then on.
    ///
    /// # Errors
    /// The file cannot be read or watched, or its text does not hold.
    pub fn start(
        path: &Path,
        parse: impl Fn(&str) -> anyhow::Result<Parsed<T>> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (path, named) = (path.to_owned(), path.to_owned());
        let read = move || -> anyhow::Result<Parsed<T>> {
            let told = || format!("cannot use {}", path.display());
            let text = std::fs::read_to_string(&path).with_context(told)?;
            let mut parsed = parse(&text).with_context(told)?;
            parsed.files.insert(0, path.clone());
            Ok(parsed)
        };
        let first = read()?;
        let folders = first.files.iter().map(|file| folder(file)).collect();
        Self::follow(named, first, folders, read, <[PathBuf]>::to_vec)
    }

    /// Reads those files of a folder that `lists` names, all of them anew when one changes, comes or goes.
    /// The folder itself has to stay.
    ///
    /// # Errors
    /// The folder cannot be read or watched, or what is in it does not hold.
    pub fn folder(
        path: &Path,
        lists: impl Fn(&Path) -> io::Result<Vec<PathBuf>> + Clone + Send + 'static,
        read: impl Fn(&[PathBuf]) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (named, here, there) = (path.to_owned(), path.to_owned(), path.to_owned());
        let listed = lists.clone();
        let read = move || {
            let told = || format!("cannot use {}", here.display());
            let files = lists(&here).with_context(told)?;
            Ok(Parsed { value: read(&files).with_context(told)?, files })
        };
        let now = move |_: &[PathBuf]| listed(&there).unwrap_or_default();
        Self::follow(named.clone(), read()?, [named].into(), read, now)
    }

    /// Follows what was read of `path` first. `now` says which files there are, given those that it was made
    /// from.
    fn follow(
        path: PathBuf,
        first: Parsed<T>,
        folders: BTreeSet<PathBuf>,
        read: impl Fn() -> anyhow::Result<Parsed<T>> + Send + 'static,
        now: impl Fn(&[PathBuf]) -> Vec<PathBuf> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let Parsed { value, mut files } = first;
        let mut seen = contents(files.clone());
        let current = Arc::new(ArcSwap::from_pointee(value));
        let target = current.clone();
        let listener = Arc::new(OnceLock::<Listener<T>>::new());
        let heard = listener.clone();
        // Other files in the same folders change, too.
        let on_change = move |_: DebounceEventResult| {
            let now = contents(now(&files));
            if now == seen {
                return;
            }
            match read() {
                Ok(parsed) => {
                    files = parsed.files;
                    seen = contents(files.clone());
                    let value = Arc::new(parsed.value);
                    let before = target.swap(value.clone());
                    info!(file = %path.display(), "the changed file is in effect");
                    if let Some(listener) = heard.get() {
                        listener(&before, &value);
                    }
                }
                Err(error) => {
                    seen = now;
                    let error = format!("{error:#}");
                    error!(error, "the change does not hold; what was in effect stays so");
                }
            }
        };
        let unwatched = |error| anyhow!("cannot watch for changes: {error}");
        let mut watcher = new_debouncer(QUIET, on_change).map_err(unwatched)?;
        for folder in folders {
            // Of the folder, because editors and orchestrators put a new file in the place of the old.
            watcher.watcher().watch(&folder, RecursiveMode::NonRecursive).map_err(unwatched)?;
        }
        Ok(Self { current, listener, _watcher: Some(watcher) })
    }

    /// A value without a file, which stays as it is.
    pub fn fixed(value: T) -> Self {
        let current = Arc::new(ArcSwap::from_pointee(value));
        Self { current, listener: Arc::default(), _watcher: None }
    }

    /// Has a listener told of every change from now on; there can be one.
    pub fn on_change(&self, listener: impl Fn(&T, &T) + Send + Sync + 'static) {
        // A second one is a mistake that shows at once: it hears nothing.
        _ = self.listener.set(Box::new(listener));
    }

    /// What is in effect now.
    pub fn get(&self) -> Guard<Arc<T>> {
        self.current.load()
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

fn folder(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// What stands in the files, as a hash each, because there may be secrets among them; a file that cannot be
/// read counts as empty.
fn contents(files: Vec<PathBuf>) -> Vec<(PathBuf, [u8; 32])> {
    let hash = |file: &PathBuf| Sha256::digest(std::fs::read(file).unwrap_or_default()).into();
    let hashed = files.into_iter().map(|file| {
        let hash = hash(&file);
        (file, hash)
    });
    hashed.collect()
}

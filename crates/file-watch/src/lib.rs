//! Values that are reloaded when their files change: read at the start, read again after a change,
//! and swapped as a whole.
//!
//! The path decides which file is in effect. File system events make a reload quick, but detection
//! does not depend on them. Every two seconds, a thread checks that each path still leads to the
//! same unchanged file. Once a minute, that thread reads the files and compares their contents.

mod source;
mod watcher;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context;
use arc_swap::{ArcSwap, Guard};
use portkey_bounded_file::{MAX_CONFIG_BYTES, display_path, read_to_string};

use self::source::{CheckDepth, FileSource, WatchedSource};

/// A parsed value with the files it came from.
#[derive(Debug)]
pub struct ParsedValue<T> {
    /// The value itself.
    pub value: T,
    /// Further files that the value was read from; their changes count as well.
    pub files: Vec<PathBuf>,
}

/// Callback with the previous value and the new one.
type ChangeListener<T> = Box<dyn Fn(&T, &T) + Send + Sync>;

/// A value that is reloaded when its file changes. An invalid version is logged, and the previous
/// value stays in effect.
pub struct WatchedValue<T> {
    current: Arc<ArcSwap<T>>,
    listener: Arc<OnceLock<ChangeListener<T>>>,
    /// The file is watched until this is dropped.
    source: Option<Arc<dyn WatchedSource>>,
}

/// Purpose of a watched file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// A policy with rules about calls.
    PolicyFile,
    /// Access tokens of callers.
    TokenFile,
    /// Settings of OAuth authorization servers.
    OauthFile,
    /// Keys that sign the state held by clients.
    StateKeyFile,
    /// A TLS certificate and its key.
    CertificateFile,
    /// A folder of prompts.
    PromptFolder,
}

impl FileKind {
    /// All kinds in declaration order.
    pub const ALL: [Self; 6] = [
        Self::PolicyFile,
        Self::TokenFile,
        Self::OauthFile,
        Self::StateKeyFile,
        Self::CertificateFile,
        Self::PromptFolder,
    ];

    /// Returns the name of the kind in `/readyz` and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PolicyFile => "policy_file",
            Self::TokenFile => "token_file",
            Self::OauthFile => "oauth_file",
            Self::StateKeyFile => "state_key_file",
            Self::CertificateFile => "certificate_file",
            Self::PromptFolder => "prompt_folder",
        }
    }
}

/// Reload status of the files of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStatus {
    /// Kind of the files, as set by [`WatchedValue::with_kind`].
    pub kind: FileKind,
    /// Time since the files were last checked.
    pub since_check: Duration,
    /// True if the latest version of a file is invalid, so that the previous one is still in
    /// effect.
    pub is_rejected: bool,
}

/// Returns the status of each kind of files that this process watches, including the files that
/// they refer to. Files without a kind are left out.
pub fn file_statuses() -> Vec<FileStatus> {
    watcher::file_statuses()
}

/// Reloads every watched file soon, on another thread, even if it seems unchanged. A value changes
/// only if the contents of its files differ. Never blocks.
pub fn reload() {
    watcher::reload();
}

impl<T: Send + Sync + 'static> WatchedValue<T> {
    /// Reads a file and watches it from then on.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or watched, or if its text is invalid.
    pub fn from_file(
        path: &Path,
        parse: impl Fn(&str) -> anyhow::Result<ParsedValue<T>> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let named = path.to_owned();
        let path = path.to_owned();
        let read = move || -> anyhow::Result<ParsedValue<T>> {
            let context = || format!("cannot use {}", display_path(&path));
            let text = read_to_string(&path, MAX_CONFIG_BYTES).with_context(context)?;
            let mut parsed = parse(&text).with_context(context)?;
            parsed.files.insert(0, path.clone());
            Ok(parsed)
        };
        Self::watch(named, read, <[PathBuf]>::to_vec)
    }

    /// Reads those files of a folder that `lists` returns. All of them are read again when one is
    /// changed, added or removed.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read or watched, or if its contents are invalid.
    pub fn from_folder(
        path: &Path,
        lists: impl Fn(&Path) -> io::Result<Vec<PathBuf>> + Clone + Send + 'static,
        read: impl Fn(&[PathBuf]) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let named = path.to_owned();
        let here = path.to_owned();
        let there = path.to_owned();
        let listed = lists.clone();
        let read = move || {
            let context = || format!("cannot use {}", display_path(&here));
            let mut files = lists(&here).with_context(context)?;
            let value = read(&files).with_context(context)?;
            files.insert(0, here.clone());
            Ok(ParsedValue { value, files })
        };
        let now = move |_: &[PathBuf]| {
            let mut files = listed(&there).unwrap_or_default();
            files.insert(0, there.clone());
            files
        };
        Self::watch(named, read, now)
    }

    /// Watches the result of `read`, which reads `path` and the files it refers to. `now` returns
    /// the current files, given those that the value was read from.
    fn watch(
        path: PathBuf,
        read: impl Fn() -> anyhow::Result<ParsedValue<T>> + Send + 'static,
        now: impl Fn(&[PathBuf]) -> Vec<PathBuf> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let listener = Arc::new(OnceLock::<ChangeListener<T>>::new());
        let (target, current) =
            FileSource::start(path, Box::new(read), Box::new(now), listener.clone())?;
        let source: Arc<dyn WatchedSource> = Arc::new(target);
        watcher::watch(&source).context("cannot follow files: the system gives no thread")?;
        Ok(Self {
            current,
            listener,
            source: Some(source),
        })
    }

    /// Sets the kind of the file, under which [`file_statuses`] reports it.
    #[must_use]
    pub fn with_kind(self, kind: FileKind) -> Self {
        if let Some(source) = &self.source {
            source.set_kind(kind);
        }
        self
    }

    /// Creates a value without a file, which never changes.
    pub fn fixed(value: T) -> Self {
        let current = Arc::new(ArcSwap::from_pointee(value));
        Self {
            current,
            listener: Arc::default(),
            source: None,
        }
    }

    /// Sets the listener for all changes from now on. Only one can be set.
    pub fn on_change(&self, listener: impl Fn(&T, &T) + Send + Sync + 'static) {
        // A second listener is a programming mistake that shows at once, because it is never
        // called.
        _ = self.listener.set(Box::new(listener));
    }

    /// Returns the value that is in effect.
    pub fn get(&self) -> Guard<Arc<T>> {
        self.current.load()
    }

    /// Checks the contents of the files now, on this thread.
    pub fn refresh(&self) {
        if let Some(source) = &self.source {
            source.check(CheckDepth::Contents);
        }
    }
}

impl<T> fmt::Debug for WatchedValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::{fs, os::unix::fs::symlink};

    use anyhow::bail;
    use tempfile::TempDir;

    use super::*;

    /// Watches a value that is the text of the file, or of the file that it names as `@path`.
    fn watch_file(file: &Path) -> WatchedValue<String> {
        WatchedValue::from_file(file, |text| match text.strip_prefix('@') {
            Some(other) => {
                let other = PathBuf::from(other);
                let value = read_to_string(&other, MAX_CONFIG_BYTES)?;
                Ok(ParsedValue {
                    value,
                    files: vec![other],
                })
            }
            None if text == "invalid" => bail!("the text is invalid"),
            None => Ok(ParsedValue {
                value: text.to_owned(),
                files: Vec::new(),
            }),
        })
        .unwrap()
    }

    /// Returns the value in effect after a check of the metadata alone.
    fn check_metadata(watched: &WatchedValue<String>) -> String {
        let source = watched.source.as_ref().expect("it has a file");
        source.check(CheckDepth::Metadata);
        String::clone(&watched.get())
    }

    fn is_rejected(watched: &WatchedValue<String>) -> bool {
        watched
            .source
            .as_ref()
            .is_some_and(|source| source.status(FileKind::PolicyFile).is_rejected)
    }

    fn folder() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn retargeted_link_is_reloaded() {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [("one", "old"), ("two", "new")] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("file"), text).unwrap();
        }
        // Kubernetes mounts files like this: a link to a file in a folder that is a link itself.
        symlink(at("one"), at("data")).unwrap();
        symlink(at("data").join("file"), at("file")).unwrap();
        let watched = watch_file(&at("file"));
        symlink(at("two"), at("data.new")).unwrap();
        fs::rename(at("data.new"), at("data")).unwrap();
        assert_eq!(check_metadata(&watched), "new");
        fs::write(at("two").join("file"), "newer").unwrap();
        assert_eq!(check_metadata(&watched), "newer");
    }

    #[test]
    fn replaced_folder_is_reloaded() {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [("folder", "old"), ("other", "new")] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("file"), text).unwrap();
        }
        let watched = watch_file(&at("folder").join("file"));
        fs::rename(at("folder"), at("away")).unwrap();
        fs::rename(at("other"), at("folder")).unwrap();
        assert_eq!(check_metadata(&watched), "new");
        fs::remove_dir_all(at("folder")).unwrap();
        assert_eq!(
            check_metadata(&watched),
            "new",
            "the previous content remains in use"
        );
        assert!(is_rejected(&watched));
        fs::create_dir(at("folder")).unwrap();
        fs::write(at("folder").join("file"), "newest").unwrap();
        assert_eq!(check_metadata(&watched), "newest");
        assert!(!is_rejected(&watched));
    }

    #[test]
    fn file_written_through_a_hard_link_is_reloaded() {
        let linked = folder();
        let folder = folder();
        let file = folder.path().join("file");
        let link = linked.path().join("link");
        fs::write(&file, "old").unwrap();
        fs::hard_link(&file, &link).unwrap();
        let watched = watch_file(&file);
        fs::write(&link, "new").unwrap();
        assert_eq!(check_metadata(&watched), "new");
    }

    #[test]
    fn file_that_was_briefly_a_pipe_is_still_watched() {
        let folder = folder();
        let file = folder.path().join("file");
        fs::write(&file, "old").unwrap();
        let watched = watch_file(&file);
        fs::remove_file(&file).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(&file)
            .status()
            .unwrap();
        assert!(made.success());
        assert_eq!(check_metadata(&watched), "old");
        assert!(is_rejected(&watched));
        fs::remove_file(&file).unwrap();
        fs::write(&file, "new").unwrap();
        assert_eq!(check_metadata(&watched), "new");
    }

    #[test]
    fn version_naming_a_missing_file_is_loaded_once_it_exists() {
        let folder = folder();
        let file = folder.path().join("file");
        let other = folder.path().join("other");
        fs::write(&file, "old").unwrap();
        let watched = watch_file(&file);
        fs::write(&file, format!("@{}", other.display())).unwrap();
        assert_eq!(check_metadata(&watched), "old");
        let retry = watched
            .source
            .as_ref()
            .and_then(|source| source.next_retry());
        assert!(retry.is_some(), "it is tried again by itself");
        fs::write(&other, "new").unwrap();
        watched.refresh();
        assert_eq!(**watched.get(), "new");
        // The named file is watched from then on as well.
        fs::write(&other, "newer").unwrap();
        assert_eq!(check_metadata(&watched), "newer");
    }

    #[test]
    fn invalid_version_is_reported_until_it_is_fixed() {
        let folder = folder();
        let file = folder.path().join("file");
        fs::write(&file, "old").unwrap();
        let watched = watch_file(&file).with_kind(FileKind::PromptFolder);
        // No other test sets a kind.
        let status = || {
            file_statuses()
                .into_iter()
                .find(|file| file.kind == FileKind::PromptFolder)
                .unwrap()
        };
        assert!(!status().is_rejected);
        fs::write(&file, "invalid").unwrap();
        assert_eq!(check_metadata(&watched), "old");
        assert!(status().is_rejected);
        // The version in effect is valid like any other.
        fs::write(&file, "old").unwrap();
        assert_eq!(check_metadata(&watched), "old");
        assert!(!status().is_rejected);
        drop(watched);
        // The watching thread may be looking at the file.
        while file_statuses()
            .iter()
            .any(|file| file.kind == FileKind::PromptFolder)
        {
            std::thread::yield_now();
        }
    }

    #[test]
    fn panic_of_parser_does_not_end_watching() {
        let folder = folder();
        let file = folder.path().join("file");
        fs::write(&file, "old").unwrap();
        let parse = |text: &str| match text {
            "fault" => panic!("a fault"),
            text => Ok(ParsedValue {
                value: text.to_owned(),
                files: Vec::new(),
            }),
        };
        let watched = WatchedValue::from_file(&file, parse).unwrap();
        fs::write(&file, "fault").unwrap();
        assert_eq!(check_metadata(&watched), "old");
        assert!(is_rejected(&watched));
        fs::write(&file, "new").unwrap();
        assert_eq!(check_metadata(&watched), "new");
    }

    /// Restores the times from before the change, as some tools that restore files do.
    #[test]
    fn change_with_equal_length_and_time_is_reloaded() {
        let folder = folder();
        let file = folder.path().join("file");
        fs::write(&file, "old").unwrap();
        let watched = watch_file(&file);
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, "new").unwrap();
        let handle = fs::File::options().write(true).open(&file).unwrap();
        handle.set_modified(modified).unwrap();
        assert_eq!(check_metadata(&watched), "new");
    }
}

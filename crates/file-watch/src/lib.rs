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
use portkey_bounded_file::{MAX_CONFIG_BYTES, read_text, shown};

use self::source::{Check, Source, Target};

/// A parsed value with the files it came from.
#[derive(Debug)]
pub struct Parsed<T> {
    /// The value itself.
    pub value: T,
    /// Further files that the value was read from; their changes count as well.
    pub files: Vec<PathBuf>,
}

/// Callback with the previous value and the new one.
type Listener<T> = Box<dyn Fn(&T, &T) + Send + Sync>;

/// A value that is reloaded when its file changes. An invalid version is logged, and the previous
/// value stays in effect.
pub struct Watched<T> {
    current: Arc<ArcSwap<T>>,
    listener: Arc<OnceLock<Listener<T>>>,
    /// The file is watched until this is dropped.
    source: Option<Arc<dyn Source>>,
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
    /// Kind of the files, as set by [`Watched::named`].
    pub kind: FileKind,
    /// Time since the files were last checked.
    pub since_check: Duration,
    /// True if the latest version of a file is invalid, so that the previous one is still in
    /// effect.
    pub is_refused: bool,
}

/// Returns the status of each kind of files that this process watches, including the files that
/// they refer to. Files without a kind are left out.
pub fn files() -> Vec<FileStatus> {
    watcher::status()
}

/// Reloads every watched file soon, on another thread, even if it seems unchanged. A value changes
/// only if the contents of its files differ. Never blocks.
pub fn reload() {
    watcher::reload();
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads a file and watches it from then on.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or watched, or if its text is invalid.
    pub fn start(
        path: &Path,
        parse: impl Fn(&str) -> anyhow::Result<Parsed<T>> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (path, named) = (path.to_owned(), path.to_owned());
        let read = move || -> anyhow::Result<Parsed<T>> {
            let context = || format!("cannot use {}", shown(&path));
            let text = read_text(&path, MAX_CONFIG_BYTES).with_context(context)?;
            let mut parsed = parse(&text).with_context(context)?;
            parsed.files.insert(0, path.clone());
            Ok(parsed)
        };
        Self::follow(named, read, <[PathBuf]>::to_vec)
    }

    /// Reads those files of a folder that `lists` returns. All of them are read again when one is
    /// changed, added or removed.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read or watched, or if its contents are invalid.
    pub fn folder(
        path: &Path,
        lists: impl Fn(&Path) -> io::Result<Vec<PathBuf>> + Clone + Send + 'static,
        read: impl Fn(&[PathBuf]) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (named, here, there) = (path.to_owned(), path.to_owned(), path.to_owned());
        let listed = lists.clone();
        let read = move || {
            let context = || format!("cannot use {}", shown(&here));
            let mut files = lists(&here).with_context(context)?;
            let value = read(&files).with_context(context)?;
            files.insert(0, here.clone());
            Ok(Parsed { value, files })
        };
        let now = move |_: &[PathBuf]| {
            let mut files = listed(&there).unwrap_or_default();
            files.insert(0, there.clone());
            files
        };
        Self::follow(named, read, now)
    }

    /// Watches the result of `read`, which reads `path` and the files it refers to. `now` returns
    /// the current files, given those that the value was read from.
    fn follow(
        path: PathBuf,
        read: impl Fn() -> anyhow::Result<Parsed<T>> + Send + 'static,
        now: impl Fn(&[PathBuf]) -> Vec<PathBuf> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let listener = Arc::new(OnceLock::<Listener<T>>::new());
        let (target, current) =
            Target::start(path, Box::new(read), Box::new(now), listener.clone())?;
        let source: Arc<dyn Source> = Arc::new(target);
        watcher::follow(&source).context("cannot follow files: the system gives no thread")?;
        Ok(Self {
            current,
            listener,
            source: Some(source),
        })
    }

    /// Sets the kind of the file, under which [`files`] reports it.
    #[must_use]
    pub fn named(self, kind: FileKind) -> Self {
        if let Some(source) = &self.source {
            source.name(kind);
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
            source.check(Check::Contents);
        }
    }
}

impl<T> fmt::Debug for Watched<T> {
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
    fn watched(file: &Path) -> Watched<String> {
        Watched::start(file, |text| match text.strip_prefix('@') {
            Some(other) => {
                let other = PathBuf::from(other);
                let value = read_text(&other, MAX_CONFIG_BYTES)?;
                Ok(Parsed {
                    value,
                    files: vec![other],
                })
            }
            None if text == "invalid" => bail!("the text is invalid"),
            None => Ok(Parsed {
                value: text.to_owned(),
                files: Vec::new(),
            }),
        })
        .unwrap()
    }

    /// Returns the value in effect after a check of the metadata alone.
    fn after_look(watched: &Watched<String>) -> String {
        let source = watched.source.as_ref().expect("it has a file");
        source.check(Check::Metadata);
        String::clone(&watched.get())
    }

    fn is_refused(watched: &Watched<String>) -> bool {
        watched
            .source
            .as_ref()
            .is_some_and(|source| source.status(FileKind::PolicyFile).is_refused)
    }

    fn folder() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn link_that_leads_elsewhere_takes_effect() {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [("one", "old"), ("two", "new")] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("file"), text).unwrap();
        }
        // Kubernetes mounts files like this: a link to a file in a folder that is a link itself.
        symlink(at("one"), at("data")).unwrap();
        symlink(at("data").join("file"), at("file")).unwrap();
        let watched = watched(&at("file"));
        symlink(at("two"), at("data.new")).unwrap();
        fs::rename(at("data.new"), at("data")).unwrap();
        assert_eq!(after_look(&watched), "new");
        fs::write(at("two").join("file"), "newer").unwrap();
        assert_eq!(after_look(&watched), "newer");
    }

    #[test]
    fn folder_that_was_swapped_or_remade_takes_effect() {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [("folder", "old"), ("other", "new")] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("file"), text).unwrap();
        }
        let watched = watched(&at("folder").join("file"));
        fs::rename(at("folder"), at("away")).unwrap();
        fs::rename(at("other"), at("folder")).unwrap();
        assert_eq!(after_look(&watched), "new");
        fs::remove_dir_all(at("folder")).unwrap();
        assert_eq!(after_look(&watched), "new", "what was in effect stays so");
        assert!(is_refused(&watched));
        fs::create_dir(at("folder")).unwrap();
        fs::write(at("folder").join("file"), "newest").unwrap();
        assert_eq!(after_look(&watched), "newest");
        assert!(!is_refused(&watched));
    }

    #[test]
    fn file_that_is_written_by_another_name_takes_effect() {
        let (folder, other) = (folder(), folder());
        let (file, link) = (folder.path().join("file"), other.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::hard_link(&file, &link).unwrap();
        let watched = watched(&file);
        fs::write(&link, "new").unwrap();
        assert_eq!(after_look(&watched), "new");
    }

    #[test]
    fn file_that_is_a_pipe_for_a_moment_is_still_followed() {
        let folder = folder();
        let file = folder.path().join("file");
        fs::write(&file, "old").unwrap();
        let watched = watched(&file);
        fs::remove_file(&file).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(&file)
            .status()
            .unwrap();
        assert!(made.success());
        assert_eq!(after_look(&watched), "old");
        assert!(is_refused(&watched));
        fs::remove_file(&file).unwrap();
        fs::write(&file, "new").unwrap();
        assert_eq!(after_look(&watched), "new");
    }

    #[test]
    fn version_that_names_a_file_to_come_takes_effect_with_that() {
        let folder = folder();
        let (file, other) = (folder.path().join("file"), folder.path().join("other"));
        fs::write(&file, "old").unwrap();
        let watched = watched(&file);
        fs::write(&file, format!("@{}", other.display())).unwrap();
        assert_eq!(after_look(&watched), "old");
        let retry = watched.source.as_ref().and_then(|source| source.retry());
        assert!(retry.is_some(), "it is tried again by itself");
        fs::write(&other, "new").unwrap();
        watched.refresh();
        assert_eq!(**watched.get(), "new");
        // The file that it names is watched from then on, too.
        fs::write(&other, "newer").unwrap();
        assert_eq!(after_look(&watched), "newer");
    }

    #[test]
    fn invalid_version_is_told_in_the_status_until_it_is_mended() {
        let folder = folder();
        let file = folder.path().join("file");
        fs::write(&file, "old").unwrap();
        let watched = watched(&file).named(FileKind::PromptFolder);
        // No other test sets a kind.
        let status = || {
            files()
                .into_iter()
                .find(|file| file.kind == FileKind::PromptFolder)
                .unwrap()
        };
        assert!(!status().is_refused);
        fs::write(&file, "invalid").unwrap();
        assert_eq!(after_look(&watched), "old");
        assert!(status().is_refused);
        // The version that was in effect all the time is valid like any other.
        fs::write(&file, "old").unwrap();
        assert_eq!(after_look(&watched), "old");
        assert!(!status().is_refused);
        drop(watched);
        assert!(
            files()
                .iter()
                .all(|file| file.kind != FileKind::PromptFolder)
        );
    }

    #[test]
    fn fault_of_whoever_parses_does_not_end_the_following() {
        let folder = folder();
        let file = folder.path().join("file");
        fs::write(&file, "old").unwrap();
        let parse = |text: &str| match text {
            "fault" => panic!("a fault"),
            text => Ok(Parsed {
                value: text.to_owned(),
                files: Vec::new(),
            }),
        };
        let watched = Watched::start(&file, parse).unwrap();
        fs::write(&file, "fault").unwrap();
        assert_eq!(after_look(&watched), "old");
        assert!(is_refused(&watched));
        fs::write(&file, "new").unwrap();
        assert_eq!(after_look(&watched), "new");
    }

    /// Restores the times from before the change, as some tools that restore files do.
    #[test]
    fn change_that_keeps_length_and_time_takes_effect() {
        let folder = folder();
        let file = folder.path().join("file");
        fs::write(&file, "old").unwrap();
        let watched = watched(&file);
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, "new").unwrap();
        let opened = fs::File::options().write(true).open(&file).unwrap();
        opened.set_modified(modified).unwrap();
        assert_eq!(after_look(&watched), "new");
    }
}

//! The folder of handed-over secrets: looked at whenever it is used, because whoever may change it could have
//! done so since the start.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

/// A folder that only this user can look into.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// What is done in it is done in this very folder, whatever its path leads to by then.
    #[cfg(unix)]
    opened: std::os::fd::OwnedFd,
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

impl Folder {
    /// Opens a folder by its real path.
    ///
    /// # Errors
    /// The path leads to no folder, or by a link; others can look into it, or it is another user's.
    #[cfg(unix)]
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;

        use rustix::fs::{Mode, OFlags, open};

        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = File::from(open(path, flags, Mode::empty())?);
        if path.canonicalize()? != path {
            return Err(refused(
                "a link leads there now; name the real folder, and start again",
            ));
        }
        let found = opened.metadata()?;
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(refused(
                "it belongs to another user; name a folder of this one",
            ));
        }
        if found.mode() & 0o077 != 0 {
            return Err(refused(
                "others can look into it; `chmod 700` it, or name another",
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            opened: opened.into(),
        })
    }

    #[cfg(not(unix))]
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path.canonicalize()? != path {
            return Err(refused(
                "a link leads there now; name the real folder, and start again",
            ));
        }
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Its real path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a file of it is.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes a new file that nobody else can read.
    #[cfg(unix)]
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        use rustix::fs::{Mode, OFlags, openat};

        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(openat(&self.opened, name, flags | OFlags::CLOEXEC, mode)?.into())
    }

    #[cfg(not(unix))]
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        File::options()
            .write(true)
            .create_new(true)
            .open(self.path_of(name))
    }

    /// Checks that the folder is still at its path and still private, and that the name in it leads to the file.
    ///
    /// # Errors
    /// As of [`Self::open`], or something else is there.
    #[cfg(unix)]
    pub(super) fn check(&self, name: &str, file: &File) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;

        Self::open(&self.path)?;
        let (found, held) = (self.path_of(name).symlink_metadata()?, file.metadata()?);
        match (found.dev(), found.ino()) == (held.dev(), held.ino()) && held.nlink() == 1 {
            true => Ok(()),
            false => Err(refused("another file is in its place")),
        }
    }

    #[cfg(not(unix))]
    pub(super) fn check(&self, name: &str, _: &File) -> io::Result<()> {
        Self::open(&self.path)?;
        self.path_of(name).symlink_metadata().map(drop)
    }

    /// Removes a file. What cannot be removed now is for the operator to clear up.
    #[cfg(unix)]
    pub(super) fn remove(&self, name: &str) {
        _ = rustix::fs::unlinkat(&self.opened, name, rustix::fs::AtFlags::empty());
    }

    #[cfg(not(unix))]
    pub(super) fn remove(&self, name: &str) {
        _ = std::fs::remove_file(self.path_of(name));
    }
}

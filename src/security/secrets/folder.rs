//! The folder for delivered secrets. Its permissions are checked at every use, because anyone who
//! may change the folder could have done so since the start.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

/// A folder that only the current user can access.
#[derive(Debug)]
pub(super) struct SecretFolder {
    path: PathBuf,
    /// Handle of the folder itself. Files are created in this very folder, even if its path leads
    /// elsewhere by then.
    #[cfg(unix)]
    handle: std::os::fd::OwnedFd,
}

fn permission_denied(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

impl SecretFolder {
    /// Opens a folder by its real path.
    ///
    /// # Errors
    /// Returns an error if the path does not lead to a folder or leads there by a link. Returns
    /// `PermissionDenied` if others can access the folder or it belongs to another user.
    #[cfg(unix)]
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;

        use rustix::fs::{Mode, OFlags, open};

        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = File::from(open(path, flags, Mode::empty())?);
        if path.canonicalize()? != path {
            return Err(permission_denied(
                "a link leads there now; name the real folder, and start again",
            ));
        }
        let found = folder.metadata()?;
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(permission_denied(
                "it belongs to another user; name a folder of this one",
            ));
        }
        if found.mode() & 0o077 != 0 {
            return Err(permission_denied(
                "others can look into it; `chmod 700` it, or name another",
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            handle: folder.into(),
        })
    }

    #[cfg(not(unix))]
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path.canonicalize()? != path {
            return Err(permission_denied(
                "a link leads there now; name the real folder, and start again",
            ));
        }
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// The real path of the folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of a file in the folder.
    pub(super) fn file_path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Creates a new file that only the current user can read.
    #[cfg(unix)]
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        use rustix::fs::{Mode, OFlags, openat};

        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(openat(&self.handle, name, flags | OFlags::CLOEXEC, mode)?.into())
    }

    #[cfg(not(unix))]
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        File::options()
            .write(true)
            .create_new(true)
            .open(self.path_of(name))
    }

    /// Checks that the folder is still at its path and still private, and that the name leads to
    /// the file.
    ///
    /// # Errors
    /// Returns an error as [`Self::open`] does, or if another file has the name.
    #[cfg(unix)]
    pub(super) fn check(&self, name: &str, file: &File) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;

        Self::open(&self.path)?;
        let found = self.file_path(name).symlink_metadata()?;
        let held = file.metadata()?;
        match (found.dev(), found.ino()) == (held.dev(), held.ino()) && held.nlink() == 1 {
            true => Ok(()),
            false => Err(permission_denied("another file is in its place")),
        }
    }

    #[cfg(not(unix))]
    pub(super) fn check(&self, name: &str, _: &File) -> io::Result<()> {
        Self::open(&self.path)?;
        self.path_of(name).symlink_metadata().map(drop)
    }

    /// Removes a file. Failures are ignored: a file that cannot be removed now is left to the
    /// operator.
    #[cfg(unix)]
    pub(super) fn remove(&self, name: &str) {
        _ = rustix::fs::unlinkat(&self.handle, name, rustix::fs::AtFlags::empty());
    }

    #[cfg(not(unix))]
    pub(super) fn remove(&self, name: &str) {
        _ = std::fs::remove_file(self.path_of(name));
    }
}

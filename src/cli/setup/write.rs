//! Writes a configuration file: as a whole or not at all, with a copy of what it was.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use portkey_bounded_file::{MAX_CONFIG_BYTES, display_path, read_to_string};
use tempfile::NamedTempFile;

/// Maximum number of copies of one file.
const MAX_BACKUPS: u32 = 99;

/// Reason why a file was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("cannot read {}: {source}. Nothing was written", display_path(path))]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}. Nothing was changed", display_path(path))]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("{} was changed by another program in the meantime, so nothing was written. Try again", display_path(.0))]
    Changed(PathBuf),
    #[error("there are {MAX_BACKUPS} copies beside {} already, so nothing was written. Remove some", display_path(.0))]
    TooManyBackups(PathBuf),
}

/// Reads a file. Returns `None` if it does not exist.
pub(super) fn read(path: &Path) -> Result<Option<String>, WriteError> {
    match read_to_string(path, MAX_CONFIG_BYTES) {
        Ok(text) => Ok(Some(text)),
        // A link that leads nowhere is an error, because a file in its place would not be what its owner meant.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Ok(None),
        Err(source) => Err(WriteError::Unreadable {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Replaces the text of a file, which still has to be `before`. Links are followed, and the mode stays, but for a
/// file with a secret: only its owner can read that and its copy. Returns the copy of the old file.
pub(super) fn replace(
    path: &Path,
    before: Option<&str>,
    text: &str,
    has_secret: bool,
) -> Result<Option<PathBuf>, WriteError> {
    let check_unchanged = || -> Result<(), WriteError> {
        match read(path)?.as_deref() == before {
            true => Ok(()),
            false => Err(WriteError::Changed(path.to_owned())),
        }
    };
    let unwritable = |source| WriteError::Unwritable {
        path: path.to_owned(),
        source,
    };
    let Some(before) = before else {
        check_unchanged()?;
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(unwritable)?;
        let file = prepare(folder, text, None).map_err(unwritable)?;
        file.persist_noclobber(path)
            .map_err(|error| match error.error.kind() {
                io::ErrorKind::AlreadyExists => WriteError::Changed(path.to_owned()),
                _ => unwritable(error.error),
            })?;
        return Ok(None);
    };
    let target = path.canonicalize().map_err(unwritable)?;
    let folder = target.parent().unwrap_or(Path::new("."));
    let _lock = lock(folder);
    check_unchanged()?;
    let mut permissions = target.metadata().map_err(unwritable)?.permissions();
    if has_secret {
        restrict_to_owner(&mut permissions);
    }
    let new = prepare(folder, text, Some(permissions.clone())).map_err(unwritable)?;
    let old = prepare(folder, before, Some(permissions)).map_err(unwritable)?;
    let backup = keep(old, &target)?;
    // Other programs do not know the lock.
    if let Err(error) = check_unchanged() {
        // The copy is not named to anyone, and a failure to remove it harms nothing.
        _ = fs::remove_file(&backup);
        return Err(error);
    }
    new.persist(&target)
        .map_err(|error| unwritable(error.error))?;
    Ok(Some(backup))
}

/// Keeps other processes of this program from changing files in the folder until it is dropped. Returns `None` where
/// a folder cannot be locked, as on Windows; the check for changes remains.
fn lock(folder: &Path) -> Option<File> {
    // Not a file beside the target, which would stay in the folder of the client.
    let folder = File::open(folder).ok()?;
    folder.lock().ok()?;
    Some(folder)
}

/// Takes the permissions of everyone but the owner away.
fn restrict_to_owner(permissions: &mut Permissions) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        permissions.set_mode(permissions.mode() & 0o700);
    }
    // Elsewhere the file has the permissions of its folder.
    #[cfg(not(unix))]
    let _ = permissions;
}

/// Writes a text to a new file in the folder. Without permissions, only its owner can read it.
fn prepare(
    folder: &Path,
    text: &str,
    permissions: Option<Permissions>,
) -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions)?;
    }
    file.as_file().sync_all()?;
    Ok(file)
}

/// Gives the copy of the old file the first free name beside it.
fn keep(mut copy: NamedTempFile, target: &Path) -> Result<PathBuf, WriteError> {
    for number in 0..MAX_BACKUPS {
        let mut name = target.as_os_str().to_owned();
        name.push(".bak");
        if number > 0 {
            name.push(format!(".{number}"));
        }
        let path = PathBuf::from(name);
        match copy.persist_noclobber(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => copy = error.file,
            Err(error) => {
                return Err(WriteError::Unwritable {
                    path,
                    source: error.error,
                });
            }
        }
    }
    Err(WriteError::TooManyBackups(target.to_owned()))
}

//! Checks the permissions of files that hold secrets or decide about access.

use std::{fs::Metadata, io, path::Path};

use portkey_bounded_file::{MAX_KEY_BYTES, decode_utf8, display_path, open, read_open_file};
use secrecy::SecretString;

/// Protection that a file needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileProtection {
    /// Only the owner may read or write the file.
    Private,
    /// Others may not write the file. If they may read it, a warning is logged.
    Secret,
    /// Others may not write the file.
    Trusted,
}

/// Permission that is too loose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LoosePermission {
    /// Everybody may write the file.
    Writable,
    /// The file belongs to the user of this process, and others may read or write it.
    Readable,
}

/// Checks a file before it is used.
///
/// As with the keys of OpenSSH, reading is judged only for a file that belongs to the user of this
/// process. A secret that Kubernetes or Compose mounts belongs to another user. It can be read only
/// by the permissions of its group or of everybody.
///
/// # Errors
/// Returns an error if the metadata cannot be read, or `PermissionDenied` if the permissions are
/// too loose. The message says what to do.
pub fn check_permissions(file: &Path, guarded: FileProtection) -> io::Result<()> {
    check_metadata(file, &file.metadata()?, guarded)
}

/// Reads a file that holds a secret, and checks the very file that was read.
///
/// # Errors
/// Returns an error as [`check_permissions`] does, or if the file is not regular, not text, or
/// larger than a secret.
pub fn read_protected_file(file: &Path, guarded: FileProtection) -> io::Result<SecretString> {
    let handle = open(file)?;
    let metadata = handle.metadata()?;
    // What is no regular file is told when it is read.
    if metadata.is_file() {
        check_metadata(file, &metadata, guarded)?;
    }
    Ok(decode_utf8(read_open_file(&handle, MAX_KEY_BYTES)?)?.into())
}

fn check_metadata(file: &Path, metadata: &Metadata, guarded: FileProtection) -> io::Result<()> {
    let Some(loose) = find_loose_permission(metadata) else {
        return Ok(());
    };
    let what = match loose {
        LoosePermission::Writable => "everybody may write it",
        LoosePermission::Readable => "other users may read it",
    };
    let path = display_path(file);
    match (loose, guarded) {
        (LoosePermission::Readable, FileProtection::Trusted) => {}
        (LoosePermission::Readable, FileProtection::Secret) => {
            tracing::warn!("{path} holds a secret, and {what}; `chmod 600 {path}` keeps them out");
        }
        (LoosePermission::Writable, _) | (LoosePermission::Readable, FileProtection::Private) => {
            let why = format!("{what}; run `chmod 600 {path}`");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
    }
    Ok(())
}

#[cfg(unix)]
fn find_loose_permission(file: &Metadata) -> Option<LoosePermission> {
    use std::os::unix::fs::MetadataExt;
    judge_mode(
        file.mode(),
        file.uid() == rustix::process::geteuid().as_raw(),
    )
}

/// Accepts every file: on other systems these permissions do not describe the access of others.
#[cfg(not(unix))]
const fn find_loose_permission(_: &Metadata) -> Option<LoosePermission> {
    None
}

#[cfg(unix)]
const fn judge_mode(mode: u32, is_ours: bool) -> Option<LoosePermission> {
    match (mode & 0o002, mode & 0o077) {
        (1.., _) => Some(LoosePermission::Writable),
        (0, 1..) if is_ours => Some(LoosePermission::Readable),
        _ => None,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    struct Case {
        mode: u32,
        is_ours: bool,
        loose: Option<LoosePermission>,
    }

    #[test]
    fn permissions_depend_on_the_owner_of_the_file() {
        let cases = [
            Case {
                mode: 0o100_600,
                is_ours: true,
                loose: None,
            },
            Case {
                mode: 0o100_400,
                is_ours: true,
                loose: None,
            },
            Case {
                mode: 0o100_700,
                is_ours: true,
                loose: None,
            },
            Case {
                mode: 0o100_640,
                is_ours: true,
                loose: Some(LoosePermission::Readable),
            },
            Case {
                mode: 0o100_604,
                is_ours: true,
                loose: Some(LoosePermission::Readable),
            },
            Case {
                mode: 0o100_620,
                is_ours: true,
                loose: Some(LoosePermission::Readable),
            },
            Case {
                mode: 0o100_644,
                is_ours: true,
                loose: Some(LoosePermission::Readable),
            },
            Case {
                mode: 0o100_602,
                is_ours: true,
                loose: Some(LoosePermission::Writable),
            },
            // As Kubernetes mounts secrets, with and without a group.
            Case {
                mode: 0o100_440,
                is_ours: false,
                loose: None,
            },
            Case {
                mode: 0o100_640,
                is_ours: false,
                loose: None,
            },
            Case {
                mode: 0o100_644,
                is_ours: false,
                loose: None,
            },
            Case {
                mode: 0o100_666,
                is_ours: false,
                loose: Some(LoosePermission::Writable),
            },
        ];
        for Case {
            mode,
            is_ours,
            loose,
        } in cases
        {
            assert_eq!(
                judge_mode(mode, is_ours),
                loose,
                "{mode:o}, ours: {is_ours}"
            );
        }
    }
}

//! Checks the permissions of files that hold secrets or decide about access.

use std::{fs::Metadata, io, path::Path};

use portkey_bounded_file::{MAX_KEY_BYTES, open, read_open_file, display_path, decode_utf8};
use secrecy::SecretString;

/// Protection that a file needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// Only the owner may read or write the file.
    Private,
    /// Others may not write the file. If they may read it, a warning is logged.
    Secret,
    /// Others may not write the file.
    Trusted,
}

/// Permission that is too loose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loose {
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
pub fn check_permissions(file: &Path, guarded: Guarded) -> io::Result<()> {
    check(file, &file.metadata()?, guarded)
}

/// Reads a file that holds a secret, and checks the very file that was read.
///
/// # Errors
/// Returns an error as [`check_permissions`] does, or if the file is not regular, not text, or
/// larger than a secret.
pub fn read_guarded(file: &Path, guarded: Guarded) -> io::Result<SecretString> {
    let opened = open(file)?;
    check(file, &opened.metadata()?, guarded)?;
    Ok(decode_utf8(read_open_file(&opened, MAX_KEY_BYTES)?)?.into())
}

fn check(file: &Path, metadata: &Metadata, guarded: Guarded) -> io::Result<()> {
    let Some(loose) = found(metadata) else {
        return Ok(());
    };
    let what = match loose {
        Loose::Writable => "everybody may write it",
        Loose::Readable => "other users may read it",
    };
    let path = display_path(file);
    match (loose, guarded) {
        (Loose::Readable, Guarded::Trusted) => {}
        (Loose::Readable, Guarded::Secret) => {
            tracing::warn!("{path} holds a secret, and {what}; `chmod 600 {path}` keeps them out");
        }
        (Loose::Writable, _) | (Loose::Readable, Guarded::Private) => {
            let why = format!("{what}; run `chmod 600 {path}`");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
    }
    Ok(())
}

#[cfg(unix)]
fn found(file: &Metadata) -> Option<Loose> {
    use std::os::unix::fs::MetadataExt;
    judge(
        file.mode(),
        file.uid() == rustix::process::geteuid().as_raw(),
    )
}

/// Accepts every file: on other systems these permissions do not describe the access of others.
#[cfg(not(unix))]
const fn found(_: &Metadata) -> Option<Loose> {
    None
}

#[cfg(unix)]
const fn judge(mode: u32, is_ours: bool) -> Option<Loose> {
    match (mode & 0o002, mode & 0o077) {
        (1.., _) => Some(Loose::Writable),
        (0, 1..) if is_ours => Some(Loose::Readable),
        _ => None,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    struct Case {
        mode: u32,
        is_ours: bool,
        loose: Option<Loose>,
    }

    #[test]
    fn permissions_are_judged_by_who_owns_the_file() {
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
                loose: Some(Loose::Readable),
            },
            Case {
                mode: 0o100_604,
                is_ours: true,
                loose: Some(Loose::Readable),
            },
            Case {
                mode: 0o100_620,
                is_ours: true,
                loose: Some(Loose::Readable),
            },
            Case {
                mode: 0o100_644,
                is_ours: true,
                loose: Some(Loose::Readable),
            },
            Case {
                mode: 0o100_602,
                is_ours: true,
                loose: Some(Loose::Writable),
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
                loose: Some(Loose::Writable),
            },
        ];
        for Case {
            mode,
            is_ours,
            loose,
        } in cases
        {
            assert_eq!(judge(mode, is_ours), loose, "{mode:o}, ours: {is_ours}");
        }
    }
}

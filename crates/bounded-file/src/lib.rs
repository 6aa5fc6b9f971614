//! Opens and reads files that an operator names: only regular ones, up to a bound, without waiting for anybody.
//!
//! A named pipe would hold whoever opens it until somebody writes, and a device such as `/dev/zero` never
//! ends. So every file that is read as a whole is read here.

use std::{
    borrow::Cow,
    fmt,
    fs::{File, FileType, Metadata, OpenOptions},
    io::{self, Read},
    path::Path,
};

/// Bound on a file that holds a key, a secret or an address, in bytes.
pub const MAX_KEY_BYTES: u64 = 64 << 10;

/// Bound on a file of settings: a policy, tokens, certificates, descriptions. In bytes.
pub const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// Opens a regular file to read it, wherever links lead.
///
/// # Errors
/// The file cannot be opened, or is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    open_with(path, options)
}

/// Opens a regular file as the options say, wherever links lead.
///
/// # Errors
/// The file cannot be opened, or is no regular file.
pub fn open_with(path: &Path, options: OpenOptions) -> io::Result<File> {
    open_regular(path, path.metadata(), options, false)
}

/// Opens a regular file whose path itself is no symbolic link, as the options say.
///
/// # Errors
/// The file cannot be opened, is a symbolic link, or is no regular file.
pub fn open_without_links(path: &Path, options: OpenOptions) -> io::Result<File> {
    open_regular(path, path.symlink_metadata(), options, true)
}

fn open_regular(
    path: &Path,
    found: io::Result<Metadata>,
    mut options: OpenOptions,
    without_links: bool,
) -> io::Result<File> {
    // Before it is opened, because opening some devices does something.
    match found {
        Ok(found) => check_regular(&found)?,
        // It may be about to be made.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    with_flags(&mut options, without_links);
    let file = options.open(path)?;
    check_regular(&file.metadata()?)?;
    Ok(file)
}

/// Reads a whole file of at most `max` bytes.
///
/// # Errors
/// The file cannot be read, is no regular file, or is larger.
pub fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    read_file(&open(path)?, max)
}

/// Reads a whole text file of at most `max` bytes.
///
/// # Errors
/// The file cannot be read, is no regular file, is larger, or is no UTF-8.
pub fn read_text(path: &Path, max: u64) -> io::Result<String> {
    text(read(path, max)?)
}

/// Reads what is left of an open file, at most `max` bytes.
///
/// # Errors
/// The file cannot be read, or is larger.
pub fn read_file(mut file: &File, max: u64) -> io::Result<Vec<u8>> {
    let too_large = || {
        io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {max} bytes"),
        )
    };
    let length = file.metadata()?.len();
    if length > max {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    // It may grow meanwhile, and some files of the system say that they are empty.
    file.by_ref()
        .take(max.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        Err(too_large())
    } else {
        Ok(bytes)
    }
}

/// The text that bytes of a file are.
///
/// # Errors
/// The bytes are no UTF-8.
pub fn text(bytes: Vec<u8>) -> io::Result<String> {
    // The error of the conversion holds the bytes, which may be secret.
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8"))
}

/// Tells a file from all others of this machine, by whatever name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity(u64, u64);

impl Identity {
    /// The identity of the file that this was asked of.
    #[cfg(unix)]
    pub fn of(found: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self(found.dev(), found.ino())
    }

    /// There is no number to tell by, and nobody can move an open file.
    #[cfg(not(unix))]
    pub const fn of(_: &Metadata) -> Self {
        Self(0, 0)
    }
}

/// A path on one line, with escapes in the place of what cannot be seen.
pub fn shown(path: &Path) -> Shown<'_> {
    Shown(path.to_string_lossy())
}

/// Displays a path; see [`shown`].
#[derive(Debug)]
pub struct Shown<'a>(Cow<'a, str>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Quotes and backslashes stay as they are, so that a usual path can be copied.
        for part in self.0.split_inclusive(['"', '\'', '\\']) {
            let end = part.len() - usize::from(part.ends_with(['"', '\'', '\\']));
            let (plain, mark) = part.split_at(end);
            write!(f, "{}{mark}", plain.escape_debug())?;
        }
        Ok(())
    }
}

fn check_regular(found: &Metadata) -> io::Result<()> {
    let kind = found.file_type();
    if kind.is_file() {
        return Ok(());
    }
    let why = format!(
        "it is {}, and only a regular file can be used here",
        named(kind)
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

fn named(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a named pipe";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
        if kind.is_socket() {
            return "a socket";
        }
    }
    if kind.is_dir() {
        "a folder"
    } else if kind.is_symlink() {
        "a symbolic link"
    } else {
        "something else"
    }
}

/// Keeps opening from waiting for anybody, and from following a link at the end of the path.
#[cfg(unix)]
fn with_flags(options: &mut OpenOptions, without_links: bool) {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::OFlags;
    let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if without_links {
        flags |= OFlags::NOFOLLOW;
    }
    options.custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
}

#[cfg(not(unix))]
const fn with_flags(_: &mut OpenOptions, _: bool) {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{fs, path::PathBuf};

    use super::*;

    #[test]
    fn file_beyond_its_bound_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "four").unwrap();
        assert_eq!(read_text(&file, 4).unwrap(), "four");
        let error = read_text(&file, 3).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 3 bytes");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_never_read() {
        struct Case {
            path: PathBuf,
            error: &'static str,
        }
        let folder = tempfile::tempdir().unwrap();
        let (pipe, link) = (folder.path().join("pipe"), folder.path().join("link"));
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        let cases = [
            Case {
                path: "/dev/zero".into(),
                error: "it is a device",
            },
            Case {
                path: link,
                error: "it is a device",
            },
            Case {
                path: pipe,
                error: "it is a named pipe",
            },
            Case {
                path: folder.path().to_owned(),
                error: "it is a folder",
            },
        ];
        for Case { path, error } in cases {
            let told = read(&path, 8).unwrap_err().to_string();
            let expected = format!("{error}, and only a regular file can be used here");
            assert_eq!(told, expected, "{}", path.display());
        }
    }

    #[cfg(unix)]
    #[test]
    fn link_is_followed_only_where_that_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "text").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read_text(&link, 8).unwrap(), "text");
        let mut options = OpenOptions::new();
        options.append(true);
        let error = open_without_links(&link, options).unwrap_err().to_string();
        assert_eq!(
            error,
            "it is a symbolic link, and only a regular file can be used here"
        );
    }

    #[test]
    fn path_is_shown_on_one_line_without_escapes_of_a_terminal() {
        let path = Path::new("it's \\ a\n\u{1b}[31m\u{202e}\u{9b}\u{e9}.yaml");
        let expected = "it's \\ a\\n\\u{1b}[31m\\u{202e}\\u{9b}\u{e9}.yaml";
        assert_eq!(shown(path).to_string(), expected);
    }
}

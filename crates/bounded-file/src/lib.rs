//! Opens and reads files that an operator names: regular files only, up to a size limit, and
//! without blocking.
//!
//! Opening a named pipe blocks until another process writes, and a device such as `/dev/zero` never
//! ends. Every file that is read as a whole is therefore read here.

use std::{
    borrow::Cow,
    error::Error,
    fmt,
    fs::{File, FileType, Metadata, OpenOptions},
    io::{self, Read},
    path::Path,
};

/// Maximum size of a file that holds a key, a secret or an address, in bytes.
pub const MAX_KEY_BYTES: u64 = 64 << 10;

/// Maximum size of a configuration file (policy, tokens, certificates, descriptions), in bytes.
pub const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// Opens a regular file for reading and follows symbolic links.
///
/// # Errors
/// Returns an error if the file cannot be opened or is not a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    open_with(path, options)
}

/// Opens a regular file with the given options and follows symbolic links.
///
/// # Errors
/// Returns an error if the file cannot be opened or is not a regular file.
pub fn open_with(path: &Path, options: OpenOptions) -> io::Result<File> {
    open_regular(path, path.metadata(), options, false)
}

/// Opens a regular file with the given options, unless the path itself is a symbolic link.
///
/// # Errors
/// Returns an error if the file cannot be opened, is a symbolic link, or is not a regular file.
pub fn open_without_links(path: &Path, options: OpenOptions) -> io::Result<File> {
    open_regular(path, path.symlink_metadata(), options, true)
}

fn open_regular(
    path: &Path,
    found: io::Result<Metadata>,
    mut options: OpenOptions,
    without_links: bool,
) -> io::Result<File> {
    // Checked before opening as well, because opening some devices has an effect.
    match found {
        Ok(found) => check_regular(&found)?,
        // The options may create the file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    set_open_flags(&mut options, without_links);
    let file = options.open(path)?;
    check_regular(&file.metadata()?)?;
    Ok(file)
}

/// Reads a whole file of at most `max` bytes.
///
/// # Errors
/// Returns an error if the file cannot be read, is not a regular file, or is larger than `max`.
pub fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    read_open_file(&open(path)?, max)
}

/// Reads a whole UTF-8 file of at most `max` bytes.
///
/// # Errors
/// Returns an error if the file cannot be read, is not a regular file, is larger than `max`, or is
/// not UTF-8.
pub fn read_to_string(path: &Path, max: u64) -> io::Result<String> {
    decode_utf8(read(path, max)?)
}

/// Reads the rest of an open file, at most `max` bytes.
///
/// # Errors
/// Returns an error if the file cannot be read or is larger than `max`.
pub fn read_open_file(mut file: &File, max: u64) -> io::Result<Vec<u8>> {
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
    // The file may grow while it is read, and some system files report a length of zero.
    file.by_ref()
        .take(max.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        Err(too_large())
    } else {
        Ok(bytes)
    }
}

/// First bytes of files that Windows writes as "Unicode".
const UTF16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// Converts the bytes of a file to text.
///
/// # Errors
/// Returns an error if the bytes are not UTF-8. The error does not contain the bytes.
pub fn decode_utf8(bytes: Vec<u8>) -> io::Result<String> {
    if UTF16_MARKS.iter().any(|mark| bytes.starts_with(mark)) {
        let why = "it is text in UTF-16; save it as UTF-8";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    // The error of the conversion contains the bytes, which may be secret.
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8"))
}

/// Identity of a file on this machine, independent of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity(u64, u64);

impl FileIdentity {
    /// Returns the identity of the file with this metadata.
    #[cfg(unix)]
    pub fn from_metadata(found: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self(found.dev(), found.ino())
    }

    /// Returns a constant: without inode numbers there is nothing to compare, and an open file
    /// cannot be moved.
    #[cfg(not(unix))]
    pub const fn from_metadata(_: &Metadata) -> Self {
        Self(0, 0)
    }
}

/// Formats a path on one line, with invisible characters escaped.
pub fn display_path(path: &Path) -> DisplayPath<'_> {
    DisplayPath(path.to_string_lossy())
}

/// Displays a path; see [`display_path`].
#[derive(Debug)]
pub struct DisplayPath<'a>(Cow<'a, str>);

impl fmt::Display for DisplayPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Quotes and backslashes are not escaped, so that an ordinary path can be copied.
        for part in self.0.split_inclusive(['"', '\'', '\\']) {
            let end = part.len() - usize::from(part.ends_with(['"', '\'', '\\']));
            let (plain, mark) = part.split_at(end);
            write!(f, "{}{mark}", plain.escape_debug())?;
        }
        Ok(())
    }
}

/// An error and what caused it, in one line. A cause that an error before it tells already is not repeated.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        next = cause.source();
    }
    text
}

fn check_regular(found: &Metadata) -> io::Result<()> {
    let kind = found.file_type();
    if kind.is_file() {
        return Ok(());
    }
    let why = format!(
        "it is {}, and only a regular file can be used here",
        file_type_name(kind)
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

fn file_type_name(kind: FileType) -> &'static str {
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

/// Sets flags so that opening never blocks and, if asked for, does not follow a link at the end of
/// the path.
#[cfg(unix)]
fn set_open_flags(options: &mut OpenOptions, without_links: bool) {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::OFlags;
    let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if without_links {
        flags |= OFlags::NOFOLLOW;
    }
    options.custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
}

#[cfg(not(unix))]
const fn set_open_flags(_: &mut OpenOptions, _: bool) {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{fs, path::PathBuf};

    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn repeated_error_causes_are_shown_once() {
        let layers = |texts: &[&'static str]| {
            texts
                .iter()
                .rev()
                .fold(None, |below, text| Some(Box::new(Layer(text, below))))
                .unwrap()
        };
        for (texts, expected) in [
            (&["a"][..], "a"),
            (&["cannot read", "no file"], "cannot read: no file"),
            (
                &["cannot use", "cannot read: no file", "no file"],
                "cannot use: cannot read: no file",
            ),
            (
                &["no file. Make one", "no file", "why"],
                "no file. Make one: why",
            ),
        ] {
            assert_eq!(with_causes(&*layers(texts)), expected);
        }
    }

    #[test]
    fn file_above_its_limit_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "four").unwrap();
        assert_eq!(read_to_string(&file, 4).unwrap(), "four");
        let error = read_to_string(&file, 3).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 3 bytes");
    }

    #[test]
    fn text_in_another_encoding_is_an_error() {
        let decode = |bytes: &[u8]| decode_utf8(bytes.to_vec());
        assert_eq!(decode(b"a").unwrap(), "a");
        for bytes in [&b"\xff\xfea\0"[..], b"\xfe\xff\0a"] {
            let error = decode(bytes).unwrap_err();
            assert_eq!(error.to_string(), "it is text in UTF-16; save it as UTF-8");
        }
        let error = decode(b"a\xff").unwrap_err();
        assert_eq!(error.to_string(), "it is no text in UTF-8");
    }

    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_read() {
        struct Case {
            path: PathBuf,
            error: &'static str,
        }
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let link = folder.path().join("link");
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
            let message = read(&path, 8).unwrap_err().to_string();
            let expected = format!("{error}, and only a regular file can be used here");
            assert_eq!(message, expected, "{}", path.display());
        }
    }

    #[cfg(unix)]
    #[test]
    fn link_is_followed_unless_forbidden() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let link = folder.path().join("link");
        fs::write(&file, "text").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read_to_string(&link, 8).unwrap(), "text");
        let mut options = OpenOptions::new();
        options.append(true);
        let error = open_without_links(&link, options).unwrap_err().to_string();
        assert_eq!(
            error,
            "it is a symbolic link, and only a regular file can be used here"
        );
    }

    #[test]
    fn displayed_path_escapes_terminal_controls() {
        let path = Path::new("it's \\ a\n\u{1b}[31m\u{202e}\u{9b}\u{e9}.yaml");
        let expected = "it's \\ a\\n\\u{1b}[31m\\u{202e}\\u{9b}\u{e9}.yaml";
        assert_eq!(display_path(path).to_string(), expected);
    }
}

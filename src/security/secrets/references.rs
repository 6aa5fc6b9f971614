//! References to secrets in arguments: checks which ones are allowed, and resolves them.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use globset::{Glob, GlobSet};
use portkey_bounded_file::FileIdentity;
use portkey_operation::{JsonMap, Reference, SecretSlot};
use serde_json::Value;

use super::scan::{self, MIN_KEY_BYTES};
/// Maximum size of a file that holds a secret, in bytes.
const MAX_SECRET_FILE_BYTES: u64 = 65_536;

/// Prefixes of this server's own variables, to which no argument can refer.
const OWN_VARIABLE_PREFIXES: [&str; 2] = ["PORTKEY_", "ENKRYPT_"];

/// The references that the operator allows.
#[derive(Debug, Default)]
pub struct SecretReferences(Option<OpenReferences>);

#[derive(Debug)]
struct OpenReferences {
    variables: GlobSet,
    folders: Vec<PathBuf>,
    callers: GlobSet,
    instructions: String,
}

/// Settings for references, as the operator writes them. If variables and folders are empty, no
/// reference is allowed.
#[derive(Clone, Debug, Default)]
pub struct AllowedReferences {
    /// Names of variables, with `*` for any characters.
    pub variables: Vec<String>,
    /// Folders of files that each hold a secret.
    pub folders: Vec<PathBuf>,
    /// Names of callers beside the local one, with `*`.
    pub callers: Vec<String>,
}

/// The caller that uses a reference.
#[derive(Clone, Copy, Debug)]
pub struct ReferenceCaller<'a> {
    /// Name of the caller.
    pub name: &'a str,
    /// The caller runs this process itself.
    pub is_local: bool,
}

/// Reason why a secret cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// References are not allowed for this caller, or for none at all.
    #[error("refers to a secret of this server, which the operator has not opened to you")]
    NotAllowed,
    /// The variable is not allowed.
    #[error("the variable `{0}` is not one that the operator of this server opened to arguments")]
    VariableNotAllowed(String),
    /// The variable is empty or is no text.
    #[error("the variable `{0}` is not set where this server runs")]
    VariableNotSet(String),
    /// The file does not exist or is in none of the folders.
    #[error(
        "there is no file `{0}` in a folder that the operator of this server opened to arguments"
    )]
    FileNotFound(String),
    /// The file is empty, no text, or too large.
    #[error("the file `{0}` holds no secret: it is empty, no text, or larger than 64 KiB")]
    InvalidFile(String),
    /// The place takes an object, and the secret is no JSON object.
    #[error("`{0}` does not hold a JSON object")]
    NotAnObject(String),
    /// The secret would not be masked in this place when it is read back.
    #[error(
        "refers to a secret where none is kept: such a field has a name such as `api_key` or `headers`"
    )]
    NotMasked,
    /// The secret is one of the keys that the server itself uses.
    #[error("`{0}` holds a key of this server itself, which is not for arguments")]
    OwnKey(String),
}

/// A setting for references is invalid.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceSettingsError {
    /// A pattern is invalid.
    #[error(transparent)]
    Pattern(#[from] globset::Error),
    /// A folder cannot be opened.
    #[error(
        "the folder {} cannot be opened: {source}",
        portkey_bounded_file::display_path(path)
    )]
    Folder {
        /// Path of the folder.
        path: PathBuf,
        /// Cause of the failure.
        source: io::Error,
    },
}

impl SecretReferences {
    /// Validates the settings and opens the folders.
    ///
    /// # Errors
    /// Returns an error if a pattern is invalid or a folder does not exist.
    pub fn open(allowed: &AllowedReferences) -> Result<Self, ReferenceSettingsError> {
        if allowed.variables.is_empty() && allowed.folders.is_empty() {
            return Ok(Self(None));
        }
        let folder = |path: &PathBuf| {
            let real = path.canonicalize().and_then(|real| match real.is_dir() {
                true => Ok(real),
                false => Err(io::ErrorKind::NotADirectory.into()),
            });
            real.map_err(|source| ReferenceSettingsError::Folder {
                path: path.clone(),
                source,
            })
        };
        Ok(Self(Some(OpenReferences {
            variables: build_patterns(&allowed.variables)?,
            folders: allowed
                .folders
                .iter()
                .map(folder)
                .collect::<Result<_, _>>()?,
            callers: build_patterns(&allowed.callers)?,
            instructions: instructions(allowed),
        })))
    }

    pub(super) fn instructions(&self) -> Option<String> {
        self.0.as_ref().map(|open| open.instructions.clone())
    }

    /// Resolves the reference in a value. Returns the new value and the secret texts in it, or
    /// `None` if the value is no reference.
    pub(super) fn resolve(
        &self,
        value: &Value,
        slot: SecretSlot,
        caller: ReferenceCaller<'_>,
    ) -> Result<Option<(Value, Vec<String>)>, ReferenceError> {
        let Some(reference) = Reference::from_value(value) else {
            return Ok(None);
        };
        let open = self.0.as_ref().ok_or(ReferenceError::NotAllowed)?;
        if !caller.is_local && !open.callers.is_match(caller.name) {
            return Err(ReferenceError::NotAllowed);
        }
        let text = match reference {
            Reference::Variable(name) => open.read_variable(name)?,
            Reference::File(path) => open.read_file(path)?,
        };
        if scan::contains_own_key(&text) {
            return Err(ReferenceError::OwnKey(reference.to_string()));
        }
        if slot != SecretSlot::Object {
            let secret = (text.len() >= MIN_KEY_BYTES).then(|| text.clone());
            return Ok(Some((text.into(), secret.into_iter().collect())));
        }
        let object: JsonMap = serde_json::from_str(&text)
            .map_err(|_| ReferenceError::NotAnObject(reference.to_string()))?;
        let object = Value::Object(object);
        let mut texts = Vec::new();
        collect_texts(&object, &mut texts);
        Ok(Some((object, texts)))
    }
}

impl OpenReferences {
    fn read_variable(&self, name: &str) -> Result<String, ReferenceError> {
        let is_own = OWN_VARIABLE_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix));
        if is_own || !self.variables.is_match(name) {
            return Err(ReferenceError::VariableNotAllowed(name.to_owned()));
        }
        let value = std::env::var(name)
            .ok()
            .filter(|value| !value.trim().is_empty());
        value.ok_or_else(|| ReferenceError::VariableNotSet(name.to_owned()))
    }

    fn read_file(&self, path: &str) -> Result<String, ReferenceError> {
        let found = self
            .folders
            .iter()
            .find_map(|folder| open_file_within(folder, path));
        let (file, size) = found.ok_or_else(|| ReferenceError::FileNotFound(path.to_owned()))?;
        let invalid_file = || ReferenceError::InvalidFile(path.to_owned());
        if size > MAX_SECRET_FILE_BYTES {
            return Err(invalid_file());
        }
        let mut text = String::new();
        file.take(MAX_SECRET_FILE_BYTES)
            .read_to_string(&mut text)
            .map_err(|_| invalid_file())?;
        // Editors end a file with a line break, which is no part of the secret.
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            Err(invalid_file())
        } else {
            Ok(text.to_owned())
        }
    }
}

/// Opens a regular file that lies within a folder after all links are followed. Returns the file
/// with its size.
fn open_file_within(folder: &Path, path: &str) -> Option<(File, u64)> {
    let real = folder.join(path).canonicalize().ok()?;
    if !real.starts_with(folder) || !real.symlink_metadata().ok()?.is_file() {
        return None;
    }
    let file = portkey_bounded_file::open(&real).ok()?;
    let metadata = file.metadata().ok()?;
    // If the path was changed in between, nothing is returned.
    let again = real.canonicalize().ok().filter(|again| *again == real)?;
    let is_same = FileIdentity::from_metadata(&metadata)
        == FileIdentity::from_metadata(&again.symlink_metadata().ok()?);
    is_same.then_some((file, metadata.len()))
}

fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) if text.len() >= MIN_KEY_BYTES => texts.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|item| collect_texts(item, texts)),
        Value::Object(map) => map.values().for_each(|item| collect_texts(item, texts)),
        _ => {}
    }
}

fn build_patterns(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSet::builder();
    for pattern in patterns {
        set.add(Glob::new(pattern)?);
    }
    set.build()
}

fn instructions(allowed: &AllowedReferences) -> String {
    let folders = allowed
        .folders
        .iter()
        .map(|folder| portkey_bounded_file::display_path(folder).to_string());
    let open: Vec<_> = allowed.variables.iter().cloned().chain(folders).collect();
    format!(
        " Where an argument is a credential, `$env:NAME` or `$file:PATH` has the server fill it in; open \
         are {}.",
        open.join(", ")
    )
}

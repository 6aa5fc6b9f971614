//! Delivery of one-time secrets that a call returns: in the result, in a file, or not at all.

use std::{
    fs::{self, File},
    io::{self, Seek, Write},
    path::{Path, PathBuf},
};

use portkey_operation::{JsonMap, Operation};
use serde_json::Value;
use tracing::error;

use super::{SecretError, folder::SecretFolder};
/// Disk space that is reserved before a secret exists, in bytes.
const RESERVED_BYTES: usize = 8192;

/// The operator's choice of how one-time secrets reach the caller.
#[derive(Clone, Debug, Default)]
pub enum DeliveryMode {
    /// In the result of the call.
    #[default]
    Inline,
    /// In a file of this folder; the result holds the file's path.
    File(PathBuf),
    /// Not at all: calls that return a secret are rejected.
    Deny,
}

/// The secrets that one call will return, and how each is delivered.
#[derive(Debug)]
pub enum SecretDelivery {
    /// The call returns no secret: everything secret is masked.
    Nothing,
    /// These fields, in the result.
    Inline(&'static [&'static str]),
    /// These fields, each in a file of its own.
    Files(Vec<(&'static str, ReservedFile)>),
}

/// Values taken out of a response while the rest is masked, and put back afterwards.
#[derive(Debug)]
pub(super) struct TakenSecrets(Vec<(&'static str, Value)>);

impl DeliveryMode {
    /// Delivers secrets in files of a folder that only the current user can access. The folder is
    /// created if necessary.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be created, others can access it, or it belongs to
    /// another user.
    pub fn in_folder(folder: &Path) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
        let folder = folder.canonicalize()?;
        // Checked again whenever a file is created in it.
        SecretFolder::open(&folder)?;
        Ok(Self::File(folder))
    }

    pub(super) fn prepare(
        &self,
        operation: &'static Operation,
        args: &JsonMap,
    ) -> Result<SecretDelivery, SecretError> {
        let tool = operation.name();
        let fields = operation.one_time_secrets();
        let Some(field) = fields
            .first()
            .filter(|_| operation.returns_secrets_for(args))
        else {
            return Ok(SecretDelivery::Nothing);
        };
        match self {
            Self::Inline => Ok(SecretDelivery::Inline(fields)),
            Self::Deny => Err(SecretError::Denied { tool, field }),
            Self::File(folder) => {
                let reserve = |field: &&'static str| {
                    ReservedFile::create(folder, &format!("{tool}.{field}"))
                        .map(|file| (*field, file))
                };
                let files: io::Result<_> = fields.iter().map(reserve).collect();
                let folder = || folder.clone();
                files
                    .map(SecretDelivery::Files)
                    .map_err(|source| SecretError::NoFile {
                        tool,
                        folder: folder(),
                        source,
                    })
            }
        }
    }
}

impl SecretDelivery {
    /// Takes the secrets to deliver out of a response.
    pub(super) fn take_secrets(self, answer: &mut Value) -> TakenSecrets {
        let mut take = |field: &'static str| {
            let slot = field
                .split('.')
                .try_fold(&mut *answer, |value, name| value.get_mut(name))?;
            (!slot.is_null()).then(|| slot.take())
        };
        TakenSecrets(match self {
            Self::Nothing => Vec::new(),
            Self::Inline(fields) => fields
                .iter()
                .filter_map(|field| Some((*field, take(field)?)))
                .collect(),
            Self::Files(files) => files
                .into_iter()
                .filter_map(|(field, file)| Some((field, file.store(&take(field)?))))
                .collect(),
        })
    }
}

impl TakenSecrets {
    pub(super) fn put_back(self, answer: &mut Value) {
        for (field, value) in self.0 {
            let slot = field
                .split('.')
                .try_fold(&mut *answer, |value, name| value.get_mut(name));
            if let Some(slot) = slot {
                *slot = value;
            }
        }
    }
}

/// A new file with reserved space for a secret. The file is removed on drop unless a secret was
/// written to it.
#[derive(Debug)]
pub struct ReservedFile {
    folder: SecretFolder,
    /// Label of the secret, which begins the file's name.
    label: String,
    name: String,
    file: File,
    is_written: bool,
}

impl ReservedFile {
    /// Creates a file that only the current user can read, with an unguessable name.
    fn create(folder: &Path, what: &str) -> io::Result<Self> {
        let folder = SecretFolder::open(folder)?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let name = format!("{what}.{}", hex::encode(random));
        let file = folder.create(&name)?;
        let mut reserved = Self {
            folder,
            label: what.to_owned(),
            name,
            file,
            is_written: false,
        };
        // A full disk shows now, while no secret can get lost.
        reserved.file.write_all(&[0; RESERVED_BYTES])?;
        Ok(reserved)
    }

    /// Writes a secret and returns the file's path, or a text saying that the secret is lost.
    fn store(mut self, secret: &Value) -> Value {
        let text = match secret {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match self
            .write(text.as_bytes())
            .or_else(|_| self.write_to_new_file(text.as_bytes()))
        {
            Ok(path) => path.to_string_lossy().into(),
            Err(source) => {
                error!(%source, "a revealed secret could not be written to its file");
                format!("[lost: its file could not be written ({source}); make a new one]").into()
            }
        }
    }

    fn write(&mut self, text: &[u8]) -> io::Result<PathBuf> {
        // The folder could have been changed while the call was in flight.
        self.folder.check(&self.name, &self.file)?;
        self.file.rewind()?;
        self.file.write_all(text)?;
        self.file.set_len(text.len() as u64)?;
        self.file.sync_all()?;
        self.is_written = true;
        Ok(self.folder.file_path(&self.name))
    }

    /// Writes the secret to a new file. Used if the first file was moved or removed: by then the
    /// secret exists, and a new file may still hold it.
    fn write_to_new_file(&self, text: &[u8]) -> io::Result<PathBuf> {
        Self::create(self.folder.path(), &self.label)?.write(text)
    }
}

impl Drop for ReservedFile {
    fn drop(&mut self) {
        if !self.is_written {
            self.folder.remove(&self.name);
        }
    }
}

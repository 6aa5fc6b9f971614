//! Handing over what a call reveals (secrets.md §1): in the answer, in a file, or not at all.

use std::{
    fs::{self, File},
    io::{self, Seek, Write},
    path::{Path, PathBuf},
};

use portkey_operation::{JsonMap, Operation};
use serde_json::Value;
use tracing::error;

use super::{SecretError, folder::Folder};
/// Room on the disk that is made sure of before a secret comes to be, in bytes.
const RESERVED: usize = 8192;

/// How secrets that a call reveals reach whoever calls.
#[derive(Clone, Debug, Default)]
pub enum Delivery {
    /// In the answer.
    #[default]
    Inline,
    /// In a file of this folder, whose path is in the answer.
    File(PathBuf),
    /// Not at all: such calls are refused.
    Deny,
}

/// What a call will reveal, and the way it takes.
#[derive(Debug)]
pub enum Handover {
    /// Nothing: every secret is masked.
    Nothing,
    /// These fields, in the answer.
    Inline(&'static [&'static str]),
    /// These fields, each in its file.
    Files(Vec<(&'static str, Reserved)>),
}

/// Values taken out of an answer, to be put back once the rest of it is masked.
#[derive(Debug)]
pub(super) struct Revealed(Vec<(&'static str, Value)>);

impl Delivery {
    /// A folder that only this user can look into, made if there is none.
    ///
    /// # Errors
    /// It cannot be made, others can look into it, or it is another user's.
    pub fn in_folder(folder: &Path) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
        let folder = folder.canonicalize()?;
        // Looked at again whenever a file is made in it.
        Folder::open(&folder)?;
        Ok(Self::File(folder))
    }

    pub(super) fn make_ready(
        &self,
        operation: &'static Operation,
        args: &JsonMap,
    ) -> Result<Handover, SecretError> {
        let (tool, fields) = (operation.name(), operation.revealed());
        let Some(field) = fields.first().filter(|_| operation.reveals_with(args)) else {
            return Ok(Handover::Nothing);
        };
        match self {
            Self::Inline => Ok(Handover::Inline(fields)),
            Self::Deny => Err(SecretError::Denied { tool, field }),
            Self::File(folder) => {
                let reserve = |field: &&'static str| {
                    Reserved::make(folder, &format!("{tool}.{field}")).map(|file| (*field, file))
                };
                let files: io::Result<_> = fields.iter().map(reserve).collect();
                let folder = || folder.clone();
                files
                    .map(Handover::Files)
                    .map_err(|source| SecretError::NoFile {
                        tool,
                        folder: folder(),
                        source,
                    })
            }
        }
    }
}

impl Handover {
    /// Takes what is to be handed over out of an answer.
    pub(super) fn take(self, answer: &mut Value) -> Revealed {
        let mut take = |field: &'static str| {
            let slot = field
                .split('.')
                .try_fold(&mut *answer, |value, name| value.get_mut(name))?;
            (!slot.is_null()).then(|| slot.take())
        };
        Revealed(match self {
            Self::Nothing => Vec::new(),
            Self::Inline(fields) => fields
                .iter()
                .filter_map(|field| Some((*field, take(field)?)))
                .collect(),
            Self::Files(files) => files
                .into_iter()
                .filter_map(|(field, file)| Some((field, file.keep(&take(field)?))))
                .collect(),
        })
    }
}

impl Revealed {
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

/// A new file with room for a secret; it is gone again unless one is kept in it.
#[derive(Debug)]
pub struct Reserved {
    folder: Folder,
    /// What the secret is, which begins the name of its file.
    what: String,
    name: String,
    file: File,
    kept: bool,
}

impl Reserved {
    /// Makes one whose name nobody can guess, and nobody else can read.
    fn make(folder: &Path, what: &str) -> io::Result<Self> {
        let folder = Folder::open(folder)?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let name = format!("{what}.{}", hex::encode(random));
        let file = folder.create(&name)?;
        let mut reserved = Self {
            folder,
            what: what.to_owned(),
            name,
            file,
            kept: false,
        };
        // A full disk shows now, while there is no secret that could get lost.
        reserved.file.write_all(&[0; RESERVED])?;
        Ok(reserved)
    }

    /// Writes a secret, and says where; or that it got lost.
    fn keep(mut self, secret: &Value) -> Value {
        let text = match secret {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match self
            .write(text.as_bytes())
            .or_else(|_| self.write_anew(text.as_bytes()))
        {
            Ok(path) => path.to_string_lossy().into(),
            Err(source) => {
                error!(%source, "a revealed secret could not be written to its file");
                format!("[lost: its file could not be written ({source}); make a new one]").into()
            }
        }
    }

    fn write(&mut self, text: &[u8]) -> io::Result<PathBuf> {
        // Who may change the folder could have done so while the call was under way.
        self.folder.check(&self.name, &self.file)?;
        self.file.rewind()?;
        self.file.write_all(text)?;
        self.file.set_len(text.len() as u64)?;
        self.file.sync_all()?;
        self.kept = true;
        Ok(self.folder.path_of(&self.name))
    }

    /// The file was moved or removed: the secret exists by now, and a new file may still take it.
    fn write_anew(&self, text: &[u8]) -> io::Result<PathBuf> {
        Self::make(self.folder.path(), &self.what)?.write(text)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.kept {
            self.folder.remove(&self.name);
        }
    }
}

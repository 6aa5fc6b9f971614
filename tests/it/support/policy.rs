//! A policy in a file.

use std::{fs, path::PathBuf};

pub(crate) struct PolicyFile {
    _folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl PolicyFile {
    pub(crate) fn with(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        fs::write(&path, text).unwrap();
        Self {
            _folder: folder,
            path,
        }
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Returns the path of another file in the same folder.
    pub(crate) fn beside(&self, name: &str) -> String {
        self.path.with_file_name(name).to_str().unwrap().to_owned()
    }
}

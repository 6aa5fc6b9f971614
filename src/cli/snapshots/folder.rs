//! The folder of a snapshot: files that are written whole, never outside it, and removed only if they
//! are its own.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::ValueEnum;
use portkey_bounded_file::{display_path, read_to_string};
use serde::{Deserialize, Serialize};

use crate::changes::plan::write_private;

/// Name of the file that says what is in the folder.
const MANIFEST_FILE: &str = "snapshot.yaml";
/// Maximum size of a file, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// Version of the form of the folder.
const FORM: u32 = 1;
/// Entries that a folder may have before its first snapshot.
const GIT_FILES: [&str; 3] = [".git", ".gitignore", ".gitattributes"];

/// A form of the files of a snapshot.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum ExportFormat {
    /// One file for each resource.
    #[default]
    Yaml,
    /// Resources and import blocks of Portkey's Terraform provider, one file for each kind.
    Terraform,
}

impl ExportFormat {
    /// Returns true for the default.
    pub(super) fn is_yaml(&self) -> bool {
        *self == Self::Yaml
    }

    /// Returns the value of the argument of the tool.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Yaml => "yaml",
            Self::Terraform => "terraform",
        }
    }
}

/// The description of the folder.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    portkey_mcp_snapshot: u32,
    /// Kinds of resources.
    pub(super) kinds: BTreeSet<String>,
    /// Workspaces; empty for all.
    pub(super) workspaces: BTreeSet<String>,
    /// Form of the files.
    #[serde(default, skip_serializing_if = "ExportFormat::is_yaml")]
    pub(super) format: ExportFormat,
    /// Paths of the files of resources.
    pub(super) files: BTreeSet<String>,
}

impl Manifest {
    pub(super) fn new(kinds: BTreeSet<String>, workspaces: BTreeSet<String>) -> Self {
        Self {
            portkey_mcp_snapshot: FORM,
            kinds,
            workspaces,
            format: ExportFormat::Yaml,
            files: BTreeSet::new(),
        }
    }
}

/// A folder with a snapshot, or for one.
#[derive(Debug)]
pub(super) struct SnapshotFolder {
    root: PathBuf,
    /// The snapshot that is there.
    pub(super) manifest: Option<Manifest>,
}

impl SnapshotFolder {
    /// Opens a folder, which need not exist.
    ///
    /// # Errors
    /// Returns an error if the folder has something else than a snapshot.
    pub(super) fn open(root: &Path) -> anyhow::Result<Self> {
        let at = display_path(root).to_string();
        let manifest_path = root.join(MANIFEST_FILE);
        let manifest = match manifest_path.symlink_metadata() {
            Ok(_) => Some(read_manifest(&manifest_path)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read {at}")),
        };
        if manifest.is_none() && root.exists() {
            let entries = fs::read_dir(root).with_context(|| format!("cannot read {at}"))?;
            for entry in entries {
                let name = entry?.file_name();
                if !GIT_FILES.iter().any(|known| name == *known) {
                    bail!("{at} is not empty and has no snapshot; give an empty or a new folder");
                }
            }
        }
        Ok(Self {
            root: root.to_owned(),
            manifest,
        })
    }

    /// Writes a file. Returns false if it has this content already.
    pub(super) fn write(&self, path: &str, content: &str) -> anyhow::Result<bool> {
        let write = || {
            let path = self.locate(path, true)?;
            let is_same = path.symlink_metadata().is_ok_and(|found| found.is_file())
                && read_to_string(&path, MAX_FILE_BYTES).is_ok_and(|found| found == content);
            if !is_same {
                write_private(&path, content.as_bytes())?;
            }
            Ok::<_, io::Error>(!is_same)
        };
        write().with_context(|| format!("cannot write {path}"))
    }

    /// Rejects a file that is not of the snapshot and would be replaced.
    ///
    /// # Errors
    /// Returns an error if the place of the file has something else than this content.
    pub(super) fn reject_foreign(&self, path: &str, content: &str) -> anyhow::Result<()> {
        let is_foreign = || {
            let place = self.locate(path, false)?;
            let is_same = place.symlink_metadata()?.is_file()
                && read_to_string(&place, MAX_FILE_BYTES).is_ok_and(|found| found == content);
            Ok::<_, io::Error>(!is_same)
        };
        match is_foreign() {
            Ok(false) => Ok(()),
            Ok(true) => {
                bail!("{path} is not of this snapshot; move it away, or choose another folder")
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot write {path}")),
        }
    }

    /// Writes what is in the folder.
    pub(super) fn write_manifest(&self, manifest: &Manifest) -> anyhow::Result<()> {
        let text = serde_saphyr::to_string(manifest)?;
        self.write(MANIFEST_FILE, &text)?;
        Ok(())
    }

    /// Reads a file of the snapshot; `None` if it is gone.
    pub(super) fn read(&self, path: &str) -> anyhow::Result<Option<String>> {
        let read = || {
            let path = self.locate(path, false)?;
            match path.symlink_metadata() {
                Ok(found) if found.is_file() => read_to_string(&path, MAX_FILE_BYTES).map(Some),
                Ok(_) => Err(invalid("it is no regular file")),
                Err(error) => Err(error),
            }
        };
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.with_context(|| format!("cannot read {path}")),
        }
    }

    /// Removes a file of the snapshot, and the folders that are empty then.
    pub(super) fn remove(&self, path: &str) -> anyhow::Result<()> {
        let remove = || {
            let located = self.locate(path, false)?;
            if !located.symlink_metadata()?.is_file() {
                return Err(invalid("it is no regular file"));
            }
            fs::remove_file(&located)?;
            let folders = located.ancestors().skip(1);
            for folder in folders.take_while(|folder| *folder != self.root) {
                // It has other files.
                if fs::remove_dir(folder).is_err() {
                    break;
                }
            }
            Ok(())
        };
        match remove() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.with_context(|| format!("cannot remove {path}")),
        }
    }

    /// Returns the place of a file. A link on the way is an error, because it may lead elsewhere.
    fn locate(&self, path: &str, creates: bool) -> io::Result<PathBuf> {
        let relative = Path::new(path);
        let is_plain = relative
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !is_plain || path.is_empty() || path.contains(['\\', ':', '\0']) {
            return Err(invalid("it is no path within the folder"));
        }
        if creates && !self.root.exists() {
            create_private_folder(&self.root, true)?;
        }
        let mut place = self.root.clone();
        let folders = relative.parent().into_iter().flat_map(Path::components);
        for folder in folders {
            place.push(folder);
            match place.symlink_metadata() {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Err(invalid("a part of its path is no folder")),
                Err(error) if creates && error.kind() == io::ErrorKind::NotFound => {
                    create_private_folder(&place, false)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.root.join(relative))
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// Creates a folder for its user only.
fn create_private_folder(path: &Path, is_recursive: bool) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(is_recursive);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn read_manifest(path: &Path) -> anyhow::Result<Manifest> {
    let at = display_path(path).to_string();
    let text = read_to_string(path, MAX_FILE_BYTES).with_context(|| format!("cannot read {at}"))?;
    let manifest: Manifest = serde_saphyr::from_str(&text)
        .map_err(|error| anyhow::anyhow!("{at} does not describe a snapshot: {error}"))?;
    if manifest.portkey_mcp_snapshot != FORM {
        bail!("{at} is of another version of this program; export into a new folder");
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn paths_outside_the_folder_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let folder = SnapshotFolder::open(&root.path().join("snapshot")).unwrap();
        for path in [
            "",
            "../a.yaml",
            "/etc/a.yaml",
            "a/../../b.yaml",
            "./a.yaml",
            "c:a",
            "a\\b",
        ] {
            assert!(folder.write(path, "a").is_err(), "{path}");
            assert!(folder.read(path).is_err(), "{path}");
            assert!(folder.remove(path).is_err(), "{path}");
        }
        assert!(folder.write("configs/a.yaml", "a").unwrap());
        assert!(!folder.write("configs/a.yaml", "a").unwrap());
        folder.remove("configs/a.yaml").unwrap();
        assert!(!root.path().join("snapshot/configs").exists());
    }

    #[test]
    fn file_with_other_content_is_rejected() {
        let root = tempfile::tempdir().unwrap();
        let folder = SnapshotFolder::open(&root.path().join("snapshot")).unwrap();
        assert!(folder.reject_foreign("configs/a.yaml", "a").is_ok());
        folder.write("configs/a.yaml", "a").unwrap();
        assert!(folder.reject_foreign("configs/a.yaml", "a").is_ok());
        assert!(folder.reject_foreign("configs/a.yaml", "b").is_err());
        // A folder in its place.
        assert!(folder.reject_foreign("configs", "a").is_err());
        assert!(folder.reject_foreign("configs/b.yaml", "b").is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn links_in_the_folder_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("a.yaml"), "theirs").unwrap();
        let folder = SnapshotFolder::open(root.path()).unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("configs")).unwrap();
        assert!(folder.write("configs/a.yaml", "a").is_err());
        assert!(folder.remove("configs/a.yaml").is_err());
        let link = root.path().join("b.yaml");
        std::os::unix::fs::symlink(outside.path().join("a.yaml"), link).unwrap();
        assert!(folder.write("b.yaml", "a").is_err());
        assert!(folder.remove("b.yaml").is_err());
        let kept = fs::read_to_string(outside.path().join("a.yaml")).unwrap();
        assert_eq!(kept, "theirs");
    }
}

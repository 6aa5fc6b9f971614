//! Prompts: frequent tasks of administrators, written as the tools to call in order.
//!
//! Each is a Markdown file with front matter, described in docs/prompts.md. Those here are built
//! in. An operator's own come from a folder, and replace a built-in prompt of the same name.

mod template;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use portkey_bounded_file::{display_path, read_to_string};
use portkey_file_watch::{FileKind, WatchedValue};
use portkey_operation::{JsonMap, ToolNames};

pub use self::template::{PromptFileError, PromptTemplate, TemplateArgument};

/// Maximum number of prompts in a folder. Nobody chooses from a longer list.
const MAX_PROMPTS: usize = 200;
/// Maximum number of folder entries that are read.
const MAX_FOLDER_ENTRIES: usize = 10_000;
/// Maximum size of a file, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Texts of the built-in prompts.
const BUILT_IN: &[&str] = &[
    include_str!("access-review.md"),
    include_str!("migrate-virtual-keys.md"),
    include_str!("monthly-showback.md"),
    include_str!("onboard-team.md"),
    include_str!("promote-prompt.md"),
    include_str!("register-mcp-server.md"),
    include_str!("rotate-api-keys.md"),
    include_str!("triage-failures.md"),
    include_str!("weekly-digest.md"),
];

/// Prompt templates by name.
#[derive(Debug, Default)]
pub struct PromptLibrary {
    prompts: BTreeMap<String, PromptTemplate>,
}

/// Reason for which a prompt cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// There is no prompt of that name, or none that this caller may use.
    #[error("there is no such prompt; prompts/list has those there are")]
    Unknown,
    /// A required argument is missing or empty.
    #[error("the prompt `{prompt}` needs the argument `{argument}`")]
    MissingArgument {
        /// Name of the prompt.
        prompt: String,
        /// Name of the argument.
        argument: String,
    },
    /// The prompt declares no such argument.
    #[error("that is no argument of the prompt `{prompt}`; it takes {takes}")]
    UndeclaredArgument {
        /// Name of the prompt.
        prompt: String,
        /// Names of the declared arguments.
        takes: String,
    },
    /// An argument is no text, or a text that is too long.
    #[error(
        "the argument `{argument}` of the prompt `{prompt}` has to be a text of at most {most} characters"
    )]
    InvalidArgument {
        /// Name of the prompt.
        prompt: String,
        /// Name of the argument.
        argument: String,
        /// Maximum length, in characters.
        most: usize,
    },
}

impl PromptLibrary {
    /// Returns the built-in prompts. A test checks that all of them are valid.
    pub fn built_in() -> Self {
        let mut library = Self::default();
        BUILT_IN
            .iter()
            .filter_map(|text| PromptTemplate::parse(text).ok())
            .for_each(|one| library.add(one));
        library
    }

    /// Watches a folder, and returns the built-in prompts and every `*.md` of the folder.
    ///
    /// A file replaces the built-in prompt of its name. The prompts are reloaded when a file is
    /// changed, added or removed.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read, if a file is invalid, or if two files have the
    /// same name. The error names the file, the line and the reason.
    pub fn watch_folder(folder: &Path) -> anyhow::Result<WatchedValue<Self>> {
        let prompts = WatchedValue::from_folder(folder, list_markdown_files, |files| {
            Self::built_in().with_files(files)
        })?;
        Ok(prompts.with_kind(FileKind::PromptFolder))
    }

    fn with_files(mut self, files: &[PathBuf]) -> anyhow::Result<Self> {
        if files.len() > MAX_PROMPTS {
            bail!("{} prompts, at most {MAX_PROMPTS} are read", files.len());
        }
        let mut own = BTreeMap::new();
        for file in files {
            let context = || format!("cannot use the prompt {}", display_path(file));
            let text = read_to_string(file, MAX_FILE_BYTES).with_context(context)?;
            let prompt = PromptTemplate::parse(&text).with_context(context)?;
            if let Some(other) = own.insert(prompt.name().to_owned(), file) {
                bail!(
                    "{}: {} has the name `{}` too",
                    context(),
                    display_path(other),
                    prompt.name()
                );
            }
            self.add(prompt);
        }
        Ok(self)
    }

    fn add(&mut self, prompt: PromptTemplate) {
        self.prompts.insert(prompt.name().to_owned(), prompt);
    }

    /// Iterates over all prompts, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &PromptTemplate> {
        self.prompts.values()
    }

    /// Finds a prompt by name.
    ///
    /// # Errors
    /// Returns [`PromptError::Unknown`] if there is none.
    pub fn find(&self, name: &str) -> Result<&PromptTemplate, PromptError> {
        self.prompts.get(name).ok_or(PromptError::Unknown)
    }
}

/// Lists the Markdown files of a folder, sorted by name.
fn list_markdown_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for (number, entry) in fs::read_dir(folder)?.enumerate() {
        if number >= MAX_FOLDER_ENTRIES {
            let why = format!("the folder has more than {MAX_FOLDER_ENTRIES} entries");
            return Err(io::Error::other(why));
        }
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "md") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

impl PromptTemplate {
    /// Returns the text with the arguments inserted.
    ///
    /// # Errors
    /// Returns an error if a required argument is missing, if one is not declared, or if one is no
    /// text.
    pub fn render(&self, args: &JsonMap, names: ToolNames) -> Result<String, PromptError> {
        let prompt = || self.name().to_owned();
        if args.keys().any(|name| self.argument(name).is_none()) {
            let names: Vec<_> = self
                .arguments()
                .iter()
                .map(|one| format!("`{}`", one.name))
                .collect();
            let takes = if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            };
            return Err(PromptError::UndeclaredArgument {
                prompt: prompt(),
                takes,
            });
        }
        let mut values = BTreeMap::new();
        for argument in self.arguments() {
            let name = || argument.name.clone();
            let given = match args.get(&argument.name) {
                None => None,
                Some(value) => Some(
                    value
                        .as_str()
                        .and_then(template::normalize_value)
                        .ok_or_else(|| {
                            let most = template::MAX_VALUE_CHARS;
                            PromptError::InvalidArgument {
                                prompt: prompt(),
                                argument: name(),
                                most,
                            }
                        })?,
                ),
            };
            let value = match given.filter(|text| !text.is_empty()) {
                Some(text) => text,
                None if argument.required => {
                    return Err(PromptError::MissingArgument {
                        prompt: prompt(),
                        argument: name(),
                    });
                }
                None => argument
                    .default
                    .clone()
                    .unwrap_or_else(|| "not given".to_owned()),
            };
            values.insert(argument.name.as_str(), value);
        }
        Ok(self.fill(&values, names))
    }
}

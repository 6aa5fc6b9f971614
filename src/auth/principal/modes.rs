//! Tool filters of the operator and of requests. Each filter only restricts, and none can permit a
//! tool that another excludes.

use std::{collections::BTreeSet, fmt};

use globset::GlobBuilder;
use portkey_api::catalog::suggest_tools;
use portkey_operation::{Effect, Operation};

use super::{Toolsets, Withheld};
/// Maximum number of names and globs in one selection.
const MOST: usize = 64;

/// Maximum length of a name or glob, in bytes.
const LONGEST: usize = 100;

/// Source of a tool filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// The operator's options.
    #[default]
    Operator,
    /// The path and headers of an HTTP request.
    Request,
}

/// A tool filter. The default excludes nothing.
#[derive(Clone, Debug, Default)]
pub struct AccessModes {
    /// Source of the filter.
    pub by: By,
    /// Keeps only tools with the read-only hint.
    pub read_only: bool,
    /// Excludes tools that delete.
    pub no_delete: bool,
    /// Keeps only these domains.
    pub toolsets: Option<Toolsets>,
    /// Keeps only these tools.
    pub tools: Option<Tools>,
    /// Excludes these tools.
    pub excluded: Option<Tools>,
}

/// A selection of tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools(BTreeSet<&'static str>);

/// Reason why a text selects no tools.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoChoice {
    /// The text is neither a name nor a glob.
    #[error(
        "`{0}` is neither a tool's name nor a glob: those have up to {LONGEST} letters, digits, `-`, `_`, \
         `*` and `?`"
    )]
    Malformed(String),
    /// No tool has this name.
    #[error("no tool is called `{name}`{hint}")]
    Unknown {
        /// The given name.
        name: String,
        /// A suggestion that ends the sentence, or an empty text.
        hint: String,
    },
    /// There are too many names and globs.
    #[error("more than {MOST} names and globs")]
    TooMany,
}

/// The setting that excludes a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    by: By,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    ReadOnly,
    NoDelete,
    Toolsets,
    Tools,
    ExcludeTools,
}

impl AccessModes {
    /// Checks that the filter keeps an operation.
    ///
    /// # Errors
    /// Returns an error with the excluding setting if it does not.
    pub fn admit(&self, domain: &str, operation: &Operation) -> Result<(), Withheld> {
        let name = operation.name();
        let chosen = |tools: &Tools| tools.0.contains(name);
        let mode = if self.read_only && !operation.hints().read_only {
            Mode::ReadOnly
        } else if self.no_delete && operation.effect() == Effect::Delete {
            Mode::NoDelete
        } else if self
            .toolsets
            .as_ref()
            .is_some_and(|toolsets| !toolsets.allows(domain))
        {
            Mode::Toolsets
        } else if self.tools.as_ref().is_some_and(|tools| !chosen(tools)) {
            Mode::Tools
        } else if self.excluded.as_ref().is_some_and(chosen) {
            Mode::ExcludeTools
        } else {
            return Ok(());
        };
        Err(Withheld::Mode {
            tool: name,
            setting: Setting { by: self.by, mode },
        })
    }
}

impl Tools {
    /// Selects operations by names, aliases and globs, with hyphens or underscores.
    ///
    /// # Errors
    /// Returns an error if a pattern is malformed or matches no operation.
    pub fn named<'a>(
        given: impl IntoIterator<Item = &'a str>,
        known: impl Iterator<Item = &'static Operation> + Clone,
    ) -> Result<Self, NoChoice> {
        let mut chosen = BTreeSet::new();
        for (count, given) in given.into_iter().enumerate() {
            if count >= MOST {
                return Err(NoChoice::TooMany);
            }
            let is_one_of_them = matcher(given)?;
            let meant = known.clone().filter(|operation| {
                is_one_of_them(operation.name())
                    || operation
                        .alias_names()
                        .iter()
                        .any(|name| is_one_of_them(name))
            });
            let mut is_known = false;
            chosen.extend(meant.map(Operation::name).inspect(|_| is_known = true));
            if !is_known {
                let hint = suggest_tools(given, known.clone());
                return Err(NoChoice::Unknown {
                    name: given.to_owned(),
                    hint,
                });
            }
        }
        Ok(Self(chosen))
    }
}

/// Builds a predicate that matches names equal to a given name or covered by a given glob.
fn matcher(given: &str) -> Result<impl Fn(&str) -> bool, NoChoice> {
    let usual = |c: char| c.is_ascii_alphanumeric() || "-_*?".contains(c);
    let malformed = || NoChoice::Malformed(given.chars().take(LONGEST).collect());
    if !(1..=LONGEST).contains(&given.len()) || !given.chars().all(usual) {
        return Err(malformed());
    }
    let name = given.replace('_', "-");
    let glob = match name.contains(['*', '?']) {
        true => Some(
            GlobBuilder::new(&name)
                .build()
                .map_err(|_| malformed())?
                .compile_matcher(),
        ),
        false => None,
    };
    Ok(move |known: &str| {
        let known = known.replace('_', "-");
        glob.as_ref()
            .map_or(name == known, |glob| glob.is_match(&known))
    })
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, mode } = self;
        let name = match (by, mode) {
            (By::Request, Mode::ReadOnly) => {
                "the request's path or its header `X-Portkey-MCP-Readonly`"
            }
            (By::Request, Mode::Toolsets) => {
                "the request's path or its header `X-Portkey-MCP-Toolsets`"
            }
            (By::Request, Mode::Tools) => "the request's header `X-Portkey-MCP-Tools`",
            (_, Mode::ReadOnly) => "`--read-only`",
            (_, Mode::NoDelete) => "`--no-delete`",
            (_, Mode::Toolsets) => "`--toolsets`",
            (_, Mode::Tools) => "`--tools`",
            (_, Mode::ExcludeTools) => "`--exclude-tools`",
        };
        let does = match mode {
            Mode::ReadOnly => "leaves only tools that read",
            Mode::NoDelete => "leaves no tools that delete",
            Mode::Toolsets => "does not name its toolset",
            Mode::Tools => "does not name it",
            Mode::ExcludeTools => "names it",
        };
        write!(f, "{name} {does}")
    }
}

//! Tool filters of the operator and of requests. Each filter only restricts, and none can permit a
//! tool that another excludes.

use std::{collections::BTreeSet, fmt};

use globset::GlobBuilder;
use portkey_api::catalog::suggest_tools;
use portkey_operation::{Effect, Operation};

use super::{AccessDenied, Toolsets};
/// Maximum number of names and globs in one selection.
const MAX_PATTERNS: usize = 64;

/// Maximum length of a name or glob, in bytes.
const MAX_PATTERN_BYTES: usize = 100;

/// Source of a tool filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FilterSource {
    /// The operator's options.
    #[default]
    Operator,
    /// The path and headers of an HTTP request.
    Request,
}

/// A tool filter. The default excludes nothing.
#[derive(Clone, Debug, Default)]
pub struct ToolFilter {
    /// Source of the filter.
    pub source: FilterSource,
    /// Keeps only tools with the read-only hint.
    pub read_only: bool,
    /// Excludes tools that delete.
    pub no_delete: bool,
    /// Keeps only these domains.
    pub toolsets: Option<Toolsets>,
    /// Keeps only these tools.
    pub tools: Option<ToolSelection>,
    /// Excludes these tools.
    pub excluded_tools: Option<ToolSelection>,
}

/// A selection of tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolSelection(BTreeSet<&'static str>);

/// Reason why a text selects no tools.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToolPattern {
    /// The text is neither a name nor a glob.
    #[error(
        "`{0}` is neither a tool's name nor a glob: those have up to {MAX_PATTERN_BYTES} letters, digits, `-`, `_`, \
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
    #[error("more than {MAX_PATTERNS} names and globs")]
    TooMany,
}

/// The setting that excludes a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterSetting {
    source: FilterSource,
    mode: FilterMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FilterMode {
    ReadOnly,
    NoDelete,
    Toolsets,
    Tools,
    ExcludeTools,
}

impl ToolFilter {
    /// Checks that the filter keeps an operation.
    ///
    /// # Errors
    /// Returns an error with the excluding setting if it does not.
    pub fn check(&self, domain: &str, operation: &Operation) -> Result<(), AccessDenied> {
        let name = operation.name();
        let chosen = |tools: &ToolSelection| tools.0.contains(name);
        let mode = if self.read_only && !operation.hints().read_only {
            FilterMode::ReadOnly
        } else if self.no_delete && operation.effect() == Effect::Delete {
            FilterMode::NoDelete
        } else if self
            .toolsets
            .as_ref()
            .is_some_and(|toolsets| !toolsets.allows(domain))
        {
            FilterMode::Toolsets
        } else if self.tools.as_ref().is_some_and(|tools| !chosen(tools)) {
            FilterMode::Tools
        } else if self.excluded_tools.as_ref().is_some_and(chosen) {
            FilterMode::ExcludeTools
        } else {
            return Ok(());
        };
        Err(AccessDenied::Filtered {
            tool: name,
            setting: FilterSetting {
                source: self.source,
                mode,
            },
        })
    }
}

impl ToolSelection {
    /// Selects operations by names, aliases and globs, with hyphens or underscores.
    ///
    /// # Errors
    /// Returns an error if a pattern is malformed or matches no operation.
    pub fn from_patterns<'a>(
        given: impl IntoIterator<Item = &'a str>,
        known: impl Iterator<Item = &'static Operation> + Clone,
    ) -> Result<Self, InvalidToolPattern> {
        let mut chosen = BTreeSet::new();
        for (count, given) in given.into_iter().enumerate() {
            if count >= MAX_PATTERNS {
                return Err(InvalidToolPattern::TooMany);
            }
            let is_one_of_them = build_matcher(given)?;
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
                return Err(InvalidToolPattern::Unknown {
                    name: given.to_owned(),
                    hint,
                });
            }
        }
        Ok(Self(chosen))
    }
}

/// Builds a predicate that matches names equal to a given name or covered by a given glob.
fn build_matcher(given: &str) -> Result<impl Fn(&str) -> bool, InvalidToolPattern> {
    let usual = |c: char| c.is_ascii_alphanumeric() || "-_*?".contains(c);
    let malformed =
        || InvalidToolPattern::Malformed(given.chars().take(MAX_PATTERN_BYTES).collect());
    if !(1..=MAX_PATTERN_BYTES).contains(&given.len()) || !given.chars().all(usual) {
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

impl fmt::Display for FilterSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source: by, mode } = self;
        let name = match (by, mode) {
            (FilterSource::Request, FilterMode::ReadOnly) => {
                "the request's path or its header `X-Portkey-MCP-Readonly`"
            }
            (FilterSource::Request, FilterMode::Toolsets) => {
                "the request's path or its header `X-Portkey-MCP-Toolsets`"
            }
            (FilterSource::Request, FilterMode::Tools) => {
                "the request's header `X-Portkey-MCP-Tools`"
            }
            (_, FilterMode::ReadOnly) => "`--read-only`",
            (_, FilterMode::NoDelete) => "`--no-delete`",
            (_, FilterMode::Toolsets) => "`--toolsets`",
            (_, FilterMode::Tools) => "`--tools`",
            (_, FilterMode::ExcludeTools) => "`--exclude-tools`",
        };
        let does = match mode {
            FilterMode::ReadOnly => "leaves only tools that read",
            FilterMode::NoDelete => "leaves no tools that delete",
            FilterMode::Toolsets => "does not name its toolset",
            FilterMode::Tools => "does not name it",
            FilterMode::ExcludeTools => "names it",
        };
        write!(f, "{name} {does}")
    }
}

//! Access modes: what the operator, or a request, leaves on offer. Each narrows, and none can widen what
//! another forbids.

use std::{collections::BTreeSet, fmt};

use globset::GlobBuilder;
use portkey_api::catalog::suggestion;
use portkey_operation::{Effect, Operation};

use super::{Toolsets, Withheld};
/// Bound on the names and globs of one choice.
const MOST: usize = 64;

/// Bound on a name or a glob, in bytes.
const LONGEST: usize = 100;

/// Who narrows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// The operator, by options.
    #[default]
    Operator,
    /// A request over HTTP, by headers.
    Request,
}

/// What is left on offer; everything by default.
#[derive(Clone, Debug, Default)]
pub struct AccessModes {
    /// Who says so.
    pub by: By,
    /// Only tools with the read-only hint.
    pub read_only: bool,
    /// No tools that delete.
    pub no_delete: bool,
    /// Only these domains.
    pub toolsets: Option<Toolsets>,
    /// Only these tools.
    pub tools: Option<Tools>,
    /// None of these tools.
    pub excluded: Option<Tools>,
}

/// A choice of tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools(BTreeSet<&'static str>);

/// Why a text chooses no tools.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoChoice {
    /// It is neither a name nor a glob.
    #[error(
        "`{0}` is neither a tool's name nor a glob: those have up to {LONGEST} letters, digits, `-`, `_`, \
         `*` and `?`"
    )]
    Malformed(String),
    /// No tool is called so.
    #[error("no tool is called `{name}`{hint}")]
    Unknown {
        /// What was given.
        name: String,
        /// A question that ends the sentence, or nothing.
        hint: String,
    },
    /// There are too many names.
    #[error("more than {MOST} names and globs")]
    TooMany,
}

/// A setting that forbids something.
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
    /// Whether an operation is left on offer.
    ///
    /// # Errors
    /// It is not; says which setting forbids it.
    pub fn admit(&self, domain: &str, operation: &Operation) -> Result<(), Withheld> {
        let name = operation.name();
        let chosen = |tools: &Tools| tools.0.contains(name);
        let mode = if self.read_only && !operation.hints().read_only {
            Mode::ReadOnly
        } else if self.no_delete && operation.effects() == Effect::Delete {
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
    /// The operations that names and globs mean, with hyphens or underscores, by any name they answer to.
    ///
    /// # Errors
    /// One of them means none, or could not mean any.
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
                        .other_names()
                        .iter()
                        .any(|name| is_one_of_them(name))
            });
            let mut is_known = false;
            chosen.extend(meant.map(Operation::name).inspect(|_| is_known = true));
            if !is_known {
                let hint = suggestion(given, known.clone());
                return Err(NoChoice::Unknown {
                    name: given.to_owned(),
                    hint,
                });
            }
        }
        Ok(Self(chosen))
    }
}

/// Tells whether a name is the given one, or one that the given glob covers.
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

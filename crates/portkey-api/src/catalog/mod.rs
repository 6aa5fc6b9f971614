//! The catalog: every operation on offer, by name.

mod own_tools;
mod suggestions;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, OnceLock},
};

use portkey_operation::{CompiledOperation, Operation, PathOverlap, Presentation, Upstream};

use crate::domains::{DOMAINS, Domain, GROUPS};

pub use own_tools::{find_own_tool, own_tools};
pub use suggestions::{ParsedToolName, did_you_mean_one_of, suggest_tools};

/// An offered operation and its domain.
#[derive(Debug)]
pub struct CatalogEntry {
    /// The domain of the operation.
    pub domain: &'static Domain,
    /// The declaration of the operation.
    pub operation: &'static Operation,
    presentation: Arc<Presentation>,
    /// The operation is a preview operation, and switched off.
    is_disabled_preview: bool,
    /// Boxed, because most operations are never used.
    compiled: OnceLock<Box<CompiledOperation>>,
}

impl CatalogEntry {
    /// Returns the operation with its schema.
    ///
    /// The schema is built on first use and then kept: clients wait for the server's start, and a
    /// call needs one schema only.
    pub fn compiled(&self) -> &CompiledOperation {
        self.compiled.get_or_init(|| Box::new(self.compile()))
    }

    /// Passes the operation with its schema to a function. A schema that was not built before is
    /// not kept.
    pub fn inspect<R>(&self, look: impl FnOnce(&CompiledOperation) -> R) -> R {
        match self.compiled.get() {
            Some(published) => look(published),
            None => look(&self.compile()),
        }
    }

    fn compile(&self) -> CompiledOperation {
        CompiledOperation::with_presentation(self.operation.clone(), &self.presentation)
            .with_overlaps(find_overlaps)
    }
}

/// Returns the overlaps of an operation's path with the paths of all others, offered or not.
fn find_overlaps(name: &'static str) -> &'static [PathOverlap] {
    static ALL: LazyLock<HashMap<&str, Vec<PathOverlap>>> = LazyLock::new(|| {
        Catalog::operations()
            .map(|operation| {
                let overlaps = PathOverlap::find_all(operation, Catalog::operations());
                (operation.name(), overlaps)
            })
            .filter(|(_, overlaps)| !overlaps.is_empty())
            .collect()
    });
    ALL.get(name).map_or(&[], Vec::as_slice)
}

/// The catalog of offered operations, in the order of names.
#[derive(Debug)]
pub struct Catalog {
    entries: Vec<CatalogEntry>,
    by_name: HashMap<&'static str, usize>,
    presentation: Arc<Presentation>,
    disabled_upstream: Option<Upstream>,
}

/// The reason why a name does not lead to a tool.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToolLookupError {
    /// No tool has that name. The error suggests a similar one.
    #[error("there is no tool `{name}`{hint}")]
    NotFound {
        /// The name, cut if it is long.
        name: String,
        /// A question that ends the sentence, or nothing.
        hint: String,
    },
    /// The tool is one of the server itself.
    #[error("`{name}` is {what} and no operation; call it by its own name")]
    NoOperation {
        /// The name of the tool.
        name: &'static str,
        /// Its kind, such as `a workflow`.
        what: &'static str,
    },
    /// The tool exists and is disabled.
    #[error(
        "`{name}` is switched off, because no {upstream} API key is configured. Two ways out: start the \
         server with {key} set, or with --sandbox to work on the embedded sandbox",
        key = .upstream.key_settings()
    )]
    Disabled {
        /// The name of the tool.
        name: &'static str,
        /// The upstream whose key is missing.
        upstream: Upstream,
    },
    /// The tool is a preview operation, and these are off.
    #[error(
        "`{name}` is a preview operation, which Portkey has not documented, and is switched off. Start the server \
         with --preview to offer it"
    )]
    PreviewDisabled {
        /// The name of the tool.
        name: &'static str,
    },
}

impl Catalog {
    /// Creates the catalog of all operations in the default presentation.
    pub fn full() -> Self {
        Self::with_presentation(Presentation::default())
    }

    /// Creates the catalog of all operations in the operator's presentation.
    pub fn with_presentation(presentation: Presentation) -> Self {
        let presentation = Arc::new(presentation);
        let entry = |domain, operation| CatalogEntry {
            domain,
            operation,
            presentation: presentation.clone(),
            is_disabled_preview: false,
            compiled: OnceLock::new(),
        };
        let mut entries: Vec<_> = DOMAINS
            .iter()
            .flat_map(|domain| {
                domain
                    .operations
                    .iter()
                    .map(move |operation| (domain, operation))
            })
            .map(|(domain, operation)| entry(domain, operation))
            .collect();
        entries.sort_by_key(|entry| entry.operation.name());
        let mut by_name = HashMap::new();
        for (i, entry) in entries.iter().enumerate() {
            let operation = entry.operation;
            by_name.insert(operation.name(), i);
            by_name.extend(operation.alias_names().iter().map(|name| (*name, i)));
        }
        Self {
            entries,
            by_name,
            presentation,
            disabled_upstream: None,
        }
    }

    /// Returns the presentation of the operations.
    pub fn presentation(&self) -> &Presentation {
        &self.presentation
    }

    /// Disables the operations of an upstream: they are not listed, and calls of them are rejected.
    pub fn without_upstream(self, upstream: Upstream) -> Self {
        Self {
            disabled_upstream: Some(upstream),
            ..self
        }
    }

    /// Disables the preview operations that `keeps` does not name, as [`Self::without_upstream`] does.
    pub fn without_previews(mut self, keeps: impl Fn(&Domain, &Operation) -> bool) -> Self {
        for entry in &mut self.entries {
            entry.is_disabled_preview =
                !entry.operation.is_stable() && !keeps(entry.domain, entry.operation);
        }
        self
    }

    /// Enables the operations of all upstreams.
    pub fn with_all_upstreams(self) -> Self {
        Self {
            disabled_upstream: None,
            ..self
        }
    }

    /// Finds the operation of a name, which may be an alias or written with underscores.
    ///
    /// # Errors
    /// Returns an error if there is no such operation, or if it is disabled.
    pub fn find(&self, name: &str) -> Result<&CatalogEntry, ToolLookupError> {
        let found = match self.by_name.get(name) {
            None if name.contains('_') => self.by_name.get(name.replace('_', "-").as_str()),
            found => found,
        };
        let found = found.and_then(|i| self.entries.get(*i)).ok_or_else(|| {
            if let Some((name, what)) = find_own_tool(name) {
                return ToolLookupError::NoOperation { name, what };
            }
            let hint = suggest_tools(name, self.iter().map(|entry| entry.operation));
            ToolLookupError::NotFound {
                name: name.chars().take(100).collect(),
                hint,
            }
        })?;
        if found.is_disabled_preview {
            return Err(ToolLookupError::PreviewDisabled {
                name: found.operation.name(),
            });
        }
        match found.operation.base().upstream() {
            upstream if self.disabled_upstream == Some(upstream) => {
                Err(ToolLookupError::Disabled {
                    name: found.operation.name(),
                    upstream,
                })
            }
            _ => Ok(found),
        }
    }

    /// Iterates over the enabled operations, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = &CatalogEntry> + Clone {
        self.entries.iter().filter(|entry| {
            self.disabled_upstream != Some(entry.operation.base().upstream())
                && !entry.is_disabled_preview
        })
    }

    /// Iterates over all operations, enabled or not, in no order.
    pub fn operations() -> impl Iterator<Item = &'static Operation> + Clone {
        DOMAINS.iter().flat_map(|domain| domain.operations)
    }

    /// Returns the groups of domains, each with its name and its domains.
    pub fn groups() -> &'static [(&'static str, Vec<&'static str>)] {
        static ALL: LazyLock<Vec<(&str, Vec<&str>)>> = LazyLock::new(|| {
            let members = |group| {
                let named = DOMAINS
                    .iter()
                    .filter(move |domain| domain.groups.contains(group));
                named.map(|domain| domain.name).collect()
            };
            GROUPS
                .iter()
                .map(|group| (*group, members(group)))
                .collect()
        });
        &ALL
    }

    /// Returns the names of the domains, each once, in order.
    pub fn domains() -> Vec<&'static str> {
        DOMAINS.iter().map(|domain| domain.name).collect()
    }
}

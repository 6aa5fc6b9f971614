//! The operations this deployment offers, by name.

mod suggest;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use portkey_operation::{Operation, Presentation, Published, Upstream};

use crate::domains::{DOMAINS, Domain, GROUPS};

pub use suggest::{Guess, did_you_mean_one_of, suggestion};

/// One offered operation and the domain it belongs to.
#[derive(Debug)]
pub struct Entry {
    /// The domain.
    pub domain: &'static Domain,
    /// The declaration.
    pub operation: &'static Operation,
    presentation: Arc<Presentation>,
    /// Boxed, because most are never asked for.
    published: OnceLock<Box<Published>>,
}

impl Entry {
    /// The operation with its schema, which is built when it is first asked for and then kept: a client
    /// waits for the start, and a call needs one schema of all.
    pub fn published(&self) -> &Published {
        self.published.get_or_init(|| Box::new(self.publish()))
    }

    /// Has a look at the operation with its schema; one that nobody has asked for before is not kept.
    pub fn glance<R>(&self, look: impl FnOnce(&Published) -> R) -> R {
        match self.published.get() {
            Some(published) => look(published),
            None => look(&self.publish()),
        }
    }

    fn publish(&self) -> Published {
        Published::presented(self.operation.clone(), &self.presentation)
    }
}

/// Every offered operation, in the order of names.
#[derive(Debug)]
pub struct Catalog {
    entries: Vec<Entry>,
    by_name: HashMap<&'static str, usize>,
    presentation: Arc<Presentation>,
    off: Option<Upstream>,
}

/// Why a name leads to no tool.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownTool {
    /// There is none of that name; says which one is near.
    #[error("there is no tool `{name}`{hint}")]
    Nowhere {
        /// The name, or the beginning of a long one.
        name: String,
        /// A question that ends the sentence, or nothing.
        hint: String,
    },
    /// There is one, and it is switched off.
    #[error(
        "`{name}` is switched off, because no {upstream} API key is configured. Two ways out: start the \
         server with {key} set, or with --sandbox to work on the embedded sandbox",
        key = .upstream.key_settings()
    )]
    Off {
        /// The tool's name.
        name: &'static str,
        /// Whose key it takes.
        upstream: Upstream,
    },
}

impl Catalog {
    /// The catalog of everything.
    pub fn full() -> Self {
        Self::presented(Presentation::default())
    }

    /// The same as an operator wants it presented.
    pub fn presented(presentation: Presentation) -> Self {
        let presentation = Arc::new(presentation);
        let entry = |domain, operation| Entry {
            domain,
            operation,
            presentation: presentation.clone(),
            published: OnceLock::new(),
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
            by_name.extend(operation.other_names().iter().map(|name| (*name, i)));
        }
        Self {
            entries,
            by_name,
            presentation,
            off: None,
        }
    }

    /// How the operations are shown.
    pub fn presentation(&self) -> &Presentation {
        &self.presentation
    }

    /// The same with an upstream's operations switched off: not listed, and a call of one is rejected.
    pub fn without(self, upstream: Upstream) -> Self {
        Self {
            off: Some(upstream),
            ..self
        }
    }

    /// The same with nothing switched off.
    pub fn whole(self) -> Self {
        Self { off: None, ..self }
    }

    /// The operation that answers to the name, which may be an alias or written with underscores.
    ///
    /// # Errors
    /// There is none, or it is switched off.
    pub fn find(&self, name: &str) -> Result<&Entry, UnknownTool> {
        let found = match self.by_name.get(name) {
            None if name.contains('_') => self.by_name.get(name.replace('_', "-").as_str()),
            found => found,
        };
        let found = found.and_then(|i| self.entries.get(*i)).ok_or_else(|| {
            let hint = suggestion(name, self.iter().map(|entry| entry.operation));
            UnknownTool::Nowhere {
                name: name.chars().take(100).collect(),
                hint,
            }
        })?;
        match found.operation.base().upstream() {
            upstream if self.off == Some(upstream) => Err(UnknownTool::Off {
                name: found.operation.name(),
                upstream,
            }),
            _ => Ok(found),
        }
    }

    /// Every operation, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.entries
            .iter()
            .filter(|entry| self.off != Some(entry.operation.base().upstream()))
    }

    /// Every operation there is, on offer or not, in no order.
    pub fn operations() -> impl Iterator<Item = &'static Operation> + Clone {
        DOMAINS.iter().flat_map(|domain| domain.operations)
    }

    /// The groups of domains, each with its name.
    pub const fn groups() -> &'static [(&'static str, &'static [&'static str])] {
        GROUPS
    }

    /// The names of the domains, each once, in order.
    pub fn domains() -> Vec<&'static str> {
        DOMAINS.iter().map(|domain| domain.name).collect()
    }
}

//! Resolves the names and globs in a policy to operations.

use std::collections::HashMap;

use globset::{GlobBuilder, GlobMatcher};

use crate::document::{OperationFilter, RawEffect};
use portkey_api::catalog::{Catalog, find_own_tool, suggest_tools};
use portkey_operation::did_you_mean;

/// Maximum length of a name or a glob, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 200;

/// An operation with the properties that policies match on.
pub(super) struct OperationEntry {
    pub(super) name: &'static str,
    domain: &'static str,
    effect: portkey_operation::Effect,
}

/// All operations, and warnings about names that match none of them.
pub(super) struct Selection {
    pub(super) entries: Vec<OperationEntry>,
    by_name: HashMap<&'static str, usize>,
    pub(super) warnings: Vec<String>,
}

impl Selection {
    pub(super) fn from_catalog(catalog: &Catalog) -> Self {
        let mut entries = Vec::new();
        let mut by_name = HashMap::new();
        for entry in catalog.iter() {
            let operation = entry.operation;
            by_name.insert(operation.name(), entries.len());
            by_name.extend(
                operation
                    .alias_names()
                    .iter()
                    .map(|name| (*name, entries.len())),
            );
            let domain = entry.domain.name;
            let name = operation.name();
            entries.push(OperationEntry {
                name,
                domain,
                effect: operation.effect(),
            });
        }
        Self {
            entries,
            by_name,
            warnings: Vec::new(),
        }
    }

    pub(super) fn all(&self) -> Vec<usize> {
        (0..self.entries.len()).collect()
    }

    /// Returns the tool's own name for an alias, and any other name in kebab case.
    pub(super) fn canonical_name(&self, name: &str) -> String {
        let name = to_kebab_case(name);
        let known = self
            .by_name
            .get(name.as_str())
            .and_then(|index| self.entries.get(*index));
        known.map_or(name, |entry| entry.name.to_owned())
    }

    /// Returns the own name of a tool.
    ///
    /// # Errors
    /// Returns an error if no tool has the name: a rule about its calls would never apply.
    pub(super) fn find(&self, name: &str) -> Result<&'static str, String> {
        let kebab = to_kebab_case(name);
        let index = self.by_name.get(kebab.as_str());
        let entry = index.and_then(|index| self.entries.get(*index));
        entry.map(|entry| entry.name).ok_or_else(|| {
            if is_glob(name) {
                return format!("`{name}` is a glob, and takes the name of one tool here");
            }
            if let Some((name, what)) = find_own_tool(&kebab) {
                return format!("`{name}` is {what}, and only calls of operations are in order");
            }
            let hint = suggest_tools(&kebab, Catalog::operations());
            format!("no tool of this server is called `{name}`{hint}")
        })
    }

    /// Returns the operations that a name or a glob matches. No match is a warning, not an error: a
    /// policy may also name tools of other servers.
    pub(super) fn resolve(&mut self, given: &str, at: &str) -> Result<Vec<usize>, String> {
        if given.trim().is_empty() || given.len() > MAX_NAME_BYTES {
            return Err(format!(
                "{at}: a name has between 1 and {MAX_NAME_BYTES} characters"
            ));
        }
        let name = to_kebab_case(given);
        let found = if is_glob(given) {
            let glob = GlobBuilder::new(&name).build();
            let glob = glob.map_err(|error| format!("{at}: `{given}` is no glob: {error}"))?;
            let glob = glob.compile_matcher();
            let names = self.entries.iter().enumerate();
            names
                .filter(|(_, entry)| glob.is_match(entry.name))
                .map(|(index, _)| index)
                .collect()
        } else {
            self.by_name
                .get(name.as_str())
                .map_or_else(Vec::new, |index| vec![*index])
        };
        if found.is_empty() {
            let own = find_own_tool(&name).filter(|_| !is_glob(given));
            self.warnings.push(match own {
                Some((name, what)) => format!(
                    "{at}: `{name}` is {what}, and rules are about operations; name those that it calls"
                ),
                None => {
                    let hint = match is_glob(given) {
                        true => String::new(),
                        false => suggest_tools(&name, Catalog::operations()),
                    };
                    format!("{at}: no tool of this server is called `{given}`{hint}")
                }
            });
        }
        Ok(found)
    }

    /// Returns the given operations that the `match` of a rule selects.
    pub(super) fn filter(
        &mut self,
        among: &[usize],
        matches: &OperationFilter,
        at: &str,
    ) -> Result<Vec<usize>, String> {
        if matches.has_items_only() {
            return Ok(Vec::new());
        }
        let mut named = matches.tools.as_ref().map(|_| Vec::new());
        for name in matches.tools.iter().flatten() {
            let found = self.resolve(name, at)?;
            named
                .iter_mut()
                .for_each(|named: &mut Vec<usize>| named.extend(found.iter().copied()));
        }
        let domains = || self.entries.iter().map(|entry| entry.domain);
        for domain in matches.domains.iter().flatten() {
            if !domains().any(|known| known == domain) {
                let hint = did_you_mean(domain, domains());
                return Err(format!("{at}: there is no domain `{domain}`{hint}"));
            }
        }
        let fits = |index: &&usize| {
            let Some(entry) = self.entries.get(**index) else {
                return false;
            };
            let named = named.as_ref().is_none_or(|named| named.contains(index));
            let domain = matches.domains.as_ref();
            let domain = domain.is_none_or(|all| all.iter().any(|one| one == entry.domain));
            let effect = matches.effects.as_ref();
            let effect =
                effect.is_none_or(|all| all.iter().any(|one| is_same_effect(*one, entry.effect)));
            named && domain && effect
        };
        Ok(among.iter().filter(fits).copied().collect())
    }
}

fn is_same_effect(written: RawEffect, effect: portkey_operation::Effect) -> bool {
    use portkey_operation::Effect as Is;
    matches!(
        (written, effect),
        (RawEffect::Read, Is::Read)
            | (RawEffect::Create, Is::Create)
            | (RawEffect::Update, Is::Update)
            | (RawEffect::Delete, Is::Delete)
    )
}

/// Compiles the pattern of a prompt's name or a resource's URI.
pub(super) fn compile_glob(text: &str) -> Result<GlobMatcher, String> {
    if text.trim().is_empty() || text.len() > MAX_NAME_BYTES {
        return Err(format!(
            "a pattern has between 1 and {MAX_NAME_BYTES} characters"
        ));
    }
    let glob = GlobBuilder::new(text).build();
    let glob = glob.map_err(|error| format!("`{text}` is no glob: {error}"))?;
    Ok(glob.compile_matcher())
}

pub(super) fn is_glob(name: &str) -> bool {
    name.contains(['*', '?', '[', '{'])
}

/// Tool names have hyphens; policies written for other servers have underscores.
pub(super) fn to_kebab_case(name: &str) -> String {
    name.replace('_', "-")
}

//! Toolsets: the domains of tools that a caller sees.

use std::collections::BTreeSet;

use portkey_api::catalog::Catalog;
use portkey_operation::did_you_mean;

/// A selection of domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolsets(Option<BTreeSet<&'static str>>);

/// Error for a name that is neither a domain nor a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no toolset `{name}`{hint}")]
pub struct UnknownToolset {
    name: String,
    hint: String,
}

impl Toolsets {
    /// Selects all domains, including future ones.
    pub const fn all() -> Self {
        Self(None)
    }

    /// Selects known domains by name, where a name may be that of a group.
    ///
    /// # Errors
    /// Returns an error with a suggestion if a name is unknown.
    pub fn from_names<'a>(
        names: impl IntoIterator<Item = &'a str>,
        known: &[&'static str],
    ) -> Result<Self, UnknownToolset> {
        let mut named = BTreeSet::new();
        for name in names {
            match Catalog::groups().iter().find(|(group, _)| *group == name) {
                Some((_, domains)) => {
                    named.extend(domains.iter().filter(|one| known.contains(one)))
                }
                None => _ = named.insert(Self::find_domain(name, known)?),
            }
        }
        Ok(Self(Some(named)))
    }

    /// Returns the known domain of this name.
    ///
    /// # Errors
    /// Returns an error with a suggestion if there is none.
    pub fn find_domain(name: &str, known: &[&'static str]) -> Result<&'static str, UnknownToolset> {
        known
            .iter()
            .copied()
            .find(|known| *known == name)
            .ok_or_else(|| {
                let groups = Catalog::groups().iter().map(|(group, _)| *group);
                let hint = did_you_mean(name, known.iter().copied().chain(groups));
                UnknownToolset {
                    name: name.to_owned(),
                    hint,
                }
            })
    }

    /// Returns the domains in both selections.
    pub fn intersect(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(one), Some(other)) => Self(Some(&one & &other)),
            (one, other) => Self(one.or(other)),
        }
    }

    /// Returns true if the domain is selected.
    pub fn allows(&self, domain: &str) -> bool {
        self.0.as_ref().is_none_or(|named| named.contains(domain))
    }

    /// Returns true if all domains are selected.
    pub const fn is_all(&self) -> bool {
        self.0.is_none()
    }
}

//! Which domains of tools a caller sees.

use std::collections::BTreeSet;

use portkey_api::catalog::Catalog;
use portkey_operation::did_you_mean;

/// A choice of domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolsets(Option<BTreeSet<&'static str>>);

/// A name that is no domain's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no toolset `{name}`{hint}")]
pub struct UnknownToolset {
    name: String,
    hint: String,
}

impl Toolsets {
    /// All domains, those to come included.
    pub const fn all() -> Self {
        Self(None)
    }

    /// The named ones among the known ones, where a name may stand for a group of some.
    ///
    /// # Errors
    /// A name is not known; says which one is near.
    pub fn named<'a>(
        names: impl IntoIterator<Item = &'a str>,
        known: &[&'static str],
    ) -> Result<Self, UnknownToolset> {
        let mut named = BTreeSet::new();
        for name in names {
            match Catalog::groups().iter().find(|(group, _)| *group == name) {
                Some((_, domains)) => {
                    named.extend(domains.iter().filter(|one| known.contains(one)))
                }
                None => _ = named.insert(Self::domain(name, known)?),
            }
        }
        Ok(Self(Some(named)))
    }

    /// The known domain of this name.
    ///
    /// # Errors
    /// There is none; says which one is near.
    pub fn domain(name: &str, known: &[&'static str]) -> Result<&'static str, UnknownToolset> {
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

    /// What is in both.
    pub fn and(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(one), Some(other)) => Self(Some(&one & &other)),
            (one, other) => Self(one.or(other)),
        }
    }

    /// Whether the domain is among them.
    pub fn allows(&self, domain: &str) -> bool {
        self.0.as_ref().is_none_or(|named| named.contains(domain))
    }

    /// Whether nothing is left out.
    pub const fn is_all(&self) -> bool {
        self.0.is_none()
    }
}

//! Which domains of tools a caller sees.

use std::collections::BTreeSet;

use crate::operation::did_you_mean;

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

    /// The named ones among the known ones.
    ///
    /// # Errors
    /// A name is not known; says which one is near.
    pub fn named<'a>(
        names: impl IntoIterator<Item = &'a str>,
        known: &[&'static str],
    ) -> Result<Self, UnknownToolset> {
        let find = |name: &str| {
            known.iter().copied().find(|known| *known == name).ok_or_else(|| UnknownToolset {
                name: name.to_owned(),
                hint: did_you_mean(name, known.iter().copied()),
            })
        };
        let found: Result<_, _> = names.into_iter().map(find).collect();
        Ok(Self(Some(found?)))
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

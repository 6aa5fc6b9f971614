//! Scopes: permission to read, write or delete, in all domains or in one.

use std::{collections::BTreeSet, fmt, str::FromStr};

use portkey_operation::Effect;

/// Kind of access that a scope permits. No kind includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScopeAccess {
    /// Reading.
    Read,
    /// Creating and updating.
    Write,
    /// Deleting.
    Delete,
}

impl ScopeAccess {
    /// All kinds of access.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Delete];

    /// Returns the access that an operation with this effect requires.
    pub const fn from_effect(effect: Effect) -> Self {
        match effect {
            Effect::Read => Self::Read,
            Effect::Create | Effect::Update => Self::Write,
            Effect::Delete => Self::Delete,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
        }
    }
}

/// A scope: `portkey:read` for all domains, `portkey:prompts:read` for one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    access: ScopeAccess,
    domain: Option<String>,
}

/// Error for a text that is not a scope of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no scope; scopes are such as portkey:read, portkey:write or portkey:prompts:delete")]
pub struct InvalidScope;

impl Scope {
    /// Creates a scope for all domains.
    pub const fn for_all_domains(access: ScopeAccess) -> Self {
        Self {
            access,
            domain: None,
        }
    }

    /// Creates a scope for one domain.
    pub fn for_domain(domain: &str, access: ScopeAccess) -> Self {
        Self {
            access,
            domain: Some(domain.to_owned()),
        }
    }

    /// Returns the domain of the scope, or `None` if it covers all domains.
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.domain {
            None => write!(f, "portkey:{}", self.access.as_str()),
            Some(domain) => write!(f, "portkey:{domain}:{}", self.access.as_str()),
        }
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let rest = text.strip_prefix("portkey:").ok_or(InvalidScope)?;
        let (domain, word) = match rest.split_once(':') {
            Some((domain, word)) => (Some(domain), word),
            None => (None, rest),
        };
        let access = ScopeAccess::ALL
            .into_iter()
            .find(|access| access.as_str() == word);
        match (access, domain) {
            (Some(access), Some(domain)) if !domain.is_empty() => {
                Ok(Self::for_domain(domain, access))
            }
            (Some(access), None) => Ok(Self::for_all_domains(access)),
            _ => Err(InvalidScope),
        }
    }
}

/// The scopes of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Returns scopes that permit everything.
    pub fn all() -> Self {
        Self(
            ScopeAccess::ALL
                .into_iter()
                .map(Scope::for_all_domains)
                .collect(),
        )
    }

    /// Parses the scopes of this server among a token's scopes. Scopes of other services are
    /// ignored.
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        Self(
            words
                .into_iter()
                .filter_map(|word| word.parse().ok())
                .collect(),
        )
    }

    /// Returns true if everything is permitted.
    pub fn is_all(&self) -> bool {
        ScopeAccess::ALL
            .into_iter()
            .all(|access| self.0.contains(&Scope::for_all_domains(access)))
    }

    /// Returns true if this access to this domain is permitted.
    pub fn allows(&self, domain: &str, access: ScopeAccess) -> bool {
        self.0
            .iter()
            .any(|scope| scope.access == access && scope.domain().is_none_or(|of| of == domain))
    }

    /// Returns the scopes that both sets permit.
    pub fn intersect(&self, bound: &Self) -> Self {
        let narrowed = |one: &Self, other: &Self| {
            let allowed = |scope: &&Scope| match scope.domain() {
                Some(domain) => other.allows(domain, scope.access),
                None => other.0.contains(scope),
            };
            one.0
                .iter()
                .filter(allowed)
                .cloned()
                .collect::<BTreeSet<_>>()
        };
        let mut both = narrowed(self, bound);
        both.extend(narrowed(bound, self));
        Self(both)
    }

    /// Iterates over the scopes.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

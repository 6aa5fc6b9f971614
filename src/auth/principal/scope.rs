//! What a caller may do: reading, writing and deleting, everywhere or in one domain.

use std::{collections::BTreeSet, fmt, str::FromStr};

use portkey_operation::Effect;

/// What a scope permits. None includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Looking.
    Read,
    /// Adding and changing.
    Write,
    /// Taking away.
    Delete,
}

impl Access {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Delete];

    /// What an operation of this effect needs.
    pub const fn of(effect: Effect) -> Self {
        match effect {
            Effect::Read => Self::Read,
            Effect::Create | Effect::Update => Self::Write,
            Effect::Delete => Self::Delete,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
        }
    }
}

/// One scope: `portkey:read` for all domains, `portkey:prompts:read` for one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    access: Access,
    domain: Option<String>,
}

/// The text is no scope of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no scope; scopes are such as portkey:read, portkey:write or portkey:prompts:delete")]
pub struct NoScope;

impl Scope {
    /// For every domain.
    pub const fn wide(access: Access) -> Self {
        Self {
            access,
            domain: None,
        }
    }

    /// For one domain.
    pub fn of(domain: &str, access: Access) -> Self {
        Self {
            access,
            domain: Some(domain.to_owned()),
        }
    }

    /// The domain it is for; none if for all.
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.domain {
            None => write!(f, "portkey:{}", self.access.word()),
            Some(domain) => write!(f, "portkey:{domain}:{}", self.access.word()),
        }
    }
}

impl FromStr for Scope {
    type Err = NoScope;

    fn from_str(text: &str) -> Result<Self, NoScope> {
        let rest = text.strip_prefix("portkey:").ok_or(NoScope)?;
        let (domain, word) = match rest.split_once(':') {
            Some((domain, word)) => (Some(domain), word),
            None => (None, rest),
        };
        let access = Access::ALL.into_iter().find(|access| access.word() == word);
        match (access, domain) {
            (Some(access), Some(domain)) if !domain.is_empty() => Ok(Self::of(domain, access)),
            (Some(access), None) => Ok(Self::wide(access)),
            _ => Err(NoScope),
        }
    }
}

/// The scopes a caller has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Everything.
    pub fn all() -> Self {
        Self(Access::ALL.into_iter().map(Scope::wide).collect())
    }

    /// Those of a token's scopes that are ours; the others are for somebody else.
    pub fn among<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        Self(
            words
                .into_iter()
                .filter_map(|word| word.parse().ok())
                .collect(),
        )
    }

    /// Whether everything is allowed.
    pub fn is_all(&self) -> bool {
        Access::ALL
            .into_iter()
            .all(|access| self.0.contains(&Scope::wide(access)))
    }

    /// Whether this access to this domain is allowed.
    pub fn allows(&self, domain: &str, access: Access) -> bool {
        self.0
            .iter()
            .any(|scope| scope.access == access && scope.domain().is_none_or(|of| of == domain))
    }

    /// What both allow.
    pub fn and(&self, bound: &Self) -> Self {
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

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

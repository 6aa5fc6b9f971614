//! Who makes a call: all that the rooms behind authentication know of it.

mod credentials;
mod grant;
mod modes;
mod proof;
mod scope;
mod toolsets;

use std::{fmt, net::IpAddr, sync::Arc};

use portkey_operation::{Operation, Upstream};
use portkey_policy::Policy;

pub use credentials::{Credentials, Key, KeyError, KeySource, NoKey, Shape};
pub use grant::Grant;
pub use modes::{AccessModes, By, NoChoice, Setting, Tools};
pub use proof::{KeyStatus, MAX_CHECKS, MAX_PROOFS, PROOF_TTL, Proofs, Prover, Proving, Unproven};
pub use scope::{Access, Scope, Scopes};
pub use toolsets::{Toolsets, UnknownToolset};

/// How a caller proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// It did not have to: it started the process, or reached it over loopback.
    Local,
    /// With a Portkey key of its own.
    Key,
    /// With a token of the operator's token file.
    Token,
    /// With an access token of an authorization server.
    OAuth,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 4] = [Self::Local, Self::Key, Self::Token, Self::OAuth];

    /// The word for it, in logs and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Key => "key",
            Self::Token => "token",
            Self::OAuth => "oauth",
        }
    }
}

/// A caller: who it is, what it may use, and which upstream keys act for it.
///
/// The authentication layer makes one for each request; limits, policy, audit and metrics know nothing
/// else of the caller.
#[derive(Clone, Debug)]
pub struct Principal {
    /// Names the caller in logs and limits, and binds what is handed to it. Holds no secret.
    pub name: Arc<str>,
    /// How it proved who it is.
    pub method: Method,
    /// What it may do.
    pub scopes: Scopes,
    /// Which domains of tools it sees.
    pub toolsets: Toolsets,
    /// The upstream keys that act for it.
    pub credentials: Credentials,
    /// The policy that it is under, beside the server's.
    pub policy: Option<Arc<Policy>>,
    /// What its request leaves of that.
    pub narrowing: Option<Arc<AccessModes>>,
    /// What let it in.
    pub grant: Grant,
    /// The network that its request came from, where the caller may be made up: bounds are then those of the
    /// network.
    pub network: Option<IpAddr>,
}

/// Why a caller may not use an operation that exists.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// A mode of the server or the request forbids it.
    #[error("`{tool}` is not on offer: {setting}")]
    Mode {
        /// The tool's name.
        tool: &'static str,
        /// The setting, and what it does.
        setting: Setting,
    },
    /// Its domain is not among the caller's toolsets.
    #[error(
        "`{tool}` belongs to the toolset `{domain}`, which is not open to `{caller}`. The operator of \
         this server decides that"
    )]
    Toolset {
        /// The tool's name.
        tool: &'static str,
        /// The domain it belongs to.
        domain: &'static str,
        /// Who called.
        caller: Arc<str>,
    },
    /// Nothing can act for the caller there.
    #[error("`{tool}` is switched off, because {why}")]
    NoKey {
        /// The tool's name.
        tool: &'static str,
        /// What is missing, and the ways out.
        why: NoKey,
    },
    /// The caller lacks the scope.
    #[error(
        "`{tool}` needs the scope {needed}, which `{caller}` does not have. Ask for it where the token \
         came from"
    )]
    Scope {
        /// The tool's name.
        tool: &'static str,
        /// Either of the scopes that would do.
        needed: Needed,
        /// Who called.
        caller: Arc<str>,
    },
}

/// The two scopes either of which opens an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// For every domain.
    pub wide: Scope,
    /// For the operation's domain alone.
    pub narrow: Scope,
}

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` or `{}`", self.wide, self.narrow)
    }
}

impl Withheld {
    /// What forbids it, in a word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Mode { .. } => "mode",
            Self::Toolset { .. } => "toolset",
            Self::NoKey { .. } => "key",
            Self::Scope { .. } => "scope",
        }
    }
}

impl Principal {
    /// Whoever runs the process, or may reach it unasked: everything is open that has a key.
    pub fn local(credentials: Credentials) -> Self {
        Self {
            name: "local".into(),
            method: Method::Local,
            scopes: Scopes::all(),
            toolsets: Toolsets::all(),
            credentials,
            policy: None,
            narrowing: None,
            grant: Grant::Standing,
            network: None,
        }
    }

    /// The same, with only what a request leaves on offer.
    pub fn narrowed(&self, modes: AccessModes) -> Self {
        Self {
            narrowing: Some(Arc::new(modes)),
            ..self.clone()
        }
    }

    /// Whether the operation exists for this caller at all: such are listed.
    ///
    /// # Errors
    /// Its request leaves it out, or it belongs to a toolset that is not open, or to an upstream beside
    /// Portkey without a key.
    pub fn sees(&self, domain: &'static str, operation: &Operation) -> Result<(), Withheld> {
        if let Some(modes) = &self.narrowing {
            modes.admit(domain, operation)?;
        }
        if !self.toolsets.allows(domain) {
            let (tool, caller) = (operation.name(), self.name.clone());
            return Err(Withheld::Toolset {
                tool,
                domain,
                caller,
            });
        }
        // Without a Portkey key its tools are listed all the same: a call then says what is missing.
        let upstream = operation.base().upstream();
        if upstream != Upstream::Portkey
            && let Err(why) = self.credentials.key(upstream)
        {
            return Err(Withheld::NoKey {
                tool: operation.name(),
                why,
            });
        }
        Ok(())
    }

    /// Whether this caller may use the operation.
    ///
    /// # Errors
    /// It does not see it, or lacks the scope. What only lacks a scope is listed all the same, so that a
    /// client can ask for more.
    pub fn may(&self, domain: &'static str, operation: &Operation) -> Result<(), Withheld> {
        self.sees(domain, operation)?;
        let access = Access::of(operation.effects());
        if self.scopes.allows(domain, access) {
            return Ok(());
        }
        let needed = Needed {
            wide: Scope::wide(access),
            narrow: Scope::of(domain, access),
        };
        Err(Withheld::Scope {
            tool: operation.name(),
            needed,
            caller: self.name.clone(),
        })
    }
}

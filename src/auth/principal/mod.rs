//! The caller of a request, as all layers above authentication see it.

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
pub use proof::{
    KNOWN_TTL, KeyStatus, MAX_CHECKS, MAX_PROOFS, PROOF_TTL, Proofs, Prover, Proving, Unproven,
};
pub use scope::{Access, Scope, Scopes};
pub use toolsets::{Toolsets, UnknownToolset};

/// Method by which a caller authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// No authentication: the caller started the process or connected over loopback.
    Local,
    /// Authentication by the caller's own Portkey key.
    Key,
    /// Authentication by a token of the operator's token file.
    Token,
    /// Authentication by an access token of an authorization server.
    OAuth,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 4] = [Self::Local, Self::Key, Self::Token, Self::OAuth];

    /// Returns the name for logs and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Key => "key",
            Self::Token => "token",
            Self::OAuth => "oauth",
        }
    }
}

/// A caller: its identity, its permissions, and the upstream keys that act for it.
///
/// The authentication layer builds one for each request. Limits, policy, audit and metrics know
/// nothing else about the caller.
#[derive(Clone, Debug)]
pub struct Principal {
    /// Name of the caller in logs and limits. Signed state and secrets for the caller are bound to
    /// it. Contains no secret.
    pub name: Arc<str>,
    /// Method by which the caller authenticated.
    pub method: Method,
    /// Scopes of the caller.
    pub scopes: Scopes,
    /// Toolsets that the caller sees.
    pub toolsets: Toolsets,
    /// Upstream keys that act for the caller.
    pub credentials: Credentials,
    /// Policy that applies to the caller besides the server's.
    pub policy: Option<Arc<Policy>>,
    /// Tool filter of the caller's request.
    pub narrowing: Option<Arc<AccessModes>>,
    /// Basis on which the caller was authenticated.
    pub grant: Grant,
    /// Network of the request, set if the caller may be made up. Limits then apply to the network.
    pub network: Option<IpAddr>,
}

/// Reason why a caller may not use an existing operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// The tool filter of the server or the request excludes the tool.
    #[error("`{tool}` is not on offer: {setting}")]
    Mode {
        /// Name of the tool.
        tool: &'static str,
        /// The setting and its effect.
        setting: Setting,
    },
    /// The tool's domain is not among the caller's toolsets.
    #[error(
        "`{tool}` belongs to the toolset `{domain}`, which is not open to `{caller}`. The operator of \
         this server decides that"
    )]
    Toolset {
        /// Name of the tool.
        tool: &'static str,
        /// Domain of the tool.
        domain: &'static str,
        /// Name of the caller.
        caller: Arc<str>,
    },
    /// The caller has no key for the tool's upstream.
    #[error("`{tool}` is switched off, because {why}")]
    NoKey {
        /// Name of the tool.
        tool: &'static str,
        /// The missing key, and the remedies.
        why: NoKey,
    },
    /// The caller lacks the scope.
    #[error(
        "`{tool}` needs the scope {needed}, which `{caller}` does not have. Ask for it where the token \
         came from"
    )]
    Scope {
        /// Name of the tool.
        tool: &'static str,
        /// Scopes either of which is sufficient.
        needed: Needed,
        /// Name of the caller.
        caller: Arc<str>,
    },
}

/// The two scopes either of which permits an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// Scope for all domains.
    pub wide: Scope,
    /// Scope for the operation's domain only.
    pub narrow: Scope,
}

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` or `{}`", self.wide, self.narrow)
    }
}

impl Withheld {
    /// Returns the name of the reason.
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
    /// Builds the caller for a client without authentication. All tools with an upstream key are
    /// available.
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

    /// Restricts the caller to the tool filter of a request.
    pub fn narrowed(&self, modes: AccessModes) -> Self {
        Self {
            narrowing: Some(Arc::new(modes)),
            ..self.clone()
        }
    }

    /// Checks that the operation is visible to this caller; visible ones are listed.
    ///
    /// # Errors
    /// Returns an error if the request's filter or the caller's toolsets exclude the operation, or
    /// if an upstream other than Portkey has no key.
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
        // Tools of Portkey are listed even without a key: a call then reports the missing key.
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

    /// Checks that this caller may use the operation.
    ///
    /// # Errors
    /// Returns an error if the operation is not visible, or the caller lacks the scope. Operations
    /// that only lack a scope are listed, so that a client can request it.
    pub fn may(&self, domain: &'static str, operation: &Operation) -> Result<(), Withheld> {
        self.sees(domain, operation)?;
        let access = Access::of(operation.effect());
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

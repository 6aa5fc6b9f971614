//! The caller of a request, as all layers above authentication see it.

mod credentials;
mod grant;
mod proof;
mod scope;
mod tool_filter;
mod toolsets;

use std::{fmt, net::IpAddr, sync::Arc};

use portkey_operation::{Operation, Upstream};
use portkey_policy::{CallerClaims, Policy};

pub use credentials::{Credentials, KeyDefect, KeyError, KeySource, MissingKey, UpstreamKey};
pub use grant::Grant;
pub use proof::{
    KEY_PROOF_TTL, KNOWN_TTL, KeyProofs, KeyProver, KeyStatus, MAX_CONCURRENT_CHECKS,
    MAX_KEY_PROOFS, ProofError, ProofFuture,
};
pub use scope::{Scope, ScopeAccess, Scopes};
pub use tool_filter::{FilterSetting, FilterSource, InvalidToolPattern, ToolFilter, ToolSelection};
pub use toolsets::{Toolsets, UnknownToolset};

/// Method by which a caller authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// No authentication: the caller started the process or connected over loopback.
    Local,
    /// Authentication by the caller's own Portkey key.
    Key,
    /// Authentication by a token of the operator's token file.
    Token,
    /// Authentication by an access token of an authorization server.
    OAuth,
}

impl AuthMethod {
    /// All methods.
    pub const ALL: [Self; 4] = [Self::Local, Self::Key, Self::Token, Self::OAuth];

    /// Returns the name for logs and metrics.
    pub const fn as_str(self) -> &'static str {
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
    pub method: AuthMethod,
    /// Scopes of the caller.
    pub scopes: Scopes,
    /// Toolsets that the caller sees.
    pub toolsets: Toolsets,
    /// Upstream keys that act for the caller.
    pub credentials: Credentials,
    /// Policy that applies to the caller besides the server's.
    pub policy: Option<Arc<Policy>>,
    /// Tool filter of the caller's request.
    pub request_filter: Option<Arc<ToolFilter>>,
    /// Basis on which the caller was authenticated.
    pub grant: Grant,
    /// Claims of the caller's access token, which policies read.
    pub claims: CallerClaims,
    /// Network of the request, set if the caller may be made up. Limits then apply to the network.
    pub network: Option<IpAddr>,
}

/// Reason why a caller may not use an existing operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessDenied {
    /// The tool filter of the server or the request excludes the tool.
    #[error("`{tool}` is not on offer: {setting}")]
    Filtered {
        /// Name of the tool.
        tool: &'static str,
        /// The setting and its effect.
        setting: FilterSetting,
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
    MissingKey {
        /// Name of the tool.
        tool: &'static str,
        /// The missing key, and the remedies.
        why: MissingKey,
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
        needed: RequiredScope,
        /// Name of the caller.
        caller: Arc<str>,
    },
}

/// The two scopes either of which permits an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredScope {
    /// Scope for all domains.
    pub for_all_domains: Scope,
    /// Scope for the operation's domain only.
    pub for_domain: Scope,
}

impl fmt::Display for RequiredScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` or `{}`", self.for_all_domains, self.for_domain)
    }
}

impl AccessDenied {
    /// Returns the name of the reason.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Filtered { .. } => "mode",
            Self::Toolset { .. } => "toolset",
            Self::MissingKey { .. } => "key",
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
            method: AuthMethod::Local,
            scopes: Scopes::all(),
            toolsets: Toolsets::all(),
            credentials,
            policy: None,
            request_filter: None,
            grant: Grant::Permanent,
            claims: CallerClaims::default(),
            network: None,
        }
    }

    /// Restricts the caller to the tool filter of a request.
    pub fn with_request_filter(&self, modes: ToolFilter) -> Self {
        Self {
            request_filter: Some(Arc::new(modes)),
            ..self.clone()
        }
    }

    /// Checks that the operation is visible to this caller; visible ones are listed.
    ///
    /// # Errors
    /// Returns an error if the request's filter or the caller's toolsets exclude the operation, or
    /// if an upstream other than Portkey has no key.
    pub fn check_visible(
        &self,
        domain: &'static str,
        operation: &Operation,
    ) -> Result<(), AccessDenied> {
        if let Some(modes) = &self.request_filter {
            modes.check(domain, operation)?;
        }
        if !self.toolsets.allows(domain) {
            let tool = operation.name();
            let caller = self.name.clone();
            return Err(AccessDenied::Toolset {
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
            return Err(AccessDenied::MissingKey {
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
    pub fn authorize(
        &self,
        domain: &'static str,
        operation: &Operation,
    ) -> Result<(), AccessDenied> {
        self.check_visible(domain, operation)?;
        let access = ScopeAccess::from_effect(operation.effect());
        if self.scopes.allows(domain, access) {
            return Ok(());
        }
        let needed = RequiredScope {
            for_all_domains: Scope::for_all_domains(access),
            for_domain: Scope::for_domain(domain, access),
        };
        Err(AccessDenied::Scope {
            tool: operation.name(),
            needed,
            caller: self.name.clone(),
        })
    }
}

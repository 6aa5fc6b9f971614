//! An OAuth 2.1 resource server. It checks access tokens of one authorization server and never passes
//! them on.
//!
//! ```text
//! token ─▶ jwks, jwt      by signature     ─┐
//!          introspection  by introspection ─┴▶ claims ─▶ tenant ─▶ Principal
//! ```

mod approver;
mod circuit_breaker;
mod claims;
mod config;
mod introspection;
mod issuer_client;
mod jwks;
mod jwt;
mod metadata;
mod rejection;
mod secure_url;
mod signature;
mod tenant;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::HeaderValue;
use tracing::debug;

use super::grant::{INTROSPECTED_GRANT_TTL, next_settings_version};
use crate::auth::principal::{Grant, Principal};

use self::{
    approver::ApproverRule,
    claims::{Claims, ExpectedClaims},
    config::TokenCheck,
    introspection::Introspection,
    jwks::Jwks,
    jwt::TokenRules,
    metadata::{ENDPOINT_PATH, ResourceMetadata},
    tenant::Tenant,
};

pub use config::{OAuthConfig, OAuthConfigError};
pub(crate) use introspection::{MAX_CACHE_BYTES, MAX_PENDING};
pub use issuer_client::IssuerClient;
pub use metadata::Challenge;

/// Maximum length of a token in bytes. Longer ones exceed common header limits anyway.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// Rejection of a token. Its text contains nothing from the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OAuthError {
    /// 401: the token is invalid, and another one may be accepted.
    #[error("the access token was not accepted")]
    Invalid(#[from] TokenRejection),
    /// 403: the token is valid, but no tenant matches its bearer.
    #[error(
        "the access token is good, but no key of this server is meant for its bearer. The operator of \
         the server decides which key acts for whom"
    )]
    NoTenant,
    /// 403: the token is valid, but its bearer may not decide about calls.
    #[error(
        "the access token is good, but its bearer lacks the role of [console] in the OAuth file, or a name. The \
         operator of the server decides who may approve"
    )]
    NoApprover,
    /// 503: the authorization server cannot be reached at the moment.
    #[error("access tokens cannot be checked at the moment. Try again in a few seconds")]
    Unavailable,
}

/// Reason why a token was rejected, for logs and tests. Callers get the same message for all
/// reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRejection {
    /// The token is longer than 16 KiB.
    #[error("it is too long")]
    TooLong,
    /// The token is not well-formed.
    #[error("it is malformed")]
    Malformed,
    /// The token's `typ` is not that of an access token.
    #[error("it is no access token")]
    WrongType,
    /// The token has critical header extensions.
    #[error("it has critical extensions")]
    CriticalExtension,
    /// The token's algorithm differs from that of its key, or is not allowed.
    #[error("its algorithm is not that of the key, or not allowed")]
    WrongAlgorithm,
    /// The issuer publishes no key for the token.
    #[error("the issuer publishes no such key")]
    UnknownKey,
    /// The signature does not match the key.
    #[error("its signature does not match")]
    WrongSignature,
    /// A required claim is missing or has the wrong type.
    #[error("it lacks a required claim")]
    MissingClaim,
    /// The token is from another issuer.
    #[error("it is of another issuer")]
    WrongIssuer,
    /// The token is issued for another audience.
    #[error("it is meant for another server")]
    WrongAudience,
    /// The token names no subject.
    #[error("it names no subject")]
    MissingSubject,
    /// The token has expired.
    #[error("it has expired")]
    Expired,
    /// The token is not valid yet.
    #[error("it is not valid yet")]
    NotYetValid,
    /// The issuer reports that the token is not active.
    #[error("the issuer says that it is not active")]
    Inactive,
}

/// An OAuth resource server.
#[derive(Debug)]
pub struct OAuth {
    verifier: Verifier,
    tenants: Vec<Tenant>,
    metadata: ResourceMetadata,
    /// Audiences that are accepted besides the resource.
    audiences: Vec<String>,
    /// People who may decide about calls in the console, if the file names them.
    approvers: Option<ApproverRule>,
    /// Maximum clock difference.
    leeway: Duration,
    /// Number that distinguishes this version of the settings from later ones.
    settings_version: u64,
}

#[derive(Debug)]
enum Verifier {
    Jwt(Jwks),
    Introspection(Box<Introspection>),
}

/// Keys of an issuer that are retained across changes of the settings.
#[derive(Debug, Default)]
pub struct RetainedKeys(Mutex<Option<Jwks>>);

impl OAuth {
    /// Creates a resource server. Nothing is fetched before the first token arrives.
    pub fn new(config: OAuthConfig, http: IssuerClient) -> Self {
        signature::install_crypto_provider();
        let metadata =
            ResourceMetadata::new(config.resource, &config.issuer, config.scopes_supported);
        let issuer = config.issuer.as_str().to_owned();
        let expected = ExpectedClaims {
            issuer,
            leeway: config.leeway_seconds,
        };
        let leeway = Duration::from_secs(config.leeway_seconds);
        let verifier = match config.check {
            TokenCheck::Jwt {
                jwks_url,
                algorithms,
            } => {
                let rules = TokenRules {
                    expected,
                    algorithms,
                };
                Verifier::Jwt(Jwks::new(http, config.issuer, jwks_url, rules))
            }
            TokenCheck::Introspection(endpoint) => {
                let asking = Introspection::new(http, endpoint, expected);
                Verifier::Introspection(Box::new(asking))
            }
        };
        let tenants = config.tenants;
        let audiences = config.audiences;
        let approvers = config.approvers;
        Self {
            verifier,
            tenants,
            metadata,
            audiences,
            approvers,
            leeway,
            settings_version: next_settings_version(),
        }
    }

    /// Reuses the retained keys if they are from the same source, else retains the current ones. A
    /// change of other settings must not cause a new fetch from the issuer.
    #[must_use]
    pub fn with_retained_keys(mut self, known: &RetainedKeys) -> Self {
        let mut known = known.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Verifier::Jwt(jwks) = &mut self.verifier {
            match &*known {
                Some(known) if known.is_same_source(jwks) => *jwks = known.clone(),
                _ => *known = Some(jwks.clone()),
            }
        }
        self
    }

    /// Sets the prefix that precedes all paths of the server.
    pub fn with_path_prefix(self, prefix: &str) -> Self {
        Self {
            metadata: self.metadata.with_prefix(prefix),
            ..self
        }
    }

    /// Verifies a token for the endpoint with all tools and returns its bearer.
    ///
    /// # Errors
    /// Returns an [`OAuthError`] if the token is rejected or cannot be checked.
    pub async fn verify(&self, token: &str) -> Result<Principal, OAuthError> {
        self.verify_for_path(token, ENDPOINT_PATH).await
    }

    /// Verifies a token for the endpoint at `path` and returns its bearer. The token may be issued
    /// for that endpoint alone.
    ///
    /// # Errors
    /// Returns an [`OAuthError`] if the token is rejected or cannot be checked.
    pub async fn verify_for_path(&self, token: &str, path: &str) -> Result<Principal, OAuthError> {
        let outcome = async {
            let claims = self.verify_claims(token).await?;
            let endpoint = self.metadata.resource_at(path);
            // Clients name the resource by the URL they call, including a trailing slash.
            let called = path.ends_with('/').then(|| format!("{endpoint}/"));
            let ours = [self.metadata.resource(), &*endpoint]
                .into_iter()
                .chain(called.as_deref());
            if !claims.has_audience(ours.chain(self.audiences.iter().map(String::as_str))) {
                return Err(TokenRejection::WrongAudience.into());
            }
            let tenant = self.tenants.iter().find(|tenant| tenant.matches(&claims));
            let grant = Grant::OAuth {
                until: self.grant_end(&claims),
                settings: self.settings_version,
            };
            Ok(tenant
                .ok_or(OAuthError::NoTenant)?
                .to_principal(&claims, grant))
        };
        let outcome = outcome.await;
        if let Err(OAuthError::Invalid(reason)) = &outcome {
            debug!(%reason, "a token was not accepted");
        }
        outcome
    }

    /// Returns the metadata document if `path` addresses it (RFC 9728 §3).
    pub fn metadata_document(&self, path: &str) -> Option<Bytes> {
        self.metadata.document_at(path)
    }

    /// Returns the value of `WWW-Authenticate` for a rejected request.
    pub fn challenge(&self, challenge: &Challenge<'_>) -> HeaderValue {
        self.challenge_for_path(challenge, ENDPOINT_PATH)
    }

    /// Returns the value of `WWW-Authenticate` for a rejected request to the endpoint at `path`.
    pub fn challenge_for_path(&self, challenge: &Challenge<'_>, path: &str) -> HeaderValue {
        self.metadata.challenge(challenge, path)
    }

    /// Returns the number that identifies this version of the settings.
    pub(super) const fn settings_version(&self) -> u64 {
        self.settings_version
    }

    /// Returns the time at which a grant by these claims ends, if known.
    fn grant_end(&self, claims: &Claims) -> Option<SystemTime> {
        let expiry = claims
            .expiry()
            .and_then(|expiry| expiry.checked_add(self.leeway));
        match &self.verifier {
            Verifier::Jwt(_) => expiry,
            // The token may be revoked at any time.
            Verifier::Introspection(_) => {
                let asked = SystemTime::now() + INTROSPECTED_GRANT_TTL;
                Some(expiry.map_or(asked, |expiry| expiry.min(asked)))
            }
        }
    }

    async fn verify_claims(&self, token: &str) -> Result<Arc<Claims>, OAuthError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenRejection::TooLong.into());
        }
        // Characters of a bearer token (RFC 6750 §2.1).
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        if token.is_empty() || !token.bytes().all(fits) {
            return Err(TokenRejection::Malformed.into());
        }
        match &self.verifier {
            Verifier::Jwt(jwks) => Ok(Arc::new(jwks.verify(token).await?)),
            Verifier::Introspection(introspection) => introspection.verify(token).await,
        }
    }
}

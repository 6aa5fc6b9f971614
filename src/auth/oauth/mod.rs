//! An OAuth 2.1 resource server: tokens of one authorization server, checked here, kept here.
//!
//! ```text
//! token ─▶ jwks, jwt   by signature ─┐
//!          introspect  by asking   ──┴▶ claims ─▶ tenant ─▶ Principal
//! ```

mod address;
mod breaker;
mod claims;
mod config;
mod denied;
mod introspect;
mod jwks;
mod jwt;
mod metadata;
mod remote;
mod signature;
mod tenant;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::HeaderValue;
use tracing::debug;

use super::grant::{MAX_INTROSPECTED, next_settings};
use crate::auth::principal::{Grant, Principal};

use self::{
    claims::{Claims, Expected},
    config::Check,
    introspect::Introspection,
    jwks::Jwks,
    jwt::Rules,
    metadata::{ENDPOINT, Metadata},
    tenant::Tenant,
};

pub use config::{Config, ConfigError};
pub(crate) use introspect::{MAX_PENDING, MOST_KEPT};
pub use metadata::Challenge;
pub use remote::Http;

/// Bound on a token, in bytes. Larger ones do not fit into common header limits anyway.
const LONGEST_TOKEN: usize = 16 << 10;

/// Why a token opens nothing. Holds nothing of what the token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OAuthError {
    /// 401: another token may do.
    #[error("the access token was not accepted")]
    Invalid(#[from] Reason),
    /// 403: the token is good, but nobody is meant by it.
    #[error(
        "the access token is good, but no key of this server is meant for its bearer. The operator of \
         the server decides which key acts for whom"
    )]
    NoTenant,
    /// 503: the authorization server is of no help at the moment.
    #[error("access tokens cannot be checked at the moment. Try again in a few seconds")]
    Unavailable,
}

/// Why a token was not accepted: for logs and tests, callers are told the same whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Longer than 16 KiB.
    #[error("it is too long")]
    TooLong,
    /// Not what tokens look like.
    #[error("it is malformed")]
    Malformed,
    /// It says that it is something other than an access token.
    #[error("it is no access token")]
    Kind,
    /// It demands extensions to be understood.
    #[error("it has critical extensions")]
    Critical,
    /// Its algorithm is not that of its key, or not allowed.
    #[error("its algorithm is not that of the key, or not allowed")]
    Algorithm,
    /// The issuer publishes no key for it.
    #[error("the issuer publishes no such key")]
    UnknownKey,
    /// The key has not signed this.
    #[error("its signature does not match")]
    Signature,
    /// A claim that is required is missing, or of the wrong type.
    #[error("it lacks a required claim")]
    Incomplete,
    /// It was issued by somebody else.
    #[error("it is of another issuer")]
    Issuer,
    /// It was issued for somebody else.
    #[error("it is meant for another server")]
    Audience,
    /// It was issued to nobody.
    #[error("it names no subject")]
    Subject,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet")]
    NotYet,
    /// The issuer says so.
    #[error("the issuer says that it is not active")]
    Inactive,
}

/// The resource server.
#[derive(Debug)]
pub struct OAuth {
    verifier: Verifier,
    tenants: Vec<Tenant>,
    metadata: Metadata,
    /// What tokens may be meant for beside the resource.
    audiences: Vec<String>,
    /// How far clocks may be apart.
    leeway: Duration,
    /// Tells this from what is made of a later version of its file.
    settings: u64,
}

#[derive(Debug)]
enum Verifier {
    Jwt(Jwks),
    Introspection(Box<Introspection>),
}

/// The keys of an issuer, across changes of the settings.
#[derive(Debug, Default)]
pub struct KnownKeys(Mutex<Option<Jwks>>);

impl OAuth {
    /// A resource server; nothing is fetched before a token comes.
    pub fn new(config: Config, http: Http) -> Self {
        signature::install();
        let metadata = Metadata::new(config.resource, &config.issuer, config.scopes_supported);
        let issuer = config.issuer.as_str().to_owned();
        let expected = Expected {
            issuer,
            leeway: config.leeway_seconds,
        };
        let leeway = Duration::from_secs(config.leeway_seconds);
        let verifier = match config.check {
            Check::Jwt {
                jwks_url,
                algorithms,
            } => {
                let rules = Rules {
                    expected,
                    algorithms,
                };
                Verifier::Jwt(Jwks::new(http, config.issuer, jwks_url, rules))
            }
            Check::Introspection(endpoint) => {
                let asking = Introspection::new(http, endpoint, expected);
                Verifier::Introspection(Box::new(asking))
            }
        };
        let (tenants, audiences) = (config.tenants, config.audiences);
        Self {
            verifier,
            tenants,
            metadata,
            audiences,
            leeway,
            settings: next_settings(),
        }
    }

    /// The same with the keys that are known of the same issuer, if any: a change of other settings must not
    /// make it depend on the issuer.
    #[must_use]
    pub fn with_known_keys(mut self, known: &KnownKeys) -> Self {
        let mut known = known.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Verifier::Jwt(jwks) = &mut self.verifier {
            match &*known {
                Some(known) if known.is_same_source(jwks) => *jwks = known.clone(),
                _ => *known = Some(jwks.clone()),
            }
        }
        self
    }

    /// The same, where all paths of the server stand behind another one.
    pub fn with_path_prefix(self, prefix: &str) -> Self {
        Self {
            metadata: self.metadata.with_prefix(prefix),
            ..self
        }
    }

    /// Who bears this token.
    ///
    /// # Errors
    /// See [`OAuthError`].
    pub async fn verify(&self, token: &str) -> Result<Principal, OAuthError> {
        self.verify_at(token, ENDPOINT).await
    }

    /// Who bears this token, which may be meant for the endpoint at this path alone.
    ///
    /// # Errors
    /// See [`OAuthError`].
    pub async fn verify_at(&self, token: &str, path: &str) -> Result<Principal, OAuthError> {
        let outcome = async {
            let claims = self.claims(token).await?;
            let endpoint = self.metadata.resource_at(path);
            // Clients name it as they call it.
            let called = path.ends_with('/').then(|| format!("{endpoint}/"));
            let ours = [self.metadata.resource(), &*endpoint]
                .into_iter()
                .chain(called.as_deref());
            if !claims.are_for(ours.chain(self.audiences.iter().map(String::as_str))) {
                return Err(Reason::Audience.into());
            }
            let tenant = self.tenants.iter().find(|tenant| tenant.has(&claims));
            let grant = Grant::OAuth {
                until: self.until(&claims),
                settings: self.settings,
            };
            Ok(tenant
                .ok_or(OAuthError::NoTenant)?
                .principal(&claims, grant))
        };
        let outcome = outcome.await;
        if let Err(OAuthError::Invalid(reason)) = &outcome {
            debug!(%reason, "a token was not accepted");
        }
        outcome
    }

    /// The metadata document, if it is what stands at this path: see RFC 9728 §3.
    pub fn metadata(&self, path: &str) -> Option<Bytes> {
        self.metadata.at(path)
    }

    /// What `WWW-Authenticate` says to a request that is turned away.
    pub fn challenge(&self, challenge: &Challenge<'_>) -> HeaderValue {
        self.challenge_at(challenge, ENDPOINT)
    }

    /// The same to a request to the endpoint at this path.
    pub fn challenge_at(&self, challenge: &Challenge<'_>, path: &str) -> HeaderValue {
        self.metadata.challenge(challenge, path)
    }

    /// Tells these settings apart from others.
    pub(super) const fn settings(&self) -> u64 {
        self.settings
    }

    /// When a token with these claims ends, as far as is known.
    fn until(&self, claims: &Claims) -> Option<SystemTime> {
        let expiry = claims
            .expiry()
            .and_then(|expiry| expiry.checked_add(self.leeway));
        match &self.verifier {
            Verifier::Jwt(_) => expiry,
            // It may have been revoked any time.
            Verifier::Introspection(_) => {
                let asked = SystemTime::now() + MAX_INTROSPECTED;
                Some(expiry.map_or(asked, |expiry| expiry.min(asked)))
            }
        }
    }

    async fn claims(&self, token: &str) -> Result<Arc<Claims>, OAuthError> {
        if token.len() > LONGEST_TOKEN {
            return Err(Reason::TooLong.into());
        }
        // The letters of RFC 6750 §2.1.
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        if token.is_empty() || !token.bytes().all(fits) {
            return Err(Reason::Malformed.into());
        }
        match &self.verifier {
            Verifier::Jwt(jwks) => Ok(Arc::new(jwks.verify(token).await?)),
            Verifier::Introspection(introspection) => introspection.verify(token).await,
        }
    }
}

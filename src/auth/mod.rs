//! Authenticates HTTP requests and builds the [`Principal`] of each.

mod grant;
mod key;
pub mod oauth;
pub mod principal;
mod token;

use std::{borrow::Cow, path::Path, sync::Arc};

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts};
use portkey_api::catalog::Catalog;
use portkey_bounded_file::display_path;
use portkey_file_watch::{FileKind, ParsedValue, WatchedValue};
use portkey_operation::Effect;

use self::oauth::{IssuerClient, OAuth, OAuthConfig, RetainedKeys};
use crate::{
    auth::principal::{
        AccessDenied, Credentials, KeyDefect, KeyProver, Principal, ProofError, ToolFilter,
    },
    security::secrets::{FileProtection, check_permissions},
};

pub use grant::{CallerChangeReceiver, CallerChanges};
pub use key::{ENKRYPT_KEY_HEADER, PORTKEY_KEY_HEADER};
pub use token::{NewToken, TokenEntry, Tokens};

/// Query parameters that carry credentials in other APIs. They are rejected, because every proxy on
/// the way logs the URL.
const CREDENTIAL_PARAMETERS: [&str; 9] = [
    "access_token",
    "api_key",
    "api-key",
    "apikey",
    "authorization",
    "key",
    "portkey_api_key",
    "token",
    "x-portkey-api-key",
];

/// The key of a client that has none, where no authentication is required. SDKs demand some key.
pub const NO_KEY: &str = "none";

/// Authentication method of the server.
#[derive(Debug)]
pub enum Auth {
    /// No authentication: every client that can connect acts as the operator.
    None(Arc<Principal>),
    /// Authentication by the Portkey key in each request. Such a key may be made up, so the prover
    /// checks it.
    Key(Arc<dyn KeyProver>),
    /// Authentication by a token from the operator's token file.
    Token(WatchedValue<Tokens>),
    /// Authentication by an access token of an authorization server.
    OAuth(Arc<WatchedValue<OAuth>>, Box<OfferedTools>),
}

/// Tools that a caller could use with additional scopes.
#[derive(Debug)]
pub struct OfferedTools {
    /// All tools of the server.
    pub catalog: Catalog,
    /// Tool filter of the operator.
    pub filter: ToolFilter,
}

/// Rejection of a request by authentication.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct AuthRejection {
    /// Status of the response.
    pub status: StatusCode,
    /// Message for the client.
    pub message: Cow<'static, str>,
    /// Value of the header `WWW-Authenticate`, which says how to get access.
    pub challenge: Option<HeaderValue>,
    /// Detail that is logged and never sent to the client.
    pub log_detail: Option<String>,
}

impl AuthRejection {
    const fn bad_request(message: &'static str) -> Self {
        let message = Cow::Borrowed(message);
        Self {
            status: StatusCode::BAD_REQUEST,
            message,
            challenge: None,
            log_detail: None,
        }
    }

    const fn unauthorized(message: &'static str, challenge: &'static str) -> Self {
        Self::with_challenge(Cow::Borrowed(message), HeaderValue::from_static(challenge))
    }

    const fn with_challenge(message: Cow<'static, str>, challenge: HeaderValue) -> Self {
        let challenge = Some(challenge);
        Self {
            status: StatusCode::UNAUTHORIZED,
            message,
            challenge,
            log_detail: None,
        }
    }
}

impl From<ProofError> for AuthRejection {
    fn from(unproven: ProofError) -> Self {
        let (status, challenge) = match unproven {
            ProofError::Rejected => (
                StatusCode::UNAUTHORIZED,
                Some(HeaderValue::from_static(key::CHALLENGE)),
            ),
            ProofError::Unknown => (StatusCode::SERVICE_UNAVAILABLE, None),
            ProofError::TooManyKeys => (StatusCode::TOO_MANY_REQUESTS, None),
        };
        Self {
            status,
            message: unproven.to_string().into(),
            challenge,
            log_detail: None,
        }
    }
}

/// Checks the permissions of a file of callers, because its writers decide who can call.
fn check_caller_file(file: &Path) -> anyhow::Result<()> {
    check_permissions(file, FileProtection::Trusted)
        .with_context(|| format!("cannot use {}", display_path(file)))
}

impl Auth {
    /// Authenticates callers by the tokens of a file. The file is reloaded when it changes.
    /// `instead` replaces the keys that the file names for all callers.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is invalid.
    pub fn from_token_file(
        file: &Path,
        domains: Vec<&'static str>,
        instead: Option<Credentials>,
    ) -> anyhow::Result<Self> {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        let parse = move |text: &str| Tokens::parse(text, &folder, &domains, instead.as_ref());
        check_caller_file(file)?;
        Ok(Self::Token(
            WatchedValue::from_file(file, parse)?.with_kind(FileKind::TokenFile),
        ))
    }

    /// Authenticates callers by access tokens, as configured in a file. The file is reloaded when
    /// it changes. `instead` replaces the keys that the file names for all callers. `path_prefix`
    /// precedes all paths of this server.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is invalid.
    pub fn from_oauth_file(
        file: &Path,
        on_offer: OfferedTools,
        instead: Option<Credentials>,
        http: IssuerClient,
        path_prefix: String,
    ) -> anyhow::Result<Self> {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        let domains = Catalog::domains();
        let known = RetainedKeys::default();
        let parse = move |text: &str| {
            let config = OAuthConfig::parse(text, &folder, &domains, instead.as_ref())?;
            let files = config.files().to_vec();
            let oauth = OAuth::new(config, http.clone())
                .with_retained_keys(&known)
                .with_path_prefix(&path_prefix);
            Ok(ParsedValue {
                value: oauth,
                files,
            })
        };
        check_caller_file(file)?;
        Ok(Self::OAuth(
            Arc::new(WatchedValue::from_file(file, parse)?.with_kind(FileKind::OauthFile)),
            Box::new(on_offer),
        ))
    }

    /// Registers a listener for later changes to the file of callers. Returns false if there is no
    /// such file.
    pub fn on_change(&self, listener: impl Fn() + Send + Sync + 'static) -> bool {
        match self {
            Self::None(_) | Self::Key(_) => return false,
            Self::Token(tokens) => tokens.on_change(move |_, _| listener()),
            Self::OAuth(oauth, _) => oauth.on_change(move |_, _| listener()),
        }
        true
    }

    /// Returns the authorization server whose access tokens are accepted, if there is one.
    pub fn token_issuer(&self) -> Option<Arc<WatchedValue<OAuth>>> {
        match self {
            Self::OAuth(oauth, _) => Some(oauth.clone()),
            Self::None(_) | Self::Key(_) | Self::Token(_) => None,
        }
    }

    /// Takes the key of a client of Portkey's API as the credential of this method. Such a client
    /// has one key, and sends it as `x-portkey-api-key` or as a bearer token.
    ///
    /// As in the API, `x-portkey-api-key` takes precedence. Without authentication, a client that
    /// needs some key sends [`NO_KEY`].
    pub fn adopt_api_key(&self, headers: &mut HeaderMap) {
        let mut keys = headers.get_all(PORTKEY_KEY_HEADER).iter();
        let key = match (keys.next(), keys.next()) {
            (key, None) => key.cloned(),
            // Rejected later, because it is given twice.
            (_, Some(_)) => return,
        };
        match (self, key) {
            (Self::None(_), Some(key)) if key == NO_KEY => {
                headers.remove(PORTKEY_KEY_HEADER);
            }
            (Self::Key(_), Some(_)) => {
                headers.remove(header::AUTHORIZATION);
            }
            (Self::Key(_), None) => {
                let token = bearer_token(headers).ok().flatten();
                let key = token.and_then(|token| HeaderValue::from_str(token).ok());
                if let Some(key) = key {
                    headers.remove(header::AUTHORIZATION);
                    headers.insert(PORTKEY_KEY_HEADER, key);
                }
            }
            (Self::Token(_) | Self::OAuth(..), Some(key)) => {
                let bearer = [b"Bearer ", key.as_bytes()].concat();
                let is_same = |given: &HeaderValue| given.as_bytes() == bearer;
                // Two different credentials are rejected later.
                if headers.get(header::AUTHORIZATION).is_none_or(is_same)
                    && let Ok(bearer) = HeaderValue::from_bytes(&bearer)
                {
                    headers.remove(PORTKEY_KEY_HEADER);
                    headers.insert(header::AUTHORIZATION, bearer);
                }
            }
            _ => {}
        }
    }

    /// Authenticates the caller of a request.
    ///
    /// # Errors
    /// Returns an error if the credential is missing, malformed, of an unsupported kind or
    /// rejected.
    pub async fn authenticate(&self, request: &Parts) -> Result<Arc<Principal>, AuthRejection> {
        if request.uri.query().is_some_and(has_credentials) {
            return Err(AuthRejection::bad_request(
                "credentials may not stand in the address, where every proxy logs them; send them in \
                 a header, and consider those sent as known to others",
            ));
        }
        match self {
            Self::None(principal) => {
                reject_credentials(&request.headers, &[PORTKEY_KEY_HEADER, ENKRYPT_KEY_HEADER])?;
                Ok(principal.clone())
            }
            Self::Key(_) => {
                reject_credentials(&request.headers, &[header::AUTHORIZATION])?;
                key::authenticate(&request.headers).map(Arc::new)
            }
            Self::Token(tokens) => {
                reject_credentials(&request.headers, &[PORTKEY_KEY_HEADER, ENKRYPT_KEY_HEADER])?;
                tokens.get().authenticate(&request.headers)
            }
            Self::OAuth(oauth, _) => {
                reject_credentials(&request.headers, &[PORTKEY_KEY_HEADER, ENKRYPT_KEY_HEADER])?;
                // The clone keeps this version of the settings alive during the check, even if the
                // file changes.
                let oauth = Arc::clone(&oauth.get());
                // Boxed, because the other methods do not need the space of this future.
                let headers = &request.headers;
                let path = request.uri.path();
                Box::pin(oauth.authenticate(headers, path))
                    .await
                    .map(Arc::new)
            }
        }
    }

    /// Checks early whether the access token has the scope for an operation. The call itself
    /// enforces access later; this check only lets a client request a token with more scopes in
    /// time. If `effect` is given and the operation has another effect, the call fails anyway and
    /// is not checked. `path` is the path of the request.
    ///
    /// # Errors
    /// Returns an error if the token lacks a scope.
    pub fn check_scope(
        &self,
        principal: &Principal,
        name: &str,
        effect: Option<Effect>,
        path: &str,
    ) -> Result<(), AuthRejection> {
        let Self::OAuth(oauth, on_offer) = self else {
            return Ok(());
        };
        let Ok(entry) = on_offer.catalog.find(name) else {
            return Ok(());
        };
        if effect.is_some_and(|effect| effect != entry.operation.effect()) {
            return Ok(());
        }
        if on_offer
            .filter
            .check(entry.domain.name, entry.operation)
            .is_err()
        {
            return Ok(());
        }
        let Err(withheld) = principal.authorize(entry.domain.name, entry.operation) else {
            return Ok(());
        };
        match &withheld {
            AccessDenied::Scope { needed, .. } => {
                Err(oauth
                    .get()
                    .insufficient_scope(principal, needed, withheld.to_string(), path))
            }
            _ => Ok(()),
        }
    }

    /// Returns true if [`Auth::check_scope`] can reject a call.
    pub const fn checks_scopes(&self) -> bool {
        matches!(self, Self::OAuth(..))
    }

    /// Returns the protected resource metadata if `path` addresses it.
    pub fn resource_metadata(&self, path: &str) -> Option<Bytes> {
        match self {
            Self::OAuth(oauth, _) => oauth.get().metadata_document(path),
            _ => None,
        }
    }
}

fn has_credentials(query: &str) -> bool {
    query.split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        CREDENTIAL_PARAMETERS
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    })
}

/// Rejects credentials of other authentication methods, because their senders expect them to be
/// used.
fn reject_credentials(headers: &HeaderMap, foreign: &[HeaderName]) -> Result<(), AuthRejection> {
    match foreign.iter().any(|name| headers.contains_key(name)) {
        true => Err(AuthRejection::bad_request(
            "the request has a credential of a kind that this server does not take; leave it out, and \
             ask the operator which kind the server takes",
        )),
        false => Ok(()),
    }
}

/// Returns the value of a header that may occur at most once.
fn single_header<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, AuthRejection> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(AuthRejection::bad_request(
            "a credential is given twice; send only one",
        )),
        (value, None) => Ok(value),
    }
}

/// Returns the bearer token of a request.
fn bearer_token(headers: &HeaderMap) -> Result<Option<&str>, AuthRejection> {
    let Some(value) = single_header(headers, &header::AUTHORIZATION)? else {
        return Ok(None);
    };
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    match token {
        Some(token) if !token.is_empty() => Ok(Some(token)),
        _ => Err(AuthRejection::bad_request(
            "the Authorization header is to be `Bearer` and a token",
        )),
    }
}

/// Rejects a token whose form shows that the client is configured wrongly.
fn check_token_form(token: &str, challenge: HeaderValue) -> Result<(), AuthRejection> {
    match KeyDefect::detect(token) {
        None => Ok(()),
        Some(shape) => {
            let message = format!("the token {shape}, in the configuration of the client");
            Err(AuthRejection::with_challenge(message.into(), challenge))
        }
    }
}

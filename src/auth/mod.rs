//! Who may call over HTTP, and with which upstream keys: makes the [`Principal`] of each request.

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
use portkey_bounded_file::shown;
use portkey_file_watch::{FileKind, Parsed, Watched};
use portkey_operation::Effect;

use self::oauth::{Config, Http, KnownKeys, OAuth};
use crate::{
    auth::principal::{AccessModes, Credentials, Principal, Prover, Shape, Unproven, Withheld},
    security::secrets::{Guarded, check_permissions},
};

pub use grant::{Changes, Listener};
pub use key::{ENKRYPT_HEADER, PORTKEY_HEADER};
pub use token::{Entry, NewToken, Tokens};

/// Parameters that carry credentials elsewhere. An address is logged by every proxy on the way, so none
/// may have one.
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

/// How callers are recognised.
#[derive(Debug)]
pub enum Auth {
    /// They are not: whoever can connect is the operator.
    None(Arc<Principal>),
    /// By the Portkey key that each request brings, which may be made up: this tells.
    Key(Arc<dyn Prover>),
    /// By a token of the operator's file.
    Token(Watched<Tokens>),
    /// By an access token of an authorization server.
    OAuth(Watched<OAuth>, OnOffer),
}

/// The tools that more scopes could open.
#[derive(Debug)]
pub struct OnOffer {
    /// All there are.
    pub catalog: Catalog,
    /// What the operator leaves of them.
    pub modes: AccessModes,
}

/// Why a request is not served.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Denied {
    /// What it is answered with.
    pub status: StatusCode,
    /// What the client is told.
    pub message: Cow<'static, str>,
    /// How to ask for access, for the header `WWW-Authenticate`.
    pub challenge: Option<HeaderValue>,
    /// What only the log is told.
    pub detail: Option<String>,
}

impl Denied {
    const fn bad(message: &'static str) -> Self {
        let message = Cow::Borrowed(message);
        Self {
            status: StatusCode::BAD_REQUEST,
            message,
            challenge: None,
            detail: None,
        }
    }

    const fn stranger(message: &'static str, challenge: &'static str) -> Self {
        Self::with_challenge(Cow::Borrowed(message), HeaderValue::from_static(challenge))
    }

    const fn with_challenge(message: Cow<'static, str>, challenge: HeaderValue) -> Self {
        let challenge = Some(challenge);
        Self {
            status: StatusCode::UNAUTHORIZED,
            message,
            challenge,
            detail: None,
        }
    }
}

impl From<Unproven> for Denied {
    fn from(unproven: Unproven) -> Self {
        let (status, challenge) = match unproven {
            Unproven::Refused => (
                StatusCode::UNAUTHORIZED,
                Some(HeaderValue::from_static(key::CHALLENGE)),
            ),
            Unproven::Unknown => (StatusCode::SERVICE_UNAVAILABLE, None),
            Unproven::TooMany => (StatusCode::TOO_MANY_REQUESTS, None),
        };
        Self {
            status,
            message: unproven.to_string().into(),
            challenge,
            detail: None,
        }
    }
}

/// Whoever can write a file of callers decides who calls.
fn check(file: &Path) -> anyhow::Result<()> {
    check_permissions(file, Guarded::Trusted).with_context(|| format!("cannot use {}", shown(file)))
}

impl Auth {
    /// Recognises callers by the tokens of a file, which takes effect whenever it changes. `instead`
    /// acts for all of them in place of the keys it names.
    ///
    /// # Errors
    /// The file cannot be read or does not hold.
    pub fn token(
        file: &Path,
        domains: Vec<&'static str>,
        instead: Option<Credentials>,
    ) -> anyhow::Result<Self> {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        let parse = move |text: &str| Tokens::parse(text, &folder, &domains, instead.as_ref());
        check(file)?;
        Ok(Self::Token(
            Watched::start(file, parse)?.named(FileKind::TokenFile),
        ))
    }

    /// Recognises callers by the access tokens of an authorization server, as a file says, which takes
    /// effect whenever it changes. `instead` acts for all of them in place of the keys it names;
    /// `path_prefix` stands before the paths of this server.
    ///
    /// # Errors
    /// The file cannot be read or does not hold.
    pub fn oauth(
        file: &Path,
        on_offer: OnOffer,
        instead: Option<Credentials>,
        http: Http,
        path_prefix: String,
    ) -> anyhow::Result<Self> {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        let (domains, known) = (Catalog::domains(), KnownKeys::default());
        let parse = move |text: &str| {
            let config = Config::parse(text, &folder, &domains, instead.as_ref())?;
            let files = config.files().to_vec();
            let oauth = OAuth::new(config, http.clone())
                .with_known_keys(&known)
                .with_path_prefix(&path_prefix);
            Ok(Parsed {
                value: oauth,
                files,
            })
        };
        check(file)?;
        Ok(Self::OAuth(
            Watched::start(file, parse)?.named(FileKind::OauthFile),
            on_offer,
        ))
    }

    /// Has a listener told when the file of callers has changed from now on; whether there is one.
    pub fn on_change(&self, listener: impl Fn() + Send + Sync + 'static) -> bool {
        match self {
            Self::None(_) | Self::Key(_) => return false,
            Self::Token(tokens) => tokens.on_change(move |_, _| listener()),
            Self::OAuth(oauth, _) => oauth.on_change(move |_, _| listener()),
        }
        true
    }

    /// Who makes the request.
    ///
    /// # Errors
    /// It does not say, says it in a way that cannot be right, or is not let in.
    pub async fn authenticate(&self, request: &Parts) -> Result<Arc<Principal>, Denied> {
        if request.uri.query().is_some_and(has_credentials) {
            return Err(Denied::bad(
                "credentials may not stand in the address, where every proxy logs them; send them in \
                 a header, and consider those sent as known to others",
            ));
        }
        match self {
            Self::None(principal) => {
                refuse(&request.headers, &[PORTKEY_HEADER, ENKRYPT_HEADER])?;
                Ok(principal.clone())
            }
            Self::Key(_) => {
                refuse(&request.headers, &[header::AUTHORIZATION])?;
                key::authenticate(&request.headers).map(Arc::new)
            }
            Self::Token(tokens) => {
                refuse(&request.headers, &[PORTKEY_HEADER, ENKRYPT_HEADER])?;
                tokens.get().authenticate(&request.headers)
            }
            Self::OAuth(oauth, _) => {
                refuse(&request.headers, &[PORTKEY_HEADER, ENKRYPT_HEADER])?;
                // Kept for as long as the check takes, whatever becomes of the file.
                let oauth = Arc::clone(&oauth.get());
                // In a box, since there is no need for it otherwise.
                let (headers, path) = (&request.headers, request.uri.path());
                Box::pin(oauth.authenticate(headers, path))
                    .await
                    .map(Arc::new)
            }
        }
    }

    /// Whether the call of an operation is worth passing on. That what is withheld stays so is not decided
    /// here, but with the call itself: this only tells a client, while there is time, that a token with
    /// more scopes would do. With `effect`, the call comes to nothing if the operation has another one.
    /// `path` is that of its request.
    ///
    /// # Errors
    /// The token lacks a scope.
    pub fn permit(
        &self,
        principal: &Principal,
        name: &str,
        effect: Option<Effect>,
        path: &str,
    ) -> Result<(), Denied> {
        let Self::OAuth(oauth, on_offer) = self else {
            return Ok(());
        };
        let Ok(entry) = on_offer.catalog.find(name) else {
            return Ok(());
        };
        if effect.is_some_and(|effect| effect != entry.operation.effects()) {
            return Ok(());
        }
        if on_offer
            .modes
            .admit(entry.domain.name, entry.operation)
            .is_err()
        {
            return Ok(());
        }
        let Err(withheld) = principal.may(entry.domain.name, entry.operation) else {
            return Ok(());
        };
        match &withheld {
            Withheld::Scope { needed, .. } => {
                Err(oauth
                    .get()
                    .insufficient(principal, needed, withheld.to_string(), path))
            }
            _ => Ok(()),
        }
    }

    /// Whether [`Auth::permit`] has anything to say.
    pub const fn permits(&self) -> bool {
        matches!(self, Self::OAuth(..))
    }

    /// The document about getting a token, if that is what stands at this path.
    pub fn metadata(&self, path: &str) -> Option<Bytes> {
        match self {
            Self::OAuth(oauth, _) => oauth.get().metadata(path),
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

/// Turns back what belongs to another way of authenticating: whoever sends it expects it to count.
fn refuse(headers: &HeaderMap, foreign: &[HeaderName]) -> Result<(), Denied> {
    match foreign.iter().any(|name| headers.contains_key(name)) {
        true => Err(Denied::bad(
            "the request has a credential of a kind that this server does not take; leave it out, and \
             ask the operator which kind the server takes",
        )),
        false => Ok(()),
    }
}

/// The one value of a header.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Denied> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Denied::bad("a credential is given twice; send only one")),
        (value, None) => Ok(value),
    }
}

/// The bearer token of a request.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Denied> {
    let Some(value) = only(headers, &header::AUTHORIZATION)? else {
        return Ok(None);
    };
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    match token {
        Some(token) if !token.is_empty() => Ok(Some(token)),
        _ => Err(Denied::bad(
            "the Authorization header is to be `Bearer` and a token",
        )),
    }
}

/// Why a token cannot be one, where its form shows that the client was set up wrongly.
fn misshapen(token: &str, challenge: HeaderValue) -> Result<(), Denied> {
    match Shape::of(token) {
        None => Ok(()),
        Some(shape) => {
            let told = format!("the token {shape}, in the configuration of the client");
            Err(Denied::with_challenge(told.into(), challenge))
        }
    }
}

//! Who may call over HTTP, and with which upstream keys: makes the [`Principal`] of each request.

mod key;
pub mod oauth;
mod token;

use std::{path::Path, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts};

use crate::{
    principal::{Credentials, Principal},
    watch::Watched,
};

pub use key::{ENKRYPT_HEADER, PORTKEY_HEADER};
pub use token::{NewToken, Tokens};

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
    /// By the Portkey key that each request brings.
    Key,
    /// By a token of the operator's file.
    Token(Watched<Tokens>),
}

/// Why a request is not served.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Denied {
    /// What it is answered with.
    pub status: StatusCode,
    /// What the client is told.
    pub message: &'static str,
    /// How to ask for access, for the header `WWW-Authenticate`.
    pub challenge: Option<HeaderValue>,
}

impl Denied {
    const fn bad(message: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message, challenge: None }
    }

    const fn stranger(message: &'static str, challenge: &'static str) -> Self {
        let challenge = Some(HeaderValue::from_static(challenge));
        Self { status: StatusCode::UNAUTHORIZED, message, challenge }
    }
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
        let parse = move |text: &str| Tokens::parse(text, &domains, instead.as_ref());
        Ok(Self::Token(Watched::start(file, parse)?))
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
            Self::Key => {
                refuse(&request.headers, &[header::AUTHORIZATION])?;
                key::authenticate(&request.headers).map(Arc::new)
            }
            Self::Token(tokens) => {
                refuse(&request.headers, &[PORTKEY_HEADER, ENKRYPT_HEADER])?;
                tokens.get().authenticate(&request.headers)
            }
        }
    }
}

fn has_credentials(query: &str) -> bool {
    query.split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        CREDENTIAL_PARAMETERS.iter().any(|known| name.eq_ignore_ascii_case(known))
    })
}

/// Turns back what belongs to another way of authenticating: whoever sends it expects it to count.
fn refuse(headers: &HeaderMap, foreign: &[HeaderName]) -> Result<(), Denied> {
    match foreign.iter().any(|name| headers.contains_key(name)) {
        true => Err(Denied::bad(
            "the request has a credential of a kind that this server does not take; see \
             WWW-Authenticate of a request without any for the kind it does",
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
    let Some(value) = only(headers, &header::AUTHORIZATION)? else { return Ok(None) };
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    match token {
        Some(token) if !token.is_empty() => Ok(Some(token)),
        _ => Err(Denied::bad("the Authorization header is to be `Bearer` and a token")),
    }
}

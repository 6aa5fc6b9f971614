//! Authenticates callers by their own Portkey key, which is used for that one request only.

use http::{HeaderMap, HeaderName, HeaderValue};
use portkey_operation::Upstream;

use super::{Denied, only};
use crate::auth::principal::{
    Credentials, Grant, Key, KeyError, KeySource, Method, NoKey, Principal, Scopes, Toolsets,
};

/// Header that carries the Portkey key.
pub const PORTKEY_HEADER: HeaderName = HeaderName::from_static("x-portkey-api-key");
/// Header that carries the Enkrypt AI key. Without it, tools for Enkrypt AI are disabled.
pub const ENKRYPT_HEADER: HeaderName = HeaderName::from_static("x-enkrypt-api-key");

pub(super) const CHALLENGE: &str = "ApiKey realm=\"Portkey\", header=\"x-portkey-api-key\"";

/// Builds the caller from the keys in the headers. Portkey itself decides which operations the key
/// permits.
pub(super) fn authenticate(headers: &HeaderMap) -> Result<Principal, Denied> {
    let portkey = key(headers, &PORTKEY_HEADER)?.ok_or_else(|| {
        Denied::stranger(
            "send your Portkey API key in the header x-portkey-api-key",
            CHALLENGE,
        )
    })?;
    let enkrypt = key(headers, &ENKRYPT_HEADER)?;
    Ok(Principal {
        // The fingerprint distinguishes callers without revealing their keys.
        name: format!("key-{}", portkey.fingerprint()).into(),
        method: Method::Key,
        scopes: Scopes::all(),
        toolsets: Toolsets::all(),
        credentials: Credentials {
            portkey: Some(portkey),
            enkrypt,
            missing,
        },
        policy: None,
        narrowing: None,
        grant: Grant::Key,
        network: None,
    })
}

fn key(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Key>, Denied> {
    let Some(value) = only(headers, name)? else {
        return Ok(None);
    };
    let challenge = HeaderValue::from_static(CHALLENGE);
    let denied = |why: String| {
        let told = format!("the key in the header `{name}` {why}");
        Denied::with_challenge(told.into(), challenge.clone())
    };
    let text = value
        .to_str()
        .map_err(|_| denied("is no text that a key can be".to_owned()))?;
    Key::new(KeySource::Request, &text.into())
        .map(Some)
        .map_err(|error| match error {
            KeyError::Misshapen(_, shape) => denied(shape.to_string()),
            _ => denied("is empty".to_owned()),
        })
}

fn missing(upstream: Upstream) -> NoKey {
    let header = match upstream {
        Upstream::Portkey => "x-portkey-api-key",
        Upstream::Enkrypt => "x-enkrypt-api-key",
    };
    NoKey::Request(upstream, header)
}

//! Callers who bring their own Portkey key: it serves the one request that brought it.

use http::{HeaderMap, HeaderName};

use super::{Denied, only};
use crate::{
    operation::Upstream,
    principal::{Credentials, Key, KeySource, Method, NoKey, Principal, Scopes, Toolsets},
};

/// Carries the Portkey key.
pub const PORTKEY_HEADER: HeaderName = HeaderName::from_static("x-portkey-api-key");
/// Carries the Enkrypt AI key; without it those tools are off.
pub const ENKRYPT_HEADER: HeaderName = HeaderName::from_static("x-enkrypt-api-key");

const CHALLENGE: &str = "ApiKey realm=\"Portkey\", header=\"x-portkey-api-key\"";

/// Makes the caller out of the keys in the headers. What it may do is for Portkey to say.
pub(super) fn authenticate(headers: &HeaderMap) -> Result<Principal, Denied> {
    let portkey = key(headers, &PORTKEY_HEADER)?.ok_or_else(|| {
        Denied::stranger("send your Portkey API key in the header x-portkey-api-key", CHALLENGE)
    })?;
    let enkrypt = key(headers, &ENKRYPT_HEADER)?;
    Ok(Principal {
        // Tells callers apart without saying what their keys are.
        name: format!("key-{}", portkey.fingerprint()).into(),
        method: Method::Key,
        scopes: Scopes::all(),
        toolsets: Toolsets::all(),
        credentials: Credentials { portkey: Some(portkey), enkrypt, missing },
        narrowing: None,
    })
}

fn key(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Key>, Denied> {
    let Some(value) = only(headers, name)? else { return Ok(None) };
    let malformed = || Denied::stranger("the API key is no text that a key can be", CHALLENGE);
    let text = value.to_str().map_err(|_| malformed())?;
    let key = Key::new(KeySource::Request, &text.into());
    key.map(Some).map_err(|_| malformed())
}

fn missing(upstream: Upstream) -> NoKey {
    let header = match upstream {
        Upstream::Portkey => "x-portkey-api-key",
        Upstream::Enkrypt => "x-enkrypt-api-key",
    };
    NoKey::Request(upstream, header)
}

//! Authenticates callers by their own Portkey key, which is used for that one request only.

use http::{HeaderMap, HeaderName, HeaderValue};
use portkey_operation::Upstream;
use portkey_policy::CallerClaims;

use super::{AuthRejection, single_header};
use crate::auth::principal::{
    AuthMethod, Credentials, Grant, KeyError, KeySource, MissingKey, Principal, Scopes, Toolsets,
    UpstreamKey,
};

/// Header that carries the Portkey key.
pub const PORTKEY_KEY_HEADER: HeaderName = HeaderName::from_static("x-portkey-api-key");
/// Header that carries the Enkrypt AI key. Without it, tools for Enkrypt AI are disabled.
pub const ENKRYPT_KEY_HEADER: HeaderName = HeaderName::from_static("x-enkrypt-api-key");

pub(super) const CHALLENGE: &str = "ApiKey realm=\"Portkey\", header=\"x-portkey-api-key\"";

/// Builds the caller from the keys in the headers. Portkey itself decides which operations the key
/// permits.
pub(super) fn authenticate(headers: &HeaderMap) -> Result<Principal, AuthRejection> {
    let portkey = parse_key(headers, &PORTKEY_KEY_HEADER)?.ok_or_else(|| {
        AuthRejection::unauthorized(
            "send your Portkey API key in the header x-portkey-api-key",
            CHALLENGE,
        )
    })?;
    let enkrypt = parse_key(headers, &ENKRYPT_KEY_HEADER)?;
    Ok(Principal {
        // The fingerprint distinguishes callers without revealing their keys.
        name: format!("key-{}", portkey.fingerprint()).into(),
        method: AuthMethod::Key,
        scopes: Scopes::all(),
        toolsets: Toolsets::all(),
        credentials: Credentials {
            portkey: Some(portkey),
            enkrypt,
            missing_key: missing_request_key,
        },
        policy: None,
        request_filter: None,
        grant: Grant::Key,
        claims: CallerClaims::default(),
        network: None,
    })
}

fn parse_key(headers: &HeaderMap, name: &HeaderName) -> Result<Option<UpstreamKey>, AuthRejection> {
    let Some(value) = single_header(headers, name)? else {
        return Ok(None);
    };
    let challenge = HeaderValue::from_static(CHALLENGE);
    let reject_key = |why: String| {
        let message = format!("the key in the header `{name}` {why}");
        AuthRejection::with_challenge(message.into(), challenge.clone())
    };
    let text = value
        .to_str()
        .map_err(|_| reject_key("is no text that a key can be".to_owned()))?;
    UpstreamKey::new(KeySource::Request, &text.into())
        .map(Some)
        .map_err(|error| match error {
            KeyError::Malformed(_, shape) => reject_key(shape.to_string()),
            _ => reject_key("is empty".to_owned()),
        })
}

fn missing_request_key(upstream: Upstream) -> MissingKey {
    let header = match upstream {
        Upstream::Portkey => "x-portkey-api-key",
        Upstream::Enkrypt => "x-enkrypt-api-key",
    };
    MissingKey::Request(upstream, header)
}

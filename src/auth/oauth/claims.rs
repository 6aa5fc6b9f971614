//! Claims of a token, and the rules that apply to both signed and introspected tokens.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use portkey_policy::CallerClaims;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::auth::principal::Scopes;

use super::TokenRejection;

/// Claims confirmed by a signature or by the issuer's introspection endpoint.
#[derive(Debug)]
pub(super) struct Claims {
    all: Arc<Map<String, Value>>,
    for_policies: CallerClaims,
    issuer: String,
    subject: String,
}

/// Values that claims are validated against.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ExpectedClaims {
    pub(super) issuer: String,
    /// Maximum clock difference in seconds.
    pub(super) leeway: u64,
}

impl Claims {
    /// Validates issuer, subject and times of the claims (RFC 9068 §4). The audience is checked for
    /// each request, because endpoints differ. Issuer and expiry may be absent here: the signature
    /// check requires them of signed tokens.
    pub(super) fn new(
        all: Map<String, Value>,
        expected: &ExpectedClaims,
    ) -> Result<Self, TokenRejection> {
        let issuer = all.get("iss").is_none_or(|iss| *iss == *expected.issuer);
        if !issuer {
            return Err(TokenRejection::WrongIssuer);
        }
        let now = unix_now();
        match parse_seconds(&all, "exp")? {
            Some(end) if end + expected.leeway as f64 <= now => {
                return Err(TokenRejection::Expired);
            }
            _ => {}
        }
        match parse_seconds(&all, "nbf")? {
            Some(start) if start > now + expected.leeway as f64 => {
                return Err(TokenRejection::NotYetValid);
            }
            _ => {}
        }
        let subject = match all.get("sub") {
            Some(Value::String(subject)) if !subject.is_empty() => subject.clone(),
            _ => return Err(TokenRejection::MissingSubject),
        };
        let all = Arc::new(all);
        Ok(Self {
            for_policies: CallerClaims::new(all.clone()),
            all,
            issuer: expected.issuer.clone(),
            subject,
        })
    }

    /// Returns true if the token is issued for one of these audiences (RFC 8707 §2).
    pub(super) fn has_audience<'a>(&self, audiences: impl IntoIterator<Item = &'a str>) -> bool {
        let Some(claim) = self.all.get("aud") else {
            return false;
        };
        audiences
            .into_iter()
            .any(|audience| contains_text(claim, audience))
    }

    /// Returns the seconds until the token expires, or `None` without an expiry.
    pub(super) fn seconds_left(&self) -> Option<f64> {
        let end = parse_seconds(&self.all, "exp").ok().flatten()?;
        Some((end - unix_now()).max(0.0))
    }

    /// Returns the expiry time, or `None` if it is missing or out of range.
    pub(super) fn expiry(&self) -> Option<SystemTime> {
        let end = parse_seconds(&self.all, "exp").ok().flatten()?;
        UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(end).ok()?)
    }

    /// Returns the scopes of this server that `scope` and `scp` contain.
    pub(super) fn scopes(&self) -> Scopes {
        let texts = [self.all.get("scope"), self.all.get("scp")]
            .into_iter()
            .flatten();
        let texts = texts.flat_map(|claim| match claim {
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            claim => Vec::from_iter(claim.as_str()),
        });
        Scopes::from_words(texts.flat_map(str::split_ascii_whitespace))
    }

    /// Returns true if the claim at `path` equals `value` or is a list that contains it. Claim
    /// names may contain dots, as in `https://example.com/org`, so the longest matching name wins.
    pub(super) fn has_value(&self, path: &str, value: &str) -> bool {
        find_claim(&self.all, path).is_some_and(|claim| contains_text(claim, value))
    }

    /// Returns the claim at `path`, if it is a text.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        find_claim(&self.all, path)?.as_str()
    }

    /// Returns the claims that policies read.
    pub(super) fn for_policies(&self) -> CallerClaims {
        self.for_policies.clone()
    }

    /// Returns a hash prefix of issuer and subject, which replaces the bearer's name in logs and
    /// limits.
    pub(super) fn fingerprint(&self) -> String {
        // Issuers contain no line break, so the concatenation is unambiguous.
        let mut hash = hex::encode(Sha256::digest(format!("{}\n{}", self.issuer, self.subject)));
        hash.truncate(24);
        hash
    }
}

/// Returns true if a claim is this text or a list that contains it.
fn contains_text(claim: &Value, text: &str) -> bool {
    match claim {
        Value::Array(items) => items.iter().any(|item| equals_text(item, text)),
        claim => equals_text(claim, text),
    }
}

fn equals_text(claim: &Value, text: &str) -> bool {
    match claim {
        Value::String(claim) => claim == text,
        Value::Number(claim) => claim.to_string() == text,
        _ => false,
    }
}

fn find_claim<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(found) = claims.get(path) {
        return Some(found);
    }
    let deeper = |(dot, _)| {
        let (name, rest) = path.split_at_checked(dot)?;
        find_claim(claims.get(name)?.as_object()?, rest.get(1..)?)
    };
    path.rmatch_indices('.').find_map(deeper)
}

/// Returns a time claim in seconds. A value that is not a number makes the token malformed.
fn parse_seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, TokenRejection> {
    match claims.get(name) {
        None => Ok(None),
        Some(claim) => claim.as_f64().map(Some).ok_or(TokenRejection::Malformed),
    }
}

fn unix_now() -> f64 {
    // Without a working clock every token counts as expired.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(f64::MAX, |since| since.as_secs_f64())
}

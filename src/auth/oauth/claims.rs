//! What a token says of its bearer, and the rules that hold however it was checked.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::auth::principal::Scopes;

use super::Reason;

/// Claims that someone vouches for: a signature, or the issuer when asked.
#[derive(Debug)]
pub(super) struct Claims {
    all: Map<String, Value>,
    issuer: String,
    subject: String,
}

/// What claims are measured by.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expected {
    pub(super) issuer: String,
    /// How far clocks may be apart, in seconds.
    pub(super) leeway: u64,
}

impl Claims {
    /// The claims, if they are of the issuer, of somebody, and of now (RFC 9068 §4). Whom they are
    /// for is looked at with each request, because endpoints differ. An issuer and an expiry may be absent here: a signed token is required to have them
    /// where its signature is checked.
    pub(super) fn new(all: Map<String, Value>, expected: &Expected) -> Result<Self, Reason> {
        let issuer = all.get("iss").is_none_or(|iss| *iss == *expected.issuer);
        if !issuer {
            return Err(Reason::Issuer);
        }
        let now = now();
        match seconds(&all, "exp")? {
            Some(end) if end + expected.leeway as f64 <= now => return Err(Reason::Expired),
            _ => {}
        }
        match seconds(&all, "nbf")? {
            Some(start) if start > now + expected.leeway as f64 => return Err(Reason::NotYet),
            _ => {}
        }
        let subject = match all.get("sub") {
            Some(Value::String(subject)) if !subject.is_empty() => subject.clone(),
            _ => return Err(Reason::Subject),
        };
        Ok(Self {
            all,
            issuer: expected.issuer.clone(),
            subject,
        })
    }

    /// Whether the token is for one of these (RFC 8707 §2).
    pub(super) fn are_for<'a>(&self, audiences: impl IntoIterator<Item = &'a str>) -> bool {
        let Some(claim) = self.all.get("aud") else {
            return false;
        };
        audiences.into_iter().any(|audience| holds(claim, audience))
    }

    /// How long the token is still good, in seconds, if it says so.
    pub(super) fn seconds_left(&self) -> Option<f64> {
        let end = seconds(&self.all, "exp").ok().flatten()?;
        Some((end - now()).max(0.0))
    }

    /// When the token ends, if it says so in a way that can be reckoned with.
    pub(super) fn expiry(&self) -> Option<SystemTime> {
        let end = seconds(&self.all, "exp").ok().flatten()?;
        UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(end).ok()?)
    }

    /// What the token permits: the words of `scope` and `scp` that are ours.
    pub(super) fn scopes(&self) -> Scopes {
        let texts = [self.all.get("scope"), self.all.get("scp")]
            .into_iter()
            .flatten();
        let texts = texts.flat_map(|claim| match claim {
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            claim => Vec::from_iter(claim.as_str()),
        });
        Scopes::among(texts.flat_map(str::split_ascii_whitespace))
    }

    /// Whether `value` stands at this place or in the list there. A name may itself have dots in it, as
    /// `https://example.com/org` has, so the longest one wins.
    pub(super) fn say(&self, path: &str, value: &str) -> bool {
        find(&self.all, path).is_some_and(|claim| holds(claim, value))
    }

    /// Stands for the bearer where its name must not: the start of a hash of issuer and subject.
    pub(super) fn fingerprint(&self) -> String {
        // No issuer has a line break, so that no two bearers make one text.
        let mut hash = hex::encode(Sha256::digest(format!("{}\n{}", self.issuer, self.subject)));
        hash.truncate(24);
        hash
    }
}

/// Whether a claim is this text, or a list with this text in it.
fn holds(claim: &Value, text: &str) -> bool {
    match claim {
        Value::Array(items) => items.iter().any(|item| is(item, text)),
        claim => is(claim, text),
    }
}

fn is(claim: &Value, text: &str) -> bool {
    match claim {
        Value::String(claim) => claim == text,
        Value::Number(claim) => claim.to_string() == text,
        _ => false,
    }
}

fn find<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(found) = claims.get(path) {
        return Some(found);
    }
    let deeper = |(dot, _)| {
        let (name, rest) = path.split_at_checked(dot)?;
        find(claims.get(name)?.as_object()?, rest.get(1..)?)
    };
    path.rmatch_indices('.').find_map(deeper)
}

/// A point in time; one that is no number makes the token a bad one.
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, Reason> {
    match claims.get(name) {
        None => Ok(None),
        Some(claim) => claim.as_f64().map(Some).ok_or(Reason::Malformed),
    }
}

fn now() -> f64 {
    // Without a clock nothing is good any more.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(f64::MAX, |since| since.as_secs_f64())
}

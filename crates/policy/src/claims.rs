//! Claims of the caller's access token, as rules read them.

use std::{fmt, sync::Arc};

use portkey_operation::JsonMap;
use serde_json::Value;

use crate::expression::ArgumentSize;

/// Maximum number of values in the claims that rules read.
pub const MAX_CLAIM_VALUES: usize = 1_000;
/// Maximum amount of text in these claims, in bytes.
pub const MAX_CLAIM_TEXT_BYTES: usize = 16 << 10;

/// Claims that rules never see: they identify a token or a key, hold a secret, or change with every
/// token.
pub const OMITTED_CLAIMS: &[&str] = &[
    "access_token",
    "active",
    "at_hash",
    "c_hash",
    "client_secret",
    "cnf",
    "id_token",
    "jti",
    "nonce",
    "password",
    "refresh_token",
    "s_hash",
    "sid",
    "token",
    "uti",
];

/// A caller without claims.
pub static NO_CLAIMS: CallerClaims = CallerClaims(ClaimSet::None);

/// The claims of a caller's token. Clones share them.
#[derive(Clone, Default)]
pub struct CallerClaims(ClaimSet);

#[derive(Clone, Default)]
enum ClaimSet {
    /// The caller has no token with claims.
    #[default]
    None,
    Known(Arc<JsonMap>),
    /// There are more claims than rules read. They are not kept.
    TooLarge,
}

/// The claims of a token are larger than rules read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the claims of the caller's token are too large for a rule to look at")]
pub struct ClaimsTooLarge;

impl CallerClaims {
    /// Keeps the claims of a verified token, unless they are too large.
    pub fn new(all: Arc<JsonMap>) -> Self {
        let size = ArgumentSize::from_args(&all);
        let fits = size.values <= MAX_CLAIM_VALUES && size.text_bytes <= MAX_CLAIM_TEXT_BYTES;
        Self(match fits {
            true => ClaimSet::Known(all),
            false => ClaimSet::TooLarge,
        })
    }

    /// Returns the claims that rules see, with their names.
    ///
    /// # Errors
    /// Returns an error if the claims are too large. A rule that reads them cannot be evaluated.
    pub fn visible(&self) -> Result<impl Iterator<Item = (&str, &Value)>, ClaimsTooLarge> {
        let all = match &self.0 {
            ClaimSet::None => None,
            ClaimSet::Known(all) => Some(all),
            ClaimSet::TooLarge => return Err(ClaimsTooLarge),
        };
        let named = all.into_iter().flat_map(|all| all.iter());
        Ok(named
            .map(|(name, value)| (name.as_str(), value))
            .filter(|(name, _)| !OMITTED_CLAIMS.contains(name)))
    }

    /// Returns the claim at a path. Names may contain dots, so the longest matching name wins.
    pub(crate) fn find(&self, path: &str) -> Result<Option<&Value>, ClaimsTooLarge> {
        if let Some((_, value)) = self.visible()?.find(|(name, _)| *name == path) {
            return Ok(Some(value));
        }
        for (dot, _) in path.rmatch_indices('.') {
            let (Some(name), Some(rest)) = (path.get(..dot), path.get(dot + 1..)) else {
                continue;
            };
            let outer = self.visible()?.find(|(known, _)| *known == name);
            let inner = outer.and_then(|(_, value)| find_in(value.as_object()?, rest));
            if inner.is_some() {
                return Ok(inner);
            }
        }
        Ok(None)
    }
}

fn find_in<'a>(map: &'a JsonMap, path: &str) -> Option<&'a Value> {
    if let Some(found) = map.get(path) {
        return Some(found);
    }
    path.rmatch_indices('.').find_map(|(dot, _)| {
        let inner = map.get(path.get(..dot)?)?.as_object()?;
        find_in(inner, path.get(dot + 1..)?)
    })
}

impl PartialEq for CallerClaims {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (ClaimSet::Known(a), ClaimSet::Known(b)) => a == b,
            (ClaimSet::None, ClaimSet::None) | (ClaimSet::TooLarge, ClaimSet::TooLarge) => true,
            _ => false,
        }
    }
}

/// Omits the values, which are personal data.
impl fmt::Debug for CallerClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ClaimSet::None => f.write_str("CallerClaims(none)"),
            ClaimSet::Known(all) => write!(f, "CallerClaims({})", all.len()),
            ClaimSet::TooLarge => f.write_str("CallerClaims(too large)"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: &Value) -> CallerClaims {
        CallerClaims::new(Arc::new(value.as_object().cloned().unwrap_or_default()))
    }

    #[test]
    fn claims_that_identify_a_token_are_omitted() {
        let claims = claims(&json!({"sub": "a", "jti": "b", "cnf": {"jkt": "c"}}));
        let names: Vec<_> = claims.visible().unwrap().map(|(name, _)| name).collect();
        assert_eq!(names, ["sub"]);
        assert_eq!(claims.find("cnf.jkt"), Ok(None));
    }

    #[test]
    fn longest_name_wins() {
        let claims = claims(&json!({
            "https://example.com/org": "one",
            "realm_access": {"roles": ["admin"], "a.b": 1},
        }));
        assert_eq!(
            claims.find("https://example.com/org"),
            Ok(Some(&json!("one")))
        );
        assert_eq!(
            claims.find("realm_access.roles"),
            Ok(Some(&json!(["admin"])))
        );
        assert_eq!(claims.find("realm_access.a.b"), Ok(Some(&json!(1))));
        assert_eq!(claims.find("realm_access.none"), Ok(None));
    }

    #[test]
    fn claims_beyond_the_limits_are_not_kept() {
        let many: Vec<usize> = (0..MAX_CLAIM_VALUES).collect();
        let large = "x".repeat(MAX_CLAIM_TEXT_BYTES);
        for value in [json!({ "groups": many }), json!({ "name": large })] {
            assert_eq!(claims(&value).find("groups"), Err(ClaimsTooLarge));
        }
    }
}

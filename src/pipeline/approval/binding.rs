//! Binds an approval to one exact call.

use portkey_operation::JsonMap;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::ApprovalRequirement;
/// SHA-256 digest of a call: caller, tool, arguments, and the rule that requires approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding([u8; 32]);

impl Binding {
    /// Computes the digest over validated arguments, secrets included. The order of fields does not
    /// matter.
    pub fn new(
        principal: &str,
        tool: &str,
        args: &JsonMap,
        required: &ApprovalRequirement,
    ) -> Self {
        let mut digest = Sha256::new();
        for part in [principal, tool, &required.rule, &required.revision] {
            hash_text(&mut digest, part);
        }
        hash_object(&mut digest, args);
        Self(digest.finalize().into())
    }

    /// Computes the digest over several calls, which these parts stand for.
    pub fn of_parts<'a>(principal: &str, parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut digest = Sha256::new();
        hash_text(&mut digest, "calls");
        hash_text(&mut digest, principal);
        Self(digest.finalize().into()).with_parts(parts)
    }

    /// Binds the approval to these parts of the request, too.
    #[must_use]
    pub fn with_parts<'a>(self, parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut digest = Sha256::new();
        digest.update(self.0);
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }

    /// Returns the raw digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Hashes a text with its length as prefix, so that adjacent parts cannot be shifted into each
/// other.
fn hash_text(digest: &mut Sha256, part: &str) {
    digest.update((part.len() as u64).to_be_bytes());
    digest.update(part.as_bytes());
}

fn hash_object(digest: &mut Sha256, map: &JsonMap) {
    let mut fields: Vec<_> = map.iter().collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    digest.update(b"{");
    digest.update((fields.len() as u64).to_be_bytes());
    for (name, inner) in fields {
        hash_text(digest, name);
        hash_value(digest, inner);
    }
}

fn hash_value(digest: &mut Sha256, one: &Value) {
    match one {
        Value::Object(map) => hash_object(digest, map),
        Value::Array(list) => {
            digest.update(b"[");
            digest.update((list.len() as u64).to_be_bytes());
            list.iter().for_each(|item| hash_value(digest, item));
        }
        Value::String(inner) => {
            digest.update(b"\"");
            hash_text(digest, inner);
        }
        // `null`, `true`, `false`, or a number as it was written.
        other => hash_text(digest, &other.to_string()),
    }
}

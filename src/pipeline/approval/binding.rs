//! What an approval is bound to.

use portkey_operation::JsonMap;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Required;
/// A digest of one call: who makes it, of which tool, with which arguments, under which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding([u8; 32]);

impl Binding {
    /// Of a call with arguments that were admitted, secrets included. The order of fields is of no account.
    pub fn of(principal: &str, tool: &str, args: &JsonMap, required: &Required) -> Self {
        let mut digest = Sha256::new();
        for part in [principal, tool, &required.rule, &required.revision] {
            text(&mut digest, part);
        }
        object(&mut digest, args);
        Self(digest.finalize().into())
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Each part with its length before it, so that none can be taken for its neighbour.
fn text(digest: &mut Sha256, part: &str) {
    digest.update((part.len() as u64).to_be_bytes());
    digest.update(part.as_bytes());
}

fn object(digest: &mut Sha256, map: &JsonMap) {
    let mut fields: Vec<_> = map.iter().collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    digest.update(b"{");
    digest.update((fields.len() as u64).to_be_bytes());
    for (name, inner) in fields {
        text(digest, name);
        value(digest, inner);
    }
}

fn value(digest: &mut Sha256, one: &Value) {
    match one {
        Value::Object(map) => object(digest, map),
        Value::Array(list) => {
            digest.update(b"[");
            digest.update((list.len() as u64).to_be_bytes());
            list.iter().for_each(|item| value(digest, item));
        }
        Value::String(inner) => {
            digest.update(b"\"");
            text(digest, inner);
        }
        // `null`, `true`, or a number as it is written.
        other => text(digest, &other.to_string()),
    }
}

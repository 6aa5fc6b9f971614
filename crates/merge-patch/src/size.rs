//! The size of documents that patches yield.

use serde_json::Value;

/// Maximum number of values in a document that a patch yields.
pub const MAX_NODES: usize = 50_000;
/// Maximum size of the texts and names in a document that a patch yields, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 4 << 20;
/// Maximum depth of a document that a patch yields.
pub const MAX_DEPTH: usize = 64;

/// Returns true if a document is within all limits.
pub(crate) fn is_within_limits(document: &Value) -> bool {
    let mut nodes = MAX_NODES;
    let mut bytes = MAX_DOCUMENT_BYTES;
    fits(document, MAX_DEPTH, &mut nodes, &mut bytes)
}

fn fits(value: &Value, depth: usize, nodes: &mut usize, bytes: &mut usize) -> bool {
    let take = |left: &mut usize, used: usize| match left.checked_sub(used) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => false,
    };
    if depth == 0 || !take(nodes, 1) {
        return false;
    }
    match value {
        Value::String(text) => take(bytes, text.len()),
        Value::Array(items) => items.iter().all(|item| fits(item, depth - 1, nodes, bytes)),
        Value::Object(fields) => fields
            .iter()
            .all(|(name, value)| take(bytes, name.len()) && fits(value, depth - 1, nodes, bytes)),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

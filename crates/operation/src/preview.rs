//! Previews: the outcome of a call, computed from a read.

use serde_json::{Value, json};

use super::JsonMap;

/// The argument that asks for a preview. It is never sent.
pub(super) const ARGUMENT: &str = "preview";

/// Merges a request body into a stored document: (stored document, body) → outcome.
pub type Merge = fn(&Value, &Value) -> Value;

/// The preview of an operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Preview {
    /// Path of the GET that returns the stored document.
    pub(super) reads: &'static str,
    /// Computes the outcome of the call from the stored document.
    pub(super) merge: Merge,
}

impl Preview {
    /// Removes the preview argument. Returns true if it was set.
    pub(super) fn take_wish(args: &mut JsonMap) -> bool {
        args.shift_remove(ARGUMENT) == Some(Value::Bool(true))
    }
}

/// Returns true if the arguments ask for a preview.
pub(super) fn is_wished(args: &JsonMap) -> bool {
    args.get(ARGUMENT) == Some(&Value::Bool(true))
}

/// A preview that needs the stored document to be complete.
#[derive(Clone, Debug)]
pub struct Pending {
    pub(super) body: Value,
    pub(super) merge: Merge,
}

impl Pending {
    /// Renders the preview as `{preview, stored, merged}`.
    pub fn of(&self, stored: Value) -> Value {
        let merged = (self.merge)(&stored, &self.body);
        json!({ "preview": true, "stored": stored, "merged": merged })
    }

    /// Renders the preview without the stored document, with the reason why it is not shown.
    pub fn unknown(why: &str) -> Value {
        let note = format!("What is stored is not shown: {why}. Nothing was sent.");
        json!({ "preview": true, "stored": null, "merged": null, "note": note })
    }
}

//! Previews: the outcome of a call, computed from a read.

use serde_json::{Value, json};

use super::JsonMap;

/// The argument that asks for a preview. It is never sent.
pub(super) const PREVIEW_ARGUMENT: &str = "preview";

/// Merges a request body into a stored document: (stored document, body) → outcome.
pub type MergeFn = fn(&Value, &Value) -> Value;

/// The preview of an operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct PreviewSpec {
    /// Path of the GET that returns the stored document.
    pub(super) read_path: &'static str,
    /// Computes the outcome of the call from the stored document.
    pub(super) merge: MergeFn,
}

impl PreviewSpec {
    /// Removes the preview argument. Returns true if it was set.
    pub(super) fn take_flag(args: &mut JsonMap) -> bool {
        args.shift_remove(PREVIEW_ARGUMENT) == Some(Value::Bool(true))
    }
}

/// Returns true if the arguments ask for a preview.
pub(super) fn is_requested(args: &JsonMap) -> bool {
    args.get(PREVIEW_ARGUMENT) == Some(&Value::Bool(true))
}

/// A preview that needs the stored document to be complete.
#[derive(Clone, Debug)]
pub struct PendingPreview {
    pub(super) body: Value,
    pub(super) merge: MergeFn,
}

impl PendingPreview {
    /// Renders the preview as `{preview, stored, merged}`.
    pub fn complete(&self, stored: Value) -> Value {
        let merged = (self.merge)(&stored, &self.body);
        json!({ "preview": true, "stored": stored, "merged": merged })
    }

    /// Renders the preview without the stored document, with the reason why it is not shown.
    pub fn unavailable(why: &str) -> Value {
        let note = format!("What is stored is not shown: {why}. Nothing was sent.");
        json!({ "preview": true, "stored": null, "merged": null, "note": note })
    }
}

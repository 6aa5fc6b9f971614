//! Previews: what a call would leave behind, found out by reading alone.

use serde_json::{Value, json};

use super::JsonMap;

/// The argument that asks for a preview; it is never sent.
pub(super) const ARGUMENT: &str = "preview";

/// What a body makes of a stored document: the document, the body, the outcome.
pub type Merge = fn(&Value, &Value) -> Value;

/// How an operation's outcome is found out beforehand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Preview {
    /// Path of the GET that returns the stored document.
    pub(super) reads: &'static str,
    /// What the call would make of it.
    pub(super) merge: Merge,
}

impl Preview {
    /// Takes the argument that asks for a preview out of a call's, and says what it was.
    pub(super) fn take_wish(args: &mut JsonMap) -> bool {
        args.shift_remove(ARGUMENT) == Some(Value::Bool(true))
    }
}

/// Whether the arguments ask for a preview.
pub(super) fn is_wished(args: &JsonMap) -> bool {
    args.get(ARGUMENT) == Some(&Value::Bool(true))
}

/// A preview that waits for the stored document.
#[derive(Clone, Debug)]
pub struct Pending {
    pub(super) body: Value,
    pub(super) merge: Merge,
}

impl Pending {
    /// The preview, as `{preview, stored, merged}`.
    pub fn of(&self, stored: Value) -> Value {
        let merged = (self.merge)(&stored, &self.body);
        json!({ "preview": true, "stored": stored, "merged": merged })
    }

    /// The preview where the stored document is not shown, with the reason.
    pub fn unknown(why: &str) -> Value {
        let note = format!("What is stored is not shown: {why}. Nothing was sent.");
        json!({ "preview": true, "stored": null, "merged": null, "note": note })
    }
}

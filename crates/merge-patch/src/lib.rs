//! Patches of JSON documents, and the differences between documents. Performs no I/O, and knows no
//! resource by name.
//!
//! - [`Patch`] is a merge patch (RFC 7396) or a list of operations (RFC 6902).
//! - [`ListRules`] name the lists whose entries are told apart by a key. A merge patch changes the
//!   entries that it names, and keeps the others; `"_delete": true` removes an entry.
//! - [`Diff`] has the differences of two documents: paths with old and new values.
//! - [`gateway`] has the merge rules of Enkrypt AI's MCP gateways, on the same engine.
//!
//! Sizes are bounded: the operations of a patch, the document that it yields, and the changes that
//! a difference lists.

mod diff;
pub mod gateway;
mod list_rules;
mod merge;
mod messages;
mod patch;
mod path;
#[cfg(test)]
mod properties;
mod size;

use serde_json::{Map, Value};

pub use self::{
    diff::{Change, Diff, MAX_CHANGES, diff_lines, unified_diff},
    list_rules::{EntryKey, KeyField, KeyedList, ListRules, MatchedEntry},
    merge::{DELETE_MARKER, merge_patch_between},
    messages::render_messages,
    patch::{MAX_OPERATIONS, Patch, PatchError},
    path::{DocumentPath, PathStep},
    size::{MAX_DEPTH, MAX_DOCUMENT_BYTES, MAX_NODES},
};

/// A JSON object.
pub type JsonObject = Map<String, Value>;

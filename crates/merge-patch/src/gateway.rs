//! Merge rules of Enkrypt AI MCP gateways: applies a patch to the stored gateway.
//!
//! Objects merge key by key, and `null` removes a key, at every level (RFC 7396). The list
//! `servers_config.servers` is merged by server name and version. Every other list is replaced.
//!
//! Two texts of Enkrypt AI differ on the fields that a patch omits from a guardrails policy. One
//! says that a policy is replaced as a unit, the other that omitted fields stay. Here they stay, as
//! everywhere else. A patch that always sends `enabled`, `guardrail_name` and `block` together has
//! the same outcome under both.
//!
//! See "Enkrypt AI merge rules" in docs/portkey-api-notes.md.

use serde_json::Value;

use super::{
    list_rules::{EntryKey, KeyField, KeyedList, ListRules},
    merge::Merger,
};

/// Name and version identify a server. A server that names no version has `v1`.
const SERVER_KEY: EntryKey = EntryKey(&[
    KeyField {
        name: "saved_name",
        default: None,
    },
    KeyField {
        name: "server_version",
        default: Some("v1"),
    },
]);

/// The keyed lists of a gateway.
pub const LIST_RULES: ListRules = ListRules(&[KeyedList {
    path: "servers_config.servers",
    keys: &[SERVER_KEY],
    is_lenient: true,
}]);

/// Merges `patch` into the stored gateway. Both are JSON objects in the form of the API.
///
/// A patch that is not an object changes nothing, and neither does an entry of `servers` without a
/// `saved_name`.
pub fn merge(stored: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return stored.clone();
    };
    let merger = Merger {
        rules: LIST_RULES,
        protects_lists: false,
    };
    let mut merged = stored.as_object().cloned().unwrap_or_default();
    // Without protected lists and with a lenient key, no patch is an error.
    if merger.merge_object(&mut merged, patch, "").is_err() {
        return stored.clone();
    }
    Value::Object(merged)
}

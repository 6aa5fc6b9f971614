//! Resources as documents of a snapshot: stable, without secrets, and as YAML.

use portkey_operation::{JsonMap, UpdateRules};
use portkey_policy::REDACTED;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::kinds::{KindScope, SnapshotKind};
use crate::{
    pipeline::state_fields::to_arguments,
    security::secrets::{BLANK, MASK, is_masked},
};

/// Maximum length of the name of a file without its ending, in bytes.
const MAX_SEGMENT_BYTES: usize = 120;
/// Number of characters of the digest of a name that is too long.
const DIGEST_CHARS: usize = 12;
/// Maximum depth of a document.
const MAX_DEPTH: usize = 64;

/// Fields that change without anybody changing a setting, or that only say who changed it and when.
const VOLATILE_FIELDS: &[&str] = &[
    "api_key_defaults_id",
    "collection_details",
    "connection_status",
    "created_at",
    "creation_source",
    "current_usage",
    "has_more",
    "is_exhausted_alerts_sent",
    "is_expired_alerts_sent",
    "is_threshold_alerts_sent",
    "key_transition_expires_at",
    "last_reset_at",
    "last_resynced_at",
    "last_synced_at",
    "last_updated_at",
    "last_used_at",
    "next_rotation_at",
    "next_usage_reset_at",
    "object",
    "organisation_id",
    "prompt_partial_version_id",
    "prompt_version",
    "prompt_version_id",
    "prompt_version_status",
    "reset_usage",
    "resolved_times",
    "returned",
    "total",
    "updated_at",
    "updated_by",
    "usage",
    "users",
    "value_key_usage_map",
    "variable_components",
    "version",
    "version_id",
    "workspace_count",
    "workspace_name",
    "workspaces_count",
];

/// Fields whose content belongs to its author, whatever the names in it are.
const OPAQUE_FIELDS: &[&str] = &[
    "checks",
    "conditions",
    "config",
    "configurations",
    "functions",
    "metadata",
    "model_config",
    "parameters",
    "prompt_metadata",
    "tags",
    "template_metadata",
    "tools",
];

/// States that follow from usage or time, and that no update sets.
const DERIVED_STATES: [&str; 2] = ["exhausted", "expired"];

/// Builds the document of a resource from what the API returned.
pub(super) fn build_document(rules: Option<&UpdateRules>, resource: JsonMap) -> Value {
    let resource = Value::Object(resource);
    let fields = match rules {
        Some(rules) => to_arguments(rules, &resource),
        None => match resource {
            Value::Object(fields) => fields,
            _ => JsonMap::new(),
        },
    };
    let mut document = Value::Object(fields);
    normalize(&mut document, false, MAX_DEPTH);
    if let Some(fields) = document.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
        if let Some(status) = fields.get_mut("status")
            && DERIVED_STATES.iter().any(|state| *status == *state)
        {
            *status = "active".into();
        }
    }
    document
}

/// Removes what is volatile, replaces what is hidden, and sorts fields.
fn normalize(value: &mut Value, is_opaque: bool, depth: usize) {
    if depth == 0 {
        *value = Value::Null;
        return;
    }
    match value {
        Value::Object(fields) => {
            if !is_opaque {
                fields.retain(|name, _| !VOLATILE_FIELDS.contains(&name.as_str()));
            }
            fields.sort_keys();
            for (name, value) in fields {
                let is_opaque = is_opaque || OPAQUE_FIELDS.contains(&name.as_str());
                normalize(value, is_opaque, depth - 1);
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| normalize(item, is_opaque, depth - 1)),
        Value::String(text) if is_hidden_text(text) => *value = BLANK.into(),
        _ => {}
    }
}

/// Returns true if nothing of a text is left but the mark of what hides it. A longer text, such as a
/// prompt in which a key was masked, is kept with the mark.
fn is_hidden_text(text: &str) -> bool {
    text == MASK || is_masked(text)
}

/// Returns the number of values that are hidden.
pub(in crate::workflows) fn count_hidden(value: &Value) -> usize {
    match value {
        Value::String(text) => {
            usize::from(text == BLANK || text.contains(MASK) || text.contains(REDACTED))
        }
        Value::Array(items) => items.iter().map(count_hidden).sum(),
        Value::Object(fields) => fields.values().map(count_hidden).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Sorts the rows of a list by what names them.
pub(super) fn sort_rows(rows: &mut [Value]) {
    let name = |row: &Value| {
        let text = |field: &str| row.get(field)?.as_str();
        let name = ["slug", "id", "name", "user_id", "workspace_id"]
            .into_iter()
            .find_map(text);
        // Tools and prompts of an MCP server may have the same name.
        let kind = text("type").unwrap_or_default();
        format!("{}\0{kind}", name.unwrap_or_default())
    };
    rows.sort_by_key(name);
}

/// Writes a document as YAML.
pub(crate) fn to_yaml(document: &Value) -> String {
    let yaml = serde_saphyr::to_string(document).unwrap_or_default();
    // A text that YAML would read as another value stays what it is: JSON is YAML, too.
    let is_exact = parse_yaml(&yaml).is_ok_and(|read| read == *document);
    match is_exact {
        true => yaml,
        false => {
            let mut json = serde_json::to_string_pretty(document).unwrap_or_default();
            json.push('\n');
            json
        }
    }
}

/// Parses a document of a snapshot.
pub(in crate::workflows) fn parse_yaml(text: &str) -> Result<Value, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

/// Returns the path of the file of a resource. `workspace` is the folder of its workspace.
pub(super) fn document_path(kind: &SnapshotKind, workspace: Option<&str>, handle: &str) -> String {
    let name = kind.name;
    match (kind.scope, workspace) {
        (KindScope::Single, _) => format!("{name}.yaml"),
        (KindScope::Workspaces, _) => {
            format!("workspaces/{}/workspace.yaml", path_segment(handle))
        }
        (_, Some(workspace)) => {
            let workspace = path_segment(workspace);
            format!(
                "workspaces/{workspace}/{name}/{}.yaml",
                path_segment(handle)
            )
        }
        (_, None) => format!("{name}/{}.yaml", path_segment(handle)),
    }
}

/// Returns a name as one segment of a path: ASCII letters, digits, `-`, `_`, `.` and `@`, with others
/// as `%` and two digits. It does not begin with a dot.
pub(super) fn path_segment(name: &str) -> String {
    let mut segment = String::new();
    for (i, byte) in name.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-_@".contains(&byte);
        if is_plain || byte == b'.' && i > 0 {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    if segment.is_empty() {
        segment.push_str("%00");
    }
    if segment.len() > MAX_SEGMENT_BYTES {
        // The rest may be all that tells two long names apart.
        let mut digest = hex::encode(Sha256::digest(name));
        digest.truncate(DIGEST_CHARS);
        segment.truncate(MAX_SEGMENT_BYTES - digest.len() - 1);
        segment = format!("{segment}-{digest}");
    }
    segment
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_sorted_and_have_nothing_volatile_or_masked() {
        let resource = json!({ "slug": "a", "name": "A", "created_at": "2026-01-01", "note": null,
            "status": "exhausted", "key": "sk*****001",
            "config": { "version_id": 1, "b": 2, "a": 1 },
            "usage_limits": [{ "type": "cost", "credit_limit": 5, "next_usage_reset_at": "x" }] });
        let document = build_document(None, resource.as_object().unwrap().clone());
        assert_eq!(
            document.to_string(),
            r#"{"config":{"a":1,"b":2,"version_id":1},"key":"***","name":"A","slug":"a","status":"active","usage_limits":[{"credit_limit":5,"type":"cost"}]}"#
        );
        assert_eq!(count_hidden(&document), 1);
    }

    #[test]
    fn yaml_is_read_as_it_was_written() {
        let texts = [
            "yes",
            "no",
            "null",
            "~",
            "1",
            "1.0",
            "0x1f",
            "1_000",
            "2026-12-01",
            "2026-12-01T00:00:00Z",
            "",
            " a",
            "a ",
            "# a",
            "a: b",
            "- a",
            "&a",
            "*a",
            "!a",
            "%a",
            "@a",
            "`a",
            "{a}",
            "[a]",
            "a\nb",
            "a\nb\n",
            "\na",
            "  a\n b",
            "a\tb",
            "a\r\nb",
            "'",
            "\"",
            "\\",
            "1e3",
            ".inf",
            ".nan",
            "0o17",
            "🔬 Research",
            "***",
            "---",
            "...",
            "key\n\n\n",
        ];
        let document = json!({ "texts": texts.as_slice(), "numbers": [1, -1, 0.2, 0.8, 3e-05],
            "flags": [true, false, null], "empty": [{}, []], "deep": { "a": [[{ "b": [] }]] } });
        let yaml = to_yaml(&document);
        assert_eq!(parse_yaml(&yaml).unwrap(), document, "{yaml}");
        for text in texts {
            let document = json!({ "text": text });
            assert_eq!(
                parse_yaml(&to_yaml(&document)).unwrap(),
                document,
                "{text:?}"
            );
        }
        let block = to_yaml(&json!({ "string": "a: b\nc" }));
        assert!(block.starts_with("string: |"), "{block}");
    }

    #[test]
    fn names_become_one_segment_of_a_path() {
        assert_eq!(path_segment("pc-trial-split"), "pc-trial-split");
        assert_eq!(path_segment("../a/b\\c:d"), "%2E.%2Fa%2Fb%5Cc%3Ad");
        assert_eq!(path_segment(""), "%00");
        let long = path_segment(&"x".repeat(300));
        assert_eq!(long.len(), MAX_SEGMENT_BYTES);
        assert_ne!(long, path_segment(&"x".repeat(301)));
    }
}

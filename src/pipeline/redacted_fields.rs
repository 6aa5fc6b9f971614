//! Names the fields of an answer that a policy has redacted, for workflows and reports that read it.

use std::collections::BTreeSet;

use portkey_policy::REDACTED;
use serde_json::Value;

/// Maximum number of fields that a message names.
const MAX_NAMED_FIELDS: usize = 4;

/// Returns the paths of redacted values, such as `data[].name`.
pub(crate) fn find_redacted_fields(answer: &Value) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    collect_fields(answer, &mut String::new(), &mut fields);
    fields
}

/// Returns the fields as a message names them.
pub(crate) fn name_fields(fields: &BTreeSet<String>) -> String {
    let named = fields.iter().take(MAX_NAMED_FIELDS);
    let mut text = named
        .map(|field| format!("`{field}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if fields.is_empty() {
        text.push_str("values");
    }
    if fields.len() > MAX_NAMED_FIELDS {
        text.push_str(", …");
    }
    text
}

fn collect_fields(value: &Value, path: &mut String, fields: &mut BTreeSet<String>) {
    let length = path.len();
    match value {
        // A text may be a document of its own, in which a value is redacted.
        Value::String(text) if text.contains(REDACTED) => {
            fields.insert(path.clone());
        }
        Value::Array(items) => {
            path.push_str("[]");
            for item in items {
                collect_fields(item, path, fields);
            }
        }
        Value::Object(map) => {
            for (name, inner) in map {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
                collect_fields(inner, path, fields);
                path.truncate(length);
            }
        }
        _ => {}
    }
    path.truncate(length);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn redacted_fields_are_named_once_with_their_paths() {
        let answer = json!({ "total": 2, "name": REDACTED, "data": [{ "a": { "b": REDACTED } }, { "a": { "b": REDACTED } }],
            "config": format!("{{\"x\": \"{REDACTED}\"}}"), "other": "redacted" });
        let fields = find_redacted_fields(&answer);
        assert_eq!(name_fields(&fields), "`config`, `data[].a.b`, `name`");
        assert_eq!(name_fields(&find_redacted_fields(&json!({}))), "values");
    }
}

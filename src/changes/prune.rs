//! Removes what only reads have from a value that is to be written back.

use portkey_operation::JsonMap;
use serde_json::Value;

/// Returns a value that a patch leaves or changes, without the fields that the update does not take
/// and that the state has had before. A field that the patch adds stays, known or not.
pub(super) fn prune(value: Value, before: Option<&Value>, schema: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(prune_fields(fields, before, schema)),
        Value::Array(items) => {
            // One value or a list of them has the schema of the one.
            let schema = schema.get("items").unwrap_or(schema);
            let known = before.and_then(Value::as_array).map(Vec::as_slice);
            let known = known.unwrap_or_default();
            let prune_item = |(index, item): (usize, Value)| {
                let same = known.iter().find(|known| **known == item);
                prune(item, same.or_else(|| known.get(index)), schema)
            };
            items.into_iter().enumerate().map(prune_item).collect()
        }
        // Some flags are read as 0 or 1.
        Value::Number(number)
            if schema.get("type").is_some_and(|kind| kind == "boolean")
                && before == Some(&Value::Number(number.clone())) =>
        {
            Value::Bool(number.as_u64() == Some(1))
        }
        value => value,
    }
}

fn prune_fields(fields: JsonMap, before: Option<&Value>, schema: &Value) -> JsonMap {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return fields;
    };
    let is_clearable = |schema: &Value| schema.get("x-clearable") == Some(&Value::Bool(true));
    let pruned = fields.into_iter().filter_map(|(name, value)| {
        let known = before.and_then(|before| before.get(&name));
        let is_unchanged = known == Some(&value);
        let Some(schema) = properties.get(&name) else {
            return (!is_unchanged).then_some((name, value));
        };
        let is_unset = match &value {
            Value::Null => !is_clearable(schema),
            // A choice that is not made is read as an empty text.
            Value::String(text) => text.is_empty() && schema.get("enum").is_some(),
            _ => false,
        };
        match is_unset && is_unchanged {
            true => None,
            false => Some((name, prune(value, known, schema))),
        }
    });
    pruned.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_only_reads_have_are_removed() {
        let schema = json!({ "type": "object", "properties": {
            "credit_limit": { "type": "number" },
            "periodic_reset": { "type": "string", "enum": ["monthly"] },
            "alert_threshold": { "type": "number", "x-clearable": true },
            "flag": { "type": "boolean" },
        } });
        let before = json!({ "credit_limit": 5, "periodic_reset": "", "alert_threshold": null,
            "flag": 1, "is_expired_alerts_sent": true });
        let mut patched = before.clone();
        patched["credit_limit"] = json!(6);
        patched["added"] = json!("kept");
        let expected =
            json!({ "credit_limit": 6, "alert_threshold": null, "flag": true, "added": "kept" });
        assert_eq!(prune(patched, Some(&before), &schema), expected);
        let list = prune(
            json!([{ "credit_limit": 6, "x": 1 }]),
            Some(&json!([{ "x": 1 }])),
            &schema,
        );
        assert_eq!(list, json!([{ "credit_limit": 6 }]));
    }
}

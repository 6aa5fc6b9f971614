//! Arguments that take one value or a list of them, written in the form that the state has.

use portkey_merge_patch::{ListRules, Patch};
use portkey_operation::CompiledOperation;
use serde_json::Value;

/// Writes one value of a merge patch as a list, where the state has a list and the update takes both.
/// If the list has one item, the value is merged into it.
pub(super) fn adopt_stored_lists(
    published: &CompiledOperation,
    before: &Value,
    patch: Patch,
) -> Patch {
    let Patch::Merge(mut fields) = patch else {
        return patch;
    };
    for (name, change) in &mut fields {
        let (Value::Object(one), Some(Value::Array(stored))) = (&*change, before.get(name)) else {
            continue;
        };
        if !takes_one_or_many(published, name) {
            continue;
        }
        let merged = match stored.as_slice() {
            [item] => Patch::Merge(one.clone())
                .apply(item, ListRules::default())
                .unwrap_or_else(|_| change.clone()),
            _ => change.clone(),
        };
        *change = Value::Array(vec![merged]);
    }
    Patch::Merge(fields)
}

/// Returns true if an argument takes one value or a list of them.
fn takes_one_or_many(published: &CompiledOperation, name: &str) -> bool {
    let schema = published.full_schema().get("properties");
    let schema = schema.and_then(|properties| properties.get(name));
    schema.is_some_and(|schema| schema.get("x-or-list").is_some())
}

/// Writes one value as a list, or a list of one as its value, where the state has the other form and
/// the update takes both.
pub(super) fn adopt_list_forms(published: &CompiledOperation, before: &Value, after: &mut Value) {
    let Some(fields) = after.as_object_mut() else {
        return;
    };
    for (name, value) in fields {
        if !takes_one_or_many(published, name) {
            continue;
        }
        let form = match (before.get(name), &*value) {
            (Some(Value::Array(_)), Value::Object(_)) => Value::Array(vec![value.take()]),
            (Some(Value::Object(_)), Value::Array(items)) if items.len() == 1 => {
                items.first().cloned().unwrap_or_default()
            }
            _ => continue,
        };
        *value = form;
    }
}

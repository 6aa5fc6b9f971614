//! Converts between the state that a read returns and the arguments of an update.

use portkey_operation::{JsonMap, UpdateRules};
use serde_json::Value;

/// Returns the resource in an answer, which is the whole answer or its `data`.
pub(crate) fn resource(answer: &Value) -> &Value {
    let data = answer.get("data").filter(|data| data.is_object());
    data.unwrap_or(answer)
}

/// Returns the fields of a state under the names and in the form of the arguments.
pub(crate) fn to_arguments(rules: &UpdateRules, answer: &Value) -> JsonMap {
    let mut fields = resource(answer).as_object().cloned().unwrap_or_default();
    for field in rules.fields() {
        let Some(value) = fields.get(field.read_name()) else {
            continue;
        };
        let value = match (value, field.item_field()) {
            (Value::String(text), _) if !field.read_prefix().is_empty() => text
                .strip_prefix(field.read_prefix())
                .unwrap_or(text)
                .into(),
            (Value::String(text), _) if field.is_json_text() => {
                serde_json::from_str(text).unwrap_or_else(|_| value.clone())
            }
            (Value::Array(items), Some(name)) => {
                let named = |item: &Value| item.get(name).cloned().unwrap_or_else(|| item.clone());
                items.iter().map(named).collect()
            }
            (value, _) => value.clone(),
        };
        if field.read_name() != field.name() {
            fields.shift_remove(field.read_name());
        }
        fields.insert(field.name().to_owned(), value);
    }
    fields
}

/// Returns a state with fields in the form of arguments put in their places.
pub(crate) fn to_answer(rules: &UpdateRules, answer: &Value, arguments: &JsonMap) -> Value {
    let mut changed = answer.clone();
    let resource = match changed.get("data").is_some_and(Value::is_object) {
        true => changed.get_mut("data"),
        false => Some(&mut changed),
    };
    let Some(Value::Object(fields)) = resource else {
        return changed;
    };
    for (name, value) in arguments {
        let field = rules.fields().iter().find(|field| field.name() == name);
        let was_text = field.is_some_and(|field| {
            field.is_json_text() && fields.get(field.read_name()).is_some_and(Value::is_string)
        });
        let value = match was_text {
            true => Value::String(value.to_string()),
            false => value.clone(),
        };
        let name = field.map_or(name.as_str(), |field| field.read_name());
        fields.insert(name.to_owned(), value);
    }
    changed
}

/// Returns true if two values mean the same to an API: numbers by value, `null` as absent, and flags
/// as 0 or 1.
pub(crate) fn is_same(one: Option<&Value>, other: Option<&Value>) -> bool {
    let one = one.filter(|value| !value.is_null());
    let other = other.filter(|value| !value.is_null());
    match (one, other) {
        (Some(Value::Number(one)), Some(Value::Number(other))) => {
            one == other || one.as_f64() == other.as_f64()
        }
        // Some flags are written as a boolean and read as 0 or 1.
        (Some(Value::Bool(flag)), Some(Value::Number(number)))
        | (Some(Value::Number(number)), Some(Value::Bool(flag))) => {
            number.as_u64() == Some(u64::from(*flag))
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            let mut pairs = one.iter().zip(other);
            one.len() == other.len() && pairs.all(|(one, other)| is_same(Some(one), Some(other)))
        }
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let names = one.keys().chain(other.keys());
            let mut names = names.collect::<Vec<_>>();
            names.dedup();
            names
                .into_iter()
                .all(|name| is_same(one.get(name), other.get(name)))
        }
        (one, other) => one == other,
    }
}

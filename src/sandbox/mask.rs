//! Masking: how a secret looks when it is read back.

use serde_json::Value;

use super::store::Item;

/// A secret with its first two and last three characters left; all stars when that would show too
/// much of it.
pub(crate) fn mask(secret: &str) -> String {
    let characters: Vec<char> = secret.chars().collect();
    match (characters.first_chunk::<2>(), characters.last_chunk::<3>()) {
        (Some(head), Some(tail)) if characters.len() > 7 => {
            format!("{}*****{}", String::from_iter(head), String::from_iter(tail))
        }
        _ => "*****".to_owned(),
    }
}

/// An object as it is read back: a secret is renamed to `masked_<name>`; of a secret object, such
/// as a set of headers, the names stay and each value is masked.
pub(crate) fn mask_object(object: &Item, secrets: &[&str]) -> Item {
    let masked = object.iter().map(|(name, value)| match value {
        value if value.is_null() || !secrets.contains(&name.as_str()) => {
            (name.clone(), value.clone())
        }
        Value::Object(inner) => {
            let hidden = inner.iter().map(|(name, value)| (name.clone(), mask_value(value)));
            (name.clone(), Value::Object(hidden.collect()))
        }
        value => (format!("masked_{name}"), mask_value(value)),
    });
    masked.collect()
}

fn mask_value(value: &Value) -> Value {
    // Only texts are long enough to show a part of.
    mask(value.as_str().unwrap_or_default()).into()
}

//! Truncates JSON to a size that can be displayed.

use serde_json::{Value, json};

/// Maximum depth of a displayed value.
const MAX_DEPTH: usize = 12;

/// Truncates texts to `text` characters, and lists and objects to `items` entries. Each truncated
/// part states how much was left out.
pub fn truncate(value: &Value, text: usize, items: usize) -> Value {
    truncate_nested(value, text, items, 0)
}

fn truncate_nested(value: &Value, text: usize, items: usize, depth: usize) -> Value {
    let inner = |value: &Value| truncate_nested(value, text, items, depth + 1);
    match value {
        Value::String(long) => match long.char_indices().nth(text) {
            Some((end, _)) => {
                let (start, rest) = long.split_at(end);
                json!(format!(
                    "{start}… ({} more characters)",
                    rest.chars().count()
                ))
            }
            None => value.clone(),
        },
        Value::Array(_) | Value::Object(_) if depth >= MAX_DEPTH => json!("…"),
        Value::Array(list) => {
            let mut kept: Vec<Value> = list.iter().take(items).map(inner).collect();
            if let Some(more) = list.len().checked_sub(items).filter(|more| *more > 0) {
                kept.push(json!(format!("… ({more} more)")));
            }
            kept.into()
        }
        Value::Object(map) => {
            let kept = map
                .iter()
                .take(items)
                .map(|(name, value)| (name.clone(), inner(value)));
            let mut kept: serde_json::Map<_, _> = kept.collect();
            if let Some(more) = map.len().checked_sub(items).filter(|more| *more > 0) {
                kept.insert("…".to_owned(), json!(format!("{more} more")));
            }
            kept.into()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

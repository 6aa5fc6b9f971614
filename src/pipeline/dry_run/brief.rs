//! JSON cut to a length that can be shown.

use serde_json::{Value, json};

/// How deep a value is shown.
const DEEPEST: usize = 12;

/// The value with texts of more than `text` characters and lists or objects of more than `items` entries
/// cut, each saying by how much.
pub fn brief(value: &Value, text: usize, items: usize) -> Value {
    cut(value, text, items, 0)
}

fn cut(value: &Value, text: usize, items: usize, depth: usize) -> Value {
    let inner = |value: &Value| cut(value, text, items, depth + 1);
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
        Value::Array(_) | Value::Object(_) if depth >= DEEPEST => json!("…"),
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

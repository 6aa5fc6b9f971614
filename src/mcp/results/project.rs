//! Projection: reduces each item to the requested fields.

use portkey_operation::JsonMap;
use serde_json::Value;

/// Maximum number of names per call: each is looked up in all items.
pub(super) const MAX_FIELDS: usize = 100;
/// Maximum size of a name, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Selected field names, with dots into objects. A list on the path stands for each of its items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSelection(Vec<String>);

impl FieldSelection {
    /// Parses a list of texts, or a text with commas. Returns `None` for other values, and for too
    /// many or too long names.
    pub(super) fn parse(value: &Value) -> Option<Self> {
        let names: Vec<String> = match value {
            Value::Null => Vec::new(),
            Value::String(text) if text.len() > MAX_FIELDS * MAX_NAME_BYTES => return None,
            Value::String(text) => match serde_json::from_str(text) {
                // Some clients write lists as texts.
                Ok(list @ Value::Array(_)) => return Self::parse(&list),
                _ => text.split(',').map(|name| name.trim().to_owned()).collect(),
            },
            Value::Array(names) => names
                .iter()
                .map(|name| Some(name.as_str()?.trim().to_owned()))
                .collect::<Option<_>>()?,
            _ => return None,
        };
        let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
        let is_bounded =
            names.len() <= MAX_FIELDS && names.iter().all(|name| name.len() <= MAX_NAME_BYTES);
        is_bounded.then_some(Self(names))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn names(&self) -> &[String] {
        &self.0
    }

    /// Returns the selected fields of an item.
    pub(super) fn select(&self, item: &Value) -> Value {
        if self.is_empty() {
            return item.clone();
        }
        let paths: Vec<&str> = self.0.iter().map(String::as_str).collect();
        // An item without fields is returned as it is, such as a name in a list of names.
        project(item, &paths).unwrap_or_else(|| item.clone())
    }

    /// Returns the names that no item has.
    pub(super) fn missing_names(&self, items: &[Value]) -> Vec<&str> {
        let names = self.0.iter().map(String::as_str);
        names
            .filter(|name| !items.iter().any(|item| has_path(item, name)))
            .collect()
    }
}

/// Returns the selected fields of a value; `None` if it has no fields at all.
fn project(value: &Value, paths: &[&str]) -> Option<Value> {
    match value {
        Value::Array(items) => Some(
            items
                .iter()
                .filter_map(|item| project(item, paths))
                .collect::<Vec<_>>()
                .into(),
        ),
        Value::Object(map) => {
            let mut selected = JsonMap::new();
            for (name, value) in map {
                if paths.contains(&name.as_str()) {
                    selected.insert(name.clone(), value.clone());
                    continue;
                }
                let below: Vec<&str> = paths
                    .iter()
                    .filter_map(|path| strip_name(path, name))
                    .collect();
                let part = if below.is_empty() {
                    None
                } else {
                    project(value, &below)
                };
                selected.extend(part.map(|part| (name.clone(), part)));
            }
            Some(selected.into())
        }
        _ => None,
    }
}

fn has_path(value: &Value, path: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| has_path(item, path)),
        Value::Object(map) => map.iter().any(|(name, value)| {
            name == path || strip_name(path, name).is_some_and(|below| has_path(value, below))
        }),
        _ => false,
    }
}

/// Returns the rest of a path below a name; `None` if the path does not lead there.
fn strip_name<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    path.strip_prefix(name)?.strip_prefix('.')
}

//! Values that the caller of a patch may not see. While the patch is applied, a token stands for
//! each of them, so that no patch can test, show or guess one.

use std::collections::HashMap;

use portkey_operation::{JsonMap, field_path};
use serde_json::Value;

/// The hidden values of a state, each with the token that stands for it.
pub(super) struct HiddenValues {
    prefix: String,
    values: HashMap<String, HiddenValue>,
}

struct HiddenValue {
    clear: Value,
    /// Names of the fields that lead to the value, without positions in lists.
    names: Vec<String>,
    /// True if the masking of answers hides the value, and not a policy by its path.
    is_masked: bool,
}

impl HiddenValues {
    /// Records which values the masking of answers leaves visible: a policy hides those by their
    /// path, which no patch changes. `masked` is the state as the masking alone shows it.
    pub(super) fn record_masking(&mut self, tokens: &Value, clear: &Value, masked: &Value) {
        match (tokens, clear, masked) {
            (Value::String(text), clear, masked) => {
                if let Some(value) = self.values.get_mut(text) {
                    value.is_masked = clear != masked;
                }
            }
            (Value::Array(tokens), Value::Array(clear), Value::Array(masked)) => {
                for ((tokens, clear), masked) in tokens.iter().zip(clear).zip(masked) {
                    self.record_masking(tokens, clear, masked);
                }
            }
            (Value::Object(tokens), Value::Object(clear), Value::Object(masked)) => {
                for (name, tokens) in tokens {
                    if let (Some(clear), Some(masked)) = (clear.get(name), masked.get(name)) {
                        self.record_masking(tokens, clear, masked);
                    }
                }
            }
            _ => {}
        }
    }

    /// Returns a state with a token in the place of each value that is shown in another form than it
    /// has, and the values. Returns `None` if there is no randomness for the tokens.
    pub(super) fn hide(clear: &Value, shown: &Value) -> Option<(Value, Self)> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).ok()?;
        let mut hidden = Self {
            prefix: format!("hidden:{}:", hex::encode(bytes)),
            values: HashMap::new(),
        };
        let state = hidden.hide_value(clear, shown, &mut Vec::new());
        Some((state, hidden))
    }

    fn hide_value(&mut self, clear: &Value, shown: &Value, names: &mut Vec<String>) -> Value {
        match (clear, shown) {
            (clear, shown) if clear == shown => clear.clone(),
            (Value::Object(fields), Value::Object(seen))
                if fields.len() == seen.len() && fields.keys().eq(seen.keys()) =>
            {
                let pairs = fields.iter().zip(seen.values());
                let mut hidden = JsonMap::new();
                for ((name, clear), shown) in pairs {
                    names.push(name.clone());
                    hidden.insert(name.clone(), self.hide_value(clear, shown, names));
                    names.pop();
                }
                Value::Object(hidden)
            }
            (Value::Array(items), Value::Array(seen)) if items.len() == seen.len() => {
                let pairs = items.iter().zip(seen);
                pairs
                    .map(|(clear, shown)| self.hide_value(clear, shown, names))
                    .collect()
            }
            (clear, _) => {
                let token = format!("{}{}", self.prefix, self.values.len());
                let value = HiddenValue {
                    clear: clear.clone(),
                    names: names.clone(),
                    is_masked: true,
                };
                self.values.insert(token.clone(), value);
                token.into()
            }
        }
    }

    /// Returns true if nothing is hidden.
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns true if a value is or contains a token.
    pub(super) fn is_in(&self, value: &Value) -> bool {
        !self.is_empty() && self.find(value).is_some()
    }

    /// Returns the path of the first token in a value.
    pub(super) fn find(&self, value: &Value) -> Option<String> {
        let mut found = None;
        self.visit(value, "", &mut Vec::new(), &mut |path, _, _| {
            found.get_or_insert_with(|| path.to_owned());
        });
        found
    }

    /// Returns the path of a token that stands elsewhere than its value: below other names of fields.
    pub(super) fn find_moved(&self, value: &Value) -> Option<String> {
        let mut moved = None;
        self.visit(value, "", &mut Vec::new(), &mut |path, names, value| {
            if names != value.names {
                moved.get_or_insert_with(|| path.to_owned());
            }
        });
        moved
    }

    /// Visits every token with its path, the names that lead to it, and the value that it stands for.
    fn visit(
        &self,
        value: &Value,
        path: &str,
        names: &mut Vec<String>,
        visit: &mut dyn FnMut(&str, &[String], &HiddenValue),
    ) {
        match value {
            Value::String(text) => {
                if let Some(value) = self.values.get(text) {
                    visit(path, names, value);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.visit(item, &format!("{path}[{index}]"), names, visit);
                }
            }
            Value::Object(fields) => {
                for (name, value) in fields {
                    names.push(name.clone());
                    self.visit(value, &field_path(path, name), names, visit);
                    names.pop();
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Returns the texts that stand behind the tokens in a value.
    pub(super) fn texts_in(&self, value: &Value) -> Vec<String> {
        let mut texts = Vec::new();
        self.visit(value, "", &mut Vec::new(), &mut |_, _, hidden| {
            collect_texts(&hidden.clear, &mut texts);
        });
        texts
    }

    /// Puts the values back in the place of their tokens.
    pub(super) fn restore(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(hidden) = self.values.get(text.as_str()) {
                    *value = hidden.clear.clone();
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.restore(item)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.restore(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Returns the path of a token whose value would be visible in a masked document: `clear` is the
    /// document with the values put back, and `masked` the same as a reader would see it.
    pub(super) fn find_visible(
        &self,
        tokens: &Value,
        clear: &Value,
        masked: &Value,
        path: &str,
    ) -> Option<String> {
        match (tokens, clear, masked) {
            (Value::String(text), clear, masked) => {
                let hidden = self.values.get(text)?;
                (hidden.is_masked && clear == masked).then(|| path.to_owned())
            }
            (Value::Array(tokens), Value::Array(clear), Value::Array(masked)) => {
                let mut items = tokens.iter().zip(clear).zip(masked).enumerate();
                items.find_map(|(index, ((tokens, clear), masked))| {
                    self.find_visible(tokens, clear, masked, &format!("{path}[{index}]"))
                })
            }
            (Value::Object(tokens), Value::Object(clear), Value::Object(masked)) => {
                tokens.iter().find_map(|(name, tokens)| {
                    // A name that is masked, too, hides what is below it.
                    let clear = clear.get(name)?;
                    let masked = masked.get(name)?;
                    self.find_visible(tokens, clear, masked, &field_path(path, name))
                })
            }
            _ => None,
        }
    }
}

fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        Value::Object(fields) => fields
            .values()
            .for_each(|value| collect_texts(value, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

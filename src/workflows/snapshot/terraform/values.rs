//! Values of documents as expressions of HCL, with variables in the place of secrets.

use std::collections::{BTreeMap, BTreeSet};

use hcl::{
    Block, Expression, Number,
    expr::{FuncCall, Object, ObjectKey, Traversal, TraversalOperator, Variable},
};
use portkey_operation::JsonMap;
use portkey_policy::REDACTED;
use serde_json::Value;

use super::{
    names::{Names, identifier},
    resources::{Attribute, Form},
};
use crate::security::secrets::{BLANK, MASK};

/// Prefix of fields that the API returns masked.
const MASKED_PREFIX: &str = "masked_";

/// The variables of an export.
#[derive(Debug, Default)]
pub(super) struct Variables {
    /// True for those that may be left out: the secret then stays as it is.
    by_name: BTreeMap<String, bool>,
    names: Names,
}

impl Variables {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Returns true if several secrets would have the same variable.
    pub(super) fn has_doubles(&self) -> bool {
        self.names.has_doubles()
    }

    /// Returns the variables of a further pass, which knows the doubles from its beginning.
    pub(super) fn into_next_pass(self) -> Self {
        Self {
            by_name: BTreeMap::new(),
            names: self.names.into_next_pass(),
        }
    }

    /// Returns the declarations, sorted by name.
    pub(super) fn blocks(&self) -> Vec<Block> {
        let block = |(name, is_optional): (&String, &bool)| {
            let mut block = Block::builder("variable")
                .add_label(name.as_str())
                .add_attribute(("type", reference_to("string")))
                .add_attribute(("sensitive", true));
            if *is_optional {
                block = block.add_attribute(("default", Expression::Null));
            }
            block.build()
        };
        self.by_name.iter().map(block).collect()
    }

    /// Adds the variable of the secret at a path, whose parts have a `/` between them.
    fn add(&mut self, path: &str, is_optional: bool) -> Expression {
        let name = self.names.give("var", identifier(path), path);
        let known = self.by_name.entry(name.clone()).or_insert(is_optional);
        *known &= is_optional;
        reference("var", &name)
    }

    /// Returns the value of an attribute; `None` if it is empty. Fields that the provider does not know
    /// are added to `cut`.
    pub(super) fn expression(
        &mut self,
        attribute: &Attribute,
        found: &Value,
        document: &Value,
        prefix: &str,
        cut: &mut BTreeSet<String>,
    ) -> Option<Expression> {
        if found.is_null() {
            return None;
        }
        Some(match attribute.form {
            Form::Secret => self.add(prefix, true),
            Form::Flag => (found == &Value::Bool(true) || found.as_u64() == Some(1)).into(),
            Form::Plain => match found {
                Value::Array(items) if items.is_empty() => return None,
                Value::String(text) if text.is_empty() => return None,
                found => self.value(found, prefix),
            },
            Form::Json => match found {
                Value::Object(fields) if fields.is_empty() => return None,
                found => json_call(self.value(found, prefix)),
            },
            Form::TextMap => {
                let fields = found.as_object().filter(|fields| !fields.is_empty())?;
                let text = |value: &Value| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let texts: JsonMap = fields
                    .iter()
                    .map(|(name, value)| (name.clone(), text(value).into()))
                    .collect();
                self.value(&Value::Object(texts), prefix)
            }
            Form::Object(known) => {
                found.as_object().filter(|fields| !fields.is_empty())?;
                note_unknown(found, known, attribute.name, cut);
                self.known_fields(found, known, prefix)
            }
            Form::Objects(known) => {
                let items: Vec<&Value> = match found {
                    Value::Array(items) => items.iter().collect(),
                    one => vec![one],
                };
                if items.is_empty() {
                    return None;
                }
                for item in &items {
                    note_unknown(item, known, attribute.name, cut);
                }
                let objects = items
                    .into_iter()
                    .map(|item| self.known_fields(item, known, prefix));
                Expression::Array(objects.collect())
            }
            Form::NameWithoutIcon => {
                let name = found.as_str()?;
                let icon = document
                    .get("icon")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let name = name.strip_prefix(icon).unwrap_or(name).trim_start();
                self.value(&name.into(), prefix)
            }
            Form::TypePart(part) => found.as_str()?.splitn(2, '-').nth(part)?.into(),
            // The builder knows the workspace.
            Form::Workspace => return None,
        })
    }

    /// Returns an object with the fields that the provider knows. A masked field is a variable.
    pub(super) fn known_fields(
        &mut self,
        object: &Value,
        known: &[&str],
        prefix: &str,
    ) -> Expression {
        let mut fields = JsonMap::new();
        for name in known {
            let masked = object
                .get(format!("{MASKED_PREFIX}{name}"))
                .map(|_| BLANK.into());
            let value = object.get(*name).cloned().or(masked);
            if let Some(value) = value.filter(|value| !value.is_null()) {
                fields.insert((*name).to_owned(), value);
            }
        }
        self.value(&Value::Object(fields), prefix)
    }

    /// Returns a value, with a variable for each text that is hidden.
    fn value(&mut self, value: &Value, prefix: &str) -> Expression {
        match value {
            Value::String(text) if is_hidden(text) => self.add(prefix, false),
            Value::Array(items) => {
                let items = items.iter().enumerate();
                let items =
                    items.map(|(index, item)| self.value(item, &format!("{prefix}/{index}")));
                Expression::Array(items.collect())
            }
            Value::Object(fields) => {
                let mut object = Object::new();
                for (name, value) in fields {
                    let is_masked = value.as_str().is_some_and(is_hidden);
                    let name = match name.strip_prefix(MASKED_PREFIX) {
                        Some(name) if is_masked => name,
                        _ => name,
                    };
                    let value = self.value(value, &format!("{prefix}/{name}"));
                    object.insert(ObjectKey::Expression(name.into()), value);
                }
                Expression::Object(object)
            }
            plain => plain_value(plain),
        }
    }
}

/// Returns true for a text of which something is hidden. Written back, it would replace what is stored.
fn is_hidden(text: &str) -> bool {
    text == BLANK || text.contains(MASK) || text.contains(REDACTED)
}

/// Notes the fields with a value that the provider does not know.
fn note_unknown(object: &Value, known: &[&str], attribute: &str, cut: &mut BTreeSet<String>) {
    for (name, value) in object.as_object().into_iter().flatten() {
        if !known.contains(&name.as_str()) && !value.is_null() && name != "id" {
            cut.insert(format!("{attribute}.{name}"));
        }
    }
}

/// Returns a value as it is.
pub(super) fn plain_value(value: &Value) -> Expression {
    match value {
        Value::Null => Expression::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => number_of(number),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => Expression::Array(items.iter().map(plain_value).collect()),
        Value::Object(fields) => {
            let fields = fields.iter();
            Expression::Object(
                fields
                    .map(|(name, value)| {
                        (
                            ObjectKey::Expression(name.as_str().into()),
                            plain_value(value),
                        )
                    })
                    .collect(),
            )
        }
    }
}

fn number_of(number: &serde_json::Number) -> Expression {
    let whole = number.as_i64().map(Number::from);
    let whole = whole.or_else(|| number.as_u64().map(Number::from));
    match whole.or_else(|| Number::from_f64(number.as_f64()?)) {
        Some(number) => Expression::Number(number),
        None => Expression::Null,
    }
}

/// Returns a call of `jsonencode`.
fn json_call(value: Expression) -> Expression {
    FuncCall::builder("jsonencode").arg(value).build().into()
}

/// Returns a reference such as `var.name`.
pub(super) fn reference(object: &str, name: &str) -> Expression {
    let name = hcl::Identifier::sanitized(name);
    Traversal::new(
        Variable::sanitized(object),
        [TraversalOperator::GetAttr(name)],
    )
    .into()
}

/// Returns a reference such as `string`.
fn reference_to(name: &str) -> Expression {
    Variable::sanitized(name).into()
}

/// Returns the text of a field that is not empty.
pub(super) fn text_of(value: &Value, field: &str) -> Option<String> {
    let text = value.get(field)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use hcl::Body;
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_come_back_and_are_no_templates() {
        let texts = [
            "${var.a} %{if b}",
            "$${c}",
            "\"quoted\" \\ and\nlines\ttoo",
            "{{customer}} 🔬 \u{1}",
            "<<EOT",
        ];
        let document =
            json!({ "texts": texts, "numbers": [0.8, -3, 86_400_000], "odd name": [true, null] });
        let mut variables = Variables::default();
        let block = Block::builder("locals")
            .add_attribute(("it", json_call(variables.value(&document, "it"))))
            .build();
        let written = hcl::format::to_string(&Body::builder().add_block(block).build()).unwrap();
        let body: Body = hcl::parse(&written).unwrap();
        let block = body.blocks().next().unwrap();
        let attribute = block.body().attributes().next().unwrap();
        let Expression::FuncCall(call) = attribute.expr() else {
            panic!("{written}");
        };
        let argument = call.args.first().cloned().unwrap();
        let read = serde_json::to_value(hcl::Value::from(argument)).unwrap();
        assert_eq!(read, document, "{written}");
        assert_eq!(variables.len(), 0);
    }

    #[test]
    fn hidden_texts_are_variables_and_never_written() {
        let document = json!({ "masked_token": BLANK, "text": format!("a {MASK} b"), "open": "c" });
        let mut variables = Variables::default();
        let written = hcl::format::to_string(&variables.value(&document, "x")).unwrap();
        assert!(written.contains("\"token\" = var.x_token"), "{written}");
        assert!(written.contains("\"text\" = var.x_text"), "{written}");
        assert!(
            !written.contains(MASK) && !written.contains(BLANK),
            "{written}"
        );
        assert_eq!(variables.len(), 2);
    }

    #[test]
    fn secrets_whose_names_are_alike_have_a_variable_each() {
        let headers = json!({ "x-api-key": BLANK, "x_api_key": BLANK, "x-other": BLANK });
        let mut variables = Variables::default();
        let first = hcl::format::to_string(&variables.value(&headers, "h")).unwrap();
        assert_eq!(variables.len(), 3, "{first}");
        assert!(variables.has_doubles());
        let mut variables = variables.into_next_pass();
        let written = hcl::format::to_string(&variables.value(&headers, "h")).unwrap();
        assert_eq!(variables.len(), 3, "{written}");
        assert_eq!(written.matches("var.h_x_api_key_").count(), 2, "{written}");
        assert!(written.contains("\"x-other\" = var.h_x_other"), "{written}");
    }
}

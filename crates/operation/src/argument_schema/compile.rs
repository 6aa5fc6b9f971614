//! Compiles a full schema into an argument schema, which validates calls.

use serde_json::Value;

use super::{
    super::{
        JsonMap,
        markers::{ClearableMarker, Marker, OPEN, OR_LIST, OR_TEXT, SecretMarker},
        schema,
        time::TimeRole,
    },
    ArgumentSchema, FieldSchema, ObjectSchema, SLUG_PATTERN, identifier,
};

impl ArgumentSchema {
    /// Compiles a full schema.
    pub(in super::super) fn compile(full: &Value) -> Self {
        let one = Self::compile_inner(full);
        if full.get(OR_LIST).is_some() {
            Self::OneOrMany(Box::new(one))
        } else if full.get(OR_TEXT).is_some() {
            Self::TextOr(Box::new(one))
        } else {
            one
        }
    }

    fn compile_inner(full: &Value) -> Self {
        if let Some(Value::Array(values)) = full.get("enum") {
            let values = values
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            return Self::Enum {
                values,
                open: full.get(OPEN).is_some(),
            };
        }
        let size = |key: &str| {
            full.get(key)
                .and_then(Value::as_u64)
                .and_then(|n| n.try_into().ok())
        };
        match full.get("type").and_then(Value::as_str) {
            Some("object") => match full.get("properties") {
                Some(Value::Object(fields)) => Self::Object(ObjectSchema::compile(fields, full)),
                _ if full.get("additionalProperties") == Some(&Value::Bool(false)) => {
                    Self::Object(ObjectSchema::compile(&JsonMap::new(), full))
                }
                _ => {
                    let values = full.get("additionalProperties");
                    Self::Map {
                        values: Box::new(values.map_or(Self::Any, Self::compile)),
                        null_clears: values
                            .is_some_and(|values| values.get(ClearableMarker::KEY).is_some()),
                    }
                }
            },
            Some("array") => Self::List {
                items: Box::new(full.get("items").map_or(Self::Any, Self::compile)),
                min: size("minItems").unwrap_or(0),
                max: size("maxItems").unwrap_or(usize::MAX),
            },
            Some("string") => match full.get(TimeRole::KEY).and_then(TimeRole::from_marker) {
                Some(role) => Self::Time(role),
                None => Self::Text {
                    min: size("minLength").unwrap_or(0),
                    max: size("maxLength").unwrap_or(usize::MAX),
                    slug: full
                        .get("pattern")
                        .is_some_and(|pattern| pattern == SLUG_PATTERN),
                },
            },
            Some("integer") => Self::Integer {
                min: full
                    .get("minimum")
                    .and_then(Value::as_i64)
                    .unwrap_or(i64::MIN),
                max: ["maximum", schema::TYPE_MAX]
                    .iter()
                    .find_map(|key| full.get(key).and_then(Value::as_i64))
                    .unwrap_or(i64::MAX),
            },
            Some("number") => Self::Number {
                min: full
                    .get("minimum")
                    .and_then(Value::as_f64)
                    .unwrap_or(f64::NEG_INFINITY),
                max: full
                    .get("maximum")
                    .and_then(Value::as_f64)
                    .unwrap_or(f64::INFINITY),
            },
            Some("boolean") => Self::Bool,
            _ => Self::Any,
        }
    }
}

impl FieldSchema {
    fn compile(name: &str, field: &Value, parent: &Value) -> Self {
        let schema = ArgumentSchema::compile(field);
        let is_text = matches!(schema, ArgumentSchema::Text { .. });
        let is_secret = field.get(SecretMarker::KEY).is_some();
        Self {
            name: name.to_owned(),
            is_identifier: is_text && !is_secret && identifier::is_identifier_name(name),
            schema,
            is_required: string_list(parent, "required").any(|required| required == name),
            is_clearable: field.get(ClearableMarker::KEY).is_some(),
            null_clears: field.get(ClearableMarker::KEY).is_some(),
            is_secret,
        }
    }
}

impl ObjectSchema {
    fn compile(fields: &JsonMap, full: &Value) -> Self {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, field)| FieldSchema::compile(name, field, full))
            .collect();
        let end_of = |start: &FieldSchema| {
            fields.iter().position(|end| {
                matches!(end.schema, ArgumentSchema::Time(TimeRole::End))
                    && TimeRole::is_range_end(&start.name, &end.name)
            })
        };
        let starts = fields.iter().enumerate();
        let starts = starts
            .filter(|(_, field)| matches!(field.schema, ArgumentSchema::Time(TimeRole::Start)));
        let ranges = starts
            .filter_map(|(i, start)| Some((i, end_of(start)?)))
            .collect();
        Self {
            groups: schema::field_groups(full).collect(),
            accepts_any_name: full
                .get("additionalProperties")
                .is_some_and(|more| *more != false),
            ranges,
            fields,
        }
    }
}

fn string_list<'a>(full: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    let list = full.get(key).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

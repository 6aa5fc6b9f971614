//! Arguments generated from a schema: the required ones, or all of them, in enough sets to use
//! every enum value.

use std::collections::BTreeSet;

use portkey_operation::JsonMap;
use serde_json::{Value, json};

/// The part of a schema to generate arguments for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Required fields, and one field of each group that needs one.
    Required,
    /// All fields. Of fields that exclude each other, the set number selects one.
    All(usize),
    /// All fields, with `null` for each field that can be cleared.
    Cleared,
}

impl Extent {
    /// Returns the number of the set.
    pub(super) fn set(self) -> usize {
        match self {
            Self::Required => 0,
            Self::All(set) => set,
            // A number that no other set uses.
            Self::Cleared => 999,
        }
    }
}

/// Supplies a value for an argument path such as `checks[].id` whose schema alone does not suffice.
pub(super) type KnownValues<'a> = &'a dyn Fn(&str, &Value) -> Option<Value>;

/// Generates a value that matches a schema.
pub(super) fn fill(schema: &Value, at: &str, extent: Extent, known: KnownValues<'_>) -> Value {
    if extent == Extent::Cleared && schema["x-clearable"] == true {
        return Value::Null;
    }
    if let Some(value) = known(at, schema) {
        return value;
    }
    if let Some(words) = schema["enum"].as_array() {
        return words[extent.set() % words.len()].clone();
    }
    // Profiles that allow one type per field publish it as text.
    if schema["x-or-text"] == true && schema["type"] != "object" {
        let mut other = schema.clone();
        other.as_object_mut().unwrap().remove("x-or-text");
        return json!(fill(&other, at, extent, known).to_string());
    }
    match schema["type"].as_str() {
        Some("object") => match schema["properties"].as_object() {
            Some(fields) => {
                let given = fields.iter().filter_map(|(name, field)| {
                    let extent = field_extent(schema, name, extent)?;
                    let value = fill(field, &join_path(at, name), extent, known);
                    Some((name.clone(), value))
                });
                given.collect()
            }
            None if schema["additionalProperties"].is_object() => {
                let value = &schema["additionalProperties"];
                json!({ "sample": fill(value, &join_path(at, "*"), extent, known) })
            }
            None if schema["additionalProperties"] == false => json!({}),
            None => json!({ "sample": "text" }),
        },
        Some("array") => match (schema["items"]["enum"].as_array(), extent) {
            (Some(words), Extent::All(_) | Extent::Cleared) => json!(words),
            _ => json!([fill(&schema["items"], &format!("{at}[]"), extent, known)]),
        },
        Some("boolean") => json!(extent.set().is_multiple_of(2)),
        Some("integer" | "number") => min_number(schema),
        _ if schema["x-time"].is_string() => json!(sample_time(schema)),
        // The text is unique per field, so that a mix-up of two fields is noticed.
        _ => {
            let name = at.trim_end_matches("[]").rsplit('.').next().unwrap();
            json!(fit_length(
                schema,
                format!("sample-{name}-{}", extent.set())
            ))
        }
    }
}

/// Returns a time for a field, by its role: a range of the past, or a point in the future.
fn sample_time(schema: &Value) -> &'static str {
    match schema["x-time"].as_str() {
        Some("start") => "2026-01-01T00:00:00Z",
        Some("end") => "2026-02-01T00:00:00Z",
        _ => "2030-01-15T12:00:00Z",
    }
}

/// Extends or truncates a text to a length that the schema allows.
fn fit_length(schema: &Value, mut text: String) -> String {
    let bound = |key: &str| {
        schema[key]
            .as_u64()
            .and_then(|bound| usize::try_from(bound).ok())
    };
    while bound("minLength").is_some_and(|min| text.len() < min) {
        text.push('x');
    }
    if let Some(max) = bound("maxLength") {
        text.truncate(max);
    }
    text
}

/// Returns the number of sets that use every enum value and every exclusive field.
pub(super) fn set_count(schema: &Value) -> usize {
    if let Some(words) = schema["enum"].as_array() {
        return words.len();
    }
    match schema["type"].as_str() {
        Some("boolean") => 2,
        Some("array") if schema["items"]["enum"].is_array() => 1,
        Some("array") => set_count(&schema["items"]),
        Some("object") if schema["additionalProperties"].is_object() => {
            set_count(&schema["additionalProperties"])
        }
        Some("object") => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            let of_each = fields.map(|(name, field)| {
                let rivals =
                    field_group(schema, name, EXCLUSIVE_MARKS).map_or(1, |rivals| rivals.len());
                rivals * set_count(field)
            });
            of_each.max().unwrap_or(1)
        }
        _ => 1,
    }
}

/// Returns every field of a schema and every value of its enums, as `a.b[]` and `a.b[]=word`,
/// except for open maps.
pub(super) fn parts_of_schema(schema: &Value) -> BTreeSet<String> {
    fn walk(at: &str, schema: &Value, found: &mut BTreeSet<String>) {
        for word in schema["enum"].as_array().into_iter().flatten() {
            found.insert(format!("{at}={}", word.as_str().unwrap()));
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let at = join_path(at, name);
            found.insert(at.clone());
            walk(&at, field, found);
        }
        if schema["items"].is_object() {
            walk(&format!("{at}[]"), &schema["items"], found);
        }
    }
    let mut found = BTreeSet::new();
    walk("", schema, &mut found);
    found
}

/// Returns the same parts as [`parts_of_schema`], present in these arguments.
pub(super) fn parts_of_arguments(arguments: &JsonMap) -> BTreeSet<String> {
    fn walk(at: &str, value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::String(word) => _ = found.insert(format!("{at}={word}")),
            Value::Object(fields) => {
                for (name, value) in fields {
                    let at = join_path(at, name);
                    found.insert(at.clone());
                    walk(&at, value, found);
                }
            }
            Value::Array(items) => {
                items
                    .iter()
                    .for_each(|item| walk(&format!("{at}[]"), item, found));
            }
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    walk("", &Value::Object(arguments.clone()), &mut found);
    found
}

fn join_path(at: &str, name: &str) -> String {
    if at.is_empty() {
        name.to_owned()
    } else {
        format!("{at}.{name}")
    }
}

/// Decides if a field is generated, and to which extent.
fn field_extent(schema: &Value, name: &str, extent: Extent) -> Option<Extent> {
    let required = || {
        schema["required"]
            .as_array()
            .is_some_and(|all| all.contains(&json!(name)))
    };
    match extent {
        Extent::Required => {
            let needed = field_group(schema, name, &["x-exactly-one", "x-at-least-one"]);
            needed
                .map_or_else(required, |needed| needed[0] == name)
                .then_some(extent)
        }
        Extent::All(set) => match field_group(schema, name, EXCLUSIVE_MARKS) {
            Some(rivals) if rivals[set % rivals.len()] != name => None,
            Some(rivals) => Some(Extent::All(set / rivals.len())),
            None => Some(extent),
        },
        Extent::Cleared => field_group(schema, name, EXCLUSIVE_MARKS)
            .is_none_or(|rivals| rivals[0] == name)
            .then_some(extent),
    }
}

/// Schema keywords for fields that exclude each other.
const EXCLUSIVE_MARKS: &[&str] = &["x-exactly-one", "x-at-most-one", "x-at-most-one-advised"];

/// Returns the group under one of these keywords that contains the field.
fn field_group<'a>(schema: &'a Value, name: &str, marks: &[&str]) -> Option<Vec<&'a str>> {
    let lists = marks.iter().filter_map(|mark| schema[*mark].as_array());
    // A keyword has one group or a list of groups.
    let mut groups = lists.flat_map(|list| match list[0].is_array() {
        true => list.iter().filter_map(Value::as_array).collect(),
        false => vec![list],
    });
    let group = groups.find(|group| group.contains(&json!(name)))?;
    Some(group.iter().filter_map(Value::as_str).collect())
}

/// Returns the smallest number that a schema allows, except zero, which often means "none".
pub(crate) fn min_number(schema: &Value) -> Value {
    let bound = |key: &str| schema[key].as_f64();
    let least = bound("minimum").unwrap_or(1.0).max(1.0);
    let number = bound("maximum").map_or(least, |most| most.min(least));
    if number.fract() == 0.0 {
        json!(number as i64)
    } else {
        json!(number)
    }
}

//! The full schema of an input type, with every constraint and marker, generated and normalized
//! once.
//!
//! The [`ArgumentSchema`](super::argument_schema) that validates calls is compiled from it. A
//! [`Profile`](super::Profile) publishes it to clients.

use schemars::{
    Schema, SchemaGenerator, generate::SchemaSettings, transform::transform_subschemas,
};
use serde_json::Value;

/// How a struct or a field is published: `#[schemars(extend("x-publish" = "types-only"))]`. Without
/// the marker, it is published with the descriptions of its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publication {
    /// The description of a struct covers its fields, which are published with their types only.
    TypesOnly,
    /// The description of a struct names its fields, which are not published at all.
    ///
    /// This is for the widest bodies, where a client would pay more for the fields than for the
    /// rest of the tool. On a field that is a list, the field's own description covers the items;
    /// it may point to another tool's.
    OmitFields,
    /// A field is accepted but not published, because the tool's description names it.
    ///
    /// This is for filters that many tools share. On a field, it replaces the marker of its struct.
    Hidden,
}

impl Publication {
    const KEY: &'static str = "x-publish";
    const ALL: [Self; 3] = [Self::TypesOnly, Self::OmitFields, Self::Hidden];

    const fn as_str(self) -> &'static str {
        match self {
            Self::TypesOnly => "types-only",
            Self::OmitFields => "omit-fields",
            Self::Hidden => "hidden",
        }
    }

    /// Returns the marker of a full schema.
    pub(super) fn of(schema: &Value) -> Option<Self> {
        let name = schema.get(Self::KEY)?.as_str()?;
        Self::ALL
            .into_iter()
            .find(|publication| publication.as_str() == name)
    }
}

/// Marks the maximum of a number's type where the field has no bound of its own.
pub(super) const TYPE_MAX: &str = "x-widest";

/// The number of fields of a group that may be given: `extend("x-at-most-one" = [names])`.
///
/// A list of lists declares several groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    AtMostOne,
    /// At most one by the vendor's documents. Nobody has seen the API refuse more, so it is asked.
    AtMostOneAdvised,
    ExactlyOne,
    AtLeastOne,
}

impl Quantity {
    pub(super) const ALL: [Self; 4] = [
        Self::AtMostOne,
        Self::AtMostOneAdvised,
        Self::ExactlyOne,
        Self::AtLeastOne,
    ];

    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::AtMostOne => "x-at-most-one",
            Self::AtMostOneAdvised => "x-at-most-one-advised",
            Self::ExactlyOne => "x-exactly-one",
            Self::AtLeastOne => "x-at-least-one",
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::AtMostOne | Self::AtMostOneAdvised => "at most one",
            Self::ExactlyOne => "exactly one",
            Self::AtLeastOne => "at least one",
        }
    }

    pub(super) const fn allows(self, given: usize) -> bool {
        match self {
            Self::AtMostOne | Self::AtMostOneAdvised => given <= 1,
            Self::ExactlyOne => given == 1,
            Self::AtLeastOne => given >= 1,
        }
    }
}

/// Returns the groups of fields that a full schema limits in number.
pub(super) fn field_groups(full: &Value) -> impl Iterator<Item = (Quantity, Vec<String>)> + '_ {
    let strings = |list: &[Value]| {
        list.iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    Quantity::ALL.into_iter().flat_map(move |quantity| {
        let list = full
            .get(quantity.key())
            .and_then(Value::as_array)
            .map(Vec::as_slice);
        let groups: Vec<Vec<String>> = match list.unwrap_or_default() {
            [] => Vec::new(),
            many @ [Value::Array(_), ..] => many
                .iter()
                .filter_map(Value::as_array)
                .map(|group| strings(group))
                .collect(),
            one => vec![strings(one)],
        };
        groups.into_iter().map(move |group| (quantity, group))
    })
}

/// The function that generates an input type's schema: its `JsonSchema::json_schema`.
pub(super) type SchemaFn = fn(&mut SchemaGenerator) -> Schema;

/// Builds the full schema of an input type.
///
/// The function is not generic: its body would be compiled once per input type.
pub(super) fn build_full_schema(describe: SchemaFn) -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    let mut schema = describe(&mut generator);
    normalize(&mut schema);
    schema.to_value()
}

/// Removes title and description from a schema: the first paragraph of the rustdoc, and the rest.
pub(super) fn take_docs(schema: &mut Value) -> (String, String) {
    let Some(map) = schema.as_object_mut() else {
        return Default::default();
    };
    map.remove("title");
    let Some(Value::String(text)) = map.remove("description") else {
        return Default::default();
    };
    let (title, rest) = text.split_once("\n\n").unwrap_or((&text, &text));
    let mut rest = rest.to_owned();
    for group in field_groups(schema) {
        rest.push(' ');
        rest += &describe_group(&group);
    }
    (title.to_owned(), rest)
}

pub(super) fn describe_group((quantity, names): &(Quantity, Vec<String>)) -> String {
    let (first, rest) = quantity.as_str().split_at(1);
    format!("{}{rest} of {}.", first.to_uppercase(), names.join(", "))
}

fn normalize(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = reflow(text);
    }
    remove_null(schema);
    collapse_documented_enum(schema);
    record_type_max(schema);
    close_object(schema);
    transform_subschemas(&mut normalize, schema);
}

/// Removes `null` from a schema. `Option` publishes it; here an optional field is simply omitted.
fn remove_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    let Some(Value::Array(mut options)) = schema.remove("anyOf") else {
        return;
    };
    options.retain(|option| option.get("type").is_none_or(|kind| kind != "null"));
    if let [Value::Object(only)] = options.as_slice() {
        for (key, value) in only {
            if schema.get(key).is_none() {
                schema.insert(key.clone(), value.clone());
            }
        }
    } else {
        schema.insert("anyOf".to_owned(), options.into());
    }
}

/// Turns an enum whose variants have rustdoc into a list of words, and moves the rustdoc to the end of
/// the description.
///
/// The generator writes `oneOf` of constants, which neither validation nor the profiles read.
fn collapse_documented_enum(schema: &mut Schema) {
    let Some(Value::Array(options)) = schema.get("oneOf") else {
        return;
    };
    let mut words = Vec::new();
    let mut notes = String::new();
    for option in options {
        match (
            option.get("const"),
            option.get("enum").and_then(Value::as_array),
        ) {
            (Some(word @ Value::String(text)), _) => {
                words.push(word.clone());
                if let Some(Value::String(note)) = option.get("description") {
                    notes += &format!(" {text}: {}.", reflow(note).trim_end_matches('.'));
                }
            }
            (None, Some(several)) => words.extend(several.iter().cloned()),
            // Not the words of an enum.
            _ => return,
        }
    }
    schema.remove("oneOf");
    schema.insert("type".to_owned(), "string".into());
    schema.insert("enum".to_owned(), words.into());
    if notes.is_empty() {
        return;
    }
    match schema.get_mut("description") {
        Some(Value::String(text)) => text.push_str(&notes),
        _ => _ = schema.insert("description".to_owned(), notes.trim_start().into()),
    }
}

/// Replaces the width of a Rust number by a marker.
///
/// The width tells a caller nothing, but values are checked against it. Of a `u32`, schemars states
/// the width only.
fn record_type_max(schema: &mut Schema) {
    if schema
        .get("type")
        .is_some_and(|kind| kind == "integer" || kind == "number")
        && schema
            .remove("format")
            .is_some_and(|format| format == "uint32")
        && schema.get("maximum").is_none()
    {
        schema.insert(TYPE_MAX.to_owned(), u32::MAX.into());
    }
}

/// Closes an object to fields that its struct lacks. Only a map is open.
fn close_object(schema: &mut Schema) {
    let is_struct = schema.get("type").is_some_and(|kind| kind == "object");
    if is_struct && schema.get("additionalProperties").is_none() {
        schema.insert("additionalProperties".to_owned(), false.into());
    }
}

/// Joins the lines of each paragraph. Rustdoc breaks lines at a column, descriptions at paragraphs.
fn reflow(text: &str) -> String {
    let join = |paragraph: &str| {
        paragraph
            .lines()
            .map(str::trim)
            .collect::<Vec<_>>()
            .join(" ")
    };
    text.trim()
        .split("\n\n")
        .map(join)
        .collect::<Vec<_>>()
        .join("\n\n")
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde_json::json;

    use super::*;

    /// A task.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only the schema is read")]
    struct Input {
        /// Frequency.
        period: Option<Documented>,
        plain: Plain,
    }

    #[derive(JsonSchema)]
    #[serde(rename_all = "lowercase")]
    #[expect(dead_code, reason = "only the schema is read")]
    enum Documented {
        /// On the first of each
        /// month.
        Monthly,
        Weekly,
        Daily,
    }

    #[derive(JsonSchema)]
    #[serde(rename_all = "lowercase")]
    #[expect(dead_code, reason = "only the schema is read")]
    enum Plain {
        On,
        Off,
    }

    #[test]
    fn documented_variants_keep_words_and_texts() {
        let schema = build_full_schema(Input::json_schema);
        let properties = &schema["properties"];
        let period = &properties["period"];
        let mut words: Vec<_> = period["enum"].as_array().cloned().unwrap_or_default();
        words.sort_by_key(ToString::to_string);
        assert_eq!(words, [json!("daily"), json!("monthly"), json!("weekly")]);
        assert_eq!(period["type"], "string");
        assert_eq!(
            period["description"],
            "Frequency. monthly: On the first of each month."
        );
        assert!(period.get("oneOf").is_none());
        assert_eq!(properties["plain"]["enum"], json!(["on", "off"]));
    }
}

//! The full schema of an input type, with every constraint and our marks: built and tidied once.
//!
//! The [`Shape`](super::shape) that checks calls is compiled from it, and what a client sees is made of it by a
//! [`Profile`](super::Profile).

use schemars::{
    Schema, SchemaGenerator, generate::SchemaSettings, transform::transform_subschemas,
};
use serde_json::Value;

/// Marks a struct whose description speaks for its fields, which are published with their types only:
/// `#[schemars(extend("x-speaks-for-fields" = true))]`.
pub(super) const SPEAKS: &str = "x-speaks-for-fields";
/// Marks a struct whose description even names its fields, so that they are not published at all:
/// `#[schemars(extend("x-names-fields" = true))]`. For the widest bodies, where a client would pay
/// more for the fields than for the rest of the tool. On a field that is a list it says that the field's
/// own description, which may point to another tool's, speaks for the items.
pub(super) const NAMES: &str = "x-names-fields";

/// Marks a field that is taken but not published, because the tool's description names it:
/// `#[schemars(extend("x-unlisted" = true))]`. For filters that many tools share.
pub(super) const UNLISTED: &str = "x-unlisted";

/// Marks the largest number that a type without a bound of its own can be.
pub(super) const WIDEST: &str = "x-widest";

/// How many of some fields of a struct may be given: `extend("x-at-most-one" = [names])`. A list of
/// lists states it of several groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "each is a quantity of one")]
pub(super) enum Quantity {
    AtMostOne,
    ExactlyOne,
    AtLeastOne,
}

impl Quantity {
    pub(super) const ALL: [Self; 3] = [Self::AtMostOne, Self::ExactlyOne, Self::AtLeastOne];

    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::AtMostOne => "x-at-most-one",
            Self::ExactlyOne => "x-exactly-one",
            Self::AtLeastOne => "x-at-least-one",
        }
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::AtMostOne => "at most one",
            Self::ExactlyOne => "exactly one",
            Self::AtLeastOne => "at least one",
        }
    }

    pub(super) const fn allows(self, given: usize) -> bool {
        match self {
            Self::AtMostOne => given <= 1,
            Self::ExactlyOne => given == 1,
            Self::AtLeastOne => given >= 1,
        }
    }
}

/// The groups of fields a full schema limits in number.
pub(super) fn groups(full: &Value) -> impl Iterator<Item = (Quantity, Vec<String>)> + '_ {
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

/// How an input type describes itself: its `JsonSchema::json_schema`.
pub(super) type Describe = fn(&mut SchemaGenerator) -> Schema;

/// The full schema of an input type. Not generic, because what is here would otherwise be compiled once
/// for each of them.
pub(super) fn full(describe: Describe) -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    let mut schema = describe(&mut generator);
    tidy(&mut schema);
    schema.to_value()
}

/// Takes title and description from where rustdoc put them: the first paragraph, and the rest.
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
    for group in groups(schema) {
        rest.push(' ');
        rest += &sentence(&group);
    }
    (title.to_owned(), rest)
}

pub(super) fn sentence((quantity, names): &(Quantity, Vec<String>)) -> String {
    let (first, rest) = quantity.words().split_at(1);
    format!("{}{rest} of {}.", first.to_uppercase(), names.join(", "))
}

fn tidy(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = reflow(text);
    }
    forget_null(schema);
    mark_width(schema);
    close(schema);
    transform_subschemas(&mut tidy, schema);
}

/// `Option` publishes `null`; here a field that is not required may simply be left out.
fn forget_null(schema: &mut Schema) {
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

/// How wide a Rust number is tells the caller nothing. That a value fits is checked all the same, and of a `u32`
/// schemars says no more than the width.
fn mark_width(schema: &mut Schema) {
    if schema
        .get("type")
        .is_some_and(|kind| kind == "integer" || kind == "number")
        && schema
            .remove("format")
            .is_some_and(|format| format == "uint32")
        && schema.get("maximum").is_none()
    {
        schema.insert(WIDEST.to_owned(), u32::MAX.into());
    }
}

/// An object takes the fields its struct has and no others; only a map says otherwise.
fn close(schema: &mut Schema) {
    let is_struct = schema.get("type").is_some_and(|kind| kind == "object");
    if is_struct && schema.get("additionalProperties").is_none() {
        schema.insert("additionalProperties".to_owned(), false.into());
    }
}

/// Rustdoc breaks lines at a column; a description breaks them at paragraphs.
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

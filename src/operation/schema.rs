//! The schema of an input type: built and tidied once, then published in the form clients accept.
//!
//! Two forms exist. The *full* form carries every constraint and our marks, and the
//! [`Shape`](super::shape) that checks calls is compiled from it. The *portable* form is what a client
//! sees: plain types, inlined, no unions, no formats; what it cannot say moves into descriptions.

use schemars::{
    Schema, SchemaGenerator, generate::SchemaSettings, transform::transform_subschemas,
};
use serde_json::Value;

use super::{
    JsonMap,
    marked::{Clearable, Mark},
};

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
    let strings =
        |list: &[Value]| list.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    Quantity::ALL.into_iter().flat_map(move |quantity| {
        let list = full.get(quantity.key()).and_then(Value::as_array).map(Vec::as_slice);
        let groups: Vec<Vec<String>> = match list.unwrap_or_default() {
            [] => Vec::new(),
            many @ [Value::Array(_), ..] => {
                many.iter().filter_map(Value::as_array).map(|group| strings(group)).collect()
            }
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
    let Some(map) = schema.as_object_mut() else { return Default::default() };
    map.remove("title");
    let Some(Value::String(text)) = map.remove("description") else { return Default::default() };
    let (title, rest) = text.split_once("\n\n").unwrap_or((&text, &text));
    let mut rest = rest.to_owned();
    for group in groups(schema) {
        rest.push(' ');
        rest += &sentence(&group);
    }
    (title.to_owned(), rest)
}

/// The portable form of a full schema.
pub(super) fn portable(full: &Value) -> JsonMap {
    let mut root = portable_object(full, true);
    // What the tool's own description has said already.
    root.shift_remove("description");
    root.entry("properties").or_insert_with(|| JsonMap::new().into());
    root
}

fn portable_object(full: &Value, described: bool) -> JsonMap {
    let mut out = JsonMap::new();
    if let Some(kind) = full.get("type") {
        out.insert("type".to_owned(), kind.clone());
    }
    let description = if described { describe(full) } else { String::new() };
    if !description.is_empty() {
        out.insert("description".to_owned(), description.into());
    }
    if let Some(values) = full.get("enum") {
        out.insert("enum".to_owned(), values.clone());
    }
    if let Some(items) = full.get("items") {
        // The list is described already; its items only where they speak for their fields.
        let speaks = items.get(SPEAKS).is_some() || items.get(NAMES).is_some();
        let described = described && full.get(NAMES).is_none();
        let mut items = portable_object(items, described);
        if !speaks {
            items.shift_remove("description");
        }
        out.insert("items".to_owned(), items.into());
    }
    if let Some(Value::Object(fields)) = full.get("properties")
        && full.get(NAMES).is_none()
    {
        let described = described && full.get(SPEAKS).is_none();
        let publish =
            |(name, field): (&String, _)| (name.clone(), portable_object(field, described).into());
        let listed = fields.iter().filter(|(_, field)| field.get(UNLISTED).is_none());
        out.insert("properties".to_owned(), Value::Object(listed.map(publish).collect()));
        if let Some(required) = full.get("required") {
            out.insert("required".to_owned(), required.clone());
        }
    }
    out
}

/// The description, with what the portable form cannot say otherwise.
fn describe(full: &Value) -> String {
    let text = full.get("description").and_then(Value::as_str).unwrap_or_default();
    // Further paragraphs are for whoever reads the source.
    let mut text = text.split("\n\n").next().unwrap_or_default().to_owned();
    let mut say = |sentence: &str| {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(sentence);
    };
    // That a page is not negative and a budget not zero need not be said.
    let least = full.get("minimum").filter(|least| least.as_f64().is_some_and(|least| least > 1.0));
    let least = if full.get("maximum").is_some() { full.get("minimum") } else { least };
    match (least, full.get("maximum")) {
        (Some(low), Some(high)) => say(&format!("{low} to {high}.")),
        (Some(low), None) => say(&format!("At least {low}.")),
        (None, Some(high)) => say(&format!("At most {high}.")),
        (None, None) => {}
    }
    groups(full).for_each(|group| say(&sentence(&group)));
    if full.get(Clearable::KEY).is_some() {
        say("null clears it.");
    }
    text
}

fn sentence((quantity, names): &(Quantity, Vec<String>)) -> String {
    let (first, rest) = quantity.words().split_at(1);
    format!("{}{rest} of {}.", first.to_uppercase(), names.join(", "))
}

fn tidy(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = reflow(text);
    }
    forget_null(schema);
    forget_width(schema);
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
    let Some(Value::Array(mut options)) = schema.remove("anyOf") else { return };
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

/// How wide a Rust number is tells the caller nothing.
fn forget_width(schema: &mut Schema) {
    if schema.get("type").is_some_and(|kind| kind == "integer" || kind == "number") {
        schema.remove("format");
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
    let join = |paragraph: &str| paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    text.trim().split("\n\n").map(join).collect::<Vec<_>>().join("\n\n")
}

//! Profiles: the forms in which input schemas are published, each for a kind of client.
//!
//! One walk over the full schema makes all of them. A constraint that a profile cannot state as a
//! keyword goes into the description, and is checked when a call arrives.

use serde_json::{Value, json};

use super::{
    JsonMap,
    markers::{ClearableMarker, Marker, OPEN, OR_LIST, OR_TEXT, SecretMarker},
    plain_text::to_plain_text,
    schema::{self, Publication},
};

/// The argument that names fields to clear, in profiles where `null` means that a field is omitted.
pub(super) const CLEAR_ARGUMENT: &str = "clear";

/// A form of published schemas. docs/surfaces.md says which client needs which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// The subset that all clients accept: plain types, with constraints in descriptions.
    #[default]
    Portable,
    /// JSON Schema 2020-12 with every argument and every constraint.
    Full,
    /// The subset of OpenAI's strict mode: closed objects with every field required. `null` stands
    /// for an omitted field, so a separate argument names the fields to clear.
    OpenAiStrict,
    /// The subset that Gemini accepts: as portable, but each object declares its fields or is text.
    Gemini,
}

impl Profile {
    /// All profiles.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Full, Self::OpenAiStrict, Self::Gemini];

    /// Returns the name of the profile in options and listings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Full => "full",
            Self::OpenAiStrict => "openai-strict",
            Self::Gemini => "gemini",
        }
    }

    /// Returns true if `null` means that a field is omitted, even where it otherwise clears.
    pub(super) const fn clears_by_argument(self) -> bool {
        self.is_strict()
    }

    /// Returns true if schemas state every constraint as a keyword and contain every description.
    /// Other profiles put bounds into descriptions, and check the rest at call time only.
    const fn is_full(self) -> bool {
        matches!(self, Self::Full)
    }

    /// Returns true if objects are closed and every field is required. An optional one accepts
    /// `null`.
    const fn is_strict(self) -> bool {
        matches!(self, Self::OpenAiStrict)
    }

    /// Returns true if fields marked [`Publication::Hidden`] are listed.
    const fn lists_hidden_fields(self) -> bool {
        matches!(self, Self::Full | Self::OpenAiStrict)
    }

    /// Returns true if the fields of structs marked [`Publication::OmitFields`] are listed.
    const fn lists_omitted_fields(self) -> bool {
        !matches!(self, Self::Portable)
    }

    /// Returns true if an object of undeclared fields is published as JSON text.
    const fn publishes_maps_as_text(self) -> bool {
        matches!(self, Self::OpenAiStrict | Self::Gemini)
    }

    /// Publishes the schema of a tool's arguments. `updates` is true if there may be something to
    /// clear.
    pub(super) fn publish(self, full: &Value, updates: bool) -> JsonMap {
        let publisher = SchemaPublisher {
            profile: self,
            is_update: updates,
        };
        let mut root = publisher.publish(full, true, false);
        // The tool's own description already says this.
        root.shift_remove("description");
        // Every list tool takes some arguments that are in no schema.
        if !self.is_strict() {
            root.shift_remove("additionalProperties");
        }
        let fields = root.entry("properties").or_insert_with(|| json!({}));
        let clears = self.is_strict() && has_clearable_fields(full);
        if clears && let Value::Object(fields) = fields {
            let description =
                "Arguments to clear, as JSON Pointers such as /name: null only leaves out.";
            let items = json!({ "type": "string" });
            let clear =
                json!({ "type": ["array", "null"], "description": description, "items": items });
            fields.insert(CLEAR_ARGUMENT.to_owned(), clear);
        }
        if self.is_strict()
            && let Value::Array(required) = root.entry("required").or_insert_with(|| json!([]))
        {
            required.extend(clears.then(|| CLEAR_ARGUMENT.into()));
        }
        root
    }
}

/// The argument of every update that takes a patch. No struct declares it: the server replaces it
/// by the arguments that make the change, before they are validated.
const PATCH_ARGUMENT: &str = "patch";

impl Profile {
    /// Lists the argument `patch`, in as few bytes as possible: the server's instructions describe
    /// it. A strict profile has no place for an argument that excludes all others.
    pub(super) fn publish_patch(self, schema: &mut JsonMap) {
        let patch = match self {
            Self::Portable => json!({ "type": "object" }),
            Self::Full => json!({ "type": "object",
                "description": "Instead of the fields: a merge patch, or JSON Patch operations as text.",
                "additionalProperties": true }),
            Self::Gemini => json!({ "type": "string",
                "description": "Instead of the fields: a JSON merge patch, as text." }),
            Self::OpenAiStrict => return,
        };
        if let Some(Value::Object(fields)) = schema.get_mut("properties") {
            // One row has a flag of this name, which stays; the patch is accepted all the same.
            fields.entry(PATCH_ARGUMENT).or_insert(patch);
        }
    }
}

/// Walks a full schema and publishes it for a profile.
#[derive(Clone, Copy)]
struct SchemaPublisher {
    profile: Profile,
    /// The operation changes an existing resource, so there may be something to clear.
    is_update: bool,
}

impl SchemaPublisher {
    fn publish(self, full: &Value, described: bool, nullable: bool) -> JsonMap {
        let mut out = JsonMap::new();
        let fields = full.get("properties").and_then(Value::as_object);
        let is_object = full.get("type").is_some_and(|kind| kind == "object");
        let is_text = self.publishes_as_text(full);
        let or_text = full.get(OR_TEXT).is_some() && !self.profile.is_full();
        let described = described || self.profile.is_full();
        let omits_fields = Publication::of(full) == Some(Publication::OmitFields);
        if let Some(kind) = full.get("type") {
            out.insert(
                "type".to_owned(),
                self.type_keyword(full, kind, is_text, nullable),
            );
        }
        let mut description = if described {
            self.describe(full)
        } else {
            String::new()
        };
        if is_text {
            description = [description.as_str(), "A JSON object, as text."].join(" ");
        }
        if !description.trim().is_empty() {
            out.insert("description".to_owned(), description.trim().into());
        }
        if is_text || or_text {
            return out;
        }
        if let Some(Value::Array(values)) = full.get("enum")
            && full.get(OPEN).is_none()
        {
            let null = nullable.then_some(&Value::Null);
            out.insert(
                "enum".to_owned(),
                values.iter().chain(null).cloned().collect(),
            );
        }
        if let Some(items) = full.get("items") {
            // The list is described already. Its items are described only if that description
            // covers their fields.
            let covers_fields = describes_fields(items);
            let is_text = self.publishes_as_text(items);
            let described = described && (!omits_fields || self.profile.is_full());
            let mut items = self.publish(items, described, false);
            if !covers_fields && !self.profile.is_full() && !is_text {
                items.shift_remove("description");
            }
            out.insert("items".to_owned(), items.into());
        }
        if let Some(fields) = fields
            && (self.profile.lists_omitted_fields() || !omits_fields)
        {
            let described = described && !describes_fields(full);
            self.publish_fields(full, fields, described, &mut out);
        }
        if self.profile.is_full() {
            self.add_constraints(full, &mut out);
        }
        if self.profile.is_strict() && is_object && !out.contains_key("additionalProperties") {
            out.insert("additionalProperties".to_owned(), false.into());
        }
        out
    }

    fn publish_fields(self, full: &Value, fields: &JsonMap, described: bool, out: &mut JsonMap) {
        let required = full.get("required").and_then(Value::as_array);
        let mut published = JsonMap::new();
        for (name, field) in fields {
            let is_hidden = Publication::of(field) == Some(Publication::Hidden);
            if is_hidden && !self.profile.lists_hidden_fields() {
                continue;
            }
            let is_required =
                required.is_some_and(|names| names.iter().any(|required| required == name));
            let is_clearable = field.get(ClearableMarker::KEY).is_some();
            let nullable = match self.profile {
                Profile::OpenAiStrict => !is_required || is_clearable,
                Profile::Full => is_clearable,
                Profile::Portable | Profile::Gemini => false,
            };
            let field = self.publish(field, described && !is_hidden, nullable);
            published.insert(name.clone(), field.into());
        }
        let required = match self.profile.is_strict() {
            true => Some(
                published
                    .keys()
                    .map(|name| Value::from(name.as_str()))
                    .collect(),
            ),
            false => required.map(|names| Value::from(names.clone())),
        };
        out.insert("properties".to_owned(), published.into());
        out.extend(required.map(|names| ("required".to_owned(), names)));
    }

    /// Returns true if an object is published as text, because it declares no fields.
    fn publishes_as_text(self, full: &Value) -> bool {
        self.profile.publishes_maps_as_text()
            && full.get("type").is_some_and(|kind| kind == "object")
            && full.get("properties").is_none()
            && full
                .get("additionalProperties")
                .is_some_and(|more| *more != false)
    }

    fn type_keyword(self, full: &Value, kind: &Value, is_text: bool, nullable: bool) -> Value {
        let mut kinds = vec![if is_text {
            json!("string")
        } else {
            kind.clone()
        }];
        if full.get(OR_TEXT).is_some() {
            match self.profile.is_full() {
                true => kinds.insert(0, json!("string")),
                false => kinds = vec![json!("string")],
            }
        }
        if self.profile.is_full() && full.get(OR_LIST).is_some() {
            kinds.push(json!("array"));
        }
        if nullable {
            kinds.push(json!("null"));
        }
        match kinds.as_slice() {
            [only] => only.clone(),
            several => json!(several),
        }
    }

    /// Adds the keywords that other profiles put into descriptions or check at call time only.
    fn add_constraints(self, full: &Value, out: &mut JsonMap) {
        const KEYWORDS: [&str; 7] = [
            "minimum",
            "maximum",
            "minLength",
            "maxLength",
            "pattern",
            "minItems",
            "maxItems",
        ];
        for keyword in KEYWORDS {
            if let Some(value) = full.get(keyword) {
                out.insert(keyword.to_owned(), value.clone());
            }
        }
        if full.get(OR_LIST).is_some() {
            let mut item = full.clone();
            if let Value::Object(item) = &mut item {
                item.shift_remove(OR_LIST);
                item.shift_remove("description");
            }
            let item = self.publish(&item, false, false);
            out.insert("items".to_owned(), item.into());
        }
        // A map that may hold secrets is not write-only: the rest of it can be read.
        if full.get(SecretMarker::KEY).is_some()
            && full.get("type").is_some_and(|kind| kind == "string")
        {
            out.insert("writeOnly".to_owned(), true.into());
        }
        match full.get("additionalProperties") {
            // Fields that this version does not know pass, too.
            Some(Value::Bool(_)) => {
                out.insert("additionalProperties".to_owned(), true.into());
            }
            Some(values) => {
                let values = self.publish(values, true, values.get(ClearableMarker::KEY).is_some());
                out.insert("additionalProperties".to_owned(), values.into());
            }
            None => {}
        }
    }

    /// Returns the description, extended by the constraints that this profile has no keyword for.
    fn describe(self, full: &Value) -> String {
        let text = full
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        // Further paragraphs are for readers of the source.
        let mut text = text.split("\n\n").next().unwrap_or_default().to_owned();
        let mut append = |sentence: &str| {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(sentence);
        };
        if !self.profile.is_full() {
            let bounds = [describe_bounds(full), describe_length(full)];
            bounds.iter().flatten().for_each(|bounds| append(bounds));
        }
        if full.get(OPEN).is_some()
            && let Some(Value::Array(values)) = full.get("enum")
        {
            // The field's own description summarises a longer list.
            const MAX_LISTED_VALUES: usize = 16;
            if values.len() <= MAX_LISTED_VALUES {
                let values: Vec<_> = values.iter().filter_map(Value::as_str).collect();
                append(&format!("Such as {}.", values.join(", ")));
            }
        }
        schema::field_groups(full).for_each(|group| append(&schema::describe_group(&group)));
        if full.get(ClearableMarker::KEY).is_some() && self.is_update {
            append(if self.profile.is_strict() {
                "`clear` can name it."
            } else {
                "null clears it."
            });
        }
        to_plain_text(&text)
    }
}

/// Returns true if a schema has one description for all of its fields.
fn describes_fields(full: &Value) -> bool {
    matches!(
        Publication::of(full),
        Some(Publication::TypesOnly | Publication::OmitFields)
    )
}

/// Describes the bounds of a number.
fn describe_bounds(full: &Value) -> Option<String> {
    // A lower bound of zero or one, as of a page or a budget, goes without saying.
    let least = full
        .get("minimum")
        .filter(|least| least.as_f64().is_some_and(|least| least > 1.0));
    let least = if full.get("maximum").is_some() {
        full.get("minimum")
    } else {
        least
    };
    match (least, full.get("maximum")) {
        (Some(low), Some(high)) => Some(format!("{low} to {high}.")),
        (Some(low), None) => Some(format!("At least {low}.")),
        (None, Some(high)) => Some(format!("At most {high}.")),
        (None, None) => None,
    }
}

/// Describes the bounds of a text's or a list's length.
fn describe_length(full: &Value) -> Option<String> {
    let (min, max, unit) = match full.get("items") {
        Some(_) => ("minItems", "maxItems", "item"),
        None => ("minLength", "maxLength", "character"),
    };
    let bound = |key: &str| full.get(key).and_then(Value::as_u64);
    // That something is not empty goes without saying.
    let least = bound(min).filter(|least| *least > 1);
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    match (least, bound(max)) {
        (Some(low), Some(high)) if low == high => Some(format!("{low} {unit}{}.", plural(low))),
        (Some(low), Some(high)) => Some(format!("{low} to {high} {unit}s.")),
        (Some(low), None) => Some(format!("At least {low} {unit}{}.", plural(low))),
        (None, Some(high)) => Some(format!("At most {high} {unit}{}.", plural(high))),
        (None, None) => None,
    }
}

/// Returns true if a full schema has a clearable field.
pub(super) fn has_clearable_fields(full: &Value) -> bool {
    let below = |key: &str| full.get(key).is_some_and(has_clearable_fields);
    let fields = full.get("properties").and_then(Value::as_object);
    let mut fields = fields.into_iter().flatten();
    fields
        .any(|(_, field)| field.get(ClearableMarker::KEY).is_some() || has_clearable_fields(field))
        || below("items")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_described_like_bounds() {
        let cases = [
            (
                json!({ "type": "string", "maxLength": 255 }),
                Some("At most 255 characters."),
            ),
            (
                json!({ "type": "string", "minLength": 1, "maxLength": 1 }),
                Some("At most 1 character."),
            ),
            (
                json!({ "type": "string", "minLength": 8, "maxLength": 64 }),
                Some("8 to 64 characters."),
            ),
            (
                json!({ "type": "string", "minLength": 4, "maxLength": 4 }),
                Some("4 characters."),
            ),
            (json!({ "type": "string", "minLength": 1 }), None),
            (
                json!({ "type": "array", "items": {}, "maxItems": 1 }),
                Some("At most 1 item."),
            ),
            (
                json!({ "type": "array", "items": {}, "minItems": 2 }),
                Some("At least 2 items."),
            ),
            (json!({ "type": "array", "items": {}, "minItems": 1 }), None),
            (json!({ "type": "integer", "maximum": 5 }), None),
        ];
        for (schema, expected) in cases {
            assert_eq!(describe_length(&schema).as_deref(), expected, "{schema}");
        }
    }
}

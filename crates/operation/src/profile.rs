//! Profiles: the forms in which input schemas are published, each for a kind of client.
//!
//! One walk over the full schema makes all of them. A constraint that a profile cannot state as a
//! keyword goes into the description, and is checked when a call arrives.

use serde_json::{Value, json};

use super::{
    JsonMap,
    marked::{Clearable, Mark, OPEN, OR_LIST, OR_TEXT, Secretive},
    schema::{self, NAMES, SPEAKS, UNLISTED},
};

/// The argument that names fields to clear, in profiles where `null` means that a field is omitted.
pub(super) const CLEAR: &str = "clear";

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
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Full => "full",
            Self::OpenAiStrict => "openai-strict",
            Self::Gemini => "gemini",
        }
    }

    /// Returns true if `null` means that a field is omitted, even where it otherwise clears.
    pub(super) const fn clears_by_name(self) -> bool {
        self.form().all_required
    }

    const fn form(self) -> Form {
        const LEAN: Form = Form {
            every_field: false,
            every_word: false,
            names_fields: false,
            constraints: false,
            closed: false,
            all_required: false,
            maps_as_text: false,
            updates: true,
        };
        match self {
            Self::Portable => LEAN,
            Self::Full => Form {
                every_field: true,
                every_word: true,
                names_fields: true,
                constraints: true,
                ..LEAN
            },
            Self::OpenAiStrict => Form {
                every_field: true,
                names_fields: true,
                closed: true,
                all_required: true,
                maps_as_text: true,
                ..LEAN
            },
            Self::Gemini => Form {
                names_fields: true,
                maps_as_text: true,
                ..LEAN
            },
        }
    }

    /// Publishes the schema of a tool's arguments. `updates` is true if there may be something to
    /// clear.
    pub(super) fn publish(self, full: &Value, updates: bool) -> JsonMap {
        let form = Form {
            updates,
            ..self.form()
        };
        let mut root = form.publish(full, true, false);
        // The tool's own description already says this.
        root.shift_remove("description");
        // Every list tool takes some arguments that are in no schema.
        if !form.all_required {
            root.shift_remove("additionalProperties");
        }
        let fields = root.entry("properties").or_insert_with(|| json!({}));
        let clears = form.all_required && clearable(full);
        if clears && let Value::Object(fields) = fields {
            let told = "Arguments to clear, as JSON Pointers such as /name: null only leaves out.";
            let items = json!({ "type": "string" });
            let clear = json!({ "type": ["array", "null"], "description": told, "items": items });
            fields.insert(CLEAR.to_owned(), clear);
        }
        if form.all_required
            && let Value::Array(required) = root.entry("required").or_insert_with(|| json!([]))
        {
            required.extend(clears.then(|| CLEAR.into()));
        }
        root
    }
}

/// The differences between profiles.
#[derive(Clone, Copy)]
struct Form {
    /// Lists arguments that the tool's description names.
    every_field: bool,
    /// Publishes every description, even where an enclosing one covers it.
    every_word: bool,
    /// Lists the fields of the widest bodies.
    names_fields: bool,
    /// States bounds, lengths and patterns as keywords, not in descriptions.
    constraints: bool,
    /// Declares that objects take no other fields.
    closed: bool,
    /// Requires each field. An optional one accepts `null`.
    all_required: bool,
    /// Publishes an object of undeclared fields as JSON text.
    maps_as_text: bool,
    /// The operation changes an existing resource, so there may be something to clear.
    updates: bool,
}

impl Form {
    fn publish(self, full: &Value, described: bool, nullable: bool) -> JsonMap {
        let mut out = JsonMap::new();
        let fields = full.get("properties").and_then(Value::as_object);
        let is_object = full.get("type").is_some_and(|kind| kind == "object");
        let is_text = self.is_text(full);
        let or_text = full.get(OR_TEXT).is_some() && !self.constraints;
        let described = described || self.every_word;
        if let Some(kind) = full.get("type") {
            out.insert("type".to_owned(), self.kind(full, kind, is_text, nullable));
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
            let speaks = items.get(SPEAKS).is_some() || items.get(NAMES).is_some();
            let is_text = self.is_text(items);
            let described = described && (full.get(NAMES).is_none() || self.every_word);
            let mut items = self.publish(items, described, false);
            if !speaks && !self.every_word && !is_text {
                items.shift_remove("description");
            }
            out.insert("items".to_owned(), items.into());
        }
        if let Some(fields) = fields
            && (self.names_fields || full.get(NAMES).is_none())
        {
            let silent = full.get(SPEAKS).is_some() || full.get(NAMES).is_some();
            self.publish_fields(full, fields, described && !silent, &mut out);
        }
        if self.constraints {
            self.constrain(full, &mut out);
        }
        if self.closed && is_object && !out.contains_key("additionalProperties") {
            out.insert("additionalProperties".to_owned(), false.into());
        }
        out
    }

    fn publish_fields(self, full: &Value, fields: &JsonMap, described: bool, out: &mut JsonMap) {
        let required = full.get("required").and_then(Value::as_array);
        let mut published = JsonMap::new();
        for (name, field) in fields {
            let unlisted = field.get(UNLISTED).is_some();
            if unlisted && !self.every_field {
                continue;
            }
            let is_required =
                required.is_some_and(|names| names.iter().any(|required| required == name));
            let nullable = match self.all_required {
                true => !is_required || field.get(Clearable::KEY).is_some(),
                false => self.constraints && field.get(Clearable::KEY).is_some(),
            };
            let field = self.publish(field, described && !unlisted, nullable);
            published.insert(name.clone(), field.into());
        }
        let required = match self.all_required {
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
    fn is_text(self, full: &Value) -> bool {
        self.maps_as_text
            && full.get("type").is_some_and(|kind| kind == "object")
            && full.get("properties").is_none()
            && full
                .get("additionalProperties")
                .is_some_and(|more| *more != false)
    }

    fn kind(self, full: &Value, kind: &Value, is_text: bool, nullable: bool) -> Value {
        let mut kinds = vec![if is_text {
            json!("string")
        } else {
            kind.clone()
        }];
        if full.get(OR_TEXT).is_some() {
            match self.constraints {
                true => kinds.insert(0, json!("string")),
                false => kinds = vec![json!("string")],
            }
        }
        if self.constraints && full.get(OR_LIST).is_some() {
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
    fn constrain(self, full: &Value, out: &mut JsonMap) {
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
        if full.get(Secretive::KEY).is_some()
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
                let values = self.publish(values, true, values.get(Clearable::KEY).is_some());
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
        let mut say = |sentence: &str| {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(sentence);
        };
        if !self.constraints
            && let Some(bounds) = bounds(full)
        {
            say(&bounds);
        }
        if full.get(OPEN).is_some()
            && let Some(Value::Array(values)) = full.get("enum")
        {
            // The field's own description summarises a longer list.
            const MAX_TOLD: usize = 16;
            if values.len() <= MAX_TOLD {
                let values: Vec<_> = values.iter().filter_map(Value::as_str).collect();
                say(&format!("Such as {}.", values.join(", ")));
            }
        }
        schema::groups(full).for_each(|group| say(&schema::sentence(&group)));
        if full.get(Clearable::KEY).is_some() && self.updates {
            say(if self.all_required {
                "`clear` can name it."
            } else {
                "null clears it."
            });
        }
        text
    }
}

/// Describes the bounds of a number.
fn bounds(full: &Value) -> Option<String> {
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

/// Returns true if a full schema has a clearable field.
pub(super) fn clearable(full: &Value) -> bool {
    let below = |key: &str| full.get(key).is_some_and(clearable);
    let fields = full.get("properties").and_then(Value::as_object);
    let mut fields = fields.into_iter().flatten();
    fields.any(|(_, field)| field.get(Clearable::KEY).is_some() || clearable(field))
        || below("items")
}

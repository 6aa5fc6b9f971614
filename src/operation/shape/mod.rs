//! The shape of an operation's arguments, compiled from its full schema.
//!
//! One walk over the arguments brings them into form (a number that came as text, an object that came
//! as JSON text, a `null` that means "left out") and collects everything that is wrong, each with its
//! path. On arguments that are right it allocates nothing.

mod clear;
mod secrets;

use std::fmt;

use serde_json::{Map, Value};

use super::{
    JsonMap, Problems,
    marked::{Clearable, Mark, Secretive, TextOrList},
    schema::{self, Quantity},
};

/// What a value must look like.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// A struct.
    Struct(Struct),
    /// A map: any names, each value of one shape.
    Map(Box<Shape>),
    /// A list.
    List { items: Box<Shape>, least: usize, most: usize },
    /// One of some words.
    Word(Vec<String>),
    /// Text of a bounded length in characters; a slug has a small alphabet.
    Text { least: usize, most: usize, slug: bool },
    /// Text, or a list of texts.
    TextOrList,
    /// A whole number within bounds.
    Integer { least: i64, most: i64 },
    /// A number within bounds.
    Number { least: f64, most: f64 },
    /// True or false.
    Truth,
    /// Anything.
    Any,
}

/// A struct: these fields, and no others unless it is open.
#[derive(Clone, Debug)]
pub(super) struct Struct {
    fields: Vec<Field>,
    groups: Vec<(Quantity, Vec<String>)>,
    open: bool,
}

/// One field of a struct.
#[derive(Clone, Debug)]
struct Field {
    name: String,
    shape: Shape,
    required: bool,
    clearable: bool,
    /// Whether that is what `null` does.
    null_clears: bool,
    secret: bool,
}

/// The one pattern inputs may state, in `#[schemars(regex(pattern = …))]`: a slug's.
const SLUG_PATTERN: &str = "^[a-zA-Z0-9_-]+$";

/// Where in the arguments the walk stands; written out only when there is something to say.
#[derive(Clone, Copy)]
pub(super) enum At<'a> {
    Root,
    Field(&'a At<'a>, &'a str),
    Item(&'a At<'a>, usize),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(At::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl Shape {
    /// Compiles a full schema.
    pub(super) fn of(full: &Value) -> Self {
        if let Some(Value::Array(words)) = full.get("enum") {
            return Self::Word(words.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        }
        let size =
            |key: &str| full.get(key).and_then(Value::as_u64).and_then(|n| n.try_into().ok());
        match full.get("type").and_then(Value::as_str) {
            Some("object") => match full.get("properties") {
                Some(Value::Object(fields)) => Self::Struct(Struct::of(fields, full)),
                _ if full.get("additionalProperties") == Some(&Value::Bool(false)) => {
                    Self::Struct(Struct::of(&JsonMap::new(), full))
                }
                _ => Self::Map(Box::new(
                    full.get("additionalProperties").map_or(Self::Any, Self::of),
                )),
            },
            Some("array") => Self::List {
                items: Box::new(full.get("items").map_or(Self::Any, Self::of)),
                least: size("minItems").unwrap_or(0),
                most: size("maxItems").unwrap_or(usize::MAX),
            },
            Some("string") if full.get(TextOrList::KEY).is_some() => Self::TextOrList,
            Some("string") => Self::Text {
                least: size("minLength").unwrap_or(0),
                most: size("maxLength").unwrap_or(usize::MAX),
                slug: full.get("pattern").is_some_and(|pattern| pattern == SLUG_PATTERN),
            },
            Some("integer") => Self::Integer {
                least: full.get("minimum").and_then(Value::as_i64).unwrap_or(i64::MIN),
                most: ["maximum", schema::WIDEST]
                    .iter()
                    .find_map(|key| full.get(key).and_then(Value::as_i64))
                    .unwrap_or(i64::MAX),
            },
            Some("number") => Self::Number {
                least: full.get("minimum").and_then(Value::as_f64).unwrap_or(f64::NEG_INFINITY),
                most: full.get("maximum").and_then(Value::as_f64).unwrap_or(f64::INFINITY),
            },
            Some("boolean") => Self::Truth,
            _ => Self::Any,
        }
    }

    /// Brings the arguments of a call into form and collects what is wrong with them.
    pub(super) fn conform_arguments(&self, args: &mut JsonMap, problems: &mut Problems) {
        if let Self::Struct(structure) = self {
            structure.conform(args, At::Root, problems);
        }
    }

    fn conform(&self, value: &mut Value, at: At<'_>, problems: &mut Problems) {
        self.read_text(value);
        match (self, &mut *value) {
            (Self::Any, _)
            | (Self::Truth, Value::Bool(_))
            | (Self::TextOrList, Value::String(_)) => {}
            (Self::TextOrList, Value::Array(list)) if list.iter().all(Value::is_string) => {}
            (Self::Struct(structure), Value::Object(map)) => structure.conform(map, at, problems),
            (Self::Map(shape), Value::Object(map)) => {
                for (name, value) in map {
                    shape.conform(value, At::Field(&at, name), problems);
                }
            }
            (Self::List { items, least, most }, Value::Array(list)) => {
                let count = list.len();
                if count < *least {
                    problems.add(at, format!("takes at least {least}, got {count}"));
                } else if count > *most {
                    problems.add(at, format!("takes at most {most}, got {count}"));
                }
                for (i, value) in list.iter_mut().enumerate() {
                    items.conform(value, At::Item(&at, i), problems);
                }
            }
            (Self::Word(words), Value::String(text)) => {
                if !words.contains(text) {
                    let known = one_of(words.iter().map(String::as_str));
                    let hint = did_you_mean(text, words.iter().map(String::as_str));
                    problems.add(at, format!("no such value `{}`{hint}; {known}", short(text)));
                }
            }
            (Self::Text { least, most, slug }, Value::String(text)) => {
                let count = text.chars().count();
                if count < *least {
                    problems.add(at, format!("takes a length of at least {least}, got {count}"));
                } else if count > *most {
                    problems.add(at, format!("takes at most {most} characters, got {count}"));
                }
                if *slug && !is_slug(text) {
                    let what = format!(
                        "`{}` is no identifier; use letters, digits, `-` and `_` only",
                        short(text)
                    );
                    problems.add(at, what);
                }
            }
            (Self::Integer { least, most }, Value::Number(number)) => match number.as_i64() {
                Some(n) if (*least..=*most).contains(&n) => {}
                Some(_) => problems.add(at, bounds(number, *least, *most)),
                None => problems.add(at, format!("takes a whole number, got {number}")),
            },
            (Self::Number { least, most }, Value::Number(number)) => {
                if number.as_f64().is_none_or(|n| !(*least..=*most).contains(&n)) {
                    let bounds = match most.is_finite() {
                        true => format!("takes a number from {least} to {most}, got {number}"),
                        false => format!("takes a number of at least {least}, got {number}"),
                    };
                    problems.add(at, bounds);
                }
            }
            (_, other) => {
                problems.add(at, format!("takes {}, got {}", self.kind(), kind_of(other)));
            }
        }
    }

    /// Reads what came as text but is meant otherwise; text that does not fit is left for the check.
    fn read_text(&self, value: &mut Value) {
        let Value::String(text) = &*value else { return };
        let read = match self {
            Self::Struct(_) | Self::Map(_) => {
                serde_json::from_str::<Map<String, Value>>(text).ok().map(Value::Object)
            }
            Self::List { items, .. } => match serde_json::from_str::<Vec<Value>>(text) {
                Ok(list) => Some(Value::Array(list)),
                // A lone name where names are meant; text that tried to be JSON is not one.
                Err(_) if matches!(**items, Self::Text { .. } | Self::Word(_)) => {
                    let lone = !text.is_empty() && !text.trim_start().starts_with(['[', '{']);
                    lone.then(|| Value::Array(vec![Value::String(text.clone())]))
                }
                Err(_) => None,
            },
            Self::TextOrList => {
                serde_json::from_str::<Vec<String>>(text).ok().map(|list| list.into())
            }
            Self::Integer { .. } => text.trim().parse::<i64>().ok().map(Value::from),
            Self::Number { .. } => serde_json::from_str(text).ok().map(Value::Number),
            Self::Truth => text.trim().to_ascii_lowercase().parse::<bool>().ok().map(Value::Bool),
            Self::Word(_) | Self::Text { .. } | Self::Any => None,
        };
        if let Some(read) = read {
            *value = read;
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Struct(_) | Self::Map(_) => "an object",
            Self::List { .. } => "a list",
            Self::Word(_) | Self::Text { .. } => "text",
            Self::TextOrList => "text or a list of texts",
            Self::Integer { .. } => "a whole number",
            Self::Number { .. } => "a number",
            Self::Truth => "true or false",
            Self::Any => "anything",
        }
    }
}

impl Field {
    fn of(name: &str, field: &Value, parent: &Value) -> Self {
        Self {
            name: name.to_owned(),
            shape: Shape::of(field),
            required: names(parent, "required").iter().any(|required| required == name),
            clearable: field.get(Clearable::KEY).is_some(),
            null_clears: field.get(Clearable::KEY).is_some(),
            secret: field.get(Secretive::KEY).is_some(),
        }
    }
}

impl Struct {
    fn of(fields: &JsonMap, full: &Value) -> Self {
        Self {
            fields: fields.iter().map(|(name, field)| Field::of(name, field, full)).collect(),
            groups: schema::groups(full).collect(),
            open: full.get("additionalProperties").is_some_and(|more| *more != false),
        }
    }

    fn conform(&self, map: &mut JsonMap, at: At<'_>, problems: &mut Problems) {
        let mut known = 0;
        for field in &self.fields {
            let here = At::Field(&at, &field.name);
            match map.get_mut(&field.name) {
                Some(Value::Null) if field.null_clears => known += 1,
                // `null` is how strict clients leave an optional field out.
                Some(Value::Null) => {
                    map.shift_remove(&field.name);
                    if field.required {
                        problems.add(here, "is required");
                    }
                }
                Some(value) => {
                    known += 1;
                    if field.secret {
                        field.shape.settle_references(value);
                    }
                    field.shape.conform(value, here, problems);
                }
                None if field.required => problems.add(here, "is required"),
                None => {}
            }
        }
        if known != map.len() && !self.open {
            self.refuse_strangers(map, at, problems);
        }
        for (quantity, names) in &self.groups {
            let is_given = |name: &&String| map.get(*name).is_some_and(|value| !value.is_null());
            let given: Vec<_> = names.iter().filter(is_given).collect();
            if !quantity.allows(given.len()) {
                let names = quoted(names.iter().map(String::as_str));
                let got = match given.as_slice() {
                    [] => "none".to_owned(),
                    given => quoted(given.iter().map(|name| name.as_str())),
                };
                problems.add(at, format!("takes {} of {names}; got {got}", quantity.words()));
            }
        }
    }

    fn refuse_strangers(&self, map: &JsonMap, at: At<'_>, problems: &mut Problems) {
        let names = || self.fields.iter().map(|field| field.name.as_str());
        for name in map.keys().filter(|name| !names().any(|known| known == *name)) {
            let hint = did_you_mean(name, names());
            let known =
                if self.fields.is_empty() { "it takes none".to_owned() } else { one_of(names()) };
            problems.add(At::Field(&at, &short(name)), format!("no such argument{hint}; {known}"));
        }
    }
}

/// The closest of some names, as the end of a sentence; nothing where none is close.
pub fn did_you_mean<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> String {
    // Comparing is quadratic in the length, and nobody means a name by a page of text.
    if given.len() > 100 {
        return String::new();
    }
    known
        .map(|name| (strsim::normalized_damerau_levenshtein(given, name), name))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| format!(", did you mean `{name}`?"))
        .unwrap_or_default()
}

fn names(full: &Value, key: &str) -> Vec<String> {
    let list = full.get(key).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn is_slug(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !text.is_empty() && text.bytes().all(fits)
}

fn bounds(number: &serde_json::Number, least: i64, most: i64) -> String {
    // A bound that is only a type's is not worth a word before something is beyond it.
    let is_low = number.as_i64().is_some_and(|n| n < least);
    if is_low && most >= u32::MAX.into() {
        format!("takes a whole number of at least {least}, got {number}")
    } else {
        format!("takes a whole number from {least} to {most}, got {number}")
    }
}

fn one_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    format!("it takes {}", quoted(names))
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// As much of a caller's text as an error should repeat.
fn short(text: &str) -> String {
    let mut cut: String = text.chars().take(60).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

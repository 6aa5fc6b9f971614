//! Redaction of arguments, for logs, dry runs and humans who approve: everything is shown but secrets.
//!
//! Declared secrets are blanked by the shape of the arguments. In documents of free form and in undeclared
//! fields names decide, and keys are found by how they look. No part is shown because it is not known.

use serde_json::Value;

use super::{
    names::{self, Name},
    scan::{SHORTEST, mask_line},
};
use crate::operation::{JsonMap, Opaque, Published, Reference};

/// Stands where a secret argument was.
pub const BLANK: &str = "***";

/// Documents that are shown but for what is secret in them. Others, such as the bodies of logged requests,
/// hold what people wrote and are blanked as a whole.
const SHOWN_DOCUMENTS: [&str; 4] = ["config", "parameters", "configurations", "additional_config"];

/// A token shorter than this is not taken for a secret by its characters alone.
const MIN_RANDOM: usize = 24;
/// The same for one of hexadecimal digits, as identifiers are.
const MIN_RANDOM_HEX: usize = 32;

/// Where a value stands.
#[derive(Clone, Copy)]
struct Place {
    /// Credentials are kept there.
    strict: bool,
    /// Within a document, where what looks random is a secret.
    in_document: bool,
}

const DOCUMENT: Place = Place { strict: true, in_document: true };

/// The arguments of a call with everything blanked that is secret, or named or looking like a secret.
pub fn redacted(published: &Published, args: JsonMap) -> JsonMap {
    let mut redacted = published.redacted_with(args, blank_opaque);
    mask_arguments(&mut redacted);
    redacted
}

/// Blanks in arguments what is known as a secret by its name or its looks, wherever it stands.
pub fn mask_arguments(args: &mut JsonMap) {
    let mut whole = Value::Object(std::mem::take(args));
    redact(&mut whole, Place { strict: false, in_document: false });
    if let Value::Object(masked) = whole {
        *args = masked;
    }
}

fn blank_opaque(kind: Opaque, name: &str, value: &mut Value) {
    match kind {
        Opaque::Document if SHOWN_DOCUMENTS.contains(&name) => redact(value, DOCUMENT),
        Opaque::Document => *value = BLANK.into(),
        Opaque::Values => blank(value),
        Opaque::Unknown => redact_unknown(name, value),
    }
}

/// Blanks what is secret in a value.
fn redact(value: &mut Value, place: Place) {
    match value {
        Value::String(text) => redact_text(text, place),
        Value::Array(list) => list.iter_mut().for_each(|item| redact(item, place)),
        Value::Object(map) => {
            if place.in_document {
                redact_pair(map);
            }
            if map.keys().any(|name| is_masked_name(name)) {
                let fields = std::mem::take(map).into_iter();
                *map = fields.map(|(name, value)| (mask_line(&name).into_owned(), value)).collect();
            }
            map.iter_mut().for_each(|(name, value)| redact_field(name, value, place));
        }
        _ => {}
    }
}

fn redact_field(name: &str, value: &mut Value, place: Place) {
    match names::read(name, place.strict) {
        Name::Sealed => blank(value),
        // A price or a count of tokens is no secret; a PIN is one.
        Name::Secret if value.is_number() && names::counts_tokens(name) => {}
        Name::Secret if !holds_fields(value) => blank(value),
        Name::Labels => redact(value, Place { strict: false, ..place }),
        Name::Plain | Name::Secret => redact(value, place),
    }
}

/// A field that is not declared: whatever may be a secret by its name is blanked, at any depth.
fn redact_unknown(name: &str, value: &mut Value) {
    let is_text = |value: &Value| matches!(value, Value::String(_) | Value::Array(_));
    if names::may_be_secret(name) && (is_text(value) || name.to_lowercase().contains("header")) {
        return blank(value);
    }
    match value {
        Value::Object(map) => {
            map.iter_mut().for_each(|(name, value)| redact_unknown(name, value));
            redact_pair(map);
        }
        Value::Array(list) => list.iter_mut().for_each(|item| redact_unknown(name, item)),
        _ => {}
    }
    redact_field(name, value, DOCUMENT);
}

/// A setting that is written as its name and its value.
fn redact_pair(map: &mut JsonMap) {
    let name = ["name", "key", "header"].iter().find_map(|name| map.get(*name)?.as_str());
    let is_secret = name.is_some_and(names::is_secret_name);
    if is_secret && let Some(value) = map.get_mut("value") {
        blank(value);
    }
}

/// A document that is written as a text is redacted as a document.
fn redact_text(text: &mut String, place: Place) {
    if text.len() < SHORTEST {
        return;
    }
    if text.starts_with(['{', '['])
        && let Ok(mut inside) = serde_json::from_str::<Value>(text)
    {
        let before = inside.clone();
        redact(&mut inside, place);
        if inside != before {
            *text = inside.to_string();
        }
        return;
    }
    if let std::borrow::Cow::Owned(masked) = mask_line(text) {
        *text = masked;
    }
    if place.in_document && tokens(text).any(is_random) {
        *text = BLANK.into();
    }
}

/// The parts of a text that could each be a key.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '=')))
}

/// Whether a token has the look of something random: it changes between large and small letters and digits
/// far more often than names do, as those of models. A UUID is an identifier.
fn is_random(token: &str) -> bool {
    if token.len() < MIN_RANDOM || super::mask::is_uuid(token) {
        return false;
    }
    let is_hex = token.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
    if is_hex && token.len() < MIN_RANDOM_HEX {
        return false;
    }
    let kind = |byte: u8| (byte.is_ascii_digit(), byte.is_ascii_uppercase());
    let letters: Vec<u8> = token.bytes().filter(u8::is_ascii_alphanumeric).collect();
    let changes =
        letters.iter().zip(letters.iter().skip(1)).filter(|(a, b)| kind(**a) != kind(**b));
    // Three in ten: names have about one, random texts five or six.
    changes.count() * 10 >= letters.len() * 3
}

fn is_masked_name(name: &str) -> bool {
    matches!(mask_line(name), std::borrow::Cow::Owned(_))
}

/// Whether there are names below that tell what is secret.
fn holds_fields(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => list.iter().any(holds_fields),
        _ => false,
    }
}

/// Blanks every value below; names stay, and so do references, which tell where a secret is.
fn blank(value: &mut Value) {
    if Reference::in_value(value).is_some() {
        return;
    }
    match value {
        Value::Null | Value::Bool(_) => {}
        // A list of headers or settings, each with its name.
        Value::Object(map) if map.contains_key("name") && map.contains_key("value") => {
            map.get_mut("value").into_iter().for_each(blank);
        }
        Value::Object(map) => map.values_mut().for_each(blank),
        Value::Array(list) => list.iter_mut().for_each(blank),
        other => *other = BLANK.into(),
    }
}

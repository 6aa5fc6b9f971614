//! Redacts arguments for logs, dry runs and humans who approve: everything but secrets stays
//! visible.
//!
//! Declared secrets are blanked by the schema of the arguments. In documents of free form and in
//! undeclared fields, names decide, and keys are found by their patterns. No part stays visible
//! merely because it is unknown.

use portkey_operation::{CompiledOperation, JsonMap, OpaqueKind, Reference};
use serde_json::Value;

use super::{
    heuristics::{candidate_tokens, is_exact_json, is_random, is_schema, is_schema_value_keyword},
    mask::mask_names,
    names::{self, NameKind},
    scan::{KeyScanner, MASK, MIN_KEY_BYTES, mask_line},
};
/// Replaces a secret argument.
pub const BLANK: &str = "***";

/// Documents that stay visible apart from their secrets. Others, such as the bodies of logged
/// requests, hold text that people wrote and are blanked as a whole.
const SHOWN_DOCUMENTS: [&str; 4] = [
    "config",
    "parameters",
    "configurations",
    "additional_config",
];

/// Context of a value.
#[derive(Clone, Copy)]
struct RedactContext {
    /// The value is where credentials are kept.
    strict: bool,
    /// The value is within a document, where anything that looks random is a secret.
    in_document: bool,
}

const DOCUMENT: RedactContext = RedactContext {
    strict: true,
    in_document: true,
};

/// Redacts the arguments of a call: everything that is declared secret, or named or looks like a
/// secret.
pub fn redact_arguments(published: &CompiledOperation, args: JsonMap) -> JsonMap {
    let mut redacted = published.redact_with(args, blank_opaque);
    mask_arguments(&mut redacted);
    redacted
}

/// Blanks values in arguments that are secret by their names or patterns, at any depth.
pub fn mask_arguments(args: &mut JsonMap) {
    let mut whole = Value::Object(std::mem::take(args));
    redact_value(
        &mut whole,
        RedactContext {
            strict: false,
            in_document: false,
        },
    );
    if let Value::Object(masked) = whole {
        *args = masked;
    }
}

fn blank_opaque(kind: OpaqueKind, name: &str, value: &mut Value) {
    match kind {
        OpaqueKind::Document if SHOWN_DOCUMENTS.contains(&name) => redact_value(value, DOCUMENT),
        OpaqueKind::Document => *value = BLANK.into(),
        OpaqueKind::Values => blank(value),
        OpaqueKind::Unknown => redact_unknown(name, value),
    }
}

/// Blanks the secrets in a value.
fn redact_value(value: &mut Value, place: RedactContext) {
    match value {
        Value::String(text) => redact_text(text, place),
        Value::Number(number) if KeyScanner::new(&[]).is_key_number(number) => *value = MASK.into(),
        Value::Array(list) => list.iter_mut().for_each(|item| redact_value(item, place)),
        Value::Object(map) => {
            if place.in_document {
                redact_pair(map);
            }
            map.iter_mut()
                .for_each(|(name, value)| redact_field(name, value, place));
            mask_names(map, mask_line);
        }
        _ => {}
    }
}

fn redact_field(name: &str, value: &mut Value, place: RedactContext) {
    match names::classify(name, place.strict) {
        NameKind::AllSecret | NameKind::SecretCollection => blank(value),
        NameKind::Text if names::is_secret_text(value) => blank(value),
        // A price or a count of tokens is no secret; a PIN is one.
        NameKind::Secret if is_about_tokens(name, value) => redact_value(value, place),
        NameKind::Secret => match value {
            Value::Object(map) if is_schema(map) => {
                for (name, value) in map {
                    match is_schema_value_keyword(name) {
                        true => blank(value),
                        false => redact_value(value, place),
                    }
                }
            }
            value => blank(value),
        },
        NameKind::Labels => redact_value(
            value,
            RedactContext {
                strict: false,
                ..place
            },
        ),
        NameKind::NotSecret | NameKind::Text => redact_value(value, place),
    }
}

fn is_about_tokens(name: &str, value: &Value) -> bool {
    matches!(value, Value::Number(_) | Value::Object(_)) && names::is_token_count(name)
}

/// Redacts an undeclared field: everything that may be a secret by its name is blanked, at any
/// depth.
fn redact_unknown(name: &str, value: &mut Value) {
    if names::may_be_secret(name) && !is_about_tokens(name, value) {
        return blank(value);
    }
    match value {
        Value::Object(map) => {
            map.iter_mut()
                .for_each(|(name, value)| redact_unknown(name, value));
            redact_pair(map);
        }
        Value::Array(list) => list.iter_mut().for_each(|item| redact_unknown(name, item)),
        _ => {}
    }
    redact_field(name, value, DOCUMENT);
}

/// Blanks the value of a setting that is written as its name and its value.
fn redact_pair(map: &mut JsonMap) {
    let name = ["name", "key", "header"]
        .iter()
        .find_map(|name| map.get(*name)?.as_str());
    let Some(read) = name.map(|name| names::classify(name, true)) else {
        return;
    };
    let Some(value) = map.get_mut("value") else {
        return;
    };
    match read {
        NameKind::Secret | NameKind::SecretCollection | NameKind::AllSecret => blank(value),
        NameKind::Text if names::is_secret_text(value) => blank(value),
        NameKind::Text | NameKind::NotSecret | NameKind::Labels => {}
    }
}

/// Redacts a text. A document that is written as a text is redacted as a document.
fn redact_text(text: &mut String, place: RedactContext) {
    if text.len() < MIN_KEY_BYTES {
        return;
    }
    if text.starts_with(['{', '['])
        && let Ok(mut inside) = serde_json::from_str::<Value>(text)
    {
        let before = inside.clone();
        redact_value(&mut inside, place);
        if inside != before || !is_exact_json(text, &before) {
            *text = inside.to_string();
        }
        return;
    }
    if let std::borrow::Cow::Owned(masked) = mask_line(text) {
        *text = masked;
    }
    if place.in_document && candidate_tokens(text).any(is_random) {
        *text = BLANK.into();
    }
}

/// Blanks every value below. Names stay unless they are keys. References stay too, because they
/// only tell where a secret is.
fn blank(value: &mut Value) {
    if Reference::from_value(value).is_some() {
        return;
    }
    match value {
        // A boolean or null only tells whether there is a secret.
        Value::Null | Value::Bool(_) => {}
        Value::Object(map) => blank_fields(map, |_| true),
        // A list of headers or settings, each with its name.
        Value::Array(list) => list.iter_mut().for_each(|item| match item {
            Value::Object(map) if map.contains_key("name") && map.contains_key("value") => {
                blank_fields(map, |name| name == "value");
            }
            item => blank(item),
        }),
        other => *other = BLANK.into(),
    }
}

fn blank_fields(map: &mut JsonMap, is_secret: impl Fn(&str) -> bool) {
    for (name, value) in &mut *map {
        match value {
            value if !is_secret(name) => redact_value(value, DOCUMENT),
            Value::Bool(_) => *value = BLANK.into(),
            value => blank(value),
        }
    }
    mask_names(map, |name| match is_random(name) {
        true => MASK.into(),
        false => mask_line(name),
    });
}

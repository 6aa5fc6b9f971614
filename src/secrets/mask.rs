//! Masking of answers: what the declarations say is secret, what its name gives away, and keys in texts.

use serde_json::Value;

use super::{
    names::{self, Name},
    scan::{self, MASK},
};
use crate::operation::Operation;

/// What the texts of an answer may have in them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Texts<'a> {
    /// No key.
    Keyless,
    /// Anything; these exact texts are masked, too.
    Any(&'a [&'a str]),
}

/// Where in an answer a value stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Credentials are kept there.
    strict: bool,
    /// What is named as a key there is the id of one.
    has_key_ids: bool,
}

const STRICT: Place = Place { strict: true, has_key_ids: false };

/// Masks what is secret in an answer to an operation, what the call itself reveals included. What an
/// upstream has masked stays as it is, and so does personal data.
pub fn mask(operation: &Operation, answer: &mut Value) {
    mask_also(operation, answer, Texts::Any(&[]));
}

/// The same, for one of whose texts more is known.
pub(super) fn mask_also(operation: &Operation, answer: &mut Value, texts: Texts<'_>) {
    for path in operation.secret_fields() {
        each(answer, path, &mut declared);
    }
    for path in operation.revealed() {
        each(answer, path, &mut seal);
    }
    // No group of requests is named by a key itself.
    let has_key_ids = operation.path().starts_with("/analytics/");
    walk(answer, Place { strict: false, has_key_ids }, texts);
}

/// Shows `act` every value at a path such as `data[].key`; at `headers.*`, the whole of `headers`, where
/// everything is secret.
fn each(value: &mut Value, path: &str, act: &mut dyn FnMut(&mut Value)) {
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    let (name, many) = match step.strip_suffix("[]") {
        Some(name) => (name, true),
        None => (step, false),
    };
    let Some(value) = value.get_mut(name) else { return };
    match (value, rest) {
        (value, "*") => seal(value),
        (Value::Array(list), "") if many => list.iter_mut().for_each(act),
        (Value::Array(list), rest) if many => {
            list.iter_mut().for_each(|item| each(item, rest, act))
        }
        (value, "") => act(value),
        (value, rest) => each(value, rest, act),
    }
}

/// What is declared secret: a text is one, whatever it is called. One that is JSON is read as such.
fn declared(value: &mut Value) {
    let Value::String(text) = value else { return walk(value, STRICT, Texts::Any(&[])) };
    match serde_json::from_str::<Value>(text) {
        Ok(mut inside @ (Value::Object(_) | Value::Array(_))) => {
            let before = inside.clone();
            walk(&mut inside, STRICT, Texts::Any(&[]));
            if inside != before {
                *text = inside.to_string();
            }
        }
        _ => hide(value),
    }
}

/// What names give away, and keys in texts.
fn walk(value: &mut Value, place: Place, texts: Texts<'_>) {
    match value {
        Value::String(text) => {
            if let Texts::Any(also) = texts {
                scan(text, also);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|item| walk(item, place, texts)),
        Value::Object(map) => {
            for (name, value) in map {
                match names::read(name, place.strict) {
                    Name::Secret if is_text(value) && !place.is_key_id(name, value) => hide(value),
                    Name::Sealed => seal(value),
                    Name::Labels => walk(value, Place { strict: false, ..place }, texts),
                    Name::Plain | Name::Secret => walk(value, place, texts),
                }
            }
        }
        _ => {}
    }
}

impl Place {
    /// Whether a value that is named as an API key is the id of one. Such an id is a UUID, and where
    /// credentials are kept a key may be one as well.
    fn is_key_id(self, name: &str, value: &Value) -> bool {
        let is_uuid = |value: &Value| value.as_str().is_some_and(is_uuid);
        let are_uuids = || match value {
            Value::Array(list) => list.iter().all(is_uuid),
            value => is_uuid(value),
        };
        !self.strict && names::is_api_key(name) && (self.has_key_ids || are_uuids())
    }
}

/// Whether a text is a UUID in its usual form.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_text(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Array(list) => list.iter().all(Value::is_string),
        _ => false,
    }
}

/// Hides every text in a value.
fn seal(value: &mut Value) {
    match value {
        // A list of headers or settings, each with its name.
        Value::Object(map) if map.contains_key("name") && map.contains_key("value") => {
            map.get_mut("value").into_iter().for_each(seal);
        }
        Value::Object(map) => map.values_mut().for_each(seal),
        Value::Array(list) => list.iter_mut().for_each(seal),
        value => hide(value),
    }
}

/// Hides a text, or each of a list of texts.
fn hide(value: &mut Value) {
    match value {
        Value::String(text) if !text.is_empty() && !is_masked(text) => *text = MASK.to_owned(),
        Value::Array(list) => list.iter_mut().for_each(hide),
        _ => {}
    }
}

fn scan(text: &mut String, also: &[&str]) {
    if text.len() < scan::SHORTEST {
        return;
    }
    if let Some(masked) = exact(text, also) {
        *text = masked;
    }
    if let std::borrow::Cow::Owned(masked) = scan::mask(text) {
        *text = masked;
    }
}

/// A text without these texts, if it has any of them.
pub(super) fn exact(text: &str, also: &[&str]) -> Option<String> {
    let mut masked = None::<String>;
    for secret in also {
        let text = masked.as_deref().unwrap_or(text);
        if text.contains(secret) {
            masked = Some(text.replace(secret, MASK));
        }
    }
    masked
}

/// Whether a text is a masked secret: ours, or an upstream's, which leaves a few characters beside its
/// stars (secrets.md §2).
pub fn is_masked(text: &str) -> bool {
    text == MASK || text.contains("***") && text.chars().filter(|c| *c != '*').count() <= 12
}

/// Where in arguments something is that we masked, if anywhere: as in `config.targets[0].api_key`.
pub(super) fn find_mask<'a>(
    values: impl Iterator<Item = (&'a String, &'a Value)>,
) -> Option<String> {
    fn at(value: &Value) -> Option<String> {
        match value {
            Value::String(text) => text.contains(MASK).then(String::new),
            Value::Array(list) => list
                .iter()
                .enumerate()
                .find_map(|(i, item)| at(item).map(|rest| format!("[{i}]{rest}"))),
            Value::Object(map) => {
                map.iter().find_map(|(name, value)| at(value).map(|rest| format!(".{name}{rest}")))
            }
            _ => None,
        }
    }
    values.into_iter().find_map(|(name, value)| at(value).map(|rest| format!("{name}{rest}")))
}

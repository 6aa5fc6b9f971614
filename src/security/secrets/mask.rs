//! Masks responses: fields declared secret, fields with a telling name, and keys in texts and
//! names.
//!
//! Every decision is made on names as they are nested, never on a joined path. A name with dots or
//! brackets from an upstream stays one name.

use std::borrow::Cow;

use portkey_operation::{JsonMap, Operation, field_step};
use serde_json::Value;

use super::{
    looks,
    names::{self, Name},
    scan::{MASK, Scanner},
};
/// Context of a value in a response.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The value is where credentials are kept.
    strict: bool,
    /// A field named like a key holds the id of one.
    has_key_ids: bool,
    /// An object with `name` and `value` is a setting whose name describes the value.
    has_pairs: bool,
}

const STRICT: Place = Place {
    strict: true,
    has_key_ids: false,
    has_pairs: true,
};

/// Fields that hold the name of a setting written as an object with its name and its `value`.
const PAIR_NAMES: [&str; 3] = ["name", "key", "header"];
/// Fields that may hold the value of a setting.
const VALUES_OF_PAIR: [&str; 3] = ["value", "values", "default"];
/// Fields that stay visible in a setting whose value is secret.
const SHOWN_OF_PAIR: [&str; 10] = [
    "name",
    "key",
    "header",
    "description",
    "type",
    "format",
    "is_required",
    "isRequired",
    "is_secret",
    "isSecret",
];

/// Masks the secrets in a response to an operation, including those that the call itself returns.
///
/// Values that an upstream has masked stay as they are, and so does personal data.
pub fn mask(operation: &Operation, answer: &mut Value) {
    mask_also(operation, answer, Some(&Scanner::new(&[])));
}

/// Masks a response with a given scanner, which finds keys in texts. `None` if the texts are known
/// to hold no key.
pub(super) fn mask_also(operation: &Operation, answer: &mut Value, scanner: Option<&Scanner<'_>>) {
    for path in operation.secret_fields() {
        let last = path.rsplit('.').next().unwrap_or(path);
        let is_credential = names::is_credential(last.trim_end_matches("[]"));
        each(
            answer,
            path,
            &mut |value, whole| match whole || is_credential {
                true => seal(value, scanner),
                false => declared(value, scanner),
            },
        );
    }
    for path in operation.one_time_secrets() {
        each(answer, path, &mut |value, _| seal(value, scanner));
    }
    // No group of requests is named by a key itself.
    let has_key_ids = operation.path().starts_with("/analytics/");
    walk(
        answer,
        Place {
            strict: false,
            has_key_ids,
            has_pairs: true,
        },
        scanner,
    );
}

/// Masks a response that declares no secret fields.
pub(super) fn mask_undeclared(answer: &mut Value) {
    let place = Place {
        strict: false,
        has_key_ids: false,
        has_pairs: true,
    };
    walk(answer, place, Some(&Scanner::new(&[])));
}

/// Masks a document by the rules for places where credentials are kept.
pub(super) fn mask_document(document: &mut Value) {
    walk(document, STRICT, Some(&Scanner::new(&[])));
}

/// Calls `act` for every value at a declared path such as `data[].key`.
///
/// The flag is `true` if everything below is secret, as at `headers.*`. Such paths are this
/// project's own, and no name in them has a dot or a bracket.
fn each(value: &mut Value, path: &str, act: &mut dyn FnMut(&mut Value, bool)) {
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    let (name, many) = match step.strip_suffix("[]") {
        Some(name) => (name, true),
        None => (step, false),
    };
    let Some(value) = value.get_mut(name) else {
        return;
    };
    match (value, rest) {
        (value, "*") => act(value, true),
        (Value::Array(list), "") if many => list.iter_mut().for_each(|item| act(item, false)),
        (Value::Array(list), rest) if many => {
            list.iter_mut().for_each(|item| each(item, rest, act))
        }
        (value, "") => act(value, false),
        (value, rest) => each(value, rest, act),
    }
}

/// Masks a document that is declared secret. Every text or number in it is masked, whatever its
/// name. A text that is JSON is masked as JSON.
fn declared(value: &mut Value, scanner: Option<&Scanner<'_>>) {
    match value {
        Value::String(text) => {
            if !mask_inside(text, |inside| declared(inside, scanner)) {
                hide(value);
            }
        }
        Value::Number(_) => hide(value),
        Value::Array(list) => list.iter_mut().for_each(|item| declared(item, scanner)),
        value => walk(value, STRICT, scanner),
    }
}

/// Masks a document that is written as a text. Returns `false` if the text is no JSON document.
fn mask_inside(text: &mut String, mask: impl Fn(&mut Value)) -> bool {
    if !text.trim_ascii_start().starts_with(['{', '[']) {
        return false;
    }
    let Ok(mut inside) = serde_json::from_str::<Value>(text) else {
        return false;
    };
    let before = inside.clone();
    mask(&mut inside);
    if inside != before || !looks::says_only(text, &before) {
        *text = inside.to_string();
    }
    true
}

/// Masks values with telling names, and keys in texts and names.
fn walk(value: &mut Value, place: Place, scanner: Option<&Scanner<'_>>) {
    match value {
        Value::String(text) => {
            if place.strict {
                mask_inside(text, |inside| walk(inside, place, scanner));
            }
            if let Some(scanner) = scanner
                && let Cow::Owned(masked) = scanner.mask(text)
            {
                *text = masked;
            }
        }
        Value::Number(number) if scanner.is_some_and(|scanner| scanner.is_key(number)) => {
            *value = MASK.into();
        }
        Value::Array(list) => list.iter_mut().for_each(|item| walk(item, place, scanner)),
        Value::Object(map) => {
            let mut has_value = false;
            for (name, value) in &mut *map {
                has_value |= name == "value";
                walk_field(name, value, place, scanner);
            }
            if has_value && place.has_pairs {
                hide_pair(map, place, scanner);
            }
            if let Some(scanner) = scanner {
                mask_names(map, |name| scanner.mask(name));
            }
        }
        _ => {}
    }
}

/// Masks a field by the kind of its name.
fn walk_field(name: &str, value: &mut Value, place: Place, scanner: Option<&Scanner<'_>>) {
    match names::read(name, place.strict) {
        Name::Plain => walk(value, place, scanner),
        Name::Secret if place.is_key_id(name, value) => walk(value, place, scanner),
        Name::Secret => hide_below(name, value, place, scanner),
        Name::Several => hide_several(value, place, scanner),
        Name::Text if names::is_secret_text(value) => hide(value),
        Name::Text => walk(value, place, scanner),
        Name::Sealed => seal(value, scanner),
        Name::Labels => {
            walk(
                value,
                Place {
                    strict: false,
                    has_pairs: false,
                    ..place
                },
                scanner,
            );
        }
    }
}

impl Place {
    /// Returns `true` if a value named like an API key is the id of one.
    ///
    /// Such an id is a UUID. Where credentials are kept, a key may be a UUID as well.
    fn is_key_id(self, name: &str, value: &Value) -> bool {
        let is_uuid = |value: &Value| value.as_str().is_some_and(looks::is_uuid);
        let are_uuids = || match value {
            Value::Array(list) => list.iter().all(is_uuid),
            value => is_uuid(value),
        };
        !self.strict && names::is_api_key(name) && (self.has_key_ids || are_uuids())
    }
}

/// Masks a value that has the name of a secret: texts, numbers, and everything below an object.
fn hide_below(name: &str, value: &mut Value, place: Place, scanner: Option<&Scanner<'_>>) {
    match value {
        Value::Number(_) | Value::Object(_) if names::counts_tokens(name) => {
            walk(value, place, scanner);
        }
        Value::Object(map) if looks::is_schema(map) => {
            for (name, value) in map {
                match looks::is_schema_value(name) {
                    true => seal(value, scanner),
                    false => walk(value, place, scanner),
                }
            }
        }
        Value::Object(_) => seal(value, scanner),
        Value::Array(list) => {
            list.iter_mut()
                .for_each(|item| hide_below(name, item, place, scanner));
        }
        // A boolean only tells whether there is a secret.
        Value::Bool(_) => {}
        value => hide(value),
    }
}

/// Masks a value that has the name of several secrets: a list, or an object with any names.
fn hide_several(value: &mut Value, place: Place, scanner: Option<&Scanner<'_>>) {
    // The id of a key is no secret.
    let is_id = |text: &str| !place.strict && looks::is_uuid(text);
    match value {
        Value::String(text) if is_id(text) => {}
        Value::Array(list) => {
            list.iter_mut().for_each(|item| match item {
                Value::Object(_) => walk(item, place, scanner),
                item => hide_several(item, place, scanner),
            });
        }
        Value::Object(map) => {
            for (name, value) in &mut *map {
                match value {
                    Value::Object(_) => walk_field(name, value, place, scanner),
                    value => hide_several(value, place, scanner),
                }
            }
            seal_names(map, scanner);
        }
        Value::Bool(_) => {}
        value => hide(value),
    }
}

/// Masks the value of a setting that is written as an object with its name.
///
/// Elsewhere than among credentials, an object with a name and a value may be anything, such as a
/// limit that people have named.
fn hide_pair(map: &mut JsonMap, place: Place, scanner: Option<&Scanner<'_>>) {
    let Some(name) = PAIR_NAMES.iter().find_map(|name| map.get(*name)?.as_str()) else {
        return;
    };
    let is_secret = match names::read(name, place.strict) {
        Name::Secret | Name::Several | Name::Sealed => true,
        Name::Text => map.get("value").is_some_and(names::is_secret_text),
        Name::Plain | Name::Labels => false,
    };
    let is_id = map
        .get("value")
        .is_some_and(|value| place.is_key_id(name, value));
    let is_setting = place.strict || map.keys().all(|name| is_of_setting(name));
    if is_secret && is_setting && !is_id {
        for name in VALUES_OF_PAIR {
            map.get_mut(name)
                .into_iter()
                .for_each(|value| seal(value, scanner));
        }
    }
}

fn is_of_setting(name: &str) -> bool {
    VALUES_OF_PAIR.contains(&name) || SHOWN_OF_PAIR.contains(&name) || name == "id"
}

/// Masks every value in a value, and names that look like keys.
fn seal(value: &mut Value, scanner: Option<&Scanner<'_>>) {
    match value {
        Value::Object(map) => {
            for value in map.values_mut() {
                match value {
                    Value::Bool(_) => hide(value),
                    value => seal(value, scanner),
                }
            }
            seal_names(map, scanner);
        }
        // A list of headers or settings, each with its name.
        Value::Array(list) => list.iter_mut().for_each(|item| match item {
            Value::Object(map) if is_setting(map) => seal_setting(map, scanner),
            item => seal(item, scanner),
        }),
        Value::Bool(_) => {}
        value => hide(value),
    }
}

fn is_setting(map: &JsonMap) -> bool {
    map.contains_key("value") && PAIR_NAMES.iter().any(|name| map.contains_key(*name))
}

/// Masks everything in a setting but the fields that describe it.
fn seal_setting(map: &mut JsonMap, scanner: Option<&Scanner<'_>>) {
    for (name, value) in &mut *map {
        if !SHOWN_OF_PAIR.contains(&name.as_str()) {
            seal(value, scanner);
        }
    }
    seal_names(map, scanner);
    walk_shown(map, scanner);
}

/// Masks keys in the visible fields of a setting, which may hold one as any text may.
fn walk_shown(map: &mut JsonMap, scanner: Option<&Scanner<'_>>) {
    for name in SHOWN_OF_PAIR {
        if let Some(shown) = map.get_mut(name) {
            walk(shown, STRICT, scanner);
        }
    }
}

fn seal_names(map: &mut JsonMap, scanner: Option<&Scanner<'_>>) {
    mask_names(map, |name| match scanner {
        _ if looks::is_random(name) => MASK.into(),
        Some(scanner) => scanner.mask(name),
        None => name.into(),
    });
}

/// Masks names of fields. Masked names are kept distinct, so that no value is lost.
pub(super) fn mask_names(map: &mut JsonMap, masked: impl Fn(&str) -> Cow<'_, str>) {
    if map
        .keys()
        .all(|name| matches!(masked(name), Cow::Borrowed(same) if same == name))
    {
        return;
    }
    let mut count = 1;
    for (name, value) in std::mem::take(map) {
        let masked = masked(&name).into_owned();
        let mut unique = masked.clone();
        while map.contains_key(&unique) {
            count += 1;
            unique = format!("{masked} ({count})");
        }
        map.insert(unique, value);
    }
}

/// Masks a text, a number or a boolean, and each of them in a list.
fn hide(value: &mut Value) {
    match value {
        Value::String(text) if text.is_empty() || is_masked(text) => {}
        Value::String(_) | Value::Number(_) | Value::Bool(_) => *value = MASK.into(),
        Value::Array(list) => list.iter_mut().for_each(hide),
        _ => {}
    }
}

/// Masks the given secrets in a text. Returns `None` if the text holds none of them.
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

/// Returns `true` if a text is a masked secret: this server's mask or an upstream's.
///
/// An upstream's mask has three or more stars and at most a dozen other characters.
pub fn is_masked(text: &str) -> bool {
    text == MASK || text.contains("***") && text.chars().filter(|c| *c != '*').count() <= 12
}

/// Finds a value or a name in arguments that holds this server's mask, and returns its path, such
/// as `config.targets[0].api_key`.
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
            Value::Object(map) => map.iter().find_map(|(name, value)| {
                let below = if name.contains(MASK) {
                    Some(String::new())
                } else {
                    at(value)
                };
                below.map(|rest| format!("{}{rest}", field_step(name)))
            }),
            _ => None,
        }
    }
    let mut values = values.into_iter();
    values.find_map(|(name, value)| {
        let below = if name.contains(MASK) {
            Some(String::new())
        } else {
            at(value)
        };
        below.map(|rest| format!("{name}{rest}"))
    })
}

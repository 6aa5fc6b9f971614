//! Masks responses: fields declared secret, fields with a telling name, and keys in texts and
//! names.
//!
//! Every decision is made on names as they are nested, never on a joined path. A name with dots or
//! brackets from an upstream stays one name.

use std::borrow::Cow;

use portkey_operation::{JsonMap, Operation, field_step};
use portkey_policy::REDACTED;
use serde_json::Value;

use super::{
    heuristics,
    names::{self, NameKind},
    scan::{KeyScanner, MASK},
};
/// Context of a value in a response.
#[derive(Clone, Copy, Debug)]
struct MaskContext {
    /// The value is where credentials are kept.
    strict: bool,
    /// A field named like a key holds the id of one.
    has_key_ids: bool,
    /// An object with `name` and `value` is a setting whose name describes the value.
    has_pairs: bool,
}

const STRICT_CONTEXT: MaskContext = MaskContext {
    strict: true,
    has_key_ids: false,
    has_pairs: true,
};

/// Fields that hold the name of a setting written as an object with its name and its `value`.
pub(super) const PAIR_NAMES: [&str; 3] = ["name", "key", "header"];
/// Fields that may hold the value of a setting.
const PAIR_VALUES: [&str; 3] = ["value", "values", "default"];
/// Fields that stay visible in a setting whose value is secret.
const SHOWN_PAIR_FIELDS: [&str; 10] = [
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
pub fn mask_response(operation: &Operation, answer: &mut Value) {
    mask_with(operation, answer, Some(&KeyScanner::new(&[])));
}

/// Masks a response with a given scanner, which finds keys in texts. `None` if the texts are known
/// to hold no key.
pub(super) fn mask_with(
    operation: &Operation,
    answer: &mut Value,
    scanner: Option<&KeyScanner<'_>>,
) {
    for path in operation.secret_fields() {
        // Only asked where the field is there: most responses lack most of them.
        let is_credential = || {
            let last = path.rsplit('.').next().unwrap_or(path);
            names::is_credential(last.trim_end_matches("[]"))
        };
        for_each_at(
            answer,
            path,
            &mut |value, whole| match whole || is_credential() {
                true => mask_all(value, scanner),
                false => mask_declared(value, scanner),
            },
        );
    }
    for path in operation.one_time_secrets() {
        for_each_at(answer, path, &mut |value, _| mask_all(value, scanner));
    }
    // No group of requests is named by a key itself.
    let has_key_ids = operation.path().starts_with("/analytics/");
    mask_value(
        answer,
        MaskContext {
            strict: false,
            has_key_ids,
            has_pairs: true,
        },
        scanner,
    );
}

/// Masks a response that declares no secret fields.
pub fn mask_undeclared(answer: &mut Value) {
    let place = MaskContext {
        strict: false,
        has_key_ids: false,
        has_pairs: true,
    };
    mask_value(answer, place, Some(&KeyScanner::new(&[])));
}

/// Masks a document by the rules for places where credentials are kept.
pub(super) fn mask_document(document: &mut Value) {
    mask_value(document, STRICT_CONTEXT, Some(&KeyScanner::new(&[])));
}

/// Calls `act` for every value at a declared path such as `data[].key`.
///
/// The flag is `true` if everything below is secret, as at `headers.*`. Such paths are this
/// project's own, and no name in them has a dot or a bracket.
fn for_each_at(value: &mut Value, path: &str, act: &mut dyn FnMut(&mut Value, bool)) {
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
        (Value::Array(list), rest) if many => list
            .iter_mut()
            .for_each(|item| for_each_at(item, rest, act)),
        (value, "") => act(value, false),
        (value, rest) => for_each_at(value, rest, act),
    }
}

/// Masks a document that is declared secret. Every text or number in it is masked, whatever its
/// name. A text that is JSON is masked as JSON.
fn mask_declared(value: &mut Value, scanner: Option<&KeyScanner<'_>>) {
    match value {
        Value::String(text) => {
            if !mask_json_text(text, |inside| mask_declared(inside, scanner)) {
                mask_scalar(value);
            }
        }
        Value::Number(_) => mask_scalar(value),
        Value::Array(list) => list
            .iter_mut()
            .for_each(|item| mask_declared(item, scanner)),
        value => mask_value(value, STRICT_CONTEXT, scanner),
    }
}

/// Masks a document that is written as a text. Returns `false` if the text is no JSON document.
fn mask_json_text(text: &mut String, mask: impl Fn(&mut Value)) -> bool {
    if !text.trim_ascii_start().starts_with(['{', '[']) {
        return false;
    }
    let Ok(mut inside) = serde_json::from_str::<Value>(text) else {
        return false;
    };
    let before = inside.clone();
    mask(&mut inside);
    if inside != before || !heuristics::is_exact_json(text, &before) {
        *text = inside.to_string();
    }
    true
}

/// Masks values with telling names, and keys in texts and names.
fn mask_value(value: &mut Value, place: MaskContext, scanner: Option<&KeyScanner<'_>>) {
    match value {
        Value::String(text) => {
            if place.strict {
                mask_json_text(text, |inside| mask_value(inside, place, scanner));
            }
            if let Some(scanner) = scanner
                && let Cow::Owned(masked) = scanner.mask(text)
            {
                *text = masked;
            }
        }
        Value::Number(number) if scanner.is_some_and(|scanner| scanner.is_key_number(number)) => {
            *value = MASK.into();
        }
        Value::Array(list) => list
            .iter_mut()
            .for_each(|item| mask_value(item, place, scanner)),
        Value::Object(map) => {
            // Judged first, because the name of a setting may stand in a field that is masked itself.
            let is_pair =
                place.has_pairs && map.contains_key("value") && is_secret_pair(map, place);
            for (name, value) in &mut *map {
                match is_pair && is_pair_name(name, value, place) {
                    true => mask_value(value, place, scanner),
                    false => mask_field(name, value, place, scanner),
                }
            }
            if is_pair {
                for name in PAIR_VALUES {
                    map.get_mut(name)
                        .into_iter()
                        .for_each(|value| mask_all(value, scanner));
                }
            }
            if let Some(scanner) = scanner {
                mask_names(map, |name| scanner.mask(name));
            }
        }
        _ => {}
    }
}

/// Masks a field by the kind of its name.
fn mask_field(name: &str, value: &mut Value, place: MaskContext, scanner: Option<&KeyScanner<'_>>) {
    // Neither is a secret under any name.
    if matches!(value, Value::Null | Value::Bool(_)) {
        return;
    }
    match names::classify(name, place.strict) {
        NameKind::NotSecret => mask_value(value, place, scanner),
        NameKind::Secret if place.is_key_id(name, value) => mask_value(value, place, scanner),
        NameKind::Secret => mask_named_secret(name, value, place, scanner),
        NameKind::SecretCollection => mask_collection(value, place, scanner),
        NameKind::Text if names::is_secret_text(value) => mask_scalar(value),
        NameKind::Text => mask_value(value, place, scanner),
        NameKind::AllSecret => mask_all(value, scanner),
        NameKind::Labels => {
            mask_value(
                value,
                MaskContext {
                    strict: false,
                    has_pairs: false,
                    ..place
                },
                scanner,
            );
        }
    }
}

impl MaskContext {
    /// Returns `true` if a value named like an API key is the id of one.
    ///
    /// Such an id is a UUID. Where credentials are kept, a key may be a UUID as well.
    fn is_key_id(self, name: &str, value: &Value) -> bool {
        let is_uuid = |value: &Value| value.as_str().is_some_and(heuristics::is_uuid);
        let are_uuids = || match value {
            Value::Array(list) => list.iter().all(is_uuid),
            value => is_uuid(value),
        };
        !self.strict && names::is_api_key_name(name) && (self.has_key_ids || are_uuids())
    }
}

/// Masks a value that has the name of a secret: texts, numbers, and everything below an object.
fn mask_named_secret(
    name: &str,
    value: &mut Value,
    place: MaskContext,
    scanner: Option<&KeyScanner<'_>>,
) {
    match value {
        Value::Number(_) | Value::Object(_) if names::is_token_count(name) => {
            mask_value(value, place, scanner);
        }
        Value::Object(map) if heuristics::is_schema(map) => {
            for (name, value) in map {
                match heuristics::is_schema_value_keyword(name) {
                    true => mask_all(value, scanner),
                    false => mask_value(value, place, scanner),
                }
            }
        }
        Value::Object(_) => mask_all(value, scanner),
        Value::Array(list) => {
            list.iter_mut()
                .for_each(|item| mask_named_secret(name, item, place, scanner));
        }
        // A boolean only tells whether there is a secret.
        Value::Bool(_) => {}
        value => mask_scalar(value),
    }
}

/// Masks a value that has the name of several secrets: a list, or an object with any names.
fn mask_collection(value: &mut Value, place: MaskContext, scanner: Option<&KeyScanner<'_>>) {
    // The id of a key is no secret.
    let is_id = |text: &str| !place.strict && heuristics::is_uuid(text);
    match value {
        Value::String(text) if is_id(text) => {}
        Value::Array(list) => {
            list.iter_mut().for_each(|item| match item {
                Value::Object(_) => mask_value(item, place, scanner),
                item => mask_collection(item, place, scanner),
            });
        }
        Value::Object(map) => {
            for (name, value) in &mut *map {
                match value {
                    Value::Object(_) => mask_field(name, value, place, scanner),
                    value => mask_collection(value, place, scanner),
                }
            }
            mask_random_names(map, scanner);
        }
        Value::Bool(_) => {}
        value => mask_scalar(value),
    }
}

/// Returns true if an object is a setting with its name and a secret value.
///
/// Elsewhere than among credentials, an object with a name and a value may be anything, such as a
/// limit that people have named.
fn is_secret_pair(map: &JsonMap, place: MaskContext) -> bool {
    let is_setting = place.strict || map.keys().all(|name| is_setting_field(name));
    let value = map.get("value");
    let mut names = PAIR_NAMES
        .iter()
        .filter_map(|name| map.get(*name)?.as_str());
    is_setting
        && names.any(|name| {
            let is_secret = match names::classify(name, place.strict) {
                NameKind::Secret | NameKind::SecretCollection | NameKind::AllSecret => true,
                NameKind::Text => value.is_some_and(names::is_secret_text),
                NameKind::NotSecret | NameKind::Labels => false,
            };
            is_secret && !value.is_some_and(|value| place.is_key_id(name, value))
        })
}

/// Returns true if a field of a setting holds its telling name.
fn is_pair_name(field: &str, value: &Value, place: MaskContext) -> bool {
    PAIR_NAMES.contains(&field)
        && value
            .as_str()
            .is_some_and(|name| !matches!(names::classify(name, place.strict), NameKind::NotSecret))
}

fn is_setting_field(name: &str) -> bool {
    PAIR_VALUES.contains(&name) || SHOWN_PAIR_FIELDS.contains(&name) || name == "id"
}

/// Masks every value in a value, and names that look like keys.
fn mask_all(value: &mut Value, scanner: Option<&KeyScanner<'_>>) {
    match value {
        Value::Object(map) => {
            for value in map.values_mut() {
                match value {
                    Value::Bool(_) => mask_scalar(value),
                    value => mask_all(value, scanner),
                }
            }
            mask_random_names(map, scanner);
        }
        // A list of headers or settings, each with its name.
        Value::Array(list) => list.iter_mut().for_each(|item| match item {
            Value::Object(map) if is_setting(map) => mask_setting(map, scanner),
            item => mask_all(item, scanner),
        }),
        Value::Bool(_) => {}
        value => mask_scalar(value),
    }
}

fn is_setting(map: &JsonMap) -> bool {
    map.contains_key("value") && PAIR_NAMES.iter().any(|name| map.contains_key(*name))
}

/// Masks everything in a setting but the fields that describe it.
fn mask_setting(map: &mut JsonMap, scanner: Option<&KeyScanner<'_>>) {
    for (name, value) in &mut *map {
        if !SHOWN_PAIR_FIELDS.contains(&name.as_str()) {
            mask_all(value, scanner);
        }
    }
    mask_random_names(map, scanner);
    mask_shown_fields(map, scanner);
}

/// Masks keys in the visible fields of a setting, which may hold one as any text may.
fn mask_shown_fields(map: &mut JsonMap, scanner: Option<&KeyScanner<'_>>) {
    for name in SHOWN_PAIR_FIELDS {
        if let Some(shown) = map.get_mut(name) {
            mask_value(shown, STRICT_CONTEXT, scanner);
        }
    }
}

fn mask_random_names(map: &mut JsonMap, scanner: Option<&KeyScanner<'_>>) {
    mask_names(map, |name| match scanner {
        _ if heuristics::is_random(name) => MASK.into(),
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
fn mask_scalar(value: &mut Value) {
    match value {
        Value::String(text) if text.is_empty() || is_masked(text) => {}
        Value::String(_) | Value::Number(_) | Value::Bool(_) => *value = MASK.into(),
        Value::Array(list) => list.iter_mut().for_each(mask_scalar),
        _ => {}
    }
}

/// Masks the given secrets in a text. Returns `None` if the text holds none of them.
pub(super) fn mask_exact(text: &str, also: &[&str]) -> Option<String> {
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

/// Finds a masked text in a value, and returns its JSON Pointer.
pub fn find_masked_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => is_masked(text).then(String::new),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| find_masked_text(item).map(|rest| format!("/{index}{rest}"))),
        Value::Object(fields) => fields
            .iter()
            .find_map(|(name, value)| find_masked_text(value).map(|rest| format!("/{name}{rest}"))),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// Returns `true` if a text holds a text of this server's that stands for a hidden value: the mask
/// of a secret, or the redaction of a policy.
fn has_stand_in(text: &str) -> bool {
    text.contains(MASK) || text.contains(REDACTED)
}

/// Finds a value or a name in arguments that holds such a text, and returns its path, such as
/// `config.targets[0].api_key`.
pub(super) fn find_mask<'a>(
    values: impl Iterator<Item = (&'a String, &'a Value)>,
) -> Option<String> {
    fn find_in(value: &Value) -> Option<String> {
        match value {
            Value::String(text) => has_stand_in(text).then(String::new),
            Value::Array(list) => list
                .iter()
                .enumerate()
                .find_map(|(i, item)| find_in(item).map(|rest| format!("[{i}]{rest}"))),
            Value::Object(map) => map.iter().find_map(|(name, value)| {
                let below = if has_stand_in(name) {
                    Some(String::new())
                } else {
                    find_in(value)
                };
                below.map(|rest| format!("{}{rest}", field_step(name)))
            }),
            _ => None,
        }
    }
    let mut values = values.into_iter();
    values.find_map(|(name, value)| {
        let below = if has_stand_in(name) {
            Some(String::new())
        } else {
            find_in(value)
        };
        below.map(|rest| format!("{name}{rest}"))
    })
}

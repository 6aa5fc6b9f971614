//! Extracts texts from an error body: the message, and the details that upstreams nest below it.
//!
//! Values that only echo the request (`received`, `input`, `body`, …) are skipped. The problem is
//! described next to them, and they may contain secrets.

use std::{collections::HashSet, fmt};

use serde_json::{Map, Value};

use crate::security::secrets::{MASK, is_secret_name};

/// Maximum number of reported details; further ones are counted.
const MAX_DETAILS: usize = 8;
/// Maximum number of values read from one body. It bounds the time that a hostile body can cost.
const MAX_VALUES_READ: usize = 1_000;
/// Maximum depth at which details are read.
const MAX_DEPTH: usize = 8;
/// Maximum length of a message, in bytes.
const MAX_TEXT_BYTES: usize = 1_000;
/// Maximum length of a detail, in bytes.
const MAX_DETAIL_BYTES: usize = 300;
/// Maximum length of a text before keys in it are masked, in bytes. It exceeds the reported length,
/// so that a key within that length is never cut before it is masked.
const MAX_UNMASKED_BYTES: usize = 8 * MAX_TEXT_BYTES;
/// Maximum length of a detail's path, in bytes.
const MAX_PATH_BYTES: usize = 100;
/// Maximum length of a word that counts as a cause, such as `required`, and not as a value.
const MAX_WORD_BYTES: usize = 24;

/// Fields that contain a message, in order of precedence.
const MESSAGE_FIELDS: [&str; 9] = [
    "message",
    "msg",
    "detail",
    "description",
    "reason",
    "error",
    "title",
    "error_description",
    "text",
];
/// Fields that contain further details.
const DETAIL_FIELDS: [&str; 25] = [
    "fieldViolations",
    "errors",
    "error",
    "details",
    "detail",
    "issues",
    "violations",
    "fieldErrors",
    "field_errors",
    "formErrors",
    "form_errors",
    "validationErrors",
    "validation_errors",
    "invalid_params",
    "invalid-params",
    "invalidParams",
    "non_field_errors",
    "unionErrors",
    "reasons",
    "causes",
    "cause",
    "children",
    "inner",
    "messages",
    "message",
];
/// Fields that contain the path a detail is about.
const PATH_FIELDS: [&str; 11] = [
    "path",
    "loc",
    "field",
    "param",
    "property",
    "pointer",
    "instancePath",
    "dataPath",
    "argument",
    "attribute",
    "source",
];
/// Fields with a code, reported if nothing else describes the error.
const CODE_FIELDS: [&str; 6] = ["code", "errorCode", "error_code", "type", "rule", "keyword"];
/// Fields that identify the kind of the error or the request. They describe no cause unless their
/// value is a sentence.
const METADATA_FIELDS: [&str; 25] = [
    "@type",
    "success",
    "status",
    "status_code",
    "statusCode",
    "code",
    "errorCode",
    "error_code",
    "type",
    "slug",
    "rule",
    "keyword",
    "object",
    "resource",
    "request_id",
    "requestId",
    "trace_id",
    "traceId",
    "timestamp",
    "stack",
    "trace",
    "url",
    "documentation_url",
    "help",
    "schemaPath",
];
/// Fields that echo the request.
const ECHO_FIELDS: [&str; 13] = [
    "received", "value", "input", "given", "actual", "instance", "ctx", "params", "target",
    "headers", "body", "request", "query",
];
/// Words of messages that name no cause, in any order.
const GENERIC_WORDS: &str = "a access action again allow allowed already an and any api are args arguments as \
    authentication authorised authorization authorized bad be been body call can cannot check conflict \
    content could couldn data denied did do does don duplicate enough entity error errors execute exist \
    exists fail failed failure for forbidden has have in insufficient internal invalid is it its key \
    keys later make made not no of on operation or parameter parameters payload perform permission \
    permissions permitted please processable processing rejected request requests right rights server \
    something sorry sufficient t that the this to try unable unauthenticated unauthorised unauthorized \
    unprocessable unsuccessful user valid validation was went were with wrong you your";

/// Words of which at least one occurs in a sentence that describes what is wrong with a value.
const EXPLANATION_WORDS: &str = "allowed are at been cannot characters contain contains could does \
    empty exceed exceeds expected expired failed forbidden has have incorrect invalid is isn length \
    malformed may match matches missing must need needs no not null only required revoked should \
    string supported too type undefined unexpected unknown unrecognized unsupported valid was wrong";

/// One cause among the details of an error.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ErrorDetail {
    /// Path of the field, such as `a.b`; empty if none is named.
    pub path: String,
    /// Description of the problem.
    pub text: String,
}

impl fmt::Display for ErrorDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.path {
            "" => f.write_str(&self.text),
            place => write!(f, "`{place}`: {}", self.text),
        }
    }
}

/// The texts of an error body.
#[derive(Debug, Default)]
pub(super) struct ErrorTexts {
    pub(super) message: Option<String>,
    pub(super) details: Vec<ErrorDetail>,
}

/// Returns true if the message names no cause, that is, if all its words are generic: "you do not
/// have permission".
pub fn is_generic(message: &str) -> bool {
    if message.len() > MAX_TEXT_BYTES {
        return false;
    }
    let words = message.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.filter(|word| !word.is_empty()).all(|word| {
        let word = word.to_ascii_lowercase();
        GENERIC_WORDS
            .split_ascii_whitespace()
            .any(|generic| generic == word)
    })
}

/// Reads an error body. `inner` is the object in it that describes the error.
///
/// If the body has neither a known message nor known details and is `all` about the error, every
/// field is read.
pub(super) fn read_texts(body: &Value, inner: &Value, all: bool) -> ErrorTexts {
    let text = |value: &Value, name: &str| message_text(value.get(name)?);
    let first = |value: &Value| MESSAGE_FIELDS.iter().find_map(|name| text(value, name));
    let message = text(inner, "message")
        .or_else(|| text(body, "error"))
        .or_else(|| text(body, "message"))
        .or_else(|| first(inner))
        .or_else(|| first(body))
        .or_else(|| text(body, "data"))
        .or_else(|| message_text(body));
    let mut found = DetailCollector::default();
    let data = body
        .get("data")
        .filter(|data| data.is_object() || data.is_array());
    let mut layers = vec![inner];
    for layer in data.into_iter().chain([body]) {
        if !layers.iter().any(|known| std::ptr::eq(*known, layer)) {
            layers.push(layer);
        }
    }
    for layer in layers.iter().copied() {
        let Value::Object(map) = layer else {
            found.collect(layer, &DetailLocation::default(), 0);
            continue;
        };
        // Next to a message that names the cause, `error` is only the name of the status.
        let is_named = message
            .as_deref()
            .is_some_and(|message| !is_generic(message));
        let texts = MESSAGE_FIELDS.iter();
        let texts = texts.filter(|name| **name != "title" && (**name != "error" || !is_named));
        for text in texts.filter_map(|name| message_text(map.get(*name)?)) {
            found.push(&DetailLocation::default(), &text);
        }
        for name in DETAIL_FIELDS {
            let below = map.get(name).filter(|below| message_text(below).is_none());
            let is_layer = |below: &&Value| layers.iter().any(|layer| std::ptr::eq(*layer, *below));
            if let Some(below) = below.filter(|below| !is_layer(below)) {
                found.collect(below, &DetailLocation::default(), 0);
            }
        }
    }
    let says_more = |detail: &ErrorDetail| {
        let is_message = Some(detail.text.as_str()) == message.as_deref();
        !detail.path.is_empty() || !is_message && (message.is_none() || !is_generic(&detail.text))
    };
    let mut details = found.details;
    details.retain(says_more);
    if all && message.is_none() && details.is_empty() && inner.is_object() {
        let mut found = DetailCollector::default();
        found.collect(inner, &DetailLocation::default(), 0);
        details = found.details;
    }
    let message = message.or_else(|| (!details.is_empty()).then(|| details.remove(0).to_string()));
    let place = ["param", "field"].iter().find_map(|name| text(inner, name));
    let message = match (message, place) {
        (Some(message), Some(place)) if !message.contains(&place) => Some(
            ErrorDetail {
                path: place,
                text: message,
            }
            .to_string(),
        ),
        (message, _) => message,
    };
    ErrorTexts { message, details }
}

/// Returns a text that is not JSON in a string.
fn message_text(value: &Value) -> Option<String> {
    let text = value.as_str()?.trim();
    (!text.is_empty() && parse_embedded_json(text).is_none())
        .then(|| truncate_before_masking(text).to_owned())
}

/// Parses an object or a list that was sent as a string.
fn parse_embedded_json(text: &str) -> Option<Value> {
    let text = text.trim_start();
    if !text.starts_with(['{', '[']) {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// The location of a detail in the body.
#[derive(Clone, Default)]
struct DetailLocation {
    /// Path for display only; nothing is looked up by it.
    path: String,
    /// True if a name on the path is that of a secret.
    is_secret: bool,
}

impl DetailLocation {
    /// Returns the location of a field below this one.
    fn child(&self, name: &str) -> Self {
        let is_secret = self.is_secret || is_secret_name(name);
        Self {
            path: join_paths(&self.path, name),
            is_secret,
        }
    }

    /// Appends the location that an object names for itself.
    fn join(&self, own: &Self) -> Self {
        let place = join_paths(&self.path, &own.path);
        Self {
            path: place,
            is_secret: self.is_secret || own.is_secret,
        }
    }
}

#[derive(Default)]
struct DetailCollector {
    details: Vec<ErrorDetail>,
    seen: HashSet<ErrorDetail>,
    values_read: usize,
}

impl DetailCollector {
    fn collect(&mut self, value: &Value, spot: &DetailLocation, depth: usize) {
        self.values_read += 1;
        if depth > MAX_DEPTH || self.values_read > MAX_VALUES_READ {
            return;
        }
        match value {
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) if spot.path.is_empty() => {}
            Value::Bool(_) | Value::Number(_) => self.push(spot, &value.to_string()),
            Value::String(text) => match parse_embedded_json(text) {
                Some(inside) => self.collect(&inside, spot, depth + 1),
                None => self.push(spot, text),
            },
            Value::Array(list) => {
                list.iter()
                    .for_each(|item| self.collect(item, spot, depth + 1));
            }
            Value::Object(map) => self.collect_object(map, spot, depth),
        }
    }

    fn collect_object(&mut self, map: &Map<String, Value>, spot: &DetailLocation, depth: usize) {
        let (own, place_name) = object_location(map);
        let spot = spot.join(&own);
        let text = MESSAGE_FIELDS
            .iter()
            .find_map(|name| message_text(map.get(*name)?));
        let before = self.details.len();
        if let Some(text) = &text {
            let more = describe_extras(map, place_name);
            self.push(
                &spot,
                &if more.is_empty() {
                    text.clone()
                } else {
                    format!("{text} ({more})")
                },
            );
        }
        for below in DETAIL_FIELDS.iter().filter_map(|name| map.get(*name)) {
            if message_text(below).is_none() {
                self.collect(below, &spot, depth + 1);
            }
        }
        // The violated rules of a field, each with its text.
        if let Some(Value::Object(rules)) = map.get("constraints") {
            rules
                .values()
                .for_each(|rule| self.collect(rule, &spot, depth + 1));
        }
        if text.is_some() || self.details.len() > before {
            return;
        }
        let code = CODE_FIELDS
            .iter()
            .find_map(|name| message_text(map.get(*name)?));
        let is_record = !own.path.is_empty();
        if let (Some(code), true) = (&code, is_record) {
            return self.push(&spot, code);
        }
        for (name, value) in map {
            let is_sentence = match value {
                Value::Array(_) => true,
                Value::String(text) => text.contains(' '),
                _ => false,
            };
            let is_passed = METADATA_FIELDS.contains(&name.as_str()) && !is_sentence
                || ECHO_FIELDS.contains(&name.as_str())
                    && (!is_sentence || is_record || code.is_some())
                || Some(name.as_str()) == place_name;
            if !is_passed {
                self.collect(value, &spot.child(name), depth + 1);
            }
        }
    }

    fn push(&mut self, spot: &DetailLocation, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        let is_value = spot.is_secret && !is_explanation(text);
        let text = if is_value {
            MASK
        } else {
            truncate_before_masking(text)
        };
        let detail = ErrorDetail {
            path: spot.path.clone(),
            text: text.to_owned(),
        };
        if self.seen.insert(detail.clone()) {
            self.details.push(detail);
        }
    }
}

/// Returns true if a text in a secret's field describes the secret and is not its value: a
/// sentence with a predicate of errors, or a word such as `required`. A passphrase has spaces, too.
fn is_explanation(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
    if !text.contains(' ') {
        return text.len() <= MAX_WORD_BYTES && text.chars().all(is_word);
    }
    text.split(|c: char| !c.is_alphanumeric()).any(|word| {
        let word = word.to_ascii_lowercase();
        EXPLANATION_WORDS
            .split_ascii_whitespace()
            .any(|known| known == word)
    })
}

/// Returns the location that an object names for itself, and the field that names it.
fn object_location(map: &Map<String, Value>) -> (DetailLocation, Option<&'static str>) {
    for name in PATH_FIELDS {
        let spot = match map.get(name) {
            // A path sent as one string; any part of it may be the name of a secret.
            Some(Value::String(text)) => {
                let mut parts = text.split(['.', '/', '[', ']', '\'', '"']);
                let is_secret = is_secret_name(text) || parts.any(is_secret_name);
                DetailLocation {
                    path: to_dotted_path(text),
                    is_secret,
                }
            }
            Some(Value::Array(steps)) => {
                let step = |step: &Value| match step {
                    Value::String(text) => Some(text.clone()),
                    Value::Number(number) => Some(number.to_string()),
                    _ => None,
                };
                let steps: Vec<String> = steps.iter().map_while(step).collect();
                let is_secret = steps.iter().any(|step| is_secret_name(step));
                DetailLocation {
                    path: steps.join("."),
                    is_secret,
                }
            }
            Some(Value::Object(inner)) if name == "source" => object_location(inner).0,
            _ => continue,
        };
        if !spot.path.is_empty() {
            return (spot, Some(name));
        }
    }
    (DetailLocation::default(), None)
}

/// Converts a JSON Pointer or a JSON path to the form `a.b`.
fn to_dotted_path(path: &str) -> String {
    match path.strip_prefix(['/', '$', '#']) {
        Some(rest) => rest.trim_start_matches(['/', '.']).replace('/', "."),
        None => path.to_owned(),
    }
}

fn join_paths(place: &str, name: &str) -> String {
    let (place, name) = (
        truncate_before_masking(place),
        truncate_before_masking(name),
    );
    match (place, name) {
        ("", name) => name.to_owned(),
        (place, "") => place.to_owned(),
        (place, name) => format!("{place}.{name}"),
    }
}

/// Truncates a text to [`MAX_UNMASKED_BYTES`], well above the length that is reported.
fn truncate_before_masking(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_UNMASKED_BYTES))
        .unwrap_or(text)
}

/// Joins the short values next to a message, such as `expected string`.
fn describe_extras(map: &Map<String, Value>, place: Option<&str>) -> String {
    let is_extra = |name: &&String| {
        let name = name.as_str();
        !(MESSAGE_FIELDS.contains(&name)
            || DETAIL_FIELDS.contains(&name)
            || METADATA_FIELDS.contains(&name)
            || ECHO_FIELDS.contains(&name)
            || name == "name"
            || Some(name) == place
            || is_secret_name(name))
    };
    let short_text = |value: &Value| match value {
        Value::String(text) if text.len() <= MAX_WORD_BYTES && !text.is_empty() => {
            Some(text.clone())
        }
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let extras = map.iter().filter(|(name, _)| is_extra(name));
    let extras = extras.filter_map(|(name, value)| Some(format!("{name} {}", short_text(value)?)));
    extras.take(3).collect::<Vec<_>>().join(", ")
}

/// Passes every text through `scrub`, truncates the results, and returns the number of details left
/// out.
pub(super) fn scrub_and_truncate(
    message: &mut String,
    details: &mut Vec<ErrorDetail>,
    scrub: impl Fn(&str) -> String,
) -> u32 {
    // Scrubbed before truncating, because half a key is not recognized as one.
    *message = truncate_text(&scrub(message), MAX_TEXT_BYTES);
    let left_out = details.len().saturating_sub(MAX_DETAILS);
    details.truncate(MAX_DETAILS);
    for detail in details {
        detail.path = truncate_text(&scrub(&detail.path), MAX_PATH_BYTES).replace('`', "'");
        // Line breaks are replaced, so that no detail can imitate another one.
        detail.text = truncate_text(&scrub(&detail.text), MAX_DETAIL_BYTES).replace('\n', " ");
    }
    left_out.try_into().unwrap_or(u32::MAX)
}

fn truncate_text(text: &str, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    let end = (0..=max_bytes)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or_default();
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentence_in_a_secret_field_is_an_explanation_only_if_it_has_a_predicate() {
        for (text, expected) in [
            ("required", true),
            ("is required", true),
            ("Must be at least 8 characters long", true),
            ("Expected string, received null", true),
            ("planted word of nobody", false),
            ("correct horse battery staple", false),
            ("sk-live-4711", false),
        ] {
            assert_eq!(is_explanation(text), expected, "{text}");
        }
    }
}

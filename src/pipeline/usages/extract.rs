//! Extracts references from answers, by the paths of the table. Performs no I/O.

use portkey_api::references::{Reference, ReferenceForm};
use serde_json::Value;

/// Maximum number of values that are looked at in one answer.
const MAX_VISITED: usize = 100_000;
/// Maximum depth at which references are found.
const MAX_DEPTH: usize = 64;
/// Maximum number of references that are kept of one answer.
const MAX_MENTIONS: usize = 1_000;
/// Maximum length of a place, in bytes. A longer one is cut.
const MAX_PLACE_BYTES: usize = 80;

/// A reference in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mention {
    /// Place of the reference, such as `config.targets[0].provider`.
    pub(super) place: String,
    /// Id or slug that stands there; of a condition possibly with `*` at its end.
    pub(super) handle: String,
}

impl Mention {
    /// Returns true if the mention means a resource with one of these handles.
    pub(super) fn means(&self, handles: &[String]) -> bool {
        let is_named = |handle: &String| match self.handle.strip_suffix('*') {
            Some(start) => handle.starts_with(start),
            None => *handle == self.handle,
        };
        handles.iter().any(is_named)
    }
}

/// Extracts the references of one row of the table from an answer. Returns false with them if the
/// answer is too large to be searched as a whole.
pub(super) fn extract(reference: &Reference, answer: &Value) -> (Vec<Mention>, bool) {
    let mut walk = Walk {
        form: reference.form,
        visited: 0,
        found: Vec::new(),
    };
    for path in reference.at {
        let steps = parse(path);
        walk.follow(answer, &steps, &mut String::new(), 0);
    }
    let is_whole = walk.visited <= MAX_VISITED && walk.found.len() < MAX_MENTIONS;
    (walk.found, is_whole)
}

/// A step of a path in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step<'p> {
    Field(&'p str),
    /// Each item; with a name those whose field of that name is not false.
    Items(Option<&'p str>),
    AnyField,
    AnyDepth,
    FieldNames,
}

fn parse(path: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (name, items) = match part.split_once('[') {
            Some((name, condition)) => (name, Some(condition.trim_end_matches(']'))),
            None => (part, None),
        };
        steps.push(match name {
            "*" => Step::AnyField,
            "**" => Step::AnyDepth,
            "{}" => Step::FieldNames,
            name => Step::Field(name),
        });
        steps.extend(items.map(|condition| Step::Items(Some(condition).filter(|c| !c.is_empty()))));
    }
    steps
}

struct Walk {
    form: ReferenceForm,
    visited: usize,
    found: Vec<Mention>,
}

impl Walk {
    fn follow(&mut self, value: &Value, steps: &[Step<'_>], place: &mut String, depth: usize) {
        self.visited += 1;
        if self.visited > MAX_VISITED || depth > MAX_DEPTH || self.found.len() >= MAX_MENTIONS {
            return;
        }
        let Some((step, rest)) = steps.split_first() else {
            self.add(value, place);
            return;
        };
        // Documents are returned as text.
        if let Value::String(text) = value {
            if text.starts_with(['{', '['])
                && let Ok(document) = serde_json::from_str::<Value>(text)
                && !document.is_string()
            {
                self.follow(&document, steps, place, depth + 1);
            }
            return;
        }
        match (step, value) {
            (Step::Field(name), Value::Object(fields)) => {
                if let Some(inner) = fields.get(*name) {
                    self.enter(inner, rest, place, name, depth);
                }
            }
            (Step::Items(condition), Value::Array(items)) => {
                let is_off = |item: &Value| {
                    condition.is_some_and(|name| item.get(name) == Some(&Value::Bool(false)))
                };
                for (i, item) in items.iter().enumerate().filter(|(_, item)| !is_off(item)) {
                    self.enter(item, rest, place, &format!("[{i}]"), depth);
                }
            }
            (Step::AnyField, Value::Object(fields)) => {
                for (name, inner) in fields {
                    self.enter(inner, rest, place, name, depth);
                }
            }
            (Step::FieldNames, Value::Object(fields)) => {
                for name in fields.keys() {
                    self.add(&Value::String(name.clone()), place);
                }
            }
            (Step::AnyDepth, _) => {
                self.follow(value, rest, place, depth + 1);
                match value {
                    Value::Object(fields) => {
                        for (name, inner) in fields {
                            self.enter(inner, steps, place, name, depth);
                        }
                    }
                    Value::Array(items) => {
                        for (i, item) in items.iter().enumerate() {
                            self.enter(item, steps, place, &format!("[{i}]"), depth);
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn enter(
        &mut self,
        value: &Value,
        steps: &[Step<'_>],
        place: &mut String,
        name: &str,
        depth: usize,
    ) {
        let length = place.len();
        if !place.is_empty() && !name.starts_with('[') {
            place.push('.');
        }
        place.push_str(name);
        self.follow(value, steps, place, depth + 1);
        place.truncate(length);
    }

    /// Adds what stands at a place.
    fn add(&mut self, value: &Value, place: &str) {
        match self.form {
            ReferenceForm::Condition(keys) => self.add_condition(value, keys, place),
            ReferenceForm::Handle => {
                if let Some(text) = value.as_str() {
                    self.push(text, place);
                }
            }
            ReferenceForm::Provider => {
                if let Some(text) = value.as_str() {
                    let slug = text.strip_prefix('@').unwrap_or(text);
                    let slug = slug.split_once('/').map_or(slug, |(slug, _)| slug);
                    self.push(slug, place);
                }
            }
            ReferenceForm::Template => {
                let text = value.as_str().unwrap_or_default();
                for (_, rest) in text
                    .match_indices("{{>")
                    .map(|(at, mark)| text.split_at(at + mark.len()))
                {
                    if let Some((name, _)) = rest.split_once("}}") {
                        self.push(name.trim(), place);
                    }
                }
            }
        }
    }

    /// Adds the values of a condition with one of these keys.
    fn add_condition(&mut self, condition: &Value, keys: &[&str], place: &str) {
        let key = condition.get("key").and_then(Value::as_str);
        if !key.is_some_and(|key| keys.contains(&key)) {
            return;
        }
        for field in ["value", "excludes"] {
            let place = format!("{place}.{field}");
            match condition.get(field) {
                Some(Value::String(text)) => self.push_provider(text, &place),
                Some(Value::Array(items)) => {
                    for text in items.iter().filter_map(Value::as_str) {
                        self.push_provider(text, &place);
                    }
                }
                _ => {}
            }
        }
    }

    fn push_provider(&mut self, text: &str, place: &str) {
        self.push(text.strip_prefix('@').unwrap_or(text), place);
    }

    fn push(&mut self, handle: &str, place: &str) {
        let end = place.floor_char_boundary(MAX_PLACE_BYTES);
        let shown = place.get(..end).unwrap_or_default();
        self.found.push(Mention {
            place: match end < place.len() {
                true => format!("{shown}…"),
                false => shown.to_owned(),
            },
            handle: handle.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use portkey_api::references::{ReferenceForm, ResourceKind, SOURCES};
    use serde_json::json;

    use super::*;

    struct Case {
        at: &'static [&'static str],
        form: ReferenceForm,
        answer: Value,
        found: &'static [(&'static str, &'static str)],
    }

    #[test]
    fn references_are_found_at_their_places_only() {
        let document = json!({ "provider": "@a/gpt", "targets": [
            { "virtual_key": "b" },
            { "targets": [{ "provider": "@c" }], "override_params": { "model": "@a" } },
        ] });
        let cases = [
            Case {
                at: &["config.**.provider", "config.**.virtual_key"],
                form: ReferenceForm::Provider,
                answer: json!({ "config": document.to_string(), "provider": "@no" }),
                found: &[
                    ("config.provider", "a"),
                    ("config.targets[1].targets[0].provider", "c"),
                    ("config.targets[0].virtual_key", "b"),
                ],
            },
            Case {
                at: &["workspaces[enabled].id"],
                form: ReferenceForm::Handle,
                answer: json!({ "workspaces": [
                    { "id": "on", "enabled": true }, { "id": "off", "enabled": false }, { "id": "none" }] }),
                found: &[("workspaces[0].id", "on"), ("workspaces[2].id", "none")],
            },
            Case {
                at: &["servers.{}", "mapping.*"],
                form: ReferenceForm::Handle,
                answer: json!({ "servers": { "x": { "y": 1 } }, "mapping": { "sub": "z" } }),
                found: &[("servers", "x"), ("mapping.sub", "z")],
            },
            Case {
                at: &["string"],
                form: ReferenceForm::Template,
                answer: json!({ "string": "a {{>pp-one}} {{> pp-two }} {{three}} {{>open" }),
                found: &[("string", "pp-one"), ("string", "pp-two")],
            },
            Case {
                at: &["conditions[]"],
                form: ReferenceForm::Condition(&["provider"]),
                answer: json!({ "conditions": [{ "key": "model", "value": "x" },
                    { "key": "provider", "value": ["@a", "b*"], "excludes": "c" }] }),
                found: &[
                    ("conditions[1].value", "a"),
                    ("conditions[1].value", "b*"),
                    ("conditions[1].excludes", "c"),
                ],
            },
        ];
        for case in cases {
            let reference = Reference {
                targets: &[ResourceKind::Provider],
                at: case.at,
                form: case.form,
                read: None,
            };
            let (found, is_whole) = extract(&reference, &case.answer);
            let found: Vec<_> = found
                .iter()
                .map(|one| (one.place.as_str(), one.handle.as_str()))
                .collect();
            assert_eq!(
                (found.as_slice(), is_whole),
                (case.found, true),
                "{:?}",
                case.at
            );
        }
    }

    #[test]
    fn large_answer_is_searched_up_to_a_bound() {
        let many = vec![json!({ "provider": "@a" }); MAX_MENTIONS + 1];
        let reference = SOURCES
            .iter()
            .flat_map(|source| source.references)
            .find(|reference| reference.form == ReferenceForm::Provider)
            .unwrap();
        let (found, is_whole) = extract(reference, &json!({ "config": { "targets": many } }));
        assert_eq!((found.len(), is_whole), (MAX_MENTIONS, false));
    }

    #[test]
    fn wildcard_means_every_handle_that_begins_so() {
        let mention = |handle: &str| Mention {
            place: String::new(),
            handle: handle.to_owned(),
        };
        let handles = ["ws-research".to_owned()];
        for (handle, expected) in [
            ("*", true),
            ("ws-*", true),
            ("ws-r", false),
            ("ws-research", true),
        ] {
            assert_eq!(mention(handle).means(&handles), expected, "{handle}");
        }
    }
}

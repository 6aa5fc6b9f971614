//! References between steps, `${step.field}` in any text: checked, ordered and replaced. Performs no I/O.

use std::collections::{BTreeMap, BTreeSet};

use portkey_merge_patch::{DocumentPath, PathStep};
use portkey_operation::{InputError, JsonMap};
use serde_json::Value;

use super::parse::PlanStep;

/// Maximum number of references in a plan.
const MAX_REFERENCES: usize = 500;
/// Beginning of a reference. `$${` stands for these characters themselves.
pub(super) const OPEN: &str = "${";

/// Values of fields of the answers of steps, by step and path.
pub(super) type StepValues = BTreeMap<String, BTreeMap<String, Value>>;

/// A reference to a field of the answer of a step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StepReference {
    pub(super) step: String,
    pub(super) field: String,
}

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
enum TextPart {
    Plain(String),
    Reference(StepReference),
}

/// Splits a text into plain parts and references.
fn split(text: &str) -> Result<Vec<TextPart>, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        if let Some(before) = before.strip_suffix('$') {
            plain.push_str(before);
            plain.push_str(OPEN);
            rest = after;
            continue;
        }
        plain.push_str(before);
        let Some((inside, after)) = after.split_once('}') else {
            return Err(
                "has a `${` without `}`; write `$${` for the characters themselves".to_owned(),
            );
        };
        let Some((step, field)) = inside.trim().split_once('.') else {
            return Err(format!(
                "`${{{inside}}}` names no field: write `${{step.field}}`"
            ));
        };
        if !plain.is_empty() {
            parts.push(TextPart::Plain(std::mem::take(&mut plain)));
        }
        if !is_field(field) {
            return Err(format!(
                "`${{{inside}}}` names no field: write `${{step.field}}`"
            ));
        }
        parts.push(TextPart::Reference(StepReference {
            step: step.to_owned(),
            field: field.to_owned(),
        }));
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() || parts.is_empty() {
        parts.push(TextPart::Plain(plain));
    }
    Ok(parts)
}

/// Returns true if a text is the path of a field, with no empty part.
fn is_field(text: &str) -> bool {
    let parts_are_named = match text.strip_prefix('/') {
        Some(pointer) => pointer.split('/').all(|part| !part.trim().is_empty()),
        // What `DocumentPath` would ignore is no way to write a path here.
        None => {
            let path = DocumentPath::parse(text);
            !path.is_root() && path.to_string() == text
        }
    };
    parts_are_named && text.trim() == text
}

/// Returns true if a reference may give a value that stands at the path of a secret, in it or around it.
pub(super) fn meets_secret(field: &str, secret: &str) -> bool {
    let field = field_names(field);
    let secret = field_names(secret);
    let both = || field.iter().zip(&secret);
    both().all(|(field, secret)| field == secret || secret == "*") || field.last() == secret.last()
}

/// Returns the names in a path, without indices and without the envelope `data`.
fn field_names(path: &str) -> Vec<String> {
    let path = DocumentPath::parse(path);
    let names = path.steps().iter().filter_map(|step| match step {
        PathStep::Field(name) if name.parse::<usize>().is_ok() => None,
        PathStep::Field(name) => Some(name.clone()),
        PathStep::Index(_) | PathStep::Entry { .. } => None,
    });
    let mut names: Vec<String> = names.collect();
    if names.first().is_some_and(|name| name == "data") {
        names.remove(0);
    }
    names
}

/// Returns the reference that a value is, if it is nothing else.
pub(super) fn whole(value: &Value) -> Option<StepReference> {
    let parts = split(value.as_str()?).ok()?;
    match &parts[..] {
        [TextPart::Reference(reference)] => Some(reference.clone()),
        _ => None,
    }
}

/// Returns the references in one value.
///
/// # Errors
/// Returns an error that names the place of an invalid reference.
pub(super) fn find_in_value(
    at: &str,
    value: &Value,
) -> Result<BTreeSet<StepReference>, InputError> {
    let mut found = BTreeSet::new();
    find_in(at, value, &mut found)?;
    Ok(found)
}

/// Returns the references in arguments.
///
/// # Errors
/// Returns an error that names the place of an invalid reference.
pub(super) fn find(at: &str, args: &JsonMap) -> Result<BTreeSet<StepReference>, InputError> {
    let mut found = BTreeSet::new();
    for (name, value) in args {
        find_in(&format!("{at}.{name}"), value, &mut found)?;
    }
    if found.len() > MAX_REFERENCES {
        let what = format!("has more than {MAX_REFERENCES} references");
        return Err(InputError::new(at, what));
    }
    Ok(found)
}

fn find_in(at: &str, value: &Value, found: &mut BTreeSet<StepReference>) -> Result<(), InputError> {
    match value {
        Value::String(text) if text.contains(OPEN) => {
            let parts = split(text).map_err(|what| InputError::new(at, what))?;
            found.extend(parts.into_iter().filter_map(|part| match part {
                TextPart::Reference(reference) => Some(reference),
                TextPart::Plain(_) => None,
            }));
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                find_in(&format!("{at}[{i}]"), item, found)?;
            }
        }
        Value::Object(fields) => {
            for (name, inner) in fields {
                find_in(&format!("{at}.{name}"), inner, found)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Orders steps so that each comes after those that it refers to, and otherwise as written.
///
/// # Errors
/// Returns an error for a reference to an unknown step or to itself, and for a cycle.
pub(super) fn order(steps: Vec<PlanStep>) -> Result<Vec<PlanStep>, InputError> {
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for step in &steps {
        let at = format!("steps.{}.arguments", step.id);
        let mut own = BTreeSet::new();
        for reference in find(&at, &step.arguments)? {
            if !steps.iter().any(|other| other.id == reference.step) {
                let known: Vec<_> = steps.iter().map(|step| step.id.as_str()).collect();
                let what = format!(
                    "refers to `{}`, and there is no such step; the steps are {}",
                    reference.step,
                    known.join(", ")
                );
                return Err(InputError::new(at, what));
            }
            if reference.step == step.id {
                return Err(InputError::new(at, "refers to its own answer"));
            }
            own.insert(reference.step);
        }
        needs.insert(step.id.clone(), own);
    }
    let mut ordered: Vec<PlanStep> = Vec::with_capacity(steps.len());
    let mut waiting = steps;
    while !waiting.is_empty() {
        let is_ready = |step: &PlanStep| {
            let needs = needs.get(&step.id);
            needs.is_none_or(|needs| {
                needs
                    .iter()
                    .all(|need| ordered.iter().any(|done| done.id == *need))
            })
        };
        let Some(next) = waiting.iter().position(is_ready) else {
            let names: Vec<_> = waiting
                .iter()
                .map(|step| format!("`{}`", step.id))
                .collect();
            let what = format!(
                "{} refer to each other in a circle, so that none of them can come first",
                names.join(", ")
            );
            return Err(InputError::new("steps", what));
        };
        ordered.push(waiting.remove(next));
    }
    Ok(ordered)
}

/// Replaces references. A text that is one reference takes the value as it is; inside of a text the
/// value has to be a text, a number or a flag.
///
/// # Errors
/// Returns an error if `look_up` has no value for a reference.
pub(super) fn replace(
    args: &JsonMap,
    look_up: &dyn Fn(&StepReference) -> Result<Value, String>,
) -> Result<JsonMap, InputError> {
    let replaced = args.iter().map(|(name, value)| {
        let value =
            replace_in(value, look_up).map_err(|what| InputError::new(name.clone(), what))?;
        Ok((name.clone(), value))
    });
    replaced.collect()
}

fn replace_in(
    value: &Value,
    look_up: &dyn Fn(&StepReference) -> Result<Value, String>,
) -> Result<Value, String> {
    match value {
        Value::String(text) if text.contains(OPEN) => {
            let parts = split(text)?;
            if let [TextPart::Reference(reference)] = &parts[..] {
                return look_up(reference);
            }
            let mut whole = String::new();
            for part in &parts {
                match part {
                    TextPart::Plain(text) => whole.push_str(text),
                    TextPart::Reference(reference) => match look_up(reference)? {
                        Value::String(text) => whole.push_str(&text),
                        value @ (Value::Number(_) | Value::Bool(_)) => {
                            whole.push_str(&value.to_string());
                        }
                        _ => {
                            let StepReference { step, field } = reference;
                            return Err(format!("`${{{step}.{field}}}` is no text"));
                        }
                    },
                }
            }
            Ok(whole.into())
        }
        Value::Array(items) => items.iter().map(|item| replace_in(item, look_up)).collect(),
        Value::Object(fields) => {
            let replaced = fields
                .iter()
                .map(|(name, value)| Ok((name.clone(), replace_in(value, look_up)?)));
            replaced
                .collect::<Result<JsonMap, String>>()
                .map(Value::Object)
        }
        other => Ok(other.clone()),
    }
}

/// Returns the value of a field in the answer of a step. A field that the whole answer lacks is looked
/// up in its `data`.
pub(super) fn value_in(answer: &Value, field: &str) -> Result<Value, String> {
    let path = DocumentPath::parse(field);
    let resource = answer.get("data").filter(|data| data.is_object());
    let found = path
        .find(answer)
        .or_else(|| path.find(resource.unwrap_or(answer)))
        .filter(|value| !value.is_null());
    if found.is_some_and(|value| value.is_object() || value.is_array()) {
        return Err(format!(
            "its answer has more than one value in `{field}`; name one of them"
        ));
    }
    found.cloned().ok_or_else(|| {
        let fields = resource.unwrap_or(answer).as_object();
        let names: Vec<_> = fields
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .take(20)
            .collect();
        format!("its answer has no `{field}`; it has {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn step(id: &str, arguments: Value) -> PlanStep {
        PlanStep {
            id: id.to_owned(),
            tool: "create-config".to_owned(),
            arguments: arguments.as_object().unwrap().clone(),
        }
    }

    struct OrderCase {
        steps: Vec<PlanStep>,
        /// Ids in their order, or a part of the error.
        expected: Result<&'static str, &'static str>,
    }

    #[test]
    fn steps_follow_what_they_refer_to() {
        let cases = [
            OrderCase {
                steps: vec![step("a", json!({})), step("b", json!({}))],
                expected: Ok("a b"),
            },
            OrderCase {
                steps: vec![
                    step("c", json!({ "x": ["${a.id} ${b.slug}"] })),
                    step("b", json!({ "x": { "y": "${a.id}" } })),
                    step("d", json!({})),
                    step("a", json!({})),
                ],
                expected: Ok("d a b c"),
            },
            OrderCase {
                steps: vec![
                    step("a", json!({ "x": "${b.id}" })),
                    step("b", json!({ "x": "${a.id}" })),
                ],
                expected: Err("`a`, `b` refer to each other in a circle"),
            },
            OrderCase {
                steps: vec![step("a", json!({ "x": "${a.id}" }))],
                expected: Err("refers to its own answer"),
            },
            OrderCase {
                steps: vec![step("a", json!({ "x": "${z.id}" }))],
                expected: Err("refers to `z`, and there is no such step"),
            },
            OrderCase {
                steps: vec![step("a", json!({ "x": "${z}" }))],
                expected: Err("names no field"),
            },
            OrderCase {
                steps: vec![step("a", json!({ "x": "${z.id" }))],
                expected: Err("without `}`"),
            },
        ];
        for case in cases {
            let ordered = order(case.steps);
            match (ordered, case.expected) {
                (Ok(steps), Ok(expected)) => {
                    let ids: Vec<_> = steps.iter().map(|step| step.id.as_str()).collect();
                    assert_eq!(ids.join(" "), expected);
                }
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{error}");
                }
                (ordered, expected) => {
                    assert_eq!(ordered.is_ok(), expected.is_ok(), "{expected:?}")
                }
            }
        }
    }

    #[test]
    fn paths_that_name_no_field_are_refused() {
        for field in [
            "", ".", "key.", ".key", "a..b", "/", "/a/", "key ", "key[]x", "key[",
        ] {
            let text = format!("${{k.{field}}} ");
            assert!(split(&text).is_err() || field == "key ", "{field}");
        }
        assert!(split("${k.key}").is_ok());
        assert!(split("${k.list[0].key}").is_ok());
        assert!(split("${k./data/key}").is_ok());
    }

    #[test]
    fn reference_at_a_secret_or_around_it_is_recognized() {
        for (field, secret) in [
            ("key", "key"),
            ("/key", "key"),
            ("data.key", "key"),
            ("key", "data.key"),
            ("data[0].key", "data[].key"),
            ("client", "client.secret"),
            ("client.secret.x", "client.secret"),
            ("env.A", "env.*"),
        ] {
            assert!(meets_secret(field, secret), "{field} {secret}");
        }
        assert!(!meets_secret("id", "key"));
        assert!(!meets_secret("config.name", "client.secret"));
    }

    #[test]
    fn references_take_the_values_of_answers() {
        let answer = json!({ "id": 7, "data": { "slug": "pc-a", "list": [{ "b": true }] } });
        let look_up = |reference: &StepReference| value_in(&answer, &reference.field);
        let args = json!({ "whole": "${a.id}", "inside": "@${a.slug}/${a.id}", "escaped": "$${a.id}",
            "deep": [{ "x": "${a.list[0].b}" }], "other": 1 });
        let replaced = replace(args.as_object().unwrap(), &look_up).unwrap();
        assert_eq!(
            Value::Object(replaced),
            json!({ "whole": 7, "inside": "@pc-a/7", "escaped": "${a.id}",
                "deep": [{ "x": true }], "other": 1 })
        );
        let wrong = json!({ "x": "${a.nothing}" });
        let error = replace(wrong.as_object().unwrap(), &look_up).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("its answer has no `nothing`; it has slug, list"),
            "{error}"
        );
    }
}

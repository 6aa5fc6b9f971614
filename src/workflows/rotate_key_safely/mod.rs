//! `rotate-key-safely`: an API key is replaced by one of its own, and ends when its requests have moved.
//!
//! Analytics count requests by the id of a key. The two secrets of `rotate-api-key` share one, and the
//! old secret can neither be ended early nor kept. A successor has an id, so that its traffic shows, and
//! either of the two keys can be deleted.

mod traffic;

use futures_util::FutureExt;
use portkey_operation::{Findings, InputError, JsonMap, post};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use self::traffic::Traffic;
use super::{
    Listing, MAX_STEPS, Steps, Workflow, arguments, is_set, list::List, redacted_answer, text,
    writer::StepWriter,
};
use crate::pipeline::{
    CallError,
    redacted_fields::{find_redacted_fields, name_fields},
};

/// Default time for which the old secret of a rotation in place works, in hours.
const DEFAULT_TRANSITION_HOURS: u64 = 24;
const MILLISECONDS_PER_HOUR: u64 = 3_600_000;
/// Settings that a successor takes over as they are.
const COPIED: [&str; 6] = [
    "workspace_id",
    "user_id",
    "scopes",
    "alert_emails",
    "expires_at",
    "rotation_policy",
];
/// Fields of a budget that can be written.
const BUDGET_FIELDS: [&str; 5] = [
    "type",
    "credit_limit",
    "alert_threshold",
    "periodic_reset",
    "periodic_reset_days",
];

pub(super) const WORKFLOW: Workflow = Workflow {
    operation: post::<RotateKeySafely>("rotate-key-safely", "/")
        .with_search_terms(&[
            "replace a key without an outage",
            "has traffic moved to the new key",
            "finish or take back a rotation",
            "Schlüssel ohne Ausfall tauschen",
        ])
        .with_rule(check_phase)
        .destructive()
        .returns_secrets(&["key"]),
    // Without the last one a rotation cannot begin, as on a server that only reads.
    needs: &["get-api-key", "list-all-api-keys", "create-api-key"],
    needs_of_call,
    listing: Listing::WithOperations,
    max_steps: MAX_STEPS,
    reads_quietly: false,
    run: |args, steps| async move { run(&args, &steps).await }.boxed(),
};

/// Rotate a key safely
///
/// `start` makes a successor with the same settings, `status` shows whether traffic moved to it, `finish`
/// deletes the old key, `cancel` the new one.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct RotateKeySafely {
    /// UUID of the old key.
    ///
    /// Required: it is what is rotated.
    id: String,
    /// `status` when left out.
    phase: Option<Phase>,
    /// Finish or cancel although requests would fail.
    force: Option<bool>,
    /// Hours of requests to look at; 24 when left out.
    #[schemars(range(min = 1, max = 720), extend("x-publish" = "hidden"))]
    hours: Option<u32>,
    /// Start with `rotate-api-key`: the id stays, and nothing can be taken back.
    #[schemars(extend("x-publish" = "hidden"))]
    in_place: Option<bool>,
    /// Hours for which the old secret works on, in place; 24 when left out.
    #[schemars(range(min = 1, max = 8760), extend("x-publish" = "hidden"))]
    transition_hours: Option<u32>,
    /// Only say what it would do.
    dry_run: Option<bool>,
}

/// A step of a rotation.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Phase {
    Status,
    Start,
    Finish,
    Cancel,
}

/// Returns the phase of a call.
fn phase(args: &JsonMap) -> &str {
    text(args, "phase").unwrap_or("status")
}

fn check_phase(args: &JsonMap, findings: &mut Findings) {
    let starts = phase(args) == "start";
    for name in ["in_place", "transition_hours"] {
        if args.contains_key(name) && !starts {
            findings.add_error(name, "is for `start`");
        }
    }
    if args.contains_key("transition_hours") && !is_set(args, "in_place") {
        findings.add_error(
            "transition_hours",
            "is for a rotation `in_place`; a successor and the old key work until one of them is deleted",
        );
    }
}

fn needs_of_call(args: &JsonMap) -> Vec<&'static str> {
    match phase(args) {
        "start" if is_set(args, "in_place") => vec!["rotate-api-key"],
        "start" => Vec::new(),
        "finish" | "cancel" => vec!["delete-api-key", "get-requests-graph"],
        _ => vec!["get-requests-graph"],
    }
}

/// Returns the text in the description of the successor of a key.
fn successor_mark(id: &str) -> String {
    format!("Replaces key {id}")
}

async fn run(args: &JsonMap, steps: &Steps) -> Result<Value, CallError> {
    let id = text(args, "id").unwrap_or_default();
    let read = steps
        .read_partly("get-api-key", arguments([("id", id.into())]))
        .await?;
    if phase(args) == "start" && !is_set(args, "in_place") && !read.redacted.is_empty() {
        // A successor without a setting of its key may do more than it.
        return Err(redacted_answer("get-api-key", &read.redacted).into());
    }
    let old = read.value;
    let visible = |field: &str| old.get(field).filter(|value| !is_redacted(value)).cloned();
    let workspace = visible("workspace_id").unwrap_or_default();
    let list = List::read_pages_partly(
        steps,
        "list-all-api-keys",
        arguments([("workspace_id", workspace)]),
    )
    .await?;
    let mark = successor_mark(id);
    let is_successor = |key: &&Value| matches!(key.get("description"), Some(Value::String(text)) if text.contains(&mark));
    let successor = list.items.iter().find(is_successor);
    match successor {
        // Its mark may be in a description that cannot be seen.
        None if list.items.iter().any(|key| hides(key, "description")) => {
            return Err(redacted_answer("list-all-api-keys", &list.redacted).into());
        }
        None => list.require_complete("a successor of the key")?,
        Some(key) if hides(key, "id") => {
            return Err(redacted_answer("list-all-api-keys", &list.redacted).into());
        }
        Some(_) => {}
    }
    let mut writer = StepWriter::new(steps, is_set(args, "dry_run"));
    let mut result = arguments([
        ("phase", phase(args).into()),
        ("old", json!({ "id": id, "name": visible("name") })),
    ]);
    if !list.redacted.is_empty() {
        let fields = name_fields(&list.redacted);
        let note = format!("`list-all-api-keys`: a policy redacts {fields}");
        result.insert("not_seen".to_owned(), note.into());
    }
    match (phase(args), successor) {
        ("start", _) if is_set(args, "in_place") => {
            rotate_in_place(args, id, &mut writer, &mut result).await?;
        }
        ("start", None) => create_successor(id, &old, &mut writer, &mut result).await?,
        ("start", Some(new)) => {
            result.insert("new".to_owned(), show(new));
            let note = "a successor is there already, and its secret was delivered when it was made; `cancel` and \
                        start again if it is lost";
            result.insert("note".to_owned(), note.into());
        }
        ("status", None) => {
            let note = "no rotation has been started with a successor";
            result.insert("state".to_owned(), "not_started".into());
            result.insert("note".to_owned(), note.into());
        }
        (_, None) => {
            let what = "has no successor; `start` makes one. A rotation `in_place` ends by itself";
            return Err(InputError::new("id", what).into());
        }
        (phase, Some(new)) => {
            result.insert("new".to_owned(), show(new));
            let traffic = Traffic::read(args, id, new, steps).await?;
            result.extend(traffic.to_fields());
            let end = match phase {
                "finish" => Some((id, traffic.objection_to_finish())),
                "cancel" => Some((key_id(new), traffic.objection_to_cancel())),
                _ => None,
            };
            if let Some((ended, objection)) = end {
                if let (Some(objection), false) = (objection, is_set(args, "force")) {
                    return Err(InputError::new("phase", objection).into());
                }
                let delete = arguments([("id", ended.into())]);
                let is_deleted = writer.write("delete-api-key", delete).await?.is_some();
                result.insert("deleted".to_owned(), is_deleted.then_some(ended).into());
            }
        }
    }
    Ok(writer.finish(result))
}

fn is_redacted(value: &Value) -> bool {
    !find_redacted_fields(value).is_empty()
}

/// Returns true if a policy hides a field of a key, or all of it.
fn hides(key: &Value, field: &str) -> bool {
    is_redacted(key.get(field).unwrap_or(&Value::Null)) || key.is_string() && is_redacted(key)
}

fn key_id(key: &Value) -> &str {
    key.get("id").and_then(Value::as_str).unwrap_or_default()
}

/// Returns what is shown of a key.
fn show(key: &Value) -> Value {
    let visible = |field: &str| key.get(field).filter(|value| !is_redacted(value));
    json!({ "id": visible("id"), "name": visible("name"), "created_at": visible("created_at") })
}

/// Makes a new secret of the same key. The pipeline delivers it.
async fn rotate_in_place(
    args: &JsonMap,
    id: &str,
    writer: &mut StepWriter<'_>,
    result: &mut JsonMap,
) -> Result<(), CallError> {
    let hours = args.get("transition_hours").and_then(Value::as_u64);
    let period = hours.unwrap_or(DEFAULT_TRANSITION_HOURS) * MILLISECONDS_PER_HOUR;
    let rotate = arguments([
        ("id", id.into()),
        ("key_transition_period_ms", period.into()),
    ]);
    let made = writer.write("rotate-api-key", rotate).await?;
    let made = made.unwrap_or_default();
    for (name, field) in [
        ("key", "key"),
        ("old_secret_works_until", "key_transition_expires_at"),
    ] {
        if let Some(value) = made.get(field) {
            result.insert(name.to_owned(), value.clone());
        }
    }
    let note = "the old secret ends by itself, and neither `finish` nor `cancel` changes that. Analytics count the \
                requests of both secrets together";
    result.insert("note".to_owned(), note.into());
    Ok(())
}

/// Makes a key with the settings of another one. The pipeline delivers its secret.
async fn create_successor(
    id: &str,
    old: &Value,
    writer: &mut StepWriter<'_>,
    result: &mut JsonMap,
) -> Result<(), CallError> {
    let own = |name: &str| old.get(name).filter(|value| !value.is_null());
    let kind = own("type").and_then(Value::as_str).unwrap_or_default();
    let Some((owner, sub_type)) = kind.split_once('-') else {
        let what = format!(
            "is a key of the unknown type `{kind}`; make its successor by `create-api-key`"
        );
        return Err(InputError::new("id", what).into());
    };
    let mut description = own("description")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if !description.is_empty() {
        description.push_str(". ");
    }
    description.push_str(&successor_mark(id));
    let mut create = arguments([
        ("type", owner.into()),
        ("sub_type", sub_type.into()),
        ("name", own("name").cloned().unwrap_or_default()),
        ("description", description.into()),
    ]);
    create.extend(COPIED.into_iter().filter_map(|name| {
        let value = own(name)?;
        Some((name.to_owned(), value.clone()))
    }));
    let rates =
        own("rate_limits").filter(|rates| rates.as_array().is_none_or(|list| !list.is_empty()));
    if let Some(rates) = rates {
        create.insert("rate_limits".to_owned(), rates.clone());
    }
    let fields = |name: &str, known: &[&str]| -> JsonMap {
        let given = own(name).and_then(Value::as_object).into_iter().flatten();
        let kept = given.filter(|(field, value)| {
            known.contains(&field.as_str())
                && !value.is_null()
                && value.as_str().is_none_or(|text| !text.is_empty())
        });
        kept.map(|(field, value)| (field.clone(), value.clone()))
            .collect()
    };
    let budget = fields("usage_limits", &BUDGET_FIELDS);
    let mut notes = vec![
        "both keys work until `finish` or `cancel`. Policies that name the old key have to name the new one: \
         `find-usages` with `api_key` finds them",
    ];
    if budget.contains_key("credit_limit") {
        create.insert("usage_limits".to_owned(), budget.into());
        notes.push("the budget of the new key begins at zero");
    }
    let defaults = fields(
        "defaults",
        &["metadata", "config_id", "allow_config_override"],
    );
    if !defaults.is_empty() {
        create.insert("defaults".to_owned(), defaults.into());
    }
    if let Some(made) = writer.write("create-api-key", create).await? {
        result.insert("new".to_owned(), json!({ "id": made.get("id") }));
        if let Some(key) = made.get("key") {
            result.insert("key".to_owned(), key.clone());
        }
    }
    result.insert("note".to_owned(), notes.join("; ").into());
    Ok(())
}

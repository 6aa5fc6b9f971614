//! Random patches of every resource: what is read back is what the declared update semantics say.
//!
//! The arguments come from the schemas, like those of the contract's calls. A random part of them is
//! the patch, as a merge patch or as operations. The model is the patch applied to the state.

use std::collections::BTreeSet;

use portkey_api::domains::DOMAINS;
use portkey_mcp::{
    changes::{ChangeContext, take_patch},
    mcp::reply::error_message,
    observability::request::RequestInfo,
    pipeline::CallRecord,
};
use portkey_operation::{FieldUpdate, JsonMap, Operation, UpdateRules};
use serde_json::{Value, json};

use super::{fixture::ContractFixture, generate::Extent, preconditions};
use crate::support::upstream::operator;

/// Rounds per operation.
const ROUNDS: u64 = 8;

/// Differences from the model for a reason of the API: the tool with the path, and the reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "replace-guardrail-mcp-servers.mcp_servers",
        "servers are read by their id, whatever was sent",
    ),
    (
        "update-guardrail.checks",
        "`is_enabled` is left out in reads when it is true",
    ),
    (
        "update-secret-reference.allowed_workspaces",
        "slugs are read as UUIDs",
    ),
    (
        "bulk-update-mcp-server-user-access.user_access",
        "users without a setting follow the default",
    ),
    (
        "update-prompt.parameters",
        "`null` is ignored in a version that is completed from the latest",
    ),
    (
        "update-prompt-partial.version_description",
        "it is stored with a new text only",
    ),
];

/// Errors that a random patch may meet, because the model of the API has them.
const ACCEPTED_ERRORS: &[&str] = &[
    // A field of a group is set that excludes one which is stored.
    "takes at most one of",
    // A condition of the API over several fields, such as a threshold below its limit.
    "400 AB01",
    // Flags that replace lists.
    "is no part of a patch",
    // A secret beside an address that changes has to be given, too.
    "changes where requests go",
];

fn is_exception(tool: &str, path: &str) -> bool {
    let place = format!("{tool}.{path}");
    EXCEPTIONS.iter().any(|(known, _)| place.starts_with(known))
}

/// A small generator of random numbers, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }

    /// Returns a part of an object with at least one of its fields.
    fn part(&mut self, whole: &JsonMap) -> JsonMap {
        let kept = self.next(whole.len());
        let mut part = JsonMap::new();
        for (index, (name, value)) in whole.iter().enumerate() {
            if index == kept || self.next(2) == 0 {
                part.insert(name.clone(), value.clone());
            }
        }
        part
    }
}

fn rules(operation: &Operation) -> UpdateRules {
    *operation.update_rules().unwrap()
}

/// Returns the patch as operations of RFC 6902.
fn to_operations(patch: &JsonMap, before: &JsonMap) -> Value {
    let operations = patch.iter().filter_map(|(name, value)| {
        let path = format!("/{name}");
        match value {
            Value::Null => before
                .contains_key(name)
                .then(|| json!({ "op": "remove", "path": path })),
            value => Some(json!({ "op": "add", "path": path, "value": value })),
        }
    });
    operations.collect()
}

/// Returns whether a patch may fail with this message.
fn accept(message: String) -> Result<(), String> {
    let is_accepted = ACCEPTED_ERRORS.iter().any(|known| message.contains(known));
    if is_accepted { Ok(()) } else { Err(message) }
}

/// Patches one tool in one round. Returns the faults.
async fn patch_once(
    fixture: &mut ContractFixture,
    tool: &str,
    random: &mut Random,
) -> Result<(), String> {
    fixture.restart_sandbox().await;
    for before in preconditions::prior_calls(tool).unwrap_or_default() {
        let arguments = fixture.arguments(before, Extent::Required).await?;
        let outcome = fixture.call(before, arguments).await;
        outcome.map_err(|error| error_message(&error))?;
    }
    let extent = match random.next(4) {
        0 => Extent::Cleared,
        _ => Extent::All(random.next(5)),
    };
    let given = fixture.fitting_arguments(tool, extent).await?.arguments;
    let entry = fixture.entry(tool);
    let operation = entry.operation;
    let rules = rules(operation);
    let (body, location): (JsonMap, JsonMap) = given
        .into_iter()
        .partition(|(name, _)| operation.is_change(name));
    // The flag of an upstream's own partial update is set by the server.
    let flag = rules.partial_flag().map(|flag| flag.argument);
    let body: JsonMap = body
        .into_iter()
        .filter(|(name, _)| Some(name.as_str()) != flag)
        .collect();
    if body.is_empty() {
        return Ok(());
    }
    let part = random.part(&body);
    let principal = operator();
    let request_info = RequestInfo::local();
    let context = ChangeContext {
        dispatcher: fixture.dispatcher(),
        principal: &principal,
        request_info: &request_info,
    };
    let request = |patch: Value| {
        let mut args = location.clone();
        args.insert("patch".to_owned(), patch);
        take_patch(entry.compiled(), &mut args).map(Option::unwrap)
    };
    let merge = json!(part);
    // An operation would replace what the API merges.
    let is_merged = part
        .keys()
        .any(|name| rules.field_update(name) != FieldUpdate::Replace);
    let patch = match random.next(2) {
        1 if !is_merged => {
            let probe = request(merge.clone()).map_err(|error| error.to_string())?;
            let state = context
                .read_current(entry, &rules, &probe.location)
                .await
                .map_err(|error| error_message(&error))?;
            let before = state.0.shown.as_object().cloned().unwrap_or_default();
            to_operations(&part, &before)
        }
        _ => merge,
    };
    let describe = |what: &str| format!("{tool} {patch}: {what}");
    let request = request(patch.clone()).map_err(|error| describe(&error.to_string()))?;
    let change = match context.prepare(entry, request.clone()).await {
        Ok(change) => change,
        Err(error) => return accept(describe(&error_message(&error))),
    };
    let mut record = CallRecord::default();
    let answer = match context.apply(entry, request.clone(), &mut record).await {
        Ok(answer) => answer,
        Err(error) => return accept(describe(&error_message(&error))),
    };
    if change.is_empty() {
        assert!(!record.is_sent, "{tool}");
        return Ok(());
    }
    if !answer["changed"].is_array() {
        // An archived policy is gone for its read.
        return match part.get("status") == Some(&json!("archived")) {
            true => Ok(()),
            false => Err(describe(&answer.to_string())),
        };
    }
    let path_of = |entry: &Value| entry["path"].as_str().unwrap().to_owned();
    let ignored = answer["ignored"].as_array().unwrap().iter().map(path_of);
    let ignored: Vec<_> = ignored.filter(|path| !is_exception(tool, path)).collect();
    if !ignored.is_empty() {
        return Err(describe(&format!("ignored {ignored:?}")));
    }
    // The second time there is nothing to change, but for what cannot be read back.
    let again = context
        .prepare(entry, request)
        .await
        .map_err(|error| describe(&format!("again: {}", error_message(&error))))?;
    let unverified: BTreeSet<&str> = answer["sent_but_not_readable"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let left: Vec<_> = again
        .computed
        .diff
        .changes
        .iter()
        // A hidden value differs from any other.
        .filter(|change| change.old != Some(json!("***")))
        .map(|change| change.path.to_string())
        .filter(|path| !unverified.contains(path.as_str()) && !is_exception(tool, path))
        .collect();
    if !left.is_empty() {
        return Err(describe(&format!("still differs: {left:?}\n{answer}")));
    }
    // What the patch does not name is as before.
    let named: BTreeSet<&str> = part.keys().map(String::as_str).collect();
    for changed in answer["changed"].as_array().unwrap() {
        let path = changed["path"].as_str().unwrap();
        let first = path.split(['.', '[']).next().unwrap();
        if !named.contains(first) && !is_exception(tool, path) {
            return Err(describe(&format!("changed {changed} as well")));
        }
    }
    Ok(())
}

// Everything is in this thread, so that the time until a state is read again passes at once.
#[tokio::test(start_paused = true)]
async fn random_patches_have_the_declared_outcome() {
    let mut fixture = ContractFixture::new().await;
    let mut faults = Vec::new();
    let operations = DOMAINS.iter().flat_map(|domain| domain.operations);
    for operation in operations.filter(|operation| operation.update_rules().is_some()) {
        let tool = operation.name();
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ tool.len() as u64);
        for _ in 0..ROUNDS {
            if let Err(fault) = patch_once(&mut fixture, tool, &mut random).await {
                faults.push(fault);
                break;
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults\n{}",
        faults.len(),
        faults.join("\n")
    );
}

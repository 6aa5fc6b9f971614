//! Finds out whether a created resource can be deleted without taking anything from others, and
//! whether a deleted one is gone.

use portkey_api::catalog::CatalogEntry;
use portkey_journal::Change;
use portkey_operation::{InputError, JsonMap, UpdateRules};
use serde_json::Value;

use super::{CHANGE_ARGUMENT, FORCE_ARGUMENT, impossible, list};
use crate::{
    changes::ChangeContext,
    observability::call_record::OutcomeKind,
    pipeline::{CallError, state_fields::resource},
};

/// Field with the time of the last change, in answers and in states.
const TIME_FIELD: &str = "last_updated_at";

/// Lists of what can be inside a collection, by the argument that names it.
const IN_COLLECTION: &[&str] = &["list-prompts", "list-prompt-partials"];

/// Lists of what can be inside a workspace.
const IN_WORKSPACE: &[&str] = &[
    "list-all-configs",
    "list-prompts",
    "list-prompt-partials",
    "list-collections",
    "list-guardrails",
    "list-all-api-keys",
    "list-mcp-servers",
];

/// Deletions of what can contain things that nothing lists.
const UNSEEN_CONTENT: &[&str] = &["delete-agent-integration", "delete-deployment"];

/// Status of what Portkey keeps after a deletion.
const ARCHIVED: &str = "archived";

/// State of a resource after its deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remains {
    /// Nothing.
    Nothing,
    /// The resource, which Portkey has archived.
    Archived,
    /// The resource.
    Whole,
}

impl ChangeContext<'_> {
    /// Rejects the deletion of what others use, or have put things into.
    pub(super) async fn check_unused(
        &self,
        delete: &CatalogEntry,
        change: &Change,
        args: &JsonMap,
    ) -> Result<(), CallError> {
        let operation = delete.operation;
        let looked_up = self
            .dispatcher
            .look_up_impact(self.principal, self.request_info, operation, args)
            .await;
        if let Some(impact) = looked_up {
            let named = impact.used_by.iter().flat_map(|group| {
                let first = group.first.iter();
                first.map(|user| format!("{} {}", group.kind, user.id))
            });
            let users: Vec<_> = named.collect();
            // What a policy limits or a mapping lets in was there before it.
            if !impact.used_by.is_empty() && !impact.is_of_served {
                return Err(in_use(change, &list(&users)));
            }
            // Other workspaces than that of the key cannot have used what the key has made.
            if !impact.is_complete_within_reach() {
                return Err(unproven(change, &impact.not_seen.join("; ")));
            }
        }
        let (lists, argument) = match operation.name() {
            "delete-collection" => (IN_COLLECTION, "collection_id"),
            "delete-workspace" => (IN_WORKSPACE, "workspace_id"),
            name if UNSEEN_CONTENT.contains(&name) => {
                return Err(unproven(change, "nothing lists what is inside it"));
            }
            _ => return Ok(()),
        };
        let Some(target) = args.get(argument) else {
            return Err(unproven(change, "the call names no target"));
        };
        if argument == "collection_id" {
            let read_args = JsonMap::from_iter([(argument.to_owned(), target.clone())]);
            let state = self.read("get-collection", read_args).await?;
            let children = resource(&state.shown).get("child_collections");
            let Some(children) = children.and_then(Value::as_array) else {
                return Err(unproven(
                    change,
                    "`get-collection` does not list what is in it",
                ));
            };
            check_empty(change, "collection", children)?;
        }
        let workspace = change
            .detail
            .as_ref()
            .and_then(|detail| detail.arguments.as_ref()?.get("workspace_id"));
        for name in lists {
            let mut list_args = JsonMap::from_iter([(argument.to_owned(), target.clone())]);
            if let Some(workspace) = workspace {
                list_args
                    .entry("workspace_id")
                    .or_insert_with(|| workspace.clone());
            }
            let read = self
                .dispatcher
                .read_step(self.principal, self.request_info, name, list_args)
                .await;
            let answer = match read {
                Ok(answer) if answer.outcome == OutcomeKind::Answered => answer.value,
                Ok(_) => return Err(unproven(change, &format!("`{name}` was not sent"))),
                Err(error) => return Err(unproven(change, &format!("`{name}`: {error}"))),
            };
            let Some(rows) = answer.get("data").and_then(Value::as_array) else {
                return Err(unproven(change, &format!("`{name}` has no list")));
            };
            check_empty(change, name, rows)?;
        }
        Ok(())
    }

    /// Finds out whether what a change deleted is there.
    ///
    /// # Errors
    /// Returns an error for any other failure of the read than that it is not there: it proves nothing.
    pub(super) async fn find_remains(&self, change: &Change) -> Result<Remains, CallError> {
        let status = match self.read_again(change).await {
            Ok(state) => {
                let status = resource(&state.shown).get("status");
                return Ok(match status.and_then(Value::as_str) {
                    Some(ARCHIVED) => Remains::Archived,
                    _ => Remains::Whole,
                });
            }
            Err(CallError::Upstream(operation, refusal)) => match refusal.status.as_u16() {
                404 => return Ok(Remains::Nothing),
                status => match (status, operation.name()) {
                    // These answer 403 for what does not exist. The list proves that the key may
                    // read the kind.
                    (403, "get-guardrail") => Ok("list-guardrails"),
                    (403, "get-workspace") => Ok("list-all-workspaces"),
                    _ => Err(CallError::Upstream(operation, refusal)),
                },
            },
            Err(error) => Err(error),
        };
        let names = match status {
            Ok(names) => names,
            Err(error) => {
                let what =
                    format!("nothing was sent, because it is not known that it is gone: {error}");
                return Err(InputError::new(CHANGE_ARGUMENT, what).into());
            }
        };
        let mut args = JsonMap::new();
        if names != "list-all-workspaces"
            && let Some(workspace) = change.head.target.get("workspace_id")
        {
            args.insert("workspace_id".to_owned(), workspace.as_str().into());
        }
        let listed = self
            .dispatcher
            .read_step(self.principal, self.request_info, names, args)
            .await;
        match listed {
            Ok(answer) if answer.outcome == OutcomeKind::Answered => Ok(Remains::Nothing),
            Ok(_) | Err(_) => {
                let what = format!(
                    "nothing was sent, because it is not known that it is gone: the read is refused with \
                     403, and `{names}` does not show that this key may read it"
                );
                Err(InputError::new(CHANGE_ARGUMENT, what).into())
            }
        }
    }
}

/// Returns the names of the marks of change that a creation made and that are others now.
pub(super) fn changed_marks(
    change: &Change,
    rules: Option<&UpdateRules>,
    current: &Value,
) -> Vec<String> {
    let now = resource(current);
    let mut moved = Vec::new();
    let version = rules.and_then(|rules| rules.version_field());
    if let (Some(field), Some(made)) = (version, &change.result.version) {
        let now = match now.get(field) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        if now.is_some_and(|now| now != *made) {
            moved.push(field.to_owned());
        }
    }
    let made = change.answer.as_ref().map(resource);
    let made = made.and_then(|made| made.get(TIME_FIELD)?.as_str());
    if let (Some(made), Some(now)) = (made, now.get(TIME_FIELD).and_then(Value::as_str))
        && made != now
    {
        moved.push(TIME_FIELD.to_owned());
    }
    moved
}

/// Rejects a list that has anything but a default, which comes and goes with its container.
fn check_empty(change: &Change, name: &str, rows: &[Value]) -> Result<(), CallError> {
    let is_default = |row: &&Value| match row.get("is_default") {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Number(number)) => number.as_u64() == Some(1),
        _ => false,
    };
    let kind = name.trim_start_matches("list-").trim_start_matches("all-");
    let inside: Vec<String> = rows
        .iter()
        .filter(|row| !is_default(row))
        .map(|row| {
            let id = ["slug", "id"]
                .iter()
                .find_map(|name| row.get(*name)?.as_str());
            format!("{kind} {}", id.unwrap_or("without an id"))
        })
        .collect();
    match inside.is_empty() {
        true => Ok(()),
        false => Err(in_use(change, &list(&inside))),
    }
}

fn in_use(change: &Change, users: &str) -> CallError {
    let why = format!(
        "what it made is in use, and nothing was sent: {users} would lose it. Give `{FORCE_ARGUMENT}: true` \
         (in the shell `--force`) to delete it anyway, with what is inside"
    );
    impossible(change, &why).into()
}

fn unproven(change: &Change, reason: &str) -> CallError {
    let why = format!(
        "it is not known whether others use what it made or have put anything into it ({reason}), and nothing \
         was sent. Look at it, and give `{FORCE_ARGUMENT}: true` (in the shell `--force`) to delete it anyway"
    );
    impossible(change, &why).into()
}

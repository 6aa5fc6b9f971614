//! Checks that a key answers for the workspace that a call names.
//!
//! A key of a workspace answers for its own one, whatever `workspace_id` or `workspace_slug` says, so that a
//! workflow would report on another workspace than the one that was asked about.

use portkey_operation::{InputError, JsonMap};
use serde_json::Value;

use super::{StepAnswer, Steps, arguments, list::List};
use crate::pipeline::CallError;

/// HTTP statuses with which Portkey answers for a workspace that is not there, or not open to the key.
const CLOSED: [u16; 2] = [403, 404];

/// Sight of a key on the workspace that a call names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WorkspaceSight {
    /// Reason why the answer may be that of another workspace, or of none.
    pub(super) doubt: Option<String>,
    /// Number of calls that it took.
    pub(super) calls: usize,
}

/// Reaction of a workflow to a key that sees several workspaces, and not the one that is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfAbsent {
    /// Refuses the call.
    Refuse,
    /// Goes on: analytics still tell about a workspace that was deleted.
    Doubt,
}

/// Looks up the workspace that an argument names. Without the argument there is nothing to look up.
///
/// # Errors
/// Returns `InvalidArguments` if the key can see other workspaces and not this one.
pub(super) async fn look_up_workspace(
    steps: &Steps,
    argument: &str,
    workspace: Option<&str>,
    if_absent: IfAbsent,
) -> Result<WorkspaceSight, CallError> {
    let Some(workspace) = workspace else {
        return Ok(WorkspaceSight::default());
    };
    let read = arguments([("workspace_id", workspace.into())]);
    let failure = match steps.call("get-workspace", read).await {
        Ok(StepAnswer::Answered(_) | StepAnswer::Redacted(_)) => {
            return Ok(WorkspaceSight {
                doubt: None,
                calls: 1,
            });
        }
        Ok(StepAnswer::DryRun(_)) => {
            return Ok(doubt(
                workspace,
                "a policy wants a dry run of `get-workspace`",
                1,
            ));
        }
        Err(error) => error,
    };
    let is_closed = matches!(&failure, CallError::Upstream(_, refusal)
        if CLOSED.contains(&refusal.status.as_u16()));
    if !is_closed {
        return Ok(doubt(workspace, &failure.to_string(), 1));
    }
    // A key without the right to read workspaces gets the same answer.
    let Ok(list) = List::read_pages(steps, "list-all-workspaces", JsonMap::new()).await else {
        return Ok(doubt(workspace, &failure.to_string(), 2));
    };
    let is_this = |row: &Value| handles(row).iter().any(|one| one == workspace);
    if list.items.iter().any(is_this) {
        return Ok(WorkspaceSight {
            doubt: None,
            calls: 2,
        });
    }
    match list.items.as_slice() {
        [] => Ok(doubt(workspace, &failure.to_string(), 2)),
        [own] => {
            let own = handles(own).pop().unwrap_or_default();
            let what = format!(
                "there is no workspace `{workspace}` that this key can see. It sees `{own}` alone, and a key of a \
                 workspace answers for its own one, whatever workspace is named"
            );
            Err(InputError::new(argument, what).into())
        }
        _ if if_absent == IfAbsent::Doubt || list.require_complete(workspace).is_err() => {
            Ok(doubt(
                workspace,
                "it is not among the workspaces that this key sees",
                2,
            ))
        }
        _ => {
            let what = format!("there is no workspace `{workspace}` that this key can see");
            Err(InputError::new(argument, what).into())
        }
    }
}

/// Returns what is beyond a key that sees one workspace alone. `workspaces` are those that it sees.
pub(super) async fn describe_beyond(steps: &Steps, workspaces: &[Value]) -> Option<String> {
    let [own] = workspaces else {
        return None;
    };
    // An organisation may have one workspace only. Portkey tells its defaults to its own keys alone.
    match steps
        .call("get-organisation-defaults", JsonMap::new())
        .await
    {
        Ok(_) => None,
        Err(_) => Some(format!(
            "other workspaces, if there are any: this key sees `{}` alone",
            handles(own).pop().unwrap_or_default()
        )),
    }
}

fn doubt(workspace: &str, reason: &str, calls: usize) -> WorkspaceSight {
    WorkspaceSight {
        doubt: Some(format!(
            "whether this is about workspace `{workspace}`, because a key of a workspace answers for its own one: {reason}"
        )),
        calls,
    }
}

/// Returns the id and the slug of a workspace.
fn handles(workspace: &Value) -> Vec<String> {
    let handle = |name: &str| workspace.get(name)?.as_str().map(str::to_owned);
    ["id", "slug"].into_iter().filter_map(handle).collect()
}

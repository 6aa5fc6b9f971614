//! Members of a team: those who are users join, others are invited.

use portkey_operation::{Findings, JsonMap};
use serde_json::{Value, json};

use super::{Team, is_uuid, objects};
use crate::{
    pipeline::CallError,
    workflows::{Steps, arguments, list::List, plan_draft::PlanDraft, text},
};

/// Role of a member when none is given.
const DEFAULT_ROLE: &str = "member";

/// Rejects members that are neither an address nor a UUID.
pub(super) fn check_members(args: &JsonMap, findings: &mut Findings) {
    for (i, member) in objects(args, "members").enumerate() {
        let user = text(member, "user").unwrap_or_default();
        if !is_uuid(user) && !is_whole_address(user) {
            findings.add_error(
                format_args!("members[{i}].user"),
                format!("takes an e-mail address or the UUID of a user, got {user:?}"),
            );
        }
    }
}

/// Returns true for a text with one `@`, a name before it, and a host with a dot behind it.
fn is_whole_address(user: &str) -> bool {
    let is_plain = |part: &str| {
        !part.is_empty()
            && !part.contains(|c: char| c.is_whitespace() || c.is_control() || c == '@')
    };
    user.split_once('@').is_some_and(|(name, host)| {
        let has_labels = host.contains('.') && host.split('.').all(|label| !label.is_empty());
        is_plain(name) && is_plain(host) && has_labels
    })
}

/// Plans the members of the arguments. Members that the arguments do not name stay.
pub(super) async fn plan_members(
    args: &JsonMap,
    team: &Team,
    steps: &Steps,
    draft: &mut PlanDraft,
) -> Result<(), CallError> {
    if objects(args, "members").next().is_none() {
        return Ok(());
    }
    let present = team.read_list(steps, "list-workspace-members").await?;
    let mut joining = Vec::new();
    for (i, member) in objects(args, "members").enumerate() {
        let user = text(member, "user").unwrap_or_default();
        let role = text(member, "role").unwrap_or(DEFAULT_ROLE);
        if let Some(known) = present.iter().find(|other| is_user(other, user)) {
            let has = known.get("role").and_then(Value::as_str);
            let has = has.map(|has| has.strip_prefix("ws-").unwrap_or(has));
            if has != Some(role) {
                let update = arguments([
                    ("workspace_id", team.id()),
                    ("user_id", known.get("id").cloned().unwrap_or_default()),
                    ("patch", json!({ "role": role })),
                ]);
                draft.add(format!("role{}", i + 1), "update-workspace-member", update);
            }
            continue;
        }
        match find_user(steps, user).await? {
            Some(id) => joining.push(json!({ "id": id, "role": role })),
            None if is_invited(steps, user).await? => draft.note(format!(
                "{user} has an invitation that is pending. Nobody can see which workspaces it is for: delete it and \
                 plan again if it is not for this one"
            )),
            None => {
                let invite = arguments([
                    ("email", user.into()),
                    ("role", "member".into()),
                    ("workspaces", json!([{ "id": team.id(), "role": role }])),
                ]);
                draft.add(format!("invite{}", i + 1), "invite-user", invite);
            }
        }
    }
    if !joining.is_empty() {
        let add = arguments([("workspace_id", team.id()), ("users", joining.into())]);
        draft.add("members", "add-workspace-member", add);
    }
    Ok(())
}

fn is_address(user: &str) -> bool {
    user.contains('@')
}

/// Returns true if a user or a member is the one with this address or id.
fn is_user(known: &Value, user: &str) -> bool {
    let has = |name: &str| known.get(name).and_then(Value::as_str);
    match is_address(user) {
        true => has("email").is_some_and(|email| email.eq_ignore_ascii_case(user)),
        false => has("id") == Some(user),
    }
}

/// Returns the id of a user of the organisation.
async fn find_user(steps: &Steps, user: &str) -> Result<Option<Value>, CallError> {
    if !is_address(user) {
        return Ok(Some(user.into()));
    }
    let users = List::read(steps, "list-users", arguments([("email", user.into())])).await?;
    let found = users.items.iter().find(|other| is_user(other, user));
    Ok(found.and_then(|found| found.get("id").cloned()))
}

/// Returns true if an address has an invitation that nobody has accepted yet.
async fn is_invited(steps: &Steps, email: &str) -> Result<bool, CallError> {
    let args = arguments([("email", email.into()), ("status", "pending".into())]);
    let invites = List::read(steps, "list-all-invites", args).await?;
    let is_open = |invite: &&Value| invite.get("status").is_some_and(|is| is == "pending");
    Ok(invites
        .items
        .iter()
        .filter(is_open)
        .any(|invite| is_user(invite, email)))
}

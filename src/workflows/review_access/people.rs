//! The people of a review.

use std::collections::BTreeMap;

use portkey_operation::JsonMap;
use serde_json::Value;

use super::{FindingKind, Review, Severity, Users, arguments, day, field, kind, text, timestamp};

const ADMIN_INVITE: FindingKind = kind(
    Severity::High,
    "pending_admin_invite",
    "whoever has its link becomes an administrator",
);
const ORGANISATION_ADMIN: FindingKind = kind(
    Severity::Medium,
    "organisation_admin",
    "can do everything in every workspace",
);
const SEVERAL: FindingKind = kind(
    Severity::Medium,
    "admin_of_several_workspaces",
    "can change members and keys of several workspaces",
);
const WORKSPACE_ADMIN: FindingKind = kind(
    Severity::Low,
    "workspace_admin",
    "can change members and keys of the workspace",
);
const HOMELESS: FindingKind = kind(
    Severity::Low,
    "member_without_workspace",
    "is in the organisation and in no workspace",
);
const PENDING_INVITE: FindingKind = kind(
    Severity::Low,
    "pending_invite",
    "nobody has accepted it yet",
);
const EXPIRED_INVITE: FindingKind = kind(
    Severity::Low,
    "expired_invite",
    "has expired and was never accepted",
);

impl Review<'_> {
    /// Reviews the users of the organisation. Returns all of them; `None` if they could not be read.
    pub(super) async fn review_users(&mut self) -> Option<Users> {
        let list = self
            .reads
            .list("people", "list-users", JsonMap::new())
            .await?;
        for user in &list.items {
            let is_admin = ["admin", "owner"].iter().any(|role| user["role"] == *role);
            let workspaces = user.get("workspace_ids").and_then(Value::as_array);
            let evidence = [
                ("role", field(user, "role")),
                ("created_at", day(user, "created_at")),
            ];
            if is_admin {
                self.add_person(ORGANISATION_ADMIN, user, evidence);
            } else if workspaces.is_some_and(Vec::is_empty) && !self.is_for_one_workspace() {
                self.add_person(HOMELESS, user, evidence);
            }
        }
        self.reads
            .miss("sign-ins of members", &"Portkey's API does not tell them");
        // Somebody who was not read may be the owner of any key.
        let users = list.items.into_iter().filter_map(|user| {
            let id = user.get("id")?.as_str()?.to_owned();
            Some((id, user))
        });
        list.is_complete.then(|| users.collect())
    }

    /// Reviews the members of each workspace.
    pub(super) async fn review_members(&mut self) {
        let slugs: Vec<String> = match text(self.args, "workspace_id") {
            Some(workspace) => vec![self.workspaces.slug(workspace).to_owned()],
            None => {
                let all = self.workspaces.all.iter();
                all.map(|workspace| workspace.slug.clone()).collect()
            }
        };
        let mut admins: BTreeMap<String, (Value, Vec<String>)> = BTreeMap::new();
        // One call is left for the invites.
        let count = slugs.len().min(self.reads.left().saturating_sub(1));
        for slug in slugs.iter().take(count) {
            let args = arguments([("workspace_id", slug.as_str().into())]);
            let part = format!("members of `{slug}`");
            let list = self.reads.list(&part, "list-workspace-members", args).await;
            for member in list.map(|list| list.items).unwrap_or_default() {
                let is_admin = member
                    .get("role")
                    .and_then(Value::as_str)
                    .is_some_and(|role| role.trim_start_matches("ws-") == "admin");
                let id = member.get("id").and_then(Value::as_str);
                if let Some(id) = id.filter(|_| is_admin) {
                    let known = admins.entry(id.to_owned());
                    known
                        .or_insert_with(|| (member.clone(), Vec::new()))
                        .1
                        .push(slug.clone());
                }
            }
        }
        if count < slugs.len() {
            let rest = format!("members of {} workspaces", slugs.len() - count);
            self.reads.miss(&rest, &"the bound of calls is reached");
        }
        for (_, (member, workspaces)) in admins {
            let finding = match workspaces.len() {
                1 => WORKSPACE_ADMIN,
                _ => SEVERAL,
            };
            self.add_person(finding, &member, [("workspaces", workspaces.into())]);
        }
    }

    /// Reviews the invites that nobody has accepted. Their workspaces are not told.
    pub(super) async fn review_invites(&mut self) {
        if self.is_for_one_workspace() {
            return;
        }
        let list = self
            .reads
            .list("invites", "list-all-invites", JsonMap::new())
            .await;
        for invite in list.map(|list| list.items).unwrap_or_default() {
            let is_over = timestamp(&invite, "expires_at").is_some_and(|at| at <= self.now);
            let status = invite.get("status").and_then(Value::as_str);
            let finding = match (status, is_over) {
                (Some("expired"), _) | (Some("pending"), true) => EXPIRED_INVITE,
                (Some("pending"), false)
                    if invite.get("role").is_some_and(|role| role == "admin") =>
                {
                    ADMIN_INVITE
                }
                (Some("pending"), false) => PENDING_INVITE,
                _ => continue,
            };
            let evidence = [
                ("role", field(&invite, "role")),
                ("created_at", day(&invite, "created_at")),
                ("expires_at", day(&invite, "expires_at")),
            ];
            self.add_person(finding, &invite, evidence);
        }
    }

    fn is_for_one_workspace(&self) -> bool {
        self.args.contains_key("workspace_id")
    }

    fn add_person<const N: usize>(
        &mut self,
        finding: FindingKind,
        person: &Value,
        evidence: [(&str, Value); N],
    ) {
        let mut subject = arguments([
            ("id", field(person, "id")),
            ("email", field(person, "email")),
        ]);
        subject.extend(arguments(evidence));
        self.findings.add(finding, subject);
    }
}

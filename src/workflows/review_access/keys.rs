//! The keys of a review.

use std::collections::HashSet;

use portkey_operation::JsonMap;
use serde_json::Value;

use super::{
    FindingKind, Review, Severity, Users, arguments, day, field, has_budget, kind, text, timestamp,
};

const DEPARTED: FindingKind = kind(
    Severity::High,
    "key_of_departed_user",
    "acts for a user who is not in the organisation",
);
const ESCALATING: FindingKind = kind(
    Severity::High,
    "escalating_key",
    "can give itself or others more rights",
);
const MIXED: FindingKind = kind(
    Severity::Medium,
    "over_scoped_key",
    "sends requests and changes the organisation: use one key for each",
);
const UNUSED: FindingKind = kind(
    Severity::Medium,
    "unused_key",
    "may send requests and has sent none in the period",
);
const EXPIRING: FindingKind = kind(
    Severity::Medium,
    "expiring_key",
    "expires soon, and nothing rotates it",
);
const LASTING_ADMIN: FindingKind = kind(
    Severity::Medium,
    "lasting_admin_key",
    "changes the organisation, and neither expires nor is rotated",
);
const UNLIMITED: FindingKind = kind(
    Severity::Medium,
    "key_without_budget",
    "spends without a limit of its own or of its workspace",
);
const SHARED_BUDGET: FindingKind = kind(
    Severity::Low,
    "key_without_own_budget",
    "can spend the whole budget of its workspace",
);
const LASTING: FindingKind = kind(
    Severity::Low,
    "lasting_key",
    "neither expires nor is rotated",
);
const OWNERLESS: FindingKind = kind(
    Severity::Low,
    "key_without_owner",
    "has neither a user nor an address for alerts",
);
const EXPIRED: FindingKind = kind(Severity::Low, "expired_key", "has expired and still exists");

/// Scope of keys that send requests.
const SENDING_SCOPE: &str = "completions.write";
/// Ends of scopes that change something.
const CHANGING: [&str; 5] = [".create", ".update", ".delete", ".rotate", ".publish"];
/// Resources whose changes give rights.
const RIGHTS: [&str; 6] = [
    "organisation_service_api_keys",
    "workspace_service_api_keys",
    "workspace_user_api_keys",
    "organisation_users",
    "workspace_users",
    "organisation_settings",
];

/// Returns true if a scope changes what others rely on.
fn changes(scope: &str) -> bool {
    CHANGING.iter().any(|end| scope.ends_with(end))
}

/// Returns true if a scope can be used to get other scopes.
fn escalates(scope: &str) -> bool {
    let Some((resource, action)) = scope.split_once('.') else {
        return false;
    };
    RIGHTS.contains(&resource) && action != "delete" && changes(scope)
}

impl Review<'_> {
    /// Reviews the keys, and returns their number.
    pub(super) async fn review_keys(&mut self, users: Option<&Users>) -> usize {
        let workspace = text(self.args, "workspace_id");
        let args = arguments([("workspace_id", workspace.map_or(Value::Null, Value::from))]);
        let slugs: Vec<String> = self
            .workspaces
            .all
            .iter()
            .map(|workspace| workspace.slug.clone())
            .collect();
        let list = self
            .reads
            .list_everywhere("keys", "list-all-api-keys", args, &slugs)
            .await;
        let keys = list.map(|list| list.items).unwrap_or_default();
        let used = match keys.is_empty() {
            true => None,
            false => self.used_keys().await,
        };
        let mut uncounted = 0;
        for key in &keys {
            self.review_key(key, used.as_ref(), users);
            uncounted += usize::from(!scopes(key).any(|scope| scope == SENDING_SCOPE));
        }
        if uncounted > 0 {
            let part = format!("use of keys without `{SENDING_SCOPE}`, {uncounted} of them");
            self.reads
                .miss(&part, &"analytics count requests to models alone");
        }
        keys.len()
    }

    /// Returns the ids of the keys that sent requests in the period; `None` if that is not known.
    async fn used_keys(&mut self) -> Option<HashSet<String>> {
        let args = arguments([
            ("group_by", "api_key".into()),
            ("columns", "last_seen".into()),
            (
                "time_of_generation_min",
                format!("{}d", self.days("unused_days")).into(),
            ),
            ("time_of_generation_max", "now".into()),
        ]);
        let groups = self
            .reads
            .list("which keys are used", "get-analytics-grouped-data", args)
            .await?;
        // A group that was not read may be of any key.
        if !groups.is_complete {
            return None;
        }
        let ids = groups
            .items
            .iter()
            .filter_map(|group| Some(group.get("api_key")?.as_str()?.to_owned()));
        Some(ids.collect())
    }

    fn review_key(&mut self, key: &Value, used: Option<&HashSet<String>>, users: Option<&Users>) {
        let expires_at = timestamp(key, "expires_at");
        if key["status"] == "expired" || expires_at.is_some_and(|at| at <= self.now) {
            self.add_key(EXPIRED, key, [("expires_at", day(key, "expires_at"))]);
            return;
        }
        let scopes_of_key: Vec<&str> = scopes(key).collect();
        let sends = scopes_of_key.contains(&SENDING_SCOPE);
        let select = |wanted: fn(&str) -> bool| -> Vec<&str> {
            let scopes = scopes_of_key.iter().copied();
            scopes.filter(|scope| wanted(scope)).collect()
        };
        let escalating = select(escalates);
        let changing = select(changes);
        if !escalating.is_empty() {
            self.add_key(ESCALATING, key, [("scopes", escalating.into())]);
        }
        if sends && !changing.is_empty() {
            self.add_key(MIXED, key, [("scopes", changing.clone().into())]);
        }
        let is_rotated = key.get("rotation_policy").is_some_and(Value::is_object);
        let soon = i64::try_from(self.days("expires_within_days")).unwrap_or_default();
        match expires_at {
            Some(at) if at <= self.in_days(soon) && !is_rotated => {
                self.add_key(EXPIRING, key, [("expires_at", day(key, "expires_at"))]);
            }
            None if !is_rotated => {
                let finding = match changing.is_empty() {
                    true => LASTING,
                    false => LASTING_ADMIN,
                };
                self.add_key(finding, key, [("created_at", day(key, "created_at"))]);
            }
            _ => {}
        }
        if sends && !has_budget(key) {
            let workspace = key.get("workspace_id").and_then(Value::as_str);
            let workspace = workspace.and_then(|id| self.workspaces.find(id));
            let is_limited = workspace.is_some_and(|workspace| workspace.has_budget);
            let finding = if is_limited { SHARED_BUDGET } else { UNLIMITED };
            self.add_key(finding, key, []);
        }
        self.review_use(key, sends, used);
        self.review_owner(key, users);
    }

    fn review_use(&mut self, key: &Value, sends: bool, used: Option<&HashSet<String>>) {
        let days = i64::try_from(self.days("unused_days")).unwrap_or_default();
        let since = self.in_days(-days);
        let is_new = timestamp(key, "created_at").is_some_and(|created| created > since);
        let id = key.get("id").and_then(Value::as_str).unwrap_or_default();
        let is_unused = used.is_some_and(|used| !used.contains(id));
        if sends && is_unused && !is_new {
            let days = format!("{days} days");
            let evidence = [
                ("created_at", day(key, "created_at")),
                ("no_request_in", days.into()),
            ];
            self.add_key(UNUSED, key, evidence);
        }
    }

    fn review_owner(&mut self, key: &Value, users: Option<&Users>) {
        let user = key.get("user_id").and_then(Value::as_str);
        let has_address = key
            .get("alert_emails")
            .and_then(Value::as_array)
            .is_some_and(|emails| !emails.is_empty());
        match (user, users) {
            (Some(user), Some(users)) if !users.contains_key(user) => {
                self.add_key(DEPARTED, key, [("user_id", user.into())]);
            }
            (None, _) if !has_address => self.add_key(OWNERLESS, key, []),
            _ => {}
        }
    }

    fn add_key<const N: usize>(
        &mut self,
        finding: FindingKind,
        key: &Value,
        evidence: [(&str, Value); N],
    ) {
        let workspace = key.get("workspace_id").and_then(Value::as_str);
        let workspace = workspace.map(|id| self.workspaces.slug(id).to_owned());
        let mut subject: JsonMap = arguments([
            ("id", field(key, "id")),
            ("name", field(key, "name")),
            ("workspace", workspace.map_or(Value::Null, Value::from)),
        ]);
        subject.extend(arguments(evidence));
        self.findings.add(finding, subject);
    }
}

fn scopes(key: &Value) -> impl Iterator<Item = &str> {
    let scopes = key.get("scopes").and_then(Value::as_array);
    scopes.into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_that_give_rights_escalate() {
        for (scope, is_escalating, is_changing) in [
            ("workspace_service_api_keys.create", true, true),
            ("workspace_users.update", true, true),
            ("organisation_users.delete", false, true),
            ("configs.update", false, true),
            ("workspaces.read", false, false),
            ("completions.write", false, false),
            ("logs.write", false, false),
        ] {
            assert_eq!(
                (escalates(scope), changes(scope)),
                (is_escalating, is_changing),
                "{scope}"
            );
        }
    }
}

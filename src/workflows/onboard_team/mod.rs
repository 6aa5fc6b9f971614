//! `onboard-team`: a plan that brings a team to what a specification says.

mod access;
mod limits;
mod people;

use futures_util::FutureExt;
use portkey_api::domains::{
    api_keys::KeyRateLimit,
    shared::{RateLimits, UsageLimits, WorkspaceRole},
};
use portkey_operation::{Findings, InputError, JsonMap, get};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use self::limits::{LIMIT_FIELDS, complete};
use super::{
    Listing, Steps, Workflow, arguments, is_set,
    list::List,
    plan_draft::{PlanDraft, covers},
    text,
};
use crate::pipeline::CallError;

/// Maximum number of members, and of integrations.
const MAX_MEMBERS: u32 = 20;
const MAX_INTEGRATIONS: u32 = 10;
/// Maximum number of reads: two for each member, pages of lists, and two for each integration.
const MAX_READS: usize = 120;

pub(super) const WORKFLOW: Workflow = Workflow {
    operation: get::<OnboardTeam>("onboard-team", "/")
        .with_search_terms(&[
            "new team",
            "set up a project",
            "workspace with members, models, limits and key",
            "provision a department",
            "neues Team einrichten",
        ])
        .with_rule(check_specification)
        .returns_untrusted_content(),
    needs: &["list-all-workspaces", "create-workspace"],
    needs_of_call,
    listing: Listing::WithOperations,
    max_steps: MAX_READS,
    reads_quietly: false,
    run: |args, steps| async move { run(&args, &steps).await }.boxed(),
};

/// Onboard a team
///
/// Plans what a team lacks: workspace, people, integrations with models and limits, key. Sends nothing;
/// `apply-plan` makes it. Planned again, only what differs.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct OnboardTeam {
    /// Name, or the slug of one that exists.
    ///
    /// Required: all else belongs to it.
    workspace: String,
    /// Description.
    #[schemars(extend("x-publish" = "hidden"))]
    description: Option<String>,
    /// Users with their roles.
    #[schemars(length(max = 20))]
    members: Option<Vec<TeamMember>>,
    /// Integrations to grant.
    #[schemars(length(max = 10))]
    integrations: Option<Vec<TeamIntegration>>,
    /// Budgets.
    #[schemars(extend("x-publish" = "omit-fields"))]
    usage_limits: Option<Vec<UsageLimits>>,
    /// Rate caps.
    #[schemars(extend("x-publish" = "hidden"))]
    rate_limits: Option<Vec<RateLimits>>,
    key: Option<TeamKey>,
    /// Return the steps alone, as a file for `portkey-mcp apply`.
    #[schemars(extend("x-publish" = "hidden"))]
    document: Option<bool>,
}

/// user* (e-mail address or UUID), role (admin|manager|member).
///
/// A member. An address that is unknown is invited.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct TeamMember {
    /// E-mail address or UUID.
    ///
    /// Required: it is who joins.
    user: String,
    /// Role in the workspace; `member` when left out.
    role: Option<WorkspaceRole>,
}

/// slug*, models (slugs), usage_limits, rate_limits, provider_slug.
///
/// An integration that the workspace is granted.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct TeamIntegration {
    /// Slug of the integration.
    ///
    /// Required: it is what is granted.
    slug: String,
    /// Models that have to be enabled.
    models: Option<Vec<String>>,
    /// Budget of the workspace at it.
    #[schemars(length(max = 1))]
    usage_limits: Option<Vec<UsageLimits>>,
    /// Rate cap of the workspace at it.
    #[schemars(length(max = 1))]
    rate_limits: Option<Vec<RateLimits>>,
    /// Slug of the provider that the grant makes.
    provider_slug: Option<String>,
}

/// name*, scopes, usage_limits {}, rate_limits [], expires_at.
///
/// A service key of the workspace.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct TeamKey {
    /// Display name, by which it is found again.
    ///
    /// Required: it shows whether the key exists.
    name: String,
    /// Scopes; `completions.write` when left out.
    scopes: Option<Vec<String>>,
    usage_limits: Option<UsageLimits>,
    rate_limits: Option<Vec<KeyRateLimit>>,
    /// Expiry, RFC 3339.
    expires_at: Option<String>,
}

/// Returns the objects in a list of the arguments.
fn objects<'a>(args: &'a JsonMap, name: &str) -> impl Iterator<Item = &'a JsonMap> {
    let items = args.get(name).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_object)
}

fn check_specification(args: &JsonMap, findings: &mut Findings) {
    people::check_members(args, findings);
    for (list, field, max) in [
        ("members", "user", MAX_MEMBERS),
        ("integrations", "slug", MAX_INTEGRATIONS),
    ] {
        let names: Vec<_> = objects(args, list)
            .map(|item| text(item, field).unwrap_or_default().to_lowercase())
            .collect();
        if names.len() > max as usize {
            findings.add_error(list, format!("has more than {max} entries"));
        }
        for (i, name) in names.iter().enumerate() {
            if names.iter().take(i).any(|other| other == name) {
                findings.add_error(format_args!("{list}[{i}].{field}"), "is given twice");
            }
        }
    }
}

fn needs_of_call(args: &JsonMap) -> Vec<&'static str> {
    let mut needs = Vec::new();
    if objects(args, "members").next().is_some() {
        needs.extend(["list-workspace-members", "add-workspace-member"]);
        let has_address = objects(args, "members")
            .any(|member| text(member, "user").is_some_and(|user| user.contains('@')));
        if has_address {
            needs.extend(["list-users", "list-all-invites", "invite-user"]);
        }
    }
    if objects(args, "integrations").next().is_some() {
        needs.extend([
            "list-integration-workspaces",
            "bulk-update-integration-workspaces",
        ]);
    }
    if objects(args, "integrations").any(|one| one.contains_key("models")) {
        needs.extend(["list-integration-models", "bulk-update-integration-models"]);
    }
    if args.contains_key("key") {
        needs.extend(["list-all-api-keys", "create-api-key"]);
    }
    needs
}

/// The workspace of the team.
struct Team {
    /// Its state; `None` if the plan creates it.
    state: Option<Value>,
}

impl Team {
    /// Returns the id that steps name.
    fn id(&self) -> Value {
        match &self.state {
            Some(state) => state.get("id").cloned().unwrap_or_default(),
            None => "${workspace.id}".into(),
        }
    }

    const fn exists(&self) -> bool {
        self.state.is_some()
    }

    /// Returns true if a value is the id or the slug.
    fn is_named_by(&self, handle: Option<&Value>) -> bool {
        let state = self.state.as_ref();
        state.is_some_and(|state| {
            ["id", "slug"]
                .into_iter()
                .any(|name| handle.is_some() && state.get(name) == handle)
        })
    }

    /// Reads a list of what is in the workspace; nothing is in one that does not exist.
    async fn read_list(
        &self,
        steps: &Steps,
        operation: &'static str,
    ) -> Result<Vec<Value>, CallError> {
        if !self.exists() {
            return Ok(Vec::new());
        }
        let list =
            List::read_pages(steps, operation, arguments([("workspace_id", self.id())])).await?;
        list.require_complete("all of them")?;
        Ok(list.items)
    }
}

async fn run(args: &JsonMap, steps: &Steps) -> Result<Value, CallError> {
    let name = text(args, "workspace").unwrap_or_default();
    let team = Team {
        state: find_workspace(steps, name).await?,
    };
    let mut draft = PlanDraft::default();
    plan_workspace(args, name, &team, &mut draft)?;
    people::plan_members(args, &team, steps, &mut draft).await?;
    access::plan_integrations(args, &team, steps, &mut draft).await?;
    if let Some(Value::Object(key)) = args.get("key") {
        plan_key(key, &team, steps, &mut draft).await?;
    }
    let state = |field: &str| team.state.as_ref().and_then(|state| state.get(field));
    let workspace = arguments([
        (
            "name",
            state("name").cloned().unwrap_or_else(|| name.into()),
        ),
        ("id", state("id").cloned().unwrap_or_default()),
        ("slug", state("slug").cloned().unwrap_or_default()),
        ("exists", team.exists().into()),
    ]);
    let result = arguments([("workspace", workspace.into())]);
    draft.finish(steps, is_set(args, "document"), result).await
}

/// Finds a workspace by its slug, its UUID or its name.
async fn find_workspace(steps: &Steps, name: &str) -> Result<Option<Value>, CallError> {
    if is_handle(name) {
        let args = arguments([
            ("workspace_id", name.into()),
            ("name_format", "plain".into()),
        ]);
        return Ok(Some(steps.read("get-workspace", args).await?));
    }
    let args = arguments([("exact_name", name.into())]);
    let list = List::read_pages(steps, "list-all-workspaces", args).await?;
    let has_name = |workspace: &&Value| {
        let shown = workspace.get("name").and_then(Value::as_str);
        let icon = workspace.get("icon").and_then(Value::as_str);
        // Lists show the icon before the name.
        let plain = shown
            .and_then(|shown| shown.strip_prefix(icon.unwrap_or_default()))
            .map(str::trim_start);
        let is_archived = workspace.get("status").is_some_and(|is| is == "archived");
        !is_archived && (shown == Some(name) || plain == Some(name))
    };
    let found: Vec<_> = list.items.iter().filter(has_name).collect();
    match found[..] {
        [] => {
            list.require_complete(&format!("`{name}`"))?;
            Ok(None)
        }
        [one] => Ok(Some(one.clone())),
        _ => {
            let what = format!("{} workspaces have this name; give the slug", found.len());
            Err(InputError::new("workspace", what).into())
        }
    }
}

fn is_handle(name: &str) -> bool {
    is_uuid(name) || name.starts_with("ws-")
}

fn is_uuid(name: &str) -> bool {
    name.len() == 36
        && name
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Returns the wanted fields that a state does not have, with the parts of limits that the specification does not
/// name as they are. `at` is the path of the fields in the arguments.
///
/// # Errors
/// Returns an error if what stays of a limit contradicts what is wanted.
fn missing_fields<'a>(
    at: &str,
    wanted: impl Iterator<Item = (&'static str, &'a Value)>,
    state: &Value,
) -> Result<JsonMap, InputError> {
    let mut missing = JsonMap::new();
    for (field, value) in wanted {
        let stored = state.get(field).unwrap_or(&Value::Null);
        let value = match LIMIT_FIELDS.contains(&field) {
            true => complete(&format!("{at}{field}"), value, stored)?,
            false => value.clone(),
        };
        if !is_met(field, stored, &value) {
            missing.insert(field.to_owned(), value);
        }
    }
    Ok(missing)
}

/// Returns true if a stored field has all that is wanted. The order of limits says nothing.
fn is_met(field: &str, stored: &Value, wanted: &Value) -> bool {
    match (stored, wanted) {
        (Value::Array(stored), Value::Array(wanted)) if LIMIT_FIELDS.contains(&field) => {
            stored.len() == wanted.len()
                && wanted
                    .iter()
                    .all(|limit| stored.iter().any(|known| covers(known, limit)))
        }
        _ => covers(stored, wanted),
    }
}

/// Plans the workspace itself.
fn plan_workspace(
    args: &JsonMap,
    name: &str,
    team: &Team,
    draft: &mut PlanDraft,
) -> Result<(), InputError> {
    let wanted = ["description", "usage_limits", "rate_limits"];
    let wanted = wanted
        .into_iter()
        .filter_map(|field| Some((field, args.get(field)?)));
    let Some(state) = &team.state else {
        let mut create = arguments([("name", name.into())]);
        create.extend(wanted.map(|(field, value)| (field.to_owned(), value.clone())));
        draft.add("workspace", "create-workspace", create);
        return Ok(());
    };
    let patch = missing_fields("", wanted, state)?;
    if !patch.is_empty() {
        let update = arguments([("workspace_id", team.id()), ("patch", patch.into())]);
        draft.add("workspace", "update-workspace", update);
    }
    Ok(())
}

/// Plans the key, which is found by its name.
async fn plan_key(
    key: &JsonMap,
    team: &Team,
    steps: &Steps,
    draft: &mut PlanDraft,
) -> Result<(), CallError> {
    let name = text(key, "name").unwrap_or_default();
    let keys = team.read_list(steps, "list-all-api-keys").await?;
    let existing: Vec<_> = keys
        .iter()
        .filter(|other| other.get("name").is_some_and(|other| other == name))
        .collect();
    let limits = ["scopes", "usage_limits", "rate_limits", "expires_at"];
    let wanted = limits
        .into_iter()
        .filter_map(|field| Some((field, key.get(field)?)));
    match existing[..] {
        [] => {
            let mut create = arguments([
                ("type", "workspace".into()),
                ("sub_type", "service".into()),
                ("name", name.into()),
                ("workspace_id", team.id()),
                ("scopes", json!(["completions.write"])),
            ]);
            create.extend(wanted.map(|(field, value)| (field.to_owned(), value.clone())));
            draft.add("key", "create-api-key", create);
            draft.note("the key is shown or delivered once, when the plan is applied");
        }
        [one] => {
            let patch = missing_fields("key.", wanted, one)?;
            if !patch.is_empty() {
                let id = one.get("id").cloned().unwrap_or_default();
                let update = arguments([("id", id), ("patch", patch.into())]);
                draft.add("key", "update-api-key", update);
            }
        }
        _ => {
            let what = format!("{} keys of the workspace have this name", existing.len());
            return Err(InputError::new("key.name", what).into());
        }
    }
    Ok(())
}

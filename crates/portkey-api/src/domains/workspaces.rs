//! Workspaces: the teams of an organisation, with their limits and defaults.

use portkey_operation::{
    ArgumentAlias, Findings, JsonMap, Nullable, Open, Operation, Risk, UpdateField, UpdateRules,
    alias, delete, get, post, put, risk,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::shared::{RateLimits, Tags, UsageLimits, warn_of_late_alert};
/// Operations of the domain `workspaces`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListWorkspaces>("list-all-workspaces", "/admin/workspaces")
        .with_search_terms(&[
            "teams",
            "projects",
            "departments",
            "tenants",
            "Arbeitsbereiche",
        ])
        .aliases(&["list-workspaces"])
        .scopes(&["workspaces.list"]),
    post::<CreateWorkspace>("create-workspace", "/admin/workspaces")
        .with_risks(&[risk(Risk::Privilege, "lets users into the workspace").if_given("users")])
        .with_argument_aliases(DEFAULTS_ALIASES)
        .with_search_terms(&[
            "team",
            "project",
            "department",
            "tenant",
            "Arbeitsbereich anlegen",
        ])
        .with_rule(warn_of_late_alert)
        .scopes(&["workspaces.create"]),
    get::<GetWorkspace>("get-workspace", "/admin/workspaces/{workspace_id}")
        .with_search_terms(&["team", "project", "settings", "details", "Arbeitsbereich"])
        .with_sensitive_fields(&["users[].email", "users[].first_name", "users[].last_name"])
        .scopes(&["workspaces.read"]),
    put::<UpdateWorkspace>("update-workspace", "/admin/workspaces/{workspace_id}")
        .with_risks(&[
            risk(
                Risk::Production,
                "changes what requests of the workspace get",
            )
            .if_given("defaults"),
            risk(Risk::Privilege, "changes what members may see and do")
                .if_given("security_settings"),
            risk(Risk::Privilege, "changes the settings of the workspace").if_given("settings"),
            risk(Risk::Budget, "raises or lifts a budget").if_raised("usage_limits"),
            risk(Risk::Budget, "raises or lifts a rate limit").if_raised("rate_limits"),
        ])
        .with_update(
            UpdateRules::read_by("get-workspace")
                .with_read_arguments(&[("name_format", "plain")])
                .with_fields(&[UpdateField::merged("settings")])
                .with_create_only(&["users"]),
        )
        .with_argument_aliases(DEFAULTS_ALIASES)
        .with_search_terms(&[
            "team",
            "rename",
            "project",
            "budget",
            "edit",
            "Arbeitsbereich ändern",
        ])
        .with_rule(check_workspace_update)
        .scopes(&["workspaces.update"]),
    delete::<DeleteWorkspace>("delete-workspace", "/admin/workspaces/{workspace_id}")
        .with_search_terms(&[
            "team",
            "project",
            "tear down",
            "tenant",
            "Arbeitsbereich löschen",
        ])
        .with_body()
        .scopes(&["workspaces.delete"]),
];

/// Fields of `defaults` that other servers take by themselves.
const DEFAULTS_ALIASES: &[ArgumentAlias] = &[
    alias("is_default", "defaults.is_default"),
    alias("metadata", "defaults.metadata"),
    alias("input_guardrails", "defaults.input_guardrails"),
    alias("output_guardrails", "defaults.output_guardrails"),
    alias("user_api_key_config", "defaults.user_api_key_config"),
];

/// List workspaces
///
/// Returns the organisation's workspaces with their limits and defaults, one page at a time.
#[derive(Deserialize, JsonSchema)]
pub struct ListWorkspaces {
    /// Items per page.
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Part of the name; case matters.
    pub name: Option<String>,
    /// The whole name.
    pub exact_name: Option<String>,
    /// In any of these states: active, archived.
    pub status: Option<Vec<Open<Status>>>,
}

/// Whether a workspace is in use.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Status {
    Active,
    Archived,
}

/// Create a workspace
///
/// Adds a workspace and returns it with its id and `ws-` slug.
#[derive(Deserialize, JsonSchema)]
pub struct CreateWorkspace {
    #[expect(missing_docs, reason = "the name says it")]
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// What its requests carry unless they say otherwise.
    pub defaults: Option<NewDefaults>,
    /// UUIDs of users to add as members.
    pub users: Option<Vec<String>>,
    /// Budgets.
    pub usage_limits: Option<Vec<UsageLimits>>,
    /// Rate caps.
    pub rate_limits: Option<Vec<RateLimits>>,
    /// Emoji shown before the name.
    pub icon: Nullable<String>,
}

/// What a new workspace's requests carry.
#[derive(Deserialize, JsonSchema)]
pub struct NewDefaults {
    /// Names to text.
    pub metadata: Option<Tags>,
}

/// Get a workspace
///
/// Returns one workspace: limits, defaults, guardrails, members. A deleted one is refused with 403.
#[derive(Deserialize, JsonSchema)]
pub struct GetWorkspace {
    /// UUID or slug.
    pub workspace_id: String,
    /// `plain` leaves the icon out of the name; `display` when left out.
    pub name_format: Option<NameFormat>,
    /// Add what it has used.
    pub include_usage: Option<bool>,
}

/// How a name is written.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum NameFormat {
    Display,
    Plain,
}

/// Update a workspace
///
/// Keeps what is left out, but replaces `defaults` and `security_settings` (an object of flags) whole:
/// read them first. Also settings {debug_log, user_key_metadata, user_api_key_count}. Reads may lag.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateWorkspace {
    /// UUID or slug.
    pub workspace_id: String,
    /// Display name, without the icon.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    #[expect(missing_docs, reason = "the struct says it")]
    pub defaults: Option<Defaults>,
    /// As in `create-workspace`.
    #[schemars(extend("x-publish" = "omit-fields"))]
    pub usage_limits: Nullable<Vec<UsageLimits>>,
    /// As in `create-workspace`.
    #[schemars(extend("x-publish" = "omit-fields"))]
    pub rate_limits: Nullable<Vec<RateLimits>>,
    /// Emoji shown before the name; empty text removes it.
    pub icon: Nullable<String>,
    /// All flags; refused unless the organisation lets its workspaces override them.
    #[schemars(extend("x-publish" = "hidden"))]
    pub security_settings: Option<JsonMap>,
    /// Logging and user keys, such as `debug_log`, `user_api_key_count`, `user_api_key_rotation_period`.
    #[schemars(extend("x-publish" = "hidden"))]
    pub settings: Option<JsonMap>,
}

/// metadata {}, input_guardrails and output_guardrails (slugs), user_api_key_config (config slug or UUID;
/// null clears): what is left out is cleared.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct Defaults {
    pub metadata: Option<Tags>,
    pub input_guardrails: Option<Vec<String>>,
    pub output_guardrails: Option<Vec<String>>,
    pub user_api_key_config: Nullable<String>,
}

/// Delete a workspace
///
/// Archives the workspace; the default one cannot go. Refused with 409 while anything is in it: first
/// delete its prompts, partials, configs, guardrails, providers and keys. This cannot be undone.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteWorkspace {
    /// UUID or slug.
    pub workspace_id: String,
    /// Its exact name without the icon, to confirm.
    ///
    /// Required: the documents and Terraform; without it 400.
    pub name: String,
    /// Deletes nothing inside, whatever the documents say.
    pub force_delete: Option<bool>,
}

fn check_workspace_update(args: &JsonMap, findings: &mut Findings) {
    warn_of_late_alert(args, findings);
    let Some(defaults) = args
        .get("defaults")
        .and_then(|defaults| defaults.as_object())
    else {
        return;
    };
    let lists = ["metadata", "input_guardrails", "output_guardrails"];
    let cleared = lists
        .into_iter()
        .filter(|name| !defaults.contains_key(*name));
    let cleared: Vec<_> = cleared.map(|name| format!("`{name}`")).collect();
    if !cleared.is_empty() {
        let cleared = cleared.join(", ");
        findings.warn_of_cleared(format!(
            "`defaults` is replaced as a whole: {cleared} not given is cleared"
        ));
    }
}

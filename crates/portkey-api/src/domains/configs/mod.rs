//! Configs, which make the gateway route, retry, cache and guard requests.

mod document;

use portkey_merge_patch::{EntryKey, KeyedList};
use portkey_operation::{
    ArgumentAlias, Findings, JsonMap, Operation, Risk, Secret, Stability, UpdateField, UpdateRules,
    delete, get, part_alias, post, put, risk,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::shared::key_field;

/// Operations of the domain `configs`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListConfigs>("list-all-configs", "/configs")
        .with_search_terms(&[
            "routing rules",
            "gateway settings overview",
            "load balancers",
            "fallback chains",
            "Konfigurationen",
        ])
        .aliases(&["list-configs"])
        .scopes(&["configs.list"]),
    post::<CreateConfig>("create-config", "/configs")
        .with_argument_aliases(DOCUMENT_ALIASES)
        .with_search_terms(&[
            "fallback",
            "load balancing",
            "retry",
            "routing rule",
            "caching",
            "Konfiguration anlegen",
        ])
        .with_rule(warn_ineffective_fields)
        .scopes(&["configs.create"]),
    get::<GetConfig>("get-config", "/configs/{slug}")
        .with_search_terms(&[
            "routing",
            "gateway settings",
            "show rules",
            "strategy",
            "Konfiguration ansehen",
        ])
        .with_secret_fields(&["config", "data.config"])
        .scopes(&["configs.read"]),
    // Each call replaces the document that live traffic uses, by a new version.
    put::<UpdateConfig>("update-config", "/configs/{slug}")
        .with_risks(&[risk(
            Risk::Production,
            "changes how requests with this config are routed",
        )])
        .with_update(
            UpdateRules::read_by("get-config")
                .with_fields(&[UpdateField::replaced("config").as_json_text()])
                .with_lists(TARGET_LISTS)
                .with_version("version_id")
                .with_create_only(&["workspace_id"])
                .with_addresses(&["config"]),
        )
        .with_argument_aliases(DOCUMENT_ALIASES)
        .with_search_terms(&[
            "routing rules",
            "load balancing",
            "fallback order",
            "retries",
            "edit gateway settings",
            "Konfiguration ändern",
        ])
        .with_rule(check_config_update)
        .destructive()
        .not_idempotent()
        .scopes(&["configs.update"]),
    delete::<DeleteConfig>("delete-config", "/configs/{slug}")
        .with_search_terms(&[
            "routing",
            "gateway settings",
            "drop rule",
            "Konfiguration löschen",
        ])
        .scopes(&["configs.delete"]),
    get::<ListVersions>("list-config-versions", "/configs/{slug}/versions")
        .with_search_terms(&[
            "history",
            "revisions",
            "changes over time",
            "rollback",
            "Versionen",
            "earlier",
        ])
        .with_secret_fields(&["data[].config"])
        .scopes(&["configs.read"]),
    get::<GetVersion>(
        "get-config-version",
        "/configs/{slug}/versions/{version_id}",
    )
    .with_stability(Stability::Preview)
    .with_search_terms(&["older revision", "earlier rules", "frühere Konfiguration"])
    .with_secret_fields(&["config"])
    .scopes(&["configs.read"]),
];

/// Targets are told apart by their name, or else by what they lead to. Two targets may lead to the
/// same provider; the list is then replaced as a whole.
const TARGET_KEYS: &[EntryKey] = &[
    EntryKey(&[key_field("name")]),
    EntryKey(&[key_field("virtual_key")]),
    EntryKey(&[key_field("provider")]),
];

/// The lists of a document whose entries a patch may name by a key.
const TARGET_LISTS: &[KeyedList] = &[
    KeyedList::new("config.targets", TARGET_KEYS),
    KeyedList::new("config.targets[].targets", TARGET_KEYS),
];

/// Parts of the document that other servers take by themselves.
const DOCUMENT_ALIASES: &[ArgumentAlias] = &[
    part_alias("cache_mode", "config.cache.mode"),
    part_alias("cache_max_age", "config.cache.max_age"),
    part_alias("retry_attempts", "config.retry.attempts"),
    part_alias("retry_on_status_codes", "config.retry.on_status_codes"),
    part_alias("strategy_mode", "config.strategy.mode"),
    part_alias("after_request_hooks", "config.after_request_hooks"),
    part_alias("api_key", "config.api_key"),
    part_alias("before_request_hooks", "config.before_request_hooks"),
    part_alias("cache", "config.cache"),
    part_alias("custom_host", "config.custom_host"),
    part_alias("default_params", "config.default_params"),
    part_alias("drop_params", "config.drop_params"),
    part_alias("forward_headers", "config.forward_headers"),
    part_alias("input_guardrails", "config.input_guardrails"),
    part_alias("output_guardrails", "config.output_guardrails"),
    part_alias("override_params", "config.override_params"),
    part_alias("provider", "config.provider"),
    part_alias("request_timeout", "config.request_timeout"),
    part_alias("retry", "config.retry"),
    part_alias("strategy", "config.strategy"),
    part_alias("targets", "config.targets"),
    part_alias("virtual_key", "config.virtual_key"),
];

/// List configs
///
/// Returns a workspace's configs without their documents, one page at a time. Also return_last_used.
#[derive(Deserialize, JsonSchema)]
pub struct ListConfigs {
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Items per page.
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
    /// Add when each was last used.
    #[schemars(extend("x-publish" = "hidden"))]
    pub return_last_used: Option<bool>,
}

/// Create a config
///
/// Stores a config document as its first version; returns its ids. The slug (`pc-…`) that other tools
/// take is in `list-all-configs`. `isDefault` has no effect.
#[derive(Deserialize, JsonSchema)]
pub struct CreateConfig {
    #[expect(missing_docs, reason = "the name says it")]
    pub name: Option<String>,
    /// Gateway config: strategy, targets, retry, cache, guardrails.
    pub config: Option<Secret<JsonMap>>,
    /// Portkey drops it without a word: no operation sets it. Reads say `is_default`.
    #[serde(rename = "isDefault")]
    #[schemars(range(min = 0, max = 1), extend("x-publish" = "hidden"))]
    pub is_default: Option<u8>,
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
}

/// Get a config
///
/// Returns one config; its document `config` is a string of JSON and may hold credentials in clear.
#[derive(Deserialize, JsonSchema)]
pub struct GetConfig {
    /// Config slug, `pc-…`.
    pub slug: String,
}

/// Update a config
///
/// Renames a config or replaces its document, which live traffic follows at once; the old one stays
/// in `list-config-versions`.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateConfig {
    /// Config slug, `pc-…`.
    pub slug: String,
    #[expect(missing_docs, reason = "the name says it")]
    pub name: Option<String>,
    /// The whole document.
    pub config: Option<Secret<JsonMap>>,
    /// State, such as `active`.
    pub status: Option<String>,
}

/// Delete a config
///
/// Removes the config; requests that name it fail. Refused while a workspace pins it on its user
/// keys. This cannot be undone.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteConfig {
    /// Config slug, `pc-…`.
    pub slug: String,
}

/// List a config's versions
///
/// Returns every saved version with its document as a string of JSON.
#[derive(Deserialize, JsonSchema)]
pub struct ListVersions {
    /// Config slug, `pc-…`.
    pub slug: String,
}

/// Spellings of the flag for a default config, which Portkey drops without an error.
const DEFAULT_FLAG_NAMES: [&str; 2] = ["isDefault", "is_default"];

/// Checks the document, and warns about fields without effect, which are sent all the same.
fn warn_ineffective_fields(args: &JsonMap, findings: &mut Findings) {
    if DEFAULT_FLAG_NAMES
        .iter()
        .any(|mark| args.contains_key(*mark))
    {
        findings.warn("`isDefault` is dropped by Portkey: no operation makes a config the default");
    }
    document::check_document(args, findings);
}

/// Rejects an update that consists of the default flag: it would be a success that changes nothing.
///
/// Any other update gets the warnings of a new config.
fn check_config_update(args: &JsonMap, findings: &mut Findings) {
    let is_flag = |name: &str| DEFAULT_FLAG_NAMES.contains(&name);
    let flag = args.keys().find(|name| is_flag(name));
    if let Some(mark) = flag
        && args.keys().all(|name| name == "slug" || is_flag(name))
    {
        let what = "is dropped by Portkey, and nothing else to change is given; it takes `name`, \
                    `config`, `status`";
        findings.add_error(mark, what);
        return;
    }
    warn_ineffective_fields(args, findings);
}

/// Get a config version
///
/// Returns one version of a config with its document. `list-config-versions` has their ids.
#[derive(Deserialize, JsonSchema)]
pub struct GetVersion {
    /// Config slug, `pc-…`.
    pub slug: String,
    /// Id of the version.
    pub version_id: String,
}

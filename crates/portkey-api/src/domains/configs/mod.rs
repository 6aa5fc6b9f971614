//! Configs, which make the gateway route, retry, cache and guard requests.

mod document;

use portkey_operation::{Findings, JsonMap, Operation, Secret, delete, get, post, put};
use schemars::JsonSchema;
use serde::Deserialize;

/// Operations of the domain `configs`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListConfigs>("list-all-configs", "/configs")
        .found_by(&[
            "routing rules",
            "gateway settings overview",
            "load balancers",
            "fallback chains",
            "Konfigurationen",
        ])
        .aliases(&["list-configs"])
        .scopes(&["configs.list"]),
    post::<CreateConfig>("create-config", "/configs")
        .found_by(&[
            "fallback",
            "load balancing",
            "retry",
            "routing rule",
            "caching",
            "Konfiguration anlegen",
        ])
        .document("config", document::FIELDS)
        .rule(new_config_is_effective)
        .scopes(&["configs.create"]),
    get::<GetConfig>("get-config", "/configs/{slug}")
        .found_by(&[
            "routing",
            "gateway settings",
            "show rules",
            "strategy",
            "Konfiguration ansehen",
        ])
        .secret(&["config", "data.config"])
        .scopes(&["configs.read"]),
    // Each call replaces the document that live traffic uses, by a new version.
    put::<UpdateConfig>("update-config", "/configs/{slug}")
        .found_by(&[
            "routing rules",
            "load balancing",
            "fallback order",
            "retries",
            "edit gateway settings",
            "Konfiguration ändern",
        ])
        .document("config", document::FIELDS)
        .rule(config_update_is_effective)
        .destructive()
        .not_idempotent()
        .scopes(&["configs.update"]),
    delete::<DeleteConfig>("delete-config", "/configs/{slug}")
        .found_by(&[
            "routing",
            "gateway settings",
            "drop rule",
            "Konfiguration löschen",
        ])
        .scopes(&["configs.delete"]),
    get::<ListVersions>("list-config-versions", "/configs/{slug}/versions")
        .found_by(&[
            "history",
            "revisions",
            "changes over time",
            "rollback",
            "Versionen",
            "earlier",
        ])
        .secret(&["data[].config"])
        .scopes(&["configs.read"]),
];

/// List configs
///
/// Returns a workspace's configs without their documents, one page at a time.
#[derive(Deserialize, JsonSchema)]
pub struct ListConfigs {
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Items per page.
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
}

/// Create a config
///
/// Stores a config document as its first version; returns its ids. The slug (`pc-…`) that other tools
/// take is in `list-all-configs`. `isDefault` has no effect.
#[derive(Deserialize, JsonSchema)]
pub struct CreateConfig {
    /// Display name.
    pub name: Option<String>,
    /// Gateway config: strategy, targets, retry, cache, guardrails.
    pub config: Option<Secret<JsonMap>>,
    /// Portkey drops it without a word: no operation sets it. Reads say `is_default`.
    #[serde(rename = "isDefault")]
    #[schemars(range(min = 0, max = 1), extend("x-unlisted" = true))]
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
    /// Display name.
    pub name: Option<String>,
    /// The whole document; nothing is merged.
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
const DEFAULT_MARKS: [&str; 2] = ["isDefault", "is_default"];

/// Warns about a document or a flag without effect, which is sent all the same.
fn new_config_is_effective(args: &JsonMap, findings: &mut Findings) {
    if DEFAULT_MARKS.iter().any(|mark| args.contains_key(*mark)) {
        findings.warn("`isDefault` is dropped by Portkey: no operation makes a config the default");
    }
    document::warn_of_unread_fields(args, findings);
}

/// Rejects an update that consists of the default flag: it would be a success that changes nothing.
///
/// Any other update gets the warnings of a new config.
fn config_update_is_effective(args: &JsonMap, findings: &mut Findings) {
    let is_mark = |name: &str| DEFAULT_MARKS.contains(&name);
    let mark = args.keys().find(|name| is_mark(name));
    if let Some(mark) = mark
        && args.keys().all(|name| name == "slug" || is_mark(name))
    {
        let what = "is dropped by Portkey, and nothing else to change is given; it takes `name`, \
                    `config`, `status`";
        findings.add(mark, what);
        return;
    }
    new_config_is_effective(args, findings);
}

//! Log exports: jobs that write the logs of a workspace to a file.

use portkey_operation::{
    ArgumentAlias, Effect, EndTime, JsonMap, Open, Operation, StartTime, TextOrList, UpdateRules,
    alias, get, post, put,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Operations of the domain `log-exports`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListLogExports>("list-all-log-exports", "/logs/exports")
        .with_search_terms(&[
            "past dumps",
            "export history",
            "downloads",
            "bulk extracts",
            "Exporte",
        ])
        .aliases(&["list-log-exports"])
        .enterprise()
        .scopes(EXPORT_SCOPES),
    post::<CreateLogExport>("create-log-export", "/logs/exports")
        .with_argument_aliases(EXPORT_ALIASES)
        .with_search_terms(&[
            "dump",
            "extract to CSV",
            "JSONL file",
            "archive",
            "backup of traffic",
            "Logs exportieren",
        ])
        .enterprise()
        .scopes(EXPORT_SCOPES),
    get::<GetFieldRestrictions>(
        "get-log-export-field-restrictions",
        "/logs/exports/field-restrictions",
    )
    .with_search_terms(&[
        "privacy",
        "hidden columns",
        "redaction",
        "forbidden",
        "which columns",
        "Datenschutz",
    ])
    .enterprise()
    .scopes(EXPORT_SCOPES),
    get::<GetLogExport>("get-log-export", "/logs/exports/{export_id}")
        .with_search_terms(&[
            "is it finished",
            "how far",
            "export state",
            "ready",
            "Fortschritt",
        ])
        .enterprise()
        .scopes(EXPORT_SCOPES),
    put::<UpdateLogExport>("update-log-export", "/logs/exports/{export_id}")
        .with_update(UpdateRules::read_by("get-log-export"))
        .with_argument_aliases(EXPORT_ALIASES)
        .with_search_terms(&[
            "edit",
            "change date range",
            "other columns",
            "adjust",
            "ändern",
        ])
        .enterprise()
        .scopes(EXPORT_SCOPES),
    post::<CancelLogExport>("cancel-log-export", "/logs/exports/{export_id}/cancel")
        .without_patch("it performs an action and changes no field")
        .with_search_terms(&["abort", "kill", "halt", "terminate", "abbrechen"])
        .with_effect(Effect::Update)
        .destructive()
        .enterprise()
        .scopes(EXPORT_SCOPES),
    get::<DownloadLogExport>("download-log-export", "/logs/exports/{export_id}/download")
        .with_search_terms(&[
            "get the dump",
            "fetch CSV",
            "save locally",
            "link",
            "herunterladen",
        ])
        .enterprise()
        .scopes(EXPORT_SCOPES)
        .returns_secrets(&["signed_url"]),
    post::<StartLogExport>("start-log-export", "/logs/exports/{export_id}/start")
        .without_patch("it performs an action and changes no field")
        .with_search_terms(&["kick off", "launch", "begin", "execute", "starten"])
        .with_effect(Effect::Update)
        .not_idempotent()
        .enterprise()
        .scopes(EXPORT_SCOPES),
];

/// Filters that other servers take by themselves.
const EXPORT_ALIASES: &[ArgumentAlias] = &[
    alias("time_min", "filters.time_of_generation_min"),
    alias("time_max", "filters.time_of_generation_max"),
    alias("time_of_generation_min", "filters.time_of_generation_min"),
    alias("time_of_generation_max", "filters.time_of_generation_max"),
    alias("cost_min", "filters.cost_min"),
    alias("cost_max", "filters.cost_max"),
    alias("total_units_min", "filters.total_units_min"),
    alias("total_units_max", "filters.total_units_max"),
    alias("ai_model", "filters.ai_model"),
    alias("requested_fields", "requested_data"),
];

const EXPORT_SCOPES: &[&str] = &["logs.export"];

/// List log exports
///
/// Returns the export jobs with their filters and status. A user's key sees only that user's own.
/// Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct ListLogExports {
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
}

/// Create a log export
///
/// Drafts an export and returns its id and how many logs it will hold; `start-log-export` runs it.
/// Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct CreateLogExport {
    // Required: OpenAPI, and every body in public programs.
    #[expect(missing_docs, reason = "the struct says it")]
    pub filters: ExportFilters,
    /// What of each, unless the workspace denies it: id, trace_id, created_at, request, response, is_success,
    /// ai_org, ai_model, {req,res,total}_units, request_url, cost, cost_currency, response_time,
    /// response_status_code, mode, config, prompt_slug, metadata.
    ///
    /// Required: OpenAPI, and each body in public programs has it.
    pub requested_data: Vec<Open<ExportField>>,
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// What it is for.
    pub description: Option<String>,
}

/// Get log export field restrictions
///
/// Returns which fields of logs a workspace keeps out of exports. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct GetFieldRestrictions {
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
}

/// Get a log export
///
/// Returns one export job; its status is draft, in_progress, success, failed or stopped. Enterprise
/// plan.
#[derive(Deserialize, JsonSchema)]
pub struct GetLogExport {
    /// UUID.
    pub export_id: String,
}

/// Update a log export
///
/// Replaces the filters of a draft, and its fields and `description` where given. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateLogExport {
    /// UUID.
    pub export_id: String,
    /// As in `create-log-export`.
    ///
    /// Required: OpenAPI, and each body in public programs has it.
    pub filters: ExportFilters,
    /// As in `create-log-export`.
    pub requested_data: Option<Vec<Open<ExportField>>>,
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// What it is for.
    #[schemars(extend("x-publish" = "hidden"))]
    pub description: Option<String>,
}

/// Cancel a log export
///
/// Stops a running job; what it has written is lost and it cannot be resumed. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct CancelLogExport {
    /// UUID.
    pub export_id: String,
}

/// Download a log export
///
/// Returns a short-lived `signed_url` to the file of a finished job. Whoever has the URL can read the
/// logs. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct DownloadLogExport {
    /// UUID.
    pub export_id: String,
}

/// Start a log export
///
/// Runs a drafted job; look at its status with `get-log-export`. Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct StartLogExport {
    /// UUID.
    pub export_id: String,
}

/// Which logs: time_of_generation_{min,max} (RFC 3339), cost_{min,max} (US cents),
/// {total_units,prompt_token,completion_token,weighted_feedback}_{min,max}, metadata {}, ai_model,
/// workspace_slug; comma-separated ai_org_model (provider__model), status_code, virtual_keys, trace_id,
/// configs, prompt_slug; page_size (at most 50000), current_page (zero-based).
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct ExportFilters {
    pub time_of_generation_min: Option<StartTime>,
    pub time_of_generation_max: Option<EndTime>,
    pub total_units_min: Option<u64>,
    pub total_units_max: Option<u64>,
    #[schemars(range(min = 0))]
    pub cost_min: Option<f64>,
    #[schemars(range(min = 0))]
    pub cost_max: Option<f64>,
    pub ai_model: Option<TextOrList>,
    pub prompt_token_min: Option<u64>,
    pub prompt_token_max: Option<u64>,
    pub completion_token_min: Option<u64>,
    pub completion_token_max: Option<u64>,
    pub status_code: Option<String>,
    pub metadata: Option<JsonMap>,
    pub ai_org_model: Option<TextOrList>,
    #[schemars(range(min = -10, max = 10))]
    pub weighted_feedback_min: Option<f64>,
    #[schemars(range(min = -10, max = 10))]
    pub weighted_feedback_max: Option<f64>,
    pub virtual_keys: Option<TextOrList>,
    pub trace_id: Option<TextOrList>,
    pub configs: Option<TextOrList>,
    pub workspace_slug: Option<String>,
    pub prompt_slug: Option<TextOrList>,
    #[schemars(range(min = 1, max = 50000))]
    pub page_size: Option<u32>,
    pub current_page: Option<u32>,
}

/// A part of a log.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum ExportField {
    Id,
    TraceId,
    CreatedAt,
    Request,
    Response,
    IsSuccess,
    AiOrg,
    AiModel,
    ReqUnits,
    ResUnits,
    TotalUnits,
    RequestUrl,
    Cost,
    CostCurrency,
    ResponseTime,
    ResponseStatusCode,
    Mode,
    Config,
    PromptSlug,
    Metadata,
}

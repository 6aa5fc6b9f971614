//! Logs: requests and their answers, recorded by the gateway or inserted by callers.

use portkey_operation::{
    ApiBase, ArgumentAlias, Findings, JsonMap, OneOrMany, Operation, Secret, alias, get, post,
    spread_alias,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::shared::Tags;
/// Operations of the domain `logs`.
pub const OPERATIONS: &[Operation] = &[
    post::<InsertLogs>("insert-logs", "/logs")
        .with_argument_aliases(ENTRY_ALIASES)
        .with_search_terms(&[
            "import",
            "push",
            "ingest",
            "upload traces",
            "custom",
            "nachtragen",
        ])
        .with_base(ApiBase::Gateway)
        .with_bare_body("logs")
        .with_unmasked_reads()
        .with_rule(require_log_entry)
        .aliases(&["insert-log"])
        .scopes(&["completions.write and logs.write"]),
    get::<GetLog>("get-log", "/logs/{log_id}")
        .with_search_terms(&[
            "trace",
            "single call",
            "what was sent",
            "debug",
            "prompt and completion",
            "Protokoll",
        ])
        .with_base(ApiBase::Gateway)
        .scopes(&["logs.read", "completions.write", "logs.write"])
        .returns_untrusted_content()
        .with_secret_fields(&["portkeyHeaders.*"])
        .with_sensitive_fields(&[
            "request",
            "response",
            "finalUntransformedRequest",
            "transformedRequest",
            "originalResponse",
            "metrics.metadata.value",
        ]),
];

/// Parts of one entry that other servers take by themselves.
const ENTRY_ALIASES: &[ArgumentAlias] = &[
    alias("request_url", "logs.request.url"),
    alias("request_provider", "logs.request.provider"),
    alias("request_method", "logs.request.method"),
    alias("request_headers", "logs.request.headers"),
    alias("request_body", "logs.request.body"),
    alias("response_status", "logs.response.status"),
    alias("response_headers", "logs.response.headers"),
    alias("response_body", "logs.response.body"),
    alias("response_time", "logs.response.response_time"),
    alias("streaming_mode", "logs.response.streamingMode"),
    alias("metadata_organization", "logs.metadata.organization"),
    alias("metadata_user", "logs.metadata.user"),
    alias("metadata_trace_id", "logs.metadata.traceId"),
    alias("metadata_span_id", "logs.metadata.spanId"),
    alias("metadata_span_name", "logs.metadata.spanName"),
    alias("metadata_parent_span_id", "logs.metadata.parentSpanId"),
    spread_alias("metadata_custom", "logs.metadata"),
];

/// Insert logs
///
/// Records calls that did not pass the gateway, so that they count in logs and analytics. Logs cannot
/// be removed. Admin keys are refused.
#[derive(Deserialize, JsonSchema)]
pub struct InsertLogs {
    /// A call, or a list of calls.
    ///
    /// Required: it is the whole body.
    pub logs: OneOrMany<LogEntry>,
}

/// One call to a model.
#[derive(Deserialize, JsonSchema)]
pub struct LogEntry {
    /// What was asked.
    ///
    /// Required: OpenAPI.
    pub request: LoggedRequest,
    /// What was answered.
    ///
    /// Required: OpenAPI.
    pub response: LoggedResponse,
    /// By name; traceId, spanId, spanName and parentSpanId place the call in a trace.
    pub metadata: Option<JsonMap>,
}

/// What was asked.
#[derive(Deserialize, JsonSchema)]
pub struct LoggedRequest {
    /// Full URL.
    ///
    /// Required: OpenAPI.
    pub url: String,
    /// HTTP method.
    pub method: Option<String>,
    /// Without credentials: they are stored as they are.
    pub headers: Option<Secret<Tags>>,
    /// As sent; its `model` is the log's.
    ///
    /// Required: OpenAPI.
    pub body: Secret<JsonMap>,
    /// Who answered, such as `openai`.
    #[schemars(extend("x-publish" = "hidden"))]
    pub provider: Option<String>,
}

/// What was answered.
#[derive(Deserialize, JsonSchema)]
pub struct LoggedResponse {
    /// HTTP status.
    pub status: Option<u16>,
    /// By name.
    pub headers: Option<Secret<Tags>>,
    /// As received; its `usage` is the log's.
    ///
    /// Required: OpenAPI.
    pub body: Secret<JsonMap>,
    /// Milliseconds.
    pub response_time: Option<u64>,
    /// Another name of `response_time` in the documents.
    #[schemars(extend("x-publish" = "hidden"))]
    pub time: Option<u64>,
    /// Whether it came as a stream.
    #[serde(rename = "streamingMode")]
    #[schemars(extend("x-publish" = "hidden"))]
    pub streaming_mode: Option<bool>,
}

/// Get a log
///
/// Returns one request with its answer, headers, tokens, latency and cost (US cents).
#[derive(Deserialize, JsonSchema)]
pub struct GetLog {
    /// UUID.
    pub log_id: String,
}

fn require_log_entry(args: &JsonMap, findings: &mut Findings) {
    if args
        .get("logs")
        .and_then(|logs| logs.as_array())
        .is_some_and(Vec::is_empty)
    {
        findings.add_error("logs", "takes at least 1, got 0");
    }
}

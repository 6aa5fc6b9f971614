//! Logs: requests and their answers, recorded by the gateway or handed in.

use schemars::JsonSchema;
use serde::Deserialize;

use super::shared::Tags;
use portkey_mcp_operation::{Base, JsonMap, Operation, Secret, get, post};

/// The room's table.
pub const OPERATIONS: &[Operation] = &[
    post::<InsertLogs>("insert-logs", "/logs")
        .found_by(&["import", "push", "ingest", "upload traces", "custom", "nachtragen"])
        .on(Base::Gateway)
        .bare_body("logs")
        .aliases(&["insert-log"])
        .scopes(&["completions.write and logs.write"]),
    get::<GetLog>("get-log", "/logs/{log_id}")
        .found_by(&[
            "trace",
            "single call",
            "what was sent",
            "debug",
            "prompt and completion",
            "Protokoll",
        ])
        .on(Base::Gateway)
        .scopes(&["logs.read", "completions.write", "logs.write"])
        .untrusted()
        .secret(&["portkeyHeaders.*"])
        .sensitive(&[
            "request",
            "response",
            "finalUntransformedRequest",
            "transformedRequest",
            "originalResponse",
            "metrics.metadata.value",
        ]),
];

/// Insert logs
///
/// Records calls that did not pass the gateway, so that they count in logs and analytics. Logs cannot
/// be removed. Admin keys are refused.
#[derive(Deserialize, JsonSchema)]
pub struct InsertLogs {
    /// The calls.
    #[schemars(length(min = 1))]
    pub logs: Vec<LogEntry>,
}

/// One call to a model.
#[derive(Deserialize, JsonSchema)]
pub struct LogEntry {
    /// What was asked.
    pub request: LoggedRequest,
    /// What was answered.
    pub response: LoggedResponse,
    /// Texts by name; trace_id, span_id and span_name place the call in a trace.
    pub metadata: Option<Tags>,
}

/// What was asked.
#[derive(Deserialize, JsonSchema)]
pub struct LoggedRequest {
    /// Full URL.
    pub url: String,
    /// HTTP method.
    pub method: Option<String>,
    /// Without credentials: they are stored as they are.
    pub headers: Option<Secret<Tags>>,
    /// As sent; its `model` is the log's.
    pub body: Secret<JsonMap>,
}

/// What was answered.
#[derive(Deserialize, JsonSchema)]
pub struct LoggedResponse {
    /// HTTP status.
    pub status: Option<u16>,
    /// By name.
    pub headers: Option<Secret<Tags>>,
    /// As received; its `usage` is the log's.
    pub body: Secret<JsonMap>,
    /// Milliseconds.
    pub response_time: Option<u64>,
}

/// Get a log
///
/// Returns one request with its answer, headers, tokens, latency and cost (US cents).
#[derive(Deserialize, JsonSchema)]
pub struct GetLog {
    /// UUID.
    pub log_id: String,
}

//! Audit logs: the record of administrative changes.

use portkey_operation::{EndTime, Findings, JsonMap, Open, Operation, StartTime, get};
use schemars::JsonSchema;
use serde::Deserialize;

/// Operations of the domain `audit-logs`.
pub const OPERATIONS: &[Operation] = &[get::<ListAuditLogs>("list-audit-logs", "/audit-logs")
    .with_search_terms(&[
        "activity history",
        "trail",
        "who deleted or edited it",
        "administrators",
        "Änderungsprotokoll",
        "compliance",
    ])
    .with_rule(warn_about_organisation_id)
    .enterprise()
    .scopes(&["audit_logs.list"])
    .returns_untrusted_content()
    .with_secret_fields(&[
        "records[].request_body",
        "records[].query_params",
        "records[].request_headers",
    ])
    .with_sensitive_fields(&[
        "records[].client_ip",
        "records[].country",
        "records[].user_id",
    ])];

/// List audit logs
///
/// Returns the changes made in a period, in `records`: who, from where, what request and how it ended. Never
/// give organisation_id, which is answered with 401. Admin key, Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct ListAuditLogs {
    /// From (RFC 3339); best given, as `end_time`.
    pub start_time: Option<StartTime>,
    /// Until.
    pub end_time: Option<EndTime>,
    /// Leave it out: the key's is meant, and a call that names one is refused with 401.
    #[schemars(extend("x-publish" = "hidden"))]
    pub organisation_id: Option<String>,
    /// HTTP method.
    pub method: Option<Open<Method>>,
    /// Path.
    pub uri: Option<String>,
    /// As errors name it.
    pub request_id: Option<String>,
    /// UUID.
    pub user_id: Option<String>,
    /// Kind of caller.
    pub user_type: Option<Open<Caller>>,
    /// UUID or slug.
    pub workspace_id: Option<String>,
    /// HTTP status.
    pub response_status_code: Option<u16>,
    /// Such as `integrations`.
    pub resource_type: Option<String>,
    /// Such as `delete`.
    pub action: Option<String>,
    /// Of the caller.
    pub client_ip: Option<String>,
    /// Of the caller.
    pub country: Option<String>,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Records per page.
    #[schemars(range(min = 1, max = 100))]
    pub page_size: Option<u32>,
}

/// A method that changes something.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Method {
    Post,
    Put,
    Delete,
}

/// Who made a request.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Caller {
    User,
    ApiKey,
}

fn warn_about_organisation_id(args: &JsonMap, findings: &mut Findings) {
    if args.contains_key("organisation_id") {
        findings.warn(
            "`organisation_id` makes Portkey answer 401 (unauthorised); leave it out, the key's is meant",
        );
    }
}

//! The last calls with their decisions, from the audit log, and the verification of its chain.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Query, State},
    response::{IntoResponse, Redirect, Response},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use tokio::task::spawn_blocking;

use super::{
    ServerState,
    guard::RequestAccess,
    pages::{self, Frame},
};
use crate::{observability::audit::AuditTrail, pipeline::approval::escape_untrusted};

/// Maximum number of calls on the page.
const MAX_CALLS: usize = 200;
/// Minimum time between two verifications.
const VERIFICATION_INTERVAL: Duration = Duration::from_secs(10);
/// Maximum number of findings on the page.
const MAX_FINDINGS: usize = 20;

/// The audit log as the pages show it.
pub(super) struct AuditPages {
    trail: AuditTrail,
    verification: Arc<Mutex<Verification>>,
}

/// The last verification of the chain.
#[derive(Default)]
struct Verification {
    is_running: bool,
    result: Option<(Instant, VerificationResult)>,
}

/// The result of a verification.
#[derive(Clone)]
struct VerificationResult {
    is_intact: bool,
    text: String,
    findings: Vec<String>,
}

impl AuditPages {
    pub(super) fn new(trail: AuditTrail) -> Self {
        Self {
            trail,
            verification: Arc::default(),
        }
    }

    /// Starts a verification on another thread, unless one runs or has just ended.
    fn start(&self) {
        let mut state = self.lock();
        let is_recent = state
            .result
            .as_ref()
            .is_some_and(|(at, _)| at.elapsed() < VERIFICATION_INTERVAL);
        if state.is_running || is_recent {
            return;
        }
        state.is_running = true;
        let trail = self.trail.clone();
        let verification = self.verification.clone();
        spawn_blocking(move || {
            let result = verify(&trail);
            let mut state = verification.lock().unwrap_or_else(PoisonError::into_inner);
            state.is_running = false;
            state.result = Some((Instant::now(), result));
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Verification> {
        self.verification
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn verify(trail: &AuditTrail) -> VerificationResult {
    let found = match trail.verify() {
        Ok(found) => found,
        Err(error) => {
            return VerificationResult {
                is_intact: false,
                text: format!("The log cannot be verified: {error}."),
                findings: Vec::new(),
            };
        }
    };
    let report = &found.report;
    let is_intact = report.findings.is_empty() && report.lines > 0;
    let mut text = match &report.last {
        Some((last, hash)) => {
            let first = report.first.unwrap_or_default();
            let verdict = if is_intact { "intact" } else { "not intact" };
            format!("Entries {first} to {last} are {verdict}. The last has the hash {hash}.")
        }
        None => "The log has no entries that could be verified.".to_owned(),
    };
    if found.is_partial {
        text.push_str(" Entries before these were not read.");
    }
    if report.lost_calls > 0 {
        text.push_str(&format!(" {} calls have no entry.", report.lost_calls));
    }
    let findings = report.findings.iter().take(MAX_FINDINGS);
    VerificationResult {
        is_intact,
        text,
        findings: findings
            .map(|finding| escape_untrusted(&finding.to_string()))
            .collect(),
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    calls: Vec<AuditRow>,
    caller: String,
    tool: String,
    is_filtered: bool,
    token: String,
    is_running: bool,
    result: Option<VerificationResult>,
    problem: Option<String>,
    max_calls: usize,
}

struct AuditRow {
    time: String,
    caller: String,
    tool: String,
    target: String,
    decision: String,
    approved_by: Option<String>,
    outcome: String,
    is_failure: bool,
}

/// Filter of the calls. Empty fields count as absent.
#[derive(Deserialize)]
pub(super) struct AuditQuery {
    #[serde(default)]
    caller: String,
    #[serde(default)]
    tool: String,
}

#[derive(Deserialize)]
pub(super) struct VerifyForm {
    token: String,
}

impl AuditRow {
    fn new(entry: &Value) -> Self {
        let text = |field: &str| {
            let text = entry.get(field).and_then(Value::as_str).unwrap_or_default();
            escape_untrusted(text)
        };
        let time = text("time").replace('T', " ");
        let rule = text("rule");
        let mut decision = text("decision");
        if !rule.is_empty() {
            decision = format!("{decision}, {rule}");
        }
        let mut outcome = text("outcome").replace('_', " ");
        if let Some(status) = entry.get("status").and_then(Value::as_u64) {
            outcome = format!("{outcome} ({status})");
        }
        Self {
            time: time.get(..19).unwrap_or(&time).to_owned(),
            caller: text("principal"),
            tool: text("tool"),
            target: text("target"),
            decision,
            approved_by: Some(text("approved_by")).filter(|by| !by.is_empty()),
            is_failure: entry.get("error").is_some(),
            outcome,
        }
    }
}

/// Shows the last calls.
pub(super) async fn show(
    State(server): State<Arc<ServerState>>,
    Extension(access): Extension<RequestAccess>,
    Query(query): Query<AuditQuery>,
) -> Result<Response, Response> {
    let signed_in = access.session().ok_or_else(pages::not_found)?;
    let Some(audit) = &server.audit else {
        let text = "This server writes no audit log to a file: give --audit-log FILE.";
        let status = StatusCode::NOT_FOUND;
        return Err(pages::signed_in_message(&server, signed_in, status, text).await);
    };
    let trail = audit.trail.clone();
    let AuditQuery { caller, tool } = query;
    let wanted_caller = caller.clone();
    let wanted_tool = tool.clone();
    let read = spawn_blocking(move || {
        let is = |entry: &Value, field: &str, wanted: &str| {
            wanted.is_empty() || entry.get(field).and_then(Value::as_str) == Some(wanted)
        };
        // Intents and events of the log itself have no outcome.
        let matches = |entry: &Value| {
            entry.get("outcome").is_some()
                && is(entry, "principal", &wanted_caller)
                && is(entry, "tool", &wanted_tool)
        };
        trail.recent(MAX_CALLS, matches)
    });
    let read = read.await.map_err(std::io::Error::other).flatten();
    let (calls, problem) = match read {
        Ok(entries) => (entries.iter().map(AuditRow::new).collect(), None),
        Err(error) => (
            Vec::new(),
            Some(format!("The log cannot be read: {error}.")),
        ),
    };
    let frame = Frame::signed_in(&server, signed_in, "Calls", "audit").await;
    let (is_running, result) = {
        let state = audit.lock();
        let result = state.result.as_ref().map(|(_, result)| result.clone());
        (state.is_running, result)
    };
    let page = AuditPage {
        frame,
        calls,
        is_filtered: !caller.is_empty() || !tool.is_empty(),
        caller,
        tool,
        token: signed_in.session.issue_form_token(),
        is_running,
        result,
        problem,
        max_calls: MAX_CALLS,
    };
    Ok(pages::render(StatusCode::OK, &page))
}

/// Starts the verification of the chain.
pub(super) async fn start_verification(
    State(server): State<Arc<ServerState>>,
    Extension(access): Extension<RequestAccess>,
    Form(form): Form<VerifyForm>,
) -> Result<Response, Response> {
    let signed_in = access.session().ok_or_else(pages::not_found)?;
    if !signed_in.session.use_form_token(&form.token) {
        let text = "This form is not one of ours, or was sent before.";
        let status = StatusCode::FORBIDDEN;
        return Err(pages::signed_in_message(&server, signed_in, status, text).await);
    }
    if let Some(audit) = &server.audit {
        audit.start();
    }
    Ok(Redirect::to("/audit").into_response())
}

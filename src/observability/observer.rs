//! Observers of requests, tool calls and sessions: durations for the metrics, and a log line for
//! each tool call.

use std::{
    thread,
    time::{Duration, Instant},
};

use portkey_policy::RuleMatch;
use tracing::info;

use crate::{
    auth::principal::Principal,
    observability::{
        call_record::{CallOutcome, CallRecord, ErrorType, OutcomeKind, RejectionReason},
        metrics::{GaugeGuard, Metrics},
        request::{RequestInfo, UNKNOWN_NAME},
        traces::Span,
    },
};

/// Observes an MCP request until it is dropped.
#[derive(Debug)]
pub struct RequestObserver {
    metrics: Metrics,
    request_info: RequestInfo,
    method: &'static str,
    tool: &'static str,
    error: Option<ErrorType>,
    started: Instant,
    span: Span,
    is_discarded: bool,
    _in_flight: GaugeGuard,
}

impl RequestObserver {
    /// Starts observing a request. Unless an outcome is set, the request counts as cancelled.
    pub fn begin(metrics: &Metrics, request_info: RequestInfo, method: &'static str) -> Self {
        let span = Span::start_request(&request_info, method);
        Self {
            metrics: metrics.clone(),
            request_info,
            span,
            method,
            tool: "",
            error: Some(ErrorType::Cancelled),
            started: Instant::now(),
            is_discarded: false,
            _in_flight: metrics.track_request(),
        }
    }

    /// Ends the observation without a record, because another observer has the request.
    pub fn discard(mut self) {
        self.is_discarded = true;
    }

    /// Ends the request with an outcome and returns that outcome. `kind` maps an error to its type.
    pub fn finish<T, E>(
        mut self,
        outcome: Result<T, E>,
        kind: impl FnOnce(&E) -> ErrorType,
    ) -> Result<T, E> {
        self.error = outcome.as_ref().err().map(kind);
        outcome
    }
}

impl Drop for RequestObserver {
    fn drop(&mut self) {
        if self.is_discarded {
            return;
        }
        let took = self.started.elapsed();
        self.metrics
            .record_request(&self.request_info, self.method, self.tool, self.error, took);
        if !self.tool.is_empty() {
            self.span.set_tool(self.tool);
        }
        if let Some(error) = self.error {
            self.span.set_error(error.as_str());
        }
    }
}

/// Observes a tool call. [`Self::finish`] writes its log line and its metrics.
///
/// Dropping it unfinished writes those of a call that was cancelled or panicked.
#[derive(Debug)]
pub struct CallObserver<'a> {
    request: RequestObserver,
    principal: &'a Principal,
    record: CallRecord,
    is_finished: bool,
}

impl<'a> CallObserver<'a> {
    /// Starts observing a call of `tools/call`.
    pub fn begin(metrics: &Metrics, request_info: RequestInfo, principal: &'a Principal) -> Self {
        Self::with_method("tools/call", metrics, request_info, principal)
    }

    /// Starts observing a tool call that serves `resources/read`.
    pub fn begin_read(
        metrics: &Metrics,
        request_info: RequestInfo,
        principal: &'a Principal,
    ) -> Self {
        Self::with_method("resources/read", metrics, request_info, principal)
    }

    /// Starts observing a request to the endpoint of an operation.
    pub fn begin_rest(
        metrics: &Metrics,
        request_info: RequestInfo,
        principal: &'a Principal,
    ) -> Self {
        Self::with_method("rest", metrics, request_info, principal)
    }

    fn with_method(
        method: &'static str,
        metrics: &Metrics,
        request_info: RequestInfo,
        principal: &'a Principal,
    ) -> Self {
        let operation = RequestObserver::begin(metrics, request_info, method);
        Self {
            request: operation,
            principal,
            record: CallRecord::default(),
            is_finished: false,
        }
    }

    /// Returns the information about the request.
    pub const fn request_info(&self) -> &RequestInfo {
        &self.request.request_info
    }

    /// Returns what is known of the call.
    pub const fn record(&self) -> &CallRecord {
        &self.record
    }

    /// Returns the operation of the write that was sent, if one was.
    pub fn sent_write(&self) -> Option<&'static portkey_operation::Operation> {
        self.record.operation.filter(|_| self.record.is_sent)
    }

    /// Returns the request information, and the record for the pipeline to fill.
    pub fn request_and_record(&mut self) -> (&RequestInfo, &mut CallRecord) {
        (&self.request.request_info, &mut self.record)
    }

    /// Returns the span of the request.
    pub fn span(&self) -> Span {
        self.request.span.clone()
    }

    /// Ends the call with an outcome, and writes its log line and its metrics.
    pub fn finish(mut self, outcome: CallOutcome) {
        self.request.error = request_error(&outcome);
        if let Some(reason) = outcome.rejection {
            self.request.metrics.record_rejection(reason);
        }
        self.record.outcome = outcome;
        self.write();
        self.is_finished = true;
    }

    /// Writes the log line and the metrics of the call.
    fn write(&mut self) {
        let RequestObserver {
            metrics,
            request_info,
            started,
            ..
        } = &self.request;
        let CallRecord {
            status,
            outcome: CallOutcome {
                kind, code, error, ..
            },
            ..
        } = &self.record;
        // For a success, the outcome suffices.
        let status = status.filter(|_| *kind == OutcomeKind::Refused);
        let tool = self
            .record
            .operation
            .map_or(UNKNOWN_NAME, |operation| operation.name());
        let effect = self.record.operation.map(|operation| operation.effect());
        metrics.record_call(*kind, effect);
        // Omits arguments, keys, and tool names that do not exist: callers can put anything there.
        info!(
            target: "portkey_mcp::call",
            request_id = request_info.id.as_str(),
            caller = &*self.principal.name,
            auth = self.principal.method.as_str(),
            tool,
            effect = effect.map(|effect| effect.as_str()),
            outcome = kind.as_str(),
            status,
            code,
            error,
            decision = self.record.rule.as_ref().map(|_| self.record.decision.as_str()),
            rule = self.record.rule.as_deref(),
            duration_ms = to_milliseconds(started.elapsed()),
            upstream_request_id = self.record.upstream_request_id,
            protocol = request_info.protocol,
            transport = request_info.transport.as_str(),
            "call"
        );
        for RuleMatch {
            rule,
            action: verb,
            message: words,
            ..
        } in &self.record.shadow_matches
        {
            info!(
                target: "portkey_mcp::shadow",
                request_id = request_info.id.as_str(),
                tool,
                rule = &*rule.name,
                would = verb.as_str(),
                why = words,
                "a rule that only tells"
            );
        }
        self.request.tool = tool;
    }
}

impl Drop for CallObserver<'_> {
    /// Writes the log line of a call whose future was dropped, or that panicked.
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        if thread::panicking() {
            self.request.error = Some(ErrorType::ToolError);
            self.record.outcome = CallOutcome::panicked(self.record.is_sent);
        }
        self.write();
    }
}

/// Returns the error that the request of a call with this outcome has in metrics and traces.
const fn request_error(outcome: &CallOutcome) -> Option<ErrorType> {
    match (outcome.kind, outcome.rejection) {
        // An approval request is no error: the client presents it to its user.
        (OutcomeKind::Answered | OutcomeKind::DryRun | OutcomeKind::Asked, _) => None,
        // The client receives this as a protocol error.
        (_, Some(RejectionReason::UnknownTool)) => Some(ErrorType::InvalidParams),
        _ => Some(ErrorType::ToolError),
    }
}

/// Converts to milliseconds, rounded to microseconds.
fn to_milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Observes a session until it is dropped.
#[derive(Debug)]
pub struct SessionObserver {
    metrics: Metrics,
    request_info: RequestInfo,
    started: Instant,
    _open: GaugeGuard,
}

impl SessionObserver {
    /// Starts observing a session that begins with this request.
    pub fn begin(metrics: &Metrics, request_info: RequestInfo) -> Self {
        let _open = metrics.track_session();
        let metrics = metrics.clone();
        Self {
            metrics,
            request_info,
            started: Instant::now(),
            _open,
        }
    }
}

impl Drop for SessionObserver {
    fn drop(&mut self) {
        self.metrics
            .record_session(&self.request_info, self.started.elapsed());
    }
}

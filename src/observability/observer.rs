//! Observers of requests, tool calls and sessions: durations for the metrics, and a log line for
//! each tool call.

use std::time::{Duration, Instant};

use portkey_policy::RuleMatch;
use tracing::info;

use crate::{
    auth::principal::Principal,
    observability::{
        call_record::{CallOutcome, ErrorType, OutcomeKind, Record, RejectionReason},
        metrics::{Held, Metrics},
        request::{Arrival, UNKNOWN},
        traces::Span,
    },
};

/// Observes an MCP request until it is dropped.
#[derive(Debug)]
pub struct Operation {
    metrics: Metrics,
    arrival: Arrival,
    method: &'static str,
    tool: &'static str,
    error: Option<ErrorType>,
    started: Instant,
    span: Span,
    _in_flight: Held,
}

impl Operation {
    /// Starts observing a request. Unless an outcome is set, the request counts as cancelled.
    pub fn begin(metrics: &Metrics, arrival: Arrival, method: &'static str) -> Self {
        let span = Span::serve(&arrival, method);
        Self {
            metrics: metrics.clone(),
            arrival,
            span,
            method,
            tool: "",
            error: Some(ErrorType::Cancelled),
            started: Instant::now(),
            _in_flight: metrics.in_flight(),
        }
    }

    /// Ends the request with an outcome and returns that outcome. `kind` maps an error to its type.
    pub fn ends<T, E>(
        mut self,
        outcome: Result<T, E>,
        kind: impl FnOnce(&E) -> ErrorType,
    ) -> Result<T, E> {
        self.error = outcome.as_ref().err().map(kind);
        outcome
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.metrics
            .operation(&self.arrival, self.method, self.tool, self.error, took);
        if !self.tool.is_empty() {
            self.span.tool(self.tool);
        }
        if let Some(error) = self.error {
            self.span.failed(error.as_str());
        }
    }
}

/// Observes a tool call until it is dropped.
#[derive(Debug)]
pub struct Call<'a> {
    operation: Operation,
    principal: &'a Principal,
    record: Record,
}

impl<'a> Call<'a> {
    /// Starts observing a call of `tools/call`. Unless an outcome is set, the call counts as
    /// cancelled.
    pub fn begin(metrics: &Metrics, arrival: Arrival, principal: &'a Principal) -> Self {
        Self::of("tools/call", metrics, arrival, principal)
    }

    /// Starts observing a tool call that serves `resources/read`.
    pub fn reading(metrics: &Metrics, arrival: Arrival, principal: &'a Principal) -> Self {
        Self::of("resources/read", metrics, arrival, principal)
    }

    fn of(
        method: &'static str,
        metrics: &Metrics,
        arrival: Arrival,
        principal: &'a Principal,
    ) -> Self {
        let operation = Operation::begin(metrics, arrival, method);
        Self {
            operation,
            principal,
            record: Record::default(),
        }
    }

    /// Returns the information about the request.
    pub const fn arrival(&self) -> &Arrival {
        &self.operation.arrival
    }

    /// Returns true if the result contains untrusted content.
    pub const fn is_untrusted(&self) -> bool {
        self.record.untrusted
    }

    /// Returns the operation of the write that was sent, if one was.
    pub fn sent_write(&self) -> Option<&'static portkey_operation::Operation> {
        self.record.operation.filter(|_| self.record.is_sent)
    }

    /// Returns the request information, and the record for the pipeline to fill.
    pub fn parts(&mut self) -> (&Arrival, &mut Record) {
        (&self.operation.arrival, &mut self.record)
    }

    /// Returns the span of the request.
    pub fn span(&self) -> Span {
        self.operation.span.clone()
    }

    /// Records the result of the pipeline. `describe` maps an error to an outcome; its second
    /// argument is true if a write was sent.
    pub fn ended<T, E>(
        &mut self,
        result: &Result<T, E>,
        describe: impl FnOnce(&E, bool) -> CallOutcome,
    ) {
        // The pipeline has recorded the outcome of a success. An error may come from later, when a
        // human was asked.
        self.operation.error = None;
        let Err(error) = result else { return };
        let outcome = describe(error, self.record.is_sent);
        self.operation.error = match (outcome.kind, outcome.rejection) {
            // An approval request is no error: the client presents it to its user.
            (OutcomeKind::Asked, _) => None,
            // The client receives this as a protocol error.
            (_, Some(RejectionReason::UnknownTool)) => Some(ErrorType::InvalidParams),
            _ => Some(ErrorType::ToolError),
        };
        if let Some(reason) = outcome.rejection {
            self.operation.metrics.rejected(reason);
        }
        self.record.outcome = outcome;
    }

    /// Records that the call panicked.
    pub fn panicked(&mut self) {
        self.operation.error = Some(ErrorType::ToolError);
        self.record.panicked();
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let Operation {
            metrics,
            arrival,
            started,
            ..
        } = &self.operation;
        let Record {
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
            .map_or(UNKNOWN, |operation| operation.name());
        let effect = self.record.operation.map(|operation| operation.effect());
        metrics.call(*kind, effect);
        // Omits arguments, keys, and tool names that do not exist: callers can put anything there.
        info!(
            target: "portkey_mcp::call",
            request_id = arrival.id.as_str(),
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
            duration_ms = milliseconds(started.elapsed()),
            upstream_request_id = self.record.upstream_request_id,
            protocol = arrival.protocol,
            transport = arrival.transport.as_str(),
            "call"
        );
        for RuleMatch {
            rule, action: verb, message: words, ..
        } in &self.record.shadows
        {
            info!(
                target: "portkey_mcp::shadow",
                request_id = arrival.id.as_str(),
                tool,
                rule = &*rule.name,
                would = verb.as_str(),
                why = words,
                "a rule that only tells"
            );
        }
        self.operation.tool = tool;
    }
}

/// Converts to milliseconds, rounded to microseconds.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Observes a session until it is dropped.
#[derive(Debug)]
pub struct Session {
    metrics: Metrics,
    arrival: Arrival,
    started: Instant,
    _open: Held,
}

impl Session {
    /// Starts observing a session that begins with this request.
    pub fn begin(metrics: &Metrics, arrival: Arrival) -> Self {
        let (metrics, _open) = (metrics.clone(), metrics.session());
        Self {
            metrics,
            arrival,
            started: Instant::now(),
            _open,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.metrics
            .session_ended(&self.arrival, self.started.elapsed());
    }
}

//! Requests as they are observed: timed for the metrics, and each tool call a line in the log.

use std::time::{Duration, Instant};

use portkey_policy::Noted;
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

/// A request of MCP, from its arrival until this is dropped.
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
    /// A request arrives. Unless it is said to end otherwise, it was cancelled.
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

    /// Ends it with an outcome, which is handed back. `kind` says of which type an error is.
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

/// A call of a tool, from its arrival until this is dropped.
#[derive(Debug)]
pub struct Call<'a> {
    operation: Operation,
    principal: &'a Principal,
    record: Record,
}

impl<'a> Call<'a> {
    /// A call arrives. Unless it is said to end otherwise, it was cancelled.
    pub fn begin(metrics: &Metrics, arrival: Arrival, principal: &'a Principal) -> Self {
        Self::of("tools/call", metrics, arrival, principal)
    }

    /// The same, made to read a resource.
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

    /// How it arrived.
    pub const fn arrival(&self) -> &Arrival {
        &self.operation.arrival
    }

    /// Whether strangers wrote what its answer holds.
    pub const fn is_untrusted(&self) -> bool {
        self.record.untrusted
    }

    /// The write that was sent, if one was.
    pub fn sent_write(&self) -> Option<&'static portkey_operation::Operation> {
        self.record.operation.filter(|_| self.record.is_sent)
    }

    /// How it arrived, and where dispatch writes down what it finds out.
    pub fn parts(&mut self) -> (&Arrival, &mut Record) {
        (&self.operation.arrival, &mut self.record)
    }

    /// The step of the trace that it is.
    pub fn span(&self) -> Span {
        self.operation.span.clone()
    }

    /// Dispatch is done with it. `describe` says what became of a call that failed, and is told whether a write
    /// was sent.
    pub fn ended<T, E>(
        &mut self,
        result: &Result<T, E>,
        describe: impl FnOnce(&E, bool) -> CallOutcome,
    ) {
        // Dispatch has recorded the outcome, unless a human was asked after it.
        self.operation.error = None;
        let Err(error) = result else { return };
        let outcome = describe(error, self.record.is_sent);
        self.operation.error = match (outcome.kind, outcome.rejection) {
            // A question is no error: the client is to put it to its user.
            (OutcomeKind::Asked, _) => None,
            // The client gets it as an error of the protocol.
            (_, Some(RejectionReason::UnknownTool)) => Some(ErrorType::InvalidParams),
            _ => Some(ErrorType::ToolError),
        };
        if let Some(reason) = outcome.rejection {
            self.operation.metrics.rejected(reason);
        }
        self.record.outcome = outcome;
    }

    /// It ended in a panic.
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
        // A success is told by its outcome.
        let status = status.filter(|_| *kind == OutcomeKind::Refused);
        let tool = self
            .record
            .operation
            .map_or(UNKNOWN, |operation| operation.name());
        let effect = self.record.operation.map(|operation| operation.effects());
        metrics.call(*kind, effect);
        // Neither arguments nor keys, nor a name that the caller made up: it may hold anything.
        info!(
            target: "portkey_mcp::call",
            request_id = arrival.id.as_str(),
            caller = &*self.principal.name,
            auth = self.principal.method.word(),
            tool,
            effect = effect.map(|effect| effect.word()),
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
        for Noted {
            rule, verb, words, ..
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

/// To the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// A session, from its beginning until this is dropped.
#[derive(Debug)]
pub struct Session {
    metrics: Metrics,
    arrival: Arrival,
    started: Instant,
    _open: Held,
}

impl Session {
    /// A session begins with the request that arrives so.
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

//! The server's metrics, named by the OpenTelemetry conventions for MCP. `docs/observability.md`
//! lists them.

mod component;
mod instrument;
mod process;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use http::StatusCode;
use prometheus_client::{encoding::text, metrics::info::Info, registry::Registry};

pub(crate) use self::process::register_log_counter;
use portkey_operation::{Effect, Upstream};

use self::{
    component::ComponentCollector,
    instrument::{Buckets, DurationHistogram, EventCounter, LevelGauge},
    process::ProcessCollector,
};
use portkey_readiness::Readiness;

use crate::observability::{
    call_record::{ErrorType, OutcomeKind, RejectionReason},
    request::RequestInfo,
};

/// Content type of the text that [`Metrics::render`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bucket bounds that the conventions advise for requests.
const REQUEST_BUCKETS: Buckets = Buckets(&[
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
]);

/// Bucket bounds from a second to a day, because sessions outlast requests.
const SESSION_BUCKETS: Buckets = Buckets(&[
    1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0,
]);

/// A handle to the recorder of all metrics; clones share it. If metrics are disabled, recording
/// does nothing.
#[derive(Clone, Default)]
pub struct Metrics(Option<Arc<Recorder>>);

struct Recorder {
    registry: Registry,
    operations: DurationHistogram<5>,
    in_flight: LevelGauge,
    sessions: DurationHistogram<2>,
    sessions_open: LevelGauge,
    connections: LevelGauge,
    calls: EventCounter<2>,
    rejections: EventCounter<1>,
    upstream: DurationHistogram<3>,
    retries: EventCounter<1>,
    journal_failures: EventCounter<1>,
    components: ComponentCollector,
}

impl Metrics {
    /// Creates metrics, which record only if they are wanted.
    pub fn new(enabled: bool) -> Self {
        Self(enabled.then(|| Arc::new(Recorder::new())))
    }

    /// Adds the readiness of the components.
    #[must_use]
    pub fn with_readiness(self, readiness: &Readiness) -> Self {
        if let Some(recorder) = &self.0 {
            recorder.components.set_readiness(readiness);
        }
        self
    }

    /// Renders all metrics in the text format of OpenMetrics, which Prometheus reads.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if let Some(recorder) = &self.0 {
            // Writing to a string cannot fail.
            _ = text::encode(&mut text, &recorder.registry);
        }
        text
    }

    /// Records a finished MCP request. `tool` is empty for requests that call none.
    pub(crate) fn record_request(
        &self,
        request_info: &RequestInfo,
        method: &'static str,
        tool: &'static str,
        error: Option<ErrorType>,
        took: Duration,
    ) {
        if let Some(recorder) = &self.0 {
            let error = error.map_or("", ErrorType::as_str);
            let labels = [
                method,
                tool,
                error,
                request_info.protocol,
                request_info.transport.network_transport(),
            ];
            recorder.operations.record(labels, took);
        }
    }

    /// Counts a tool call by its outcome and effect.
    pub(crate) fn record_call(&self, outcome: OutcomeKind, effect: Option<Effect>) {
        if let Some(recorder) = &self.0 {
            recorder
                .calls
                .add([outcome.as_str(), effect.map_or("", Effect::as_str)]);
        }
    }

    /// Counts a request that this server rejected.
    pub(crate) fn record_rejection(&self, reason: RejectionReason) {
        if let Some(recorder) = &self.0 {
            recorder.rejections.add([reason.as_str()]);
        }
    }

    /// Starts the timer of an attempt at an upstream. Dropping it records the attempt.
    pub(crate) fn start_attempt(
        &self,
        operation: &'static str,
        upstream: Upstream,
    ) -> AttemptTimer {
        let recorder = self.0.clone();
        let started = Instant::now();
        AttemptTimer {
            recorder,
            operation,
            upstream,
            status: "none",
            started,
        }
    }

    /// Counts a retry of an upstream request.
    pub(crate) fn record_retry(&self, upstream: Upstream) {
        if let Some(recorder) = &self.0 {
            recorder.retries.add([upstream_label(upstream)]);
        }
    }

    /// Counts an entry of the journal that could not be written. `step` is `begin` for one before
    /// its write, which was not sent then, and `finish` for the end of one.
    pub(crate) fn record_journal_failure(&self, step: &'static str) {
        if let Some(recorder) = &self.0 {
            recorder.journal_failures.add([step]);
        }
    }

    /// Counts a request as in flight until the guard is dropped.
    pub(crate) fn track_request(&self) -> GaugeGuard {
        GaugeGuard::new(self.0.clone(), |recorder| &recorder.in_flight)
    }

    /// Counts a connection as open until the guard is dropped.
    pub(crate) fn track_connection(&self) -> GaugeGuard {
        GaugeGuard::new(self.0.clone(), |recorder| &recorder.connections)
    }

    /// Counts a session as open until the guard is dropped.
    pub(crate) fn track_session(&self) -> GaugeGuard {
        GaugeGuard::new(self.0.clone(), |recorder| &recorder.sessions_open)
    }

    /// Records the duration of a session.
    pub(crate) fn record_session(&self, request_info: &RequestInfo, took: Duration) {
        if let Some(recorder) = &self.0 {
            recorder.sessions.record(
                [
                    request_info.protocol,
                    request_info.transport.network_transport(),
                ],
                took,
            );
        }
    }
}

/// Times an attempt at an upstream. Without a status, it counts as unanswered.
pub(crate) struct AttemptTimer {
    recorder: Option<Arc<Recorder>>,
    operation: &'static str,
    upstream: Upstream,
    status: &'static str,
    started: Instant,
}

impl AttemptTimer {
    /// Sets the status of the response.
    pub(crate) fn set_status(&mut self, status: StatusCode) {
        self.status = status_class(status);
    }
}

impl Drop for AttemptTimer {
    fn drop(&mut self) {
        if let Some(recorder) = &self.recorder {
            let labels = [self.operation, upstream_label(self.upstream), self.status];
            recorder.upstream.record(labels, self.started.elapsed());
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Metrics(on)"
        } else {
            "Metrics(off)"
        })
    }
}

/// Keeps a gauge incremented until dropped.
pub(crate) struct GaugeGuard {
    recorder: Option<Arc<Recorder>>,
    level: fn(&Recorder) -> &LevelGauge,
}

impl GaugeGuard {
    fn new(recorder: Option<Arc<Recorder>>, level: fn(&Recorder) -> &LevelGauge) -> Self {
        if let Some(recorder) = &recorder {
            level(recorder).increment();
        }
        Self { recorder, level }
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        if let Some(recorder) = &self.recorder {
            (self.level)(recorder).decrement();
        }
    }
}

impl fmt::Debug for GaugeGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl Recorder {
    fn new() -> Self {
        let mut registry = Registry::default();
        let to = &mut registry;
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        to.register("portkey_mcp_build", "Which build runs", build);
        to.register_collector(Box::new(ProcessCollector::new()));
        let components = ComponentCollector::default();
        to.register_collector(Box::new(components.clone()));
        Self {
            components,
            operations: DurationHistogram::new(
                to,
                (
                    "mcp.server.operation.duration",
                    "How long MCP requests take",
                ),
                [
                    "mcp.method.name",
                    "gen_ai.tool.name",
                    "error.type",
                    "mcp.protocol.version",
                    "network.transport",
                ],
                REQUEST_BUCKETS,
            ),
            in_flight: LevelGauge::new(
                to,
                ("portkey_mcp.requests_in_flight", "MCP requests under way"),
            ),
            sessions: DurationHistogram::new(
                to,
                ("mcp.server.session.duration", "How long sessions last"),
                ["mcp.protocol.version", "network.transport"],
                SESSION_BUCKETS,
            ),
            sessions_open: LevelGauge::new(to, ("portkey_mcp.sessions", "Open sessions")),
            connections: LevelGauge::new(to, ("portkey_mcp.connections", "Open connections")),
            calls: EventCounter::new(
                to,
                ("portkey_mcp.calls", "Tool calls by what became of them"),
                ["outcome", "effect"],
            ),
            rejections: EventCounter::new(
                to,
                (
                    "portkey_mcp.rejections",
                    "Requests that this server rejected by itself",
                ),
                ["reason"],
            ),
            upstream: DurationHistogram::new(
                to,
                (
                    "portkey_mcp.upstream.request.duration",
                    "How long attempts at upstreams take",
                ),
                ["operation", "upstream", "status"],
                REQUEST_BUCKETS,
            ),
            retries: EventCounter::new(
                to,
                (
                    "portkey_mcp.upstream.retries",
                    "Requests that went to an upstream once more",
                ),
                ["upstream"],
            ),
            journal_failures: EventCounter::new(
                to,
                (
                    "portkey_mcp.journal.failures",
                    "Entries of the journal that could not be written",
                ),
                ["step"],
            ),
            registry,
        }
    }
}

const fn upstream_label(upstream: Upstream) -> &'static str {
    match upstream {
        Upstream::Portkey => "portkey",
        Upstream::Enkrypt => "enkrypt",
    }
}

fn status_class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "other",
    }
}

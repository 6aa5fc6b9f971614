//! Stand-ins for a build without the feature `otel`.

use http::{HeaderMap, StatusCode};
use portkey_operation::Upstream;

use crate::observability::request::RequestInfo;

/// No exporters.
#[derive(Debug)]
pub struct Exporters;

/// Starts nothing.
///
/// # Errors
/// Returns an error if the standard `OTEL_*` variables enable an export, which this build does not have.
pub fn start() -> anyhow::Result<Exporters> {
    if super::is_enabled("TRACES") || super::is_enabled("METRICS") {
        anyhow::bail!(
            "a variable such as OTEL_EXPORTER_OTLP_ENDPOINT asks for an export by OpenTelemetry, and this build has \
             none. Use a build with the feature `otel`, unset the variable, or set OTEL_SDK_DISABLED=true"
        );
    }
    Ok(Exporters)
}

impl Exporters {
    /// Returns false, because no metrics are exported.
    pub const fn has_metrics(&self) -> bool {
        false
    }

    /// Does nothing.
    pub async fn flush(self) {}
}

/// No trace.
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceParent;

impl TraceParent {
    /// Ignores the metadata and the headers.
    pub const fn from_headers(_: Option<&str>, _: Option<&HeaderMap>) -> Self {
        Self
    }
}

/// A span that records nothing.
#[derive(Clone, Debug)]
pub struct Span;

impl Span {
    pub(crate) const fn start_request(_: &RequestInfo, _: &'static str) -> Self {
        Self
    }

    pub(crate) const fn start_attempt(_: Upstream, _: &http::Method) -> Self {
        Self
    }

    pub(crate) const fn set_tool(&self, _: &'static str) {}

    pub(crate) const fn set_error(&self, _: &'static str) {}

    pub(crate) const fn set_status(&self, _: StatusCode) {}

    pub(crate) const fn inject(&self, _: &mut HeaderMap) {}

    pub(crate) fn instrument<F: Future>(&self, future: F) -> F {
        future
    }
}

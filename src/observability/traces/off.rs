//! Stand-ins for a build without the feature `otel`.

use http::{HeaderMap, StatusCode};
use portkey_operation::Upstream;

use crate::observability::request::Arrival;

/// No exporters.
#[derive(Debug)]
pub struct Exports;

/// Starts nothing.
///
/// # Errors
/// Never fails.
pub fn start() -> anyhow::Result<Exports> {
    Ok(Exports)
}

impl Exports {
    /// Returns false, because no metrics are exported.
    pub const fn has_metrics(&self) -> bool {
        false
    }

    /// Does nothing.
    pub async fn flush(self) {}
}

/// No trace.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parent;

impl Parent {
    /// Ignores the metadata and the headers.
    pub const fn read(_: Option<&str>, _: Option<&HeaderMap>) -> Self {
        Self
    }
}

/// A span that records nothing.
#[derive(Clone, Debug)]
pub struct Span;

impl Span {
    pub(crate) const fn serve(_: &Arrival, _: &'static str) -> Self {
        Self
    }

    pub(crate) const fn attempt(_: Upstream, _: &http::Method) -> Self {
        Self
    }

    pub(crate) const fn tool(&self, _: &'static str) {}

    pub(crate) const fn failed(&self, _: &'static str) {}

    pub(crate) const fn answered(&self, _: StatusCode) {}

    pub(crate) const fn inject(&self, _: &mut HeaderMap) {}

    pub(crate) fn around<F: Future>(&self, future: F) -> F {
        future
    }
}

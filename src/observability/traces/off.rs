//! What a build without the feature does: nothing.

use http::{HeaderMap, StatusCode};
use portkey_operation::Upstream;

use crate::observability::request::Arrival;

/// Where telemetry is exported to: nowhere.
#[derive(Debug)]
pub struct Exports;

/// Starts nothing.
///
/// # Errors
/// None.
pub fn start() -> anyhow::Result<Exports> {
    Ok(Exports)
}

impl Exports {
    /// Whether metrics are exported.
    pub const fn has_metrics(&self) -> bool {
        false
    }

    /// Sends what was not sent yet.
    pub async fn flush(self) {}
}

/// The trace that a request belongs to: none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parent;

impl Parent {
    /// Reads nothing.
    pub const fn read(_: Option<&str>, _: Option<&HeaderMap>) -> Self {
        Self
    }
}

/// A step of a trace that there is none of.
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

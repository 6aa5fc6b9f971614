//! Traces by OpenTelemetry, with the feature `otel`; without it, every function does nothing, and a configured export
//! is an error.
//!
//! The standard `OTEL_*` variables configure the export. It is disabled until one of them names an
//! endpoint.

#[cfg(not(feature = "otel"))]
mod disabled;
#[cfg(feature = "otel")]
mod export;
#[cfg(feature = "otel")]
mod span;

#[cfg(feature = "otel")]
pub use self::{
    export::{Exporters, start},
    span::{Span, TraceParent},
};
#[cfg(not(feature = "otel"))]
pub use disabled::{Exporters, Span, TraceParent, start};

/// Returns true if the standard `OTEL_*` variables enable a signal.
fn is_enabled(signal: &str) -> bool {
    let is = |name: &str, value: &str| {
        std::env::var(name).is_ok_and(|set| set.trim().eq_ignore_ascii_case(value))
    };
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_endpoint =
        set("OTEL_EXPORTER_OTLP_ENDPOINT") || set(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"));
    has_endpoint
        && !is("OTEL_SDK_DISABLED", "true")
        && !is(&format!("OTEL_{signal}_EXPORTER"), "none")
}

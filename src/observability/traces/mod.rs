//! Traces by OpenTelemetry, with the feature `otel`; without it, every function does nothing.
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

//! Traces by OpenTelemetry, with the feature `otel`; without it, every function does nothing.
//!
//! The standard `OTEL_*` variables configure the export. It is disabled until one of them names an
//! endpoint.

#[cfg(feature = "otel")]
mod export;
#[cfg(not(feature = "otel"))]
mod off;
#[cfg(feature = "otel")]
mod span;

#[cfg(feature = "otel")]
pub use self::{
    export::{Exporters, start},
    span::{TraceParent, Span},
};
#[cfg(not(feature = "otel"))]
pub use off::{Exports, Parent, Span, start};

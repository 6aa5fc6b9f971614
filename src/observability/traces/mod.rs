//! Traces by OpenTelemetry, with the cargo feature `otel`; without it, all of this is nothing.
//!
//! The standard `OTEL_*` variables configure it, and it is off until one of them names where to export to.

#[cfg(feature = "otel")]
mod export;
#[cfg(not(feature = "otel"))]
mod off;
#[cfg(feature = "otel")]
mod span;

#[cfg(feature = "otel")]
pub use self::{
    export::{Exports, start},
    span::{Parent, Span},
};
#[cfg(not(feature = "otel"))]
pub use off::{Exports, Parent, Span, start};

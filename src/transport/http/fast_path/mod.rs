//! The fast path: calls that go directly to the handler instead of through rmcp.

mod handler;
mod request;

pub use self::handler::DirectCallHandler;
pub(super) use self::request::{FastPathHead, FastPathMessage, FastPathParams, TOOLS_CALL};

//! The contract between the fast path and a handler.

use std::sync::Arc;

use http::request::Parts;
use rmcp::{ServerHandler, model::CallToolRequestParams};

use crate::{auth::principal::Principal, mcp::server::Server};

/// A handler that can tell in advance what a call needs.
pub trait DirectCallHandler: ServerHandler {
    /// Returns `true` if a call only reads, and its client receives neither requests nor
    /// notifications during it.
    ///
    /// Such a call needs no stream that a client could resume: a client that lost the response can
    /// repeat the call.
    ///
    /// `head` is that of the HTTP request, with the caller among its extensions.
    fn is_direct_read(&self, _call: &CallToolRequestParams, _head: &Parts) -> bool {
        false
    }
}

impl DirectCallHandler for Server {
    fn is_direct_read(&self, call: &CallToolRequestParams, head: &Parts) -> bool {
        self.is_silent_read(call, head.extensions.get::<Arc<Principal>>())
    }
}

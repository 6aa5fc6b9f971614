//! Recognition of calls that need nothing but their response, which a transport can send without a
//! stream.

use http::request::Parts;
use portkey_operation::Effect;
use rmcp::{ServerHandler, model::CallToolRequestParams};

use super::Server;
use crate::mcp::{
    results::ALL_ARGUMENT,
    surface::{self, BuiltinAction},
};

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
        if let Some(own) = surface::find_builtin(&call.name) {
            // The other built-in tools may call any operation.
            return !matches!(own.action, BuiltinAction::Execute(_));
        }
        let Ok(entry) = self.dispatcher.catalog().find(&call.name) else {
            return false;
        };
        let Some(caller) = head.extensions.get().or(self.local_principal.as_ref()) else {
            return false;
        };
        // A request for all pages may cause progress notifications.
        let is_long = call
            .arguments
            .as_ref()
            .is_some_and(|args| args.contains_key(ALL_ARGUMENT));
        entry.operation.effect() == Effect::Read
            && !is_long
            && !self
                .dispatcher
                .can_require_approval(caller, entry.operation)
    }
}

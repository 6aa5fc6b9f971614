//! Which calls want nothing but their answer, so that a transport can bring it without a stream.

use http::request::Parts;
use portkey_operation::Effect;
use rmcp::{ServerHandler, model::CallToolRequestParams};

use super::Server;
use crate::mcp::{
    results::ALL,
    surface::{self, Does},
};

/// A handler that may know beforehand what a call takes.
pub trait Foresight: ServerHandler {
    /// Whether a call only reads, and its client is neither asked nor told anything on the way. Its answer
    /// needs no stream, then, that a client could take up again: whoever lost it can make the call again.
    ///
    /// `head` is that of its request, with its caller among the extensions.
    fn is_quiet_read(&self, _call: &CallToolRequestParams, _head: &Parts) -> bool {
        false
    }
}

impl Foresight for Server {
    fn is_quiet_read(&self, call: &CallToolRequestParams, head: &Parts) -> bool {
        if let Some(own) = surface::named(&call.name) {
            // What is called by the others may be anything.
            return !matches!(own.does, Does::Execute(_));
        }
        let Ok(entry) = self.dispatcher.catalog().find(&call.name) else {
            return false;
        };
        let Some(caller) = head.extensions.get().or(self.local.as_ref()) else {
            return false;
        };
        // Who wishes for all pages may hear how far they are.
        let is_long = call
            .arguments
            .as_ref()
            .is_some_and(|args| args.contains_key(ALL));
        entry.operation.effects() == Effect::Read
            && !is_long
            && !self.dispatcher.may_ask(caller, entry.operation)
    }
}

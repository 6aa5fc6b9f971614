//! Recognition of calls that need nothing but their response, which a transport can send without a
//! stream.

use std::sync::Arc;

use portkey_operation::Effect;
use rmcp::model::CallToolRequestParams;

use super::Server;
use crate::{
    auth::principal::Principal,
    mcp::{
        results::{ALL_ARGUMENT, ALL_WORKSPACES_ARGUMENT},
        surface::{self, BuiltinAction, HistoryTool},
    },
};

impl Server {
    /// Returns `true` if a call only reads, and its client receives neither requests nor
    /// notifications during it. `caller` is the one that the transport has recognised.
    pub(crate) fn is_silent_read(
        &self,
        call: &CallToolRequestParams,
        caller: Option<&Arc<Principal>>,
    ) -> bool {
        if let Some(builtin) = surface::find_builtin(&call.name) {
            // The other built-in tools may call any operation, or several.
            return !matches!(
                builtin.action,
                BuiltinAction::Execute(_)
                    | BuiltinAction::Workflow(_)
                    | BuiltinAction::History(HistoryTool::Undo)
                    | BuiltinAction::PlanChanges
                    | BuiltinAction::ApplyPlan
            );
        }
        let Ok(entry) = self.dispatcher.catalog().find(&call.name) else {
            return false;
        };
        let Some(caller) = caller.or(self.local_principal.as_ref()) else {
            return false;
        };
        // A request for all pages or workspaces may cause progress notifications.
        let is_long = call.arguments.as_ref().is_some_and(|args| {
            args.contains_key(ALL_ARGUMENT) || args.contains_key(ALL_WORKSPACES_ARGUMENT)
        });
        entry.operation.effect() == Effect::Read
            && !is_long
            && !self
                .dispatcher
                .can_require_approval(caller, entry.operation)
    }
}

//! Surfaces: operations shown as one tool each, or by a few built-in tools that call them all.

mod builtin;

use portkey_operation::Effect;

use crate::workflows::Listing;

pub use self::builtin::{BuiltinAction, BuiltinTool, HistoryTool, builtin_tools, find_builtin};

/// Operations with which tasks most often begin.
const CORE_TOOLS: &[&str] = &[
    "get-config",
    "get-integration",
    "get-prompt",
    "list-all-api-keys",
    "list-all-configs",
    "list-all-integrations",
    "list-all-providers",
    "list-all-workspaces",
    "list-prompts",
    "list-users",
];

/// Returns `true` for the few tools that should always be loaded, which include all built-in ones but the
/// workflows, plans and the history.
pub fn is_core(name: &str) -> bool {
    let is_core = |tool: &BuiltinTool| {
        !matches!(
            tool.action,
            BuiltinAction::Workflow(_)
                | BuiltinAction::History(_)
                | BuiltinAction::PlanChanges
                | BuiltinAction::ApplyPlan
        )
    };
    CORE_TOOLS.contains(&name) || find_builtin(name).is_some_and(is_core)
}

/// Form in which operations are shown. On either surface, every operation on offer can be called by
/// its own name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Surface {
    /// One tool per operation.
    #[default]
    Operations,
    /// A few tools that find, describe and call operations, at a fraction of the cost of a full
    /// list to a client.
    Compact,
}

impl Surface {
    /// Returns `true` if operations are listed.
    pub const fn lists_operations(self) -> bool {
        matches!(self, Self::Operations)
    }

    /// Returns `true` if workflows of a listing are listed.
    pub const fn lists(self, listing: Listing) -> bool {
        match listing {
            Listing::Everywhere => true,
            Listing::WithOperations => self.lists_operations(),
            Listing::BySearch | Listing::Nowhere => false,
        }
    }

    /// Returns the built-in tools of the surface, sorted by name. `reaches` tells for an effect
    /// whether operations of that effect can be called, and `offers` for a name whether that one can.
    pub fn builtin_tools(
        self,
        reaches: impl Fn(Effect) -> bool,
        offers: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = &'static BuiltinTool> {
        builtin_tools()
            .iter()
            .filter(move |tool| match tool.action {
                BuiltinAction::ReadResult | BuiltinAction::WhoAmI => true,
                BuiltinAction::Execute(effect) => self == Self::Compact && reaches(effect),
                BuiltinAction::Search | BuiltinAction::Describe => self == Self::Compact,
                // Listed by a server with a journal only.
                BuiltinAction::History(_) => false,
                BuiltinAction::PlanChanges | BuiltinAction::ApplyPlan => {
                    [Effect::Create, Effect::Update, Effect::Delete]
                        .into_iter()
                        .any(&reaches)
                }
                BuiltinAction::Workflow(workflow) => {
                    self.lists(workflow.listing) && workflow.needs.iter().all(|name| offers(name))
                }
            })
    }
}

//! What clients are shown of the operations: each as a tool of its own, or a few tools that reach them all.

mod own;

use portkey_operation::Effect;

pub use self::own::{Does, OwnTool, named, tools};

/// The operations that a task most often begins with.
const CORE: &[&str] = &[
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

/// Whether a tool is one of the few to have in view at all times; all of our own are.
pub fn is_core(name: &str) -> bool {
    CORE.contains(&name) || named(name).is_some()
}

/// How operations are shown. Whichever it is, every operation on offer can be called by its own name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Surface {
    /// Each as a tool of its own.
    #[default]
    Operations,
    /// By a few tools that find, describe and call them, for a fraction of what a full list costs a client.
    Compact,
}

impl Surface {
    /// Whether operations are listed.
    pub const fn lists_operations(self) -> bool {
        matches!(self, Self::Operations)
    }

    /// The tools of ours that it lists, in the order of names, where operations of these effects can be
    /// called.
    pub fn own(self, reaches: impl Fn(Effect) -> bool) -> impl Iterator<Item = &'static OwnTool> {
        tools().iter().filter(move |tool| match tool.does {
            Does::ReadResult | Does::WhoAmI => true,
            Does::Execute(effect) => self == Self::Compact && reaches(effect),
            Does::Search | Does::Describe => self == Self::Compact,
        })
    }
}

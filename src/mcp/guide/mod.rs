//! Guides: facts that apply to many operations and are in no single tool description.

/// A guide on one topic.
#[derive(Clone, Copy, Debug)]
pub struct Guide {
    /// Identifier of the guide, used in its URI.
    pub topic: &'static str,
    /// Title for display.
    pub title: &'static str,
    /// Summary in one sentence.
    pub about: &'static str,
    /// Text in Markdown.
    pub text: &'static str,
}

/// All guides, sorted by topic.
pub const GUIDES: &[Guide] = &[
    Guide {
        topic: "budgets",
        title: "Budgets and limits",
        about: "Where budgets and rates are set, in which units, and how they reset.",
        text: include_str!("budgets.md"),
    },
    Guide {
        topic: "errors",
        title: "Errors",
        about: "What Portkey's refusals mean and what to do next.",
        text: include_str!("errors.md"),
    },
    Guide {
        topic: "paging",
        title: "Paging",
        about: "How lists are paged, and where they differ.",
        text: include_str!("paging.md"),
    },
    Guide {
        topic: "plan-gates",
        title: "Plans and keys",
        about: "What needs the Enterprise plan, and which kind of key reaches what.",
        text: include_str!("plan-gates.md"),
    },
    Guide {
        topic: "workflows",
        title: "Workflows",
        about: "How things belong together, in which order they are made, and what a deletion takes along.",
        text: include_str!("workflows.md"),
    },
];

//! Guides: what holds of many operations and stands in no single description.
//!
//! Facts are those of quirks.md and errors.md, in our words.

/// A guide.
#[derive(Clone, Copy, Debug)]
pub struct Guide {
    /// What it is asked for by.
    pub topic: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// What it is about, in a sentence.
    pub about: &'static str,
    /// Its text, in Markdown.
    pub text: &'static str,
}

/// Every guide, in the order of topics.
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

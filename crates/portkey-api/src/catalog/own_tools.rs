//! Names of tools that are no operations, for errors about them where only operations can be named.

/// Tools of the server itself, each with what it is.
const OWN_TOOLS: &[(&str, &str)] = &[
    ("apply-plan", "a tool for plans"),
    ("create-operation", "a built-in tool"),
    ("delete-operation", "a built-in tool"),
    ("describe-operation", "a built-in tool"),
    ("detect-drift", WORKFLOW),
    ("diagnose-failures", WORKFLOW),
    ("export-snapshot", WORKFLOW),
    ("find-usages", WORKFLOW),
    ("get-change", HISTORY),
    ("list-changes", HISTORY),
    ("migrate-prompt", WORKFLOW),
    ("onboard-team", WORKFLOW),
    ("plan-changes", "a tool for plans"),
    ("plan-provider-migration", WORKFLOW),
    ("promote-prompt", WORKFLOW),
    ("read-log-export", WORKFLOW),
    ("read-operation", "a built-in tool"),
    ("read-result", "a built-in tool"),
    ("register-mcp-server", WORKFLOW),
    ("report-budgets", WORKFLOW),
    ("report-costs", WORKFLOW),
    ("review-access", WORKFLOW),
    ("rotate-key-safely", WORKFLOW),
    ("search-operations", "a built-in tool"),
    ("undo-change", HISTORY),
    ("update-operation", "a built-in tool"),
    ("validate-completion-metadata", WORKFLOW),
    ("whoami", "a built-in tool"),
];

const WORKFLOW: &str = "a workflow";
const HISTORY: &str = "a tool of the history";

/// Returns the name of a tool of the server itself and what it is, such as `a workflow`.
pub fn find_own_tool(name: &str) -> Option<(&'static str, &'static str)> {
    let name = name.replace('_', "-");
    OWN_TOOLS.iter().copied().find(|(own, _)| *own == name)
}

/// Returns the names of the tools of the server itself, in order.
pub fn own_tools() -> impl Iterator<Item = &'static str> {
    OWN_TOOLS.iter().map(|(name, _)| *name)
}

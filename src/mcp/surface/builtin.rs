//! Built-in tools, which find, describe and call operations, describe the caller, and undo changes.
//! Workflows are among them.
//!
//! Each is declared like an operation, so that schema, hints and validation have one source. None
//! is ever sent upstream.

use std::{borrow::Cow, sync::LazyLock};

use portkey_operation::{
    CompiledOperation, Effect, EndTime, JsonMap, Operation, Presentation, StartTime, delete, get,
    post, put,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::workflows::{WORKFLOWS, Workflow};

/// A built-in tool.
#[derive(Debug)]
pub struct BuiltinTool {
    /// Action of the tool.
    pub action: BuiltinAction,
    /// Declaration without a schema.
    pub operation: &'static Operation,
    /// Declaration with its schema.
    pub published: CompiledOperation,
}

impl BuiltinTool {
    /// Returns the declaration in the operator's presentation.
    pub fn with_presentation(&self, presentation: &Presentation) -> CompiledOperation {
        CompiledOperation::with_presentation(self.operation.clone(), presentation)
    }
}

/// Action of a built-in tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltinAction {
    /// Finds operations by their purpose.
    Search,
    /// Returns the description and the schema of an operation.
    Describe,
    /// Calls an operation of this effect, and of no other.
    Execute(Effect),
    /// Reads a truncated result.
    ReadResult,
    /// Returns the caller and the permissions of its key.
    WhoAmI,
    /// Calls several operations.
    Workflow(&'static Workflow),
    /// Shows or undoes changes.
    History(HistoryTool),
    /// Plans several writes.
    PlanChanges,
    /// Makes the writes of a plan.
    ApplyPlan,
}

/// A tool of the history of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryTool {
    /// Lists changes.
    List,
    /// Shows one.
    Get,
    /// Undoes one.
    Undo,
}

impl HistoryTool {
    /// Returns the name of the tool.
    pub const fn name(self) -> &'static str {
        match self {
            Self::List => "list-changes",
            Self::Get => "get-change",
            Self::Undo => "undo-change",
        }
    }
}

/// All built-in tools but the workflows, sorted by name. The hints of those that call operations cover every
/// operation they may call.
static TOOLS: &[(Operation, BuiltinAction)] = &[
    (
        post::<ApplyPlan>("apply-plan", "/").destructive().open_world().idempotent(),
        BuiltinAction::ApplyPlan,
    ),
    (
        post::<Execute>("create-operation", "/").destructive().open_world().with_docs(
            "Create",
            "Calls an operation that creates or adds something.",
        ),
        BuiltinAction::Execute(Effect::Create),
    ),
    (
        delete::<Execute>("delete-operation", "/").with_docs(
            "Delete",
            "Calls an operation that removes something.",
        ),
        BuiltinAction::Execute(Effect::Delete),
    ),
    (get::<Describe>("describe-operation", "/"), BuiltinAction::Describe),
    (get::<GetChange>("get-change", "/"), BuiltinAction::History(HistoryTool::Get)),
    (get::<ListChanges>("list-changes", "/"), BuiltinAction::History(HistoryTool::List)),
    (
        get::<Execute>("read-operation", "/").open_world().with_docs(
            "Read",
            "Calls an operation that changes nothing. Describing it first is optional: a wrong call is told what \
             it takes.",
        ),
        BuiltinAction::Execute(Effect::Read),
    ),
    (
        get::<PlanChanges>("plan-changes", "/").returns_untrusted_content(),
        BuiltinAction::PlanChanges,
    ),
    (get::<ReadResult>("read-result", "/"), BuiltinAction::ReadResult),
    (get::<Search>("search-operations", "/"), BuiltinAction::Search),
    (
        put::<UndoChange>("undo-change", "/").destructive().not_idempotent(),
        BuiltinAction::History(HistoryTool::Undo),
    ),
    (
        put::<Execute>("update-operation", "/").destructive().not_idempotent().with_docs(
            "Update",
            "Calls an operation that changes something. Fields left out stay, unless its description says \
             otherwise.",
        ),
        BuiltinAction::Execute(Effect::Update),
    ),
    (get::<WhoAmI>("whoami", "/"), BuiltinAction::WhoAmI),
];

/// Find operations
///
/// Names operations for a task, best first, with the tool that calls each, and tools for the whole task.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct Search {
    /// Such as `turn off a provider`.
    #[schemars(length(min = 1, max = 300))]
    query: String,
    /// Only these.
    effect: Option<Word>,
    /// How many; 8 when left out.
    #[schemars(range(min = 1, max = 30))]
    limit: Option<u32>,
}

/// What an operation does.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Word {
    Read,
    Create,
    Update,
    Delete,
}

/// Describe an operation
///
/// Returns what an operation does, and its arguments as JSON Schema.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct Describe {
    /// Such as `create-integration`.
    operation: String,
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct Execute {
    /// From `search-operations`.
    operation: String,
    /// Its arguments.
    arguments: Option<JsonMap>,
}

/// Read a result
///
/// Reads more of a `truncated` answer: a part, a page, or what a search finds.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct ReadResult {
    /// As `truncated` has it.
    handle: String,
    /// JSON Pointer, such as `/data/0/name`.
    #[schemars(length(max = 2048))]
    pointer: Option<String>,
    /// Items, entries or characters to skip.
    offset: Option<u32>,
    /// How many to return.
    #[schemars(range(min = 1))]
    limit: Option<u32>,
    /// Text to find in names and values.
    #[schemars(length(min = 1, max = 256))]
    search: Option<String>,
}

/// List changes
///
/// Lists writes made through this server, latest first.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct ListChanges {
    /// Such as `update-config`.
    tool: Option<String>,
    /// Id or slug.
    target: Option<String>,
    /// From.
    since: Option<StartTime>,
    /// Until.
    #[schemars(extend("x-publish" = "hidden"))]
    until: Option<EndTime>,
    /// Such as `in_doubt`.
    #[schemars(extend("x-publish" = "hidden"))]
    outcome: Option<String>,
    /// Id of the change after which the page begins.
    #[schemars(extend("x-publish" = "hidden"))]
    before: Option<String>,
    /// How many.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

/// Show a change
///
/// Shows what it changed.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct GetChange {
    /// Of the change.
    id: String,
}

/// Undo a change
///
/// Restores what was there before, if nothing has changed since.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct UndoChange {
    /// Of the change.
    id: String,
    /// Even if it has.
    force: Option<bool>,
}

/// Plan changes
///
/// Validates several writes, shows what each would change and what depends on it, and returns a plan for
/// `apply-plan`. Sends nothing. `${step.field}` in a text is a field of another step's answer.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct PlanChanges {
    /// The writes.
    steps: Option<Vec<PlanStep>>,
    /// The steps as YAML instead.
    document: Option<String>,
}

/// id, tool*, arguments; an update takes `patch`.
///
/// A write.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct PlanStep {
    /// Name for references.
    id: Option<String>,
    /// Tool.
    ///
    /// Required: it is called.
    tool: String,
    /// Its arguments.
    arguments: Option<JsonMap>,
}

/// Apply a plan
///
/// Makes the writes of a plan in order, if nothing has changed since. Stops at the first failure; a repeated call
/// goes on.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct ApplyPlan {
    /// As `plan-changes` returned it.
    plan: String,
}

/// Who am I
///
/// Says who calls, what this server offers, and what the Portkey key may do, as cheap reads tell.
#[derive(Deserialize, JsonSchema)]
struct WhoAmI {}

/// Returns all built-in tools, sorted by name.
pub fn builtin_tools() -> &'static [BuiltinTool] {
    static BUILTIN: LazyLock<Vec<BuiltinTool>> = LazyLock::new(|| {
        let workflows = WORKFLOWS
            .iter()
            .map(|workflow| (&workflow.operation, BuiltinAction::Workflow(workflow)));
        let own = TOOLS.iter().map(|(operation, does)| (operation, *does));
        let mut all: Vec<_> = own.chain(workflows).collect();
        all.sort_by_key(|(operation, _)| operation.name());
        let made = all.into_iter().map(|(operation, action)| BuiltinTool {
            action,
            operation,
            published: CompiledOperation::new(operation.clone()),
        });
        made.collect()
    });
    &BUILTIN
}

/// Finds a built-in tool by name, with hyphens or underscores.
pub fn find_builtin(name: &str) -> Option<&'static BuiltinTool> {
    let name = match name.contains('_') {
        true => Cow::Owned(name.replace('_', "-")),
        false => Cow::Borrowed(name),
    };
    // Most calls name operations, so no schema is built for this check.
    let own = TOOLS.iter().map(|(operation, _)| operation);
    let workflows = WORKFLOWS.iter().map(|workflow| &workflow.operation);
    own.chain(workflows)
        .find(|operation| operation.name() == name)?;
    builtin_tools()
        .iter()
        .find(|tool| tool.operation.name() == name)
}

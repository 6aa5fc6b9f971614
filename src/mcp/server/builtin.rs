//! Calls of built-in tools: their results, or the operation that they call.

use futures_util::FutureExt;
use portkey_api::catalog::{CatalogEntry, ParsedToolName, ToolLookupError, did_you_mean_one_of};
use portkey_journal::Change;
use portkey_operation::{
    Effect, InputError, JsonMap, Operation, Plan, UnknownFields, ValidatedArguments,
    ValidationOptions,
};
use serde_json::{Value, json};

use super::Server;
use crate::{
    auth::principal::Principal,
    changes::{
        CHANGE_ARGUMENT, FORCE_ARGUMENT,
        plan::{self, ChangePlan, StepInput},
    },
    mcp::{
        results::{Listing, PartRequest, ResultError},
        search::{SearchHit, SearchHits, SearchIndex},
        surface::{BuiltinAction, BuiltinTool, HistoryTool, builtin_tools, find_builtin},
        tool_names::spell_in_value,
    },
    observability::request::RequestInfo,
    pipeline::{CallError, CallRecord},
    workflows::Workflow,
};

/// Default number of operations that a search returns.
const DEFAULT_SEARCH_LIMIT: usize = 8;

/// Arguments that every list accepts beside those of its schema.
const LIST_OPTIONS_HINT: &str = "`fields` (a list of names to return, with dots into objects), `all: true` (the pages \
    that follow, too) and, where there is a `workspace_id`, `all_workspaces: true`";

/// Result of a built-in tool.
pub(super) struct BuiltinResult {
    pub(super) value: Value,
    /// `true` if the result has untrusted content.
    pub(super) is_untrusted: bool,
}

impl From<Value> for ToolTarget {
    fn from(value: Value) -> Self {
        Self::Completed(BuiltinResult {
            value,
            is_untrusted: false,
        })
    }
}

/// Target of a call of a built-in tool.
pub(super) enum ToolTarget {
    /// The call is completed with this result.
    Completed(BuiltinResult),
    /// Operation to call, with its arguments.
    Operation(&'static Operation, JsonMap),
    /// The call is completed with this result, which may be large.
    Described(BuiltinResult),
    /// Change to undo, with the arguments of the call.
    Undo(Box<Change>, ValidatedArguments),
    /// Workflow to run, with its arguments and the warnings about them.
    Workflow(&'static Workflow, ValidatedArguments),
    /// Changes to plan.
    Plan(Vec<StepInput>),
    /// Plan to apply.
    ApplyPlan(Box<ChangePlan>),
}

impl Server {
    /// Resolves a call of a built-in tool.
    ///
    /// A call that should reach an operation and fails is audited like other rejected calls.
    pub(super) async fn resolve_builtin(
        &self,
        own: &'static BuiltinTool,
        principal: &Principal,
        request_info: &RequestInfo,
        args: JsonMap,
        record: &mut CallRecord,
    ) -> Result<ToolTarget, CallError> {
        record.operation = Some(own.operation);
        let reaches_operations = matches!(
            own.action,
            BuiltinAction::Execute(_)
                | BuiltinAction::Workflow(_)
                | BuiltinAction::History(HistoryTool::Undo)
                | BuiltinAction::PlanChanges
                | BuiltinAction::ApplyPlan
        );
        let received = reaches_operations.then(|| args.clone());
        let reached = self
            .run_builtin(own, principal, request_info, args, record)
            .await;
        if let (Some(received), Err(_)) = (&received, &reached) {
            self.dispatcher
                .record_rejected_call(principal, request_info, received, record);
        }
        reached
    }

    async fn run_builtin(
        &self,
        own: &BuiltinTool,
        principal: &Principal,
        request_info: &RequestInfo,
        args: JsonMap,
        record: &mut CallRecord,
    ) -> Result<ToolTarget, CallError> {
        // No argument is sent upstream, so unknown ones need not be tolerated.
        let options = ValidationOptions {
            unknown_fields: UnknownFields::Deny,
            ..Default::default()
        };
        if let BuiltinAction::History(HistoryTool::Undo) = own.action
            && args.keys().all(|name| name == FORCE_ARGUMENT)
        {
            // Validation would also say that nothing to change is given.
            return Err(InputError::new(CHANGE_ARGUMENT, "is required").into());
        }
        let validated = own.published.validate(args, &options)?;
        let args = &validated.args;
        match own.action {
            BuiltinAction::Workflow(workflow) => {
                self.check_needs(workflow, args, principal)?;
                Ok(ToolTarget::Workflow(workflow, validated))
            }
            BuiltinAction::History(tool) => {
                self.run_history_tool(tool, principal, request_info, validated)
                    .boxed()
                    .await
            }
            BuiltinAction::PlanChanges => Ok(ToolTarget::Plan(plan_steps(args)?)),
            BuiltinAction::ApplyPlan => {
                let given = args.get("plan").and_then(Value::as_str).unwrap_or_default();
                let plan = self.plan_store()?.open(principal, given).await?;
                Ok(ToolTarget::ApplyPlan(Box::new(plan)))
            }
            BuiltinAction::Search => Ok(self.spell(self.search_response(principal, args)).into()),
            BuiltinAction::Describe => {
                let name = operation_name(args);
                let description = match find_workflow(name) {
                    Some((tool, workflow)) if self.offers_workflow(principal, workflow) => {
                        describe_workflow(tool)
                    }
                    _ => describe_operation(self.find_visible(principal, name)?),
                };
                Ok(self.spell(description).into())
            }
            BuiltinAction::Execute(effect) => match find_workflow(operation_name(args)) {
                Some((tool, workflow)) => {
                    record.operation = Some(tool.operation);
                    check_effect(tool.operation, effect)?;
                    let validated = tool.published.validate(call_arguments(args), &options)?;
                    self.check_needs(workflow, &validated.args, principal)?;
                    Ok(ToolTarget::Workflow(workflow, validated))
                }
                None => Ok(self.resolve_operation(effect, principal, args, record)?),
            },
            BuiltinAction::ReadResult => Ok(ToolTarget::Completed(
                self.read_result_part(principal, request_info, args).await?,
            )),
            BuiltinAction::WhoAmI => Ok(self.whoami(principal, request_info).boxed().await.into()),
        }
    }

    /// Rejects a workflow of which an operation is not offered to the caller. Begun, it might end
    /// halfway.
    fn check_needs(
        &self,
        workflow: &Workflow,
        args: &JsonMap,
        principal: &Principal,
    ) -> Result<(), InputError> {
        let catalog = self.dispatcher.catalog();
        let is_offered = |name: &&str| {
            catalog
                .find(name)
                .is_ok_and(|entry| self.dispatcher.is_authorized(principal, entry))
        };
        match workflow.needs_for(args).find(|name| !is_offered(name)) {
            None => Ok(()),
            Some(missing) => {
                let name = workflow.operation.name();
                let what = format!("`{name}` calls `{missing}`, which is not on offer here");
                Err(InputError::new("", what))
            }
        }
    }

    /// Returns true if a caller sees all operations that every call of a workflow needs.
    pub(super) fn offers_workflow(&self, principal: &Principal, workflow: &Workflow) -> bool {
        let catalog = self.dispatcher.catalog();
        workflow.needs.iter().all(|name| {
            catalog
                .find(name)
                .is_ok_and(|entry| self.dispatcher.can_see(principal, entry))
        })
    }

    /// Spells the names of tools in an answer of this server's own.
    fn spell(&self, mut answer: Value) -> Value {
        spell_in_value(self.tool_names(), &mut answer);
        answer
    }

    /// Finds the operation that a tool such as `read-operation` is to call.
    fn resolve_operation(
        &self,
        effect: Effect,
        principal: &Principal,
        args: &JsonMap,
        record: &mut CallRecord,
    ) -> Result<ToolTarget, InputError> {
        let name = operation_name(args);
        let found = self.dispatcher.catalog().find(name);
        let entry =
            found.map_err(|unknown| self.unknown_operation_error(principal, name, unknown))?;
        let operation = entry.operation;
        if operation.effect() != effect {
            record.operation = Some(operation);
            self.find_visible(principal, name)?;
            check_effect(operation, effect)?;
        }
        // An operation that is not offered is rejected and audited by the pipeline.
        Ok(ToolTarget::Operation(operation, call_arguments(args)))
    }

    /// Reads a part of a truncated result.
    async fn read_result_part(
        &self,
        principal: &Principal,
        request_info: &RequestInfo,
        args: &JsonMap,
    ) -> Result<BuiltinResult, InputError> {
        let text = |name: &str| args.get(name).and_then(Value::as_str);
        let number = |name: &str| args.get(name).and_then(Value::as_u64).map(|n| n as usize);
        let request = PartRequest {
            pointer: text("pointer").unwrap_or_default().to_owned(),
            offset: number("offset").unwrap_or_default(),
            limit: number("limit"),
            search: text("search").map(str::to_owned),
        };
        let handle = text("handle").unwrap_or_default();
        let part = self
            .results
            .read(principal, handle, &request)
            .await
            .map_err(|error| {
                let at = if matches!(error, ResultError::NoSuchPart { .. }) {
                    "pointer"
                } else {
                    "handle"
                };
                InputError::new(at, error)
            })?;
        if part.is_untrusted {
            // Another session may have made the call.
            self.dispatcher.taint().mark(principal, request_info).await;
        }
        Ok(BuiltinResult {
            value: part.value,
            is_untrusted: part.is_untrusted,
        })
    }

    /// Returns the schema of an operation, for a caller that passed invalid arguments.
    pub(super) fn schema_hint(&self, name: &str) -> Option<String> {
        let entry = self.dispatcher.catalog().find(name).ok()?;
        Some(format!(
            "`{name}` takes, as JSON Schema: {}",
            json!(**entry.compiled().schema())
        ))
    }

    /// Finds an operation that the caller may see.
    fn find_visible(&self, principal: &Principal, name: &str) -> Result<&CatalogEntry, InputError> {
        match self.dispatcher.catalog().find(name) {
            Ok(entry) if self.dispatcher.can_see(principal, entry) => Ok(entry),
            Ok(_) => Err(InputError::new(
                "operation",
                format!("`{name}` is not on offer here"),
            )),
            Err(unknown) => Err(self.unknown_operation_error(principal, name, unknown)),
        }
    }

    /// Builds the error for an unknown operation, with similar names.
    fn unknown_operation_error(
        &self,
        principal: &Principal,
        name: &str,
        unknown: ToolLookupError,
    ) -> InputError {
        let unknown = self.with_suggestions(principal, name, unknown);
        let more = match unknown {
            ToolLookupError::NotFound { .. } => " (`search-operations` finds others)",
            ToolLookupError::NoOperation { .. }
            | ToolLookupError::Disabled { .. }
            | ToolLookupError::PreviewDisabled { .. } => "",
        };
        InputError::new("operation", format!("{unknown}{more}"))
    }

    /// Adds suggestions to the error, from the operations that the caller may see.
    ///
    /// Suggests the operation whose name differs only by a typing error, or else search hits that
    /// match the verb of the name.
    pub(super) fn with_suggestions(
        &self,
        principal: &Principal,
        name: &str,
        unknown: ToolLookupError,
    ) -> ToolLookupError {
        let ToolLookupError::NotFound { name: shown, .. } = unknown else {
            return unknown;
        };
        let guess = ParsedToolName::new(name);
        let catalog = self.dispatcher.catalog().iter();
        let visible = catalog.filter(|entry| self.dispatcher.can_see(principal, entry));
        let visible = visible.map(|entry| entry.operation);
        let own: Vec<&Operation> = self
            .offered_builtins(principal)
            .map(|tool| tool.operation)
            .collect();
        let own = || own.iter().copied();
        if let Some(operation) = guess.find_misspelled(visible.clone().chain(own())) {
            return ToolLookupError::NotFound {
                name: shown,
                hint: did_you_mean_one_of([operation]),
            };
        }
        let mut meant = guess.rank_by_name(visible);
        let hits = self.search_visible(principal, &guess.nouns()).operations;
        for operation in hits
            .iter()
            .map(|hit| hit.operation)
            .take(DEFAULT_SEARCH_LIMIT)
        {
            let is_new = !meant.iter().any(|known| known.name() == operation.name());
            if is_new && guess.may_mean(operation) {
                meant.push(operation);
            }
        }
        if meant.is_empty() {
            meant = guess.rank_by_name(own());
        }
        ToolLookupError::NotFound {
            name: shown,
            hint: did_you_mean_one_of(meant),
        }
    }

    /// Returns the built-in tools that a caller can call by name: workflows, plans and the history, and
    /// on the compact surface those that call operations.
    pub(super) fn offered_builtins<'a>(
        &'a self,
        principal: &'a Principal,
    ) -> impl Iterator<Item = &'static BuiltinTool> + 'a {
        builtin_tools()
            .iter()
            .filter(move |tool| match tool.action {
                BuiltinAction::Workflow(workflow) => self.offers_workflow(principal, workflow),
                BuiltinAction::History(tool) => {
                    self.dispatcher.journal().is_some() && self.offers_history(principal, tool)
                }
                BuiltinAction::PlanChanges
                | BuiltinAction::ApplyPlan
                | BuiltinAction::ReadResult
                | BuiltinAction::WhoAmI => true,
                BuiltinAction::Search | BuiltinAction::Describe | BuiltinAction::Execute(_) => {
                    !self.surface.lists_operations()
                }
            })
    }

    /// Returns true if a search finds a built-in tool for a caller: a workflow wherever it is offered, others
    /// where they are listed.
    fn finds_builtin(&self, principal: &Principal, name: &str) -> bool {
        match find_workflow(name) {
            Some((_, workflow)) => self.offers_workflow(principal, workflow),
            None => self.lists_builtin(principal, name),
        }
    }

    /// Summarizes a tool for a list of search hits, with the tool that calls it where it is not listed.
    fn summarize_tool(&self, tool: &BuiltinTool) -> Value {
        let mut summary = JsonMap::new();
        summary.insert("tool".to_owned(), tool.operation.name().into());
        summary.insert("title".to_owned(), tool.published.title().into());
        if let BuiltinAction::Workflow(workflow) = tool.action
            && !self.surface.lists(workflow.listing)
        {
            summary.insert("call_by".to_owned(), executor_tool(tool.operation).into());
        }
        summary.into()
    }

    /// Searches the operations and tools that the caller may see, the best first.
    fn search_visible(&self, principal: &Principal, words: &str) -> SearchHits {
        let catalog = self.dispatcher.catalog();
        let index = self.index.get_or_init(|| {
            let entries = self.dispatcher.available_entries();
            SearchIndex::from_entries_and_tools(entries, builtin_tools())
        });
        index.search_all(words, |operation| match catalog.find(operation.name()) {
            Ok(entry) => self.dispatcher.can_see(principal, entry),
            Err(_) => self.finds_builtin(principal, operation.name()),
        })
    }

    fn search_response(&self, principal: &Principal, args: &JsonMap) -> Value {
        let query = args
            .get("query")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let effect = args.get("effect").and_then(Value::as_str);
        let limit = args
            .get("limit")
            .and_then(Value::as_u64)
            .and_then(|limit| limit.try_into().ok());
        let fits =
            |hit: &SearchHit| effect.is_none_or(|one| hit.operation.effect().as_str() == one);
        let catalog = self.dispatcher.catalog();
        let hits = self.search_visible(principal, query);
        let near = hits.operations.iter().filter(|hit| fits(hit));
        let operations: Vec<Value> = near
            .filter_map(|hit| catalog.find(hit.operation.name()).ok())
            .take(limit.unwrap_or(DEFAULT_SEARCH_LIMIT))
            .map(summarize_operation)
            .collect();
        let tools = hits.tools.iter().filter(|hit| fits(hit));
        let tools: Vec<Value> = tools
            .filter_map(|hit| find_builtin(hit.operation.name()))
            .map(|tool| self.summarize_tool(tool))
            .collect();
        let finds_no_operation = operations.is_empty();
        let mut response = JsonMap::new();
        response.insert("operations".to_owned(), operations.into());
        if !tools.is_empty() {
            response.insert("tools".to_owned(), tools.into());
        } else if finds_no_operation {
            let note =
                "nothing on offer fits; say what it is about and what to do, or leave out `effect`";
            response.insert("note".to_owned(), note.into());
        }
        response.into()
    }
}

/// Returns the steps that a call of `plan-changes` names.
fn plan_steps(args: &JsonMap) -> Result<Vec<StepInput>, InputError> {
    match (args.get("steps"), args.get("document")) {
        (Some(steps), None) => plan::parse_value(steps.clone()),
        (None, Some(Value::String(text))) => plan::parse_document(text),
        _ => Err(InputError::new(
            "steps",
            "give either `steps` or a `document`",
        )),
    }
}

/// Returns the `operation` argument of a call.
fn operation_name(args: &JsonMap) -> &str {
    args.get("operation")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Returns the `arguments` argument of a call.
fn call_arguments(args: &JsonMap) -> JsonMap {
    let arguments = args.get("arguments").and_then(Value::as_object);
    arguments.cloned().unwrap_or_default()
}

/// Returns the workflow of a name.
fn find_workflow(name: &str) -> Option<(&'static BuiltinTool, &'static Workflow)> {
    let tool = find_builtin(name)?;
    match tool.action {
        BuiltinAction::Workflow(workflow) => Some((tool, workflow)),
        _ => None,
    }
}

/// Checks that a tool such as `read-operation` calls what is of its effect.
fn check_effect(operation: &Operation, effect: Effect) -> Result<(), InputError> {
    if operation.effect() == effect {
        return Ok(());
    }
    let name = operation.name();
    let does = operation.effect().as_str();
    let tool = executor_tool(operation);
    let what = format!("`{name}` is of the effect {does}; call it by `{tool}`");
    Err(InputError::new("operation", what))
}

/// Returns the built-in tool that calls an operation.
fn executor_tool(operation: &Operation) -> &'static str {
    match operation.effect() {
        Effect::Read => "read-operation",
        Effect::Create => "create-operation",
        Effect::Update => "update-operation",
        Effect::Delete => "delete-operation",
    }
}

/// Summarizes an operation for a list of search hits.
fn summarize_operation(entry: &CatalogEntry) -> Value {
    let published = entry.compiled();
    json!({
        "operation": entry.operation.name(),
        "title": published.title(),
        "call_by": executor_tool(entry.operation),
        "required": published.full_schema().get("required").unwrap_or(&json!([])),
    })
}

/// Describes a workflow for a caller that is about to call it.
fn describe_workflow(tool: &BuiltinTool) -> Value {
    let hints = tool.operation.hints();
    json!({
        "operation": tool.operation.name(),
        "title": tool.published.title(),
        "description": tool.published.description(),
        "effect": tool.operation.effect().as_str(),
        "call_by": executor_tool(tool.operation),
        "destructive": hints.destructive,
        "idempotent": hints.idempotent,
        "arguments": &**tool.published.schema(),
    })
}

/// Describes an operation for a caller that is about to call it.
fn describe_operation(entry: &CatalogEntry) -> Value {
    let operation = entry.operation;
    let published = entry.compiled();
    let hints = operation.hints();
    json!({
        "operation": operation.name(),
        "title": published.title(),
        "description": published.description(),
        "domain": entry.domain.name,
        "effect": operation.effect().as_str(),
        "call_by": executor_tool(operation),
        "destructive": hints.destructive,
        "idempotent": hints.idempotent,
        "key_scopes_any_of": operation.required_scopes(),
        "plan": match operation.plan() {
            Plan::Any => "any",
            Plan::Enterprise => "Enterprise",
        },
        "preview": !operation.is_stable(),
        "arguments": &**published.schema(),
        "also_takes": Listing::for_operation(published).map(|_| LIST_OPTIONS_HINT),
    })
}

//! The tools of the history: lists and shows changes, and undoes one by a call of the pipeline.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use http::StatusCode;
use portkey_journal::{Change, ChangeFilter, ChangeOutcome, ChangeScope, Journal, JournalError};
use portkey_merge_patch::Diff;
use portkey_operation::{InputError, JsonMap, ValidatedArguments, ValidationOptions};
use serde_json::{Value, json};

use super::{
    Server,
    builtin::{BuiltinResult, ToolTarget},
    tool_call::{Approver, CalledOperation, Recheck, ToolCallFlow, ToolCallResult},
};
use crate::{
    auth::principal::Principal,
    changes::{CHANGE_ARGUMENT, ChangeContext, FORCE_ARGUMENT, UndoCall, change_to_json},
    mcp::{
        results::annotate,
        surface::{self, HistoryTool},
    },
    observability::{call_record::OutcomeKind, request::RequestInfo},
    pipeline::{Answer, CallError, CallRecord, approval::ApprovalResponse, owner_of},
};

/// Number of changes on a page, if a call names none.
const DEFAULT_LIMIT: u64 = 10;

/// Maximum number of differences that a change is shown with.
const MAX_SHOWN_DIFFERENCES: usize = 100;

const NO_JOURNAL: &str = "there is no history here: it is off with `--no-journal`, and over HTTP and with `--sandbox` \
    unless `--journal` names a file or `--journal-url` a database";

impl Server {
    /// Returns true if the caller may use a tool of the history.
    pub(super) fn offers_history(&self, principal: &Principal, tool: HistoryTool) -> bool {
        self.dispatcher.journal().is_some() && !self.dispatcher.hides_tool(principal, tool.name())
    }

    fn journal_for(
        &self,
        principal: &Principal,
        tool: HistoryTool,
    ) -> Result<&Journal, InputError> {
        let journal = self.dispatcher.journal();
        let journal = journal.ok_or_else(|| InputError::new("", NO_JOURNAL))?;
        match self.dispatcher.hides_tool(principal, tool.name()) {
            true => {
                let what = format!("`{}` is hidden by the policy of this server", tool.name());
                Err(InputError::new("", what))
            }
            false => Ok(journal),
        }
    }

    /// Resolves a call of a tool of the history.
    pub(super) async fn run_history_tool(
        &self,
        tool: HistoryTool,
        principal: &Principal,
        request_info: &RequestInfo,
        args: ValidatedArguments,
    ) -> Result<ToolTarget, CallError> {
        let journal = self.journal_for(principal, tool)?;
        match tool {
            HistoryTool::List => {
                let value = self
                    .list_own_changes(journal, principal, &args.args)
                    .await?;
                let is_untrusted = false;
                Ok(ToolTarget::Described(BuiltinResult {
                    value,
                    is_untrusted,
                }))
            }
            HistoryTool::Get => {
                let mut change = self.find_change(journal, principal, &args.args).await?;
                let may_read = self
                    .dispatcher
                    .redact_change(principal, request_info, &mut change)
                    .await;
                let context = ChangeContext {
                    dispatcher: &self.dispatcher,
                    principal,
                    request_info,
                };
                let diff = match may_read {
                    true => context.made_differences(&change).await,
                    false => Diff::default(),
                };
                let result = self.show_change(&change, may_read, &diff);
                if result.is_untrusted {
                    self.dispatcher.mark_taint(principal, request_info).await;
                }
                Ok(ToolTarget::Described(result))
            }
            HistoryTool::Undo => {
                let change = self.find_change(journal, principal, &args.args).await?;
                Ok(ToolTarget::Undo(Box::new(change), args))
            }
        }
    }

    /// Lists the caller's changes, as a step of a workflow.
    ///
    /// # Errors
    /// Returns an error if the journal cannot be read.
    pub(super) async fn list_changes_for_step(
        &self,
        principal: &Principal,
        args: &JsonMap,
    ) -> Result<Value, InputError> {
        let Some(journal) = self.dispatcher.journal() else {
            return Ok(json!({ "absent": "there is none here" }));
        };
        match self
            .dispatcher
            .hides_tool(principal, HistoryTool::List.name())
        {
            true => Ok(json!({ "absent": "a policy hides it" })),
            false => self.list_own_changes(journal, principal, args).await,
        }
    }

    async fn list_own_changes(
        &self,
        journal: &Journal,
        principal: &Principal,
        args: &JsonMap,
    ) -> Result<Value, InputError> {
        let scope = ChangeScope::Owner(owner_of(principal));
        let upstreams = Some(self.dispatcher.upstreams());
        self.list_changes(journal, (scope, upstreams), Some(principal), args)
            .await
    }

    /// Lists the changes of all callers and upstreams, for the user who can read the file.
    ///
    /// # Errors
    /// Returns an error if there is no journal, or an argument is invalid.
    pub(crate) async fn list_all_changes(&self, args: JsonMap) -> Result<Value, CallError> {
        let tool = surface::find_builtin(HistoryTool::List.name());
        let args = match tool {
            Some(tool) => {
                tool.published
                    .validate(args, &ValidationOptions::default())?
                    .args
            }
            None => args,
        };
        let journal = self.dispatcher.journal();
        let journal = journal.ok_or_else(|| InputError::new("", NO_JOURNAL))?;
        Ok(self
            .list_changes(journal, (ChangeScope::Everybody, None), None, &args)
            .await?)
    }

    /// Lists changes within a scope and of upstreams. `viewer` sees those of operations that are open to
    /// it.
    async fn list_changes(
        &self,
        journal: &Journal,
        (scope, upstreams): (ChangeScope, Option<Vec<String>>),
        viewer: Option<&Principal>,
        args: &JsonMap,
    ) -> Result<Value, InputError> {
        let text = |name: &str| args.get(name).and_then(Value::as_str).map(str::to_owned);
        let limit = args.get("limit").and_then(Value::as_u64);
        let outcome = match text("outcome") {
            None => None,
            Some(value) => Some(ChangeOutcome::from_value(&value).ok_or_else(|| {
                let values: Vec<_> = ChangeOutcome::ALL.iter().map(|one| one.as_str()).collect();
                InputError::new("outcome", format!("is one of {}", values.join(", ")))
            })?),
        };
        let filter = ChangeFilter {
            scope,
            upstreams,
            // A tool may be named as a client lists it.
            operation: text("tool").map(|name| match self.dispatcher.catalog().find(&name) {
                Ok(entry) => entry.operation.name().to_owned(),
                Err(_) => name,
            }),
            target: text("target"),
            caller: text("caller"),
            since: parse_time(args, "since")?,
            until: parse_time(args, "until")?,
            outcome,
            before: text("before"),
            limit: usize::try_from(limit.unwrap_or(DEFAULT_LIMIT)).unwrap_or(usize::MAX),
        };
        let page = journal.list(filter).await.map_err(|error| match error {
            JournalError::NoSuchChange => InputError::new("before", error),
            error => unreadable(&error),
        })?;
        let next = page.changes.last().filter(|_| page.has_more);
        let next = next.map(|change| change.id.clone());
        let is_open = |change: &&Change| {
            viewer.is_none_or(|viewer| self.may_see_operation(viewer, &change.head.operation))
        };
        let changes = page.changes.iter().filter(is_open);
        let changes: Vec<Value> = changes.map(|change| self.summarize(change)).collect();
        let mut answer = json!({ "changes": changes });
        if let (Some(next), Some(answer)) = (next, answer.as_object_mut()) {
            answer.insert("next".to_owned(), json!({ "before": next }));
        }
        Ok(answer)
    }

    fn may_see_operation(&self, viewer: &Principal, name: &str) -> bool {
        let entry = self.dispatcher.catalog().find(name);
        entry.is_ok_and(|entry| self.dispatcher.is_authorized(viewer, entry))
    }

    async fn find_change(
        &self,
        journal: &Journal,
        principal: &Principal,
        args: &JsonMap,
    ) -> Result<Change, InputError> {
        let id = args.get(CHANGE_ARGUMENT).and_then(Value::as_str);
        let id = id.unwrap_or_default();
        let scope = ChangeScope::Owner(owner_of(principal));
        let found = journal.get(id, scope).await;
        let found = found.map_err(|error| unreadable(&error))?;
        found
            .filter(|change| self.may_see_operation(principal, &change.head.operation))
            .ok_or_else(|| {
                let what = "there is no such change, or it was made with another Portkey key; \
                            `list-changes` lists them";
                InputError::new(CHANGE_ARGUMENT, what)
            })
    }

    /// Summarizes a change for a list. Its upstream is named if this server calls another one.
    fn summarize(&self, change: &Change) -> Value {
        let mut summary = summarize(change);
        let operation = self.dispatcher.catalog().find(&change.head.operation);
        let current = operation
            .ok()
            .and_then(|entry| self.dispatcher.upstream_of(entry.operation));
        if let (Some(upstream), Some(fields)) = (&change.upstream, summary.as_object_mut())
            && Some(upstream) != current.as_ref()
        {
            fields.insert("upstream".to_owned(), upstream.as_str().into());
        }
        summary
    }

    /// Shows a change with its documents. The prior state is shown to callers who may read it.
    fn show_change(&self, change: &Change, may_read: bool, diff: &Diff) -> BuiltinResult {
        let mut shown = self.summarize(change);
        let head = &change.head;
        let is_untrusted = may_read && head.is_untrusted;
        if let Some(fields) = shown.as_object_mut() {
            let mut add = |name: &str, value: Option<Value>| {
                if let Some(value) = value {
                    fields.insert(name.to_owned(), value);
                }
            };
            let caller = &head.caller;
            add(
                "caller",
                Some(json!({
                    "principal": caller.principal, "client": caller.client,
                    "transport": caller.transport, "session": caller.session,
                })),
            );
            if let Some(detail) = &change.detail {
                add("arguments", detail.arguments.clone().map(Value::Object));
                add("before", detail.before.clone().filter(|_| may_read));
                add(
                    "before_unknown",
                    detail.unknown_reason.clone().map(Value::from),
                );
            }
            if may_read {
                let listed = diff.changes.iter().take(MAX_SHOWN_DIFFERENCES);
                let listed: Vec<Value> = listed.map(change_to_json).collect();
                add("changed", Some(listed.into()).filter(|_| !diff.is_empty()));
            }
            add("status", change.result.status.map(Value::from));
            add("error", change.result.error.clone().map(Value::from));
            add("version", change.result.version.clone().map(Value::from));
            add("answer", change.answer.clone());
        }
        BuiltinResult {
            value: shown,
            is_untrusted,
        }
    }
}

impl ToolCallFlow<'_> {
    /// Undoes a change: computes the call that does it, and makes it like any other.
    ///
    /// # Errors
    /// Returns an error if the change cannot be undone, and the errors of the call.
    pub(super) async fn run_undo<'n>(
        &self,
        change: &Change,
        args: ValidatedArguments,
        approval_response: Option<ApprovalResponse>,
        approver: impl Approver,
        record: &mut CallRecord,
    ) -> Result<ToolCallResult<'n>, CallError> {
        let dispatcher = self.server.dispatcher();
        record.warnings = args.warnings;
        let force = args.args.get(FORCE_ARGUMENT) == Some(&Value::Bool(true));
        let undo = self.change_context().prepare_undo(change, force).await;
        let undo = undo.inspect_err(|_| {
            dispatcher.record_rejected_call(self.principal, self.request_info, &args.args, record);
        })?;
        let (entry, call_args) = undo.call.entry_and_arguments();
        let name = entry.operation.name();
        let mut shown = JsonMap::new();
        let prepared = match &undo.call {
            UndoCall::Patch(prepared) => Some(prepared),
            UndoCall::Call { .. } => None,
        };
        if let Some(prepared) = prepared
            && prepared.is_empty()
        {
            record.operation = Some(entry.operation);
            let answer = self
                .finish_without_change(prepared, &args.args, record)
                .await;
            shown.extend(answer.as_object().cloned().unwrap_or_default());
        } else {
            record.undoes = Some(change.id.clone());
            record.is_forced_undo = force;
            record.prior_state = prepared.map(|prepared| Box::new(prepared.prior_state()));
            record.hidden_texts = prepared
                .map(|prepared| prepared.hidden_texts())
                .unwrap_or_default();
            let decided_args = call_args.clone();
            let recheck = Recheck::Undo {
                change,
                force,
                args: &decided_args,
            };
            let called = self
                .call_with_approval(
                    name,
                    call_args,
                    approval_response,
                    &approver,
                    recheck,
                    record,
                )
                .await;
            let mut result = match called {
                CalledOperation::InputRequired(request) => {
                    return Ok(ToolCallResult::InputRequired(request));
                }
                CalledOperation::Ended(result) => result.map(Answer::into_document),
            };
            if let Some(prepared) = prepared {
                prepared.redact(&mut result);
            }
            if let (Some(remark), Err(CallError::Upstream(_, error))) =
                (&undo.if_rejected, &mut result)
                && matches!(
                    error.status,
                    StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY
                )
            {
                error.message = format!("{}. {remark}", error.message.trim_end_matches('.'));
            }
            let answer = result?;
            let is_dry_run = record.outcome.kind == OutcomeKind::DryRun;
            let key = match is_dry_run {
                true => "would_undo",
                false => "undid",
            };
            shown.insert(key.to_owned(), change.id.as_str().into());
            shown.insert("by".to_owned(), name.into());
            if let Some(id) = &record.change_id {
                shown.insert("change".to_owned(), id.as_str().into());
            }
            match prepared.filter(|_| record.is_sent) {
                Some(prepared) => {
                    let report = Box::pin(self.report_change(prepared, answer, record)).await;
                    shown.extend(report.as_object().cloned().unwrap_or_default());
                }
                None => _ = shown.insert("answer".to_owned(), answer),
            }
        }
        if !undo.not_restored.is_empty() {
            shown.insert("not_restored".to_owned(), json!(undo.not_restored));
        }
        if !undo.notes.is_empty() {
            shown.insert("notes".to_owned(), json!(undo.notes));
        }
        let warnings = std::mem::take(&mut record.warnings);
        Ok(ToolCallResult::Workflow(BuiltinResult {
            value: annotate(Value::Object(shown), warnings, Vec::new()),
            is_untrusted: record.untrusted,
        }))
    }
}

/// Summarizes a change without its upstream.
fn summarize(change: &Change) -> Value {
    let head = &change.head;
    let mut fields = JsonMap::new();
    fields.insert("id".to_owned(), change.id.as_str().into());
    fields.insert("time".to_owned(), change.time_text().into());
    fields.insert("tool".to_owned(), head.operation.as_str().into());
    if !head.target.is_empty() {
        fields.insert("target".to_owned(), json!(head.target));
    }
    if !change.result.created.is_empty() {
        fields.insert("created".to_owned(), json!(change.result.created));
    }
    if !head.fields.is_empty() {
        fields.insert("fields".to_owned(), json!(head.fields));
    }
    fields.insert("outcome".to_owned(), change.outcome.as_str().into());
    let links = [("undoes", &change.undoes), ("undone_by", &change.undone_by)];
    for (name, id) in links {
        if let Some(id) = id {
            fields.insert(name.to_owned(), id.as_str().into());
        }
    }
    Value::Object(fields)
}

/// Parses a time, which validation has written as RFC 3339.
fn parse_time(args: &JsonMap, name: &str) -> Result<Option<SystemTime>, InputError> {
    let Some(text) = args.get(name).and_then(Value::as_str) else {
        return Ok(None);
    };
    let time: DateTime<Utc> = text
        .parse()
        .map_err(|_| InputError::new(name, "is not a time in RFC 3339"))?;
    Ok(Some(time.into()))
}

fn unreadable(error: &JournalError) -> InputError {
    InputError::new("", format!("the history cannot be read now: {error}"))
}

//! One call, from its name and arguments to the upstream's response. A request to the endpoint of
//! an operation is a call, too.

mod answer;
pub mod approval;
mod builder;
mod call_history;
mod change_caller;
mod concurrency;
mod document_lines;
pub mod dry_run;
mod error;
mod failed_call;
mod forwarded;
mod handles;
pub(crate) mod hidden_values;
mod history;
mod items;
mod key_check;
mod outside_decision;
mod planned;
mod preview;
mod received;
pub(crate) mod redacted_fields;
mod redacted_filters;
pub(crate) mod redirected_secrets;
mod response;
mod rows;
mod send;
mod state;
pub(crate) mod state_fields;
mod steps;
mod stored;
pub mod taint;
pub mod usages;
mod version_changes;

use std::{sync::Arc, time::Duration};

use portkey_api::catalog::{Catalog, CatalogEntry};
use portkey_concurrency::worker_pool::WorkerPool;
use portkey_file_watch::WatchedValue;
use portkey_journal::Journal;
use portkey_operation::{JsonMap, Operation, ValidationOptions};
use portkey_policy::{FieldPath, Policy, PolicyEvaluation};
use portkey_store::Store;
use serde_json::Value;

use crate::{
    auth::principal::{KeyProofs, Principal, ToolFilter},
    http_client::decision_point::DecisionClient,
    observability::{
        audit::{AuditLog, PendingEntry},
        call_record::{CallOutcome, OutcomeKind},
        request::RequestInfo,
    },
    pipeline::{
        approval::{ApprovalDefaults, ApprovalResponse, Approvals},
        taint::Taint,
    },
    security::secrets::Secrets,
    upstream::UpstreamClient,
};

pub use self::{
    answer::Answer,
    call_history::CALL_HISTORY_DURATION,
    change_caller::owner_of,
    error::{CallError, StepFailure},
    forwarded::{ForwardedResponse, is_json_type},
    key_check::MAX_KEY_CHECKS,
    planned::PlannedCall,
    received::{PlanForm, ReceivedAnswer, ReceivedCall, ReceivedRequest},
    redacted_filters::LOG_READS,
    rows::{RowCondition, RowQuery, RowTest},
    state::ResourceState,
};
use self::{
    call_history::CallHistory, concurrency::CallSlots, history::ChangeSlot, received::CallForm,
};
pub use crate::observability::call_record::CallRecord;

/// The parts that authorize, validate and send tool calls.
#[derive(Debug)]
pub struct Dispatcher {
    catalog: Catalog,
    upstream: UpstreamClient,
    policy: Option<WatchedValue<Policy>>,
    store: Store,
    dry_run: bool,
    approval_defaults: ApprovalDefaults,
    approvals: Option<Arc<Approvals>>,
    tool_filter: ToolFilter,
    validation: ValidationOptions,
    taint: Taint,
    history: CallHistory,
    slots: CallSlots,
    decisions: Option<DecisionClient>,
    audit: Option<AuditLog>,
    journal: Option<Journal>,
    secrets: Secrets,
    proofs: KeyProofs,
    workers: WorkerPool,
}

/// A tool call as received.
#[derive(Debug)]
pub struct ToolCall<'a> {
    /// The caller.
    pub principal: &'a Principal,
    /// Request id, transport, session and client of the request that carries the call.
    pub request_info: &'a RequestInfo,
    /// The tool's name, as the caller wrote it.
    pub name: &'a str,
    /// The arguments, as the caller wrote them.
    pub args: JsonMap,
    /// The human's decision, if this call repeats one for which approval was requested.
    pub approval_response: Option<ApprovalResponse>,
}

/// A call whose tool was found, without its arguments: who makes it, how it arrived, and the
/// operation that it calls.
#[derive(Clone, Copy)]
struct OperationCall<'a> {
    principal: &'a Principal,
    request_info: &'a RequestInfo,
    entry: &'a CatalogEntry,
    form: &'a CallForm,
    /// Gets the journal's entry of a write.
    change: &'a ChangeSlot,
    demands: &'a PolicyDemands,
}

/// What policies demand of a call that they let pass.
struct PolicyDemands {
    /// Maximum time of the request, beside the server's own.
    timeout: Option<Duration>,
    /// Paths of the values that are redacted.
    redactions: Vec<Arc<[FieldPath]>>,
}

/// Demands of a call about which no policy has decided yet.
static NO_DEMANDS: PolicyDemands = PolicyDemands {
    timeout: None,
    redactions: Vec::new(),
};

/// The result of a call without an error.
enum CallResult {
    /// The request is described and was not sent.
    DryRun(Value),
    /// The call is planned and was not sent.
    Planned(Box<PlannedCall>),
    /// The upstream answered.
    Answered(Answer),
    /// The upstream answered a read whose answer this server needs itself.
    State(Box<ResourceState>),
    /// The upstream answered, and its response goes to the client as it came.
    Forwarded(Box<ForwardedResponse>),
}

impl CallResult {
    /// Returns the outcome of the call. `is_sent` is true if a write was sent.
    fn outcome(&self, is_sent: bool) -> CallOutcome {
        match self {
            Self::DryRun(_) | Self::Planned(_) => OutcomeKind::DryRun.into(),
            Self::Answered(_) | Self::State(_) => OutcomeKind::Answered.into(),
            Self::Forwarded(response) => match response.error() {
                Some(error) => error.outcome(is_sent),
                None => OutcomeKind::Answered.into(),
            },
        }
    }

    /// Redacts values by the paths of policies. Returns true if there were any.
    ///
    /// # Errors
    /// Returns an error if the result cannot be read, so that the values cannot be found.
    fn redact(
        &mut self,
        operation: &'static Operation,
        redactions: &[Arc<[FieldPath]>],
    ) -> Result<bool, CallError> {
        match self {
            Self::DryRun(value) | Self::Answered(Answer::Document(value)) => {
                Ok(PolicyEvaluation::redact(redactions, value))
            }
            Self::Answered(Answer::Clean(_)) if redactions.is_empty() => Ok(false),
            Self::Answered(answer) => {
                let mut document = answer.take_document();
                let is_redacted = PolicyEvaluation::redact(redactions, &mut document);
                *answer = document.into();
                Ok(is_redacted)
            }
            Self::State(state) => Ok(PolicyEvaluation::redact(redactions, &mut state.shown)),
            Self::Planned(planned) => Ok(PolicyEvaluation::redact(redactions, &mut planned.report)),
            Self::Forwarded(response) => response.redact(operation, redactions),
        }
    }

    /// Returns the answer of the upstream, as the caller may see it.
    fn journaled_answer(&self) -> Option<Value> {
        match self {
            Self::DryRun(_) | Self::Planned(_) => None,
            Self::Answered(answer) => Some(answer.clone().into_document()),
            Self::State(state) => Some(state.shown.clone()),
            Self::Forwarded(response) => response.document(),
        }
    }

    /// Returns the result of a tool call.
    fn into_answer(self) -> Answer {
        match self {
            Self::Answered(answer) => answer,
            Self::DryRun(value) => value.into(),
            Self::State(state) => state.shown.into(),
            Self::Planned(planned) => planned.report.into(),
            // Only requests are forwarded; this keeps the match complete.
            Self::Forwarded(_) => Value::Null.into(),
        }
    }

    /// Returns the result of a tool call as a document.
    fn into_value(self) -> Value {
        self.into_answer().into_document()
    }
}

impl Dispatcher {
    /// Makes a call on behalf of the local user. Dropping the future aborts the request.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call_as_local(
        &self,
        principal: &Principal,
        name: &str,
        args: JsonMap,
    ) -> Result<Value, CallError> {
        let request_info = &RequestInfo::local();
        let call = ToolCall {
            principal,
            request_info,
            name,
            args,
            approval_response: None,
        };
        self.call(call, &mut CallRecord::default()).await
    }

    /// Makes a call, and writes everything found out about it to `record`. Dropping the future
    /// aborts the request.
    ///
    /// A caller that reads untrusted content is tainted.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(
        &self,
        call: ToolCall<'_>,
        record: &mut CallRecord,
    ) -> Result<Value, CallError> {
        let answer = self.call_for_answer(call, record).await;
        answer.map(Answer::into_document)
    }

    /// Makes a call like [`Self::call`], and leaves an answer in which nothing had to change as the
    /// upstream's text.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call_for_answer(
        &self,
        call: ToolCall<'_>,
        record: &mut CallRecord,
    ) -> Result<Answer, CallError> {
        let principal = call.principal;
        let request_info = call.request_info;
        let outcome = self.execute(call, &CallForm::Arguments, record).await;
        if record.untrusted {
            self.taint.mark(principal, request_info).await;
        }
        if matches!(outcome, Ok(CallResult::Answered(_))) {
            self.record_ordered_call(principal, request_info, record)
                .await;
        }
        outcome.map(CallResult::into_answer)
    }

    /// Reads the rows of the file whose signed address an operation returns. The call passes the same
    /// steps as any other; the address goes to nobody.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn read_rows(
        &self,
        call: ToolCall<'_>,
        query: Arc<RowQuery>,
        record: &mut CallRecord,
    ) -> Result<Answer, CallError> {
        let principal = call.principal;
        let request_info = call.request_info;
        let form = CallForm::Rows(query);
        let outcome = Box::pin(self.execute(call, &form, record)).await;
        if record.untrusted {
            self.taint.mark(principal, request_info).await;
        }
        if matches!(outcome, Ok(CallResult::Answered(_))) {
            self.record_ordered_call(principal, request_info, record)
                .await;
        }
        outcome.map(CallResult::into_answer)
    }

    /// Records a call that was rejected for its name or its arguments before it reached the
    /// dispatcher.
    pub fn record_rejected_call(
        &self,
        principal: &Principal,
        request_info: &RequestInfo,
        args: &JsonMap,
        record: &mut CallRecord,
    ) {
        PendingEntry::begin(self.audit.as_ref(), principal, request_info, args, record)
            .finish(OutcomeKind::Rejected.into());
    }

    /// Records a call that was answered without a request, because it changes nothing.
    pub fn record_unsent_call(
        &self,
        principal: &Principal,
        request_info: &RequestInfo,
        args: &JsonMap,
        record: &mut CallRecord,
    ) {
        PendingEntry::begin(self.audit.as_ref(), principal, request_info, args, record)
            .finish(OutcomeKind::Answered.into());
    }

    /// Remembers a successful call of an operation that a rule names in `after` or `before`.
    async fn record_ordered_call(
        &self,
        principal: &Principal,
        request_info: &RequestInfo,
        record: &CallRecord,
    ) {
        let Some(operation) = record.operation else {
            return;
        };
        let server = self.policy.as_ref().map(WatchedValue::get);
        let orders = |policy: &Policy| policy.orders_calls_of(operation);
        if server.is_some_and(|policy| orders(&policy))
            || principal.policy.as_deref().is_some_and(orders)
        {
            self.history
                .record(principal, request_info, operation.name())
                .await;
        }
    }

    /// Makes a call, and does not taint its caller.
    ///
    /// The steps are always these, in this order. An error of a step ends the call; the audit entry
    /// is finished in any case, and the limits are settled once they were reserved.
    async fn execute(
        &self,
        call: ToolCall<'_>,
        form: &CallForm,
        record: &mut CallRecord,
    ) -> Result<CallResult, CallError> {
        let ToolCall {
            principal,
            request_info,
            name,
            mut args,
            approval_response,
        } = call;
        let approval_response = match form {
            CallForm::Arguments => approval_response.or(approval::take_ticket(&mut args)),
            CallForm::State | CallForm::Plan(_) | CallForm::Rows(_) | CallForm::Request { .. } => {
                approval_response
            }
        };
        let audit_log = self.audit.as_ref();
        let change = ChangeSlot::default();
        let mut audit_entry =
            PendingEntry::begin(audit_log, principal, request_info, &args, record);
        let result = async {
            let entry = self.find(name, audit_entry.record)?;
            let call = OperationCall {
                principal,
                request_info,
                entry,
                form,
                change: &change,
                demands: &NO_DEMANDS,
            };
            let server_policy = self.policy.as_ref().map(|policy| Arc::clone(&policy.get()));
            let policies: Vec<&Policy> = server_policy
                .as_deref()
                .into_iter()
                .chain(principal.policy.as_deref())
                .collect();
            self.authorize(call, &policies, audit_entry.record)?;
            let args = self.validate(call, args, &mut audit_entry)?;
            self.reject_redacted_filters(entry, &args, &policies)?;
            self.require_proven_key(principal, entry.operation, &policies)
                .await
                .inspect_err(|_| audit_entry.record.set_denied_by("key"))?;
            let PolicyEvaluation {
                decision,
                reservations,
                redactions,
                timeout,
                concurrency,
                ..
            } = self
                .evaluate_policies(call, &args, &policies, audit_entry.record)
                .await;
            let action = self.choose_action(call, &args, decision, &policies).await;
            let demands = PolicyDemands {
                timeout,
                redactions,
            };
            let call = OperationCall {
                demands: &demands,
                ..call
            };
            let action = (action, &*concurrency);
            let mut result = self
                .apply_action(call, args, action, approval_response, &mut audit_entry)
                .await;
            if !steps::may_have_taken_effect(&result) {
                PolicyEvaluation::roll_back(reservations, &self.store).await;
            }
            if let Ok(result) = &mut result {
                audit_entry.record.is_redacted =
                    result.redact(entry.operation, &demands.redactions)?;
            }
            result
        }
        .await;
        let outcome = match &result {
            Ok(result) => result.outcome(audit_entry.record.is_sent),
            Err(error) => error.outcome(audit_entry.record.is_sent),
        };
        let kind = outcome.kind;
        audit_entry.finish(outcome);
        if let Some(change) = change.take() {
            // Boxed: most calls are reads, and need not reserve the space.
            Box::pin(history::finish(change, kind, &result, record)).await;
        }
        result
    }
}

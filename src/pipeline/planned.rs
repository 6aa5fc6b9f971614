//! Calls that are planned: decided and described like a call, and never sent.

use std::time::Duration;

use portkey_api::catalog::CatalogEntry;
use portkey_operation::{JsonMap, Operation};
use portkey_policy::DecisionKind;
use serde_json::Value;

use super::{
    CallError, CallForm, CallRecord, CallResult, Dispatcher, OperationCall, ToolCall,
    approval::{
        ApprovalError, ApprovalRecord, ApprovalRequest, ApprovalRequirement, ApprovalResponse,
    },
    dry_run::{self, ChangePreview},
    received::PlanForm,
    steps::CallAction,
};
use crate::{
    auth::principal::{KeyProver, Principal},
    observability::{audit::PendingEntry, call_record::OutcomeKind, request::RequestInfo},
    security::secrets,
};

/// A call as a plan has it.
#[derive(Debug)]
pub struct PlannedCall {
    /// Report of a dry run.
    pub report: Value,
    /// State before the call, and what it changes.
    pub preview: ChangePreview,
    /// The approval that the call needs.
    pub approval: Option<ApprovalRequirement>,
    /// Rule or setting that would run the call dry.
    pub dry_run_rule: Option<String>,
    /// Warnings about the arguments.
    pub warnings: Vec<String>,
}

impl Dispatcher {
    /// Decides about a call and describes it. Nothing is sent but reads, and limits are not used up.
    ///
    /// # Errors
    /// Returns the error that the call would end with before it is sent. See [`CallError`].
    pub async fn plan_call(
        &self,
        principal: &Principal,
        request_info: &RequestInfo,
        name: &str,
        args: JsonMap,
        form: PlanForm,
    ) -> Result<PlannedCall, CallError> {
        let call = ToolCall {
            principal,
            request_info,
            name,
            args,
            approval_response: None,
        };
        let mut record = CallRecord::default();
        let form = CallForm::Plan(form);
        let planned = Box::pin(self.execute(call, &form, &mut record)).await?;
        match planned {
            CallResult::Planned(mut planned) => {
                planned.warnings = record.warnings;
                Ok(*planned)
            }
            // No other result has this form; this keeps the match complete.
            other => Ok(PlannedCall {
                report: other.into_value(),
                preview: ChangePreview::default(),
                approval: None,
                dry_run_rule: None,
                warnings: record.warnings,
            }),
        }
    }

    /// Describes a call of which the policies and settings demand this action.
    pub(super) async fn describe_planned(
        &self,
        call: OperationCall<'_>,
        args: JsonMap,
        action: CallAction,
        audit_entry: &mut PendingEntry<'_>,
    ) -> Result<CallResult, CallError> {
        let (approval, dry_run_rule) = match action {
            CallAction::Deny(denial) => return Err(denial.into()),
            CallAction::Approve(required) => (Some(required), None),
            CallAction::DryRun(rule) => (None, Some(rule.to_string())),
            CallAction::Send => (None, None),
        };
        let published = call.entry.compiled();
        let preview = self.build_change_preview(call, &args).await?;
        audit_entry.record.untrusted = preview.is_untrusted;
        let request = published.build_request(secrets::redact_arguments(published, args))?;
        let url = self.upstream.url(request.base, &request.target)?;
        Ok(CallResult::Planned(Box::new(PlannedCall {
            report: dry_run::report(&request, url.as_str(), &preview),
            preview,
            approval,
            dry_run_rule,
            warnings: Vec::new(),
        })))
    }

    /// Returns the approval of a request that was built for several calls at once.
    ///
    /// # Errors
    /// Returns `ApprovalRequired` with the request if nobody has decided yet, or `ApprovalDenied` if
    /// the response is no approval.
    ///
    /// The question and the decision are audited as a call of `operation` with the plan of this id.
    pub async fn require_joint_approval(
        &self,
        (principal, request_info): (&Principal, &RequestInfo),
        operation: Option<&'static Operation>,
        plan: &str,
        request: ApprovalRequest,
        response: Option<ApprovalResponse>,
    ) -> Result<ApprovalRecord, CallError> {
        let mut record = CallRecord {
            operation,
            ..CallRecord::default()
        };
        record.set_decision(DecisionKind::Approve, request.rule.as_str());
        let args: JsonMap = [("plan".to_owned(), plan.into())].into_iter().collect();
        let audit = self.audit.as_ref();
        let entry = PendingEntry::begin(audit, principal, request_info, &args, &mut record);
        entry.record.arguments = Some(args);
        let result = self
            .check_joint_approval(principal, request, response)
            .await;
        let outcome = match &result {
            Ok(approved) => {
                entry.record.approval = Some(approved.clone());
                OutcomeKind::Answered.into()
            }
            Err(error) => error.outcome(false),
        };
        entry.finish(outcome);
        result
    }

    async fn check_joint_approval(
        &self,
        principal: &Principal,
        request: ApprovalRequest,
        response: Option<ApprovalResponse>,
    ) -> Result<ApprovalRecord, CallError> {
        let Some(approvals) = self.approvals() else {
            return Err(ApprovalError::NoApprover {
                tool: request.tool,
                rule: request.rule,
            }
            .into());
        };
        // A key that has not been checked may be made up; no human is asked in its name.
        self.prove(principal).await?;
        match approvals
            .check(principal, request.binding(), response, request.approvers)
            .await?
        {
            Some(approved) => Ok(approved),
            None => Err(CallError::ApprovalRequired(Box::new(request))),
        }
    }

    /// Returns the maximum time for a call to the upstream, including retries.
    pub fn upstream_timeout(&self) -> Duration {
        self.upstream.timeout()
    }

    /// Finds an operation by its name, as the catalog has it.
    ///
    /// # Errors
    /// Returns an error if there is no such operation.
    pub fn find_entry(&self, name: &str) -> Result<&CatalogEntry, CallError> {
        Ok(self.catalog.find(name)?)
    }
}

//! Previews of calls that are not sent yet: for the caller of a dry run, and for the human who
//! approves a call.

use std::pin::Pin;

use portkey_operation::{CallRisk, Effect, JsonMap, PendingPreview};
use serde_json::Value;

use super::{CallError, CallForm, CallRecord, CallResult, Dispatcher, OperationCall, ToolCall};
use crate::{
    auth::principal::KeyProver,
    observability::audit::PendingEntry,
    pipeline::{
        approval::{
            ApprovalError, ApprovalRecord, ApprovalRequest, ApprovalRequirement, ApprovalResponse,
            ApprovalSubject, Binding,
        },
        dry_run::{self, ChangePreview, FieldChange},
        state_fields::to_arguments,
        version_changes::comparable_state,
    },
    security::secrets,
};

/// Maximum number of differences between two versions that a preview lists.
const MAX_VERSION_CHANGES: usize = 50;

impl Dispatcher {
    /// Answers a write with the request that it would send and the changes that it would make.
    pub(super) async fn dry_run(
        &self,
        call: OperationCall<'_>,
        args: JsonMap,
        audit_entry: &mut PendingEntry<'_>,
    ) -> Result<Value, CallError> {
        let operation = call.entry.operation;
        let published = call.entry.compiled();
        let preview = self.build_change_preview(call, &args).await?;
        audit_entry.record.untrusted = preview.is_untrusted;
        if preview.is_no_op(operation) {
            let warning = "nothing would change: what is there has these values already";
            audit_entry.record.warnings.push(warning.to_owned());
        }
        let request = published.build_request(secrets::redact_arguments(published, args))?;
        let url = self.upstream.url(request.base, &request.target)?;
        Ok(dry_run::report(&request, url.as_str(), &preview))
    }

    /// Answers a write that asks for a preview with the stored state and the state that the call
    /// would produce.
    ///
    /// The stored state is read as if the caller had asked for it, so that policies, scopes and
    /// filters apply. If the caller may not read it, the answer says so instead.
    pub(super) async fn answer_with_preview(
        &self,
        call: OperationCall<'_>,
        args: JsonMap,
        audit_entry: &mut PendingEntry<'_>,
    ) -> Result<Value, CallError> {
        let OperationCall {
            principal,
            request_info,
            entry,
            ..
        } = call;
        let operation = entry.operation;
        let published = entry.compiled();
        let shown = published.build_request(secrets::redact_arguments(published, args.clone()))?;
        let read = dry_run::find_read(&self.catalog, operation);
        let (Some(preview), Some(read)) = (shown.preview, read) else {
            let why = format!(
                "nothing that is on offer here reads what `{}` changes",
                operation.name()
            );
            return Ok(PendingPreview::unavailable(&why));
        };
        let name = read.operation.name();
        let args = dry_run::read_arguments(operation, read, &args);
        let mut record = CallRecord::default();
        let call = ToolCall {
            principal,
            request_info,
            name,
            args,
            approval_response: None,
        };
        let stored = self.call_nested(call, &mut record).await;
        audit_entry.record.untrusted |= record.untrusted;
        audit_entry.record.status = record.status;
        audit_entry.record.retries = record.retries;
        audit_entry.record.upstream_request_id = record.upstream_request_id;
        match stored {
            Ok(stored) => Ok(preview.complete(stored)),
            Err(error) if error.is_denial() => Ok(PendingPreview::unavailable(
                &explain_hidden_read(name, &error),
            )),
            Err(error) => Err(error),
        }
    }

    /// Returns the approval of a call that needs one.
    ///
    /// # Errors
    /// Returns `ApprovalRequired` with the request if nobody has decided yet, or `ApprovalDenied`
    /// if the response is no approval.
    pub(super) async fn require_approval(
        &self,
        call: OperationCall<'_>,
        args: &JsonMap,
        required: ApprovalRequirement,
        response: Option<ApprovalResponse>,
        warnings: &[String],
    ) -> Result<ApprovalRecord, CallError> {
        let OperationCall {
            principal,
            request_info,
            entry,
            ..
        } = call;
        let operation = entry.operation;
        let published = entry.compiled();
        let Some(approvals) = self.approvals() else {
            return Err(ApprovalError::NoApprover {
                tool: operation.name(),
                rule: required.rule,
            }
            .into());
        };
        // A key that has not been checked may be made up; no human is asked in its name.
        self.prove(principal).await?;
        let mut binding = Binding::new(&principal.name, operation.name(), args, &required);
        if let Some(parts) = call.form.bound_parts() {
            binding = binding.with_parts(parts);
        }
        if let Some(approved) = approvals
            .check(principal, &binding, response, required.approvers)
            .await?
        {
            return Ok(approved);
        }
        let preview = self.build_change_preview(call, args).await?;
        let shown = secrets::redact_arguments(published, args.clone());
        let risks = operation.risks(args, preview.current.as_ref());
        let about = ApprovalSubject {
            operation,
            title: published.title(),
            principal,
            request_info,
            target: &published.build_request(shown.clone())?.target,
            masked_args: &shown,
            preview: &preview,
            risks: &risks,
            warnings,
            required,
        };
        Err(CallError::ApprovalRequired(Box::new(ApprovalRequest::new(
            about,
            binding,
            args.clone(),
        ))))
    }

    /// Compares a write with the current state. The state is read as if the caller had asked for
    /// it; if the caller may not read it, it stays unknown.
    pub(super) async fn build_change_preview(
        &self,
        call: OperationCall<'_>,
        args: &JsonMap,
    ) -> Result<ChangePreview, CallError> {
        let OperationCall {
            principal,
            request_info,
            entry,
            form,
            ..
        } = call;
        let operation = entry.operation;
        let published = entry.compiled();
        let mut preview = self.read_current_state(call, args).await;
        let mut compared = args.clone();
        if let (Some(rules), Some(current)) = (operation.update_rules(), &preview.current) {
            let state = to_arguments(rules, current);
            self.adopt_handles(principal, request_info, &[&state], &mut compared)
                .await;
        }
        let body = published.build_request(compared.clone())?.body;
        let shown = published
            .build_request(secrets::redact_arguments(published, compared))?
            .body;
        let current = preview.current.as_ref();
        let comparable = current.map(|current| match operation.effect() {
            Effect::Update => comparable_state(operation, current),
            _ => current.clone(),
        });
        let changes = dry_run::compute_changes(
            operation,
            body.as_ref(),
            shown.as_ref(),
            comparable.as_ref(),
        );
        preview.has_hidden = changes.has_hidden;
        preview.changes = changes.fields;
        if let Some(current) = &preview.current
            && !preview.changes.is_empty()
        {
            let caller = (principal, request_info);
            let versions = self.compare_versions(caller, operation, args, current);
            let diff = Box::pin(versions).await.unwrap_or_default();
            let differing = diff.changes.iter().map(FieldChange::between_states);
            preview.changes.extend(differing.take(MAX_VERSION_CHANGES));
        }
        if form.looks_up_impact() {
            preview.impact =
                Box::pin(self.look_up_impact(principal, request_info, operation, args)).await;
        }
        Ok(preview)
    }

    /// Returns the risks of a call, compared with the current state where they depend on it.
    pub(super) async fn assess_risks(
        &self,
        call: OperationCall<'_>,
        args: &JsonMap,
    ) -> Vec<CallRisk> {
        let operation = call.entry.operation;
        let state = match operation.risks_depend_on_state(args) {
            true => self.read_current_state(call, args).await.current,
            false => None,
        };
        operation.risks(args, state.as_ref())
    }

    /// Reads the current state of what a write changes. The preview has no changes yet.
    async fn read_current_state(&self, call: OperationCall<'_>, args: &JsonMap) -> ChangePreview {
        let mut preview = ChangePreview::default();
        let OperationCall {
            principal,
            request_info,
            entry,
            form,
            ..
        } = call;
        if !form.reads_state() {
            preview.unknown_reason = Some("an earlier step of the plan creates it".to_owned());
            return preview;
        }
        let Some(read) = dry_run::find_read(&self.catalog, entry.operation) else {
            return preview;
        };
        let name = read.operation.name();
        let mut record = CallRecord::default();
        let call = ToolCall {
            principal,
            request_info,
            name,
            args: dry_run::read_arguments(entry.operation, read, args),
            approval_response: None,
        };
        match self.call_nested(call, &mut record).await {
            Ok(current) => {
                preview.is_untrusted = record.untrusted;
                preview.current = Some(current);
            }
            Err(error @ CallError::Upstream(..)) => {
                preview.may_be_known_later = error.may_be_temporary();
                preview.unknown_reason = Some(error.to_string());
            }
            Err(error) if error.is_denial() => {
                preview.unknown_reason = Some(explain_hidden_read(name, &error))
            }
            Err(error) => {
                preview.may_be_known_later = error.may_be_temporary();
                preview.unknown_reason = Some(format!("`{name}` does not answer ({error})"));
            }
        }
        preview
    }

    /// Makes a call inside a call. The future is boxed because it is recursive.
    ///
    /// The nested call taints nobody: the outer call decides who receives its result, and an
    /// approval request is for a human only.
    pub(super) fn call_nested<'a>(
        &'a self,
        call: ToolCall<'a>,
        record: &'a mut CallRecord,
    ) -> Pin<Box<dyn Future<Output = Result<Value, CallError>> + Send + 'a>> {
        Box::pin(async move {
            let result = self.execute(call, &CallForm::Arguments, record).await;
            result.map(CallResult::into_value)
        })
    }
}

/// Explains that the caller may not read the current state.
fn explain_hidden_read(read: &str, error: &CallError) -> String {
    format!("it is read with `{read}`, which is not open to this caller: {error}")
}

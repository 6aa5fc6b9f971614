//! The steps of a call before it is sent: find, authorize, validate, evaluate the policies, choose
//! the action and apply it.

use std::{sync::Arc, time::SystemTime};

use portkey_api::catalog::CatalogEntry;
use portkey_concurrency::box_future;
use portkey_operation::{
    JsonMap, ReceivedArguments, UnknownFields, ValidatedArguments, ValidationOptions,
};
use portkey_policy::{
    ConcurrencyLimit, Decision, DecisionKind, Policy, PolicyDenial, PolicyEvaluation, PolicyInput,
    PolicyTarget,
};

use super::{
    CallError, CallForm, CallRecord, CallResult, Dispatcher, OperationCall,
    concurrency::CallPermit, outside_decision::CallDecisions,
};
use crate::{
    observability::audit::PendingEntry,
    pipeline::approval::{ApprovalRequirement, ApprovalResponse},
    security::secrets::mask_text,
};

/// The action that the policies and the settings of the server demand for a call.
pub(super) enum CallAction {
    /// Deny the call.
    Deny(PolicyDenial),
    /// Describe the request and send nothing, as this rule or setting demands.
    DryRun(Arc<str>),
    /// Send the request if a human approves it.
    Approve(ApprovalRequirement),
    /// Send the request.
    Send,
}

impl Dispatcher {
    /// Finds the tool of a name.
    pub(super) fn find(
        &self,
        name: &str,
        record: &mut CallRecord,
    ) -> Result<&CatalogEntry, CallError> {
        let entry = self.catalog.find(name)?;
        record.operation = Some(entry.operation);
        Ok(entry)
    }

    /// Checks that the caller may call the operation, whatever the arguments are.
    pub(super) fn authorize(
        &self,
        call: OperationCall<'_>,
        policies: &[&Policy],
        record: &mut CallRecord,
    ) -> Result<(), CallError> {
        let domain = call.entry.domain.name;
        let operation = call.entry.operation;
        self.tool_filter
            .check(domain, operation)
            .and_then(|()| call.principal.authorize(domain, operation))
            .inspect_err(|denied| record.set_denied_by(denied.as_str()))?;
        // Before validation, whose errors would reveal the arguments of a hidden tool.
        if let Some(denial) = portkey_policy::check_hidden(policies, operation) {
            record.set_denied_by(&*denial.rule.name);
            return Err(denial.into());
        }
        Ok(())
    }

    /// Validates the arguments and returns them in the form in which they are sent. Those of a
    /// received request are only examined, because the request is sent as it came.
    pub(super) fn validate(
        &self,
        call: OperationCall<'_>,
        args: JsonMap,
        audit_entry: &mut PendingEntry<'_>,
    ) -> Result<JsonMap, CallError> {
        let published = call.entry.compiled();
        let ValidatedArguments {
            mut args,
            unknown,
            mut warnings,
            cleared,
            resolved_times,
        } = match call.form {
            CallForm::Arguments | CallForm::State | CallForm::Rows(_) => {
                published.validate(args, &self.validation)?
            }
            CallForm::Plan(_) => {
                let options = ValidationOptions {
                    unknown_fields: UnknownFields::Deny,
                    clock: self.validation.clock.clone(),
                };
                published.validate(args, &options)?
            }
            CallForm::Request {
                shadowed,
                unknown_fields,
                ..
            } => {
                let received = ReceivedArguments {
                    args,
                    shadowed: shadowed.clone(),
                };
                let options = ValidationOptions {
                    unknown_fields: *unknown_fields,
                    clock: self.validation.clock.clone(),
                };
                published.examine_received_arguments(received, &options)?
            }
        };
        // A caller may have written a key where a field name belongs; it must not reach the record.
        let masked = |text: &String| mask_text(text).into_owned();
        let record = &mut *audit_entry.record;
        // A patch was completed from the state that it has read. What it leaves out is not there.
        if record.prior_state.is_none() && !call.form.is_patch() {
            warnings.extend(cleared);
        }
        record.warnings = warnings.iter().map(masked).collect();
        record.unknown_fields = unknown.iter().map(masked).collect();
        record.times = resolved_times
            .into_iter()
            .map(|(at, time)| (masked(&at), time))
            .collect();
        self.secrets.reject_masked_values(published, &mut args)?;
        audit_entry.record_arguments(published, &args);
        Ok(args)
    }

    /// Evaluates the policies, which reserves what the call takes of their limits.
    pub(super) async fn evaluate_policies(
        &self,
        call: OperationCall<'_>,
        args: &JsonMap,
        policies: &[&Policy],
        record: &mut CallRecord,
    ) -> PolicyEvaluation {
        if policies.is_empty() {
            return PolicyEvaluation::from_decision(Decision::Allow);
        }
        let OperationCall {
            principal,
            request_info,
            entry,
            ..
        } = call;
        let depends_on_taint = policies
            .iter()
            .any(|policy| policy.depends_on_taint(entry.operation));
        let target = PolicyTarget::Tool {
            operation: entry.operation,
            domain: entry.domain.name,
        };
        let called = self
            .ordered_calls(principal, request_info, &target, policies)
            .await;
        let input = PolicyInput {
            target,
            claims: &principal.claims,
            source: request_info.source,
            called: called.as_deref(),
            args,
            unknown_fields: &record.unknown_fields,
            principal: &principal.name,
            client: request_info.client.as_deref(),
            transport: request_info.transport,
            session: request_info.session.as_deref(),
            time: SystemTime::now(),
            tainted: depends_on_taint && self.taint.is_tainted(principal, request_info).await,
        };
        let outside = CallDecisions {
            client: self.decisions.as_ref(),
            published: Some(entry.compiled()),
            method: principal.method,
            request_id: &request_info.id,
        };
        let mut evaluation =
            portkey_policy::decide_with(policies, &input, &self.store, &outside).await;
        record.shadow_matches = std::mem::take(&mut evaluation.shadows);
        if let Some(rule) = evaluation.decision.rule() {
            record.set_decision(evaluation.decision.kind(), &*rule.name);
        }
        evaluation
    }

    /// Chooses what is done with a call, from the decision of the policies and the settings.
    pub(super) async fn choose_action(
        &self,
        call: OperationCall<'_>,
        args: &JsonMap,
        decision: Decision,
        policies: &[&Policy],
    ) -> CallAction {
        let OperationCall { entry, form, .. } = call;
        let writes = entry.compiled().is_write(args);
        let requested_dry_run = form.dry_run_setting();
        let matched = match decision {
            Decision::Deny(denial) => return CallAction::Deny(denial),
            Decision::DryRun(matched) => return CallAction::DryRun(matched.rule.name),
            Decision::Allow | Decision::Approve(_) if requested_dry_run.is_some() => {
                return CallAction::DryRun(requested_dry_run.unwrap_or_default());
            }
            // A dry run sends nothing, so it needs no approval.
            Decision::Allow | Decision::Approve(_) if self.dry_run && writes => {
                return CallAction::DryRun("--dry-run".into());
            }
            Decision::Allow => None,
            Decision::Approve(matched) => Some(matched),
        };
        let defaults = self.approval_defaults;
        let default = match defaults.requirement_for(entry.operation) {
            _ if !writes => None,
            // Risks may depend on the current state, which need not be read for a call that needs
            // approval anyway.
            None if defaults.sensitive && matched.is_none() => {
                let is_risky = !Box::pin(self.assess_risks(call, args)).await.is_empty();
                is_risky.then(|| defaults.requirement_for_risk())
            }
            requirement => requirement,
        };
        let Some(matched) = matched else {
            return default.map_or(CallAction::Send, CallAction::Approve);
        };
        let revisions: Vec<_> = policies.iter().map(|policy| policy.revision()).collect();
        CallAction::Approve(ApprovalRequirement {
            rule: matched.rule.name.to_string(),
            message: Some(matched.message),
            confirm: matched.confirm || default.is_some_and(|default| default.confirm),
            revision: revisions.join("+"),
            approvers: matched.approvers,
        })
    }

    /// Applies the action: denies the call, runs it dry, or sends it, once it is approved if it
    /// needs approval.
    pub(super) async fn apply_action(
        &self,
        call: OperationCall<'_>,
        args: JsonMap,
        (action, concurrency): (CallAction, &[ConcurrencyLimit]),
        approval_response: Option<ApprovalResponse>,
        audit_entry: &mut PendingEntry<'_>,
    ) -> Result<CallResult, CallError> {
        if !matches!(action, CallAction::Deny(_)) {
            let record = &mut *audit_entry.record;
            Box::pin(self.reject_redirected_secrets(call, &args, record)).await?;
        }
        if let CallForm::Plan(_) = call.form {
            return Box::pin(self.describe_planned(call, args, action, audit_entry)).await;
        }
        match action {
            CallAction::Deny(denial) => return Err(denial.into()),
            CallAction::DryRun(rule) => {
                audit_entry.record.set_decision(DecisionKind::DryRun, rule);
                let report = Box::pin(self.dry_run(call, args, audit_entry)).await?;
                return Ok(CallResult::DryRun(report));
            }
            CallAction::Approve(required) => {
                // An approval is not used up for a call that is denied below.
                drop(self.acquire_slots(call, concurrency, audit_entry)?);
                let record = &mut *audit_entry.record;
                record.set_decision(DecisionKind::Approve, required.rule.as_str());
                let warnings = &record.warnings;
                let approval = Box::pin(self.require_approval(
                    call,
                    &args,
                    required,
                    approval_response,
                    warnings,
                ))
                .await?;
                record.approval = Some(approval);
            }
            CallAction::Send => {}
        }
        let _permit = self.acquire_slots(call, concurrency, audit_entry)?;
        let is_preview = call.entry.compiled().is_preview(&args);
        match call.form {
            CallForm::Arguments if is_preview => {
                let preview = Box::pin(self.answer_with_preview(call, args, audit_entry)).await?;
                Ok(CallResult::Answered(preview.into()))
            }
            _ => box_future(self.send(call, args, audit_entry)).await,
        }
    }
}

impl Dispatcher {
    /// Counts the call among those under way.
    fn acquire_slots(
        &self,
        call: OperationCall<'_>,
        limits: &[ConcurrencyLimit],
        audit_entry: &mut PendingEntry<'_>,
    ) -> Result<Option<CallPermit>, CallError> {
        if limits.is_empty() {
            return Ok(None);
        }
        let permit = self.slots.acquire(limits, call.entry.operation.name());
        let permit =
            permit.inspect_err(|denial| audit_entry.record.set_denied_by(&*denial.rule.name))?;
        Ok(Some(permit))
    }
}

/// Returns true if the call was sent and may have taken effect. It then counts against limits.
pub(super) fn may_have_taken_effect(result: &Result<CallResult, CallError>) -> bool {
    match result {
        Ok(CallResult::DryRun(_) | CallResult::Planned(_)) => false,
        Ok(CallResult::Answered(_) | CallResult::State(_)) => true,
        Ok(CallResult::Forwarded(response)) => response
            .error()
            .is_none_or(CallError::may_have_taken_effect),
        Err(error) => error.may_have_taken_effect(),
    }
}

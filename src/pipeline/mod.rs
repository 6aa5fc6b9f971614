//! One tool call, from its name and arguments to the upstream's response.

pub mod approval;
mod builder;
pub mod dry_run;
mod error;
mod failed_call;
mod key_check;
mod preview;
mod response;
pub mod taint;

use std::{sync::Arc, time::SystemTime};

use portkey_api::catalog::{Catalog, CatalogEntry};
use portkey_concurrency::worker_pool::WorkerPool;
use portkey_file_watch::WatchedValue;
use portkey_operation::{JsonMap, ValidatedArguments, ValidationOptions};
use portkey_policy::{Decision, DecisionKind, Policy, PolicyEvaluation, PolicyInput};
use portkey_store::Store;
use serde_json::Value;

use crate::{
    auth::principal::{AuthMethod, KeyProofs, Principal, ToolFilter},
    observability::{
        audit::{AuditLog, PendingEntry},
        call_record::OutcomeKind,
        request::RequestInfo,
    },
    pipeline::{
        approval::{ApprovalDefaults, ApprovalRequirement, ApprovalResponse, Approvals},
        taint::Taint,
    },
    security::{
        sanitize,
        secrets::{ReferenceCaller, Secrets, mask_text},
    },
    upstream::{RetrySafety, UpstreamClient, UpstreamError},
};

use self::{failed_call::ScopeArguments, response::RawResponse};

pub use self::{error::CallError, key_check::MAX_KEY_CHECKS};
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
    audit: Option<AuditLog>,
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

/// A call that passed authorization and validation, without its arguments.
struct AuthorizedCall<'a> {
    principal: &'a Principal,
    request_info: &'a RequestInfo,
    entry: &'a CatalogEntry,
    approval_response: Option<ApprovalResponse>,
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
        let (principal, request_info) = (call.principal, call.request_info);
        let outcome = self.call_with_audit(call, record).await;
        if record.untrusted {
            self.taint.mark(principal, request_info).await;
        }
        outcome
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
        // The audit entry is written when it is dropped.
        let audit_entry =
            PendingEntry::begin(self.audit.as_ref(), principal, request_info, args, record);
        audit_entry.record.outcome = OutcomeKind::Rejected.into();
    }

    /// Makes a call with an audit entry, and does not taint its caller.
    async fn call_with_audit(
        &self,
        mut call: ToolCall<'_>,
        record: &mut CallRecord,
    ) -> Result<Value, CallError> {
        call.approval_response = call
            .approval_response
            .or(approval::take_ticket(&mut call.args));
        let (principal, request_info) = (call.principal, call.request_info);
        let mut audit_entry = PendingEntry::begin(
            self.audit.as_ref(),
            principal,
            request_info,
            &call.args,
            record,
        );
        let outcome = self.authorize_and_execute(call, &mut audit_entry).await;
        audit_entry.record.outcome = match &outcome {
            Ok(_) if audit_entry.record.decision == DecisionKind::DryRun => {
                OutcomeKind::DryRun.into()
            }
            Ok(_) => OutcomeKind::Answered.into(),
            Err(error) => error.outcome(audit_entry.record.is_sent),
        };
        outcome
    }

    /// Authorizes and validates a call, evaluates the policies, applies their decision, and settles
    /// the limits they reserved.
    async fn authorize_and_execute(
        &self,
        call: ToolCall<'_>,
        audit_entry: &mut PendingEntry<'_>,
    ) -> Result<Value, CallError> {
        let ToolCall {
            principal,
            request_info,
            name,
            args,
            approval_response: answer,
        } = call;
        let entry = self.catalog.find(name)?;
        audit_entry.record.operation = Some(entry.operation);
        let is_offered = self.tool_filter.check(entry.domain.name, entry.operation);
        is_offered
            .and_then(|()| principal.authorize(entry.domain.name, entry.operation))
            .inspect_err(|withheld| audit_entry.record.set_denied_by(withheld.as_str()))?;
        let own = principal.policy.as_deref();
        let server = self.policy.as_ref().map(|policy| Arc::clone(&policy.get()));
        let policies: Vec<&Policy> = server.as_deref().into_iter().chain(own).collect();
        // Before validation, whose errors would reveal the arguments of a hidden tool.
        if let Some(denied) = portkey_policy::check_hidden(&policies, entry.operation) {
            audit_entry.record.set_denied_by(&*denied.rule.name);
            return Err(denied.into());
        }
        let published = entry.compiled();
        let validated = published.validate(args, &self.validation)?;
        let ValidatedArguments {
            mut args,
            unknown,
            warnings,
            resolved_times: times,
        } = validated;
        // A caller may have written a key where a field name belongs; it must not reach the record.
        audit_entry.record.warnings = warnings
            .iter()
            .map(|text| mask_text(text).into_owned())
            .collect();
        audit_entry.record.unknown_fields = unknown
            .iter()
            .map(|path| mask_text(path).into_owned())
            .collect();
        let masked = |(at, time): (String, String)| (mask_text(&at).into_owned(), time);
        audit_entry.record.times = times.into_iter().map(masked).collect();
        self.secrets.reject_masked_values(published, &mut args)?;
        audit_entry.record_arguments(published, &args);
        let authorized = AuthorizedCall {
            principal,
            request_info,
            entry,
            approval_response: answer,
        };
        let proof = self
            .require_proven_key(principal, entry.operation, &policies)
            .await;
        proof.inspect_err(|_| audit_entry.record.set_denied_by("key"))?;
        if policies.is_empty() {
            return self
                .apply_decision(
                    authorized,
                    args,
                    Decision::Allow,
                    String::new(),
                    audit_entry,
                )
                .await;
        }
        let depends_on_taint = policies
            .iter()
            .any(|policy| policy.depends_on_taint(entry.operation));
        let tainted = depends_on_taint && self.taint.is_tainted(principal, request_info).await;
        let unknown = audit_entry.record.unknown_fields.clone();
        let facts = PolicyInput {
            operation: entry.operation,
            domain: entry.domain.name,
            args: &args,
            unknown_fields: &unknown,
            principal: &principal.name,
            client: request_info.client.as_deref(),
            transport: request_info.transport,
            session: request_info.session.as_deref(),
            time: SystemTime::now(),
            tainted,
        };
        let decision = portkey_policy::decide(&policies, &facts, &self.store).await;
        let PolicyEvaluation {
            decision: verdict,
            shadows,
            reservations: reserved,
            redactions: redact,
        } = decision;
        audit_entry.record.shadow_matches = shadows;
        if let Some(rule) = verdict.rule() {
            audit_entry.record.set_decision(verdict.kind(), &*rule.name);
        }
        let revisions: Vec<_> = policies.iter().map(|policy| policy.revision()).collect();
        let outcome = self
            .apply_decision(authorized, args, verdict, revisions.join("+"), audit_entry)
            .await;
        // A call that was sent counts against limits, and so does one that may have been.
        let nothing_happened = match &outcome {
            Ok(_) => audit_entry.record.decision == DecisionKind::DryRun,
            Err(error) => !error.may_have_taken_effect(),
        };
        if nothing_happened {
            PolicyEvaluation::roll_back(reserved, &self.store).await;
        }
        let mut answer = outcome?;
        PolicyEvaluation::redact(&redact, &mut answer);
        Ok(answer)
    }

    /// Applies the decision of the policies: denies the call, runs it dry, requires approval, or
    /// sends it.
    async fn apply_decision(
        &self,
        authorized: AuthorizedCall<'_>,
        args: JsonMap,
        decision: Decision,
        revision: String,
        audit_entry: &mut PendingEntry<'_>,
    ) -> Result<Value, CallError> {
        let AuthorizedCall {
            principal,
            request_info,
            entry,
            approval_response: answer,
        } = authorized;
        let writes = entry.compiled().is_write(&args);
        let mut required = self
            .approval_defaults
            .requirement_for(entry.operation)
            .filter(|_| writes);
        let mut dry_run = (self.dry_run && writes).then_some("--dry-run".to_owned());
        match decision {
            Decision::Allow => {}
            Decision::Deny(denied) => return Err(denied.into()),
            Decision::DryRun(noted) => dry_run = Some(noted.rule.name.to_string()),
            Decision::Approve(noted) => {
                let confirm = noted.confirm || required.is_some_and(|required| required.confirm);
                let (rule, words) = (noted.rule.name.to_string(), Some(noted.message));
                required = Some(ApprovalRequirement {
                    rule,
                    message: words,
                    confirm,
                    revision,
                });
            }
        }
        // A dry run sends nothing, so it needs no approval.
        if let Some(rule) = dry_run {
            audit_entry.record.set_decision(DecisionKind::DryRun, rule);
            return self
                .dry_run(principal, request_info, entry, args, audit_entry)
                .await;
        }
        if let Some(required) = required {
            audit_entry
                .record
                .set_decision(DecisionKind::Approve, required.rule.as_str());
            let warnings = audit_entry.record.warnings.clone();
            let authorized = AuthorizedCall {
                principal,
                request_info,
                entry,
                approval_response: answer,
            };
            let approved = self.require_approval(authorized, &args, required, &warnings);
            audit_entry.record.approval = Some(approved.await?);
        }
        if entry.compiled().is_preview(&args) {
            return self
                .answer_with_preview(principal, request_info, entry, args, audit_entry)
                .await;
        }
        self.send(principal, entry, args, audit_entry).await
    }

    /// Sends the request to the upstream and finishes its response.
    async fn send(
        &self,
        principal: &Principal,
        entry: &CatalogEntry,
        mut args: JsonMap,
        audit_entry: &mut PendingEntry<'_>,
    ) -> Result<Value, CallError> {
        let published = entry.compiled();
        let handover = self.secrets.prepare_delivery(entry.operation, &args)?;
        let caller = ReferenceCaller {
            name: &principal.name,
            is_local: principal.method == AuthMethod::Local,
        };
        let fetched = self
            .secrets
            .resolve_references(published, caller, &mut args)?;
        let fetched = fetched.with_request_keys(principal.credentials.request_keys());
        let scope_arguments = ScopeArguments::from_arguments(&args);
        let request = published.build_request(args)?;
        audit_entry
            .record_intent()
            .await
            .inspect_err(|_| audit_entry.record.set_denied_by("audit"))?;
        let writes = request.is_write;
        if writes {
            audit_entry.record.mark_write_sent();
        }
        let sent = self.upstream.send(request, &principal.credentials).await;
        // Looked up only for calls that failed.
        let verification_tool = || {
            self.find_verification_tool(principal, entry.operation)
                .filter(|_| writes)
        };
        let answer = sent.map_err(|error| error.with_verification_tool(verification_tool()))?;
        let record = &mut *audit_entry.record;
        record.status = Some(answer.status().as_u16());
        record.retries = Some(answer.attempts().saturating_sub(1));
        // The id is logged and audited, so it must not contain a secret that the upstream repeats.
        let request_id = answer.request_id().filter(|id| fetched.has_no_secret(id));
        record.upstream_request_id = request_id.map(str::to_owned);
        let raw = RawResponse {
            response: answer,
            operation: entry.operation,
            delivery: handover,
        };
        let (outcome, fetched) = if raw.is_large() {
            Box::pin(raw.finish_on_worker(&self.workers, fetched)).await
        } else {
            (raw.finish(&fetched), fetched)
        };
        let to_error = |mut refusal: UpstreamError| {
            refusal.scrub(|text| match sanitize::sanitize_text(text) {
                Some(clean) => fetched.mask(&clean),
                None => fetched.mask(text),
            });
            record.upstream_request_id.clone_from(&refusal.request_id);
            refusal.call = Box::new(scope_arguments.describe_call(published, principal));
            refusal.call.warnings.clone_from(&record.warnings);
            refusal.call.retry_safety = RetrySafety {
                writes,
                verification_tool: verification_tool(),
            };
            CallError::Upstream(entry.operation, Box::new(refusal))
        };
        let answer = outcome.map_err(to_error)?;
        self.record_accepted_key(principal, entry.operation);
        audit_entry.record.untrusted = entry.operation.has_untrusted_content();
        Ok(answer)
    }
}

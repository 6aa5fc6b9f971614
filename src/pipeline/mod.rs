//! One tool call, from its name and arguments to the upstream's response.

mod ahead;
pub mod approval;
pub mod dry_run;
mod error;
mod finish;
mod proof;
mod refused;
mod setup;
pub mod taint;

use std::{sync::Arc, time::SystemTime};

use portkey_api::catalog::{Catalog, CatalogEntry};
use portkey_concurrency::worker_pool::WorkerPool;
use portkey_file_watch::WatchedValue;
use portkey_operation::{JsonMap, ValidatedArguments, ValidationOptions};
use portkey_policy::{PolicyEvaluation, DecisionKind, PolicyInput, Policy, Decision};
use portkey_store::Store;
use serde_json::Value;

use crate::{
    auth::principal::{ToolFilter, AuthMethod, Principal, KeyProofs},
    observability::{
        audit::{Audit, Line},
        call_record::OutcomeKind,
        request::Arrival,
    },
    pipeline::{
        approval::{Always, Answer, Approvals, Required},
        taint::Taint,
    },
    security::{
        sanitize,
        secrets::{ReferenceCaller, Secrets, mask_text},
    },
    upstream::{Client, Doubt, Refusal},
};

use self::{finish::Raw, refused::Named};

pub use self::{error::CallError, proof::MAX_KEY_CHECKS};
pub use crate::observability::call_record::Record;

/// The parts that authorize, validate and send tool calls.
#[derive(Debug)]
pub struct Dispatcher {
    catalog: Catalog,
    portkey: Client,
    policy: Option<WatchedValue<Policy>>,
    store: Store,
    dry_run: bool,
    always: Always,
    approvals: Option<Arc<Approvals>>,
    modes: ToolFilter,
    validation: ValidationOptions,
    taint: Taint,
    audit: Option<Audit>,
    secrets: Secrets,
    proofs: KeyProofs,
    workers: WorkerPool,
}

/// A tool call as received.
#[derive(Debug)]
pub struct Call<'a> {
    /// The caller.
    pub principal: &'a Principal,
    /// Request id, transport, session and client of the request that carries the call.
    pub arrival: &'a Arrival,
    /// The tool's name, as the caller wrote it.
    pub name: &'a str,
    /// The arguments, as the caller wrote them.
    pub args: JsonMap,
    /// The human's decision, if this call repeats one for which approval was requested.
    pub answer: Option<Answer>,
}

/// A call that passed authorization and validation, without its arguments.
struct Way<'a> {
    principal: &'a Principal,
    arrival: &'a Arrival,
    entry: &'a CatalogEntry,
    answer: Option<Answer>,
}

impl Dispatcher {
    /// Makes a call on behalf of the local user. Dropping the future aborts the request.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(
        &self,
        principal: &Principal,
        name: &str,
        args: JsonMap,
    ) -> Result<Value, CallError> {
        let arrival = &Arrival::local();
        let call = Call {
            principal,
            arrival,
            name,
            args,
            answer: None,
        };
        self.recorded(call, &mut Record::default()).await
    }

    /// Makes a call, and writes everything found out about it to `record`. Dropping the future
    /// aborts the request.
    ///
    /// A caller that reads untrusted content is tainted.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn recorded(&self, call: Call<'_>, record: &mut Record) -> Result<Value, CallError> {
        let (principal, arrival) = (call.principal, call.arrival);
        let outcome = self.noted(call, record).await;
        if record.untrusted {
            self.taint.mark(principal, arrival).await;
        }
        outcome
    }

    /// Records a call that was rejected for its name or its arguments before it reached the
    /// dispatcher.
    pub fn record_rejected_call(
        &self,
        principal: &Principal,
        arrival: &Arrival,
        args: &JsonMap,
        record: &mut Record,
    ) {
        // The audit entry is written when it is dropped.
        let line = Line::begin(self.audit.as_ref(), principal, arrival, args, record);
        line.record.outcome = OutcomeKind::Rejected.into();
    }

    /// Makes a call with an audit entry, and does not taint its caller.
    async fn noted(&self, mut call: Call<'_>, record: &mut Record) -> Result<Value, CallError> {
        call.answer = call.answer.or(approval::take_ticket(&mut call.args));
        let (principal, arrival) = (call.principal, call.arrival);
        let mut line = Line::begin(self.audit.as_ref(), principal, arrival, &call.args, record);
        let outcome = self.decided(call, &mut line).await;
        line.record.outcome = match &outcome {
            Ok(_) if line.record.decision == DecisionKind::DryRun => OutcomeKind::DryRun.into(),
            Ok(_) => OutcomeKind::Answered.into(),
            Err(error) => error.outcome(line.record.is_sent),
        };
        outcome
    }

    /// Authorizes and validates a call, evaluates the policies, applies their decision, and settles
    /// the limits they reserved.
    async fn decided(&self, call: Call<'_>, line: &mut Line<'_>) -> Result<Value, CallError> {
        let Call {
            principal,
            arrival,
            name,
            args,
            answer,
        } = call;
        let entry = self.catalog.find(name)?;
        line.record.operation = Some(entry.operation);
        let on_offer = self.modes.check(entry.domain.name, entry.operation);
        on_offer
            .and_then(|()| principal.authorize(entry.domain.name, entry.operation))
            .inspect_err(|withheld| line.record.denied_by(withheld.as_str()))?;
        let own = principal.policy.as_deref();
        let server = self.policy.as_ref().map(|policy| Arc::clone(&policy.get()));
        let policies: Vec<&Policy> = server.as_deref().into_iter().chain(own).collect();
        // Before validation, whose errors would reveal the arguments of a hidden tool.
        if let Some(denied) = portkey_policy::check_hidden(&policies, entry.operation) {
            line.record.denied_by(&*denied.rule.name);
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
        line.record.warnings = warnings
            .iter()
            .map(|text| mask_text(text).into_owned())
            .collect();
        line.record.unknown_fields = unknown
            .iter()
            .map(|path| mask_text(path).into_owned())
            .collect();
        let masked = |(at, time): (String, String)| (mask_text(&at).into_owned(), time);
        line.record.times = times.into_iter().map(masked).collect();
        self.secrets.reject_masked_values(published, &mut args)?;
        line.admitted(published, &args);
        let way = Way {
            principal,
            arrival,
            entry,
            answer,
        };
        let proof = self
            .demand_proof(principal, entry.operation, &policies)
            .await;
        proof.inspect_err(|_| line.record.denied_by("key"))?;
        if policies.is_empty() {
            return self
                .carry_out(way, args, Decision::Allow, String::new(), line)
                .await;
        }
        let minded = policies
            .iter()
            .any(|policy| policy.depends_on_taint(entry.operation));
        let tainted = minded && self.taint.is_tainted(principal, arrival).await;
        let unknown = line.record.unknown_fields.clone();
        let facts = PolicyInput {
            operation: entry.operation,
            domain: entry.domain.name,
            args: &args,
            unknown_fields: &unknown,
            principal: &principal.name,
            client: arrival.client.as_deref(),
            transport: arrival.transport,
            session: arrival.session.as_deref(),
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
        line.record.shadows = shadows;
        if let Some(rule) = verdict.rule() {
            line.record.decided(verdict.kind(), &*rule.name);
        }
        let revisions: Vec<_> = policies.iter().map(|policy| policy.revision()).collect();
        let outcome = self
            .carry_out(way, args, verdict, revisions.join("+"), line)
            .await;
        // A call that was sent counts against limits, and so does one that may have been.
        let nothing_happened = match &outcome {
            Ok(_) => line.record.decision == DecisionKind::DryRun,
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
    async fn carry_out(
        &self,
        way: Way<'_>,
        args: JsonMap,
        verdict: Decision,
        revision: String,
        line: &mut Line<'_>,
    ) -> Result<Value, CallError> {
        let Way {
            principal,
            arrival,
            entry,
            answer,
        } = way;
        let writes = entry.compiled().is_write(&args);
        let mut required = self.always.of(entry.operation).filter(|_| writes);
        let mut dry_run = (self.dry_run && writes).then_some("--dry-run".to_owned());
        match verdict {
            Decision::Allow => {}
            Decision::Deny(denied) => return Err(denied.into()),
            Decision::DryRun(noted) => dry_run = Some(noted.rule.name.to_string()),
            Decision::Approve(noted) => {
                let confirm = noted.confirm || required.is_some_and(|required| required.confirm);
                let (rule, words) = (noted.rule.name.to_string(), Some(noted.message));
                required = Some(Required {
                    rule,
                    words,
                    confirm,
                    revision,
                });
            }
        }
        // A dry run sends nothing, so it needs no approval.
        if let Some(rule) = dry_run {
            line.record.decided(DecisionKind::DryRun, rule);
            return self.rehearse(principal, arrival, entry, args, line).await;
        }
        if let Some(required) = required {
            line.record
                .decided(DecisionKind::Approve, required.rule.as_str());
            let warnings = line.record.warnings.clone();
            let way = Way {
                principal,
                arrival,
                entry,
                answer,
            };
            let approved = self.approved(way, &args, required, &warnings);
            line.record.approval = Some(approved.await?);
        }
        if entry.compiled().is_preview(&args) {
            return self.preview(principal, arrival, entry, args, line).await;
        }
        self.send(principal, entry, args, line).await
    }

    /// Sends the request to the upstream and finishes its response.
    async fn send(
        &self,
        principal: &Principal,
        entry: &CatalogEntry,
        mut args: JsonMap,
        line: &mut Line<'_>,
    ) -> Result<Value, CallError> {
        let published = entry.compiled();
        let handover = self.secrets.prepare_delivery(entry.operation, &args)?;
        let caller = ReferenceCaller {
            name: &principal.name,
            is_local: principal.method == AuthMethod::Local,
        };
        let fetched = self.secrets.resolve_references(published, caller, &mut args)?;
        let fetched = fetched.with_request_keys(principal.credentials.request_keys());
        let named = Named::of(&args);
        let request = published.build_request(args)?;
        line.intend()
            .await
            .inspect_err(|_| line.record.denied_by("audit"))?;
        let writes = request.is_write;
        if writes {
            line.record.sends_write();
        }
        let sent = self.portkey.send(request, &principal.credentials).await;
        // Looked up only for calls that failed.
        let look = || {
            self.way_to_look(principal, entry.operation)
                .filter(|_| writes)
        };
        let answer = sent.map_err(|error| error.with_look(look()))?;
        let record = &mut *line.record;
        record.status = Some(answer.status().as_u16());
        record.retries = Some(answer.attempts().saturating_sub(1));
        // The id is logged and audited, so it must not contain a secret that the upstream repeats.
        let request_id = answer.request_id().filter(|id| fetched.has_no_secret(id));
        record.upstream_request_id = request_id.map(str::to_owned);
        let raw = Raw {
            answer,
            operation: entry.operation,
            handover,
        };
        let (outcome, fetched) = if raw.is_large() {
            Box::pin(raw.finish_away(&self.workers, fetched)).await
        } else {
            (raw.finish(&fetched), fetched)
        };
        let refused = |mut refusal: Refusal| {
            refusal.scrub(|text| match sanitize::sanitize_text(text) {
                Some(clean) => fetched.mask(&clean),
                None => fetched.mask(text),
            });
            record.upstream_request_id.clone_from(&refusal.request_id);
            refusal.call = Box::new(named.call(published, principal));
            refusal.call.warnings.clone_from(&record.warnings);
            refusal.call.doubt = Doubt {
                writes,
                look: look(),
            };
            CallError::Refused(entry.operation, Box::new(refusal))
        };
        let answer = outcome.map_err(refused)?;
        self.note_success(principal, entry.operation);
        line.record.untrusted = entry.operation.has_untrusted_content();
        Ok(answer)
    }
}

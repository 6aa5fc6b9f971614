//! Prompts and resources under the policies: what a caller sees, and whether it gets one.

use std::time::SystemTime;

use portkey_operation::JsonMap;
use portkey_policy::{Decision, Policy, PolicyDenial, PolicyEvaluation, PolicyInput, PolicyTarget};

use super::{CallRecord, Dispatcher, outside_decision::CallDecisions};
use crate::{
    auth::principal::Principal,
    observability::{
        audit::PendingEntry,
        call_record::{CallOutcome, OutcomeKind, RecordedItem, RejectionReason},
        request::RequestInfo,
    },
    security::secrets::mask_text,
};

impl Dispatcher {
    /// Returns true if all policies of a caller can permit the prompt or resource.
    pub fn can_see_item(&self, principal: &Principal, target: &PolicyTarget<'_>) -> bool {
        let server = self.policy.as_ref().map(|policy| policy.get());
        let mut policies = server
            .as_deref()
            .map(|policy| &**policy)
            .into_iter()
            .chain(principal.policy.as_deref());
        policies.all(|policy| policy.can_permit_item(target))
    }

    /// Checks that the policies permit a caller to get a prompt or read a resource, and writes the
    /// decision to the audit log. `is_audited_elsewhere` is true if a call follows that has an entry
    /// of its own.
    ///
    /// # Errors
    /// Returns the denial.
    pub async fn authorize_item(
        &self,
        (principal, request_info): (&Principal, &RequestInfo),
        target: PolicyTarget<'_>,
        args: &JsonMap,
        is_audited_elsewhere: bool,
    ) -> Result<(), PolicyDenial> {
        let server = self.policy.as_ref().map(|policy| policy.get());
        let policies: Vec<&Policy> = server
            .as_deref()
            .map(|policy| &**policy)
            .into_iter()
            .chain(principal.policy.as_deref())
            .collect();
        if policies.is_empty() {
            return Ok(());
        }
        let evaluation = self
            .evaluate_item(principal, request_info, target, args, &policies)
            .await;
        let mut record = CallRecord {
            item: Some(RecordedItem {
                method: match target {
                    PolicyTarget::Prompt(_) => "prompts/get",
                    _ => "resources/read",
                },
                name: mask_text(target.name()).into_owned(),
            }),
            ..CallRecord::default()
        };
        if let Some(rule) = evaluation.decision.rule() {
            record.set_decision(evaluation.decision.kind(), &*rule.name);
        }
        let denial = match evaluation.decision {
            Decision::Deny(denial) => Some(denial),
            // No rule about prompts and resources demands an approval or a dry run.
            Decision::Allow | Decision::Approve(_) | Decision::DryRun(_) => None,
        };
        if denial.is_some() || !is_audited_elsewhere {
            let outcome = match denial {
                Some(_) => CallOutcome::rejected(OutcomeKind::Forbidden, RejectionReason::Policy),
                None => OutcomeKind::Answered.into(),
            };
            let audit = self.audit.as_ref();
            PendingEntry::begin(audit, principal, request_info, args, &mut record).finish(outcome);
        }
        denial.map_or(Ok(()), Err)
    }

    async fn evaluate_item(
        &self,
        principal: &Principal,
        request_info: &RequestInfo,
        target: PolicyTarget<'_>,
        args: &JsonMap,
        policies: &[&Policy],
    ) -> PolicyEvaluation {
        let called = self
            .ordered_calls(principal, request_info, &target, policies)
            .await;
        let depends_on_taint = policies
            .iter()
            .any(|policy| policy.item_depends_on_taint(&target));
        let input = PolicyInput {
            target,
            args,
            unknown_fields: &[],
            principal: &principal.name,
            claims: &principal.claims,
            source: request_info.source,
            called: called.as_deref(),
            client: request_info.client.as_deref(),
            transport: request_info.transport,
            session: request_info.session.as_deref(),
            time: SystemTime::now(),
            tainted: depends_on_taint && self.taint.is_tainted(principal, request_info).await,
        };
        let outside = CallDecisions {
            client: self.decisions.as_ref(),
            published: None,
            method: principal.method,
            request_id: &request_info.id,
        };
        portkey_policy::decide_with(policies, &input, &self.store, &outside).await
    }

    /// Returns the earlier calls of the session that rules about a call or an item compare.
    pub(super) async fn ordered_calls(
        &self,
        principal: &Principal,
        request_info: &RequestInfo,
        target: &PolicyTarget<'_>,
        policies: &[&Policy],
    ) -> Option<Vec<&'static str>> {
        let mut ordered: Vec<_> = policies
            .iter()
            .flat_map(|policy| policy.ordered_operations(target))
            .collect();
        if ordered.is_empty() {
            return None;
        }
        ordered.dedup();
        self.history
            .calls_of(principal, request_info, ordered)
            .await
    }
}

//! Changes of the journal as a caller may see them now: the policies may have changed since.

use std::{sync::Arc, time::SystemTime};

use portkey_journal::Change;
use portkey_operation::JsonMap;
use portkey_policy::{Decision, FieldPath, Policy, PolicyEvaluation, PolicyInput, PolicyTarget};
use portkey_store::Store;
use serde_json::Value;

use super::{Dispatcher, outside_decision::CallDecisions};
use crate::{auth::principal::Principal, observability::request::RequestInfo};

impl Dispatcher {
    /// Returns true if the server has a policy that applies to all callers.
    pub fn has_policy(&self) -> bool {
        self.policy.is_some()
    }

    /// Removes from a change what the policies hide from a caller now. Returns true if the caller may
    /// see the state before it.
    pub async fn redact_change(
        &self,
        principal: &Principal,
        request_info: &RequestInfo,
        change: &mut Change,
    ) -> bool {
        let operation = change.head.operation.clone();
        let sent = change.detail.as_ref();
        let sent = sent.and_then(|detail| detail.arguments.clone());
        let own = self
            .evaluate_stored(
                principal,
                request_info,
                &operation,
                &sent.unwrap_or_default(),
            )
            .await;
        let read = match (change.head.read.clone(), &change.detail) {
            (Some(read), Some(detail)) => {
                let args = detail.read_arguments.clone();
                self.evaluate_stored(principal, request_info, &read, &args)
                    .await
            }
            _ => None,
        };
        let may_see = own.as_ref();
        let may_see = may_see.is_some_and(|own| !matches!(own.decision, Decision::Deny(_)));
        let may_read = read.as_ref();
        let may_read = may_read.is_some_and(|read| matches!(read.decision, Decision::Allow));
        let evaluations = own.into_iter().chain(read);
        let redactions: Vec<Arc<[FieldPath]>> = evaluations
            .flat_map(|evaluation| evaluation.redactions)
            .collect();
        change.answer = change.answer.take().filter(|_| may_see).map(|mut answer| {
            PolicyEvaluation::redact(&redactions, &mut answer);
            answer
        });
        if let Some(detail) = &mut change.detail {
            detail.before = detail.before.take().filter(|_| may_read).map(|mut before| {
                PolicyEvaluation::redact(&redactions, &mut before);
                before
            });
            let arguments = detail.arguments.take().filter(|_| may_see);
            detail.arguments = arguments.map(|args| redact_arguments(&redactions, args));
        }
        may_read
    }

    /// Evaluates the policies for a call that is not made: it counts for no limit, and no outside
    /// decision point is asked, so that a rule which asks one denies it. Returns `None` if the
    /// operation is not open to the caller.
    async fn evaluate_stored(
        &self,
        principal: &Principal,
        request_info: &RequestInfo,
        operation: &str,
        args: &JsonMap,
    ) -> Option<PolicyEvaluation> {
        let entry = self.catalog.find(operation).ok()?;
        if !self.is_authorized(principal, entry) {
            return None;
        }
        let server_policy = self.policy.as_ref().map(|policy| Arc::clone(&policy.get()));
        let policies: Vec<&Policy> = server_policy
            .as_deref()
            .into_iter()
            .chain(principal.policy.as_deref())
            .collect();
        if policies.is_empty() {
            return Some(PolicyEvaluation::from_decision(Decision::Allow));
        }
        let target = PolicyTarget::Tool {
            operation: entry.operation,
            domain: entry.domain.name,
        };
        let called = self
            .ordered_calls(principal, request_info, &target, &policies)
            .await;
        let input = PolicyInput {
            target,
            claims: &principal.claims,
            source: request_info.source,
            called: called.as_deref(),
            args,
            unknown_fields: &[],
            principal: &principal.name,
            client: request_info.client.as_deref(),
            transport: request_info.transport,
            session: request_info.session.as_deref(),
            time: SystemTime::now(),
            tainted: self.taint.is_tainted(principal, request_info).await,
        };
        let outside = CallDecisions {
            client: None,
            published: Some(entry.compiled()),
            method: principal.method,
            request_id: &request_info.id,
        };
        // Limits are counted in a store of this evaluation alone.
        let store = Store::in_memory();
        Some(portkey_policy::decide_with(&policies, &input, &store, &outside).await)
    }
}

/// Redacts arguments, which have the fields of an answer under the same names. An answer may have
/// them in `data`.
fn redact_arguments(redactions: &[Arc<[FieldPath]>], args: JsonMap) -> JsonMap {
    let mut wrapped = Value::Object(args);
    PolicyEvaluation::redact(redactions, &mut wrapped);
    let mut wrapped = serde_json::json!({ "data": wrapped });
    PolicyEvaluation::redact(redactions, &mut wrapped);
    match wrapped.get_mut("data").map(Value::take) {
        Some(Value::Object(args)) => args,
        _ => JsonMap::new(),
    }
}

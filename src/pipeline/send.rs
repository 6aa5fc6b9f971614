//! Sends the request of a call to the upstream, and turns the response into the call's result.

use portkey_operation::JsonMap;
use serde_json::Value;

use super::{
    CallError, Dispatcher, OperationCall, failed_call::ScopeArguments, response::RawResponse,
};
use crate::{
    auth::principal::AuthMethod,
    observability::audit::PendingEntry,
    security::{sanitize, secrets::ReferenceCaller},
    upstream::{RetrySafety, UpstreamError},
};

impl Dispatcher {
    /// Sends the request to the upstream and finishes its response.
    pub(super) async fn send(
        &self,
        call: OperationCall<'_>,
        mut args: JsonMap,
        audit_entry: &mut PendingEntry<'_>,
    ) -> Result<Value, CallError> {
        let OperationCall {
            principal, entry, ..
        } = call;
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

//! Sends the request of a call to the upstream, and turns the response into the call's result.

use std::pin::pin;

use portkey_operation::JsonMap;

use super::{
    Answer, CallError, CallForm, CallRecord, CallResult, Dispatcher, OperationCall,
    failed_call::ScopeArguments,
    forwarded::UnfinishedResponse,
    response::RawResponse,
    rows::{RowContext, SignedAddress},
    state::ResourceState,
};
use crate::{
    auth::principal::AuthMethod,
    observability::audit::PendingEntry,
    security::{
        sanitize,
        secrets::{CallSecrets, ReferenceCaller, SecretDelivery},
    },
    upstream::{RetrySafety, SendError, UpstreamError},
};

impl Dispatcher {
    /// Sends the request to the upstream and finishes its response.
    pub(super) async fn send(
        &self,
        call: OperationCall<'_>,
        mut args: JsonMap,
        audit_entry: &mut PendingEntry<'_>,
    ) -> Result<CallResult, CallError> {
        let OperationCall {
            principal,
            entry,
            form,
            ..
        } = call;
        let published = entry.compiled();
        let handover = match form {
            // The secret is used here, and goes to nobody.
            CallForm::Rows(_) => SecretDelivery::Nothing,
            _ => self.secrets.prepare_delivery(entry.operation, &args)?,
        };
        let unsent = self.journaled_arguments(published, &args);
        let caller = ReferenceCaller {
            name: &principal.name,
            is_local: principal.method == AuthMethod::Local,
        };
        // Compared with the arguments after secrets are resolved.
        let examined = match form {
            CallForm::Arguments | CallForm::State | CallForm::Plan(_) | CallForm::Rows(_) => None,
            CallForm::Request { request, .. } => Some((request, args.clone())),
        };
        let fetched = self
            .secrets
            .resolve_references(published, caller, &mut args)?;
        let fetched = fetched.with_request_keys(principal.credentials.request_keys());
        let scope_arguments = ScopeArguments::from_arguments(&args);
        let (request, body) = match examined {
            None => (published.build_request(args)?, None),
            Some((received, examined)) => received.build(published, &examined, &args)?,
        };
        let writes = request.is_write;
        let change = match unsent.filter(|_| writes) {
            // Boxed: other calls need not reserve the space.
            Some(unsent) => {
                let described = self.describe_change(call, unsent, audit_entry.record);
                Some(Box::new(Box::pin(described).await))
            }
            None => None,
        };
        audit_entry
            .record_intent()
            .await
            .inspect_err(|_| audit_entry.record.set_denied_by("audit"))?;
        if let Some(change) = change {
            Box::pin(self.begin_change(call, *change, audit_entry.record)).await?;
        }
        if writes {
            audit_entry.record.mark_write_sent();
        }
        let upstream = request.base.upstream();
        // Pinned where it is: it would otherwise be moved into each branch, and take its space twice.
        let sending = pin!(async {
            match form {
                CallForm::Arguments | CallForm::State | CallForm::Plan(_) | CallForm::Rows(_) => {
                    self.upstream.send(request, &principal.credentials).await
                }
                CallForm::Request { .. } => {
                    let upstream = &self.upstream;
                    Box::pin(upstream.send_with_body(request, body, &principal.credentials)).await
                }
            }
        });
        let sent = match call.demands.timeout {
            None => sending.await,
            Some(bound) => {
                let timed_out = |_| {
                    Err(SendError::TimedOut {
                        upstream,
                        bound,
                        doubt: RetrySafety {
                            writes,
                            verification_tool: None,
                        },
                    })
                };
                let sent = tokio::time::timeout(bound, sending).await;
                sent.unwrap_or_else(timed_out)
            }
        };
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
        let finish = match form {
            CallForm::Arguments | CallForm::Plan(_) => |raw: RawResponse, fetched: &CallSecrets| {
                raw.finish(fetched).map(FinishedResponse::Result)
            },
            CallForm::State => |raw: RawResponse, fetched: &CallSecrets| {
                raw.finish_state(fetched)
                    .map(|state| FinishedResponse::State(Box::new(state)))
            },
            CallForm::Rows(_) => |raw: RawResponse, _: &CallSecrets| {
                raw.finish_address().map(FinishedResponse::Address)
            },
            CallForm::Request { .. } => |raw: RawResponse, fetched: &CallSecrets| {
                raw.forward(fetched)
                    .map(|response| FinishedResponse::Unfinished(Box::new(response)))
            },
        };
        let (outcome, fetched) = if raw.is_large() {
            Box::pin(raw.finish_on_worker(&self.workers, fetched, finish)).await
        } else {
            (finish(raw, &fetched), fetched)
        };
        let to_error = |mut refusal: UpstreamError, record: &mut CallRecord| {
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
        let (result, is_success) = match outcome.map_err(|error| to_error(error, record))? {
            FinishedResponse::Result(answer) => (CallResult::Answered(answer), true),
            FinishedResponse::State(state) => (CallResult::State(state), true),
            FinishedResponse::Address(address) => {
                let context = RowContext {
                    operation: entry.operation,
                    fetched: &fetched,
                    redactions: &call.demands.redactions,
                };
                let rows = Box::pin(self.read_signed_file(address, call, context)).await?;
                audit_entry.record.untrusted = true;
                self.record_accepted_key(principal, entry.operation);
                return Ok(CallResult::Answered(rows.into()));
            }
            FinishedResponse::Unfinished(mut response) => {
                let reported = response.reported.take();
                let error = reported.map(|error| to_error(error, record));
                let is_success = error.is_none();
                let mut response = response.finish(error);
                response.request_id.clone_from(&record.upstream_request_id);
                (CallResult::Forwarded(Box::new(response)), is_success)
            }
        };
        if is_success {
            self.record_accepted_key(principal, entry.operation);
        }
        // An error of a forwarded response reaches the client in full.
        audit_entry.record.untrusted = entry.operation.has_untrusted_content();
        Ok(result)
    }
}

/// A response as the form of the call wants it.
enum FinishedResponse {
    /// The result of a tool call.
    Result(Answer),
    /// The answer to a read, as it came and as the caller may see it.
    State(Box<ResourceState>),
    /// The address of a file that is to be read.
    Address(Option<SignedAddress>),
    /// A response to forward.
    Unfinished(Box<UnfinishedResponse>),
}

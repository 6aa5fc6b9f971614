//! Reads of the current state of a resource, for calls that build on it.

use portkey_operation::JsonMap;
use serde_json::Value;

use super::{
    CallError, CallForm, CallRecord, CallResult, Dispatcher, ToolCall, response::RawResponse,
};
use crate::{
    auth::principal::Principal,
    observability::request::RequestInfo,
    security::{
        sanitize,
        secrets::{CallSecrets, mask_response},
    },
    upstream::UpstreamError,
};

/// The state of a resource, as its read returns it.
#[derive(Clone, Default)]
pub struct ResourceState {
    /// The answer as it came. It may hold secrets in clear, and goes to no caller and no log.
    pub clear: Value,
    /// The answer as the caller may see it.
    pub shown: Value,
    /// True if it is untrusted content.
    pub is_untrusted: bool,
}

/// Shows what the caller may see, and never the rest.
impl std::fmt::Debug for ResourceState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResourceState")
            .field("shown", &self.shown)
            .finish_non_exhaustive()
    }
}

impl RawResponse {
    /// Returns the answer as it came, and as the caller may see it.
    pub(super) fn finish_state(
        self,
        fetched: &CallSecrets,
    ) -> Result<ResourceState, UpstreamError> {
        let Self {
            response: answer,
            operation,
            delivery,
        } = self;
        let body = answer.body();
        let clear = answer.into_result()?;
        let mut shown = clear.clone();
        let plain = sanitize::as_clean_ascii(&body);
        if plain.is_none() {
            sanitize::sanitize_value(&mut shown);
        }
        delivery.mask_and_deliver(operation, fetched, plain, &mut shown);
        Ok(ResourceState {
            clear,
            shown,
            is_untrusted: operation.has_untrusted_content(),
        })
    }
}

impl Dispatcher {
    /// Reads the state of a resource, as if the caller had asked for it: filters, scopes, policies,
    /// limits and the audit log see the read.
    ///
    /// The caller is not tainted. [`Self::mark_taint`] follows where the state is passed on to it.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn read_state(
        &self,
        principal: &Principal,
        request_info: &RequestInfo,
        read: &str,
        args: JsonMap,
    ) -> Result<ResourceState, CallError> {
        let call = ToolCall {
            principal,
            request_info,
            name: read,
            args,
            approval_response: None,
        };
        let mut record = CallRecord::default();
        let state = Box::pin(self.execute(call, &CallForm::State, &mut record)).await?;
        match state {
            CallResult::State(state) => Ok(*state),
            other => Ok(ResourceState {
                shown: other.into_value(),
                ..ResourceState::default()
            }),
        }
    }

    /// Marks a caller as tainted, because untrusted content was passed on to it.
    pub async fn mark_taint(&self, principal: &Principal, request_info: &RequestInfo) {
        self.taint.mark(principal, request_info).await;
    }

    /// Masks a document as the answer of a read would be masked.
    pub fn mask_state(&self, read: &str, document: &mut Value) {
        if let Ok(entry) = self.catalog.find(read) {
            mask_response(entry.operation, document);
        }
    }
}

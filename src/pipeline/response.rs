//! Turns an upstream's response into the caller's result: parses it, sanitizes it and masks
//! secrets.

use portkey_concurrency::worker_pool::{MAX_INLINE_BYTES, WorkerPool};
use portkey_operation::Operation;
use serde_json::Value;

use crate::{
    security::{
        sanitize,
        secrets::{CallSecrets, SecretDelivery},
    },
    upstream::{UpstreamError, UpstreamResponse},
};

/// A response as received, with what is needed to finish it.
pub(super) struct RawResponse {
    pub(super) response: UpstreamResponse,
    pub(super) operation: &'static Operation,
    pub(super) delivery: SecretDelivery,
}

impl RawResponse {
    /// Returns true if finishing the response would block a serving thread for too long.
    pub(super) fn is_large(&self) -> bool {
        self.response.body_len() > MAX_INLINE_BYTES
    }

    /// Returns the result for the caller.
    ///
    /// # Errors
    /// Returns the upstream's error if the response is one.
    pub(super) fn finish(self, fetched: &CallSecrets) -> Result<Value, UpstreamError> {
        let Self {
            response: answer,
            operation,
            delivery: handover,
        } = self;
        let body = answer.body();
        let plain = sanitize::as_clean_ascii(&body);
        let text = plain.or_else(|| str::from_utf8(&body).ok());
        let mut answer = answer.into_result_of(text)?;
        // Sanitized before secrets are masked, because invisible characters could hide a key.
        if plain.is_none() {
            sanitize::sanitize_value(&mut answer);
        }
        handover.mask_and_deliver(operation, fetched, plain, &mut answer);
        Ok(answer)
    }

    /// Finishes the response by `finish` on a worker thread. The upstream has already been called,
    /// so this waits for a worker without a timeout.
    pub(super) async fn finish_on_worker<T: Send + 'static>(
        self,
        workers: &WorkerPool,
        fetched: CallSecrets,
        finish: impl FnOnce(Self, &CallSecrets) -> Result<T, UpstreamError> + Send + 'static,
    ) -> (Result<T, UpstreamError>, CallSecrets) {
        let finish = move || {
            let outcome = finish(self, &fetched);
            (outcome, fetched)
        };
        workers.run_finishing(finish).await
    }
}

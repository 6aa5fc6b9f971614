//! Makes of an upstream's answer what its caller gets: reads it, cleans it, and masks what is secret.

use portkey_concurrency::worker_pool::{INLINE_BYTES, Workers};
use portkey_operation::Operation;
use serde_json::Value;

use crate::{
    security::{
        sanitize,
        secrets::{Fetched, Handover},
    },
    upstream::{Answer, Refusal},
};

/// An answer as it came, with what is to be done with it.
pub(super) struct Raw {
    pub(super) answer: Answer,
    pub(super) operation: &'static Operation,
    pub(super) handover: Handover,
}

impl Raw {
    /// Whether finishing it takes longer than the threads that serve have time for.
    pub(super) fn is_large(&self) -> bool {
        self.answer.bytes() > INLINE_BYTES
    }

    /// The answer for the caller.
    ///
    /// # Errors
    /// The upstream refused the call.
    pub(super) fn finish(self, fetched: &Fetched) -> Result<Value, Refusal> {
        let Self {
            answer,
            operation,
            handover,
        } = self;
        let body = answer.body();
        let mut answer = answer.outcome()?;
        let plain = sanitize::plain(&body);
        // First, because what cannot be seen could hide a key.
        if plain.is_none() {
            sanitize::clean(&mut answer);
        }
        handover.complete(operation, fetched, plain, &mut answer);
        Ok(answer)
    }

    /// The same away from the threads that serve. The call is made, so it waits for as long as it takes.
    pub(super) async fn finish_away(
        self,
        workers: &Workers,
        fetched: Fetched,
    ) -> (Result<Value, Refusal>, Fetched) {
        let finish = move || {
            let outcome = self.finish(&fetched);
            (outcome, fetched)
        };
        workers.run_to_end(finish).await
    }
}

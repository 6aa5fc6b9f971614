//! One call, from name and arguments to the upstream's answer.

use std::time::Instant;

use serde_json::Value;
use tracing::{debug, warn};

use crate::{
    catalog::{Catalog, UnknownTool},
    operation::{InputError, JsonMap, Operation},
    portkey::{Client, Refusal, SendError},
    principal::{Principal, Withheld},
};

/// Everything a call needs on its way.
#[derive(Debug)]
pub struct Dispatcher {
    /// What is offered.
    pub catalog: Catalog,
    /// Who answers.
    pub portkey: Client,
}

/// Why a call came to nothing, by who can do something about it.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The caller named no tool of ours.
    #[error(transparent)]
    Unknown(#[from] UnknownTool),
    /// It is not for this caller.
    #[error(transparent)]
    Withheld(#[from] Withheld),
    /// The caller can mend the arguments.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The upstream gave no usable answer.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The upstream said no.
    #[error("{0:?} was refused")]
    Refused(&'static Operation, Box<Refusal>),
}

impl Dispatcher {
    /// Makes the call for this caller. Dropping the future aborts the request.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(
        &self,
        principal: &Principal,
        name: &str,
        args: JsonMap,
    ) -> Result<Value, CallError> {
        let started = Instant::now();
        let entry = self.catalog.find(name)?;
        let outcome = async {
            principal.may(entry.domain.name, entry.operation)?;
            let mut request = entry.published().request(args)?;
            let preview = request.preview.take();
            let answer = self.portkey.send(request, &principal.credentials).await?;
            let refused = |refusal| CallError::Refused(entry.operation, Box::new(refusal));
            let answer = answer.outcome().map_err(refused)?;
            // The request was a read, so there is nothing that could still be sent.
            Ok(match preview {
                Some(preview) => preview.of(answer),
                None => answer,
            })
        };
        let outcome = outcome.await;
        report(&principal.name, entry.operation.name(), started, &outcome);
        outcome
    }
}

/// Says what became of a call, without its arguments: they may hold secrets.
fn report(caller: &str, tool: &str, started: Instant, outcome: &Result<Value, CallError>) {
    let duration_ms = started.elapsed().as_secs_f64() * 1000.0;
    match outcome {
        Ok(_) => debug!(caller, tool, duration_ms, "call answered"),
        Err(CallError::Refused(_, refusal)) => {
            let status = refusal.status.as_u16();
            let (code, request_id) = (refusal.code.as_deref(), refusal.request_id.as_deref());
            warn!(caller, tool, duration_ms, status, code, request_id, "call refused");
        }
        Err(CallError::Send(error)) => {
            warn!(caller, tool, duration_ms, %error, "call not answered")
        }
        Err(CallError::Withheld(_)) => warn!(caller, tool, duration_ms, "call withheld"),
        Err(CallError::Input(_) | CallError::Unknown(_)) => {
            debug!(caller, tool, duration_ms, "call turned back");
        }
    }
}

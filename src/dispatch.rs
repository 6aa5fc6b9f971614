//! One call, from name and arguments to the upstream's answer.

use serde_json::Value;

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

/// What is found out about a call on its way, for whoever observes it.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The operation that the name leads to.
    pub operation: Option<&'static Operation>,
    /// What the upstream calls the request.
    pub upstream_request_id: Option<String>,
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
        self.recorded(principal, name, args, &mut Record::default()).await
    }

    /// The same, with what is found out written down.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn recorded(
        &self,
        principal: &Principal,
        name: &str,
        args: JsonMap,
        record: &mut Record,
    ) -> Result<Value, CallError> {
        let entry = self.catalog.find(name)?;
        record.operation = Some(entry.operation);
        principal.may(entry.domain.name, entry.operation)?;
        let mut request = entry.published().request(args)?;
        let preview = request.preview.take();
        let answer = self.portkey.send(request, &principal.credentials).await?;
        record.upstream_request_id = answer.request_id().map(str::to_owned);
        let refused = |refusal| CallError::Refused(entry.operation, Box::new(refusal));
        let answer = answer.outcome().map_err(refused)?;
        // The request was a read, so there is nothing that could still be sent.
        Ok(match preview {
            Some(preview) => preview.of(answer),
            None => answer,
        })
    }
}

//! One call, from name and arguments to the upstream's answer.

use serde_json::Value;

use crate::{
    catalog::{Catalog, UnknownTool},
    metrics::Metrics,
    operation::{InputError, JsonMap, Operation},
    portkey::{Client, Refusal, SendError},
    principal::{Method, Principal, Withheld},
    request::Arrival,
    secrets::{Caller, SecretError, Secrets},
    untrusted,
};

/// Everything a call needs on its way.
#[derive(Debug)]
pub struct Dispatcher {
    catalog: Catalog,
    portkey: Client,
    secrets: Secrets,
}

/// A call as it arrives.
#[derive(Debug)]
pub struct Call<'a> {
    /// Who makes it.
    pub principal: &'a Principal,
    /// How it came.
    pub arrival: &'a Arrival,
    /// The tool's name, as the caller writes it.
    pub name: &'a str,
    /// The arguments, as the caller writes them.
    pub args: JsonMap,
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
    /// A secret stands in the way.
    #[error(transparent)]
    Secret(#[from] SecretError),
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
    /// Offers these operations, and has the upstreams answer.
    pub fn new(catalog: Catalog, portkey: Client) -> Self {
        Self { catalog, portkey, secrets: Secrets::default() }
    }

    /// The same for other operations.
    pub fn offering(self, catalog: Catalog) -> Self {
        Self { catalog, ..self }
    }

    /// The same, with what the upstreams do recorded.
    pub fn measured(self, metrics: Metrics) -> Self {
        Self { portkey: self.portkey.measured(metrics), ..self }
    }

    /// The same, with secrets treated so.
    pub fn guarding(self, secrets: Secrets) -> Self {
        Self { secrets, ..self }
    }

    /// How secrets are treated.
    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// What is offered.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Makes a call of whoever runs the process. Dropping the future aborts the request.
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
        self.recorded(Call { principal, arrival, name, args }, &mut Record::default()).await
    }

    /// Makes the call, with what is found out written down. Dropping the future aborts the request.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn recorded(&self, call: Call<'_>, record: &mut Record) -> Result<Value, CallError> {
        let Call { principal, arrival: _, name, args } = call;
        let entry = self.catalog.find(name)?;
        record.operation = Some(entry.operation);
        principal.may(entry.domain.name, entry.operation)?;
        let published = entry.published();
        let mut args = published.admit(args)?;
        self.secrets.refuse_masks(published, &mut args)?;
        let handover = self.secrets.make_ready(entry.operation, &args)?;
        let caller = Caller { name: &principal.name, is_local: principal.method == Method::Local };
        let fetched = self.secrets.fetch(published, caller, &mut args)?;
        let mut request = published.lay_out(args)?;
        let preview = request.preview.take();
        let answer = self.portkey.send(request, &principal.credentials).await?;
        record.upstream_request_id = answer.request_id().map(str::to_owned);
        let refused = |mut refusal: Refusal| {
            let message = untrusted::cleaned(&refusal.message).unwrap_or(refusal.message);
            refusal.message = fetched.mask(&message);
            CallError::Refused(entry.operation, Box::new(refusal))
        };
        let answer = answer.outcome().map_err(refused)?;
        // The request was a read, so there is nothing that could still be sent.
        let mut answer = match preview {
            Some(preview) => preview.of(answer),
            None => answer,
        };
        // First, because what cannot be seen could hide a key.
        untrusted::clean(&mut answer);
        handover.complete(entry.operation, &fetched, principal.credentials.brought(), &mut answer);
        Ok(answer)
    }
}

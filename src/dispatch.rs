//! One call, from name and arguments to the upstream's answer.

use serde_json::Value;

use crate::{
    catalog::{Catalog, Entry, UnknownTool},
    metrics::Metrics,
    operation::{InputError, JsonMap, Operation},
    portkey::{Client, Refusal, SendError},
    principal::{AccessModes, Principal, Withheld},
    request::Arrival,
    store::Store,
    taint::Taint,
};

/// Everything a call needs on its way.
#[derive(Debug)]
pub struct Dispatcher {
    catalog: Catalog,
    portkey: Client,
    modes: AccessModes,
    taint: Taint,
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
        let (modes, taint) = (AccessModes::default(), Taint::in_store(Store::memory()));
        Self { catalog, portkey, modes, taint }
    }

    /// The same for other operations.
    pub fn offering(self, catalog: Catalog) -> Self {
        Self { catalog, ..self }
    }

    /// The same, with only what these modes leave on offer, whoever calls.
    pub fn narrowed(self, modes: AccessModes) -> Self {
        Self { modes, ..self }
    }

    /// The same, with what it has to remember in a store that others share.
    pub fn sharing(self, store: Store) -> Self {
        Self { taint: Taint::in_store(store), ..self }
    }

    /// The same, with what the upstreams do recorded.
    pub fn measured(self, metrics: Metrics) -> Self {
        Self { portkey: self.portkey.measured(metrics), ..self }
    }

    /// Who has read what strangers wrote.
    pub const fn taint(&self) -> &Taint {
        &self.taint
    }

    /// What names lead to.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What is on offer here, in the order of names. Callers may see less.
    pub fn offered(&self) -> impl Iterator<Item = &Entry> {
        let offered = |entry: &&Entry| self.modes.admit(entry.domain.name, entry.operation).is_ok();
        self.catalog.iter().filter(offered)
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
        let Call { principal, arrival, name, args } = call;
        let entry = self.catalog.find(name)?;
        record.operation = Some(entry.operation);
        self.modes.admit(entry.domain.name, entry.operation)?;
        principal.may(entry.domain.name, entry.operation)?;
        let published = entry.published();
        let args = published.admit(args)?;
        let mut request = published.lay_out(args)?;
        let preview = request.preview.take();
        let answer = self.portkey.send(request, &principal.credentials).await?;
        record.upstream_request_id = answer.request_id().map(str::to_owned);
        let refused = |refusal| CallError::Refused(entry.operation, Box::new(refusal));
        let answer = answer.outcome().map_err(refused)?;
        if entry.operation.is_untrusted() {
            self.taint.mark(principal, arrival).await;
        }
        // The request was a read, so there is nothing that could still be sent.
        Ok(match preview {
            Some(preview) => preview.of(answer),
            None => answer,
        })
    }
}

//! One call, from name and arguments to the upstream's answer.

use serde_json::Value;

use crate::{
    audit::{Audit, Line, Unwritable},
    catalog::{Catalog, UnknownTool},
    metrics::Metrics,
    operation::{InputError, JsonMap, Operation},
    portkey::{Client, Refusal, SendError},
    principal::{Principal, Withheld},
    record::End,
    request::Arrival,
};

pub use crate::record::Record;

/// Everything a call needs on its way.
#[derive(Debug)]
pub struct Dispatcher {
    catalog: Catalog,
    portkey: Client,
    audit: Option<Audit>,
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
    /// It could not be put on record.
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
    /// The upstream gave no usable answer.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The upstream said no.
    #[error("{0:?} was refused")]
    Refused(&'static Operation, Box<Refusal>),
}

/// What became of a call, as every observer has it.
impl From<&Result<Value, CallError>> for End {
    fn from(outcome: &Result<Value, CallError>) -> Self {
        match outcome {
            Ok(_) => "answered".into(),
            Err(CallError::Refused(_, refusal)) => {
                Self { code: refusal.code.clone(), ..Self::from("refused") }
            }
            Err(CallError::Withheld(_)) => "withheld".into(),
            Err(CallError::Input(_) | CallError::Unknown(_)) => "turned back".into(),
            Err(CallError::Unwritable(_)) => "denied".into(),
            Err(CallError::Send(error)) => Self::failed(error),
        }
    }
}

impl Dispatcher {
    /// Offers these operations, and has the upstreams answer.
    pub fn new(catalog: Catalog, portkey: Client) -> Self {
        Self { catalog, portkey, audit: None }
    }

    /// The same for other operations.
    pub fn offering(self, catalog: Catalog) -> Self {
        Self { catalog, ..self }
    }

    /// The same, with what the upstreams do recorded.
    pub fn measured(self, metrics: Metrics) -> Self {
        Self { portkey: self.portkey.measured(metrics), ..self }
    }

    /// The same, with every call put on record.
    pub fn audited(self, audit: Audit) -> Self {
        Self { audit: Some(audit), ..self }
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
        let (principal, arrival) = (call.principal, call.arrival);
        let mut line = Line::begin(self.audit.as_ref(), principal, arrival, &call.args, record);
        let outcome = self.carried_out(call, &mut line).await;
        line.record.end = End::from(&outcome);
        outcome
    }

    async fn carried_out(&self, call: Call<'_>, line: &mut Line<'_>) -> Result<Value, CallError> {
        let Call { principal, arrival: _, name, args } = call;
        let entry = self.catalog.find(name)?;
        line.record.operation = Some(entry.operation);
        let allowed = principal.may(entry.domain.name, entry.operation);
        allowed.inspect_err(|withheld| line.record.denied_by(withheld.word()))?;
        let published = entry.published();
        let args = published.admit(args)?;
        line.admitted(published, &args);
        let mut request = published.lay_out(args)?;
        let preview = request.preview.take();
        if preview.is_none() {
            line.intend().await.inspect_err(|_| line.record.denied_by("audit"))?;
        }
        let answer = self.portkey.send(request, &principal.credentials).await?;
        let record = &mut *line.record;
        record.status = Some(answer.status().as_u16());
        record.retries = Some(answer.attempts().saturating_sub(1));
        record.upstream_request_id = answer.request_id().map(str::to_owned);
        let answer = answer.outcome().map_err(|refusal| {
            record.upstream_request_id.clone_from(&refusal.request_id);
            CallError::Refused(entry.operation, Box::new(refusal))
        })?;
        // The request was a read, so there is nothing that could still be sent.
        Ok(match preview {
            Some(preview) => preview.of(answer),
            None => answer,
        })
    }
}

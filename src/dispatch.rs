//! One call, from name and arguments to the upstream's answer.

use std::{sync::Arc, time::SystemTime};

use serde_json::Value;

use crate::{
    catalog::{Catalog, Entry, UnknownTool},
    metrics::Metrics,
    operation::{InputError, JsonMap, Operation},
    policy::{self, Cite, Decision, Denied, Facts, Noted, Policy},
    portkey::{Client, Refusal, SendError},
    principal::{Principal, Withheld},
    request::Arrival,
    store::Store,
    watch::Watched,
};

/// Everything a call needs on its way.
#[derive(Debug)]
pub struct Dispatcher {
    catalog: Catalog,
    portkey: Client,
    policy: Option<Watched<Policy>>,
    store: Store,
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
    /// A policy forbids it.
    #[error(transparent)]
    Denied(#[from] Denied),
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
    /// What the policies said, in a word, where there are any.
    pub decision: Option<&'static str>,
    /// The rule that said so.
    pub rule: Option<Cite>,
    /// What rules would have done that only tell.
    pub shadows: Vec<Noted>,
}

impl Dispatcher {
    /// Offers these operations, and has the upstreams answer.
    pub fn new(catalog: Catalog, portkey: Client) -> Self {
        Self { catalog, portkey, policy: None, store: Store::memory() }
    }

    /// The same under a policy, which takes effect when its file changes.
    pub fn under(self, policy: Watched<Policy>) -> Self {
        Self { policy: Some(policy), ..self }
    }

    /// The same with its counters in a store that others share.
    pub fn sharing(self, store: Store) -> Self {
        Self { store, ..self }
    }

    /// The same for other operations.
    pub fn offering(self, catalog: Catalog) -> Self {
        Self { catalog, ..self }
    }

    /// The same, with what the upstreams do recorded.
    pub fn measured(self, metrics: Metrics) -> Self {
        Self { portkey: self.portkey.measured(metrics), ..self }
    }

    /// The policy that all calls are under.
    pub const fn policy(&self) -> Option<&Watched<Policy>> {
        self.policy.as_ref()
    }

    /// Whether the operation exists for a caller: such are listed.
    pub fn shows(&self, principal: &Principal, entry: &Entry) -> bool {
        let server = self.policy.as_ref().map(Watched::get);
        let hidden = |policy: &Policy| policy.hides(entry.operation);
        principal.sees(entry.domain.name, entry.operation).is_ok()
            && !server.is_some_and(|policy| hidden(&policy))
            && !principal.policy.as_deref().is_some_and(hidden)
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
        let Call { principal, arrival, name, args } = call;
        let entry = self.catalog.find(name)?;
        record.operation = Some(entry.operation);
        principal.may(entry.domain.name, entry.operation)?;
        let own = principal.policy.as_deref();
        let server = self.policy.as_ref().map(|policy| Arc::clone(&policy.get()));
        let policies: Vec<&Policy> = server.as_deref().into_iter().chain(own).collect();
        // Before the gate, which would tell what the hidden takes.
        if let Some(denied) = policy::hidden(&policies, entry.operation) {
            (record.decision, record.rule) = (Some("deny"), Some(denied.rule.clone()));
            return Err(denied.into());
        }
        let published = entry.published();
        let args = published.admit(args)?;
        if policies.is_empty() {
            return self.send(entry, principal, args, record).await;
        }
        let facts = Facts {
            operation: entry.operation,
            domain: entry.domain.name,
            args: &args,
            principal: &principal.name,
            client: arrival.client.as_deref(),
            transport: arrival.transport,
            session: arrival.session.as_deref(),
            time: SystemTime::now(),
            tainted: false,
        };
        let decision = policy::decide(&policies, &facts, &self.store).await;
        let Decision { verdict, shadows, reserved, redact } = decision;
        record.shadows = shadows;
        (record.decision, record.rule) = (Some(verdict.word()), verdict.rule().cloned());
        let outcome = match verdict.permission(entry.operation) {
            Ok(()) => self.send(entry, principal, args, record).await,
            Err(denied) => Err(denied.into()),
        };
        match outcome {
            Ok(mut answer) => {
                Decision::redact(&redact, &mut answer);
                Ok(answer)
            }
            Err(error) => {
                Decision::roll_back(reserved, &self.store).await;
                Err(error)
            }
        }
    }

    /// Asks the upstream.
    async fn send(
        &self,
        entry: &Entry,
        principal: &Principal,
        args: JsonMap,
        record: &mut Record,
    ) -> Result<Value, CallError> {
        let mut request = entry.published().lay_out(args)?;
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

//! One call, from name and arguments to the upstream's answer.

use std::{pin::Pin, sync::Arc};

use serde_json::Value;

use crate::{
    approval::{
        self, About, Always, Answer, Approvals, Approved, Binding, Denied, Question, Required,
        Waiting,
    },
    catalog::{Catalog, Entry, UnknownTool},
    dry_run::{self, Outlook},
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
    dry_run: bool,
    always: Always,
    approvals: Option<Arc<Approvals>>,
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
    /// What a human said of it, where it was made before and someone was asked.
    pub answer: Option<Answer>,
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
    /// A human has to say yes first, and can be asked.
    #[error("`{}` needs the approval of a human, and nothing was sent", .0.tool)]
    Ask(Box<Question>),
    /// A human has to say yes first, and was asked.
    #[error(transparent)]
    Waiting(#[from] Waiting),
    /// No human said yes.
    #[error(transparent)]
    Denied(#[from] Denied),
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
    /// Whether nothing was sent, because it was a dry run.
    pub dry_run: bool,
    /// Who approved it, where that was needed.
    pub approval: Option<Approved>,
    /// What the upstream calls the request.
    pub upstream_request_id: Option<String>,
}

impl Dispatcher {
    /// Offers these operations, and has the upstreams answer.
    pub fn new(catalog: Catalog, portkey: Client) -> Self {
        Self {
            catalog,
            portkey,
            modes: AccessModes::default(),
            dry_run: false,
            always: Always::default(),
            approvals: None,
            taint: Taint::in_store(Store::memory()),
        }
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

    /// The same, with writes told instead of sent if `on`.
    pub fn dry_run(self, on: bool) -> Self {
        Self { dry_run: on, ..self }
    }

    /// The same, where calls of these kinds need a human's approval.
    pub fn approving(self, always: Always) -> Self {
        Self { always, ..self }
    }

    /// The same, with humans to ask. Without, calls that need approval are denied.
    pub fn asking(self, approvals: Arc<Approvals>) -> Self {
        Self { approvals: Some(approvals), ..self }
    }

    /// Where answers of humans are checked.
    pub fn approvals(&self) -> Option<&Approvals> {
        self.approvals.as_deref()
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
        let call = Call { principal, arrival, name, args, answer: None };
        self.recorded(call, &mut Record::default()).await
    }

    /// Makes the call, with what is found out written down. Dropping the future aborts the request.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn recorded(&self, call: Call<'_>, record: &mut Record) -> Result<Value, CallError> {
        let Call { principal, arrival, name, mut args, answer } = call;
        let answer = answer.or(approval::take_ticket(&mut args));
        let entry = self.catalog.find(name)?;
        record.operation = Some(entry.operation);
        self.modes.admit(entry.domain.name, entry.operation)?;
        principal.may(entry.domain.name, entry.operation)?;
        let published = entry.published();
        let args = published.admit(args)?;
        if published.writes(&args) {
            if self.dry_run {
                record.dry_run = true;
                return self.rehearse(principal, arrival, entry, args).await;
            }
            if let Some(required) = self.always.of(entry.operation) {
                let approved = self.approved(principal, arrival, entry, &args, required, answer);
                record.approval = Some(approved.await?);
            }
        }
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

    /// Answers a write with what it would be.
    async fn rehearse(
        &self,
        principal: &Principal,
        arrival: &Arrival,
        entry: &Entry,
        args: JsonMap,
    ) -> Result<Value, CallError> {
        let published = entry.published();
        let outlook = self.outlook(principal, arrival, entry, &args).await?;
        let request = published.lay_out(published.redacted(args))?;
        let url = self.portkey.url(request.base, &request.target)?;
        Ok(dry_run::report(&request, url.as_str(), &outlook))
    }

    /// The approval of a call that needs one; without it, the question is the error.
    async fn approved(
        &self,
        principal: &Principal,
        arrival: &Arrival,
        entry: &Entry,
        args: &JsonMap,
        required: Required,
        answer: Option<Answer>,
    ) -> Result<Approved, CallError> {
        let (operation, published) = (entry.operation, entry.published());
        let Some(approvals) = self.approvals() else {
            return Err(Denied::Nobody { tool: operation.name(), rule: required.rule }.into());
        };
        let binding = Binding::of(&principal.name, operation.name(), args, &required);
        if let Some(approved) = approvals.check(principal, &binding, answer).await? {
            return Ok(approved);
        }
        let outlook = self.outlook(principal, arrival, entry, args).await?;
        let shown = published.redacted(args.clone());
        let about = About {
            operation,
            title: published.title(),
            principal,
            arrival,
            target: &published.lay_out(shown.clone())?.target,
            shown: &shown,
            outlook: &outlook,
            required,
        };
        Err(CallError::Ask(Box::new(Question::new(about, binding, args.clone()))))
    }

    /// What a write would change. The current state is read as if the caller asked for it: where the
    /// caller may not, it stays unknown.
    async fn outlook(
        &self,
        principal: &Principal,
        arrival: &Arrival,
        entry: &Entry,
        args: &JsonMap,
    ) -> Result<Outlook, CallError> {
        let (operation, published) = (entry.operation, entry.published());
        let mut outlook = Outlook::default();
        if let Some(read) = dry_run::read_of(&self.catalog, operation) {
            let name = read.operation.name();
            let args = dry_run::arguments(operation, read, args);
            let mut record = Record::default();
            let call = Call { principal, arrival, name, args, answer: None };
            match self.again(call, &mut record).await {
                Ok(current) => outlook.current = Some(current),
                Err(error) => outlook.unknown = Some(format!("`{name}` does not answer ({error})")),
            }
        }
        let body = published.lay_out(args.clone())?.body;
        let shown = published.lay_out(published.redacted(args.clone()))?.body;
        let current = outlook.current.as_ref();
        outlook.changes = dry_run::changes(operation, body.as_ref(), shown.as_ref(), current);
        Ok(outlook)
    }

    /// A call within a call, which needs a place of its own.
    fn again<'a>(
        &'a self,
        call: Call<'a>,
        record: &'a mut Record,
    ) -> Pin<Box<dyn Future<Output = Result<Value, CallError>> + Send + 'a>> {
        Box::pin(self.recorded(call, record))
    }
}

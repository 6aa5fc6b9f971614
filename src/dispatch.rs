//! One call, from name and arguments to the upstream's answer.

use std::{pin::Pin, sync::Arc, time::SystemTime};

use serde_json::Value;

use crate::{
    approval::{About, Always, Answer, Approvals, Approved, Binding, Denied, Question, Required},
    audit::{Audit, Line, Unwritable},
    catalog::{Catalog, Entry, UnknownTool},
    dry_run::{self, Outlook},
    metrics::Metrics,
    operation::{InputError, JsonMap, Operation},
    policy::{self, Decision, Facts, Policy, Verdict},
    portkey::{Client, Refusal, SendError},
    principal::{AccessModes, Method, Principal, Withheld},
    record::End,
    request::Arrival,
    secrets::{Caller, SecretError, Secrets},
    store::Store,
    taint::Taint,
    untrusted,
    watch::Watched,
};

pub use crate::record::Record;

/// How a call ended whose write was told instead of sent.
const DRY_RUN: &str = "dry run";

/// Everything a call needs on its way.
#[derive(Debug)]
pub struct Dispatcher {
    catalog: Catalog,
    portkey: Client,
    policy: Option<Watched<Policy>>,
    store: Store,
    dry_run: bool,
    always: Always,
    approvals: Option<Arc<Approvals>>,
    modes: AccessModes,
    taint: Taint,
    audit: Option<Audit>,
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
    /// What a human said of it, where it was made before and someone was asked.
    pub answer: Option<Answer>,
}

/// A call past the gate, but for its arguments.
struct Way<'a> {
    principal: &'a Principal,
    arrival: &'a Arrival,
    entry: &'a Entry,
    answer: Option<Answer>,
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
    Forbidden(#[from] policy::Denied),
    /// The caller can mend the arguments.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A human has to say yes first, and can be asked.
    #[error("`{}` needs the approval of a human, and nothing was sent", .0.tool)]
    Ask(Box<Question>),
    /// No human said yes.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It could not be put on record.
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
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

impl CallError {
    /// Whether it may have taken effect all the same.
    pub const fn is_in_doubt(&self) -> bool {
        let Self::Send(error) = self else { return false };
        matches!(
            error,
            SendError::Interrupted(..) | SendError::TimedOut { .. } | SendError::TooLarge(..)
        )
    }
}

/// What became of a call, as every observer has it.
impl From<&Result<Value, CallError>> for End {
    fn from(outcome: &Result<Value, CallError>) -> Self {
        match outcome {
            Ok(_) => "answered".into(),
            Err(CallError::Ask(_)) => "asked".into(),
            Err(CallError::Refused(_, refusal)) => {
                Self { code: refusal.code.clone(), ..Self::from("refused") }
            }
            Err(CallError::Withheld(_)) => "withheld".into(),
            Err(CallError::Forbidden(_)) => "forbidden".into(),
            Err(CallError::Input(_) | CallError::Unknown(_)) => "turned back".into(),
            Err(CallError::Denied(_) | CallError::Unwritable(_)) => "denied".into(),
            Err(CallError::Secret(SecretError::Denied { .. })) => "denied".into(),
            Err(CallError::Secret(SecretError::NoFile { .. })) => "failed".into(),
            Err(CallError::Secret(_)) => "turned back".into(),
            Err(CallError::Send(error)) => Self::failed(error),
        }
    }
}

impl Dispatcher {
    /// Offers these operations, and has the upstreams answer.
    pub fn new(catalog: Catalog, portkey: Client) -> Self {
        Self {
            catalog,
            portkey,
            policy: None,
            store: Store::memory(),
            modes: AccessModes::default(),
            dry_run: false,
            always: Always::default(),
            approvals: None,
            taint: Taint::in_store(Store::memory()),
            audit: None,
            secrets: Secrets::default(),
        }
    }

    /// The same under a policy, which takes effect when its file changes.
    pub fn under(self, policy: Watched<Policy>) -> Self {
        Self { policy: Some(policy), ..self }
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
        Self { taint: Taint::in_store(store.clone()), store, ..self }
    }

    /// The same, with what the upstreams do recorded.
    pub fn measured(self, metrics: Metrics) -> Self {
        Self { portkey: self.portkey.measured(metrics), ..self }
    }

    /// The policy that all calls are under.
    pub const fn policy(&self) -> Option<&Watched<Policy>> {
        self.policy.as_ref()
    }

    /// Whether what is offered exists for a caller: such are listed.
    pub fn shows(&self, principal: &Principal, entry: &Entry) -> bool {
        let server = self.policy.as_ref().map(Watched::get);
        let hidden = |policy: &Policy| policy.hides(entry.operation);
        principal.sees(entry.domain.name, entry.operation).is_ok()
            && !server.is_some_and(|policy| hidden(&policy))
            && !principal.policy.as_deref().is_some_and(hidden)
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

    /// The same, with every call put on record.
    pub fn audited(self, audit: Audit) -> Self {
        Self { audit: Some(audit), ..self }
    }

    /// The same, with secrets treated so.
    pub fn guarding(self, secrets: Secrets) -> Self {
        Self { secrets, ..self }
    }

    /// Where answers of humans are checked.
    pub fn approvals(&self) -> Option<&Approvals> {
        self.approvals.as_deref()
    }

    /// Who has read what strangers wrote.
    pub const fn taint(&self) -> &Taint {
        &self.taint
    }

    /// How secrets are treated.
    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
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
        let (principal, arrival) = (call.principal, call.arrival);
        let mut line = Line::begin(self.audit.as_ref(), principal, arrival, &call.args, record);
        let outcome = self.decided(call, &mut line).await;
        line.record.end = match &outcome {
            Ok(_) if line.record.decision == DRY_RUN => DRY_RUN.into(),
            outcome => outcome.into(),
        };
        outcome
    }

    /// Takes a call through all that may forbid it, and on from there.
    async fn decided(&self, call: Call<'_>, line: &mut Line<'_>) -> Result<Value, CallError> {
        let Call { principal, arrival, name, args, answer } = call;
        let entry = self.catalog.find(name)?;
        line.record.operation = Some(entry.operation);
        let on_offer = self.modes.admit(entry.domain.name, entry.operation);
        on_offer
            .and_then(|()| principal.may(entry.domain.name, entry.operation))
            .inspect_err(|withheld| line.record.denied_by(withheld.word()))?;
        let own = principal.policy.as_deref();
        let server = self.policy.as_ref().map(|policy| Arc::clone(&policy.get()));
        let policies: Vec<&Policy> = server.as_deref().into_iter().chain(own).collect();
        // Before the gate, which would tell what the hidden takes.
        if let Some(denied) = policy::hidden(&policies, entry.operation) {
            line.record.denied_by(&*denied.rule.name);
            return Err(denied.into());
        }
        let published = entry.published();
        let mut args = published.admit(args)?;
        self.secrets.refuse_masks(published, &mut args)?;
        line.admitted(published, &args);
        let way = Way { principal, arrival, entry, answer };
        if policies.is_empty() {
            return self.carry_out(way, args, Verdict::Allow, String::new(), line).await;
        }
        let minded = policies.iter().any(|policy| policy.minds_taint(entry.operation));
        let tainted = minded && self.taint.is_tainted(principal, arrival).await;
        let facts = Facts {
            operation: entry.operation,
            domain: entry.domain.name,
            args: &args,
            principal: &principal.name,
            client: arrival.client.as_deref(),
            transport: arrival.transport,
            session: arrival.session.as_deref(),
            time: SystemTime::now(),
            tainted,
        };
        let decision = policy::decide(&policies, &facts, &self.store).await;
        let Decision { verdict, shadows, reserved, redact } = decision;
        line.record.shadows = shadows;
        if let Some(rule) = verdict.rule() {
            line.record.decided(verdict.word(), &*rule.name);
        }
        let revisions: Vec<_> = policies.iter().map(|policy| policy.revision()).collect();
        let outcome = self.carry_out(way, args, verdict, revisions.join("+"), line).await;
        // What was sent is counted, and what may have been.
        let nothing_happened = match &outcome {
            Ok(_) => line.record.decision == DRY_RUN,
            Err(error) => !error.is_in_doubt(),
        };
        if nothing_happened {
            Decision::roll_back(reserved, &self.store).await;
        }
        let mut answer = outcome?;
        Decision::redact(&redact, &mut answer);
        Ok(answer)
    }

    /// Does what a verdict leaves to be done.
    async fn carry_out(
        &self,
        way: Way<'_>,
        args: JsonMap,
        verdict: Verdict,
        revision: String,
        line: &mut Line<'_>,
    ) -> Result<Value, CallError> {
        let Way { principal, arrival, entry, answer } = way;
        let writes = entry.published().writes(&args);
        let mut required = self.always.of(entry.operation).filter(|_| writes);
        let mut dry_run = (self.dry_run && writes).then_some("--dry-run".to_owned());
        match verdict {
            Verdict::Allow => {}
            Verdict::Deny(denied) => return Err(denied.into()),
            Verdict::DryRun(noted) => dry_run = Some(noted.rule.name.to_string()),
            Verdict::Approve(noted) => {
                let confirm = noted.confirm || required.is_some_and(|required| required.confirm);
                let (rule, words) = (noted.rule.name.to_string(), Some(noted.words));
                required = Some(Required { rule, words, confirm, revision });
            }
        }
        // Where nothing is sent there is nothing to approve.
        if let Some(rule) = dry_run {
            line.record.decided(DRY_RUN, rule);
            return self.rehearse(principal, arrival, entry, args).await;
        }
        if let Some(required) = required {
            line.record.decided("approve", required.rule.as_str());
            let approved = self.approved(principal, arrival, entry, &args, required, answer);
            line.record.approval = Some(approved.await?.to_string().into());
        }
        self.send(principal, arrival, entry, args, line).await
    }

    /// Asks the upstream.
    async fn send(
        &self,
        principal: &Principal,
        arrival: &Arrival,
        entry: &Entry,
        mut args: JsonMap,
        line: &mut Line<'_>,
    ) -> Result<Value, CallError> {
        let published = entry.published();
        let handover = self.secrets.make_ready(entry.operation, &args)?;
        let caller = Caller { name: &principal.name, is_local: principal.method == Method::Local };
        let fetched = self.secrets.fetch(published, caller, &mut args)?;
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
        let refused = |mut refusal: Refusal| {
            record.upstream_request_id.clone_from(&refusal.request_id);
            let message = untrusted::cleaned(&refusal.message).unwrap_or(refusal.message);
            refusal.message = fetched.mask(&message);
            CallError::Refused(entry.operation, Box::new(refusal))
        };
        let answer = answer.outcome().map_err(refused)?;
        if entry.operation.is_untrusted() {
            self.taint.mark(principal, arrival).await;
        }
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

//! Previews of calls that are not sent yet: for the caller of a dry run, and for the human who
//! approves a call.

use std::pin::Pin;

use portkey_api::catalog::CatalogEntry;
use portkey_operation::{JsonMap, PendingPreview};
use serde_json::Value;

use super::{Call, CallError, Dispatcher, Record, Way};
use crate::{
    auth::principal::{Principal, KeyProver},
    observability::{audit::Line, request::Arrival},
    pipeline::{
        approval::{About, Approved, Binding, Denied, Question, Required},
        dry_run::{self, Outlook},
    },
    security::secrets,
};

impl Dispatcher {
    /// Answers a write with the request that it would send and the changes that it would make.
    pub(super) async fn rehearse(
        &self,
        principal: &Principal,
        arrival: &Arrival,
        entry: &CatalogEntry,
        args: JsonMap,
        line: &mut Line<'_>,
    ) -> Result<Value, CallError> {
        let published = entry.compiled();
        let outlook = self.outlook(principal, arrival, entry, &args).await?;
        line.record.untrusted = outlook.untrusted;
        if outlook.changes_nothing(entry.operation) {
            let warning = "nothing would change: what is there has these values already";
            line.record.warnings.push(warning.to_owned());
        }
        let request = published.build_request(secrets::redact_arguments(published, args))?;
        let url = self.portkey.url(request.base, &request.target)?;
        Ok(dry_run::report(&request, url.as_str(), &outlook))
    }

    /// Answers a write that asks for a preview with the stored state and the state that the call
    /// would produce.
    ///
    /// The stored state is read as if the caller had asked for it, so that policies, scopes and
    /// filters apply. If the caller may not read it, the answer says so instead.
    pub(super) async fn preview(
        &self,
        principal: &Principal,
        arrival: &Arrival,
        entry: &CatalogEntry,
        args: JsonMap,
        line: &mut Line<'_>,
    ) -> Result<Value, CallError> {
        let (operation, published) = (entry.operation, entry.compiled());
        let shown = published.build_request(secrets::redact_arguments(published, args.clone()))?;
        let read = dry_run::read_of(&self.catalog, operation);
        let (Some(preview), Some(read)) = (shown.preview, read) else {
            let why = format!(
                "nothing that is on offer here reads what `{}` changes",
                operation.name()
            );
            return Ok(PendingPreview::unavailable(&why));
        };
        let name = read.operation.name();
        let args = dry_run::arguments(operation, read, &args);
        let mut record = Record::default();
        let call = Call {
            principal,
            arrival,
            name,
            args,
            answer: None,
        };
        let stored = self.again(call, &mut record).await;
        line.record.untrusted |= record.untrusted;
        line.record.status = record.status;
        line.record.retries = record.retries;
        line.record.upstream_request_id = record.upstream_request_id;
        match stored {
            Ok(stored) => Ok(preview.complete(stored)),
            Err(error) if error.is_denial() => Ok(PendingPreview::unavailable(&not_shown(name, &error))),
            Err(error) => Err(error),
        }
    }

    /// Returns the approval of a call that needs one.
    ///
    /// # Errors
    /// Returns `ApprovalRequired` with the request if nobody has decided yet, or `ApprovalDenied`
    /// if the response is no approval.
    pub(super) async fn approved(
        &self,
        way: Way<'_>,
        args: &JsonMap,
        required: Required,
        warnings: &[String],
    ) -> Result<Approved, CallError> {
        let Way {
            principal,
            arrival,
            entry,
            answer,
        } = way;
        let (operation, published) = (entry.operation, entry.compiled());
        let Some(approvals) = self.approvals() else {
            return Err(Denied::Nobody {
                tool: operation.name(),
                rule: required.rule,
            }
            .into());
        };
        // A key that has not been checked may be made up; no human is asked in its name.
        self.prove(principal).await?;
        let binding = Binding::of(&principal.name, operation.name(), args, &required);
        if let Some(approved) = approvals.check(principal, &binding, answer).await? {
            return Ok(approved);
        }
        let outlook = self.outlook(principal, arrival, entry, args).await?;
        let shown = secrets::redact_arguments(published, args.clone());
        let about = About {
            operation,
            title: published.title(),
            principal,
            arrival,
            target: &published.build_request(shown.clone())?.target,
            shown: &shown,
            outlook: &outlook,
            warnings,
            required,
        };
        Err(CallError::Ask(Box::new(Question::new(
            about,
            binding,
            args.clone(),
        ))))
    }

    /// Compares a write with the current state. The state is read as if the caller had asked for
    /// it; if the caller may not read it, it stays unknown.
    async fn outlook(
        &self,
        principal: &Principal,
        arrival: &Arrival,
        entry: &CatalogEntry,
        args: &JsonMap,
    ) -> Result<Outlook, CallError> {
        let (operation, published) = (entry.operation, entry.compiled());
        let mut outlook = Outlook::default();
        if let Some(read) = dry_run::read_of(&self.catalog, operation) {
            let name = read.operation.name();
            let args = dry_run::arguments(operation, read, args);
            let mut record = Record::default();
            let call = Call {
                principal,
                arrival,
                name,
                args,
                answer: None,
            };
            match self.again(call, &mut record).await {
                Ok(current) => {
                    outlook.untrusted = record.untrusted;
                    outlook.current = Some(current);
                }
                Err(error @ CallError::Refused(..)) => outlook.unknown = Some(error.to_string()),
                Err(error) if error.is_denial() => outlook.unknown = Some(not_shown(name, &error)),
                Err(error) => outlook.unknown = Some(format!("`{name}` does not answer ({error})")),
            }
        }
        let body = published.build_request(args.clone())?.body;
        let shown = published
            .build_request(secrets::redact_arguments(published, args.clone()))?
            .body;
        let current = outlook.current.as_ref();
        outlook.changes = dry_run::changes(operation, body.as_ref(), shown.as_ref(), current);
        Ok(outlook)
    }

    /// Makes a call inside a call. The future is boxed because it is recursive.
    ///
    /// The nested call taints nobody: the outer call decides who receives its result, and an
    /// approval request is for a human only.
    fn again<'a>(
        &'a self,
        call: Call<'a>,
        record: &'a mut Record,
    ) -> Pin<Box<dyn Future<Output = Result<Value, CallError>> + Send + 'a>> {
        Box::pin(self.noted(call, record))
    }
}

/// Explains that the caller may not read the current state.
fn not_shown(read: &str, error: &CallError) -> String {
    format!("it is read with `{read}`, which is not open to this caller: {error}")
}

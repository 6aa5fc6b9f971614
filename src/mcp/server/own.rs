//! Calls of built-in tools: their results, or the operation that they call.

use futures_util::FutureExt;
use portkey_api::catalog::{CatalogEntry, ParsedToolName, ToolLookupError, did_you_mean_one_of};
use portkey_operation::{
    Effect, InputError, JsonMap, Operation, Plan, UnknownFields, ValidationOptions,
};
use serde_json::{Value, json};

use super::Server;
use crate::{
    auth::principal::Principal,
    mcp::{
        results::{Listing, Request, ResultError},
        search::Index,
        surface::{Does, OwnTool},
    },
    observability::request::RequestInfo,
    pipeline::{CallError, CallRecord},
};

/// Default number of operations that a search returns.
const FOUND: usize = 8;

/// Arguments that every list accepts beside those of its schema.
const ALSO: &str = "`fields` (a list of names to return, with dots into objects) and `all: true` (the pages \
    that follow, too)";

/// Result of a built-in tool.
pub(super) struct OwnAnswer {
    pub(super) value: Value,
    /// `true` if the result has untrusted content.
    pub(super) untrusted: bool,
}

impl From<Value> for Reached {
    fn from(value: Value) -> Self {
        Self::Answer(OwnAnswer {
            value,
            untrusted: false,
        })
    }
}

/// Target of a call of a built-in tool.
pub(super) enum Reached {
    /// The call is completed with this result.
    Answer(OwnAnswer),
    /// Operation to call, with its arguments.
    Operation(&'static Operation, JsonMap),
}

impl Server {
    /// Resolves a call of a built-in tool.
    ///
    /// A call that should reach an operation and fails is audited like other rejected calls.
    pub(super) async fn reach(
        &self,
        own: &'static OwnTool,
        principal: &Principal,
        arrival: &RequestInfo,
        args: JsonMap,
        record: &mut CallRecord,
    ) -> Result<Reached, CallError> {
        record.operation = Some(own.operation);
        let came = matches!(own.does, Does::Execute(_)).then(|| args.clone());
        let reached = self.lead(own, principal, arrival, args, record).await;
        if let (Some(came), Err(_)) = (&came, &reached) {
            self.dispatcher
                .record_rejected_call(principal, arrival, came, record);
        }
        reached
    }

    async fn lead(
        &self,
        own: &OwnTool,
        principal: &Principal,
        arrival: &RequestInfo,
        args: JsonMap,
        record: &mut CallRecord,
    ) -> Result<Reached, CallError> {
        // No argument is sent upstream, so unknown ones need not be tolerated.
        let options = ValidationOptions {
            unknown_fields: UnknownFields::Deny,
            ..Default::default()
        };
        let args = own.published.validate(args, &options)?.args;
        match own.does {
            Does::Search => Ok(self.found(principal, &args).into()),
            Does::Describe => Ok(describe(self.seen(principal, operation(&args))?).into()),
            Does::Execute(effect) => Ok(self.meant(effect, principal, &args, record)?),
            Does::ReadResult => Ok(Reached::Answer(self.part(principal, arrival, &args).await?)),
            Does::WhoAmI => Ok(self.whoami(principal, arrival).boxed().await.into()),
        }
    }

    /// Finds the operation that a tool such as `read-operation` is to call.
    fn meant(
        &self,
        effect: Effect,
        principal: &Principal,
        args: &JsonMap,
        record: &mut CallRecord,
    ) -> Result<Reached, InputError> {
        let name = operation(args);
        let found = self.dispatcher.catalog().find(name);
        let entry = found.map_err(|unknown| self.unknown(principal, name, unknown))?;
        let operation = entry.operation;
        if operation.effect() != effect {
            record.operation = Some(operation);
            self.seen(principal, name)?;
            let (does, tool) = (operation.effect().as_str(), executor(operation));
            let what = format!("`{name}` is of the effect {does}; call it by `{tool}`");
            return Err(InputError::new("operation", what));
        }
        // An operation that is not offered is rejected and audited by the pipeline.
        let arguments = args.get("arguments").and_then(Value::as_object);
        Ok(Reached::Operation(
            operation,
            arguments.cloned().unwrap_or_default(),
        ))
    }

    /// Reads a part of a truncated result.
    async fn part(
        &self,
        principal: &Principal,
        arrival: &RequestInfo,
        args: &JsonMap,
    ) -> Result<OwnAnswer, InputError> {
        let text = |name: &str| args.get(name).and_then(Value::as_str);
        let number = |name: &str| args.get(name).and_then(Value::as_u64).map(|n| n as usize);
        let request = Request {
            pointer: text("pointer").unwrap_or_default().to_owned(),
            offset: number("offset").unwrap_or_default(),
            limit: number("limit"),
            search: text("search").map(str::to_owned),
        };
        let handle = text("handle").unwrap_or_default();
        let part = self
            .results
            .read(principal, handle, &request)
            .await
            .map_err(|error| {
                let at = if matches!(error, ResultError::NoSuchPart { .. }) {
                    "pointer"
                } else {
                    "handle"
                };
                InputError::new(at, error)
            })?;
        if part.untrusted {
            // Another session may have made the call.
            self.dispatcher.taint().mark(principal, arrival).await;
        }
        Ok(OwnAnswer {
            value: part.value,
            untrusted: part.untrusted,
        })
    }

    /// Returns the schema of an operation, for a caller that passed invalid arguments.
    pub(super) fn takes(&self, name: &str) -> Option<String> {
        let entry = self.dispatcher.catalog().find(name).ok()?;
        Some(format!(
            "`{name}` takes, as JSON Schema: {}",
            json!(**entry.compiled().schema())
        ))
    }

    /// Finds an operation that the caller may see.
    fn seen(&self, principal: &Principal, name: &str) -> Result<&CatalogEntry, InputError> {
        match self.dispatcher.catalog().find(name) {
            Ok(entry) if self.dispatcher.can_see(principal, entry) => Ok(entry),
            Ok(_) => Err(InputError::new(
                "operation",
                format!("`{name}` is not on offer here"),
            )),
            Err(unknown) => Err(self.unknown(principal, name, unknown)),
        }
    }

    /// Builds the error for an unknown operation, with similar names.
    fn unknown(&self, principal: &Principal, name: &str, unknown: ToolLookupError) -> InputError {
        let unknown = self.suggested(principal, name, unknown);
        let more = match unknown {
            ToolLookupError::NotFound { .. } => " (`search-operations` finds others)",
            ToolLookupError::Disabled { .. } => "",
        };
        InputError::new("operation", format!("{unknown}{more}"))
    }

    /// Adds suggestions to the error, from the operations that the caller may see.
    ///
    /// Suggests the operation whose name differs only by a typing error, or else search hits that
    /// match the verb of the name.
    pub(super) fn suggested(
        &self,
        principal: &Principal,
        name: &str,
        unknown: ToolLookupError,
    ) -> ToolLookupError {
        let ToolLookupError::NotFound { name: shown, .. } = unknown else {
            return unknown;
        };
        let guess = ParsedToolName::new(name);
        let catalog = self.dispatcher.catalog().iter();
        let visible = catalog.filter(|entry| self.dispatcher.can_see(principal, entry));
        let visible = visible.map(|entry| entry.operation);
        if let Some(operation) = guess.find_misspelled(visible.clone()) {
            return ToolLookupError::NotFound {
                name: shown,
                hint: did_you_mean_one_of([operation]),
            };
        }
        let mut meant = guess.rank_by_name(visible);
        for operation in self
            .near(principal, &guess.nouns())
            .map(|entry| entry.operation)
            .take(FOUND)
        {
            let is_new = !meant.iter().any(|known| known.name() == operation.name());
            if is_new && guess.may_mean(operation) {
                meant.push(operation);
            }
        }
        ToolLookupError::NotFound {
            name: shown,
            hint: did_you_mean_one_of(meant),
        }
    }

    /// Searches the operations that the caller may see, the best first.
    fn near<'a>(
        &'a self,
        principal: &'a Principal,
        words: &str,
    ) -> impl Iterator<Item = &'a CatalogEntry> {
        let catalog = self.dispatcher.catalog();
        let index = self
            .index
            .get_or_init(|| Index::of(self.dispatcher.available_entries()));
        let hits = index.find(words, usize::MAX).into_iter();
        hits.filter_map(|hit| catalog.find(hit.operation.name()).ok())
            .filter(|entry| self.dispatcher.can_see(principal, entry))
    }

    fn found(&self, principal: &Principal, args: &JsonMap) -> Value {
        let query = args
            .get("query")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let effect = args.get("effect").and_then(Value::as_str);
        let most = args
            .get("limit")
            .and_then(Value::as_u64)
            .and_then(|most| most.try_into().ok());
        let fits =
            |entry: &&CatalogEntry| effect.is_none_or(|one| entry.operation.effect().as_str() == one);
        let near = self
            .near(principal, query)
            .filter(fits)
            .take(most.unwrap_or(FOUND));
        let operations: Vec<Value> = near.map(brief).collect();
        if operations.is_empty() {
            let note =
                "nothing on offer fits; say what it is about and what to do, or leave out `effect`";
            return json!({ "operations": [], "note": note });
        }
        json!({ "operations": operations })
    }
}

/// Returns the `operation` argument of a call.
fn operation(args: &JsonMap) -> &str {
    args.get("operation")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Returns the built-in tool that calls an operation.
fn executor(operation: &Operation) -> &'static str {
    match operation.effect() {
        Effect::Read => "read-operation",
        Effect::Create => "create-operation",
        Effect::Update => "update-operation",
        Effect::Delete => "delete-operation",
    }
}

/// Summarizes an operation for a list of search hits.
fn brief(entry: &CatalogEntry) -> Value {
    let published = entry.compiled();
    json!({
        "operation": entry.operation.name(),
        "title": published.title(),
        "call_by": executor(entry.operation),
        "required": published.full_schema().get("required").unwrap_or(&json!([])),
    })
}

/// Describes an operation for a caller that is about to call it.
fn describe(entry: &CatalogEntry) -> Value {
    let (operation, published) = (entry.operation, entry.compiled());
    let hints = operation.hints();
    json!({
        "operation": operation.name(),
        "title": published.title(),
        "description": published.description(),
        "domain": entry.domain.name,
        "effect": operation.effect().as_str(),
        "call_by": executor(operation),
        "destructive": hints.destructive,
        "idempotent": hints.idempotent,
        "key_scopes_any_of": operation.required_scopes(),
        "plan": match operation.plan() {
            Plan::Any => "any",
            Plan::Enterprise => "Enterprise",
        },
        "arguments": &**published.schema(),
        "also_takes": Listing::of(published).map(|_| ALSO),
    })
}

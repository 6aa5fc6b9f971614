//! A sandbox, a dispatcher, and a recording proxy between them.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use portkey_api::catalog::{Catalog, CatalogEntry};
use portkey_mcp::{
    mcp::reply::error_message,
    pipeline::{CallError, Dispatcher},
    upstream::UpstreamClient,
};
use portkey_operation::{FieldError, JsonMap};
use portkey_sandbox::{DEFAULT_API_KEY, Faults, Sandbox};
use serde_json::Value;

use super::{
    answers::rows,
    generate::{Extent, KnownValues, fill},
    preconditions::{self, ValueSource},
    values,
};
use crate::{
    catalog::with_required_change,
    support::{
        requests::client,
        upstream::{self, MockUpstream, ReceivedRequest, ResponseAction, operator},
    },
};

/// The time of the sandbox.
const NOW: &str = "2026-01-01T00:00:00Z";

/// The environment of the calls.
pub(super) struct ContractFixture {
    sandbox: Sandbox,
    address: Arc<Mutex<SocketAddr>>,
    wire: MockUpstream,
    dispatcher: Dispatcher,
}

impl ContractFixture {
    /// Starts with a fresh sandbox. Every sandbox has the same organisation, with the same ids.
    pub(super) async fn new() -> Self {
        let sandbox = start_sandbox().await;
        let address = Arc::new(Mutex::new(sandbox.address()));
        let current = address.clone();
        let wire =
            MockUpstream::start(move |_| ResponseAction::Forward(*current.lock().unwrap())).await;
        let settings = upstream::settings(&wire.base_url);
        let dispatcher = Dispatcher::new(Catalog::full(), UpstreamClient::new(settings));
        Self {
            sandbox,
            address,
            wire,
            dispatcher,
        }
    }

    /// Replaces the sandbox by a fresh one.
    pub(super) async fn restart_sandbox(&mut self) {
        self.sandbox = start_sandbox().await;
        *self.address.lock().unwrap() = self.sandbox.address();
    }

    /// Returns the catalogue entry of a tool.
    pub(super) fn entry(&self, tool: &str) -> &CatalogEntry {
        self.dispatcher.catalog().find(tool).unwrap()
    }

    /// Calls a tool.
    pub(super) async fn call(&self, tool: &str, arguments: JsonMap) -> Result<Value, CallError> {
        self.dispatcher
            .call_as_local(&operator(), tool, arguments)
            .await
    }

    /// Returns the dispatcher.
    pub(super) fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// Returns the number of sent requests.
    pub(super) fn count(&self) -> usize {
        self.wire.count()
    }

    /// Returns the requests after the first `count`.
    pub(super) fn requests_after(&self, count: usize) -> Vec<ReceivedRequest> {
        self.wire.requests_after(count)
    }

    /// Sends the request of a call to the sandbox, past the server.
    pub(super) async fn send_past_the_server(&self, tool: &str, arguments: &JsonMap) {
        let published = self.entry(tool).compiled();
        let request = published.build_request(arguments.clone()).unwrap();
        let url = format!("{}{}", self.sandbox.base_url(), request.target);
        let body = request.body.unwrap_or_default().to_string();
        let sent = client()
            .request(request.method, url)
            .header("x-portkey-api-key", DEFAULT_API_KEY)
            .header("content-type", "application/json")
            .body(body);
        sent.send().await.unwrap();
    }

    /// Generates arguments for a tool that refer to existing resources.
    pub(super) async fn arguments(&self, tool: &str, extent: Extent) -> Result<JsonMap, String> {
        let entry = self.entry(tool);
        let schema = entry.compiled().full_schema();
        let value = |known: KnownValues<'_>| {
            let mut arguments = fill(schema, "", extent, known);
            if extent == Extent::Required {
                for name in preconditions::required_by_api(tool) {
                    arguments[*name] = fill(&schema["properties"][*name], name, extent, known);
                }
                let field = |name: &str, field: &Value| fill(field, name, extent, known);
                arguments = with_required_change(entry.compiled(), arguments, field);
            }
            arguments
        };
        // The first pass collects the requested values, and the second one inserts them.
        let places = entry
            .operation
            .placeholders()
            .map(|name| (name.to_owned(), true));
        let asked = RefCell::new(places.collect::<Vec<_>>());
        value(&|at, schema| {
            asked
                .borrow_mut()
                .push((at.to_owned(), schema["type"] == "string"));
            None
        });
        let mut found = JsonMap::new();
        for (at, is_text) in asked.into_inner() {
            if found.contains_key(&at) {
                continue;
            }
            if let Some(value) = values::known_value(tool, &at, extent) {
                found.insert(at, value);
            } else if is_text
                && let Some(source) = preconditions::find_source(entry.operation, &at, extent)
            {
                let value = Box::pin(self.look_up(&source, &found)).await?;
                found.insert(at, value);
            }
        }
        match value(&|at, _| found.get(at).cloned()) {
            Value::Object(arguments) => Ok(arguments),
            other => Err(other.to_string()),
        }
    }

    /// Generates arguments without those that the validation rejects in this combination. The
    /// caller checks that each part passes in some set.
    pub(super) async fn fitting_arguments(
        &self,
        tool: &str,
        extent: Extent,
    ) -> Result<FittingArguments, String> {
        let mut arguments = self.arguments(tool, extent).await?;
        if let Some((create, field)) = preconditions::create_counterpart(tool)
            && arguments.contains_key(field)
        {
            let created = Box::pin(self.fitting_arguments(create, extent)).await?;
            arguments[field] = created.arguments[field].clone();
        }
        preconditions::adjust_arguments(tool, &mut arguments);
        let mut refusals = BTreeSet::new();
        // The validation reports only the first errors.
        for _ in 0..20 {
            let outcome = self
                .entry(tool)
                .compiled()
                .validate_and_build_request(arguments.clone());
            let Err(error) = outcome else { break };
            let mut whole = Value::Object(arguments);
            for problem in error.errors().iter() {
                refusals.insert(describe_refusal(&whole, problem));
                remove_field(&mut whole, &problem.path);
            }
            arguments = whole.as_object().unwrap().clone();
        }
        Ok(FittingArguments {
            arguments,
            refusals,
        })
    }

    /// Creates an item of the kind that a tool lists, if a tool at the same path creates them. Returns whether it did.
    pub(super) async fn create_listed_item(&self, list: &str) -> Result<bool, String> {
        let operation = self.entry(list).operation;
        let Some(create) = preconditions::find_create(operation) else {
            return Ok(false);
        };
        let arguments = Box::pin(self.fitting_arguments(create, Extent::Required)).await?;
        let outcome = self.call(create, arguments.arguments).await;
        outcome.map_err(|error| format!("{create}: {}", error_message(&error)))?;
        Ok(true)
    }

    /// Returns the field of the listed or created item that the source names.
    async fn look_up(&self, source: &ValueSource, found: &JsonMap) -> Result<Value, String> {
        let ValueSource {
            tool,
            field,
            filter: pick,
        } = *source;
        let mut arguments = self.arguments(tool, Extent::Required).await?;
        for place in self.entry(tool).operation.placeholders() {
            if let Some(value) = found.get(place) {
                arguments.insert(place.to_owned(), value.clone());
            }
        }
        let list = async || {
            let answer = self.call(tool, arguments.clone()).await;
            answer.map_err(|e| format!("{tool}: {}", error_message(&e)))
        };
        let mut answer = list().await?;
        // The seed may lack items of this kind.
        if rows(&answer).is_empty() && self.create_listed_item(tool).await? {
            answer = list().await?;
        }
        let wanted = |row: &&Value| pick.is_none_or(|(field, value)| row[field] == value);
        let item = rows(&answer).into_iter().find(wanted);
        let value = match item {
            _ if field.starts_with('/') => answer.pointer(field),
            Some(item) => item.get(field),
            None => None,
        };
        value
            .cloned()
            .ok_or_else(|| format!("{tool} answers no {field}: {answer}"))
    }
}

async fn start_sandbox() -> Sandbox {
    let listen = "127.0.0.1:0".parse().unwrap();
    let now = NOW.parse().unwrap();
    Sandbox::start_with_clock(listen, Faults::default(), Some(now))
        .await
        .unwrap()
}

/// Valid arguments, and why others were left out.
pub(super) struct FittingArguments {
    pub(super) arguments: JsonMap,
    pub(super) refusals: BTreeSet<String>,
}

/// Returns the sample that the validation rejected, and its message.
fn describe_refusal(arguments: &Value, problem: &FieldError) -> String {
    // The problem of the arguments as a whole, as a rule over several reports it.
    if problem.path.is_empty() {
        return problem.message.clone();
    }
    let sample = arguments.pointer(&to_pointer(&problem.path));
    let sample = sample.map_or_else(String::new, |sample| format!(" = {sample}"));
    format!("`{}`{sample}: {}", problem.path, problem.message)
}

/// Returns the JSON Pointer of a path such as `checks[0].parameters.x`.
fn to_pointer(at: &str) -> String {
    format!(
        "/{}",
        at.replace('[', "/").replace(']', "").replace('.', "/")
    )
}

/// Removes the field at a path such as `checks[0].parameters.x`.
fn remove_field(value: &mut Value, at: &str) {
    let pointer = to_pointer(at);
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    if let Some(Value::Object(fields)) = value.pointer_mut(parent) {
        fields.shift_remove(name);
    }
}

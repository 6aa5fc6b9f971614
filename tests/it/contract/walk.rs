//! Walks the tools of one domain: calls each with every set of arguments, and collects the faults.

use std::collections::BTreeSet;

use portkey_api::domains::{DOMAINS, Domain};
use portkey_mcp::{mcp::reply::error_message, pipeline::CallError};
use portkey_operation::JsonMap;
use serde_json::{Value, json};

use super::{
    answers::{self, Exceptions},
    fixture::ContractFixture,
    generate::{self, Extent},
    preconditions::{self, SKIPPED_PARTS},
    profiles::{self, ProfiledTool},
    secrets,
    wire::Endpoint,
};
use crate::records;

/// Part of the refusal of a call that would send a stored secret to another address.
const REDIRECT: &str = "changes where requests go";
/// Part of the sandbox's answer to an endpoint that it lacks.
const NO_ROUTE: &str = "no such endpoint in the sandbox";

/// Checks the contract of every tool of a domain, which is named as a Rust identifier.
pub(super) async fn check_domain(identifier: &str) {
    let name = identifier.replace('_', "-");
    let domain = DOMAINS.iter().find(|domain| domain.name == name).unwrap();
    let records = records::read_records(domain.name).unwrap_or_default();
    let mut walk = ContractWalk {
        domain,
        fixture: ContractFixture::new().await,
        exceptions: Exceptions::new(),
        faults: vec![],
        skipped: BTreeSet::new(),
    };
    let mut compared = Vec::new();
    for operation in domain.operations {
        let tool = operation.name();
        let record = records.iter().find(|record| record["id"] == tool);
        if record.is_some() {
            compared.extend([tool, domain.name]);
        } else {
            let reason = "no record; the request is compared with tests/data/calls";
            walk.skip(tool, "the answer", reason);
        }
        walk.check_tool(tool, record).await;
    }
    walk.faults.extend(walk.exceptions.unused(&compared));
    for skipped in &walk.skipped {
        eprintln!("not compared: {skipped}");
    }
    assert!(
        walk.faults.is_empty(),
        "{} faults\n{}",
        walk.faults.len(),
        walk.faults.join("\n")
    );
}

/// A walk over the tools of a domain, with its findings.
struct ContractWalk {
    domain: &'static Domain,
    fixture: ContractFixture,
    exceptions: Exceptions,
    faults: Vec<String>,
    /// Comparisons that were skipped, and the reasons.
    skipped: BTreeSet<String>,
}

impl ContractWalk {
    fn skip(&mut self, tool: &str, what: &str, reason: &str) {
        self.skipped.insert(format!("{tool} {what}: {reason}"));
    }

    /// Calls a tool with every set of arguments. Without a record the responses are not checked,
    /// and the request is compared with the calls in this repository.
    async fn check_tool(&mut self, tool: &str, record: Option<&Value>) {
        let entry = self.fixture.entry(tool);
        let changes = !entry.operation.hints().read_only;
        let schema = entry.compiled().full_schema().clone();
        let forms = profiles::profiled_tools(entry.operation);
        let endpoint = match record {
            Some(record) => Endpoint::from_record(entry.operation, record),
            None => Endpoint::from_calls(entry.operation),
        };
        if changes {
            self.fixture.restart_sandbox().await;
        }
        let sets = preconditions::min_set_count(tool).max(generate::set_count(&schema));
        let mut extents = vec![Extent::Required];
        extents.extend((0..sets).map(Extent::All));
        if schema.to_string().contains("x-clearable") {
            extents.push(Extent::Cleared);
        }
        let mut untried = generate::parts_of_schema(&schema);
        let mut answered_something = false;
        let mut refusals = BTreeSet::new();
        let mut undeclared = BTreeSet::new();
        let mut has_failed = false;
        for extent in extents {
            let call = self.call(tool, extent, &endpoint, &forms, &mut refusals);
            match call.await {
                Ok((arguments, answer)) => {
                    for part in generate::parts_of_arguments(&arguments) {
                        untried.remove(&part);
                    }
                    undeclared.extend(secrets::undeclared_secrets(
                        self.fixture.entry(tool).operation,
                        &answer,
                    ));
                    answered_something |= !answers::rows(&answer).is_empty();
                    if let Some(record) = record {
                        self.compare_answer(tool, record, &answer);
                    }
                }
                // The error of a call made before names another tool.
                Err(why) if why.contains(NO_ROUTE) && why.contains(&format!("`{tool}`")) => {
                    has_failed = true;
                    let fault = self.describe_missing_route(tool);
                    self.faults.push(fault);
                    // Every other call would fail alike.
                    break;
                }
                Err(why) => {
                    has_failed = true;
                    self.faults.push(format!("{tool} {extent:?}: {why}"));
                }
            }
        }
        // The seed may lack items of this kind.
        if !answered_something
            && !has_failed
            && self.fixture.create_listed_item(tool).await.unwrap_or(false)
            && let Ok((_, answer)) = self
                .call(tool, Extent::Required, &endpoint, &forms, &mut refusals)
                .await
        {
            answered_something = !answers::rows(&answer).is_empty();
        }
        // Consequences of a failed call are not reported as faults of their own.
        if !answered_something && !has_failed {
            self.faults
                .push(format!("{tool} answered nothing but empty lists"));
        }
        if !has_failed {
            self.check_untried_parts(tool, untried, &schema, &refusals);
        } else if !refusals.is_empty() {
            self.faults.push(format!(
                "{tool} refused these samples, so that the calls above lack them. If that is why they failed, give \
                 values that are accepted in VALUES in tests/it/contract/values.rs:{}",
                list_refusals(&refusals)
            ));
        }
        for field in undeclared {
            self.faults.push(format!(
                "{tool}: `{field}` of the answer is named like a secret, and the row of the tool does not declare \
                 it. Add `.returns_secrets(&[\"{field}\"])` if it is shown only here, otherwise \
                 `.with_secret_fields(&[\"{field}\"])`, which masks it; if it is no secret, a maintainer adds it \
                 to NO_SECRETS in tests/it/contract/secrets.rs"
            ));
        }
    }

    /// Names the route that the sandbox lacks, and the files that may lack it.
    fn describe_missing_route(&self, tool: &str) -> String {
        let operation = self.fixture.entry(tool).operation;
        let method = operation.method();
        let path = operation.path();
        let folder = "crates/sandbox/src/domains";
        let file = format!("{folder}/{}.rs", self.domain.name.replace('-', "_"));
        format!(
            "{tool}: {NO_ROUTE}. Add {method} {path} to `DOMAIN` in {file}. If it is there, `ALL` in {folder}/mod.rs \
             lacks the `DOMAIN`."
        )
    }

    fn compare_answer(&mut self, tool: &str, record: &Value, answer: &Value) {
        let comparison = answers::compare_with_record(record, answer);
        for odd in comparison.differences {
            if !self.exceptions.covers(self.domain.name, tool, &odd) {
                self.faults.push(format!("{tool} answer: {odd}"));
            }
        }
        for at in comparison.uncompared {
            self.skip(
                tool,
                &format!("answer {at}"),
                "the record does not say what it is",
            );
        }
    }

    /// Reports parts of the schema that no call had, unless they are in [`SKIPPED_PARTS`].
    fn check_untried_parts(
        &mut self,
        tool: &str,
        mut untried: BTreeSet<String>,
        schema: &Value,
        refusals: &BTreeSet<String>,
    ) {
        let parts = generate::parts_of_schema(schema);
        for skipped in SKIPPED_PARTS.iter().filter(|skipped| skipped.tool == tool) {
            if untried.remove(skipped.part) {
                self.skip(tool, skipped.part, skipped.reason);
            } else {
                let state = if parts.contains(skipped.part) {
                    "is tried"
                } else {
                    "does not exist"
                };
                self.faults.push(format!(
                    "{tool} {}: {state}; remove it from SKIPPED_PARTS in tests/it/contract/preconditions.rs",
                    skipped.part
                ));
            }
        }
        if !untried.is_empty() {
            self.faults.push(format!(
                "{tool} never tried {untried:?}: give values that are accepted in VALUES in \
                 tests/it/contract/values.rs, or say in SKIPPED_PARTS in tests/it/contract/preconditions.rs \
                 why not. Samples that the tool refused:{}",
                list_refusals(refusals)
            ));
        }
    }

    /// Makes one call that must succeed, and checks its request. Collects the refusals of samples that were
    /// left out, also where the call fails.
    async fn call(
        &mut self,
        tool: &str,
        extent: Extent,
        endpoint: &Endpoint,
        forms: &[ProfiledTool],
        refusals: &mut BTreeSet<String>,
    ) -> Result<(JsonMap, Value), String> {
        let fixture = &mut self.fixture;
        if let Some(before) = preconditions::prior_calls(tool) {
            fixture.restart_sandbox().await;
            for before in before {
                let arguments = fixture.arguments(before, Extent::Required).await?;
                fixture
                    .call(before, arguments)
                    .await
                    .map_err(|error| error_message(&error))?;
            }
        }
        let given = fixture.fitting_arguments(tool, extent).await?;
        refusals.extend(given.refusals);
        let arguments = &given.arguments;
        for form in forms {
            form.check(arguments)?;
        }
        let mut before = fixture.count();
        let mut outcome = fixture.call(tool, arguments.clone()).await;
        // A secret that is stored would go to the address of the sample, unless it is there already.
        let is_redirect = |error: &CallError| error_message(error).contains(REDIRECT);
        if outcome.as_ref().is_err_and(is_redirect) {
            fixture.send_past_the_server(tool, arguments).await;
            before = fixture.count();
            outcome = fixture.call(tool, arguments.clone()).await;
        }
        let answer =
            outcome.map_err(|error| format!("{}\n{}", error_message(&error), json!(arguments)))?;
        let mut requests = fixture.requests_after(before);
        // The state is read for a call that may change an address.
        let operation = fixture.entry(tool).operation;
        if operation.find_new_address(arguments, None).is_some()
            && requests.len() == 2
            && requests[0].method == "GET"
        {
            requests.remove(0);
        }
        match requests.as_slice() {
            [seen] => {
                let odd = endpoint.faults(seen, arguments);
                self.faults.extend(
                    odd.iter()
                        .map(|odd| format!("{tool} {extent:?} wire: {odd}")),
                );
            }
            several => return Err(format!("{} requests", several.len())),
        }
        for name in endpoint.unknown_locations(arguments) {
            let reason = "neither a record nor a call in tests/data/calls says where it travels";
            self.skip(tool, &format!("location of `{name}`"), reason);
        }
        Ok((given.arguments, answer))
    }
}

fn list_refusals(refusals: &BTreeSet<String>) -> String {
    if refusals.is_empty() {
        return " none".to_owned();
    }
    let lines = refusals.iter().map(|text| format!("\n    {text}"));
    lines.collect()
}

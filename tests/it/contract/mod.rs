//! The contract of every tool: generated arguments pass the validation, arrive where the API
//! expects them, and the sandbox responds like the API.

mod answers;
mod fixture;
pub(crate) mod generate;
mod preconditions;
mod profiles;
mod secrets;
mod validation;
mod values;
mod wire;

use std::collections::BTreeSet;

use portkey_api::catalog::Catalog;
use portkey_mcp::{mcp::reply::error_message, pipeline::CallError};
use serde_json::{Value, json};

use crate::records;
use answers::Exceptions;
use fixture::{ContractFixture, FittingArguments};
use generate::Extent;
use profiles::ProfiledTool;
use wire::Endpoint;

#[tokio::test]
async fn every_tool_fulfils_its_contract() {
    let mut walk = ContractCheck {
        fixture: ContractFixture::new().await,
        exceptions: Exceptions::new(),
        faults: vec![],
    };
    let mut compared = false;
    for entry in Catalog::full().iter() {
        let tool = entry.operation.name();
        let records = records::read_records(entry.domain.name);
        let record = records.iter().flatten().find(|record| record["id"] == tool);
        compared |= record.is_some();
        walk.check_tool(tool, record).await;
    }
    let mut faults = walk.faults;
    if compared {
        faults.extend(walk.exceptions.unused());
    } else {
        eprintln!("skipped: no records to compare the responses with");
    }
    assert!(
        faults.is_empty(),
        "{} faults\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// Calls all tools and collects the faults.
struct ContractCheck {
    fixture: ContractFixture,
    exceptions: Exceptions,
    faults: Vec<String>,
}

impl ContractCheck {
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
        untried.retain(|part| !preconditions::is_skipped(tool, part));
        let (mut answered_something, mut refusals) = (false, BTreeSet::new());
        let (mut undeclared, mut has_failed) = (BTreeSet::new(), false);
        for extent in extents {
            match self.call(tool, extent, &endpoint, &forms).await {
                Ok((given, answer)) => {
                    for part in generate::parts_of_arguments(&given.arguments) {
                        untried.remove(&part);
                    }
                    refusals.extend(given.refusals);
                    undeclared.extend(secrets::undeclared_secrets(
                        self.fixture.entry(tool).operation,
                        &answer,
                    ));
                    answered_something |= !answers::rows(&answer).is_empty();
                    let odd = record.map(|record| answers::differences(record, &answer));
                    let odd = odd.into_iter().flatten();
                    let odd = odd.filter(|odd| !self.exceptions.covers(tool, odd));
                    self.faults
                        .extend(odd.map(|odd| format!("{tool} answer: {odd}")));
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
            && let Ok((_, answer)) = self.call(tool, Extent::Required, &endpoint, &forms).await
        {
            answered_something = !answers::rows(&answer).is_empty();
        }
        // Consequences of a failed call are not reported as faults of their own.
        if !answered_something && !has_failed {
            self.faults
                .push(format!("{tool} answered nothing but empty lists"));
        }
        if !untried.is_empty() && !has_failed {
            let refusals: Vec<_> = refusals
                .iter()
                .map(|text| format!("\n    {text}"))
                .collect();
            self.faults.push(format!(
                "{tool} never tried {untried:?}: give values that are accepted in VALUES in \
                 tests/it/contract/values.rs, or say in SKIPPED_PARTS in tests/it/contract/preconditions.rs \
                 why not. Samples that the tool refused:{}",
                match refusals.as_slice() {
                    [] => " none".to_owned(),
                    refusals => refusals.concat(),
                }
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

    /// Makes one call that must succeed, and checks its request.
    async fn call(
        &mut self,
        tool: &str,
        extent: Extent,
        endpoint: &Endpoint,
        forms: &[ProfiledTool],
    ) -> Result<(FittingArguments, Value), String> {
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
        let arguments = &given.arguments;
        for form in forms {
            form.check(arguments)?;
        }
        let before = fixture.count();
        let outcome = fixture.call(tool, arguments.clone()).await;
        let answer =
            outcome.map_err(|error| format!("{}\n{}", error_message(&error), json!(arguments)))?;
        match fixture.requests_after(before).as_slice() {
            [seen] => {
                let odd = endpoint.faults(seen, arguments);
                self.faults.extend(
                    odd.iter()
                        .map(|odd| format!("{tool} {extent:?} wire: {odd}")),
                );
            }
            several => return Err(format!("{} requests", several.len())),
        }
        Ok((given, answer))
    }
}

#[tokio::test]
async fn call_without_a_required_argument_is_not_sent() {
    let fixture = ContractFixture::new().await;
    for entry in Catalog::full().iter() {
        let tool = entry.operation.name();
        let schema = entry.compiled().full_schema();
        let known = |at: &str, _: &Value| values::known_value(tool, at, Extent::Required);
        let Value::Object(whole) = generate::fill(schema, "", Extent::Required, &known) else {
            panic!("{tool}")
        };
        let required: BTreeSet<_> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let without = required.iter().map(|name| {
            let mut less = whole.clone();
            less.shift_remove(*name);
            (*name, less)
        });
        for (name, arguments) in without.collect::<Vec<_>>() {
            let outcome = fixture.call(tool, arguments).await;
            let Err(CallError::InvalidArguments(error)) = outcome else {
                panic!("{tool}, {name}: {outcome:?}")
            };
            let is_reported = error.errors().iter().any(|problem| problem.path == name);
            assert!(is_reported, "{tool}, {name}: {error}");
        }
    }
    assert_eq!(fixture.count(), 0, "something was sent");
}

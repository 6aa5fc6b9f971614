//! The contract of every tool: arguments made from its schema pass the gate, arrive where the API
//! wants them, and are answered by the sandbox as the API would.

mod answers;
mod generate;
mod preconditions;
mod wire;
mod world;

use std::collections::BTreeSet;

use portkey_mcp::{catalog::Catalog, dispatch::CallError, operation::JsonMap};
use serde_json::{Value, json};

use crate::records;
use answers::Exceptions;
use generate::Extent;
use wire::Endpoint;
use world::World;

#[tokio::test]
async fn every_tool_keeps_its_contract() {
    let mut faults = Vec::new();
    let exceptions = Exceptions::new();
    let mut compared = false;
    let mut world = World::new().await;
    for entry in Catalog::full().iter() {
        let tool = entry.operation.name();
        let records = records::of_domain(entry.domain.name);
        let record = records.iter().flatten().find(|record| record["id"] == tool);
        compared |= record.is_some();
        walk(&mut world, tool, record, &exceptions, &mut faults).await;
    }
    if compared {
        faults.extend(exceptions.stale());
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

async fn walk(
    world: &mut World,
    tool: &str,
    record: Option<&Value>,
    exceptions: &Exceptions,
    faults: &mut Vec<String>,
) {
    if !world.entry(tool).operation.hints().read_only {
        world.renew().await;
    }
    let entry = world.entry(tool);
    let published = entry.published();
    let schema = &published.full_schema().clone();
    let endpoint = match record {
        Some(record) => Endpoint::recorded(entry.operation, record),
        None => Endpoint::shown(entry.operation),
    };
    let mut extents = vec![Extent::Least];
    extents.extend((0..preconditions::sets(tool).max(generate::sets(schema))).map(Extent::All));
    if schema.to_string().contains("x-clearable") {
        extents.push(Extent::Cleared);
    }
    let validator = jsonschema::validator_for(&json!(published.schema())).unwrap();
    let mut seen_rows = false;
    let mut untold = generate::parts_of_schema(schema);
    for extent in extents {
        if let Some(before) = preconditions::before(tool) {
            world.renew().await;
            for before in before {
                let arguments = world.arguments(before, Extent::Least).await.unwrap();
                world.call(before, arguments).await.unwrap();
            }
        }
        let mut arguments = match world.arguments(tool, extent).await {
            Ok(arguments) => arguments,
            Err(why) => {
                faults.push(format!("{tool} {extent:?}: {why}"));
                continue;
            }
        };
        if let Some((create, field)) = preconditions::as_created(tool)
            && arguments.contains_key(field)
        {
            let mut created = world.arguments(create, extent).await.unwrap();
            prune(world, create, &mut created);
            arguments[field] = created[field].clone();
        }
        preconditions::complete(tool, &mut arguments);
        prune(world, tool, &mut arguments);
        let at = format!("{tool} {extent:?}");
        // A client that checks by itself lets the same pass; of `null` the published schema says nothing.
        let whole = json!(arguments);
        if extent != Extent::Cleared && !whole.to_string().contains("null") {
            faults.extend(validator.iter_errors(&whole).map(|e| format!("{at} schema: {e}")));
        }
        let sent = world.requests().len();
        let outcome = world.call(tool, arguments.clone()).await;
        match &outcome {
            Ok(answer) => {
                seen_rows |= !answers::rows(answer).is_empty();
                if let Some(record) = record {
                    let odd = answers::faults(record, answer);
                    let odd = odd.iter().filter(|odd| !exceptions.cover(tool, odd));
                    faults.extend(odd.map(|odd| format!("{tool} answer: {odd}")));
                }
                for part in generate::parts_of_arguments(&arguments) {
                    untold.remove(&part);
                }
            }
            Err(error) => {
                faults.push(format!(
                    "{at}: {}\n   {}",
                    portkey_mcp::reply::words(error).lines().take(3).collect::<Vec<_>>().join(" "),
                    json!(arguments)
                ));
                continue;
            }
        }
        match world.requests().get(sent..) {
            Some([seen]) => {
                let odd = endpoint.faults(seen, &arguments);
                faults.extend(odd.into_iter().map(|odd| format!("{at} wire: {odd}")));
            }
            other => faults.push(format!("{at}: {} requests", other.map_or(0, <[_]>::len))),
        }
    }
    if !seen_rows {
        faults.push(format!("{tool} answered nothing but empty lists"));
    }
    untold.retain(|part| !preconditions::is_untried(tool, part));
    if !untold.is_empty() {
        faults.push(format!("{tool} never tried: {untold:?}"));
    }
}

/// Takes out what the gate says does not go with the rest. That each part passes in some set is seen
/// to by the caller.
fn prune(world: &World, tool: &str, arguments: &mut JsonMap) {
    let published = world.entry(tool).published();
    let Err(error) = published.request(arguments.clone()) else { return };
    let mut whole = Value::Object(std::mem::take(arguments));
    for problem in error.problems().iter() {
        take_out(&mut whole, &problem.at);
    }
    *arguments = whole.as_object().unwrap().clone();
}

/// Removes the field at a path such as `checks[0].parameters.x`.
fn take_out(value: &mut Value, at: &str) {
    let pointer = format!("/{}", at.replace('[', "/").replace(']', "").replace('.', "/"));
    let Some((parent, name)) = pointer.rsplit_once('/') else { return };
    if let Some(Value::Object(fields)) = value.pointer_mut(parent) {
        fields.shift_remove(name);
    }
}

#[tokio::test]
async fn what_is_required_and_what_is_unknown_stays_off_the_wire() {
    let world = World::new().await;
    for entry in Catalog::full().iter() {
        let tool = entry.operation.name();
        let schema = entry.published().full_schema();
        let known = |at: &str, _: &Value| preconditions::value(tool, at, Extent::Least);
        let Value::Object(whole) = generate::fill(schema, "", Extent::Least, &known) else {
            panic!("{tool}")
        };
        let required: BTreeSet<_> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let without = required.iter().map(|name| {
            let mut less = whole.clone();
            less.shift_remove(*name);
            (*name, less)
        });
        let mut stranger = whole.clone();
        stranger.insert("no_such_argument".to_owned(), json!(1));
        let open = schema["additionalProperties"] != false;
        let stranger = (!open).then_some(("no_such_argument", stranger));
        for (name, arguments) in without.chain(stranger).collect::<Vec<_>>() {
            let outcome = world.call(tool, arguments).await;
            let Err(CallError::Input(error)) = outcome else {
                panic!("{tool}, {name}: {outcome:?}")
            };
            let told = error.problems().iter().any(|problem| problem.at == name);
            assert!(told, "{tool}, {name}: {error}");
        }
    }
    assert_eq!(world.requests().len(), 0, "something was sent");
}

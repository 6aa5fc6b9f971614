//! Invalid arguments of any tool are rejected, and the argument schema accepts only what the Rust type
//! accepts. Both come from one struct, and with debug assertions the validation checks both.

use std::collections::BTreeSet;

use portkey_api::catalog::Catalog;
use portkey_mcp::pipeline::CallError;
use portkey_operation::JsonMap;
use serde_json::{Value, json};

use super::{
    fixture::ContractFixture,
    generate::{Extent, fill},
    values,
};
use crate::catalog::visit_schemas;

/// Returns a value of every kind, and the edge values of numbers.
fn edge_values() -> Vec<Value> {
    let largest = [i64::from(i32::MAX), i64::from(u32::MAX), i64::MAX].map(|n| json!(n));
    let beyond = [
        json!(u64::from(u32::MAX) + 1),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e300),
    ];
    let plain = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(70_000),
        json!(1.5),
        json!(1.0),
        json!(""),
        json!("5"),
        json!("text"),
        json!("[\"a\"]"),
        json!("{\"a\":null}"),
        json!([]),
        json!([null]),
        json!([[]]),
        json!(["a", 1]),
        json!({}),
        json!({ "a": null }),
        json!({ "a": { "b": [1] } }),
    ];
    plain.into_iter().chain(largest).chain(beyond).collect()
}

/// Collects a JSON pointer to every value inside a value.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let below: Vec<_> = match value {
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(i, value)| (i.to_string(), value))
            .collect(),
        _ => return,
    };
    for (name, value) in below {
        let place = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        pointers(value, &place, found);
        found.push(place);
    }
}

#[test]
#[cfg_attr(
    not(debug_assertions),
    ignore = "without debug assertions only the shape is asked"
)]
fn schema_accepts_only_what_the_type_accepts() {
    let mut taken = 0;
    let mut refused = 0;
    for entry in Catalog::full().iter() {
        let published = entry.compiled();
        let mut admit = |args: &Value| {
            let args: JsonMap = args.as_object().unwrap().clone();
            // Panics if the schema and the type disagree.
            match published.validate_with_defaults(args) {
                Ok(_) => taken += 1,
                Err(_) => refused += 1,
            }
        };
        for extent in [
            Extent::Required,
            Extent::All(0),
            Extent::All(1),
            Extent::Cleared,
        ] {
            let arguments = fill(published.full_schema(), "", extent, &|_, _| None);
            admit(&arguments);
            let mut found = Vec::new();
            pointers(&arguments, "", &mut found);
            for place in found {
                for odd in edge_values() {
                    let mut arguments = arguments.clone();
                    *arguments.pointer_mut(&place).unwrap() = odd;
                    admit(&arguments);
                }
            }
        }
    }
    assert!(
        taken > 10_000 && refused > 10_000,
        "{taken} and {refused} are too few to tell"
    );
}

/// The end of a range finds its start by name, so that a reversed range is rejected.
#[test]
fn reversed_time_range_is_rejected_wherever_a_range_ends() {
    let mut faults = Vec::new();
    for entry in Catalog::full().iter() {
        let published = entry.compiled();
        let mut ends = Vec::new();
        visit_schemas("", published.full_schema(), &mut |at, schema| {
            if schema["x-time"] == "end" {
                ends.push(at.to_owned());
            }
        });
        if ends.is_empty() {
            continue;
        }
        let reversed = |_: &str, schema: &Value| match schema["x-time"].as_str() {
            Some("start") => Some(json!("2026-02-01T00:00:00Z")),
            Some("end") => Some(json!("2026-01-01T00:00:00Z")),
            _ => None,
        };
        let arguments = fill(published.full_schema(), "", Extent::All(0), &reversed);
        let outcome = published.validate_with_defaults(arguments.as_object().unwrap().clone());
        let told = outcome.err().map(|error| error.to_string());
        let found = told
            .unwrap_or_default()
            .matches("range is reversed")
            .count();
        if found < ends.len() {
            faults.push(format!(
                "{}: {ends:?}: an `EndTime` needs a `StartTime` beside it with the same name but for \
                 start/end, min/max, from/to, since/until or after/before (`TimeRole::is_range_end` in \
                 crates/operation/src/time.rs); a single time is a `StartTime` or a `Time`",
                entry.operation.name()
            ));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn call_without_a_required_argument_is_not_sent() {
    let fixture = ContractFixture::new().await;
    for entry in Catalog::full().iter() {
        let tool = entry.operation.name();
        let schema = entry.compiled().full_schema();
        let known = |at: &str, _: &Value| values::known_value(tool, at, Extent::Required);
        let Value::Object(whole) = fill(schema, "", Extent::Required, &known) else {
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

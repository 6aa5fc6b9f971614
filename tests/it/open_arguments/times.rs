//! Times: accepted forms, rejected ranges, and that all time arguments have one type.

use portkey_api::catalog::Catalog;
use serde_json::json;

use super::validate;

struct RangeCase {
    from: &'static str,
    until: &'static str,
    travels: Result<(&'static str, &'static str), &'static str>,
}

#[test]
fn time_ranges_are_resolved_or_rejected() {
    let cases = [
        RangeCase {
            from: "last month",
            until: "last month",
            travels: Ok(("2026-10-01T00:00:00Z", "2026-10-31T23:59:59.999Z")),
        },
        RangeCase {
            from: "7d",
            until: "now",
            travels: Ok(("2026-11-22T10:30:00Z", "2026-11-29T10:30:00Z")),
        },
        RangeCase {
            from: "2026-11-01T00:00:00Z",
            until: "2026-11-01T00:00:00Z",
            travels: Ok(("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z")),
        },
        RangeCase {
            from: "today",
            until: "yesterday",
            travels: Err("the range is reversed"),
        },
        RangeCase {
            from: "2026-11-02T00:00:00Z",
            until: "2026-11-01T00:00:00Z",
            travels: Err("the range is reversed"),
        },
        RangeCase {
            from: "2027-01-01T00:00:00Z",
            until: "2027-02-01T00:00:00Z",
            travels: Err("the range lies in the future; it is 2026-11-29T10:30:00Z now"),
        },
        RangeCase {
            from: "2026-13-45T99:00:00Z",
            until: "now",
            travels: Err("is no time; it takes RFC 3339"),
        },
        RangeCase {
            from: "1764374400000",
            until: "now",
            travels: Err("is no time"),
        },
    ];
    // One type, at any position.
    for tool in [
        "get-cost-graph",
        "get-users-grouped-data",
        "get-cache-summary",
    ] {
        for RangeCase {
            from,
            until,
            travels,
        } in &cases
        {
            let args = json!({
                "workspace_slug": "w", "time_of_generation_min": from, "time_of_generation_max": until,
            });
            let got = validate(tool, &args).map(|validated| {
                let sent = |name: &str| validated.args[name].as_str().unwrap().to_owned();
                let sent = (
                    sent("time_of_generation_min"),
                    sent("time_of_generation_max"),
                );
                let is_resolved = (sent.0 != *from, sent.1 != *until);
                let reported =
                    |name: &str| validated.resolved_times.iter().any(|(at, _)| at == name);
                let reported = (
                    reported("time_of_generation_min"),
                    reported("time_of_generation_max"),
                );
                assert_eq!(reported, is_resolved, "{tool} {from} {until}");
                sent
            });
            match travels {
                Ok((from, until)) => assert_eq!(got, Ok((from.to_string(), until.to_string()))),
                Err(expected) => {
                    let error = got.unwrap_err();
                    assert!(error.contains(expected), "{tool} {from} {until}: {error}");
                }
            }
        }
    }
}

#[test]
fn number_as_a_time_is_rejected_with_the_forms() {
    let args = json!({ "time_of_generation_min": 1_764_374_400, "time_of_generation_max": "now" });
    let error = validate("get-cost-graph", &args).unwrap_err();
    assert!(
        error.contains("`1764374400` is no time; it takes RFC 3339"),
        "{error}"
    );
}

/// Every text field with a name or description of a time has the time type.
#[test]
fn every_time_argument_has_the_time_type() {
    let mut found = 0;
    let mut strangers = Vec::new();
    for entry in Catalog::full().iter() {
        let schema = entry.compiled().full_schema();
        crate::catalog::visit_schemas("", schema, &mut |at, schema| {
            let name = at.rsplit('.').next().unwrap_or_default();
            let is_named = name.ends_with("_at")
                || matches!(name, "start_time" | "end_time")
                || name.starts_with("time_of_generation");
            let description = schema["description"]
                .as_str()
                .is_some_and(|text| text.contains("RFC 3339"));
            let is_text = schema["type"] == "string";
            if is_text && (is_named || description) {
                found += 1;
                if !schema["x-time"].is_string() {
                    strangers.push(format!("{}{at}", entry.operation.name()));
                }
            }
        });
    }
    assert!(found >= 64, "only {found} times");
    assert!(strangers.is_empty(), "{}", strangers.join("\n"));
}

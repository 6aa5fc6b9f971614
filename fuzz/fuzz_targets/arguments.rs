//! Fuzzes the validation of arguments: any JSON as the arguments of any tool, also grown to
//! thousands of names, items and letters. Validation must not panic, and both its result and its
//! work are bounded.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use portkey_api::catalog::Catalog;
use portkey_mcp::{
    mcp::{
        reply::{MAX_ERROR_BYTES, error_message},
        surface,
    },
    pipeline::CallError,
};
use portkey_operation::{InputError, JsonMap, UnknownFields, ValidationOptions, comparison_count};
use serde_json::Value;

static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::full);

/// Maximum number of letters that the comparison of names may inspect in one call.
const MAX_COMPARED: usize = 3_000_000;
/// Maximum number of values in grown arguments.
const MAX_VALUES: usize = 20_000;
const MAX_BYTES: usize = 1 << 20;

/// Splits the input. Two bytes choose the tool, one the treatment of unknown fields, and one the
/// growth of the rest, which is JSON.
fn parse_input(data: &[u8]) -> Option<(usize, UnknownFields, usize, JsonMap)> {
    let (head, text) = data.split_at_checked(4)?;
    let [high, low, mode, times] = head else {
        return None;
    };
    let tool = usize::from(*high) << 8 | usize::from(*low);
    let modes = [
        UnknownFields::Warn,
        UnknownFields::Deny,
        UnknownFields::Allow,
    ];
    let mode = modes.get(usize::from(*mode) % modes.len()).copied()?;
    match serde_json::from_slice(text).ok()? {
        Value::Object(args) => Some((tool, mode, 1 << (times % 14), args)),
        _ => None,
    }
}

/// The remaining growth.
struct GrowthBudget {
    values: usize,
    bytes: usize,
}

/// Repeats items, names and letters `times` over, within the remaining growth.
fn swell(value: &Value, times: usize, budget: &mut GrowthBudget) -> Value {
    budget.values = budget.values.saturating_sub(1);
    match value {
        Value::String(text) => {
            let times = times.min(budget.bytes / text.len().max(1)).max(1);
            budget.bytes = budget.bytes.saturating_sub(times * text.len());
            text.repeat(times).into()
        }
        Value::Array(items) => {
            let each = times.min(budget.values / items.len().max(1)).max(1);
            let items = (0..each).flat_map(|_| items);
            let mut grown = Vec::new();
            for item in items {
                grown.push(swell(item, times / 64, budget));
            }
            grown.into()
        }
        Value::Object(map) => {
            let each = times.min(budget.values / map.len().max(1)).max(1);
            let mut grown = map.clone();
            for (name, value) in map {
                grown.insert(name.clone(), swell(value, times / 64, budget));
                for i in 1..each {
                    // Other names, other spellings, and long names.
                    let name = match i % 3 {
                        0 => format!("{name}{i}"),
                        1 => format!("{}{name}", "_".repeat(i)),
                        _ => format!("{name}-{}", "x".repeat(i % 200)),
                    };
                    if budget.bytes < name.len() {
                        break;
                    }
                    budget.bytes -= name.len();
                    budget.values = budget.values.saturating_sub(1);
                    grown.insert(name, value.clone());
                }
            }
            grown.into()
        }
        other => other.clone(),
    }
}

fn assert_error_is_short(error: InputError) {
    assert!(
        error.errors().iter().count() <= 20,
        "more than 20 errors are reported"
    );
    let message = error_message(&CallError::InvalidArguments(error.clone()));
    assert!(
        message.len() <= MAX_ERROR_BYTES,
        "an error has {} bytes",
        message.len()
    );
    // The message differs from it only in what looks like a key.
    let bytes = error.to_string().len();
    assert!(
        bytes <= MAX_ERROR_BYTES,
        "the errors themselves have {bytes} bytes"
    );
}

fuzz_target!(|data: &[u8]| {
    let Some((tool, unknown_fields, times, args)) = parse_input(data) else {
        return;
    };
    let mut budget = GrowthBudget {
        values: MAX_VALUES,
        bytes: MAX_BYTES,
    };
    let args = match swell(&Value::Object(args), times, &mut budget) {
        Value::Object(args) => args,
        _ => return,
    };
    let builtin = surface::builtin_tools();
    let count = CATALOG.iter().count() + builtin.len();
    let published = match CATALOG.iter().nth(tool % count) {
        Some(entry) => entry.compiled(),
        None => match builtin.get(tool % count - CATALOG.iter().count()) {
            Some(builtin) => &builtin.published,
            None => return,
        },
    };
    let options = ValidationOptions {
        unknown_fields,
        ..ValidationOptions::default()
    };
    let before = comparison_count::total();
    let outcome = published.validate(args, &options);
    let compared = comparison_count::total() - before;
    assert!(compared <= MAX_COMPARED, "{compared} letters were compared");
    match outcome {
        Err(error) => assert_error_is_short(error),
        Ok(validated) => {
            let bytes: usize = validated.warnings.iter().map(String::len).sum();
            assert!(bytes <= MAX_ERROR_BYTES, "warnings of {bytes} bytes");
            assert!(
                validated.unknown.len() <= 1_100,
                "{} unknown",
                validated.unknown.len()
            );
            assert!(
                validated.unknown.iter().all(|path| path.len() < 300),
                "a path is long"
            );
            published.redact(validated.args.clone());
            if let Err(error) = published.build_request(validated.args) {
                assert_error_is_short(error);
            }
        }
    }
});

//! Fuzzes the validation of arguments: any JSON as the arguments of any tool, also grown to
//! thousands of names, items and letters. Validation must not panic, and both its result and its
//! work are bounded.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use portkey_api::catalog::Catalog;
use portkey_mcp::{
    mcp::{
        reply::{MAX_ERROR_BYTES, words},
        surface,
    },
    pipeline::CallError,
};
use portkey_operation::{InputError, JsonMap, UnknownFields, ValidationOptions, effort};
use serde_json::Value;

static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::full);

/// Maximum number of letters that the comparison of names may inspect in one call.
const MAX_EFFORT: usize = 3_000_000;
/// Maximum number of values in grown arguments.
const MAX_VALUES: usize = 20_000;
const MAX_BYTES: usize = 1 << 20;

/// Splits the input. Two bytes choose the tool, one the treatment of unknown fields, and one the
/// growth of the rest, which is JSON.
fn parts(data: &[u8]) -> Option<(usize, UnknownFields, usize, JsonMap)> {
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

/// Remaining growth.
struct Left {
    values: usize,
    bytes: usize,
}

/// Repeats items, names and letters `times` over, within the remaining growth.
fn swollen(value: &Value, times: usize, left: &mut Left) -> Value {
    left.values = left.values.saturating_sub(1);
    match value {
        Value::String(text) => {
            let times = times.min(left.bytes / text.len().max(1)).max(1);
            left.bytes = left.bytes.saturating_sub(times * text.len());
            text.repeat(times).into()
        }
        Value::Array(items) => {
            let each = times.min(left.values / items.len().max(1)).max(1);
            let items = (0..each).flat_map(|_| items);
            let mut grown = Vec::new();
            for item in items {
                grown.push(swollen(item, times / 64, left));
            }
            grown.into()
        }
        Value::Object(map) => {
            let each = times.min(left.values / map.len().max(1)).max(1);
            let mut grown = map.clone();
            for (name, value) in map {
                grown.insert(name.clone(), swollen(value, times / 64, left));
                for i in 1..each {
                    // Other names, other spellings, and long names.
                    let name = match i % 3 {
                        0 => format!("{name}{i}"),
                        1 => format!("{}{name}", "_".repeat(i)),
                        _ => format!("{name}-{}", "x".repeat(i % 200)),
                    };
                    if left.bytes < name.len() {
                        break;
                    }
                    left.bytes -= name.len();
                    left.values = left.values.saturating_sub(1);
                    grown.insert(name, value.clone());
                }
            }
            grown.into()
        }
        other => other.clone(),
    }
}

fn is_told_shortly(error: InputError) {
    assert!(
        error.problems().iter().count() <= 20,
        "more problems are told than may be"
    );
    let told = words(&CallError::Input(error.clone()));
    assert!(
        told.len() <= MAX_ERROR_BYTES,
        "an error has {} bytes",
        told.len()
    );
    assert_eq!(
        told,
        error.to_string(),
        "problems are not bounded by themselves"
    );
}

fuzz_target!(|data: &[u8]| {
    let Some((tool, unknown_fields, times, args)) = parts(data) else {
        return;
    };
    let mut left = Left {
        values: MAX_VALUES,
        bytes: MAX_BYTES,
    };
    let args = match swollen(&Value::Object(args), times, &mut left) {
        Value::Object(args) => args,
        _ => return,
    };
    let own = surface::tools();
    let count = CATALOG.iter().count() + own.len();
    let published = match CATALOG.iter().nth(tool % count) {
        Some(entry) => entry.published(),
        None => match own.get(tool % count - CATALOG.iter().count()) {
            Some(own) => &own.published,
            None => return,
        },
    };
    let options = ValidationOptions {
        unknown_fields,
        ..ValidationOptions::default()
    };
    let before = effort::total();
    let outcome = published.validate(args, &options);
    let effort = effort::total() - before;
    assert!(effort <= MAX_EFFORT, "{effort} letters were compared");
    match outcome {
        Err(error) => is_told_shortly(error),
        Ok(passed) => {
            let bytes: usize = passed.warnings.iter().map(String::len).sum();
            assert!(bytes <= MAX_ERROR_BYTES, "warnings of {bytes} bytes");
            assert!(
                passed.unknown.len() <= 1_100,
                "{} unknown",
                passed.unknown.len()
            );
            assert!(
                passed.unknown.iter().all(|path| path.len() < 300),
                "a path is long"
            );
            published.redacted(passed.args.clone());
            if let Err(error) = published.lay_out(passed.args) {
                is_told_shortly(error);
            }
        }
    }
});

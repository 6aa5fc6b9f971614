//! Size limits of arguments, checked before anything else reads them.
//!
//! Later steps rely on these limits: none of them has to stay fast on arguments that no caller
//! means.

use std::fmt;

use serde_json::Value;

use super::JsonMap;

/// The maximum number of names and items in the arguments of one call, at all depths together.
pub const MAX_VALUES: usize = 40_000;
/// The maximum number of levels of arguments, counted from the arguments themselves.
pub const MAX_DEPTH: usize = 64;

/// The size limit that arguments exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SizeLimitError {
    /// More names and items than [`MAX_VALUES`].
    Values,
    /// More levels than [`MAX_DEPTH`].
    Depth,
}

impl fmt::Display for SizeLimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Values => write!(
                f,
                "the arguments hold more than {MAX_VALUES} names and items; make several calls of it"
            ),
            Self::Depth => write!(f, "the arguments have more than {MAX_DEPTH} levels"),
        }
    }
}

/// Checks arguments against both limits. Stops at the first value beyond one.
///
/// # Errors
/// Returns the limit that the arguments exceed.
pub(super) fn check(args: &JsonMap) -> Result<(), SizeLimitError> {
    let mut left = MAX_VALUES;
    args.values()
        .try_for_each(|value| count_values(value, 1, &mut left))
}

fn count_values(value: &Value, depth: usize, left: &mut usize) -> Result<(), SizeLimitError> {
    *left = left.checked_sub(1).ok_or(SizeLimitError::Values)?;
    match value {
        Value::Array(_) | Value::Object(_) if depth >= MAX_DEPTH => Err(SizeLimitError::Depth),
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| count_values(item, depth + 1, left)),
        Value::Object(map) => map
            .values()
            .try_for_each(|value| count_values(value, depth + 1, left)),
        _ => Ok(()),
    }
}

/// Returns upper bounds on the names and items of a JSON text, and on its depth, without parsing
/// it.
///
/// Counting stops once there are more than `max_values` values. A text that is not JSON has such
/// numbers, too.
pub fn measure_json(json: &[u8], max_values: usize) -> (usize, usize) {
    let mut values = 0_usize;
    let mut depth = 0_usize;
    let mut deepest = 0;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b',' => values += 1,
            b'[' | b'{' => {
                // An opened list or object holds one value more than it has commas, or none.
                values += 1;
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if values > max_values {
            break;
        }
    }
    (values, deepest)
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => _ = bytes.next(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn nested_arguments(levels: usize) -> JsonMap {
        let value = (1..levels).fold(json!(1), |inner, _| json!([inner]));
        JsonMap::from_iter([("a".to_owned(), value)])
    }

    #[test]
    fn arguments_within_both_limits_pass() {
        let many: JsonMap = (0..MAX_VALUES).map(|i| (i.to_string(), json!(1))).collect();
        assert_eq!(check(&many), Ok(()));
        assert_eq!(check(&nested_arguments(MAX_DEPTH)), Ok(()));
    }

    #[test]
    fn one_value_or_level_too_many_is_rejected() {
        let many: JsonMap = (0..=MAX_VALUES)
            .map(|i| (i.to_string(), json!(1)))
            .collect();
        assert_eq!(check(&many), Err(SizeLimitError::Values));
        let list = JsonMap::from_iter([("a".to_owned(), json!(vec![1; MAX_VALUES]))]);
        assert_eq!(check(&list), Err(SizeLimitError::Values));
        assert_eq!(
            check(&nested_arguments(MAX_DEPTH + 1)),
            Err(SizeLimitError::Depth)
        );
    }

    struct MeasureCase {
        json: &'static str,
        values: usize,
        depth: usize,
    }

    #[test]
    fn text_is_measured_without_being_parsed() {
        let cases = [
            MeasureCase {
                json: "1",
                values: 0,
                depth: 0,
            },
            MeasureCase {
                json: "{}",
                values: 1,
                depth: 1,
            },
            MeasureCase {
                json: r#"{"a":1,"b":[1,2,3]}"#,
                values: 5,
                depth: 2,
            },
            MeasureCase {
                json: r#"{"a[,{\",[":"[[[,,,\\"}"#,
                values: 1,
                depth: 1,
            },
            MeasureCase {
                json: r#"["unclosed [[[,"#,
                values: 1,
                depth: 1,
            },
            MeasureCase {
                json: "]]]][",
                values: 1,
                depth: 1,
            },
        ];
        for MeasureCase {
            json,
            values,
            depth,
        } in cases
        {
            assert_eq!(
                measure_json(json.as_bytes(), usize::MAX),
                (values, depth),
                "{json}"
            );
        }
        // Counting stops beyond the maximum.
        assert_eq!(measure_json(&[b','; 1_000], 10).0, 11);
    }

    #[test]
    fn measured_values_are_an_upper_bound() {
        for value in [
            json!({"a": [1, {"b": null}, []], "c": "x,[{"}),
            json!([[[[1]]], {}]),
        ] {
            let mut left = usize::MAX;
            count_values(&value, 0, &mut left).unwrap();
            // `count_values` counts the value itself as well.
            let held = usize::MAX - left - 1;
            assert!(
                measure_json(value.to_string().as_bytes(), usize::MAX).0 >= held,
                "{value}"
            );
        }
    }
}

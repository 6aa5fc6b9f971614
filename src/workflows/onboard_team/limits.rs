//! Limits of a specification, completed by those that are there.

use portkey_operation::{InputError, JsonMap};
use serde_json::Value;

/// Parts by which limits of a list are told apart.
const KEYS: [&str; 2] = ["type", "unit"];
/// Parts that say when a count begins anew. Giving one replaces all of them.
const RESETS: [&str; 3] = [
    "periodic_reset",
    "periodic_reset_days",
    "next_usage_reset_at",
];
/// End of the names of parts that say which alerts were sent.
const SENT_ALERTS: &str = "_alerts_sent";
/// Type of a limit that does not say one.
const DEFAULT_TYPE: &str = "cost";

/// Fields of a resource with limits.
pub(super) const LIMIT_FIELDS: [&str; 2] = ["usage_limits", "rate_limits"];

/// Completes the limits that a specification wants for a field: parts that it does not name, and limits of other
/// types and units, stay as they are. An empty list removes all limits.
///
/// # Errors
/// Returns an error if a part that stays contradicts a wanted one.
pub(super) fn complete(field: &str, wanted: &Value, state: &Value) -> Result<Value, InputError> {
    let current = match state {
        Value::Array(limits) => limits.iter().filter_map(Value::as_object).collect(),
        Value::Object(limit) => vec![limit],
        _ => Vec::new(),
    };
    match wanted {
        Value::Array(limits) if !limits.is_empty() => {
            let mut all = Vec::new();
            for limit in limits {
                let same = |known: &&&JsonMap| {
                    limit.as_object().is_some_and(|limit| is_same(limit, known))
                };
                let known = current.iter().find(same);
                all.push(complete_one(field, limit, known.copied())?);
            }
            let is_left = |known: &&&JsonMap| {
                let wanted = limits.iter().filter_map(Value::as_object);
                known.values().any(is_limit)
                    && !wanted.into_iter().any(|limit| is_same(limit, known))
            };
            all.extend(
                current
                    .iter()
                    .filter(is_left)
                    .map(|known| without_computed(known)),
            );
            Ok(all.into())
        }
        // The limit of a key is an object.
        Value::Object(limit) => {
            let known = current.iter().find(|known| is_same(limit, known));
            complete_one(field, wanted, known.copied())
        }
        wanted => Ok(wanted.clone()),
    }
}

/// Returns true for limits of the same type and unit.
fn is_same(left: &JsonMap, right: &JsonMap) -> bool {
    let key = |limit: &JsonMap, name: &str| {
        let value = limit.get(name).and_then(Value::as_str);
        let default = if name == "type" { DEFAULT_TYPE } else { "" };
        value.unwrap_or(default).to_owned()
    };
    KEYS.iter().all(|name| key(left, name) == key(right, name))
}

/// Returns true for what makes an entry a limit: a number. Portkey returns entries that only say which alerts were
/// sent.
fn is_limit(value: &Value) -> bool {
    value.is_number()
}

/// Returns a stored limit as it is sent.
fn without_computed(limit: &JsonMap) -> Value {
    let mut limit = limit.clone();
    // Portkey returns an empty text for no reset.
    limit.retain(|name, value| !name.ends_with(SENT_ALERTS) && *value != "");
    Value::Object(limit)
}

/// Adds to a wanted limit what the stored one has and it does not name.
fn complete_one(field: &str, wanted: &Value, known: Option<&JsonMap>) -> Result<Value, InputError> {
    let (Some(limit), Some(known)) = (wanted.as_object(), known) else {
        return Ok(wanted.clone());
    };
    let gives_reset = RESETS.iter().any(|name| limit.contains_key(*name));
    let mut whole = limit.clone();
    if let Value::Object(known) = without_computed(known) {
        let kept = known
            .into_iter()
            .filter(|(name, _)| !(gives_reset && RESETS.contains(&name.as_str())));
        for (name, value) in kept {
            whole.entry(name).or_insert(value);
        }
    }
    let number = |name: &str| whole.get(name).and_then(Value::as_f64);
    let kept_alert = number("alert_threshold").filter(|_| !limit.contains_key("alert_threshold"));
    if let Some((alert, most)) = kept_alert.zip(number("credit_limit"))
        && alert >= most
    {
        let what = format!(
            "the stored `alert_threshold` of {alert} would be no lower than the `credit_limit` of {most}: give \
             `alert_threshold`, too"
        );
        return Err(InputError::new(field, what));
    }
    Ok(Value::Object(whole))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    struct Case {
        wanted: Value,
        state: Value,
        expected: Value,
    }

    #[test]
    fn parts_and_limits_that_are_not_named_stay() {
        let stored = json!([{ "type": "cost", "credit_limit": 500, "alert_threshold": 400, "periodic_reset": null,
            "periodic_reset_days": 30, "next_usage_reset_at": "2026-12-19T00:00:00.000Z" }]);
        let rates = json!([{ "type": "requests", "unit": "rpm", "value": 600 }]);
        for case in [
            Case {
                wanted: json!([{ "type": "cost", "credit_limit": 450 }]),
                state: stored.clone(),
                expected: json!([{ "type": "cost", "credit_limit": 450, "alert_threshold": 400,
                    "periodic_reset": null, "periodic_reset_days": 30,
                    "next_usage_reset_at": "2026-12-19T00:00:00.000Z" }]),
            },
            // Without a type a limit is one of costs.
            Case {
                wanted: json!([{ "credit_limit": 450, "periodic_reset": "monthly" }]),
                state: stored.clone(),
                expected: json!([{ "credit_limit": 450, "periodic_reset": "monthly", "type": "cost",
                    "alert_threshold": 400 }]),
            },
            Case {
                wanted: json!([{ "type": "tokens", "credit_limit": 1000 }]),
                state: stored.clone(),
                expected: json!([{ "type": "tokens", "credit_limit": 1000 }, stored[0]]),
            },
            Case {
                wanted: json!([{ "type": "requests", "unit": "rph", "value": 9 }]),
                state: rates.clone(),
                expected: json!([{ "type": "requests", "unit": "rph", "value": 9 },
                    { "type": "requests", "unit": "rpm", "value": 600 }]),
            },
            Case {
                wanted: json!([{ "type": "cost", "credit_limit": 5 }]),
                state: json!([{ "is_exhausted_alerts_sent": true }]),
                expected: json!([{ "type": "cost", "credit_limit": 5 }]),
            },
            Case {
                wanted: json!({ "credit_limit": 450 }),
                state: json!({ "type": "cost", "credit_limit": 500, "periodic_reset": "weekly" }),
                expected: json!({ "credit_limit": 450, "type": "cost", "periodic_reset": "weekly" }),
            },
            Case {
                wanted: json!([]),
                state: stored.clone(),
                expected: json!([]),
            },
            Case {
                wanted: json!([{ "type": "cost", "credit_limit": 5 }]),
                state: Value::Null,
                expected: json!([{ "type": "cost", "credit_limit": 5 }]),
            },
        ] {
            let completed = complete("usage_limits", &case.wanted, &case.state).unwrap();
            assert_eq!(completed, case.expected, "{} {}", case.wanted, case.state);
        }
        let lower = json!([{ "type": "cost", "credit_limit": 300 }]);
        assert!(complete("usage_limits", &lower, &stored).is_err());
    }
}

//! Validates config documents.
//!
//! Known fields must have the right type. Unknown fields are kept, because the gateway gains new
//! ones, but a document with unknown fields only is invalid.

use serde_json::Value;

use crate::{api_error::ApiError, store::Item};

/// Fields that name a destination. A target needs at least one of them.
const DESTINATIONS: &[&str] = &[
    "provider",
    "virtual_key",
    "virtual_model",
    "integration",
    "api_key",
    "override_params",
    "prompt_id",
    "config",
    "config_id",
    "custom_host",
    "passthrough",
    "targets",
];

/// Fields of which a config without a destination needs at least one.
const BEHAVIOURS: &[&str] = &[
    "strategy",
    "cache",
    "retry",
    "request_timeout",
    "default_params",
    "drop_params",
    "forward_headers",
    "input_guardrails",
    "output_guardrails",
    "before_request_hooks",
    "after_request_hooks",
];

/// Modes of a strategy. Portkey's documentation spells load balancing with and without a hyphen.
const MODES: &[&str] = &[
    "single",
    "loadbalance",
    "load-balance",
    "fallback",
    "conditional",
];

/// Modes of a cache.
const CACHES: &[&str] = &["simple", "semantic"];

const TEXTS: &[&str] = &[
    "provider",
    "virtual_key",
    "virtual_model",
    "api_key",
    "prompt_id",
    "custom_host",
    "name",
];
const NUMBERS: &[&str] = &["weight", "request_timeout"];
const OBJECTS: &[&str] = &["override_params", "default_params"];
const LISTS: &[&str] = &[
    "targets",
    "drop_params",
    "input_guardrails",
    "output_guardrails",
    "before_request_hooks",
    "after_request_hooks",
];

/// Fields, the check for their values, and the expected type for errors.
type TypeRule = (&'static [&'static str], fn(&Value) -> bool, &'static str);

/// Rejects a document that is not a config. An empty document is valid.
pub(super) fn check(document: &Item) -> Result<(), ApiError> {
    check_level(document, "config")?;
    let mut known = DESTINATIONS.iter().chain(BEHAVIOURS);
    match document.is_empty() || known.any(|name| document.contains_key(*name)) {
        true => Ok(()),
        false => Err(ApiError::invalid_field(
            "config",
            "has no field of a config, such as `strategy`, `targets`, `provider`, `cache` or `retry`",
        )),
    }
}

/// Checks a config or target and all nested targets. A target has the form of a config.
fn check_level(level: &Item, path: &str) -> Result<(), ApiError> {
    check_types(level, path)?;
    if let Some(strategy) = level.get("strategy") {
        check_strategy(strategy, &format!("{path}.strategy"))?;
        if !level.contains_key("targets") {
            return Err(ApiError::invalid_field(
                &format!("{path}.targets"),
                "is required with a strategy",
            ));
        }
    }
    check_retry_and_cache(level, path)?;
    let targets = level
        .get("targets")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    for (index, target) in targets.enumerate() {
        let path = format!("{path}.targets[{index}]");
        let target = target
            .as_object()
            .ok_or_else(|| ApiError::invalid_field(&path, "must be an object"))?;
        if !DESTINATIONS.iter().any(|name| target.contains_key(*name)) {
            let why = "names no destination: give `provider`, `virtual_key` or `override_params`";
            return Err(ApiError::invalid_field(&path, why));
        }
        check_level(target, &path)?;
    }
    Ok(())
}

fn check_types(level: &Item, path: &str) -> Result<(), ApiError> {
    let rules: [TypeRule; 4] = [
        (TEXTS, Value::is_string, "a text"),
        (NUMBERS, is_amount, "a number from 0 up"),
        (OBJECTS, Value::is_object, "an object"),
        (LISTS, Value::is_array, "a list"),
    ];
    for (name, value) in level {
        // Such a name results from a path-based edit that was sent as a document.
        if name.contains('[') || name.starts_with("targets.") || name.starts_with("strategy.") {
            return Err(ApiError::invalid_field(
                &format!("{path}.{name}"),
                "is a path, not a field",
            ));
        }
        let rule = rules
            .iter()
            .find(|(names, ..)| names.contains(&name.as_str()));
        if let Some((_, fits, expected)) = rule
            && !fits(value)
        {
            let why = format!("must be {expected}");
            return Err(ApiError::invalid_field(&format!("{path}.{name}"), why));
        }
    }
    Ok(())
}

fn check_strategy(strategy: &Value, path: &str) -> Result<(), ApiError> {
    let strategy = strategy
        .as_object()
        .ok_or_else(|| ApiError::invalid_field(path, "must be an object"))?;
    let mode = strategy
        .get("mode")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !MODES.contains(&mode) {
        let why = format!("must be one of `{}`", MODES.join("`, `"));
        return Err(ApiError::invalid_field(&format!("{path}.mode"), why));
    }
    check_statuses(strategy, path)?;
    if mode != "conditional" {
        return Ok(());
    }
    let conditions = strategy.get("conditions").and_then(Value::as_array);
    let are_whole = conditions.is_some_and(|conditions| {
        let is_whole =
            |condition: &Value| condition["query"].is_object() && condition["then"].is_string();
        !conditions.is_empty() && conditions.iter().all(is_whole)
    });
    match are_whole {
        true => Ok(()),
        false => {
            let why = "must be a list of `{query, then}`";
            Err(ApiError::invalid_field(&format!("{path}.conditions"), why))
        }
    }
}

fn check_retry_and_cache(level: &Item, path: &str) -> Result<(), ApiError> {
    if let Some(retry) = level.get("retry") {
        let path = format!("{path}.retry");
        let retry = retry
            .as_object()
            .ok_or_else(|| ApiError::invalid_field(&path, "must be an object"))?;
        if retry
            .get("attempts")
            .is_some_and(|attempts| !attempts.is_u64())
        {
            let why = "must be a whole number from 0 up";
            return Err(ApiError::invalid_field(&format!("{path}.attempts"), why));
        }
        check_statuses(retry, &path)?;
    }
    match level.get("cache") {
        None | Some(Value::Bool(_)) => Ok(()),
        Some(Value::Object(cache)) => {
            let mode = cache
                .get("mode")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if !CACHES.contains(&mode) {
                let why = format!("must be one of `{}`", CACHES.join("`, `"));
                return Err(ApiError::invalid_field(&format!("{path}.cache.mode"), why));
            }
            match cache
                .get("max_age")
                .is_none_or(|age| is_amount(age) || age.is_string())
            {
                true => Ok(()),
                false => Err(ApiError::invalid_field(
                    &format!("{path}.cache.max_age"),
                    "must be a number",
                )),
            }
        }
        Some(_) => Err(ApiError::invalid_field(
            &format!("{path}.cache"),
            "must be an object",
        )),
    }
}

fn check_statuses(item: &Item, path: &str) -> Result<(), ApiError> {
    let Some(statuses) = item.get("on_status_codes") else {
        return Ok(());
    };
    match statuses
        .as_array()
        .is_some_and(|statuses| statuses.iter().all(Value::is_u64))
    {
        true => Ok(()),
        false => Err(ApiError::invalid_field(
            &format!("{path}.on_status_codes"),
            "must be a list of statuses",
        )),
    }
}

fn is_amount(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number >= 0.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

    use serde_json::json;

    use super::*;

    fn problem(document: &Value) -> Option<String> {
        check(document.as_object().unwrap())
            .err()
            .map(|refusal| refusal.to_string())
    }

    #[test]
    fn config_with_known_fields_is_accepted() {
        for document in [
            json!({}),
            json!({ "cache": false }),
            json!({ "retry": { "count": 2 }, "budget": { "daily": 5 } }),
            json!({ "input_guardrails": [{ "deny": true, "partner.check": {} }] }),
            json!({ "targets": [{ "provider": "@a" }], "x": 1 }),
            json!({ "strategy": { "mode": "loadbalance" }, "targets": [] }),
            json!({ "strategy": { "mode": "single" }, "targets": [{ "prompt_id": "pp-a" }] }),
            json!({ "strategy": { "mode": "fallback", "on_status_codes": [429] }, "targets": [
                { "virtual_model": "m", "weight": 0 },
                { "strategy": { "mode": "load-balance" }, "targets": [
                    { "override_params": { "model": "@a/b" }, "weight": 0.5 }] }] }),
            json!({ "strategy": { "mode": "conditional", "default": "a", "conditions": [
                { "query": { "metadata.plan": { "$eq": "paid" } }, "then": "a" }] },
                "targets": [{ "name": "a", "provider": "@a" }] }),
        ] {
            assert_eq!(problem(&document), None, "{document}");
        }
    }

    #[test]
    fn invalid_config_is_rejected_with_its_path() {
        struct Case {
            document: Value,
            place: &'static str,
        }
        let mode = |mode: Value| json!({ "strategy": { "mode": mode }, "targets": [] });
        for Case { document, place } in [
            Case {
                document: json!({ "weight": 0.5 }),
                place: "`config` has no field",
            },
            Case {
                document: json!({ "foo": 1 }),
                place: "`config` has no field",
            },
            Case {
                document: json!({ "targets": [{ "weight": 0.5 }] }),
                place: "`config.targets[0]` names no destination",
            },
            Case {
                document: json!({ "targets": [{ "provider": "a", "targets": [{}] }] }),
                place: "`config.targets[0].targets[0]` names no destination",
            },
            Case {
                document: json!({ "targets[0].weight": 0.5 }),
                place: "`config.targets[0].weight` is a path",
            },
            Case {
                document: json!({ "cache": true, "strategy.mode": "single" }),
                place: "`config.strategy.mode` is a path",
            },
            Case {
                document: json!({ "targets": {} }),
                place: "`config.targets` must be a list",
            },
            Case {
                document: json!({ "targets": ["a"] }),
                place: "`config.targets[0]` must be",
            },
            Case {
                document: mode(json!("roundrobin")),
                place: "`config.strategy.mode` must be",
            },
            Case {
                document: mode(Value::Null),
                place: "`config.strategy.mode` must be",
            },
            Case {
                document: json!({ "strategy": { "mode": "single" } }),
                place: "`config.targets` is required",
            },
            Case {
                document: mode(json!("conditional")),
                place: "`config.strategy.conditions`",
            },
            Case {
                document: json!({ "retry": { "attempts": "3" } }),
                place: "`config.retry.attempts`",
            },
            Case {
                document: json!({ "retry": { "on_status_codes": "429" } }),
                place: "`config.retry.on_status_codes`",
            },
            Case {
                document: json!({ "cache": { "mode": "exact" } }),
                place: "`config.cache.mode`",
            },
            Case {
                document: json!({ "provider": 1 }),
                place: "`config.provider` must be a text",
            },
            Case {
                document: json!({ "targets": [{ "provider": "a", "weight": "1" }] }),
                place: "`config.targets[0].weight` must be a number",
            },
        ] {
            let problem = problem(&document).unwrap_or_default();
            assert!(problem.starts_with(place), "{document}: {problem}");
        }
    }
}

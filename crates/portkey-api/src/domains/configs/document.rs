//! Checks of a config document before it is sent: mistakes that would be stored and break live
//! traffic are errors, and fields that no gateway is known to read are warnings.
//!
//! The document is sent unchanged. The fields are
//! those of Portkey's config object (its documentation, `inference-api/config-object`) and of the
//! open-source gateway (`requestValidator/schema/config.ts`, `types/requestBody.ts`).

use portkey_operation::{Findings, JsonMap, did_you_mean, is_misspelling_of};
use serde_json::Value;

/// The maximum length up to which names are compared. No known name is as long.
const MAX_NAME_CHARS: usize = 64;

/// Fields of the root and of each target. The gateway reads them in camel case, too.
const KNOWN_FIELDS: &[&str] = &[
    "ad_auth",
    "after_request_hooks",
    "api_key",
    "api_version",
    "before_request_hooks",
    "cache",
    "cb_config",
    "custom_host",
    "default_input_guardrails",
    "default_output_guardrails",
    "default_params",
    "deployment_id",
    "deployments",
    "drop_params",
    "forward_headers",
    "foundation_model",
    "input_guardrails",
    "metadata",
    "mistral_fim_completion",
    "name",
    "on_status_codes",
    "output_guardrails",
    "override_params",
    "passthrough",
    "prompt_id",
    "provider",
    "request_timeout",
    "resource_name",
    "retry",
    "strategy",
    "strict_open_ai_compliance",
    "targets",
    "transform_to_form_data",
    "url_to_fetch",
    "virtual_key",
    "weight",
];

/// Prefixes of fields that belong to one provider, without case and separators.
const PROVIDER_PREFIXES: &[&str] = &[
    "amznsagemaker",
    "anthropic",
    "aws",
    "azure",
    "fireworks",
    "huggingface",
    "openai",
    "oracle",
    "snowflake",
    "stability",
    "vertex",
    "workersai",
];

/// Fields that lead nowhere by themselves, without case and separators. A target of these alone has
/// no destination. Any other field may name one, also a field that this version does not know.
const FIELDS_WITHOUT_DESTINATION: &[&str] = &[
    "afterrequesthooks",
    "beforerequesthooks",
    "cache",
    "cbconfig",
    "defaultinputguardrails",
    "defaultoutputguardrails",
    "defaultparams",
    "dropparams",
    "forwardheaders",
    "inputguardrails",
    "metadata",
    "name",
    "onstatuscodes",
    "outputguardrails",
    "requesttimeout",
    "retry",
    "strictopenaicompliance",
    "weight",
];

/// Modes of a strategy. Portkey's documents spell load balancing with and without a hyphen.
const MODES: &[&str] = &[
    "single",
    "loadbalance",
    "load-balance",
    "fallback",
    "conditional",
];

/// Fields that say where requests go, and cannot be empty.
const DESTINATION_FIELDS: &[&str] = &["provider", "virtual_key"];

/// Fields of the objects of a level that a wrong letter in a name leaves without effect.
const PART_FIELDS: &[(&str, &[&str])] = &[
    (
        "strategy",
        &["mode", "on_status_codes", "conditions", "default"],
    ),
    (
        "retry",
        &["attempts", "on_status_codes", "use_retry_after_headers"],
    ),
    ("cache", &["mode", "max_age"]),
];

/// Fields whose parts are sometimes written as a path in the name.
const NESTED_FIELDS: &[&str] = &["targets", "strategy", "retry", "cache", "override_params"];

/// Maximum depth of targets inside targets that is checked. No gateway reads deeper ones.
const MAX_TARGET_DEPTH: usize = 8;

/// Maximum number of targets that an error lists.
const MAX_LISTED_TARGETS: usize = 20;

/// Checks a document: rejects mistakes that break live traffic, and warns about fields that no
/// gateway is known to read.
pub(super) fn check_document(args: &JsonMap, findings: &mut Findings) {
    if let Some(Value::Object(document)) = args.get("config") {
        check_level(document, "config", false, MAX_TARGET_DEPTH, findings);
    }
}

/// Checks a config or a target, and the targets inside. `has_destination` is true if a level around
/// it names one.
fn check_level(
    fields: &JsonMap,
    at: &str,
    has_destination: bool,
    depth: usize,
    findings: &mut Findings,
) {
    check_strategy(fields, at, findings);
    check_branches(fields, at, findings);
    check_part_names(fields, at, findings);
    check_destination_values(fields, at, findings);
    check_unread_fields(fields, at, findings);
    let has_destination = has_destination
        || fields
            .keys()
            .any(|name| name != "strategy" && name != "targets" && names_destination(name));
    let targets = fields.get("targets").and_then(Value::as_array);
    if targets.is_some_and(Vec::is_empty) {
        // Public programs store such configs, and fill them later.
        findings.warn(format!(
            "`{at}.targets` is empty: requests with this config reach no provider"
        ));
    }
    for (i, target) in targets.into_iter().flatten().enumerate() {
        let at = format!("{at}.targets[{i}]");
        let Value::Object(target) = target else {
            continue;
        };
        if !has_destination && !target.keys().any(|name| names_destination(name)) {
            let message = "names no destination: give `provider` (`@slug` or a name), `virtual_key`, \
                           `override_params` with a `model` such as `@slug/model`, or nested `targets`. To \
                           change one field of a stored config, use `patch` with `update-config`";
            findings.add_error(&at, message);
        }
        if depth > 0 {
            check_level(target, &at, has_destination, depth - 1, findings);
        }
    }
}

/// Returns true if a field may say where requests go.
fn names_destination(name: &str) -> bool {
    let name: String = normalize(name).take(MAX_NAME_CHARS).collect();
    !FIELDS_WITHOUT_DESTINATION.contains(&name.as_str())
}

/// Rejects a mode that is a misspelling of a known one. Another mode may be new.
fn check_strategy(fields: &JsonMap, at: &str, findings: &mut Findings) {
    let mode = fields
        .get("strategy")
        .and_then(|strategy| strategy.get("mode"));
    let Some(mode) = mode.and_then(Value::as_str) else {
        return;
    };
    if MODES.contains(&mode) {
        return;
    }
    let place = format!("{at}.strategy.mode");
    let shown: String = mode.chars().take(MAX_NAME_CHARS).collect();
    let meant = MODES.iter().find(|known| is_misspelling_of(mode, known));
    match meant {
        Some(meant) => findings.add_error(
            place,
            format!("`{shown}` is no mode of a strategy; it is written `{meant}`"),
        ),
        None => {
            let known = MODES.join("`, `");
            let text = format!(
                "`{place}`: the mode `{shown}` is not known to this version and was passed on; known are `{known}`"
            );
            findings.warn_unknown_part(place, text);
        }
    }
}

/// Rejects a condition that leads to no target: the gateway would reject each request that meets it.
fn check_branches(fields: &JsonMap, at: &str, findings: &mut Findings) {
    let strategy = fields.get("strategy").and_then(Value::as_object);
    let targets = fields.get("targets").and_then(Value::as_array);
    let (Some(strategy), Some(targets)) = (strategy, targets) else {
        return;
    };
    let is_conditional = strategy
        .get("mode")
        .is_some_and(|mode| mode == "conditional");
    if !is_conditional {
        return;
    }
    let names = || {
        targets
            .iter()
            .filter_map(|target| target.get("name")?.as_str())
    };
    let conditions = strategy.get("conditions").and_then(Value::as_array);
    let branches = conditions
        .into_iter()
        .flatten()
        .enumerate()
        .filter_map(|(i, condition)| {
            Some((format!("conditions[{i}].then"), condition.get("then")?))
        });
    let default = strategy.get("default");
    let branches = branches.chain(default.map(|then| ("default".to_owned(), then)));
    for (place, then) in branches {
        let Some(then) = then.as_str() else { continue };
        if names().any(|name| name == then) || !findings.can_report_error() {
            continue;
        }
        let shown: String = then.chars().take(MAX_NAME_CHARS).collect();
        let known: Vec<_> = names()
            .take(MAX_LISTED_TARGETS)
            .map(|name| format!("`{name}`"))
            .collect();
        let message = match known.is_empty() {
            true => format!("`{shown}` is the `name` of no target: give the target a `name`"),
            false => format!(
                "`{shown}` is the `name` of no target; they are named {}{}",
                known.join(", "),
                did_you_mean(then, names().take(MAX_LISTED_TARGETS))
            ),
        };
        findings.add_error(format_args!("{at}.strategy.{place}"), message);
    }
}

/// Rejects misspelt names in the objects of a level. Other names may be new.
fn check_part_names(fields: &JsonMap, at: &str, findings: &mut Findings) {
    for (part, known) in PART_FIELDS {
        let Some(Value::Object(part_fields)) = fields.get(*part) else {
            continue;
        };
        for name in part_fields.keys() {
            if let Some(meant) = find_misspelt(name, known, part_fields, findings) {
                add_misspelling(&format!("{at}.{part}"), name, meant, findings);
            }
        }
    }
}

/// Rejects a destination that is empty. A level around it may have another one, which the gateway would
/// not use.
fn check_destination_values(fields: &JsonMap, at: &str, findings: &mut Findings) {
    for name in DESTINATION_FIELDS {
        let text = fields.get(*name).and_then(Value::as_str);
        if text.is_some_and(|text| text.trim().is_empty()) {
            let message =
                "is empty: give the slug of a provider, such as `@openai`, or leave it out";
            findings.add_error(format_args!("{at}.{name}"), message);
        }
    }
}

/// Returns the known name that an unknown one is a misspelling of, unless that one is there as well.
fn find_misspelt(
    name: &str,
    known: &[&'static str],
    fields: &JsonMap,
    findings: &mut Findings,
) -> Option<&'static str> {
    // Numbers and other signs are no typing errors in a word: such names are labels, or name something else.
    let is_word = name
        .bytes()
        .all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    // The gateway reads camel case, too.
    let is_spelling = |known: &&str| normalize(known).eq(normalize(name));
    if !is_word
        || name.len() > MAX_NAME_CHARS
        || known.iter().any(is_spelling)
        || !findings.reserve_comparison()
    {
        return None;
    }
    let meant = known.iter().find(|known| is_misspelling_of(name, known))?;
    let is_given = fields
        .keys()
        .any(|other| normalize(other).eq(normalize(meant)));
    (!is_given).then_some(*meant)
}

fn add_misspelling(at: &str, name: &str, meant: &str, findings: &mut Findings) {
    let message = format!("is not read by the gateway; it is written `{meant}`");
    findings.add_error(format_args!("{at}.{name}"), message);
}

/// Returns true if a name is a path to a part of a document, such as `targets[0].weight`.
fn is_path(name: &str) -> bool {
    let first = name.split(['.', '[', '/']).find(|part| !part.is_empty());
    let has_steps = name.contains(['[', '.', '/']);
    has_steps && first.is_some_and(|first| NESTED_FIELDS.contains(&first))
}

/// Rejects paths and misspelt names, and warns about other names that no gateway is known to read.
fn check_unread_fields(fields: &JsonMap, at: &str, findings: &mut Findings) {
    for name in fields.keys().filter(|name| !is_known(name)) {
        if is_path(name) {
            let shown: String = name.chars().take(60).collect();
            let pointer = shown.replace(['.', '['], "/").replace(']', "");
            let message = format!(
                "is a path, not a field, and the document would replace the whole config. Nest objects \
                 instead, or use `patch` with `update-config`: [{{\"op\": \"replace\", \"path\": \
                 \"/config/{}\", \"value\": …}}]",
                pointer.trim_start_matches('/')
            );
            findings.add_error(format_args!("{at}.{shown}"), message);
            continue;
        }
        if let Some(meant) = find_misspelt(name, KNOWN_FIELDS, fields, findings) {
            add_misspelling(at, name, meant, findings);
            continue;
        }
        let shown: String = name.chars().take(60).collect();
        let place = format_args!("{at}.{shown}");
        let text = format_args!(
            "`{place}` is not known to be read by the gateway: it is stored and has no effect"
        );
        findings.warn_unknown_part(place, text);
    }
}

fn is_known(name: &str) -> bool {
    // A longer name equals no known one. It can only have one of the prefixes.
    let name: String = normalize(name).take(MAX_NAME_CHARS).collect();
    KNOWN_FIELDS
        .iter()
        .any(|read| normalize(read).eq(name.chars()))
        || PROVIDER_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

fn normalize(name: &str) -> impl Iterator<Item = char> {
    name.chars()
        .filter(|c| !matches!(c, '_' | '-'))
        .flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn known_config_fields_are_recognized_in_both_spellings() {
        for name in [
            "strategy",
            "override_params",
            "overrideParams",
            "aws_region",
            "awsRegion",
        ] {
            assert!(is_known(name), "{name}");
        }
        for name in [
            "budget",
            "rate_limiting",
            "hooks",
            "virtual_model",
            "fallback",
        ] {
            assert!(!is_known(name), "{name}");
        }
    }

    fn check(document: serde_json::Value) -> Vec<String> {
        let mut findings = Findings::default();
        let mut args = JsonMap::new();
        args.insert("config".to_owned(), document);
        check_document(&args, &mut findings);
        findings.errors().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn documents_that_break_traffic_are_rejected() {
        for (document, expected) in [
            (
                json!({ "targets": [{ "weight": 0.5 }] }),
                "names no destination",
            ),
            (
                json!({ "targets": [{ "provider": "@a" }, {}] }),
                "config.targets[1]",
            ),
            (
                json!({ "targets[0].weight": 0.5 }),
                "/config/targets/0/weight",
            ),
            (json!({ "strategy.mode": "single" }), "is a path"),
            (
                json!({ "strategy": { "mode": "load_balance" } }),
                "`loadbalance`",
            ),
            (json!({ "strategy": { "mode": "fallbck" } }), "`fallback`"),
            (
                json!({ "targets": [{ "targets": [{ "weight": 1 }] }] }),
                "config.targets[0].targets[0]",
            ),
            (
                json!({ "provdier": "openai" }),
                "`config.provdier`: is not read by the gateway; it is written `provider`",
            ),
            (
                json!({ "targets": [{ "provider": "a", "wieght": 1 }] }),
                "`config.targets[0].wieght`: is not read by the gateway; it is written `weight`",
            ),
            (
                json!({ "retry": { "attempt": 3 } }),
                "`config.retry.attempt`: is not read by the gateway; it is written `attempts`",
            ),
            (
                json!({ "cache": { "mod": "simple" } }),
                "it is written `mode`",
            ),
            (json!({ "provider": "" }), "`config.provider`: is empty"),
            (
                json!({ "targets": [{ "virtual_key": " " }] }),
                "`config.targets[0].virtual_key`: is empty",
            ),
            (
                json!({ "strategy": { "mode": "conditional", "default": "paid", "conditions": [
                    { "query": { "metadata.plan": "paid" }, "then": "payed" }] },
                    "targets": [{ "name": "paid", "provider": "@a" }] }),
                "`config.strategy.conditions[0].then`: `payed` is the `name` of no target; they are \
                 named `paid`, did you mean `paid`?",
            ),
            (
                json!({ "strategy": { "mode": "conditional", "default": "b" },
                    "targets": [{ "provider": "@a" }] }),
                "`config.strategy.default`: `b` is the `name` of no target: give the target a `name`",
            ),
        ] {
            let errors = check(document.clone());
            assert!(
                errors.iter().any(|error| error.contains(expected)),
                "{document}: {errors:?}"
            );
        }
    }

    #[test]
    fn documents_that_may_be_right_pass() {
        for document in [
            json!({}),
            json!({ "retry": { "attempts": 3 } }),
            json!({ "strategy": { "mode": "bandit" }, "targets": [{ "provider": "a" }] }),
            json!({ "targets": [{ "virtual_model": "m", "weight": 1 }] }),
            json!({ "targets": [{ "name": "t", "override_params": { "model": "@a/b" } }] }),
            json!({ "override_params": { "model": "@a/b" }, "targets": [{ "weight": 1 }] }),
            json!({ "targets": [{ "new_kind_of_destination": "x" }] }),
            json!({ "custom_host": "https://a.b/c", "provider": "openai", "a.b": 1 }),
            // A public program stores it, and fills it later.
            json!({ "strategy": { "mode": "loadbalance" }, "targets": [] }),
            json!({ "strategy": { "mode": "loadbalance", "sticky": { "enabled": true } } }),
            json!({ "retry": { "onStatusCodes": [429], "backoff": 2 }, "cache": { "maxAge": 1 } }),
            json!({ "provider": "a", "api_key_2": "x", "api.key": "x", "providers[0]": "b" }),
            // The known name is there as well, so that this is another one.
            json!({ "provider": "a", "providers": ["b"] }),
            json!({ "strategy": { "mode": "conditional", "default": "a", "conditions": [
                { "query": {}, "then": "a" }] }, "targets": [{ "name": "a", "provider": "@a" }] }),
        ] {
            assert_eq!(check(document.clone()), Vec::<String>::new(), "{document}");
        }
    }

    #[test]
    fn aliases_stand_for_known_fields() {
        for alias in super::super::DOCUMENT_ALIASES {
            let mut names = alias.target().split('.');
            assert_eq!(names.next(), Some("config"), "{}", alias.name());
            let field = names.next().unwrap();
            assert!(KNOWN_FIELDS.contains(&field), "{field}");
        }
    }
}

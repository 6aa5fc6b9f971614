//! Checks of a config document before it is sent: mistakes that would be stored and break live
//! traffic are errors, and fields that no gateway is known to read are warnings.
//!
//! The document is sent unchanged. The fields are
//! those of Portkey's config object (its documentation, `inference-api/config-object`) and of the
//! open-source gateway (`requestValidator/schema/config.ts`, `types/requestBody.ts`).

use portkey_operation::{Findings, JsonMap, is_misspelling_of};
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

/// Fields whose parts are sometimes written as a path in the name.
const NESTED_FIELDS: &[&str] = &["targets", "strategy", "retry", "cache", "override_params"];

/// Maximum depth of targets inside targets that is checked. No gateway reads deeper ones.
const MAX_TARGET_DEPTH: usize = 8;

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
    warn_unread_fields(fields, at, findings);
    let has_destination = has_destination
        || fields
            .keys()
            .any(|name| name != "strategy" && name != "targets" && names_destination(name));
    let targets = fields.get("targets").and_then(Value::as_array);
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

/// Returns true if a name is a path to a part of a document, such as `targets[0].weight`.
fn is_path(name: &str) -> bool {
    let first = name.split(['.', '[', '/']).find(|part| !part.is_empty());
    let has_steps = name.contains(['[', '.', '/']);
    has_steps && first.is_some_and(|first| NESTED_FIELDS.contains(&first))
}

fn warn_unread_fields(fields: &JsonMap, at: &str, findings: &mut Findings) {
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

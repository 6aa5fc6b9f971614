//! Fields of a config document that a gateway is known to read.
//!
//! The document is sent unchanged, with a warning about fields that nothing reads. The fields are
//! those of Portkey's config object (its documentation, `inference-api/config-object`) and of the
//! open-source gateway (`requestValidator/schema/config.ts`, `types/requestBody.ts`).

use portkey_operation::{Findings, JsonMap};
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

/// Warns about fields of a new document that no gateway is known to read.
pub(super) fn warn_unread_document_fields(args: &JsonMap, findings: &mut Findings) {
    if let Some(Value::Object(document)) = args.get("config") {
        warn_unread_fields(document, "config", findings);
    }
}

fn warn_unread_fields(fields: &JsonMap, at: &str, findings: &mut Findings) {
    for name in fields.keys().filter(|name| !is_known(name)) {
        let shown: String = name.chars().take(60).collect();
        let place = format_args!("{at}.{shown}");
        let text = format_args!(
            "`{place}` is not known to be read by the gateway: it is stored and has no effect"
        );
        findings.warn_unknown_part(place, text);
    }
    let targets = fields.get("targets").and_then(Value::as_array);
    for (i, target) in targets.into_iter().flatten().enumerate() {
        if let Value::Object(target) = target {
            warn_unread_fields(target, &format!("{at}.targets[{i}]"), findings);
        }
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

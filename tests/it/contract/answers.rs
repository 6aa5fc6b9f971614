//! Comparison of the sandbox's responses with the recorded shapes of the API's responses.
//!
//! A shape is JSON with words for types: `uuid`, `datetime|null`, `active|archived`. Some records
//! also have the shape of a response seen live, which takes precedence.

use std::{cell::Cell, collections::BTreeSet};

use portkey_api::domains::DOMAINS;
use serde_json::Value;

/// Intended differences between the sandbox and the records: the tool, or the domain for any of its
/// tools, and the start of the difference.
const EXCEPTIONS: &[(&str, &str)] = &[
    // The OpenAPI document says "integer" of averages, shares and money, which has fractions of a
    // cent (docs/portkey-api-notes.md#types-and-units).
    ("analytics-graphs", ".summary.avg is not integer"),
    ("analytics-graphs", ".summary.rate is not integer"),
    ("analytics-graphs", ".summary.total is not integer"),
    ("analytics-graphs", ".data_points[].avg is not integer"),
    (
        "analytics-graphs",
        ".data_points[].avg_weighted_feedback is not integer",
    ),
    ("analytics-graphs", ".data_points[].rate is not integer"),
    ("get-cost-graph", ".data_points[].total is not integer"),
    ("get-cache-hit-rate-graph", ".data_points[].cumulative_"),
    (
        "get-metadata-grouped-data",
        ".data[].avg_weighted_feedback is not integer",
    ),
    ("get-metadata-grouped-data", ".data[].cost is not integer"),
    // A unit that the documents have and the record lacks.
    ("create-workspace", ".rate_limits[].unit is not"),
    // A guardrail policy or a list of denied tools is present only if it was set
    // (docs/portkey-api-notes.md#enkrypt-ai-merge-rules).
    ("get-mcp-gateway", ".servers_config.common_overrides."),
    ("get-mcp-gateway", ".servers_config.servers[].input_"),
    ("get-mcp-gateway", ".servers_config.servers[].output_"),
    (
        "modify-mcp-gateway",
        ".data.servers_config.common_overrides.",
    ),
    (
        "modify-mcp-gateway",
        ".data.servers_config.servers[].input_",
    ),
    (
        "modify-mcp-gateway",
        ".data.servers_config.servers[].output_",
    ),
    (
        "get-mcp-registry-server",
        ".mcp_config.denied_tools is missing",
    ),
    ("get-mcp-registry-server", ".mcp_config.input_"),
    // A live observation that the document lacks.
    ("get-ai-models-grouped-data", ".data[].cost is not recorded"),
    // The API sends 0 and 1 for booleans (docs/portkey-api-notes.md#types-and-units).
    ("get-prompt-version", ".is_raw_template is not boolean"),
    // Envelopes differ between lists (docs/portkey-api-notes.md#envelopes).
    (
        "list-integration-workspaces",
        ".global_workspace_access is not recorded",
    ),
    ("list-mcp-integrations", ".object is not recorded"),
    (
        "list-mcp-server-user-access",
        ".data[].object is not recorded",
    ),
    // The Terraform provider and the SDKs read these fields at the top level.
    ("create-config", ".id is not recorded"),
    ("create-config", ".slug is not recorded"),
    ("create-config", ".version_id is not recorded"),
    ("create-config", ".data.slug is not recorded"),
    ("update-config", ".id is not recorded"),
    ("update-config", ".slug is not recorded"),
    ("update-config", ".version_id is not recorded"),
    // The Terraform provider decodes numbers for booleans, and its state needs these fields.
    ("get-collection", ".is_default is not boolean"),
    ("list-collections", ".data[].is_default is not boolean"),
    ("list-prompt-partial-versions", "[].version is not string"),
    ("get-guardrail", ".version_id is not recorded"),
    ("get-integration", ".type is not recorded"),
    ("get-integration", ".workspace_id is not recorded"),
    ("get-provider", ".id is not recorded"),
    ("list-all-providers", ".data[].id is not recorded"),
    (
        "list-integration-models",
        ".allow_all_models is not recorded",
    ),
    // Seen live: a key has only the fields that were set, and the status of a workspace is in
    // lists.
    ("get-api-key", ".defaults.allow_config_override is missing"),
    ("get-workspace", ".status is not recorded"),
    // Fields from Portkey's documents on policies.
    ("get-rate-limits-policy", ".description is not recorded"),
    ("get-usage-limits-policy", ".description is not recorded"),
    (
        "list-rate-limits-policies",
        ".data[].description is not recorded",
    ),
    (
        "list-usage-limits-policies",
        ".data[].description is not recorded",
    ),
    // Portkey's document lacks the arguments that ask for these fields.
    ("list-all-configs", ".data[].last_used_at is not recorded"),
    (
        "list-all-virtual-keys",
        ".data[].last_used_at is not recorded",
    ),
    ("get-api-key", ".usage is not recorded"),
    ("get-workspace", ".usage is not recorded"),
    // An update of the name alone makes no version (docs/portkey-api-notes.md#updates).
    ("update-prompt", ".id is missing"),
    ("update-prompt", ".prompt_version_id is missing"),
    ("update-prompt", ".slug is missing"),
    (
        "update-prompt-partial",
        ".prompt_partial_version_id is missing",
    ),
    // The API omits `is_enabled` if it is true, and a name that was not given
    // (docs/portkey-api-notes.md#types-and-units).
    ("get-guardrail", ".checks[].is_enabled is missing"),
    ("get-guardrail", ".checks[].name is missing"),
    // The API sends no id, and the role with a prefix (docs/portkey-api-notes.md#types-and-units).
    ("get-workspace-member", ".id is missing"),
    ("get-workspace-member", ".role is not admin|member|manager"),
    // Fields that can be written can be read, although no recorded response has them.
    ("get-api-key", ".rotation_policy is not recorded"),
    (
        "list-all-api-keys",
        ".data[].rotation_policy is not recorded",
    ),
    (
        "list-all-api-keys",
        ".data[].defaults.allow_config_override is not recorded",
    ),
    ("get-guardrail", ".target is not recorded"),
    ("get-integration", ".tags is not recorded"),
    ("get-provider", ".tags is not recorded"),
    ("list-all-providers", ".data[].tags is not recorded"),
    (
        "list-integration-models",
        ".models[].configurations is not recorded",
    ),
    // Present only with `include_configurations` and with `rotate_auth`
    // (docs/portkey-api-notes.md#masked-by-the-api and #returned-once).
    ("get-provider", ".configurations is not recorded"),
    ("update-deployment", ".credentials is not recorded"),
    // Present only with `include_usage`.
    ("get-usage-limits-policy", ".value_key_usage_map is missing"),
    // Filters, prices and defaults that were never set.
    ("get-log-export", ".filters."),
    ("list-all-log-exports", ".data[].filters."),
    ("get-model-pricing", ".finetune_config is missing"),
    ("get-model-pricing", ".pay_as_you_go."),
    ("create-workspace", ".defaults."),
    ("get-workspace", ".defaults."),
    ("list-all-workspaces", ".data[].defaults."),
    // Recorded for the price list of a model, and also used in the price lists of providers.
    (
        "list-provider-pricing",
        ".*.pricing_config.calculate is not recorded",
    ),
    // The document omits fields that the same resource has elsewhere: a workspace where it is read,
    // a version where its prompt is read, and the `object` of an item.
    ("create-workspace", ".icon is not recorded"),
    ("create-workspace", ".is_default is not recorded"),
    ("create-workspace", ".object is not recorded"),
    ("create-workspace", ".scim_source_id is not recorded"),
    ("create-workspace", ".security_settings is not recorded"),
    ("create-workspace", ".status is not recorded"),
    ("get-prompt-version", ".access_level is not recorded"),
    (
        "get-prompt-version",
        ".allow_all_workspaces is not recorded",
    ),
    ("get-prompt-version", ".forked_from_prompt"),
    ("get-prompt-version", ".object is not recorded"),
    (
        "get-prompt-version",
        ".prompt_owning_workspace_id is not recorded",
    ),
    ("get-prompt-version", ".prompt_version_label"),
    ("get-prompt-version", ".share"),
    ("get-prompt-version", ".variable_components is not recorded"),
    ("get-prompt-partial", ".object is not recorded"),
    (
        "list-rate-limits-policies",
        ".data[].object is not recorded",
    ),
    (
        "list-usage-limits-policies",
        ".data[].object is not recorded",
    ),
];

/// The exceptions, with a mark on each that was needed.
pub(super) struct Exceptions([Cell<bool>; EXCEPTIONS.len()]);

impl Exceptions {
    /// Starts with no exception marked.
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| Cell::new(false)))
    }

    /// Checks if an exception covers this difference, and marks it.
    pub(super) fn covers(&self, domain: &str, tool: &str, fault: &str) -> bool {
        let fits = |(scope, begin): &(&str, &str)| {
            [domain, tool].contains(scope) && fault.starts_with(begin)
        };
        let found = EXCEPTIONS.iter().position(fits);
        found.inspect(|i| self.0[*i].set(true)).is_some()
    }

    /// Lists the exceptions of the compared tools and domains that were not needed.
    pub(super) fn unused(&self, compared: &[&str]) -> Vec<String> {
        let stale = EXCEPTIONS
            .iter()
            .zip(&self.0)
            .filter(|((scope, _), needed)| compared.contains(scope) && !needed.get());
        stale
            .map(|((scope, begin), _)| {
                format!(
                    "{scope} answer: {begin} is as recorded; remove the row from EXCEPTIONS in \
                     tests/it/contract/answers.rs"
                )
            })
            .collect()
    }
}

/// Returns the items of a list response, or the response itself.
pub(super) fn rows(answer: &Value) -> Vec<&Value> {
    let envelopes = [
        "data",
        "models",
        "workspaces",
        "mappings",
        "records",
        "groups",
        "servers",
    ];
    let inner = envelopes
        .iter()
        .find_map(|name| answer.get(name))
        .unwrap_or(answer);
    inner
        .as_array()
        .map_or_else(|| vec![inner], |list| list.iter().collect())
}

/// A comparison of a response with its record.
#[derive(Default)]
pub(super) struct AnswerComparison {
    pub(super) differences: BTreeSet<String>,
    /// Paths of values about which the record says nothing.
    pub(super) uncompared: BTreeSet<String>,
}

/// Compares a response with its record.
pub(super) fn compare_with_record(record: &Value, answer: &Value) -> AnswerComparison {
    let mut shape = &record["response"];
    let mut answer = answer;
    // A bare list of the document arrives in an envelope (docs/portkey-api-notes.md#envelopes).
    if shape.is_array() && answer["data"].is_array() {
        answer = &answer["data"];
    }
    let live = record.get("response_live");
    if let Some(live) = live.filter(|_| shape.is_null()) {
        shape = live;
    }
    let mut found = AnswerComparison::default();
    compare(shape, live, answer, "", &mut found);
    found
}

fn compare(
    shape: &Value,
    live: Option<&Value>,
    answer: &Value,
    at: &str,
    found: &mut AnswerComparison,
) {
    // `null` stands for any field that is not set.
    if answer.is_null() && !at.is_empty() {
        return;
    }
    let shape = best_alternative(shape, answer);
    match (shape, answer) {
        (Value::Object(fields), Value::Object(given)) => {
            let live = live.and_then(Value::as_object);
            // Fields that were seen live are required. The other fields of the document are
            // optional.
            for (name, inner) in live.unwrap_or(fields) {
                let optional = is_wildcard(name)
                    || name.ends_with('?')
                    || inner.as_str().is_some_and(|i| i.ends_with('?'));
                if !optional && !given.contains_key(name) {
                    found.differences.insert(format!("{at}.{name} is missing"));
                }
            }
            let any = fields
                .iter()
                .find(|(name, _)| name.starts_with('<'))
                .map(|(_, shape)| shape);
            for (name, value) in given {
                let at = match fields.keys().any(|name| name.starts_with('<')) {
                    true => format!("{at}.*"),
                    false => format!("{at}.{name}"),
                };
                if fields.contains_key("...") && !fields.contains_key(name) {
                    found.uncompared.insert(at);
                    continue;
                }
                let documented = fields
                    .get(name)
                    .or_else(|| fields.get(&format!("{name}?")))
                    .or(any);
                let seen = live.and_then(|live| live.get(name));
                match (documented, seen) {
                    (Some(documented), seen) => compare(documented, seen, value, &at, found),
                    (None, Some(seen)) => compare(seen, Some(seen), value, &at, found),
                    (None, None) if fields.is_empty() => _ = found.uncompared.insert(at),
                    (None, None) => {
                        found.differences.insert(format!("{at} is not recorded"));
                    }
                }
            }
        }
        (Value::Array(items), Value::Array(given)) => {
            for value in given {
                let live = live.and_then(|live| live.get(0));
                let item = items.first().or(live).unwrap_or(&Value::Null);
                compare(item, live, value, &format!("{at}[]"), found);
            }
        }
        (Value::String(words), answer) => {
            let seen = live.and_then(Value::as_str).unwrap_or_default();
            if words == "null" {
                found.uncompared.insert(at.to_owned());
            }
            // A live value of `null` says nothing about the type.
            let fits = words == "null"
                || words
                    .split('|')
                    .chain([seen])
                    .any(|word| matches_type(word, answer));
            if !fits {
                found
                    .differences
                    .insert(format!("{at} is not {words}: {answer}"));
            }
        }
        (Value::Null, _) => _ = found.uncompared.insert(at.to_owned()),
        (shape, answer) => {
            found
                .differences
                .insert(format!("{at} is not {shape}: {answer}"));
        }
    }
}

/// Returns the alternative of `{oneOf: […]}` that shares the most fields with the response.
fn best_alternative<'a>(shape: &'a Value, answer: &Value) -> &'a Value {
    let Some(shapes) = shape["oneOf"].as_array() else {
        return shape;
    };
    let shared = |shape: &&Value| {
        let fields = answer.as_object().into_iter().flatten();
        fields
            .filter(|(name, _)| shape.get(name.as_str()).is_some())
            .count()
    };
    shapes.iter().max_by_key(shared).unwrap_or(shape)
}

/// Checks if a field name is a wildcard: `<key>` or `...`.
fn is_wildcard(name: &str) -> bool {
    name.starts_with('<') || name == "..."
}

/// Checks if a value has the type that the word names, or equals the word.
fn matches_type(word: &str, value: &Value) -> bool {
    match word.split([' ', '?']).next().unwrap_or_default() {
        "string" | "json" => value.is_string(),
        "uuid" => value
            .as_str()
            .is_some_and(|text| text.split('-').map(str::len).eq([8, 4, 4, 4, 12])),
        "datetime" => value
            .as_str()
            .is_some_and(|text| text.len() >= 20 && text.contains('T')),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        "" | "<recursive>" => !word.is_empty(),
        literal => value == literal || value.as_i64().is_some_and(|n| n.to_string() == literal),
    }
}

#[test]
fn exceptions_name_tools_and_domains_that_exist() {
    for (scope, begin) in EXCEPTIONS {
        let exists = DOMAINS.iter().any(|domain| {
            domain.name == *scope || domain.operations.iter().any(|tool| tool.name() == *scope)
        });
        assert!(exists, "{scope}, {begin}");
    }
}

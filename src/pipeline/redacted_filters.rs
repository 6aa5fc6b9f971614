//! Rejects filters by fields that a policy redacts: how many items match such a filter, and which, tells
//! the value that is hidden.
//!
//! A read is compared with the redactions of its own answers. Exports and analytics of logs are compared
//! with those of log answers as well. The conditions of the rules are not evaluated, because the call that
//! would be redacted is another one, or comes later.

use portkey_api::catalog::CatalogEntry;
use portkey_operation::{Effect, InputError, JsonMap, is_same_name};
use portkey_policy::Policy;
use serde_json::Value;

use super::Dispatcher;

/// Operations whose answers are logs.
pub const LOG_READS: [&str; 2] = ["get-log", "download-log-export"];

/// Operations that select logs by the filters in their argument `filters`.
const EXPORT_WRITES: [&str; 2] = ["create-log-export", "update-log-export"];

/// Beginning of the names of domains whose operations select logs by their arguments.
const ANALYTICS_PREFIX: &str = "analytics-";

/// Endings of a pair of arguments that bound a field.
const BOUND_ENDINGS: [&str; 2] = ["_min", "_max"];

/// Arguments that say where something is, or when. A policy that redacts these fields would close every
/// call.
const SCOPES: &[&str] = &[
    "workspace_id",
    "workspace_slug",
    "organisation_id",
    "time_of_generation",
    "start_time",
    "end_time",
];

/// Arguments that look for a text, and the fields in which it may be looked for.
const SEARCHES: &[&str] = &["search", "query", "q"];
const SEARCHED_FIELDS: &[&str] = &[
    "name",
    "slug",
    "title",
    "display_name",
    "description",
    "email",
    "value",
    "id",
];

/// Fields by which a filter selects, where its name does not say so.
struct FilteredFields {
    argument: &'static str,
    fields: &'static [&'static str],
}

const FILTERED_FIELDS: &[FilteredFields] = &[
    FilteredFields {
        argument: "status_code",
        fields: &["response_status_code", "is_success"],
    },
    FilteredFields {
        argument: "prompt_token",
        fields: &["req_units", "prompt_tokens"],
    },
    FilteredFields {
        argument: "completion_token",
        fields: &["res_units", "completion_tokens"],
    },
    FilteredFields {
        argument: "ai_org_model",
        fields: &["ai_org", "ai_provider", "ai_model"],
    },
    FilteredFields {
        argument: "weighted_feedback",
        fields: &["feedback", "feedbacks"],
    },
    FilteredFields {
        argument: "api_key_ids",
        fields: &["api_key"],
    },
];

impl Dispatcher {
    /// Checks that no argument selects by a field that a policy redacts.
    ///
    /// # Errors
    /// Returns an error that names the argument, the field and the rule.
    pub(super) fn reject_redacted_filters(
        &self,
        entry: &CatalogEntry,
        args: &JsonMap,
        policies: &[&Policy],
    ) -> Result<(), InputError> {
        if policies.is_empty() {
            return Ok(());
        }
        let operation = entry.operation;
        if EXPORT_WRITES.contains(&operation.name()) {
            return match args.get("filters").and_then(Value::as_object) {
                Some(filters) => self.check_filters(&LOG_READS, "filters.", filters, policies),
                None => Ok(()),
            };
        }
        if operation.effect() != Effect::Read {
            return Ok(());
        }
        let reads_logs = entry.domain.name.starts_with(ANALYTICS_PREFIX);
        if reads_logs {
            self.check_filters(&LOG_READS, "", args, policies)?;
        }
        let placeholders: Vec<&str> = operation.placeholders().collect();
        let filters = args
            .iter()
            .filter(|(name, _)| !placeholders.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()));
        // Most reads are redacted by nothing, which is found out first.
        match policies.iter().any(|policy| policy.can_redact(operation)) {
            true => self.check_filters(&[operation.name()], "", &filters.collect(), policies),
            false => Ok(()),
        }
    }

    fn check_filters(
        &self,
        redacted: &[&'static str],
        at: &str,
        filters: &JsonMap,
        policies: &[&Policy],
    ) -> Result<(), InputError> {
        for name in redacted {
            let Ok(entry) = self.catalog().find(name) else {
                continue;
            };
            let paths = policies
                .iter()
                .flat_map(|policy| policy.redaction_paths(entry.operation));
            for (rule, path) in paths {
                let is_closed = |(argument, value): &(&String, &Value)| {
                    !value.is_null() && selects_by(argument, |field| path.hides_field(field))
                };
                if let Some((argument, _)) = filters.iter().find(is_closed) {
                    let what = format!(
                        "selects by a field that {rule} redacts in answers of `{name}`, and what matches would \
                         tell it. Leave the filter out, or ask the operator of this server"
                    );
                    return Err(InputError::new(format!("{at}{argument}"), what));
                }
            }
        }
        Ok(())
    }
}

/// Returns true if an argument selects by a field that is hidden.
fn selects_by(argument: &str, is_hidden: impl Fn(&str) -> bool) -> bool {
    let base = BOUND_ENDINGS
        .iter()
        .find_map(|ending| argument.strip_suffix(ending))
        .unwrap_or(argument);
    if SCOPES.iter().any(|scope| is_same_name(scope, base)) {
        return false;
    }
    if SEARCHES.contains(&base) {
        return SEARCHED_FIELDS.iter().any(|field| is_hidden(field));
    }
    let known = FILTERED_FIELDS
        .iter()
        .filter(|known| known.argument == base);
    let mut fields = known.flat_map(|known| known.fields);
    is_hidden(base)
        || base.strip_suffix('s').is_some_and(&is_hidden)
        || fields.any(|field| is_hidden(field))
}

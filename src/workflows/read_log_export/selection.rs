//! Which logs are exported, and which rows of the file are returned.

use jiff::Timestamp;
use portkey_operation::{InputError, JsonMap};
use serde_json::Value;

use crate::{
    pipeline::{RowCondition, RowQuery, RowTest},
    workflows::{Steps, report_costs::requested_range, text},
};

/// Filters of an export by time.
pub(super) const PERIOD_START: &str = "time_of_generation_min";
pub(super) const PERIOD_END: &str = "time_of_generation_max";
/// Default period.
const DEFAULT_PERIOD: &str = "24h";
/// Default number of rows.
const DEFAULT_ROWS: u64 = 20;
/// Fields of a log that can be exported.
const EXPORT_FIELDS: [&str; 20] = [
    "id",
    "trace_id",
    "created_at",
    "request",
    "response",
    "is_success",
    "ai_org",
    "ai_model",
    "req_units",
    "res_units",
    "total_units",
    "request_url",
    "cost",
    "cost_currency",
    "response_time",
    "response_status_code",
    "mode",
    "config",
    "prompt_slug",
    "metadata",
];
/// Fields that are exported in any case.
const BASE_FIELDS: [&str; 6] = [
    "id",
    "created_at",
    "ai_model",
    "cost",
    "response_time",
    "response_status_code",
];
/// Fields with the texts of users, which are large.
pub(super) const TEXT_FIELDS: &[&str] = &["request", "response"];

/// A filter on texts: its argument, and the names that the field has in exports. Portkey's
/// specification and its documents differ in some.
struct TextFilter {
    argument: &'static str,
    names: &'static [&'static str],
    /// Filter of an export that takes one such text.
    pushed: Option<&'static str>,
}

const TEXT_FILTERS: [TextFilter; 6] = [
    TextFilter {
        argument: "status",
        names: &["response_status_code", "status_code"],
        pushed: Some("status_code"),
    },
    TextFilter {
        argument: "model",
        names: &["ai_model"],
        pushed: Some("ai_model"),
    },
    TextFilter {
        argument: "provider",
        names: &["ai_org", "ai_provider"],
        pushed: None,
    },
    TextFilter {
        argument: "trace_id",
        names: &["trace_id"],
        pushed: Some("trace_id"),
    },
    TextFilter {
        argument: "prompt_slug",
        names: &["prompt_slug"],
        pushed: Some("prompt_slug"),
    },
    TextFilter {
        argument: "config",
        names: &["config"],
        pushed: Some("configs"),
    },
];

/// A filter on numbers.
struct NumberFilter {
    argument: &'static str,
    names: &'static [&'static str],
    is_min: bool,
    /// True if an export takes it by the same name.
    is_pushed: bool,
}

const NUMBER_FILTERS: [NumberFilter; 4] = [
    NumberFilter {
        argument: "cost_min",
        names: &["cost"],
        is_min: true,
        is_pushed: true,
    },
    NumberFilter {
        argument: "cost_max",
        names: &["cost"],
        is_min: false,
        is_pushed: true,
    },
    NumberFilter {
        argument: "total_units_min",
        names: &["total_units"],
        is_min: true,
        is_pushed: true,
    },
    NumberFilter {
        argument: "response_time_min",
        names: &["response_time"],
        is_min: true,
        is_pushed: false,
    },
];

/// What a call asks for.
pub(super) struct Selection {
    pub(super) query: RowQuery,
    /// Filters of the export.
    pub(super) filters: JsonMap,
    /// Fields of the export, in the order of [`EXPORT_FIELDS`].
    pub(super) requested: Vec<&'static str>,
    /// What is missing, and why.
    pub(super) notes: Vec<Value>,
}

impl Selection {
    /// Returns what the arguments ask for.
    ///
    /// # Errors
    /// Returns an error if the period is none, or if a field is none of a log.
    pub(super) fn from_arguments(args: &JsonMap, steps: &Steps) -> Result<Self, InputError> {
        let makes_export = !args.contains_key("export_id");
        let mut conditions = Vec::new();
        let mut filters = match makes_export {
            true => period_filters(args, steps, &mut conditions)?,
            false => reject_period(args)?,
        };
        for filter in &TEXT_FILTERS {
            let Some(wanted) = args.get(filter.argument).map(texts_of) else {
                continue;
            };
            if let (Some(pushed), [one]) = (filter.pushed, &*wanted)
                && !is_status_class(filter.argument, one)
            {
                filters.insert(pushed.to_owned(), one.as_str().into());
            }
            conditions.push(RowCondition {
                names: filter.names,
                test: RowTest::OneOf(wanted),
            });
        }
        for filter in &NUMBER_FILTERS {
            let Some(bound) = args.get(filter.argument).and_then(Value::as_f64) else {
                continue;
            };
            if filter.is_pushed {
                let value = args.get(filter.argument).cloned();
                filters.insert(filter.argument.to_owned(), value.unwrap_or_default());
            }
            conditions.push(RowCondition {
                names: filter.names,
                test: match filter.is_min {
                    true => RowTest::AtLeast(bound),
                    false => RowTest::AtMost(bound),
                },
            });
        }
        if let Some(Value::Object(labels)) = args.get("metadata") {
            filters.insert("metadata".to_owned(), labels.clone().into());
            conditions.push(RowCondition {
                names: &["metadata"],
                test: RowTest::Has(labels.clone()),
            });
        }
        if steps.can_logs_be_redacted() {
            // What Portkey has filtered by a redacted value tells that value.
            filters.retain(|name, _| [PERIOD_START, PERIOD_END].contains(&name.as_str()));
        }
        let fields: Vec<String> = args.get("fields").map(texts_of).unwrap_or_default();
        let number = |name: &str| args.get(name).and_then(Value::as_u64);
        let limit = number("limit").unwrap_or(DEFAULT_ROWS);
        let query = RowQuery {
            conditions,
            contains: text(args, "contains").map(str::to_owned),
            fields,
            omitted: TEXT_FIELDS,
            offset: number("offset").unwrap_or_default(),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let requested = match makes_export {
            true => requested_fields(&query)?,
            false => Vec::new(),
        };
        Ok(Self {
            query,
            filters,
            requested,
            notes: Vec::new(),
        })
    }

    /// Leaves out the fields that a workspace keeps out of exports.
    ///
    /// # Errors
    /// Returns an error if a filter needs one of them.
    pub(super) fn leave_out(&mut self, denied: &[&str]) -> Result<(), InputError> {
        for field in denied {
            let is_needed = |condition: &RowCondition| condition.names.first() == Some(field);
            if self.query.conditions.iter().any(is_needed) {
                let what = format!(
                    "the workspace keeps `{field}` out of exports, and a filter needs it. Leave the filter out"
                );
                return Err(InputError::new("", what));
            }
            let before = self.requested.len();
            self.requested.retain(|requested| requested != field);
            if self.requested.len() < before {
                let note = format!("`{field}`: the workspace keeps it out of exports");
                self.notes.push(note.into());
            }
        }
        Ok(())
    }
}

/// Returns the filters of an export for the period of a call.
///
/// A period until now has no end, and begins with a whole hour: a client that asks its user repeats the
/// call, and an approval is for the same arguments. The rows before the period are left out later.
fn period_filters(
    args: &JsonMap,
    steps: &Steps,
    conditions: &mut Vec<RowCondition>,
) -> Result<JsonMap, InputError> {
    let is_given = |name: &&str| args.contains_key(*name);
    let mut period = args.clone();
    if !["period", "from", "to"].iter().any(is_given) {
        period.insert("period".to_owned(), DEFAULT_PERIOD.into());
    }
    let range = requested_range(&period, steps)?;
    let mut filters = JsonMap::new();
    let mut start = range.start();
    if !is_given(&"to") && range.ends_now(steps.clock()) {
        if !is_given(&"from")
            && let Some((first, hour)) = whole_hour(&start)
        {
            start = hour.to_string();
            conditions.push(RowCondition {
                names: &["created_at"],
                test: RowTest::NotBefore(first),
            });
        }
    } else {
        filters.insert(PERIOD_END.to_owned(), range.end().into());
    }
    filters.insert(PERIOD_START.to_owned(), start.into());
    Ok(filters)
}

/// Returns a time, and the whole hour before it.
fn whole_hour(text: &str) -> Option<(Timestamp, Timestamp)> {
    let time: Timestamp = text.parse().ok()?;
    let second = time.as_second();
    let hour = Timestamp::from_second(second - second.rem_euclid(3600)).ok()?;
    Some((time, hour))
}

/// Rejects a period of an export that has its own.
fn reject_period(args: &JsonMap) -> Result<JsonMap, InputError> {
    let given = ["period", "from", "to", "workspace_id"]
        .into_iter()
        .find(|name| args.contains_key(*name));
    match given {
        Some(name) => Err(InputError::new(
            name,
            "is for a new export; that of `export_id` has its own",
        )),
        None => Ok(JsonMap::new()),
    }
}

/// Returns the fields that an export needs for a query.
fn requested_fields(query: &RowQuery) -> Result<Vec<&'static str>, InputError> {
    let mut wanted: Vec<&str> = BASE_FIELDS.to_vec();
    let filtered = query.conditions.iter();
    wanted.extend(filtered.filter_map(|condition| condition.names.first().copied()));
    if query.contains.is_some() {
        wanted.extend(TEXT_FIELDS);
    }
    for field in &query.fields {
        let first = field.split('.').next().unwrap_or_default();
        if !EXPORT_FIELDS.contains(&first) {
            let known = EXPORT_FIELDS.join(", ");
            let what = format!("has `{first}`, which is no field of an export. These are: {known}");
            return Err(InputError::new("fields", what));
        }
        wanted.push(first);
    }
    Ok(EXPORT_FIELDS
        .into_iter()
        .filter(|field| wanted.contains(field))
        .collect())
}

/// Returns true for a status such as `5xx`, which no filter of Portkey takes.
fn is_status_class(argument: &str, text: &str) -> bool {
    argument == "status" && !text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the texts of an argument that is one or a list.
fn texts_of(value: &Value) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match value {
        Value::Array(items) => items.iter().map(text).collect(),
        one => vec![text(one)],
    }
}

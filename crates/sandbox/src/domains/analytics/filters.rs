//! Filters of traffic rows, parsed from a call's query.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::{
    row::{self, TrafficOrigin, TrafficRow},
    total::count_as_f64,
};
use crate::{
    api_error::ApiError,
    call::ApiCall,
    clock::{self, SECONDS_PER_DAY},
    domains::{logs::micro_cents_to_cents, workspaces},
    field::FieldType,
    store::{Item, Store, text},
    validation,
};

/// Validated filters of a call.
pub(super) struct TrafficFilters {
    period: RangeInclusive<u64>,
    now: u64,
    workspace: Option<String>,
    ranges: Vec<(NumberGetter, f64, f64)>,
    choices: Vec<(TextGetter, Vec<String>)>,
    metadata: Item,
}

/// Name of a `<name>_min` and `<name>_max` filter, and the number that it bounds.
type RangeFilter = (&'static str, NumberGetter);
/// Getter of a number that some requests have.
type NumberGetter = fn(&TrafficRow<'_>) -> Option<f64>;

const RANGES: &[RangeFilter] = &[
    ("total_units", |row| {
        Some(count_as_f64(row.prompt_tokens + row.completion_tokens))
    }),
    ("cost", |row| Some(micro_cents_to_cents(row.cost))),
    ("prompt_token", |row| Some(count_as_f64(row.prompt_tokens))),
    ("completion_token", |row| {
        Some(count_as_f64(row.completion_tokens))
    }),
    ("weighted_feedback", |row| row.weighted_feedback()),
];

/// Name of a filter with comma-separated texts, one of which must match, and the text that it
/// tests.
type ChoiceFilter = (&'static str, TextGetter);
/// Getter of a text that every request has; possibly empty.
type TextGetter = fn(&TrafficRow<'_>) -> String;

const CHOICES: &[ChoiceFilter] = &[
    ("status_code", |row| row.status.to_string()),
    ("virtual_keys", |row| row.origin.virtual_key.clone()),
    ("configs", |row| row.origin.config.clone()),
    ("api_key_ids", |row| row.origin.api_key.clone()),
    ("ai_org_model", |row| {
        format!("{}__{}", row.origin.provider, row.origin.model)
    }),
    // Exports use this argument; analytics use `ai_org_model`.
    ("ai_model", |row| row.origin.model.clone()),
    ("trace_id", |row| row.origin.trace.clone()),
    ("span_id", |row| row.origin.span.clone()),
    ("prompt_slug", |row| row.origin.prompt.clone()),
];

impl TrafficFilters {
    /// Parses and validates the filters of a call.
    pub(super) fn from_call(store: &Store, call: &ApiCall) -> Result<Self, ApiError> {
        let moment = |name: &str| {
            let written = call.query(name);
            let written = written.ok_or_else(|| ApiError::invalid_field(name, "is required"))?;
            clock::parse_timestamp(written)
                .ok_or_else(|| ApiError::invalid_field(name, "must be a date and time in ISO 8601"))
        };
        let (from, until) = (
            moment("time_of_generation_min")?,
            moment("time_of_generation_max")?,
        );
        let mut ranges = Vec::new();
        for (name, figure) in RANGES {
            let (min, max) = (
                parse_bound(call, name, "min")?,
                parse_bound(call, name, "max")?,
            );
            if min.is_some() || max.is_some() {
                let range = (min.unwrap_or(f64::MIN), max.unwrap_or(f64::MAX));
                ranges.push((*figure, range.0, range.1));
            }
        }
        let choices = CHOICES.iter().filter_map(|(name, has)| {
            let asked = call
                .query(name)?
                .split(',')
                .map(|one| one.trim().to_owned());
            Some((*has, asked.collect()))
        });
        let workspace = match (call.caller.workspace_id(), call.query("workspace_slug")) {
            (Some(own), _) => Some(text(workspaces::resolve(store, own)?, "slug").to_owned()),
            (None, Some(slug)) => Some(text(workspaces::resolve(store, slug)?, "slug").to_owned()),
            (None, None) => None,
        };
        let metadata = match call.query("metadata") {
            Some(json) => validation::validate_value(
                store,
                FieldType::EncodedLabels,
                "metadata",
                &json.into(),
            )?,
            None => Value::Null,
        };
        Ok(Self {
            period: from..=until,
            now: store.clock.unix_seconds(),
            workspace,
            ranges,
            choices: choices.collect(),
            metadata: metadata.as_object().cloned().unwrap_or_default(),
        })
    }

    /// Removes the restriction to one workspace.
    pub(super) fn with_all_workspaces(self) -> Self {
        Self {
            workspace: None,
            ..self
        }
    }

    /// Returns the seconds per point of a graph. A point covers a day, an hour in periods up to two
    /// days, and a minute in periods up to three hours.
    pub(super) fn step_seconds(&self) -> u64 {
        match self.period.end().saturating_sub(*self.period.start()) {
            0..=10_800 => 60,
            10_801..=172_800 => 3600,
            _ => SECONDS_PER_DAY,
        }
    }

    /// Returns the matching rows, oldest first.
    pub(super) fn apply<'s>(&self, store: &'s Store) -> Vec<TrafficRow<'s>> {
        // Rows after the current time do not exist yet.
        let past = *self.period.start()..=self.now.min(*self.period.end());
        let streams = store
            .traffic
            .rows(&past, self.step_seconds() == 60, |origin| {
                self.matches_origin(origin)
            });
        let logs = row::logged_rows(store).into_iter();
        let mut rows: Vec<_> = streams
            .into_iter()
            .chain(logs)
            .filter(|row| self.matches_row(row))
            .collect();
        rows.sort_by_key(|row| row.at);
        rows
    }

    /// Returns true if rows of this origin can match.
    fn matches_origin(&self, origin: &TrafficOrigin) -> bool {
        self.workspace
            .as_ref()
            .is_none_or(|workspace| origin.workspace == *workspace)
            && self
                .metadata
                .iter()
                .all(|(key, value)| origin.label(key) == value.as_str())
    }

    fn matches_row(&self, row: &TrafficRow<'_>) -> bool {
        let mut ranges = self.ranges.iter();
        let mut choices = self.choices.iter();
        self.period.contains(&row.at)
            && self.matches_origin(&row.origin)
            && ranges.all(|(figure, min, max)| {
                figure(row).is_some_and(|figure| (*min..=*max).contains(&figure))
            })
            && choices.all(|(has, asked)| asked.contains(&has(row)))
    }
}

/// Parses one bound of a range filter.
fn parse_bound(call: &ApiCall, name: &str, end: &str) -> Result<Option<f64>, ApiError> {
    let name = format!("{name}_{end}");
    let Some(written) = call.query(&name) else {
        return Ok(None);
    };
    let number = written
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite());
    number
        .map(Some)
        .ok_or_else(|| ApiError::invalid_field(&name, "must be a number"))
}

//! Filters: which rows of traffic a call asks for.

use serde_json::Value;

use super::{
    total::whole,
    traffic::{self, Row},
};
use crate::{
    call::Call,
    check, clock,
    domains::{logs::cents, workspaces},
    field::Kind,
    refusal::Refusal,
    store::{Item, Store, text},
};

/// What a call asks for.
pub(super) struct Filters {
    from: u64,
    until: u64,
    workspace: Option<String>,
    ranges: Vec<(Figure, f64, f64)>,
    choices: Vec<(Feature, Vec<String>)>,
    metadata: Item,
}

/// `<name>_min` and `<name>_max`, and what they bound.
type Range = (&'static str, Figure);
/// A number that some requests have.
type Figure = fn(&Row) -> Option<f64>;

const RANGES: &[Range] = &[
    ("total_units", |row| Some(whole(row.asked + row.answered))),
    ("cost", |row| Some(cents(row.cost))),
    ("prompt_token", |row| Some(whole(row.asked))),
    ("completion_token", |row| Some(whole(row.answered))),
    ("weighted_feedback", Row::weighted_feedback),
];

/// Comma-separated texts, of which a row must have one.
type Choice = (&'static str, Feature);
/// A text that every request has, be it empty.
type Feature = fn(&Row) -> String;

const CHOICES: &[Choice] = &[
    ("status_code", |row| row.status.to_string()),
    ("virtual_keys", |row| row.virtual_key.to_string()),
    ("configs", |row| row.config.to_string()),
    ("api_key_ids", |row| row.api_key.to_string()),
    ("ai_org_model", |row| format!("{}__{}", row.provider, row.model)),
    // Exports know this one, analytics have `ai_org_model`.
    ("ai_model", |row| row.model.to_string()),
    ("trace_id", |row| row.trace.to_string()),
    ("span_id", |row| row.span.to_string()),
    ("prompt_slug", |row| row.prompt.to_string()),
];

impl Filters {
    /// The filters of a call, checked.
    pub(super) fn of(store: &Store, call: &Call) -> Result<Self, Refusal> {
        let moment = |name: &str| {
            let written = call.query(name);
            let written = written.ok_or_else(|| Refusal::field(name, "is required"))?;
            clock::seconds(written)
                .ok_or_else(|| Refusal::field(name, "must be a date and time in ISO 8601"))
        };
        let (from, until) = (moment("time_of_generation_min")?, moment("time_of_generation_max")?);
        let mut ranges = Vec::new();
        for (name, figure) in RANGES {
            let (least, most) = (bound(call, name, "min")?, bound(call, name, "max")?);
            if least.is_some() || most.is_some() {
                let range = (least.unwrap_or(f64::MIN), most.unwrap_or(f64::MAX));
                ranges.push((*figure, range.0, range.1));
            }
        }
        let choices = CHOICES.iter().filter_map(|(name, has)| {
            let asked = call.query(name)?.split(',').map(|one| one.trim().to_owned());
            Some((*has, asked.collect()))
        });
        let slug = call.query("workspace_slug").unwrap_or(workspaces::DEFAULT);
        let workspace = text(workspaces::resolve(store, slug)?, "slug").to_owned();
        let metadata = match call.query("metadata") {
            Some(json) => check::value(store, Kind::EncodedLabels, "metadata", &json.into())?,
            None => Value::Null,
        };
        Ok(Self {
            from,
            until,
            workspace: Some(workspace),
            ranges,
            choices: choices.collect(),
            metadata: metadata.as_object().cloned().unwrap_or_default(),
        })
    }

    /// The same in every workspace.
    pub(super) fn everywhere(self) -> Self {
        Self { workspace: None, ..self }
    }

    /// Whether the period is short enough to be told by the hour.
    pub(super) fn is_short(&self) -> bool {
        self.until.saturating_sub(self.from) <= 2 * 86_400
    }

    /// The rows that pass, oldest first.
    pub(super) fn apply<'r>(&self, inserted: &'r [Row]) -> Vec<&'r Row> {
        let all = traffic::seeded().iter().chain(inserted);
        let mut rows: Vec<&Row> = all.filter(|row| self.passes(row)).collect();
        rows.sort_by_key(|row| row.at);
        rows
    }

    fn passes(&self, row: &Row) -> bool {
        let mut ranges = self.ranges.iter();
        let mut choices = self.choices.iter();
        (self.from..=self.until).contains(&row.at)
            && self.workspace.as_ref().is_none_or(|workspace| row.workspace == *workspace)
            && ranges.all(|(figure, least, most)| {
                figure(row).is_some_and(|figure| (*least..=*most).contains(&figure))
            })
            && choices.all(|(has, asked)| asked.contains(&has(row)))
            && self.metadata.iter().all(|(key, value)| row.label(key) == value.as_str())
    }
}

/// One end of a range.
fn bound(call: &Call, name: &str, end: &str) -> Result<Option<f64>, Refusal> {
    let name = format!("{name}_{end}");
    let Some(written) = call.query(&name) else { return Ok(None) };
    let number = written.parse().ok().filter(|number: &f64| number.is_finite());
    number.map(Some).ok_or_else(|| Refusal::field(&name, "must be a number"))
}

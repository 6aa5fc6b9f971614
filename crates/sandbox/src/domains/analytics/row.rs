//! Rows of traffic, from which all figures are computed: groups of similar requests, and inserted
//! logs.

use std::ops::Deref;

use crate::{
    clock,
    domains::{feedback, logs},
    store::{Item, Store, text},
};

/// Origin and destination of requests: all texts of a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrafficOrigin {
    /// Slug of the workspace that sent the requests.
    pub(super) workspace: String,
    /// Name of the AI provider.
    pub(super) provider: String,
    /// Slug of the provider in the workspace, formerly called a virtual key.
    pub(super) virtual_key: String,
    /// Name of the model.
    pub(super) model: String,
    /// Id of the API key.
    pub(super) api_key: String,
    /// Slug of the config.
    pub(super) config: String,
    /// Slug of the prompt.
    pub(super) prompt: String,
    /// Id of the trace.
    pub(super) trace: String,
    /// Id of the span.
    pub(super) span: String,
    /// Id of the inserted log; empty for requests of a stream.
    pub(super) log: String,
    /// Metadata names and texts; the user is under `_user`.
    pub(super) metadata: Vec<(String, String)>,
}

impl TrafficOrigin {
    /// Returns a metadata text.
    pub(super) fn label(&self, key: &str) -> Option<&str> {
        let found = self.metadata.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }
}

/// Origin of a row: shared by all rows of a stream, owned by the row of a log.
#[derive(Clone, Debug)]
pub(super) enum RowOrigin<'t> {
    /// Origin of a stream.
    Stream(&'t TrafficOrigin),
    /// Origin of a log.
    Log(Box<TrafficOrigin>),
}

impl Deref for RowOrigin<'_> {
    type Target = TrafficOrigin;

    fn deref(&self) -> &TrafficOrigin {
        match self {
            Self::Stream(origin) => origin,
            Self::Log(origin) => origin,
        }
    }
}

/// Requests that differ only in their minute.
#[derive(Clone, Debug)]
pub(super) struct TrafficRow<'t> {
    /// Origin and destination.
    pub(super) origin: RowOrigin<'t>,
    /// Time of the first request, in seconds since 1970.
    pub(super) at: u64,
    /// Time of the last request, in seconds since 1970.
    pub(super) last_at: u64,
    /// Number of requests.
    pub(super) requests: u64,
    /// HTTP status of each request.
    pub(super) status: u16,
    /// Cache outcome of each request.
    pub(super) cache: CacheOutcome,
    /// Number of retries before each request succeeded.
    pub(super) retries: u64,
    /// True if a fallback responded.
    pub(super) fallback: bool,
    /// Cost of each request, in millionths of a US cent.
    pub(super) cost: u64,
    /// Cost that the cache saved on each request, in millionths of a US cent.
    pub(super) saved_cost: u64,
    /// Prompt tokens of each request.
    pub(super) prompt_tokens: u64,
    /// Completion tokens of each request.
    pub(super) completion_tokens: u64,
    /// Duration of each request, in milliseconds.
    pub(super) latency_ms: u64,
    /// Scores and weights of the feedback on one of the requests.
    pub(super) ratings: Vec<(i64, f64)>,
}

/// Cache outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CacheOutcome {
    /// No matching entry.
    Miss,
    /// An entry for the identical request.
    Simple,
    /// An entry for a similar request.
    Semantic,
}

impl TrafficRow<'_> {
    /// Returns the mean of the scores multiplied by their weights.
    pub(super) fn weighted_feedback(&self) -> Option<f64> {
        let count = u32::try_from(self.ratings.len())
            .ok()
            .filter(|count| *count > 0)?;
        Some(
            self.ratings
                .iter()
                .map(|(value, weight)| score_as_f64(*value) * weight)
                .sum::<f64>()
                / f64::from(count),
        )
    }
}

/// Converts a score for calculations.
pub(super) fn score_as_f64(value: i64) -> f64 {
    i32::try_from(value).map(f64::from).unwrap_or_default()
}

/// Returns the inserted logs, with the feedback on their traces.
pub(super) fn logged_rows(store: &Store) -> Vec<TrafficRow<'static>> {
    store
        .all(logs::COLLECTION)
        .map(|log| row_from_log(store, log))
        .collect()
}

fn row_from_log(store: &Store, log: &Item) -> TrafficRow<'static> {
    let written = |name: &str| {
        let found = log
            .get("metrics")
            .and_then(|metrics| metrics.get(name)?.as_str());
        found.unwrap_or_default().to_owned()
    };
    let number = |name: &str| {
        let found = log
            .get("metrics")
            .and_then(|metrics| metrics.get(name)?.as_u64());
        found.unwrap_or_default()
    };
    let trace = written("trace_id");
    let given = store
        .all(feedback::COLLECTION)
        .filter(|given| text(given, "trace_id") == trace);
    let ratings = given.filter_map(|given| {
        Some((
            given.get("value")?.as_i64()?,
            given.get("weight")?.as_f64()?,
        ))
    });
    let labels = log
        .get("metadata")
        .and_then(|labels| labels.as_object())
        .into_iter()
        .flatten();
    let labels =
        labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    let at = clock::parse_timestamp(text(log, "created_at")).unwrap_or_default();
    let origin = TrafficOrigin {
        workspace: written("workspace_slug"),
        provider: written("ai_org"),
        virtual_key: written("virtual_key"),
        model: written("ai_model"),
        api_key: written("api_key_id"),
        config: written("config"),
        prompt: written("prompt_slug"),
        span: written("span_id"),
        metadata: labels.collect(),
        log: text(log, "id").to_owned(),
        trace: trace.clone(),
    };
    TrafficRow {
        origin: RowOrigin::Log(Box::new(origin)),
        at,
        last_at: at,
        requests: 1,
        status: u16::try_from(number("response_status_code")).unwrap_or_default(),
        cache: CacheOutcome::Miss,
        retries: 0,
        fallback: false,
        cost: log
            .get("micro_cents")
            .and_then(|cost| cost.as_u64())
            .unwrap_or_default(),
        saved_cost: 0,
        prompt_tokens: number("req_units"),
        completion_tokens: number("res_units"),
        latency_ms: number("response_time"),
        ratings: ratings.collect(),
    }
}

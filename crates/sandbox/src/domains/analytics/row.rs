//! Rows: requests that are alike, from which all figures are computed, and the rows of the logs handed in.

use std::ops::Deref;

use crate::{
    clock,
    domains::{feedback, logs},
    store::{Item, Store, text},
};

/// Where requests come from and go to: all texts of a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    /// Slug of the workspace they came from.
    pub(super) workspace: String,
    /// The AI provider.
    pub(super) provider: String,
    /// Slug of the provider's entry in the workspace, once called a virtual key.
    pub(super) virtual_key: String,
    /// The model.
    pub(super) model: String,
    /// Id of the key they were sent with.
    pub(super) api_key: String,
    /// Slug of the config.
    pub(super) config: String,
    /// Slug of the prompt.
    pub(super) prompt: String,
    /// The trace.
    pub(super) trace: String,
    /// The span.
    pub(super) span: String,
    /// Names and texts, the user's under `_user`.
    pub(super) metadata: Vec<(String, String)>,
}

impl Origin {
    /// A metadata text.
    pub(super) fn label(&self, key: &str) -> Option<&str> {
        let found = self.metadata.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }
}

/// The origin of a row: shared by all rows of a stream, owned by that of a log.
#[derive(Clone, Debug)]
pub(super) enum Source<'t> {
    /// A stream's.
    Stream(&'t Origin),
    /// A log's.
    Log(Box<Origin>),
}

impl Deref for Source<'_> {
    type Target = Origin;

    fn deref(&self) -> &Origin {
        match self {
            Self::Stream(origin) => origin,
            Self::Log(origin) => origin,
        }
    }
}

/// Requests that are alike in everything but their minute.
#[derive(Clone, Debug)]
pub(super) struct Row<'t> {
    /// Where they come from and go to.
    pub(super) origin: Source<'t>,
    /// When the first came, in seconds after 1970.
    pub(super) at: u64,
    /// When the last came.
    pub(super) last_at: u64,
    /// How many.
    pub(super) requests: u64,
    /// HTTP status of each.
    pub(super) status: u16,
    /// What the cache did for each.
    pub(super) cache: Cache,
    /// Retries until each succeeded.
    pub(super) retries: u64,
    /// Whether a fallback answered.
    pub(super) fallback: bool,
    /// Cost of each, in millionths of a US cent.
    pub(super) cost: u64,
    /// What the cache saved on each, in the same.
    pub(super) saved: u64,
    /// Prompt tokens of each.
    pub(super) asked: u64,
    /// Completion tokens of each.
    pub(super) answered: u64,
    /// Milliseconds each took.
    pub(super) latency: u64,
    /// Scores and weights given to one of them.
    pub(super) ratings: Vec<(i64, f64)>,
}

/// What the cache did for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cache {
    /// Nothing.
    Miss,
    /// It had the same request.
    Simple,
    /// It had a similar one.
    Semantic,
}

impl Row<'_> {
    /// The mean of the scores, each times its weight.
    pub(super) fn weighted_feedback(&self) -> Option<f64> {
        let count = u32::try_from(self.ratings.len())
            .ok()
            .filter(|count| *count > 0)?;
        Some(
            self.ratings
                .iter()
                .map(|(value, weight)| score(*value) * weight)
                .sum::<f64>()
                / f64::from(count),
        )
    }
}

/// A score as a number to reckon with.
pub(super) fn score(value: i64) -> f64 {
    i32::try_from(value).map(f64::from).unwrap_or_default()
}

/// The logs handed in, with the feedback on their traces.
pub(super) fn inserted(store: &Store) -> Vec<Row<'static>> {
    store.all(logs::SHELF).map(|log| row(store, log)).collect()
}

fn row(store: &Store, log: &Item) -> Row<'static> {
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
        .all(feedback::SHELF)
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
    let at = clock::seconds(text(log, "created_at")).unwrap_or_default();
    let origin = Origin {
        workspace: written("workspace_slug"),
        provider: written("ai_org"),
        virtual_key: written("virtual_key"),
        model: written("ai_model"),
        api_key: written("api_key_id"),
        config: written("config"),
        prompt: written("prompt_slug"),
        span: written("span_id"),
        metadata: labels.collect(),
        trace: trace.clone(),
    };
    Row {
        origin: Source::Log(Box::new(origin)),
        at,
        last_at: at,
        requests: 1,
        status: u16::try_from(number("response_status_code")).unwrap_or_default(),
        cache: Cache::Miss,
        retries: 0,
        fallback: false,
        cost: log
            .get("micro_cents")
            .and_then(|cost| cost.as_u64())
            .unwrap_or_default(),
        saved: 0,
        asked: number("req_units"),
        answered: number("res_units"),
        latency: number("response_time"),
        ratings: ratings.collect(),
    }
}

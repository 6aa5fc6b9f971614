//! The traffic that analytics are computed from: thirty days that were, and the logs handed in.
//!
//! A row is a number of requests that are alike in everything. The thirty days are made once, from
//! a handful of streams, by arithmetic alone, so every sandbox has had the same December: quiet
//! weekends, a provider down for most of a day, and one team that spent more than its budget.

use std::{borrow::Cow, sync::LazyLock};

use crate::{
    clock,
    domains::{feedback, logs},
    store::{Item, Store, text},
};

/// A text that is either part of the sandbox or came with a log.
pub(super) type Text = Cow<'static, str>;

/// Requests that are alike.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// When, in seconds after 1970.
    pub(super) at: u64,
    /// How many.
    pub(super) requests: u64,
    /// Slug of the workspace they came from.
    pub(super) workspace: Text,
    /// The AI provider.
    pub(super) provider: Text,
    /// Slug of the provider's entry in the workspace, once called a virtual key.
    pub(super) virtual_key: Text,
    /// The model.
    pub(super) model: Text,
    /// Id of the key they were sent with.
    pub(super) api_key: Text,
    /// Slug of the config.
    pub(super) config: Text,
    /// Slug of the prompt.
    pub(super) prompt: Text,
    /// The trace.
    pub(super) trace: Text,
    /// The span.
    pub(super) span: Text,
    /// Names and texts, the user's under `_user`.
    pub(super) metadata: Vec<(Text, Text)>,
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

impl Row {
    /// A metadata text.
    pub(super) fn label(&self, key: &str) -> Option<&str> {
        let found = self.metadata.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_ref())
    }

    /// The mean of the scores, each times its weight.
    pub(super) fn weighted_feedback(&self) -> Option<f64> {
        let count = u32::try_from(self.ratings.len()).ok().filter(|count| *count > 0)?;
        Some(
            self.ratings.iter().map(|(value, weight)| score(*value) * weight).sum::<f64>()
                / f64::from(count),
        )
    }
}

/// A score as a number to reckon with.
pub(super) fn score(value: i64) -> f64 {
    i32::try_from(value).map(f64::from).unwrap_or_default()
}

/// Requests that someone sends all the time.
struct Stream {
    workspace: &'static str,
    provider: &'static str,
    virtual_key: &'static str,
    model: &'static str,
    api_key: &'static str,
    config: &'static str,
    prompt: &'static str,
    user: &'static str,
    team: &'static str,
    stage: &'static str,
    daily: u64,
    asked: u64,
    answered: u64,
    latency: u64,
    cached_percent: u64,
}

const RESEARCH_KEY: &str = "0a5d0000-0000-4000-8000-0000000a9001";
const SUPPORT_KEY: &str = "0a5d0000-0000-4000-8000-0000000a9002";
const SHARED_KEY: &str = "0a5d0000-0000-4000-8000-0000000a9003";

/// The research team's budget is 500 US dollars a month; its first stream alone spends more.
#[rustfmt::skip]
const STREAMS: [Stream; 6] = [
    Stream { workspace: "ws-research", provider: "anthropic", virtual_key: "claude-trials", model: "claude-sonnet-4",
        api_key: RESEARCH_KEY, config: "", prompt: "", user: "research-lead@example.com", team: "research",
        stage: "experiment", daily: 1400, asked: 2400, answered: 900, latency: 2600, cached_percent: 4 },
    Stream { workspace: "ws-research", provider: "vertex-ai", virtual_key: "gemini", model: "gemini-2.5-flash",
        api_key: RESEARCH_KEY, config: "", prompt: "", user: "research-analyst@example.com", team: "research",
        stage: "experiment", daily: 320, asked: 1800, answered: 600, latency: 900, cached_percent: 0 },
    Stream { workspace: "ws-support-bot", provider: "openai", virtual_key: "openai-production", model: "gpt-4o-mini",
        api_key: SUPPORT_KEY, config: "pc-support-fallback", prompt: "pp-refund-reply", user: "support-bot@example.com", team: "support",
        stage: "production", daily: 2600, asked: 700, answered: 180, latency: 640, cached_percent: 30 },
    Stream { workspace: "ws-support-bot", provider: "azure-openai", virtual_key: "azure", model: "gpt-4o",
        api_key: SUPPORT_KEY, config: "pc-support-fallback", prompt: "pp-escalation", user: "support-lead@example.com", team: "support",
        stage: "production", daily: 400, asked: 900, answered: 250, latency: 1100, cached_percent: 10 },
    Stream { workspace: "ws-shared", provider: "openai", virtual_key: "openai-production", model: "gpt-4o",
        api_key: SHARED_KEY, config: "", prompt: "", user: "product-manager@example.com", team: "product",
        stage: "internal", daily: 140, asked: 1200, answered: 400, latency: 1300, cached_percent: 8 },
    Stream { workspace: "ws-shared", provider: "anthropic", virtual_key: "anthropic", model: "claude-sonnet-4",
        api_key: SHARED_KEY, config: "", prompt: "pp-release-notes", user: "developer@example.com", team: "platform",
        stage: "internal", daily: 160, asked: 1500, answered: 500, latency: 2200, cached_percent: 12 },
];

/// 2025-12-02T00:00:00Z, a Tuesday: thirty days before a sandbox begins.
const FIRST: u64 = 1_764_633_600;
const DAYS: u64 = 30;
/// Day and hours (both included) in which OpenAI answered one request in five: 17 December.
const OUTAGE: (u64, u64, u64) = (15, 8, 14);
/// The hours at which requests come, and their share of the day's in percent.
const HOURS: [(u64, u64); 6] = [(2, 4), (8, 20), (11, 26), (14, 24), (17, 18), (21, 8)];

static SEEDED: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let mut rows = Vec::new();
    for day in 0..DAYS {
        for (number, stream) in (0..).zip(&STREAMS) {
            for (hour, share) in HOURS {
                rows.extend(stream.hour(day, hour, share, chance(day * 1000 + hour * 10 + number)));
            }
        }
    }
    rows
});

/// A number that looks random and is always the same for the same seed.
fn chance(seed: u64) -> u64 {
    seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33
}

impl Stream {
    /// The requests of one hour: failed ones, what the cache answered, those that needed help, one
    /// that was rated, and the rest.
    fn hour(&self, day: u64, hour: u64, share: u64, chance: u64) -> Vec<Row> {
        let weekend = matches!(day % 7, 4 | 5);
        let busy = if weekend { 40 } else { 100 };
        let all = self.daily * share * busy * (90 + chance % 21) / 1_000_000;
        let (bad_day, from, to) = OUTAGE;
        let down = day == bad_day && (from..=to).contains(&hour) && self.provider == "openai";
        let failed = if down { all * 4 / 5 } else { all / 80 };
        let hits = (all - failed) * self.cached_percent / 100;
        let served = all - failed - hits;
        let (retried, rescued) = (served / 60, served / 120);
        let rated = u64::from(hour == 14 && served > 0);
        let at = FIRST + day * 86_400 + hour * 3600 + chance % 3600;
        let full = Row { latency: self.latency * (80 + chance % 41) / 100, ..self.request(at) };
        let cached = Row { cost: 0, saved: full.cost, latency: 35 + chance % 30, ..full.clone() };
        let values = [(8, 1.0), (5, 1.0), (10, 0.5), (-4, 1.0), (7, 0.8)];
        let rating = values.iter().cycle().nth(usize::try_from(chance % 5).unwrap_or_default());
        let (status, latency) =
            if down { (503, 30_000) } else { (if hour == 11 { 500 } else { 429 }, 250) };
        let rows = vec![
            Row { requests: failed, status, latency, cost: 0, answered: 0, ..full.clone() },
            Row { requests: hits - hits / 4, cache: Cache::Simple, ..cached.clone() },
            Row { requests: hits / 4, cache: Cache::Semantic, ..cached },
            Row { requests: retried, retries: 1 + chance % 2, ..full.clone() },
            Row { requests: rescued, fallback: true, ..full.clone() },
            Row { requests: rated, ratings: rating.copied().into_iter().collect(), ..full.clone() },
            Row { requests: served - retried - rescued - rated, ..full },
        ];
        rows.into_iter().filter(|row| row.requests > 0).collect()
    }

    /// A request as it usually goes.
    fn request(&self, at: u64) -> Row {
        let labels = [("_user", self.user), ("team", self.team), ("stage", self.stage)];
        Row {
            at,
            requests: 1,
            workspace: self.workspace.into(),
            provider: self.provider.into(),
            virtual_key: self.virtual_key.into(),
            model: self.model.into(),
            api_key: self.api_key.into(),
            config: self.config.into(),
            prompt: self.prompt.into(),
            trace: "".into(),
            span: "".into(),
            metadata: labels.map(|(name, value)| (name.into(), value.into())).to_vec(),
            status: 200,
            cache: Cache::Miss,
            retries: 0,
            fallback: false,
            cost: logs::cost(self.model, self.asked, self.answered),
            saved: 0,
            asked: self.asked,
            answered: self.answered,
            latency: self.latency,
            ratings: Vec::new(),
        }
    }
}

/// The thirty days.
pub(super) fn seeded() -> &'static [Row] {
    &SEEDED
}

/// The logs handed in, with the feedback on their traces.
pub(super) fn inserted(store: &Store) -> Vec<Row> {
    store.all(logs::SHELF).map(|log| row(store, log)).collect()
}

fn row(store: &Store, log: &Item) -> Row {
    let written = |name: &str| {
        let found = log.get("metrics").and_then(|metrics| metrics.get(name)?.as_str());
        Text::Owned(found.unwrap_or_default().to_owned())
    };
    let number = |name: &str| {
        let found = log.get("metrics").and_then(|metrics| metrics.get(name)?.as_u64());
        found.unwrap_or_default()
    };
    let trace = written("trace_id");
    let given = store.all(feedback::SHELF).filter(|given| text(given, "trace_id") == trace);
    let ratings = given
        .filter_map(|given| Some((given.get("value")?.as_i64()?, given.get("weight")?.as_f64()?)));
    let labels = log.get("metadata").and_then(|labels| labels.as_object()).into_iter().flatten();
    let labels = labels.filter_map(|(name, value)| {
        Some((Text::Owned(name.clone()), Text::Owned(value.as_str()?.to_owned())))
    });
    Row {
        at: clock::seconds(text(log, "created_at")).unwrap_or_default(),
        requests: 1,
        workspace: written("workspace_slug"),
        provider: written("ai_org"),
        virtual_key: written("virtual_key"),
        model: written("ai_model"),
        api_key: written("api_key_id"),
        config: written("config"),
        prompt: written("prompt_slug"),
        ratings: ratings.collect(),
        trace,
        span: written("span_id"),
        metadata: labels.collect(),
        status: u16::try_from(number("response_status_code")).unwrap_or_default(),
        cache: Cache::Miss,
        retries: 0,
        fallback: false,
        cost: log.get("micro_cents").and_then(|cost| cost.as_u64()).unwrap_or_default(),
        saved: 0,
        asked: number("req_units"),
        answered: number("res_units"),
        latency: number("response_time"),
    }
}

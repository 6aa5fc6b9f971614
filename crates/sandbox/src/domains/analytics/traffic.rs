//! Traffic through the gateway over the last hundred days.
//!
//! The traffic is computed on request and not stored. Rows of any period follow from a few streams,
//! an incident and two budgets. An hour that lies entirely in the period yields a few rows; other
//! hours are computed minute by minute. Both add up to the same totals. The number of requests in
//! an hour depends only on that hour; the events depend on the day on which the sandbox starts. Two
//! sandboxes started on the same day have the same past.

use std::ops::{Range, RangeInclusive};

use super::row::{CacheOutcome, RowOrigin, TrafficOrigin, TrafficRow};
use crate::{clock::SECONDS_PER_DAY, domains::logs, noise::noise};

/// A continuous stream of similar requests.
struct TrafficStream {
    workspace: &'static str,
    provider: &'static str,
    virtual_key: &'static str,
    model: &'static str,
    /// Slug of the API key.
    api_key: &'static str,
    config: &'static str,
    prompt: &'static str,
    user: &'static str,
    team: &'static str,
    project: &'static str,
    stage: &'static str,
    daily_requests: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    latency_ms: u64,
    cached_percent: u64,
    plan: StreamPlan,
}

/// Course of a stream over time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StreamPlan {
    /// Constant traffic.
    Steady,
    /// Constant traffic with a surge.
    Surges,
    /// Traffic from the first day of the evaluation until its budget is spent.
    UntilSpent,
}

/// Slug of the workspace that exceeds its budget.
const OVERSPENT_WORKSPACE: &str = "ws-research";

/// Budget of the workspace that exceeds it, in US dollars.
pub(crate) const WORKSPACE_BUDGET_USD: u64 = 500;

/// Budget of the evaluation's key, provider and project, in US dollars.
pub(crate) const EVALUATION_BUDGET_USD: u64 = 150;

/// Days between two resets of the workspace's budget.
pub(crate) const RESET_PERIOD_DAYS: u64 = 30;

/// Days from the last reset of that budget to the start day of the sandbox.
pub(crate) const RESET_AGE_DAYS: u64 = 12;

/// Days from the start of the evaluation to the start day.
pub(crate) const EVALUATION_AGE_DAYS: u64 = 30;

/// Days of traffic before the start day.
const TRAFFIC_DAYS: u64 = 100;

/// Days from the incident to the start day, and its range in seconds of the day. Four in five
/// requests to OpenAI failed.
const INCIDENT: (u64, Range<u64>) = (3, 13 * 3600 + 17 * 60..15 * 3600 + 42 * 60);

/// Days from the surge to the start day, its first hour, and the factor on requests until midnight.
const SURGE: (u64, u64, u64) = (1, 9, 32);

/// Share of the day's requests in each hour, in thousandths.
const HOURLY_SHARES: [u64; 24] = [
    12, 8, 6, 6, 8, 14, 24, 42, 62, 76, 80, 74, 60, 70, 80, 78, 70, 56, 42, 36, 34, 28, 20, 14,
];

#[rustfmt::skip]
const STREAMS: [TrafficStream; 8] = [
    TrafficStream { workspace: OVERSPENT_WORKSPACE, provider: "anthropic", virtual_key: "anthropic", model: "claude-sonnet-4",
        api_key: "research-notebooks", config: "", prompt: "", user: "research-lead@example.com", team: "research",
        project: "", stage: "experiment", daily_requests: 900, prompt_tokens: 2400, completion_tokens: 900, latency_ms: 2600, cached_percent: 4,
        plan: StreamPlan::Surges },
    TrafficStream { workspace: OVERSPENT_WORKSPACE, provider: "anthropic", virtual_key: "claude-trials", model: "claude-sonnet-4",
        api_key: "evaluation-runs", config: "", prompt: "", user: "research-lead@example.com", team: "research",
        project: "evaluation", stage: "experiment", daily_requests: 500, prompt_tokens: 2400, completion_tokens: 900, latency_ms: 2700,
        cached_percent: 0, plan: StreamPlan::UntilSpent },
    TrafficStream { workspace: OVERSPENT_WORKSPACE, provider: "anthropic", virtual_key: "anthropic", model: "claude-sonnet-4",
        api_key: "research-notebooks", config: "", prompt: "", user: "research-analyst@example.com", team: "research",
        project: "summaries", stage: "experiment", daily_requests: 180, prompt_tokens: 1500, completion_tokens: 400, latency_ms: 1900,
        cached_percent: 6, plan: StreamPlan::Steady },
    TrafficStream { workspace: OVERSPENT_WORKSPACE, provider: "vertex-ai", virtual_key: "gemini", model: "gemini-2.5-flash",
        api_key: "research-notebooks", config: "", prompt: "", user: "research-analyst@example.com", team: "research",
        project: "translation", stage: "experiment", daily_requests: 320, prompt_tokens: 1800, completion_tokens: 600, latency_ms: 900,
        cached_percent: 0, plan: StreamPlan::Steady },
    TrafficStream { workspace: "ws-support-bot", provider: "openai", virtual_key: "openai-production", model: "gpt-4o-mini",
        api_key: "support-bot-production", config: "pc-support-fallback", prompt: "pp-refund-reply",
        user: "support-bot@example.com", team: "support", project: "", stage: "production", daily_requests: 4800, prompt_tokens: 700,
        completion_tokens: 180, latency_ms: 640, cached_percent: 30, plan: StreamPlan::Steady },
    TrafficStream { workspace: "ws-support-bot", provider: "azure-openai", virtual_key: "azure", model: "gpt-4o",
        api_key: "support-bot-production", config: "pc-support-fallback", prompt: "pp-escalation",
        user: "support-lead@example.com", team: "support", project: "", stage: "production", daily_requests: 400, prompt_tokens: 900,
        completion_tokens: 250, latency_ms: 1100, cached_percent: 10, plan: StreamPlan::Steady },
    TrafficStream { workspace: "ws-shared", provider: "openai", virtual_key: "openai-production", model: "gpt-4o",
        api_key: "shared-assistants", config: "", prompt: "", user: "product-manager@example.com", team: "product",
        project: "", stage: "internal", daily_requests: 340, prompt_tokens: 1200, completion_tokens: 400, latency_ms: 1300, cached_percent: 8,
        plan: StreamPlan::Steady },
    TrafficStream { workspace: "ws-shared", provider: "anthropic", virtual_key: "anthropic", model: "claude-sonnet-4",
        api_key: "shared-assistants", config: "", prompt: "pp-release-notes", user: "developer@example.com",
        team: "platform", project: "", stage: "internal", daily_requests: 160, prompt_tokens: 1500, completion_tokens: 500, latency_ms: 2200,
        cached_percent: 12, plan: StreamPlan::Steady },
];

/// Traffic of one sandbox. The default is empty.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Midnight at the beginning of the start day. All times are in seconds since 1970.
    midnight: u64,
    /// Time from which requests of the workspace without budget are rejected.
    overspent_at: u64,
    /// Time at which the evaluation's budget was spent.
    evaluation_spent_at: u64,
    /// Origin of each stream.
    origins: Vec<TrafficOrigin>,
}

/// Similar requests of one hour, spread evenly over a part of its minutes.
struct HourPart<'t> {
    row: TrafficRow<'t>,
    /// Minutes of the hour.
    minutes: Range<u64>,
    /// Offset of the first request in its interval; less than the number of minutes.
    phase: u64,
}

impl HourPart<'_> {
    fn length(&self) -> u64 {
        self.minutes.end - self.minutes.start
    }

    /// Counts the requests before a minute, counted from the first minute of this part.
    fn requests_before(&self, minute: u64) -> u64 {
        (minute * self.row.requests + self.phase) / self.length()
    }

    /// Returns the minute of the n-th request, counted from the first minute of this part. `n`
    /// starts at 1.
    fn minute_of_request(&self, n: u64) -> u64 {
        (n * self.length() - self.phase).div_ceil(self.row.requests) - 1
    }
}

impl Traffic {
    /// Computes the traffic of a sandbox that starts at a time. `key` maps the slug of an API key
    /// to its id.
    pub(crate) fn new(now: u64, key: impl Fn(&str) -> String) -> Self {
        let origins = STREAMS
            .iter()
            .map(|stream| stream.to_origin(key(stream.api_key)))
            .collect();
        let mut traffic = Self {
            midnight: now / SECONDS_PER_DAY * SECONDS_PER_DAY,
            overspent_at: u64::MAX,
            evaluation_spent_at: u64::MAX,
            origins,
        };
        traffic.evaluation_spent_at = traffic.find_budget_exhaustion(
            traffic.midnight_days_ago(EVALUATION_AGE_DAYS),
            EVALUATION_BUDGET_USD,
            |stream| stream.plan == StreamPlan::UntilSpent,
        );
        traffic.overspent_at = traffic.find_budget_exhaustion(
            traffic.midnight_days_ago(RESET_AGE_DAYS),
            WORKSPACE_BUDGET_USD,
            |stream| stream.workspace == OVERSPENT_WORKSPACE,
        );
        traffic
    }

    /// Returns the midnight at the beginning of a day before the start day.
    pub(crate) fn midnight_days_ago(&self, days: u64) -> u64 {
        self.midnight.saturating_sub(days * SECONDS_PER_DAY)
    }

    /// Returns the time at which the incident began.
    pub(crate) fn incident_start(&self) -> u64 {
        let (age, times) = INCIDENT;
        self.midnight_days_ago(age) + times.start
    }

    /// Returns the end of the hour in which streams exhaust a budget, counted from a time.
    fn find_budget_exhaustion(
        &self,
        from: u64,
        dollars: u64,
        of: impl Fn(&TrafficStream) -> bool,
    ) -> u64 {
        let budget = dollars * 100 * 1_000_000;
        let mut spent = 0;
        for hour in from / 3600..self.midnight / 3600 {
            for (number, stream) in STREAMS.iter().enumerate().filter(|(_, stream)| of(stream)) {
                let parts = self.hour_parts(number, stream, hour);
                spent += parts
                    .iter()
                    .map(|part| part.row.requests * part.row.cost)
                    .sum::<u64>();
            }
            if spent >= budget {
                return (hour + 1) * 3600;
            }
        }
        self.midnight
    }

    /// Returns the rows of the selected streams in a period. An hour that lies entirely in the
    /// period is not split by minute, unless `by_minute` is set.
    pub(super) fn rows(
        &self,
        period: &RangeInclusive<u64>,
        by_minute: bool,
        wanted: impl Fn(&TrafficOrigin) -> bool,
    ) -> Vec<TrafficRow<'_>> {
        let (from, until) = (
            self.midnight_days_ago(TRAFFIC_DAYS).max(*period.start()),
            *period.end(),
        );
        let mut rows = Vec::new();
        let streams = STREAMS.iter().zip(&self.origins).enumerate();
        for (number, (stream, _)) in streams.filter(|(_, (_, origin))| wanted(origin)) {
            // Requests of a stream occur at a fixed second of the minute, never at the first one.
            let second = 7 + 6 * number as u64;
            for hour in from / 3600..=until / 3600 {
                let begin = hour * 3600;
                let whole = !by_minute && from <= begin && begin + 3599 <= until;
                for part in self.hour_parts(number, stream, hour) {
                    let at = |minute: u64| begin + (part.minutes.start + minute) * 60 + second;
                    if whole {
                        let (first, last) = (
                            part.minute_of_request(1),
                            part.minute_of_request(part.row.requests),
                        );
                        rows.push(TrafficRow {
                            at: at(first),
                            last_at: at(last),
                            ..part.row
                        });
                        continue;
                    }
                    for minute in 0..part.length() {
                        let requests =
                            part.requests_before(minute + 1) - part.requests_before(minute);
                        let at = at(minute);
                        if requests > 0 && (from..=until).contains(&at) {
                            rows.push(TrafficRow {
                                at,
                                last_at: at,
                                requests,
                                ..part.row.clone()
                            });
                        }
                    }
                }
            }
        }
        rows
    }

    /// Returns the requests of a stream in one hour, given in hours since 1970.
    fn hour_parts<'t>(
        &'t self,
        number: usize,
        stream: &TrafficStream,
        hour: u64,
    ) -> Vec<HourPart<'t>> {
        let Some(origin) = self.origins.get(number) else {
            return Vec::new();
        };
        let begin = hour * 3600;
        let has_ended = stream.plan == StreamPlan::UntilSpent
            && !(self.midnight_days_ago(EVALUATION_AGE_DAYS)..self.evaluation_spent_at)
                .contains(&begin);
        if has_ended {
            return Vec::new();
        }
        let chance = noise(number as u64, hour);
        let (day, share) = (
            hour / 24,
            HOURLY_SHARES.iter().cycle().nth((hour % 24) as usize),
        );
        // 1 January 1970 was a Thursday.
        let busy = if (day + 3) % 7 >= 5 { 40 } else { 100 };
        let (age, from, factor) = SURGE;
        let surges = self.midnight_days_ago(age) + from * 3600..self.midnight;
        let daily = match stream.plan == StreamPlan::Surges && surges.contains(&begin) {
            true => stream.daily_requests * factor * 100,
            false => stream.daily_requests * busy,
        };
        let share = share.copied().unwrap_or_default() * (90 + chance % 21);
        let requests = (daily * share + chance % 10_000_000) / 10_000_000;

        let row = stream.to_row(origin, chance);
        let refused = stream.workspace == OVERSPENT_WORKSPACE && begin >= self.overspent_at;
        let (age, times) = INCIDENT;
        let failing =
            self.midnight_days_ago(age) + times.start..self.midnight_days_ago(age) + times.end;
        let fails =
            stream.provider == "openai" && failing.start < begin + 3600 && begin < failing.end;
        let mut parts = Vec::new();
        let usual = (&row, stream.cached_percent);
        if refused {
            let refused = TrafficRow {
                status: 412,
                latency_ms: 12,
                cost: 0,
                prompt_tokens: 0,
                completion_tokens: 0,
                ..row
            };
            push_part(&mut parts, &(0..60), chance >> 8, requests, refused);
        } else if fails {
            // The minutes before, during and after the incident; each range may be empty.
            let minute = |at: u64| (at.clamp(begin, begin + 3600) - begin) / 60;
            let start = minute(failing.start);
            let end = minute(failing.end);
            let until = |minute: u64| (requests * minute + chance % 60) / 60;
            push_normal_parts(&mut parts, &(0..start), chance, until(start), usual);
            push_incident_parts(&mut parts, &(start..end), until(end) - until(start), &row);
            push_normal_parts(
                &mut parts,
                &(end..60),
                chance,
                until(60) - until(end),
                usual,
            );
        } else {
            push_normal_parts(&mut parts, &(0..60), chance, requests, usual);
            if hour % 24 == 14 {
                rate_one(&mut parts, chance);
            }
        }
        parts
    }
}

/// Adds requests to the parts of an hour, if there are any.
fn push_part<'t>(
    parts: &mut Vec<HourPart<'t>>,
    minutes: &Range<u64>,
    phase: u64,
    requests: u64,
    row: TrafficRow<'t>,
) {
    if requests > 0 && !minutes.is_empty() {
        let phase = phase % (minutes.end - minutes.start);
        parts.push(HourPart {
            row: TrafficRow { requests, ..row },
            minutes: minutes.clone(),
            phase,
        });
    }
}

/// Adds requests without an incident: errors, cache hits, retries, fallbacks and successes.
fn push_normal_parts<'t>(
    parts: &mut Vec<HourPart<'t>>,
    minutes: &Range<u64>,
    chance: u64,
    requests: u64,
    (full, cached_percent): (&TrafficRow<'t>, u64),
) {
    // Fractions of a request are rounded at random, so that the mean is correct.
    let part =
        |of: u64, permille: u64, shift: u32| (of * permille + (chance >> shift) % 1000) / 1000;
    let errors = part(requests, 12, 4);
    let hits = part(requests - errors, cached_percent * 10, 14);
    let served = requests - errors - hits;
    let retried = part(served, 16, 24);
    let rescued = part(served - retried, 8, 34);
    let status = if (chance >> 44).is_multiple_of(4) {
        500
    } else {
        429
    };
    let error = TrafficRow {
        status,
        latency_ms: 250,
        cost: 0,
        completion_tokens: 0,
        ..full.clone()
    };
    let cached = TrafficRow {
        cost: 0,
        saved_cost: full.cost,
        latency_ms: 35 + chance % 30,
        ..full.clone()
    };
    let retries = 1 + (chance >> 48) % 2;
    let mut add =
        |requests: u64, row: TrafficRow<'t>| push_part(parts, minutes, chance >> 8, requests, row);
    add(errors, error);
    add(
        hits - hits / 4,
        TrafficRow {
            cache: CacheOutcome::Simple,
            ..cached.clone()
        },
    );
    add(
        hits / 4,
        TrafficRow {
            cache: CacheOutcome::Semantic,
            ..cached
        },
    );
    add(
        retried,
        TrafficRow {
            retries,
            ..full.clone()
        },
    );
    add(
        rescued,
        TrafficRow {
            fallback: true,
            ..full.clone()
        },
    );
    add(served - retried - rescued, full.clone());
}

/// Adds requests during the incident: four in five fail, and a fallback serves half of the rest.
fn push_incident_parts<'t>(
    parts: &mut Vec<HourPart<'t>>,
    minutes: &Range<u64>,
    requests: u64,
    full: &TrafficRow<'t>,
) {
    let errors = requests * 4 / 5;
    let rescued = (requests - errors) / 2;
    let error = TrafficRow {
        status: 503,
        latency_ms: 30_000,
        cost: 0,
        completion_tokens: 0,
        ..full.clone()
    };
    // Half an interval remains before the first and after the last request, so that both ends of
    // the incident show to the minute.
    let phase = minutes.end.saturating_sub(minutes.start) / 2;
    push_part(parts, minutes, phase, errors, error);
    push_part(
        parts,
        minutes,
        phase,
        rescued,
        TrafficRow {
            fallback: true,
            ..full.clone()
        },
    );
    push_part(
        parts,
        minutes,
        phase,
        requests - errors - rescued,
        full.clone(),
    );
}

/// Adds feedback to one of the requests of an hour.
fn rate_one(parts: &mut Vec<HourPart<'_>>, chance: u64) {
    const VALUES: [(i64, f64); 5] = [(8, 1.0), (5, 1.0), (10, 0.5), (-4, 1.0), (7, 0.8)];
    let rating = VALUES.iter().cycle().nth((chance % 5) as usize).copied();
    let Some(last) = parts.last_mut().filter(|part| part.row.status == 200) else {
        return;
    };
    let rated = TrafficRow {
        requests: 1,
        ratings: rating.into_iter().collect(),
        ..last.row.clone()
    };
    let minutes = last.minutes.clone();
    let phase = last.phase;
    last.row.requests -= 1;
    if last.row.requests == 0 {
        parts.pop();
    }
    parts.push(HourPart {
        row: rated,
        minutes,
        phase,
    });
}

impl TrafficStream {
    fn to_origin(&self, api_key: String) -> TrafficOrigin {
        let labels = [
            ("_user", self.user),
            ("team", self.team),
            ("project", self.project),
            ("stage", self.stage),
        ];
        let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
        TrafficOrigin {
            workspace: self.workspace.to_owned(),
            provider: self.provider.to_owned(),
            virtual_key: self.virtual_key.to_owned(),
            model: self.model.to_owned(),
            api_key,
            config: self.config.to_owned(),
            prompt: self.prompt.to_owned(),
            metadata: labels
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            ..TrafficOrigin::default()
        }
    }

    /// Returns a successful request of an hour.
    fn to_row<'t>(&self, origin: &'t TrafficOrigin, chance: u64) -> TrafficRow<'t> {
        TrafficRow {
            origin: RowOrigin::Stream(origin),
            at: 0,
            last_at: 0,
            requests: 1,
            status: 200,
            cache: CacheOutcome::Miss,
            retries: 0,
            fallback: false,
            cost: logs::request_cost(self.model, self.prompt_tokens, self.completion_tokens),
            saved_cost: 0,
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            latency_ms: self.latency_ms * (80 + (chance >> 52) % 41) / 100,
            ratings: Vec::new(),
        }
    }
}

//! `diagnose-failures`: since when requests fail, which ones, what changed before, and what would help.

mod changes;
mod episode;
mod mitigation;

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use portkey_operation::{EndTime, InputError, JsonMap, StartTime, TimeRange, get};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use self::{
    changes::NearChanges,
    episode::{Episode, Points, Threshold},
};
use super::{
    Listing, Steps, Workflow, arguments,
    partial_reads::PartialReads,
    report_costs::requested_range,
    text,
    workspace_sight::{IfAbsent, look_up_workspace},
};
use crate::pipeline::CallError;

/// Maximum number of calls.
const MAX_CALLS: usize = 40;
/// Number of times that the window of an onset or an end is narrowed.
const MAX_NARROWING: usize = 2;
/// Distance of two points of a graph that is narrow enough.
const PRECISION: SignedDuration = SignedDuration::from_mins(1);
/// Maximum number of groups of each dimension that are named, and of other episodes.
const MAX_GROUPS: usize = 3;
const MAX_OTHER_EPISODES: usize = 3;
/// Number of failing requests that a group has at least to be concerned.
const MIN_GROUP_ERRORS: f64 = 2.0;
/// Number of keys that are looked up by name.
const MAX_NAMED_KEYS: usize = 2;
/// Maximum length of the name of a group, in characters.
const MAX_NAME_CHARS: usize = 80;

/// Dimensions by which the failing requests are grouped. Values of `group_by`, and fields of a group.
const DIMENSIONS: [&str; 7] = [
    "status_code",
    "provider",
    "model",
    "api_key",
    "config",
    "prompt",
    "workspace",
];

pub(super) const WORKFLOW: Workflow = Workflow {
    operation: get::<DiagnoseFailures>("diagnose-failures", "/")
        .with_search_terms(&[
            "why do requests fail",
            "since when are there errors",
            "what broke",
            "outage",
            "incident",
            "root cause of errors",
            "error spike",
            "seit wann gibt es Fehler",
        ])
        // Names of models, keys and configs are written by others.
        .returns_untrusted_content(),
    needs: &[
        "get-requests-graph",
        "get-errors-graph",
        "get-analytics-grouped-data",
    ],
    needs_of_call: |_| Vec::new(),
    listing: Listing::WithOperations,
    max_steps: MAX_CALLS,
    reads_quietly: false,
    run: |args, steps| async move { run(&args, &steps).await }.boxed(),
};

/// Diagnose failures
///
/// Since when and until when requests fail, by status, provider, model, key and config, what changed near
/// the onset, and a mitigation as steps for plan-changes. Sends no write.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct DiagnoseFailures {
    /// Such as `24h`, `yesterday` or `2026-10`; `30d` when left out.
    period: Option<String>,
    /// From, in place of `period`.
    #[schemars(extend("x-publish" = "hidden"))]
    from: Option<StartTime>,
    /// Until, with `from`; now when left out.
    #[schemars(extend("x-publish" = "hidden"))]
    to: Option<EndTime>,
    /// Only this workspace's requests (slug).
    workspace_slug: Option<String>,
}

/// A range of instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    from: Timestamp,
    to: Timestamp,
}

/// A group of requests in the episode.
struct Group {
    name: String,
    requests: f64,
    errors: f64,
}

impl Group {
    fn rate(&self) -> f64 {
        rate(self.errors, self.requests)
    }
}

/// The groups of one dimension.
struct Grouped {
    dimension: &'static str,
    /// Groups that fail more than usual, the most errors first.
    concerned: Vec<Group>,
    /// Names of the groups that do not.
    spared: Vec<String>,
    /// Sums of all groups.
    requests: f64,
    errors: f64,
}

/// The diagnosis of one call.
struct Diagnosis<'a> {
    args: &'a JsonMap,
    steps: &'a Steps,
    reads: PartialReads<'a>,
    range: Window,
    /// True if the range ends now.
    is_until_now: bool,
}

async fn run(args: &JsonMap, steps: &Steps) -> Result<Value, CallError> {
    let range = requested_range(args, steps)?;
    let parsed = parse_window(&range)?;
    let mut diagnosis = Diagnosis {
        args,
        steps,
        // One step reads the journal.
        reads: PartialReads::new(steps, MAX_CALLS - 1),
        range: parsed,
        is_until_now: range.ends_now(steps.clock()),
    };
    let workspace = text(args, "workspace_slug");
    let sight = look_up_workspace(steps, "workspace_slug", workspace, IfAbsent::Doubt).await?;
    diagnosis.reads.count_calls(sight.calls);
    if let Some(doubt) = sight.doubt {
        diagnosis.reads.miss("workspace", &doubt);
    }
    let points = diagnosis.first_points().await?;
    let before = match range.previous() {
        Some(previous) => diagnosis.usual_rate(&previous).await,
        None => None,
    };
    let usual = points.usual_rate(before);
    let threshold = Threshold::above(usual);
    let Some(rough) = points.worst_episode(threshold) else {
        let answer = arguments([
            ("summary", "no failures beyond what is usual".into()),
            ("from", minute(parsed.from)),
            ("to", minute(parsed.to)),
            ("requests", whole(points.requests())),
            ("errors", whole(points.errors())),
            ("usual_rate_percent", percent(usual)),
            ("calls", diagnosis.reads.calls().into()),
            ("not_seen", diagnosis.reads.into_missing()),
        ]);
        return Ok(Value::Object(answer));
    };
    let others = points.other_episodes(&rough, threshold);
    let episode = diagnosis.narrow(&points, rough, usual).await;
    let window = Window {
        from: episode.from,
        to: episode.to.unwrap_or(parsed.to),
    };
    let mut grouped = Vec::new();
    for dimension in DIMENSIONS {
        // One workspace is all of them.
        if dimension != "workspace" || !args.contains_key("workspace_slug") {
            grouped.extend(diagnosis.group(dimension, window, threshold).await);
        }
    }
    let configs = names(&grouped, "config");
    let changes = diagnosis.changes_near(episode.from, &configs).await;
    let mitigation = diagnosis.mitigation(&grouped, window, threshold).await;
    let concerned = diagnosis.concerned(&grouped).await;
    Ok(diagnosis.answer(Parts {
        episode,
        usual,
        grouped,
        concerned,
        changes,
        mitigation,
        others,
    }))
}

/// The parts of an answer.
struct Parts {
    episode: Episode,
    usual: f64,
    grouped: Vec<Grouped>,
    concerned: Value,
    changes: NearChanges,
    mitigation: Value,
    others: Vec<Episode>,
}

impl Diagnosis<'_> {
    /// Returns the arguments that select the requests of a window.
    fn traffic(&self, window: Window) -> JsonMap {
        arguments([
            ("time_of_generation_min", window.from.to_string().into()),
            ("time_of_generation_max", window.to.to_string().into()),
            (
                "workspace_slug",
                text(self.args, "workspace_slug").map_or(Value::Null, Value::from),
            ),
        ])
    }

    /// Reads the graphs of the whole range, without which there is no answer.
    async fn first_points(&mut self) -> Result<Points, CallError> {
        let args = self.traffic(self.range);
        let requests = self.steps.read("get-requests-graph", args.clone()).await?;
        let errors = self.steps.read("get-errors-graph", args).await?;
        self.reads.count_calls(2);
        Ok(Points::new(&requests, &errors, self.range))
    }

    async fn points(&mut self, window: Window) -> Option<Points> {
        let args = self.traffic(window);
        let part = "a finer graph";
        let requests = self.reads.read(part, "get-requests-graph", args.clone());
        let requests = requests.await?;
        let errors = self.reads.read(part, "get-errors-graph", args).await?;
        Some(Points::new(&requests, &errors, window))
    }

    /// Returns the share of requests that failed in the period before.
    async fn usual_rate(&mut self, previous: &TimeRange) -> Option<f64> {
        let args = self.traffic(parse_window(previous).ok()?);
        let part = "the period before";
        let graph = self.reads.read(part, "get-error-rate-graph", args).await?;
        let rate = graph.pointer("/summary/rate").and_then(Value::as_f64)?;
        Some(rate / 100.0)
    }

    /// Narrows the onset and the end of an episode down to the minute, as far as the graphs show it.
    async fn narrow(&mut self, points: &Points, rough: Episode, usual: f64) -> Episode {
        let mut episode = rough;
        let above = Threshold::above(usual);
        let mut is_over = points.is_over(&rough, above);
        for side in [Side::Onset, Side::End] {
            let mut level = rough;
            let mut width = points.width();
            for _ in 0..MAX_NARROWING {
                if width <= PRECISION {
                    break;
                }
                let window = side.window(&level, width, self.range);
                let Some(finer) = self.points(window).await else {
                    break;
                };
                let threshold = Threshold::between(usual, level.rate());
                let Some(found) = finer.worst_episode(threshold) else {
                    break;
                };
                // A graph that is no finer than the one before tells nothing new.
                if finer.width() >= width {
                    break;
                }
                width = finer.width();
                level = found;
                match side {
                    Side::Onset => episode.from = found.from,
                    Side::End => {
                        episode.to = found.to;
                        is_over = finer.is_over(&found, above);
                    }
                }
            }
        }
        if !is_over {
            episode.to = None;
        }
        episode
    }

    /// Groups the requests of a window.
    async fn group(
        &mut self,
        dimension: &'static str,
        window: Window,
        threshold: Threshold,
    ) -> Option<Grouped> {
        let mut args = self.traffic(window);
        args.insert("group_by".to_owned(), dimension.into());
        args.insert("columns".to_owned(), "error_count".into());
        let part = format!("requests by {dimension}");
        let operation = "get-analytics-grouped-data";
        let groups = self.reads.list(&part, operation, args).await?.items;
        let group = |group: &Value| {
            let name = match group.get(dimension)? {
                Value::String(name) => name.chars().take(MAX_NAME_CHARS).collect(),
                other => other.to_string(),
            };
            Some(Group {
                name,
                requests: number(group.get("requests")?)?,
                errors: number(group.get("error_count")?)?,
            })
        };
        let groups: Vec<Group> = groups.iter().filter_map(group).collect();
        let requests = groups.iter().map(|group| group.requests).sum();
        let errors = groups.iter().map(|group| group.errors).sum();
        let is_concerned = |group: &Group| {
            group.errors >= MIN_GROUP_ERRORS && threshold.is_exceeded(group.errors, group.requests)
        };
        let (mut concerned, spared): (Vec<_>, Vec<_>) = groups.into_iter().partition(is_concerned);
        concerned.sort_by(|left, right| right.errors.total_cmp(&left.errors));
        Some(Grouped {
            dimension,
            concerned,
            spared: spared.into_iter().map(|group| group.name).collect(),
            requests,
            errors,
        })
    }

    /// Describes the groups that fail, with the names of the keys.
    async fn concerned(&mut self, grouped: &[Grouped]) -> Value {
        let mut all = JsonMap::new();
        for Grouped {
            dimension,
            concerned,
            ..
        } in grouped
        {
            let mut rows = Vec::new();
            for (rank, group) in concerned.iter().take(MAX_GROUPS).enumerate() {
                // Requests without a config or a prompt are no resource.
                if group.name.is_empty() {
                    continue;
                }
                let is_key = *dimension == "api_key" && rank < MAX_NAMED_KEYS;
                let name = match is_key {
                    true => self.key_name(&group.name).await,
                    false => Value::Null,
                };
                let is_status = *dimension == "status_code";
                rows.push(Value::Object(arguments([
                    ("id", group.name.as_str().into()),
                    ("name", name),
                    ("errors", whole(group.errors)),
                    (
                        "rate_percent",
                        match is_status {
                            true => Value::Null,
                            false => percent(group.rate()),
                        },
                    ),
                ])));
            }
            if !rows.is_empty() {
                all.insert((*dimension).to_owned(), rows.into());
            }
        }
        all.into()
    }

    async fn key_name(&mut self, id: &str) -> Value {
        let args = arguments([("id", id.into())]);
        let key = self.reads.read("names of keys", "get-api-key", args).await;
        let name = key.and_then(|key| Some(key.get("name")?.as_str()?.to_owned()));
        name.map_or(Value::Null, |name| {
            name.chars().take(MAX_NAME_CHARS).collect::<String>().into()
        })
    }

    fn answer(self, parts: Parts) -> Value {
        let Parts {
            episode,
            usual,
            grouped,
            concerned,
            changes,
            mitigation,
            others,
        } = parts;
        let status = grouped
            .iter()
            .find(|grouped| grouped.dimension == "status_code");
        // Every request of the window has one status.
        let (requests, errors) = match status {
            Some(status) => (status.requests, status.errors),
            None => (episode.requests, episode.errors),
        };
        let mut spared = JsonMap::new();
        for grouped in &grouped {
            let names = grouped.spared.iter().filter(|name| !name.is_empty());
            let names: Vec<&str> = names.take(MAX_GROUPS).map(String::as_str).collect();
            if grouped.dimension != "status_code" && !names.is_empty() {
                spared.insert(grouped.dimension.to_owned(), names.into());
            }
        }
        let share = percent(rate(errors, requests));
        let since = minute_text(episode.from);
        let time = match (episode.to, self.is_until_now) {
            (Some(to), _) => format!("failed from {since} to {}", minute_text(to)),
            (None, true) => format!("fail since {since}"),
            (None, false) => format!("failed from {since} to the end of the period"),
        };
        let usually = percent(usual);
        let summary = format!("{share} % of requests {time}; {usually} % is usual");
        let others = others.iter().take(MAX_OTHER_EPISODES).map(|other| {
            Value::Object(arguments([
                ("from", minute(other.from)),
                ("to", other.to.map_or(Value::Null, minute)),
                ("errors", whole(other.errors)),
                ("rate_percent", percent(other.rate())),
            ]))
        });
        let others: Vec<Value> = others.collect();
        let answer = arguments([
            ("summary", summary.into()),
            ("onset", minute(episode.from)),
            ("end", episode.to.map_or(Value::Null, minute)),
            (
                "ongoing",
                (episode.to.is_none() && self.is_until_now).into(),
            ),
            ("requests", whole(requests)),
            ("errors", whole(errors)),
            ("rate_percent", share),
            ("usual_rate_percent", percent(usual)),
            ("concerned", concerned),
            ("not_concerned", spared.into()),
            ("changes_near_onset", changes.changes.into()),
            ("change_sources", changes.sources),
            ("mitigation", mitigation),
            (
                "other_episodes",
                match others.is_empty() {
                    true => Value::Null,
                    false => others.into(),
                },
            ),
            ("calls", self.reads.calls().into()),
            ("not_seen", self.reads.into_missing()),
        ]);
        answer.into()
    }
}

/// An end of an episode.
#[derive(Clone, Copy)]
enum Side {
    Onset,
    End,
}

impl Side {
    /// Returns the window in which a finer graph is read: the point with the onset or the end, and its
    /// neighbour outside of the episode, a part of which may belong to it.
    fn window(self, episode: &Episode, width: SignedDuration, range: Window) -> Window {
        let (from, to) = match self {
            Self::Onset => (episode.from - width, episode.from + width),
            Self::End => {
                let last = episode.to.unwrap_or(range.to);
                (last - width, last + width)
            }
        };
        Window {
            from: from.max(range.from),
            to: to.min(range.to),
        }
    }
}

/// Returns the names of the concerned groups of a dimension.
fn names(grouped: &[Grouped], dimension: &str) -> Vec<String> {
    let found = grouped
        .iter()
        .find(|grouped| grouped.dimension == dimension);
    let groups = found.map_or(&[][..], |found| &found.concerned);
    let names = groups.iter().map(|group| group.name.clone());
    names
        .filter(|name| !name.is_empty())
        .take(MAX_GROUPS)
        .collect()
}

fn parse_window(range: &TimeRange) -> Result<Window, InputError> {
    let time = |text: String| {
        let what = |_| InputError::new("period", "is out of range");
        text.parse::<Timestamp>().map_err(what)
    };
    Ok(Window {
        from: time(range.start())?,
        to: time(range.end())?,
    })
}

fn rate(errors: f64, requests: f64) -> f64 {
    match requests > 0.0 {
        true => errors / requests,
        false => 0.0,
    }
}

/// Reads a figure, which some answers have as text.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    }
}

/// Returns a share as percent with one decimal.
fn percent(share: f64) -> Value {
    json!((share * 1000.0).round() / 10.0)
}

/// Returns a count.
fn whole(count: f64) -> Value {
    // A cast saturates, and makes NaN zero.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates"
    )]
    let count = count.round() as u64;
    count.into()
}

/// Returns a time to the minute, as `2026-11-18T10:59Z`.
fn minute_text(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%MZ").to_string()
}

fn minute(at: Timestamp) -> Value {
    minute_text(at).into()
}

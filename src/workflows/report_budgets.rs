//! `report-budgets`: the use of every limit on spending, tokens and requests.

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use portkey_operation::{InputError, JsonMap, TimeRange, get};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Listing, MAX_STEPS, Steps, Workflow, arguments, list::List, text,
    workspace_sight::describe_beyond,
};
use crate::pipeline::CallError;

/// Default and maximum number of limits in the answer.
const DEFAULT_ROWS: u64 = 12;
const MAX_ROWS: u64 = 100;
/// Number of steps that the lists may take. The rest is for the usage of limits.
const LIST_STEPS: usize = 10;
/// Number of times that the window of a crossing is narrowed.
const MAX_NARROWING: usize = 2;
/// Length of a window that is narrow enough.
const CROSSING_PRECISION: SignedDuration = SignedDuration::from_hours(1);
/// Time within which a limit without a reset has to be reached to be at risk, in days.
const FORECAST_DAYS: f64 = 31.0;
/// Time over which the rate of a forecast is averaged.
const RATE_TIME: SignedDuration = SignedDuration::from_hours(7 * 24);

pub(super) const WORKFLOW: Workflow = Workflow {
    operation: get::<ReportBudgets>("report-budgets", "/")
        .with_search_terms(&[
            "who is over budget",
            "how much budget is left",
            "which limits are exhausted",
            "when will we run out",
            "budget forecast",
            "wer hat das Budget überschritten",
        ])
        // Names of holders and values of metadata are written by others.
        .returns_untrusted_content(),
    needs: &["list-all-workspaces"],
    needs_of_call: |_| Vec::new(),
    listing: Listing::Everywhere,
    max_steps: MAX_STEPS,
    reads_quietly: false,
    run: |args, steps| async move { run(&args, &steps).await }.boxed(),
};

/// Report budgets
///
/// Every limit of workspaces, providers, keys and policies: what is used, when it was crossed or will be.
/// Costs in US dollars.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct ReportBudgets {
    /// Only these.
    state: Option<BudgetState>,
    /// How many; 12 when left out.
    #[schemars(range(min = 1, max = 100), extend("x-publish" = "hidden"))]
    limit: Option<u32>,
}

/// The state of a limit: used up, will be within a month and before it starts anew, or neither.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum BudgetState {
    Over,
    AtRisk,
    Ok,
}

/// A quantity that a limit counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Measure {
    Cost,
    Tokens,
    Requests,
}

impl Measure {
    fn of(limit: &Value) -> Self {
        match limit.get("type").and_then(Value::as_str) {
            Some("tokens") => Self::Tokens,
            Some("requests") => Self::Requests,
            _ => Self::Cost,
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::Cost => "USD",
            Self::Tokens => "tokens",
            Self::Requests => "requests",
        }
    }

    /// Returns the operation that shows the quantity over time.
    const fn graph(self) -> &'static str {
        match self {
            Self::Cost => "get-cost-graph",
            Self::Tokens => "get-tokens-graph",
            Self::Requests => "get-requests-graph",
        }
    }

    /// Converts a figure of the graph into the unit of limits: cents into dollars.
    fn convert(self, figure: f64) -> f64 {
        match self {
            Self::Cost => figure / 100.0,
            Self::Tokens | Self::Requests => figure,
        }
    }

    /// Returns an amount as it is shown.
    fn show(self, amount: f64) -> Value {
        match self {
            Self::Cost => round(amount, 100.0),
            Self::Tokens | Self::Requests => round(amount, 1.0),
        }
    }
}

/// A limit, and what it counts.
struct Budget {
    /// Kind of the holder.
    kind: &'static str,
    name: String,
    measure: Measure,
    limit: f64,
    /// Time from which it counts.
    since: Timestamp,
    resets_at: Option<Timestamp>,
    /// Arguments that select its requests.
    filter: JsonMap,
    /// Usage according to the upstream, where it tells that.
    used: Option<f64>,
    is_exhausted: bool,
}

/// The use of a limit.
struct Usage {
    used: f64,
    per_day: f64,
    crossed_at: Option<Timestamp>,
}

async fn run(args: &JsonMap, steps: &Steps) -> Result<Value, CallError> {
    let now = now(steps)?;
    let mut report = Report {
        steps,
        now,
        missing: Vec::new(),
        steps_left: MAX_STEPS - LIST_STEPS,
    };
    let mut budgets = report.workspaces().await?;
    budgets.extend(report.providers().await);
    budgets.extend(report.keys().await);
    budgets.extend(report.policies().await);
    // If the steps do not suffice for all, those that are used up come first.
    budgets.sort_by_key(|budget| !budget.is_exhausted);
    let mut unread = 0;
    let mut rows: Vec<(f64, Map<String, Value>)> = Vec::new();
    for budget in &budgets {
        match report.usage(budget).await {
            Ok(Some(usage)) => rows.push((usage.used / budget.limit, report.row(budget, &usage))),
            Ok(None) => unread += 1,
            Err(error) => report
                .missing
                .push(format!("{} `{}`: {error}", budget.kind, budget.name)),
        }
    }
    if unread > 0 {
        let steps = format!("{unread} limits: a report takes at most {MAX_STEPS} steps");
        report.missing.push(steps);
    }
    rows.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    let counts = ["over", "at_risk", "ok"].map(|state| {
        let count = rows.iter().filter(|(_, row)| row["state"] == state).count();
        (state, Value::from(count))
    });
    let wanted = text(args, "state");
    let mut rows: Vec<Value> = rows
        .into_iter()
        .map(|(_, row)| Value::Object(row))
        .filter(|row| wanted.is_none_or(|wanted| row["state"] == wanted))
        .collect();
    let limit = args
        .get("limit")
        .and_then(Value::as_u64)
        .unwrap_or(DEFAULT_ROWS);
    let limit = usize::try_from(limit.min(MAX_ROWS)).unwrap_or(rows.len());
    let more = rows.len().saturating_sub(limit);
    rows.truncate(limit);
    let mut answer = arguments(counts);
    answer.insert("budgets".to_owned(), rows.into());
    if more > 0 {
        answer.insert("more".to_owned(), more.into());
    }
    if !report.missing.is_empty() {
        answer.insert("not_included".to_owned(), report.missing.into());
    }
    Ok(Value::Object(answer))
}

fn now(steps: &Steps) -> Result<Timestamp, InputError> {
    // Any range that has not ended ends now.
    let today = TimeRange::parse("1m", steps.clock());
    let now = today.and_then(|range| range.end().parse().ok());
    now.ok_or_else(|| InputError::new("", "the clock of the server is out of range"))
}

/// The reads of a report.
struct Report<'a> {
    steps: &'a Steps,
    now: Timestamp,
    /// Parts that the report lacks, each with the reason.
    missing: Vec<String>,
    /// Steps that are left for the usage of limits.
    steps_left: usize,
}

impl Report<'_> {
    async fn workspaces(&mut self) -> Result<Vec<Budget>, CallError> {
        let list = List::read_pages(self.steps, "list-all-workspaces", JsonMap::new()).await?;
        self.note_rest(&list, "a workspace");
        if list.items.len() == 1 {
            self.steps_left = self.steps_left.saturating_sub(1);
            self.missing
                .extend(describe_beyond(self.steps, &list.items).await);
        }
        let budgets = list.items.iter().flat_map(|workspace| {
            let filter = arguments([(
                "workspace_slug",
                workspace.get("slug").cloned().unwrap_or_default(),
            )]);
            self.budgets("workspace", workspace, &filter)
        });
        Ok(budgets.collect())
    }

    async fn providers(&mut self) -> Vec<Budget> {
        let Some(list) = self.list("list-all-providers", "a provider").await else {
            return Vec::new();
        };
        let budgets = list.items.iter().flat_map(|provider| {
            let filter = arguments([(
                "virtual_keys",
                provider.get("slug").cloned().unwrap_or_default(),
            )]);
            self.budgets("provider", provider, &filter)
        });
        budgets.collect()
    }

    async fn keys(&mut self) -> Vec<Budget> {
        let Some(list) = self.list("list-all-api-keys", "a key").await else {
            return Vec::new();
        };
        let budgets = list.items.iter().flat_map(|key| {
            let filter = arguments([("api_key_ids", key.get("id").cloned().unwrap_or_default())]);
            self.budgets("api_key", key, &filter)
        });
        budgets.collect()
    }

    /// Returns the budgets of usage-limits policies, one for each group.
    async fn policies(&mut self) -> Vec<Budget> {
        let Some(list) = self.list("list-usage-limits-policies", "a policy").await else {
            return Vec::new();
        };
        let mut budgets = Vec::new();
        for policy in &list.items {
            let usage = policy.get("value_key_usage_map").and_then(Value::as_object);
            let Some(usage) = usage else {
                let name = holder_name(policy);
                self.missing
                    .push(format!("policy `{name}`: the list does not tell its usage"));
                continue;
            };
            let workspace = policy["conditions"].as_array().and_then(|conditions| {
                let is_workspace = |condition: &&Value| condition["key"] == "workspace_id";
                Some(conditions.iter().find(is_workspace)?["value"].clone())
            });
            for (group, usage) in usage {
                let workspace = workspace.clone().filter(Value::is_string);
                let label = group
                    .strip_prefix("metadata.")
                    .and_then(|group| group.split_once(':'));
                let filter = arguments([
                    ("workspace_slug", workspace.unwrap_or_default()),
                    (
                        "metadata",
                        label.map_or(Value::Null, |(key, value)| {
                            json!({ key: value }).to_string().into()
                        }),
                    ),
                ]);
                let used = usage.get("current_usage").and_then(Value::as_f64);
                budgets.extend(
                    self.budget("policy", policy, policy, &filter)
                        .map(|budget| Budget {
                            name: format!("{}: {group}", budget.name),
                            used,
                            is_exhausted: usage["status"] == "exhausted",
                            ..budget
                        }),
                );
            }
        }
        budgets
    }

    /// Reads a list, or notes that it is missing.
    async fn list(&mut self, operation: &'static str, item: &str) -> Option<List> {
        // One page: the steps are needed for the usage.
        match List::read(self.steps, operation, JsonMap::new()).await {
            Ok(list) => {
                self.note_rest(&list, item);
                Some(list)
            }
            Err(error) => {
                self.missing.push(format!("`{operation}`: {error}"));
                None
            }
        }
    }

    fn note_rest(&mut self, list: &List, item: &str) {
        if let Err(error) = list.require_complete(item) {
            self.missing.push(error.to_string());
        }
    }

    /// Returns the limits of a holder, which has one or a list of them.
    fn budgets(&self, kind: &'static str, holder: &Value, filter: &JsonMap) -> Vec<Budget> {
        let limits = match holder.get("usage_limits") {
            Some(Value::Array(limits)) => limits.as_slice(),
            Some(limit @ Value::Object(_)) => std::slice::from_ref(limit),
            _ => &[],
        };
        let budgets = limits
            .iter()
            .filter_map(|limit| self.budget(kind, holder, limit, filter));
        budgets.collect()
    }

    fn budget(
        &self,
        kind: &'static str,
        holder: &Value,
        limit: &Value,
        filter: &JsonMap,
    ) -> Option<Budget> {
        let amount = limit
            .get("credit_limit")?
            .as_f64()
            .filter(|amount| *amount > 0.0)?;
        let resets_at = limit.get("next_usage_reset_at").and_then(timestamp);
        Some(Budget {
            kind,
            name: holder_name(holder),
            measure: Measure::of(limit),
            limit: amount,
            since: self.counts_since(holder, limit, resets_at),
            resets_at: resets_at.filter(|at| *at > self.now),
            filter: filter.clone(),
            used: None,
            is_exhausted: holder["status"] == "exhausted",
        })
    }

    /// Returns the time from which a limit counts: its last reset, or the creation of its holder.
    fn counts_since(
        &self,
        holder: &Value,
        limit: &Value,
        resets_at: Option<Timestamp>,
    ) -> Timestamp {
        let by_days = || {
            let days = limit.get("periodic_reset_days")?.as_i64()?;
            resets_at?
                .checked_sub(SignedDuration::from_hours(days.checked_mul(24)?))
                .ok()
        };
        let by_calendar = || {
            let period = match limit.get("periodic_reset")?.as_str()? {
                "weekly" => "this week",
                _ => "this month",
            };
            TimeRange::parse(period, self.steps.clock())?
                .start()
                .parse()
                .ok()
        };
        let reset = [limit, holder]
            .into_iter()
            .find_map(|at| at.get("last_reset_at").and_then(timestamp));
        let created = || holder.get("created_at").and_then(timestamp);
        reset
            .or_else(by_days)
            .or_else(by_calendar)
            .or_else(created)
            .filter(|since| *since < self.now)
            .unwrap_or_else(|| {
                self.now
                    .saturating_sub(SignedDuration::from_hours(30 * 24))
                    .unwrap_or(self.now)
            })
    }

    /// Reads what a limit has counted; `None` if no steps are left.
    async fn usage(&mut self, budget: &Budget) -> Result<Option<Usage>, CallError> {
        let Some(points) = self.points(budget, budget.since, self.now).await? else {
            return Ok(None);
        };
        let counted: f64 = points.iter().map(|(_, amount)| amount).sum();
        let used = budget.used.unwrap_or(counted);
        let since = self
            .now
            .saturating_sub(RATE_TIME)
            .unwrap_or(budget.since)
            .max(budget.since);
        let recent: f64 = points
            .iter()
            .filter(|(at, _)| *at >= since)
            .map(|(_, amount)| amount)
            .sum();
        let days = self.now.duration_since(since).as_secs_f64() / 86_400.0;
        let crossed_at = match counted >= budget.limit {
            true => self.crossing(budget, points).await?,
            false => None,
        };
        Ok(Some(Usage {
            used,
            per_day: recent / days.max(1.0 / 24.0),
            crossed_at,
        }))
    }

    /// Finds the time at which a limit was crossed: in the points of the whole time, then in those of
    /// the window between two points.
    async fn crossing(
        &mut self,
        budget: &Budget,
        mut points: Vec<(Timestamp, f64)>,
    ) -> Result<Option<Timestamp>, CallError> {
        let mut before = 0.0;
        let mut end = self.now;
        for narrowing in 0.. {
            let mut sum = before;
            let crossing = points.iter().position(|(_, amount)| {
                sum += amount;
                sum >= budget.limit
            });
            // The figures of a window may be rounded below those of the whole.
            let index = crossing.unwrap_or(points.len().saturating_sub(1));
            let Some((at, _)) = points.get(index).copied() else {
                return Ok(None);
            };
            before += points
                .iter()
                .take(index)
                .map(|(_, amount)| amount)
                .sum::<f64>();
            // A graph may end with its last request.
            end = match points.get(index + 1) {
                Some((next, _)) => *next,
                None => at
                    .saturating_add(point_distance(&points))
                    .unwrap_or(end)
                    .min(end),
            };
            let is_narrow = end.duration_since(at) <= CROSSING_PRECISION;
            if is_narrow || narrowing >= MAX_NARROWING {
                return Ok(Some(at));
            }
            match self.points(budget, at, end).await? {
                Some(window) if !window.is_empty() => points = window,
                _ => return Ok(Some(at)),
            }
        }
        Ok(None)
    }

    /// Reads the amounts over a time, in the unit of the limit; `None` if no steps are left.
    async fn points(
        &mut self,
        budget: &Budget,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Option<Vec<(Timestamp, f64)>>, CallError> {
        let Some(left) = self.steps_left.checked_sub(1) else {
            return Ok(None);
        };
        self.steps_left = left;
        let mut args = budget.filter.clone();
        args.insert("time_of_generation_min".to_owned(), from.to_string().into());
        args.insert("time_of_generation_max".to_owned(), to.to_string().into());
        let graph = self.steps.read(budget.measure.graph(), args).await?;
        let points = graph.get("data_points").and_then(Value::as_array);
        let points = points.map(Vec::as_slice).unwrap_or_default();
        let read = points.iter().filter_map(|point| {
            let amount = point.get("total").and_then(Value::as_f64)?;
            Some((
                timestamp(point.get("timestamp")?)?,
                budget.measure.convert(amount),
            ))
        });
        Ok(Some(read.collect()))
    }

    fn row(&self, budget: &Budget, usage: &Usage) -> Map<String, Value> {
        let left = budget.limit - usage.used;
        let days_left = left / usage.per_day;
        let exhausted_at = (left > 0.0 && usage.per_day > 0.0 && days_left < FORECAST_DAYS)
            .then(|| {
                self.now
                    .checked_add(SignedDuration::from_secs_f64(days_left * 86_400.0))
                    .ok()
            })
            .flatten()
            .filter(|at| budget.resets_at.is_none_or(|reset| *at < reset));
        let state = match (left <= 0.0, exhausted_at.is_some()) {
            (true, _) => "over",
            (false, true) => "at_risk",
            (false, false) => "ok",
        };
        let show = |amount| budget.measure.show(amount);
        let time = |at: Option<Timestamp>| at.map_or(Value::Null, |at| minute(at).into());
        arguments([
            ("holder", budget.kind.into()),
            ("name", budget.name.as_str().into()),
            ("state", state.into()),
            ("used", show(usage.used)),
            ("limit", show(budget.limit)),
            ("unit", budget.measure.unit().into()),
            ("percent", round(usage.used / budget.limit * 100.0, 10.0)),
            ("crossed_at", time(usage.crossed_at)),
            ("per_day", show(usage.per_day)),
            ("exhausted_at", time(exhausted_at)),
            ("resets_at", time(budget.resets_at)),
        ])
    }
}

/// Returns the time between two points of a graph; a day if there is one point.
fn point_distance(points: &[(Timestamp, f64)]) -> SignedDuration {
    match points {
        [(first, _), (second, _), ..] => second.duration_since(*first),
        _ => SignedDuration::from_hours(24),
    }
}

/// Returns the slug or the name of a holder.
fn holder_name(holder: &Value) -> String {
    let name = ["slug", "name", "id"]
        .iter()
        .find_map(|field| holder.get(field)?.as_str());
    name.unwrap_or("(unnamed)").chars().take(80).collect()
}

fn timestamp(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// Returns a time to the minute, as `2026-11-18T10:59Z`.
fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%MZ").to_string()
}

fn round(number: f64, parts: f64) -> Value {
    // The sum of no amounts is a negative zero.
    json!((number * parts).round() / parts + 0.0)
}

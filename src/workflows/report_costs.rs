//! `report-costs`: the spending of a period, beside that of the period before.

use std::{collections::BTreeMap, time::Duration};

use futures_util::FutureExt;
use portkey_operation::{EndTime, InputError, JsonMap, RANGE_FORMS, StartTime, TimeRange, get};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Listing, MAX_STEPS, Steps, Workflow, arguments,
    chart::{Bar, BarChart, ChartFormat, MAX_BARS},
    list::List,
    money::{Dollars, cents_of},
    text,
    workspace_sight::{IfAbsent, look_up_workspace},
};
use crate::pipeline::CallError;

const COST_OPERATION: &str = "get-cost-graph";
const WORKSPACES_OPERATION: &str = "list-all-workspaces";
const KEYS_OPERATION: &str = "list-all-api-keys";
/// Default period.
const DEFAULT_PERIOD: &str = "30d";
/// Length of a year, without its leap day.
const YEAR_SECONDS: u64 = 365 * 24 * 3600;
/// Minimum and maximum length of a period. Nobody has costs of more years.
const MIN_RANGE: Duration = Duration::from_secs(1);
const MAX_RANGE: Duration = Duration::from_secs(10 * YEAR_SECONDS);
/// Default and maximum number of groups in the answer.
const DEFAULT_GROUPS: usize = 10;
const MAX_GROUPS: u64 = 100;
/// Number of groups whose cost changed most.
const MAX_MOVERS: usize = 3;
/// Maximum length of the name of a group, in characters.
const MAX_NAME_CHARS: usize = 80;

pub(super) const WORKFLOW: Workflow = Workflow {
    operation: get::<ReportCosts>("report-costs", "/")
        .with_search_terms(&[
            "what did we spend",
            "how much did it cost",
            "bill of last month",
            "spend compared",
            "chargeback",
            "Kosten im letzten Monat",
        ])
        // Names of users and values of metadata come from requests.
        .returns_untrusted_content(),
    needs: &[COST_OPERATION],
    needs_of_call: |args| vec![grouping(args).operation],
    listing: Listing::Everywhere,
    max_steps: MAX_STEPS,
    reads_quietly: false,
    run: |args, steps| async move { run(&args, &steps).await }.boxed(),
};

/// Report costs
///
/// Spending in US dollars, by workspace or another dimension, beside the period before.
/// Also from, to (times), workspace_slug, limit.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct ReportCosts {
    /// Such as `last month`, `2026-10` or `7d`; `30d` when left out.
    period: Option<String>,
    /// From, in place of `period`.
    #[schemars(extend("x-publish" = "hidden"))]
    from: Option<StartTime>,
    /// Until, with `from`; now when left out.
    #[schemars(extend("x-publish" = "hidden"))]
    to: Option<EndTime>,
    /// `workspace` when left out.
    by: Option<Dimension>,
    /// The key, for `metadata`.
    metadata_key: Option<String>,
    /// Only this workspace's (slug).
    #[schemars(extend("x-publish" = "hidden"))]
    workspace_slug: Option<String>,
    /// How many groups; 10 when left out.
    #[schemars(range(min = 1, max = 100), extend("x-publish" = "hidden"))]
    limit: Option<u32>,
    /// Groups as CSV.
    csv: Option<bool>,
    /// Add a chart.
    chart: Option<Chart>,
}

/// A form of a chart.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Chart {
    Png,
    Svg,
}

/// A dimension by which costs are split.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Dimension {
    Workspace,
    Model,
    Provider,
    User,
    ApiKey,
    Config,
    Prompt,
    Metadata,
}

/// The operation that splits costs by a dimension.
struct Grouping {
    /// Name of the dimension.
    name: &'static str,
    operation: &'static str,
    /// Value of `group_by`, for the operation that takes it.
    group_by: Option<&'static str>,
    /// Field of a group that has its name.
    name_field: &'static str,
}

static BY_WORKSPACE: Grouping = group("workspace", "get-workspaces-grouped-data", "workspace");

static GROUPINGS: &[Grouping] = &[
    group("workspace", "get-workspaces-grouped-data", "workspace"),
    group("model", "get-ai-models-grouped-data", "ai_model"),
    group("provider", "get-provider-grouped-data", "provider"),
    group("user", "get-users-grouped-data", "user"),
    group("metadata", "get-metadata-grouped-data", "metadata_value"),
    group_by("api_key"),
    group_by("config"),
    group_by("prompt"),
];

const fn group(name: &'static str, operation: &'static str, name_field: &'static str) -> Grouping {
    Grouping {
        name,
        operation,
        group_by: None,
        name_field,
    }
}

const fn group_by(name: &'static str) -> Grouping {
    Grouping {
        group_by: Some(name),
        ..group(name, "get-analytics-grouped-data", name)
    }
}

/// Returns the grouping that a call wants.
fn grouping(args: &JsonMap) -> &'static Grouping {
    let wanted = text(args, "by").unwrap_or("workspace");
    let found = GROUPINGS.iter().find(|grouping| grouping.name == wanted);
    // Validation has rejected other names.
    found.unwrap_or(&BY_WORKSPACE)
}

/// Cost of a group in both periods.
#[derive(Clone, Copy, Default)]
struct GroupCost {
    current: Dollars,
    /// Meaningful only if the groups of the period before were read.
    previous: Dollars,
}

async fn run(args: &JsonMap, steps: &Steps) -> Result<Value, CallError> {
    let grouping = grouping(args);
    let range = requested_range(args, steps)?;
    if (grouping.name == "metadata") != args.contains_key("metadata_key") {
        let what = match grouping.name {
            "metadata" => "is required with `by: metadata`",
            _ => "goes with `by: metadata` only",
        };
        return Err(InputError::new("metadata_key", what).into());
    }
    if args.contains_key("chart") && args.get("csv") == Some(&Value::Bool(true)) {
        return Err(InputError::new("chart", "excludes `csv`: give one or the other").into());
    }
    let mut report = Report {
        args,
        steps,
        grouping,
        missing: Vec::new(),
    };
    let workspace = text(args, "workspace_slug");
    let sight = look_up_workspace(steps, "workspace_slug", workspace, IfAbsent::Doubt).await?;
    report.missing.extend(sight.doubt);
    let total = report.total(&range).await?;
    let previous_range = range.previous();
    let mut groups: BTreeMap<String, GroupCost> = BTreeMap::new();
    let costs = report.groups(&range).await?;
    for (name, cost) in with_rest(costs, total, args) {
        groups.entry(name).or_default().current += cost;
    }
    let mut previous = None;
    let mut has_previous_groups = false;
    if let Some(range) = &previous_range {
        previous = report
            .total(range)
            .await
            .map_err(|error| report.miss("the period before", error))
            .ok();
        match report.groups(range).await {
            Ok(costs) => {
                has_previous_groups = true;
                for (name, cost) in with_rest(costs, previous.unwrap_or_default(), args) {
                    groups.entry(name).or_default().previous += cost;
                }
            }
            Err(error) => report.miss("the groups of the period before", error),
        }
    }
    let budgets = match grouping.name {
        "workspace" => report.budgets().await,
        _ => BTreeMap::new(),
    };
    let mut ranked: Vec<(String, GroupCost)> = groups.into_iter().collect();
    ranked.sort_by_key(|(_, cost)| std::cmp::Reverse(cost.current));
    let key_names = match grouping.name {
        "api_key" => report.key_names().await,
        _ => BTreeMap::new(),
    };
    let mut report_fields = arguments([
        ("unit", "USD".into()),
        ("from", range.start().into()),
        ("to", range.end().into()),
        ("total", total.into()),
        ("previous_total", previous.map_or(Value::Null, Value::from)),
        (
            "change_percent",
            previous.map_or(Value::Null, |previous| total.change_percent(previous)),
        ),
        (
            "compared_with",
            previous_range.map_or(
                Value::Null,
                |range| json!({ "from": range.start(), "to": range.end() }),
            ),
        ),
        ("by", grouping.name.into()),
    ]);
    if args.get("csv") == Some(&Value::Bool(true)) {
        let names = (grouping.name == "api_key").then_some(&key_names);
        let csv = render_csv(grouping.name, &ranked, names, has_previous_groups);
        report_fields.extend(arguments([
            ("csv", csv.into()),
            ("not_included", report.missing_or_null()),
        ]));
        return Ok(Value::Object(report_fields));
    }
    // Groups have the name of a key, and its id beside it.
    let named = |name: &str| -> JsonMap {
        let known = key_names.get(name);
        arguments([
            ("name", known.map_or(name, String::as_str).into()),
            ("id", known.map_or(Value::Null, |_| name.into())),
        ])
    };
    let limit = args
        .get("limit")
        .and_then(Value::as_u64)
        .unwrap_or(DEFAULT_GROUPS as u64);
    let limit = usize::try_from(limit.min(MAX_GROUPS)).unwrap_or(DEFAULT_GROUPS);
    let mut movers: Vec<&(String, GroupCost)> = ranked
        .iter()
        .filter(|(_, cost)| has_previous_groups && cost.current != cost.previous)
        .collect();
    movers.sort_by_key(|(_, cost)| std::cmp::Reverse(cost.current.difference(cost.previous)));
    let movers: Vec<Value> = movers
        .into_iter()
        .take(MAX_MOVERS)
        .map(|(name, cost)| {
            let mut mover = named(name);
            let change = cost.current.signed_difference(cost.previous);
            mover.insert("change".to_owned(), change.into());
            Value::Object(mover)
        })
        .collect();
    let shown: Vec<Value> = ranked
        .iter()
        .take(limit)
        .map(|(name, cost)| {
            let mut row = named(name);
            row.extend(arguments([
                ("cost", cost.current.into()),
                (
                    "previous",
                    match has_previous_groups {
                        true => cost.previous.into(),
                        false => Value::Null,
                    },
                ),
                ("share_percent", cost.current.percent_of(total)),
            ]));
            if let Some(budget) = budgets.get(name) {
                row.insert("budget".to_owned(), (*budget).into());
            }
            Value::Object(row)
        })
        .collect();
    let rest: Dollars = ranked
        .iter()
        .skip(limit)
        .map(|(_, cost)| cost.current)
        .sum();
    let others = ranked.len().saturating_sub(limit);
    let others = match others {
        0 => Value::Null,
        count => json!({ "groups": count, "cost": rest }),
    };
    let chart = match text(args, "chart") {
        Some("svg") => Some(ChartFormat::Svg),
        Some(_) => Some(ChartFormat::Png),
        None => None,
    };
    let chart = chart.and_then(|format| {
        let title = chart_title(&range, grouping);
        let named: Vec<(String, GroupCost)> = ranked
            .iter()
            .map(|(name, cost)| (key_names.get(name).unwrap_or(name).clone(), *cost))
            .collect();
        draw_chart(title, &named, has_previous_groups).to_json(format)
    });
    report_fields.extend(arguments([
        ("groups", shown.into()),
        ("others", others),
        ("top_movers", movers.into()),
        ("not_included", report.missing_or_null()),
        ("chart", chart.unwrap_or_default()),
    ]));
    Ok(Value::Object(report_fields))
}

/// Returns the range that a call asks for.
pub(super) fn requested_range(args: &JsonMap, steps: &Steps) -> Result<TimeRange, InputError> {
    let range = parse_range(args, steps)?;
    let at = match text(args, "from") {
        Some(_) => "from",
        None => "period",
    };
    match range.length() {
        length if length < MIN_RANGE => Err(InputError::new(
            at,
            format!("is less than a second, in which nothing was spent; {RANGE_FORMS}"),
        )),
        length if length > MAX_RANGE => {
            let years = MAX_RANGE.as_secs() / YEAR_SECONDS;
            Err(InputError::new(at, format!("is longer than {years} years")))
        }
        _ => Ok(range),
    }
}

/// Returns the range that a call names, however long it is.
fn parse_range(args: &JsonMap, steps: &Steps) -> Result<TimeRange, InputError> {
    let period = text(args, "period");
    let from = text(args, "from");
    let to = text(args, "to");
    match (period, from, to) {
        (Some(_), Some(_), _) | (Some(_), None, Some(_)) => Err(InputError::new(
            "period",
            "excludes `from` and `to`: give one or the other",
        )),
        (None, None, Some(_)) => Err(InputError::new("from", "is required with `to`")),
        (None, Some(from), to) => TimeRange::between(from, to, steps.clock())
            .ok_or_else(|| InputError::new("to", "is not after `from`")),
        (period, None, None) => {
            let period = period.unwrap_or(DEFAULT_PERIOD);
            TimeRange::parse(period, steps.clock()).ok_or_else(|| {
                InputError::new("period", format!("{RANGE_FORMS}, and has to have begun"))
            })
        }
    }
}

/// The reads of a report.
struct Report<'a> {
    args: &'a JsonMap,
    steps: &'a Steps,
    grouping: &'static Grouping,
    /// Parts that the report lacks, each with the reason.
    missing: Vec<String>,
}

impl Report<'_> {
    /// Returns the arguments that select the requests of a range.
    fn traffic(&self, range: &TimeRange) -> JsonMap {
        arguments([
            ("time_of_generation_min", range.start().into()),
            ("time_of_generation_max", range.end().into()),
            (
                "workspace_slug",
                text(self.args, "workspace_slug").map_or(Value::Null, Value::from),
            ),
        ])
    }

    async fn total(&self, range: &TimeRange) -> Result<Dollars, CallError> {
        let graph = self.steps.read(COST_OPERATION, self.traffic(range)).await?;
        let total = graph.pointer("/summary/total").and_then(cents_of);
        total.ok_or_else(|| {
            let what = format!("`{COST_OPERATION}` returned no `summary.total`");
            InputError::new("", what).into()
        })
    }

    /// Returns the cost of each group, unnamed groups as one.
    async fn groups(&mut self, range: &TimeRange) -> Result<Vec<(String, Dollars)>, CallError> {
        let Grouping {
            operation,
            group_by,
            name_field,
            ..
        } = *self.grouping;
        let mut args = self.traffic(range);
        if let Some(dimension) = group_by {
            args.insert("group_by".to_owned(), dimension.into());
            args.insert("columns".to_owned(), "cost".into());
        }
        if let Some(key) = self.args.get("metadata_key") {
            args.insert("metadata_key".to_owned(), key.clone());
        }
        let list = List::read_pages(self.steps, operation, args).await?;
        if let Err(error) = list.require_complete("a group") {
            self.missing.push(error.to_string());
        }
        let costs = list.items.iter().filter_map(|group| {
            let name = match group.get(name_field) {
                Some(Value::String(name)) if !name.is_empty() => truncate_name(name),
                Some(Value::Number(number)) => number.to_string(),
                _ => rest_name(self.args),
            };
            Some((name, group.get("cost").and_then(cents_of)?))
        });
        Ok(costs.collect())
    }

    /// Returns the budgets of the workspaces in dollars, by slug.
    async fn budgets(&mut self) -> BTreeMap<String, Dollars> {
        let list = List::read_pages(self.steps, WORKSPACES_OPERATION, JsonMap::new()).await;
        let items = match list {
            Ok(list) => list.items,
            Err(error) => {
                self.miss("the budgets of the workspaces", error);
                return BTreeMap::new();
            }
        };
        let budget = |workspace: &Value| {
            let slug = workspace.get("slug")?.as_str()?.to_owned();
            let limits = workspace.get("usage_limits")?.as_array()?;
            let is_cost = |limit: &&Value| limit.get("type").is_none_or(|kind| kind == "cost");
            let limit = limits.iter().find(is_cost)?.get("credit_limit")?.as_f64()?;
            Some((slug, Dollars::from_dollars(limit)))
        };
        items.iter().filter_map(budget).collect()
    }

    /// Returns the names of the keys, by id.
    async fn key_names(&mut self) -> BTreeMap<String, String> {
        let workspace = text(self.args, "workspace_slug").map_or(Value::Null, Value::from);
        let args = arguments([("workspace_id", workspace)]);
        let list = match List::read_pages(self.steps, KEYS_OPERATION, args).await {
            Ok(list) => list,
            Err(error) => {
                self.miss("the names of the keys", error);
                return BTreeMap::new();
            }
        };
        let field = |key: &Value, name: &str| key.get(name)?.as_str().map(str::to_owned);
        let names = list.items.iter().filter_map(|key| {
            let name = field(key, "name").filter(|name| !name.is_empty())?;
            Some((field(key, "id")?, truncate_name(&name)))
        });
        names.collect()
    }

    /// Notes that a part is missing.
    fn miss(&mut self, part: &str, error: CallError) {
        self.missing.push(format!("{part}: {error}"));
    }

    fn missing_or_null(self) -> Value {
        match self.missing.is_empty() {
            true => Value::Null,
            false => self.missing.into(),
        }
    }
}

fn chart_title(range: &TimeRange, grouping: &Grouping) -> String {
    let day = |time: String| time.get(..10).unwrap_or_default().to_owned();
    let (from, to) = (day(range.start()), day(range.end()));
    format!("Cost in USD by {}, {from} to {to}", grouping.name)
}

/// Draws the groups with the highest cost, and the others as one.
fn draw_chart(title: String, ranked: &[(String, GroupCost)], has_previous: bool) -> BarChart {
    let bar = |name: String, cost: GroupCost| Bar {
        name,
        current: cost.current.as_dollars(),
        previous: has_previous.then(|| cost.previous.as_dollars()),
    };
    let count = match ranked.len() > MAX_BARS {
        true => MAX_BARS - 1,
        false => ranked.len(),
    };
    let (shown, rest) = ranked.split_at(count);
    let mut bars: Vec<Bar> = shown
        .iter()
        .map(|(name, cost)| bar(name.clone(), *cost))
        .collect();
    if !rest.is_empty() {
        let sum = |of: fn(&GroupCost) -> Dollars| -> Dollars {
            rest.iter().map(|(_, cost)| of(cost)).sum()
        };
        let others = GroupCost {
            current: sum(|cost| cost.current),
            previous: sum(|cost| cost.previous),
        };
        bars.push(bar(format!("{} others", rest.len()), others));
    }
    BarChart { title, bars }
}

fn truncate_name(name: &str) -> String {
    match name.char_indices().nth(MAX_NAME_CHARS) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// Adds what belongs to no group: requests without the metadata key, without a config, and so on.
fn with_rest(
    mut costs: Vec<(String, Dollars)>,
    total: Dollars,
    args: &JsonMap,
) -> Vec<(String, Dollars)> {
    let grouped: Dollars = costs.iter().map(|(_, cost)| *cost).sum();
    let rest = total.signed_difference(grouped);
    // Smaller amounts come from rounding.
    if rest >= Dollars::from_cents(1.0) {
        costs.push((rest_name(args), rest));
    }
    costs
}

/// Returns the name of the requests that belong to no group.
fn rest_name(args: &JsonMap) -> String {
    let name = text(args, "metadata_key").unwrap_or(grouping(args).name);
    format!("(without {})", truncate_name(name))
}

/// Renders groups as CSV, by RFC 4180. `names` are those of groups that are told apart by ids, in a column of
/// their own.
fn render_csv(
    dimension: &str,
    groups: &[(String, GroupCost)],
    names: Option<&BTreeMap<String, String>>,
    has_previous: bool,
) -> String {
    let name_column = names.map_or("", |_| ",name");
    let mut csv = format!("{dimension}{name_column},cost_usd,previous_usd\r\n");
    for (group, cost) in groups {
        csv.push_str(&csv_field(group));
        if let Some(names) = names {
            csv.push(',');
            csv.push_str(&csv_field(names.get(group).map_or("", String::as_str)));
        }
        csv.push_str(&match has_previous {
            true => format!(",{},{}\r\n", cost.current, cost.previous),
            false => format!(",{},\r\n", cost.current),
        });
    }
    csv
}

/// Quotes a field of CSV. A name that a spreadsheet would take for a formula gets an apostrophe.
fn csv_field(name: &str) -> String {
    let name = match name.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{name}"),
        false => name.to_owned(),
    };
    match name.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_fields_are_quoted_and_never_formulas() {
        for (name, field) in [
            ("ws-research", "ws-research"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=1+1", "'=1+1"),
        ] {
            assert_eq!(csv_field(name), field);
        }
    }

    #[test]
    fn every_dimension_has_an_operation() {
        for grouping in GROUPINGS {
            let by = serde_json::from_value::<Dimension>(grouping.name.into());
            assert!(by.is_ok(), "{}", grouping.name);
        }
    }
}

//! Groups: the traffic of a period by model, user, provider, workspace or label.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    filters::TrafficFilters,
    row::TrafficRow,
    total::{TrafficTotal, count_as_f64, round_to_4_places},
};
use crate::{
    api_error::ApiError,
    call::ApiCall,
    clock,
    crud::ApiResult,
    page::{Envelope, Paging},
    store::{Item, Store},
};

/// A dimension for grouping.
struct Dimension {
    /// Last part of the dimension's path.
    path: &'static str,
    /// Field with the name of a group.
    field: &'static str,
    /// Getter of the group of a row.
    group_of: fn(&TrafficRow<'_>) -> String,
    /// Format of the figures.
    style: FigureStyle,
}

/// Format of the figures in a group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FigureStyle {
    /// Texts, the format of the oldest dimensions.
    Texts,
    /// Numbers.
    Numbers,
    /// Numbers, in the requested columns.
    Columns,
}

const DIMENSIONS: &[Dimension] = &[
    new_dimension(
        "ai-models",
        "ai_model",
        |row| row.origin.model.clone(),
        FigureStyle::Texts,
    ),
    new_dimension(
        "users",
        "user",
        |row| row.origin.label("_user").unwrap_or_default().to_owned(),
        FigureStyle::Texts,
    ),
    new_dimension(
        "workspaces",
        "workspace",
        |row| row.origin.workspace.clone(),
        FigureStyle::Numbers,
    ),
    new_dimension(
        "provider",
        "provider",
        |row| row.origin.provider.clone(),
        FigureStyle::Columns,
    ),
    new_dimension(
        "ai_service",
        "ai_service",
        |row| row.origin.provider.clone(),
        FigureStyle::Columns,
    ),
    new_dimension(
        "model",
        "model",
        |row| row.origin.model.clone(),
        FigureStyle::Columns,
    ),
    new_dimension(
        "status_code",
        "status_code",
        |row| row.status.to_string(),
        FigureStyle::Columns,
    ),
    new_dimension(
        "api_key",
        "api_key",
        |row| row.origin.api_key.clone(),
        FigureStyle::Columns,
    ),
    new_dimension(
        "config",
        "config",
        |row| row.origin.config.clone(),
        FigureStyle::Columns,
    ),
    new_dimension(
        "workspace",
        "workspace",
        |row| row.origin.workspace.clone(),
        FigureStyle::Columns,
    ),
    new_dimension(
        "prompt",
        "prompt",
        |row| row.origin.prompt.clone(),
        FigureStyle::Columns,
    ),
];

const fn new_dimension(
    path: &'static str,
    field: &'static str,
    of: fn(&TrafficRow<'_>) -> String,
    style: FigureStyle,
) -> Dimension {
    Dimension {
        path,
        field,
        group_of: of,
        style,
    }
}

/// Name and getter of a column that can be requested.
type Column = (&'static str, fn(&TrafficTotal) -> Value);

const COLUMNS: &[Column] = &[
    ("cost", |total| total.cost().into()),
    ("total_tokens", |total| total.tokens().into()),
    ("avg_tokens", |total| {
        total.per_request(count_as_f64(total.tokens())).into()
    }),
    ("avg_input_tokens", |total| {
        total.per_request(count_as_f64(total.prompt_tokens)).into()
    }),
    ("avg_output_tokens", |total| {
        total
            .per_request(count_as_f64(total.completion_tokens))
            .into()
    }),
    ("avg_latency", |total| total.mean_latency().into()),
    ("p95_latency", |total| total.percentile(95).into()),
    ("p99_latency", |total| total.percentile(99).into()),
    ("success_rate", |total| {
        round_to_4_places(100.0 - total.percent(total.errors)).into()
    }),
    ("error_count", |total| total.errors.into()),
    ("cache_hit_rate", |total| total.percent(total.hits()).into()),
    ("last_seen", |total| {
        clock::format_timestamp(total.last_at).into()
    }),
    ("first_seen", |total| {
        clock::format_timestamp(total.first_at).into()
    }),
];

/// Returns the groups of the dimension that the path names.
pub(super) fn list(store: &mut Store, call: &ApiCall) -> ApiResult {
    let path = call.handle();
    let dimension = DIMENSIONS.iter().find(|dimension| dimension.path == path);
    let missing = || ApiError::NotFound {
        object: "dimension",
        handle: path.to_owned(),
    };
    let dimension = dimension.ok_or_else(missing)?;
    let columns = match dimension.style {
        FigureStyle::Columns => parse_columns(call)?,
        FigureStyle::Texts | FigureStyle::Numbers => Vec::new(),
    };
    let mut filters = TrafficFilters::from_call(store, call)?;
    if dimension.field == "workspace" && call.caller.workspace_id().is_none() {
        // Grouping a single requested workspace by workspace would be meaningless.
        filters = filters.with_all_workspaces();
    }
    page_groups(
        store,
        call,
        &filters,
        |row| Some((dimension.group_of)(row)),
        |name, total| {
            let mut group = Item::from_iter([(dimension.field.to_owned(), name.into())]);
            let (requests, cost): (Value, Value) = match dimension.style {
                FigureStyle::Texts => (
                    total.requests.to_string().into(),
                    total.cost().to_string().into(),
                ),
                FigureStyle::Numbers | FigureStyle::Columns => {
                    (total.requests.into(), total.cost().into())
                }
            };
            group.insert("requests".to_owned(), requests);
            if columns.is_empty() {
                group.insert("cost".to_owned(), cost);
            }
            group.extend(
                columns
                    .iter()
                    .map(|(name, of)| ((*name).to_owned(), of(total))),
            );
            group
        },
    )
}

/// Parses the requested columns.
fn parse_columns(call: &ApiCall) -> Result<Vec<&'static Column>, ApiError> {
    let asked = call.query("columns").unwrap_or_default();
    let asked = asked
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    asked
        .map(|name| {
            let known = COLUMNS.iter().find(|(known, _)| *known == name);
            known.ok_or_else(|| ApiError::invalid_field("columns", format_args!("has no `{name}`")))
        })
        .collect()
}

/// Groups by the values of the metadata key in the path. Requests without that key are excluded.
pub(super) fn list_metadata(store: &mut Store, call: &ApiCall) -> ApiResult {
    let filters = TrafficFilters::from_call(store, call)?;
    let value = |row: &TrafficRow<'_>| row.origin.label(call.handle()).map(str::to_owned);
    page_groups(store, call, &filters, value, |name, total| {
        let group = json!({
            "metadata_value": name,
            "requests": total.requests,
            "cost": total.cost(),
            "avg_tokens": total.tokens() / total.requests.max(1),
            "avg_weighted_feedback": total.weighted_feedback(),
            "requests_with_feedback": total.rated_requests,
            "last_seen": clock::format_timestamp(total.last_at),
        });
        group.as_object().cloned().unwrap_or_default()
    })
}

/// Returns a page of groups, ordered by descending number of requests.
fn page_groups(
    store: &Store,
    call: &ApiCall,
    filters: &TrafficFilters,
    group_of: impl Fn(&TrafficRow<'_>) -> Option<String>,
    show: impl Fn(&str, &TrafficTotal) -> Item,
) -> ApiResult {
    let mut groups: BTreeMap<String, TrafficTotal> = BTreeMap::new();
    for row in &filters.apply(store) {
        if let Some(name) = group_of(row) {
            groups.entry(name).or_default().add(row);
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, total)| std::cmp::Reverse(total.requests));
    let (shown, more) = Paging::zero_based(50, usize::MAX).select_page(call, &groups)?;
    let shown = shown.iter().map(|(name, total)| {
        let mut group = show(name, total);
        group.insert("object".to_owned(), "analytics-group".into());
        Value::Object(group)
    });
    Ok(Envelope::LIST.wrap(groups.len(), more, shown.collect()))
}

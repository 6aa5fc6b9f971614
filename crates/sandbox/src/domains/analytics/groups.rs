//! Groups: the traffic of a period by model, user, provider, workspace or label.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    filters::Filters,
    row::Row,
    total::{Total, round, whole},
};
use crate::{
    call::Call,
    clock,
    crud::Outcome,
    page::{Envelope, Paging},
    refusal::Refusal,
    store::{Item, Store},
};

/// A dimension for grouping.
struct Dimension {
    /// Last part of the dimension's path.
    path: &'static str,
    /// Field with the name of a group.
    field: &'static str,
    /// Getter of the group of a row.
    of: fn(&Row<'_>) -> String,
    /// Format of the figures.
    style: Style,
}

/// Format of the figures in a group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Texts, the format of the oldest dimensions.
    Texts,
    /// Numbers.
    Numbers,
    /// Numbers, in the requested columns.
    Columns,
}

const DIMENSIONS: &[Dimension] = &[
    by(
        "ai-models",
        "ai_model",
        |row| row.origin.model.clone(),
        Style::Texts,
    ),
    by(
        "users",
        "user",
        |row| row.origin.label("_user").unwrap_or_default().to_owned(),
        Style::Texts,
    ),
    by(
        "workspaces",
        "workspace",
        |row| row.origin.workspace.clone(),
        Style::Numbers,
    ),
    by(
        "provider",
        "provider",
        |row| row.origin.provider.clone(),
        Style::Columns,
    ),
    by(
        "ai_service",
        "ai_service",
        |row| row.origin.provider.clone(),
        Style::Columns,
    ),
    by(
        "model",
        "model",
        |row| row.origin.model.clone(),
        Style::Columns,
    ),
    by(
        "status_code",
        "status_code",
        |row| row.status.to_string(),
        Style::Columns,
    ),
    by(
        "api_key",
        "api_key",
        |row| row.origin.api_key.clone(),
        Style::Columns,
    ),
    by(
        "config",
        "config",
        |row| row.origin.config.clone(),
        Style::Columns,
    ),
    by(
        "workspace",
        "workspace",
        |row| row.origin.workspace.clone(),
        Style::Columns,
    ),
    by(
        "prompt",
        "prompt",
        |row| row.origin.prompt.clone(),
        Style::Columns,
    ),
];

const fn by(
    path: &'static str,
    field: &'static str,
    of: fn(&Row<'_>) -> String,
    style: Style,
) -> Dimension {
    Dimension {
        path,
        field,
        of,
        style,
    }
}

/// Name and getter of a column that can be requested.
type Column = (&'static str, fn(&Total) -> Value);

const COLUMNS: &[Column] = &[
    ("cost", |total| total.cost().into()),
    ("total_tokens", |total| total.tokens().into()),
    ("avg_tokens", |total| {
        total.per_request(whole(total.tokens())).into()
    }),
    ("avg_input_tokens", |total| {
        total.per_request(whole(total.asked)).into()
    }),
    ("avg_output_tokens", |total| {
        total.per_request(whole(total.answered)).into()
    }),
    ("avg_latency", |total| total.latency().into()),
    ("p95_latency", |total| total.percentile(95).into()),
    ("p99_latency", |total| total.percentile(99).into()),
    ("success_rate", |total| {
        round(100.0 - total.percent(total.errors)).into()
    }),
    ("error_count", |total| total.errors.into()),
    ("cache_hit_rate", |total| total.percent(total.hits()).into()),
    ("last_seen", |total| clock::written(total.last).into()),
    ("first_seen", |total| clock::written(total.first).into()),
];

/// Returns the groups of the dimension that the path names.
pub(super) fn list(store: &mut Store, call: &Call) -> Outcome {
    let path = call.handle();
    let dimension = DIMENSIONS.iter().find(|dimension| dimension.path == path);
    let missing = || Refusal::Missing {
        object: "dimension",
        handle: path.to_owned(),
    };
    let dimension = dimension.ok_or_else(missing)?;
    let columns = match dimension.style {
        Style::Columns => columns(call)?,
        Style::Texts | Style::Numbers => Vec::new(),
    };
    let mut filters = Filters::of(store, call)?;
    if dimension.field == "workspace" && call.caller.workspace().is_none() {
        // Grouping a single requested workspace by workspace would be meaningless.
        filters = filters.everywhere();
    }
    page(
        store,
        call,
        &filters,
        |row| Some((dimension.of)(row)),
        |name, total| {
            let mut group = Item::from_iter([(dimension.field.to_owned(), name.into())]);
            let (requests, cost): (Value, Value) = match dimension.style {
                Style::Texts => (
                    total.requests.to_string().into(),
                    total.cost().to_string().into(),
                ),
                Style::Numbers | Style::Columns => (total.requests.into(), total.cost().into()),
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
fn columns(call: &Call) -> Result<Vec<&'static Column>, Refusal> {
    let asked = call.query("columns").unwrap_or_default();
    let asked = asked
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    asked
        .map(|name| {
            let known = COLUMNS.iter().find(|(known, _)| *known == name);
            known.ok_or_else(|| Refusal::field("columns", format_args!("has no `{name}`")))
        })
        .collect()
}

/// Groups by the values of the metadata key in the path. Requests without that key are excluded.
pub(super) fn list_metadata(store: &mut Store, call: &Call) -> Outcome {
    let filters = Filters::of(store, call)?;
    let value = |row: &Row<'_>| row.origin.label(call.handle()).map(str::to_owned);
    page(store, call, &filters, value, |name, total| {
        let group = json!({
            "metadata_value": name,
            "requests": total.requests,
            "cost": total.cost(),
            "avg_tokens": total.tokens() / total.requests.max(1),
            "avg_weighted_feedback": total.weighted_feedback(),
            "requests_with_feedback": total.rated,
            "last_seen": clock::written(total.last),
        });
        group.as_object().cloned().unwrap_or_default()
    })
}

/// Returns a page of groups, ordered by descending number of requests.
fn page(
    store: &Store,
    call: &Call,
    filters: &Filters,
    group_of: impl Fn(&Row<'_>) -> Option<String>,
    show: impl Fn(&str, &Total) -> Item,
) -> Outcome {
    let mut groups: BTreeMap<String, Total> = BTreeMap::new();
    for row in &filters.apply(store) {
        if let Some(name) = group_of(row) {
            groups.entry(name).or_default().add(row);
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, total)| std::cmp::Reverse(total.requests));
    let (shown, more) = Paging::zero_based(50, usize::MAX).cut(call, &groups)?;
    let shown = shown.iter().map(|(name, total)| {
        let mut group = show(name, total);
        group.insert("object".to_owned(), "analytics-group".into());
        Value::Object(group)
    });
    Ok(Envelope::LIST.wrap(groups.len(), more, shown.collect()))
}

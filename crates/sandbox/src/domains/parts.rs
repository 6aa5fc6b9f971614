//! Fields and filters that several domains share: limits, secret mappings, common filters.

use serde_json::{Value, json};

use crate::{
    field::{Field, Kind, List, Preset, Shape},
    resource::Filter,
    store::{Item, text},
};

/// A budget of money or tokens per reset period.
pub(super) static USAGE_LIMIT: Shape = Shape {
    fields: &[
        Field::new("credit_limit", Kind::Whole(1, i64::MAX)),
        Field::new("type", Kind::Choice(&["cost", "tokens"])),
        Field::new("alert_threshold", Kind::Whole(1, i64::MAX)),
        Field::new("periodic_reset", Kind::Choice(&["monthly", "weekly"]))
            .nullable()
            .preset(Preset::Null),
        Field::new("periodic_reset_days", Kind::Whole(1, 365))
            .nullable()
            .preset(Preset::Null),
        Field::new("next_usage_reset_at", Kind::Instant)
            .nullable()
            .preset(Preset::Null),
    ],
    rule: check_usage_limit,
    open: false,
};

fn check_usage_limit(limit: &Item) -> Result<(), &'static str> {
    let number = |name: &str| limit.get(name).and_then(Value::as_i64);
    let given = |name: &str| limit.get(name).is_some_and(|value| !value.is_null());
    match (number("alert_threshold"), number("credit_limit")) {
        (Some(alert), Some(limit)) if alert >= limit => {
            return Err("must have its alert_threshold below its credit_limit");
        }
        _ => {}
    }
    match given("periodic_reset") && given("periodic_reset_days") {
        true => Err("can have periodic_reset or periodic_reset_days, not both"),
        false => Ok(()),
    }
}

/// A rate of requests or tokens per minute, hour, day or week.
pub(super) static RATE_LIMIT: Shape = Shape::of(&[
    Field::new("type", Kind::Choice(&["requests", "tokens"])),
    Field::new("unit", Kind::Choice(&["rpm", "rph", "rpd", "rpw"])),
    Field::new("value", Kind::Whole(0, i64::MAX)),
]);

/// At most one budget.
pub(super) static USAGE_LIMITS: List = List {
    most: 1,
    ..List::of(Kind::Shape(&USAGE_LIMIT))
};

/// At most one rate.
pub(super) static RATE_LIMITS: List = List {
    most: 1,
    ..List::of(Kind::Shape(&RATE_LIMIT))
};

static SECRET_MAPPING: Shape = Shape {
    fields: &[
        Field::new("target_field", Kind::Name).required(),
        Field::new("secret_reference_id", Kind::Name).required(),
        Field::new("secret_key", Kind::Text)
            .nullable()
            .preset(Preset::Null),
        Field::new("value_format", Kind::Choice(&["json", "string"]))
            .nullable()
            .preset(Preset::Null),
    ],
    rule: check_secret_mapping,
    open: false,
};

fn check_secret_mapping(mapping: &Item) -> Result<(), &'static str> {
    let target = mapping
        .get("target_field")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let inside = target
        .strip_prefix("configurations.")
        .or(target.strip_prefix("model_config."));
    match target == "key" || inside.is_some_and(|field| !field.is_empty()) {
        true => Ok(()),
        false => Err("must target `key`, `configurations.<field>` or `model_config.<field>`"),
    }
}

/// Fields filled from secret references, each at most once.
pub(super) static SECRET_MAPPINGS: List = List {
    unique: Some("target_field"),
    ..List::of(Kind::Shape(&SECRET_MAPPING))
};

/// Keeps the items whose `tags` contain all requested labels.
pub(super) const BY_TAGS: Filter = Filter {
    param: "tags",
    kind: Kind::EncodedLabels,
    keeps: Some(|_, item, asked| {
        let tag = |name: &str| item.get("tags").and_then(|tags| tags.get(name));
        let mut asked = asked.as_object().into_iter().flatten();
        asked.all(|(name, value)| tag(name) == Some(value))
    }),
};

/// Keeps the items whose names contain the text in `search`, ignoring case.
pub(super) const BY_SEARCH: Filter = Filter {
    param: "search",
    kind: Kind::Text,
    keeps: Some(|_, item, asked| {
        let asked = asked.as_str().unwrap_or_default().to_lowercase();
        text(item, "name").to_lowercase().contains(&asked)
    }),
};

/// Keeps the items whose ids are listed in `ids`.
pub(super) const BY_IDS: Filter = Filter {
    param: "ids",
    kind: Kind::Text,
    keeps: Some(|_, item, asked| {
        let mut ids = asked.as_str().unwrap_or_default().split(',');
        ids.any(|id| id.trim() == text(item, "id"))
    }),
};

/// Keeps the items of workspaces, those of the organisation, or `all`.
pub(super) const BY_TYPE: Filter = Filter {
    param: "type",
    kind: Kind::Choice(&["workspace", "organisation", "all"]),
    keeps: Some(|_, item, asked| asked == "all" || asked == level(item)),
};

/// Returns the level of an item's owner: `workspace` or `organisation`.
pub(super) fn level(item: &Item) -> &'static str {
    match item.get("workspace_id") {
        Some(Value::String(_)) => "workspace",
        _ => "organisation",
    }
}

/// Merges an object field with its previous value, so that absent fields keep their values.
pub(super) fn merge_object(before: Option<&Item>, change: &mut Item, field: &str) {
    let Some(Value::Object(given)) = change.get_mut(field) else {
        return;
    };
    // A masked value that was read and sent back is ignored.
    given.retain(|name, _| !name.starts_with("masked_"));
    if let Some(Value::Object(old)) = before.and_then(|item| item.get(field)) {
        let mut merged = old.clone();
        merged.append(given);
        *given = merged;
    }
}

/// Wraps a list in an envelope with its name: `{total, <name>}`.
pub(super) fn named_list(name: &str, items: Vec<Value>) -> Value {
    json!({ "total": items.len(), name: items })
}

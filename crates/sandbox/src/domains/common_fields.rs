//! Fields and filters that several domains share: limits, secret mappings, common filters.

use serde_json::{Value, json};

use crate::{
    field::{DefaultValue, Field, FieldType, ListSchema, ObjectSchema},
    resource::{DeriveField, ListFilter},
    store::{Item, text},
};

/// A budget of money or tokens per reset period.
pub(super) static USAGE_LIMIT: ObjectSchema = ObjectSchema {
    fields: &[
        Field::new("credit_limit", FieldType::Integer(1, i64::MAX)),
        Field::new("type", FieldType::Enum(&["cost", "tokens"])),
        Field::new("alert_threshold", FieldType::Integer(1, i64::MAX)),
        Field::new("periodic_reset", FieldType::Enum(&["monthly", "weekly"]))
            .nullable()
            .with_default(DefaultValue::Null),
        Field::new("periodic_reset_days", FieldType::Integer(1, 365))
            .nullable()
            .with_default(DefaultValue::Null),
        Field::new("next_usage_reset_at", FieldType::Timestamp)
            .nullable()
            .with_default(DefaultValue::Null),
    ],
    rule: check_usage_limit,
    keeps_unknown: false,
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
pub(super) static RATE_LIMIT: ObjectSchema = ObjectSchema::new(&[
    Field::new("type", FieldType::Enum(&["requests", "tokens"])),
    Field::new("unit", FieldType::Enum(&["rpm", "rph", "rpd", "rpw"])),
    Field::new("value", FieldType::Integer(0, i64::MAX)),
]);

/// At most one budget.
pub(super) static USAGE_LIMITS: ListSchema = ListSchema {
    max_items: 1,
    ..ListSchema::new(FieldType::Object(&USAGE_LIMIT))
};

/// At most one rate.
pub(super) static RATE_LIMITS: ListSchema = ListSchema {
    max_items: 1,
    ..ListSchema::new(FieldType::Object(&RATE_LIMIT))
};

static SECRET_MAPPING: ObjectSchema = ObjectSchema {
    fields: &[
        Field::new("target_field", FieldType::Name).required(),
        Field::new("secret_reference_id", FieldType::Name).required(),
        Field::new("secret_key", FieldType::Text)
            .nullable()
            .with_default(DefaultValue::Null),
        Field::new("value_format", FieldType::Enum(&["json", "string"]))
            .nullable()
            .with_default(DefaultValue::Null),
    ],
    rule: check_secret_mapping,
    keeps_unknown: false,
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
pub(super) static SECRET_MAPPINGS: ListSchema = ListSchema {
    unique_field: Some("target_field"),
    ..ListSchema::new(FieldType::Object(&SECRET_MAPPING))
};

/// Keeps the items whose `tags` contain all requested labels.
pub(super) const BY_TAGS: ListFilter = ListFilter {
    param: "tags",
    kind: FieldType::EncodedLabels,
    predicate: Some(|_, item, asked| {
        let tag = |name: &str| item.get("tags").and_then(|tags| tags.get(name));
        let mut asked = asked.as_object().into_iter().flatten();
        asked.all(|(name, value)| tag(name) == Some(value))
    }),
};

/// Keeps the items whose names contain the text in `search`, ignoring case.
pub(super) const BY_SEARCH: ListFilter = ListFilter {
    param: "search",
    kind: FieldType::Text,
    predicate: Some(|_, item, asked| {
        let asked = asked.as_str().unwrap_or_default().to_lowercase();
        text(item, "name").to_lowercase().contains(&asked)
    }),
};

/// Keeps the items whose ids are listed in `ids`.
pub(super) const BY_IDS: ListFilter = ListFilter {
    param: "ids",
    kind: FieldType::Text,
    predicate: Some(|_, item, asked| {
        let mut ids = asked.as_str().unwrap_or_default().split(',');
        ids.any(|id| id.trim() == text(item, "id"))
    }),
};

/// Keeps the items of workspaces, those of the organisation, or `all`.
pub(super) const BY_TYPE: ListFilter = ListFilter {
    param: "type",
    kind: FieldType::Enum(&["workspace", "organisation", "all"]),
    predicate: Some(|_, item, asked| asked == "all" || asked == owner_level(item)),
};

/// Returns the level of an item's owner: `workspace` or `organisation`.
pub(super) fn owner_level(item: &Item) -> &'static str {
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

/// Time of the last use, for calls that ask for it.
pub(super) const LAST_USED: (&str, DeriveField) = ("last_used_at", |_, call, item| {
    let is_asked = call.query("return_last_used") == Some("true");
    is_asked.then(|| item.get("last_updated_at").cloned().unwrap_or_default())
});

/// What an item has used, for calls that ask for it. Traffic of the sandbox counts for policies only.
pub(super) const USAGE: (&str, DeriveField) = ("usage", |_, call, _| {
    let is_asked = call.query("include_usage") == Some("true");
    is_asked.then(|| json!({ "current_usage": 0 }))
});

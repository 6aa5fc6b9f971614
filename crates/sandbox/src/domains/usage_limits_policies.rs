//! Usage-limits policies: budgets for matching traffic, with the usage of each group.
//!
//! Only seeded groups have usage: the cost of their traffic.

use serde_json::{Value, json};

use super::{
    analytics,
    common_fields::BY_SEARCH,
    policies::{self, BY_STATUS, CONDITIONS, DESCRIPTION, GROUPS, STATUS},
    workspaces,
};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    clock,
    crud::{ApiResult, empty_object},
    field::{DefaultValue, Field, FieldType},
    page::{Envelope, Paging},
    resource::{Hooks, ListFilter, ListSettings, PendingWrite, Resource},
    route::{ApiVersion, Domain, delete, get, put},
    store::{CollectionKey, Item, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1, ApiVersion::V2],
    resources: &[&POLICIES],
    routes: &[
        get("/policies/usage-limits", |store, call| {
            policies::list(&POLICIES, store, call)
        }),
        get("/policies/usage-limits/{id}", read),
        put("/policies/usage-limits/{id}", update),
        delete("/policies/usage-limits/{id}", |store, call| {
            policies::archive(&POLICIES, store, call)
        }),
        get("/policies/usage-limits/{id}/entities", list_entities),
        put(
            "/policies/usage-limits/{id}/entities/{entity}/reset",
            reset_entity,
        )
        .with_optional_body(),
    ],
};

/// Kind of the groups of a policy.
const ENTITIES_KIND: &str = "usage-limits-entities";

/// Private field with the time of the last usage reset.
const RESET_AT_FIELD: &str = "reset_at";

/// Field with the usage of all groups.
const USAGE_MAP_FIELD: &str = "value_key_usage_map";

/// Minimum budget in tokens.
const MIN_TOKEN_BUDGET: f64 = 100.0;

const TYPES: FieldType = FieldType::Enum(&["cost", "tokens", "requests"]);

static POLICIES: Resource = Resource {
    fields: &[
        Field::new("conditions", FieldType::List(&CONDITIONS)).required(),
        Field::new("group_by", FieldType::List(&GROUPS))
            .immutable()
            .with_default(DefaultValue::EmptyList),
        Field::new("type", TYPES).required().immutable(),
        Field::new("credit_limit", FieldType::NonNegative).required(),
        Field::new("name", FieldType::Name),
        DESCRIPTION,
        STATUS,
        Field::new("alert_threshold", FieldType::NonNegative).nullable(),
        Field::new("periodic_reset", FieldType::Enum(&["monthly", "weekly"])).nullable(),
        Field::new("periodic_reset_days", FieldType::Integer(1, 365)).nullable(),
        Field::new("next_usage_reset_at", FieldType::Timestamp).nullable(),
        Field::new("workspace_id", FieldType::Workspace).immutable(),
        Field::new("target", FieldType::Enum(&["llm", "mcp_tools"])).immutable(),
    ],
    derived_fields: &[
        policies::TARGET,
        (USAGE_MAP_FIELD, |store, _, policy| {
            Some(usage_map(store, policy))
        }),
    ],
    list: ListSettings {
        filters: &[
            ListFilter::equals("workspace_id", FieldType::Workspace),
            BY_SEARCH,
            BY_STATUS,
            ListFilter::equals("type", TYPES),
        ],
        item_fields: SHOWN,
        ..ListSettings::DEFAULT
    },
    read_fields: SHOWN,
    hooks: Hooks {
        before_write: prepare_write,
        ..Hooks::NONE
    },
    ..policies::base_resource(
        "usage-limits-policies",
        "policy-usage-limits",
        "/policies/usage-limits",
    )
};

const SHOWN: &[&str] = &[
    "id",
    "name",
    "description",
    "conditions",
    "group_by",
    "type",
    "credit_limit",
    "alert_threshold",
    "periodic_reset",
    "periodic_reset_days",
    "next_usage_reset_at",
    "last_reset_at",
    "target",
    "status",
    "workspace_id",
    "organisation_id",
    "created_at",
    "last_updated_at",
    USAGE_MAP_FIELD,
    "object",
];

fn prepare_write(store: &Store, call: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    let change = draft.change;
    if draft.before.is_none() {
        policies::assign_workspace(store, call, change)?;
    }
    // The policy is validated as it will be after the change.
    let value = |name: &str| {
        let stored = || draft.before.and_then(|policy| policy.get(name));
        change
            .get(name)
            .or_else(stored)
            .filter(|value| !value.is_null())
    };
    let number = |name: &str| value(name).and_then(Value::as_f64);
    match (number("alert_threshold"), number("credit_limit")) {
        (Some(0.0), _) => Err(ApiError::invalid_field(
            "alert_threshold",
            "must be above 0",
        )),
        (Some(alert), Some(limit)) if alert >= limit => Err(ApiError::invalid_field(
            "alert_threshold",
            "must be below credit_limit",
        )),
        (_, Some(limit))
            if limit < MIN_TOKEN_BUDGET && value("type").is_some_and(|kind| kind == "tokens") =>
        {
            Err(ApiError::invalid_field(
                "credit_limit",
                "must be 100 tokens or more",
            ))
        }
        _ if value("periodic_reset").is_some() && value("periodic_reset_days").is_some() => Err(
            ApiError::invalid_field("periodic_reset", "cannot be with periodic_reset_days"),
        ),
        _ => Ok(()),
    }
}

/// Returns the groups of a policy with their usage since the last reset, in US dollars.
fn entities<'s>(store: &'s Store, policy: &'s Item) -> impl Iterator<Item = Item> + 's {
    let workspace = workspaces::resolve(store, text(policy, "workspace_id"));
    let workspace = workspace
        .map(|workspace| text(workspace, "slug"))
        .unwrap_or_default();
    store
        .all(CollectionKey {
            kind: ENTITIES_KIND,
            owner: text(policy, "id"),
        })
        .map(move |entity| {
            let group = text(entity, "value_key")
                .strip_prefix("metadata.")
                .unwrap_or_default();
            let since = [text(entity, RESET_AT_FIELD), text(policy, "created_at")];
            let since = since
                .into_iter()
                .find_map(clock::parse_timestamp)
                .unwrap_or_default();
            let label = group.split_once(':').unwrap_or_default();
            let cents = analytics::cost_since(store, workspace, label, since);
            let mut entity = entity.clone();
            entity.remove(RESET_AT_FIELD);
            entity.insert("current_usage".to_owned(), (cents.round() / 100.0).into());
            entity
        })
}

fn is_exhausted(policy: &Item, entity: &Item) -> bool {
    let number = |item: &Item, name: &str| item.get(name).and_then(Value::as_f64);
    number(entity, "current_usage") >= number(policy, "credit_limit")
}

fn entity_status(policy: &Item, entity: &Item) -> &'static str {
    if is_exhausted(policy, entity) {
        "exhausted"
    } else {
        "active"
    }
}

fn usage_map(store: &Store, policy: &Item) -> Value {
    let used = entities(store, policy).map(|entity| {
        let usage = entity.get("current_usage");
        let alert = policy.get("alert_threshold");
        let alerted = alert
            .and_then(Value::as_f64)
            .is_some_and(|alert| usage.and_then(Value::as_f64) >= Some(alert));
        let usage_entry = json!({
            "current_usage": usage,
            "status": entity_status(policy, &entity),
            "is_threshold_alerts_sent": alerted,
            "is_exhausted_alerts_sent": is_exhausted(policy, &entity),
        });
        (text(&entity, "value_key").to_owned(), usage_entry)
    });
    Value::Object(used.collect())
}

/// Returns one policy, with its usage only if requested.
fn read(store: &mut Store, call: &ApiCall) -> ApiResult {
    let mut policy = policies::get(&POLICIES, store, call)?;
    if call.query("include_usage") != Some("true")
        && let Some(policy) = policy.as_object_mut()
    {
        policy.remove(USAGE_MAP_FIELD);
    }
    Ok(policy)
}

fn update(store: &mut Store, call: &ApiCall) -> ApiResult {
    let answer = policies::update(&POLICIES, store, call)?;
    if let Some(Value::String(value_key)) = call.body.get("reset_usage_for_value") {
        let owner = call.handle();
        let named = store
            .all(CollectionKey {
                kind: ENTITIES_KIND,
                owner,
            })
            .find(|entity| text(entity, "value_key") == value_key)
            .map(item_id);
        reset_usage(store, owner, &named.unwrap_or_default());
    }
    Ok(answer)
}

fn list_entities(store: &mut Store, call: &ApiCall) -> ApiResult {
    let policy = policies::find_in_state(&POLICIES, store, call, "active")?;
    let wanted = call.query("status");
    if wanted.is_some_and(|status| !["active", "exhausted"].contains(&status)) {
        return Err(ApiError::invalid_field(
            "status",
            "must be `active` or `exhausted`",
        ));
    }
    let search = call.query("search").unwrap_or_default().to_lowercase();
    let entities: Vec<Item> = entities(store, policy)
        .filter(|entity| wanted.is_none_or(|status| status == entity_status(policy, entity)))
        .filter(|entity| text(entity, "value_key").to_lowercase().contains(&search))
        .collect();
    let (page, more) = Paging::zero_based(100, 100).select_page(call, &entities)?;
    let shown = page.iter().cloned().map(Value::Object);
    Ok(Envelope::LIST.wrap(entities.len(), more, shown.collect()))
}

fn reset_entity(store: &mut Store, call: &ApiCall) -> ApiResult {
    policies::find_in_state(&POLICIES, store, call, "active")?;
    let handle = call.path.get(1).cloned().unwrap_or_default();
    match reset_usage(store, call.handle(), &handle) {
        true => Ok(empty_object()),
        false => Err(ApiError::NotFound {
            object: "entity",
            handle,
        }),
    }
}

/// Resets the usage of a policy's group. Returns false if there is no such group.
fn reset_usage(store: &mut Store, policy: &str, entity: &str) -> bool {
    let now = store.clock.now();
    let entity = store.find_mut(
        CollectionKey {
            kind: ENTITIES_KIND,
            owner: policy,
        },
        entity,
    );
    entity
        .map(|entity| entity.insert(RESET_AT_FIELD.to_owned(), now.into()))
        .is_some()
}

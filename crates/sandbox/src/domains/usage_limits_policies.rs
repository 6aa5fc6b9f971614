//! Usage-limits policies: budgets for matching traffic, with the usage of each group.
//!
//! Only seeded groups have usage: the cost of their traffic.

use serde_json::{Value, json};

use super::{
    analytics,
    policies::{self, BY_STATUS, CONDITIONS, DESCRIPTION, GROUPS, STATUS},
    workspaces,
};
use crate::{
    call::{Call, id_of},
    clock,
    crud::{Outcome, done},
    field::{Field, Kind, Preset},
    page::{Envelope, Paging},
    refusal::Refusal,
    resource::{Draft, Filter, Hooks, Listing, Resource},
    route::{Domain, Version, delete, get, put},
    store::{Item, Shelf, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1, Version::V2],
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
        .without_body(),
    ],
};

/// Kind of the groups of a policy.
const ENTITIES: &str = "usage-limits-entities";

/// Private field with the time of the last usage reset.
const RESET_AT: &str = "reset_at";

/// Field with the usage of all groups.
const USAGE_MAP: &str = "value_key_usage_map";

/// Minimum budget in tokens.
const FEWEST_TOKENS: f64 = 100.0;

const TYPES: Kind = Kind::Choice(&["cost", "tokens", "requests"]);

static POLICIES: Resource = Resource {
    fields: &[
        Field::new("conditions", Kind::List(&CONDITIONS)).required(),
        Field::new("group_by", Kind::List(&GROUPS))
            .fixed()
            .preset(Preset::EmptyList),
        Field::new("type", TYPES).required().fixed(),
        Field::new("credit_limit", Kind::Amount).required(),
        Field::new("name", Kind::Name),
        DESCRIPTION,
        STATUS,
        Field::new("alert_threshold", Kind::Amount).nullable(),
        Field::new("periodic_reset", Kind::Choice(&["monthly", "weekly"])).nullable(),
        Field::new("periodic_reset_days", Kind::Whole(1, 365)).nullable(),
        Field::new("next_usage_reset_at", Kind::Instant).nullable(),
        Field::new("workspace_id", Kind::Workspace).fixed(),
        Field::new("target", Kind::Choice(&["llm", "mcp_tools"])).fixed(),
    ],
    derived: &[
        policies::TARGET,
        (USAGE_MAP, |store, _, policy| Some(usage_map(store, policy))),
    ],
    list: Listing {
        filters: &[
            Filter::same("workspace_id", Kind::Workspace),
            BY_STATUS,
            Filter::same("type", TYPES),
        ],
        shows: SHOWN,
        ..Listing::USUAL
    },
    reads: SHOWN,
    hooks: Hooks {
        admit,
        ..Hooks::NONE
    },
    ..policies::resource(
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
    USAGE_MAP,
    "object",
];

fn admit(store: &Store, call: &Call, draft: Draft<'_>) -> Result<(), Refusal> {
    let change = draft.change;
    if draft.before.is_none() {
        policies::place(store, call, change)?;
    }
    // The policy is validated as it will be after the change.
    let value = |name: &str| {
        let kept = || draft.before.and_then(|policy| policy.get(name));
        change
            .get(name)
            .or_else(kept)
            .filter(|value| !value.is_null())
    };
    let number = |name: &str| value(name).and_then(Value::as_f64);
    match (number("alert_threshold"), number("credit_limit")) {
        (Some(0.0), _) => Err(Refusal::field("alert_threshold", "must be above 0")),
        (Some(alert), Some(limit)) if alert >= limit => Err(Refusal::field(
            "alert_threshold",
            "must be below credit_limit",
        )),
        (_, Some(limit))
            if limit < FEWEST_TOKENS && value("type").is_some_and(|kind| kind == "tokens") =>
        {
            Err(Refusal::field("credit_limit", "must be 100 tokens or more"))
        }
        _ if value("periodic_reset").is_some() && value("periodic_reset_days").is_some() => Err(
            Refusal::field("periodic_reset", "cannot be with periodic_reset_days"),
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
        .all(Shelf {
            kind: ENTITIES,
            owner: text(policy, "id"),
        })
        .map(move |entity| {
            let group = text(entity, "value_key")
                .strip_prefix("metadata.")
                .unwrap_or_default();
            let since = [text(entity, RESET_AT), text(policy, "created_at")];
            let since = since
                .into_iter()
                .find_map(clock::seconds)
                .unwrap_or_default();
            let label = group.split_once(':').unwrap_or_default();
            let cents = analytics::spent(store, workspace, label, since);
            let mut entity = entity.clone();
            entity.remove(RESET_AT);
            entity.insert("current_usage".to_owned(), (cents.round() / 100.0).into());
            entity
        })
}

fn is_exhausted(policy: &Item, entity: &Item) -> bool {
    let number = |item: &Item, name: &str| item.get(name).and_then(Value::as_f64);
    number(entity, "current_usage") >= number(policy, "credit_limit")
}

fn state(policy: &Item, entity: &Item) -> &'static str {
    if is_exhausted(policy, entity) {
        "exhausted"
    } else {
        "active"
    }
}

fn usage_map(store: &Store, policy: &Item) -> Value {
    let used = entities(store, policy).map(|entity| {
        let (usage, alert) = (entity.get("current_usage"), policy.get("alert_threshold"));
        let alerted = alert
            .and_then(Value::as_f64)
            .is_some_and(|alert| usage.and_then(Value::as_f64) >= Some(alert));
        let told = json!({
            "current_usage": usage,
            "status": state(policy, &entity),
            "is_threshold_alerts_sent": alerted,
            "is_exhausted_alerts_sent": is_exhausted(policy, &entity),
        });
        (text(&entity, "value_key").to_owned(), told)
    });
    Value::Object(used.collect())
}

/// Returns one policy, with its usage only if requested.
fn read(store: &mut Store, call: &Call) -> Outcome {
    let mut policy = policies::get(&POLICIES, store, call)?;
    if call.query("include_usage") != Some("true")
        && let Some(policy) = policy.as_object_mut()
    {
        policy.remove(USAGE_MAP);
    }
    Ok(policy)
}

fn update(store: &mut Store, call: &Call) -> Outcome {
    let answer = policies::update(&POLICIES, store, call)?;
    if let Some(Value::String(value_key)) = call.body.get("reset_usage_for_value") {
        let owner = call.handle();
        let named = store
            .all(Shelf {
                kind: ENTITIES,
                owner,
            })
            .find(|entity| text(entity, "value_key") == value_key)
            .map(id_of);
        forget_usage(store, owner, &named.unwrap_or_default());
    }
    Ok(answer)
}

fn list_entities(store: &mut Store, call: &Call) -> Outcome {
    let policy = policies::in_state(&POLICIES, store, call, "active")?;
    let wanted = call.query("status");
    if wanted.is_some_and(|status| !["active", "exhausted"].contains(&status)) {
        return Err(Refusal::field("status", "must be `active` or `exhausted`"));
    }
    let search = call.query("search").unwrap_or_default().to_lowercase();
    let entities: Vec<Item> = entities(store, policy)
        .filter(|entity| wanted.is_none_or(|status| status == state(policy, entity)))
        .filter(|entity| text(entity, "value_key").to_lowercase().contains(&search))
        .collect();
    let (page, more) = Paging::zero_based(100, 100).cut(call, &entities)?;
    let shown = page.iter().cloned().map(Value::Object);
    Ok(Envelope::LIST.wrap(entities.len(), more, shown.collect()))
}

fn reset_entity(store: &mut Store, call: &Call) -> Outcome {
    policies::in_state(&POLICIES, store, call, "active")?;
    let handle = call.path.get(1).cloned().unwrap_or_default();
    match forget_usage(store, call.handle(), &handle) {
        true => Ok(done()),
        false => Err(Refusal::Missing {
            object: "entity",
            handle,
        }),
    }
}

/// Resets the usage of a policy's group. Returns false if there is no such group.
fn forget_usage(store: &mut Store, policy: &str, entity: &str) -> bool {
    let now = store.clock.now();
    let entity = store.find_mut(
        Shelf {
            kind: ENTITIES,
            owner: policy,
        },
        entity,
    );
    entity
        .map(|entity| entity.insert(RESET_AT.to_owned(), now.into()))
        .is_some()
}

//! Rate-limits policies: maximum rates of matching traffic.

use super::{
    common_fields::BY_SEARCH,
    policies::{self, BY_STATUS, CONDITIONS, DESCRIPTION, GROUPS, STATUS},
};
use crate::{
    api_error::ApiError,
    call::ApiCall,
    field::{DefaultValue, Field, FieldType},
    resource::{Hooks, ListFilter, ListSettings, PendingWrite, Resource},
    route::{ApiVersion, Domain, delete, get, put},
    store::Store,
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1, ApiVersion::V2],
    resources: &[&POLICIES],
    routes: &[
        get("/policies/rate-limits", |store, call| {
            policies::list(&POLICIES, store, call)
        }),
        get("/policies/rate-limits/{id}", |store, call| {
            policies::get(&POLICIES, store, call)
        }),
        put("/policies/rate-limits/{id}", |store, call| {
            policies::update(&POLICIES, store, call)
        }),
        delete("/policies/rate-limits/{id}", |store, call| {
            policies::archive(&POLICIES, store, call)
        }),
    ],
};

const TYPES: FieldType = FieldType::Enum(&["requests", "tokens"]);
/// Units of a rate. Portkey's documentation also has separate units for tokens.
const UNITS: FieldType = FieldType::Enum(&[
    "rps", "rpm", "rph", "rpd", "rpw", "tps", "tpm", "tph", "tpd", "tpw",
]);

static POLICIES: Resource = Resource {
    fields: &[
        Field::new("conditions", FieldType::List(&CONDITIONS)).required(),
        Field::new("group_by", FieldType::List(&GROUPS))
            .immutable()
            .with_default(DefaultValue::EmptyList),
        Field::new("type", TYPES).required().immutable(),
        Field::new("unit", UNITS).required(),
        Field::new("value", FieldType::NonNegative).required(),
        Field::new("name", FieldType::Name),
        DESCRIPTION,
        STATUS,
        Field::new("workspace_id", FieldType::Workspace).immutable(),
        Field::new("target", FieldType::Enum(&["llm", "mcp_tools"])).immutable(),
    ],
    list: ListSettings {
        filters: &[
            ListFilter::equals("workspace_id", FieldType::Workspace),
            BY_SEARCH,
            BY_STATUS,
            ListFilter::equals("type", TYPES),
            ListFilter::equals("unit", UNITS),
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
        "rate-limits-policies",
        "policy-rate-limits",
        "/policies/rate-limits",
    )
};

const SHOWN: &[&str] = &[
    "id",
    "name",
    "description",
    "conditions",
    "group_by",
    "type",
    "unit",
    "value",
    "target",
    "status",
    "workspace_id",
    "organisation_id",
    "created_at",
    "last_updated_at",
    "object",
];

fn prepare_write(store: &Store, call: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    match draft.before {
        None => policies::assign_workspace(store, call, draft.change),
        Some(_) => Ok(()),
    }
}

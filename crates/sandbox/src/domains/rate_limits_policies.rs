//! Rate-limits policies: maximum rates of matching traffic.

use super::policies::{self, BY_STATUS, CONDITIONS, DESCRIPTION, GROUPS, STATUS};
use crate::{
    call::Call,
    field::{Field, Kind, Preset},
    refusal::Refusal,
    resource::{Draft, Filter, Hooks, Listing, Resource},
    route::{Domain, Version, delete, get, put},
    store::Store,
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1, Version::V2],
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

const TYPES: Kind = Kind::Choice(&["requests", "tokens"]);
/// Units of a rate. Portkey's documentation also has separate units for tokens.
const UNITS: Kind = Kind::Choice(&[
    "rps", "rpm", "rph", "rpd", "rpw", "tps", "tpm", "tph", "tpd", "tpw",
]);

static POLICIES: Resource = Resource {
    fields: &[
        Field::new("conditions", Kind::List(&CONDITIONS)).required(),
        Field::new("group_by", Kind::List(&GROUPS))
            .fixed()
            .preset(Preset::EmptyList),
        Field::new("type", TYPES).required().fixed(),
        Field::new("unit", UNITS).required(),
        Field::new("value", Kind::Amount).required(),
        Field::new("name", Kind::Name),
        DESCRIPTION,
        STATUS,
        Field::new("workspace_id", Kind::Workspace).fixed(),
        Field::new("target", Kind::Choice(&["llm", "mcp_tools"])).fixed(),
    ],
    list: Listing {
        filters: &[
            Filter::same("workspace_id", Kind::Workspace),
            BY_STATUS,
            Filter::same("type", TYPES),
            Filter::same("unit", UNITS),
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

fn admit(store: &Store, call: &Call, draft: Draft<'_>) -> Result<(), Refusal> {
    match draft.before {
        None => policies::place(store, call, draft.change),
        Some(_) => Ok(()),
    }
}

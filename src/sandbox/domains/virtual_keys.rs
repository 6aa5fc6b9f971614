//! Virtual keys: a workspace's own provider credential, from before there were integrations.

use serde_json::{Value, json};

use super::{
    parts::{RATE_LIMIT, SECRET_MAPPINGS, USAGE_LIMIT},
    secret_references, workspaces,
};
use crate::{
    call::Call,
    crud::{self, Outcome},
    field::{Field, Kind, List, Preset, Shape},
    mask::mask,
    page::{Envelope, Paging},
    refusal::Refusal,
    resource::{Draft, Filter, FoundBy, Hooks, Listing, Resource, Verb},
    route::{Domain, Version, post},
    store::{Item, Store, text},
};

/// The domain.
pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1],
    resources: &[&VIRTUAL_KEYS],
    routes: &[post("/virtual-keys", create)],
};

static VIRTUAL_KEYS: Resource = Resource {
    // A create wraps its answer as nothing else does, and has a route of its own.
    verbs: &[Verb::List, Verb::Get, Verb::Update, Verb::Delete],
    found_by: FoundBy::Slug,
    fields: &[
        Field::new("name", Kind::Name).required(),
        Field::new("provider", Kind::Name).required().fixed(),
        Field::new("key", Kind::Name),
        Field::new("note", Kind::Text).nullable(),
        Field::new("apiVersion", Kind::Text).nullable().fixed(),
        Field::new("resourceName", Kind::Text).nullable().fixed(),
        Field::new("deploymentName", Kind::Text).nullable().fixed(),
        Field::new("deploymentConfig", Kind::List(&DEPLOYMENTS)),
        Field::new("workspace_id", Kind::Workspace).fixed(),
        Field::new("usage_limits", Kind::Shape(&USAGE_LIMIT)),
        Field::new("rate_limits", Kind::Shape(&RATE_LIMIT)).fixed(),
        Field::new("expires_at", Kind::Instant).fixed(),
        Field::new("secret_mappings", Kind::List(&SECRET_MAPPINGS)).preset(Preset::EmptyList),
    ],
    derived: &[
        // The live API has the field and never fills it.
        ("key", |_, _, _| Some("".into())),
        ("masked_api_key", |_, _, item| Some(masked_key(item))),
        ("ai_provider_name", |_, _, item| item.get("provider").cloned()),
        ("model_config", |_, _, item| Some(model_config(item))),
        ("workspace_name", |store, _, item| {
            let workspace = workspaces::resolve(store, text(item, "workspace_id")).ok()?;
            workspace.get("name").cloned()
        }),
    ],
    list: Listing {
        paging: Paging::zero_based(50, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[Filter::same("workspace_id", Kind::Workspace)],
        shows: &[
            "id",
            "organisation_id",
            "name",
            "note",
            "status",
            "usage_limits",
            "reset_usage",
            "created_at",
            "slug",
            "workspace_id",
            "model_config",
            "rate_limits",
            "expires_at",
            "last_reset_at",
            "integration_id",
            "secret_mappings",
            "tags",
            "workspace_name",
            "provider",
            "object",
        ],
    },
    reads: &[
        "id",
        "ai_provider_name",
        "model_config",
        "key",
        "masked_api_key",
        "slug",
        "name",
        "usage_limits",
        "reset_usage",
        "status",
        "note",
        "created_at",
        "expires_at",
        "last_reset_at",
        "rate_limits",
        "integration_id",
        "secret_mappings",
        "tags",
        "object",
    ],
    creates: &["slug"],
    hooks: Hooks { admit, ..Hooks::NONE },
    ..Resource::new("virtual-keys", "virtual-key", "/virtual-keys")
};

static DEPLOYMENT: Shape = Shape::of(&[
    Field::new("apiVersion", Kind::Name).required(),
    Field::new("deploymentName", Kind::Name).required(),
    Field::new("alias", Kind::Text),
    Field::new("is_default", Kind::Flag),
]);

static DEPLOYMENTS: List = List::of(Kind::Shape(&DEPLOYMENT));

fn create(store: &mut Store, call: &Call) -> Outcome {
    let made = crud::create(&VIRTUAL_KEYS, store, call)?;
    Ok(json!({ "success": true, "data": made }))
}

fn admit(store: &Store, call: &Call, draft: Draft<'_>) -> Result<(), Refusal> {
    let item = draft.change;
    if draft.before.is_none() {
        item.insert("workspace_id".to_owned(), call.workspace(store)?.into());
        item.insert("status".to_owned(), "active".into());
        // One rate goes in, a list of rates comes out.
        if let Some(limit) = item.remove("rate_limits") {
            item.insert("rate_limits".to_owned(), json!([limit]));
        }
    }
    secret_references::check_mappings(store, draft.before, item)
}

/// Nothing is masked when a secret reference fills the key at run time.
fn masked_key(item: &Item) -> Value {
    match text(item, "key") {
        "" => "".into(),
        key => mask(key).into(),
    }
}

fn model_config(item: &Item) -> Value {
    const SETTINGS: [&str; 4] =
        ["apiVersion", "resourceName", "deploymentName", "deploymentConfig"];
    let set = SETTINGS.iter().filter_map(|&name| Some((name, item.get(name)?)));
    let set = set.filter(|(_, value)| !value.is_null());
    Value::Object(set.map(|(name, value)| (name.to_owned(), value.clone())).collect())
}

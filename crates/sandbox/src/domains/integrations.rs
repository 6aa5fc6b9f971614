//! Integrations: credentials of an AI provider, stored once and shared with workspaces.

use serde_json::{Value, json};

use super::{
    access, credentials, models,
    parts::{BY_TAGS, BY_TYPE, RATE_LIMITS, SECRET_MAPPINGS, USAGE_LIMITS, level, merge_object},
    providers, secret_references,
};
use crate::{
    call::{Call, id_of},
    check::{self, Occasion},
    crud::{Outcome, done},
    field::{Field, Kind, List, Preset, Shape},
    page::{Envelope, Paging},
    refusal::Refusal,
    resource::{Draft, Filter, FoundBy, Hooks, Listing, Resource},
    route::{Domain, Version, delete, get, put},
    store::{Item, ORGANISATION, Shelf, Store, flag, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1, Version::V2],
    resources: &[&INTEGRATIONS],
    routes: &[
        get("/integrations/{slug}/models", models::list),
        put("/integrations/{slug}/models", models::update),
        delete("/integrations/{slug}/models", models::delete),
        get("/integrations/{slug}/workspaces", list_workspaces),
        put("/integrations/{slug}/workspaces", update_workspaces),
    ],
};

/// Kind of the access rows.
const ACCESS: &str = "integration-workspaces";

pub(super) static INTEGRATIONS: Resource = Resource {
    found_by: FoundBy::Slug,
    fields: &[
        Field::new("name", Kind::Name).required(),
        Field::new("ai_provider_id", Kind::Name).required().fixed(),
        Field::new("slug", Kind::Slug).fixed(),
        Field::new("key", Kind::Text),
        Field::new("description", Kind::Text),
        Field::new("workspace_id", Kind::Workspace).fixed(),
        Field::new("configurations", Kind::Object).preset(Preset::EmptyObject),
        Field::new("secret_mappings", Kind::List(&SECRET_MAPPINGS)).preset(Preset::EmptyList),
        Field::new("pricing_adjustments", Kind::Multipliers).nullable(),
        Field::new("tags", Kind::Labels),
        Field::new("allow_all_models", Kind::Flag).preset(Preset::Flag(false)),
        Field::new("create_default_provider", Kind::Flag)
            .fixed()
            .preset(Preset::Flag(true)),
        Field::new("default_provider_slug", Kind::Slug).fixed(),
    ],
    secrets: credentials::SECRETS,
    derived: &[
        ("type", |_, _, item| Some(level(item).into())),
        ("workspace_count", |store, _, item| {
            Some(access::count(store, ACCESS, item))
        }),
        ("global_workspace_access_settings", |_, _, item| {
            item.get(access::GLOBAL).cloned()
        }),
    ],
    list: Listing {
        paging: Paging::zero_based(100, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[
            Filter {
                param: "workspace_id",
                kind: Kind::Workspace,
                keeps: Some(|store, item, asked| {
                    is_open(store, item, asked.as_str().unwrap_or_default())
                }),
            },
            BY_TYPE,
            BY_TAGS,
        ],
        shows: &[
            "id",
            "organisation_id",
            "ai_provider_id",
            "name",
            "status",
            "created_at",
            "last_updated_at",
            "slug",
            "description",
            "object",
        ],
    },
    reads: &[
        "id",
        "organisation_id",
        "ai_provider_id",
        "name",
        "status",
        "created_at",
        "last_updated_at",
        "slug",
        "description",
        "object",
        "masked_key",
        "configurations",
        "global_workspace_access_settings",
        "allow_all_models",
        "workspace_count",
        "secret_mappings",
        "pricing_adjustments",
        "tags",
        "type",
        "workspace_id",
    ],
    hooks: Hooks {
        admit,
        created,
        ..Hooks::NONE
    },
    ..Resource::new("integrations", "integration", "/integrations")
};

/// Returns true if a workspace may use an integration.
pub(super) fn is_open(store: &Store, integration: &Item, workspace: &str) -> bool {
    access::is_open(store, ACCESS, integration, workspace)
}

/// Returns the integration that the path names.
pub(super) fn named<'s>(store: &'s Store, call: &Call) -> Result<&'s Item, Refusal> {
    INTEGRATIONS.find(store, ORGANISATION, call.handle())
}

fn admit(store: &Store, _: &Call, draft: Draft<'_>) -> Result<(), Refusal> {
    merge_object(draft.before, draft.change, "configurations");
    let provider = text(draft.before.unwrap_or(draft.change), "ai_provider_id");
    if let Some(Value::Object(settings)) = draft.change.get("configurations") {
        credentials::check(store, provider, settings)?;
    }
    secret_references::check_mappings(store, draft.before, draft.change)?;
    match draft.before {
        Some(_) => Ok(()),
        None => admit_new(store, draft.change),
    }
}

fn admit_new(store: &Store, integration: &mut Item) -> Result<(), Refusal> {
    let given = |field: &str| match integration.get(field) {
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(object)) => !object.is_empty(),
        _ => false,
    };
    // Most providers require a key; others authenticate by their settings.
    if !["key", "configurations", "secret_mappings"]
        .into_iter()
        .any(given)
    {
        return Err(Refusal::field(
            "key",
            "is required, or secret_mappings that fill it",
        ));
    }
    if let Some(Value::String(workspace)) = integration.get("workspace_id")
        && flag(integration, "create_default_provider")
    {
        let slug = text(integration, "default_provider_slug");
        providers::check_default(store, integration, workspace, slug)?;
    }
    let closed = json!({ "enabled": false, "usage_limits": null, "rate_limits": null });
    integration.insert(access::GLOBAL.to_owned(), closed);
    integration.insert("status".to_owned(), "active".into());
    Ok(())
}

fn created(store: &mut Store, shelf: Shelf<'_>, id: &str) {
    let Some(integration) = store.find(shelf, id).cloned() else {
        return;
    };
    models::stock(store, &integration);
    let Some(Value::String(workspace)) = integration.get("workspace_id") else {
        return;
    };
    let rows = Shelf {
        kind: ACCESS,
        owner: id,
    };
    access::grant(store, rows, workspace);
    if flag(&integration, "create_default_provider") {
        let slug = text(&integration, "default_provider_slug");
        providers::create_default(store, &integration, workspace, slug);
    }
}

fn list_workspaces(store: &mut Store, call: &Call) -> Outcome {
    let integration = named(store, call)?;
    let shelf = Shelf {
        kind: ACCESS,
        owner: text(integration, "id"),
    };
    let shown = ["id", "enabled", "usage_limits", "rate_limits"];
    let rows = match call.caller.workspace() {
        Some(own) => access::show_own(store, shelf, own, &shown),
        None => access::show(store, shelf, &shown),
    };
    let global = integration.get(access::GLOBAL);
    Ok(json!({ "total": rows.len(), "workspaces": rows, (access::GLOBAL): global }))
}

static ROW: Shape = Shape::of(&[
    Field::new("id", Kind::Workspace).required(),
    Field::new("enabled", Kind::Flag).required(),
    Field::new("usage_limits", Kind::List(&USAGE_LIMITS)).nullable(),
    Field::new("rate_limits", Kind::List(&RATE_LIMITS)).nullable(),
    Field::new("reset_usage", Kind::Flag),
    Field::new("create_default_provider", Kind::Flag),
    Field::new("default_provider_slug", Kind::Slug),
]);

static ROWS: List = List {
    unique: Some("id"),
    ..List::of(Kind::Shape(&ROW))
};

static EVERYONE: Shape = Shape::of(&[
    Field::new("enabled", Kind::Flag).required(),
    Field::new("usage_limits", Kind::List(&USAGE_LIMITS)).nullable(),
    Field::new("rate_limits", Kind::List(&RATE_LIMITS)).nullable(),
]);

const GRANTS: &[Field] = &[
    Field::new("workspaces", Kind::List(&ROWS)),
    Field::new(access::GLOBAL, Kind::Shape(&EVERYONE)),
    Field::new("override_existing_workspace_access", Kind::Flag),
    Field::new("create_default_provider", Kind::Flag).preset(Preset::Flag(true)),
    Field::new("default_provider_slug", Kind::Slug),
];

fn update_workspaces(store: &mut Store, call: &Call) -> Outcome {
    let integration = named(store, call)?.clone();
    let id = id_of(&integration);
    let given = check::body(store, GRANTS, &call.body, Occasion::Create)?;
    let rows = given.get("workspaces").and_then(Value::as_array);
    let global = given.get(access::GLOBAL).and_then(Value::as_object);
    if rows.is_none() && global.is_none() {
        return Err(Refusal::field(
            "workspaces",
            "or `global_workspace_access` is required",
        ));
    }
    let replace = rows.is_some() && flag(&given, "override_existing_workspace_access");
    let rows = rows.map(Vec::as_slice).unwrap_or_default();
    let gifts: Vec<Gift<'_>> = rows
        .iter()
        .filter_map(|row| Gift::from_row(row, &given))
        .collect();
    for gift in &gifts {
        providers::check_default(store, &integration, gift.workspace, gift.slug)?;
    }

    if let (Some(global), Some(stored)) = (global, store.find_mut(INTEGRATIONS.shared(), &id)) {
        merge_global(stored, global);
    }
    let newly = access::merge(
        store,
        Shelf {
            kind: ACCESS,
            owner: &id,
        },
        rows,
        replace,
    );
    for gift in gifts
        .iter()
        .filter(|gift| newly.iter().any(|id| id == gift.workspace))
    {
        providers::create_default(store, &integration, gift.workspace, gift.slug);
    }
    Ok(done())
}

/// The default provider that a workspace gets together with access.
struct Gift<'a> {
    workspace: &'a str,
    slug: &'a str,
}

impl<'a> Gift<'a> {
    /// Reads the settings of a row; the body provides defaults.
    fn from_row(row: &'a Value, body: &'a Item) -> Option<Self> {
        let setting = |name: &str| row.get(name).or(body.get(name));
        let wanted = row["enabled"] == true && setting("create_default_provider")?.as_bool()?;
        let slug = setting("default_provider_slug")
            .and_then(Value::as_str)
            .unwrap_or_default();
        wanted.then_some(Self {
            workspace: row["id"].as_str()?,
            slug,
        })
    }
}

fn merge_global(integration: &mut Item, change: &Item) {
    if let Some(Value::Object(global)) = integration.get_mut(access::GLOBAL) {
        for (name, value) in change {
            global.insert(name.clone(), value.clone());
        }
    }
}

//! Integrations: credentials of an AI provider, stored once and shared with workspaces.

use serde_json::{Value, json};

use super::{
    access,
    common_fields::{
        BY_TAGS, BY_TYPE, RATE_LIMITS, SECRET_MAPPINGS, USAGE_LIMITS, merge_object, owner_level,
    },
    credentials, models, providers, secret_references,
};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{ApiResult, empty_object},
    field::{DefaultValue, Field, FieldType, ListSchema, ObjectSchema},
    page::{Envelope, Paging},
    resource::{Hooks, ListFilter, ListSettings, LookupKey, PendingWrite, Resource},
    route::{ApiVersion, Domain, delete, get, put},
    store::{CollectionKey, Item, ORGANISATION, Store, flag, text},
    validation::{self, WriteKind},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1, ApiVersion::V2],
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
const ACCESS_KIND: &str = "integration-workspaces";

pub(super) static INTEGRATIONS: Resource = Resource {
    lookup_key: LookupKey::Slug,
    fields: &[
        Field::new("name", FieldType::Name).required(),
        Field::new("ai_provider_id", FieldType::Name)
            .required()
            .immutable(),
        Field::new("slug", FieldType::Slug).immutable(),
        Field::new("key", FieldType::Text),
        Field::new("description", FieldType::Text),
        Field::new("workspace_id", FieldType::Workspace).immutable(),
        Field::new("configurations", FieldType::AnyObject).with_default(DefaultValue::EmptyObject),
        Field::new("secret_mappings", FieldType::List(&SECRET_MAPPINGS))
            .with_default(DefaultValue::EmptyList),
        Field::new("pricing_adjustments", FieldType::Multipliers).nullable(),
        Field::new("tags", FieldType::Labels).nullable(),
        Field::new("allow_all_models", FieldType::Bool).with_default(DefaultValue::Bool(false)),
        Field::new("create_default_provider", FieldType::Bool)
            .immutable()
            .with_default(DefaultValue::Bool(true)),
        Field::new("default_provider_slug", FieldType::Slug).immutable(),
    ],
    secret_fields: credentials::SECRETS,
    derived_fields: &[
        ("type", |_, _, item| Some(owner_level(item).into())),
        ("workspace_count", |store, _, item| {
            Some(access::count_workspaces(store, ACCESS_KIND, item))
        }),
        ("global_workspace_access_settings", |_, _, item| {
            item.get(access::GLOBAL_ACCESS_FIELD).cloned()
        }),
    ],
    list: ListSettings {
        paging: Paging::zero_based(100, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[
            ListFilter {
                param: "workspace_id",
                kind: FieldType::Workspace,
                predicate: Some(|store, item, asked| {
                    has_access(store, item, asked.as_str().unwrap_or_default())
                }),
            },
            BY_TYPE,
            BY_TAGS,
        ],
        item_fields: &[
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
    read_fields: &[
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
        before_write: prepare_write,
        after_create: finish_create,
        ..Hooks::NONE
    },
    ..Resource::new("integrations", "integration", "/integrations")
};

/// Returns true if a workspace may use an integration.
pub(super) fn has_access(store: &Store, integration: &Item, workspace: &str) -> bool {
    access::has_access(store, ACCESS_KIND, integration, workspace)
}

/// Returns the integration that the path names.
pub(super) fn find_for_call<'s>(store: &'s Store, call: &ApiCall) -> Result<&'s Item, ApiError> {
    INTEGRATIONS.find(store, ORGANISATION, call.handle())
}

fn prepare_write(store: &Store, _: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    merge_object(draft.before, draft.change, "configurations");
    let provider = text(draft.before.unwrap_or(draft.change), "ai_provider_id");
    if let Some(Value::Object(settings)) = draft.change.get("configurations") {
        credentials::check(store, provider, settings)?;
    }
    secret_references::check_mappings(store, draft.before, draft.change)?;
    match draft.before {
        Some(_) => Ok(()),
        None => prepare_new(store, draft.change),
    }
}

fn prepare_new(store: &Store, integration: &mut Item) -> Result<(), ApiError> {
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
        return Err(ApiError::invalid_field(
            "key",
            "is required, or secret_mappings that fill it",
        ));
    }
    if let Some(Value::String(workspace)) = integration.get("workspace_id")
        && flag(integration, "create_default_provider")
    {
        let slug = text(integration, "default_provider_slug");
        providers::check_default_slug(store, integration, workspace, slug)?;
    }
    let closed = json!({ "enabled": false, "usage_limits": null, "rate_limits": null });
    integration.insert(access::GLOBAL_ACCESS_FIELD.to_owned(), closed);
    integration.insert("status".to_owned(), "active".into());
    Ok(())
}

fn finish_create(store: &mut Store, shelf: CollectionKey<'_>, id: &str) {
    let Some(integration) = store.find(shelf, id).cloned() else {
        return;
    };
    models::insert_provider_models(store, &integration);
    let Some(Value::String(workspace)) = integration.get("workspace_id") else {
        return;
    };
    let rows = CollectionKey {
        kind: ACCESS_KIND,
        owner: id,
    };
    access::grant(store, rows, workspace);
    if flag(&integration, "create_default_provider") {
        let slug = text(&integration, "default_provider_slug");
        providers::create_default(store, &integration, workspace, slug);
    }
}

fn list_workspaces(store: &mut Store, call: &ApiCall) -> ApiResult {
    let integration = find_for_call(store, call)?;
    let shelf = CollectionKey {
        kind: ACCESS_KIND,
        owner: text(integration, "id"),
    };
    let shown = ["id", "enabled", "usage_limits", "rate_limits"];
    let rows = match call.caller.workspace_id() {
        Some(own) => access::show_own_row(store, shelf, own, &shown),
        None => access::show_rows(store, shelf, &shown),
    };
    let global = integration.get(access::GLOBAL_ACCESS_FIELD);
    Ok(json!({ "total": rows.len(), "workspaces": rows, (access::GLOBAL_ACCESS_FIELD): global }))
}

static ROW: ObjectSchema = ObjectSchema::new(&[
    Field::new("id", FieldType::Workspace).required(),
    Field::new("enabled", FieldType::Bool).required(),
    Field::new("usage_limits", FieldType::List(&USAGE_LIMITS)).nullable(),
    Field::new("rate_limits", FieldType::List(&RATE_LIMITS)).nullable(),
    Field::new("reset_usage", FieldType::Bool),
    Field::new("create_default_provider", FieldType::Bool),
    Field::new("default_provider_slug", FieldType::Slug),
]);

static ROWS: ListSchema = ListSchema {
    unique_field: Some("id"),
    ..ListSchema::new(FieldType::Object(&ROW))
};

static GLOBAL_ACCESS: ObjectSchema = ObjectSchema::new(&[
    Field::new("enabled", FieldType::Bool).required(),
    Field::new("usage_limits", FieldType::List(&USAGE_LIMITS)).nullable(),
    Field::new("rate_limits", FieldType::List(&RATE_LIMITS)).nullable(),
]);

const GRANTS: &[Field] = &[
    Field::new("workspaces", FieldType::List(&ROWS)),
    Field::new(
        access::GLOBAL_ACCESS_FIELD,
        FieldType::Object(&GLOBAL_ACCESS),
    ),
    Field::new("override_existing_workspace_access", FieldType::Bool),
    Field::new("create_default_provider", FieldType::Bool).with_default(DefaultValue::Bool(true)),
    Field::new("default_provider_slug", FieldType::Slug),
];

fn update_workspaces(store: &mut Store, call: &ApiCall) -> ApiResult {
    let integration = find_for_call(store, call)?.clone();
    let id = item_id(&integration);
    let given = validation::validate_body(store, GRANTS, &call.body, WriteKind::Create)?;
    let rows = given.get("workspaces").and_then(Value::as_array);
    let global = given
        .get(access::GLOBAL_ACCESS_FIELD)
        .and_then(Value::as_object);
    if rows.is_none() && global.is_none() {
        return Err(ApiError::invalid_field(
            "workspaces",
            "or `global_workspace_access` is required",
        ));
    }
    let replace = rows.is_some() && flag(&given, "override_existing_workspace_access");
    let rows = rows.map(Vec::as_slice).unwrap_or_default();
    let gifts: Vec<DefaultProviderGrant<'_>> = rows
        .iter()
        .filter_map(|row| DefaultProviderGrant::from_row(row, &given))
        .collect();
    for gift in &gifts {
        providers::check_default_slug(store, &integration, gift.workspace, gift.slug)?;
    }

    if let (Some(global), Some(stored)) = (
        global,
        store.find_mut(INTEGRATIONS.organisation_collection(), &id),
    ) {
        merge_global(stored, global);
    }
    let newly = access::merge_rows(
        store,
        CollectionKey {
            kind: ACCESS_KIND,
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
    Ok(empty_object())
}

/// The default provider that a workspace gets together with access.
struct DefaultProviderGrant<'a> {
    workspace: &'a str,
    slug: &'a str,
}

impl<'a> DefaultProviderGrant<'a> {
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
    if let Some(Value::Object(global)) = integration.get_mut(access::GLOBAL_ACCESS_FIELD) {
        for (name, value) in change {
            global.insert(name.clone(), value.clone());
        }
    }
}

//! Virtual keys: provider credentials of a workspace, the predecessor of integrations.
//!
//! Providers have replaced virtual keys, so these routes also list, read and change providers.

use serde_json::{Value, json};

use super::{
    common_fields::{LAST_USED, RATE_LIMITS, SECRET_MAPPINGS, USAGE_LIMIT},
    providers::{self, PROVIDERS},
    secret_references, workspaces,
};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{self, ApiResult, empty_object},
    field::{DefaultValue, Field, FieldType, ListSchema, ObjectSchema},
    mask::{mask, mask_settings},
    page::{Envelope, Paging},
    resource::{Hooks, ListSettings, LookupKey, PendingWrite, Resource},
    route::{ApiVersion, Domain, delete, get, post, put},
    store::{Item, ORGANISATION, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[&VIRTUAL_KEYS],
    routes: &[
        get("/virtual-keys", list),
        post("/virtual-keys", create),
        post("/virtual-keys/migrate", migrate),
        get("/virtual-keys/{slug}", read),
        put("/virtual-keys/{slug}", update),
        delete("/virtual-keys/{slug}", remove),
    ],
};

/// Private field with the settings of the provider.
const SETTINGS_FIELD: &str = "settings";

static VIRTUAL_KEYS: Resource = Resource {
    // Creation wraps its response; the other actions include providers.
    actions: &[],
    lookup_key: LookupKey::Slug,
    fields: &[
        Field::new("name", FieldType::Name).required(),
        Field::new("provider", FieldType::Name)
            .required()
            .immutable(),
        Field::new("key", FieldType::Name),
        Field::new("note", FieldType::Text).nullable(),
        Field::new("deploymentConfig", FieldType::List(&DEPLOYMENTS)),
        Field::new("workspace_id", FieldType::Workspace).immutable(),
        Field::new("usage_limits", FieldType::Object(&USAGE_LIMIT)),
        Field::new("rate_limits", FieldType::ListOrItem(&RATE_LIMITS)),
        Field::new("expires_at", FieldType::Timestamp).immutable(),
        Field::new("secret_mappings", FieldType::List(&SECRET_MAPPINGS))
            .with_default(DefaultValue::EmptyList),
    ],
    derived_fields: &[
        LAST_USED,
        // The live API has this field and never fills it.
        ("key", |_, _, _| Some("".into())),
        ("masked_api_key", |_, _, item| Some(masked_key(item))),
        ("ai_provider_name", |_, _, item| {
            item.get("provider").cloned()
        }),
        ("model_config", |_, call, item| {
            Some(show_settings(call, item))
        }),
        ("rate_limits", |_, call, item| Some(rate_limits(call, item))),
        ("workspace_name", |store, _, item| {
            let workspace = workspaces::resolve(store, text(item, "workspace_id")).ok()?;
            workspace.get("name").cloned()
        }),
    ],
    list: ListSettings {
        paging: Paging::zero_based(50, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[],
        item_fields: &[
            LAST_USED.0,
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
            "tags",
            "workspace_name",
            "provider",
            "object",
        ],
    },
    read_fields: &[
        "id",
        "ai_provider_name",
        "model_config",
        "key",
        "masked_api_key",
        "slug",
        "name",
        "usage_limits",
        "status",
        "note",
        "created_at",
        "expires_at",
        "last_reset_at",
        "rate_limits",
        "integration_id",
        "tags",
        "object",
    ],
    create_fields: &["slug"],
    hooks: Hooks {
        before_write: prepare_write,
        ..Hooks::NONE
    },
    ..Resource::new("virtual-keys", "virtual-key", "/virtual-keys")
};

static DEPLOYMENT: ObjectSchema = ObjectSchema::new(&[
    Field::new("apiVersion", FieldType::Name).required(),
    Field::new("deploymentName", FieldType::Name).required(),
    Field::new("alias", FieldType::Text),
    Field::new("is_default", FieldType::Bool),
]);

static DEPLOYMENTS: ListSchema = ListSchema::new(FieldType::Object(&DEPLOYMENT));

fn create(store: &mut Store, call: &ApiCall) -> ApiResult {
    let made = crud::create(&VIRTUAL_KEYS, store, call)?;
    Ok(json!({ "success": true, "data": made }))
}

fn prepare_write(store: &Store, call: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    let item = draft.change;
    if draft.before.is_none() {
        item.insert("workspace_id".to_owned(), call.workspace_id(store)?.into());
        item.insert("status".to_owned(), "active".into());
    }
    store_settings(&call.body, draft.before, item);
    secret_references::check_mappings(store, draft.before, item)
}

/// Returns the masked key, or an empty text if a secret reference provides the key at run time.
fn masked_key(item: &Item) -> Value {
    match text(item, "key") {
        "" => "".into(),
        key => mask(key).into(),
    }
}

/// Fields of a body that are not settings of the provider.
const NON_SETTING_FIELDS: &[&str] = &[
    "name",
    "provider",
    "key",
    "note",
    "workspace_id",
    "organisation_id",
    "usage_limits",
    "rate_limits",
    "expires_at",
    "secret_mappings",
    "model_config",
    "reset_usage",
    "slug",
    "status",
    "tags",
];

/// Stores the settings of a provider. Any name is accepted, because each provider has its own
/// settings.
fn store_settings(body: &Item, before: Option<&Item>, change: &mut Item) {
    let old = before.and_then(|item| item.get(SETTINGS_FIELD)?.as_object());
    let mut settings = old.cloned().unwrap_or_default();
    let own = body
        .iter()
        .filter(|(name, _)| !NON_SETTING_FIELDS.contains(&name.as_str()));
    let together = body
        .get("model_config")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    settings.extend(
        own.chain(together)
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    settings.retain(|_, value| !value.is_null());
    change.insert(SETTINGS_FIELD.to_owned(), Value::Object(settings));
}

/// Returns the settings of a provider. If there are none, the live API returns `null` in lists and
/// `{}` elsewhere.
fn show_settings(call: &ApiCall, item: &Item) -> Value {
    let settings = item.get(SETTINGS_FIELD).and_then(Value::as_object);
    let settings = mask_settings(settings.unwrap_or(&Item::new()), &[]);
    match settings.is_empty() && call.handle().is_empty() {
        true => Value::Null,
        false => Value::Object(settings),
    }
}

/// Returns the rates. If there are none, the live API returns `null` in lists and `[]` elsewhere.
fn rate_limits(call: &ApiCall, item: &Item) -> Value {
    match item.get("rate_limits").filter(|limits| limits.is_array()) {
        Some(limits) => limits.clone(),
        None if call.handle().is_empty() => Value::Null,
        None => json!([]),
    }
}

/// Represents a provider as a virtual key, with the credential of its integration.
fn from_provider(store: &Store, provider: &Item) -> Item {
    let mut item = provider.clone();
    let integration = providers::find_integration(store, provider);
    let of_integration = |name: &str| {
        integration
            .and_then(|integration| integration.get(name))
            .cloned()
    };
    for (name, value) in [
        ("provider", of_integration("ai_provider_id")),
        ("key", of_integration("key")),
        ("status", Some(providers::status(store, provider))),
    ] {
        item.insert(name.to_owned(), value.unwrap_or_default());
    }
    item
}

/// Returns the providers of one workspace, or of all.
fn list_providers<'s>(store: &'s Store, workspace: Option<&str>) -> Vec<&'s Item> {
    let places = workspaces::all(store).map(item_id);
    let places = places.filter(|id| workspace.is_none_or(|workspace| workspace == id));
    let places: Vec<String> = places.collect();
    places
        .iter()
        .flat_map(|id| store.all(providers::collection_key(id)))
        .collect()
}

/// Returns the id of the workspace that a call names, if any.
fn requested_workspace_id(store: &Store, call: &ApiCall) -> Result<Option<String>, ApiError> {
    let in_body = call.body.get("workspace_id").and_then(Value::as_str);
    match call.query("workspace_id").or(in_body) {
        Some(handle) => workspaces::resolve(store, handle).map(|found| Some(item_id(found))),
        None => Ok(None),
    }
}

fn list(store: &mut Store, call: &ApiCall) -> ApiResult {
    let workspace = requested_workspace_id(store, call)?;
    let is_asked = |item: &&Item| {
        workspace
            .as_deref()
            .is_none_or(|workspace| text(item, "workspace_id") == workspace)
    };
    let own = store
        .all(VIRTUAL_KEYS.organisation_collection())
        .filter(is_asked)
        .cloned();
    let made = list_providers(store, workspace.as_deref()).into_iter();
    let all: Vec<Item> = own
        .chain(made.map(|item| from_provider(store, item)))
        .collect();
    let listing = &VIRTUAL_KEYS.list;
    let (page, more) = listing.paging.select_page(call, &all)?;
    let show = |item| crud::show(&VIRTUAL_KEYS, store, call, item, listing.item_fields);
    Ok(listing
        .envelope
        .wrap(all.len(), more, page.iter().map(show).collect()))
}

/// Returns the provider that the path names, unless a virtual key has its slug.
fn find_provider<'s>(store: &'s Store, call: &ApiCall) -> Option<&'s Item> {
    if VIRTUAL_KEYS
        .find(store, ORGANISATION, call.handle())
        .is_ok()
    {
        return None;
    }
    let workspace = requested_workspace_id(store, call).ok()?;
    let mut all = list_providers(store, workspace.as_deref()).into_iter();
    all.find(|item| text(item, "slug") == call.handle())
}

/// Converts a call for a provider to one on the provider's resource, if the path names a provider.
fn to_provider_call(store: &Store, call: &ApiCall) -> Option<ApiCall> {
    let provider = find_provider(store, call)?;
    let workspace = text(provider, "workspace_id").to_owned();
    Some(ApiCall {
        path: vec![item_id(provider)],
        query: vec![("workspace_id".to_owned(), workspace)],
        body: call.body.clone(),
        ..ApiCall::default()
    })
}

fn read(store: &mut Store, call: &ApiCall) -> ApiResult {
    match find_provider(store, call) {
        Some(provider) => {
            let item = from_provider(store, provider);
            Ok(crud::show(
                &VIRTUAL_KEYS,
                store,
                call,
                &item,
                VIRTUAL_KEYS.read_fields,
            ))
        }
        None => crud::get(&VIRTUAL_KEYS, store, call),
    }
}

fn update(store: &mut Store, call: &ApiCall) -> ApiResult {
    match to_provider_call(store, call) {
        Some(call) => crud::update(&PROVIDERS, store, &call).map(|_| empty_object()),
        None => crud::update(&VIRTUAL_KEYS, store, call),
    }
}

fn remove(store: &mut Store, call: &ApiCall) -> ApiResult {
    match to_provider_call(store, call) {
        Some(call) => crud::delete(&PROVIDERS, store, &call),
        None => crud::delete(&VIRTUAL_KEYS, store, call),
    }
}

/// Counts the virtual keys that a migration concerns. The sandbox shows providers and virtual keys in the same
/// lists, so there is nothing to move.
fn migrate(store: &mut Store, call: &ApiCall) -> ApiResult {
    let keys = VIRTUAL_KEYS.organisation_collection();
    let migrated = match call.body.get("virtual_key_id").and_then(Value::as_str) {
        Some(id) if store.find(keys, id).is_some() => 1,
        Some(id) => {
            return Err(ApiError::NotFound {
                object: VIRTUAL_KEYS.object,
                handle: id.to_owned(),
            });
        }
        None => store.count(keys),
    };
    Ok(json!({ "success": true, "migrated": migrated }))
}

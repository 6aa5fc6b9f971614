//! Virtual keys: provider credentials of a workspace, the predecessor of integrations.
//!
//! Providers have replaced virtual keys, so these routes also list, read and change providers.

use serde_json::{Value, json};

use super::{
    parts::{RATE_LIMITS, SECRET_MAPPINGS, USAGE_LIMIT},
    providers::{self, PROVIDERS},
    secret_references, workspaces,
};
use crate::{
    call::{Call, id_of},
    crud::{self, Outcome, done},
    field::{Field, Kind, List, Preset, Shape},
    mask::{mask, mask_settings},
    page::{Envelope, Paging},
    refusal::Refusal,
    resource::{Draft, FoundBy, Hooks, Listing, Resource},
    route::{Domain, Version, delete, get, post, put},
    store::{Item, ORGANISATION, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1],
    resources: &[&VIRTUAL_KEYS],
    routes: &[
        get("/virtual-keys", list),
        post("/virtual-keys", create),
        get("/virtual-keys/{slug}", read),
        put("/virtual-keys/{slug}", update),
        delete("/virtual-keys/{slug}", remove),
    ],
};

/// Private field with the settings of the provider.
const SETTINGS: &str = "settings";

static VIRTUAL_KEYS: Resource = Resource {
    // Creation wraps its response; the other actions include providers.
    verbs: &[],
    found_by: FoundBy::Slug,
    fields: &[
        Field::new("name", Kind::Name).required(),
        Field::new("provider", Kind::Name).required().fixed(),
        Field::new("key", Kind::Name),
        Field::new("note", Kind::Text).nullable(),
        Field::new("deploymentConfig", Kind::List(&DEPLOYMENTS)),
        Field::new("workspace_id", Kind::Workspace).fixed(),
        Field::new("usage_limits", Kind::Shape(&USAGE_LIMIT)),
        Field::new("rate_limits", Kind::ListOrOne(&RATE_LIMITS)),
        Field::new("expires_at", Kind::Instant).fixed(),
        Field::new("secret_mappings", Kind::List(&SECRET_MAPPINGS)).preset(Preset::EmptyList),
    ],
    derived: &[
        // The live API has this field and never fills it.
        ("key", |_, _, _| Some("".into())),
        ("masked_api_key", |_, _, item| Some(masked_key(item))),
        ("ai_provider_name", |_, _, item| {
            item.get("provider").cloned()
        }),
        ("model_config", |_, call, item| {
            Some(shown_settings(call, item))
        }),
        ("rate_limits", |_, call, item| Some(rate_limits(call, item))),
        ("workspace_name", |store, _, item| {
            let workspace = workspaces::resolve(store, text(item, "workspace_id")).ok()?;
            workspace.get("name").cloned()
        }),
    ],
    list: Listing {
        paging: Paging::zero_based(50, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[],
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
    creates: &["slug"],
    hooks: Hooks {
        admit,
        ..Hooks::NONE
    },
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
    }
    keep_settings(&call.body, draft.before, item);
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
const NO_SETTINGS: &[&str] = &[
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
fn keep_settings(body: &Item, before: Option<&Item>, change: &mut Item) {
    let old = before.and_then(|item| item.get(SETTINGS)?.as_object());
    let mut settings = old.cloned().unwrap_or_default();
    let own = body
        .iter()
        .filter(|(name, _)| !NO_SETTINGS.contains(&name.as_str()));
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
    change.insert(SETTINGS.to_owned(), Value::Object(settings));
}

/// Returns the settings of a provider. If there are none, the live API returns `null` in lists and
/// `{}` elsewhere.
fn shown_settings(call: &Call, item: &Item) -> Value {
    let settings = item.get(SETTINGS).and_then(Value::as_object);
    let settings = mask_settings(settings.unwrap_or(&Item::new()), &[]);
    match settings.is_empty() && call.handle().is_empty() {
        true => Value::Null,
        false => Value::Object(settings),
    }
}

/// Returns the rates. If there are none, the live API returns `null` in lists and `[]` elsewhere.
fn rate_limits(call: &Call, item: &Item) -> Value {
    match item.get("rate_limits").filter(|limits| limits.is_array()) {
        Some(limits) => limits.clone(),
        None if call.handle().is_empty() => Value::Null,
        None => json!([]),
    }
}

/// Represents a provider as a virtual key, with the credential of its integration.
fn from_provider(store: &Store, provider: &Item) -> Item {
    let mut item = provider.clone();
    let integration = providers::integration(store, provider);
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
fn providers_in<'s>(store: &'s Store, workspace: Option<&str>) -> Vec<&'s Item> {
    let places = workspaces::all(store).map(id_of);
    let places = places.filter(|id| workspace.is_none_or(|workspace| workspace == id));
    let places: Vec<String> = places.collect();
    places
        .iter()
        .flat_map(|id| store.all(providers::shelf(id)))
        .collect()
}

/// Returns the id of the workspace that a call names, if any.
fn asked_workspace(store: &Store, call: &Call) -> Result<Option<String>, Refusal> {
    let in_body = call.body.get("workspace_id").and_then(Value::as_str);
    match call.query("workspace_id").or(in_body) {
        Some(handle) => workspaces::resolve(store, handle).map(|found| Some(id_of(found))),
        None => Ok(None),
    }
}

fn list(store: &mut Store, call: &Call) -> Outcome {
    let workspace = asked_workspace(store, call)?;
    let is_asked = |item: &&Item| {
        workspace
            .as_deref()
            .is_none_or(|workspace| text(item, "workspace_id") == workspace)
    };
    let own = store.all(VIRTUAL_KEYS.shared()).filter(is_asked).cloned();
    let made = providers_in(store, workspace.as_deref()).into_iter();
    let all: Vec<Item> = own
        .chain(made.map(|item| from_provider(store, item)))
        .collect();
    let listing = &VIRTUAL_KEYS.list;
    let (page, more) = listing.paging.cut(call, &all)?;
    let show = |item| crud::show(&VIRTUAL_KEYS, store, call, item, listing.shows);
    Ok(listing
        .envelope
        .wrap(all.len(), more, page.iter().map(show).collect()))
}

/// Returns the provider that the path names, unless a virtual key has its slug.
fn named_provider<'s>(store: &'s Store, call: &Call) -> Option<&'s Item> {
    if VIRTUAL_KEYS
        .find(store, ORGANISATION, call.handle())
        .is_ok()
    {
        return None;
    }
    let workspace = asked_workspace(store, call).ok()?;
    let mut all = providers_in(store, workspace.as_deref()).into_iter();
    all.find(|item| text(item, "slug") == call.handle())
}

/// Converts a call for a provider to one on the provider's resource, if the path names a provider.
fn as_provider_call(store: &Store, call: &Call) -> Option<Call> {
    let provider = named_provider(store, call)?;
    let workspace = text(provider, "workspace_id").to_owned();
    Some(Call {
        path: vec![id_of(provider)],
        query: vec![("workspace_id".to_owned(), workspace)],
        body: call.body.clone(),
        ..Call::default()
    })
}

fn read(store: &mut Store, call: &Call) -> Outcome {
    match named_provider(store, call) {
        Some(provider) => {
            let item = from_provider(store, provider);
            Ok(crud::show(
                &VIRTUAL_KEYS,
                store,
                call,
                &item,
                VIRTUAL_KEYS.reads,
            ))
        }
        None => crud::get(&VIRTUAL_KEYS, store, call),
    }
}

fn update(store: &mut Store, call: &Call) -> Outcome {
    match as_provider_call(store, call) {
        Some(call) => crud::update(&PROVIDERS, store, &call).map(|_| done()),
        None => crud::update(&VIRTUAL_KEYS, store, call),
    }
}

fn remove(store: &mut Store, call: &Call) -> Outcome {
    match as_provider_call(store, call) {
        Some(call) => crud::delete(&PROVIDERS, store, &call),
        None => crud::delete(&VIRTUAL_KEYS, store, call),
    }
}

//! Collections: nested folders for prompts. Every workspace has a default one from the beginning.

use serde_json::{Value, json};

use super::{common_fields::BY_SEARCH, prompts, workspaces};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{self, ApiResult},
    field::{DefaultValue, Field, FieldType},
    page::{Envelope, Paging},
    resource::{CrudAction, Hooks, ListFilter, ListSettings, PendingWrite, Resource},
    route::{ApiVersion, Domain, get, post},
    store::{CollectionKey, Item, ORGANISATION, Store, flag, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[&COLLECTIONS],
    routes: &[get("/collections", list), post("/collections", create)],
};

/// Field with the id of the parent collection.
const PARENT_FIELD: &str = "parent_collection_id";

static COLLECTIONS: Resource = Resource {
    actions: &[CrudAction::Get, CrudAction::Update, CrudAction::Delete],
    slug_prefix: "co-",
    slug_name_length: 6,
    fields: &[
        Field::new("name", FieldType::Name).required(),
        Field::new("workspace_id", FieldType::Workspace).immutable(),
        Field::new(PARENT_FIELD, FieldType::Name)
            .nullable()
            .immutable()
            .with_default(DefaultValue::Null),
    ],
    derived_fields: &[
        ("is_default", |_, _, collection| {
            Some(u8::from(flag(collection, "is_default")).into())
        }),
        ("collection_details", |store, _, collection| {
            Some(collection_details(store, collection))
        }),
        ("child_collections", |store, call, collection| {
            let shown = ["id", "name", "last_updated_at", "collection_details"];
            let children = children(store, collection);
            let show = |child| crud::show(&COLLECTIONS, store, call, child, &shown);
            Some(children.map(show).collect())
        }),
    ],
    list: ListSettings {
        paging: Paging::zero_based(100, usize::MAX),
        envelope: Envelope {
            includes_object: false,
            includes_has_more: false,
        },
        filters: &[
            BY_SEARCH,
            ListFilter::equals("workspace_id", FieldType::Workspace),
        ],
        item_fields: &[
            "id",
            "name",
            "workspace_id",
            "slug",
            PARENT_FIELD,
            "is_default",
            "status",
            "created_at",
            "last_updated_at",
            "collection_details",
        ],
    },
    read_fields: &[
        "id",
        "name",
        "workspace_id",
        "slug",
        PARENT_FIELD,
        "is_default",
        "status",
        "created_at",
        "last_updated_at",
        "child_collections",
    ],
    hooks: Hooks {
        before_write: prepare_write,
        before_delete: check_removal,
        ..Hooks::NONE
    },
    ..Resource::new("collections", "collection", "/collections")
};

/// Returns the collection with an id or slug.
pub(super) fn resolve<'s>(store: &'s Store, handle: &str) -> Result<&'s Item, ApiError> {
    COLLECTIONS.find(store, ORGANISATION, handle)
}

fn list(store: &mut Store, call: &ApiCall) -> ApiResult {
    let named = call.requested_workspace_id(store)?;
    let all = || workspaces::all(store).map(item_id).collect();
    let places: Vec<String> = named.map_or_else(all, |workspace| vec![workspace]);
    for workspace in places {
        ensure_default(store, &workspace)?;
    }
    crud::list(&COLLECTIONS, store, call)
}

fn create(store: &mut Store, call: &ApiCall) -> ApiResult {
    let workspace = call.workspace_id(store)?;
    ensure_default(store, &workspace)?;
    crud::create(&COLLECTIONS, store, call)
}

/// Keeps the direct items of the requested collection.
pub(super) const BY_COLLECTION: ListFilter = ListFilter {
    param: "collection_id",
    kind: FieldType::Name,
    predicate: Some(|store, item, asked| {
        let collection = resolve(store, asked.as_str().unwrap_or_default());
        collection.is_ok_and(|collection| item.get("collection_id") == collection.get("id"))
    }),
};

/// Checks that the collection or workspace that a call names exists.
pub(super) fn check_location(store: &Store, call: &ApiCall) -> Result<(), ApiError> {
    match call.query("collection_id") {
        Some(collection) => resolve(store, collection).map(|_| ()),
        None => call.requested_workspace_id(store).map(|_| ()),
    }
}

/// Returns the default collection of a workspace, if it has been created.
pub(super) fn find_default<'s>(store: &'s Store, workspace: &str) -> Option<&'s Item> {
    let mut all = store.all(COLLECTIONS.organisation_collection());
    all.find(|c| flag(c, "is_default") && text(c, "workspace_id") == workspace)
}

/// Returns the id of a workspace's default collection. In the API, every workspace has one from the
/// beginning. The sandbox creates it on first use, so that workspaces do not depend on collections.
pub(super) fn ensure_default(store: &mut Store, workspace: &str) -> Result<String, ApiError> {
    if let Some(found) = find_default(store, workspace) {
        return Ok(item_id(found));
    }
    let body = json!({ "name": "Default", "workspace_id": workspace });
    let body = body.as_object().cloned().unwrap_or_default();
    let made = crud::create(
        &COLLECTIONS,
        store,
        &ApiCall {
            body,
            ..ApiCall::default()
        },
    )?;
    let id = made
        .get("id")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if let Some(collection) = store.find_mut(COLLECTIONS.organisation_collection(), &id) {
        collection.insert("is_default".to_owned(), true.into());
    }
    Ok(id)
}

fn prepare_write(store: &Store, call: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    let change = draft.change;
    if draft.before.is_some() {
        return match change.contains_key("name") {
            true => Ok(()),
            false => Err(ApiError::invalid_field("name", "is required")),
        };
    }
    let workspace = call.workspace_id(store)?;
    if let Some(Value::String(parent)) = change.get(PARENT_FIELD) {
        let parent = resolve(store, parent)?;
        if text(parent, "workspace_id") != workspace {
            return Err(ApiError::invalid_field(
                PARENT_FIELD,
                "is a collection of another workspace",
            ));
        }
        change.insert(PARENT_FIELD.to_owned(), item_id(parent).into());
    }
    change.insert("workspace_id".to_owned(), workspace.into());
    change.insert("status".to_owned(), "active".into());
    Ok(())
}

/// Responds to the deletion of a default collection with 404, like the live API.
fn check_removal(_: &Store, call: &ApiCall, collection: &Item) -> Result<(), ApiError> {
    match flag(collection, "is_default") {
        true => {
            let handle = call.handle().to_owned();
            Err(ApiError::NotFound {
                object: COLLECTIONS.object,
                handle,
            })
        }
        false => Ok(()),
    }
}

fn children<'s>(store: &'s Store, collection: &Item) -> impl Iterator<Item = &'s Item> + use<'s> {
    let id = item_id(collection);
    store
        .all(COLLECTIONS.organisation_collection())
        .filter(move |child| text(child, PARENT_FIELD) == id)
}

/// Returns the number of direct items, and the times of their last changes.
fn collection_details(store: &Store, collection: &Item) -> Value {
    let children: Vec<&Item> = children(store, collection).collect();
    let id = text(collection, "id");
    let shelf = CollectionKey {
        kind: prompts::KIND,
        owner: ORGANISATION,
    };
    let prompts = store
        .all(shelf)
        .filter(|prompt| text(prompt, "collection_id") == id);
    let prompts: Vec<&Item> = prompts.collect();
    json!({
        "child_collections_count": children.len(),
        "prompts_count": prompts.len(),
        "child_collections_last_updated_at": newest_update(&children),
        "prompts_last_updated_at": newest_update(&prompts),
    })
}

fn newest_update<'s>(items: &[&'s Item]) -> Option<&'s str> {
    items.iter().map(|item| text(item, "last_updated_at")).max()
}

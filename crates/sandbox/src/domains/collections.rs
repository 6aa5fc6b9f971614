//! Collections: nested folders for prompts. Every workspace has a default one from the beginning.

use serde_json::{Value, json};

use super::{parts::BY_SEARCH, prompts, workspaces};
use crate::{
    call::{Call, id_of},
    crud::{self, Outcome},
    field::{Field, Kind, Preset},
    page::{Envelope, Paging},
    refusal::Refusal,
    resource::{Draft, Filter, Hooks, Listing, Resource, Verb},
    route::{Domain, Version, get, post},
    store::{Item, ORGANISATION, Shelf, Store, flag, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1],
    resources: &[&COLLECTIONS],
    routes: &[get("/collections", list), post("/collections", create)],
};

/// Field with the id of the parent collection.
const PARENT: &str = "parent_collection_id";

static COLLECTIONS: Resource = Resource {
    verbs: &[Verb::Get, Verb::Update, Verb::Delete],
    slug_prefix: "co-",
    slug_name_length: 6,
    fields: &[
        Field::new("name", Kind::Name).required(),
        Field::new("workspace_id", Kind::Workspace).fixed(),
        Field::new(PARENT, Kind::Name)
            .nullable()
            .fixed()
            .preset(Preset::Null),
    ],
    derived: &[
        ("is_default", |_, _, collection| {
            Some(u8::from(flag(collection, "is_default")).into())
        }),
        ("collection_details", |store, _, collection| {
            Some(details(store, collection))
        }),
        ("child_collections", |store, call, collection| {
            let shown = ["id", "name", "last_updated_at", "collection_details"];
            let children = children(store, collection);
            let show = |child| crud::show(&COLLECTIONS, store, call, child, &shown);
            Some(children.map(show).collect())
        }),
    ],
    list: Listing {
        paging: Paging::zero_based(100, usize::MAX),
        envelope: Envelope {
            object: false,
            has_more: false,
        },
        filters: &[BY_SEARCH, Filter::same("workspace_id", Kind::Workspace)],
        shows: &[
            "id",
            "name",
            "workspace_id",
            "slug",
            PARENT,
            "is_default",
            "status",
            "created_at",
            "last_updated_at",
            "collection_details",
        ],
    },
    reads: &[
        "id",
        "name",
        "workspace_id",
        "slug",
        PARENT,
        "is_default",
        "status",
        "created_at",
        "last_updated_at",
        "child_collections",
    ],
    hooks: Hooks {
        admit,
        release,
        ..Hooks::NONE
    },
    ..Resource::new("collections", "collection", "/collections")
};

/// Returns the collection with an id or slug.
pub(super) fn resolve<'s>(store: &'s Store, handle: &str) -> Result<&'s Item, Refusal> {
    COLLECTIONS.find(store, ORGANISATION, handle)
}

fn list(store: &mut Store, call: &Call) -> Outcome {
    let named = call.named_workspace(store)?;
    let all = || workspaces::all(store).map(id_of).collect();
    let places: Vec<String> = named.map_or_else(all, |workspace| vec![workspace]);
    for workspace in places {
        default_of(store, &workspace)?;
    }
    crud::list(&COLLECTIONS, store, call)
}

fn create(store: &mut Store, call: &Call) -> Outcome {
    let workspace = call.workspace(store)?;
    default_of(store, &workspace)?;
    crud::create(&COLLECTIONS, store, call)
}

/// Keeps the direct items of the requested collection.
pub(super) const BY_COLLECTION: Filter = Filter {
    param: "collection_id",
    kind: Kind::Name,
    keeps: Some(|store, item, asked| {
        let collection = resolve(store, asked.as_str().unwrap_or_default());
        collection.is_ok_and(|collection| item.get("collection_id") == collection.get("id"))
    }),
};

/// Checks that the collection or workspace that a call names exists.
pub(super) fn check_place(store: &Store, call: &Call) -> Result<(), Refusal> {
    match call.query("collection_id") {
        Some(collection) => resolve(store, collection).map(|_| ()),
        None => call.named_workspace(store).map(|_| ()),
    }
}

/// Returns the default collection of a workspace, if it has been created.
pub(super) fn find_default<'s>(store: &'s Store, workspace: &str) -> Option<&'s Item> {
    let mut all = store.all(COLLECTIONS.shared());
    all.find(|c| flag(c, "is_default") && text(c, "workspace_id") == workspace)
}

/// Returns the id of a workspace's default collection. In the API, every workspace has one from the
/// beginning. The sandbox creates it on first use, so that workspaces do not depend on collections.
pub(super) fn default_of(store: &mut Store, workspace: &str) -> Result<String, Refusal> {
    if let Some(found) = find_default(store, workspace) {
        return Ok(id_of(found));
    }
    let body = json!({ "name": "Default", "workspace_id": workspace });
    let body = body.as_object().cloned().unwrap_or_default();
    let made = crud::create(
        &COLLECTIONS,
        store,
        &Call {
            body,
            ..Call::default()
        },
    )?;
    let id = made
        .get("id")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if let Some(collection) = store.find_mut(COLLECTIONS.shared(), &id) {
        collection.insert("is_default".to_owned(), true.into());
    }
    Ok(id)
}

fn admit(store: &Store, call: &Call, draft: Draft<'_>) -> Result<(), Refusal> {
    let change = draft.change;
    if draft.before.is_some() {
        return match change.contains_key("name") {
            true => Ok(()),
            false => Err(Refusal::field("name", "is required")),
        };
    }
    let workspace = call.workspace(store)?;
    if let Some(Value::String(parent)) = change.get(PARENT) {
        let parent = resolve(store, parent)?;
        if text(parent, "workspace_id") != workspace {
            return Err(Refusal::field(
                PARENT,
                "is a collection of another workspace",
            ));
        }
        change.insert(PARENT.to_owned(), id_of(parent).into());
    }
    change.insert("workspace_id".to_owned(), workspace.into());
    change.insert("status".to_owned(), "active".into());
    Ok(())
}

/// Responds to the deletion of a default collection with 404, like the live API.
fn release(_: &Store, call: &Call, collection: &Item) -> Result<(), Refusal> {
    match flag(collection, "is_default") {
        true => {
            let handle = call.handle().to_owned();
            Err(Refusal::Missing {
                object: COLLECTIONS.object,
                handle,
            })
        }
        false => Ok(()),
    }
}

fn children<'s>(store: &'s Store, collection: &Item) -> impl Iterator<Item = &'s Item> + use<'s> {
    let id = id_of(collection);
    store
        .all(COLLECTIONS.shared())
        .filter(move |child| text(child, PARENT) == id)
}

/// Returns the number of direct items, and the times of their last changes.
fn details(store: &Store, collection: &Item) -> Value {
    let children: Vec<&Item> = children(store, collection).collect();
    let id = text(collection, "id");
    let shelf = Shelf {
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
        "child_collections_last_updated_at": newest(&children),
        "prompts_last_updated_at": newest(&prompts),
    })
}

fn newest<'s>(items: &[&'s Item]) -> Option<&'s str> {
    items.iter().map(|item| text(item, "last_updated_at")).max()
}

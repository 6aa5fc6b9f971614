//! Prompt partials: versioned texts that prompts include.

use serde_json::{Value, json};

use super::{
    collections,
    parts::BY_SEARCH,
    versions::{self, NUMBER},
};
use crate::{
    call::{Call, id_of},
    check::{self, Occasion},
    crud::{self, Outcome, done},
    field::{Field, Kind, Preset},
    page::{Envelope, Paging},
    refusal::Refusal,
    resource::{Draft, Filter, Hooks, Listing, Resource, Verb},
    route::{Domain, Version, get, post, put},
    store::{Item, ORGANISATION, Shelf, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1],
    resources: &[&PARTIALS],
    routes: &[
        get("/prompts/partials", list),
        post("/prompts/partials", create),
        get("/prompts/partials/{id}", read),
        put("/prompts/partials/{id}", update),
        put("/prompts/partials/{id}/makeDefault", |store, call| {
            versions::publish(&PARTIALS, VERSIONS, store, call)
        }),
        get("/prompts/partials/{id}/versions", list_versions),
    ],
};

/// Kind of the partials.
pub(super) const KIND: &str = "prompt-partials";

/// Kind of their versions.
pub(super) const VERSIONS: &str = "prompt-partial-versions";

/// Fields that belong to a version.
const CONTENT: &[&str] = &["string", "version_description"];

static PARTIALS: Resource = Resource {
    verbs: &[Verb::Delete],
    slug_prefix: "pp-",
    slug_name_length: 10,
    fields: &[
        Field::new("name", Kind::Name).required(),
        Field::new("string", Kind::Text).required(),
        Field::new("workspace_id", Kind::Workspace).fixed(),
        Field::new("status", Kind::Name).preset(Preset::Text("active")),
        Field::new("version_description", Kind::Text),
    ],
    derived: &[("version_id", |store, _, partial| {
        Some(versions::id_or_null(versions::latest(
            store,
            shelf(partial),
        )))
    })],
    list: Listing {
        paging: Paging::zero_based(100, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[
            BY_SEARCH,
            Filter::same("workspace_id", Kind::Workspace),
            collections::BY_COLLECTION,
        ],
        shows: SHOWN,
    },
    reads: SHOWN,
    creates: &["id", "slug", "version_id"],
    hooks: Hooks {
        admit,
        created,
        ..Hooks::NONE
    },
    ..Resource::new(KIND, "partial", "/prompts/partials")
};

const SHOWN: &[&str] = &[
    "id",
    "slug",
    "name",
    "collection_id",
    "created_at",
    "last_updated_at",
    "status",
    "object",
];

/// Returns the collection of a partial's versions.
fn shelf(partial: &Item) -> Shelf<'_> {
    Shelf {
        kind: VERSIONS,
        owner: text(partial, "id"),
    }
}

fn list(store: &mut Store, call: &Call) -> Outcome {
    collections::check_place(store, call)?;
    crud::list(&PARTIALS, store, call)
}

/// Creates a partial in the default collection of its workspace.
fn create(store: &mut Store, call: &Call) -> Outcome {
    let workspace = call.workspace(store)?;
    collections::default_of(store, &workspace)?;
    crud::create(&PARTIALS, store, call)
}

fn admit(store: &Store, call: &Call, draft: Draft<'_>) -> Result<(), Refusal> {
    if draft.before.is_none() {
        let workspace = call.workspace(store)?;
        let collection = collections::find_default(store, &workspace).map(id_of);
        draft
            .change
            .insert("collection_id".to_owned(), collection.into());
        draft
            .change
            .insert("workspace_id".to_owned(), workspace.into());
    }
    Ok(())
}

fn created(store: &mut Store, partials: Shelf<'_>, id: &str) {
    versions::begin(store, partials, VERSIONS, id, CONTENT);
}

fn read(store: &mut Store, call: &Call) -> Outcome {
    let partial = PARTIALS.find(store, ORGANISATION, call.handle())?;
    let version = versions::find(store, shelf(partial), partial, call.query("version"))?;
    let mut shown = crud::show(&PARTIALS, store, call, partial, SHOWN);
    if let Some(shown) = shown.as_object_mut() {
        for field in ["string", NUMBER, "version_description"] {
            shown.insert(
                field.to_owned(),
                version.get(field).cloned().unwrap_or_default(),
            );
        }
        shown.insert(
            "prompt_partial_version_id".to_owned(),
            text(version, "id").into(),
        );
    }
    Ok(shown)
}

/// Returns the text of a partial's published version.
pub(super) fn published(store: &Store, handle: &str) -> Option<String> {
    let partial = store.find(PARTIALS.shared(), handle)?;
    let version = versions::find(store, shelf(partial), partial, None).ok()?;
    Some(text(version, "string").to_owned())
}

/// Updates a partial. A new text becomes an unpublished version; other fields change the partial.
fn update(store: &mut Store, call: &Call) -> Outcome {
    let id = id_of(PARTIALS.find(store, ORGANISATION, call.handle())?);
    let mut change = check::body(store, PARTIALS.fields, &call.body, Occasion::Update)?;
    let mut content = versions::take(&mut change, CONTENT);
    change.insert("last_updated_at".to_owned(), store.clock.now().into());
    if let Some(partial) = store.find_mut(PARTIALS.shared(), &id) {
        partial.extend(change);
    }
    if !content.contains_key("string") {
        return Ok(done());
    }
    // The specification names the field `description`.
    if let Some(Value::String(description)) = call.body.get("description") {
        content
            .entry("version_description")
            .or_insert_with(|| description.clone().into());
    }
    let version = versions::append(
        store,
        Shelf {
            kind: VERSIONS,
            owner: &id,
        },
        content,
    );
    Ok(json!({ "prompt_partial_version_id": version }))
}

fn list_versions(store: &mut Store, call: &Call) -> Outcome {
    let partial = PARTIALS.find(store, ORGANISATION, call.handle())?;
    let shown = versions::newest_first(store, shelf(partial))
        .into_iter()
        .map(|version| {
            json!({
                "prompt_partial_id": partial.get("id"),
                "prompt_partial_version_id": version.get("id"),
                "slug": partial.get("slug"),
                "version": version.get(NUMBER),
                "string": version.get("string"),
                "description": version.get("version_description"),
                "created_at": version.get("created_at"),
                "prompt_version_status": version.get("status"),
                "object": PARTIALS.object,
            })
        });
    let shown: Vec<Value> = shown.collect();
    Ok(Envelope::LIST.wrap(shown.len(), false, shown))
}

//! Prompt partials: versioned texts that prompts include.

use serde_json::{Value, json};

use super::{
    collections,
    common_fields::BY_SEARCH,
    versions::{self, NUMBER_FIELD},
};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{self, ApiResult, empty_object},
    field::{DefaultValue, Field, FieldType},
    page::{Envelope, Paging},
    resource::{CrudAction, Hooks, ListFilter, ListSettings, PendingWrite, Resource},
    route::{ApiVersion, Domain, get, post, put},
    store::{CollectionKey, Item, ORGANISATION, Store, text},
    validation::{self, WriteKind},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[&PARTIALS],
    routes: &[
        get("/prompts/partials", list),
        post("/prompts/partials", create),
        get("/prompts/partials/{id}", read),
        put("/prompts/partials/{id}", update),
        put("/prompts/partials/{id}/makeDefault", |store, call| {
            versions::publish(&PARTIALS, VERSIONS_KIND, store, call)
        }),
        get("/prompts/partials/{id}/versions", list_versions),
    ],
};

/// Kind of the partials.
pub(super) const KIND: &str = "prompt-partials";

/// Kind of their versions.
pub(super) const VERSIONS_KIND: &str = "prompt-partial-versions";

/// Fields that belong to a version.
const CONTENT_FIELDS: &[&str] = &["string", "version_description"];

static PARTIALS: Resource = Resource {
    actions: &[CrudAction::Delete],
    slug_prefix: "pp-",
    slug_name_length: 10,
    fields: &[
        Field::new("name", FieldType::Name).required(),
        Field::new("string", FieldType::Text).required(),
        Field::new("workspace_id", FieldType::Workspace).immutable(),
        Field::new("status", FieldType::Name).with_default(DefaultValue::Text("active")),
        Field::new("version_description", FieldType::Text),
    ],
    derived_fields: &[("version_id", |store, _, partial| {
        Some(versions::id_or_null(versions::latest(
            store,
            collection_key(partial),
        )))
    })],
    list: ListSettings {
        paging: Paging::zero_based(100, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[
            BY_SEARCH,
            ListFilter::equals("workspace_id", FieldType::Workspace),
            collections::BY_COLLECTION,
        ],
        item_fields: SHOWN,
    },
    read_fields: SHOWN,
    create_fields: &["id", "slug", "version_id"],
    hooks: Hooks {
        before_write: prepare_write,
        after_create: finish_create,
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
fn collection_key(partial: &Item) -> CollectionKey<'_> {
    CollectionKey {
        kind: VERSIONS_KIND,
        owner: text(partial, "id"),
    }
}

fn list(store: &mut Store, call: &ApiCall) -> ApiResult {
    collections::check_location(store, call)?;
    crud::list(&PARTIALS, store, call)
}

/// Creates a partial in the default collection of its workspace.
fn create(store: &mut Store, call: &ApiCall) -> ApiResult {
    let workspace = call.workspace_id(store)?;
    collections::ensure_default(store, &workspace)?;
    crud::create(&PARTIALS, store, call)
}

fn prepare_write(store: &Store, call: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    if draft.before.is_none() {
        let workspace = call.workspace_id(store)?;
        let collection = collections::find_default(store, &workspace).map(item_id);
        draft
            .change
            .insert("collection_id".to_owned(), collection.into());
        draft
            .change
            .insert("workspace_id".to_owned(), workspace.into());
    }
    Ok(())
}

fn finish_create(store: &mut Store, partials: CollectionKey<'_>, id: &str) {
    versions::create_first(store, partials, VERSIONS_KIND, id, CONTENT_FIELDS);
}

fn read(store: &mut Store, call: &ApiCall) -> ApiResult {
    let partial = PARTIALS.find(store, ORGANISATION, call.handle())?;
    let version = versions::find(
        store,
        collection_key(partial),
        partial,
        call.query("version"),
    )?;
    let mut shown = crud::show(&PARTIALS, store, call, partial, SHOWN);
    if let Some(shown) = shown.as_object_mut() {
        for field in ["string", NUMBER_FIELD, "version_description"] {
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
pub(super) fn find_published_text(store: &Store, handle: &str) -> Option<String> {
    let partial = store.find(PARTIALS.organisation_collection(), handle)?;
    let version = versions::find(store, collection_key(partial), partial, None).ok()?;
    Some(text(version, "string").to_owned())
}

/// Updates a partial. A new text becomes an unpublished version; other fields change the partial.
fn update(store: &mut Store, call: &ApiCall) -> ApiResult {
    let id = item_id(PARTIALS.find(store, ORGANISATION, call.handle())?);
    let mut change =
        validation::validate_body(store, PARTIALS.fields, &call.body, WriteKind::Update)?;
    let mut content = versions::take_fields(&mut change, CONTENT_FIELDS);
    change.insert("last_updated_at".to_owned(), store.clock.now().into());
    if let Some(partial) = store.find_mut(PARTIALS.organisation_collection(), &id) {
        partial.extend(change);
    }
    if !content.contains_key("string") {
        return Ok(empty_object());
    }
    // The specification names the field `description`.
    if let Some(Value::String(description)) = call.body.get("description") {
        content
            .entry("version_description")
            .or_insert_with(|| description.clone().into());
    }
    let version = versions::append(
        store,
        CollectionKey {
            kind: VERSIONS_KIND,
            owner: &id,
        },
        content,
    );
    Ok(json!({ "prompt_partial_version_id": version }))
}

fn list_versions(store: &mut Store, call: &ApiCall) -> ApiResult {
    let partial = PARTIALS.find(store, ORGANISATION, call.handle())?;
    let shown = versions::newest_first(store, collection_key(partial))
        .into_iter()
        .map(|version| {
            json!({
                "prompt_partial_id": partial.get("id"),
                "prompt_partial_version_id": version.get("id"),
                "slug": partial.get("slug"),
                "version": version.get(NUMBER_FIELD),
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

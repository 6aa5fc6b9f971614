//! Prompt tools: versioned definitions of functions, in collections.

use serde_json::{Value, json};

use super::{
    collections,
    versions::{self, NUMBER_FIELD},
};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{self, ApiResult},
    field::{DefaultValue, Field, FieldType},
    page::{Envelope, Paging},
    resource::{CrudAction, Hooks, ListSettings, PendingWrite, Resource},
    route::{ApiVersion, Domain, get, post, put},
    store::{CollectionKey, Item, ORGANISATION, Store, text},
    validation::{self, WriteKind},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V2],
    resources: &[&TOOLS],
    routes: &[
        get("/tools", list),
        post("/tools", create),
        put("/tools/{id}", update),
        put("/tools/{id}/makeDefault", |store, call| {
            versions::publish(&TOOLS, VERSIONS_KIND, store, call)
        }),
        get("/tools/{id}/versions", list_versions),
    ],
};

/// Kind of the versions.
const VERSIONS_KIND: &str = "prompt-tool-versions";

/// Fields that belong to a version.
const CONTENT_FIELDS: &[&str] = &["tool_def", "version_description"];

static TOOLS: Resource = Resource {
    actions: &[CrudAction::Delete],
    fields: &[
        Field::new("collection_id", FieldType::Name)
            .required()
            .immutable(),
        Field::new("name", FieldType::Name).required(),
        Field::new("tool_def", FieldType::AnyObject).required(),
        Field::new("version_description", FieldType::Text),
        Field::new("status", FieldType::Enum(&["archived", "active"]))
            .with_default(DefaultValue::Text("active")),
    ],
    derived_fields: &[("tool_def", |store, _, tool| {
        let published = versions::find(store, collection_key(tool), tool, None).ok();
        published.and_then(|version| version.get("tool_def").cloned())
    })],
    list: ListSettings {
        paging: Paging::zero_based(100, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[collections::BY_COLLECTION],
        item_fields: &[
            "id",
            "collection_id",
            "slug",
            "name",
            "created_at",
            "last_updated_at",
            "status",
            "tool_def",
            "object",
        ],
    },
    hooks: Hooks {
        before_write: prepare_write,
        after_create: |store, shelf, id| {
            versions::create_first(store, shelf, VERSIONS_KIND, id, CONTENT_FIELDS);
        },
        ..Hooks::NONE
    },
    ..Resource::new("prompt-tools", "tool", "/tools")
};

fn collection_key(tool: &Item) -> CollectionKey<'_> {
    CollectionKey {
        kind: VERSIONS_KIND,
        owner: text(tool, "id"),
    }
}

fn prepare_write(store: &Store, _: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    if draft.before.is_none() {
        let collection = collections::resolve(store, text(draft.change, "collection_id"))?;
        for (name, value) in [
            ("collection_id", item_id(collection).into()),
            ("workspace_id", text(collection, "workspace_id").into()),
        ] {
            draft.change.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

fn list(store: &mut Store, call: &ApiCall) -> ApiResult {
    let named = call.query("collection_id");
    let named = named.ok_or_else(|| ApiError::invalid_field("collection_id", "is required"))?;
    collections::resolve(store, named)?;
    crud::list(&TOOLS, store, call)
}

fn create(store: &mut Store, call: &ApiCall) -> ApiResult {
    let mut made = crud::create(&TOOLS, store, call)?;
    let slug = made.get("slug").and_then(Value::as_str).unwrap_or_default();
    let tool = TOOLS.find(store, ORGANISATION, slug)?;
    let version = versions::id_or_null(versions::latest(store, collection_key(tool)));
    if let Some(made) = made.as_object_mut() {
        made.insert("version_id".to_owned(), version);
        made.insert("object".to_owned(), TOOLS.object.into());
    }
    Ok(made)
}

/// Updates a tool. A new definition becomes an unpublished version.
fn update(store: &mut Store, call: &ApiCall) -> ApiResult {
    let id = item_id(TOOLS.find(store, ORGANISATION, call.handle())?);
    let mut change = validation::validate_body(store, TOOLS.fields, &call.body, WriteKind::Update)?;
    let content = versions::take_fields(&mut change, CONTENT_FIELDS);
    change.insert("last_updated_at".to_owned(), store.clock.now().into());
    if let Some(tool) = store.find_mut(TOOLS.organisation_collection(), &id) {
        tool.extend(change);
    }
    let versions = CollectionKey {
        kind: VERSIONS_KIND,
        owner: &id,
    };
    let version = match content.contains_key("tool_def") {
        true => versions::append(store, versions, content).into(),
        false => versions::id_or_null(versions::latest(store, versions)),
    };
    Ok(json!({ "tool_version_id": version, "object": TOOLS.object }))
}

fn list_versions(store: &mut Store, call: &ApiCall) -> ApiResult {
    let tool = TOOLS.find(store, ORGANISATION, call.handle())?;
    let shown = versions::newest_first(store, collection_key(tool))
        .into_iter()
        .map(|version| {
            json!({
                "tool_id": tool.get("id"),
                "tool_version_id": version.get("id"),
                "slug": tool.get("slug"),
                "version": version.get(NUMBER_FIELD),
                "tool_def": version.get("tool_def"),
                "description": version.get("version_description"),
                "created_at": version.get("created_at"),
                "tool_version_status": version.get("status"),
                "object": TOOLS.object,
            })
        });
    let shown: Vec<Value> = shown.collect();
    Ok(Envelope::LIST.wrap(shown.len(), false, shown))
}

//! Prompts: versioned templates, one version of which is published.

use serde_json::{Value, json};

use super::{
    collections,
    common_fields::{BY_SEARCH, LAST_USED},
    labels, prompt_documents, prompt_runs, providers, templates,
    versions::{self, NUMBER_FIELD},
};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{self, ApiResult, empty_object},
    field::{DefaultValue, Field, FieldType, ListSchema},
    page::{Envelope, Paging},
    resource::{CrudAction, Hooks, ListFilter, ListSettings, PendingWrite, Resource},
    route::{ApiVersion, Domain, get, post, put},
    store::{CollectionKey, Item, ORGANISATION, Store, flag, text},
    validation::{self, WriteKind},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[&PROMPTS],
    routes: &[
        get("/prompts", list),
        get("/prompts/{id}", read),
        put("/prompts/{id}", update),
        put("/prompts/{id}/makeDefault", |store, call| {
            versions::publish(&PROMPTS, VERSIONS_KIND, store, call)
        }),
        get("/prompts/{id}/versions", list_versions),
        get("/prompts/{id}/versions/{version}", read_version),
        put("/prompts/{id}/versions/{version}", attach_label),
        post("/prompts/{id}/render", prompt_runs::render),
        post("/prompts/{id}/completions", prompt_runs::complete),
    ],
};

/// Kind of the prompts.
pub(super) const KIND: &str = "prompts";

/// Kind of their versions.
pub(super) const VERSIONS_KIND: &str = "prompt-versions";

/// Fields that belong to a version.
const CONTENT_FIELDS: &[&str] = &[
    "string",
    "parameters",
    "model",
    "virtual_key",
    "version_description",
    "functions",
    "tools",
    "tool_choice",
    "is_raw_template",
    "template_metadata",
];

static OBJECTS: ListSchema = ListSchema::new(FieldType::AnyObject);

pub(super) static PROMPTS: Resource = Resource {
    actions: &[CrudAction::Create, CrudAction::Delete],
    slug_prefix: "pp-",
    slug_name_length: 10,
    fields: &[
        Field::new("name", FieldType::Name).required(),
        Field::new("collection_id", FieldType::Name).required(),
        Field::new("string", FieldType::Text).required(),
        // The Terraform provider sends `null` for absent parameters.
        Field::new("parameters", FieldType::AnyObject)
            .required()
            .nullable()
            .with_default(DefaultValue::EmptyObject),
        Field::new("virtual_key", FieldType::Name).required(),
        Field::new("model", FieldType::Name),
        Field::new("version_description", FieldType::Text),
        Field::new("functions", FieldType::List(&OBJECTS)).nullable(),
        Field::new("tools", FieldType::List(&OBJECTS)).nullable(),
        Field::new("tool_choice", FieldType::TextOrObject).nullable(),
        Field::new("template_metadata", FieldType::AnyObject)
            .with_default(DefaultValue::EmptyObject),
    ],
    derived_fields: &[
        LAST_USED,
        ("access_level", |_, _, _| Some("workspace".into())),
        ("allow_all_workspaces", |_, _, _| Some(0.into())),
        ("prompt_owning_workspace_id", |_, _, prompt| {
            prompt.get("workspace_id").cloned()
        }),
        ("model", |store, _, prompt| {
            let published = versions::find(store, collection_key(prompt), prompt, None).ok()?;
            Some(published.get("model").cloned().unwrap_or_default())
        }),
        ("version_id", |store, _, prompt| {
            Some(versions::id_or_null(versions::latest(
                store,
                collection_key(prompt),
            )))
        }),
    ],
    list: ListSettings {
        // Without a requested page, the whole list is returned.
        paging: Paging::zero_based(usize::MAX, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[
            BY_SEARCH,
            ListFilter::equals("workspace_id", FieldType::Workspace),
            collections::BY_COLLECTION,
            // No prompt of a sandbox is shared.
            ListFilter {
                param: "type",
                kind: FieldType::Enum(&["shared"]),
                predicate: Some(|_, _, _| false),
            },
        ],
        item_fields: SHOWN,
    },
    create_fields: &["id", "slug", "version_id", "object"],
    hooks: Hooks {
        before_write: prepare_write,
        after_create: finish_create,
        ..Hooks::NONE
    },
    ..Resource::new(KIND, "prompt", "/prompts")
};

const SHOWN: &[&str] = &[
    LAST_USED.0,
    "id",
    "collection_id",
    "name",
    "slug",
    "created_at",
    "last_updated_at",
    "status",
    "access_level",
    "share_organisation_id",
    "shared_at",
    "shared_by_user_id",
    "shared_from_version_id",
    "allow_all_workspaces",
    "forked_from_prompt_id",
    "forked_from_prompt_version_id",
    "prompt_owning_workspace_id",
    "model",
    "object",
];

/// Returns the collection of a prompt's versions.
pub(super) fn collection_key(prompt: &Item) -> CollectionKey<'_> {
    CollectionKey {
        kind: VERSIONS_KIND,
        owner: text(prompt, "id"),
    }
}

fn list(store: &mut Store, call: &ApiCall) -> ApiResult {
    collections::check_location(store, call)?;
    crud::list(&PROMPTS, store, call)
}

fn prepare_write(store: &Store, _: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    let change = draft.change;
    prompt_documents::check(change)?;
    let collection = collections::resolve(store, text(change, "collection_id"))?;
    let workspace = text(collection, "workspace_id");
    change.insert("collection_id".to_owned(), item_id(collection).into());
    change.insert("workspace_id".to_owned(), workspace.into());
    change.insert("status".to_owned(), "active".into());
    normalise_provider(store, workspace, change);
    Ok(())
}

/// Replaces the name of a provider by its slug, because the API returns the slug.
fn normalise_provider(store: &Store, workspace: &str, content: &mut Item) {
    let named = text(content, "virtual_key");
    let found = store.find(
        providers::collection_key(workspace),
        named.trim_start_matches('@'),
    );
    if let Some(slug) = found.map(|provider| text(provider, "slug")) {
        content.insert("virtual_key".to_owned(), slug.into());
    }
}

fn finish_create(store: &mut Store, prompts: CollectionKey<'_>, id: &str) {
    versions::create_first(store, prompts, VERSIONS_KIND, id, CONTENT_FIELDS);
}

fn read(store: &mut Store, call: &ApiCall) -> ApiResult {
    let prompt = PROMPTS.find(store, ORGANISATION, call.handle())?;
    let version = versions::find(store, collection_key(prompt), prompt, call.query("version"))?;
    Ok(flatten_version(store, call, prompt, version))
}

fn read_version(store: &mut Store, call: &ApiCall) -> ApiResult {
    let prompt = PROMPTS.find(store, ORGANISATION, call.handle())?;
    let version = find_version(store, prompt, call)?;
    Ok(flatten_version(store, call, prompt, version))
}

/// Returns the version whose id is the second placeholder of the path.
fn find_version<'s>(store: &'s Store, prompt: &Item, call: &ApiCall) -> Result<&'s Item, ApiError> {
    let handle = call.path.get(1).map(String::as_str).unwrap_or_default();
    let missing = || ApiError::NotFound {
        object: "version",
        handle: handle.to_owned(),
    };
    store
        .find(collection_key(prompt), handle)
        .ok_or_else(missing)
}

/// Returns a prompt merged with one of its versions.
fn flatten_version(store: &Store, call: &ApiCall, prompt: &Item, version: &Item) -> Value {
    let mut shown = crud::show(&PROMPTS, store, call, prompt, SHOWN);
    let label = labels::find(store, text(version, "label_id"));
    let labelled = label.map(|label| crud::pick(label, &["id", "name"]));
    let also = json!({
        "prompt_version_id": version.get("id"),
        "prompt_version": version.get(NUMBER_FIELD),
        "prompt_version_description": version.get("version_description"),
        "prompt_version_status": version.get("status"),
        "variable_components": templates::template_components(text(version, "string")),
        "is_raw_template": version.get("is_raw_template").cloned().unwrap_or(json!(0)),
        "prompt_version_label_id": label.and_then(|label| label.get("id")),
        "prompt_version_label_name": label.and_then(|label| label.get("name")),
        "prompt_version_labels": Vec::from_iter(labelled),
    });
    let content = [
        "string",
        "parameters",
        "model",
        "virtual_key",
        "functions",
        "tools",
        "tool_choice",
        "template_metadata",
    ];
    if let (Some(shown), Value::Object(also)) = (shown.as_object_mut(), also) {
        shown.extend(also);
        for name in content {
            shown.insert(
                name.to_owned(),
                version.get(name).cloned().unwrap_or_default(),
            );
        }
    }
    shown
}

/// Updates a prompt. Fields of a version add a version; other fields change the prompt.
fn update(store: &mut Store, call: &ApiCall) -> ApiResult {
    const MORE: &[Field] = &[
        Field::new("patch", FieldType::Bool),
        Field::new("is_raw_template", FieldType::Integer(0, 1)),
        Field::new("prompt_metadata", FieldType::AnyObject),
    ];
    let prompt = PROMPTS.find(store, ORGANISATION, call.handle())?;
    let id = item_id(prompt);
    let mut change =
        validation::validate_body(store, PROMPTS.fields, &call.body, WriteKind::Update)?;
    // Updates use the name `prompt_metadata` for this field.
    change.remove("template_metadata");
    let mut more = validation::validate_body(store, MORE, &call.body, WriteKind::Update)?;
    if let Some(metadata) = more.remove("prompt_metadata") {
        more.insert("template_metadata".to_owned(), metadata);
    }
    let patches = flag(&more, "patch");
    more.remove("patch");
    change.extend(more);
    let mut content = versions::take_fields(&mut change, CONTENT_FIELDS);
    prompt_documents::check(&content)?;
    // Together with a new name only, `parameters: null` has no effect.
    if content.get("parameters").is_some_and(Value::is_null) {
        content.remove("parameters");
        if !content.is_empty() && !patches {
            content.insert("parameters".to_owned(), json!({}));
        }
    }
    if let Some(Value::String(collection)) = change.get("collection_id") {
        let collection = collections::resolve(store, collection)?;
        if text(collection, "workspace_id") != text(prompt, "workspace_id") {
            return Err(ApiError::invalid_field(
                "collection_id",
                "is a collection of another workspace",
            ));
        }
        change.insert("collection_id".to_owned(), item_id(collection).into());
    }
    let adds = !content.is_empty();
    if adds {
        content = complete_content(store, prompt, content, patches)?;
        normalise_provider(store, text(prompt, "workspace_id"), &mut content);
    }
    let slug = text(prompt, "slug").to_owned();
    change.insert("last_updated_at".to_owned(), store.clock.now().into());
    if let Some(prompt) = store.find_mut(PROMPTS.organisation_collection(), &id) {
        prompt.extend(change);
    }
    if !adds {
        return Ok(empty_object());
    }
    let version = versions::append(
        store,
        CollectionKey {
            kind: VERSIONS_KIND,
            owner: &id,
        },
        content,
    );
    Ok(json!({ "id": id, "slug": slug, "prompt_version_id": version }))
}

/// Completes the content of a new version. Without `patch`, the call must provide all fields.
fn complete_content(
    store: &Store,
    prompt: &Item,
    content: Item,
    patches: bool,
) -> Result<Item, ApiError> {
    if patches {
        let mut latest = versions::latest(store, collection_key(prompt))
            .cloned()
            .unwrap_or_default();
        let mut merged = versions::take_fields(&mut latest, CONTENT_FIELDS);
        merged.extend(content);
        return Ok(merged);
    }
    let needed = ["string", "parameters", "model", "virtual_key"];
    match needed.into_iter().find(|name| !content.contains_key(*name)) {
        Some(name) => Err(ApiError::invalid_field(
            name,
            "is required for a version, unless patch is true",
        )),
        None => Ok(content),
    }
}

fn list_versions(store: &mut Store, call: &ApiCall) -> ApiResult {
    let prompt = PROMPTS.find(store, ORGANISATION, call.handle())?;
    let shown = versions::newest_first(store, collection_key(prompt))
        .into_iter()
        .map(|version| {
            let label = labels::find(store, text(version, "label_id"));
            json!({
                "id": version.get("id"),
                "prompt_id": prompt.get("id"),
                "prompt_template": crud::pick(version, &["string", "parameters", "model"]),
                "prompt_version": version.get(NUMBER_FIELD),
                "prompt_description": version.get("version_description"),
                "label_id": label.and_then(|label| label.get("id")),
                "created_at": version.get("created_at"),
                "status": version.get("status"),
                "object": PROMPTS.object,
            })
        });
    let shown: Vec<Value> = shown.collect();
    Ok(Envelope::LIST.wrap(shown.len(), false, shown))
}

/// Attaches a label to a version, and detaches it from the prompt's other versions.
fn attach_label(store: &mut Store, call: &ApiCall) -> ApiResult {
    const WHICH: &[Field] = &[Field::new("label_id", FieldType::Name).nullable()];
    let prompt = PROMPTS.find(store, ORGANISATION, call.handle())?.clone();
    let version = item_id(find_version(store, &prompt, call)?);
    let given = validation::validate_body(store, WHICH, &call.body, WriteKind::Update)?;
    let label = match given.get("label_id") {
        Some(Value::String(label)) => label,
        Some(_) => {
            if let Some(version) = store.find_mut(collection_key(&prompt), &version) {
                version.remove("label_id");
            }
            return Ok(empty_object());
        }
        None => return Ok(empty_object()),
    };
    if labels::find(store, label).is_none() {
        return Err(ApiError::NotFound {
            object: "label",
            handle: label.clone(),
        });
    }
    let ids: Vec<String> = store.all(collection_key(&prompt)).map(item_id).collect();
    for id in ids {
        let Some(other) = store.find_mut(collection_key(&prompt), &id) else {
            continue;
        };
        if id == version {
            other.insert("label_id".to_owned(), label.clone().into());
        } else if text(other, "label_id") == label {
            other.remove("label_id");
        }
    }
    Ok(empty_object())
}

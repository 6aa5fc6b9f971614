//! Configs: versioned routing documents. The newest version is in use.

use serde_json::Value;

use super::{common_fields::LAST_USED, config_documents, users, versions, workspaces};
use crate::{
    api_error::ApiError,
    call::ApiCall,
    crud::{self, ApiResult},
    field::{DefaultValue, Field, FieldType},
    page::{Envelope, Paging},
    resource::{CrudAction, Hooks, ListFilter, ListSettings, LookupKey, PendingWrite, Resource},
    route::{ApiVersion, Domain, get, post, put},
    store::{CollectionKey, Item, ORGANISATION, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1, ApiVersion::V2],
    resources: &[&CONFIGS],
    routes: &[
        get("/configs", |store, call| crud::list(&CONFIGS, store, call)),
        post("/configs", create),
        put("/configs/{slug}", update),
        get("/configs/{slug}/versions", list_versions),
        get("/configs/{slug}/versions/{version}", get_version),
    ],
};

/// Kind of the versions.
const VERSIONS_KIND: &str = "config-versions";

static CONFIGS: Resource = Resource {
    actions: &[CrudAction::Get, CrudAction::Delete],
    lookup_key: LookupKey::Slug,
    slug_prefix: "pc-",
    slug_name_length: 6,
    fields: &[
        Field::new("name", FieldType::Name).required(),
        Field::new("config", FieldType::AnyObject).required(),
        Field::new("workspace_id", FieldType::Workspace).immutable(),
        Field::new("status", FieldType::Name).with_default(DefaultValue::Text("active")),
    ],
    derived_fields: &[
        LAST_USED,
        ("config", |_, _, config| {
            config
                .get("config")
                .map(|document| document.to_string().into())
        }),
        // No call can make a config the default of its workspace.
        ("is_default", |_, _, _| Some(0.into())),
        ("owner_id", |_, _, _| Some(users::OWNER_ID.into())),
        ("updated_by", |_, _, _| Some(users::OWNER_ID.into())),
        ("format", |_, _, _| Some("json".into())),
        ("type", |_, _, _| Some("ORG_CONFIG".into())),
        ("version_id", |store, _, config| {
            Some(versions::id_or_null(versions::latest(
                store,
                collection_key(config),
            )))
        }),
    ],
    list: ListSettings {
        paging: Paging::zero_based(100, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[ListFilter::equals("workspace_id", FieldType::Workspace)],
        item_fields: &[
            LAST_USED.0,
            "id",
            "name",
            "workspace_id",
            "slug",
            "organisation_id",
            "is_default",
            "status",
            "owner_id",
            "updated_by",
            "created_at",
            "last_updated_at",
            "object",
        ],
    },
    read_fields: SHOWN,
    create_fields: &["id", "version_id", "slug"],
    update_fields: &["version_id"],
    hooks: Hooks {
        before_write: prepare_write,
        before_delete: check_removal,
        after_create: finish_create,
    },
    ..Resource::new("configs", "config", "/configs")
};

/// Fields of a config and of each of its versions in responses.
const SHOWN: &[&str] = &[
    "id",
    "name",
    "workspace_id",
    "slug",
    "organisation_id",
    "is_default",
    "status",
    "owner_id",
    "updated_by",
    "created_at",
    "last_updated_at",
    "config",
    "format",
    "type",
    "version_id",
    "object",
];

/// Returns the collection of a config's versions.
fn collection_key(config: &Item) -> CollectionKey<'_> {
    CollectionKey {
        kind: VERSIONS_KIND,
        owner: text(config, "id"),
    }
}

/// Returns the config with an id or slug.
pub(super) fn resolve<'s>(store: &'s Store, handle: &str) -> Result<&'s Item, ApiError> {
    let missing = || ApiError::NotFound {
        object: CONFIGS.object,
        handle: handle.to_owned(),
    };
    store
        .find(CONFIGS.organisation_collection(), handle)
        .ok_or_else(missing)
}

fn create(store: &mut Store, call: &ApiCall) -> ApiResult {
    let made = crud::create(&CONFIGS, store, call)?;
    let slug = made
        .get("slug")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let config = CONFIGS.find(store, ORGANISATION, &slug)?;
    Ok(success_body(store, call, config, made))
}

fn update(store: &mut Store, call: &ApiCall) -> ApiResult {
    let before = CONFIGS.find(store, ORGANISATION, call.handle());
    let handle = text(before.map_err(|_| ApiError::NothingToUpdate)?, "id").to_owned();
    crud::update(&CONFIGS, store, call)?;
    if call.body.contains_key("config") {
        save_version(store, &handle);
    }
    let config = CONFIGS.find_stored(store, ORGANISATION, &handle)?;
    let data = crud::show(&CONFIGS, store, call, config, CONFIGS.update_fields);
    Ok(success_body(store, call, config, data))
}

/// Builds the response to a write in both formats: the specification shows `data`, the SDKs and the
/// Terraform provider read the top level.
fn success_body(store: &Store, call: &ApiCall, config: &Item, data: Value) -> Value {
    let mut answer = crud::show(&CONFIGS, store, call, config, &["id", "slug", "version_id"]);
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("success".to_owned(), true.into());
        answer.insert("data".to_owned(), data);
    }
    answer
}

fn prepare_write(store: &Store, call: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    if draft.before.is_none() {
        draft
            .change
            .insert("workspace_id".to_owned(), call.workspace_id(store)?.into());
    }
    match draft.change.get("config").and_then(Value::as_object) {
        Some(document) => config_documents::check(document),
        None => Ok(()),
    }
}

/// Rejects the deletion of a config while a workspace assigns it to its users' keys. Keys that name
/// the config do not prevent it.
fn check_removal(store: &Store, _: &ApiCall, config: &Item) -> Result<(), ApiError> {
    let user = workspaces::all(store).find(|workspace| {
        let default = workspace
            .get("defaults")
            .and_then(|d| d.get("user_api_key_config"));
        default.is_some_and(|named| [config.get("id"), config.get("slug")].contains(&Some(named)))
    });
    match user {
        Some(workspace) => Err(ApiError::Conflict(format!(
            "The config is the user_api_key_config of workspace `{}`",
            text(workspace, "slug")
        ))),
        None => Ok(()),
    }
}

fn finish_create(store: &mut Store, _: CollectionKey<'_>, id: &str) {
    save_version(store, id);
}

/// Stores the current config as a version.
fn save_version(store: &mut Store, id: &str) {
    let Some(config) = store.find(CONFIGS.organisation_collection(), id) else {
        return;
    };
    let fields = ["config", "name"].into_iter();
    let content = fields.filter_map(|name| Some((name.to_owned(), config.get(name)?.clone())));
    let content = content.collect();
    versions::append(
        store,
        CollectionKey {
            kind: VERSIONS_KIND,
            owner: id,
        },
        content,
    );
}

/// Returns all versions, each in the form of a config.
fn list_versions(store: &mut Store, call: &ApiCall) -> ApiResult {
    let config = CONFIGS.find(store, ORGANISATION, call.handle())?;
    let shown = versions::newest_first(store, collection_key(config))
        .into_iter()
        .map(|version| show_version(store, call, config, version));
    let shown: Vec<Value> = shown.collect();
    Ok(Envelope::LIST.wrap(shown.len(), false, shown))
}

/// Returns one version in the form of a config.
fn get_version(store: &mut Store, call: &ApiCall) -> ApiResult {
    let config = CONFIGS.find(store, ORGANISATION, call.handle())?;
    let handle = call.path.get(1).map(String::as_str).unwrap_or_default();
    let missing = || ApiError::NotFound {
        object: "version",
        handle: handle.to_owned(),
    };
    let version = store
        .find(collection_key(config), handle)
        .ok_or_else(missing)?;
    Ok(show_version(store, call, config, version))
}

fn show_version(store: &Store, call: &ApiCall, config: &Item, version: &Item) -> Value {
    let mut then = config.clone();
    for name in ["config", "name", "created_at"] {
        then.insert(
            name.to_owned(),
            version.get(name).cloned().unwrap_or_default(),
        );
    }
    let mut shown = crud::show(&CONFIGS, store, call, &then, SHOWN);
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("version_id".to_owned(), text(version, "id").into());
        shown.insert(
            "last_updated_at".to_owned(),
            text(version, "created_at").into(),
        );
    }
    shown
}

//! Configs: versioned routing documents. The newest version is in use.

use serde_json::Value;

use super::{config_documents, users, versions, workspaces};
use crate::{
    call::Call,
    crud::{self, Outcome},
    field::{Field, Kind, Preset},
    page::{Envelope, Paging},
    refusal::Refusal,
    resource::{Draft, Filter, FoundBy, Hooks, Listing, Resource, Verb},
    route::{Domain, Version, get, post, put},
    store::{Item, ORGANISATION, Shelf, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1, Version::V2],
    resources: &[&CONFIGS],
    routes: &[
        get("/configs", |store, call| crud::list(&CONFIGS, store, call)),
        post("/configs", create),
        put("/configs/{slug}", update),
        get("/configs/{slug}/versions", list_versions),
    ],
};

/// Kind of the versions.
const VERSIONS: &str = "config-versions";

static CONFIGS: Resource = Resource {
    verbs: &[Verb::Get, Verb::Delete],
    found_by: FoundBy::Slug,
    slug_prefix: "pc-",
    slug_name_length: 6,
    fields: &[
        Field::new("name", Kind::Name).required(),
        Field::new("config", Kind::Object).required(),
        Field::new("workspace_id", Kind::Workspace).fixed(),
        Field::new("status", Kind::Name).preset(Preset::Text("active")),
    ],
    derived: &[
        ("config", |_, _, config| {
            config
                .get("config")
                .map(|document| document.to_string().into())
        }),
        // No call can make a config the default of its workspace.
        ("is_default", |_, _, _| Some(0.into())),
        ("owner_id", |_, _, _| Some(users::OWNER.into())),
        ("updated_by", |_, _, _| Some(users::OWNER.into())),
        ("format", |_, _, _| Some("json".into())),
        ("type", |_, _, _| Some("ORG_CONFIG".into())),
        ("version_id", |store, _, config| {
            Some(versions::id_or_null(versions::latest(store, shelf(config))))
        }),
    ],
    list: Listing {
        paging: Paging::zero_based(100, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[Filter::same("workspace_id", Kind::Workspace)],
        shows: &[
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
    reads: SHOWN,
    creates: &["id", "version_id", "slug"],
    updates: &["version_id"],
    hooks: Hooks {
        admit,
        release,
        created,
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
fn shelf(config: &Item) -> Shelf<'_> {
    Shelf {
        kind: VERSIONS,
        owner: text(config, "id"),
    }
}

/// Returns the config with an id or slug.
pub(super) fn resolve<'s>(store: &'s Store, handle: &str) -> Result<&'s Item, Refusal> {
    let missing = || Refusal::Missing {
        object: CONFIGS.object,
        handle: handle.to_owned(),
    };
    store.find(CONFIGS.shared(), handle).ok_or_else(missing)
}

fn create(store: &mut Store, call: &Call) -> Outcome {
    let made = crud::create(&CONFIGS, store, call)?;
    let slug = made
        .get("slug")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let config = CONFIGS.find(store, ORGANISATION, &slug)?;
    Ok(succeeded(store, call, config, made))
}

fn update(store: &mut Store, call: &Call) -> Outcome {
    let before = CONFIGS.find(store, ORGANISATION, call.handle());
    let handle = text(before.map_err(|_| Refusal::NothingToUpdate)?, "id").to_owned();
    crud::update(&CONFIGS, store, call)?;
    if call.body.contains_key("config") {
        save(store, &handle);
    }
    let config = CONFIGS.find_stored(store, ORGANISATION, &handle)?;
    let data = crud::show(&CONFIGS, store, call, config, CONFIGS.updates);
    Ok(succeeded(store, call, config, data))
}

/// Builds the response to a write in both formats: the specification shows `data`, the SDKs and the
/// Terraform provider read the top level.
fn succeeded(store: &Store, call: &Call, config: &Item, data: Value) -> Value {
    let mut answer = crud::show(&CONFIGS, store, call, config, &["id", "slug", "version_id"]);
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("success".to_owned(), true.into());
        answer.insert("data".to_owned(), data);
    }
    answer
}

fn admit(store: &Store, call: &Call, draft: Draft<'_>) -> Result<(), Refusal> {
    if draft.before.is_none() {
        draft
            .change
            .insert("workspace_id".to_owned(), call.workspace(store)?.into());
    }
    match draft.change.get("config").and_then(Value::as_object) {
        Some(document) => config_documents::check(document),
        None => Ok(()),
    }
}

/// Rejects the deletion of a config while a workspace assigns it to its users' keys. Keys that name
/// the config do not prevent it.
fn release(store: &Store, _: &Call, config: &Item) -> Result<(), Refusal> {
    let user = workspaces::all(store).find(|workspace| {
        let default = workspace
            .get("defaults")
            .and_then(|d| d.get("user_api_key_config"));
        default.is_some_and(|named| [config.get("id"), config.get("slug")].contains(&Some(named)))
    });
    match user {
        Some(workspace) => Err(Refusal::Conflict(format!(
            "The config is the user_api_key_config of workspace `{}`",
            text(workspace, "slug")
        ))),
        None => Ok(()),
    }
}

fn created(store: &mut Store, _: Shelf<'_>, id: &str) {
    save(store, id);
}

/// Stores the current config as a version.
fn save(store: &mut Store, id: &str) {
    let Some(config) = store.find(CONFIGS.shared(), id) else {
        return;
    };
    let kept = ["config", "name"].into_iter();
    let content = kept.filter_map(|name| Some((name.to_owned(), config.get(name)?.clone())));
    let content = content.collect();
    versions::append(
        store,
        Shelf {
            kind: VERSIONS,
            owner: id,
        },
        content,
    );
}

/// Returns all versions, each in the form of a config.
fn list_versions(store: &mut Store, call: &Call) -> Outcome {
    let config = CONFIGS.find(store, ORGANISATION, call.handle())?;
    let shown = versions::newest_first(store, shelf(config))
        .into_iter()
        .map(|version| {
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
        });
    let shown: Vec<Value> = shown.collect();
    Ok(Envelope::LIST.wrap(shown.len(), false, shown))
}

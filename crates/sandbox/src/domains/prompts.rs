//! Prompts: versioned templates, one version of which is published.

use serde_json::{Value, json};

use super::{
    collections, labels,
    parts::BY_SEARCH,
    prompt_documents, prompt_runs, providers, templates,
    versions::{self, NUMBER},
};
use crate::{
    call::{Call, id_of},
    check::{self, Occasion},
    crud::{self, Outcome, done},
    field::{Field, Kind, List, Preset},
    page::{Envelope, Paging},
    refusal::Refusal,
    resource::{Draft, Filter, Hooks, Listing, Resource, Verb},
    route::{Domain, Version, get, post, put},
    store::{Item, ORGANISATION, Shelf, Store, flag, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1],
    resources: &[&PROMPTS],
    routes: &[
        get("/prompts", list),
        get("/prompts/{id}", read),
        put("/prompts/{id}", update),
        put("/prompts/{id}/makeDefault", |store, call| {
            versions::publish(&PROMPTS, VERSIONS, store, call)
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
pub(super) const VERSIONS: &str = "prompt-versions";

/// Fields that belong to a version.
const CONTENT: &[&str] = &[
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

static OBJECTS: List = List::of(Kind::Object);

pub(super) static PROMPTS: Resource = Resource {
    verbs: &[Verb::Create, Verb::Delete],
    slug_prefix: "pp-",
    slug_name_length: 10,
    fields: &[
        Field::new("name", Kind::Name).required(),
        Field::new("collection_id", Kind::Name).required(),
        Field::new("string", Kind::Text).required(),
        // The Terraform provider sends `null` for absent parameters.
        Field::new("parameters", Kind::Object)
            .required()
            .nullable()
            .preset(Preset::EmptyObject),
        Field::new("virtual_key", Kind::Name).required(),
        Field::new("model", Kind::Name),
        Field::new("version_description", Kind::Text),
        Field::new("functions", Kind::List(&OBJECTS)).nullable(),
        Field::new("tools", Kind::List(&OBJECTS)).nullable(),
        Field::new("tool_choice", Kind::TextOrObject).nullable(),
        Field::new("template_metadata", Kind::Object).preset(Preset::EmptyObject),
    ],
    derived: &[
        ("access_level", |_, _, _| Some("workspace".into())),
        ("allow_all_workspaces", |_, _, _| Some(0.into())),
        ("prompt_owning_workspace_id", |_, _, prompt| {
            prompt.get("workspace_id").cloned()
        }),
        ("model", |store, _, prompt| {
            let published = versions::find(store, shelf(prompt), prompt, None).ok()?;
            Some(published.get("model").cloned().unwrap_or_default())
        }),
        ("version_id", |store, _, prompt| {
            Some(versions::id_or_null(versions::latest(store, shelf(prompt))))
        }),
    ],
    list: Listing {
        // Without a requested page, the whole list is returned.
        paging: Paging::zero_based(usize::MAX, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[
            BY_SEARCH,
            Filter::same("workspace_id", Kind::Workspace),
            collections::BY_COLLECTION,
            // No prompt of a sandbox is shared.
            Filter {
                param: "type",
                kind: Kind::Choice(&["shared"]),
                keeps: Some(|_, _, _| false),
            },
        ],
        shows: SHOWN,
    },
    creates: &["id", "slug", "version_id", "object"],
    hooks: Hooks {
        admit,
        created,
        ..Hooks::NONE
    },
    ..Resource::new(KIND, "prompt", "/prompts")
};

const SHOWN: &[&str] = &[
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
pub(super) fn shelf(prompt: &Item) -> Shelf<'_> {
    Shelf {
        kind: VERSIONS,
        owner: text(prompt, "id"),
    }
}

fn list(store: &mut Store, call: &Call) -> Outcome {
    collections::check_place(store, call)?;
    crud::list(&PROMPTS, store, call)
}

fn admit(store: &Store, _: &Call, draft: Draft<'_>) -> Result<(), Refusal> {
    let change = draft.change;
    prompt_documents::check(change)?;
    let collection = collections::resolve(store, text(change, "collection_id"))?;
    let workspace = text(collection, "workspace_id");
    change.insert("collection_id".to_owned(), id_of(collection).into());
    change.insert("workspace_id".to_owned(), workspace.into());
    change.insert("status".to_owned(), "active".into());
    name_provider(store, workspace, change);
    Ok(())
}

/// Replaces the name of a provider by its slug, because the API returns the slug.
fn name_provider(store: &Store, workspace: &str, content: &mut Item) {
    let named = text(content, "virtual_key");
    let found = store.find(providers::shelf(workspace), named.trim_start_matches('@'));
    if let Some(slug) = found.map(|provider| text(provider, "slug")) {
        content.insert("virtual_key".to_owned(), slug.into());
    }
}

fn created(store: &mut Store, prompts: Shelf<'_>, id: &str) {
    versions::begin(store, prompts, VERSIONS, id, CONTENT);
}

fn read(store: &mut Store, call: &Call) -> Outcome {
    let prompt = PROMPTS.find(store, ORGANISATION, call.handle())?;
    let version = versions::find(store, shelf(prompt), prompt, call.query("version"))?;
    Ok(flattened(store, call, prompt, version))
}

fn read_version(store: &mut Store, call: &Call) -> Outcome {
    let prompt = PROMPTS.find(store, ORGANISATION, call.handle())?;
    let version = named_version(store, prompt, call)?;
    Ok(flattened(store, call, prompt, version))
}

/// Returns the version whose id is the second placeholder of the path.
fn named_version<'s>(store: &'s Store, prompt: &Item, call: &Call) -> Result<&'s Item, Refusal> {
    let handle = call.path.get(1).map(String::as_str).unwrap_or_default();
    let missing = || Refusal::Missing {
        object: "version",
        handle: handle.to_owned(),
    };
    store.find(shelf(prompt), handle).ok_or_else(missing)
}

/// Returns a prompt merged with one of its versions.
fn flattened(store: &Store, call: &Call, prompt: &Item, version: &Item) -> Value {
    let mut shown = crud::show(&PROMPTS, store, call, prompt, SHOWN);
    let label = labels::find(store, text(version, "label_id"));
    let labelled = label.map(|label| crud::pick(label, &["id", "name"]));
    let also = json!({
        "prompt_version_id": version.get("id"),
        "prompt_version": version.get(NUMBER),
        "prompt_version_description": version.get("version_description"),
        "prompt_version_status": version.get("status"),
        "variable_components": templates::components(text(version, "string")),
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
fn update(store: &mut Store, call: &Call) -> Outcome {
    const MORE: &[Field] = &[
        Field::new("patch", Kind::Flag),
        Field::new("is_raw_template", Kind::Whole(0, 1)),
        Field::new("prompt_metadata", Kind::Object),
    ];
    let prompt = PROMPTS.find(store, ORGANISATION, call.handle())?;
    let id = id_of(prompt);
    let mut change = check::body(store, PROMPTS.fields, &call.body, Occasion::Update)?;
    // Updates use the name `prompt_metadata` for this field.
    change.remove("template_metadata");
    let mut more = check::body(store, MORE, &call.body, Occasion::Update)?;
    if let Some(metadata) = more.remove("prompt_metadata") {
        more.insert("template_metadata".to_owned(), metadata);
    }
    let patches = flag(&more, "patch");
    more.remove("patch");
    change.extend(more);
    let mut content = versions::take(&mut change, CONTENT);
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
            return Err(Refusal::field(
                "collection_id",
                "is a collection of another workspace",
            ));
        }
        change.insert("collection_id".to_owned(), id_of(collection).into());
    }
    let adds = !content.is_empty();
    if adds {
        content = whole(store, prompt, content, patches)?;
        name_provider(store, text(prompt, "workspace_id"), &mut content);
    }
    let slug = text(prompt, "slug").to_owned();
    change.insert("last_updated_at".to_owned(), store.clock.now().into());
    if let Some(prompt) = store.find_mut(PROMPTS.shared(), &id) {
        prompt.extend(change);
    }
    if !adds {
        return Ok(done());
    }
    let version = versions::append(
        store,
        Shelf {
            kind: VERSIONS,
            owner: &id,
        },
        content,
    );
    Ok(json!({ "id": id, "slug": slug, "prompt_version_id": version }))
}

/// Completes the content of a new version. Without `patch`, the call must provide all fields.
fn whole(store: &Store, prompt: &Item, content: Item, patches: bool) -> Result<Item, Refusal> {
    if patches {
        let mut latest = versions::latest(store, shelf(prompt))
            .cloned()
            .unwrap_or_default();
        let mut merged = versions::take(&mut latest, CONTENT);
        merged.extend(content);
        return Ok(merged);
    }
    let needed = ["string", "parameters", "model", "virtual_key"];
    match needed.into_iter().find(|name| !content.contains_key(*name)) {
        Some(name) => Err(Refusal::field(
            name,
            "is required for a version, unless patch is true",
        )),
        None => Ok(content),
    }
}

fn list_versions(store: &mut Store, call: &Call) -> Outcome {
    let prompt = PROMPTS.find(store, ORGANISATION, call.handle())?;
    let shown = versions::newest_first(store, shelf(prompt))
        .into_iter()
        .map(|version| {
            let label = labels::find(store, text(version, "label_id"));
            json!({
                "id": version.get("id"),
                "prompt_id": prompt.get("id"),
                "prompt_template": crud::pick(version, &["string", "parameters", "model"]),
                "prompt_version": version.get(NUMBER),
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
fn attach_label(store: &mut Store, call: &Call) -> Outcome {
    const WHICH: &[Field] = &[Field::new("label_id", Kind::Name).nullable()];
    let prompt = PROMPTS.find(store, ORGANISATION, call.handle())?.clone();
    let version = id_of(named_version(store, &prompt, call)?);
    let given = check::body(store, WHICH, &call.body, Occasion::Update)?;
    let label = match given.get("label_id") {
        Some(Value::String(label)) => label,
        Some(_) => {
            if let Some(version) = store.find_mut(shelf(&prompt), &version) {
                version.remove("label_id");
            }
            return Ok(done());
        }
        None => return Ok(done()),
    };
    if labels::find(store, label).is_none() {
        return Err(Refusal::Missing {
            object: "label",
            handle: label.clone(),
        });
    }
    let ids: Vec<String> = store.all(shelf(&prompt)).map(id_of).collect();
    for id in ids {
        let Some(other) = store.find_mut(shelf(&prompt), &id) else {
            continue;
        };
        if id == version {
            other.insert("label_id".to_owned(), label.clone().into());
        } else if text(other, "label_id") == label {
            other.remove("label_id");
        }
    }
    Ok(done())
}

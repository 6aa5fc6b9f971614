//! Deployments: self-hosted gateways, the workspaces they serve, and credentials that are returned
//! once.

use serde_json::{Value, json};

use super::{
    parts::{BY_SEARCH, BY_TAGS},
    workspaces,
};
use crate::{
    call::{Call, id_of},
    crud::{self, Outcome, done},
    field::{Field, Kind, List, Preset, Shape},
    page::{Envelope, Paging},
    refusal::Refusal,
    resource::{Draft, Filter, FoundBy, Hooks, Listing, Resource},
    route::{Domain, Version, delete, get, post, put},
    store::{Item, ORGANISATION, Store, flag, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V2],
    resources: &[&DEPLOYMENTS],
    routes: &[
        get("/deployments", list),
        post("/deployments", create),
        get("/deployments/{id}", read),
        put("/deployments/{id}", update),
        delete("/deployments/{id}", archive),
        get("/deployments/{id}/ping", ping),
    ],
};

static DEPLOYMENTS: Resource = Resource {
    // The routes above accept `self` as an id, return credentials, or have a repeated argument.
    verbs: &[],
    found_by: FoundBy::Id,
    fields: &[
        Field::new("name", Kind::Name).required(),
        Field::new("slug", Kind::Slug).fixed(),
        Field::new("type", Kind::Choice(&["production", "non_production"]))
            .preset(Preset::Text("production")),
        Field::new("status", Kind::Choice(&["active", "archived"])).preset(Preset::Text("active")),
        Field::new("deployment_config", Kind::Object)
            .nullable()
            .preset(Preset::EmptyObject),
        Field::new("is_default", Kind::Flag).preset(Preset::Flag(false)),
        Field::new("tags", Kind::Labels)
            .nullable()
            .preset(Preset::EmptyObject),
        Field::new("auth_settings", Kind::Shape(&SETTINGS)).preset(Preset::EmptyObject),
        Field::new("rotate_auth", Kind::Flag),
        Field::new("override_existing", Kind::Flag),
    ],
    derived: &[("is_default", |_, _, item| {
        Some(u8::from(flag(item, "is_default")).into())
    })],
    list: Listing {
        paging: Paging::zero_based(100, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[
            Filter::same("status", Kind::Choice(&["active", "archived"])),
            Filter::same("type", Kind::Choice(&["production", "non_production"])),
            BY_SEARCH,
            Filter {
                param: "workspace_slug",
                kind: Kind::Text,
                keeps: Some(|_, item, asked| {
                    let settings = item.get("auth_settings").and_then(Value::as_object);
                    let mut asked = asked.as_str().unwrap_or_default().split(',');
                    settings.is_some_and(|settings| asked.any(|slug| serves(settings, slug)))
                }),
            },
            BY_TAGS,
        ],
        shows: SHOWN,
    },
    reads: SHOWN,
    creates: &["id", "organisation_id"],
    hooks: Hooks {
        admit,
        ..Hooks::NONE
    },
    ..Resource::new("deployments", "deployment", "/deployments")
};

const SHOWN: &[&str] = &[
    "id",
    "name",
    "slug",
    "type",
    "status",
    "is_default",
    "organisation_id",
    "tags",
    "deployment_config",
    "auth_settings",
    "connection_status",
    "last_synced_at",
    "last_resynced_at",
    "created_at",
    "last_updated_at",
    "object",
];

static WORKSPACES: List = List::of(Kind::Name);
static SUBJECTS: List = List::of(Kind::Name);

static SETTINGS: Shape = Shape::of(&[
    Field::new("gateway_base_url", Kind::Url),
    Field::new("mcp_gateway_base_url", Kind::Url),
    Field::new("is_dataservice_hosted", Kind::Whole(0, 1)),
    Field::new("is_playground_proxy_allowed", Kind::Whole(0, 1)),
    Field::new(ALLOWED, Kind::List(&WORKSPACES)),
    Field::new(SUBS, Kind::List(&SUBJECTS)),
    Field::new("jwt_sub_workspace_mapping", Kind::Object),
    Field::new("allow_all_workspaces", Kind::Flag),
    Field::new("remove_workspaces_allowed", Kind::List(&WORKSPACES)),
    Field::new("remove_subs_allowed", Kind::List(&SUBJECTS)),
]);

/// Field with the workspaces that a gateway serves.
const ALLOWED: &str = "workspaces_allowed";

/// Field with the JWT subjects that a gateway accepts.
const SUBS: &str = "jwt_subs_allowed";

fn admit(store: &Store, _: &Call, draft: Draft<'_>) -> Result<(), Refusal> {
    let change = draft.change;
    let replace = flag(change, "override_existing");
    // Both are actions and are not stored.
    change.remove("override_existing");
    change.remove("rotate_auth");
    let before = draft
        .before
        .and_then(|item| item.get("auth_settings")?.as_object());
    if let Some(Value::Object(given)) = change.get_mut("auth_settings") {
        let known = given
            .get(ALLOWED)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for workspace in known.filter_map(Value::as_str) {
            workspaces::resolve(store, workspace)?;
        }
        *given = settings(
            before.cloned().unwrap_or_default(),
            std::mem::take(given),
            replace,
        );
    }
    if draft.before.is_none() {
        change.insert("connection_status".to_owned(), "unknown".into());
    }
    Ok(())
}

/// Applies a change to settings. Lists are extended unless they are replaced, and removals apply
/// last.
fn settings(mut settings: Item, mut given: Item, replace: bool) -> Item {
    for (list, dropped) in [
        (ALLOWED, "remove_workspaces_allowed"),
        (SUBS, "remove_subs_allowed"),
    ] {
        let take = |from: Option<Value>| match from {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        let added = given.remove(list);
        let mut items = take(
            settings
                .remove(list)
                .filter(|_| !(replace && added.is_some())),
        );
        for item in take(added) {
            if !items.contains(&item) {
                items.push(item);
            }
        }
        let dropped = take(given.remove(dropped));
        items.retain(|item| !dropped.contains(item));
        settings.insert(list.to_owned(), items.into());
    }
    settings.extend(given);
    if flag(&settings, "allow_all_workspaces") {
        settings.insert(ALLOWED.to_owned(), json!([]));
    }
    settings
}

/// Returns the call with the id of its deployment. `self` means the default one, because the
/// sandbox treats every caller as its gateway.
fn resolved(store: &Store, call: &Call) -> Result<Call, Refusal> {
    let own = || {
        store
            .all(DEPLOYMENTS.shared())
            .find(|item| flag(item, "is_default"))
    };
    let id = match call.handle() {
        "self" => own().map(id_of).unwrap_or_default(),
        id => id.to_owned(),
    };
    DEPLOYMENTS.find(store, ORGANISATION, &id)?;
    Ok(Call {
        path: vec![id],
        query: call.query.clone(),
        body: call.body.clone(),
        ..Call::default()
    })
}

/// Adds new credentials to a response. They are not stored, because they cannot be read again.
fn with_credentials(store: &mut Store, answer: Value) -> Value {
    let Value::Object(mut answer) = answer else {
        return answer;
    };
    let client = format!("sandbox-client-{}", store.next_id());
    answer.insert("client_auth".to_owned(), client.into());
    let credentials = json!({ "username": format!("sandbox-user-{}", store.next_id()),
        "password": format!("sandbox-password-{}", store.next_id()) });
    answer.insert("credentials".to_owned(), credentials);
    Value::Object(answer)
}

/// Ensures a single default deployment: a new default replaces the old one.
fn keep_one_default(store: &mut Store, id: &str) {
    let is_default = |item: &&Item| flag(item, "is_default") && text(item, "id") != id;
    let made = store
        .find(DEPLOYMENTS.shared(), id)
        .is_some_and(|item| flag(item, "is_default"));
    let others: Vec<String> = store
        .all(DEPLOYMENTS.shared())
        .filter(is_default)
        .map(id_of)
        .collect();
    for other in others.iter().filter(|_| made) {
        if let Some(item) = store.find_mut(DEPLOYMENTS.shared(), other) {
            item.insert("is_default".to_owned(), false.into());
        }
    }
}

fn serves(settings: &Item, workspace: &str) -> bool {
    let allowed = settings.get(ALLOWED).and_then(Value::as_array);
    flag(settings, "allow_all_workspaces")
        || allowed.is_some_and(|allowed| allowed.iter().any(|slug| slug == workspace))
}

/// Returns a page. The argument `workspace_slug` may be repeated, and one match is sufficient.
fn list(store: &mut Store, call: &Call) -> Outcome {
    let (workspaces, mut query): (Vec<_>, Vec<_>) = call
        .query
        .iter()
        .cloned()
        .partition(|(name, _)| name == "workspace_slug");
    let workspaces: Vec<_> = workspaces.into_iter().map(|(_, slug)| slug).collect();
    query.push(("workspace_slug".to_owned(), workspaces.join(",")));
    crud::list(
        &DEPLOYMENTS,
        store,
        &Call {
            query,
            ..Call::default()
        },
    )
}

fn create(store: &mut Store, call: &Call) -> Outcome {
    let answer = crud::create(&DEPLOYMENTS, store, call)?;
    let id = answer.get("id").and_then(Value::as_str).unwrap_or_default();
    keep_one_default(store, id);
    Ok(with_credentials(store, answer))
}

fn read(store: &mut Store, call: &Call) -> Outcome {
    crud::get(&DEPLOYMENTS, store, &resolved(store, call)?)
}

fn update(store: &mut Store, call: &Call) -> Outcome {
    let call = resolved(store, call)?;
    let answer = crud::update(&DEPLOYMENTS, store, &call)?;
    keep_one_default(store, call.handle());
    Ok(match flag(&call.body, "rotate_auth") {
        true => with_credentials(store, answer),
        false => answer,
    })
}

/// Archives a deployment, which remains visible.
fn archive(store: &mut Store, call: &Call) -> Outcome {
    let call = resolved(store, call)?;
    if let Some(item) = store.find_mut(DEPLOYMENTS.shared(), call.handle()) {
        item.insert("status".to_owned(), "archived".into());
        item.insert("is_default".to_owned(), false.into());
    }
    Ok(done())
}

fn ping(store: &mut Store, call: &Call) -> Outcome {
    resolved(store, call).map(|_| done())
}

//! Deployments: self-hosted gateways, the workspaces they serve, and credentials that are returned
//! once.

use serde_json::{Value, json};

use super::{
    common_fields::{BY_SEARCH, BY_TAGS},
    workspaces,
};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{self, ApiResult, empty_object},
    field::{DefaultValue, Field, FieldType, ListSchema, ObjectSchema},
    page::{Envelope, Paging},
    resource::{Hooks, ListFilter, ListSettings, LookupKey, PendingWrite, Resource},
    route::{ApiVersion, Domain, delete, get, post, put},
    store::{Item, ORGANISATION, Store, flag, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V2],
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
    actions: &[],
    lookup_key: LookupKey::Id,
    fields: &[
        Field::new("name", FieldType::Name).required(),
        Field::new("slug", FieldType::Slug).immutable(),
        Field::new("type", FieldType::Enum(&["production", "non_production"]))
            .with_default(DefaultValue::Text("production")),
        Field::new("status", FieldType::Enum(&["active", "archived"]))
            .with_default(DefaultValue::Text("active")),
        Field::new("deployment_config", FieldType::AnyObject)
            .nullable()
            .with_default(DefaultValue::EmptyObject),
        Field::new("is_default", FieldType::Bool).with_default(DefaultValue::Bool(false)),
        Field::new("tags", FieldType::Labels)
            .nullable()
            .with_default(DefaultValue::EmptyObject),
        Field::new("auth_settings", FieldType::Object(&SETTINGS))
            .with_default(DefaultValue::EmptyObject),
        Field::new("rotate_auth", FieldType::Bool),
        Field::new("override_existing", FieldType::Bool),
    ],
    derived_fields: &[("is_default", |_, _, item| {
        Some(u8::from(flag(item, "is_default")).into())
    })],
    list: ListSettings {
        paging: Paging::zero_based(100, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[
            ListFilter::equals("status", FieldType::Enum(&["active", "archived"])),
            ListFilter::equals("type", FieldType::Enum(&["production", "non_production"])),
            BY_SEARCH,
            ListFilter {
                param: "workspace_slug",
                kind: FieldType::Text,
                predicate: Some(|_, item, asked| {
                    let settings = item.get("auth_settings").and_then(Value::as_object);
                    let mut asked = asked.as_str().unwrap_or_default().split(',');
                    settings
                        .is_some_and(|settings| asked.any(|slug| serves_workspace(settings, slug)))
                }),
            },
            BY_TAGS,
        ],
        item_fields: SHOWN,
    },
    read_fields: SHOWN,
    create_fields: &["id", "organisation_id"],
    hooks: Hooks {
        before_write: prepare_write,
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

static WORKSPACES: ListSchema = ListSchema::new(FieldType::Name);
static SUBJECTS: ListSchema = ListSchema::new(FieldType::Name);

static SETTINGS: ObjectSchema = ObjectSchema::new(&[
    Field::new("gateway_base_url", FieldType::Url),
    Field::new("mcp_gateway_base_url", FieldType::Url),
    Field::new("is_dataservice_hosted", FieldType::Integer(0, 1)),
    Field::new("is_playground_proxy_allowed", FieldType::Integer(0, 1)),
    Field::new(ALLOWED_WORKSPACES_FIELD, FieldType::List(&WORKSPACES)),
    Field::new(ALLOWED_SUBJECTS_FIELD, FieldType::List(&SUBJECTS)),
    Field::new("jwt_sub_workspace_mapping", FieldType::AnyObject),
    Field::new("allow_all_workspaces", FieldType::Bool),
    Field::new("remove_workspaces_allowed", FieldType::List(&WORKSPACES)),
    Field::new("remove_subs_allowed", FieldType::List(&SUBJECTS)),
]);

/// Field with the workspaces that a gateway serves.
const ALLOWED_WORKSPACES_FIELD: &str = "workspaces_allowed";

/// Field with the JWT subjects that a gateway accepts.
const ALLOWED_SUBJECTS_FIELD: &str = "jwt_subs_allowed";

fn prepare_write(store: &Store, _: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
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
            .get(ALLOWED_WORKSPACES_FIELD)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for workspace in known.filter_map(Value::as_str) {
            workspaces::resolve(store, workspace)?;
        }
        *given = merge_settings(
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
fn merge_settings(mut settings: Item, mut given: Item, replace: bool) -> Item {
    for (list, dropped) in [
        (ALLOWED_WORKSPACES_FIELD, "remove_workspaces_allowed"),
        (ALLOWED_SUBJECTS_FIELD, "remove_subs_allowed"),
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
        settings.insert(ALLOWED_WORKSPACES_FIELD.to_owned(), json!([]));
    }
    settings
}

/// Returns the call with the id of its deployment. `self` means the default one, because the
/// sandbox treats every caller as its gateway.
fn resolve_call(store: &Store, call: &ApiCall) -> Result<ApiCall, ApiError> {
    let own = || {
        store
            .all(DEPLOYMENTS.organisation_collection())
            .find(|item| flag(item, "is_default"))
    };
    let id = match call.handle() {
        "self" => own().map(item_id).unwrap_or_default(),
        id => id.to_owned(),
    };
    DEPLOYMENTS.find(store, ORGANISATION, &id)?;
    Ok(ApiCall {
        path: vec![id],
        query: call.query.clone(),
        body: call.body.clone(),
        ..ApiCall::default()
    })
}

/// Adds new credentials to a response. They are not stored, because they cannot be read again.
fn add_credentials(store: &mut Store, answer: Value) -> Value {
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
        .find(DEPLOYMENTS.organisation_collection(), id)
        .is_some_and(|item| flag(item, "is_default"));
    let others: Vec<String> = store
        .all(DEPLOYMENTS.organisation_collection())
        .filter(is_default)
        .map(item_id)
        .collect();
    for other in others.iter().filter(|_| made) {
        if let Some(item) = store.find_mut(DEPLOYMENTS.organisation_collection(), other) {
            item.insert("is_default".to_owned(), false.into());
        }
    }
}

fn serves_workspace(settings: &Item, workspace: &str) -> bool {
    let allowed = settings
        .get(ALLOWED_WORKSPACES_FIELD)
        .and_then(Value::as_array);
    flag(settings, "allow_all_workspaces")
        || allowed.is_some_and(|allowed| allowed.iter().any(|slug| slug == workspace))
}

/// Returns a page. The argument `workspace_slug` may be repeated, and one match is sufficient.
fn list(store: &mut Store, call: &ApiCall) -> ApiResult {
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
        &ApiCall {
            query,
            ..ApiCall::default()
        },
    )
}

fn create(store: &mut Store, call: &ApiCall) -> ApiResult {
    let answer = crud::create(&DEPLOYMENTS, store, call)?;
    let id = answer.get("id").and_then(Value::as_str).unwrap_or_default();
    keep_one_default(store, id);
    Ok(add_credentials(store, answer))
}

fn read(store: &mut Store, call: &ApiCall) -> ApiResult {
    crud::get(&DEPLOYMENTS, store, &resolve_call(store, call)?)
}

fn update(store: &mut Store, call: &ApiCall) -> ApiResult {
    let call = resolve_call(store, call)?;
    let answer = crud::update(&DEPLOYMENTS, store, &call)?;
    keep_one_default(store, call.handle());
    Ok(match flag(&call.body, "rotate_auth") {
        true => add_credentials(store, answer),
        false => answer,
    })
}

/// Archives a deployment, which remains visible.
fn archive(store: &mut Store, call: &ApiCall) -> ApiResult {
    let call = resolve_call(store, call)?;
    if let Some(item) = store.find_mut(DEPLOYMENTS.organisation_collection(), call.handle()) {
        item.insert("status".to_owned(), "archived".into());
        item.insert("is_default".to_owned(), false.into());
    }
    Ok(empty_object())
}

fn ping(store: &mut Store, call: &ApiCall) -> ApiResult {
    resolve_call(store, call).map(|_| empty_object())
}

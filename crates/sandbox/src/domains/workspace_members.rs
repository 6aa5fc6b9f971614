//! Workspace members: the users of a workspace and their roles.

use serde_json::{Value, json};

use super::{users, workspaces};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{ApiResult, empty_object, pick},
    field::{Field, FieldType, ListSchema, ObjectSchema},
    page::{Envelope, Paging},
    route::{ApiVersion, Domain, delete, get, post, put},
    store::{CollectionKey, Item, Store, text},
    validation::{self, WriteKind},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1, ApiVersion::V2],
    resources: &[],
    routes: &[
        get("/admin/workspaces/{id}/users", list),
        post("/admin/workspaces/{id}/users", add),
        get("/admin/workspaces/{id}/users/{user}", get_member),
        put("/admin/workspaces/{id}/users/{user}", update),
        delete("/admin/workspaces/{id}/users/{user}", remove),
    ],
};

/// Kind of the memberships, whose ids are those of their users.
const KIND: &str = "workspace-members";

/// Roles of a member.
pub(super) const ROLE: FieldType = FieldType::Enum(&["admin", "member", "manager"]);

const PAGING: Paging = Paging::zero_based(50, usize::MAX);

const LISTED_FIELDS: &[&str] = &[
    "object",
    "id",
    "first_name",
    "last_name",
    "org_role",
    "role",
    "created_at",
    "last_updated_at",
    "status",
    "workspace_id",
    "email",
    "scopes",
    "settings",
];

/// Fields of members in the response of their workspace, without addresses.
const WORKSPACE_FIELDS: &[&str] = &[
    "first_name",
    "last_name",
    "org_role",
    "role",
    "created_at",
    "last_updated_at",
    "status",
    "workspace_id",
    "id",
];

fn collection_key(workspace: &str) -> CollectionKey<'_> {
    CollectionKey {
        kind: KIND,
        owner: workspace,
    }
}

/// Joins a membership with its user.
fn join_with_user(store: &Store, workspace: &str, member: &Item) -> Item {
    let user = users::find(store, text(member, "id")).ok();
    let of_user = |field: &str| user.map(|user| text(user, field));
    let joined = json!({
        "object": "workspace-user",
        "id": member.get("id"),
        "first_name": of_user("first_name"),
        "last_name": of_user("last_name"),
        "email": of_user("email"),
        "org_role": of_user("role"),
        "role": member.get("role"),
        "created_at": member.get("created_at"),
        "last_updated_at": member.get("last_updated_at"),
        "status": "active",
        "workspace_id": workspace,
        "scopes": [],
        "settings": null,
    });
    joined.as_object().cloned().unwrap_or_default()
}

/// Returns the members of a workspace for its own response.
pub(super) fn show_members(store: &Store, workspace: &str) -> Value {
    let members = store.all(collection_key(workspace));
    members
        .map(|member| pick(&join_with_user(store, workspace, member), WORKSPACE_FIELDS))
        .collect()
}

/// Returns the ids of a user's workspaces.
pub(super) fn workspace_ids_of_user(store: &Store, user: &str) -> Vec<String> {
    let all = workspaces::all(store).map(item_id);
    all.filter(|workspace| store.find(collection_key(workspace), user).is_some())
        .collect()
}

/// Adds existing users to a workspace.
pub(super) fn add_members(store: &mut Store, workspace: &str, members: &[(String, String)]) {
    let now = store.clock.now();
    for (user, role) in members {
        let member = json!({ "id": user, "role": role, "created_at": now, "last_updated_at": now });
        store.insert(
            collection_key(workspace),
            member.as_object().cloned().unwrap_or_default(),
        );
    }
}

fn list(store: &mut Store, call: &ApiCall) -> ApiResult {
    let workspace = item_id(workspaces::resolve(store, call.handle())?);
    if let Some(role) = call.query("role") {
        validation::validate_value(store, ROLE, "role", &role.into())?;
    }
    let has = |member: &Item, field: &str, asked: Option<&str>| {
        asked.is_none_or(|asked| text(member, field).eq_ignore_ascii_case(asked))
    };
    let matching: Vec<Item> = (store.all(collection_key(&workspace)))
        .map(|member| join_with_user(store, &workspace, member))
        .filter(|member| has(member, "role", call.query("role")))
        .filter(|member| has(member, "email", call.query("email")))
        .collect();
    let (page, more) = PAGING.select_page(call, &matching)?;
    let page = page
        .iter()
        .map(|member| pick(member, LISTED_FIELDS))
        .collect();
    Ok(Envelope::LIST.wrap(matching.len(), more, page))
}

static GRANT: ObjectSchema = ObjectSchema::new(&[
    Field::new("id", FieldType::Name).required(),
    Field::new("role", ROLE).required(),
]);

static GRANTS: ListSchema = ListSchema {
    min_items: 1,
    unique_field: Some("id"),
    ..ListSchema::new(FieldType::Object(&GRANT))
};

const ADD: &[Field] = &[Field::new("users", FieldType::List(&GRANTS)).required()];

/// Adds all named users, or none if one is invalid.
fn add(store: &mut Store, call: &ApiCall) -> ApiResult {
    let workspace = item_id(workspaces::resolve(store, call.handle())?);
    let given = validation::validate_body(store, ADD, &call.body, WriteKind::Create)?;
    let grants = given
        .get("users")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let mut members = Vec::new();
    for grant in grants.filter_map(Value::as_object) {
        let user = item_id(users::find(store, text(grant, "id"))?);
        if store.find(collection_key(&workspace), &user).is_some() {
            let text = format!("User `{user}` is a member of the workspace already");
            return Err(ApiError::Conflict(text));
        }
        members.push((user, text(grant, "role").to_owned()));
    }
    add_members(store, &workspace, &members);
    Ok(empty_object())
}

/// Returns the workspace and the member that the path names.
fn find_for_call<'s>(store: &'s Store, call: &ApiCall) -> Result<(String, &'s Item), ApiError> {
    let workspace = item_id(workspaces::resolve(store, call.handle())?);
    let handle = call.path.get(1).map(String::as_str).unwrap_or_default();
    let missing = || match users::has_left(store, handle) {
        true => ApiError::Forbidden(format!("User `{handle}` is not open to this key")),
        false => ApiError::NotFound {
            object: "workspace-user",
            handle: handle.to_owned(),
        },
    };
    let member = store
        .find(collection_key(&workspace), handle)
        .ok_or_else(missing)?;
    Ok((workspace, member))
}

/// Returns one member in the format of the API: without the id, and with the role prefixed by
/// `ws-`.
fn get_member(store: &mut Store, call: &ApiCall) -> ApiResult {
    let (workspace, member) = find_for_call(store, call)?;
    let mut shown = join_with_user(store, &workspace, member);
    shown.shift_remove("id");
    shown.insert(
        "role".to_owned(),
        format!("ws-{}", text(member, "role")).into(),
    );
    Ok(Value::Object(shown))
}

const CHANGE: &[Field] = &[Field::new("role", ROLE).required()];

fn update(store: &mut Store, call: &ApiCall) -> ApiResult {
    let (workspace, member) = find_for_call(store, call)?;
    let user = item_id(member);
    let mut change = validation::validate_body(store, CHANGE, &call.body, WriteKind::Create)?;
    change.insert("last_updated_at".to_owned(), store.clock.now().into());
    if let Some(member) = store.find_mut(collection_key(&workspace), &user) {
        member.extend(change);
    }
    Ok(empty_object())
}

fn remove(store: &mut Store, call: &ApiCall) -> ApiResult {
    let (workspace, member) = find_for_call(store, call)?;
    let user = item_id(member);
    store.remove(collection_key(&workspace), &user);
    Ok(empty_object())
}

//! Workspace members: the users of a workspace and their roles.

use serde_json::{Value, json};

use super::{users, workspaces};
use crate::{
    call::{Call, id_of},
    check::{self, Occasion},
    crud::{Outcome, done, pick},
    field::{Field, Kind, List, Shape},
    page::{Envelope, Paging},
    refusal::Refusal,
    route::{Domain, Version, delete, get, post, put},
    store::{Item, Shelf, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1, Version::V2],
    resources: &[],
    routes: &[
        get("/admin/workspaces/{id}/users", list),
        post("/admin/workspaces/{id}/users", add),
        get("/admin/workspaces/{id}/users/{user}", show_one),
        put("/admin/workspaces/{id}/users/{user}", update),
        delete("/admin/workspaces/{id}/users/{user}", remove),
    ],
};

/// Kind of the memberships, whose ids are those of their users.
const KIND: &str = "workspace-members";

/// Roles of a member.
pub(super) const ROLE: Kind = Kind::Choice(&["admin", "member", "manager"]);

const PAGING: Paging = Paging::zero_based(50, usize::MAX);

const LISTED: &[&str] = &[
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
const IN_WORKSPACE: &[&str] = &[
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

fn shelf(workspace: &str) -> Shelf<'_> {
    Shelf {
        kind: KIND,
        owner: workspace,
    }
}

/// Joins a membership with its user.
fn whole(store: &Store, workspace: &str, member: &Item) -> Item {
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
pub(super) fn in_workspace(store: &Store, workspace: &str) -> Value {
    let members = store.all(shelf(workspace));
    members
        .map(|member| pick(&whole(store, workspace, member), IN_WORKSPACE))
        .collect()
}

/// Returns the ids of a user's workspaces.
pub(super) fn workspaces_of(store: &Store, user: &str) -> Vec<String> {
    let all = workspaces::all(store).map(id_of);
    all.filter(|workspace| store.find(shelf(workspace), user).is_some())
        .collect()
}

/// Adds existing users to a workspace.
pub(super) fn join(store: &mut Store, workspace: &str, members: &[(String, String)]) {
    let now = store.clock.now();
    for (user, role) in members {
        let member = json!({ "id": user, "role": role, "created_at": now, "last_updated_at": now });
        store.insert(
            shelf(workspace),
            member.as_object().cloned().unwrap_or_default(),
        );
    }
}

fn list(store: &mut Store, call: &Call) -> Outcome {
    let workspace = id_of(workspaces::resolve(store, call.handle())?);
    if let Some(role) = call.query("role") {
        check::value(store, ROLE, "role", &role.into())?;
    }
    let has = |member: &Item, field: &str, asked: Option<&str>| {
        asked.is_none_or(|asked| text(member, field).eq_ignore_ascii_case(asked))
    };
    let kept: Vec<Item> = (store.all(shelf(&workspace)))
        .map(|member| whole(store, &workspace, member))
        .filter(|member| has(member, "role", call.query("role")))
        .filter(|member| has(member, "email", call.query("email")))
        .collect();
    let (page, more) = PAGING.cut(call, &kept)?;
    let page = page.iter().map(|member| pick(member, LISTED)).collect();
    Ok(Envelope::LIST.wrap(kept.len(), more, page))
}

static GRANT: Shape = Shape::of(&[
    Field::new("id", Kind::Name).required(),
    Field::new("role", ROLE).required(),
]);

static GRANTS: List = List {
    least: 1,
    unique: Some("id"),
    ..List::of(Kind::Shape(&GRANT))
};

const ADD: &[Field] = &[Field::new("users", Kind::List(&GRANTS)).required()];

/// Adds all named users, or none if one is invalid.
fn add(store: &mut Store, call: &Call) -> Outcome {
    let workspace = id_of(workspaces::resolve(store, call.handle())?);
    let given = check::body(store, ADD, &call.body, Occasion::Create)?;
    let grants = given
        .get("users")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let mut members = Vec::new();
    for grant in grants.filter_map(Value::as_object) {
        let user = id_of(users::find(store, text(grant, "id"))?);
        if store.find(shelf(&workspace), &user).is_some() {
            let text = format!("User `{user}` is a member of the workspace already");
            return Err(Refusal::Conflict(text));
        }
        members.push((user, text(grant, "role").to_owned()));
    }
    join(store, &workspace, &members);
    Ok(done())
}

/// Returns the workspace and the member that the path names.
fn named<'s>(store: &'s Store, call: &Call) -> Result<(String, &'s Item), Refusal> {
    let workspace = id_of(workspaces::resolve(store, call.handle())?);
    let handle = call.path.get(1).map(String::as_str).unwrap_or_default();
    let missing = || match users::has_left(store, handle) {
        true => Refusal::Forbidden(format!("User `{handle}` is not open to this key")),
        false => Refusal::Missing {
            object: "workspace-user",
            handle: handle.to_owned(),
        },
    };
    let member = store.find(shelf(&workspace), handle).ok_or_else(missing)?;
    Ok((workspace, member))
}

/// Returns one member in the format of the API: without the id, and with the role prefixed by
/// `ws-`.
fn show_one(store: &mut Store, call: &Call) -> Outcome {
    let (workspace, member) = named(store, call)?;
    let mut shown = whole(store, &workspace, member);
    shown.shift_remove("id");
    shown.insert(
        "role".to_owned(),
        format!("ws-{}", text(member, "role")).into(),
    );
    Ok(Value::Object(shown))
}

const CHANGE: &[Field] = &[Field::new("role", ROLE).required()];

fn update(store: &mut Store, call: &Call) -> Outcome {
    let (workspace, member) = named(store, call)?;
    let user = id_of(member);
    let mut change = check::body(store, CHANGE, &call.body, Occasion::Create)?;
    change.insert("last_updated_at".to_owned(), store.clock.now().into());
    if let Some(member) = store.find_mut(shelf(&workspace), &user) {
        member.extend(change);
    }
    Ok(done())
}

fn remove(store: &mut Store, call: &Call) -> Outcome {
    let (workspace, member) = named(store, call)?;
    let user = id_of(member);
    store.remove(shelf(&workspace), &user);
    Ok(done())
}

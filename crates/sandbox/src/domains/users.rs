//! Users of the organisation. Users join by invitation, and no call accepts one, so a sandbox only
//! has its seeded users.

use serde_json::json;

use super::{api_keys, workspace_members as members};
use crate::{
    api_error::ApiError,
    call::ApiCall,
    crud::{self, ApiResult},
    field::{Field, FieldType},
    page::{Envelope, Paging},
    resource::{CrudAction, Hooks, ListFilter, ListSettings, LookupKey, PendingWrite, Resource},
    route::{ApiVersion, Domain, delete},
    store::{Item, ORGANISATION, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[&USERS],
    routes: &[delete("/admin/users/{id}", remove)],
};

/// Id of the organisation's owner, for whom all keys of a sandbox act.
pub(super) const OWNER_ID: &str = "0a5d0000-0000-4000-8000-00000000ada0";
/// Id of an administrator.
pub(crate) const ADMIN_ID: &str = "0a5d0000-0000-4000-8000-00000000ada1";
/// Id of the research lead.
pub(crate) const RESEARCH_LEAD_ID: &str = "0a5d0000-0000-4000-8000-00000000ada2";
/// Id of the support lead.
pub(crate) const SUPPORT_LEAD_ID: &str = "0a5d0000-0000-4000-8000-00000000ada3";
/// Id of the finance reader.
pub(crate) const FINANCE_READER_ID: &str = "0a5d0000-0000-4000-8000-00000000ada4";

static USERS: Resource = Resource {
    // Deletion also removes the keys of the user.
    actions: &[CrudAction::List, CrudAction::Get, CrudAction::Update],
    lookup_key: LookupKey::Id,
    fields: &[Field::new("role", FieldType::Enum(&["admin", "member"]))],
    derived_fields: &[("workspace_ids", |store, _, user| {
        Some(members::workspace_ids_of_user(store, text(user, "id")).into())
    })],
    list: ListSettings {
        paging: Paging::camel_case(50, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[
            ListFilter::equals("role", FieldType::Enum(&["admin", "member", "owner"])),
            BY_EMAIL,
        ],
        item_fields: SHOWN,
    },
    read_fields: SHOWN,
    hooks: Hooks {
        before_write: prepare_write,
        before_delete: check_removal,
        ..Hooks::NONE
    },
    ..Resource::new("users", "user", "/admin/users")
};

const SHOWN: &[&str] = &[
    "object",
    "id",
    "first_name",
    "last_name",
    "role",
    "email",
    "created_at",
    "last_updated_at",
    "workspace_ids",
];

/// Keeps the items with an address, ignoring case.
pub(super) const BY_EMAIL: ListFilter = ListFilter {
    param: "email",
    kind: FieldType::Text,
    predicate: Some(|_, item, asked| {
        text(item, "email").eq_ignore_ascii_case(asked.as_str().unwrap_or_default())
    }),
};

/// Returns the user with this id.
pub(super) fn find<'s>(store: &'s Store, id: &str) -> Result<&'s Item, ApiError> {
    USERS.find(store, ORGANISATION, id)
}

/// Returns all users.
pub(super) fn all(store: &Store) -> impl Iterator<Item = &Item> {
    store.all(USERS.organisation_collection())
}

/// Returns true if a user with this address exists.
pub(super) fn has_joined(store: &Store, email: &str) -> bool {
    all(store).any(|user| text(user, "email").eq_ignore_ascii_case(email))
}

/// The seeded users: id, first name, last name, role.
const PEOPLE: [(&str, &str, &str, &str); 5] = [
    (OWNER_ID, "Platform", "Owner", "owner"),
    (ADMIN_ID, "Platform", "Admin", "admin"),
    (RESEARCH_LEAD_ID, "Research", "Lead", "member"),
    (SUPPORT_LEAD_ID, "Support", "Lead", "member"),
    (FINANCE_READER_ID, "Finance", "Reader", "member"),
];

/// Inserts the seeded users.
pub(crate) fn insert_people(store: &mut Store) {
    let now = store.clock.now();
    for (id, first, last, role) in PEOPLE {
        let email = format!("{first}-{last}@example.com").to_lowercase();
        let user = json!({
            "id": id, "first_name": first, "last_name": last, "email": email, "role": role,
            "created_at": now, "last_updated_at": now,
        });
        store.insert(
            USERS.organisation_collection(),
            user.as_object().cloned().unwrap_or_default(),
        );
    }
}

fn reject_owner_change(user: &Item) -> Result<(), ApiError> {
    match text(user, "role") {
        "owner" => Err(ApiError::Forbidden(
            "The owner cannot be changed or removed".to_owned(),
        )),
        _ => Ok(()),
    }
}

fn prepare_write(_: &Store, _: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    let Some(user) = draft.before else {
        return Ok(());
    };
    reject_owner_change(user)?;
    match draft.change.get("role") {
        Some(role) if user.get("role") == Some(role) => Err(ApiError::invalid_field(
            "role",
            "is the role the user has already",
        )),
        _ => Ok(()),
    }
}

fn check_removal(_: &Store, _: &ApiCall, user: &Item) -> Result<(), ApiError> {
    reject_owner_change(user)
}

/// Removes a user and the user's keys.
fn remove(store: &mut Store, call: &ApiCall) -> ApiResult {
    let answer = crud::delete(&USERS, store, call)?;
    api_keys::remove_keys_of_user(store, call.handle());
    Ok(answer)
}

/// Returns true if a user with this id was removed.
pub(super) fn has_left(store: &Store, id: &str) -> bool {
    store.was_removed(USERS.kind, id)
}

//! Users of the organisation. Users join by invitation, and no call accepts one, so a sandbox only
//! has its seeded users.

use serde_json::json;

use super::{api_keys, workspace_members as members};
use crate::{
    call::Call,
    crud::{self, Outcome},
    field::{Field, Kind},
    page::{Envelope, Paging},
    refusal::Refusal,
    resource::{Draft, Filter, FoundBy, Hooks, Listing, Resource, Verb},
    route::{Domain, Version, delete},
    store::{Item, ORGANISATION, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1],
    resources: &[&USERS],
    routes: &[delete("/admin/users/{id}", remove)],
};

/// Id of the organisation's owner, for whom all keys of a sandbox act.
pub(super) const OWNER: &str = "0a5d0000-0000-4000-8000-00000000ada0";
/// Id of an administrator.
pub(crate) const ADMIN: &str = "0a5d0000-0000-4000-8000-00000000ada1";
/// Id of the research lead.
pub(crate) const RESEARCH_LEAD: &str = "0a5d0000-0000-4000-8000-00000000ada2";
/// Id of the support lead.
pub(crate) const SUPPORT_LEAD: &str = "0a5d0000-0000-4000-8000-00000000ada3";
/// Id of the finance reader.
pub(crate) const FINANCE_READER: &str = "0a5d0000-0000-4000-8000-00000000ada4";

static USERS: Resource = Resource {
    // Deletion also removes the keys of the user.
    verbs: &[Verb::List, Verb::Get, Verb::Update],
    found_by: FoundBy::Id,
    fields: &[Field::new("role", Kind::Choice(&["admin", "member"]))],
    derived: &[("workspace_ids", |store, _, user| {
        Some(members::workspaces_of(store, text(user, "id")).into())
    })],
    list: Listing {
        paging: Paging::camel_case(50, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[
            Filter::same("role", Kind::Choice(&["admin", "member", "owner"])),
            BY_EMAIL,
        ],
        shows: SHOWN,
    },
    reads: SHOWN,
    hooks: Hooks {
        admit,
        release,
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
pub(super) const BY_EMAIL: Filter = Filter {
    param: "email",
    kind: Kind::Text,
    keeps: Some(|_, item, asked| {
        text(item, "email").eq_ignore_ascii_case(asked.as_str().unwrap_or_default())
    }),
};

/// Returns the user with this id.
pub(super) fn find<'s>(store: &'s Store, id: &str) -> Result<&'s Item, Refusal> {
    USERS.find(store, ORGANISATION, id)
}

/// Returns all users.
pub(super) fn all(store: &Store) -> impl Iterator<Item = &Item> {
    store.all(USERS.shared())
}

/// Returns true if a user with this address exists.
pub(super) fn has_joined(store: &Store, email: &str) -> bool {
    all(store).any(|user| text(user, "email").eq_ignore_ascii_case(email))
}

/// The seeded users: id, first name, last name, role.
const PEOPLE: [(&str, &str, &str, &str); 5] = [
    (OWNER, "Platform", "Owner", "owner"),
    (ADMIN, "Platform", "Admin", "admin"),
    (RESEARCH_LEAD, "Research", "Lead", "member"),
    (SUPPORT_LEAD, "Support", "Lead", "member"),
    (FINANCE_READER, "Finance", "Reader", "member"),
];

/// Inserts the seeded users.
pub(crate) fn settle(store: &mut Store) {
    let now = store.clock.now();
    for (id, first, last, role) in PEOPLE {
        let email = format!("{first}-{last}@example.com").to_lowercase();
        let user = json!({
            "id": id, "first_name": first, "last_name": last, "email": email, "role": role,
            "created_at": now, "last_updated_at": now,
        });
        store.insert(
            USERS.shared(),
            user.as_object().cloned().unwrap_or_default(),
        );
    }
}

fn spare_the_owner(user: &Item) -> Result<(), Refusal> {
    match text(user, "role") {
        "owner" => Err(Refusal::Forbidden(
            "The owner cannot be changed or removed".to_owned(),
        )),
        _ => Ok(()),
    }
}

fn admit(_: &Store, _: &Call, draft: Draft<'_>) -> Result<(), Refusal> {
    let Some(user) = draft.before else {
        return Ok(());
    };
    spare_the_owner(user)?;
    match draft.change.get("role") {
        Some(role) if user.get("role") == Some(role) => {
            Err(Refusal::field("role", "is the role the user has already"))
        }
        _ => Ok(()),
    }
}

fn release(_: &Store, _: &Call, user: &Item) -> Result<(), Refusal> {
    spare_the_owner(user)
}

/// Removes a user and the user's keys.
fn remove(store: &mut Store, call: &Call) -> Outcome {
    let answer = crud::delete(&USERS, store, call)?;
    api_keys::remove_of_user(store, call.handle());
    Ok(answer)
}

/// Returns true if a user with this id was removed.
pub(super) fn has_left(store: &Store, id: &str) -> bool {
    store.was_removed(USERS.kind, id)
}

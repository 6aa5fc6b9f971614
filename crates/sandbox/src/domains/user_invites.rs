//! User invites: invitations to the organisation, and their links.

use serde_json::{Value, json};

use super::{
    users::{self, BY_EMAIL},
    workspace_members::ROLE,
};
use crate::{
    call::{Call, id_of},
    clock::{self, DAY},
    crud::Outcome,
    field::{Field, Kind, List, Preset, Shape},
    page::{Envelope, Paging},
    refusal::Refusal,
    resource::{Draft, Filter, FoundBy, Hooks, Listing, Resource, Verb},
    route::{Domain, Version, post, put},
    store::{Item, ORGANISATION, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1],
    resources: &[&INVITES],
    routes: &[
        post("/admin/users/invites/{id}/resend", resend),
        // Invitations cannot be changed, only deleted and created again. The API responds 404.
        put("/admin/users/invites/{id}", |_, call| {
            Err(Refusal::Missing {
                object: "invitation to change",
                handle: call.handle().into(),
            })
        }),
    ],
};

/// Validity of an invitation in days.
const DAYS: u64 = 7;

static INVITES: Resource = Resource {
    verbs: &[Verb::List, Verb::Create, Verb::Get, Verb::Delete],
    found_by: FoundBy::Id,
    fields: &[
        Field::new("email", Kind::Name).required(),
        Field::new("role", Kind::Choice(ROLES)).required(),
        Field::new("workspaces", Kind::List(&GRANTS))
            .nullable()
            .preset(Preset::EmptyList),
        Field::new("workspace_api_key_details", Kind::Shape(&KEY)),
    ],
    derived: &[("invite_link", |_, _, invite| Some(link(invite)))],
    list: Listing {
        paging: Paging::camel_case(50, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[
            Filter::same("role", Kind::Choice(ROLES)),
            BY_EMAIL,
            Filter::same(
                "status",
                Kind::Choice(&["pending", "cancelled", "accepted", "expired"]),
            ),
        ],
        shows: SHOWN,
    },
    reads: SHOWN,
    creates: &["id", "invite_link"],
    hooks: Hooks {
        admit,
        ..Hooks::NONE
    },
    ..Resource::new("user-invites", "invite", "/admin/users/invites")
};

const ROLES: &[&str] = &["admin", "member"];

const SHOWN: &[&str] = &[
    "object",
    "id",
    "email",
    "role",
    "created_at",
    "expires_at",
    "accepted_at",
    "status",
    "invited_by",
];

static GRANT: Shape = Shape::of(&[
    Field::new("id", Kind::Workspace).required(),
    Field::new("role", ROLE).required(),
]);

static GRANTS: List = List {
    unique: Some("id"),
    ..List::of(Kind::Shape(&GRANT))
};

static SCOPES: List = List::of(Kind::Name);

static KEY: Shape = Shape::of(&[Field::new("scopes", Kind::List(&SCOPES)).required()]);

/// Returns the link of an invitation; each sending generates another.
fn link(invite: &Item) -> Value {
    let sent = invite
        .get("sent")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    format!(
        "https://sandbox.example.com/join/{}-{sent}",
        text(invite, "id")
    )
    .into()
}

fn admit(store: &Store, _: &Call, draft: Draft<'_>) -> Result<(), Refusal> {
    let invite = draft.change;
    let email = text(invite, "email").to_owned();
    let (name, host) = email.split_once('@').unwrap_or_default();
    if name.is_empty() || !host.contains('.') || email.contains(char::is_whitespace) {
        return Err(Refusal::field("email", "must be an e-mail address"));
    }
    if users::has_joined(store, &email) {
        return Err(Refusal::Conflict(format!(
            "`{email}` has joined the organisation already"
        )));
    }
    let is_open = |other: &Item| {
        text(other, "status") == "pending" && text(other, "email").eq_ignore_ascii_case(&email)
    };
    if store.all(INVITES.shared()).any(is_open) {
        return Err(Refusal::Conflict(format!(
            "`{email}` has a pending invitation already"
        )));
    }
    invite.insert("status".to_owned(), "pending".into());
    invite.insert("invited_by".to_owned(), users::OWNER.into());
    invite.insert("expires_at".to_owned(), store.clock.in_days(DAYS).into());
    invite.insert("sent".to_owned(), 1.into());
    Ok(())
}

/// Resends an invitation that is pending or expired.
fn resend(store: &mut Store, call: &Call) -> Outcome {
    let invite = INVITES.find(store, ORGANISATION, call.handle())?;
    if !["pending", "expired"].contains(&text(invite, "status")) {
        let text = format!(
            "The invitation is {} and cannot be sent again",
            text(invite, "status")
        );
        return Err(Refusal::Invalid(text));
    }
    let (id, expires_at) = (id_of(invite), store.clock.in_days(DAYS));
    let sent = invite
        .get("sent")
        .and_then(Value::as_u64)
        .unwrap_or_default()
        + 1;
    let Some(invite) = store.find_mut(INVITES.shared(), &id) else {
        return Err(Refusal::Missing {
            object: INVITES.object,
            handle: id,
        });
    };
    invite.insert("sent".to_owned(), sent.into());
    invite.insert("status".to_owned(), "pending".into());
    invite.insert("expires_at".to_owned(), expires_at.into());
    Ok(json!({ "inviteLink": link(invite) }))
}

/// Sets the dates and states of the seeded invitations, by address.
pub(crate) fn settle(store: &mut Store) {
    let now = store.clock.unix();
    let days_ago = |days: u64| Value::from(clock::written(now - days * DAY));
    let in_days = |days: u64| Value::from(clock::written(now + days * DAY));
    for (email, field, value) in [
        ("new-analyst@example.com", "created_at", days_ago(1)),
        ("new-analyst@example.com", "expires_at", in_days(DAYS - 1)),
        ("former-intern@example.com", "status", "expired".into()),
        ("former-intern@example.com", "created_at", days_ago(31)),
        (
            "former-intern@example.com",
            "expires_at",
            days_ago(31 - DAYS),
        ),
        ("agency-partner@example.com", "status", "cancelled".into()),
        ("agency-partner@example.com", "created_at", days_ago(10)),
        (
            "agency-partner@example.com",
            "expires_at",
            days_ago(10 - DAYS),
        ),
    ] {
        let invite = store
            .all(INVITES.shared())
            .find(|invite| text(invite, "email") == email);
        let Some(id) = invite.map(id_of) else {
            continue;
        };
        if let Some(invite) = store.find_mut(INVITES.shared(), &id) {
            invite.insert(field.to_owned(), value);
        }
    }
}

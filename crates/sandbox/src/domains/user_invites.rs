//! User invites: invitations to the organisation, and their links.

use serde_json::{Value, json};

use super::{
    users::{self, BY_EMAIL},
    workspace_members::ROLE,
};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    clock::{self, SECONDS_PER_DAY},
    crud::ApiResult,
    field::{DefaultValue, Field, FieldType, ListSchema, ObjectSchema},
    page::{Envelope, Paging},
    resource::{CrudAction, Hooks, ListFilter, ListSettings, LookupKey, PendingWrite, Resource},
    route::{ApiVersion, Domain, post, put},
    store::{Item, ORGANISATION, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[&INVITES],
    routes: &[
        post("/admin/users/invites/{id}/resend", resend),
        // Invitations cannot be changed, only deleted and created again. The API responds 404.
        put("/admin/users/invites/{id}", |_, call| {
            Err(ApiError::NotFound {
                object: "invitation to change",
                handle: call.handle().into(),
            })
        }),
    ],
};

/// Validity of an invitation in days.
const INVITE_VALID_DAYS: u64 = 7;

static INVITES: Resource = Resource {
    actions: &[
        CrudAction::List,
        CrudAction::Create,
        CrudAction::Get,
        CrudAction::Delete,
    ],
    lookup_key: LookupKey::Id,
    fields: &[
        Field::new("email", FieldType::Name).required(),
        Field::new("role", FieldType::Enum(ROLES)).required(),
        Field::new("workspaces", FieldType::List(&GRANTS))
            .nullable()
            .with_default(DefaultValue::EmptyList),
        Field::new("workspace_api_key_details", FieldType::Object(&KEY)),
    ],
    derived_fields: &[("invite_link", |_, _, invite| Some(invite_link(invite)))],
    list: ListSettings {
        paging: Paging::camel_case(50, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[
            ListFilter::equals("role", FieldType::Enum(ROLES)),
            BY_EMAIL,
            ListFilter::equals(
                "status",
                FieldType::Enum(&["pending", "cancelled", "accepted", "expired"]),
            ),
        ],
        item_fields: SHOWN,
    },
    read_fields: SHOWN,
    create_fields: &["id", "invite_link"],
    hooks: Hooks {
        before_write: prepare_write,
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

static GRANT: ObjectSchema = ObjectSchema::new(&[
    Field::new("id", FieldType::Workspace).required(),
    Field::new("role", ROLE).required(),
]);

static GRANTS: ListSchema = ListSchema {
    unique_field: Some("id"),
    ..ListSchema::new(FieldType::Object(&GRANT))
};

static SCOPES: ListSchema = ListSchema::new(FieldType::Name);

static KEY: ObjectSchema =
    ObjectSchema::new(&[Field::new("scopes", FieldType::List(&SCOPES)).required()]);

/// Returns the link of an invitation; each sending generates another.
fn invite_link(invite: &Item) -> Value {
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

fn prepare_write(store: &Store, _: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    let invite = draft.change;
    let email = text(invite, "email").to_owned();
    let (name, host) = email.split_once('@').unwrap_or_default();
    if name.is_empty() || !host.contains('.') || email.contains(char::is_whitespace) {
        return Err(ApiError::invalid_field(
            "email",
            "must be an e-mail address",
        ));
    }
    if users::has_joined(store, &email) {
        return Err(ApiError::Conflict(format!(
            "`{email}` has joined the organisation already"
        )));
    }
    let is_open = |other: &Item| {
        text(other, "status") == "pending" && text(other, "email").eq_ignore_ascii_case(&email)
    };
    if store.all(INVITES.organisation_collection()).any(is_open) {
        return Err(ApiError::Conflict(format!(
            "`{email}` has a pending invitation already"
        )));
    }
    invite.insert("status".to_owned(), "pending".into());
    invite.insert("invited_by".to_owned(), users::OWNER_ID.into());
    invite.insert(
        "expires_at".to_owned(),
        store.clock.after_days(INVITE_VALID_DAYS).into(),
    );
    invite.insert("sent".to_owned(), 1.into());
    Ok(())
}

/// Resends an invitation that is pending or expired.
fn resend(store: &mut Store, call: &ApiCall) -> ApiResult {
    let invite = INVITES.find(store, ORGANISATION, call.handle())?;
    if !["pending", "expired"].contains(&text(invite, "status")) {
        let text = format!(
            "The invitation is {} and cannot be sent again",
            text(invite, "status")
        );
        return Err(ApiError::Invalid(text));
    }
    let id = item_id(invite);
    let expires_at = store.clock.after_days(INVITE_VALID_DAYS);
    let sent = invite
        .get("sent")
        .and_then(Value::as_u64)
        .unwrap_or_default()
        + 1;
    let Some(invite) = store.find_mut(INVITES.organisation_collection(), &id) else {
        return Err(ApiError::NotFound {
            object: INVITES.object,
            handle: id,
        });
    };
    invite.insert("sent".to_owned(), sent.into());
    invite.insert("status".to_owned(), "pending".into());
    invite.insert("expires_at".to_owned(), expires_at.into());
    Ok(json!({ "inviteLink": invite_link(invite) }))
}

/// Sets the dates and states of the seeded invitations, by address.
pub(crate) fn apply_history(store: &mut Store) {
    let now = store.clock.unix_seconds();
    let days_ago = |days: u64| Value::from(clock::format_timestamp(now - days * SECONDS_PER_DAY));
    let in_days = |days: u64| Value::from(clock::format_timestamp(now + days * SECONDS_PER_DAY));
    for (email, field, value) in [
        ("new-analyst@example.com", "created_at", days_ago(1)),
        (
            "new-analyst@example.com",
            "expires_at",
            in_days(INVITE_VALID_DAYS - 1),
        ),
        ("former-intern@example.com", "status", "expired".into()),
        ("former-intern@example.com", "created_at", days_ago(31)),
        (
            "former-intern@example.com",
            "expires_at",
            days_ago(31 - INVITE_VALID_DAYS),
        ),
        ("agency-partner@example.com", "status", "cancelled".into()),
        ("agency-partner@example.com", "created_at", days_ago(10)),
        (
            "agency-partner@example.com",
            "expires_at",
            days_ago(10 - INVITE_VALID_DAYS),
        ),
    ] {
        let invite = store
            .all(INVITES.organisation_collection())
            .find(|invite| text(invite, "email") == email);
        let Some(id) = invite.map(item_id) else {
            continue;
        };
        if let Some(invite) = store.find_mut(INVITES.organisation_collection(), &id) {
            invite.insert(field.to_owned(), value);
        }
    }
}

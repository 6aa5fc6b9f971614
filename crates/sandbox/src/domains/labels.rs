//! Labels: names for versions of prompts, defined by the organisation or by a workspace.

use serde_json::Value;

use super::common_fields::BY_SEARCH;
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    field::{Field, FieldType},
    page::{Envelope, Paging},
    resource::{Hooks, ListFilter, ListSettings, LookupKey, PendingWrite, Resource},
    route::{ApiVersion, Domain},
    store::{Item, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[&LABELS],
    routes: &[],
};

static LABELS: Resource = Resource {
    lookup_key: LookupKey::Id,
    fields: &[
        Field::new("name", FieldType::Name).required(),
        Field::new("description", FieldType::Text),
        Field::new("color_code", FieldType::Text),
        Field::new("workspace_id", FieldType::Workspace)
            .nullable()
            .immutable(),
    ],
    derived_fields: &[("is_universal", |_, _, label| {
        Some(is_universal(label).into())
    })],
    list: ListSettings {
        paging: Paging::zero_based(100, usize::MAX),
        envelope: Envelope {
            includes_object: false,
            includes_has_more: false,
        },
        filters: &[
            BY_SEARCH,
            ListFilter {
                param: "workspace_id",
                kind: FieldType::Workspace,
                predicate: Some(|_, label, asked| {
                    is_universal(label) || label.get("workspace_id") == Some(asked)
                }),
            },
        ],
        item_fields: SHOWN,
    },
    read_fields: SHOWN,
    create_fields: &["id"],
    hooks: Hooks {
        before_write: prepare_write,
        ..Hooks::NONE
    },
    ..Resource::new("labels", "label", "/labels")
};

const SHOWN: &[&str] = &[
    "id",
    "name",
    "description",
    "color_code",
    "organisation_id",
    "workspace_id",
    "is_universal",
    "created_at",
    "last_updated_at",
    "status",
];

/// Returns the label with this id.
pub(super) fn find<'s>(store: &'s Store, id: &str) -> Option<&'s Item> {
    store
        .find(LABELS.organisation_collection(), id)
        .filter(|label| text(label, "id") == id)
}

/// Returns true if all workspaces have the label.
fn is_universal(label: &Item) -> bool {
    !label.get("workspace_id").is_some_and(Value::is_string)
}

fn prepare_write(store: &Store, _: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    let change = draft.change;
    if draft.before.is_none() {
        change.insert("status".to_owned(), "active".into());
    }
    let Some(name) = change.get("name").and_then(Value::as_str) else {
        return Ok(());
    };
    if let Some(why) = find_name_problem(name) {
        return Err(ApiError::invalid_field("name", why));
    }
    let place = text(draft.before.unwrap_or(change), "workspace_id");
    let own = draft.before.map(item_id);
    let mut others = store
        .all(LABELS.organisation_collection())
        .filter(|other| Some(item_id(other)) != own);
    match others.any(|other| text(other, "name") == name && text(other, "workspace_id") == place) {
        true => Err(ApiError::Conflict(format!(
            "There is already a label called `{name}`"
        ))),
        false => Ok(()),
    }
}

/// Returns the problem with a name, if any. Names with a meaning for versions are reserved.
fn find_name_problem(name: &str) -> Option<&'static str> {
    if ["latest", "default"].contains(&name) || name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some("cannot be latest, default or a number");
    }
    let usual = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut odd = name.chars().filter(|&c| !usual(c));
    match (odd.next(), odd.next()) {
        (None, _) => None,
        (Some(c), None) if c != '@' && !c.is_whitespace() => None,
        _ => Some("must be made of letters, digits, `-` and `_`"),
    }
}

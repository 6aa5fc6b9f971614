//! Labels: names for versions of prompts, defined by the organisation or by a workspace.

use serde_json::Value;

use super::parts::BY_SEARCH;
use crate::{
    call::{Call, id_of},
    field::{Field, Kind},
    page::{Envelope, Paging},
    refusal::Refusal,
    resource::{Draft, Filter, FoundBy, Hooks, Listing, Resource},
    route::{Domain, Version},
    store::{Item, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1],
    resources: &[&LABELS],
    routes: &[],
};

static LABELS: Resource = Resource {
    found_by: FoundBy::Id,
    fields: &[
        Field::new("name", Kind::Name).required(),
        Field::new("description", Kind::Text),
        Field::new("color_code", Kind::Text),
        Field::new("workspace_id", Kind::Workspace)
            .nullable()
            .fixed(),
    ],
    derived: &[("is_universal", |_, _, label| {
        Some(is_universal(label).into())
    })],
    list: Listing {
        paging: Paging::zero_based(100, usize::MAX),
        envelope: Envelope {
            object: false,
            has_more: false,
        },
        filters: &[
            BY_SEARCH,
            Filter {
                param: "workspace_id",
                kind: Kind::Workspace,
                keeps: Some(|_, label, asked| {
                    is_universal(label) || label.get("workspace_id") == Some(asked)
                }),
            },
        ],
        shows: SHOWN,
    },
    reads: SHOWN,
    creates: &["id"],
    hooks: Hooks {
        admit,
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
        .find(LABELS.shared(), id)
        .filter(|label| text(label, "id") == id)
}

/// Returns true if all workspaces have the label.
fn is_universal(label: &Item) -> bool {
    !label.get("workspace_id").is_some_and(Value::is_string)
}

fn admit(store: &Store, _: &Call, draft: Draft<'_>) -> Result<(), Refusal> {
    let change = draft.change;
    if draft.before.is_none() {
        change.insert("status".to_owned(), "active".into());
    }
    let Some(name) = change.get("name").and_then(Value::as_str) else {
        return Ok(());
    };
    if let Some(why) = unfit(name) {
        return Err(Refusal::field("name", why));
    }
    let place = text(draft.before.unwrap_or(change), "workspace_id");
    let own = draft.before.map(id_of);
    let mut others = store
        .all(LABELS.shared())
        .filter(|other| Some(id_of(other)) != own);
    match others.any(|other| text(other, "name") == name && text(other, "workspace_id") == place) {
        true => Err(Refusal::Conflict(format!(
            "There is already a label called `{name}`"
        ))),
        false => Ok(()),
    }
}

/// Returns the problem with a name, if any. Names with a meaning for versions are reserved.
fn unfit(name: &str) -> Option<&'static str> {
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

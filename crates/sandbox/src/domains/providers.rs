//! Providers: an integration as one workspace uses it, with its own limits.
//!
//! A provider works while its integration exists and is enabled for its workspace. Both are checked
//! on each read, so changes take effect immediately in both directions. An integration in use can
//! be deleted: its providers stay and stop working.

use serde_json::Value;

use super::{
    integrations::{self, INTEGRATIONS},
    parts::{BY_TAGS, RATE_LIMITS, USAGE_LIMIT},
};
use crate::{
    call::{Call, id_of},
    crud,
    field::{Field, Kind},
    mask::mask_settings,
    page::{Envelope, Paging},
    refusal::Refusal,
    resource::{Draft, Hooks, Listing, Owner, Resource},
    route::{Domain, Version},
    store::{Item, ORGANISATION, Shelf, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1],
    resources: &[&PROVIDERS],
    routes: &[],
};

/// Private field with the id of the integration, because its slug may be reused.
const INTEGRATION: &str = "integration";

/// Note of a provider that was created with access to an integration.
const GRANT_NOTE: &str = "Created automatically on integration access grant";

pub(super) static PROVIDERS: Resource = Resource {
    owner: Owner::Workspace,
    fields: &[
        Field::new("name", Kind::Name).required(),
        Field::new("integration_id", Kind::Name).required().fixed(),
        Field::new("workspace_id", Kind::Workspace).fixed(),
        Field::new("slug", Kind::Slug).fixed(),
        Field::new("note", Kind::Text).nullable_at_first(),
        Field::new("usage_limits", Kind::Shape(&USAGE_LIMIT)),
        Field::new("rate_limits", Kind::ListOrOne(&RATE_LIMITS)),
        Field::new("expires_at", Kind::Instant).nullable(),
        Field::new("reset_usage", Kind::Flag),
        Field::new("tags", Kind::Labels),
    ],
    derived: &[
        ("status", |store, _, provider| Some(status(store, provider))),
        ("configurations", configurations),
    ],
    list: Listing {
        paging: Paging::zero_based(50, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[BY_TAGS],
        shows: &[
            "id",
            "name",
            "integration_id",
            "note",
            "status",
            "usage_limits",
            "reset_usage",
            "created_at",
            "slug",
            "rate_limits",
            "expires_at",
            "tags",
            "object",
        ],
    },
    reads: &[
        "id",
        "name",
        "integration_id",
        "note",
        "status",
        "usage_limits",
        "reset_usage",
        "created_at",
        "slug",
        "rate_limits",
        "expires_at",
        "tags",
        "configurations",
        "object",
    ],
    updates: &["id", "slug"],
    hooks: Hooks {
        admit,
        ..Hooks::NONE
    },
    ..Resource::new("providers", "provider", "/providers")
};

/// Returns the collection of a workspace's providers.
pub(super) fn shelf(workspace: &str) -> Shelf<'_> {
    PROVIDERS.shelf(workspace)
}

/// Rejects the slug of a default provider if another provider has it.
pub(super) fn check_default(
    store: &Store,
    integration: &Item,
    workspace: &str,
    slug: &str,
) -> Result<(), Refusal> {
    match store.find(shelf(workspace), slug) {
        Some(_) if !has_one(store, integration, workspace) => Err(Refusal::Conflict(format!(
            "The workspace has a provider called `{slug}` already"
        ))),
        _ => Ok(()),
    }
}

fn has_one(store: &Store, integration: &Item, workspace: &str) -> bool {
    let id = text(integration, "id");
    store
        .all(shelf(workspace))
        .any(|provider| text(provider, INTEGRATION) == id)
}

/// Creates the default provider for a workspace with new access to an integration, unless it has
/// one.
pub(super) fn create_default(store: &mut Store, integration: &Item, workspace: &str, slug: &str) {
    if has_one(store, integration, workspace) {
        return;
    }
    let wanted = if slug.is_empty() {
        text(integration, "slug")
    } else {
        slug
    };
    let slug = store
        .find(shelf(workspace), wanted)
        .is_none()
        .then_some(("slug", wanted));
    let fields = [
        ("name", text(integration, "name")),
        ("integration_id", text(integration, "slug")),
        ("workspace_id", workspace),
        ("note", GRANT_NOTE),
    ];
    let fields = fields.into_iter().chain(slug);
    let body = fields
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    // Failures are not expected: the workspace has access and the slug is free.
    if let Err(refusal) = crud::create(
        &PROVIDERS,
        store,
        &Call {
            body,
            ..Call::default()
        },
    ) {
        tracing::warn!(%refusal, "no default provider");
    }
}

fn admit(store: &Store, call: &Call, draft: Draft<'_>) -> Result<(), Refusal> {
    let change = draft.change;
    if let Some(before) = draft.before {
        let revived = match text(before, "status") {
            "exhausted" => change
                .get("reset_usage")
                .is_some_and(|reset| *reset == true),
            "expired" => change.contains_key("expires_at"),
            _ => false,
        };
        if revived {
            change.insert("status".to_owned(), "active".into());
        }
    } else {
        let workspace = call.workspace(store)?;
        let named = text(change, "integration_id");
        let integration = INTEGRATIONS.find(store, ORGANISATION, named)?;
        if !integrations::is_open(store, integration, &workspace) {
            let slug = text(integration, "slug");
            let text = format!("Integration `{slug}` is not enabled for this workspace");
            return Err(Refusal::Forbidden(text));
        }
        change.insert(INTEGRATION.to_owned(), id_of(integration).into());
        change.insert("workspace_id".to_owned(), workspace.into());
        change.insert("status".to_owned(), "active".into());
    }
    // Resetting is an action and is not stored.
    change.remove("reset_usage");
    Ok(())
}

/// Returns the integration of a provider, unless it has been deleted.
pub(super) fn integration<'s>(store: &'s Store, provider: &Item) -> Option<&'s Item> {
    store.find(INTEGRATIONS.shared(), text(provider, INTEGRATION))
}

/// Returns the state of a provider, which depends on its integration.
pub(super) fn status(store: &Store, provider: &Item) -> Value {
    let works = integration(store, provider).is_some_and(|integration| {
        integrations::is_open(store, integration, text(provider, "workspace_id"))
    });
    match works {
        true => text(provider, "status").into(),
        false => "expired".into(),
    }
}

/// Returns the integration's settings with masked secrets, if requested.
fn configurations(store: &Store, call: &Call, provider: &Item) -> Option<Value> {
    call.query("include_configurations")
        .filter(|asked| *asked == "true")?;
    let integration = integration(store, provider)?;
    let settings = integration.get("configurations")?.as_object()?;
    Some(Value::Object(mask_settings(settings, INTEGRATIONS.secrets)))
}

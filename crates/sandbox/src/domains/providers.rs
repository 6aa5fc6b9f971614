//! Providers: an integration as one workspace uses it, with its own limits.
//!
//! A provider works while its integration exists and is enabled for its workspace. Both are checked
//! on each read, so changes take effect immediately in both directions. An integration in use can
//! be deleted: its providers stay and stop working.

use serde_json::Value;

use super::{
    common_fields::{BY_TAGS, LAST_USED, RATE_LIMITS, USAGE_LIMIT},
    integrations::{self, INTEGRATIONS},
};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud,
    field::{Field, FieldType},
    mask::mask_settings,
    page::{Envelope, Paging},
    resource::{Hooks, ListSettings, PendingWrite, Resource, ResourceOwner},
    route::{ApiVersion, Domain},
    store::{CollectionKey, Item, ORGANISATION, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[&PROVIDERS],
    routes: &[],
};

/// Private field with the id of the integration, because its slug may be reused.
const INTEGRATION_FIELD: &str = "integration";

/// Note of a provider that was created with access to an integration.
const GRANT_NOTE: &str = "Created automatically on integration access grant";

pub(super) static PROVIDERS: Resource = Resource {
    owner: ResourceOwner::Workspace,
    fields: &[
        Field::new("name", FieldType::Name).required(),
        Field::new("integration_id", FieldType::Name)
            .required()
            .immutable(),
        Field::new("workspace_id", FieldType::Workspace).immutable(),
        Field::new("slug", FieldType::Slug).immutable(),
        Field::new("note", FieldType::Text).nullable_on_create(),
        Field::new("usage_limits", FieldType::Object(&USAGE_LIMIT)),
        Field::new("rate_limits", FieldType::ListOrItem(&RATE_LIMITS)).nullable(),
        Field::new("expires_at", FieldType::Timestamp).nullable(),
        Field::new("reset_usage", FieldType::Bool),
        Field::new("tags", FieldType::Labels).nullable(),
    ],
    derived_fields: &[
        LAST_USED,
        ("status", |store, _, provider| Some(status(store, provider))),
        ("configurations", configurations),
    ],
    list: ListSettings {
        paging: Paging::zero_based(50, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[BY_TAGS],
        item_fields: &[
            LAST_USED.0,
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
    read_fields: &[
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
    update_fields: &["id", "slug"],
    hooks: Hooks {
        before_write: prepare_write,
        ..Hooks::NONE
    },
    ..Resource::new("providers", "provider", "/providers")
};

/// Returns the collection of a workspace's providers.
pub(super) fn collection_key(workspace: &str) -> CollectionKey<'_> {
    PROVIDERS.collection_key(workspace)
}

/// Rejects the slug of a default provider if another provider has it.
pub(super) fn check_default_slug(
    store: &Store,
    integration: &Item,
    workspace: &str,
    slug: &str,
) -> Result<(), ApiError> {
    match store.find(collection_key(workspace), slug) {
        Some(_) if !has_provider(store, integration, workspace) => Err(ApiError::Conflict(
            format!("The workspace has a provider called `{slug}` already"),
        )),
        _ => Ok(()),
    }
}

fn has_provider(store: &Store, integration: &Item, workspace: &str) -> bool {
    let id = text(integration, "id");
    store
        .all(collection_key(workspace))
        .any(|provider| text(provider, INTEGRATION_FIELD) == id)
}

/// Creates the default provider for a workspace with new access to an integration, unless it has
/// one.
pub(super) fn create_default(store: &mut Store, integration: &Item, workspace: &str, slug: &str) {
    if has_provider(store, integration, workspace) {
        return;
    }
    let wanted = if slug.is_empty() {
        text(integration, "slug")
    } else {
        slug
    };
    let slug = store
        .find(collection_key(workspace), wanted)
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
        &ApiCall {
            body,
            ..ApiCall::default()
        },
    ) {
        tracing::warn!(%refusal, "no default provider");
    }
}

fn prepare_write(store: &Store, call: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
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
        let workspace = call.workspace_id(store)?;
        let named = text(change, "integration_id");
        let integration = INTEGRATIONS.find(store, ORGANISATION, named)?;
        if !integrations::has_access(store, integration, &workspace) {
            let slug = text(integration, "slug");
            let text = format!("Integration `{slug}` is not enabled for this workspace");
            return Err(ApiError::Forbidden(text));
        }
        change.insert(INTEGRATION_FIELD.to_owned(), item_id(integration).into());
        change.insert("workspace_id".to_owned(), workspace.into());
        change.insert("status".to_owned(), "active".into());
    }
    // Resetting is an action and is not stored.
    change.remove("reset_usage");
    Ok(())
}

/// Returns the integration of a provider, unless it has been deleted.
pub(super) fn find_integration<'s>(store: &'s Store, provider: &Item) -> Option<&'s Item> {
    store.find(
        INTEGRATIONS.organisation_collection(),
        text(provider, INTEGRATION_FIELD),
    )
}

/// Returns the state of a provider, which depends on its integration.
pub(super) fn status(store: &Store, provider: &Item) -> Value {
    let works = find_integration(store, provider).is_some_and(|integration| {
        integrations::has_access(store, integration, text(provider, "workspace_id"))
    });
    match works {
        true => text(provider, "status").into(),
        false => "expired".into(),
    }
}

/// Returns the integration's settings with masked secrets, if requested.
fn configurations(store: &Store, call: &ApiCall, provider: &Item) -> Option<Value> {
    call.query("include_configurations")
        .filter(|asked| *asked == "true")?;
    let integration = find_integration(store, provider)?;
    let settings = integration.get("configurations")?.as_object()?;
    Some(Value::Object(mask_settings(
        settings,
        INTEGRATIONS.secret_fields,
    )))
}

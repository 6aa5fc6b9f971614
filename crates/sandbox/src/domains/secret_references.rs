//! Secret references: pointers into a secret manager, with masked credentials for it.

use serde_json::Value;

use super::common_fields::{BY_SEARCH, BY_TAGS, merge_object};
use crate::{
    api_error::ApiError,
    call::ApiCall,
    crud::{self, ApiResult},
    field::{DefaultValue, Field, FieldType, ListSchema},
    page::{Envelope, Paging},
    resource::{CrudAction, Hooks, ListFilter, ListSettings, PendingWrite, Resource},
    route::{ApiVersion, Domain, post},
    store::{CollectionKey, Item, ORGANISATION, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[&SECRET_REFERENCES],
    routes: &[post("/secret-references", create)],
};

/// Maximum length of the description and the path, in characters.
const MAX_TEXT_CHARS: usize = 1024;

const MANAGER: FieldType = FieldType::Enum(&["aws_sm", "azure_kv", "hashicorp_vault"]);

static SECRET_REFERENCES: Resource = Resource {
    // Creation has its own route, because a taken slug is an invalid field here and not a conflict.
    actions: &[
        CrudAction::List,
        CrudAction::Get,
        CrudAction::Update,
        CrudAction::Delete,
    ],
    fields: &[
        Field::new("name", FieldType::Name).required(),
        Field::new("slug", FieldType::Slug).immutable(),
        Field::new("description", FieldType::Text).nullable(),
        Field::new("manager_type", MANAGER).required().immutable(),
        Field::new("auth_config", FieldType::AnyObject).required(),
        Field::new("secret_path", FieldType::Text).required(),
        Field::new("secret_key", FieldType::Name).nullable(),
        Field::new(ALL_WORKSPACES, FieldType::Bool),
        Field::new(SOME_WORKSPACES, FieldType::List(&WORKSPACES)),
        Field::new("tags", FieldType::Labels)
            .nullable()
            .with_default(DefaultValue::EmptyObject),
    ],
    secret_fields: &[
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_role_arn",
        "aws_external_id",
        "azure_entra_client_secret",
        "vault_token",
        "vault_secret_id",
    ],
    derived_fields: &[(SOME_WORKSPACES, |_, _, item| {
        item.get(SOME_WORKSPACES)
            .filter(|list| list.is_array())
            .cloned()
    })],
    list: ListSettings {
        paging: Paging::zero_based(20, 100),
        envelope: Envelope::LIST,
        filters: &[
            ListFilter::equals("manager_type", MANAGER),
            BY_TAGS,
            ListFilter {
                kind: FieldType::Name,
                ..BY_SEARCH
            },
        ],
        item_fields: &[
            "id",
            "name",
            "slug",
            "manager_type",
            "status",
            "created_at",
            "last_updated_at",
            "object",
        ],
    },
    read_fields: &[
        "id",
        "organisation_id",
        "name",
        "slug",
        "description",
        "manager_type",
        "secret_path",
        "secret_key",
        ALL_WORKSPACES,
        SOME_WORKSPACES,
        "tags",
        "status",
        "created_by",
        "created_at",
        "last_updated_at",
        "auth_config",
        "object",
    ],
    create_fields: &["id", "slug", "object"],
    hooks: Hooks {
        before_write: prepare_write,
        before_delete: check_removal,
        ..Hooks::NONE
    },
    ..Resource::new(
        "secret-references",
        "secret-reference",
        "/secret-references",
    )
};

const ALL_WORKSPACES: &str = "allow_all_workspaces";
const SOME_WORKSPACES: &str = "allowed_workspaces";

static WORKSPACES: ListSchema = ListSchema {
    min_items: 1,
    ..ListSchema::new(FieldType::Workspace)
};

/// Authentication methods: manager, the setting that selects the method, its value, and the
/// required settings.
const AUTH_METHODS: &[(&str, &str, &str, &[&str])] = &[
    (
        "aws_sm",
        "aws_auth_type",
        "accessKey",
        &["aws_access_key_id", "aws_secret_access_key", "aws_region"],
    ),
    (
        "aws_sm",
        "aws_auth_type",
        "assumedRole",
        &["aws_role_arn", "aws_region"],
    ),
    ("aws_sm", "aws_auth_type", "serviceRole", &[]),
    (
        "azure_kv",
        "azure_auth_mode",
        "entra",
        &[
            "azure_entra_tenant_id",
            "azure_entra_client_id",
            "azure_entra_client_secret",
            "azure_vault_url",
        ],
    ),
    (
        "azure_kv",
        "azure_auth_mode",
        "managed",
        &["azure_vault_url"],
    ),
    (
        "azure_kv",
        "azure_auth_mode",
        "default",
        &["azure_vault_url"],
    ),
    (
        "hashicorp_vault",
        "vault_auth_type",
        "token",
        &["vault_addr", "vault_token"],
    ),
    (
        "hashicorp_vault",
        "vault_auth_type",
        "approle",
        &["vault_addr", "vault_role_id", "vault_secret_id"],
    ),
    (
        "hashicorp_vault",
        "vault_auth_type",
        "kubernetes",
        &["vault_addr", "vault_role"],
    ),
];

fn create(store: &mut Store, call: &ApiCall) -> ApiResult {
    let slug = text(&call.body, "slug");
    if !slug.is_empty()
        && store
            .find(SECRET_REFERENCES.organisation_collection(), slug)
            .is_some()
    {
        return Err(ApiError::invalid_field(
            "slug",
            "is taken by another secret reference",
        ));
    }
    crud::create(&SECRET_REFERENCES, store, call)
}

fn prepare_write(_: &Store, _: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    let before = draft.before;
    let change = draft.change;
    for name in ["description", "secret_path"] {
        if text(change, name).chars().count() > MAX_TEXT_CHARS {
            return Err(ApiError::invalid_field(
                name,
                "must have 1024 characters at most",
            ));
        }
    }
    merge_object(before, change, "auth_config");
    let manager = before.map_or_else(|| text(change, "manager_type"), |i| text(i, "manager_type"));
    if let Some(settings) = change.get("auth_config").and_then(Value::as_object) {
        check_auth_method(manager, settings)?;
    }
    set_allowed_workspaces(before, change)?;
    if before.is_none() {
        change.insert("status".to_owned(), "ACTIVE".into());
        change.insert("created_by".to_owned(), "system".into());
    }
    Ok(())
}

fn check_auth_method(manager: &str, settings: &Item) -> Result<(), ApiError> {
    let chosen = AUTH_METHODS.iter().find(|(of, chooser, word, _)| {
        *of == manager && settings.get(*chooser).is_some_and(|given| given == word)
    });
    let Some((_, _, word, required)) = chosen else {
        let why = format!("names no way to sign in to {manager}");
        return Err(ApiError::invalid_field("auth_config", why));
    };
    let given = |name: &str| settings.get(name).is_some_and(Value::is_string);
    match required.iter().find(|name| !given(name)) {
        Some(name) => {
            let path = format!("auth_config.{name}");
            Err(ApiError::invalid_field(
                &path,
                format_args!("is required for {word}"),
            ))
        }
        None => Ok(()),
    }
}

/// Validates and sets the allowed workspaces: all, or a list with at least one.
fn set_allowed_workspaces(before: Option<&Item>, change: &mut Item) -> Result<(), ApiError> {
    let all = change.get(ALL_WORKSPACES).and_then(Value::as_bool);
    let listed = change.contains_key(SOME_WORKSPACES);
    let had_list = before
        .and_then(|item| item.get(SOME_WORKSPACES))
        .is_some_and(Value::is_array);
    match (all, listed) {
        (Some(true), true) => {
            return Err(ApiError::invalid_field(
                SOME_WORKSPACES,
                "cannot be with allow_all_workspaces",
            ));
        }
        (Some(false), false) if !had_list => {
            return Err(ApiError::invalid_field(
                SOME_WORKSPACES,
                "is required without allow_all_workspaces",
            ));
        }
        (Some(true), false) => {
            change.insert(SOME_WORKSPACES.to_owned(), Value::Null);
        }
        (_, true) => {
            change.insert(ALL_WORKSPACES.to_owned(), false.into());
        }
        (None, false) if before.is_none() => {
            change.insert(ALL_WORKSPACES.to_owned(), true.into());
        }
        _ => {}
    }
    Ok(())
}

/// Checks that the mapped secret references exist and are available to the item's workspace, if it
/// has one (`openapi.yaml`, `SecretMapping`).
pub(super) fn check_mappings(
    store: &Store,
    before: Option<&Item>,
    change: &Item,
) -> Result<(), ApiError> {
    let workspace = text(before.unwrap_or(change), "workspace_id");
    let mappings = change
        .get("secret_mappings")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    for mapping in mappings.filter_map(Value::as_object) {
        let handle = text(mapping, "secret_reference_id");
        let reference = SECRET_REFERENCES.find(store, ORGANISATION, handle)?;
        let allowed = reference.get(SOME_WORKSPACES).and_then(Value::as_array);
        let is_open = allowed.is_none_or(|allowed| allowed.iter().any(|id| id == workspace));
        if !is_open && !workspace.is_empty() {
            let text = format!("Secret reference `{handle}` is not open to this workspace");
            return Err(ApiError::Forbidden(text));
        }
    }
    Ok(())
}

/// Rejects the removal of a reference that is in use.
fn check_removal(store: &Store, _: &ApiCall, reference: &Item) -> Result<(), ApiError> {
    let names = [text(reference, "id"), text(reference, "slug")];
    for kind in ["integrations", "mcp-integrations", "virtual-keys"] {
        let user = store
            .all(CollectionKey {
                kind,
                owner: ORGANISATION,
            })
            .find(|item| {
                let mappings = item.get("secret_mappings").and_then(Value::as_array);
                mappings.into_iter().flatten().any(|mapping| {
                    let named = mapping.get("secret_reference_id").and_then(Value::as_str);
                    named.is_some_and(|named| names.contains(&named))
                })
            });
        if let Some(user) = user {
            let slug = text(user, "slug");
            return Err(ApiError::Invalid(format!(
                "The secret reference is in use by `{slug}`"
            )));
        }
    }
    Ok(())
}

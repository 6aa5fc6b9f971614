//! Secret references: pointers into a secret manager, with masked credentials for it.

use serde_json::Value;

use super::parts::{BY_SEARCH, BY_TAGS, merge_object};
use crate::{
    call::Call,
    crud::{self, Outcome},
    field::{Field, Kind, List, Preset},
    page::{Envelope, Paging},
    refusal::Refusal,
    resource::{Draft, Filter, Hooks, Listing, Resource, Verb},
    route::{Domain, Version, post},
    store::{Item, ORGANISATION, Shelf, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1],
    resources: &[&SECRET_REFERENCES],
    routes: &[post("/secret-references", create)],
};

/// Maximum length of the description and the path, in characters.
const LONGEST: usize = 1024;

const MANAGER: Kind = Kind::Choice(&["aws_sm", "azure_kv", "hashicorp_vault"]);

static SECRET_REFERENCES: Resource = Resource {
    // Creation has its own route, because a taken slug is an invalid field here and not a conflict.
    verbs: &[Verb::List, Verb::Get, Verb::Update, Verb::Delete],
    fields: &[
        Field::new("name", Kind::Name).required(),
        Field::new("slug", Kind::Slug).fixed(),
        Field::new("description", Kind::Text).nullable(),
        Field::new("manager_type", MANAGER).required().fixed(),
        Field::new("auth_config", Kind::Object).required(),
        Field::new("secret_path", Kind::Text).required(),
        Field::new("secret_key", Kind::Name).nullable(),
        Field::new(ALL_WORKSPACES, Kind::Flag),
        Field::new(SOME_WORKSPACES, Kind::List(&WORKSPACES)),
        Field::new("tags", Kind::Labels)
            .nullable()
            .preset(Preset::EmptyObject),
    ],
    secrets: &[
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_role_arn",
        "aws_external_id",
        "azure_entra_client_secret",
        "vault_token",
        "vault_secret_id",
    ],
    derived: &[(SOME_WORKSPACES, |_, _, item| {
        item.get(SOME_WORKSPACES)
            .filter(|list| list.is_array())
            .cloned()
    })],
    list: Listing {
        paging: Paging::zero_based(20, 100),
        envelope: Envelope::LIST,
        filters: &[
            Filter::same("manager_type", MANAGER),
            BY_TAGS,
            Filter {
                kind: Kind::Name,
                ..BY_SEARCH
            },
        ],
        shows: &[
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
    reads: &[
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
    creates: &["id", "slug", "object"],
    hooks: Hooks {
        admit,
        release,
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

static WORKSPACES: List = List {
    least: 1,
    ..List::of(Kind::Workspace)
};

/// Authentication methods: manager, the setting that selects the method, its value, and the
/// required settings.
const SIGN_INS: &[(&str, &str, &str, &[&str])] = &[
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

fn create(store: &mut Store, call: &Call) -> Outcome {
    let slug = text(&call.body, "slug");
    if !slug.is_empty() && store.find(SECRET_REFERENCES.shared(), slug).is_some() {
        return Err(Refusal::field(
            "slug",
            "is taken by another secret reference",
        ));
    }
    crud::create(&SECRET_REFERENCES, store, call)
}

fn admit(_: &Store, _: &Call, draft: Draft<'_>) -> Result<(), Refusal> {
    let (before, change) = (draft.before, draft.change);
    for name in ["description", "secret_path"] {
        if text(change, name).chars().count() > LONGEST {
            return Err(Refusal::field(name, "must have 1024 characters at most"));
        }
    }
    merge_object(before, change, "auth_config");
    let manager = before.map_or_else(|| text(change, "manager_type"), |i| text(i, "manager_type"));
    if let Some(settings) = change.get("auth_config").and_then(Value::as_object) {
        check_sign_in(manager, settings)?;
    }
    open_to(before, change)?;
    if before.is_none() {
        change.insert("status".to_owned(), "ACTIVE".into());
        change.insert("created_by".to_owned(), "system".into());
    }
    Ok(())
}

fn check_sign_in(manager: &str, settings: &Item) -> Result<(), Refusal> {
    let chosen = SIGN_INS.iter().find(|(of, chooser, word, _)| {
        *of == manager && settings.get(*chooser).is_some_and(|given| given == word)
    });
    let Some((_, _, word, required)) = chosen else {
        let why = format!("names no way to sign in to {manager}");
        return Err(Refusal::field("auth_config", why));
    };
    let given = |name: &str| settings.get(name).is_some_and(Value::is_string);
    match required.iter().find(|name| !given(name)) {
        Some(name) => {
            let path = format!("auth_config.{name}");
            Err(Refusal::field(
                &path,
                format_args!("is required for {word}"),
            ))
        }
        None => Ok(()),
    }
}

/// Validates and sets the allowed workspaces: all, or a list with at least one.
fn open_to(before: Option<&Item>, change: &mut Item) -> Result<(), Refusal> {
    let all = change.get(ALL_WORKSPACES).and_then(Value::as_bool);
    let listed = change.contains_key(SOME_WORKSPACES);
    let had_list = before
        .and_then(|item| item.get(SOME_WORKSPACES))
        .is_some_and(Value::is_array);
    match (all, listed) {
        (Some(true), true) => {
            return Err(Refusal::field(
                SOME_WORKSPACES,
                "cannot be with allow_all_workspaces",
            ));
        }
        (Some(false), false) if !had_list => {
            return Err(Refusal::field(
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
) -> Result<(), Refusal> {
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
            return Err(Refusal::Forbidden(text));
        }
    }
    Ok(())
}

/// Rejects the removal of a reference that is in use.
fn release(store: &Store, _: &Call, reference: &Item) -> Result<(), Refusal> {
    let names = [text(reference, "id"), text(reference, "slug")];
    for kind in ["integrations", "mcp-integrations", "virtual-keys"] {
        let user = store
            .all(Shelf {
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
            return Err(Refusal::Invalid(format!(
                "The secret reference is in use by `{slug}`"
            )));
        }
    }
    Ok(())
}

//! Workspaces: the teams of the organisation, which share its integrations.

use serde_json::{Value, json};

use super::{
    common_fields::{RATE_LIMITS, USAGE, USAGE_LIMITS},
    configs, guardrails, users, workspace_members as members,
};
use crate::{
    api_error::ApiError,
    call::ApiCall,
    cascade,
    crud::{self, ApiResult},
    field::{DefaultValue, Field, FieldType, ListSchema, ObjectSchema},
    page::{Envelope, Paging},
    resource::{
        CrudAction, Hooks, ListFilter, ListSettings, MissingResponse, PendingWrite, Resource,
    },
    route::{ApiVersion, Domain, get},
    store::{CollectionKey, Item, ORGANISATION, Store, flag, text},
    validation::{self, WriteKind},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1, ApiVersion::V2],
    resources: &[&WORKSPACES],
    routes: &[get("/admin/workspaces/{id}", read)],
};

/// Slug of the default workspace, for calls that name none.
pub(crate) const DEFAULT_SLUG: &str = "ws-shared";

static WORKSPACES: Resource = Resource {
    // Reading has its own route, because it responds 404 for a deleted workspace.
    actions: &[
        CrudAction::List,
        CrudAction::Create,
        CrudAction::Update,
        CrudAction::Delete,
    ],
    missing_response: MissingResponse::Forbidden,
    slug_prefix: "ws-",
    slug_name_length: 6,
    fields: &[
        Field::new("name", FieldType::Name).required(),
        Field::new("description", FieldType::Text),
        Field::new("icon", FieldType::Text).nullable(),
        Field::new("defaults", FieldType::Object(&DEFAULTS)).with_default(DefaultValue::Null),
        Field::new("users", FieldType::List(&USERS)).immutable(),
        Field::new("settings", FieldType::AnyObject),
        Field::new("usage_limits", FieldType::List(&USAGE_LIMITS))
            .nullable()
            .with_default(DefaultValue::Null),
        Field::new("rate_limits", FieldType::List(&RATE_LIMITS))
            .nullable()
            .with_default(DefaultValue::Null),
    ],
    derived_fields: &[
        USAGE,
        ("name", |_, call, workspace| {
            Some(display_name(call, workspace))
        }),
        ("is_default", |_, _, workspace| {
            Some(u8::from(flag(workspace, "is_default")).into())
        }),
        ("icon", |_, _, workspace| Some(icon(workspace))),
        ("security_settings", |_, _, _| Some(security_settings())),
        ("settings", |_, _, workspace| Some(settings(workspace))),
        ("creation_source", |_, _, workspace| {
            Some(
                if flag(workspace, "is_default") {
                    "default"
                } else {
                    "api"
                }
                .into(),
            )
        }),
        ("created_by", |_, _, _| Some(users::OWNER_ID.into())),
        ("users", |store, _, item| {
            Some(members::show_members(store, text(item, "id")))
        }),
    ],
    list: ListSettings {
        paging: Paging::zero_based(50, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[
            ListFilter {
                param: "name",
                kind: FieldType::Text,
                predicate: Some(has_name_part),
            },
            ListFilter {
                param: "exact_name",
                kind: FieldType::Text,
                predicate: Some(|_, workspace, asked| workspace.get("name") == Some(asked)),
            },
            ListFilter {
                param: "status",
                kind: FieldType::EnumList(&["active", "archived"]),
                predicate: Some(|_, workspace, asked| {
                    let mut asked = asked.as_str().unwrap_or_default().split(',');
                    asked.any(|status| status.trim() == text(workspace, "status"))
                }),
            },
        ],
        item_fields: SHOWN,
    },
    read_fields: &[
        USAGE.0,
        "id",
        "name",
        "description",
        "created_at",
        "last_updated_at",
        "is_default",
        "defaults",
        "slug",
        "icon",
        "usage_limits",
        "rate_limits",
        "security_settings",
        "settings",
        "organisation_id",
        "last_reset_at",
        "created_by",
        "creation_source",
        "users",
        "object",
    ],
    create_fields: SHOWN,
    hooks: Hooks {
        before_write: prepare_write,
        before_delete: check_removal,
        after_create: finish_create,
    },
    ..Resource::new("workspaces", "workspace", "/admin/workspaces")
};

const SHOWN: &[&str] = &[
    "id",
    "slug",
    "name",
    "icon",
    "description",
    "created_at",
    "last_updated_at",
    "defaults",
    "is_default",
    "scim_source_id",
    "usage_limits",
    "rate_limits",
    "security_settings",
    "status",
    "object",
];

static USERS: ListSchema = ListSchema::new(FieldType::Name);

static DEFAULTS: ObjectSchema = ObjectSchema::new(&[
    Field::new("metadata", FieldType::Labels),
    guardrails::INPUT,
    guardrails::OUTPUT,
    Field::new("user_api_key_config", FieldType::Name).nullable(),
]);

/// Returns the workspace with an id or slug. A missing workspace is rejected like an inaccessible
/// one.
pub(crate) fn resolve<'s>(store: &'s Store, handle: &str) -> Result<&'s Item, ApiError> {
    WORKSPACES.find(store, ORGANISATION, handle)
}

/// Returns all workspaces.
pub(super) fn all(store: &Store) -> impl Iterator<Item = &Item> {
    store.all(WORKSPACES.organisation_collection())
}

/// Values of `name_format`.
const NAME_FORMAT: FieldType = FieldType::Enum(&["display", "plain"]);

/// Returns the name with the icon as prefix, unless the plain name is requested.
fn display_name(call: &ApiCall, workspace: &Item) -> Value {
    let name = text(workspace, "name");
    match (text(workspace, "icon"), call.query("name_format")) {
        ("", _) | (_, Some("plain")) => name.into(),
        (icon, _) => format!("{icon} {name}").into(),
    }
}

/// Returns the icon, or `null` if there is none or it was removed.
fn icon(workspace: &Item) -> Value {
    match text(workspace, "icon") {
        "" => Value::Null,
        icon => icon.into(),
    }
}

/// Returns the permissions of managers and members in a new organisation.
fn security_settings() -> Value {
    const ROLES: [(&str, bool, &[&str]); 4] = [
        ("managersView", true, VIEWS),
        ("membersView", true, VIEWS),
        ("managersWrite", true, WRITES),
        ("membersWrite", false, WRITES),
    ];
    const VIEWS: &[&str] = &[
        "Logs",
        "AllData",
        "ApiKeys",
        "Configs",
        "Prompts",
        "Analytics",
        "Guardrails",
        "LogMetadata",
        "VirtualKeys",
    ];
    const WRITES: &[&str] = &["ApiKeys", "Configs", "Prompts", "Guardrails", "VirtualKeys"];
    const OTHERS: [&str; 7] = [
        "managersUpdateWs",
        "managersWriteWsUsers",
        "managersWriteMcpServers",
        "managersWriteWsIntegrations",
        "managersWriteWsMcpIntegrations",
        "organisationAdminsViewLogs",
        "organisationAdminsViewLogMetadata",
    ];
    let by_role = ROLES.iter().flat_map(|(role, may, things)| {
        things
            .iter()
            .map(move |thing| (format!("{role}{thing}"), Value::Bool(*may)))
    });
    let others = OTHERS
        .iter()
        .map(|&name| (name.to_owned(), Value::Bool(true)));
    Value::Object(by_role.chain(others).collect())
}

/// Returns the settings of user keys, with those that a call changed; zero means unlimited.
fn settings(workspace: &Item) -> Value {
    let mut settings = json!({
        "debug_log": 0, "user_api_key_ttl": 0, "user_key_metadata": 0, "user_api_key_count": 0,
        "user_api_key_max_ttl": 0, "user_key_metadata_override": 0,
    });
    if let (Some(settings), Some(Value::Object(changed))) =
        (settings.as_object_mut(), workspace.get("settings"))
    {
        settings.extend(changed.clone());
    }
    settings
}

fn has_name_part(_: &Store, workspace: &Item, asked: &Value) -> bool {
    text(workspace, "name").contains(asked.as_str().unwrap_or_default())
}

/// Returns one workspace. Its status is `null` here and set in lists. A deleted workspace yields
/// 404 here, and 403 if a call only refers to it.
fn read(store: &mut Store, call: &ApiCall) -> ApiResult {
    if let Some(format) = call.query("name_format") {
        validation::validate_value(store, NAME_FORMAT, "name_format", &format.into())?;
    }
    let mut shown = crud::get(&WORKSPACES, store, call).map_err(|refusal| {
        let handle = call.handle();
        match store.was_removed(WORKSPACES.kind, handle) {
            true => ApiError::NotFound {
                object: WORKSPACES.object,
                handle: handle.to_owned(),
            },
            false => refusal,
        }
    })?;
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("status".to_owned(), Value::Null);
    }
    Ok(shown)
}

/// Validates a write. An update of `defaults` replaces all previous ones.
fn prepare_write(store: &Store, call: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    if call
        .body
        .get("security_settings")
        .is_some_and(|settings| !settings.is_null())
    {
        return Err(ApiError::Invalid(
            "Workspace override is not enabled".to_owned(),
        ));
    }
    if draft.before.is_none() {
        for user in new_member_ids(draft.change) {
            users::find(store, &user)?;
        }
        draft.change.insert("status".to_owned(), "active".into());
    }
    match draft.change.get("defaults").and_then(Value::as_object) {
        Some(defaults) => check_defaults(store, draft.before, defaults),
        None => Ok(()),
    }
}

/// Checks that the guardrails and the config in the defaults exist, and that the config belongs to
/// the workspace.
fn check_defaults(
    store: &Store,
    workspace: Option<&Item>,
    defaults: &Item,
) -> Result<(), ApiError> {
    guardrails::check_exist(store, defaults)?;
    let Some(Value::String(config)) = defaults.get("user_api_key_config") else {
        return Ok(());
    };
    let place = configs::resolve(store, config)?.get("workspace_id");
    match place == workspace.and_then(|workspace| workspace.get("id")) {
        true => Ok(()),
        false => {
            let why = "is a config of another workspace";
            Err(ApiError::invalid_field("defaults.user_api_key_config", why))
        }
    }
}

/// Returns the ids of the initial members of a new workspace.
fn new_member_ids(workspace: &Item) -> Vec<String> {
    let users = workspace
        .get("users")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    users
        .filter_map(|user| user.as_str().map(str::to_owned))
        .collect()
}

fn finish_create(store: &mut Store, shelf: CollectionKey<'_>, id: &str) {
    let users = store
        .find(shelf, id)
        .map(new_member_ids)
        .unwrap_or_default();
    let members: Vec<_> = users
        .into_iter()
        .map(|user| (user, "member".to_owned()))
        .collect();
    members::add_members(store, id, &members);
}

/// Allows the deletion if the body repeats the name and nothing in the workspace prevents it.
/// `force_delete` is accepted and has no effect.
fn check_removal(store: &Store, call: &ApiCall, workspace: &Item) -> Result<(), ApiError> {
    const CONFIRMATION: &[Field] = &[Field::new("name", FieldType::Name).required()];
    let given = validation::validate_body(store, CONFIRMATION, &call.body, WriteKind::Create)?;
    if text(&given, "name") != text(workspace, "name") {
        return Err(ApiError::invalid_field(
            "name",
            "must repeat the workspace's name",
        ));
    }
    if flag(workspace, "is_default") {
        return Err(ApiError::Invalid(
            "The default workspace cannot be deleted".to_owned(),
        ));
    }
    match cascade::find_workspace_blocker(store, text(workspace, "id")) {
        Some(things) => {
            let text = format!("Unable to delete. Please ensure that all {things} are deleted");
            Err(ApiError::Conflict(text))
        }
        None => Ok(()),
    }
}

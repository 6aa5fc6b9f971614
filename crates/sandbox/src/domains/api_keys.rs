//! API keys. Their secret is returned once, on creation and rotation, and masked afterwards.

use serde_json::{Value, json};

use super::{
    common_fields::{BY_IDS, USAGE, USAGE_LIMIT, merge_object},
    configs,
};
use crate::{
    KEY_PREFIX,
    api_error::ApiError,
    call::{ApiCall, item_id},
    clock,
    crud::{self, ApiResult},
    field::{DefaultValue, Field, FieldType, ListSchema, ObjectSchema},
    mask::mask,
    page::{Envelope, Paging},
    resource::{CrudAction, Hooks, ListFilter, ListSettings, LookupKey, PendingWrite, Resource},
    route::{ApiVersion, Domain, get, post, put},
    store::{Item, ORGANISATION, Store, flag, text},
    validation::{self, WriteKind},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1, ApiVersion::V2],
    resources: &[&API_KEYS],
    routes: &[
        post("/api-keys/{type}/{sub-type}", create),
        get("/api-keys/{id}", |store, call| {
            crud::get(&API_KEYS, store, call)
                .map_err(|refusal| forbid_if_departed(store, call, refusal))
        }),
        put("/api-keys/{id}", |store, call| {
            crud::update(&API_KEYS, store, call)
                .map_err(|refusal| forbid_if_departed(store, call, refusal))
        }),
        post("/api-keys/{id}/rotate", |store, call| {
            rotate(store, call).map_err(|refusal| forbid_if_departed(store, call, refusal))
        }),
    ],
};

/// Private field with the time at which the previous secret stops working.
const TRANSITION_END_FIELD: &str = "key_transition_expires_at";

/// Private field with the previous secret.
const PREVIOUS_KEY_FIELD: &str = "previous_key";

/// Minimum transition period in milliseconds, during which both secrets work; also the default.
const MIN_TRANSITION_MS: i64 = 1_800_000;

static API_KEYS: Resource = Resource {
    // Creation has the type in its path; the others respond 403 for keys of removed users.
    actions: &[CrudAction::List, CrudAction::Delete],
    lookup_key: LookupKey::Id,
    fields: &[
        Field::new("name", FieldType::Name).required(),
        Field::new("description", FieldType::Text),
        Field::new("workspace_id", FieldType::Workspace).immutable(),
        Field::new("user_id", FieldType::Name).immutable(),
        Field::new("scopes", FieldType::List(&SCOPES)).required(),
        Field::new("rate_limits", FieldType::ListOrItem(&RATE_LIMITS))
            .nullable()
            .with_default(DefaultValue::EmptyList),
        Field::new("usage_limits", FieldType::Object(&USAGE_LIMIT)).nullable(),
        Field::new("reset_usage", FieldType::Bool),
        Field::new("defaults", FieldType::Object(&DEFAULTS))
            .with_default(DefaultValue::EmptyObject),
        Field::new("alert_emails", FieldType::List(&EMAILS)).nullable(),
        Field::new("expires_at", FieldType::Timestamp).nullable(),
        Field::new("rotation_policy", FieldType::Object(&ROTATION)).nullable(),
    ],
    derived_fields: &[
        USAGE,
        ("key", |_, _, item| Some(mask(text(item, "key")).into())),
        ("expiry_enforced", |_, _, _| Some(0.into())),
        ("allow_config_override", |_, _, item| {
            Some(override_as_number(item))
        }),
        ("defaults", |_, _, item| Some(show_defaults(item))),
        // Present only when a single key is read.
        ("next_usage_reset_at", |_, call, item| {
            let next = item
                .get("usage_limits")
                .and_then(|limits| limits.get("next_usage_reset_at"));
            (!call.handle().is_empty()).then(|| next.cloned().unwrap_or_default())
        }),
        ("rotation_policy", |_, _, item| {
            item.get("rotation_policy")
                .filter(|policy| !policy.is_null())
                .cloned()
        }),
    ],
    list: ListSettings {
        paging: Paging::zero_based(100, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[
            ListFilter::equals("workspace_id", FieldType::Workspace),
            BY_IDS,
            ListFilter {
                param: "status",
                kind: FieldType::EnumList(&["active", "exhausted", "expired"]),
                predicate: Some(|_, key, asked| {
                    let mut states = asked.as_str().unwrap_or_default().split(',');
                    states.any(|state| state.trim() == text(key, "status"))
                }),
            },
        ],
        item_fields: SHOWN,
    },
    read_fields: SHOWN,
    create_fields: &["id", "object"],
    hooks: Hooks {
        before_write: prepare_write,
        ..Hooks::NONE
    },
    ..Resource::new("api-keys", "api-key", "/api-keys")
};

const SHOWN: &[&str] = &[
    USAGE.0,
    "id",
    "key",
    "name",
    "description",
    "type",
    "organisation_id",
    "workspace_id",
    "user_id",
    "status",
    "created_at",
    "last_updated_at",
    "creation_mode",
    "rate_limits",
    "usage_limits",
    "reset_usage",
    "expires_at",
    "last_reset_at",
    "alert_emails",
    "expiry_enforced",
    "next_usage_reset_at",
    "allow_config_override",
    "api_key_defaults_id",
    "scopes",
    "defaults",
    "rotation_policy",
    "object",
];

static SCOPES: ListSchema = ListSchema::new(FieldType::Name);

static EMAILS: ListSchema = ListSchema::new(FieldType::Name);

/// Rates of keys support a longer and a shorter window than others.
static RATE_LIMIT: ObjectSchema = ObjectSchema::new(&[
    Field::new("type", FieldType::Enum(&["requests", "tokens"])).required(),
    Field::new(
        "unit",
        FieldType::Enum(&["rps", "rpm", "rph", "rpd", "rpw"]),
    )
    .required(),
    Field::new("value", FieldType::Integer(0, i64::MAX)).required(),
]);

static RATE_LIMITS: ListSchema = ListSchema::new(FieldType::Object(&RATE_LIMIT));

static DEFAULTS: ObjectSchema = ObjectSchema::new(&[
    Field::new("metadata", FieldType::AnyObject),
    Field::new("config_id", FieldType::Name).nullable(),
    Field::new("allow_config_override", FieldType::Bool).nullable(),
]);

static ROTATION: ObjectSchema = ObjectSchema {
    rule: check_rotation,
    ..ObjectSchema::new(&[
        Field::new("rotation_period", FieldType::Enum(&["weekly", "monthly"])).nullable(),
        Field::new("rotation_period_days", FieldType::Integer(1, 365)).nullable(),
        Field::new("next_rotation_at", FieldType::Timestamp).nullable(),
        TRANSITION_PERIOD.nullable(),
    ])
};

const TRANSITION_PERIOD: Field = Field::new(
    "key_transition_period_ms",
    FieldType::Integer(MIN_TRANSITION_MS, i64::MAX),
);

fn check_rotation(policy: &Item) -> Result<(), &'static str> {
    const TIMES: [&str; 3] = [
        "rotation_period",
        "rotation_period_days",
        "next_rotation_at",
    ];
    let given = |name: &&str| policy.get(*name).is_some_and(|value| !value.is_null());
    match TIMES.iter().filter(|name| given(name)).count() {
        0 | 1 => Ok(()),
        _ => Err("takes one of rotation_period, rotation_period_days and next_rotation_at"),
    }
}

fn prepare_write(store: &Store, call: &ApiCall, draft: PendingWrite<'_>) -> Result<(), ApiError> {
    let change = draft.change;
    let emails = change.get("alert_emails").and_then(Value::as_array);
    if !emails
        .into_iter()
        .flatten()
        .all(|email| email.as_str().is_some_and(|e| e.contains('@')))
    {
        return Err(ApiError::invalid_field(
            "alert_emails",
            "must be e-mail addresses",
        ));
    }
    let config = change
        .get("defaults")
        .and_then(|defaults| defaults.get("config_id")?.as_str());
    if let Some(config) = config {
        configs::resolve(store, config)?;
    }
    match draft.before {
        None => set_key_type(store, call, change)?,
        Some(before) => {
            merge_object(draft.before, change, "defaults");
            if flag(change, "reset_usage") {
                change.insert("last_reset_at".to_owned(), store.clock.now().into());
                if text(before, "status") == "exhausted" {
                    change.insert("status".to_owned(), "active".into());
                }
            }
        }
    }
    // Resetting is an action and is not stored.
    change.remove("reset_usage");
    Ok(())
}

/// Sets the type of a new key from the path, and the owner that the type requires.
fn set_key_type(store: &Store, call: &ApiCall, key: &mut Item) -> Result<(), ApiError> {
    let [kind, sub_type] = call.path.as_slice() else {
        return Err(ApiError::NoSuchRoute);
    };
    match (kind.as_str(), sub_type.as_str()) {
        ("organisation", "service") => {
            key.remove("workspace_id");
        }
        ("workspace", "service" | "user") => {
            key.insert("workspace_id".to_owned(), call.workspace_id(store)?.into());
        }
        ("organisation", "user") => {
            return Err(ApiError::invalid_field(
                "sub-type",
                "must be `service` for an organisation",
            ));
        }
        _ => {
            return Err(ApiError::invalid_field(
                "type",
                "and sub-type name no kind of key",
            ));
        }
    }
    if sub_type != "user" {
        key.remove("user_id");
    } else if text(key, "user_id").is_empty() {
        return Err(ApiError::invalid_field(
            "user_id",
            "is required for a user's key",
        ));
    }
    key.insert("type".to_owned(), format!("{kind}-{sub_type}").into());
    key.insert("status".to_owned(), "active".into());
    key.insert("creation_mode".to_owned(), "api".into());
    Ok(())
}

/// Generates a unique secret that is valid in the sandbox only.
fn new_secret(store: &mut Store) -> String {
    format!("{KEY_PREFIX}{}", store.next_id().replace('-', ""))
}

/// Returns true if a text has the form of a secret generated here.
pub(crate) fn is_sandbox_secret(text: &str) -> bool {
    let name = text.strip_prefix(KEY_PREFIX).unwrap_or_default();
    name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns the workspace id of the key with this secret, or `None` for an Admin key. The previous
/// secret is valid until its transition ends. An expired key is rejected.
pub(crate) fn find_workspace_id(store: &Store, secret: &str) -> Result<Option<String>, ApiError> {
    let now = store.clock.now();
    let counts = |key: &&Item| {
        text(key, "key") == secret
            || text(key, PREVIOUS_KEY_FIELD) == secret
                && text(key, TRANSITION_END_FIELD) > now.as_str()
    };
    let key = store.all(API_KEYS.organisation_collection()).find(counts);
    let key = key.ok_or_else(|| {
        ApiError::RejectedKey("The key has been deleted or rotated, or never was one".to_owned())
    })?;
    let expiry = clock::parse_timestamp(text(key, "expires_at"));
    if expiry.is_some_and(|expiry| expiry <= store.clock.unix_seconds()) {
        return Err(ApiError::RejectedKey("The key has expired".to_owned()));
    }
    Ok(key
        .get("workspace_id")
        .and_then(Value::as_str)
        .map(str::to_owned))
}

fn create(store: &mut Store, call: &ApiCall) -> ApiResult {
    let mut answer = crud::create(&API_KEYS, store, call)?;
    let id = answer
        .get("id")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let secret = new_secret(store);
    if let (Some(answer), Some(item)) = (
        answer.as_object_mut(),
        store.find_mut(API_KEYS.organisation_collection(), &id),
    ) {
        answer.insert("key".to_owned(), secret.clone().into());
        item.insert("key".to_owned(), secret.into());
    }
    Ok(answer)
}

/// Adds a new secret beside the old one. A key cannot be rotated again while both work.
fn rotate(store: &mut Store, call: &ApiCall) -> ApiResult {
    let item = API_KEYS.find(store, ORGANISATION, call.handle())?;
    let given =
        validation::validate_body(store, &[TRANSITION_PERIOD], &call.body, WriteKind::Update)?;
    if text(item, TRANSITION_END_FIELD) > store.clock.now().as_str() {
        let until = text(item, TRANSITION_END_FIELD);
        return Err(ApiError::Conflict(format!(
            "The key is being rotated already, until {until}"
        )));
    }
    let period = |item: &Item| item.get("key_transition_period_ms").and_then(Value::as_u64);
    let usual = item
        .get("rotation_policy")
        .and_then(Value::as_object)
        .and_then(period);
    let period = period(&given)
        .or(usual)
        .unwrap_or(MIN_TRANSITION_MS.unsigned_abs());

    let id = item_id(item);
    let secret = new_secret(store);
    let until = store.clock.after_seconds(period / 1000);
    if let Some(item) = store.find_mut(API_KEYS.organisation_collection(), &id) {
        if let Some(before) = item.insert("key".to_owned(), secret.clone().into()) {
            item.insert(PREVIOUS_KEY_FIELD.to_owned(), before);
        }
        item.insert(TRANSITION_END_FIELD.to_owned(), until.clone().into());
    }
    Ok(json!({ "id": id, "key": secret, (TRANSITION_END_FIELD): until }))
}

fn override_as_number(item: &Item) -> Value {
    let allowed = item
        .get("defaults")
        .and_then(|defaults| defaults.get("allow_config_override"));
    allowed.and_then(Value::as_bool).map(u8::from).into()
}

/// Returns the defaults of a key. `allow_config_override` is omitted unless it was set.
fn show_defaults(item: &Item) -> Value {
    const OVERRIDE: &str = "allow_config_override";
    let set = |name: &str| {
        item.get("defaults")
            .and_then(|defaults| defaults.get(name))
            .cloned()
    };
    let mut shown = json!({ "metadata": set("metadata"), "config_id": set("config_id") });
    if let (Some(shown), Some(allowed)) = (shown.as_object_mut(), set(OVERRIDE)) {
        shown.insert(OVERRIDE.to_owned(), allowed);
    }
    shown
}

/// Removes the keys of a removed user.
pub(super) fn remove_keys_of_user(store: &mut Store, user: &str) {
    let is_own = |key: &&Item| text(key, "user_id") == user;
    let keys: Vec<Item> = store
        .all(API_KEYS.organisation_collection())
        .filter(is_own)
        .cloned()
        .collect();
    for key in keys {
        store.remove(API_KEYS.organisation_collection(), text(&key, "id"));
        store.remember_removed(DEPARTED_USER_KEYS_KIND, &key);
    }
}

/// Kind under which the keys of removed users are remembered.
const DEPARTED_USER_KEYS_KIND: &str = "keys-of-departed-users";

/// Replaces the error for a key that was removed with its user by 403.
fn forbid_if_departed(store: &Store, call: &ApiCall, refusal: ApiError) -> ApiError {
    match store.was_removed(DEPARTED_USER_KEYS_KIND, call.handle()) {
        true => ApiError::Forbidden(format!(
            "API key `{}` is not open to this key",
            call.handle()
        )),
        false => refusal,
    }
}

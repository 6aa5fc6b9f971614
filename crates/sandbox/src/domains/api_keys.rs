//! API keys. Their secret is returned once, on creation and rotation, and masked afterwards.

use serde_json::{Value, json};

use super::{
    configs,
    parts::{BY_IDS, USAGE_LIMIT, merge_object},
};
use crate::{
    KEY_PREFIX,
    call::{Call, id_of},
    check::{self, Occasion},
    clock,
    crud::{self, Outcome},
    field::{Field, Kind, List, Preset, Shape},
    mask::mask,
    page::{Envelope, Paging},
    refusal::Refusal,
    resource::{Draft, Filter, FoundBy, Hooks, Listing, Resource, Verb},
    route::{Domain, Version, get, post, put},
    store::{Item, ORGANISATION, Store, flag, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1, Version::V2],
    resources: &[&API_KEYS],
    routes: &[
        post("/api-keys/{type}/{sub-type}", create),
        get("/api-keys/{id}", |store, call| {
            crud::get(&API_KEYS, store, call).map_err(|refusal| of_departed(store, call, refusal))
        }),
        put("/api-keys/{id}", |store, call| {
            crud::update(&API_KEYS, store, call)
                .map_err(|refusal| of_departed(store, call, refusal))
        }),
        post("/api-keys/{id}/rotate", |store, call| {
            rotate(store, call).map_err(|refusal| of_departed(store, call, refusal))
        }),
    ],
};

/// Private field with the time at which the previous secret stops working.
const TRANSITION: &str = "key_transition_expires_at";

/// Private field with the previous secret.
const PREVIOUS: &str = "previous_key";

/// Minimum transition period in milliseconds, during which both secrets work; also the default.
const SHORTEST_TRANSITION: i64 = 1_800_000;

static API_KEYS: Resource = Resource {
    // Creation has the type in its path; the others respond 403 for keys of removed users.
    verbs: &[Verb::List, Verb::Delete],
    found_by: FoundBy::Id,
    fields: &[
        Field::new("name", Kind::Name).required(),
        Field::new("description", Kind::Text),
        Field::new("workspace_id", Kind::Workspace).fixed(),
        Field::new("user_id", Kind::Name).fixed(),
        Field::new("scopes", Kind::List(&SCOPES)).required(),
        Field::new("rate_limits", Kind::ListOrOne(&RATE_LIMITS))
            .nullable()
            .preset(Preset::EmptyList),
        Field::new("usage_limits", Kind::Shape(&USAGE_LIMIT)).nullable(),
        Field::new("reset_usage", Kind::Flag),
        Field::new("defaults", Kind::Shape(&DEFAULTS)).preset(Preset::EmptyObject),
        Field::new("alert_emails", Kind::List(&EMAILS)).nullable(),
        Field::new("expires_at", Kind::Instant).nullable(),
        Field::new("rotation_policy", Kind::Shape(&ROTATION)).nullable(),
    ],
    derived: &[
        ("key", |_, _, item| Some(mask(text(item, "key")).into())),
        ("expiry_enforced", |_, _, _| Some(0.into())),
        ("allow_config_override", |_, _, item| {
            Some(override_as_number(item))
        }),
        ("defaults", |_, _, item| Some(defaults(item))),
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
    list: Listing {
        paging: Paging::zero_based(100, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[Filter::same("workspace_id", Kind::Workspace), BY_IDS],
        shows: SHOWN,
    },
    reads: SHOWN,
    creates: &["id", "object"],
    hooks: Hooks {
        admit,
        ..Hooks::NONE
    },
    ..Resource::new("api-keys", "api-key", "/api-keys")
};

const SHOWN: &[&str] = &[
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

static SCOPES: List = List::of(Kind::Name);

static EMAILS: List = List::of(Kind::Name);

/// Rates of keys support a longer and a shorter window than others.
static RATE_LIMIT: Shape = Shape::of(&[
    Field::new("type", Kind::Choice(&["requests", "tokens"])).required(),
    Field::new("unit", Kind::Choice(&["rps", "rpm", "rph", "rpd", "rpw"])).required(),
    Field::new("value", Kind::Whole(0, i64::MAX)).required(),
]);

static RATE_LIMITS: List = List::of(Kind::Shape(&RATE_LIMIT));

static DEFAULTS: Shape = Shape::of(&[
    Field::new("metadata", Kind::Object),
    Field::new("config_id", Kind::Name).nullable(),
    Field::new("allow_config_override", Kind::Flag),
]);

static ROTATION: Shape = Shape {
    rule: check_rotation,
    ..Shape::of(&[
        Field::new("rotation_period", Kind::Choice(&["weekly", "monthly"])).nullable(),
        Field::new("rotation_period_days", Kind::Whole(1, 365)).nullable(),
        Field::new("next_rotation_at", Kind::Instant).nullable(),
        TRANSITION_PERIOD,
    ])
};

const TRANSITION_PERIOD: Field = Field::new(
    "key_transition_period_ms",
    Kind::Whole(SHORTEST_TRANSITION, i64::MAX),
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

fn admit(store: &Store, call: &Call, draft: Draft<'_>) -> Result<(), Refusal> {
    let change = draft.change;
    let emails = change.get("alert_emails").and_then(Value::as_array);
    if !emails
        .into_iter()
        .flatten()
        .all(|email| email.as_str().is_some_and(|e| e.contains('@')))
    {
        return Err(Refusal::field("alert_emails", "must be e-mail addresses"));
    }
    let config = change
        .get("defaults")
        .and_then(|defaults| defaults.get("config_id")?.as_str());
    if let Some(config) = config {
        configs::resolve(store, config)?;
    }
    match draft.before {
        None => classify(store, call, change)?,
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
fn classify(store: &Store, call: &Call, key: &mut Item) -> Result<(), Refusal> {
    let [kind, sub_type] = call.path.as_slice() else {
        return Err(Refusal::NoSuchRoute);
    };
    match (kind.as_str(), sub_type.as_str()) {
        ("organisation", "service") => {
            key.remove("workspace_id");
        }
        ("workspace", "service" | "user") => {
            key.insert("workspace_id".to_owned(), call.workspace(store)?.into());
        }
        ("organisation", "user") => {
            return Err(Refusal::field(
                "sub-type",
                "must be `service` for an organisation",
            ));
        }
        _ => return Err(Refusal::field("type", "and sub-type name no kind of key")),
    }
    if sub_type != "user" {
        key.remove("user_id");
    } else if text(key, "user_id").is_empty() {
        return Err(Refusal::field("user_id", "is required for a user's key"));
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
pub(crate) fn is_secret(text: &str) -> bool {
    let name = text.strip_prefix(KEY_PREFIX).unwrap_or_default();
    name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns the workspace id of the key with this secret, or `None` for an Admin key. The previous
/// secret is valid until its transition ends. An expired key is rejected.
pub(crate) fn workspace_of(store: &Store, secret: &str) -> Result<Option<String>, Refusal> {
    let now = store.clock.now();
    let counts = |key: &&Item| {
        text(key, "key") == secret
            || text(key, PREVIOUS) == secret && text(key, TRANSITION) > now.as_str()
    };
    let key = store.all(API_KEYS.shared()).find(counts);
    let key = key.ok_or_else(|| {
        Refusal::NotAuthorised("The key has been deleted or rotated, or never was one".to_owned())
    })?;
    let expiry = clock::seconds(text(key, "expires_at"));
    if expiry.is_some_and(|expiry| expiry <= store.clock.unix()) {
        return Err(Refusal::NotAuthorised("The key has expired".to_owned()));
    }
    Ok(key
        .get("workspace_id")
        .and_then(Value::as_str)
        .map(str::to_owned))
}

fn create(store: &mut Store, call: &Call) -> Outcome {
    let mut answer = crud::create(&API_KEYS, store, call)?;
    let id = answer
        .get("id")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let secret = new_secret(store);
    if let (Some(answer), Some(item)) = (
        answer.as_object_mut(),
        store.find_mut(API_KEYS.shared(), &id),
    ) {
        answer.insert("key".to_owned(), secret.clone().into());
        item.insert("key".to_owned(), secret.into());
    }
    Ok(answer)
}

/// Adds a new secret beside the old one. A key cannot be rotated again while both work.
fn rotate(store: &mut Store, call: &Call) -> Outcome {
    let item = API_KEYS.find(store, ORGANISATION, call.handle())?;
    let given = check::body(store, &[TRANSITION_PERIOD], &call.body, Occasion::Update)?;
    if text(item, TRANSITION) > store.clock.now().as_str() {
        let until = text(item, TRANSITION);
        return Err(Refusal::Conflict(format!(
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
        .unwrap_or(SHORTEST_TRANSITION.unsigned_abs());

    let (id, secret) = (id_of(item), new_secret(store));
    let until = store.clock.later(period / 1000);
    if let Some(item) = store.find_mut(API_KEYS.shared(), &id) {
        if let Some(before) = item.insert("key".to_owned(), secret.clone().into()) {
            item.insert(PREVIOUS.to_owned(), before);
        }
        item.insert(TRANSITION.to_owned(), until.clone().into());
    }
    Ok(json!({ "id": id, "key": secret, (TRANSITION): until }))
}

fn override_as_number(item: &Item) -> Value {
    let allowed = item
        .get("defaults")
        .and_then(|defaults| defaults.get("allow_config_override"));
    allowed.and_then(Value::as_bool).map(u8::from).into()
}

/// Returns the defaults of a key. `allow_config_override` is omitted unless it was set.
fn defaults(item: &Item) -> Value {
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
pub(super) fn remove_of_user(store: &mut Store, user: &str) {
    let is_own = |key: &&Item| text(key, "user_id") == user;
    let keys: Vec<Item> = store
        .all(API_KEYS.shared())
        .filter(is_own)
        .cloned()
        .collect();
    for key in keys {
        store.remove(API_KEYS.shared(), text(&key, "id"));
        store.remember_removed(OF_DEPARTED, &key);
    }
}

/// Kind under which the keys of removed users are remembered.
const OF_DEPARTED: &str = "keys-of-departed-users";

/// Replaces the error for a key that was removed with its user by 403.
fn of_departed(store: &Store, call: &Call, refusal: Refusal) -> Refusal {
    match store.was_removed(OF_DEPARTED, call.handle()) {
        true => Refusal::Forbidden(format!(
            "API key `{}` is not open to this key",
            call.handle()
        )),
        false => refusal,
    }
}

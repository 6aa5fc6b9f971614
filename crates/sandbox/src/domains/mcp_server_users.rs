//! Users of an MCP server: their access, and their connections to its upstream.

use serde_json::{Value, json};

use super::{
    mcp_servers::{MCP_SERVERS, find_for_call},
    users,
};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{ApiResult, pick},
    field::{Field, FieldType, ListSchema, ObjectSchema},
    page::{Envelope, Paging},
    store::{CollectionKey, Item, ORGANISATION, Store, flag, text},
    validation::{self, WriteKind},
};

/// Kind of the connections of a server.
const CONNECTIONS_KIND: &str = "mcp-server-connections";

/// Kind of the access settings of single users.
const OVERRIDES_KIND: &str = "mcp-server-users";

/// Signs users in to a server. The API has no call for this, because signing in requires a browser.
pub(crate) fn sign_in(store: &mut Store, server: &str, users: &[&str]) {
    let Ok(owner) = MCP_SERVERS.find(store, ORGANISATION, server).map(item_id) else {
        return;
    };
    let now = store.clock.now();
    for user in users {
        let connection = json!({ "id": user, "user_id": user, "connected": true,
            "created_at": now, "last_updated_at": now });
        let connection = connection.as_object().cloned().unwrap_or_default();
        store.insert(
            CollectionKey {
                kind: CONNECTIONS_KIND,
                owner: &owner,
            },
            connection,
        );
    }
}

/// Returns one page of the connections.
pub(super) fn list_connections(store: &mut Store, call: &ApiCall) -> ApiResult {
    const PAGING: Paging = Paging::zero_based(100, 500);
    let owner = item_id(find_for_call(store, call)?);
    let asked = call.query("user_id");
    let all = store.all(CollectionKey {
        kind: CONNECTIONS_KIND,
        owner: &owner,
    });
    let matching: Vec<&Item> = all
        .filter(|item| asked.is_none_or(|user| text(item, "user_id") == user))
        .collect();
    let (page, more) = PAGING.select_page(call, &matching)?;
    let shown = ["user_id", "connected", "created_at", "last_updated_at"];
    let data = page.iter().map(|item| pick(item, &shown)).collect();
    Ok(Envelope {
        includes_object: false,
        includes_has_more: true,
    }
    .wrap(matching.len(), more, data))
}

/// Removes a user's connection. The organisation's key has no user, so it must name one.
pub(super) fn disconnect(store: &mut Store, call: &ApiCall) -> ApiResult {
    let owner = item_id(find_for_call(store, call)?);
    let user = call
        .query("user_id")
        .ok_or_else(|| ApiError::invalid_field("user_id", "is required"))?;
    let gone = store.remove(
        CollectionKey {
            kind: CONNECTIONS_KIND,
            owner: &owner,
        },
        user,
    );
    match gone {
        Some(_) => Ok(json!({ "success": true })),
        None => Err(ApiError::NotFound {
            object: "connection",
            handle: user.to_owned(),
        }),
    }
}

/// Returns one page of the organisation's users with their access, searched by name or address.
pub(super) fn list_access(store: &mut Store, call: &ApiCall) -> ApiResult {
    const PAGING: Paging = Paging::one_based(100, 500);
    let server = find_for_call(store, call)?;
    let owner = text(server, "id");
    let default = text(server, "default_user_access");
    let asked = call.query("search").unwrap_or_default().to_lowercase();
    let is_asked_for = |user: &&Item| {
        let name = format!("{} {}", text(user, "first_name"), text(user, "last_name"));
        [name.as_str(), text(user, "email")]
            .iter()
            .any(|said| said.to_lowercase().contains(&asked))
    };
    let matching: Vec<&Item> = users::all(store).filter(is_asked_for).collect();
    let (page, more) = PAGING.select_page(call, &matching)?;
    let data: Vec<Value> = page
        .iter()
        .map(|user| {
            let id = text(user, "id");
            let own = store.find(
                CollectionKey {
                    kind: OVERRIDES_KIND,
                    owner,
                },
                id,
            );
            let signed_in = store
                .find(
                    CollectionKey {
                        kind: CONNECTIONS_KIND,
                        owner,
                    },
                    id,
                )
                .is_some();
            json!({
                "user_id": id,
                "first_name": user.get("first_name"),
                "last_name": user.get("last_name"),
                "enabled": own.map_or(default == "allow", |own| flag(own, "enabled")),
                "has_override": own.is_some(),
                "connection_status": if signed_in { "connected" } else { "not_connected" },
                // The spelling of the live API.
                "object": "user-acces",
            })
        })
        .collect();
    Ok(
        json!({ "data": data, "default_user_access": default, "total": matching.len(),
        "has_more": more }),
    )
}

static SETTING: ObjectSchema = ObjectSchema::new(&[
    Field::new("user_id", FieldType::Name).required(),
    Field::new("enabled", FieldType::Bool).required(),
]);

static SETTINGS: ListSchema = ListSchema {
    unique_field: Some("user_id"),
    ..ListSchema::new(FieldType::Object(&SETTING))
};

const UPDATE: &[Field] = &[
    Field::new("user_access", FieldType::List(&SETTINGS)),
    Field::new("default_user_access", FieldType::Enum(&["allow", "deny"])),
];

/// Sets the access of all named users, or of none if one is unknown, and the default.
pub(super) fn update_access(store: &mut Store, call: &ApiCall) -> ApiResult {
    let owner = item_id(find_for_call(store, call)?);
    let given = validation::validate_body(store, UPDATE, &call.body, WriteKind::Update)?;
    let settings = given.get("user_access").and_then(Value::as_array);
    let settings = || settings.into_iter().flatten().filter_map(Value::as_object);
    for setting in settings() {
        users::find(store, text(setting, "user_id"))?;
    }
    let shelf = CollectionKey {
        kind: OVERRIDES_KIND,
        owner: &owner,
    };
    for setting in settings() {
        let user = text(setting, "user_id");
        store.remove(shelf, user);
        let item = json!({ "id": user, "enabled": flag(setting, "enabled") });
        store.insert(shelf, item.as_object().cloned().unwrap_or_default());
    }
    if let (Some(default), Some(server)) = (
        given.get("default_user_access"),
        store.find_mut(MCP_SERVERS.organisation_collection(), &owner),
    ) {
        server.insert("default_user_access".to_owned(), default.clone());
    }
    Ok(json!({ "success": true }))
}

//! SCIM: groups of an identity provider, and their mappings to workspaces.

use serde_json::{Value, json};

use super::workspace_members::ROLE;
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{ApiResult, pick},
    field::{Field, FieldType},
    page::Paging,
    route::{ApiVersion, Domain, delete, get, post},
    store::{CollectionKey, Item, ORGANISATION, Store, text},
    validation::{self, WriteKind},
};

/// The groups, which the first version of the API does not have.
pub(super) static GROUPS: Domain = Domain {
    versions: &[ApiVersion::V2],
    resources: &[],
    routes: &[get("/scim/groups", |store, call| list_groups(store, call))],
};

/// The mappings, which the second version of the API does not have.
pub(super) static MAPPINGS: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[],
    routes: &[
        get("/scim/workspaces", |store, call| list(store, call)),
        post("/scim/workspaces", create),
        delete("/scim/workspaces/{id}", remove),
    ],
};

const GROUPS_COLLECTION: CollectionKey<'static> = CollectionKey {
    kind: "scim-groups",
    owner: ORGANISATION,
};
const MAPPINGS_COLLECTION: CollectionKey<'static> = CollectionKey {
    kind: "scim-mappings",
    owner: ORGANISATION,
};

/// Paging with `page` from 0, unlike other lists with `page`.
const PAGING: Paging = Paging {
    page_param: "page",
    ..Paging::zero_based(50, 100)
};

const SHOWN: &[&str] = &["id", "workspace_id", "scim_group", "scim_group_id", "role"];

fn render_page(call: &ApiCall, name: &str, all: &[Value]) -> ApiResult {
    let (page, _) = PAGING.select_page(call, all)?;
    Ok(json!({ (name): page, "total_count": all.len() }))
}

fn list_groups(store: &Store, call: &ApiCall) -> ApiResult {
    let asked = call.query("search").unwrap_or_default().to_lowercase();
    let found = store
        .all(GROUPS_COLLECTION)
        .filter(|g| text(g, "displayName").to_lowercase().contains(&asked));
    let groups: Vec<Value> = found
        .map(|group| pick(group, &["id", "displayName"]))
        .collect();
    render_page(call, "groups", &groups)
}

/// Returns the mappings. The API compares `workspace_id` with the stored id, so a slug matches
/// nothing.
fn list(store: &Store, call: &ApiCall) -> ApiResult {
    if let Some(role) = call.query("role") {
        validation::validate_value(store, ROLE, "role", &role.to_lowercase().into())?;
    }
    let asked = |name: &str, value: &str| {
        call.query(name)
            .is_none_or(|asked| asked.eq_ignore_ascii_case(value))
    };
    let all = store.all(MAPPINGS_COLLECTION);
    let matching = all.filter(|mapping| {
        let mut filters = ["workspace_id", "scim_group_id", "role"].into_iter();
        filters.all(|name| asked(name, text(mapping, name)))
    });
    render_page(
        call,
        "mappings",
        &matching
            .map(|mapping| pick(mapping, SHOWN))
            .collect::<Vec<_>>(),
    )
}

const NEW_MAPPING_FIELDS: &[Field] = &[
    Field::new("workspace_id", FieldType::Workspace).required(),
    Field::new("role", FieldType::Text).required(),
    Field::new("scim_group_id", FieldType::Name),
    Field::new("scim_group_name", FieldType::Name),
];

/// Maps a group, or returns the existing mapping.
fn create(store: &mut Store, call: &ApiCall) -> ApiResult {
    let given =
        validation::validate_body(store, NEW_MAPPING_FIELDS, &call.body, WriteKind::Create)?;
    // Roles are case-insensitive.
    let role = validation::validate_value(
        store,
        ROLE,
        "role",
        &text(&given, "role").to_lowercase().into(),
    )?;
    let group = find_or_new_group(store, &given)?;
    let group_id = item_id(&group);
    let workspace = text(&given, "workspace_id");

    let of_group = |mapping: &&Item| text(mapping, "scim_group_id") == group_id;
    if let Some(other) = store
        .all(MAPPINGS_COLLECTION)
        .filter(of_group)
        .find(|m| m.get("role") != Some(&role))
    {
        return Err(ApiError::Invalid(format!(
            "SCIM group is already mapped to other workspace(s) with role '{}'. A group can only be \
             mapped with a single role across workspaces.",
            text(other, "role")
        )));
    }
    let same = |mapping: &&Item| of_group(mapping) && text(mapping, "workspace_id") == workspace;
    if let Some(known) = store.all(MAPPINGS_COLLECTION).find(same) {
        return Ok(pick(known, SHOWN));
    }
    if store.find(GROUPS_COLLECTION, &group_id).is_none() {
        store.insert(GROUPS_COLLECTION, group.clone());
    }
    let mapping = json!({
        "id": store.next_id(), "workspace_id": workspace, "role": role,
        "scim_group": text(&group, "displayName"), "scim_group_id": group_id,
    });
    let mapping = mapping.as_object().cloned().unwrap_or_default();
    store.insert(MAPPINGS_COLLECTION, mapping.clone());
    Ok(pick(&mapping, SHOWN))
}

/// Returns the group that a new mapping names by id, or by name. A group that is named need not
/// exist yet.
fn find_or_new_group(store: &mut Store, given: &Item) -> Result<Item, ApiError> {
    match (text(given, "scim_group_id"), text(given, "scim_group_name")) {
        (id, "") if !id.is_empty() => {
            let missing = || ApiError::NotFound {
                object: "SCIM group",
                handle: id.to_owned(),
            };
            store
                .find(GROUPS_COLLECTION, id)
                .cloned()
                .ok_or_else(missing)
        }
        ("", name) if !name.is_empty() => {
            let known = store
                .all(GROUPS_COLLECTION)
                .find(|group| text(group, "displayName") == name);
            if let Some(known) = known {
                return Ok(known.clone());
            }
            let id = store.next_id();
            Ok(Item::from_iter([
                ("id".to_owned(), id.into()),
                ("displayName".to_owned(), name.into()),
            ]))
        }
        _ => Err(ApiError::Invalid(
            "Give either `scim_group_id` or `scim_group_name`, not both".to_owned(),
        )),
    }
}

/// Removes a mapping; its group stays.
fn remove(store: &mut Store, call: &ApiCall) -> ApiResult {
    let missing = || ApiError::NotFound {
        object: "SCIM mapping",
        handle: call.handle().to_owned(),
    };
    store
        .remove(MAPPINGS_COLLECTION, call.handle())
        .ok_or_else(missing)?;
    Ok(json!({ "success": true }))
}

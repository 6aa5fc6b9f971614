//! SCIM: groups of an identity provider, and their mappings to workspaces.

use serde_json::{Value, json};

use super::workspace_members::ROLE;
use crate::{
    call::{Call, id_of},
    check::{self, Occasion},
    crud::{Outcome, pick},
    field::{Field, Kind},
    page::Paging,
    refusal::Refusal,
    route::{Domain, Version, delete, get, post},
    store::{Item, ORGANISATION, Shelf, Store, text},
};

/// The groups, which the first version of the API does not have.
pub(super) static GROUPS: Domain = Domain {
    versions: &[Version::V2],
    resources: &[],
    routes: &[get("/scim/groups", |store, call| list_groups(store, call))],
};

/// The mappings, which the second version of the API does not have.
pub(super) static MAPPINGS: Domain = Domain {
    versions: &[Version::V1],
    resources: &[],
    routes: &[
        get("/scim/workspaces", |store, call| list(store, call)),
        post("/scim/workspaces", create),
        delete("/scim/workspaces/{id}", remove),
    ],
};

const GROUP_SHELF: Shelf<'static> = Shelf {
    kind: "scim-groups",
    owner: ORGANISATION,
};
const MAPPING_SHELF: Shelf<'static> = Shelf {
    kind: "scim-mappings",
    owner: ORGANISATION,
};

/// Paging with `page` from 0, unlike other lists with `page`.
const PAGING: Paging = Paging {
    number: "page",
    ..Paging::zero_based(50, 100)
};

const SHOWN: &[&str] = &["id", "workspace_id", "scim_group", "scim_group_id", "role"];

fn page(call: &Call, name: &str, all: &[Value]) -> Outcome {
    let (page, _) = PAGING.cut(call, all)?;
    Ok(json!({ (name): page, "total_count": all.len() }))
}

fn list_groups(store: &Store, call: &Call) -> Outcome {
    let asked = call.query("search").unwrap_or_default().to_lowercase();
    let found = store
        .all(GROUP_SHELF)
        .filter(|g| text(g, "displayName").to_lowercase().contains(&asked));
    let groups: Vec<Value> = found
        .map(|group| pick(group, &["id", "displayName"]))
        .collect();
    page(call, "groups", &groups)
}

/// Returns the mappings. The API compares `workspace_id` with the stored id, so a slug matches
/// nothing.
fn list(store: &Store, call: &Call) -> Outcome {
    if let Some(role) = call.query("role") {
        check::value(store, ROLE, "role", &role.to_lowercase().into())?;
    }
    let asked = |name: &str, value: &str| {
        call.query(name)
            .is_none_or(|asked| asked.eq_ignore_ascii_case(value))
    };
    let all = store.all(MAPPING_SHELF);
    let kept = all.filter(|mapping| {
        let mut filters = ["workspace_id", "scim_group_id", "role"].into_iter();
        filters.all(|name| asked(name, text(mapping, name)))
    });
    page(
        call,
        "mappings",
        &kept.map(|mapping| pick(mapping, SHOWN)).collect::<Vec<_>>(),
    )
}

const NEW: &[Field] = &[
    Field::new("workspace_id", Kind::Workspace).required(),
    Field::new("role", Kind::Text).required(),
    Field::new("scim_group_id", Kind::Name),
    Field::new("scim_group_name", Kind::Name),
];

/// Maps a group, or returns the existing mapping.
fn create(store: &mut Store, call: &Call) -> Outcome {
    let given = check::body(store, NEW, &call.body, Occasion::Create)?;
    // Roles are case-insensitive.
    let role = check::value(
        store,
        ROLE,
        "role",
        &text(&given, "role").to_lowercase().into(),
    )?;
    let group = group(store, &given)?;
    let (group_id, workspace) = (id_of(&group), text(&given, "workspace_id"));

    let of_group = |mapping: &&Item| text(mapping, "scim_group_id") == group_id;
    if let Some(other) = store
        .all(MAPPING_SHELF)
        .filter(of_group)
        .find(|m| m.get("role") != Some(&role))
    {
        return Err(Refusal::Invalid(format!(
            "SCIM group is already mapped to other workspace(s) with role '{}'. A group can only be \
             mapped with a single role across workspaces.",
            text(other, "role")
        )));
    }
    let same = |mapping: &&Item| of_group(mapping) && text(mapping, "workspace_id") == workspace;
    if let Some(known) = store.all(MAPPING_SHELF).find(same) {
        return Ok(pick(known, SHOWN));
    }
    if store.find(GROUP_SHELF, &group_id).is_none() {
        store.insert(GROUP_SHELF, group.clone());
    }
    let mapping = json!({
        "id": store.next_id(), "workspace_id": workspace, "role": role,
        "scim_group": text(&group, "displayName"), "scim_group_id": group_id,
    });
    let mapping = mapping.as_object().cloned().unwrap_or_default();
    store.insert(MAPPING_SHELF, mapping.clone());
    Ok(pick(&mapping, SHOWN))
}

/// Returns the group that a new mapping names by id, or by name. A group that is named need not
/// exist yet.
fn group(store: &mut Store, given: &Item) -> Result<Item, Refusal> {
    match (text(given, "scim_group_id"), text(given, "scim_group_name")) {
        (id, "") if !id.is_empty() => {
            let missing = || Refusal::Missing {
                object: "SCIM group",
                handle: id.to_owned(),
            };
            store.find(GROUP_SHELF, id).cloned().ok_or_else(missing)
        }
        ("", name) if !name.is_empty() => {
            let known = store
                .all(GROUP_SHELF)
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
        _ => Err(Refusal::Invalid(
            "Give either `scim_group_id` or `scim_group_name`, not both".to_owned(),
        )),
    }
}

/// Removes a mapping; its group stays.
fn remove(store: &mut Store, call: &Call) -> Outcome {
    let missing = || Refusal::Missing {
        object: "SCIM mapping",
        handle: call.handle().to_owned(),
    };
    store
        .remove(MAPPING_SHELF, call.handle())
        .ok_or_else(missing)?;
    Ok(json!({ "success": true }))
}

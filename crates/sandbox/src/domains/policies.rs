//! Common parts of budget and rate policies: conditions, workspace, and archiving instead of
//! deletion.

use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{self, ApiResult, empty_object},
    field::{Field, FieldType, ListSchema, ObjectSchema},
    resource::{CrudAction, DeriveField, ListFilter, LookupKey, Resource},
    store::{Item, ORGANISATION, Store, text},
    validation,
};

static CONDITION: ObjectSchema = ObjectSchema {
    rule: check_key,
    ..ObjectSchema::new(&[
        Field::new("key", FieldType::Name).required(),
        Field::new("value", FieldType::TextOrTexts).required(),
        Field::new("excludes", FieldType::TextOrTexts),
    ])
};

/// At least one condition.
pub(super) static CONDITIONS: ListSchema = ListSchema {
    min_items: 1,
    ..ListSchema::new(FieldType::Object(&CONDITION))
};

static GROUP: ObjectSchema = ObjectSchema {
    rule: check_key,
    ..ObjectSchema::new(&[Field::new("key", FieldType::Name).required()])
};

/// At least one group.
pub(super) static GROUPS: ListSchema = ListSchema {
    min_items: 1,
    ..ListSchema::new(FieldType::Object(&GROUP))
};

/// States of a policy.
const STATES: FieldType = FieldType::Enum(&["active", "archived"]);

/// Keeps the policies in the requested state.
pub(super) const BY_STATUS: ListFilter = ListFilter::equals("status", STATES);

/// Purpose of a policy, at most 500 characters.
pub(super) const DESCRIPTION: Field =
    Field::new("description", FieldType::TextUpTo(500)).nullable();

/// State of a policy; an `archived` one is not enforced.
pub(super) const STATUS: Field = Field::new("status", STATES);

fn check_key(item: &Item) -> Result<(), &'static str> {
    // Other keys are accepted, because the vendor adds keys.
    match text(item, "key").strip_prefix("metadata.") {
        Some("") => Err("has a key without a name"),
        _ => Ok(()),
    }
}

/// Returns the common declaration of both kinds of policy, without their fields and views.
pub(super) const fn base_resource(
    kind: &'static str,
    object: &'static str,
    path: &'static str,
) -> Resource {
    Resource {
        // The other actions depend on the state of the policy.
        actions: &[CrudAction::Create],
        lookup_key: LookupKey::Id,
        derived_fields: &[TARGET],
        create_fields: &["id", "object"],
        ..Resource::new(kind, object, path)
    }
}

/// Target of a policy, omitted if not set.
pub(super) const TARGET: (&str, DeriveField) =
    ("target", |_, _, policy| policy.get("target").cloned());

/// Assigns a new policy to its workspace.
pub(super) fn assign_workspace(
    store: &Store,
    call: &ApiCall,
    policy: &mut Item,
) -> Result<(), ApiError> {
    policy.insert("workspace_id".to_owned(), call.workspace_id(store)?.into());
    policy.entry("status").or_insert_with(|| "active".into());
    Ok(())
}

/// Lists the policies of one or all workspaces; the active ones unless another state is requested.
pub(super) fn list(policies: &Resource, store: &Store, call: &ApiCall) -> ApiResult {
    let mut query = call.query.clone();
    query.push(("status".to_owned(), "active".to_owned()));
    crud::list(
        policies,
        store,
        &ApiCall {
            query,
            ..ApiCall::default()
        },
    )
}

/// Returns one policy, if it is in the requested state.
pub(super) fn get(policies: &Resource, store: &Store, call: &ApiCall) -> ApiResult {
    let asked = call.query("status").unwrap_or("active");
    validation::validate_value(store, STATES, "status", &asked.into())?;
    find_in_state(policies, store, call, asked)?;
    crud::get(policies, store, call)
}

/// Changes a policy that is not archived.
pub(super) fn update(policies: &Resource, store: &mut Store, call: &ApiCall) -> ApiResult {
    find_in_state(policies, store, call, "active")?;
    crud::update(policies, store, call)
}

/// Archives a policy, which can still be read.
pub(super) fn archive(policies: &Resource, store: &mut Store, call: &ApiCall) -> ApiResult {
    let (id, now) = (
        item_id(find_in_state(policies, store, call, "active")?),
        store.clock.now(),
    );
    if let Some(policy) = store.find_mut(policies.organisation_collection(), &id) {
        policy.insert("status".to_owned(), "archived".into());
        policy.insert("last_updated_at".to_owned(), now.into());
    }
    Ok(empty_object())
}

/// Returns the policy that the path names, if it is in this state.
pub(super) fn find_in_state<'s>(
    policies: &Resource,
    store: &'s Store,
    call: &ApiCall,
    status: &str,
) -> Result<&'s Item, ApiError> {
    let policy = policies.find(store, ORGANISATION, call.handle())?;
    match text(policy, "status") == status {
        true => Ok(policy),
        false => {
            let handle = call.handle().to_owned();
            Err(ApiError::NotFound {
                object: policies.object,
                handle,
            })
        }
    }
}

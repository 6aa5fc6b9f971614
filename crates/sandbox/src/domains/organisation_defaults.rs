//! Organisation defaults: the guardrails that apply to every workspace.

use serde_json::Value;

use super::guardrails::{self, INPUT, OUTPUT};
use crate::{
    call::ApiCall,
    crud::{ApiResult, empty_object, pick},
    field::Field,
    route::{ApiVersion, Domain, get, put},
    store::{CollectionKey, Item, ORGANISATION, Store},
    validation::{self, WriteKind},
};

/// The domain, which the first version of the API does not have.
pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V2],
    resources: &[],
    routes: &[
        get("/admin/organisation/defaults", |store, _| Ok(read(store))),
        put("/admin/organisation/defaults", update),
    ],
};

const COLLECTION: CollectionKey<'static> = CollectionKey {
    kind: "organisation-defaults",
    owner: ORGANISATION,
};

const GUARDRAIL_FIELDS: &[Field] = &[INPUT, OUTPUT];

/// Returns the lists with the id and slug of each guardrail, whichever of them was stored.
fn read(store: &Store) -> Value {
    let stored = store.find(COLLECTION, ORGANISATION);
    let shown = GUARDRAIL_FIELDS.iter().map(|field| {
        let list = stored
            .and_then(|item| item.get(field.name))
            .and_then(Value::as_array);
        let handles = list.into_iter().flatten().filter_map(Value::as_str);
        let found = handles.filter_map(|handle| guardrails::resolve(store, handle).ok());
        (
            field.name.to_owned(),
            found.map(|found| pick(found, &["id", "slug"])).collect(),
        )
    });
    Value::Object(shown.collect())
}

fn update(store: &mut Store, call: &ApiCall) -> ApiResult {
    let change = validation::validate_body(store, GUARDRAIL_FIELDS, &call.body, WriteKind::Update)?;
    guardrails::check_defaults(store, &change)?;
    if let Some(stored) = store.find_mut(COLLECTION, ORGANISATION) {
        stored.extend(change);
    } else {
        let mut fresh = Item::from_iter([("id".to_owned(), ORGANISATION.into())]);
        fresh.extend(change);
        store.insert(COLLECTION, fresh);
    }
    Ok(empty_object())
}

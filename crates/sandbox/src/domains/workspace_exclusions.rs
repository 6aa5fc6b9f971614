//! Workspace exclusions: workspaces to which the organisation's guardrails do not apply.

use serde_json::{Value, json};

use crate::{
    call::ApiCall,
    crud::{ApiResult, empty_object},
    field::{Field, FieldType, ListSchema, ObjectSchema},
    route::{ApiVersion, Domain, get, put},
    store::{CollectionKey, Item, ORGANISATION, Store, flag, text},
    validation::{self, WriteKind},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[],
    routes: &[
        get("/workspace-exclusions/input-guardrails", |store, _| {
            Ok(list(store, INPUT_COLLECTION))
        }),
        put("/workspace-exclusions/input-guardrails", |store, call| {
            update(store, call, INPUT_COLLECTION)
        }),
        get("/workspace-exclusions/output-guardrails", |store, _| {
            Ok(list(store, OUTPUT_COLLECTION))
        }),
        put("/workspace-exclusions/output-guardrails", |store, call| {
            update(store, call, OUTPUT_COLLECTION)
        }),
    ],
};

const INPUT_COLLECTION: CollectionKey<'static> = CollectionKey {
    kind: "input-guardrail-exclusions",
    owner: ORGANISATION,
};
const OUTPUT_COLLECTION: CollectionKey<'static> = CollectionKey {
    kind: "output-guardrail-exclusions",
    owner: ORGANISATION,
};

/// Returns the settings of all workspaces.
fn list(store: &Store, shelf: CollectionKey<'static>) -> Value {
    let rows = store.all(shelf);
    let rows = rows
        .map(|row| json!({ "workspace_id": text(row, "id"), "excluded": flag(row, "excluded") }));
    json!({ "workspaces": rows.collect::<Vec<_>>() })
}

static ROW: ObjectSchema = ObjectSchema::new(&[
    Field::new("workspace_id", FieldType::Workspace).required(),
    Field::new("excluded", FieldType::Bool).required(),
]);

static ROWS: ListSchema = ListSchema {
    unique_field: Some("workspace_id"),
    ..ListSchema::new(FieldType::Object(&ROW))
};

const CHANGE: &[Field] = &[
    Field::new("workspaces", FieldType::List(&ROWS)).required(),
    Field::new("override_existing", FieldType::Bool),
];

/// Changes the given rows, or replaces all existing ones.
fn update(store: &mut Store, call: &ApiCall, shelf: CollectionKey<'static>) -> ApiResult {
    let given = validation::validate_body(store, CHANGE, &call.body, WriteKind::Create)?;
    if flag(&given, "override_existing") {
        store.clear(shelf);
    }
    let rows = given
        .get("workspaces")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    for row in rows.filter_map(Value::as_object) {
        let id = text(row, "workspace_id");
        let excluded = flag(row, "excluded");
        if let Some(known) = store.find_mut(shelf, id) {
            known.insert("excluded".to_owned(), excluded.into());
        } else {
            let fresh = [
                ("id".to_owned(), id.into()),
                ("excluded".to_owned(), excluded.into()),
            ];
            store.insert(shelf, Item::from_iter(fresh));
        }
    }
    Ok(empty_object())
}

//! Workspace exclusions: workspaces to which the organisation's guardrails do not apply.

use serde_json::{Value, json};

use crate::{
    call::Call,
    check::{self, Occasion},
    crud::{Outcome, done},
    field::{Field, Kind, List, Shape},
    route::{Domain, Version, get, put},
    store::{Item, ORGANISATION, Shelf, Store, flag, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1],
    resources: &[],
    routes: &[
        get("/workspace-exclusions/input-guardrails", |store, _| {
            Ok(list(store, INPUT))
        }),
        put("/workspace-exclusions/input-guardrails", |store, call| {
            update(store, call, INPUT)
        }),
        get("/workspace-exclusions/output-guardrails", |store, _| {
            Ok(list(store, OUTPUT))
        }),
        put("/workspace-exclusions/output-guardrails", |store, call| {
            update(store, call, OUTPUT)
        }),
    ],
};

const INPUT: Shelf<'static> = Shelf {
    kind: "input-guardrail-exclusions",
    owner: ORGANISATION,
};
const OUTPUT: Shelf<'static> = Shelf {
    kind: "output-guardrail-exclusions",
    owner: ORGANISATION,
};

/// Returns the settings of all workspaces.
fn list(store: &Store, shelf: Shelf<'static>) -> Value {
    let rows = store.all(shelf);
    let rows = rows
        .map(|row| json!({ "workspace_id": text(row, "id"), "excluded": flag(row, "excluded") }));
    json!({ "workspaces": rows.collect::<Vec<_>>() })
}

static ROW: Shape = Shape::of(&[
    Field::new("workspace_id", Kind::Workspace).required(),
    Field::new("excluded", Kind::Flag).required(),
]);

static ROWS: List = List {
    unique: Some("workspace_id"),
    ..List::of(Kind::Shape(&ROW))
};

const CHANGE: &[Field] = &[
    Field::new("workspaces", Kind::List(&ROWS)).required(),
    Field::new("override_existing", Kind::Flag),
];

/// Changes the given rows, or replaces all existing ones.
fn update(store: &mut Store, call: &Call, shelf: Shelf<'static>) -> Outcome {
    let given = check::body(store, CHANGE, &call.body, Occasion::Create)?;
    if flag(&given, "override_existing") {
        store.clear(shelf);
    }
    let rows = given
        .get("workspaces")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    for row in rows.filter_map(Value::as_object) {
        let (id, excluded) = (text(row, "workspace_id"), flag(row, "excluded"));
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
    Ok(done())
}

//! Organisation defaults: the guardrails of every workspace.

use serde_json::{Value, json};

use crate::sandbox::{
    call::Call,
    check::{self, Occasion},
    crud::{Outcome, done},
    field::{Field, Kind, List},
    route::{Domain, Version, get, put},
    store::{Item, ORGANISATION, Shelf, Store},
};

/// The domain. The first version of the API does not know it.
pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V2],
    resources: &[],
    routes: &[
        get("/admin/organisation/defaults", |store, _| Ok(read(store))),
        put("/admin/organisation/defaults", update),
    ],
};

const SHELF: Shelf<'static> = Shelf { kind: "organisation-defaults", owner: ORGANISATION };

const LISTS: [&str; 2] = ["input_guardrails", "output_guardrails"];

/// The lists, each guardrail under the name it was given by.
fn read(store: &Store) -> Value {
    let stored = store.find(SHELF, ORGANISATION);
    let shown = LISTS.iter().map(|&name| {
        let list = stored.and_then(|item| item.get(name)).and_then(Value::as_array);
        let list = list.into_iter().flatten();
        let list = list.map(|guardrail| json!({ "id": guardrail, "slug": guardrail }));
        (name.to_owned(), list.collect())
    });
    Value::Object(shown.collect())
}

static GUARDRAILS: List = List::of(Kind::Name);

const CHANGE: &[Field] = &[
    Field::new("input_guardrails", Kind::List(&GUARDRAILS)),
    Field::new("output_guardrails", Kind::List(&GUARDRAILS)),
];

fn update(store: &mut Store, call: &Call) -> Outcome {
    let change = check::body(store, CHANGE, &call.body, Occasion::Update)?;
    if let Some(stored) = store.find_mut(SHELF, ORGANISATION) {
        stored.extend(change);
    } else {
        let mut fresh = Item::from_iter([("id".to_owned(), ORGANISATION.into())]);
        fresh.extend(change);
        store.insert(SHELF, fresh);
    }
    Ok(done())
}

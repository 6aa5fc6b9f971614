//! Feedback: scores for logged requests, assigned by trace.

use serde_json::{Value, json};

use crate::{
    call::Call,
    check::{self, Occasion},
    crud::Outcome,
    field::{Field, Kind, Preset, Shape},
    refusal::Refusal,
    route::{Domain, Version, post, put},
    store::{HISTORY, Item, Shelf, Store},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1],
    resources: &[],
    routes: &[
        post("/feedback", create).takes_list(),
        put("/feedback/{id}", update),
    ],
};

/// Collection of all feedback.
pub(super) const SHELF: Shelf<'static> = Shelf {
    kind: "feedback",
    owner: HISTORY,
};

const FIELDS: &[Field] = &[
    Field::new("trace_id", Kind::Name).required().fixed(),
    // Clients also send the score as a text.
    Field::new("value", Kind::WholeOrText(-10, 10))
        .required()
        .nullable(),
    Field::new("weight", Kind::Number(0.0, 1.0)).nullable(),
    Field::new("metadata", Kind::Object)
        .nullable()
        .preset(Preset::EmptyObject),
];

static FEEDBACK: Shape = Shape::of(FIELDS);

/// Stores all feedback of a call, or none if one is invalid. A trace without a log is valid,
/// because the log may follow later.
fn create(store: &mut Store, call: &Call) -> Outcome {
    let given = match &call.list {
        Some(list) => list
            .iter()
            .enumerate()
            .map(|(index, one)| {
                check::value(store, Kind::Shape(&FEEDBACK), &format!("[{index}]"), one)
            })
            .collect::<Result<Vec<_>, _>>()?,
        None => vec![Value::Object(check::body(
            store,
            FIELDS,
            &call.body,
            Occasion::Create,
        )?)],
    };
    let mut ids = Vec::new();
    for one in given {
        let id = store.next_id();
        let mut item = Item::from_iter([("weight".to_owned(), 1.into())]);
        item.extend(one.as_object().cloned().unwrap_or_default());
        item.insert("id".to_owned(), id.clone().into());
        store.insert(SHELF, item);
        ids.push(id);
    }
    Ok(saved("created", &ids))
}

/// Changes the given fields of a feedback.
fn update(store: &mut Store, call: &Call) -> Outcome {
    let change = check::body(store, FIELDS, &call.body, Occasion::Update)?;
    let id = call.handle();
    let missing = || Refusal::Missing {
        object: "feedback",
        handle: id.to_owned(),
    };
    store
        .find_mut(SHELF, id)
        .ok_or_else(missing)?
        .extend(change);
    Ok(saved("updated", &[id.to_owned()]))
}

fn saved(what: &str, ids: &[String]) -> Value {
    json!({ "status": "success", "message": format!("Feedback {what}"), "feedback_ids": ids })
}

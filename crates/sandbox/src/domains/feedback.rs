//! Feedback: scores for logged requests, assigned by trace.

use serde_json::{Value, json};

use crate::{
    api_error::ApiError,
    call::ApiCall,
    crud::ApiResult,
    field::{DefaultValue, Field, FieldType, ObjectSchema},
    route::{ApiVersion, Domain, post, put},
    store::{CollectionKey, HISTORY, Item, Store},
    validation::{self, WriteKind},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[],
    routes: &[
        post("/feedback", create).with_list_body(),
        put("/feedback/{id}", update),
    ],
};

/// Collection of all feedback.
pub(super) const COLLECTION: CollectionKey<'static> = CollectionKey {
    kind: "feedback",
    owner: HISTORY,
};

const FIELDS: &[Field] = &[
    Field::new("trace_id", FieldType::Name)
        .required()
        .immutable(),
    // Clients also send the score as a text.
    Field::new("value", FieldType::IntegerOrText(-10, 10))
        .required()
        .nullable(),
    Field::new("weight", FieldType::Number(0.0, 1.0)).nullable(),
    Field::new("metadata", FieldType::AnyObject)
        .nullable()
        .with_default(DefaultValue::EmptyObject),
];

static FEEDBACK: ObjectSchema = ObjectSchema::new(FIELDS);

/// Stores all feedback of a call, or none if one is invalid. A trace without a log is valid,
/// because the log may follow later.
fn create(store: &mut Store, call: &ApiCall) -> ApiResult {
    let given = match &call.list {
        Some(list) => list
            .iter()
            .enumerate()
            .map(|(index, one)| {
                validation::validate_value(
                    store,
                    FieldType::Object(&FEEDBACK),
                    &format!("[{index}]"),
                    one,
                )
            })
            .collect::<Result<Vec<_>, _>>()?,
        None => vec![Value::Object(validation::validate_body(
            store,
            FIELDS,
            &call.body,
            WriteKind::Create,
        )?)],
    };
    let mut ids = Vec::new();
    for one in given {
        let id = store.next_id();
        let mut item = Item::from_iter([("weight".to_owned(), 1.into())]);
        item.extend(one.as_object().cloned().unwrap_or_default());
        item.insert("id".to_owned(), id.clone().into());
        store.insert(COLLECTION, item);
        ids.push(id);
    }
    Ok(feedback_body("created", &ids))
}

/// Changes the given fields of a feedback.
fn update(store: &mut Store, call: &ApiCall) -> ApiResult {
    let change = validation::validate_body(store, FIELDS, &call.body, WriteKind::Update)?;
    let id = call.handle();
    let missing = || ApiError::NotFound {
        object: "feedback",
        handle: id.to_owned(),
    };
    store
        .find_mut(COLLECTION, id)
        .ok_or_else(missing)?
        .extend(change);
    Ok(feedback_body("updated", &[id.to_owned()]))
}

fn feedback_body(what: &str, ids: &[String]) -> Value {
    json!({ "status": "success", "message": format!("Feedback {what}"), "feedback_ids": ids })
}

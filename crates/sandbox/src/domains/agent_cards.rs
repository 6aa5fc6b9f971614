//! Agent cards and skills, which agent integrations and agent servers share.

use serde_json::{Value, json};

use crate::{
    api_error::ApiError,
    call::ApiCall,
    crud::{ApiResult, empty_object},
    field::{Field, FieldType, ListSchema},
    page::Envelope,
    store::{CollectionKey, Item, Store, text},
    validation::{self, WriteKind},
};

/// Private field with the ids of the skills that may be used; all of them without it.
const ENABLED_SKILLS_FIELD: &str = "enabled_skills";

/// Returns the card of an agent, which has one skill.
pub(super) fn default_card(slug: &str, name: &str, description: &str) -> Value {
    json!({
        "protocolVersion": "0.3.0",
        "name": name,
        "description": description,
        "url": format!("https://agents.example.com/{slug}"),
        "version": "1.0.0",
        "capabilities": { "streaming": true },
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
        "skills": [{ "id": slug, "name": name, "description": description, "tags": [] }],
    })
}

/// Lists the skills of a card, each with whether `item` lets it be used.
pub(super) fn list_skills(card: &Value, item: &Item) -> Value {
    let enabled = item.get(ENABLED_SKILLS_FIELD).and_then(Value::as_array);
    let skills = card.get("skills").and_then(Value::as_array);
    let shown = skills.into_iter().flatten().map(|skill| {
        let id = skill.get("id").cloned().unwrap_or_default();
        let is_enabled = enabled.is_none_or(|ids| ids.contains(&id));
        json!({ "id": id, "name": skill.get("name"), "description": skill.get("description"),
            "enabled": is_enabled })
    });
    let shown: Vec<Value> = shown.collect();
    Envelope::LIST.wrap(shown.len(), false, shown)
}

/// A list of handles, each as text or as an object with an `id`.
pub(super) static HANDLES: ListSchema = ListSchema::new(FieldType::TextOrObject);

/// Returns the handle in an item of [`HANDLES`].
pub(super) fn handle_of(value: &Value) -> &str {
    let id = value.get("id").or(value.get("user_id")).unwrap_or(value);
    id.as_str().unwrap_or_default()
}

const SKILLS: &[Field] = &[Field::new("skills", FieldType::List(&HANDLES)).required()];

/// Sets the skills of an item that may be used.
pub(super) fn update_skills(
    store: &mut Store,
    call: &ApiCall,
    items: CollectionKey<'_>,
    item: &Item,
) -> ApiResult {
    let given = validation::validate_body(store, SKILLS, &call.body, WriteKind::Create)?;
    let skills = given.get("skills").and_then(Value::as_array);
    let ids: Vec<Value> = skills
        .into_iter()
        .flatten()
        .map(|skill| handle_of(skill).into())
        .collect();
    if ids.iter().any(|id| id == "") {
        return Err(ApiError::invalid_field("skills", "must have an id each"));
    }
    let id = text(item, "id");
    if let Some(stored) = store.find_mut(items, id) {
        stored.insert(ENABLED_SKILLS_FIELD.to_owned(), ids.into());
    }
    Ok(empty_object())
}

//! Models of an integration: those of its provider, and custom ones.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{
    common_fields::named_list,
    integrations::{INTEGRATIONS, find_for_call},
};
use crate::{
    api_error::ApiError,
    call::{ApiCall, item_id},
    crud::{ApiResult, empty_object, pick},
    field::{DefaultValue, Field, FieldType, ListSchema, ObjectSchema},
    store::{CollectionKey, Item, Store, flag, text},
    validation::{self, WriteKind},
};

/// Returns the collection of an integration's models.
pub(super) fn collection_key(integration: &str) -> CollectionKey<'_> {
    CollectionKey {
        kind: "integration-models",
        owner: integration,
    }
}

/// Returns some of the models that a provider offers.
fn provider_models(provider: &str) -> &'static [&'static str] {
    match provider {
        "openai" => &["gpt-4o", "gpt-4o-mini", "o3-mini", "text-embedding-3-small"],
        "azure-openai" => &["gpt-4o", "gpt-4o-mini"],
        "anthropic" => &["claude-opus-4-1", "claude-sonnet-4-5", "claude-haiku-4-5"],
        "bedrock" => &["amazon.nova-pro-v1:0", "anthropic.claude-sonnet-4-5-v1:0"],
        "vertex-ai" => &["gemini-2.5-flash", "gemini-2.5-pro"],
        _ => &[],
    }
}

/// Adds the models of its provider to a new integration. They are disabled unless it allows all
/// models.
pub(super) fn insert_provider_models(store: &mut Store, integration: &Item) {
    let enabled = flag(integration, ALLOW_ALL_FIELD);
    for slug in provider_models(text(integration, "ai_provider_id")) {
        store.insert(
            collection_key(text(integration, "id")),
            new_model(slug, enabled),
        );
    }
}

fn new_model(slug: &str, enabled: bool) -> Item {
    let model = json!({ "slug": slug, "name": slug, "enabled": enabled, "is_custom": false });
    model.as_object().cloned().unwrap_or_default()
}

/// Returns the models of an integration.
pub(super) fn list(store: &mut Store, call: &ApiCall) -> ApiResult {
    const SHOWN: &[&str] = &[
        "slug",
        "name",
        "enabled",
        "is_custom",
        "is_finetune",
        "base_model_slug",
        "pricing_config",
        "configurations",
    ];
    let integration = find_for_call(store, call)?;
    let models = store
        .all(collection_key(text(integration, "id")))
        .map(|model| pick(model, SHOWN));
    let mut answer = named_list("models", models.collect());
    if let Some(answer) = answer.as_object_mut() {
        answer.insert(
            ALLOW_ALL_FIELD.to_owned(),
            flag(integration, ALLOW_ALL_FIELD).into(),
        );
    }
    Ok(answer)
}

static PRICE: ObjectSchema = ObjectSchema::with_unknown_fields(&[
    Field::new("type", FieldType::Name).with_default(DefaultValue::Text("static")),
    Field::new("pay_as_you_go", FieldType::Multipliers),
]);

static CONFIGURATIONS: ObjectSchema = ObjectSchema::with_unknown_fields(&[
    Field::new("custom_host", FieldType::PublicUrl),
    Field::new("custom_headers", FieldType::Labels),
]);

static MODEL: ObjectSchema = ObjectSchema::new(&[
    Field::new("slug", FieldType::Name).required(),
    Field::new("enabled", FieldType::Bool).required(),
    Field::new("is_custom", FieldType::Bool).nullable(),
    Field::new("is_finetune", FieldType::Bool).nullable(),
    Field::new("base_model_slug", FieldType::Text).nullable(),
    Field::new("configurations", FieldType::Object(&CONFIGURATIONS)),
    Field::new("pricing_config", FieldType::Object(&PRICE)),
]);

static MODELS: ListSchema = ListSchema {
    unique_field: Some("slug"),
    ..ListSchema::new(FieldType::Object(&MODEL))
};

const UPDATE: &[Field] = &[
    Field::new("models", FieldType::List(&MODELS)).required(),
    Field::new(ALLOW_ALL_FIELD, FieldType::Bool),
];

/// Field that enables all models of the provider.
const ALLOW_ALL_FIELD: &str = "allow_all_models";

/// Updates the named models and adds new ones; others are unchanged.
pub(super) fn update(store: &mut Store, call: &ApiCall) -> ApiResult {
    let id = item_id(find_for_call(store, call)?);
    let given = validation::validate_body(store, UPDATE, &call.body, WriteKind::Create)?;
    let models = given
        .get("models")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    for model in models.filter_map(Value::as_object) {
        let slug = text(model, "slug");
        if store.find(collection_key(&id), slug).is_none() {
            store.insert(collection_key(&id), new_model(slug, true));
        }
        if let Some(stored) = store.find_mut(collection_key(&id), slug) {
            stored.extend(model.clone());
        }
    }
    if let (Some(allow), Some(integration)) = (
        given.get(ALLOW_ALL_FIELD),
        store.find_mut(INTEGRATIONS.organisation_collection(), &id),
    ) {
        integration.insert(ALLOW_ALL_FIELD.to_owned(), allow.clone());
    }
    Ok(empty_object())
}

/// Removes the named custom models, or none if one is not custom.
pub(super) fn delete(store: &mut Store, call: &ApiCall) -> ApiResult {
    let id = item_id(find_for_call(store, call)?);
    if !call.body.is_empty() {
        return Err(ApiError::Invalid(
            "Name the models in the query, as `slugs`".to_owned(),
        ));
    }
    let slugs = call
        .query("slugs")
        .ok_or_else(|| ApiError::invalid_field("slugs", "is required"))?;
    let slugs: HashSet<&str> = slugs.split(',').map(str::trim).collect();
    let custom = |slug: &str| {
        let model = store.find(collection_key(&id), slug);
        model.is_some_and(|model| flag(model, "is_custom") || flag(model, "is_finetune"))
    };
    let mut others: Vec<&str> = slugs.iter().copied().filter(|slug| !custom(slug)).collect();
    others.sort_unstable();
    if !others.is_empty() {
        let others = others.join("`, `");
        return Err(ApiError::invalid_field(
            "slugs",
            format_args!("has no custom model in `{others}`"),
        ));
    }
    for slug in slugs {
        store.remove(collection_key(&id), slug);
    }
    Ok(empty_object())
}

//! Models of an integration: those of its provider, and custom ones.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{
    integrations::{INTEGRATIONS, named},
    parts::named_list,
};
use crate::{
    call::{Call, id_of},
    check::{self, Occasion},
    crud::{Outcome, done, pick},
    field::{Field, Kind, List, Preset, Shape},
    refusal::Refusal,
    store::{Item, Shelf, Store, flag, text},
};

/// Returns the collection of an integration's models.
pub(super) fn shelf(integration: &str) -> Shelf<'_> {
    Shelf {
        kind: "integration-models",
        owner: integration,
    }
}

/// Returns some of the models that a provider offers.
fn catalogue(provider: &str) -> &'static [&'static str] {
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
pub(super) fn stock(store: &mut Store, integration: &Item) {
    let enabled = flag(integration, ALLOW_ALL);
    for slug in catalogue(text(integration, "ai_provider_id")) {
        store.insert(shelf(text(integration, "id")), fresh(slug, enabled));
    }
}

fn fresh(slug: &str, enabled: bool) -> Item {
    let model = json!({ "slug": slug, "name": slug, "enabled": enabled, "is_custom": false });
    model.as_object().cloned().unwrap_or_default()
}

/// Returns the models of an integration.
pub(super) fn list(store: &mut Store, call: &Call) -> Outcome {
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
    let integration = named(store, call)?;
    let models = store
        .all(shelf(text(integration, "id")))
        .map(|model| pick(model, SHOWN));
    let mut answer = named_list("models", models.collect());
    if let Some(answer) = answer.as_object_mut() {
        answer.insert(ALLOW_ALL.to_owned(), flag(integration, ALLOW_ALL).into());
    }
    Ok(answer)
}

static PRICE: Shape = Shape::open(&[
    Field::new("type", Kind::Name).preset(Preset::Text("static")),
    Field::new("pay_as_you_go", Kind::Multipliers),
]);

static CONFIGURATIONS: Shape = Shape::open(&[
    Field::new("custom_host", Kind::PublicUrl),
    Field::new("custom_headers", Kind::Labels),
]);

static MODEL: Shape = Shape::of(&[
    Field::new("slug", Kind::Name).required(),
    Field::new("enabled", Kind::Flag).required(),
    Field::new("is_custom", Kind::Flag).nullable(),
    Field::new("is_finetune", Kind::Flag).nullable(),
    Field::new("base_model_slug", Kind::Text).nullable(),
    Field::new("configurations", Kind::Shape(&CONFIGURATIONS)),
    Field::new("pricing_config", Kind::Shape(&PRICE)),
]);

static MODELS: List = List {
    unique: Some("slug"),
    ..List::of(Kind::Shape(&MODEL))
};

const UPDATE: &[Field] = &[
    Field::new("models", Kind::List(&MODELS)).required(),
    Field::new(ALLOW_ALL, Kind::Flag),
];

/// Field that enables all models of the provider.
const ALLOW_ALL: &str = "allow_all_models";

/// Updates the named models and adds new ones; others are unchanged.
pub(super) fn update(store: &mut Store, call: &Call) -> Outcome {
    let id = id_of(named(store, call)?);
    let given = check::body(store, UPDATE, &call.body, Occasion::Create)?;
    let models = given
        .get("models")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    for model in models.filter_map(Value::as_object) {
        let slug = text(model, "slug");
        if store.find(shelf(&id), slug).is_none() {
            store.insert(shelf(&id), fresh(slug, true));
        }
        if let Some(stored) = store.find_mut(shelf(&id), slug) {
            stored.extend(model.clone());
        }
    }
    if let (Some(allow), Some(integration)) = (
        given.get(ALLOW_ALL),
        store.find_mut(INTEGRATIONS.shared(), &id),
    ) {
        integration.insert(ALLOW_ALL.to_owned(), allow.clone());
    }
    Ok(done())
}

/// Removes the named custom models, or none if one is not custom.
pub(super) fn delete(store: &mut Store, call: &Call) -> Outcome {
    let id = id_of(named(store, call)?);
    if !call.body.is_empty() {
        return Err(Refusal::Invalid(
            "Name the models in the query, as `slugs`".to_owned(),
        ));
    }
    let slugs = call
        .query("slugs")
        .ok_or_else(|| Refusal::field("slugs", "is required"))?;
    let slugs: HashSet<&str> = slugs.split(',').map(str::trim).collect();
    let custom = |slug: &str| {
        let model = store.find(shelf(&id), slug);
        model.is_some_and(|model| flag(model, "is_custom") || flag(model, "is_finetune"))
    };
    let mut others: Vec<&str> = slugs.iter().copied().filter(|slug| !custom(slug)).collect();
    others.sort_unstable();
    if !others.is_empty() {
        let others = others.join("`, `");
        return Err(Refusal::field(
            "slugs",
            format_args!("has no custom model in `{others}`"),
        ));
    }
    for slug in slugs {
        store.remove(shelf(&id), slug);
    }
    Ok(done())
}

//! Model pricing: Portkey's public catalogue of model prices and abilities, which takes no key.

use portkey_operation::{ApiBase, Operation, get};
use schemars::JsonSchema;
use serde::Deserialize;

/// Operations of the domain `model-pricing`.
pub const OPERATIONS: &[Operation] = &[
    get::<GetGeneralConfig>(
        "get-general-model-config",
        "/model-configs/general/{provider}/{model}",
    )
    .with_search_terms(&[
        "context window",
        "max tokens",
        "vision support",
        "function calling",
        "capabilities",
        "specs",
    ])
    .with_base(ApiBase::Catalogue),
    get::<GetPricing>(
        "get-model-pricing",
        "/model-configs/pricing/{provider}/{model}",
    )
    .with_search_terms(&[
        "how much",
        "cost of tokens",
        "rate",
        "tariff",
        "Preis",
        "expensive",
    ])
    .with_base(ApiBase::Catalogue),
    get::<ListPricing>("list-provider-pricing", "/pricing/{provider}.json")
        .with_search_terms(&["tariff table", "compare costs", "rates", "Preisliste"])
        .with_base(ApiBase::PriceLists),
];

/// Get a model's general config
///
/// Returns the parameters and abilities of one model, from the public catalogue.
#[derive(Deserialize, JsonSchema)]
pub struct GetGeneralConfig {
    /// Provider id, such as `openai`.
    pub provider: String,
    /// Exact model name.
    pub model: String,
}

/// Get a model's price
///
/// Returns the list price of one model. Prices are US CENTS per token: times 10,000 for dollars per
/// million. An integration may have prices of its own.
#[derive(Deserialize, JsonSchema)]
pub struct GetPricing {
    /// Provider id, such as `openai`.
    pub provider: String,
    /// Exact model name.
    pub model: String,
}

/// List a provider's prices
///
/// Returns the list prices of all of a provider's models by name, in US CENTS per token. Long; for one
/// model use `get-model-pricing`.
#[derive(Deserialize, JsonSchema)]
pub struct ListPricing {
    /// Provider id, such as `openai`.
    pub provider: String,
}

//! Prices of an integration's tokens: multipliers on the list prices.

use std::collections::BTreeMap;

use portkey_operation::Nullable;
use schemars::JsonSchema;
use serde::Deserialize;

/// multiplier: factor on the list price, 0.8 being 20% off, by default (which null inherits),
/// {request,response}_{token,audio_token,image_token,text_token},
/// cache_{read,write}_{input,image_input,text_input}_token, cache_read_audio_input_token,
/// reasoning_token, prediction_{accepted,rejected}_token, image.default, additional_units.{unit}.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct PricingAdjustments {
    pub multiplier: Option<PricingMultiplier>,
}

/// Factors by price key; a key left out or `null` takes that of `default`.
#[derive(Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are Portkey's price keys")]
pub struct PricingMultiplier {
    #[schemars(range(min = 0))]
    pub default: Nullable<f64>,
    #[schemars(range(min = 0))]
    pub request_token: Nullable<f64>,
    #[schemars(range(min = 0))]
    pub response_token: Nullable<f64>,
    #[schemars(range(min = 0))]
    pub cache_read_input_token: Nullable<f64>,
    #[schemars(range(min = 0))]
    pub cache_write_input_token: Nullable<f64>,
    #[schemars(range(min = 0))]
    pub cache_read_audio_input_token: Nullable<f64>,
    #[schemars(range(min = 0))]
    pub request_audio_token: Nullable<f64>,
    #[schemars(range(min = 0))]
    pub response_audio_token: Nullable<f64>,
    #[schemars(range(min = 0))]
    pub reasoning_token: Nullable<f64>,
    #[schemars(range(min = 0))]
    pub prediction_accepted_token: Nullable<f64>,
    #[schemars(range(min = 0))]
    pub prediction_rejected_token: Nullable<f64>,
    #[schemars(range(min = 0))]
    pub request_image_token: Nullable<f64>,
    #[schemars(range(min = 0))]
    pub response_image_token: Nullable<f64>,
    #[schemars(range(min = 0))]
    pub request_text_token: Nullable<f64>,
    #[schemars(range(min = 0))]
    pub response_text_token: Nullable<f64>,
    #[schemars(range(min = 0))]
    pub cache_read_image_input_token: Nullable<f64>,
    #[schemars(range(min = 0))]
    pub cache_read_text_input_token: Nullable<f64>,
    #[schemars(range(min = 0))]
    pub cache_write_text_input_token: Nullable<f64>,
    #[schemars(range(min = 0))]
    pub cache_write_image_input_token: Nullable<f64>,
    pub image: Nullable<ImagePricing>,
    pub additional_units: Nullable<BTreeMap<String, Nullable<f64>>>,
}

/// Factor for generated images.
#[derive(Deserialize, JsonSchema)]
pub struct ImagePricing {
    /// Factor for every quality and size.
    #[schemars(range(min = 0))]
    pub default: Nullable<f64>,
}

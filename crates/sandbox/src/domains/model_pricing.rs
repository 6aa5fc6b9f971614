//! Model pricing: a small public catalogue with invented prices, in US cents per token.

use serde_json::{Value, json};

use crate::{
    api_error::ApiError,
    call::ApiCall,
    crud::ApiResult,
    route::{ApiVersion, Domain, get},
    store::{Item, Store},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::Public],
    resources: &[],
    routes: &[
        get("/model-configs/general/{provider}/{model}", get_general),
        get("/model-configs/pricing/{provider}/{model}", get_pricing),
        get("/pricing/{provider}.json", get_price_list),
    ],
};

/// A model: provider, name, prices of prompt and completion tokens in cents, context window and
/// maximum output.
struct CatalogueModel {
    provider: &'static str,
    name: &'static str,
    request: f64,
    response: f64,
    context: u32,
    output: u32,
}

const CATALOGUE: [CatalogueModel; 5] = [
    CatalogueModel {
        provider: "openai",
        name: "gpt-4o",
        request: 0.000_25,
        response: 0.001,
        context: 128_000,
        output: 16_384,
    },
    CatalogueModel {
        provider: "openai",
        name: "gpt-4o-mini",
        request: 0.000_015,
        response: 0.000_06,
        context: 128_000,
        output: 16_384,
    },
    CatalogueModel {
        provider: "openai",
        name: "o3-mini",
        request: 0.000_11,
        response: 0.000_44,
        context: 200_000,
        output: 100_000,
    },
    CatalogueModel {
        provider: "anthropic",
        name: "claude-sonnet-4",
        request: 0.000_3,
        response: 0.001_5,
        context: 200_000,
        output: 64_000,
    },
    CatalogueModel {
        provider: "vertex-ai",
        name: "gemini-2.5-flash",
        request: 0.000_03,
        response: 0.000_25,
        context: 1_048_576,
        output: 65_536,
    },
];

/// Returns the model that the path names by provider and name.
fn find_for_call(call: &ApiCall) -> Result<&'static CatalogueModel, ApiError> {
    let (provider, name) = match call.path.as_slice() {
        [provider, name] => (provider, name),
        _ => return Err(ApiError::NotInCatalogue),
    };
    let mut models = CATALOGUE.iter();
    let found = models.find(|model| model.provider == provider && model.name == name);
    found.ok_or(ApiError::NotInCatalogue)
}

fn get_general(_: &mut Store, call: &ApiCall) -> ApiResult {
    let model = find_for_call(call)?;
    Ok(json!({
        "params": [
            { "key": "max_tokens", "defaultValue": 1024, "minValue": 1, "maxValue": model.output },
            { "key": "temperature", "defaultValue": 1, "minValue": 0, "maxValue": 2 },
        ],
        "type": { "primary": "chat", "supported": ["tools"] },
        "context_window": model.context,
    }))
}

fn get_pricing(_: &mut Store, call: &ApiCall) -> ApiResult {
    find_for_call(call).map(price)
}

fn price(model: &CatalogueModel) -> Value {
    let usage = |token: &str, rate: &str| {
        json!({ "operation": "multiply",
        "operands": [{ "value": token }, { "value": rate }] })
    };
    json!({
        "pay_as_you_go": {
            "request_token": { "price": model.request },
            "response_token": { "price": model.response },
        },
        "calculate": {
            "request": usage("input_tokens", "rates.request_token"),
            "response": usage("output_tokens", "rates.response_token"),
        },
        "currency": "USD",
    })
}

fn get_price_list(_: &mut Store, call: &ApiCall) -> ApiResult {
    let provider = call.handle().strip_suffix(".json").unwrap_or_default();
    let models = CATALOGUE.iter().filter(|model| model.provider == provider);
    let list: Item = models
        .map(|model| {
            (
                model.name.to_owned(),
                json!({ "pricing_config": price(model) }),
            )
        })
        .collect();
    match list.is_empty() {
        true => Err(ApiError::NotInCatalogue),
        false => Ok(Value::Object(list)),
    }
}

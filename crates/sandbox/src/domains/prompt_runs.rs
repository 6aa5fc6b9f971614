//! Runs of prompts: rendered requests and simulated completions.
//!
//! No model is called: a completion states which prompt was run with which variables. The response
//! is complete even if a stream is requested.

use serde_json::{Value, json};

use super::{
    labels, prompt_partials,
    prompts::{self, PROMPTS},
    templates::{TemplateValues, value_as_text},
    versions::{self, NUMBER_FIELD},
};
use crate::{
    api_error::ApiError,
    call::ApiCall,
    crud::ApiResult,
    field::{Field, FieldType},
    store::{Item, ORGANISATION, Store, text},
    validation::{self, WriteKind},
};

/// Maximum number of choices per call.
const MAX_CHOICES: u64 = 16;

/// A prepared run of a prompt.
struct PromptRun<'s> {
    prompt: &'s Item,
    version: &'s Item,
    variables: Item,
    /// Request for the model.
    request: Item,
}

/// Handles `POST …/render`.
pub(super) fn render(store: &mut Store, call: &ApiCall) -> ApiResult {
    let run = prepare_run(store, call)?;
    Ok(json!({ "success": true, "data": run.request }))
}

/// Handles `POST …/completions`.
pub(super) fn complete(store: &mut Store, call: &ApiCall) -> ApiResult {
    let run = prepare_run(store, call)?;
    let said = compose_answer(&run);
    let is_chat = run.request.contains_key("messages");
    let asked = run.request.get("messages").or(run.request.get("prompt"));
    let asked = asked.map(count_words).unwrap_or_default();
    let many = run
        .request
        .get("n")
        .and_then(Value::as_u64)
        .unwrap_or(1)
        .clamp(1, MAX_CHOICES);
    let choice = |index: u64| match is_chat {
        true => json!({ "index": index, "finish_reason": "stop",
            "message": { "role": "assistant", "content": said } }),
        false => json!({ "index": index, "finish_reason": "stop", "text": said }),
    };
    let choices: Vec<Value> = (0..many).map(choice).collect();
    let written = count_words(&said.as_str().into()) * many;
    let model = run.request.get("model").cloned().unwrap_or_default();
    Ok(json!({
        "id": format!("chatcmpl-sandbox-{}", store.next_id()),
        "object": if is_chat { "chat.completion" } else { "text_completion" },
        "created": store.clock.unix_seconds(),
        "model": model,
        "choices": choices,
        "usage": { "prompt_tokens": asked, "completion_tokens": written,
            "total_tokens": asked + written },
    }))
}

/// Builds the request from the filled template, its parameters and the caller's overrides.
/// `<prompt>@<version>` names a version by number or label.
fn prepare_run<'s>(store: &'s Store, call: &ApiCall) -> Result<PromptRun<'s>, ApiError> {
    const GIVEN: &[Field] = &[Field::new("variables", FieldType::AnyObject).required()];
    let (handle, asked) = match call.handle().split_once('@') {
        Some((handle, asked)) => (handle, Some(asked)),
        None => (call.handle(), None),
    };
    let prompt = PROMPTS.find(store, ORGANISATION, handle)?;
    let shelf = prompts::collection_key(prompt);
    let mut all = store.all(shelf);
    let labelled = all.find(|version| {
        let label = labels::find(store, text(version, "label_id"));
        asked.is_some() && label.map(|label| text(label, "name")) == asked
    });
    let version = match labelled {
        Some(version) => version,
        None => versions::find(store, shelf, prompt, asked)?,
    };
    let mut given = validation::validate_body(store, GIVEN, &call.body, WriteKind::Create)?;
    let variables = match given.remove("variables") {
        Some(Value::Object(variables)) => variables,
        _ => Item::new(),
    };

    let partial = |slug: &str| prompt_partials::find_published_text(store, slug);
    let filling = TemplateValues {
        variables: &variables,
        partial: &partial,
    };
    let mut request = Item::new();
    let template = text(version, "string");
    request.insert(
        "model".to_owned(),
        version.get("model").cloned().unwrap_or_default(),
    );
    match serde_json::from_str::<Vec<Value>>(template) {
        Ok(messages) => {
            request.insert("messages".to_owned(), filling.fill_all(&messages.into()));
        }
        Err(_) => {
            request.insert("prompt".to_owned(), filling.fill(template).into());
        }
    }
    if let Some(Value::Object(parameters)) = version.get("parameters") {
        request.extend(parameters.clone());
    }
    for name in ["functions", "tools", "tool_choice"] {
        if let Some(value) = version.get(name).filter(|value| !value.is_null()) {
            request.insert(name.to_owned(), value.clone());
        }
    }
    let overrides = call.body.iter().filter(|(name, _)| *name != "variables");
    request.extend(overrides.map(|(name, value)| (name.clone(), value.clone())));
    Ok(PromptRun {
        prompt,
        version,
        variables,
        request,
    })
}

/// Returns the simulated completion, which is the same for the same input.
fn compose_answer(run: &PromptRun<'_>) -> String {
    let number = run
        .version
        .get(NUMBER_FIELD)
        .map(value_as_text)
        .unwrap_or_default();
    let prompt = text(run.prompt, "slug");
    let variables = run
        .variables
        .iter()
        .map(|(name, value)| format!("{name}={}", value_as_text(value)));
    let variables = match run.variables.is_empty() {
        true => "no variables".to_owned(),
        false => variables.collect::<Vec<_>>().join(", "),
    };
    format!(
        "This is the sandbox, not a model. It was given {prompt}, version {number}, with {variables}."
    )
}

/// Counts the words in a value, which serve as tokens.
fn count_words(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.split_whitespace().count() as u64,
        Value::Array(items) => items.iter().map(count_words).sum(),
        Value::Object(fields) => fields.values().map(count_words).sum(),
        _ => 0,
    }
}

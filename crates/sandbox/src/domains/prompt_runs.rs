//! Runs of prompts: rendered requests and simulated completions.
//!
//! No model is called: a completion states which prompt was run with which variables. The response
//! is complete even if a stream is requested.

use serde_json::{Value, json};

use super::{
    labels, prompt_partials,
    prompts::{self, PROMPTS},
    templates::{Filling, plain},
    versions::{self, NUMBER},
};
use crate::{
    call::Call,
    check::{self, Occasion},
    crud::Outcome,
    field::{Field, Kind},
    refusal::Refusal,
    store::{Item, ORGANISATION, Store, text},
};

/// Maximum number of choices per call.
const MOST_ANSWERS: u64 = 16;

/// A prepared run of a prompt.
struct Run<'s> {
    prompt: &'s Item,
    version: &'s Item,
    variables: Item,
    /// Request for the model.
    request: Item,
}

/// Handles `POST …/render`.
pub(super) fn render(store: &mut Store, call: &Call) -> Outcome {
    let run = prepare(store, call)?;
    Ok(json!({ "success": true, "data": run.request }))
}

/// Handles `POST …/completions`.
pub(super) fn complete(store: &mut Store, call: &Call) -> Outcome {
    let run = prepare(store, call)?;
    let said = answer(&run);
    let is_chat = run.request.contains_key("messages");
    let asked = run.request.get("messages").or(run.request.get("prompt"));
    let asked = asked.map(words).unwrap_or_default();
    let many = run
        .request
        .get("n")
        .and_then(Value::as_u64)
        .unwrap_or(1)
        .clamp(1, MOST_ANSWERS);
    let choice = |index: u64| match is_chat {
        true => json!({ "index": index, "finish_reason": "stop",
            "message": { "role": "assistant", "content": said } }),
        false => json!({ "index": index, "finish_reason": "stop", "text": said }),
    };
    let choices: Vec<Value> = (0..many).map(choice).collect();
    let written = words(&said.as_str().into()) * many;
    let model = run.request.get("model").cloned().unwrap_or_default();
    Ok(json!({
        "id": format!("chatcmpl-sandbox-{}", store.next_id()),
        "object": if is_chat { "chat.completion" } else { "text_completion" },
        "created": store.clock.unix(),
        "model": model,
        "choices": choices,
        "usage": { "prompt_tokens": asked, "completion_tokens": written,
            "total_tokens": asked + written },
    }))
}

/// Builds the request from the filled template, its parameters and the caller's overrides.
/// `<prompt>@<version>` names a version by number or label.
fn prepare<'s>(store: &'s Store, call: &Call) -> Result<Run<'s>, Refusal> {
    const GIVEN: &[Field] = &[Field::new("variables", Kind::Object).required()];
    let (handle, asked) = match call.handle().split_once('@') {
        Some((handle, asked)) => (handle, Some(asked)),
        None => (call.handle(), None),
    };
    let prompt = PROMPTS.find(store, ORGANISATION, handle)?;
    let shelf = prompts::shelf(prompt);
    let mut all = store.all(shelf);
    let labelled = all.find(|version| {
        let label = labels::find(store, text(version, "label_id"));
        asked.is_some() && label.map(|label| text(label, "name")) == asked
    });
    let version = match labelled {
        Some(version) => version,
        None => versions::find(store, shelf, prompt, asked)?,
    };
    let mut given = check::body(store, GIVEN, &call.body, Occasion::Create)?;
    let variables = match given.remove("variables") {
        Some(Value::Object(variables)) => variables,
        _ => Item::new(),
    };

    let partial = |slug: &str| prompt_partials::published(store, slug);
    let filling = Filling {
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
    Ok(Run {
        prompt,
        version,
        variables,
        request,
    })
}

/// Returns the simulated completion, which is the same for the same input.
fn answer(run: &Run<'_>) -> String {
    let number = run.version.get(NUMBER).map(plain).unwrap_or_default();
    let prompt = text(run.prompt, "slug");
    let told = run
        .variables
        .iter()
        .map(|(name, value)| format!("{name}={}", plain(value)));
    let told = match run.variables.is_empty() {
        true => "no variables".to_owned(),
        false => told.collect::<Vec<_>>().join(", "),
    };
    format!(
        "This is the sandbox, not a model. It was given {prompt}, version {number}, with {told}."
    )
}

/// Counts the words in a value, which serve as tokens.
fn words(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.split_whitespace().count() as u64,
        Value::Array(items) => items.iter().map(words).sum(),
        Value::Object(fields) => fields.values().map(words).sum(),
        _ => 0,
    }
}

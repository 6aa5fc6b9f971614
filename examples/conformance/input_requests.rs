//! Fixtures that request input from the client. In sessions they send a request while they run. In
//! the stateless protocol their result names the missing input.

use rmcp::{
    ErrorData, Peer, RoleServer,
    model::{
        CallToolResponse, ClientCapabilities, GetPromptResponse, InputRequest, InputRequests,
        InputRequiredResult, InputResponses, JsonObject, ServerRequest,
    },
    service::RequestContext,
};
use serde_json::{Value, json};

use crate::fixtures::{complete_result, from_json};

/// Names and descriptions of the tools without arguments.
pub(crate) const TOOLS_WITHOUT_ARGUMENTS: &[(&str, &str)] = &[
    (
        "test_elicitation_sep1034_defaults",
        "Asks the user, with defaults.",
    ),
    (
        "test_elicitation_sep1330_enums",
        "Asks the user to choose, in every way there is.",
    ),
    ("test_missing_capability", "Needs a client that samples."),
    (
        "test_streaming_elicitation",
        "Asks the user and says nothing else meanwhile.",
    ),
    (
        "test_input_required_result_elicitation",
        "Asks the user for a name.",
    ),
    (
        "test_input_required_result_sampling",
        "Asks the client's model.",
    ),
    (
        "test_input_required_result_list_roots",
        "Asks for the client's roots.",
    ),
    (
        "test_input_required_result_request_state",
        "Wants its state back.",
    ),
    (
        "test_input_required_result_multiple_inputs",
        "Asks for three things at once.",
    ),
    ("test_input_required_result_multi_round", "Asks twice."),
    (
        "test_input_required_result_tampered_state",
        "Refuses a state it did not give out.",
    ),
    (
        "test_input_required_result_capabilities",
        "Asks only for what the client can do.",
    ),
];

fn elicit(message: &str, properties: Value) -> Value {
    let required: Vec<_> = properties
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
        .collect();
    let schema = json!({ "type": "object", "properties": properties, "required": required });
    let params = json!({ "mode": "form", "message": message, "requestedSchema": schema });
    json!({ "method": "elicitation/create", "params": params })
}

fn elicit_text(message: &str, name: &str) -> Value {
    elicit(message, json!({ name: { "type": "string" } }))
}

fn sample(prompt: &str, most: u32) -> Value {
    let message = json!({ "role": "user", "content": { "type": "text", "text": prompt } });
    let params = json!({ "messages": [message], "maxTokens": most });
    json!({ "method": "sampling/createMessage", "params": params })
}

fn roots() -> Value {
    json!({ "method": "roots/list", "params": {} })
}

/// Sends a request to the client of a session and returns the client's result.
async fn ask(client: &Peer<RoleServer>, request: Value) -> Result<Value, String> {
    let request: InputRequest = from_json(request).map_err(|error| error.to_string())?;
    let request = match request {
        InputRequest::CreateMessage(request) => ServerRequest::CreateMessageRequest(request),
        InputRequest::Elicitation(request) => ServerRequest::ElicitRequest(request),
        InputRequest::ListRoots(request) => ServerRequest::ListRootsRequest(request),
        other => return Err(format!("there is no way to ask {other:?}")),
    };
    let answer = client
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    serde_json::to_value(answer).map_err(|error| error.to_string())
}

/// Calls a tool that requests input while it runs; `None` if there is no such tool.
pub(crate) async fn call_in_session(
    name: &str,
    arguments: &JsonObject,
    context: &RequestContext<RoleServer>,
) -> Result<Option<CallToolResponse>, ErrorData> {
    let argument = |name: &str| {
        arguments
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (request, sampling) = match name {
        "test_sampling" => (sample(argument("prompt"), 100), true),
        "test_elicitation" => {
            let text = |what: &str| json!({ "type": "string", "description": what });
            let properties =
                json!({ "username": text("Who answers"), "email": text("Their address") });
            (elicit(argument("message"), properties), false)
        }
        "test_elicitation_sep1034_defaults" => {
            (elicit("Please look these over", default_fields()), false)
        }
        "test_elicitation_sep1330_enums" => (elicit("Please choose", enum_fields()), false),
        _ => return Ok(None),
    };
    let (text, failed) = match ask(&context.peer, request).await {
        Ok(answer) if sampling => {
            let text = answer["content"]["text"].as_str().unwrap_or_default();
            (format!("LLM response: {text}"), false)
        }
        Ok(answer) => {
            let opening = if name == "test_elicitation" {
                "User response"
            } else {
                "Elicitation completed"
            };
            let action = answer["action"].as_str().unwrap_or_default();
            (
                format!("{opening}: action={action}, content={}", answer["content"]),
                false,
            )
        }
        Err(why) => (format!("the client could not be asked: {why}"), true),
    };
    let result = json!({ "content": [{ "type": "text", "text": text }], "isError": failed });
    Ok(Some(CallToolResponse::Complete(complete_result(result)?)))
}

fn default_fields() -> Value {
    json!({
        "name": { "type": "string", "default": "John Doe" },
        "age": { "type": "integer", "default": 30 },
        "score": { "type": "number", "default": 95.5 },
        "status": { "type": "string", "enum": ["active", "inactive", "pending"], "default": "active" },
        "verified": { "type": "boolean", "default": true },
    })
}

fn enum_fields() -> Value {
    let titled = |titles: [&str; 3]| {
        let one = |(i, title): (usize, &str)| json!({ "const": format!("value{}", i + 1), "title": title });
        titles.into_iter().enumerate().map(one).collect::<Vec<_>>()
    };
    let plain = ["option1", "option2", "option3"];
    json!({
        "untitledSingle": { "type": "string", "enum": plain },
        "titledSingle": { "type": "string", "oneOf": titled(["First Option", "Second Option", "Third Option"]) },
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": { "type": "array", "items": { "type": "string", "enum": plain } },
        "titledMulti": {
            "type": "array",
            "items": { "anyOf": titled(["First Choice", "Second Choice", "Third Choice"]) },
        },
    })
}

/// The parts of a stateless request that continue an earlier one.
pub(crate) struct StatelessRound<'a> {
    pub(crate) responses: Option<&'a InputResponses>,
    pub(crate) state: Option<&'a str>,
    pub(crate) client: ClientCapabilities,
}

/// Outcome of a round.
enum RoundOutcome {
    /// More input is required: the requests, and the state to return with the responses.
    Ask(Value, Option<String>),
    Done(String),
}

impl StatelessRound<'_> {
    /// Returns the value at a path of a client's response.
    fn response(&self, key: &str, path: &str) -> Option<&Value> {
        self.responses?.get(key)?.pointer(path)
    }

    fn response_text(&self, key: &str, path: &str) -> Option<&str> {
        self.response(key, path)?.as_str()
    }

    /// Returns the number of the previous round according to its state. Any other state is
    /// rejected.
    fn previous_round(&self, name: &str) -> Result<u32, ErrorData> {
        let Some(state) = self.state else {
            return Ok(0);
        };
        let known = |round: &u32| state == round_state(name, *round);
        let refused = || ErrorData::invalid_params("requestState was rejected", None);
        (1..=2).find(known).ok_or_else(refused)
    }
}

/// Returns the state of a fixture after a round. A product would sign it.
fn round_state(name: &str, round: u32) -> String {
    format!("{name} after round {round}")
}

/// Calls a tool whose result can require more input; `None` if there is no such tool.
pub(crate) fn call_stateless(
    name: &str,
    round: &StatelessRound<'_>,
) -> Result<Option<CallToolResponse>, ErrorData> {
    Ok(match run_round(name, round)? {
        None => None,
        Some(RoundOutcome::Done(text)) => {
            let result = json!({ "content": [{ "type": "text", "text": text }] });
            Some(CallToolResponse::Complete(complete_result(result)?))
        }
        Some(RoundOutcome::Ask(requests, state)) => Some(CallToolResponse::InputRequired(
            input_required(requests, state)?,
        )),
    })
}

/// Returns the prompt whose result can require more input.
pub(crate) fn prompt(round: &StatelessRound<'_>) -> Result<GetPromptResponse, ErrorData> {
    let Some(context) = round.response_text("user_context", "/content/context") else {
        let question = elicit_text("What context should the prompt use?", "context");
        let requests = json!({ "user_context": question });
        return Ok(GetPromptResponse::InputRequired(input_required(
            requests, None,
        )?));
    };
    let content = json!({ "type": "text", "text": format!("In this context: {context}") });
    let result = json!({ "messages": [{ "role": "user", "content": content }] });
    Ok(GetPromptResponse::Complete(complete_result(result)?))
}

fn input_required(
    requests: Value,
    state: Option<String>,
) -> Result<InputRequiredResult, ErrorData> {
    Ok(InputRequiredResult::new(
        Some(from_json::<InputRequests>(requests)?),
        state,
    ))
}

fn run_round(name: &str, round: &StatelessRound<'_>) -> Result<Option<RoundOutcome>, ErrorData> {
    let ask = |requests| RoundOutcome::Ask(requests, None);
    let ask_after =
        |requests, past: u32| RoundOutcome::Ask(requests, Some(round_state(name, past + 1)));
    let confirm =
        || json!({ "confirm": elicit("Please confirm", json!({ "ok": { "type": "boolean" } })) });
    let user_name = || elicit_text("What is your name?", "name");
    Ok(Some(match name {
        "test_missing_capability" => {
            if round.client.sampling.is_none() {
                let needed = ClientCapabilities::builder().enable_sampling().build();
                return Err(ErrorData::missing_required_client_capability(needed));
            }
            RoundOutcome::Done("the client samples".to_owned())
        }
        "test_input_required_result_elicitation" | "test_streaming_elicitation" => {
            match round.response_text("user_name", "/content/name") {
                Some(name) => RoundOutcome::Done(format!("Hello, {name}!")),
                None => ask(json!({ "user_name": user_name() })),
            }
        }
        "test_input_required_result_sampling" => {
            match round.response_text("capital_question", "/content/text") {
                Some(text) => RoundOutcome::Done(text.to_owned()),
                None => ask(
                    json!({ "capital_question": sample("What is the capital of France?", 100) }),
                ),
            }
        }
        "test_input_required_result_list_roots" => match round.response("client_roots", "/roots") {
            Some(roots) => RoundOutcome::Done(format!("the roots are {roots}")),
            None => ask(json!({ "client_roots": roots() })),
        },
        "test_input_required_result_request_state"
        | "test_input_required_result_tampered_state" => {
            match (
                round.previous_round(name)?,
                round.response("confirm", "/content/ok"),
            ) {
                (1, Some(_)) => RoundOutcome::Done("state-ok".to_owned()),
                _ => ask_after(confirm(), 0),
            }
        }
        "test_input_required_result_multiple_inputs" => {
            let answered = ["user_name", "greeting", "client_roots"];
            let all = answered.iter().all(|key| round.response(key, "").is_some());
            match (round.previous_round(name)?, all) {
                (1, true) => RoundOutcome::Done("all three are there".to_owned()),
                _ => {
                    let greeting = sample("Generate a greeting", 50);
                    ask_after(
                        json!({ "user_name": user_name(), "greeting": greeting, "client_roots": roots() }),
                        0,
                    )
                }
            }
        }
        "test_input_required_result_multi_round" => match round.previous_round(name)? {
            1 if round.response_text("step1", "/content/name").is_some() => {
                let question = elicit_text("Step 2: What is your favorite color?", "color");
                ask_after(json!({ "step2": question }), 1)
            }
            2 if round.response_text("step2", "/content/color").is_some() => {
                RoundOutcome::Done("two steps".to_owned())
            }
            _ => ask_after(
                json!({ "step1": elicit_text("Step 1: What is your name?", "name") }),
                0,
            ),
        },
        "test_input_required_result_capabilities" => {
            let mut requests = json!({});
            if round.client.sampling.is_some() {
                requests["greeting"] = sample("Generate a greeting", 50);
            }
            if round.client.elicitation.is_some() {
                requests["user_name"] = user_name();
            }
            if round.client.roots.is_some() {
                requests["client_roots"] = roots();
            }
            ask(requests)
        }
        _ => return Ok(None),
    }))
}

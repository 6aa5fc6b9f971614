//! The tools, prompts and resources that the conformance suite expects by name, except those that
//! request input from the client. Each is written as JSON, as in the descriptions of the suite.

use portkey_mcp::mcp::notifications::ChangeNotifier;
use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolResult, GetPromptResult, JsonObject, LoggingMessageNotificationParam,
        ProgressNotificationParam, ReadResourceResult,
    },
    service::RequestContext,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use crate::server::LogLevel;

/// An image of one pixel.
const IMAGE: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mPgL8sDAAGLAPQCOPOGAAAAAElFTkSuQmCC";

/// A millisecond of silence.
const AUDIO: &str = "UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQgAAACAgICAgICAgA==";

/// Delay between two notifications of a call, so that a client can tell them apart.
const NOTIFICATION_INTERVAL: Duration = Duration::from_millis(50);

/// Converts a complete result. The stateless protocol requires the type of the result; elsewhere
/// rmcp removes it.
pub(crate) fn complete_result<T: DeserializeOwned>(mut result: Value) -> Result<T, ErrorData> {
    result["resultType"] = "complete".into();
    from_json(result)
}

/// Converts JSON to a type of rmcp.
pub(crate) fn from_json<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value)
        .map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

/// Returns all tools as a list, including those of [`asking`](crate::asking).
pub(crate) fn tools() -> Value {
    let nothing = || json!({ "type": "object", "properties": {} });
    let text = |name: &str| {
        let properties = json!({ name: { "type": "string" } });
        json!({ "type": "object", "properties": properties, "required": [name] })
    };
    let mut tools: Vec<Value> = [
        ("test_simple_text", "Answers with text."),
        ("test_image_content", "Answers with an image."),
        ("test_audio_content", "Answers with a sound."),
        ("test_embedded_resource", "Answers with a resource."),
        ("test_multiple_content_types", "Answers with text, an image and a resource."),
        ("test_error_handling", "Fails."),
        ("test_tool_with_logging", "Logs while it runs."),
        ("test_logging_tool", "Logs if the request says from which level on."),
        ("test_tool_with_progress", "Says how far it is."),
        ("test_reconnection", "Answers on the stream it was called on."),
        ("test_trigger_tool_change", "Announces that the list of tools changed."),
        ("test_trigger_prompt_change", "Announces that the list of prompts changed."),
    ]
    .into_iter()
    .map(|(name, about)| (name, about, nothing()))
    .chain(crate::input_requests::TOOLS_WITHOUT_ARGUMENTS.iter().map(|(name, about)| (*name, *about, nothing())))
    .chain([
        ("test_sampling", "Has the client's model answer.", text("prompt")),
        ("test_elicitation", "Asks the user.", text("message")),
        ("test_custom_header", "Takes an argument that a header repeats.", schema_with_header()),
        ("json_schema_2020_12_tool", "Has a schema with many keywords.", schema_with_many_keywords()),
    ])
    .map(|(name, about, schema)| json!({ "name": name, "description": about, "inputSchema": schema }))
    .collect();
    tools.sort_by_key(|tool| tool["name"].to_string());
    tools.into()
}

fn schema_with_header() -> Value {
    json!({
        "type": "object",
        "properties": { "region": { "type": "string", "x-mcp-header": "Region" } },
        "required": ["region"],
    })
}

fn schema_with_many_keywords() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": { "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
        } },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" },
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false,
    })
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn image() -> Value {
    json!({ "type": "image", "data": IMAGE, "mimeType": "image/png" })
}

fn resource(uri: &str, kind: &str, text: &str) -> Value {
    json!({ "type": "resource", "resource": { "uri": uri, "mimeType": kind, "text": text } })
}

/// Calls a tool that requests no input; `None` if there is no such tool.
pub(crate) async fn call(
    name: &str,
    hub: &ChangeNotifier,
    level: &LogLevel,
    context: &RequestContext<RoleServer>,
) -> Result<Option<CallToolResult>, ErrorData> {
    let content = match name {
        "test_simple_text" => json!([text("This is a simple text response for testing.")]),
        "test_image_content" => json!([image()]),
        "test_audio_content" => {
            json!([{ "type": "audio", "data": AUDIO, "mimeType": "audio/wav" }])
        }
        "test_embedded_resource" => {
            let what = "This is an embedded resource content.";
            json!([resource("test://embedded-resource", "text/plain", what)])
        }
        "test_multiple_content_types" => {
            let data = json!({ "test": "data", "value": 123 }).to_string();
            let mixed = resource("test://mixed-content-resource", "application/json", &data);
            json!([text("Multiple content types test:"), image(), mixed])
        }
        "test_error_handling" => {
            let why = "This tool intentionally returns an error for testing";
            return complete_result(json!({ "content": [text(why)], "isError": true })).map(Some);
        }
        "test_tool_with_logging" | "test_logging_tool" => {
            log(level, context).await;
            json!([text("logged")])
        }
        "test_tool_with_progress" => {
            progress(context).await;
            json!([text("done")])
        }
        "test_trigger_tool_change" => {
            hub.notify_tools_changed();
            json!([text("announced")])
        }
        "test_trigger_prompt_change" => {
            hub.notify_prompts_changed();
            json!([text("announced")])
        }
        "test_reconnection" | "test_custom_header" | "json_schema_2020_12_tool" => {
            json!([text("called")])
        }
        _ => return Ok(None),
    };
    complete_result(json!({ "content": content })).map(Some)
}

async fn log(level: &LogLevel, context: &RequestContext<RoleServer>) {
    let modern = context
        .protocol_version()
        .is_some_and(|version| !version.has_initialize());
    let wanted = if modern {
        context.meta.log_level()
    } else {
        Some(level.get())
    };
    for what in [
        "Tool execution started",
        "Tool processing data",
        "Tool execution completed",
    ] {
        if wanted.is_some_and(LogLevel::allows_info) {
            let message = LoggingMessageNotificationParam::new(LogLevel::INFO, json!(what));
            // A client that is gone does not get the result either.
            _ = context.peer.notify_logging_message(message).await;
        }
        sleep(NOTIFICATION_INTERVAL).await;
    }
}

async fn progress(context: &RequestContext<RoleServer>) {
    for done in [0.0, 50.0, 100.0] {
        if let Some(token) = context.meta.get_progress_token() {
            let so_far = ProgressNotificationParam::new(token, done).with_total(100.0);
            _ = context.peer.notify_progress(so_far).await;
        }
        sleep(NOTIFICATION_INTERVAL).await;
    }
}

/// Returns all prompts as a list.
pub(crate) fn prompts() -> Value {
    let needed = |name: &str| json!({ "name": name, "description": "A text.", "required": true });
    json!([
        { "name": "test_input_required_result_prompt", "description": "Asks the user first." },
        {
            "name": "test_prompt_with_arguments",
            "description": "Repeats its arguments.",
            "arguments": [needed("arg1"), needed("arg2")],
        },
        {
            "name": "test_prompt_with_embedded_resource",
            "description": "Has a resource in it.",
            "arguments": [needed("resourceUri")],
        },
        { "name": "test_prompt_with_image", "description": "Has an image in it." },
        { "name": "test_simple_prompt", "description": "Is a text." },
    ])
}

/// Returns a prompt that requests no input.
pub(crate) fn prompt(name: &str, arguments: &JsonObject) -> Result<GetPromptResult, ErrorData> {
    let argument = |name: &str| {
        let missing = || ErrorData::invalid_params(format!("`{name}` is missing"), None);
        arguments
            .get(name)
            .and_then(Value::as_str)
            .ok_or_else(missing)
    };
    let contents = match name {
        "test_simple_prompt" => vec![text("This is a simple prompt for testing.")],
        "test_prompt_with_arguments" => {
            let first = argument("arg1")?;
            let second = argument("arg2")?;
            vec![text(&format!(
                "Prompt with arguments: arg1='{first}', arg2='{second}'"
            ))]
        }
        "test_prompt_with_embedded_resource" => {
            let what = "Embedded resource content for testing.";
            let inner = resource(argument("resourceUri")?, "text/plain", what);
            vec![inner, text("Please process the embedded resource above.")]
        }
        "test_prompt_with_image" => vec![image(), text("Please analyze the image above.")],
        _ => {
            return Err(ErrorData::invalid_params(
                format!("there is no prompt `{name}`"),
                None,
            ));
        }
    };
    let to_message = |content| json!({ "role": "user", "content": content });
    complete_result(json!({ "messages": contents.into_iter().map(to_message).collect::<Vec<_>>() }))
}

/// Returns all resources as a list.
pub(crate) fn resources() -> Value {
    let list = [
        ("static-binary", "image/png", "An image."),
        ("static-text", "text/plain", "A text."),
        ("watched-resource", "text/plain", "A text to watch."),
    ];
    let to_resource = |(name, kind, about)| {
        let uri = format!("test://{name}");
        json!({ "uri": uri, "name": name, "description": about, "mimeType": kind })
    };
    list.into_iter().map(to_resource).collect()
}

/// Returns all resource templates as a list.
pub(crate) fn templates() -> Value {
    json!([{
        "uriTemplate": "test://template/{id}/data",
        "name": "template",
        "description": "Data of one id.",
        "mimeType": "application/json",
    }])
}

/// Reads a resource.
pub(crate) fn read_resource(uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let id = uri
        .strip_prefix("test://template/")
        .and_then(|rest| rest.strip_suffix("/data"));
    let mut content = match (uri, id) {
        (_, Some(id)) => {
            let data = format!("Data for ID: {id}");
            let data = json!({ "id": id, "templateTest": true, "data": data }).to_string();
            json!({ "mimeType": "application/json", "text": data })
        }
        ("test://static-text" | "test://watched-resource", _) => {
            let what = "This is the content of the static text resource.";
            json!({ "mimeType": "text/plain", "text": what })
        }
        ("test://static-binary", _) => json!({ "mimeType": "image/png", "blob": IMAGE }),
        _ => {
            let data = json!({ "uri": uri });
            return Err(ErrorData::resource_not_found(
                "there is no such resource",
                Some(data),
            ));
        }
    };
    if let Some(content) = content.as_object_mut() {
        content.insert("uri".to_owned(), uri.into());
    }
    complete_result(json!({ "contents": [content] }))
}

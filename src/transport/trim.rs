//! Trims messages that are kept in memory to the parts in use. A client's description of itself
//! lives as long as its session, and a subscription as long as its stream.

use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, GetMeta, Implementation, InitializeRequestParams,
    ProtocolVersion, RequestId, RequestMetaObject, SubscriptionsListenRequestParams,
};
use serde_json::{Value, json};

use crate::{mcp::cards, security::sanitize::first_chars};

/// Maximum length of a client's name and of its version when kept, in characters.
const MAX_CLIENT_TEXT_CHARS: usize = 100;
/// Maximum length of a text in `_meta` when kept, such as a trace context, in bytes.
const MAX_META_TEXT_BYTES: usize = 512;
/// Maximum length of a protocol revision, in bytes. All known ones have ten.
const MAX_VERSION_BYTES: usize = 32;
/// Maximum length of a request id that is kept, in bytes.
pub(super) const MAX_ID_BYTES: usize = 256;

/// Names of the texts in `_meta` that are used. Long ones are dropped.
const KEPT_META_KEYS: [&str; 3] = [
    "io.modelcontextprotocol/protocolVersion",
    "traceparent",
    "tracestate",
];
const CLIENT_INFO_KEY: &str = "io.modelcontextprotocol/clientInfo";
const CLIENT_CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";

/// Trims a message that is kept for longer than its response takes. All others are left as they
/// are.
pub(super) fn trim_message(message: &mut ClientJsonRpcMessage) {
    let ClientJsonRpcMessage::Request(message) = message else {
        return;
    };
    match &mut message.request {
        ClientRequest::InitializeRequest(request) => trim_initialize(&mut request.params),
        ClientRequest::SubscriptionsListenRequest(request) => trim_listen(&mut request.params),
        _ => return,
    }
    trim_meta(message.request.get_meta_mut());
}

/// Trims the parameters of `initialize`.
pub(super) fn trim_initialize(params: &mut InitializeRequestParams) {
    if params.protocol_version.as_str().len() > MAX_VERSION_BYTES {
        // As unknown as the one that the client named.
        params.protocol_version = ProtocolVersion::LATEST;
    }
    params.client_info = trim_client(&params.client_info);
    params.meta.iter_mut().for_each(trim_meta);
    let capabilities = &mut params.capabilities;
    let shows_cards = cards::shows_cards(Some(capabilities));
    capabilities.experimental = None;
    capabilities.extensions = shows_cards.then(cards::client_extensions);
    if let Some(sampling) = &mut capabilities.sampling {
        let settings = [&mut sampling.tools, &mut sampling.context];
        settings
            .into_iter()
            .flatten()
            .for_each(|settings| *settings = Default::default());
    }
}

fn trim_listen(params: &mut SubscriptionsListenRequestParams) {
    params.meta.iter_mut().for_each(trim_meta);
    params.notifications =
        crate::mcp::notifications::ChangeNotifier::limit_filter(&params.notifications);
}

fn trim_meta(meta: &mut RequestMetaObject) {
    let mut trimmed = RequestMetaObject::new();
    for name in KEPT_META_KEYS {
        let text = meta.get(name).and_then(Value::as_str);
        if let Some(text) = text.filter(|text| text.len() <= MAX_META_TEXT_BYTES) {
            trimmed.insert(name.to_owned(), text.into());
        }
    }
    if let Some(client) = meta.get(CLIENT_INFO_KEY) {
        let text = |name| client.get(name).and_then(Value::as_str).map(shorten);
        let client = match (text("name"), text("version")) {
            (Some(name), Some(version)) => json!({ "name": name, "version": version }),
            // The reader of this field reports the error.
            _ => Value::Null,
        };
        trimmed.insert(CLIENT_INFO_KEY.to_owned(), client);
    }
    if let Some(said) = meta.get(CLIENT_CAPABILITIES_KEY) {
        // A stream sends no requests to its client, so it does not matter which capabilities there
        // are.
        let capabilities = if said.is_object() {
            json!({})
        } else {
            Value::Null
        };
        trimmed.insert(CLIENT_CAPABILITIES_KEY.to_owned(), capabilities);
    }
    *meta = trimmed;
}

fn trim_client(client: &Implementation) -> Implementation {
    Implementation::new(shorten(&client.name), shorten(&client.version))
}

fn shorten(text: &str) -> String {
    first_chars(text, MAX_CLIENT_TEXT_CHARS).to_owned()
}

/// Returns `true` if the id of a request is short enough to be kept.
pub(super) fn is_short_id(id: &RequestId) -> bool {
    match id {
        RequestId::String(id) => id.len() <= MAX_ID_BYTES,
        RequestId::Number(_) => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn trim_json(message: &Value) -> Value {
        let mut message = serde_json::from_value(message.clone()).unwrap();
        trim_message(&mut message);
        serde_json::to_value(&message).unwrap()
    }

    #[test]
    fn initialize_is_trimmed_to_the_used_fields() {
        let long = "x".repeat(1 << 20);
        let many: Value = (0..1_000)
            .map(|i| (format!("org.example/{i}"), json!({})))
            .collect();
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "initialize",
            "params": {
                "_meta": { "traceparent": "00-1-2-00", "tracestate": long, "org.example/a": long },
                "protocolVersion": long,
                "clientInfo": {
                    "name": long, "version": long, "title": long, "description": long,
                    "websiteUrl": long, "icons": [{ "src": long }],
                },
                "capabilities": {
                    "experimental": many, "extensions": many,
                    "sampling": { "tools": { "a": long }, "context": { "a": long } },
                    "elicitation": { "form": { "schemaValidation": true, "a": long }, "url": { "a": long } },
                    "roots": { "listChanged": true, "a": long },
                },
            },
        });
        let short = "x".repeat(MAX_CLIENT_TEXT_CHARS);
        let expected = json!({
            "_meta": { "traceparent": "00-1-2-00" },
            "protocolVersion": "2026-07-28",
            "clientInfo": { "name": short, "version": short },
            "capabilities": {
                "sampling": { "tools": {}, "context": {} },
                "elicitation": { "form": { "schemaValidation": true }, "url": {} },
                "roots": { "listChanged": true },
            },
        });
        assert_eq!(trim_json(&message)["params"], expected);
    }

    #[test]
    fn extension_in_use_is_kept_without_the_rest() {
        let long = "x".repeat(1 << 20);
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25",
                "clientInfo": { "name": "a", "version": "1" },
                "capabilities": { "extensions": {
                    "io.modelcontextprotocol/ui": {
                        "mimeTypes": [long, "text/html;profile=mcp-app"], "a": long,
                    },
                    "org.example/a": { "a": long },
                } },
            },
        });
        let expected = json!({ "extensions": {
            "io.modelcontextprotocol/ui": { "mimeTypes": ["text/html;profile=mcp-app"] },
        } });
        assert_eq!(trim_json(&message)["params"]["capabilities"], expected);
    }

    #[test]
    fn subscription_is_trimmed_to_the_used_fields() {
        let long = "x".repeat(1 << 20);
        let message = json!({
            "jsonrpc": "2.0", "id": 7, "method": "subscriptions/listen",
            "params": {
                "_meta": {
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientInfo": { "name": "a", "version": "1", "title": long },
                    "io.modelcontextprotocol/clientCapabilities": { "experimental": { "a": long } },
                    "progressToken": long,
                },
                "notifications": {
                    "toolsListChanged": true,
                    "resourceSubscriptions": [long],
                    "other": long,
                },
            },
        });
        let expected = json!({
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": { "name": "a", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": {},
            },
            "notifications": { "toolsListChanged": true, "resourceSubscriptions": [] },
        });
        assert_eq!(trim_json(&message)["params"], expected);
    }

    #[test]
    fn other_message_is_not_trimmed() {
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "_meta": { "a": "b" }, "name": "t", "arguments": { "c": "d" } },
        });
        assert_eq!(trim_json(&message), message);
    }
}

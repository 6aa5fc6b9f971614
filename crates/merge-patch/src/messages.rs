//! Chat messages in a text of JSON, rendered as people read them.

use serde_json::Value;

use super::JsonObject;

/// Maximum size of a text that is rendered, in bytes.
const MAX_RENDERED_BYTES: usize = 200_000;

/// Renders a text of JSON that is a list of chat messages: the role of each on a line, and its text below.
/// Returns `None` for any other text.
pub fn render_messages(text: &str) -> Option<String> {
    if text.len() > MAX_RENDERED_BYTES || !text.trim_start().starts_with('[') {
        return None;
    }
    let messages: Vec<JsonObject> = serde_json::from_str(text).ok()?;
    let rendered: Option<Vec<String>> = messages.iter().map(render_message).collect();
    rendered
        .filter(|rendered| !rendered.is_empty())
        .map(|rendered| rendered.join("\n\n"))
}

fn render_message(message: &JsonObject) -> Option<String> {
    let role = message.get("role")?.as_str()?;
    let mut lines = vec![format!("{role}:")];
    match message.get("content") {
        Some(Value::String(text)) => lines.push(text.clone()),
        Some(Value::Array(parts)) => lines.extend(parts.iter().map(render_part)),
        Some(Value::Null) | None => {}
        Some(_) => return None,
    }
    let others = message
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "role" | "content"));
    lines.extend(others.map(|(name, value)| format!("{name}: {value}")));
    Some(lines.join("\n"))
}

/// Renders a part of a message: a text as it is, and anything else as JSON.
fn render_part(part: &Value) -> String {
    let text = part.get("text").and_then(Value::as_str);
    let is_text = part.get("type").is_some_and(|kind| kind == "text");
    let is_plain = part.as_object().is_some_and(|fields| fields.len() == 2);
    match text.filter(|_| is_text && is_plain) {
        Some(text) => text.to_owned(),
        None => part.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_are_rendered_and_other_texts_are_not() {
        let messages = json!([
            { "role": "system", "content": "Be kind.\nBe short." },
            { "role": "user", "content": [{ "type": "text", "text": "Hi {{name}}" },
                { "type": "image_url", "image_url": { "url": "x" } }] },
            { "role": "assistant", "content": null, "tool_calls": [] },
        ]);
        let expected = "system:\nBe kind.\nBe short.\n\nuser:\nHi {{name}}\n\
                        {\"type\":\"image_url\",\"image_url\":{\"url\":\"x\"}}\n\nassistant:\ntool_calls: []";
        assert_eq!(
            render_messages(&messages.to_string()).as_deref(),
            Some(expected)
        );
        for text in [
            "",
            "Hi",
            "[]",
            "[1]",
            "[{\"content\":\"x\"}]",
            "{\"role\":\"user\"}",
            "[{\"role\":\"user\",\"content\":7}]",
        ] {
            assert_eq!(render_messages(text), None, "{text}");
        }
    }
}

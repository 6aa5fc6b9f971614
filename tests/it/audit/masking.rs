//! Keys in arguments that are not declared as secret.

use serde_json::json;

use super::{AuditFolder, call_from_shell};

/// A key is masked in a name, in a URL and in invalid arguments.
#[test]
fn key_outside_a_secret_argument_is_masked() {
    let folder = AuditFolder::new();
    let key = "sk-abcdefghijklmnopqrstuvwx0123456789";
    for (tool, arguments) in [
        ("create-label", json!({ "name": key })),
        ("get-integration", json!({ "slug": key })),
        (
            "create-integration",
            json!({ "name": key, "ai_provider_id": key, "description": key }),
        ),
        ("create-label", json!({ "name": 5, key: 1 })),
    ] {
        call_from_shell(&folder, tool, &arguments, &[]);
    }
    let lines = folder.entries();
    assert_eq!(lines.len(), 4);
    assert_eq!(
        lines[0]["arguments"]["name"],
        portkey_mcp::security::secrets::MASK,
        "{}",
        lines[0]
    );
    assert!(
        !lines.iter().any(|line| line.to_string().contains(key)),
        "{lines:#?}"
    );
}

/// Reading the log in a terminal has no side effects.
#[test]
fn control_characters_are_escaped_in_an_entry() {
    let folder = AuditFolder::new();
    let name = "a\u{1b}[2J\u{9b}31m\u{202e}\u{e0041}";
    assert!(call_from_shell(&folder, "list-prompts", &json!({ "search": name }), &[]).0);
    let text = std::fs::read_to_string(folder.log_path()).unwrap();
    assert!(
        text.contains("\\u001b[2J\\u009b31m\\u202e\\udb40\\udc41"),
        "{text}"
    );
    assert!(
        text.chars().all(|c| c == '\n' || matches!(c, ' '..='~')),
        "{text}"
    );
    assert_eq!(folder.entries()[0]["arguments"]["search"], name);
}

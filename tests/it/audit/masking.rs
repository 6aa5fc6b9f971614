//! Keys that turn up where no declaration expects one.

use serde_json::json;

use super::{Folder, call};

/// A key is one wherever it stands: in a name, in an address, in what is no argument at all.
#[test]
fn a_key_in_the_wrong_place_is_masked() {
    let folder = Folder::new();
    let key = "sk-abcdefghijklmnopqrstuvwx0123456789";
    for (tool, arguments) in [
        ("create-label", json!({ "name": key })),
        ("get-integration", json!({ "slug": key })),
        ("create-integration", json!({ "name": key, "ai_provider_id": key, "description": key })),
        ("create-label", json!({ "name": 5, key: 1 })),
    ] {
        call(&folder, tool, &arguments, &[]);
    }
    let lines = folder.lines();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["arguments"]["name"], portkey_mcp::secrets::MASK, "{}", lines[0]);
    assert!(!lines.iter().any(|line| line.to_string().contains(key)), "{lines:#?}");
}

//! What clients are told about getting a token.

use portkey_mcp::{
    auth::oauth::{Challenge, OAuth},
    principal::{Access, Needed, Scope, Scopes},
};
use serde_json::{Value, json};

use super::{ALICE, start};

fn at(resource: &str, more: &str) -> OAuth {
    start(&format!(
        "resource = \"{resource}\"\nissuer = \"https://login.example.com/one\"\n{more}\n{ALICE}"
    ))
}

#[test]
fn the_document_is_at_both_places() {
    const PLACE: &str = "/.well-known/oauth-protected-resource";
    for (resource, url, longer) in [
        (
            "https://mcp.example.com/mcp",
            "https://mcp.example.com/.well-known/oauth-protected-resource/mcp",
            Some("/mcp"),
        ),
        (
            "https://mcp.example.com:8443/a/mcp",
            "https://mcp.example.com:8443/.well-known/oauth-protected-resource/a/mcp",
            Some("/a/mcp"),
        ),
        (
            "https://mcp.example.com",
            "https://mcp.example.com/.well-known/oauth-protected-resource",
            None,
        ),
    ] {
        let oauth = at(resource, "");
        let document: Value = serde_json::from_slice(&oauth.metadata(PLACE).unwrap()).unwrap();
        assert_eq!(
            document,
            json!({
                "resource": resource,
                "resource_name": "Portkey Admin",
                "authorization_servers": ["https://login.example.com/one"],
                "scopes_supported": ["portkey:read", "portkey:write", "portkey:delete"],
                "bearer_methods_supported": ["header"],
            })
        );
        let longer = longer.map(|path| format!("{PLACE}{path}"));
        assert!(longer.is_none_or(|path| oauth.metadata(&path).is_some()));
        for elsewhere in ["/", "/mcp", &format!("{PLACE}/other"), &format!("{PLACE}s")] {
            assert!(oauth.metadata(elsewhere).is_none(), "{elsewhere}");
        }
        let challenge = oauth.challenge(&Challenge::NoToken);
        assert_eq!(
            challenge,
            format!("Bearer resource_metadata=\"{url}\", scope=\"portkey:read\"").as_str()
        );
    }
}

#[test]
fn challenges_say_what_to_ask_for() {
    let head = "Bearer resource_metadata=\"https://mcp.example.com/.well-known/\
                oauth-protected-resource/mcp\", ";
    let text = |oauth: &OAuth, challenge: Challenge<'_>| {
        let value = oauth.challenge(&challenge);
        value.to_str().unwrap().strip_prefix(head).unwrap().to_owned()
    };
    let oauth = at("https://mcp.example.com/mcp", "");
    let invalid = text(&oauth, Challenge::InvalidToken);
    assert!(invalid.starts_with("error=\"invalid_token\", error_description=\""), "{invalid}");

    let needed =
        Needed { wide: Scope::wide(Access::Delete), narrow: Scope::of("prompts", Access::Delete) };
    let has = Scopes::among(["portkey:read", "portkey:a\"b\\c:read"]);
    let insufficient = Challenge::InsufficientScope { has: &has, needed: &needed };
    let wide = text(&oauth, insufficient);
    assert!(wide.starts_with("error=\"insufficient_scope\", "), "{wide}");
    assert!(wide.ends_with(", scope=\"portkey:read portkey:delete\""), "{wide}");

    let knows = "scopes_supported = [\"portkey:read\", \"portkey:prompts:delete\"]";
    let oauth = at("https://mcp.example.com/mcp", knows);
    let narrow = text(&oauth, Challenge::InsufficientScope { has: &has, needed: &needed });
    assert!(narrow.ends_with(", scope=\"portkey:read portkey:prompts:delete\""), "{narrow}");
}

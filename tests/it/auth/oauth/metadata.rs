//! Protected resource metadata and challenges.

use portkey_mcp::auth::{
    oauth::{Challenge, OAuth},
    principal::{RequiredScope, Scope, ScopeAccess, Scopes},
};
use serde_json::{Value, json};

use super::{ALICE_TENANT, oauth_from_settings};

fn oauth_for_resource(resource: &str, more: &str) -> OAuth {
    oauth_from_settings(&format!(
        "resource = \"{resource}\"\nissuer = \"https://login.example.com/one\"\n{more}\n{ALICE_TENANT}"
    ))
}

#[test]
fn metadata_is_at_both_paths() {
    struct Case {
        resource: &'static str,
        url: &'static str,
        longer: Option<&'static str>,
    }

    const PLACE: &str = "/.well-known/oauth-protected-resource";
    for Case {
        resource,
        url,
        longer,
    } in [
        Case {
            resource: "https://mcp.example.com/mcp",
            url: "https://mcp.example.com/.well-known/oauth-protected-resource/mcp",
            longer: Some("/mcp"),
        },
        Case {
            resource: "https://mcp.example.com:8443/a/mcp",
            url: "https://mcp.example.com:8443/.well-known/oauth-protected-resource/a/mcp",
            longer: Some("/a/mcp"),
        },
        Case {
            resource: "https://mcp.example.com",
            url: "https://mcp.example.com/.well-known/oauth-protected-resource",
            longer: None,
        },
    ] {
        let oauth = oauth_for_resource(resource, "");
        let document: Value =
            serde_json::from_slice(&oauth.metadata_document(PLACE).unwrap()).unwrap();
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
        assert!(longer.is_none_or(|path| oauth.metadata_document(&path).is_some()));
        for elsewhere in ["/", "/mcp", &format!("{PLACE}/other"), &format!("{PLACE}s")] {
            assert!(oauth.metadata_document(elsewhere).is_none(), "{elsewhere}");
        }
        let challenge = oauth.challenge(&Challenge::NoToken);
        assert_eq!(
            challenge,
            format!("Bearer resource_metadata=\"{url}\", scope=\"portkey:read\"").as_str()
        );
    }
}

#[test]
fn challenge_names_the_error_and_the_scopes() {
    let head = "Bearer resource_metadata=\"https://mcp.example.com/.well-known/\
                oauth-protected-resource/mcp\", ";
    let text = |oauth: &OAuth, challenge: Challenge<'_>| {
        let value = oauth.challenge(&challenge);
        value
            .to_str()
            .unwrap()
            .strip_prefix(head)
            .unwrap()
            .to_owned()
    };
    let oauth = oauth_for_resource("https://mcp.example.com/mcp", "");
    let invalid = text(&oauth, Challenge::InvalidToken);
    assert!(
        invalid.starts_with("error=\"invalid_token\", error_description=\""),
        "{invalid}"
    );

    let needed = RequiredScope {
        for_all_domains: Scope::for_all_domains(ScopeAccess::Delete),
        for_domain: Scope::for_domain("prompts", ScopeAccess::Delete),
    };
    let has = Scopes::from_words(["portkey:read", "portkey:a\"b\\c:read"]);
    let insufficient = Challenge::InsufficientScope {
        has: &has,
        needed: &needed,
    };
    let wide = text(&oauth, insufficient);
    assert!(wide.starts_with("error=\"insufficient_scope\", "), "{wide}");
    assert!(
        wide.ends_with(", scope=\"portkey:read portkey:delete\""),
        "{wide}"
    );

    let knows = "scopes_supported = [\"portkey:read\", \"portkey:prompts:delete\"]";
    let oauth = oauth_for_resource("https://mcp.example.com/mcp", knows);
    let narrow = text(
        &oauth,
        Challenge::InsufficientScope {
            has: &has,
            needed: &needed,
        },
    );
    assert!(
        narrow.ends_with(", scope=\"portkey:read portkey:prompts:delete\""),
        "{narrow}"
    );
}

#[test]
fn each_endpoint_has_metadata_and_a_challenge() {
    struct ChallengeCase {
        resource: &'static str,
        prefix: &'static str,
        path: &'static str,
        url: &'static str,
    }

    const PLACE: &str = "/.well-known/oauth-protected-resource";
    struct Case {
        resource: &'static str,
        prefix: &'static str,
        /// The path below the well-known prefix.
        path: &'static str,
        expected: Option<&'static str>,
    }
    let case = |resource, prefix, path, expected| Case {
        resource,
        prefix,
        path,
        expected,
    };
    let own = "https://mcp.example.com/mcp";
    let proxied = "https://example.com/portkey/mcp";
    for Case {
        resource,
        prefix,
        path,
        expected,
    } in [
        case(own, "", "", Some("https://mcp.example.com/mcp")),
        case(own, "", "/mcp", Some("https://mcp.example.com/mcp")),
        case(own, "", "/mcp/", Some("https://mcp.example.com/mcp/")),
        case(
            own,
            "",
            "/mcp/readonly",
            Some("https://mcp.example.com/mcp/readonly"),
        ),
        case(
            own,
            "",
            "/mcp/readonly/",
            Some("https://mcp.example.com/mcp/readonly/"),
        ),
        case(
            own,
            "",
            "/mcp/x/prompts",
            Some("https://mcp.example.com/mcp/x/prompts"),
        ),
        case(
            own,
            "",
            "/mcp/x/prompts,labels/readonly",
            Some("https://mcp.example.com/mcp/x/prompts,labels/readonly"),
        ),
        case(own, "", "/mcp/x/no-such", None),
        case(own, "", "/mcp/other", None),
        case(own, "", "/mcpx", None),
        case(
            "https://mcp.example.com",
            "",
            "/mcp/readonly",
            Some("https://mcp.example.com/mcp/readonly"),
        ),
        case(
            proxied,
            "",
            "/portkey/mcp/readonly",
            Some("https://example.com/portkey/mcp/readonly"),
        ),
        case(
            proxied,
            "",
            "/mcp/readonly",
            Some("https://example.com/portkey/mcp/readonly"),
        ),
        case(
            proxied,
            "/portkey",
            "/mcp/x/prompts",
            Some("https://example.com/portkey/mcp/x/prompts"),
        ),
        case(
            "https://example.com",
            "/portkey",
            "/mcp/readonly",
            Some("https://example.com/portkey/mcp/readonly"),
        ),
    ] {
        let oauth = oauth_for_resource(resource, "").with_path_prefix(prefix);
        let document = oauth.metadata_document(&format!("{PLACE}{path}"));
        let document = document.map(|text| serde_json::from_slice::<Value>(&text).unwrap());
        let named = document
            .as_ref()
            .map(|document| document["resource"].as_str().unwrap());
        assert_eq!(named, expected, "{resource}, {prefix}, {path}");
    }
    for ChallengeCase {
        resource,
        prefix,
        path,
        url,
    } in [
        ChallengeCase {
            resource: own,
            prefix: "",
            path: "/mcp/readonly",
            url: "https://mcp.example.com/.well-known/oauth-protected-resource/mcp/readonly",
        },
        ChallengeCase {
            resource: own,
            prefix: "",
            path: "/mcp/x/prompts/",
            url: "https://mcp.example.com/.well-known/oauth-protected-resource/mcp/x/prompts",
        },
        ChallengeCase {
            resource: proxied,
            prefix: "",
            path: "/mcp/readonly",
            url: "https://example.com/.well-known/oauth-protected-resource/portkey/mcp/readonly",
        },
        ChallengeCase {
            resource: proxied,
            prefix: "/portkey",
            path: "/mcp",
            url: "https://example.com/portkey/.well-known/oauth-protected-resource/mcp",
        },
        ChallengeCase {
            resource: proxied,
            prefix: "/portkey",
            path: "/mcp/readonly",
            url: "https://example.com/portkey/.well-known/oauth-protected-resource/mcp/readonly",
        },
    ] {
        let oauth = oauth_for_resource(resource, "").with_path_prefix(prefix);
        let challenge = oauth.challenge_for_path(&Challenge::NoToken, path);
        let expected = format!("Bearer resource_metadata=\"{url}\", ");
        assert!(
            challenge.to_str().unwrap().starts_with(&expected),
            "{challenge:?}"
        );
    }
}

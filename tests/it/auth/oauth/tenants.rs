//! Tenants of a token: its upstream keys, scopes and toolsets.

use portkey_mcp::auth::{
    oauth::{OAuth, OAuthError},
    principal::{Principal, ScopeAccess},
};
use portkey_operation::Upstream;
use serde_json::{Value, json};

use super::{claims_with, oauth_from_settings, settings};
use crate::support::{oauth_issuer::Issuer, token_signer::Signer};

struct TenantFixture {
    issuer: Issuer,
    signer: Signer,
    oauth: OAuth,
}

impl TenantFixture {
    async fn with(tenants: &str) -> Self {
        let signer = Signer::es256("a");
        let issuer = Issuer::with_keys(&[signer.jwk()]).await;
        let oauth = oauth_from_settings(&settings(&issuer, "", tenants));
        Self {
            issuer,
            signer,
            oauth,
        }
    }

    async fn verify(&self, changes: Value) -> Result<Principal, OAuthError> {
        self.oauth
            .verify(&self.signer.token(&claims_with(&self.issuer, changes)))
            .await
    }
}

/// Returns the settings of a tenant. Its name is the first part of the caller's name.
fn tenant(name: &str, rest: &str) -> String {
    format!("[[tenant]]\nname = \"{name}\"\nportkey_key = \"env:CARGO_PKG_NAME\"\n{rest}\n")
}

#[tokio::test]
async fn first_matching_tenant_is_used() {
    let world = TenantFixture::with(
        &[
            tenant("subject", "value = \"root\""),
            tenant("list", "claim = \"groups\"\nvalue = \"admins\""),
            tenant("nested", "claim = \"realm.access.roles\"\nvalue = \"ops\""),
            tenant(
                "dotted",
                "claim = \"https://example.com/org\"\nvalue = \"acme\"",
            ),
            tenant(
                "half-dotted",
                "claim = \"https://example.com/org.unit\"\nvalue = \"west\"",
            ),
            tenant("number", "claim = \"org_id\"\nvalue = \"7\""),
        ]
        .concat(),
    )
    .await;
    for (changes, name) in [
        (json!({ "sub": "root" }), Some("subject")),
        (
            json!({ "sub": "root", "groups": ["admins"] }),
            Some("subject"),
        ),
        (json!({ "groups": ["users", "admins"] }), Some("list")),
        (json!({ "groups": "admins" }), Some("list")),
        (
            json!({ "realm": { "access": { "roles": ["dev", "ops"] } } }),
            Some("nested"),
        ),
        (
            json!({ "realm.access": { "roles": ["ops"] } }),
            Some("nested"),
        ),
        (json!({ "https://example.com/org": "acme" }), Some("dotted")),
        (
            json!({ "https://example.com/org": { "unit": "west" } }),
            Some("half-dotted"),
        ),
        (json!({ "org_id": 7 }), Some("number")),
        (json!({}), None),
        (json!({ "sub": "Root" }), None),
        (
            json!({ "groups": ["admins2", ["admins"], { "admins": true }] }),
            None,
        ),
        (json!({ "groups": "users admins" }), None),
        (json!({ "realm": { "access": "ops" } }), None),
        (json!({ "roles": ["ops"] }), None),
        (json!({ "org_id": true }), None),
    ] {
        match (world.verify(changes.clone()).await, name) {
            (Ok(principal), Some(name)) => {
                let (tenant, bearer) = principal.name.split_once('/').unwrap();
                assert_eq!(tenant, name, "{changes}");
                assert_eq!(bearer.len(), 24);
            }
            (Err(OAuthError::NoTenant), None) => {}
            (other, _) => panic!("{changes}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn caller_names_are_distinct_and_hide_the_subject() {
    let world = TenantFixture::with(&tenant("acme", "claim = \"org\"\nvalue = \"acme\"")).await;
    let name = async |subject: &str| {
        world
            .verify(json!({ "org": "acme", "sub": subject }))
            .await
            .unwrap()
            .name
    };
    let ann = name("ann@example.com").await;
    let bob = name("bob@example.com").await;
    assert_ne!(ann, bob);
    assert_eq!(ann, name("ann@example.com").await);
    assert!(ann.starts_with("acme/") && !ann.contains("ann"), "{ann}");
}

#[tokio::test]
async fn tenant_sets_keys_and_toolsets() {
    let world = TenantFixture::with(
        &[
            tenant(
                "both",
                "value = \"both\"\nenkrypt_key = \"env:CARGO_PKG_VERSION\"",
            ),
            tenant("one", "value = \"one\"\ntoolsets = [\"prompts\"]"),
        ]
        .concat(),
    )
    .await;
    let both = world.verify(json!({ "sub": "both" })).await.unwrap();
    let source = |upstream| both.credentials.key(upstream).unwrap().source().to_string();
    assert_eq!(source(Upstream::Portkey), "env:CARGO_PKG_NAME");
    assert_eq!(source(Upstream::Enkrypt), "env:CARGO_PKG_VERSION");
    assert!(both.toolsets.is_all());

    let one = world.verify(json!({ "sub": "one" })).await.unwrap();
    let missing = one.credentials.key(Upstream::Enkrypt).unwrap_err();
    assert!(
        missing.to_string().contains("this caller has no"),
        "{missing}"
    );
    assert!(one.toolsets.allows("prompts") && !one.toolsets.allows("integrations"));
}

#[tokio::test]
async fn token_scopes_are_limited_by_the_tenant_scopes() {
    struct Case {
        sub: &'static str,
        claims: Value,
        scopes: &'static str,
    }

    let world = TenantFixture::with(
        &[
            tenant("open", "value = \"open\""),
            tenant("reader", "value = \"reader\"\nscopes = [\"portkey:read\"]"),
            tenant(
                "prompter",
                "value = \"prompter\"\nscopes = [\"portkey:prompts:write\"]",
            ),
        ]
        .concat(),
    )
    .await;
    let none = json!({ "scope": null });
    for Case {
        sub,
        claims,
        scopes,
    } in [
        Case {
            sub: "open",
            claims: json!({ "scope": "portkey:read portkey:delete" }),
            scopes: "portkey:delete portkey:read",
        },
        Case {
            sub: "open",
            claims: json!({ "scope": "openid email portkey:read x:y" }),
            scopes: "portkey:read",
        },
        Case {
            sub: "open",
            claims: json!({ "scope": null, "scp": ["portkey:read", "profile"] }),
            scopes: "portkey:read",
        },
        Case {
            sub: "open",
            claims: json!({ "scope": null, "scp": "portkey:read" }),
            scopes: "portkey:read",
        },
        Case {
            sub: "open",
            claims: json!({ "scp": ["portkey:write"] }),
            scopes: "portkey:read portkey:write",
        },
        Case {
            sub: "open",
            claims: json!({ "scope": ["portkey:write", 7] }),
            scopes: "portkey:write",
        },
        Case {
            sub: "open",
            claims: json!({ "scope": 7 }),
            scopes: "",
        },
        Case {
            sub: "open",
            claims: json!({ "scope": "portkey:admin PORTKEY:READ portkey:" }),
            scopes: "",
        },
        Case {
            sub: "open",
            claims: none.clone(),
            scopes: "",
        },
        Case {
            sub: "reader",
            claims: json!({ "scope": "portkey:read portkey:write" }),
            scopes: "portkey:read",
        },
        Case {
            sub: "reader",
            claims: json!({ "scope": "portkey:prompts:read" }),
            scopes: "portkey:prompts:read",
        },
        Case {
            sub: "reader",
            claims: none,
            scopes: "",
        },
        Case {
            sub: "prompter",
            claims: json!({ "scope": "portkey:write" }),
            scopes: "portkey:prompts:write",
        },
        Case {
            sub: "prompter",
            claims: json!({ "scope": "portkey:integrations:write portkey:read" }),
            scopes: "",
        },
    ] {
        let mut changes = claims.clone();
        changes["sub"] = json!(sub);
        let principal = world.verify(changes).await.unwrap();
        let mut has: Vec<_> = principal.scopes.iter().map(ToString::to_string).collect();
        has.sort();
        assert_eq!(has.join(" "), scopes, "{sub} {claims}");
    }
    let reader = world.verify(json!({ "sub": "reader" })).await.unwrap();
    assert!(reader.scopes.allows("prompts", ScopeAccess::Read));
    assert!(!reader.scopes.allows("prompts", ScopeAccess::Delete));
}

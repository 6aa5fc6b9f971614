//! The OAuth resource server, against a simulated authorization server on a loopback address.

mod config;
mod http;
mod introspection;
mod keys;
mod metadata;
mod tenants;
mod tokens;

use std::{
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use portkey_mcp::auth::oauth::{IssuerClient, OAuth, OAuthConfig, OAuthError};
use portkey_readiness::Readiness;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{oauth_issuer::Issuer, requests::client_builder};

const RESOURCE: &str = "https://mcp.example.com/mcp";

/// A tenant that matches the subject `alice`. Its key is a variable of the build.
const ALICE_TENANT: &str = "[[tenant]]\nvalue = \"alice\"\nportkey_key = \"env:CARGO_PKG_NAME\"\n";

const TOOLSETS: &[&str] = &["integrations", "prompts"];

/// Returns the settings of a server that trusts this issuer, with further lines before the tenants.
pub(crate) fn settings(issuer: &Issuer, more: &str, tenants: &str) -> String {
    format!(
        "resource = \"{RESOURCE}\"\nissuer = \"{}\"\n{more}\n{tenants}",
        issuer.url
    )
}

/// Returns a server that trusts this issuer.
fn oauth_server(issuer: &Issuer, more: &str) -> OAuth {
    oauth_from_settings(&settings(issuer, more, ALICE_TENANT))
}

fn oauth_from_settings(settings: &str) -> OAuth {
    oauth_with_readiness(settings, &Readiness::default())
}

/// Returns a server that reports the state of the issuer to `readiness`.
fn oauth_with_readiness(settings: &str, readiness: &Readiness) -> OAuth {
    let config = OAuthConfig::parse(settings, Path::new(""), TOOLSETS, None).unwrap();
    let http = IssuerClient::new(client_builder().no_proxy()).unwrap();
    OAuth::new(config, http.with_readiness(readiness.clone()))
}

/// Verifies these tokens concurrently, one caller for each.
fn verify_concurrently(
    oauth: &Arc<OAuth>,
    tokens: impl IntoIterator<Item = String>,
) -> JoinSet<Result<(), OAuthError>> {
    let verify = |token: String| {
        let oauth = oauth.clone();
        async move { oauth.verify(&token).await.map(|_| ()) }
    };
    tokens.into_iter().map(verify).collect()
}

/// Returns the Unix time this many seconds from now.
fn seconds_from_now(seconds: i64) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    i64::try_from(now).unwrap() + seconds
}

/// Returns the claims of a valid token of this issuer.
fn claims(issuer: &Issuer) -> Value {
    json!({
        "iss": issuer.url,
        "aud": RESOURCE,
        "sub": "alice",
        "exp": seconds_from_now(600),
        "iat": seconds_from_now(0),
        "scope": "openid portkey:read",
    })
}

/// Returns these claims with changes. `null` removes a claim.
pub(crate) fn claims_with(issuer: &Issuer, changes: Value) -> Value {
    let mut claims = claims(issuer);
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => _ = claims.as_object_mut().unwrap().shift_remove(name),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

//! Tokens that the issuer is asked about.

use std::sync::Arc;

use portkey_mcp::auth::{
    oauth::{OAuth, OAuthError, TokenRejection},
    principal::ScopeAccess,
};
use serde_json::{Value, json};

use super::{
    ALICE, callers, claims, claims_with, from_now,
    issuer::{Issuer, Says},
    later, settings, start,
};

const ASK: &str = "/introspect";

/// A server that asks this issuer.
fn asking(issuer: &Issuer) -> OAuth {
    let introspection = format!(
        "[introspection]\nurl = \"{}{ASK}\"\nclient_id = \"a client\"\nclient_secret = \
         \"env:CARGO_PKG_LICENSE\"",
        issuer.url
    );
    start(&settings(issuer, &introspection, ALICE))
}

fn active(claims: Value) -> Says {
    let mut answer = claims;
    answer["active"] = json!(true);
    Says::Json(answer)
}

#[tokio::test]
async fn introspection_request_authenticates_the_server_as_client() {
    let issuer = Issuer::silent().await;
    issuer.says(ASK, active(claims(&issuer)));
    let principal = asking(&issuer).verify("opaque+/token==").await.unwrap();
    assert!(principal.scopes.allows("prompts", ScopeAccess::Read));
    let asked = &issuer.requests()[..];
    assert_eq!(asked.len(), 1);
    assert_eq!(
        asked[0].headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    // "a%20client:MIT"
    assert_eq!(
        asked[0].headers["authorization"],
        "Basic YSUyMGNsaWVudDpNSVQ="
    );
    assert_eq!(
        asked[0].body,
        "token=opaque%2B%2Ftoken%3D%3D&token_type_hint=access_token"
    );
}

#[tokio::test]
async fn introspection_response_is_validated() {
    let issuer = Issuer::silent().await;
    for (what, answer, expected) in [
        (
            "no issuer",
            active(claims_with(&issuer, json!({ "iss": null }))),
            Ok(()),
        ),
        (
            "no end",
            active(claims_with(&issuer, json!({ "exp": null }))),
            Ok(()),
        ),
        (
            "not active",
            Says::Json(json!({ "active": false })),
            Err(TokenRejection::Inactive),
        ),
        (
            "not active, with claims",
            Says::Json(claims_with(&issuer, json!({ "active": false }))),
            Err(TokenRejection::Inactive),
        ),
        (
            "other issuer",
            active(claims_with(
                &issuer,
                json!({ "iss": "https://evil.example.com" }),
            )),
            Err(TokenRejection::WrongIssuer),
        ),
        (
            "no audience",
            active(claims_with(&issuer, json!({ "aud": null }))),
            Err(TokenRejection::WrongAudience),
        ),
        (
            "other audience",
            active(claims_with(
                &issuer,
                json!({ "aud": "https://other.example.com" }),
            )),
            Err(TokenRejection::WrongAudience),
        ),
        (
            "over",
            active(claims_with(&issuer, json!({ "exp": from_now(-60) }))),
            Err(TokenRejection::Expired),
        ),
        (
            "to come",
            active(claims_with(&issuer, json!({ "nbf": from_now(60) }))),
            Err(TokenRejection::NotYetValid),
        ),
        (
            "no time",
            active(claims_with(&issuer, json!({ "exp": "x" }))),
            Err(TokenRejection::Malformed),
        ),
        (
            "nobody",
            active(claims_with(&issuer, json!({ "sub": null }))),
            Err(TokenRejection::MissingSubject),
        ),
    ] {
        issuer.says(ASK, answer);
        let outcome = asking(&issuer).verify("t").await.map(|_| ());
        assert_eq!(outcome, expected.map_err(OAuthError::Invalid), "{what}");
    }
}

/// A token is not called a bad one because the issuer has a bad day.
#[tokio::test]
async fn failed_introspection_is_unavailable_and_not_invalid() {
    let issuer = Issuer::silent().await;
    issuer.says("/moved", active(claims(&issuer)));
    let oauth = asking(&issuer);
    for says in [
        Says::Status(500),
        Says::Status(401),
        Says::Json(claims(&issuer)),
        Says::Json(json!({ "active": "true" })),
        Says::Bytes(64 << 10),
        Says::RedirectTo(format!("{}/moved", issuer.url)),
    ] {
        issuer.says(ASK, says);
        assert_eq!(
            oauth.verify("t").await.unwrap_err(),
            OAuthError::Unavailable
        );
    }
    assert_eq!((issuer.count(ASK), issuer.count("/moved")), (6, 0));
    issuer.says(ASK, active(claims(&issuer)));
    oauth.verify("t").await.unwrap();
}

#[tokio::test]
async fn introspection_result_is_cached_briefly() {
    let issuer = Issuer::silent().await;
    let oauth = asking(&issuer);
    issuer.says(ASK, active(claims(&issuer)));
    for (wait, asked) in [(0, 1), (29, 1), (1, 2)] {
        later(wait).await;
        oauth.verify("good").await.unwrap();
        assert_eq!(issuer.count(ASK), asked, "after {wait} s more");
    }
    // For one token only.
    oauth.verify("other").await.unwrap();
    assert_eq!(issuer.count(ASK), 3);
    // Revoked: known half a minute later.
    issuer.says(ASK, Says::Json(json!({ "active": false })));
    oauth.verify("good").await.unwrap();
    later(30).await;
    let refused = Err(OAuthError::Invalid(TokenRejection::Inactive));
    for (wait, asked) in [(0, 4), (4, 4), (1, 5)] {
        later(wait).await;
        assert_eq!(oauth.verify("good").await.map(|_| ()), refused);
        assert_eq!(issuer.count(ASK), asked, "after {wait} s more");
    }
    // Never longer than the token is good.
    issuer.says(
        ASK,
        active(claims_with(&issuer, json!({ "exp": from_now(10) }))),
    );
    for (wait, asked) in [(0, 6), (11, 7)] {
        later(wait).await;
        oauth.verify("short").await.unwrap();
        assert_eq!(issuer.count(ASK), asked, "after {wait} s more");
    }
}

/// Whatever letters a token has, only those of tokens go to the issuer.
#[tokio::test]
async fn malformed_token_is_not_introspected() {
    let issuer = Issuer::silent().await;
    let oauth = asking(&issuer);
    for token in [
        "",
        "a b",
        "a&token=b",
        "a%20",
        "ü",
        &"x".repeat((16 << 10) + 1),
    ] {
        assert!(
            matches!(oauth.verify(token).await, Err(OAuthError::Invalid(_))),
            "{token}"
        );
    }
    assert_eq!(issuer.count(ASK), 0);
}

#[tokio::test]
async fn hanging_issuer_is_asked_once_per_token_until_three_timeouts() {
    let issuer = Issuer::silent().await;
    issuer.says(ASK, Says::Nothing);
    let oauth = Arc::new(asking(&issuer));
    let tokens = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let waiting = callers(&oauth, tokens(&["a"; 10]));
    issuer.asked(ASK, 1).await;
    later(2).await;
    assert_eq!(waiting.join_all().await, [Err(OAuthError::Unavailable); 10]);
    assert_eq!(issuer.count(ASK), 1);

    let waiting = callers(&oauth, tokens(&["b", "c"]));
    issuer.asked(ASK, 3).await;
    later(6).await;
    assert_eq!(waiting.join_all().await, [Err(OAuthError::Unavailable); 2]);
    // Nobody waits any more, and nobody is asked.
    for token in ["a", "b", "d"] {
        assert_eq!(
            oauth.verify(token).await.unwrap_err(),
            OAuthError::Unavailable
        );
    }
    assert_eq!(issuer.count(ASK), 3);

    issuer.says(ASK, active(claims(&issuer)));
    later(5).await;
    oauth.verify("a").await.unwrap();
    oauth.verify("d").await.unwrap();
    assert_eq!(issuer.count(ASK), 5);
}

//! Tokens that are introspected at the issuer.

use std::sync::Arc;

use portkey_mcp::auth::{
    oauth::{OAuth, OAuthError, TokenRejection},
    principal::ScopeAccess,
};
use serde_json::{Value, json};

use super::{
    ALICE_TENANT, claims, claims_with, oauth_from_settings, seconds_from_now, settings,
    verify_concurrently,
};
use crate::support::{
    clock::advance_time,
    oauth_issuer::{Issuer, IssuerResponse},
};

const INTROSPECTION_PATH: &str = "/introspect";

/// Returns a server that introspects tokens at this issuer.
fn introspecting_server(issuer: &Issuer) -> OAuth {
    let introspection = format!(
        "[introspection]\nurl = \"{}{INTROSPECTION_PATH}\"\nclient_id = \"a client\"\nclient_secret = \
         \"env:CARGO_PKG_LICENSE\"",
        issuer.url
    );
    oauth_from_settings(&settings(issuer, &introspection, ALICE_TENANT))
}

fn active_response(claims: Value) -> IssuerResponse {
    let mut answer = claims;
    answer["active"] = json!(true);
    IssuerResponse::Json(answer)
}

#[tokio::test]
async fn introspection_request_authenticates_the_server_as_client() {
    let issuer = Issuer::new().await;
    issuer.set_response(INTROSPECTION_PATH, active_response(claims(&issuer)));
    let principal = introspecting_server(&issuer)
        .verify("opaque+/token==")
        .await
        .unwrap();
    assert!(principal.scopes.allows("prompts", ScopeAccess::Read));
    let asked = &issuer.take_requests()[..];
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
    struct Case {
        what: &'static str,
        answer: IssuerResponse,
        expected: Result<(), TokenRejection>,
    }

    let issuer = Issuer::new().await;
    for Case {
        what,
        answer,
        expected,
    } in [
        Case {
            what: "no issuer",
            answer: active_response(claims_with(&issuer, json!({ "iss": null }))),
            expected: Ok(()),
        },
        Case {
            what: "no end",
            answer: active_response(claims_with(&issuer, json!({ "exp": null }))),
            expected: Ok(()),
        },
        Case {
            what: "not active",
            answer: IssuerResponse::Json(json!({ "active": false })),
            expected: Err(TokenRejection::Inactive),
        },
        Case {
            what: "not active, with claims",
            answer: IssuerResponse::Json(claims_with(&issuer, json!({ "active": false }))),
            expected: Err(TokenRejection::Inactive),
        },
        Case {
            what: "other issuer",
            answer: active_response(claims_with(
                &issuer,
                json!({ "iss": "https://evil.example.com" }),
            )),
            expected: Err(TokenRejection::WrongIssuer),
        },
        Case {
            what: "no audience",
            answer: active_response(claims_with(&issuer, json!({ "aud": null }))),
            expected: Err(TokenRejection::WrongAudience),
        },
        Case {
            what: "other audience",
            answer: active_response(claims_with(
                &issuer,
                json!({ "aud": "https://other.example.com" }),
            )),
            expected: Err(TokenRejection::WrongAudience),
        },
        Case {
            what: "over",
            answer: active_response(claims_with(
                &issuer,
                json!({ "exp": seconds_from_now(-60) }),
            )),
            expected: Err(TokenRejection::Expired),
        },
        Case {
            what: "to come",
            answer: active_response(claims_with(&issuer, json!({ "nbf": seconds_from_now(60) }))),
            expected: Err(TokenRejection::NotYetValid),
        },
        Case {
            what: "no time",
            answer: active_response(claims_with(&issuer, json!({ "exp": "x" }))),
            expected: Err(TokenRejection::Malformed),
        },
        Case {
            what: "nobody",
            answer: active_response(claims_with(&issuer, json!({ "sub": null }))),
            expected: Err(TokenRejection::MissingSubject),
        },
    ] {
        issuer.set_response(INTROSPECTION_PATH, answer);
        let outcome = introspecting_server(&issuer).verify("t").await.map(|_| ());
        assert_eq!(outcome, expected.map_err(OAuthError::Invalid), "{what}");
    }
}

/// An invalid response of the issuer does not make the token invalid.
#[tokio::test]
async fn failed_introspection_is_unavailable_and_not_invalid() {
    let issuer = Issuer::new().await;
    issuer.set_response("/moved", active_response(claims(&issuer)));
    let oauth = introspecting_server(&issuer);
    for says in [
        IssuerResponse::Status(500),
        IssuerResponse::Status(401),
        IssuerResponse::Json(claims(&issuer)),
        IssuerResponse::Json(json!({ "active": "true" })),
        IssuerResponse::Bytes(64 << 10),
        IssuerResponse::RedirectTo(format!("{}/moved", issuer.url)),
    ] {
        issuer.set_response(INTROSPECTION_PATH, says);
        assert_eq!(
            oauth.verify("t").await.unwrap_err(),
            OAuthError::Unavailable
        );
    }
    assert_eq!(
        (
            issuer.request_count(INTROSPECTION_PATH),
            issuer.request_count("/moved")
        ),
        (6, 0)
    );
    issuer.set_response(INTROSPECTION_PATH, active_response(claims(&issuer)));
    oauth.verify("t").await.unwrap();
}

#[tokio::test]
async fn introspection_result_is_cached_briefly() {
    let issuer = Issuer::new().await;
    let oauth = introspecting_server(&issuer);
    issuer.set_response(INTROSPECTION_PATH, active_response(claims(&issuer)));
    for (wait, asked) in [(0, 1), (29, 1), (1, 2)] {
        advance_time(wait).await;
        oauth.verify("good").await.unwrap();
        assert_eq!(
            issuer.request_count(INTROSPECTION_PATH),
            asked,
            "after {wait} s more"
        );
    }
    // The cache is per token.
    oauth.verify("other").await.unwrap();
    assert_eq!(issuer.request_count(INTROSPECTION_PATH), 3);
    // A revocation takes effect within 30 seconds.
    issuer.set_response(
        INTROSPECTION_PATH,
        IssuerResponse::Json(json!({ "active": false })),
    );
    oauth.verify("good").await.unwrap();
    advance_time(30).await;
    let refused = Err(OAuthError::Invalid(TokenRejection::Inactive));
    for (wait, asked) in [(0, 4), (4, 4), (1, 5)] {
        advance_time(wait).await;
        assert_eq!(oauth.verify("good").await.map(|_| ()), refused);
        assert_eq!(
            issuer.request_count(INTROSPECTION_PATH),
            asked,
            "after {wait} s more"
        );
    }
    // The result is cached at most until the token expires.
    issuer.set_response(
        INTROSPECTION_PATH,
        active_response(claims_with(&issuer, json!({ "exp": seconds_from_now(10) }))),
    );
    for (wait, asked) in [(0, 6), (11, 7)] {
        advance_time(wait).await;
        oauth.verify("short").await.unwrap();
        assert_eq!(
            issuer.request_count(INTROSPECTION_PATH),
            asked,
            "after {wait} s more"
        );
    }
}

/// Only tokens of valid characters and length are sent to the issuer.
#[tokio::test]
async fn malformed_token_is_not_introspected() {
    let issuer = Issuer::new().await;
    let oauth = introspecting_server(&issuer);
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
    assert_eq!(issuer.request_count(INTROSPECTION_PATH), 0);
}

#[tokio::test]
async fn hanging_issuer_is_asked_once_per_token_until_three_timeouts() {
    let issuer = Issuer::new().await;
    issuer.set_response(INTROSPECTION_PATH, IssuerResponse::Never);
    let oauth = Arc::new(introspecting_server(&issuer));
    let tokens = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let waiting = verify_concurrently(&oauth, tokens(&["a"; 10]));
    issuer.wait_for_requests(INTROSPECTION_PATH, 1).await;
    advance_time(2).await;
    assert_eq!(waiting.join_all().await, [Err(OAuthError::Unavailable); 10]);
    assert_eq!(issuer.request_count(INTROSPECTION_PATH), 1);

    let waiting = verify_concurrently(&oauth, tokens(&["b", "c"]));
    issuer.wait_for_requests(INTROSPECTION_PATH, 3).await;
    advance_time(6).await;
    assert_eq!(waiting.join_all().await, [Err(OAuthError::Unavailable); 2]);
    // Callers fail at once, and no request is sent.
    for token in ["a", "b", "d"] {
        assert_eq!(
            oauth.verify(token).await.unwrap_err(),
            OAuthError::Unavailable
        );
    }
    assert_eq!(issuer.request_count(INTROSPECTION_PATH), 3);

    issuer.set_response(INTROSPECTION_PATH, active_response(claims(&issuer)));
    advance_time(5).await;
    oauth.verify("a").await.unwrap();
    oauth.verify("d").await.unwrap();
    assert_eq!(issuer.request_count(INTROSPECTION_PATH), 5);
}

#[tokio::test]
async fn claims_of_the_answer_are_kept_for_policies() {
    let issuer = Issuer::new().await;
    let mut answer = claims(&issuer);
    answer["groups"] = json!(["ops"]);
    issuer.set_response(INTROSPECTION_PATH, active_response(answer));
    let server = introspecting_server(&issuer);
    let principal = server.verify("opaque").await.unwrap();
    let names: Vec<_> = principal.claims.visible().unwrap().collect();
    assert!(names.contains(&("groups", &json!(["ops"]))), "{names:?}");
    assert!(names.iter().all(|(name, _)| *name != "active"), "{names:?}");
    assert!(!format!("{principal:?}").contains("ops"));
}

//! Discovery, caching and rotation of the issuer's keys.

use std::sync::Arc;

use portkey_mcp::auth::oauth::{OAuthError, TokenRejection};
use portkey_readiness::{Component, ComponentName, ComponentState, DegradedReason, Readiness};
use serde_json::json;

use super::{
    ALICE_TENANT, claims, claims_with, oauth_from_settings, oauth_server, oauth_with_readiness,
    settings, verify_concurrently,
};
use crate::support::{
    clock::advance_time,
    oauth_issuer::{Issuer, IssuerResponse, KEYS_PATH, OAUTH_METADATA_PATH, OPENID_METADATA_PATH},
    token_signer::Signer,
};

#[tokio::test]
async fn keys_are_found_by_metadata_or_jwks_url() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let token = signer.token(&claims(&issuer));
    oauth_server(&issuer, "").verify(&token).await.unwrap();
    assert_eq!(
        (
            issuer.request_count(OAUTH_METADATA_PATH),
            issuer.request_count(OPENID_METADATA_PATH)
        ),
        (1, 0)
    );

    let metadata =
        json!({ "issuer": issuer.url, "jwks_uri": format!("{}{KEYS_PATH}", issuer.url) });
    issuer.set_response(OAUTH_METADATA_PATH, IssuerResponse::Status(404));
    issuer.set_response(OPENID_METADATA_PATH, IssuerResponse::Json(metadata));
    oauth_server(&issuer, "").verify(&token).await.unwrap();
    assert_eq!(
        (
            issuer.request_count(OAUTH_METADATA_PATH),
            issuer.request_count(OPENID_METADATA_PATH)
        ),
        (2, 1)
    );

    issuer.set_response(OPENID_METADATA_PATH, IssuerResponse::Status(404));
    let named = format!("jwks_url = \"{}{KEYS_PATH}\"", issuer.url);
    oauth_server(&issuer, &named).verify(&token).await.unwrap();
    assert_eq!(
        (
            issuer.request_count(OAUTH_METADATA_PATH),
            issuer.request_count(OPENID_METADATA_PATH)
        ),
        (2, 1)
    );
    assert_eq!(
        oauth_server(&issuer, "").verify(&token).await.unwrap_err(),
        OAuthError::Unavailable
    );
}

/// The metadata of an issuer with a path has other URLs.
#[tokio::test]
async fn issuer_url_may_have_a_path() {
    let signer = Signer::es256("a");
    let mut issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let jwks_uri = format!("{}{KEYS_PATH}", issuer.url);
    issuer.url += "/realms/one";
    let metadata = IssuerResponse::Json(json!({ "issuer": issuer.url, "jwks_uri": jwks_uri }));
    let token = signer.token(&claims(&issuer));
    for (place, other) in [
        (
            format!("{OAUTH_METADATA_PATH}/realms/one"),
            format!("/realms/one{OPENID_METADATA_PATH}"),
        ),
        (
            format!("/realms/one{OPENID_METADATA_PATH}"),
            format!("{OAUTH_METADATA_PATH}/realms/one"),
        ),
    ] {
        issuer.set_response(&place, metadata.clone());
        issuer.set_response(&other, IssuerResponse::Status(404));
        oauth_server(&issuer, "").verify(&token).await.unwrap();
    }
}

/// Without keys a token cannot be verified, so it is not called invalid.
#[tokio::test]
async fn issuer_without_usable_keys_is_unavailable() {
    struct Case {
        what: &'static str,
        metadata: IssuerResponse,
        keys: IssuerResponse,
    }

    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let token = signer.token(&claims(&issuer));
    let keys = || format!("{}{KEYS_PATH}", issuer.url);
    let good_keys = IssuerResponse::Json(json!({ "keys": [signer.jwk()] }));
    let metadata = |issuer: &str, keys: &str| {
        IssuerResponse::Json(json!({ "issuer": issuer, "jwks_uri": keys }))
    };
    issuer.set_response("/moved", good_keys.clone());
    for Case {
        what,
        metadata,
        keys,
    } in [
        Case {
            what: "down",
            metadata: metadata(&issuer.url, &keys()),
            keys: IssuerResponse::Status(503),
        },
        Case {
            what: "too large",
            metadata: metadata(&issuer.url, &keys()),
            keys: IssuerResponse::Bytes(1 << 20),
        },
        Case {
            what: "no keys",
            metadata: metadata(&issuer.url, &keys()),
            keys: IssuerResponse::Json(json!({ "keys": [] })),
        },
        Case {
            what: "too many keys",
            metadata: metadata(&issuer.url, &keys()),
            keys: IssuerResponse::Json(json!({ "keys": vec![signer.jwk(); 101] })),
        },
        Case {
            what: "no JWK set",
            metadata: metadata(&issuer.url, &keys()),
            keys: IssuerResponse::Json(json!([signer.jwk()])),
        },
        Case {
            what: "redirect",
            metadata: metadata(&issuer.url, &keys()),
            keys: IssuerResponse::RedirectTo(format!("{}/moved", issuer.url)),
        },
        Case {
            what: "metadata moved",
            metadata: IssuerResponse::RedirectTo(format!("{}/moved", issuer.url)),
            keys: good_keys.clone(),
        },
        Case {
            what: "other issuer",
            metadata: metadata(&format!("{}/", issuer.url), &keys()),
            keys: good_keys.clone(),
        },
        Case {
            what: "keys unencrypted",
            metadata: metadata(&issuer.url, "http://keys.example.com/"),
            keys: good_keys.clone(),
        },
        Case {
            what: "keys in a file",
            metadata: metadata(&issuer.url, "file:///keys"),
            keys: good_keys.clone(),
        },
        Case {
            what: "keys nowhere",
            metadata: IssuerResponse::Json(json!({ "issuer": issuer.url })),
            keys: good_keys.clone(),
        },
    ] {
        issuer.set_response(OAUTH_METADATA_PATH, metadata);
        issuer.set_response(KEYS_PATH, keys);
        let refused = oauth_server(&issuer, "").verify(&token).await.unwrap_err();
        assert_eq!(refused, OAuthError::Unavailable, "{what}");
    }
    assert_eq!(issuer.request_count("/moved"), 0);
    // Nothing listens at this address.
    let gone = settings(
        &issuer,
        "jwks_url = \"http://127.0.0.1:1/keys\"",
        ALICE_TENANT,
    );
    assert_eq!(
        oauth_from_settings(&gone).verify(&token).await.unwrap_err(),
        OAuthError::Unavailable
    );
}

#[tokio::test]
async fn slow_issuer_times_out() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    issuer.set_response(KEYS_PATH, IssuerResponse::Never);
    let oauth = Arc::new(oauth_server(&issuer, ""));
    let asking = oauth.clone();
    let token = signer.token(&claims(&issuer));
    let waiting = tokio::spawn(async move { asking.verify(&token).await });
    issuer.wait_for_requests(KEYS_PATH, 1).await;
    advance_time(6).await;
    assert_eq!(waiting.await.unwrap().unwrap_err(), OAuthError::Unavailable);
}

#[tokio::test]
async fn rotated_key_is_fetched() {
    let old = Signer::es256("old");
    let new = Signer::es256("new");
    let issuer = Issuer::with_keys(&[old.jwk()]).await;
    let oauth = oauth_server(&issuer, "");
    let by_old = old.token(&claims(&issuer));
    let by_new = new.token(&claims(&issuer));
    oauth.verify(&by_old).await.unwrap();
    // The last fetch is too recent for another one.
    let refused = oauth.verify(&by_new).await.unwrap_err();
    assert_eq!(refused, OAuthError::Invalid(TokenRejection::UnknownKey));
    assert_eq!(issuer.request_count(KEYS_PATH), 1);
    advance_time(30).await;
    issuer.publish_keys(&[new.jwk()]);
    oauth.verify(&by_new).await.unwrap();
    assert_eq!(issuer.request_count(KEYS_PATH), 2);
    // A key that is no longer published is no longer accepted.
    let refused = oauth.verify(&by_old).await.unwrap_err();
    assert_eq!(refused, OAuthError::Invalid(TokenRejection::UnknownKey));
}

/// A key without an id is identified by its signatures alone.
#[tokio::test]
async fn rotated_key_without_an_id_is_fetched() {
    let old = Signer::es256("a");
    let new = Signer::es256("a");
    let nameless = |signer: &Signer| {
        let mut jwk = signer.jwk();
        jwk.as_object_mut().unwrap().shift_remove("kid");
        jwk
    };
    let issuer = Issuer::with_keys(&[nameless(&old)]).await;
    let oauth = oauth_server(&issuer, "");
    let header = json!({ "alg": "ES256" });
    oauth
        .verify(&old.token_with_header(&header, &claims(&issuer)))
        .await
        .unwrap();
    issuer.publish_keys(&[nameless(&new)]);
    advance_time(30).await;
    oauth
        .verify(&new.token_with_header(&header, &claims(&issuer)))
        .await
        .unwrap();
    // With several keys a token has to name its key.
    issuer.publish_keys(&[nameless(&new), nameless(&old)]);
    let token = new.token_with_header(&header, &claims(&issuer));
    let refused = oauth_server(&issuer, "").verify(&token).await.unwrap_err();
    assert_eq!(refused, OAuthError::Invalid(TokenRejection::UnknownKey));
}

#[tokio::test]
async fn keys_with_the_same_id_are_all_tried() {
    let one = Signer::es256("a");
    let two = Signer::es256("a");
    let issuer = Issuer::with_keys(&[one.jwk(), two.jwk()]).await;
    let oauth = oauth_server(&issuer, "");
    for signer in [&one, &two] {
        oauth.verify(&signer.token(&claims(&issuer))).await.unwrap();
    }
    let stranger = Signer::es256("a").token(&claims(&issuer));
    let refused = oauth.verify(&stranger).await.unwrap_err();
    assert_eq!(refused, OAuthError::Invalid(TokenRejection::WrongSignature));
}

#[tokio::test]
async fn unknown_key_ids_do_not_flood_the_issuer() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let oauth = oauth_server(&issuer, "");
    oauth.verify(&signer.token(&claims(&issuer))).await.unwrap();
    advance_time(60).await;
    for number in 0..1000 {
        let header = json!({ "alg": "ES256", "kid": format!("made up {number}") });
        let refused = oauth
            .verify(&signer.token_with_header(&header, &claims(&issuer)))
            .await
            .unwrap_err();
        assert_eq!(refused, OAuthError::Invalid(TokenRejection::UnknownKey));
    }
    assert_eq!(issuer.request_count(KEYS_PATH), 2);
}

#[tokio::test]
async fn concurrent_callers_share_one_fetch() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let oauth = oauth_server(&issuer, "");
    let token = signer.token(&claims(&issuer));
    let calls = futures_util::future::join_all((0..50).map(|_| oauth.verify(&token))).await;
    assert!(calls.iter().all(Result::is_ok));
    assert_eq!(issuer.request_count(KEYS_PATH), 1);
}

/// Otherwise a caller that disconnects at the right moment could lock out all others.
#[tokio::test]
async fn cancelled_caller_does_not_cancel_the_fetch() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let oauth = oauth_server(&issuer, "");
    let token = signer.token(&claims(&issuer));
    tokio::select! {
        _ = oauth.verify(&token) => panic!("answered before it was asked"),
        () = issuer.wait_for_requests(OAUTH_METADATA_PATH, 1) => {}
    }
    oauth.verify(&token).await.unwrap();
    assert_eq!(issuer.request_count(KEYS_PATH), 1);
}

#[tokio::test]
async fn keys_are_refreshed_and_kept_for_a_day_without_an_issuer() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let oauth = oauth_server(&issuer, "");
    let token = signer.token(&claims(&issuer));
    oauth.verify(&token).await.unwrap();
    advance_time(11 * 60).await;
    oauth.verify(&token).await.unwrap();
    assert_eq!(issuer.request_count(KEYS_PATH), 1);
    // The refresh runs in the background. Callers wait only for keys that are older still.
    advance_time(2 * 60).await;
    oauth.verify(&token).await.unwrap();
    issuer.wait_for_requests(KEYS_PATH, 2).await;
    advance_time(3 * 60).await;
    oauth.verify(&token).await.unwrap();
    assert_eq!(issuer.request_count(KEYS_PATH), 2);

    issuer.set_response(KEYS_PATH, IssuerResponse::Status(500));
    advance_time(16 * 60).await;
    oauth.verify(&token).await.unwrap();
    oauth.verify(&token).await.unwrap();
    assert_eq!(
        issuer.request_count(KEYS_PATH),
        3,
        "once within half a minute"
    );
    let bad = signer.token(&claims_with(
        &issuer,
        json!({ "aud": "https://other.example.com" }),
    ));
    assert_eq!(
        oauth.verify(&bad).await.unwrap_err(),
        OAuthError::Invalid(TokenRejection::WrongAudience)
    );
    advance_time(23 * 60 * 60).await;
    oauth.verify(&token).await.unwrap();
    advance_time(60 * 60).await;
    assert_eq!(
        oauth.verify(&token).await.unwrap_err(),
        OAuthError::Unavailable
    );

    issuer.publish_keys(&[signer.jwk()]);
    advance_time(30).await;
    oauth.verify(&token).await.unwrap();
}

/// The first fetch is retried after a short delay, because nobody is served until it succeeds.
#[tokio::test]
async fn failed_first_fetch_is_retried_after_five_seconds() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    issuer.set_response(KEYS_PATH, IssuerResponse::Status(503));
    let oauth = oauth_server(&issuer, "");
    let token = signer.token(&claims(&issuer));
    assert_eq!(
        oauth.verify(&token).await.unwrap_err(),
        OAuthError::Unavailable
    );
    issuer.publish_keys(&[signer.jwk()]);
    assert_eq!(
        oauth.verify(&token).await.unwrap_err(),
        OAuthError::Unavailable
    );
    assert_eq!(issuer.request_count(KEYS_PATH), 1);
    advance_time(5).await;
    oauth.verify(&token).await.unwrap();
}

fn issuer_state(readiness: &Readiness) -> ComponentState {
    let components = readiness.components();
    let [Component { name, state }] = &components[..] else {
        panic!("{components:?}")
    };
    assert_eq!(*name, ComponentName::OauthIssuer);
    *state
}

#[tokio::test]
async fn hanging_issuer_is_asked_once_and_callers_fail_early() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    issuer.set_response(KEYS_PATH, IssuerResponse::Never);
    let readiness = Readiness::default();
    let oauth = Arc::new(oauth_with_readiness(
        &settings(&issuer, "", ALICE_TENANT),
        &readiness,
    ));
    assert_eq!(issuer_state(&readiness), ComponentState::OK);
    let token = signer.token(&claims(&issuer));
    let waiting = verify_concurrently(&oauth, vec![token.clone(); 10]);
    issuer.wait_for_requests(KEYS_PATH, 1).await;
    // The callers do not wait for the end of the fetch.
    advance_time(2).await;
    assert_eq!(waiting.join_all().await, [Err(OAuthError::Unavailable); 10]);
    // The fetch ends after five seconds, and the next one starts five seconds later.
    advance_time(4).await;
    for _ in 0..10 {
        assert_eq!(
            oauth.verify(&token).await.unwrap_err(),
            OAuthError::Unavailable
        );
    }
    assert_eq!(issuer.request_count(KEYS_PATH), 1);
    assert_eq!(
        issuer_state(&readiness).degraded,
        Some(DegradedReason::Timeout)
    );

    issuer.publish_keys(&[signer.jwk()]);
    advance_time(5).await;
    oauth.verify(&token).await.unwrap();
    assert_eq!(issuer.request_count(KEYS_PATH), 2);
    assert_eq!(issuer_state(&readiness).degraded, None);
}

#[tokio::test]
async fn known_keys_are_used_while_the_issuer_hangs() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let readiness = Readiness::default();
    let oauth = Arc::new(oauth_with_readiness(
        &settings(&issuer, "", ALICE_TENANT),
        &readiness,
    ));
    let token = signer.token(&claims(&issuer));
    oauth.verify(&token).await.unwrap();
    issuer.set_response(KEYS_PATH, IssuerResponse::Never);
    // Nobody waits for a background refresh, nor after it has failed.
    advance_time(13 * 60).await;
    oauth.verify(&token).await.unwrap();
    issuer.wait_for_requests(KEYS_PATH, 2).await;
    advance_time(6).await;
    while issuer_state(&readiness).degraded.is_none() {
        tokio::task::yield_now().await;
    }
    advance_time(10 * 60).await;
    oauth.verify(&token).await.unwrap();
    issuer.wait_for_requests(KEYS_PATH, 3).await;
    oauth.verify(&token).await.unwrap();
    assert_eq!(issuer.request_count(KEYS_PATH), 3);
    // An unknown key may be a new one, which cannot be checked now.
    let new = Signer::es256("new").token(&claims(&issuer));
    let waiting = verify_concurrently(&oauth, vec![new; 10]);
    tokio::task::yield_now().await;
    advance_time(2).await;
    assert_eq!(waiting.join_all().await, [Err(OAuthError::Unavailable); 10]);
    assert_eq!(issuer.request_count(KEYS_PATH), 3);
}

#[tokio::test]
async fn old_keys_are_used_after_a_short_wait_for_newer_ones() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let oauth = Arc::new(oauth_server(&issuer, ""));
    let token = signer.token(&claims(&issuer));
    oauth.verify(&token).await.unwrap();
    issuer.set_response(KEYS_PATH, IssuerResponse::Never);
    advance_time(16 * 60).await;
    let waiting = verify_concurrently(&oauth, vec![token; 10]);
    issuer.wait_for_requests(KEYS_PATH, 2).await;
    advance_time(2).await;
    assert_eq!(waiting.join_all().await, [Ok(()); 10]);
    assert_eq!(issuer.request_count(KEYS_PATH), 2);
}

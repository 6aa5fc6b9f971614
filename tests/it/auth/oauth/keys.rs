//! How the issuer's keys are found, kept and renewed.

use std::sync::Arc;

use portkey_mcp::auth::oauth::{OAuthError, TokenRejection};
use portkey_readiness::{Component, ComponentName, ComponentState, DegradedReason, Readiness};
use serde_json::json;

use super::{
    ALICE, callers, claims, claims_with,
    issuer::{Issuer, KEYS, OAUTH_METADATA, OPENID_METADATA, Says},
    later, server, settings,
    signer::Signer,
    start, start_reporting,
};

#[tokio::test]
async fn keys_are_found_by_metadata_or_jwks_url() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let token = signer.token(&claims(&issuer));
    server(&issuer, "").verify(&token).await.unwrap();
    assert_eq!(
        (issuer.count(OAUTH_METADATA), issuer.count(OPENID_METADATA)),
        (1, 0)
    );

    let metadata = json!({ "issuer": issuer.url, "jwks_uri": format!("{}{KEYS}", issuer.url) });
    issuer.says(OAUTH_METADATA, Says::Status(404));
    issuer.says(OPENID_METADATA, Says::Json(metadata));
    server(&issuer, "").verify(&token).await.unwrap();
    assert_eq!(
        (issuer.count(OAUTH_METADATA), issuer.count(OPENID_METADATA)),
        (2, 1)
    );

    issuer.says(OPENID_METADATA, Says::Status(404));
    let named = format!("jwks_url = \"{}{KEYS}\"", issuer.url);
    server(&issuer, &named).verify(&token).await.unwrap();
    assert_eq!(
        (issuer.count(OAUTH_METADATA), issuer.count(OPENID_METADATA)),
        (2, 1)
    );
    assert_eq!(
        server(&issuer, "").verify(&token).await.unwrap_err(),
        OAuthError::Unavailable
    );
}

/// An issuer with a path has its metadata in other places.
#[tokio::test]
async fn issuer_url_may_have_a_path() {
    let signer = Signer::es256("a");
    let mut issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let jwks_uri = format!("{}{KEYS}", issuer.url);
    issuer.url += "/realms/one";
    let metadata = Says::Json(json!({ "issuer": issuer.url, "jwks_uri": jwks_uri }));
    let token = signer.token(&claims(&issuer));
    for (place, other) in [
        (
            format!("{OAUTH_METADATA}/realms/one"),
            format!("/realms/one{OPENID_METADATA}"),
        ),
        (
            format!("/realms/one{OPENID_METADATA}"),
            format!("{OAUTH_METADATA}/realms/one"),
        ),
    ] {
        issuer.says(&place, metadata.clone());
        issuer.says(&other, Says::Status(404));
        server(&issuer, "").verify(&token).await.unwrap();
    }
}

/// Without keys nothing can be said about a token, so it is not called a bad one.
#[tokio::test]
async fn issuer_without_usable_keys_is_unavailable() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let token = signer.token(&claims(&issuer));
    let keys = || format!("{}{KEYS}", issuer.url);
    let good_keys = Says::Json(json!({ "keys": [signer.jwk()] }));
    let metadata =
        |issuer: &str, keys: &str| Says::Json(json!({ "issuer": issuer, "jwks_uri": keys }));
    issuer.says("/moved", good_keys.clone());
    for (what, metadata, keys) in [
        ("down", metadata(&issuer.url, &keys()), Says::Status(503)),
        (
            "too large",
            metadata(&issuer.url, &keys()),
            Says::Bytes(1 << 20),
        ),
        (
            "no keys",
            metadata(&issuer.url, &keys()),
            Says::Json(json!({ "keys": [] })),
        ),
        (
            "too many keys",
            metadata(&issuer.url, &keys()),
            Says::Json(json!({ "keys": vec![signer.jwk(); 101] })),
        ),
        (
            "no JWK set",
            metadata(&issuer.url, &keys()),
            Says::Json(json!([signer.jwk()])),
        ),
        (
            "redirect",
            metadata(&issuer.url, &keys()),
            Says::RedirectTo(format!("{}/moved", issuer.url)),
        ),
        (
            "metadata moved",
            Says::RedirectTo(format!("{}/moved", issuer.url)),
            good_keys.clone(),
        ),
        (
            "other issuer",
            metadata(&format!("{}/", issuer.url), &keys()),
            good_keys.clone(),
        ),
        (
            "keys unencrypted",
            metadata(&issuer.url, "http://keys.example.com/"),
            good_keys.clone(),
        ),
        (
            "keys in a file",
            metadata(&issuer.url, "file:///keys"),
            good_keys.clone(),
        ),
        (
            "keys nowhere",
            Says::Json(json!({ "issuer": issuer.url })),
            good_keys.clone(),
        ),
    ] {
        issuer.says(OAUTH_METADATA, metadata);
        issuer.says(KEYS, keys);
        let refused = server(&issuer, "").verify(&token).await.unwrap_err();
        assert_eq!(refused, OAuthError::Unavailable, "{what}");
    }
    assert_eq!(issuer.count("/moved"), 0);
    // Nobody listens there.
    let gone = settings(&issuer, "jwks_url = \"http://127.0.0.1:1/keys\"", ALICE);
    assert_eq!(
        start(&gone).verify(&token).await.unwrap_err(),
        OAuthError::Unavailable
    );
}

#[tokio::test]
async fn slow_issuer_times_out() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    issuer.says(KEYS, Says::Nothing);
    let oauth = Arc::new(server(&issuer, ""));
    let (asking, token) = (oauth.clone(), signer.token(&claims(&issuer)));
    let waiting = tokio::spawn(async move { asking.verify(&token).await });
    issuer.asked(KEYS, 1).await;
    later(6).await;
    assert_eq!(waiting.await.unwrap().unwrap_err(), OAuthError::Unavailable);
}

#[tokio::test]
async fn rotated_key_is_fetched() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let issuer = Issuer::with_keys(&[old.jwk()]).await;
    let oauth = server(&issuer, "");
    let (by_old, by_new) = (old.token(&claims(&issuer)), new.token(&claims(&issuer)));
    oauth.verify(&by_old).await.unwrap();
    // Too soon to ask again.
    let refused = oauth.verify(&by_new).await.unwrap_err();
    assert_eq!(refused, OAuthError::Invalid(TokenRejection::UnknownKey));
    assert_eq!(issuer.count(KEYS), 1);
    later(30).await;
    issuer.publishes(&[new.jwk()]);
    oauth.verify(&by_new).await.unwrap();
    assert_eq!(issuer.count(KEYS), 2);
    // What is no longer published is no longer good.
    let refused = oauth.verify(&by_old).await.unwrap_err();
    assert_eq!(refused, OAuthError::Invalid(TokenRejection::UnknownKey));
}

/// A key without an id is known by its signatures alone.
#[tokio::test]
async fn rotated_key_without_an_id_is_fetched() {
    let (old, new) = (Signer::es256("a"), Signer::es256("a"));
    let nameless = |signer: &Signer| {
        let mut jwk = signer.jwk();
        jwk.as_object_mut().unwrap().shift_remove("kid");
        jwk
    };
    let issuer = Issuer::with_keys(&[nameless(&old)]).await;
    let oauth = server(&issuer, "");
    let header = json!({ "alg": "ES256" });
    oauth
        .verify(&old.signed(&header, &claims(&issuer)))
        .await
        .unwrap();
    issuer.publishes(&[nameless(&new)]);
    later(30).await;
    oauth
        .verify(&new.signed(&header, &claims(&issuer)))
        .await
        .unwrap();
    // With several keys a token has to name its own.
    issuer.publishes(&[nameless(&new), nameless(&old)]);
    let token = new.signed(&header, &claims(&issuer));
    let refused = server(&issuer, "").verify(&token).await.unwrap_err();
    assert_eq!(refused, OAuthError::Invalid(TokenRejection::UnknownKey));
}

#[tokio::test]
async fn keys_with_the_same_id_are_all_tried() {
    let (one, two) = (Signer::es256("a"), Signer::es256("a"));
    let issuer = Issuer::with_keys(&[one.jwk(), two.jwk()]).await;
    let oauth = server(&issuer, "");
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
    let oauth = server(&issuer, "");
    oauth.verify(&signer.token(&claims(&issuer))).await.unwrap();
    later(60).await;
    for number in 0..1000 {
        let header = json!({ "alg": "ES256", "kid": format!("made up {number}") });
        let refused = oauth
            .verify(&signer.signed(&header, &claims(&issuer)))
            .await
            .unwrap_err();
        assert_eq!(refused, OAuthError::Invalid(TokenRejection::UnknownKey));
    }
    assert_eq!(issuer.count(KEYS), 2);
}

#[tokio::test]
async fn concurrent_callers_share_one_fetch() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let oauth = server(&issuer, "");
    let token = signer.token(&claims(&issuer));
    let calls = futures_util::future::join_all((0..50).map(|_| oauth.verify(&token))).await;
    assert!(calls.iter().all(Result::is_ok));
    assert_eq!(issuer.count(KEYS), 1);
}

/// Else whoever hangs up at the right moment would keep all others out.
#[tokio::test]
async fn cancelled_caller_does_not_cancel_the_fetch() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let oauth = server(&issuer, "");
    let token = signer.token(&claims(&issuer));
    tokio::select! {
        _ = oauth.verify(&token) => panic!("answered before it was asked"),
        () = issuer.asked(OAUTH_METADATA, 1) => {}
    }
    oauth.verify(&token).await.unwrap();
    assert_eq!(issuer.count(KEYS), 1);
}

#[tokio::test]
async fn keys_are_refreshed_and_kept_for_a_day_without_an_issuer() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let oauth = server(&issuer, "");
    let token = signer.token(&claims(&issuer));
    oauth.verify(&token).await.unwrap();
    later(11 * 60).await;
    oauth.verify(&token).await.unwrap();
    assert_eq!(issuer.count(KEYS), 1);
    // Behind the back of callers, who only wait for keys that are older still.
    later(2 * 60).await;
    oauth.verify(&token).await.unwrap();
    issuer.asked(KEYS, 2).await;
    later(3 * 60).await;
    oauth.verify(&token).await.unwrap();
    assert_eq!(issuer.count(KEYS), 2);

    issuer.says(KEYS, Says::Status(500));
    later(16 * 60).await;
    oauth.verify(&token).await.unwrap();
    oauth.verify(&token).await.unwrap();
    assert_eq!(issuer.count(KEYS), 3, "once within half a minute");
    let bad = signer.token(&claims_with(
        &issuer,
        json!({ "aud": "https://other.example.com" }),
    ));
    assert_eq!(
        oauth.verify(&bad).await.unwrap_err(),
        OAuthError::Invalid(TokenRejection::WrongAudience)
    );
    later(23 * 60 * 60).await;
    oauth.verify(&token).await.unwrap();
    later(60 * 60).await;
    assert_eq!(
        oauth.verify(&token).await.unwrap_err(),
        OAuthError::Unavailable
    );

    issuer.publishes(&[signer.jwk()]);
    later(30).await;
    oauth.verify(&token).await.unwrap();
}

/// The first fetch is tried again soon: until then nobody is served.
#[tokio::test]
async fn failed_first_fetch_is_retried_after_five_seconds() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    issuer.says(KEYS, Says::Status(503));
    let oauth = server(&issuer, "");
    let token = signer.token(&claims(&issuer));
    assert_eq!(
        oauth.verify(&token).await.unwrap_err(),
        OAuthError::Unavailable
    );
    issuer.publishes(&[signer.jwk()]);
    assert_eq!(
        oauth.verify(&token).await.unwrap_err(),
        OAuthError::Unavailable
    );
    assert_eq!(issuer.count(KEYS), 1);
    later(5).await;
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
    issuer.says(KEYS, Says::Nothing);
    let readiness = Readiness::default();
    let oauth = Arc::new(start_reporting(&settings(&issuer, "", ALICE), &readiness));
    assert_eq!(issuer_state(&readiness), ComponentState::OK);
    let token = signer.token(&claims(&issuer));
    let waiting = callers(&oauth, vec![token.clone(); 10]);
    issuer.asked(KEYS, 1).await;
    // None of them waits for the end of the fetch.
    later(2).await;
    assert_eq!(waiting.join_all().await, [Err(OAuthError::Unavailable); 10]);
    // It ends after five seconds, and the next one begins as long after that.
    later(4).await;
    for _ in 0..10 {
        assert_eq!(
            oauth.verify(&token).await.unwrap_err(),
            OAuthError::Unavailable
        );
    }
    assert_eq!(issuer.count(KEYS), 1);
    assert_eq!(
        issuer_state(&readiness).degraded,
        Some(DegradedReason::Timeout)
    );

    issuer.publishes(&[signer.jwk()]);
    later(5).await;
    oauth.verify(&token).await.unwrap();
    assert_eq!(issuer.count(KEYS), 2);
    assert_eq!(issuer_state(&readiness).degraded, None);
}

#[tokio::test]
async fn known_keys_are_used_while_the_issuer_hangs() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let readiness = Readiness::default();
    let oauth = Arc::new(start_reporting(&settings(&issuer, "", ALICE), &readiness));
    let token = signer.token(&claims(&issuer));
    oauth.verify(&token).await.unwrap();
    issuer.says(KEYS, Says::Nothing);
    // Nobody waits for what is fetched ahead of time, nor after that has failed.
    later(13 * 60).await;
    oauth.verify(&token).await.unwrap();
    issuer.asked(KEYS, 2).await;
    later(6).await;
    while issuer_state(&readiness).degraded.is_none() {
        tokio::task::yield_now().await;
    }
    later(10 * 60).await;
    oauth.verify(&token).await.unwrap();
    issuer.asked(KEYS, 3).await;
    oauth.verify(&token).await.unwrap();
    assert_eq!(issuer.count(KEYS), 3);
    // A key that is not known may be a new one, which nobody can tell now.
    let new = Signer::es256("new").token(&claims(&issuer));
    let waiting = callers(&oauth, vec![new; 10]);
    tokio::task::yield_now().await;
    later(2).await;
    assert_eq!(waiting.join_all().await, [Err(OAuthError::Unavailable); 10]);
    assert_eq!(issuer.count(KEYS), 3);
}

#[tokio::test]
async fn old_keys_are_used_after_a_short_wait_for_newer_ones() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let oauth = Arc::new(server(&issuer, ""));
    let token = signer.token(&claims(&issuer));
    oauth.verify(&token).await.unwrap();
    issuer.says(KEYS, Says::Nothing);
    later(16 * 60).await;
    let waiting = callers(&oauth, vec![token; 10]);
    issuer.asked(KEYS, 2).await;
    later(2).await;
    assert_eq!(waiting.join_all().await, [Ok(()); 10]);
    assert_eq!(issuer.count(KEYS), 2);
}

//! Verification of signed tokens.

use portkey_mcp::auth::{
    oauth::{OAuthError, TokenRejection},
    principal::{AuthMethod, ScopeAccess},
};
use ring::hmac;
use serde_json::{Value, json};

use super::{RESOURCE, claims, claims_with, oauth_server, seconds_from_now};
use crate::support::{
    oauth_issuer::{Issuer, KEYS_PATH, OAUTH_METADATA_PATH, OPENID_METADATA_PATH},
    token_signer::{Signer, base64, signing_input},
};

#[tokio::test]
async fn signature_is_verified_for_every_allowed_algorithm() {
    let signers = [
        Signer::rsa("rs", "RS256"),
        Signer::rsa("ps", "PS256"),
        Signer::es256("p256"),
        Signer::es384("p384"),
        Signer::eddsa("ed"),
    ];
    let keys: Vec<_> = signers.iter().map(Signer::jwk).collect();
    let issuer = Issuer::with_keys(&keys).await;
    let oauth = oauth_server(&issuer, "");
    for signer in &signers {
        let token = signer.token(&claims(&issuer));
        let principal = oauth.verify(&token).await.unwrap();
        assert_eq!(principal.method, AuthMethod::OAuth);
        assert!(principal.scopes.allows("prompts", ScopeAccess::Read));
        assert!(!principal.scopes.allows("prompts", ScopeAccess::Write));
        // A signature of the same key over other claims.
        let other = signer.token(&claims_with(&issuer, json!({ "sub": "bob" })));
        let (text, signature) = (
            token.rsplit_once('.').unwrap().0,
            other.rsplit_once('.').unwrap().1,
        );
        let mixed = oauth.verify(&format!("{text}.{signature}")).await;
        assert_eq!(
            mixed.unwrap_err(),
            OAuthError::Invalid(TokenRejection::WrongSignature)
        );
    }
    assert_eq!(issuer.request_count(KEYS_PATH), 1);
}

#[tokio::test]
async fn variants_of_a_valid_token_are_accepted() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let oauth = oauth_server(&issuer, "");
    for changes in [
        json!({ "aud": ["https://other.example.com", RESOURCE] }),
        json!({ "exp": seconds_from_now(-20) }),
        json!({ "exp": seconds_from_now(600) as f64 + 0.5 }),
        json!({ "nbf": seconds_from_now(20) }),
        json!({ "iat": null, "scope": null }),
    ] {
        let token = signer.token(&claims_with(&issuer, changes.clone()));
        let outcome = oauth.verify(&token).await;
        assert!(outcome.is_ok(), "{changes}: {outcome:?}");
    }
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        let mut header = signer.header();
        header["typ"] = json!(typ);
        oauth
            .verify(&signer.token_with_header(&header, &claims(&issuer)))
            .await
            .unwrap();
    }
    // With one published key, the token need not name it.
    oauth
        .verify(&signer.token_with_header(&json!({ "alg": "ES256" }), &claims(&issuer)))
        .await
        .unwrap();
}

#[tokio::test]
async fn invalid_claims_are_rejected() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let oauth = oauth_server(&issuer, "");
    for (changes, reason) in [
        (
            json!({ "aud": "https://other.example.com/mcp" }),
            TokenRejection::WrongAudience,
        ),
        (
            json!({ "aud": ["https://other.example.com"] }),
            TokenRejection::WrongAudience,
        ),
        (json!({ "aud": [] }), TokenRejection::WrongAudience),
        (
            json!({ "aud": format!("{RESOURCE}/") }),
            TokenRejection::WrongAudience,
        ),
        (json!({ "aud": null }), TokenRejection::MissingClaim),
        (json!({ "aud": 7 }), TokenRejection::MissingClaim),
        (
            json!({ "iss": "https://evil.example.com" }),
            TokenRejection::WrongIssuer,
        ),
        (
            json!({ "iss": format!("{}/", issuer.url) }),
            TokenRejection::WrongIssuer,
        ),
        (json!({ "iss": [issuer.url] }), TokenRejection::WrongIssuer),
        (json!({ "iss": null }), TokenRejection::MissingClaim),
        (
            json!({ "exp": seconds_from_now(-40) }),
            TokenRejection::Expired,
        ),
        (json!({ "exp": 0 }), TokenRejection::Expired),
        (json!({ "exp": null }), TokenRejection::MissingClaim),
        (json!({ "exp": "tomorrow" }), TokenRejection::MissingClaim),
        (json!({ "exp": -1 }), TokenRejection::MissingClaim),
        (
            json!({ "nbf": seconds_from_now(60) }),
            TokenRejection::NotYetValid,
        ),
        (json!({ "nbf": "today" }), TokenRejection::Malformed),
        (json!({ "sub": null }), TokenRejection::MissingClaim),
        (json!({ "sub": 7 }), TokenRejection::MissingClaim),
        (json!({ "sub": "" }), TokenRejection::MissingSubject),
    ] {
        let token = signer.token(&claims_with(&issuer, changes.clone()));
        let refused = oauth.verify(&token).await.unwrap_err();
        assert_eq!(refused, OAuthError::Invalid(reason), "{changes}");
    }
}

/// A token cannot choose the algorithm of its verification.
#[tokio::test]
async fn algorithm_is_determined_by_the_key() {
    struct Case {
        what: &'static str,
        token: String,
        reason: TokenRejection,
    }

    let (rsa, p256, p384) = (
        Signer::rsa("rsa", "RS256"),
        Signer::es256("p256"),
        Signer::es384("p384"),
    );
    let issuer = Issuer::with_keys(&[rsa.jwk(), p256.jwk(), p384.jwk()]).await;
    let oauth = oauth_server(&issuer, "");
    let good = claims(&issuer);
    let header = |alg: &str, kid: &str| json!({ "alg": alg, "kid": kid, "typ": "JWT" });
    let by_hmac = |secret: &str| {
        let text = signing_input(&header("HS256", "rsa"), &good);
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        format!("{text}.{}", base64(hmac::sign(&key, text.as_bytes())))
    };
    let stranger = Signer::es256("p256");
    let mut own_key = p256.header();
    own_key["jwk"] = stranger.jwk();
    own_key["jku"] = json!(format!("{}/stranger", issuer.url));
    let tokens = [
        Case {
            what: "none",
            token: format!("{}.", signing_input(&header("none", "rsa"), &good)),
            reason: TokenRejection::Malformed,
        },
        Case {
            what: "public key as secret",
            token: by_hmac(&rsa.jwk().to_string()),
            reason: TokenRejection::WrongAlgorithm,
        },
        Case {
            what: "modulus as secret",
            token: by_hmac(rsa.jwk()["n"].as_str().unwrap()),
            reason: TokenRejection::WrongAlgorithm,
        },
        Case {
            what: "RSA for a curve's key",
            token: rsa.token_with_header(&header("RS256", "p256"), &good),
            reason: TokenRejection::WrongAlgorithm,
        },
        Case {
            what: "curve for an RSA key",
            token: p256.token_with_header(&header("ES256", "rsa"), &good),
            reason: TokenRejection::WrongAlgorithm,
        },
        Case {
            what: "other curve",
            token: p256.token_with_header(&header("ES256", "p384"), &good),
            reason: TokenRejection::WrongAlgorithm,
        },
        Case {
            what: "other padding",
            token: Signer::rsa("rsa", "PS256").token_with_header(&header("PS256", "rsa"), &good),
            reason: TokenRejection::WrongAlgorithm,
        },
        Case {
            what: "padding that the header does not say",
            token: Signer::rsa("rsa", "PS256").token_with_header(&header("RS256", "rsa"), &good),
            reason: TokenRejection::WrongSignature,
        },
        Case {
            what: "key that the token brings",
            token: stranger.token_with_header(&own_key, &good),
            reason: TokenRejection::WrongSignature,
        },
        Case {
            what: "unknown key",
            token: p256.token_with_header(&header("ES256", "new"), &good),
            reason: TokenRejection::UnknownKey,
        },
    ];
    for Case {
        what,
        token,
        reason,
    } in tokens
    {
        let refused = oauth.verify(&token).await.unwrap_err();
        assert_eq!(refused, OAuthError::Invalid(reason), "{what}");
    }
    assert_eq!(issuer.request_count("/stranger"), 0);
}

/// A token that cannot be valid causes no request to the issuer.
#[tokio::test]
async fn malformed_token_is_rejected_before_any_fetch() {
    struct Case {
        what: &'static str,
        token: String,
        reason: TokenRejection,
    }

    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let oauth = oauth_server(&issuer, "");
    let good = claims(&issuer);
    let with = |name: &str, value: Value| {
        let mut header = signer.header();
        header[name] = value;
        signer.token_with_header(&header, &good)
    };
    let token = signer.token(&good);
    let huge = claims_with(&issuer, json!({ "x": "x".repeat(16 << 10) }));
    for Case {
        what,
        token,
        reason,
    } in [
        Case {
            what: "nothing",
            token: String::new(),
            reason: TokenRejection::Malformed,
        },
        Case {
            what: "a word",
            token: "opaque".to_owned(),
            reason: TokenRejection::Malformed,
        },
        Case {
            what: "two parts",
            token: token.rsplit_once('.').unwrap().0.to_owned(),
            reason: TokenRejection::Malformed,
        },
        Case {
            what: "five parts",
            token: format!("{token}.a.b"),
            reason: TokenRejection::Malformed,
        },
        Case {
            what: "a blank",
            token: format!("{token} "),
            reason: TokenRejection::Malformed,
        },
        Case {
            what: "other letters",
            token: format!("{token}é"),
            reason: TokenRejection::Malformed,
        },
        Case {
            what: "no JSON",
            token: format!("{}.e30.x", base64("{")),
            reason: TokenRejection::Malformed,
        },
        Case {
            what: "too long",
            token: signer.token(&huge),
            reason: TokenRejection::TooLong,
        },
        Case {
            what: "logout token",
            token: with("typ", json!("logout+jwt")),
            reason: TokenRejection::WrongType,
        },
        Case {
            what: "proof",
            token: with("typ", json!("dpop+jwt")),
            reason: TokenRejection::WrongType,
        },
        Case {
            what: "extensions",
            token: with("crit", json!(["b64"])),
            reason: TokenRejection::CriticalExtension,
        },
        Case {
            what: "no extensions",
            token: with("crit", json!([])),
            reason: TokenRejection::CriticalExtension,
        },
    ] {
        let refused = oauth.verify(&token).await.unwrap_err();
        assert_eq!(refused, OAuthError::Invalid(reason), "{what}");
    }
    assert_eq!(
        issuer.request_count(OAUTH_METADATA_PATH) + issuer.request_count(OPENID_METADATA_PATH),
        0
    );
    oauth.verify(&token).await.unwrap();
}

#[tokio::test]
async fn configured_algorithms_and_leeway_apply() {
    let rsa = Signer::rsa("rsa", "RS256");
    let ec = Signer::es256("ec");
    let issuer = Issuer::with_keys(&[rsa.jwk(), ec.jwk()]).await;
    let oauth = oauth_server(&issuer, "algorithms = [\"ES256\"]\nleeway_seconds = 0");
    oauth.verify(&ec.token(&claims(&issuer))).await.unwrap();
    let late = ec.token(&claims_with(
        &issuer,
        json!({ "exp": seconds_from_now(-2) }),
    ));
    assert_eq!(
        oauth.verify(&late).await.unwrap_err(),
        OAuthError::Invalid(TokenRejection::Expired)
    );
    let other = rsa.token(&claims(&issuer));
    assert_eq!(
        oauth.verify(&other).await.unwrap_err(),
        OAuthError::Invalid(TokenRejection::UnknownKey)
    );
}

/// A key without `alg` uses the default algorithm of its type. A key that is not for signing is not
/// used.
#[tokio::test]
async fn key_is_used_only_as_its_attributes_allow() {
    struct Case {
        changes: Value,
        rs: Result<(), TokenRejection>,
        ps: Result<(), TokenRejection>,
    }

    let good = Signer::rsa("a", "RS256");
    let as_ps = Signer::rsa("a", "PS256");
    let issuer = Issuer::with_keys(&[]).await;
    let spare = Signer::es256("spare");
    for Case { changes, rs, ps } in [
        Case {
            changes: json!({ "alg": null }),
            rs: Ok(()),
            ps: Err(TokenRejection::WrongAlgorithm),
        },
        Case {
            changes: json!({ "alg": null, "use": null }),
            rs: Ok(()),
            ps: Err(TokenRejection::WrongAlgorithm),
        },
        Case {
            changes: json!({ "alg": "PS256" }),
            rs: Err(TokenRejection::WrongAlgorithm),
            ps: Ok(()),
        },
        Case {
            changes: json!({ "key_ops": ["verify"] }),
            rs: Ok(()),
            ps: Err(TokenRejection::WrongAlgorithm),
        },
        Case {
            changes: json!({ "use": "enc" }),
            rs: Err(TokenRejection::UnknownKey),
            ps: Err(TokenRejection::UnknownKey),
        },
        Case {
            changes: json!({ "key_ops": ["encrypt"] }),
            rs: Err(TokenRejection::UnknownKey),
            ps: Err(TokenRejection::UnknownKey),
        },
        Case {
            changes: json!({ "alg": "HS256" }),
            rs: Err(TokenRejection::UnknownKey),
            ps: Err(TokenRejection::UnknownKey),
        },
        Case {
            changes: json!({ "alg": "ES256" }),
            rs: Err(TokenRejection::UnknownKey),
            ps: Err(TokenRejection::UnknownKey),
        },
        Case {
            changes: json!({ "kty": "oct", "k": "c2VjcmV0" }),
            rs: Err(TokenRejection::UnknownKey),
            ps: Err(TokenRejection::UnknownKey),
        },
        Case {
            changes: json!({ "n": "!" }),
            rs: Err(TokenRejection::UnknownKey),
            ps: Err(TokenRejection::UnknownKey),
        },
    ] {
        let mut jwk = good.jwk();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => _ = jwk.as_object_mut().unwrap().shift_remove(name),
                value => jwk[name] = value.clone(),
            }
        }
        issuer.publish_keys(&[jwk, spare.jwk()]);
        let oauth = oauth_server(&issuer, "");
        for (signer, expected) in [(&good, rs), (&as_ps, ps)] {
            let outcome = oauth.verify(&signer.token(&claims(&issuer))).await;
            assert_eq!(
                outcome.map(|_| ()),
                expected.map_err(OAuthError::Invalid),
                "{changes}"
            );
        }
    }
}

/// Audiences as Microsoft Entra writes them, and as clients request them for one endpoint.
#[tokio::test]
async fn token_with_another_audience_is_rejected() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let more = r#"audiences = ["11111111-2222-3333-4444-555555555555", "api://portkey-mcp"]"#;
    let strict = oauth_server(&issuer, "");
    let open = oauth_server(&issuer, more);
    struct Case {
        aud: Value,
        path: &'static str,
        strict: bool,
        open: bool,
    }
    let case = |aud, path, strict, open| Case {
        aud,
        path,
        strict,
        open,
    };
    for Case {
        aud,
        path,
        strict: by_strict,
        open: by_open,
    } in [
        case(json!(RESOURCE), "/mcp", true, true),
        case(json!(RESOURCE), "/mcp/readonly", true, true),
        case(json!(format!("{RESOURCE}/")), "/mcp/", true, true),
        case(json!(format!("{RESOURCE}/")), "/mcp", false, false),
        case(json!(["other", RESOURCE]), "/mcp", true, true),
        case(
            json!("11111111-2222-3333-4444-555555555555"),
            "/mcp",
            false,
            true,
        ),
        case(json!(["api://portkey-mcp"]), "/mcp/readonly", false, true),
        case(json!("api://other"), "/mcp", false, false),
        // A token for one endpoint is valid at that endpoint only.
        case(
            json!(format!("{RESOURCE}/readonly")),
            "/mcp/readonly",
            true,
            true,
        ),
        case(
            json!(format!("{RESOURCE}/readonly")),
            "/mcp/readonly/",
            true,
            true,
        ),
        case(json!(format!("{RESOURCE}/readonly")), "/mcp", false, false),
        case(
            json!(format!("{RESOURCE}/x/prompts")),
            "/mcp/readonly",
            false,
            false,
        ),
    ] {
        let token = signer.token(&claims_with(&issuer, json!({ "aud": aud })));
        for (oauth, expected) in [(&strict, by_strict), (&open, by_open)] {
            let outcome = oauth.verify_for_path(&token, path).await.map(|_| ());
            let expected = expected
                .then_some(())
                .ok_or(OAuthError::Invalid(TokenRejection::WrongAudience));
            assert_eq!(outcome, expected, "{aud} at {path}");
        }
    }
}

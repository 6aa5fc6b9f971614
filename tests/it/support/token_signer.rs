//! Signing keys of an issuer, and tokens signed with them.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
        RsaKeyPair,
    },
};
use serde_json::{Value, json};

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A signing key with an id.
pub(crate) struct Signer {
    id: &'static str,
    alg: &'static str,
    pair: SigningKey,
}

enum SigningKey {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    /// Returns the RSA key of the tests, which ring cannot generate. `alg` is RS256 or PS256.
    pub(crate) fn rsa(id: &'static str, alg: &'static str) -> Self {
        let pkcs8 = include_bytes!("../../data/auth/rsa-2048.pk8");
        Self {
            id,
            alg,
            pair: SigningKey::Rsa(RsaKeyPair::from_pkcs8(pkcs8).unwrap()),
        }
    }

    pub(crate) fn es256(id: &'static str) -> Self {
        Self {
            id,
            alg: "ES256",
            pair: ec_key(&ECDSA_P256_SHA256_FIXED_SIGNING),
        }
    }

    pub(crate) fn es384(id: &'static str) -> Self {
        Self {
            id,
            alg: "ES384",
            pair: ec_key(&ECDSA_P384_SHA384_FIXED_SIGNING),
        }
    }

    pub(crate) fn eddsa(id: &'static str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        Self {
            id,
            alg: "EdDSA",
            pair: SigningKey::Ed(pair),
        }
    }

    /// Returns the public key as a JWK.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            SigningKey::Rsa(pair) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
                json!({ "kty": "RSA", "n": base64(n), "e": base64(e) })
            }
            SigningKey::Ec(pair) => {
                let (x, y) =
                    pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
                let crv = if self.alg == "ES256" {
                    "P-256"
                } else {
                    "P-384"
                };
                json!({ "kty": "EC", "crv": crv, "x": base64(x), "y": base64(y) })
            }
            SigningKey::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key()) })
            }
        };
        jwk["kid"] = json!(self.id);
        jwk["alg"] = json!(self.alg);
        jwk["use"] = json!("sig");
        jwk
    }

    /// Returns the default header of its tokens.
    pub(crate) fn header(&self) -> Value {
        json!({ "alg": self.alg, "kid": self.id, "typ": "at+jwt" })
    }

    /// Returns a token with the default header.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_with_header(&self.header(), claims)
    }

    /// Returns a token with any header. The signature uses the algorithm of the key, not that of
    /// the header.
    pub(crate) fn token_with_header(&self, header: &Value, claims: &Value) -> String {
        let text = signing_input(header, claims);
        let signature = self.sign(text.as_bytes());
        format!("{text}.{}", base64(signature))
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            SigningKey::Rsa(pair) => {
                let padding: &dyn ring::signature::RsaEncoding = if self.alg == "PS256" {
                    &RSA_PSS_SHA256
                } else {
                    &RSA_PKCS1_SHA256
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, text, &mut signature).unwrap();
                signature
            }
            SigningKey::Ec(pair) => pair.sign(&random, text).unwrap().as_ref().to_vec(),
            SigningKey::Ed(pair) => pair.sign(text).as_ref().to_vec(),
        }
    }
}

fn ec_key(algorithm: &'static EcdsaSigningAlgorithm) -> SigningKey {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    SigningKey::Ec(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap())
}

/// Returns the input of the signature.
pub(crate) fn signing_input(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        base64(header.to_string()),
        base64(claims.to_string())
    )
}

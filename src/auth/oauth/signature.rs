//! Verifies signatures with `ring` for `jsonwebtoken`, which has no cryptography of its own. TLS
//! depends on `ring` anyway.

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind,
    crypto::{CryptoProvider, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind, Result, new_error},
    signature::{Error as Mismatch, Verifier},
};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

/// Installs the cryptography provider of `jsonwebtoken` for this process. Without one it would
/// panic.
pub(super) fn install_crypto_provider() {
    // The call fails if a provider is installed already, which is harmless.
    _ = RING_PROVIDER.install_default();
}

/// Provider that verifies signatures and supports nothing else.
static RING_PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(unsupported()),
    verifier_factory,
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| Err(unsupported()),
        rsa_pub_components_from_public_key: |_| Err(unsupported()),
        ec_pub_components_from_private_key: |_, _| Err(unsupported()),
        ed_pub_components_from_private_key: |_, _| Err(unsupported()),
        compute_digest: |_, _| Err(unsupported()),
    },
};

fn unsupported() -> Error {
    new_error(ErrorKind::UnsupportedAlgorithm)
}

struct RingVerifier {
    algorithm: Algorithm,
    scheme: SignatureScheme,
    key: DecodingKey,
}

enum SignatureScheme {
    Rsa(&'static RsaParameters),
    Curve(&'static dyn VerificationAlgorithm),
}

fn verifier_factory(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    use SignatureScheme::{Curve, Rsa};
    let scheme = match algorithm {
        Algorithm::RS256 => Rsa(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Rsa(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Rsa(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Rsa(&RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Rsa(&RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Rsa(&RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => Curve(&ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Curve(&ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Curve(&ED25519),
        _ => return Err(unsupported()),
    };
    if key.family() != algorithm.family() {
        return Err(new_error(ErrorKind::InvalidKeyFormat));
    }
    Ok(Box::new(RingVerifier {
        algorithm: *algorithm,
        scheme,
        key: key.clone(),
    }))
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Mismatch> {
        let holds = match (&self.scheme, self.key.kind()) {
            (SignatureScheme::Rsa(scheme), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(scheme, message, signature)
            }
            (SignatureScheme::Curve(scheme), DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(*scheme, point).verify(message, signature)
            }
            _ => return Err(Mismatch::new()),
        };
        holds.map_err(|_| Mismatch::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

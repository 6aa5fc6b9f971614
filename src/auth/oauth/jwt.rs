//! Verifies signed tokens with the issuer's keys (RFC 7519, RFC 9068).

use jsonwebtoken::{
    Algorithm, DecodingKey, Header, Validation, decode, decode_header, errors::ErrorKind,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    TokenRejection,
    claims::{Claims, ExpectedClaims},
    issuer_client::IssuerError,
};

/// Maximum number of keys in a JWK set, far above real use.
const MAX_KEYS: usize = 100;

/// Rules for accepting tokens.
#[derive(Debug, PartialEq)]
pub(super) struct TokenRules {
    pub(super) expected: ExpectedClaims,
    pub(super) algorithms: Vec<Algorithm>,
}

/// Keys with which an issuer signs tokens.
#[derive(Debug)]
pub(super) struct SigningKeys(Vec<SigningKey>);

#[derive(Debug)]
struct SigningKey {
    id: Option<String>,
    /// The only algorithm allowed with this key, whatever the token's header says.
    algorithm: Algorithm,
    key: DecodingKey,
    validation: Validation,
}

/// JSON Web Key (RFC 7517), reduced to the members used here.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    used_for: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Header of a token whose form is valid.
pub(super) struct TokenHeader(Header);

/// Parses and checks the header of a token, before any key is fetched for it.
pub(super) fn parse_header(token: &str) -> Result<TokenHeader, TokenRejection> {
    // Unknown algorithms, including `none`, are rejected here as well.
    let header = decode_header(token).map_err(|_| TokenRejection::Malformed)?;
    if header.crit.is_some() {
        return Err(TokenRejection::CriticalExtension);
    }
    // Issuers sign other tokens with the same keys, such as logout tokens.
    let kinds = ["JWT", "at+jwt", "application/at+jwt"];
    let is_kind = |typ: &String| kinds.iter().any(|kind| kind.eq_ignore_ascii_case(typ));
    if !header.typ.as_ref().is_none_or(is_kind) {
        return Err(TokenRejection::WrongType);
    }
    Ok(TokenHeader(header))
}

impl SigningKeys {
    /// Parses the signing keys of a JWK set that the rules allow. Other keys are skipped.
    pub(super) fn parse(set: &Value, rules: &TokenRules) -> Result<Self, IssuerError> {
        let keys = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(IssuerError::NoKeys)?;
        if keys.len() > MAX_KEYS {
            return Err(IssuerError::TooLarge);
        }
        let keys: Vec<_> = keys
            .iter()
            .filter_map(|key| SigningKey::parse(key, rules))
            .collect();
        // An issuer does not publish an empty set on purpose, so the previous keys stay in use.
        if keys.is_empty() {
            Err(IssuerError::NoKeys)
        } else {
            Ok(Self(keys))
        }
    }

    /// Verifies a token and returns its claims.
    ///
    /// # Errors
    /// Returns the reason of the rejection; [`TokenRejection::UnknownKey`] if newer keys may help.
    pub(super) fn verify(
        &self,
        token: &str,
        TokenHeader(header): &TokenHeader,
        rules: &TokenRules,
    ) -> Result<Claims, TokenRejection> {
        let named = self
            .0
            .iter()
            .filter(|key| header.kid.is_none() || key.id == header.kid);
        let fitting: Vec<_> = named
            .clone()
            .filter(|key| key.algorithm == header.alg)
            .collect();
        if fitting.is_empty() {
            let known = header.kid.is_some() && named.count() > 0;
            return Err(if known {
                TokenRejection::WrongAlgorithm
            } else {
                TokenRejection::UnknownKey
            });
        }
        // A token must name its key if several keys fit.
        if header.kid.is_none() && fitting.len() > 1 {
            return Err(TokenRejection::UnknownKey);
        }
        // Keys may share an id, so each of them is tried.
        let mut failed = TokenRejection::UnknownKey;
        for key in fitting {
            match decode::<Map<String, Value>>(token, &key.key, &key.validation) {
                Ok(decoded) => return Claims::new(decoded.claims, &rules.expected),
                Err(error) => match rejection_from_error(error.kind()) {
                    // A key without an id may have been replaced by a newer one.
                    TokenRejection::WrongSignature if header.kid.is_none() => {}
                    TokenRejection::WrongSignature => failed = TokenRejection::WrongSignature,
                    other => return Err(other),
                },
            }
        }
        Err(failed)
    }
}

impl SigningKey {
    fn parse(jwk: &Value, rules: &TokenRules) -> Option<Self> {
        let jwk = Jwk::deserialize(jwk).ok()?;
        let signs = jwk.used_for.as_deref().is_none_or(|used| used == "sig")
            && jwk
                .key_ops
                .as_ref()
                .is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        let algorithm = jwk
            .algorithm()
            .filter(|one| signs && rules.algorithms.contains(one))?;
        let mut validation = Validation::new(algorithm);
        validation.leeway = rules.expected.leeway;
        validation.validate_nbf = true;
        validation.set_issuer(&[&rules.expected.issuer]);
        // The audience is checked later, against the endpoint of the request.
        validation.validate_aud = false;
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Some(Self {
            key: jwk.decoding_key()?,
            id: jwk.kid,
            algorithm,
            validation,
        })
    }
}

impl Jwk {
    /// Returns the algorithm that the key names, or the default one of its type.
    fn algorithm(&self) -> Option<Algorithm> {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let possible: &[Algorithm] = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", None) => &[RS256, RS384, RS512, PS256, PS384, PS512],
            ("EC", Some("P-256")) => &[ES256],
            ("EC", Some("P-384")) => &[ES384],
            ("OKP", Some("Ed25519")) => &[EdDSA],
            _ => &[],
        };
        match &self.alg {
            None => possible.first().copied(),
            Some(named) => {
                let named = named.parse().ok()?;
                possible.iter().copied().find(|one| *one == named)
            }
        }
    }

    fn decoding_key(&self) -> Option<DecodingKey> {
        let key = match self.kty.as_str() {
            "RSA" => DecodingKey::from_rsa_components(self.n.as_deref()?, self.e.as_deref()?),
            "EC" => {
                let x = self.x.as_deref()?;
                let y = self.y.as_deref()?;
                // The two coordinates are concatenated without a check of their lengths.
                if x.len() != y.len() {
                    return None;
                }
                DecodingKey::from_ec_components(x, y)
            }
            _ => DecodingKey::from_ed_components(self.x.as_deref()?),
        };
        key.ok()
    }
}

fn rejection_from_error(kind: &ErrorKind) -> TokenRejection {
    match kind {
        ErrorKind::InvalidSignature => TokenRejection::WrongSignature,
        ErrorKind::ExpiredSignature => TokenRejection::Expired,
        ErrorKind::ImmatureSignature => TokenRejection::NotYetValid,
        ErrorKind::InvalidIssuer => TokenRejection::WrongIssuer,
        ErrorKind::MissingRequiredClaim(_) => TokenRejection::MissingClaim,
        ErrorKind::InvalidAlgorithm => TokenRejection::WrongAlgorithm,
        _ => TokenRejection::Malformed,
    }
}

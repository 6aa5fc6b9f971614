//! Authenticates callers by the operator's token file, and generates tokens with their entries.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use anyhow::{Context, anyhow, bail};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue};
use portkey_file_watch::ParsedValue;
use portkey_policy::{CallerClaims, Policy};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tracing::warn;

use super::{AuthRejection, bearer_token, check_token_form, grant::GrantValidity};
use crate::auth::principal::{
    AuthMethod, Credentials, Grant, KeySource, MissingKey, Principal, Scope, Scopes, Toolsets,
    UpstreamKey,
};

const CHALLENGE: &str = "Bearer realm=\"portkey-mcp\"";
const INVALID_TOKEN_CHALLENGE: &str = "Bearer realm=\"portkey-mcp\", error=\"invalid_token\"";

/// Prefix of every token, by which secret scanners recognise leaked ones.
const TOKEN_PREFIX: &str = "pmcp_";

/// Content of the token file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    #[serde(default)]
    token: Vec<TokenEntry>,
}

/// Entry of one token: its holder and its permissions.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TokenEntry {
    /// Name of the caller.
    pub name: String,
    /// SHA-256 of the token in hexadecimal, which [`NewToken::generate`] sets.
    pub sha256: String,
    /// Scopes of the caller.
    pub scopes: Vec<String>,
    /// Toolsets that the caller sees; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toolsets: Option<Vec<String>>,
    /// Portkey key that acts for the caller, as `env:VARIABLE` or `file:PATH`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub portkey_key: Option<String>,
    /// Enkrypt AI key that acts for the caller, in the same form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enkrypt_key: Option<String>,
    /// Expiry of the token in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Policy file, relative to the folder of this file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PathBuf>,
}

/// The tokens of a file, each stored as its hash.
pub struct Tokens(Vec<StoredToken>);

struct StoredToken {
    hash: [u8; 32],
    expires: Option<SystemTime>,
    principal: Arc<Principal>,
}

impl Tokens {
    /// Parses a token file in `folder`, to which the paths of policies are relative. `domains` are
    /// the known toolsets. `instead` replaces the keys that the file names for all callers.
    ///
    /// # Errors
    /// Returns an error with the line or the token if the text is invalid.
    pub fn parse(
        text: &str,
        folder: &Path,
        domains: &[&'static str],
        instead: Option<&Credentials>,
    ) -> anyhow::Result<ParsedValue<Self>> {
        let file: TokenFile = toml::from_str(text)?;
        let mut tokens = Vec::new();
        let mut files = Vec::new();
        let mut names = BTreeSet::new();
        let mut hashes = BTreeSet::new();
        for entry in file.token {
            let name = entry.name.clone();
            let token = entry.into_token(folder, domains, instead, &mut files);
            let token = token.with_context(|| format!("token `{name}`"))?;
            if !hashes.insert(token.hash) {
                bail!("token `{name}`: another entry has the same sha256");
            }
            if !names.insert(name.clone()) {
                bail!("token `{name}`: another entry has the same name");
            }
            tokens.push(token);
        }
        Ok(ParsedValue {
            value: Self(tokens),
            files,
        })
    }

    pub(super) fn authenticate(
        &self,
        headers: &HeaderMap,
    ) -> Result<Arc<Principal>, AuthRejection> {
        let Some(token) = bearer_token(headers)? else {
            let message = "this server wants a token: `Authorization: Bearer …`";
            return Err(AuthRejection::unauthorized(message, CHALLENGE));
        };
        check_token_form(token, HeaderValue::from_static(INVALID_TOKEN_CHALLENGE))?;
        let hash = hash_token(token);
        match self.find(&hash) {
            Some(token) if token.expires.is_none_or(|end| SystemTime::now() < end) => {
                Ok(token.principal.clone())
            }
            _ => Err(AuthRejection::unauthorized(
                "the token is unknown, withdrawn or expired",
                INVALID_TOKEN_CHALLENGE,
            )),
        }
    }

    /// Returns the remaining validity of the token with this hash.
    pub(super) fn validity(&self, hash: &[u8; 32]) -> GrantValidity {
        self.find(hash).map_or(GrantValidity::Expired, |token| {
            GrantValidity::from_expiry(token.expires)
        })
    }

    fn find(&self, hash: &[u8; 32]) -> Option<&StoredToken> {
        // All hashes are compared, so that the time taken does not reveal which one matches.
        let mut found = None;
        for one in &self.0 {
            if bool::from(one.hash.as_slice().ct_eq(hash)) {
                found = Some(one);
            }
        }
        found
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|token| &token.principal.name))
            .finish()
    }
}

impl TokenEntry {
    fn into_token(
        self,
        folder: &Path,
        domains: &[&'static str],
        instead: Option<&Credentials>,
        files: &mut Vec<PathBuf>,
    ) -> anyhow::Result<StoredToken> {
        check_name(&self.name)?;
        let scopes = parse_scopes(&self.scopes, domains)?;
        let toolsets = match &self.toolsets {
            None => Toolsets::all(),
            Some(names) => Toolsets::from_names(names.iter().map(String::as_str), domains)?,
        };
        let mut key =
            |field: &str, reference: Option<&String>| -> anyhow::Result<Option<UpstreamKey>> {
                let Some(reference) = reference.filter(|_| instead.is_none()) else {
                    return Ok(None);
                };
                let key =
                    UpstreamKey::from_reference(reference).with_context(|| format!("`{field}`"))?;
                if let KeySource::File(path) = key.source() {
                    files.push(path.clone());
                }
                Ok(Some(key))
            };
        let portkey = key("portkey_key", self.portkey_key.as_ref())?;
        let enkrypt = key("enkrypt_key", self.enkrypt_key.as_ref())?;
        if instead.is_none() && portkey.is_none() && enkrypt.is_none() {
            warn!(
                "token `{}` names neither `portkey_key` nor `enkrypt_key`: its calls fail, except those of public price lists",
                self.name
            );
        }
        let credentials = instead.cloned().unwrap_or(Credentials {
            portkey,
            enkrypt,
            missing_key: MissingKey::Caller,
        });
        let policy = self.policy.map(|file| folder.join(file));
        let loaded = policy
            .as_deref()
            .map(Policy::load)
            .transpose()?
            .map(Arc::new);
        files.extend(policy);
        let expires = self.expires.as_deref().map(parse_expiry).transpose()?;
        let mut hash = [0; 32];
        hex::decode_to_slice(&self.sha256, &mut hash)
            .context("`sha256` has 64 hexadecimal digits; `portkey-mcp token new` makes one")?;
        let principal = Principal {
            name: self.name.into(),
            method: AuthMethod::Token,
            scopes,
            toolsets,
            credentials,
            policy: loaded,
            request_filter: None,
            grant: Grant::Token(hash),
            claims: CallerClaims::default(),
            network: None,
        };
        Ok(StoredToken {
            hash,
            expires,
            principal: Arc::new(principal),
        })
    }
}

/// Parses the scopes in the operator's file. Unlike in foreign tokens, each must be known.
pub(super) fn parse_scopes(words: &[String], domains: &[&'static str]) -> anyhow::Result<Scopes> {
    if words.is_empty() {
        bail!("`scopes` is empty, so the token could do nothing");
    }
    let read = |word: &String| -> anyhow::Result<Scope> {
        let scope: Scope = word.parse().with_context(|| format!("`{word}`"))?;
        if let Some(domain) = scope.domain() {
            Toolsets::find_domain(domain, domains).with_context(|| format!("`{word}`"))?;
        }
        Ok(scope)
    };
    words.iter().map(read).collect()
}

/// Checks that a name is suitable for logs and limits.
pub(super) fn check_name(name: &str) -> anyhow::Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        bail!("a name has 1 to 64 letters, digits or any of . _ @ -");
    }
    Ok(())
}

fn parse_expiry(text: &str) -> anyhow::Result<SystemTime> {
    let invalid_date = || anyhow!("`expires` is a time such as 2027-01-31T00:00:00Z");
    let date: DateTime<Utc> = text.parse().map_err(|_| invalid_date())?;
    Ok(date.into())
}

fn hash_token(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// A generated token. It is stored nowhere else.
pub struct NewToken {
    /// Token for the client.
    pub token: SecretString,
    /// Entry for the token file.
    pub entry: String,
}

impl NewToken {
    /// Generates a token for an entry, which is validated as in a file in `folder`.
    ///
    /// # Errors
    /// Returns an error if the entry is invalid, or the system has no randomness.
    pub fn generate(
        entry: TokenEntry,
        folder: &Path,
        domains: &[&'static str],
    ) -> anyhow::Result<Self> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| anyhow!("no randomness: {error}"))?;
        let token = format!("{TOKEN_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random));
        let sha256 = hex::encode(hash_token(&token));
        let entry = TokenEntry { sha256, ..entry };
        let entry = format!("[[token]]\n{}", toml::to_string(&entry)?);
        // The keys may be configured on another machine only.
        let elsewhere = Credentials {
            portkey: None,
            enkrypt: None,
            missing_key: MissingKey::Caller,
        };
        Tokens::parse(&entry, folder, domains, Some(&elsewhere))?;
        Ok(Self {
            token: token.into(),
            entry,
        })
    }
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.entry)
    }
}

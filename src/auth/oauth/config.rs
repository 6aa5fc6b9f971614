//! Parses the operator's OAuth file: the accepted issuer, and the upstream keys for each caller.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use jsonwebtoken::Algorithm;
use portkey_bounded_file::with_causes;
use portkey_policy::Policy;
use serde::Deserialize;
use toml::Spanned;

use crate::auth::principal::{Credentials, KeySource, MissingKey, Scopes, Toolsets, UpstreamKey};

use super::{
    super::token::{check_name, parse_scopes},
    approver::{ApproverRule, ConsoleEntry},
    secure_url::{IdentifierUrl, SecureUrl},
    tenant::Tenant,
};

/// Error in the OAuth file. Its text never quotes the file, because that may contain a misplaced
/// key.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct OAuthConfigError {
    line: usize,
    problem: String,
}

/// Content of `--auth-file` for `--auth oauth`, including the keys that it names.
#[derive(Debug)]
pub struct OAuthConfig {
    pub(super) resource: IdentifierUrl,
    /// Values of `aud` that are accepted besides the resource.
    pub(super) audiences: Vec<String>,
    pub(super) issuer: IdentifierUrl,
    pub(super) check: TokenCheck,
    pub(super) leeway_seconds: u64,
    pub(super) scopes_supported: Vec<String>,
    pub(super) tenants: Vec<Tenant>,
    /// People who may decide about calls in the console.
    pub(super) approvers: Option<ApproverRule>,
    files: Vec<PathBuf>,
}

/// Method by which tokens are checked.
#[derive(Debug)]
pub(super) enum TokenCheck {
    /// Check by signature. Without a `jwks_url`, the issuer's metadata names it.
    Jwt {
        jwks_url: Option<SecureUrl>,
        algorithms: Vec<Algorithm>,
    },
    /// Check by token introspection at the issuer.
    Introspection(IntrospectionEndpoint),
}

/// Introspection endpoint and client credentials (RFC 7662).
#[derive(Debug)]
pub(super) struct IntrospectionEndpoint {
    pub(super) url: SecureUrl,
    pub(super) client_id: String,
    pub(super) client_secret: UpstreamKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OAuthFile {
    resource: IdentifierUrl,
    #[serde(default = "no_audiences")]
    audiences: Spanned<Vec<String>>,
    issuer: IdentifierUrl,
    jwks_url: Option<SecureUrl>,
    algorithms: Option<Spanned<Vec<SignatureAlgorithm>>>,
    introspection: Option<IntrospectionEntry>,
    #[serde(default = "half_a_minute")]
    leeway_seconds: Spanned<u64>,
    #[serde(default = "wide_scopes")]
    scopes_supported: Spanned<Vec<String>>,
    console: Option<ConsoleEntry>,
    #[serde(default)]
    tenant: Vec<TenantEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IntrospectionEntry {
    url: SecureUrl,
    client_id: Spanned<String>,
    client_secret: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantEntry {
    #[serde(default = "subject")]
    claim: String,
    value: Spanned<String>,
    name: Option<Spanned<String>>,
    portkey_key: Spanned<String>,
    enkrypt_key: Option<Spanned<String>>,
    toolsets: Option<Spanned<Vec<String>>>,
    scopes: Option<Spanned<Vec<String>>>,
    /// Policy file, relative to the folder of this file.
    policy: Option<Spanned<PathBuf>>,
}

/// Asymmetric signature algorithm, which proves the identity of the signer.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct SignatureAlgorithm(Algorithm);

impl TryFrom<String> for SignatureAlgorithm {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, &'static str> {
        match name.parse() {
            Ok(Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) | Err(_) => Err(
                "choose among RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA; others \
                 are not safe here",
            ),
            Ok(algorithm) => Ok(Self(algorithm)),
        }
    }
}

fn no_audiences() -> Spanned<Vec<String>> {
    Spanned::new(0..0, Vec::new())
}

fn half_a_minute() -> Spanned<u64> {
    Spanned::new(0..0, 30)
}

fn wide_scopes() -> Spanned<Vec<String>> {
    Spanned::new(
        0..0,
        Scopes::all().iter().map(ToString::to_string).collect(),
    )
}

pub(super) fn subject() -> String {
    "sub".to_owned()
}

impl OAuthConfig {
    /// Parses the text of a file in `folder`, and loads the keys and policies that it names.
    /// `toolsets` are the known names. `instead` replaces the upstream keys of all callers.
    ///
    /// # Errors
    /// Returns an error if the text is not TOML, has an unknown or invalid setting, or names a
    /// missing key or an invalid policy. The error contains the line and a remedy.
    pub fn parse(
        text: &str,
        folder: &Path,
        toolsets: &[&'static str],
        instead: Option<&Credentials>,
    ) -> Result<Self, OAuthConfigError> {
        let located = |ConfigProblem {
                           offset: start,
                           message: what,
                       }: ConfigProblem| OAuthConfigError {
            line: 1 + text
                .bytes()
                .take(start)
                .filter(|byte| *byte == b'\n')
                .count(),
            problem: what,
        };
        let file: OAuthFile = toml::from_str(text).map_err(|error| {
            // The error's own rendering would quote the line of the file.
            let start = error.span().map_or(0, |span| span.start);
            located(ConfigProblem {
                offset: start,
                message: error.message().to_owned(),
            })
        })?;
        file.validate(folder, toolsets, instead).map_err(located)
    }

    /// Other files that were read, such as keys and policies.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

const DEFAULT_ALGORITHMS: [Algorithm; 5] = [
    Algorithm::RS256,
    Algorithm::PS256,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// An invalid setting, and its byte offset in the file.
pub(super) struct ConfigProblem {
    offset: usize,
    message: String,
}

impl ConfigProblem {
    pub(super) fn at_span<T>(place: &Spanned<T>, what: impl ToString) -> Self {
        Self {
            offset: place.span().start,
            message: what.to_string(),
        }
    }
}

impl OAuthFile {
    fn validate(
        self,
        folder: &Path,
        domains: &[&'static str],
        instead: Option<&Credentials>,
    ) -> Result<OAuthConfig, ConfigProblem> {
        if *self.leeway_seconds.get_ref() > 300 {
            return Err(ConfigProblem::at_span(
                &self.leeway_seconds,
                "leeway_seconds is at most 300",
            ));
        }
        let supported = &self.scopes_supported;
        if !supported.get_ref().iter().all(|scope| is_scope(scope)) {
            return Err(ConfigProblem::at_span(
                supported,
                "a scope has no blanks, quotes or backslashes",
            ));
        }
        if !self
            .audiences
            .get_ref()
            .iter()
            .all(|audience| is_one_line(audience))
        {
            let what = "an audience is empty or not printable; give what tokens have in `aud`, such as \
                        the client id or `api://…`";
            return Err(ConfigProblem::at_span(&self.audiences, what));
        }
        if self.tenant.is_empty() {
            let what = "there is no [[tenant]], so nobody could call; add one that says which \
                        portkey_key acts for which claim";
            return Err(ConfigProblem {
                offset: 0,
                message: what.to_owned(),
            });
        }
        let mut files = Vec::new();
        let check = match (self.introspection, self.algorithms, self.jwks_url) {
            (Some(asked), None, None) => TokenCheck::Introspection(asked.validate(&mut files)?),
            (Some(asked), ..) => {
                let what = "tokens are checked either by [introspection] or by signature; leave out \
                            the one or jwks_url and algorithms";
                return Err(ConfigProblem::at_span(&asked.client_id, what));
            }
            (None, Some(named), _) if named.get_ref().is_empty() => {
                return Err(ConfigProblem::at_span(
                    &named,
                    "name at least one algorithm",
                ));
            }
            (None, named, jwks_url) => {
                let named = named.map(|named| named.into_inner().into_iter().map(|one| one.0));
                let algorithms = named.map_or(DEFAULT_ALGORITHMS.to_vec(), Iterator::collect);
                TokenCheck::Jwt {
                    jwks_url,
                    algorithms,
                }
            }
        };
        let audiences = self.audiences.get_ref().iter().map(String::as_str);
        let caller_audiences: Vec<_> = [self.resource.as_str()]
            .into_iter()
            .chain(audiences)
            .collect();
        let console = self
            .console
            .map(|console| console.validate(&caller_audiences));
        let approvers = console.transpose()?;
        let tenants = self.tenant.into_iter();
        let tenants = tenants.map(|one| one.validate(folder, domains, instead, &mut files));
        Ok(OAuthConfig {
            tenants: tenants.collect::<Result<_, _>>()?,
            approvers,
            resource: self.resource,
            audiences: self.audiences.into_inner(),
            issuer: self.issuer,
            check,
            leeway_seconds: self.leeway_seconds.into_inner(),
            scopes_supported: self.scopes_supported.into_inner(),
            files,
        })
    }
}

impl IntrospectionEntry {
    fn validate(self, files: &mut Vec<PathBuf>) -> Result<IntrospectionEndpoint, ConfigProblem> {
        let client_secret = read_key(&self.client_secret, files)?;
        if !is_one_line(self.client_id.get_ref()) {
            return Err(ConfigProblem::at_span(
                &self.client_id,
                "client_id is empty or not printable",
            ));
        }
        Ok(IntrospectionEndpoint {
            url: self.url,
            client_id: self.client_id.into_inner(),
            client_secret,
        })
    }
}

impl TenantEntry {
    fn validate(
        self,
        folder: &Path,
        domains: &[&'static str],
        instead: Option<&Credentials>,
        files: &mut Vec<PathBuf>,
    ) -> Result<Tenant, ConfigProblem> {
        if !is_one_line(self.value.get_ref()) {
            return Err(ConfigProblem::at_span(
                &self.value,
                "value is empty or not printable",
            ));
        }
        if let Some(name) = &self.name {
            check_name(name.get_ref()).map_err(|error| ConfigProblem::at_span(name, error))?;
        }
        let toolsets = match &self.toolsets {
            None => Toolsets::all(),
            Some(names) => {
                Toolsets::from_names(names.get_ref().iter().map(String::as_str), domains)
                    .map_err(|error| ConfigProblem::at_span(names, error))?
            }
        };
        let scopes = match &self.scopes {
            None => Scopes::all(),
            Some(words) => parse_scopes(words.get_ref(), domains)
                .map_err(|error| ConfigProblem::at_span(words, with_causes(error.as_ref())))?,
        };
        let credentials = match instead {
            Some(credentials) => credentials.clone(),
            None => Credentials {
                portkey: Some(read_key(&self.portkey_key, files)?),
                enkrypt: self
                    .enkrypt_key
                    .map(|named| read_key(&named, files))
                    .transpose()?,
                missing_key: MissingKey::Caller,
            },
        };
        let policy = match &self.policy {
            None => None,
            Some(named) => {
                let file = folder.join(named.get_ref());
                let policy = Policy::load(&file);
                let policy = policy
                    .map_err(|error| ConfigProblem::at_span(named, with_causes(error.as_ref())))?;
                files.push(file);
                Some(Arc::new(policy))
            }
        };
        let name = self.name.map(Spanned::into_inner);
        let claim = self.claim;
        let value = self.value.into_inner();
        Ok(Tenant {
            claim,
            value,
            name,
            credentials,
            toolsets,
            scopes,
            policy,
        })
    }
}

/// Loads the key that a setting names, and records its file.
fn read_key(
    named: &Spanned<String>,
    files: &mut Vec<PathBuf>,
) -> Result<UpstreamKey, ConfigProblem> {
    let key = UpstreamKey::from_reference(named.get_ref())
        .map_err(|error| ConfigProblem::at_span(named, error))?;
    if let KeySource::File(path) = key.source() {
        files.push(path.clone());
    }
    Ok(key)
}

/// Returns true if a text is a valid scope token (RFC 6749 §3.3).
pub(super) fn is_scope(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

pub(super) fn is_one_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(char::is_control)
}

//! The `[console]` table of the OAuth file: people who may decide about calls in the console.

use serde::Deserialize;
use toml::Spanned;

use super::{
    OAuth, OAuthError, TokenRejection,
    claims::Claims,
    config::{ConfigProblem, is_one_line},
};

/// Maximum length of the name of an approver, in characters.
const MAX_NAME_CHARS: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsoleEntry {
    role: Spanned<String>,
    #[serde(default = "roles")]
    claim: String,
    audience: Spanned<String>,
    #[serde(default = "super::config::subject")]
    name_claim: String,
}

/// Tokens whose bearers may decide about calls.
#[derive(Debug)]
pub(super) struct ApproverRule {
    /// Path of the claim with the roles, with dots for nested objects.
    claim: String,
    /// Required role.
    role: String,
    /// Value of `aud` for which the issuer makes tokens of the console.
    audience: String,
    /// Path of the claim with the name under which decisions are recorded.
    name_claim: String,
}

fn roles() -> String {
    "roles".to_owned()
}

impl ConsoleEntry {
    /// Checks the settings. `caller_audiences` are those of tokens that make calls. The client of an approver
    /// holds such a token, and must not approve with it.
    ///
    /// # Errors
    /// Returns an error for an empty role or audience, and for an audience of callers.
    pub(super) fn validate(self, caller_audiences: &[&str]) -> Result<ApproverRule, ConfigProblem> {
        for text in [&self.role, &self.audience] {
            if !is_one_line(text.get_ref()) {
                return Err(ConfigProblem::at_span(
                    text,
                    "role and audience of [console] are not empty, and printable",
                ));
            }
        }
        if caller_audiences.contains(&self.audience.get_ref().as_str()) {
            return Err(ConfigProblem::at_span(
                &self.audience,
                "audience of [console] is that of calls, so that the client of an approver could approve its own; \
                 have the issuer make tokens of another audience for the console",
            ));
        }
        Ok(ApproverRule {
            claim: self.claim,
            role: self.role.into_inner(),
            audience: self.audience.into_inner(),
            name_claim: self.name_claim,
        })
    }
}

impl OAuth {
    /// Returns true if the file says who may decide about calls.
    pub fn has_approvers(&self) -> bool {
        self.approvers.is_some()
    }

    /// Verifies a token for the console, and returns the name of its bearer.
    ///
    /// # Errors
    /// Returns an [`OAuthError`] if the token is rejected, cannot be checked, or its bearer may not
    /// decide about calls.
    pub async fn verify_approver(&self, token: &str) -> Result<String, OAuthError> {
        let rule = self.approvers.as_ref().ok_or(OAuthError::NoApprover)?;
        let claims = self.verify_claims(token).await?;
        let of_calls = self.audiences.iter().map(String::as_str);
        let of_calls = [self.metadata.resource()].into_iter().chain(of_calls);
        // The client of an approver holds a token for calls, and must not approve with it.
        let is_for_calls = claims.has_audience(of_calls);
        if is_for_calls || !claims.has_audience([rule.audience.as_str()]) {
            return Err(TokenRejection::WrongAudience.into());
        }
        rule.approver_name(&claims).ok_or(OAuthError::NoApprover)
    }
}

impl ApproverRule {
    /// Returns the name of the bearer, if the claims have the role and a name.
    fn approver_name(&self, claims: &Claims) -> Option<String> {
        let name = claims.text(&self.name_claim)?.trim();
        let is_name = (1..=MAX_NAME_CHARS).contains(&name.chars().count())
            && !name.chars().any(char::is_control);
        (is_name && claims.has_value(&self.claim, &self.role)).then(|| name.to_owned())
    }
}

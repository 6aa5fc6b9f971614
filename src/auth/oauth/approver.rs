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
    audience: Option<Spanned<String>>,
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
    audience: Option<String>,
    /// Path of the claim with the name under which decisions are recorded.
    name_claim: String,
}

fn roles() -> String {
    "roles".to_owned()
}

impl ConsoleEntry {
    pub(super) fn validate(self) -> Result<ApproverRule, ConfigProblem> {
        for text in [&self.role].into_iter().chain(&self.audience) {
            if !is_one_line(text.get_ref()) {
                return Err(ConfigProblem::at_span(
                    text,
                    "role and audience of [console] are not empty, and printable",
                ));
            }
        }
        Ok(ApproverRule {
            claim: self.claim,
            role: self.role.into_inner(),
            audience: self.audience.map(Spanned::into_inner),
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
        let has_audience = match &rule.audience {
            Some(audience) => claims.has_audience([audience.as_str()]),
            None => {
                let own = self.audiences.iter().map(String::as_str);
                claims.has_audience([self.metadata.resource()].into_iter().chain(own))
            }
        };
        if !has_audience {
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

//! Responses to rejected requests: status, reason, and the challenge that leads to a suitable
//! token.

use http::{HeaderMap, StatusCode};

use super::{
    super::{AuthRejection, bearer_token, check_token_form},
    Challenge, OAuth, OAuthError,
};
use crate::auth::principal::{Principal, RequiredScope};

impl OAuth {
    /// Authenticates the caller of a request with these headers at `path`.
    pub(crate) async fn authenticate(
        &self,
        headers: &HeaderMap,
        path: &str,
    ) -> Result<Principal, AuthRejection> {
        let challenge = |why: &Challenge<'_>| self.challenge_for_path(why, path);
        let Some(token) = bearer_token(headers)? else {
            let message = "this server wants an access token: `Authorization: Bearer …`. \
                        WWW-Authenticate says where to read how to get one";
            return Err(AuthRejection::with_challenge(
                message.into(),
                challenge(&Challenge::NoToken),
            ));
        };
        check_token_form(token, challenge(&Challenge::InvalidToken))?;
        self.verify_for_path(token, path).await.map_err(|error| {
            let (status, challenge, detail) = match error {
                OAuthError::Invalid(reason) => (
                    StatusCode::UNAUTHORIZED,
                    Some(challenge(&Challenge::InvalidToken)),
                    Some(reason.to_string()),
                ),
                OAuthError::NoTenant | OAuthError::NoApprover => {
                    (StatusCode::FORBIDDEN, None, None)
                }
                OAuthError::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, None, None),
            };
            AuthRejection {
                status,
                message: error.to_string().into(),
                challenge,
                log_detail: detail,
            }
        })
    }

    /// Builds the rejection of a call at `path` for which the caller lacks a scope.
    pub(crate) fn insufficient_scope(
        &self,
        principal: &Principal,
        needed: &RequiredScope,
        message: String,
        path: &str,
    ) -> AuthRejection {
        let challenge = Challenge::InsufficientScope {
            has: &principal.scopes,
            needed,
        };
        AuthRejection {
            status: StatusCode::FORBIDDEN,
            message: message.into(),
            challenge: Some(self.challenge_for_path(&challenge, path)),
            log_detail: None,
        }
    }
}

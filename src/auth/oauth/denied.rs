//! Responses to rejected requests: status, reason, and the challenge that leads to a suitable
//! token.

use http::{HeaderMap, StatusCode};

use super::{
    super::{Denied, bearer, misshapen},
    Challenge, OAuth, OAuthError,
};
use crate::auth::principal::{Needed, Principal};

impl OAuth {
    /// Authenticates the caller of a request with these headers at `path`.
    pub(crate) async fn authenticate(
        &self,
        headers: &HeaderMap,
        path: &str,
    ) -> Result<Principal, Denied> {
        let challenge = |why: &Challenge<'_>| self.challenge_at(why, path);
        let Some(token) = bearer(headers)? else {
            let told = "this server wants an access token: `Authorization: Bearer …`. \
                        WWW-Authenticate says where to read how to get one";
            return Err(Denied::with_challenge(
                told.into(),
                challenge(&Challenge::NoToken),
            ));
        };
        misshapen(token, challenge(&Challenge::InvalidToken))?;
        self.verify_at(token, path).await.map_err(|error| {
            let (status, challenge, detail) = match error {
                OAuthError::Invalid(reason) => (
                    StatusCode::UNAUTHORIZED,
                    Some(challenge(&Challenge::InvalidToken)),
                    Some(reason.to_string()),
                ),
                OAuthError::NoTenant => (StatusCode::FORBIDDEN, None, None),
                OAuthError::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, None, None),
            };
            Denied {
                status,
                message: error.to_string().into(),
                challenge,
                detail,
            }
        })
    }

    /// Builds the rejection of a call at `path` for which the caller lacks a scope.
    pub(crate) fn insufficient(
        &self,
        principal: &Principal,
        needed: &Needed,
        message: String,
        path: &str,
    ) -> Denied {
        let challenge = Challenge::InsufficientScope {
            has: &principal.scopes,
            needed,
        };
        Denied {
            status: StatusCode::FORBIDDEN,
            message: message.into(),
            challenge: Some(self.challenge_at(&challenge, path)),
            detail: None,
        }
    }
}

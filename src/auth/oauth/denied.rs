//! How requests are turned away: with a status, a reason, and the way to a token that would do.

use http::{HeaderMap, StatusCode};

use super::{
    super::{Denied, bearer},
    Challenge, OAuth, OAuthError,
};
use crate::principal::{Needed, Principal};

impl OAuth {
    /// Who makes a request with these headers.
    pub(crate) async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, Denied> {
        let Some(token) = bearer(headers)? else {
            return Err(Denied {
                status: StatusCode::UNAUTHORIZED,
                message: "this server wants an access token: `Authorization: Bearer …`. \
                          WWW-Authenticate says where to read how to get one"
                    .into(),
                challenge: Some(self.challenge(&Challenge::NoToken)),
            });
        };
        self.verify(token).await.map_err(|error| {
            let (status, challenge) = match error {
                OAuthError::Invalid(_) => {
                    (StatusCode::UNAUTHORIZED, Some(self.challenge(&Challenge::InvalidToken)))
                }
                OAuthError::NoTenant => (StatusCode::FORBIDDEN, None),
                OAuthError::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, None),
            };
            Denied { status, message: error.to_string().into(), challenge }
        })
    }

    /// The answer to a call that needs a scope more than the caller has.
    pub(crate) fn insufficient(
        &self,
        principal: &Principal,
        needed: &Needed,
        message: String,
    ) -> Denied {
        let challenge = Challenge::InsufficientScope { has: &principal.scopes, needed };
        Denied {
            status: StatusCode::FORBIDDEN,
            message: message.into(),
            challenge: Some(self.challenge(&challenge)),
        }
    }
}

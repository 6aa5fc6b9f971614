//! Access to the console by the tokens of an authorization server, which a proxy sends for the
//! people whom it has signed in.

use std::sync::{Arc, OnceLock};

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use portkey_file_watch::WatchedValue;
use tracing::info;

use super::pages;
use crate::auth::oauth::{OAuth, OAuthError};

/// Header in which some proxies send the token, if `Authorization` is their own.
const FORWARDED_TOKEN: &str = "x-forwarded-access-token";

/// Verifies the access token of each request to the console.
#[derive(Clone, Debug, Default)]
pub(super) struct AccessTokens {
    /// Set once the authentication of the process is built, which is after the approval server.
    issuer: Arc<OnceLock<Arc<WatchedValue<OAuth>>>>,
}

impl AccessTokens {
    pub(super) fn trust(&self, issuer: Arc<WatchedValue<OAuth>>) {
        _ = self.issuer.set(issuer);
    }

    /// Returns the name of the person whose token the request has.
    ///
    /// # Errors
    /// Returns the response if there is no token, or its bearer may not decide about calls.
    pub(super) async fn verify(&self, headers: &HeaderMap) -> Result<String, Response> {
        let Some(issuer) = self.issuer.get() else {
            return Err(unavailable());
        };
        let Some(token) = read_token(headers) else {
            info!("a request to the console was refused: it has no access token, or several");
            let text = "the console needs one access token, in `Authorization: Bearer …` or \
                        X-Forwarded-Access-Token; open it through the proxy that signs people in\n";
            return Err((StatusCode::UNAUTHORIZED, text).into_response());
        };
        let oauth = Arc::clone(&issuer.get());
        oauth.verify_approver(token).await.map_err(|error| {
            info!(
                reason = reason(&error),
                "a request to the console was refused"
            );
            match error {
                OAuthError::Unavailable => unavailable(),
                OAuthError::Invalid(_) => {
                    let text = "the access token was not accepted; sign in at the proxy again\n";
                    (StatusCode::UNAUTHORIZED, text).into_response()
                }
                OAuthError::NoApprover | OAuthError::NoTenant => pages::message(
                    StatusCode::FORBIDDEN,
                    "You may not decide about calls here. The operator of the server names the role for it in \
                     [console] of the OAuth file.",
                ),
            }
        })
    }
}

fn reason(error: &OAuthError) -> String {
    match error {
        OAuthError::Invalid(reason) => reason.to_string(),
        other => other.to_string(),
    }
}

fn unavailable() -> Response {
    let text = "access tokens cannot be checked at the moment; try again in a few seconds\n";
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

/// Returns the one token of a request. A proxy that appends would leave a token of the client's own
/// before its own.
fn read_token(headers: &HeaderMap) -> Option<&str> {
    let forwarded = headers.get_all(FORWARDED_TOKEN).iter();
    let forwarded = forwarded.map(|value| value.to_str().ok());
    let authorization = headers.get_all(header::AUTHORIZATION).iter();
    let authorization = authorization.map(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
    });
    let mut tokens = forwarded.chain(authorization);
    let token = tokens.next()??;
    tokens.all(|other| other == Some(token)).then_some(token)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, header};

    use super::{FORWARDED_TOKEN, read_token};

    #[test]
    fn one_token_is_read_from_either_header() {
        struct Case {
            headers: &'static [(&'static str, &'static str)],
            token: Option<&'static str>,
        }

        let authorization = header::AUTHORIZATION.as_str();
        assert_eq!(authorization, "authorization");
        let cases = [
            Case {
                headers: &[],
                token: None,
            },
            Case {
                headers: &[("authorization", "Bearer a")],
                token: Some("a"),
            },
            Case {
                headers: &[("authorization", "bearer a")],
                token: Some("a"),
            },
            Case {
                headers: &[("authorization", "Basic a")],
                token: None,
            },
            Case {
                headers: &[(FORWARDED_TOKEN, "a")],
                token: Some("a"),
            },
            Case {
                headers: &[(FORWARDED_TOKEN, "a"), ("authorization", "Bearer a")],
                token: Some("a"),
            },
            Case {
                headers: &[(FORWARDED_TOKEN, "a"), ("authorization", "Bearer b")],
                token: None,
            },
            Case {
                headers: &[(FORWARDED_TOKEN, "a"), (FORWARDED_TOKEN, "b")],
                token: None,
            },
        ];
        for case in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in case.headers {
                headers.append(
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                );
            }
            assert_eq!(read_token(&headers), case.token, "{:?}", case.headers);
        }
    }
}

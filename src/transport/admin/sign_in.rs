//! Signing in: the token of the file, or the key in the log, is exchanged for a cookie.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path as Segments, Query, State},
    response::{AppendHeaders, IntoResponse, Redirect, Response},
};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tracing::{info, warn};

use super::{
    ServerState,
    guard::RequestAccess,
    pages::{self, Frame, MAX_NAME_CHARS},
};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    frame: Frame,
    /// Key of the page that the log names, in place of the token.
    key: Option<&'a str>,
    /// Name that was entered before, or that a proxy gives.
    name: &'a str,
    is_name_given: bool,
    next: &'a str,
    max_name_chars: usize,
    problem: Option<&'a str>,
}

#[derive(Deserialize)]
pub(super) struct SignInQuery {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub(super) struct SignInForm {
    token: String,
    #[serde(default)]
    by: String,
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub(super) struct SignOutForm {
    token: String,
}

impl SignInPage<'_> {
    fn render(self, status: StatusCode) -> Response {
        pages::render(status, &self)
    }
}

fn page<'a>(
    key: Option<&'a str>,
    given_name: Option<&'a str>,
    name: &'a str,
    next: &'a str,
) -> SignInPage<'a> {
    SignInPage {
        frame: Frame::plain("Sign in"),
        key,
        name: given_name.unwrap_or(name),
        is_name_given: given_name.is_some(),
        next: own_path(next),
        max_name_chars: MAX_NAME_CHARS,
        problem: None,
    }
}

/// Shows the form that asks for the token, or begins a session where an access token names the
/// person.
pub(super) async fn show(
    State(server): State<Arc<ServerState>>,
    Extension(access): Extension<RequestAccess>,
    Query(query): Query<SignInQuery>,
) -> Response {
    if server.access_tokens.is_some()
        && let Some(name) = given_name(&access)
    {
        return begin_session(&server, name, &query.next);
    }
    page(None, given_name(&access), "", &query.next).render(StatusCode::OK)
}

/// Shows the form that asks for the name only, because the key is in the address.
pub(super) async fn show_by_key(
    Extension(access): Extension<RequestAccess>,
    Segments(key): Segments<String>,
) -> Response {
    page(Some(&key), given_name(&access), "", "").render(StatusCode::OK)
}

/// Exchanges the token for a cookie.
pub(super) async fn submit(
    State(server): State<Arc<ServerState>>,
    Extension(access): Extension<RequestAccess>,
    Form(form): Form<SignInForm>,
) -> Response {
    if server.access_tokens.is_some() {
        // There is no such form: the token of the file names nobody.
        return Redirect::to("/sign-in").into_response();
    }
    let given = form.token.trim();
    let is_token: bool = given.as_bytes().ct_eq(server.token.as_bytes()).into();
    let is_key = server.is_sign_in_key(given);
    let given_name = given_name(&access);
    let name = given_name.unwrap_or(form.by.trim());
    let key = is_key.then_some(given);
    let again = |status, problem: &'static str| {
        let mut page = page(key, given_name, form.by.trim(), &form.next);
        page.problem = Some(problem);
        page.render(status)
    };
    if !is_token && !is_key {
        info!("somebody gave another token to the approval server");
        let problem = "That is not the token of this server. It is in the file of --admin-file.";
        return again(StatusCode::FORBIDDEN, problem);
    }
    match name.chars().count() {
        0 => {
            let problem = "Enter your name: decisions are recorded with it.";
            return again(StatusCode::UNPROCESSABLE_ENTITY, problem);
        }
        1..=MAX_NAME_CHARS => {}
        _ => return again(StatusCode::UNPROCESSABLE_ENTITY, "The name is too long."),
    }
    begin_session(&server, name, &form.next)
}

/// Begins a session of the person with this name, and leads to the page that was wanted.
fn begin_session(server: &ServerState, name: &str, next: &str) -> Response {
    let Some(cookie) = server.sessions.begin(name) else {
        return pages::message(
            StatusCode::SERVICE_UNAVAILABLE,
            "The system gives no random numbers, so nobody can sign in.",
        );
    };
    warn!(name, "somebody signed in to the approval server");
    let headers = AppendHeaders([(header::SET_COOKIE, cookie)]);
    (headers, Redirect::to(own_path(next))).into_response()
}

/// Ends the session.
pub(super) async fn sign_out(
    State(server): State<Arc<ServerState>>,
    Extension(access): Extension<RequestAccess>,
    headers: HeaderMap,
    Form(form): Form<SignOutForm>,
) -> Result<Response, Response> {
    let signed_in = access.session().ok_or_else(pages::not_found)?;
    if !signed_in.session.use_form_token(&form.token) {
        return Err(pages::message(
            StatusCode::FORBIDDEN,
            "This form is not one of ours, or was sent before.",
        ));
    }
    let headers = AppendHeaders([(header::SET_COOKIE, server.sessions.end(&headers))]);
    Ok((headers, Redirect::to("/sign-in")).into_response())
}

fn given_name(access: &RequestAccess) -> Option<&str> {
    match access {
        RequestAccess::Public { given_name } | RequestAccess::SignInKey { given_name } => {
            given_name.as_deref()
        }
        _ => None,
    }
}

/// Returns a path of this server: the given one, or that of the inbox if it is something else.
fn own_path(path: &str) -> &str {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_?=&".contains(&b);
    let is_own = path.starts_with('/') && !path.starts_with("//") && path.bytes().all(is_plain);
    if is_own { path } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::own_path;

    #[test]
    fn only_paths_of_this_server_are_returned_to() {
        for path in ["/", "/calls/3f9a51", "/audit?caller=a"] {
            assert_eq!(own_path(path), path);
        }
        for path in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil",
            "/a:b",
        ] {
            assert_eq!(own_path(path), "/", "{path}");
        }
    }
}

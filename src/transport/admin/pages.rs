//! What all pages have in common, and pages with a single message.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;
use tracing::error;

use super::{ServerState, guard::SignedIn};

/// Maximum length of the approver's name, in characters.
pub(super) const MAX_NAME_CHARS: usize = 100;

/// The frame of a page: its title, and the navigation of a signed-in browser.
pub(super) struct Frame {
    pub(super) title: String,
    /// The section that the page belongs to.
    pub(super) section: &'static str,
    pub(super) navigation: Option<Navigation>,
    /// Message about what was just done, or was not.
    pub(super) message: Option<String>,
}

/// The navigation of a signed-in browser.
pub(super) struct Navigation {
    /// Number of waiting calls.
    pub(super) waiting: usize,
    /// State of the inbox, with which the script notices changes.
    pub(super) version: String,
    /// Name under which decisions are recorded.
    pub(super) name: String,
    /// Token of the form that signs out.
    pub(super) token: String,
    pub(super) has_history: bool,
    pub(super) has_audit: bool,
}

impl Frame {
    /// Creates the frame of a page without navigation.
    pub(super) fn plain(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            section: "",
            navigation: None,
            message: None,
        }
    }

    /// Creates the frame of a page for a signed-in browser. Takes the message of its session.
    pub(super) async fn signed_in(
        server: &ServerState,
        signed_in: &SignedIn,
        title: &str,
        section: &'static str,
    ) -> Self {
        let (waiting, version) = server.inbox.state().await;
        Self {
            title: title.to_owned(),
            section,
            navigation: Some(Navigation {
                waiting,
                version,
                name: signed_in.name.clone(),
                token: signed_in.session.issue_form_token(),
                has_history: server.history().is_some(),
                has_audit: server.audit.is_some(),
            }),
            message: match signed_in.is_refresh {
                true => None,
                false => signed_in.session.take_message(),
            },
        }
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage<'a> {
    frame: Frame,
    text: &'a str,
    /// True if there is a console to go back to.
    has_console: bool,
}

/// Returns a page with one sentence.
pub(super) fn message(status: StatusCode, text: &str) -> Response {
    let page = MessagePage {
        frame: Frame::plain("Approval"),
        text,
        has_console: status == StatusCode::UNAUTHORIZED,
    };
    render(status, &page)
}

/// Returns a page with one sentence, and the way back to the inbox.
pub(super) async fn signed_in_message(
    server: &ServerState,
    signed_in: &SignedIn,
    status: StatusCode,
    text: &str,
) -> Response {
    let page = MessagePage {
        frame: Frame::signed_in(server, signed_in, "Approval", "inbox").await,
        text,
        has_console: true,
    };
    render(status, &page)
}

/// Returns the page for something that is not there, or not any more.
pub(super) fn not_found() -> Response {
    message(
        StatusCode::NOT_FOUND,
        "There is nothing to decide here: it was decided, has expired, or never was.",
    )
}

/// Renders a page.
pub(super) fn render(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            error!(%error, "a page cannot be rendered");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                "this page cannot be shown\n",
            )
                .into_response()
        }
    }
}

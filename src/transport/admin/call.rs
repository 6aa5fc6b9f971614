//! The page about one call, with the form that decides.
//!
//! The Enter key presses the first button of a form (HTML, "implicit submission"), so the first one
//! decides nothing. It is placed outside of the view instead of being `hidden`, because WebKit
//! skips buttons that are not drawn.

use std::{borrow::Cow, sync::Arc};

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path as Segments, State},
    response::{IntoResponse, Redirect, Response},
};
use http::StatusCode;
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::{
    PROXY_NAMES_APPROVERS, ServerState, api, build_form,
    guard::{RequestAccess, SignedIn},
    log_decision,
    pages::{self, Frame, MAX_NAME_CHARS},
    texts,
};
use crate::pipeline::approval::{CallDetails, DecisionError, DetailChange, Ticket, TicketState};

#[derive(Template)]
#[template(path = "call.html")]
struct CallPage<'a> {
    frame: Frame,
    ticket: &'a Ticket,
    details: &'a CallDetails,
    changes: Vec<ChangeRow<'a>>,
    sentence: String,
    state: &'static str,
    state_text: String,
    digest: String,
    token: String,
    /// True if the form asks for the approver's name, because there is no session with one.
    asks_name: bool,
    max_name_chars: usize,
    /// Reason why nothing was decided.
    problem: Option<&'a str>,
    by: &'a str,
    name: &'a str,
    ago: String,
    seconds_left: u64,
    left: String,
}

/// A change as a row of the table.
pub(super) struct ChangeRow<'a> {
    pub(super) path: &'a str,
    pub(super) from: Option<&'a str>,
    pub(super) to: Option<&'a str>,
    pub(super) lines: Vec<Line<'a>>,
    pub(super) is_secret: bool,
}

/// A line of a changed text.
pub(super) struct Line<'a> {
    pub(super) kind: &'static str,
    pub(super) text: &'a str,
}

impl<'a> ChangeRow<'a> {
    pub(super) fn new(change: &'a DetailChange) -> Self {
        Self {
            path: match change.path.as_str() {
                "" => "all of it",
                path => path,
            },
            from: change.from.as_deref(),
            to: change.to.as_deref(),
            lines: lines(change.lines.as_deref().unwrap_or_default()),
            is_secret: change.is_secret,
        }
    }
}

/// A decision as the page sends it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct DecisionForm {
    token: String,
    /// Digest of the ticket as the page showed it.
    digest: String,
    decision: String,
    /// Name of the approver.
    by: String,
    /// Name of the object that the call is about.
    name: String,
}

impl DecisionForm {
    /// Returns `true` if the call is approved.
    ///
    /// # Errors
    /// Returns a message if the form holds no valid decision.
    fn validate(&self, by: &str) -> Result<bool, &'static str> {
        let approve = match self.decision.as_str() {
            "approve" => true,
            "deny" => false,
            _ => return Err("Nothing was decided: press Approve or Deny."),
        };
        match by.chars().count() {
            0 => Err("Nothing was decided: enter your name, it goes on record."),
            1..=MAX_NAME_CHARS => Ok(approve),
            _ => Err("Nothing was decided: the name is too long."),
        }
    }
}

impl<'a> CallPage<'a> {
    fn new(frame: Frame, ticket: &'a Ticket, token: String) -> Self {
        let details = ticket.details();
        let left = ticket.time_left();
        let rows = details.changes.iter().map(ChangeRow::new);
        Self {
            frame,
            ticket,
            details,
            changes: rows.collect(),
            sentence: texts::sentence(ticket),
            state: ticket.state.as_parts().0,
            state_text: texts::state_text(&ticket.state),
            digest: ticket.digest(),
            token,
            asks_name: false,
            max_name_chars: MAX_NAME_CHARS,
            problem: None,
            by: "",
            name: "",
            ago: texts::ago(ticket.asked),
            seconds_left: left.as_secs(),
            left: texts::minutes(left),
        }
    }
}

/// Splits a unified difference into its lines.
fn lines(text: &str) -> Vec<Line<'_>> {
    let kind = |line: &str| match line.as_bytes().first() {
        Some(b'+') => "add",
        Some(b'-') => "del",
        Some(b'@') => "place",
        _ => "same",
    };
    let lines = text.lines();
    lines
        .map(|text| Line {
            kind: kind(text),
            text,
        })
        .collect()
}

/// Shows one call to a signed-in browser.
pub(super) async fn show(
    State(server): State<Arc<ServerState>>,
    Extension(access): Extension<RequestAccess>,
    Segments(id): Segments<String>,
) -> Result<Response, Response> {
    let signed_in = access.session().ok_or_else(pages::not_found)?;
    let ticket = find_ticket(&server, signed_in, &id).await?;
    Ok(render_signed_in(&server, signed_in, &ticket, StatusCode::OK, None, "").await)
}

/// Decides about one call, on behalf of a signed-in browser.
pub(super) async fn submit(
    State(server): State<Arc<ServerState>>,
    Extension(access): Extension<RequestAccess>,
    Segments(id): Segments<String>,
    Form(form): Form<DecisionForm>,
) -> Result<Response, Response> {
    let signed_in = access.session().ok_or_else(pages::not_found)?;
    if !signed_in.session.use_form_token(&form.token) {
        let text = "Nothing was decided: this form is not one of ours, or was sent before.";
        let status = StatusCode::FORBIDDEN;
        return Err(pages::signed_in_message(&server, signed_in, status, text).await);
    }
    let ticket = find_ticket(&server, signed_in, &id).await?;
    let approve = match form.validate(&signed_in.name) {
        Ok(approve) => approve,
        Err(note) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let note = Some(note);
            return Err(
                render_signed_in(&server, signed_in, &ticket, status, note, &form.name).await,
            );
        }
    };
    let response = build_form(approve, Some(form.name.clone()));
    let decided = server
        .approvals
        .decide(&ticket.id, &form.digest, &response, &signed_in.name)
        .await;
    match decided {
        Ok(ticket) => {
            log_decision(&ticket);
            let note = format!("{} {}", decision_text(&ticket), texts::sentence(&ticket));
            signed_in.session.set_message(note);
            Ok(Redirect::to("/").into_response())
        }
        Err(error) => {
            let status = api::decision_status(&error);
            let note = match &error {
                DecisionError::AlreadyDecided => {
                    let now = server.approvals.ticket(&ticket.id).await.ok().flatten();
                    let state = now.map(|now| texts::state_text(&now.state));
                    let state = state.unwrap_or_else(|| "decided".to_owned());
                    format!("Nothing was decided: it was {state} meanwhile.")
                }
                error => format!("Nothing was decided: {error}."),
            };
            match error {
                DecisionError::WrongName(_) | DecisionError::DigestMismatch => Err(
                    render_signed_in(&server, signed_in, &ticket, status, Some(&note), &form.name)
                        .await,
                ),
                _ => Err(pages::signed_in_message(&server, signed_in, status, &note).await),
            }
        }
    }
}

/// Shows one call to the holder of the address in the log.
pub(super) async fn show_ticket_page(
    Extension(access): Extension<RequestAccess>,
) -> Result<Response, Response> {
    let ticket = page_ticket(&access).ok_or_else(pages::not_found)?;
    Ok(render_ticket_page(
        ticket,
        StatusCode::OK,
        None,
        &DecisionForm::default(),
    ))
}

/// Decides about one call, on behalf of the holder of the address in the log.
pub(super) async fn submit_ticket_page(
    State(server): State<Arc<ServerState>>,
    Extension(access): Extension<RequestAccess>,
    Form(form): Form<DecisionForm>,
) -> Result<Response, Response> {
    let ticket = page_ticket(&access).ok_or_else(pages::not_found)?;
    if !bool::from(form.token.as_bytes().ct_eq(ticket.form_token().as_bytes())) {
        let text = "This form is not one of ours.";
        return Err(pages::message(StatusCode::FORBIDDEN, text));
    }
    let by = form.by.trim();
    let approve = form.validate(by).map_err(|note| {
        render_ticket_page(ticket, StatusCode::UNPROCESSABLE_ENTITY, Some(note), &form)
    })?;
    if approve && server.takes_names_from_proxy(Some(ticket)) {
        return Err(pages::message(StatusCode::FORBIDDEN, PROXY_NAMES_APPROVERS));
    }
    let response = build_form(approve, Some(form.name.clone()));
    let decided = server
        .approvals
        .decide(&ticket.id, &form.digest, &response, by)
        .await;
    let ticket = decided.map_err(|error| {
        let status = api::decision_status(&error);
        let note = format!("Nothing was decided: {error}.");
        match error {
            DecisionError::WrongName(_) => render_ticket_page(ticket, status, Some(&note), &form),
            _ => pages::message(status, &note),
        }
    })?;
    log_decision(&ticket);
    Ok(pages::message(StatusCode::OK, &decision_text(&ticket)))
}

/// Returns what follows from a decision.
fn decision_text(ticket: &Ticket) -> Cow<'static, str> {
    if let Some(count) = ticket.approval_count() {
        return format!("Approved by {count}. The call waits for the others.").into();
    }
    match ticket.state {
        TicketState::Approved(_) => "Approved. The call is carried out when it is made again.",
        TicketState::Denied(_) | TicketState::Pending => "Denied. Nothing is sent.",
    }
    .into()
}

async fn find_ticket(
    server: &ServerState,
    signed_in: &SignedIn,
    id: &str,
) -> Result<Ticket, Response> {
    let (status, text) = match server.approvals.ticket(id).await {
        Ok(Some(ticket)) => return Ok(ticket),
        Ok(None) => (
            StatusCode::NOT_FOUND,
            "There is nothing to decide here any more: the call was carried out, or has expired.",
        ),
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The call cannot be read at the moment. Try again.",
        ),
    };
    Err(pages::signed_in_message(server, signed_in, status, text).await)
}

async fn render_signed_in(
    server: &ServerState,
    signed_in: &SignedIn,
    ticket: &Ticket,
    status: StatusCode,
    problem: Option<&str>,
    name: &str,
) -> Response {
    let title = texts::sentence(ticket);
    let frame = Frame::signed_in(server, signed_in, &title, "inbox").await;
    let mut page = CallPage::new(frame, ticket, signed_in.session.issue_form_token());
    page.problem = problem;
    page.name = name;
    pages::render(status, &page)
}

fn render_ticket_page(
    ticket: &Ticket,
    status: StatusCode,
    problem: Option<&str>,
    entered: &DecisionForm,
) -> Response {
    let frame = Frame::plain(&texts::sentence(ticket));
    let mut page = CallPage::new(frame, ticket, ticket.form_token().to_owned());
    page.asks_name = true;
    page.problem = problem;
    page.by = entered.by.trim();
    page.name = &entered.name;
    pages::render(status, &page)
}

/// Returns the ticket of a page, if the request has access to one.
fn page_ticket(access: &RequestAccess) -> Option<&Ticket> {
    match access {
        RequestAccess::TicketPage(ticket) => Some(ticket),
        _ => None,
    }
}

//! The inbox: all calls that wait, the newest first, and those that were decided recently.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Query, State},
    response::{IntoResponse, Redirect, Response},
};
use http::StatusCode;
use serde::Deserialize;

use super::{
    ServerState, api, build_form, events,
    guard::RequestAccess,
    log_decision,
    pages::{self, Frame},
    texts,
};
use crate::pipeline::approval::{DecisionError, RiskLabel, Ticket};

/// Maximum number of waiting calls on the page, as many as a form can name.
const MAX_SHOWN: usize = 150;
/// Maximum number of decided calls on the page.
const MAX_DECIDED: usize = 20;

#[derive(Template)]
#[template(path = "inbox.html")]
struct InboxPage {
    frame: Frame,
    calls: Vec<WaitingCall>,
    /// Number of waiting calls that match and are not on the page.
    more: usize,
    decided: Vec<DecidedCall>,
    token: String,
    caller: String,
    tool: String,
    is_filtered: bool,
}

struct WaitingCall {
    id: String,
    /// Id and digest, which the form returns.
    selection: String,
    tool: String,
    effect: String,
    sentence: String,
    summary: String,
    caller: String,
    risks: Vec<RiskLabel>,
    ago: String,
    seconds_left: u64,
    left: String,
}

struct DecidedCall {
    id: String,
    sentence: String,
    state: &'static str,
    text: String,
    caller: String,
}

/// Filter of the inbox. Empty fields count as absent.
#[derive(Deserialize)]
pub(super) struct InboxQuery {
    #[serde(default)]
    caller: String,
    #[serde(default)]
    tool: String,
}

impl InboxQuery {
    fn matches(&self, ticket: &Ticket) -> bool {
        let is = |wanted: &str, is: &str| wanted.is_empty() || wanted == is;
        is(&self.caller, &ticket.principal) && is(&self.tool, &ticket.tool)
    }
}

impl WaitingCall {
    fn new(ticket: &Ticket) -> Self {
        let details = ticket.details();
        let left = ticket.time_left();
        Self {
            id: ticket.id.clone(),
            selection: format!("{}.{}", ticket.id, ticket.digest()),
            tool: ticket.tool.clone(),
            effect: details.effect.clone(),
            sentence: texts::sentence(ticket),
            summary: texts::summary(details),
            caller: ticket.principal.clone(),
            risks: details.risks.clone(),
            ago: texts::ago(ticket.asked),
            seconds_left: left.as_secs(),
            left: texts::minutes(left),
        }
    }
}

impl DecidedCall {
    fn new(ticket: &Ticket) -> Self {
        Self {
            id: ticket.id.clone(),
            sentence: texts::sentence(ticket),
            state: ticket.state.as_parts().0,
            text: texts::state_text(&ticket.state),
            caller: ticket.principal.clone(),
        }
    }
}

/// Shows the calls that wait.
pub(super) async fn show(
    State(server): State<Arc<ServerState>>,
    Extension(access): Extension<RequestAccess>,
    Query(query): Query<InboxQuery>,
) -> Result<Response, Response> {
    let signed_in = access.session().ok_or_else(pages::not_found)?;
    let tickets = match server.approvals.recent_tickets().await {
        Ok(tickets) => tickets,
        Err(error) => {
            let text = format!("The calls cannot be listed: {error}.");
            let status = api::decision_status(&error);
            return Err(pages::signed_in_message(&server, signed_in, status, &text).await);
        }
    };
    let matching = tickets.into_iter().filter(|ticket| query.matches(ticket));
    let (waiting, decided) = events::partition(matching.collect());
    let calls: Vec<_> = waiting
        .iter()
        .take(MAX_SHOWN)
        .map(WaitingCall::new)
        .collect();
    let title = "Waiting for a decision";
    let page = InboxPage {
        frame: Frame::signed_in(&server, signed_in, title, "inbox").await,
        more: waiting.len() - calls.len(),
        calls,
        decided: decided
            .iter()
            .take(MAX_DECIDED)
            .map(DecidedCall::new)
            .collect(),
        token: signed_in.session.issue_form_token(),
        is_filtered: !query.caller.is_empty() || !query.tool.is_empty(),
        caller: query.caller,
        tool: query.tool,
    };
    Ok(pages::render(StatusCode::OK, &page))
}

/// Denies the selected calls, each as it was shown.
pub(super) async fn deny_selected(
    State(server): State<Arc<ServerState>>,
    Extension(access): Extension<RequestAccess>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response, Response> {
    let signed_in = access.session().ok_or_else(pages::not_found)?;
    let values = |name: &'static str| {
        let named = fields.iter().filter(move |(field, _)| field == name);
        named.map(|(_, value)| value.as_str())
    };
    if !signed_in
        .session
        .use_form_token(values("token").next().unwrap_or_default())
    {
        let text = "Nothing was decided: this form is not one of ours, or was sent before.";
        let status = StatusCode::FORBIDDEN;
        return Err(pages::signed_in_message(&server, signed_in, status, text).await);
    }
    let selected: Vec<_> = values("call").take(MAX_SHOWN).collect();
    if values("decision").next() != Some("deny") || selected.is_empty() {
        let note = "Nothing was decided: select calls, and press Deny selected.";
        signed_in.session.set_message(note.to_owned());
        return Ok(Redirect::to("/").into_response());
    }
    let form = build_form(false, None);
    let mut denied = 0;
    let mut missed = 0;
    for call in selected {
        let (id, digest) = call.split_once('.').unwrap_or((call, ""));
        match server
            .approvals
            .decide(id, digest, &form, &signed_in.name)
            .await
        {
            Ok(ticket) => {
                log_decision(&ticket);
                denied += 1;
            }
            Err(DecisionError::Store(error)) => {
                let note = format!("{}, and then: {error}", denied_text(denied));
                let status = StatusCode::SERVICE_UNAVAILABLE;
                return Err(pages::signed_in_message(&server, signed_in, status, &note).await);
            }
            Err(_) => missed += 1,
        }
    }
    let mut note = format!("{}. Nothing is sent.", denied_text(denied));
    if missed > 0 {
        note.push_str(&format!(
            " {missed} had been decided elsewhere or expired meanwhile."
        ));
    }
    signed_in.session.set_message(note);
    Ok(Redirect::to("/").into_response())
}

fn denied_text(count: usize) -> String {
    match count {
        1 => "1 call was denied".to_owned(),
        count => format!("{count} calls were denied"),
    }
}

//! The API for `portkey-mcp approvals`, with the token of the file as the bearer.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path as Segments, Query, State},
};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use super::{PROXY_NAMES_APPROVERS, ServerState, build_form, log_decision};
use crate::pipeline::approval::{
    DecisionError, MAX_PAGE_TICKETS, Ticket, TicketFilter, TicketPage,
};

/// Number of tickets on a page if the request names none.
const DEFAULT_PAGE_SIZE: usize = 50;

type JsonError = (StatusCode, Json<Value>);

/// A decision as `portkey-mcp approvals` sends it.
#[derive(Deserialize)]
pub(super) struct ApprovalDecision {
    approve: bool,
    /// Digest of the ticket as it was shown.
    digest: String,
    name: Option<String>,
    by: Option<String>,
}

/// Query for one page of the list of tickets. Empty fields count as absent.
#[derive(Deserialize)]
pub(super) struct TicketQuery {
    caller: Option<String>,
    tool: Option<String>,
    state: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

impl TicketQuery {
    fn filter(&self) -> TicketFilter {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        TicketFilter {
            caller: given(&self.caller),
            tool: given(&self.tool),
            state: given(&self.state),
        }
    }

    async fn fetch_page(&self, server: &ServerState) -> Result<TicketPage, DecisionError> {
        let limit = self
            .limit
            .unwrap_or(DEFAULT_PAGE_SIZE)
            .min(MAX_PAGE_TICKETS);
        server
            .approvals
            .list_tickets(&self.filter(), self.after.as_deref(), limit)
            .await
    }
}

pub(super) fn require_token(server: &ServerState, headers: &HeaderMap) -> Result<(), JsonError> {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let given = given
        .and_then(|given| given.strip_prefix("Bearer "))
        .unwrap_or_default();
    match bool::from(given.as_bytes().ct_eq(server.token.as_bytes())) {
        true => Ok(()),
        false => Err(json_error(
            StatusCode::UNAUTHORIZED,
            "the token is missing or another one",
        )),
    }
}

fn json_error(status: StatusCode, why: impl ToString) -> JsonError {
    (status, Json(json!({ "error": why.to_string() })))
}

/// Returns the status of a rejected decision.
pub(super) fn decision_status(error: &DecisionError) -> StatusCode {
    match error {
        DecisionError::UnknownTicket => StatusCode::NOT_FOUND,
        DecisionError::AlreadyDecided
        | DecisionError::AmbiguousId
        | DecisionError::DigestMismatch => StatusCode::CONFLICT,
        DecisionError::IdTooShort | DecisionError::WrongName(_) | DecisionError::NameRequired => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        DecisionError::AlreadyApproved(_) => StatusCode::CONFLICT,
        DecisionError::AskerCannotApprove => StatusCode::FORBIDDEN,
        DecisionError::TooManyApprovals => StatusCode::TOO_MANY_REQUESTS,
        DecisionError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn decision_error(error: &DecisionError) -> JsonError {
    json_error(decision_status(error), error)
}

pub(super) async fn list_tickets(
    State(server): State<Arc<ServerState>>,
    Query(wanted): Query<TicketQuery>,
) -> Result<Json<Value>, JsonError> {
    let page = wanted
        .fetch_page(&server)
        .await
        .map_err(|error| decision_error(&error))?;
    let tickets: Vec<_> = page.tickets.iter().map(Ticket::to_public_json).collect();
    Ok(Json(json!({ "tickets": tickets, "next": page.next })))
}

pub(super) async fn show_ticket(
    State(server): State<Arc<ServerState>>,
    Segments(start): Segments<String>,
) -> Result<Json<Value>, JsonError> {
    let ticket = server
        .approvals
        .find_ticket(&start)
        .await
        .map_err(|error| decision_error(&error))?;
    Ok(Json(ticket.to_public_json()))
}

pub(super) async fn decide_ticket(
    State(server): State<Arc<ServerState>>,
    Segments(id): Segments<String>,
    Json(decision): Json<ApprovalDecision>,
) -> Result<Json<Value>, JsonError> {
    let ApprovalDecision {
        approve,
        digest,
        name,
        by,
    } = decision;
    let ticket = server.approvals.ticket(&id).await;
    let ticket = ticket.map_err(|error| decision_error(&DecisionError::from(error)))?;
    if approve && server.takes_names_from_proxy(ticket.as_ref()) {
        return Err(json_error(StatusCode::FORBIDDEN, PROXY_NAMES_APPROVERS));
    }
    let form = build_form(approve, name);
    let by = by.unwrap_or_else(|| "approvals".to_owned());
    let ticket = server.approvals.decide(&id, &digest, &form, &by).await;
    let ticket = ticket.map_err(|error| decision_error(&error))?;
    log_decision(&ticket);
    Ok(Json(ticket.to_public_json()))
}

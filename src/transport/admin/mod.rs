//! The approval server, where a human decides about calls that wait: a page for each, and an API
//! for `portkey-mcp approvals`.
//!
//! The server listens on loopback only, apart from MCP, so that callers cannot reach it.

mod page;

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use axum::{
    Extension, Form, Json, Router,
    body::Body,
    extract::{Path as Segments, Query, Request, State},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use portkey_bounded_file::{FileIdentity, display_path};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::page::FormInput;
use super::auxiliary::{self, Connection, ConnectionLimits};
use crate::{
    pipeline::approval::{
        self, Approvals, DecisionError, FormAction, MAX_PAGE_TICKETS, Ticket, TicketFilter,
    },
    security::{secrets, signed_state::random_bytes},
};

/// Limits on connections.
const CONNECTION_LIMITS: ConnectionLimits = ConnectionLimits {
    max_unauthenticated: 32,
    max_authenticated: 32,
    head_timeout: Duration::from_secs(5),
    timeout: Duration::from_secs(30),
};

/// Maximum size of a request's body, in bytes.
const MAX_BODY_BYTES: usize = 16 << 10;

/// Timeout for a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Number of tickets on a page if the request names none.
const DEFAULT_PAGE_SIZE: usize = 50;

/// The running approval server, which stops when this is dropped.
#[derive(Debug)]
pub struct ApprovalServer {
    shutdown: CancellationToken,
    /// The file with address and token. Kept open, because a file created after its removal may get
    /// the same inode number.
    connection_file: Option<(PathBuf, fs::File)>,
}

/// State that request handlers share.
struct ApprovalServerState {
    approvals: Arc<Approvals>,
    /// Host names of this server, with the port.
    own_hosts: [String; 3],
    token: String,
    /// Key in the path of the list page.
    list_key: String,
}

impl ApprovalServerState {
    /// Returns `true` if the host is this server's, and the origin, if a browser sends one, is the
    /// same.
    fn is_same_origin(&self, headers: &HeaderMap) -> bool {
        // At most one of each: another program might use the other of two.
        let text = |name| {
            let mut values = headers.get_all(name).iter();
            let first = values
                .next()
                .map(|value| value.to_str().unwrap_or_default());
            (first, values.next().is_some())
        };
        let ((host, more_hosts), (origin, more_origins)) =
            (text(header::HOST), text(header::ORIGIN));
        let host = host.unwrap_or_default();
        let own = origin.is_none_or(|origin| origin == format!("http://{host}"));
        let is_clear = !more_hosts && !more_origins;
        is_clear && own && self.own_hosts.iter().any(|known| known == host)
    }

    /// Authenticates a request by the token, or by the key of a page. All other paths are unknown
    /// to every caller.
    async fn authenticate(
        &self,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<RequestAccess, Response> {
        let mut steps = path.split('/').skip(1);
        match (steps.next(), steps.next(), steps.next(), steps.next()) {
            (Some("approvals"), _, None, _) => {
                require_token(self, headers).map_err(IntoResponse::into_response)?;
                Ok(RequestAccess::ApiToken)
            }
            (Some("decide"), Some(id), Some(key), None) => {
                let ticket = find_page_ticket(self, id, key)
                    .await
                    .map_err(IntoResponse::into_response)?;
                Ok(RequestAccess::TicketPage(Arc::new(ticket)))
            }
            (Some("waiting"), Some(key), id, None) => {
                if !bool::from(key.as_bytes().ct_eq(self.list_key.as_bytes())) {
                    return Err(not_found_page().into_response());
                }
                let Some(id) = id else {
                    return Ok(RequestAccess::TicketList);
                };
                let ticket = self.approvals.ticket(id).await.ok().flatten();
                let ticket = ticket.filter(Ticket::is_pending).ok_or_else(not_found_page);
                Ok(RequestAccess::TicketPage(Arc::new(
                    ticket.map_err(IntoResponse::into_response)?,
                )))
            }
            _ => Err((StatusCode::NOT_FOUND, "there is nothing here\n").into_response()),
        }
    }
}

/// Access that a request has.
#[derive(Clone)]
enum RequestAccess {
    /// Access by the token in the file.
    ApiToken,
    /// Access by the key of the page about this ticket.
    TicketPage(Arc<Ticket>),
    /// Access by the key of the list page.
    TicketList,
}

/// A decision as `portkey-mcp approvals` sends it.
#[derive(Deserialize)]
struct ApprovalDecision {
    approve: bool,
    /// Digest of the ticket as it was shown.
    digest: String,
    name: Option<String>,
    by: Option<String>,
}

/// A decision as the page sends it.
#[derive(Deserialize)]
struct ApprovalForm {
    token: String,
    /// Digest of the ticket as the page showed it.
    #[serde(default)]
    digest: String,
    #[serde(default)]
    decision: String,
    /// Name of the approver.
    #[serde(default)]
    by: String,
    /// Name of the object that the call is about.
    #[serde(default)]
    name: String,
}

impl ApprovalForm {
    /// Returns `true` if the call is approved.
    ///
    /// # Errors
    /// Returns a message if the form holds no valid decision.
    fn validate_decision(&self) -> Result<bool, &'static str> {
        let approve = match self.decision.as_str() {
            "approve" => true,
            "deny" => false,
            _ => return Err("Nothing was decided: press Approve or Deny."),
        };
        match self.by.trim().chars().count() {
            0 => Err("Nothing was decided: enter your name, it goes on record."),
            1..=page::MAX_NAME_CHARS => Ok(approve),
            _ => Err("Nothing was decided: the name is too long."),
        }
    }
}

impl ApprovalServer {
    /// Starts the server, and writes its address and a token for the API to the file, readable by
    /// its owner only.
    ///
    /// # Errors
    /// Returns an error if the address is not loopback or not free, or the file cannot be written.
    pub fn start(
        listen: SocketAddr,
        file: Option<&Path>,
        approvals: Arc<Approvals>,
    ) -> anyhow::Result<Self> {
        if !listen.ip().is_loopback() {
            bail!(
                "--admin-listen {listen} can be reached from other machines; give a loopback address"
            );
        }
        let listener = super::listen(listen, "--admin-listen")?;
        let address = listener.local_addr()?;
        let (url, token) = (
            format!("http://{address}"),
            hex::encode(random_bytes::<32>()?),
        );
        secrets::learn_key(&token);
        let key = hex::encode(random_bytes::<16>()?);
        let mut connection_file = None;
        if let Some(file) = file {
            let context = || format!("cannot write {}", display_path(file));
            let written = write_connection_file(file, &json!({ "url": url, "token": token }))
                .with_context(context)?;
            connection_file = Some((file.to_owned(), written));
        }
        let port = address.port();
        let hosts = ["127.0.0.1", "localhost", "[::1]"].map(|name| format!("{name}:{port}"));
        let page = format!("/waiting/{key}");
        info!(%address, page, "calls that wait for approval are decided about here");
        approvals.set_admin_url(url);
        let ended = CancellationToken::new();
        tokio::spawn(serve(
            listener,
            ApprovalServerState {
                approvals,
                own_hosts: hosts,
                token,
                list_key: key,
            },
            ended.clone(),
        ));
        Ok(Self {
            shutdown: ended,
            connection_file,
        })
    }
}

impl Drop for ApprovalServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some((file, written)) = &self.connection_file
            && let (Ok(found), Ok(ours)) = (fs::symlink_metadata(file), written.metadata())
            && FileIdentity::from_metadata(&found) == FileIdentity::from_metadata(&ours)
        {
            // Its address is no longer valid. A file that another server has written in its place
            // is left alone.
            _ = fs::remove_file(file);
        }
    }
}

/// Writes a file that only its owner may read, replacing an earlier one.
fn write_connection_file(file: &Path, what: &Value) -> std::io::Result<fs::File> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut created = options.open(file)?;
    writeln!(created, "{what}")?;
    Ok(created)
}

async fn serve(listener: TcpListener, server: ApprovalServerState, ended: CancellationToken) {
    let server = Arc::new(server);
    let router = Router::new()
        .route("/approvals", get(list_tickets))
        .route("/approvals/{id}", get(show_ticket).post(decide_ticket))
        .route(
            "/decide/{id}/{key}",
            get(show_ticket_page).post(submit_form),
        )
        .route("/waiting/{key}", get(show_list_page))
        .route(
            "/waiting/{key}/{id}",
            get(show_ticket_page).post(submit_form),
        )
        .fallback(async || (StatusCode::NOT_FOUND, "there is nothing here\n"))
        .layer(middleware::from_fn_with_state(
            server.clone(),
            guard_request,
        ))
        .with_state(server);
    if let Err(error) = auxiliary::serve(listener, router, CONNECTION_LIMITS, ended).await {
        error!(%error, "nobody can decide about calls any more");
    }
}

/// Checks host, origin and credentials of a request before its body is read.
async fn guard_request(
    State(server): State<Arc<ApprovalServerState>>,
    Extension(connection): Extension<Connection>,
    request: Request,
    next: Next,
) -> Response {
    let checked = authenticate_and_read(&server, &connection, request).await;
    let mut response = match checked {
        Ok(request) => next.run(request).await,
        Err(response) => response,
    };
    for (name, value) in page::RESPONSE_HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Authenticates a request and reads its body.
async fn authenticate_and_read(
    server: &ApprovalServerState,
    connection: &Connection,
    request: Request,
) -> Result<Request, Response> {
    let refuse = |status, why: &'static str| (status, why).into_response();
    let (mut parts, body) = request.into_parts();
    if !server.is_same_origin(&parts.headers) {
        // A page of another origin may have sent it, or reached this server by a host name of its
        // own.
        info!("an approval request was refused: its host or its origin is another one");
        return Err(refuse(StatusCode::FORBIDDEN, "not from there\n"));
    }
    let access = server
        .authenticate(parts.uri.path(), &parts.headers)
        .await?;
    if !connection.authenticate() {
        let why = "too many requests are under way; try again\n";
        return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, why));
    }
    parts.extensions.insert(access);
    let read = Limited::new(body, MAX_BODY_BYTES).collect();
    let body = match timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is too large\n",
            ));
        }
        Ok(Err(_)) => return Err(refuse(StatusCode::BAD_REQUEST, "the body broke off\n")),
        Err(_) => {
            return Err(refuse(
                StatusCode::REQUEST_TIMEOUT,
                "the body took too long\n",
            ));
        }
    };
    Ok(Request::from_parts(parts, Body::from(body)))
}

fn require_token(server: &ApprovalServerState, headers: &HeaderMap) -> Result<(), JsonError> {
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

type JsonError = (StatusCode, Json<Value>);

fn json_error(status: StatusCode, why: impl ToString) -> JsonError {
    (status, Json(json!({ "error": why.to_string() })))
}

fn decision_error(error: &DecisionError) -> JsonError {
    let status = match error {
        DecisionError::UnknownTicket => StatusCode::NOT_FOUND,
        DecisionError::AlreadyDecided
        | DecisionError::AmbiguousId
        | DecisionError::DigestMismatch => StatusCode::CONFLICT,
        DecisionError::IdTooShort | DecisionError::WrongName(_) => StatusCode::UNPROCESSABLE_ENTITY,
        DecisionError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    json_error(status, error)
}

/// Query for one page of the list of tickets. Empty fields of a form count as absent.
#[derive(Deserialize)]
struct TicketQuery {
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

    async fn fetch_page(
        &self,
        server: &ApprovalServerState,
    ) -> Result<approval::TicketPage, DecisionError> {
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

async fn list_tickets(
    State(server): State<Arc<ApprovalServerState>>,
    Query(wanted): Query<TicketQuery>,
) -> Result<Json<Value>, JsonError> {
    let page = wanted
        .fetch_page(&server)
        .await
        .map_err(|error| decision_error(&error))?;
    let tickets: Vec<_> = page.tickets.iter().map(Ticket::to_public_json).collect();
    Ok(Json(json!({ "tickets": tickets, "next": page.next })))
}

async fn show_ticket(
    State(server): State<Arc<ApprovalServerState>>,
    Segments(start): Segments<String>,
) -> Result<Json<Value>, JsonError> {
    let ticket = server
        .approvals
        .find_ticket(&start)
        .await
        .map_err(|error| decision_error(&error))?;
    Ok(Json(ticket.to_public_json()))
}

async fn decide_ticket(
    State(server): State<Arc<ApprovalServerState>>,
    Segments(id): Segments<String>,
    Json(decision): Json<ApprovalDecision>,
) -> Result<Json<Value>, JsonError> {
    let ApprovalDecision {
        approve,
        digest,
        name,
        by,
    } = decision;
    let form = build_form(approve, name);
    let by = by.unwrap_or_else(|| "approvals".to_owned());
    let ticket = server.approvals.decide(&id, &digest, &form, &by).await;
    let ticket = ticket.map_err(|error| decision_error(&error))?;
    log_decision(&ticket);
    Ok(Json(ticket.to_public_json()))
}

/// Shows the list of tickets.
async fn show_list_page(
    State(server): State<Arc<ApprovalServerState>>,
    Query(wanted): Query<TicketQuery>,
) -> Result<Html<String>, HtmlError> {
    let found = wanted.fetch_page(&server).await.map_err(|error| {
        let (status, _) = decision_error(&error);
        (
            status,
            Html(page::message_page(&format!(
                "The calls cannot be listed: {error}."
            ))),
        )
    })?;
    Ok(Html(page::list_page(
        &server.list_key,
        &wanted.filter(),
        &found,
    )))
}

/// Returns the ticket of a page, to which the request has access.
fn page_ticket(access: &RequestAccess) -> Result<&Ticket, HtmlError> {
    match access {
        RequestAccess::TicketPage(ticket) => Ok(ticket),
        RequestAccess::ApiToken | RequestAccess::TicketList => Err(not_found_page()),
    }
}

async fn show_ticket_page(
    Extension(access): Extension<RequestAccess>,
) -> Result<Html<String>, HtmlError> {
    Ok(Html(page::decision_page(
        page_ticket(&access)?,
        FormInput::default(),
    )))
}

async fn submit_form(
    State(server): State<Arc<ApprovalServerState>>,
    Extension(access): Extension<RequestAccess>,
    Form(filled): Form<ApprovalForm>,
) -> Result<Html<String>, HtmlError> {
    let ticket = page_ticket(&access)?;
    if !bool::from(
        filled
            .token
            .as_bytes()
            .ct_eq(ticket.form_token().as_bytes()),
    ) {
        return Err((
            StatusCode::FORBIDDEN,
            Html(page::message_page("This form is not one of ours.")),
        ));
    }
    let by = filled.by.trim();
    let name = filled.name.as_str();
    let show_form_again = |status, note: &str| {
        (
            status,
            Html(page::decision_page(
                ticket,
                FormInput {
                    note: Some(note),
                    by,
                    name,
                },
            )),
        )
    };
    let approve = filled.validate_decision();
    let approve =
        approve.map_err(|note| show_form_again(StatusCode::UNPROCESSABLE_ENTITY, note))?;
    let form = build_form(approve, Some(filled.name.clone()));
    let outcome = server
        .approvals
        .decide(&ticket.id, &filled.digest, &form, by)
        .await;
    let decided = outcome.map_err(|error| {
        let (status, note) = (
            decision_error(&error).0,
            format!("Nothing was decided: {error}."),
        );
        match error {
            DecisionError::WrongName(_) => show_form_again(status, &note),
            _ => (status, Html(page::message_page(&note))),
        }
    });
    let ticket = decided?;
    log_decision(&ticket);
    Ok(Html(page::message_page(match ticket.state {
        approval::TicketState::Approved(_) => {
            "Approved. The call is carried out when it is made again."
        }
        _ => "Denied. Nothing is sent.",
    })))
}

type HtmlError = (StatusCode, Html<String>);

/// Finds a pending ticket by the id and the key in the address of its page.
async fn find_page_ticket(
    server: &ApprovalServerState,
    id: &str,
    key: &str,
) -> Result<Ticket, HtmlError> {
    let ticket = server.approvals.ticket(id).await.ok().flatten();
    let open = ticket.filter(|ticket| ticket.matches_page_key(key) && ticket.is_pending());
    open.ok_or_else(not_found_page)
}

fn not_found_page() -> HtmlError {
    let gone = "There is nothing to decide here: it was decided, has expired, or never was.";
    (StatusCode::NOT_FOUND, Html(page::message_page(gone)))
}

fn build_form(approve: bool, typed: Option<String>) -> approval::FormResponse {
    let reaction = if approve {
        FormAction::Accept
    } else {
        FormAction::Decline
    };
    approval::FormResponse {
        action: reaction,
        approve,
        typed_name: typed,
    }
}

fn log_decision(ticket: &Ticket) {
    let (state, by) = ticket.state.as_parts();
    warn!(
        tool = ticket.tool,
        ticket = ticket.id,
        state,
        by,
        "a human decided"
    );
}

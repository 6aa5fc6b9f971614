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

use self::page::Entered;
use super::auxiliary::{self, Connection, Limits};
use crate::{
    pipeline::approval::{self, Approvals, Filter, MAX_PAGE, Reaction, Ticket, Undecided},
    security::{secrets, signed_state::random},
};

/// Limits on connections.
const LIMITS: Limits = Limits {
    unauthenticated: 32,
    authenticated: 32,
    head_timeout: Duration::from_secs(5),
    timeout: Duration::from_secs(30),
};

/// Maximum size of a request's body, in bytes.
const MAX_BODY_BYTES: usize = 16 << 10;

/// Timeout for a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Number of tickets on a page if the request names none.
const DEFAULT_PAGE: usize = 50;

/// The running approval server, which stops when this is dropped.
#[derive(Debug)]
pub struct Desk {
    ended: CancellationToken,
    /// The file with address and token. Kept open, because a file created after its removal may get
    /// the same inode number.
    file: Option<(PathBuf, fs::File)>,
}

/// State that request handlers share.
struct Office {
    approvals: Arc<Approvals>,
    /// Host names of this server, with the port.
    hosts: [String; 3],
    token: String,
    /// Key in the path of the list page.
    key: String,
}

impl Office {
    /// Returns `true` if the host is this server's, and the origin, if a browser sends one, is the
    /// same.
    fn may_send(&self, headers: &HeaderMap) -> bool {
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
        is_clear && own && self.hosts.iter().any(|known| known == host)
    }

    /// Authenticates a request by the token, or by the key of a page. All other paths are unknown
    /// to every caller.
    async fn authenticate(&self, path: &str, headers: &HeaderMap) -> Result<Access, Response> {
        let mut steps = path.split('/').skip(1);
        match (steps.next(), steps.next(), steps.next(), steps.next()) {
            (Some("approvals"), _, None, _) => {
                demand_token(self, headers).map_err(IntoResponse::into_response)?;
                Ok(Access::Token)
            }
            (Some("decide"), Some(id), Some(key), None) => {
                let ticket = opened(self, id, key)
                    .await
                    .map_err(IntoResponse::into_response)?;
                Ok(Access::Page(Arc::new(ticket)))
            }
            (Some("waiting"), Some(key), id, None) => {
                if !bool::from(key.as_bytes().ct_eq(self.key.as_bytes())) {
                    return Err(gone().into_response());
                }
                let Some(id) = id else {
                    return Ok(Access::List);
                };
                let ticket = self.approvals.ticket(id).await.ok().flatten();
                let ticket = ticket.filter(Ticket::is_pending).ok_or_else(gone);
                Ok(Access::Page(Arc::new(
                    ticket.map_err(IntoResponse::into_response)?,
                )))
            }
            _ => Err((StatusCode::NOT_FOUND, "there is nothing here\n").into_response()),
        }
    }
}

/// Access that a request has.
#[derive(Clone)]
enum Access {
    /// Access by the token in the file.
    Token,
    /// Access by the key of the page about this ticket.
    Page(Arc<Ticket>),
    /// Access by the key of the list page.
    List,
}

/// A decision as `portkey-mcp approvals` sends it.
#[derive(Deserialize)]
struct Decision {
    approve: bool,
    /// Digest of the ticket as it was shown.
    digest: String,
    name: Option<String>,
    by: Option<String>,
}

/// A decision as the page sends it.
#[derive(Deserialize)]
struct Filled {
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

impl Filled {
    /// Returns `true` if the call is approved.
    ///
    /// # Errors
    /// Returns a message if the form holds no valid decision.
    fn decision(&self) -> Result<bool, &'static str> {
        let approve = match self.decision.as_str() {
            "approve" => true,
            "deny" => false,
            _ => return Err("Nothing was decided: press Approve or Deny."),
        };
        match self.by.trim().chars().count() {
            0 => Err("Nothing was decided: enter your name, it goes on record."),
            1..=page::LONGEST_NAME => Ok(approve),
            _ => Err("Nothing was decided: the name is too long."),
        }
    }
}

impl Desk {
    /// Starts the server, and writes its address and a token for the API to the file, readable by
    /// its owner only.
    ///
    /// # Errors
    /// Returns an error if the address is not loopback or not free, or the file cannot be written.
    pub fn open(
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
        let (url, token) = (format!("http://{address}"), hex::encode(random::<32>()?));
        secrets::learn(&token);
        let key = hex::encode(random::<16>()?);
        let mut written = None;
        if let Some(file) = file {
            let told = || format!("cannot write {}", display_path(file));
            let opened = write(file, &json!({ "url": url, "token": token })).with_context(told)?;
            written = Some((file.to_owned(), opened));
        }
        let port = address.port();
        let hosts = ["127.0.0.1", "localhost", "[::1]"].map(|name| format!("{name}:{port}"));
        let page = format!("/waiting/{key}");
        info!(%address, page, "calls that wait for approval are decided about here");
        approvals.open_desk(url);
        let ended = CancellationToken::new();
        tokio::spawn(serve(
            listener,
            Office {
                approvals,
                hosts,
                token,
                key,
            },
            ended.clone(),
        ));
        Ok(Self {
            ended,
            file: written,
        })
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.ended.cancel();
        if let Some((file, written)) = &self.file
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
fn write(file: &Path, what: &Value) -> std::io::Result<fs::File> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut opened = options.open(file)?;
    writeln!(opened, "{what}")?;
    Ok(opened)
}

async fn serve(listener: TcpListener, office: Office, ended: CancellationToken) {
    let office = Arc::new(office);
    let router = Router::new()
        .route("/approvals", get(list))
        .route("/approvals/{id}", get(show).post(decide))
        .route("/decide/{id}/{key}", get(page).post(fill))
        .route("/waiting/{key}", get(waiting))
        .route("/waiting/{key}/{id}", get(page).post(fill))
        .fallback(async || (StatusCode::NOT_FOUND, "there is nothing here\n"))
        .layer(middleware::from_fn_with_state(office.clone(), guard))
        .with_state(office);
    if let Err(error) = auxiliary::serve(listener, router, LIMITS, ended).await {
        error!(%error, "nobody can decide about calls any more");
    }
}

/// Checks host, origin and credentials of a request before its body is read.
async fn guard(
    State(office): State<Arc<Office>>,
    Extension(connection): Extension<Connection>,
    request: Request,
    next: Next,
) -> Response {
    let admitted = admit(&office, &connection, request).await;
    let mut response = match admitted {
        Ok(request) => next.run(request).await,
        Err(response) => response,
    };
    for (name, value) in page::HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Authenticates a request and reads its body.
async fn admit(
    office: &Office,
    connection: &Connection,
    request: Request,
) -> Result<Request, Response> {
    let refuse = |status, why: &'static str| (status, why).into_response();
    let (mut parts, body) = request.into_parts();
    if !office.may_send(&parts.headers) {
        // A page of another origin may have sent it, or reached this server by a host name of its
        // own.
        info!("an approval request was refused: its host or its origin is another one");
        return Err(refuse(StatusCode::FORBIDDEN, "not from there\n"));
    }
    let access = office
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

fn demand_token(office: &Office, headers: &HeaderMap) -> Result<(), Answer> {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let given = given
        .and_then(|given| given.strip_prefix("Bearer "))
        .unwrap_or_default();
    match bool::from(given.as_bytes().ct_eq(office.token.as_bytes())) {
        true => Ok(()),
        false => Err(refused(
            StatusCode::UNAUTHORIZED,
            "the token is missing or another one",
        )),
    }
}

type Answer = (StatusCode, Json<Value>);

fn refused(status: StatusCode, why: impl ToString) -> Answer {
    (status, Json(json!({ "error": why.to_string() })))
}

fn undecided(error: &Undecided) -> Answer {
    let status = match error {
        Undecided::Unknown => StatusCode::NOT_FOUND,
        Undecided::Decided | Undecided::Ambiguous | Undecided::NotShown => StatusCode::CONFLICT,
        Undecided::TooShort | Undecided::Mistyped(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Undecided::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    refused(status, error)
}

/// Query for one page of the list of tickets. Empty fields of a form count as absent.
#[derive(Deserialize)]
struct Wanted {
    caller: Option<String>,
    tool: Option<String>,
    state: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

impl Wanted {
    fn filter(&self) -> Filter {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Filter {
            caller: given(&self.caller),
            tool: given(&self.tool),
            state: given(&self.state),
        }
    }

    async fn find(&self, office: &Office) -> Result<approval::Page, Undecided> {
        let limit = self.limit.unwrap_or(DEFAULT_PAGE).min(MAX_PAGE);
        office
            .approvals
            .tickets(&self.filter(), self.after.as_deref(), limit)
            .await
    }
}

async fn list(
    State(office): State<Arc<Office>>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Answer> {
    let page = wanted
        .find(&office)
        .await
        .map_err(|error| undecided(&error))?;
    let tickets: Vec<_> = page.tickets.iter().map(Ticket::shown).collect();
    Ok(Json(json!({ "tickets": tickets, "next": page.next })))
}

async fn show(
    State(office): State<Arc<Office>>,
    Segments(start): Segments<String>,
) -> Result<Json<Value>, Answer> {
    let ticket = office
        .approvals
        .find(&start)
        .await
        .map_err(|error| undecided(&error))?;
    Ok(Json(ticket.shown()))
}

async fn decide(
    State(office): State<Arc<Office>>,
    Segments(id): Segments<String>,
    Json(decision): Json<Decision>,
) -> Result<Json<Value>, Answer> {
    let Decision {
        approve,
        digest,
        name,
        by,
    } = decision;
    let form = form(approve, name);
    let by = by.unwrap_or_else(|| "approvals".to_owned());
    let ticket = office.approvals.decide(&id, &digest, &form, &by).await;
    let ticket = ticket.map_err(|error| undecided(&error))?;
    told(&ticket);
    Ok(Json(ticket.shown()))
}

/// Shows the list of tickets.
async fn waiting(
    State(office): State<Arc<Office>>,
    Query(wanted): Query<Wanted>,
) -> Result<Html<String>, Page> {
    let found = wanted.find(&office).await.map_err(|error| {
        let (status, _) = undecided(&error);
        (
            status,
            Html(page::message(&format!(
                "The calls cannot be listed: {error}."
            ))),
        )
    })?;
    Ok(Html(page::list(&office.key, &wanted.filter(), &found)))
}

/// Returns the ticket of a page, to which the request has access.
fn of_page(access: &Access) -> Result<&Ticket, Page> {
    match access {
        Access::Page(ticket) => Ok(ticket),
        Access::Token | Access::List => Err(gone()),
    }
}

async fn page(Extension(access): Extension<Access>) -> Result<Html<String>, Page> {
    Ok(Html(page::question(of_page(&access)?, Entered::default())))
}

async fn fill(
    State(office): State<Arc<Office>>,
    Extension(access): Extension<Access>,
    Form(filled): Form<Filled>,
) -> Result<Html<String>, Page> {
    let ticket = of_page(&access)?;
    if !bool::from(
        filled
            .token
            .as_bytes()
            .ct_eq(ticket.form_token().as_bytes()),
    ) {
        return Err((
            StatusCode::FORBIDDEN,
            Html(page::message("This form is not one of ours.")),
        ));
    }
    let (by, name) = (filled.by.trim(), filled.name.as_str());
    let again = |status, note: &str| {
        (
            status,
            Html(page::question(
                ticket,
                Entered {
                    note: Some(note),
                    by,
                    name,
                },
            )),
        )
    };
    let approve = filled.decision();
    let approve = approve.map_err(|note| again(StatusCode::UNPROCESSABLE_ENTITY, note))?;
    let form = form(approve, Some(filled.name.clone()));
    let decided = office
        .approvals
        .decide(&ticket.id, &filled.digest, &form, by)
        .await;
    let decided = decided.map_err(|error| {
        let (status, note) = (
            undecided(&error).0,
            format!("Nothing was decided: {error}."),
        );
        match error {
            Undecided::Mistyped(_) => again(status, &note),
            _ => (status, Html(page::message(&note))),
        }
    });
    let ticket = decided?;
    told(&ticket);
    Ok(Html(page::message(match ticket.state {
        approval::State::Approved(_) => "Approved. The call is carried out when it is made again.",
        _ => "Denied. Nothing is sent.",
    })))
}

type Page = (StatusCode, Html<String>);

/// Finds a pending ticket by the id and the key in the address of its page.
async fn opened(office: &Office, id: &str, key: &str) -> Result<Ticket, Page> {
    let ticket = office.approvals.ticket(id).await.ok().flatten();
    let open = ticket.filter(|ticket| ticket.opens_with(key) && ticket.is_pending());
    open.ok_or_else(gone)
}

fn gone() -> Page {
    let gone = "There is nothing to decide here: it was decided, has expired, or never was.";
    (StatusCode::NOT_FOUND, Html(page::message(gone)))
}

fn form(approve: bool, typed: Option<String>) -> approval::Form {
    let reaction = if approve {
        Reaction::Accept
    } else {
        Reaction::Decline
    };
    approval::Form {
        reaction,
        approve,
        typed,
    }
}

fn told(ticket: &Ticket) {
    let (state, by) = ticket.state.as_parts();
    warn!(
        tool = ticket.tool,
        ticket = ticket.id,
        state,
        by,
        "a human decided"
    );
}

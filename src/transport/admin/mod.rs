//! Where a human decides about calls that wait: a page for each, and an API for `portkey-mcp approvals`.
//! On loopback only, and apart from MCP, so that whoever makes calls does not get here.

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
    Form, Json, Router,
    extract::{Path as Segments, Request, State},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tracing::{error, info, warn};

use self::page::Entered;
use super::http::{
    Connections,
    listener::{self, Ending},
};
use crate::{
    approval::{self, Approvals, Reaction, Ticket, Undecided},
    files::{Identity, shown},
    metrics::Metrics,
    seal::random,
};

/// The place where humans decide; it closes when this is dropped.
#[derive(Debug)]
pub struct Desk {
    ending: Ending,
    /// The file that was written, and which one it is.
    file: Option<(PathBuf, Identity)>,
}

/// What answering takes.
struct Office {
    approvals: Arc<Approvals>,
    /// Host names that lead here, with the port.
    hosts: [String; 3],
    token: String,
}

impl Office {
    /// Whether the host is one of ours, and the origin, where a browser names one, the same.
    fn may_send(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let host = text(header::HOST).unwrap_or_default();
        let own = text(header::ORIGIN).is_none_or(|origin| origin == format!("http://{host}"));
        own && self.hosts.iter().any(|known| known == host)
    }
}

/// A decision as `portkey-mcp approvals` sends it.
#[derive(Deserialize)]
struct Decision {
    approve: bool,
    name: Option<String>,
    by: Option<String>,
}

/// A decision as the page sends it.
#[derive(Deserialize)]
struct Filled {
    token: String,
    #[serde(default)]
    decision: String,
    /// Who decides.
    #[serde(default)]
    by: String,
    /// The name of what the call is about.
    #[serde(default)]
    name: String,
}

impl Filled {
    /// Whether the call is approved, or why that is not decided yet.
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
    /// Opens it. The address and a token for the API are written to the file, for its owner alone.
    ///
    /// # Errors
    /// The address is not loopback or not free, or the file cannot be written.
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
        let mut written = None;
        if let Some(file) = file {
            let told = || format!("cannot write {}", shown(file));
            let identity =
                write(file, &json!({ "url": url, "token": token })).with_context(told)?;
            written = Some((file.to_owned(), identity));
        }
        let port = address.port();
        let hosts = ["127.0.0.1", "localhost", "[::1]"].map(|name| format!("{name}:{port}"));
        info!(%address, "calls that wait for approval are decided about here");
        approvals.open_desk(url);
        let ending = Ending::default();
        tokio::spawn(serve(listener, Office { approvals, hosts, token }, ending.clone()));
        Ok(Self { ending, file: written })
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.ending.cut();
        if let Some((file, identity)) = &self.file
            && fs::symlink_metadata(file).is_ok_and(|found| Identity::of(&found) == *identity)
        {
            // It leads nowhere now. One that another server wrote in its place does.
            _ = fs::remove_file(file);
        }
    }
}

/// Writes a file that nobody but its owner may read, in the place of an earlier one. Returns which it is.
fn write(file: &Path, what: &Value) -> std::io::Result<Identity> {
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
    Ok(Identity::of(&opened.metadata()?))
}

async fn serve(listener: TcpListener, office: Office, ending: Ending) {
    let office = Arc::new(office);
    let router = Router::new()
        .route("/approvals", get(list))
        .route("/approvals/{id}", get(show).post(decide))
        .route("/decide/{id}/{key}", get(page).post(fill))
        .fallback(async || (StatusCode::NOT_FOUND, "there is nothing here\n"))
        .layer(middleware::from_fn_with_state(office.clone(), guard))
        .with_state(office);
    let bounds = Connections {
        most: 64,
        head_timeout: Duration::from_secs(10),
        head_bytes: 16 << 10,
        metrics: Metrics::default(),
    };
    if let Err(error) = listener::serve(listener, router, bounds, None, ending).await {
        error!(%error, "nobody can decide about calls any more");
    }
}

/// Turns back what a page of another origin may have sent, or found here by a name of its own.
async fn guard(State(office): State<Arc<Office>>, request: Request, next: Next) -> Response {
    let mut response = match office.may_send(request.headers()) {
        true => next.run(request).await,
        false => {
            info!("an approval request was refused: its host or its origin is another one");
            (StatusCode::FORBIDDEN, "not from there\n").into_response()
        }
    };
    for (name, value) in page::HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}

fn demand_token(office: &Office, headers: &HeaderMap) -> Result<(), Answer> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|given| given.strip_prefix("Bearer ")).unwrap_or_default();
    match bool::from(given.as_bytes().ct_eq(office.token.as_bytes())) {
        true => Ok(()),
        false => Err(refused(StatusCode::UNAUTHORIZED, "the token is missing or another one")),
    }
}

type Answer = (StatusCode, Json<Value>);

fn refused(status: StatusCode, why: impl ToString) -> Answer {
    (status, Json(json!({ "error": why.to_string() })))
}

fn undecided(error: &Undecided) -> Answer {
    let status = match error {
        Undecided::Unknown => StatusCode::NOT_FOUND,
        Undecided::Decided => StatusCode::CONFLICT,
        Undecided::Mistyped(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Undecided::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    refused(status, error)
}

async fn list(
    State(office): State<Arc<Office>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Answer> {
    demand_token(&office, &headers)?;
    let tickets = office.approvals.tickets().await.map_err(|error| undecided(&error.into()))?;
    Ok(Json(tickets.iter().map(Ticket::shown).collect()))
}

async fn show(
    State(office): State<Arc<Office>>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Answer> {
    demand_token(&office, &headers)?;
    let ticket = office.approvals.ticket(&id).await.map_err(|error| undecided(&error.into()))?;
    ticket.map(|ticket| Json(ticket.shown())).ok_or_else(|| undecided(&Undecided::Unknown))
}

async fn decide(
    State(office): State<Arc<Office>>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
    Json(decision): Json<Decision>,
) -> Result<Json<Value>, Answer> {
    demand_token(&office, &headers)?;
    let Decision { approve, name, by } = decision;
    let form = form(approve, name);
    let by = by.unwrap_or_else(|| "approvals".to_owned());
    let ticket =
        office.approvals.decide(&id, &form, &by).await.map_err(|error| undecided(&error))?;
    told(&ticket);
    Ok(Json(ticket.shown()))
}

async fn page(
    State(office): State<Arc<Office>>,
    Segments((id, key)): Segments<(String, String)>,
) -> Result<Html<String>, Page> {
    let ticket = opened(&office, &id, &key).await?;
    Ok(Html(page::question(&ticket, Entered::default())))
}

async fn fill(
    State(office): State<Arc<Office>>,
    Segments((id, key)): Segments<(String, String)>,
    Form(filled): Form<Filled>,
) -> Result<Html<String>, Page> {
    let ticket = opened(&office, &id, &key).await?;
    if !bool::from(filled.token.as_bytes().ct_eq(ticket.form_token().as_bytes())) {
        return Err((StatusCode::FORBIDDEN, Html(page::message("This form is not one of ours."))));
    }
    let (by, name) = (filled.by.trim(), filled.name.as_str());
    let again = |status, note: &str| {
        (status, Html(page::question(&ticket, Entered { note: Some(note), by, name })))
    };
    let approve = filled.decision();
    let approve = approve.map_err(|note| again(StatusCode::UNPROCESSABLE_ENTITY, note))?;
    let form = form(approve, Some(filled.name.clone()));
    let decided = office.approvals.decide(&id, &form, by).await.map_err(|error| {
        let (status, note) = (undecided(&error).0, format!("Nothing was decided: {error}."));
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

/// The ticket, for who has the address of its page and while nobody has decided.
async fn opened(office: &Office, id: &str, key: &str) -> Result<Ticket, Page> {
    let ticket = office.approvals.ticket(id).await.ok().flatten();
    let open = ticket.filter(|ticket| ticket.opens_with(key) && ticket.is_pending());
    let gone = "There is nothing to decide here: it was decided, has expired, or never was.";
    open.ok_or_else(|| (StatusCode::NOT_FOUND, Html(page::message(gone))))
}

fn form(approve: bool, typed: Option<String>) -> approval::Form {
    let reaction = if approve { Reaction::Accept } else { Reaction::Decline };
    approval::Form { reaction, approve, typed }
}

fn told(ticket: &Ticket) {
    let (decision, by) = ticket.state.decision();
    warn!(tool = ticket.tool, ticket = ticket.id, decision, by, "a human decided");
}

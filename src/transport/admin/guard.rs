//! Checks host, origin and credentials of a request before its body is read.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use ipnet::IpNet;
use subtle::ConstantTimeEq;
use tokio::time::timeout;
use tracing::info;

use super::{
    BODY_TIMEOUT, MAX_BODY_BYTES, ServerState, api,
    pages::{self, MAX_NAME_CHARS},
    sessions::Session,
};
use crate::{pipeline::approval::Ticket, transport::auxiliary::Connection};

/// Headers of every response.
const RESPONSE_HEADERS: [(HeaderName, HeaderValue); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
             img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// Maximum length of the first step of a path in a log line, in characters.
const MAX_AREA_CHARS: usize = 40;

/// Header of the script's requests.
const REFRESH_HEADER: &str = "x-console-refresh";

/// The addresses under which browsers may use this server.
#[derive(Debug)]
pub(super) struct OwnSites {
    /// Address of the listener.
    listener: IpAddr,
    /// Host names of this server, with the port.
    hosts: [String; 4],
    /// Host and origin at a proxy in front of this server.
    public: Option<(String, String)>,
}

impl OwnSites {
    /// `public_url` is the address of a proxy in front of this server.
    pub(super) fn new(listener: SocketAddr, public_url: Option<&str>) -> Self {
        let port = listener.port();
        let [v4, name, v6] =
            ["127.0.0.1", "localhost", "[::1]"].map(|name| format!("{name}:{port}"));
        let hosts = [v4, name, v6, listener.to_string()];
        let public = public_url.and_then(|url| {
            let url = url.trim_end_matches('/');
            let (_, host) = url.split_once("://")?;
            Some((host.to_owned(), url.to_owned()))
        });
        Self {
            listener: listener.ip(),
            hosts,
            public,
        }
    }

    /// Returns true for an address of the machine that the server runs on.
    fn is_own_machine(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        peer.is_loopback() || peer == self.listener
    }

    /// Returns `true` if the host is this server's, and the origin, if a browser sends one, is the
    /// same.
    fn accept(&self, headers: &HeaderMap) -> bool {
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
        if more_hosts || more_origins {
            return false;
        }
        let is_local = self.hosts.iter().any(|known| known == host)
            && origin.is_none_or(|origin| origin == format!("http://{host}"));
        let is_public = self.public.as_ref().is_some_and(|(known, site)| {
            known == host && origin.is_none_or(|origin| origin == site)
        });
        is_local || is_public
    }
}

/// The header in which a trusted proxy names the person at the browser.
#[derive(Clone, Debug)]
pub struct ProxyName {
    /// Name of the header.
    pub header: HeaderName,
    /// Addresses of proxies that are trusted.
    pub proxies: Vec<IpNet>,
}

impl ProxyName {
    fn read(&self, headers: &HeaderMap, peer: IpAddr) -> Option<String> {
        let peer = peer.to_canonical();
        if !self.proxies.iter().any(|proxy| proxy.contains(&peer)) {
            return None;
        }
        // A proxy that appends would leave a name of the client's own before its own.
        let mut names = headers.get_all(&self.header).iter();
        let name = names.next().filter(|_| names.next().is_none())?;
        let name = name.to_str().ok()?.trim();
        ((1..=MAX_NAME_CHARS).contains(&name.chars().count())).then(|| name.to_owned())
    }
}

/// Access that a request has.
#[derive(Clone)]
pub(super) enum RequestAccess {
    /// None: the page for signing in, and what it loads.
    Public {
        /// Name that an access token or a trusted proxy gives.
        given_name: Option<String>,
    },
    /// Access by the token in the file.
    ApiToken,
    /// Access by the key of the page about this ticket.
    TicketPage(Arc<Ticket>),
    /// Access by the key in the log, which signs in.
    SignInKey {
        /// Name that a trusted proxy gives.
        given_name: Option<String>,
    },
    /// Access by a session.
    Session(SignedIn),
}

/// A session, and the name under which its decisions are recorded.
#[derive(Clone)]
pub(super) struct SignedIn {
    pub(super) session: Arc<Session>,
    pub(super) name: String,
    /// True if the script of an open page asks, whose answer nobody sees as a page.
    pub(super) is_refresh: bool,
}

fn unnamed_by_proxy() -> Response {
    let text = "the proxy did not name you, or named you twice; open the console through it\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

impl RequestAccess {
    /// Returns the session, if the request has one. The guard lets no other request in where one is
    /// needed.
    pub(super) fn session(&self) -> Option<&SignedIn> {
        match self {
            Self::Session(session) => Some(session),
            _ => None,
        }
    }
}

impl ServerState {
    /// Authenticates a request. All paths that are not listed are unknown to every caller.
    async fn authenticate(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        peer: IpAddr,
    ) -> Result<RequestAccess, Response> {
        let mut steps = path.split('/').skip(1);
        match (steps.next(), steps.next(), steps.next(), steps.next()) {
            (Some("console.css" | "console.js"), None, ..) => {
                Ok(RequestAccess::Public { given_name: None })
            }
            (Some("sign-in"), None, ..) => Ok(RequestAccess::Public {
                given_name: self.read_given_name(headers, peer).await?,
            }),
            (Some("approvals"), _, None, _) => {
                if self.access_tokens.is_some() && !self.sites.is_own_machine(peer) {
                    let text =
                        "this is for programs on the machine of the server; use the console\n";
                    return Err((StatusCode::FORBIDDEN, text).into_response());
                }
                api::require_token(self, headers).map_err(IntoResponse::into_response)?;
                Ok(RequestAccess::ApiToken)
            }
            // The key alone does not tell who decides.
            (Some("decide"), Some(id), Some(_), None) if self.access_tokens.is_some() => {
                match *method {
                    Method::GET | Method::HEAD => {
                        Err(Redirect::to(&format!("/calls/{id}")).into_response())
                    }
                    _ => Err(sign_in_first(method, path)),
                }
            }
            (Some("decide"), Some(id), Some(key), None) => {
                let ticket = self.approvals.ticket(id).await.ok().flatten();
                let open =
                    ticket.filter(|ticket| ticket.matches_page_key(key) && ticket.is_pending());
                Ok(RequestAccess::TicketPage(Arc::new(
                    open.ok_or_else(pages::not_found)?,
                )))
            }
            (Some("waiting"), Some(key), None, _) => match self.is_sign_in_key(key) {
                true => Ok(RequestAccess::SignInKey {
                    given_name: self.read_given_name(headers, peer).await?,
                }),
                false => Err(pages::not_found()),
            },
            (Some("" | "deny" | "audit" | "changes" | "events" | "sign-out"), None, ..)
            | (Some("calls" | "audit" | "changes"), Some(_), ..) => {
                let given_name = self.read_given_name(headers, peer).await?;
                let session = self.sessions.find(headers).filter(|session| {
                    // A token is somebody's, and so is the session that it began.
                    self.access_tokens.is_none() || given_name.as_ref() == Some(&session.name)
                });
                let Some(session) = session else {
                    return Err(sign_in_first(method, path));
                };
                let name = match (given_name, &self.proxy_name) {
                    (Some(name), _) => name,
                    (None, None) => session.name.clone(),
                    // A typed name would stand for somebody whom the proxy does not know.
                    (None, Some(_)) => return Err(unnamed_by_proxy()),
                };
                Ok(RequestAccess::Session(SignedIn {
                    session,
                    name,
                    is_refresh: headers.contains_key(REFRESH_HEADER),
                }))
            }
            _ => Err((StatusCode::NOT_FOUND, "there is nothing here\n").into_response()),
        }
    }

    /// Returns the name that an access token or a trusted proxy gives to the person at the browser.
    async fn read_given_name(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
    ) -> Result<Option<String>, Response> {
        if let Some(tokens) = &self.access_tokens {
            return tokens.verify(headers).await.map(Some);
        }
        let proxy = self.proxy_name.as_ref();
        Ok(proxy.and_then(|proxy| proxy.read(headers, peer)))
    }

    /// Returns true for the key in the log, which signs in nobody where access tokens do.
    pub(super) fn is_sign_in_key(&self, key: &str) -> bool {
        let is_key: bool = key.as_bytes().ct_eq(self.sign_in_key.as_bytes()).into();
        self.access_tokens.is_none() && is_key
    }
}

/// Leads to the page for signing in, and from there back to the page that was wanted.
fn sign_in_first(method: &Method, path: &str) -> Response {
    match (method, path) {
        (&Method::GET | &Method::HEAD, "/events") => StatusCode::UNAUTHORIZED.into_response(),
        (&Method::GET | &Method::HEAD, "/") => Redirect::to("/sign-in").into_response(),
        (&Method::GET | &Method::HEAD, path) => {
            Redirect::to(&format!("/sign-in?next={path}")).into_response()
        }
        _ => pages::message(
            StatusCode::UNAUTHORIZED,
            "Nothing was done: your session has ended. Sign in again.",
        ),
    }
}

/// Checks host, origin and credentials of a request before its body is read.
pub(super) async fn guard_request(
    State(server): State<Arc<ServerState>>,
    Extension(connection): Extension<Connection>,
    request: Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    // What follows in a path may be a key.
    let area = request.uri().path().split('/').nth(1);
    let area: String = area
        .unwrap_or_default()
        .chars()
        .take(MAX_AREA_CHARS)
        .collect();
    let checked = authenticate_and_read(&server, &connection, request).await;
    let mut response = match checked {
        Ok(request) => next.run(request).await,
        Err(response) => response,
    };
    log_rejection(&response, &method, &area, connection.peer());
    for (name, value) in RESPONSE_HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Reason of a rejection for the log, where its status does not say it.
#[derive(Clone, Copy)]
struct WhyRejected(&'static str);

/// Logs a request that was refused for who sent it, so that a failed sign-in leaves a trace.
fn log_rejection(response: &Response, method: &Method, area: &str, address: IpAddr) {
    let status = response.status();
    let why = match (response.extensions().get::<WhyRejected>(), status) {
        (Some(WhyRejected(why)), _) => why,
        (None, StatusCode::UNAUTHORIZED) => "it has no valid token or session",
        (None, StatusCode::FORBIDDEN) => "its token, key or session does not permit it",
        _ => return,
    };
    let status = status.as_u16();
    info!(status, %method, area, %address, why, "approval server: request rejected");
}

/// Authenticates a request and reads its body.
async fn authenticate_and_read(
    server: &ServerState,
    connection: &Connection,
    request: Request,
) -> Result<Request, Response> {
    let refuse = |status, why: &'static str| (status, why).into_response();
    let (mut parts, body) = request.into_parts();
    if !server.sites.accept(&parts.headers) {
        // A page of another origin may have sent it, or reached this server by a host name of its
        // own.
        let mut response = refuse(StatusCode::FORBIDDEN, "not from there\n");
        response
            .extensions_mut()
            .insert(WhyRejected("its host or its origin is another one"));
        return Err(response);
    }
    let access = server
        .authenticate(
            &parts.method,
            parts.uri.path(),
            &parts.headers,
            connection.peer(),
        )
        .await?;
    let is_public = matches!(access, RequestAccess::Public { .. });
    if !is_public && !connection.authenticate() {
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

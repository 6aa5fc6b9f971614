//! The REST face: serves the operations at their own methods and paths, for scripts, SDKs and
//! Terraform. Requests take the steps of a tool call.

mod error;
mod openapi;
mod route_table;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use portkey_concurrency::worker_pool::WorkerPool;
use portkey_operation::{Operation, UnknownFields};
use serde_json::Value;
use tokio_util::task::TaskTracker;

use self::{
    openapi::OperationDescription,
    route_table::{Route, RouteMatch, RouteTable},
};
use super::{
    accept::JSON,
    error_response::{ErrorResponse, RejectionDetails},
    guard::RepeatableResponse,
};
use crate::{
    auth::principal::Principal,
    observability::{
        call_record::{CallRecord, RejectionReason},
        metrics::Metrics,
        observer::CallObserver,
        request::{ClientAddress, RequestId, RequestInfo, Transport, UNKNOWN_NAME},
        traces::TraceParent,
    },
    pipeline::{
        CallError, Dispatcher, ForwardedResponse, ReceivedAnswer, ReceivedCall, ReceivedRequest,
        approval::{ApprovalError, ApprovalRequest, ApprovalResponse},
        is_json_type,
    },
    security::{sanitize::first_chars, secrets::mask_text},
};

pub(super) use self::error::{RestError, RestErrorCode, TICKET_HEADER};

/// Path of the OpenAPI description.
const OPENAPI_PATH: &str = "/openapi.json";
/// Paths of the face, as patterns of the router.
pub(super) const REST_PATHS: [&str; 7] = [
    "/v1",
    "/v1/",
    "/v1/{*path}",
    "/v2",
    "/v2/",
    "/v2/{*path}",
    OPENAPI_PATH,
];

/// Header by which a request asks for a dry run.
const DRY_RUN_HEADER: HeaderName = HeaderName::from_static("x-portkey-mcp-dry-run");
/// Header with warnings about a request that was sent.
pub(super) const WARNING_HEADER: HeaderName = HeaderName::from_static("x-portkey-mcp-warning");
/// Header with the upstream's id of the request.
const UPSTREAM_ID_HEADER: HeaderName = HeaderName::from_static("x-portkey-request-id");

/// Code in the body of a dry run.
const DRY_RUN_CODE: &str = "dry_run";

/// Maximum length of the warnings in a header, in bytes.
const MAX_WARNING_BYTES: usize = 1_000;
/// Maximum length of a client name that is recorded, in characters.
const MAX_CLIENT_CHARS: usize = 100;
/// Maximum length of a path in a message, in characters.
const MAX_SHOWN_PATH_CHARS: usize = 200;

/// Settings of the REST face.
#[derive(Clone, Copy, Debug)]
pub struct RestSettings {
    /// Address of a listener of its own. `None` to serve it beside MCP.
    pub listen: Option<SocketAddr>,
    /// Treatment of fields that this version does not know.
    pub unknown_fields: UnknownFields,
}

/// Serves requests to the endpoints of operations. Clones share one face.
#[derive(Clone, Debug)]
pub struct RestFace(Arc<FaceParts>);

#[derive(Debug)]
struct FaceParts {
    dispatcher: Arc<Dispatcher>,
    routes: RouteTable,
    metrics: Metrics,
    unknown_fields: UnknownFields,
    in_flight: TaskTracker,
    path_prefix: String,
    /// The descriptions of all operations, built on the first request for them.
    descriptions: OnceLock<Vec<OperationDescription>>,
}

impl RestFace {
    /// Creates the face of a dispatcher's operations. `path_prefix` precedes all paths.
    pub fn new(
        dispatcher: Arc<Dispatcher>,
        metrics: Metrics,
        settings: &RestSettings,
        path_prefix: &str,
    ) -> Self {
        let routes = RouteTable::new(dispatcher.catalog());
        Self(Arc::new(FaceParts {
            dispatcher,
            routes,
            metrics,
            unknown_fields: settings.unknown_fields,
            in_flight: TaskTracker::new(),
            path_prefix: path_prefix.to_owned(),
            descriptions: OnceLock::new(),
        }))
    }

    /// Waits for the requests in flight. Requests that arrive later are not waited for.
    pub(super) async fn drain(&self) {
        self.0.in_flight.close();
        self.0.in_flight.wait().await;
    }

    /// Serves a request whose caller is authenticated.
    pub(super) async fn serve(&self, request: Request) -> Response {
        let _in_flight = self.0.in_flight.token();
        let (parts, body) = request.into_parts();
        let Some(principal) = parts.extensions.get::<Arc<Principal>>().cloned() else {
            // A transport that fails to set the caller must not grant access.
            return internal_error("the request has no caller");
        };
        // Complete and within the limits, because it was read before.
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let is_repeatable = matches!(parts.method, Method::GET | Method::HEAD);
        if is_repeatable && parts.uri.path() == OPENAPI_PATH {
            return self.serve_description(principal).await;
        }
        if parts.method == Method::OPTIONS && parts.uri.path() == OPENAPI_PATH {
            return methods_response(HeaderValue::from_static("GET, HEAD, OPTIONS"));
        }
        let mut response = match self.find_route(&parts, &principal) {
            Ok((route, path_values)) => {
                let call = FaceCall {
                    face: &self.0,
                    principal: &principal,
                    parts: &parts,
                };
                // Boxed, because the future of a call is large.
                Box::pin(call.run(route, path_values, body)).await
            }
            Err(response) => *response,
        };
        if is_repeatable {
            response.extensions_mut().insert(RepeatableResponse);
        }
        response
    }

    /// Serves the OpenAPI description of the operations that the caller may learn of.
    async fn serve_description(&self, principal: Arc<Principal>) -> Response {
        let face = self.clone();
        let describe = move || {
            let descriptions = face.0.descriptions.get_or_init(|| {
                let catalog = face.0.dispatcher.catalog();
                let routes = face.0.routes.iter();
                let described = routes.filter_map(|route| {
                    let entry = catalog.find(route.operation.name()).ok()?;
                    Some(OperationDescription::new(entry, route.path()))
                });
                described.collect()
            });
            let shown = descriptions
                .iter()
                .filter(|described| face.is_visible(&principal, described.operation));
            openapi::build_document(shown, &face.0.path_prefix, principal.method).to_string()
        };
        // Takes longer than a call, because it describes every operation.
        let document = WorkerPool::shared().run_finishing(describe).await;
        let mut response = Response::new(Body::from(document));
        response.headers_mut().insert(header::CONTENT_TYPE, JSON);
        response.extensions_mut().insert(RepeatableResponse);
        response
    }

    /// Finds the operation of a request.
    fn find_route(
        &self,
        parts: &Parts,
        principal: &Principal,
    ) -> Result<(&Route, Vec<String>), Box<Response>> {
        let path = parts.uri.path();
        let method = match parts.method {
            // The answer to HEAD is that to GET, without its body.
            Method::HEAD => &Method::GET,
            ref method => method,
        };
        match self.0.routes.find(method, path) {
            RouteMatch::Found(route, values) => Ok((route, values)),
            RouteMatch::OtherMethods(routes) => {
                let routes = routes
                    .into_iter()
                    .filter(|route| self.is_shown(principal, route));
                let allow = allow_header(routes);
                let response = if *method == Method::OPTIONS {
                    methods_response(allow)
                } else {
                    let allowed = allow.to_str().unwrap_or_default().to_owned();
                    let message = format!(
                        "this path has no operation by {method}; its methods are {allowed}"
                    );
                    reject(
                        RestError::new(
                            StatusCode::METHOD_NOT_ALLOWED,
                            RestErrorCode::MethodNotAllowed,
                            message,
                        )
                        .with_headers(HeaderMap::from_iter([(header::ALLOW, allow)])),
                        "no operation by this method",
                    )
                };
                Err(response.into())
            }
            RouteMatch::Unknown => Err(self.unknown_path(method, path, principal).into()),
        }
    }

    /// Creates the response for a path of no operation, which names similar ones.
    fn unknown_path(&self, method: &Method, path: &str, principal: &Principal) -> Response {
        let is_shown = |route: &Route| self.is_shown(principal, route);
        let near: Vec<_> = self
            .0
            .routes
            .suggest(method, path, is_shown)
            .into_iter()
            .map(|route| {
                let operation = route.operation;
                format!(
                    "{} {} ({})",
                    operation.method(),
                    route.path(),
                    operation.name()
                )
            })
            .collect();
        let hint = match near.as_slice() {
            [] => "docs/tools.md lists the paths".to_owned(),
            near => format!("the nearest are {}", near.join(", ")),
        };
        let path = first_chars(path, MAX_SHOWN_PATH_CHARS);
        let message = format!("`{method} {path}` is no operation; {hint}");
        let code = RestErrorCode::NoSuchOperation;
        reject(
            RestError::new(StatusCode::NOT_FOUND, code, message),
            "no operation at this path",
        )
    }

    /// Returns true if the caller may learn of a route.
    fn is_shown(&self, principal: &Principal, route: &Route) -> bool {
        self.is_visible(principal, route.operation)
    }

    /// Returns true if the caller may learn of an operation.
    fn is_visible(&self, principal: &Principal, operation: &Operation) -> bool {
        let dispatcher = &self.0.dispatcher;
        let entry = dispatcher.catalog().find(operation.name());
        entry.is_ok_and(|entry| dispatcher.can_see(principal, entry))
    }
}

/// Creates the response that names the methods of a path.
fn methods_response(allow: HeaderValue) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

/// Lists the methods of some routes, and the two that need no operation.
fn allow_header<'a>(routes: impl Iterator<Item = &'a Route>) -> HeaderValue {
    let mut methods: Vec<_> = routes
        .map(|route| route.operation.method().as_str())
        .collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    methods.sort_unstable();
    methods.dedup();
    // Names of methods are valid in a header.
    HeaderValue::from_str(&methods.join(", ")).unwrap_or(HeaderValue::from_static("OPTIONS"))
}

/// One request to the endpoint of an operation.
struct FaceCall<'a> {
    face: &'a FaceParts,
    principal: &'a Principal,
    parts: &'a Parts,
}

impl FaceCall<'_> {
    /// Makes the call, and turns its outcome into a response.
    async fn run(&self, route: &Route, path_values: Vec<String>, body: Bytes) -> Response {
        let (is_dry_run, ticket) = match self.read_headers(&body) {
            Ok(headers) => headers,
            Err(response) => return *response,
        };
        let call_info = request_info(self.parts);
        let mut observed = CallObserver::begin_rest(&self.face.metrics, call_info, self.principal);
        let span = observed.span();
        let (request_info, record) = observed.request_and_record();
        let call = ReceivedCall {
            principal: self.principal,
            request_info,
            name: route.operation.name(),
            request: ReceivedRequest {
                path_values,
                query: self.parts.uri.query().unwrap_or_default().to_owned(),
                body,
                is_dry_run,
            },
            approval_response: ticket.map(ApprovalResponse::Ticket),
            unknown_fields: self.face.unknown_fields,
        };
        let called = self.face.dispatcher.call_received(call, record);
        let result = match span.instrument(called).await {
            Err(CallError::ApprovalRequired(request)) => Err(self.create_ticket(&request).await),
            result => result,
        };
        let outcome = match &result {
            Ok(_) => record.outcome.clone(),
            Err(error) => error.outcome(record.is_sent),
        };
        let mut response = match result {
            Ok(ReceivedAnswer::Forwarded(response)) => forwarded_response(*response),
            Ok(ReceivedAnswer::DryRun(report)) => dry_run_response(report),
            Err(error) => RestError::from(&error).into_response(),
        };
        // Of a request that was not sent, nothing was passed on.
        let is_sent = record.is_sent || record.status.is_some();
        if let Some(warning) = warning_header(record).filter(|_| is_sent) {
            response.headers_mut().insert(WARNING_HEADER, warning);
        }
        observed.finish(outcome);
        response
    }

    /// Reads the headers of this server, and checks that a body is JSON. Returns whether a dry run
    /// is asked for, and the ticket.
    fn read_headers(&self, body: &[u8]) -> Result<(bool, Option<String>), Box<Response>> {
        let headers = &self.parts.headers;
        let text = |name: &HeaderName| {
            headers
                .get(name)
                .map(|value| value.to_str().unwrap_or_default().trim().to_owned())
        };
        let content_type = text(&header::CONTENT_TYPE);
        let is_json = content_type.as_deref().is_none_or(is_json_type);
        let encoding = text(&header::CONTENT_ENCODING);
        let is_plain = encoding.is_none_or(|encoding| encoding.eq_ignore_ascii_case("identity"));
        let is_readable = is_json && is_plain;
        if !body.is_empty() && !is_readable {
            let message = "the body is to be JSON, sent as `Content-Type: application/json` and \
                           without a content encoding";
            return Err(reject(
                RestError::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    RestErrorCode::UnsupportedMediaType,
                    message,
                ),
                "the body is not JSON",
            )
            .into());
        }
        let is_dry_run = match text(&DRY_RUN_HEADER).as_deref() {
            None => false,
            Some(text) if text.eq_ignore_ascii_case("true") => true,
            Some(text) if text.eq_ignore_ascii_case("false") => false,
            // Sent for real, the request would do what its sender wanted to avoid.
            Some(_) => {
                let message = "the header X-Portkey-MCP-Dry-Run is to be `true` or `false`";
                return Err(reject(
                    RestError::new(
                        StatusCode::BAD_REQUEST,
                        RestErrorCode::InvalidRequest,
                        message,
                    ),
                    message,
                )
                .into());
            }
        };
        Ok((is_dry_run, text(&TICKET_HEADER)))
    }

    /// Creates a ticket for a call that needs approval. Returns the error for the client.
    async fn create_ticket(&self, request: &ApprovalRequest) -> CallError {
        let Some(approvals) = self.face.dispatcher.approvals() else {
            let error = ApprovalError::NoApprover {
                tool: request.tool,
                rule: request.rule.clone(),
            };
            return error.into();
        };
        match approvals.create_ticket(self.principal, request).await {
            Ok(ticket) => ticket.to_pending(request.tool).into(),
            Err(denied) => denied.into(),
        }
    }
}

/// Collects the information about a request.
fn request_info(parts: &Parts) -> RequestInfo {
    let id = parts.extensions.get::<RequestId>().cloned();
    let client = parts.headers.get(header::USER_AGENT);
    let client = client.and_then(|name| name.to_str().ok()).map(|name| {
        let name = first_chars(name, MAX_CLIENT_CHARS);
        name.replace(char::is_control, "?").into()
    });
    RequestInfo {
        id: id.unwrap_or_else(RequestId::generate),
        transport: Transport::Rest,
        protocol: UNKNOWN_NAME,
        trace_parent: TraceParent::from_headers(None, Some(&parts.headers)),
        client,
        session: None,
        source: parts
            .extensions
            .get()
            .map(|ClientAddress(address)| *address),
    }
}

/// Creates the response for an answer of the upstream.
fn forwarded_response(forwarded: ForwardedResponse) -> Response {
    let status = forwarded.status;
    let text = |text: &Option<String>| HeaderValue::from_str(text.as_deref()?).ok();
    let content_type = text(&forwarded.content_type);
    let upstream_id = text(&forwarded.request_id);
    let retry_after = forwarded
        .retry_after
        .map(|wait| HeaderValue::from(wait.as_secs()));
    let mut response = Response::new(Body::from(forwarded.into_body()));
    *response.status_mut() = status;
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (UPSTREAM_ID_HEADER, upstream_id),
        (header::RETRY_AFTER, retry_after),
    ];
    let headers = headers
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    response.headers_mut().extend(headers);
    response
}

/// Creates the response for a request that was described and not sent.
fn dry_run_response(mut report: Value) -> Response {
    if let Value::Object(fields) = &mut report {
        fields.insert("code".to_owned(), DRY_RUN_CODE.into());
    }
    let mut response = Response::new(Body::from(report.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// Returns the warnings about a request in the form of a header: printable ASCII of a bounded
/// length.
fn warning_header(record: &CallRecord) -> Option<HeaderValue> {
    if record.warnings.is_empty() {
        return None;
    }
    let text = record.warnings.join("; ");
    let text: String = mask_text(&text)
        .chars()
        .map(|c| if matches!(c, ' '..='~') { c } else { '?' })
        .collect();
    HeaderValue::from_str(first_chars(&text, MAX_WARNING_BYTES)).ok()
}

/// Creates the response to a request that is no call, and marks it for the log and the metrics.
fn reject(error: RestError, reason: &'static str) -> Response {
    let mut response = error.into_response();
    response.extensions_mut().insert(RejectionDetails {
        reason: RejectionReason::Malformed,
        message: reason.into(),
    });
    response
}

/// Creates the response to a request that this server failed to handle.
pub(super) fn internal_error(message: &'static str) -> Response {
    ErrorResponse::new(StatusCode::INTERNAL_SERVER_ERROR, message).into_portkey_response()
}

/// Creates the response for a path that this listener does not have.
pub(super) async fn serve_other_path() -> Response {
    let message = "the API is served below /v1 and /v2";
    ErrorResponse::new(StatusCode::NOT_FOUND, message).into_portkey_response()
}

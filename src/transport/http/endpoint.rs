//! The MCP endpoint: passes requests to rmcp, or directly to the handler.
//!
//! A call on the [fast path](super::fast_path) goes directly to the handler. Every other request is
//! adapted to the demands of rmcp and goes there.

use std::sync::Arc;

use axum::{
    body::{Body, HttpBody, to_bytes},
    extract::Request,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use rmcp::{
    model::ClientJsonRpcMessage,
    transport::streamable_http_server::{StreamableHttpService, session::SessionId},
};
use tokio_util::sync::CancellationToken;

use super::{
    accept::{
        AcceptedTypes, EVENT_STREAM, JSON, JSON_AND_EVENTS, has_media_type, into_events, into_json,
    },
    error_response::ErrorResponse,
    fast_path::{DirectCallHandler, FastPath, FastPathOutcome, TOOLS_CALL},
    guard::RepeatableResponse,
    gzip::accepts_gzip,
    headers::{MCP_METHOD, MCP_NAME, MCP_VERSION, MessageSummary, explain_missing_headers},
    sessions::{LimitedSessionManager, SESSION_ID, session_limit_error},
    streams::{ListenOnly, StreamLimiter, hold_permit},
    unread_responses::MIN_COUNTED_BYTES,
};
use crate::{
    auth::principal::Principal,
    observability::request,
    transport::trim::{MAX_ID_BYTES, is_short_id, trim_message},
};

/// Method that starts a session.
const INITIALIZE: &str = "initialize";
/// Method whose response is a stream that lasts as long as the client listens.
const SUBSCRIPTIONS_LISTEN: &str = "subscriptions/listen";
/// Methods that are answered at once, with large responses.
const LIST_METHODS: [&str; 3] = ["tools/list", "prompts/list", "resources/list"];

/// Headers that are used after a long-lived request has started.
const RETAINED_HEADERS: [HeaderName; 10] = [
    header::HOST,
    header::ORIGIN,
    header::ACCEPT,
    header::CONTENT_TYPE,
    MCP_VERSION,
    MCP_METHOD,
    MCP_NAME,
    SESSION_ID,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// The endpoint of a handler, which is reached directly or by rmcp.
pub(super) struct McpEndpoint<H> {
    fast_path: FastPath<H>,
    handler: H,
    rmcp: StreamableHttpService<H, LimitedSessionManager>,
    sessions: Arc<LimitedSessionManager>,
    /// Limits on streams that wait for notifications.
    streams: StreamLimiter,
}

impl<H: DirectCallHandler + Clone> McpEndpoint<H> {
    /// Creates the endpoint of a handler, for requests that name one of these hosts.
    pub(super) fn new(
        handler: H,
        rmcp: StreamableHttpService<H, LimitedSessionManager>,
        sessions: Arc<LimitedSessionManager>,
        hosts: Vec<String>,
        streams: StreamLimiter,
        end: CancellationToken,
    ) -> Self {
        Self {
            fast_path: FastPath::new(handler.clone(), sessions.clone(), hosts, end),
            handler,
            rmcp,
            sessions,
            streams,
        }
    }

    /// Serves a request.
    pub(super) fn serve(&self, request: Request) -> impl Future<Output = Response> + Send {
        // The future of an `async fn` would store the request twice.
        self.fast_path
            .serve(request)
            .then(move |outcome| async move {
                match outcome {
                    FastPathOutcome::Response(response) => response,
                    FastPathOutcome::NotTaken(request) => self.forward_to_rmcp(request).await,
                }
            })
    }

    async fn forward_to_rmcp(&self, request: Request) -> Response {
        // Boxed, so that calls on the fast path do not carry the size of this future.
        Box::pin(self.try_forward_to_rmcp(request))
            .await
            .unwrap_or_else(IntoResponse::into_response)
    }

    /// Forwards a request to rmcp, adapted to its demands. The response is converted to a type that
    /// the client accepts.
    async fn try_forward_to_rmcp(&self, request: Request) -> Result<Response, ErrorResponse> {
        let (mut parts, body) = request.into_parts();
        // Complete and within the limits, because it was read before.
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let summary = MessageSummary::parse(&body);
        let accepted = AcceptedTypes::from_headers(&parts.headers);
        ensure_acceptable(accepted, &parts.method, &summary.method)?;
        parts.headers.insert(header::ACCEPT, JSON_AND_EVENTS);
        summary.align_name_header(&mut parts.headers, |name| self.handler.get_tool(name));
        let missing = summary.missing_headers(&parts.headers);
        let session = parts
            .headers
            .get(SESSION_ID)
            .and_then(|id| id.to_str().ok());
        let session: Option<SessionId> = session.map(Into::into);
        let begins = session.is_none() && summary.method == INITIALIZE;
        let listens = summary.method == SUBSCRIPTIONS_LISTEN;
        let stream = match parts.extensions.get::<Arc<Principal>>() {
            Some(caller) if listens || parts.method == Method::GET => {
                Some(self.streams.acquire(caller).await?)
            }
            _ => None,
        };
        if parts.method != Method::DELETE {
            self.sessions
                .reserve_permits(session.as_ref(), begins)
                .await
                .map_err(|_| session_limit_error())?;
        }
        // Nothing precedes a list in its stream, so it can be sent as JSON and compressed.
        let is_list = session.is_some()
            && accepted == AcceptedTypes::Both
            && LIST_METHODS.contains(&&*summary.method)
            && wants_gzip(&parts.headers);
        let is_post = parts.method == Method::POST;
        // All other methods change nothing, so their requests can be repeated.
        let is_repeatable = summary.method != TOOLS_CALL;
        drop(summary);
        let request = match listens {
            true => detach_request(parts, body)?,
            false => Request::from_parts(parts, Body::from(body)),
        };
        let response = self.rmcp.handle(request).await.map(Body::new);
        let mut response = explain_missing_headers(response, &missing).await;
        if let Some(stream) = stream {
            response.extensions_mut().insert(ListenOnly);
            response = hold_permit(response, stream);
        }
        if !is_post || response.status() != StatusCode::OK {
            return Ok(response);
        }
        let mut response = match accepted {
            AcceptedTypes::Json | AcceptedTypes::Both
                if has_media_type(&response, &EVENT_STREAM)
                    && (is_list || accepted == AcceptedTypes::Json) =>
            {
                into_json(response, |id| {
                    self.sessions.decline_server_request(session.as_ref(), id)
                })
                .await
            }
            AcceptedTypes::Events if has_media_type(&response, &JSON) => {
                into_events(response).await
            }
            _ => response,
        };
        let is_large = response.body().size_hint().lower() >= MIN_COUNTED_BYTES as u64;
        if is_large && is_repeatable {
            response.extensions_mut().insert(RepeatableResponse);
        }
        Ok(response)
    }
}

/// Reduces a request that rmcp keeps for the lifetime of its stream to the parts in use.
fn detach_request(parts: Parts, body: Bytes) -> Result<Request, ErrorResponse> {
    let body = match serde_json::from_slice(&body) {
        Ok(mut message) => {
            if let ClientJsonRpcMessage::Request(request) = &message
                && !is_short_id(&request.id)
            {
                let message =
                    format!("the `id` of a subscription has at most {MAX_ID_BYTES} bytes");
                return Err(ErrorResponse::new(StatusCode::BAD_REQUEST, message));
            }
            trim_message(&mut message);
            serde_json::to_vec(&message).map_or(body, Bytes::from)
        }
        // rmcp reports the error.
        Err(_) => body,
    };
    let Parts {
        method,
        uri,
        version,
        headers,
        mut extensions,
        ..
    } = parts;
    // Copies, because a header value keeps the whole head of its request in memory, and so does a
    // URI.
    let copied = RETAINED_HEADERS.into_iter().filter_map(|name| {
        let value = HeaderValue::from_bytes(headers.get(&name)?.as_bytes()).ok()?;
        Some((name, value))
    });
    let headers: HeaderMap = copied.collect();
    if let Some(id) = extensions.get_mut::<request::RequestId>() {
        *id = id.to_detached();
    }
    let mut request = Request::new(Body::from(body));
    *request.uri_mut() = uri.to_string().parse().unwrap_or_default();
    *request.method_mut() = method;
    *request.version_mut() = version;
    *request.headers_mut() = headers;
    *request.extensions_mut() = extensions;
    Ok(request)
}

/// Checks that the client accepts a type that the response can have.
///
/// # Errors
/// Returns 406 with the types to accept.
fn ensure_acceptable(
    forms: AcceptedTypes,
    method: &Method,
    message: &str,
) -> Result<(), ErrorResponse> {
    let message = match forms {
        AcceptedTypes::Neither if matches!(*method, Method::GET | Method::POST) => {
            "answers are `application/json` or `text/event-stream`, and the header `Accept` has neither; \
             send both, or `*/*`"
        }
        AcceptedTypes::Json if *method == Method::GET => {
            "what GET gets here is a stream of events; send `Accept: text/event-stream`"
        }
        AcceptedTypes::Json if message == SUBSCRIPTIONS_LISTEN => {
            "a subscription is a stream of events; send `Accept: application/json, text/event-stream`"
        }
        _ => return Ok(()),
    };
    Err(ErrorResponse::new(StatusCode::NOT_ACCEPTABLE, message).with_invalid_request_code())
}

/// Returns `true` if a client accepts gzip.
fn wants_gzip(headers: &HeaderMap) -> bool {
    let encodings = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok());
    encodings.is_some_and(accepts_gzip)
}

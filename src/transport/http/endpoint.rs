//! The MCP endpoint: passes requests to rmcp, or directly to the handler.
//!
//! For each message rmcp starts a service, or wakes that of the session, with tasks and channels.
//! Client and server can then talk while the message is processed. That takes as long as the call
//! itself, and a call that needs only its response has no use for it. A call on the [fast
//! path](super::fast_path) goes directly to the handler. Every other request goes to rmcp as it came.

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use axum::{
    body::{Body, HttpBody, to_bytes},
    extract::Request,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use rmcp::{
    ErrorData, Peer, RoleServer,
    model::{
        CallToolRequestParams, CallToolResponse, ClientJsonRpcMessage, ErrorCode,
        InitializeRequestParams, RequestId, RequestMetaObject, ServerJsonRpcMessage,
    },
    service::{RequestContext, serve_directly},
    transport::streamable_http_server::{StreamableHttpService, session::SessionId},
};
use tokio_util::sync::CancellationToken;

use super::{
    accept::{
        AcceptedTypes, EVENT_STREAM, JSON, JSON_AND_EVENTS, has_media_type, into_events, into_json,
    },
    error_response::ErrorResponse,
    fast_path::{DirectCallHandler, FastPathHead, FastPathMessage, FastPathParams, TOOLS_CALL},
    guard::RepeatableResponse,
    gzip::accepts_gzip,
    headers::{MCP_METHOD, MCP_NAME, MCP_VERSION, MessageSummary, explain_missing_headers},
    sessions::{
        ActiveSession, InFlightCall, LimitedSessionManager, SESSION_ID, session_limit_error,
    },
    streams::{ListenOnly, StreamLimiter, hold_permit},
    unread_responses::MIN_COUNTED_BYTES,
};
use crate::{
    auth::principal::Principal,
    mcp::reply,
    observability::request,
    transport::trim::{MAX_ID_BYTES, is_short_id, trim_message},
};

/// Keyword in a schema for an argument that must also be sent in a header.
const HEADER_ANNOTATION: &str = "x-mcp-header";

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
    handler: H,
    rmcp: StreamableHttpService<H, LimitedSessionManager>,
    sessions: Arc<LimitedSessionManager>,
    /// Host names of this server.
    hosts: Vec<String>,
    /// Limits on streams that wait for notifications.
    streams: StreamLimiter,
    /// Peer for calls on the fast path without a session. Nothing but the response reaches the
    /// client.
    sessionless_peer: OnceLock<Peer<RoleServer>>,
    /// Tools without arguments in headers, among those called so far.
    unannotated_tools: RwLock<HashSet<Cow<'static, str>>>,
    /// Cancels calls that outlive the server.
    end: CancellationToken,
}

/// A call as the handler takes it.
struct DirectCall {
    id: RequestId,
    params: CallToolRequestParams,
    meta: RequestMetaObject,
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
        let (client, unannotated) = (OnceLock::new(), RwLock::default());
        Self {
            handler,
            rmcp,
            sessions,
            hosts,
            streams,
            sessionless_peer: client,
            unannotated_tools: unannotated,
            end,
        }
    }

    /// Serves a request.
    pub(super) async fn serve(&self, request: Request) -> Response {
        let Some(head) = FastPathHead::parse(&request, &self.hosts, &self.sessions) else {
            return self.forward_to_rmcp(request).await;
        };
        let (parts, body) = request.into_parts();
        // Complete and within the limits, because it was read before.
        let Ok(body) = to_bytes(body, usize::MAX).await else {
            return ErrorResponse::new(StatusCode::BAD_REQUEST, "the body broke off")
                .into_response();
        };
        let Some(call) = self.read_direct_call(&body, &head, &parts) else {
            return self
                .forward_to_rmcp(Request::from_parts(parts, body.into()))
                .await;
        };
        match head {
            FastPathHead::Sessionless(_) => self.call_without_session(call, parts).await,
            FastPathHead::InSession(session) => match self.begin_call(&session, &call.id).await {
                Some((begun, client)) => self.call_in_session(begun, client, call, parts).await,
                None => {
                    self.forward_to_rmcp(Request::from_parts(parts, body.into()))
                        .await
                }
            },
        }
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

    /// Parses a call that needs nothing but its response. Returns `None` for all other messages.
    fn read_direct_call(
        &self,
        body: &[u8],
        head: &FastPathHead,
        parts: &Parts,
    ) -> Option<DirectCall> {
        let FastPathMessage {
            id,
            params:
                FastPathParams {
                    name,
                    arguments,
                    meta,
                },
            ..
        } = FastPathMessage::parse(body, head)?;
        let mut params = CallToolRequestParams::new(name.to_owned());
        params.arguments = arguments;
        // Requests to a client of 2026-07-28 are part of the response.
        let is_silent =
            matches!(head, FastPathHead::Sessionless(_)) && meta.get_progress_token().is_none();
        let wants_no_more = is_silent || self.handler.is_direct_read(&params, parts);
        (wants_no_more && self.is_unannotated(&params.name)).then_some(DirectCall {
            id,
            params,
            meta,
        })
    }

    /// Returns `true` if no argument of a tool must be sent in a header. Otherwise rmcp compares
    /// the two (SEP-2243).
    fn is_unannotated(&self, name: &str) -> bool {
        if self
            .unannotated_tools
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(name)
        {
            return true;
        }
        let Some(tool) = self.handler.get_tool(name) else {
            return false;
        };
        let schema = serde_json::to_string(&tool.input_schema);
        let is_unannotated = schema.is_ok_and(|schema| !schema.contains(HEADER_ANNOTATION));
        // Cached only under the tool's own name. Callers could otherwise fill the set with other
        // spellings.
        if is_unannotated && tool.name == name {
            self.unannotated_tools
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(tool.name);
        }
        is_unannotated
    }

    /// Begins a call in a session. Returns `None` if the session cannot take it.
    async fn begin_call(
        &self,
        session: &Arc<ActiveSession>,
        id: &RequestId,
    ) -> Option<(InFlightCall, Peer<RoleServer>)> {
        let client = session.peer(|hello| self.detached_peer(Some(hello)))?;
        let call_in_flight = session.begin_call(id)?;
        self.sessions
            .touch(session)
            .await
            .then_some((call_in_flight, client))
    }

    /// Creates a peer that is not connected to a client. Nothing but the response reaches the
    /// client.
    fn detached_peer(&self, hello: Option<InitializeRequestParams>) -> Peer<RoleServer> {
        // The service has no input and no output, so it ends as soon as it has started.
        let closed_streams = (tokio::io::empty(), tokio::io::sink());
        serve_directly(self.handler.clone(), closed_streams, hello)
            .peer()
            .clone()
    }

    async fn call_without_session(&self, call: DirectCall, parts: Parts) -> Response {
        let client = self
            .sessionless_peer
            .get_or_init(|| self.detached_peer(None))
            .clone();
        let id = call.id.clone();
        let outcome = self
            .call_handler(call, client, parts, self.end.clone())
            .await;
        let status = outcome
            .as_ref()
            .map_or_else(|error| http_status(error.code), |_| StatusCode::OK);
        build_response(id, outcome, status)
    }

    async fn call_in_session(
        &self,
        begun: InFlightCall,
        client: Peer<RoleServer>,
        call: DirectCall,
        parts: Parts,
    ) -> Response {
        let id = call.id.clone();
        let mut outcome = self
            .call_handler(call, client, parts, begun.end.clone())
            .await;
        if begun.end.is_cancelled() {
            // A cancelled call has no response, which a stream without events expresses.
            return ([(header::CONTENT_TYPE, EVENT_STREAM)], Body::empty()).into_response();
        }
        if let Ok(CallToolResponse::Complete(result)) = &mut outcome {
            // Only clients since 2026-07-28 know results that are incomplete.
            result.result_type.take_if(|it| it.is_complete());
        }
        build_response(id, outcome, StatusCode::OK)
    }

    async fn call_handler(
        &self,
        DirectCall { id, params, meta }: DirectCall,
        client: Peer<RoleServer>,
        parts: Parts,
        end: CancellationToken,
    ) -> Result<CallToolResponse, ErrorData> {
        let mut context = RequestContext::new(id, client);
        context.ct = end;
        context.meta = meta;
        context.extensions.insert(parts);
        self.handler.call_tool(params, context).await
    }
}

fn build_response(
    id: RequestId,
    outcome: Result<CallToolResponse, ErrorData>,
    status: StatusCode,
) -> Response {
    let written = match outcome {
        Ok(CallToolResponse::Complete(result)) => reply::encode_response(&id, result),
        Ok(other) => serde_json::to_vec(&ServerJsonRpcMessage::response(other.into(), id)),
        Err(error) => serde_json::to_vec(&ServerJsonRpcMessage::error(error, Some(id))),
    };
    match written {
        Ok(body) => (status, [(header::CONTENT_TYPE, JSON)], body).into_response(),
        Err(_) => {
            let message = "the answer could not be written";
            ErrorResponse::new(StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
        }
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

/// Returns the status that the protocol of 2026-07-28 demands for an error. Most errors are sent
/// with 200.
fn http_status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::UNSUPPORTED_PROTOCOL_VERSION
        | ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY
        | ErrorCode::HEADER_MISMATCH => StatusCode::BAD_REQUEST,
        ErrorCode::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    }
}

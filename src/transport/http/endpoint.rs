//! The MCP endpoint: passes requests to rmcp, or directly to the handler.
//!
//! For each message rmcp starts a service, or wakes that of the session, with tasks and channels.
//! Client and server can then talk while the message is processed. That takes as long as the call
//! itself, and a call that needs only its response has no use for it. A call on the [fast
//! path](super::plain) goes directly to the handler. Every other request goes to rmcp as it came.

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
    accept::{BOTH, EVENTS, Forms, JSON, as_events, as_json, is_of},
    front::Repeatable,
    gzip::takes_gzip,
    headers::{Glance, MCP_METHOD, MCP_NAME, MCP_VERSION, explained},
    plain::{CALL, Head, Message, Params},
    refusal::Refusal,
    session::{Begun, Bounded, Live, SESSION_ID, full},
    streams::{Listening, Streams, holding},
    unread::MIN_COUNTED_BYTES,
};
use crate::{
    auth::principal::Principal,
    mcp::{reply, server::Foresight},
    observability::request,
    transport::trim::{MAX_ID_BYTES, is_short, trim},
};

/// Keyword in a schema for an argument that must also be sent in a header.
const ANNOTATION: &str = "x-mcp-header";

/// Method that starts a session.
const INITIALIZE: &str = "initialize";
/// Method whose response is a stream that lasts as long as the client listens.
const LISTEN: &str = "subscriptions/listen";
/// Methods that are answered at once, with large responses.
const LISTS: [&str; 3] = ["tools/list", "prompts/list", "resources/list"];

/// Headers that are used after a long-lived request has started.
const LASTING: [HeaderName; 10] = [
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
pub(super) struct Endpoint<H> {
    handler: H,
    rmcp: StreamableHttpService<H, Bounded>,
    sessions: Arc<Bounded>,
    /// Host names of this server.
    hosts: Vec<String>,
    /// Limits on streams that wait for notifications.
    streams: Streams,
    /// Peer for calls on the fast path without a session. Nothing but the response reaches the
    /// client.
    client: OnceLock<Peer<RoleServer>>,
    /// Tools without arguments in headers, among those called so far.
    unannotated: RwLock<HashSet<Cow<'static, str>>>,
    /// Cancels calls that outlive the server.
    end: CancellationToken,
}

/// A call as the handler takes it.
struct Call {
    id: RequestId,
    params: CallToolRequestParams,
    meta: RequestMetaObject,
}

impl<H: Foresight + Clone> Endpoint<H> {
    /// Creates the endpoint of a handler, for requests that name one of these hosts.
    pub(super) fn new(
        handler: H,
        rmcp: StreamableHttpService<H, Bounded>,
        sessions: Arc<Bounded>,
        hosts: Vec<String>,
        streams: Streams,
        end: CancellationToken,
    ) -> Self {
        let (client, unannotated) = (OnceLock::new(), RwLock::default());
        Self {
            handler,
            rmcp,
            sessions,
            hosts,
            streams,
            client,
            unannotated,
            end,
        }
    }

    /// Serves a request.
    pub(super) async fn serve(&self, request: Request) -> Response {
        let Some(head) = Head::read(&request, &self.hosts, &self.sessions) else {
            return self.pass_on(request).await;
        };
        let (parts, body) = request.into_parts();
        // Complete and within the limits, because it was read before.
        let Ok(body) = to_bytes(body, usize::MAX).await else {
            return Refusal::new(StatusCode::BAD_REQUEST, "the body broke off").into_response();
        };
        let Some(call) = self.plain(&body, &head, &parts) else {
            return self.pass_on(Request::from_parts(parts, body.into())).await;
        };
        match head {
            Head::Alone(_) => self.call(call, parts).await,
            Head::InSession(session) => match self.begin(&session, &call.id).await {
                Some((begun, client)) => self.call_in(begun, client, call, parts).await,
                None => self.pass_on(Request::from_parts(parts, body.into())).await,
            },
        }
    }

    async fn pass_on(&self, request: Request) -> Response {
        // Boxed, so that calls on the fast path do not carry the size of this future.
        Box::pin(self.try_pass_on(request))
            .await
            .unwrap_or_else(IntoResponse::into_response)
    }

    /// Forwards a request to rmcp, adapted to its demands. The response is converted to a type that
    /// the client accepts.
    async fn try_pass_on(&self, request: Request) -> Result<Response, Refusal> {
        let (mut parts, body) = request.into_parts();
        // Complete and within the limits, because it was read before.
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let glance = Glance::read(&body);
        let forms = Forms::accepted(&parts.headers);
        demand_form(forms, &parts.method, &glance.method)?;
        parts.headers.insert(header::ACCEPT, BOTH);
        glance.align_name(&mut parts.headers, |name| self.handler.get_tool(name));
        let missing = glance.missing(&parts.headers);
        let session = parts
            .headers
            .get(SESSION_ID)
            .and_then(|id| id.to_str().ok());
        let session: Option<SessionId> = session.map(Into::into);
        let begins = session.is_none() && glance.method == INITIALIZE;
        let listens = glance.method == LISTEN;
        let stream = match parts.extensions.get::<Arc<Principal>>() {
            Some(caller) if listens || parts.method == Method::GET => {
                Some(self.streams.begin(caller).await?)
            }
            _ => None,
        };
        if parts.method != Method::DELETE {
            self.sessions
                .prepare(session.as_ref(), begins)
                .await
                .map_err(|_| full())?;
        }
        // Nothing precedes a list in its stream, so it can be sent as JSON and compressed.
        let is_list = session.is_some()
            && forms == Forms::Both
            && LISTS.contains(&&*glance.method)
            && wants_gzip(&parts.headers);
        let is_post = parts.method == Method::POST;
        // All other methods change nothing, so their requests can be repeated.
        let is_repeatable = glance.method != CALL;
        drop(glance);
        let request = match listens {
            true => lasting(parts, body)?,
            false => Request::from_parts(parts, Body::from(body)),
        };
        let response = self.rmcp.handle(request).await.map(Body::new);
        let mut response = explained(response, &missing).await;
        if let Some(stream) = stream {
            response.extensions_mut().insert(Listening);
            response = holding(response, stream);
        }
        if !is_post || response.status() != StatusCode::OK {
            return Ok(response);
        }
        let mut response = match forms {
            Forms::Json | Forms::Both
                if is_of(&response, &EVENTS) && (is_list || forms == Forms::Json) =>
            {
                as_json(response, |id| self.sessions.decline(session.as_ref(), id)).await
            }
            Forms::Events if is_of(&response, &JSON) => as_events(response).await,
            _ => response,
        };
        let is_large = response.body().size_hint().lower() >= MIN_COUNTED_BYTES as u64;
        if is_large && is_repeatable {
            response.extensions_mut().insert(Repeatable);
        }
        Ok(response)
    }

    /// Parses a call that needs nothing but its response. Returns `None` for all other messages.
    fn plain(&self, body: &[u8], head: &Head, parts: &Parts) -> Option<Call> {
        let Message {
            id,
            params:
                Params {
                    name,
                    arguments,
                    meta,
                },
            ..
        } = Message::read(body, head)?;
        let mut params = CallToolRequestParams::new(name.to_owned());
        params.arguments = arguments;
        // Requests to a client of 2026-07-28 are part of the response.
        let is_silent = matches!(head, Head::Alone(_)) && meta.get_progress_token().is_none();
        let wants_no_more = is_silent || self.handler.is_quiet_read(&params, parts);
        (wants_no_more && self.is_unannotated(&params.name)).then_some(Call { id, params, meta })
    }

    /// Returns `true` if no argument of a tool must be sent in a header. Otherwise rmcp compares
    /// the two (SEP-2243).
    fn is_unannotated(&self, name: &str) -> bool {
        if self
            .unannotated
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
        let is_unannotated = schema.is_ok_and(|schema| !schema.contains(ANNOTATION));
        // Cached only under the tool's own name. Callers could otherwise fill the set with other
        // spellings.
        if is_unannotated && tool.name == name {
            self.unannotated
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(tool.name);
        }
        is_unannotated
    }

    /// Begins a call in a session. Returns `None` if the session cannot take it.
    async fn begin(
        &self,
        session: &Arc<Live>,
        id: &RequestId,
    ) -> Option<(Begun, Peer<RoleServer>)> {
        let client = session.client(|hello| self.nobody(Some(hello)))?;
        let begun = session.begin(id)?;
        self.sessions.keep(session).await.then_some((begun, client))
    }

    /// Creates a peer that is not connected to a client. Nothing but the response reaches the
    /// client.
    fn nobody(&self, hello: Option<InitializeRequestParams>) -> Peer<RoleServer> {
        // The service has no input and no output, so it ends as soon as it has started.
        let nowhere = (tokio::io::empty(), tokio::io::sink());
        serve_directly(self.handler.clone(), nowhere, hello)
            .peer()
            .clone()
    }

    async fn call(&self, call: Call, parts: Parts) -> Response {
        let client = self.client.get_or_init(|| self.nobody(None)).clone();
        let id = call.id.clone();
        let outcome = self.outcome(call, client, parts, self.end.clone()).await;
        let status = outcome
            .as_ref()
            .map_or_else(|error| status(error.code), |_| StatusCode::OK);
        respond(id, outcome, status)
    }

    async fn call_in(
        &self,
        begun: Begun,
        client: Peer<RoleServer>,
        call: Call,
        parts: Parts,
    ) -> Response {
        let id = call.id.clone();
        let mut outcome = self.outcome(call, client, parts, begun.end.clone()).await;
        if begun.end.is_cancelled() {
            // A cancelled call has no response, which a stream without events expresses.
            return ([(header::CONTENT_TYPE, EVENTS)], Body::empty()).into_response();
        }
        if let Ok(CallToolResponse::Complete(result)) = &mut outcome {
            // Only clients since 2026-07-28 know results that are incomplete.
            result.result_type.take_if(|it| it.is_complete());
        }
        respond(id, outcome, StatusCode::OK)
    }

    async fn outcome(
        &self,
        Call { id, params, meta }: Call,
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

fn respond(
    id: RequestId,
    outcome: Result<CallToolResponse, ErrorData>,
    status: StatusCode,
) -> Response {
    let written = match outcome {
        Ok(CallToolResponse::Complete(result)) => reply::message(&id, result),
        Ok(other) => serde_json::to_vec(&ServerJsonRpcMessage::response(other.into(), id)),
        Err(error) => serde_json::to_vec(&ServerJsonRpcMessage::error(error, Some(id))),
    };
    match written {
        Ok(body) => (status, [(header::CONTENT_TYPE, JSON)], body).into_response(),
        Err(_) => {
            let told = "the answer could not be written";
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, told).into_response()
        }
    }
}

/// Reduces a request that rmcp keeps for the lifetime of its stream to the parts in use.
fn lasting(parts: Parts, body: Bytes) -> Result<Request, Refusal> {
    let body = match serde_json::from_slice(&body) {
        Ok(mut message) => {
            if let ClientJsonRpcMessage::Request(request) = &message
                && !is_short(&request.id)
            {
                let told = format!("the `id` of a subscription has at most {MAX_ID_BYTES} bytes");
                return Err(Refusal::new(StatusCode::BAD_REQUEST, told));
            }
            trim(&mut message);
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
    let copied = LASTING.into_iter().filter_map(|name| {
        let value = HeaderValue::from_bytes(headers.get(&name)?.as_bytes()).ok()?;
        Some((name, value))
    });
    let headers: HeaderMap = copied.collect();
    if let Some(id) = extensions.get_mut::<request::RequestId>() {
        *id = id.detached();
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
fn demand_form(forms: Forms, method: &Method, message: &str) -> Result<(), Refusal> {
    let told = match forms {
        Forms::Neither if matches!(*method, Method::GET | Method::POST) => {
            "answers are `application/json` or `text/event-stream`, and the header `Accept` has neither; \
             send both, or `*/*`"
        }
        Forms::Json if *method == Method::GET => {
            "what GET gets here is a stream of events; send `Accept: text/event-stream`"
        }
        Forms::Json if message == LISTEN => {
            "a subscription is a stream of events; send `Accept: application/json, text/event-stream`"
        }
        _ => return Ok(()),
    };
    Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, told).invalid())
}

/// Returns `true` if a client accepts gzip.
fn wants_gzip(headers: &HeaderMap) -> bool {
    let encodings = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok());
    encodings.is_some_and(takes_gzip)
}

/// Returns the status that the protocol of 2026-07-28 demands for an error. Most errors are sent
/// with 200.
fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::UNSUPPORTED_PROTOCOL_VERSION
        | ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY
        | ErrorCode::HEADER_MISMATCH => StatusCode::BAD_REQUEST,
        ErrorCode::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    }
}

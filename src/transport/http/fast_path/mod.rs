//! The fast path: calls that go directly to the handler instead of through rmcp.
//!
//! For each message rmcp starts a service, or wakes that of the session, with tasks and channels, so
//! that client and server can talk while the message is processed. That takes as long as the call
//! itself, and a call that needs only its response has no use for it.
//!
//! **Invariant:** a request is taken only if rmcp would answer it with the same message. What
//! [`request`] does not recognise as valid beyond doubt, and each call that could need more than its
//! response ([`DirectCallHandler`]), goes to rmcp as it came.
//!
//! **Benchmark:** `cargo bench --bench load` measures whole calls over HTTP (`call_path` has no
//! transport). Reads in a session (2025-11-25) take 0.61 to 0.64 of the processor time that they
//! take through rmcp's session, and 213,000 instead of 340,000 instructions; see
//! `benchmarks/README.md`.
//!
//! **Differential tests:** `tests/it/fast_path.rs` sends each call of 2026-07-28 on both paths and
//! compares the responses. `tests/it/session_calls.rs` does so for calls in sessions, and compares
//! the audit entries.

mod handler;
mod request;

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header, request::Parts};
use rmcp::{
    ErrorData, Peer, RoleServer,
    model::{
        CallToolRequestParams, CallToolResponse, ErrorCode, InitializeRequestParams, RequestId,
        RequestMetaObject, ServerJsonRpcMessage,
    },
    service::{RequestContext, serve_directly},
};
use tokio_util::sync::CancellationToken;

pub use self::handler::DirectCallHandler;
pub(super) use self::request::TOOLS_CALL;

use self::request::{FastPathHead, FastPathMessage, FastPathParams};
use super::{
    accept::{EVENT_STREAM, JSON},
    error_response::ErrorResponse,
    sessions::{ActiveSession, InFlightCall, LimitedSessionManager},
};
use crate::mcp::reply::{self, StructuredForm};

/// Keyword in a schema for an argument that must also be sent in a header.
const HEADER_ANNOTATION: &str = "x-mcp-header";

/// Calls of a handler without rmcp.
pub(super) struct FastPath<H> {
    handler: H,
    sessions: Arc<LimitedSessionManager>,
    /// Host names of this server.
    hosts: Vec<String>,
    /// Peer for calls without a session. Nothing but the response reaches the client.
    sessionless_peer: OnceLock<Peer<RoleServer>>,
    /// Tools without arguments in headers, among those called so far.
    unannotated_tools: RwLock<HashSet<Cow<'static, str>>>,
    /// Cancels calls that outlive the server.
    end: CancellationToken,
}

/// Result of offering a request to the fast path.
pub(super) enum FastPathOutcome {
    /// The request was taken.
    Response(Response),
    /// The request, as it came, for rmcp.
    NotTaken(Request),
}

/// A call as the handler takes it.
struct DirectCall {
    id: RequestId,
    params: CallToolRequestParams,
    meta: RequestMetaObject,
}

impl<H: DirectCallHandler + Clone> FastPath<H> {
    /// Creates the fast path to a handler, for requests that name one of these hosts.
    pub(super) fn new(
        handler: H,
        sessions: Arc<LimitedSessionManager>,
        hosts: Vec<String>,
        end: CancellationToken,
    ) -> Self {
        Self {
            handler,
            sessions,
            hosts,
            sessionless_peer: OnceLock::new(),
            unannotated_tools: RwLock::default(),
            end,
        }
    }

    /// Serves a request if it qualifies.
    pub(super) async fn serve(&self, request: Request) -> FastPathOutcome {
        let Some(head) = FastPathHead::parse(&request, &self.hosts, &self.sessions) else {
            return FastPathOutcome::NotTaken(request);
        };
        let (parts, body) = request.into_parts();
        // Complete and within the limits, because it was read before.
        let Ok(body) = to_bytes(body, usize::MAX).await else {
            let error = ErrorResponse::new(StatusCode::BAD_REQUEST, "the body broke off");
            return FastPathOutcome::Response(error.into_response());
        };
        let Some(call) = self.read_direct_call(&body, &head, &parts) else {
            return FastPathOutcome::NotTaken(Request::from_parts(parts, body.into()));
        };
        let response = match head {
            FastPathHead::Sessionless(_) => self.call_without_session(call, parts).await,
            FastPathHead::InSession(session) => match self.begin_call(&session, &call.id).await {
                Some((begun, client)) => self.call_in_session(begun, client, call, parts).await,
                None => return FastPathOutcome::NotTaken(Request::from_parts(parts, body.into())),
            },
        };
        FastPathOutcome::Response(response)
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
        // `build_response` writes the result.
        context.extensions.insert(StructuredForm::Text);
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

//! Plain calls, which is what nearly all requests of clients since 2026-07-28 are: from the wire to the
//! handler, and back, without a detour.
//!
//! For each message rmcp starts a service of its own, with tasks and channels, so that client and server may
//! go on talking while it is answered. That takes as long as the call itself, and a call that wants nothing
//! but its answer has no use for it. Only what is beyond doubt goes this way: whatever is unusual in a head
//! or a message goes to rmcp as it came, which knows what is allowed and says what is wrong.

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{OnceLock, PoisonError, RwLock},
};

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use rmcp::{
    ErrorData, Peer, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, ErrorCode, JsonObject, ProtocolVersion, RequestId,
        RequestMetaObject, ServerJsonRpcMessage,
    },
    service::{RequestContext, serve_directly},
    transport::streamable_http_server::{StreamableHttpService, session::SessionManager},
};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::refusal::Refusal;
use crate::reply;

/// The one revision whose calls can be plain.
const VERSION: ProtocolVersion = ProtocolVersion::V_2026_07_28;
const CALL: &str = "tools/call";

const MCP_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");

/// What a schema says of an argument that is to stand in the head, too.
const ANNOTATION: &str = "x-mcp-header";

/// Where a call says which revision it is made in.
const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// Where it says which client makes it.
const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";

/// The MCP endpoint: one handler, with two ways to it.
pub(super) struct Endpoint<H, M> {
    handler: H,
    rmcp: StreamableHttpService<H, M>,
    /// Whom a client may take this server for.
    hosts: Vec<String>,
    /// Stands for the client of a plain call, whom nothing can be told but the answer.
    client: OnceLock<Peer<RoleServer>>,
    /// The tools whose arguments are said in no header, as far as they have been called.
    unannotated: RwLock<HashSet<Cow<'static, str>>>,
    /// Ends calls that outlive the server.
    end: CancellationToken,
}

/// A message that is nothing but a call. What has any other field is none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message<'a> {
    jsonrpc: &'a str,
    id: RequestId,
    method: &'a str,
    params: Params<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params<'a> {
    name: &'a str,
    arguments: Option<JsonObject>,
    #[serde(rename = "_meta")]
    meta: RequestMetaObject,
}

impl<H: ServerHandler + Clone, M: SessionManager> Endpoint<H, M> {
    /// The endpoint of a handler, for requests that name one of these hosts.
    pub(super) fn new(
        handler: H,
        rmcp: StreamableHttpService<H, M>,
        hosts: Vec<String>,
        end: CancellationToken,
    ) -> Self {
        let (client, unannotated) = (OnceLock::new(), RwLock::default());
        Self { handler, rmcp, hosts, client, unannotated, end }
    }

    /// Whether no argument of a tool is to stand in the head, too, where rmcp would compare the two (SEP-2243).
    fn is_unannotated(&self, name: &str) -> bool {
        if self.unannotated.read().unwrap_or_else(PoisonError::into_inner).contains(name) {
            return true;
        }
        let Some(tool) = self.handler.get_tool(name) else { return false };
        let schema = serde_json::to_string(&tool.input_schema);
        let is_unannotated = schema.is_ok_and(|schema| !schema.contains(ANNOTATION));
        // By its own name only, or callers could fill the set with other spellings.
        if is_unannotated && tool.name == name {
            self.unannotated.write().unwrap_or_else(PoisonError::into_inner).insert(tool.name);
        }
        is_unannotated
    }

    fn client(&self) -> Peer<RoleServer> {
        let begun = || {
            // Nothing comes in and nothing goes out, so it is over as soon as it has begun.
            let nobody = (tokio::io::empty(), tokio::io::sink());
            serve_directly(self.handler.clone(), nobody, None).peer().clone()
        };
        self.client.get_or_init(begun).clone()
    }

    /// A request's answer.
    pub(super) async fn serve(&self, request: Request) -> Response {
        let Some(name) = self.plain(request.method(), request.headers()).cloned() else {
            return self.pass_on(request).await;
        };
        let (parts, body) = request.into_parts();
        // Read and bounded before, so that it is all there.
        let Ok(body) = to_bytes(body, usize::MAX).await else {
            return Refusal::new(StatusCode::BAD_REQUEST, "the body broke off").into_response();
        };
        match Message::read(&body, &name) {
            Some(message) if self.is_unannotated(message.params.name) => {
                self.call(message, parts).await
            }
            _ => self.pass_on(Request::from_parts(parts, body.into())).await,
        }
    }

    /// The tool that a plain call is said to be about in its head; none where it takes more than a glance to
    /// see that the head is right.
    fn plain<'a>(&self, method: &Method, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let is_plain = method == Method::POST
            && !headers.contains_key(header::ORIGIN)
            && self.is_ours(only(headers, &header::HOST)?.to_str().ok()?)
            && only(headers, &header::CONTENT_TYPE)? == "application/json"
            && takes_both(only(headers, &header::ACCEPT)?.to_str().ok()?)
            && only(headers, &MCP_VERSION)? == VERSION.as_str()
            && only(headers, &MCP_METHOD)? == CALL;
        only(headers, &MCP_NAME).filter(|_| is_plain)
    }

    /// Whether a host is one of ours by its name, at any port.
    fn is_ours(&self, host: &str) -> bool {
        let (name, port) = host.rsplit_once(':').unwrap_or((host, "0"));
        let is_port = (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        let is_name = !name.is_empty() && name.bytes().all(fits);
        is_port && is_name && self.hosts.iter().any(|ours| ours == name)
    }

    async fn pass_on(&self, request: Request) -> Response {
        // In a box, so that plain calls need no room for it.
        Box::pin(self.rmcp.handle(request)).await.map(Body::new)
    }

    async fn call(&self, message: Message<'_>, parts: Parts) -> Response {
        let Message { id, params: Params { name, arguments, meta }, .. } = message;
        let mut context = RequestContext::new(id.clone(), self.client());
        context.ct = self.end.clone();
        context.meta = meta;
        context.extensions.insert(parts);
        let mut params = CallToolRequestParams::new(name.to_owned());
        params.arguments = arguments;
        respond(id, self.handler.call_tool(params, context).await)
    }
}

impl<'a> Message<'a> {
    /// Reads a plain call of the tool that its head names.
    fn read(body: &'a Bytes, name: &HeaderValue) -> Option<Self> {
        let message: Self = serde_json::from_str(str::from_utf8(body).ok()?).ok()?;
        let Params { name: called, meta, .. } = &message.params;
        let is_plain = message.jsonrpc == "2.0"
            && message.method == CALL
            && name == called
            && meta.get(PROTOCOL_VERSION).is_some_and(|version| version == VERSION.as_str())
            && meta.get(CLIENT_INFO).is_some_and(|client| client["name"].is_string())
            && meta.client_capabilities().is_some()
            // Who wants to hear how far it is has to be told along the way.
            && meta.get_progress_token().is_none();
        is_plain.then_some(message)
    }
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether a client takes what it has to: an answer, and a stream of events.
fn takes_both(accept: &str) -> bool {
    let takes = |kind: &str| accept.split(',').any(|part| part.trim() == kind);
    takes("application/json") && takes("text/event-stream")
}

fn respond(id: RequestId, outcome: Result<CallToolResponse, ErrorData>) -> Response {
    let ok = StatusCode::OK;
    let (status, written) = match outcome {
        Ok(CallToolResponse::Complete(result)) => (ok, reply::message(&id, result)),
        Ok(other) => (ok, serde_json::to_vec(&ServerJsonRpcMessage::response(other.into(), id))),
        Err(error) => {
            (status(error.code), serde_json::to_vec(&ServerJsonRpcMessage::error(error, Some(id))))
        }
    };
    match written {
        Ok(body) => {
            let json = HeaderValue::from_static("application/json");
            (status, [(header::CONTENT_TYPE, json)], body).into_response()
        }
        Err(_) => {
            let told = "the answer could not be written";
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, told).into_response()
        }
    }
}

/// What the protocol says of errors: most are answers like any other.
fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::UNSUPPORTED_PROTOCOL_VERSION
        | ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY
        | ErrorCode::HEADER_MISMATCH => StatusCode::BAD_REQUEST,
        ErrorCode::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    }
}

//! Spans: one per MCP request, and one per attempt at an upstream within it.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use opentelemetry::{
    Context, KeyValue,
    context::{FutureExt, WithContext},
    trace::{
        SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
        Tracer,
    },
};
use portkey_operation::Upstream;

use super::export;
use crate::observability::request::RequestInfo;

/// Header that names the parent span, by W3C Trace Context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The remote span that a request belongs to, if it names one.
#[derive(Clone, Debug, Default)]
pub struct TraceParent(Option<SpanContext>);

impl TraceParent {
    /// Reads the trace parent from the metadata of the message, or else from the headers of the
    /// HTTP request.
    pub fn from_headers(meta: Option<&str>, headers: Option<&HeaderMap>) -> Self {
        let header = || {
            headers?
                .get(TRACEPARENT)?
                .to_str()
                .ok()
                .and_then(parse_traceparent)
        };
        Self(meta.and_then(parse_traceparent).or_else(header))
    }
}

/// Parses `00-<trace id>-<span id>-<flags>`. Of later versions, only these common parts are read.
fn parse_traceparent(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let mut part = |length: usize| {
        let fits = |part: &&str| {
            part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        parts.next().filter(fits)
    };
    let version = part(2)?;
    let trace = part(32)?;
    let span = part(16)?;
    let flags = part(2)?;
    if version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED,
        true,
        // The trace state is for the systems that called this server, and is not passed to
        // upstreams.
        TraceState::NONE,
    );
    context.is_valid().then_some(context)
}

/// A span, which ends when its last clone is dropped; empty if nothing is exported.
#[derive(Clone, Debug)]
pub struct Span(Option<Context>);

impl Span {
    /// Starts the span of an MCP request.
    pub(crate) fn start_request(request_info: &RequestInfo, method: &'static str) -> Self {
        let parent = match &request_info.trace_parent.0 {
            Some(parent) => Context::new().with_remote_span_context(parent.clone()),
            None => Context::new(),
        };
        let attributes = || {
            vec![
                KeyValue::new("mcp.method.name", method),
                KeyValue::new("mcp.protocol.version", request_info.protocol),
                KeyValue::new(
                    "network.transport",
                    request_info.transport.network_transport(),
                ),
                KeyValue::new("portkey_mcp.request_id", request_info.id.to_string()),
            ]
        };
        Self::start(method.into(), SpanKind::Server, &parent, attributes)
    }

    /// Starts the span of an attempt at an upstream, as a child of the current request's span.
    pub(crate) fn start_attempt(upstream: Upstream, method: &Method) -> Self {
        let attributes = || {
            vec![
                KeyValue::new("http.request.method", method.to_string()),
                KeyValue::new("peer.service", upstream.name()),
            ]
        };
        let name = format!("{method} {}", upstream.name());
        Self::start(name, SpanKind::Client, &Context::current(), attributes)
    }

    fn start(
        name: String,
        kind: SpanKind,
        parent: &Context,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Self {
        Self(export::tracer().map(|tracer| {
            let span = tracer
                .span_builder(name)
                .with_kind(kind)
                .with_attributes(attributes());
            parent.with_span(span.start_with_context(tracer, parent))
        }))
    }

    /// Names the tool that the request calls.
    pub(crate) fn set_tool(&self, name: &'static str) {
        if let Some(context) = &self.0 {
            context.span().update_name(format!("tools/call {name}"));
            context
                .span()
                .set_attribute(KeyValue::new("gen_ai.tool.name", name));
        }
    }

    /// Marks the span as failed, with a value for `error.type`.
    pub(crate) fn set_error(&self, kind: &'static str) {
        if let Some(context) = &self.0 {
            context
                .span()
                .set_attribute(KeyValue::new("error.type", kind));
            context.span().set_status(Status::error(""));
        }
    }

    /// Sets the HTTP status of the upstream's response.
    pub(crate) fn set_status(&self, status: StatusCode) {
        if let Some(context) = &self.0 {
            let code = i64::from(status.as_u16());
            context
                .span()
                .set_attribute(KeyValue::new("http.response.status_code", code));
            if status.is_client_error() || status.is_server_error() {
                context.span().set_status(Status::error(""));
            }
        }
    }

    /// Adds the header that makes this span the parent of the receiver's span.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        let Some(context) = &self.0 else { return };
        let span = context.span();
        let it = span.span_context();
        let flags = it.trace_flags().to_u8();
        let text = format!("00-{}-{}-{flags:02x}", it.trace_id(), it.span_id());
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(TRACEPARENT, value);
        }
    }

    /// Makes this span the current one while the future runs.
    pub(crate) fn instrument<F: Future>(&self, future: F) -> WithContext<F> {
        future.with_context(self.0.clone().unwrap_or_default())
    }
}

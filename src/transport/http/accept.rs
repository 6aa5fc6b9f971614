//! The response types that a client accepts (RFC 9110 §12.5.1), and conversion between them.
//!
//! rmcp serves only clients that name both media types, so requests are forwarded to it as if they
//! did.

use axum::{
    body::{Body, to_bytes},
    response::Response,
};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rmcp::model::RequestId;
use serde::{Deserialize, de::IgnoredAny};

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
/// The `Accept` header that rmcp requires.
pub(super) const JSON_AND_EVENTS: HeaderValue =
    HeaderValue::from_static("application/json, text/event-stream");

/// Response types that a client accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AcceptedTypes {
    /// Either type, as the server chooses.
    Both,
    /// JSON only.
    Json,
    /// A stream of events only.
    Events,
    /// Neither of the two.
    Neither,
}

impl AcceptedTypes {
    /// Parses the `Accept` headers. Without a media range in them, everything is accepted.
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).iter();
        let values = values.filter_map(|value| value.to_str().ok());
        let ranges: Vec<_> = values
            .flat_map(|value| split_unquoted(value, ','))
            .filter_map(parse_range)
            .collect();
        if ranges.is_empty() {
            return Self::Both;
        }
        let accepts = |kind, subtype| accepts(&ranges, kind, subtype);
        match (
            accepts("application", "json"),
            accepts("text", "event-stream"),
        ) {
            (true, true) => Self::Both,
            (true, false) => Self::Json,
            (false, true) => Self::Events,
            (false, false) => Self::Neither,
        }
    }
}

/// A media range, and whether its weight excludes it.
#[derive(Clone, Copy)]
struct MediaRange<'a> {
    kind: &'a str,
    subtype: &'a str,
    is_excluded: bool,
}

fn parse_range(entry: &str) -> Option<MediaRange<'_>> {
    let mut parts = split_unquoted(entry, ';').map(str::trim);
    let essence = parts.next().filter(|essence| !essence.is_empty())?;
    // Some Java clients write `*` for `*/*`.
    let (kind, subtype) = essence.split_once('/').unwrap_or((essence, "*"));
    let is_excluded = parts.any(|parameter| {
        let weight = parameter
            .split_once('=')
            .filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
        weight.is_some_and(|(_, weight)| weight.trim().parse() == Ok(0_f32))
    });
    Some(MediaRange {
        kind: kind.trim(),
        subtype: subtype.trim(),
        is_excluded,
    })
}

/// Returns `true` unless the most specific range that matches a type excludes it.
fn accepts(ranges: &[MediaRange<'_>], kind: &str, subtype: &str) -> bool {
    let specificity = |range: &MediaRange<'_>| match (range.kind, range.subtype) {
        ("*", "*") => Some(0),
        (one, "*") if one.eq_ignore_ascii_case(kind) => Some(1),
        (one, other) if one.eq_ignore_ascii_case(kind) && other.eq_ignore_ascii_case(subtype) => {
            Some(2)
        }
        _ => None,
    };
    let fitting = ranges
        .iter()
        .filter_map(|range| Some((specificity(range)?, !range.is_excluded)));
    // Of two equally specific ranges, the one that accepts counts.
    fitting.max().is_some_and(|(_, accepts)| accepts)
}

/// Splits a text at a character outside of quoted strings.
pub(super) fn split_unquoted(text: &str, at: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    text.split(move |c| {
        if std::mem::take(&mut is_escaped) {
            return false;
        }
        match c {
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => {}
        }
        !is_quoted && c == at
    })
}

/// Returns `true` if a response has this media type.
pub(super) fn has_media_type(response: &Response, media_type: &HeaderValue) -> bool {
    let kind = response
        .headers()
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(media_type.as_bytes()))
}

/// Kind of a message in a stream of events.
pub(super) enum StreamMessage {
    /// The response that the stream was opened for.
    Response,
    /// A request to the client, which it cannot answer if it does not read the stream.
    Request(RequestId),
    /// A notification, or no message at all.
    Other,
}

impl StreamMessage {
    fn parse(data: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Message {
            id: Option<RequestId>,
            method: Option<IgnoredAny>,
        }
        match serde_json::from_slice(data) {
            Ok(Message {
                id: Some(id),
                method: Some(_),
            }) => Self::Request(id),
            Ok(Message { method: None, .. }) => Self::Response,
            _ => Self::Other,
        }
    }
}

/// Reads a stream of events, and returns its response as JSON. `decline` is called for each request
/// of the server on the way.
///
/// A stream without a response becomes 202 without a body, because the client has cancelled its
/// request.
pub(super) async fn into_json<F: Future<Output = ()>>(
    response: Response,
    decline: impl Fn(RequestId) -> F,
) -> Response {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove("x-accel-buffering");
    let mut chunks = body.into_data_stream();
    let mut read = Vec::new();
    while let Some(Ok(chunk)) = chunks.next().await {
        read.extend_from_slice(&chunk);
        while let Some(data) = take_event(&mut read) {
            match StreamMessage::parse(&data) {
                StreamMessage::Response => {
                    parts.headers.insert(header::CONTENT_TYPE, JSON);
                    return Response::from_parts(parts, data.into());
                }
                StreamMessage::Request(id) => decline(id).await,
                StreamMessage::Other => {}
            }
        }
    }
    parts.status = StatusCode::ACCEPTED;
    parts.headers.remove(header::CONTENT_TYPE);
    Response::from_parts(parts, Body::empty())
}

/// Takes the first complete event out of the buffer, and returns its data. rmcp writes each message
/// on one line.
fn take_event(read: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = read.windows(2).position(|two| two == b"\n\n")?;
    let event: Vec<u8> = read.drain(..end + 2).collect();
    let data = event
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"data:"));
    Some(data.unwrap_or_default().trim_ascii().to_vec())
}

/// Wraps a JSON response into a stream of one event.
pub(super) async fn into_events(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    // The response is in memory as a whole.
    let json = to_bytes(body, usize::MAX).await.unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, EVENT_STREAM);
    let event = [b"data: ".as_slice(), &json, b"\n\n"].concat();
    Response::from_parts(parts, Bytes::from(event).into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    struct Case {
        name: &'static str,
        accept: &'static [&'static str],
        forms: AcceptedTypes,
    }

    #[test]
    fn accept_header_selects_the_response_forms() {
        let case = |name, accept, forms| Case {
            name,
            accept,
            forms,
        };
        for Case {
            name,
            accept,
            forms,
        } in [
            case("no header", &[], AcceptedTypes::Both),
            case("an empty header", &[""], AcceptedTypes::Both),
            case("everything", &["*/*"], AcceptedTypes::Both),
            case(
                "everything, as Java writes it",
                &["text/html, *; q=.2, */*; q=.2"],
                AcceptedTypes::Both,
            ),
            case(
                "both",
                &["application/json, text/event-stream"],
                AcceptedTypes::Both,
            ),
            case(
                "both in two lines",
                &["application/json", "text/event-stream"],
                AcceptedTypes::Both,
            ),
            case(
                "both in capitals",
                &["Application/JSON,TEXT/Event-Stream"],
                AcceptedTypes::Both,
            ),
            case(
                "both without blanks and weighted",
                &["application/json;q=0.1,text/*;q=1"],
                AcceptedTypes::Both,
            ),
            case(
                "a browser",
                &["text/html,application/xml;q=0.9,*/*;q=0.8"],
                AcceptedTypes::Both,
            ),
            case("JSON alone", &["application/json"], AcceptedTypes::Json),
            case(
                "JSON with a parameter",
                &["application/json; charset=utf-8"],
                AcceptedTypes::Json,
            ),
            case(
                "a parameter with a comma",
                &["application/json;a=\"b,c;q=0\""],
                AcceptedTypes::Json,
            ),
            case("any application", &["application/*"], AcceptedTypes::Json),
            case(
                "events alone",
                &["text/event-stream"],
                AcceptedTypes::Events,
            ),
            case("any text", &["text/*; q=0.5"], AcceptedTypes::Events),
            case(
                "events excluded",
                &["application/json, text/event-stream;q=0"],
                AcceptedTypes::Json,
            ),
            case(
                "JSON excluded from everything",
                &["*/*, application/json; q=0.0"],
                AcceptedTypes::Events,
            ),
            case(
                "one of a kind",
                &["application/*;q=0, application/json"],
                AcceptedTypes::Json,
            ),
            case(
                "a weight that is none",
                &["application/json;q=abc"],
                AcceptedTypes::Json,
            ),
            case("something else", &["text/html"], AcceptedTypes::Neither),
            case("nothing", &["*/*;q=0"], AcceptedTypes::Neither),
        ] {
            let values = accept
                .iter()
                .map(|value| (header::ACCEPT, value.parse().unwrap()));
            assert_eq!(
                AcceptedTypes::from_headers(&values.collect()),
                forms,
                "{name}"
            );
        }
    }

    #[tokio::test]
    async fn response_is_read_from_a_stream() {
        let events = ": ping\n\nid: 0\nretry: 3000\ndata:\n\ndata: {\"method\":\"a\"}\n\n\
                      data: {\"id\":7,\"method\":\"b\"}\n\ndata: {\"id\":1,\"result\":{}}\n\n";
        let asked = std::cell::RefCell::new(Vec::new());
        let response = Response::new(Body::from(events));
        let response = into_json(response, async |id| asked.borrow_mut().push(id)).await;
        assert_eq!(asked.take(), [RequestId::Number(7)]);
        assert_eq!(response.headers()[header::CONTENT_TYPE], JSON);
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(body, "{\"id\":1,\"result\":{}}");
    }

    #[tokio::test]
    async fn stream_without_a_response_is_accepted() {
        let response = into_json(Response::new(Body::empty()), async |_| {}).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
    }
}

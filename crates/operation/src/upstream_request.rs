//! Builds upstream requests from validated arguments. Nothing here does I/O.
//!
//! `{name}` in the path takes the argument of that name. Of the remaining arguments, GET and DELETE
//! send all in the query, and POST, PUT and PATCH send all in the body. Declarations make
//! exceptions with [`Operation::with_query_arguments`], [`Operation::with_header_arguments`],
//! [`Operation::with_body`], [`Operation::with_bare_body`] and
//! [`Operation::with_repeated_arguments`].

use http::{HeaderMap, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{
    ApiBase, BodyKind, Effect, InputError, JsonMap, Operation, PendingPreview, header,
    path_segment, preview::PreviewSpec,
};

/// A request to an upstream, complete except for host and key.
#[derive(Clone, Debug)]
pub struct UpstreamRequest {
    /// The name of the operation.
    pub operation: &'static str,
    /// The HTTP method.
    pub method: Method,
    /// The base URL.
    pub base: ApiBase,
    /// Path and query, encoded.
    pub target: String,
    /// The headers that carry arguments.
    pub headers: HeaderMap,
    /// The JSON body, if there is one.
    pub body: Option<Value>,
    /// True if the request may be sent again after its answer was lost.
    pub is_retryable: bool,
    /// True if the request changes anything.
    pub is_write: bool,
    /// The preview to complete with the answer. The request is then the GET that the preview needs,
    /// and there is no other request.
    pub preview: Option<PendingPreview>,
}

/// The maximum length of path and query, encoded, in bytes. HTTP clients and servers accept up to
/// 65,534 bytes of a whole address.
pub(super) const MAX_TARGET_BYTES: usize = 64_000;

const QUERY_ENCODE_SET: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Builds the request of validated arguments.
///
/// # Errors
/// Returns an error if a value cannot be a path segment or a header, or if path and query get too
/// long.
pub(super) fn build_request(
    operation: &Operation,
    mut args: JsonMap,
) -> Result<UpstreamRequest, InputError> {
    let preview = operation
        .preview
        .filter(|_| PreviewSpec::take_flag(&mut args));
    let mut target = String::with_capacity(operation.path.len() + 64);
    for (i, piece) in operation.path.split(['{', '}']).enumerate() {
        if i % 2 == 0 {
            target.push_str(piece);
        } else {
            let value = args
                .shift_remove(piece)
                .as_ref()
                .and_then(flatten_value)
                .unwrap_or_default();
            path_segment::push(&mut target, &value).map_err(|why| InputError::new(piece, why))?;
        }
    }
    let mut headers = HeaderMap::new();
    for (argument, name) in operation.headers {
        if let Some(value) = args
            .shift_remove(*argument)
            .as_ref()
            .and_then(flatten_value)
        {
            header::insert(&mut headers, name, &value)
                .map_err(|why| InputError::new(argument, why))?;
        }
    }
    let bodiless = operation.body == BodyKind::None;
    let mut longest = LongestArgument::default();
    let mut mark = '?';
    args.retain(|name, value| {
        let in_query = bodiless || operation.query.contains(&name.as_str());
        let values = match &*value {
            Value::Array(items) if operation.repeated_arguments.contains(&name.as_str()) => items,
            one => std::slice::from_ref(one),
        };
        let before = target.len();
        for value in values.iter().filter(|_| in_query).filter_map(flatten_value) {
            target.push(mark);
            mark = '&';
            target.extend(utf8_percent_encode(name, QUERY_ENCODE_SET));
            target.push('=');
            target.extend(utf8_percent_encode(&value, QUERY_ENCODE_SET));
        }
        longest.record(name, target.len() - before);
        !in_query
    });
    if target.len() > MAX_TARGET_BYTES {
        return Err(longest.into_error(target.len()));
    }
    let base = operation.base;
    if let Some(PreviewSpec {
        read_path: reads,
        merge,
    }) = preview
    {
        return Ok(UpstreamRequest {
            operation: operation.name,
            method: Method::GET,
            base,
            target: reads.to_owned(),
            headers,
            body: None,
            is_retryable: true,
            is_write: false,
            preview: Some(PendingPreview {
                body: Value::Object(args),
                merge,
            }),
        });
    }
    Ok(UpstreamRequest {
        operation: operation.name,
        method: operation.method.clone(),
        base,
        target,
        headers,
        body: match operation.body {
            BodyKind::None => None,
            BodyKind::Arguments => Some(Value::Object(args)),
            BodyKind::Bare(name) => args.shift_remove(name),
        },
        is_retryable: operation.is_retryable(),
        is_write: operation.effect() != Effect::Read,
        preview: None,
    })
}

/// The argument that takes up most of a query, for the error about its length.
#[derive(Default)]
struct LongestArgument {
    name: String,
    bytes: usize,
}

impl LongestArgument {
    fn record(&mut self, name: &str, bytes: usize) {
        // A shorter argument is never the cause, so its name is not copied.
        if bytes > self.bytes.max(256) {
            *self = Self {
                name: name.to_owned(),
                bytes,
            };
        }
    }

    fn into_error(self, target: usize) -> InputError {
        let what = format!(
            "the arguments travel in the address of the request, which would be {target} bytes long, and \
             {MAX_TARGET_BYTES} fit; pass fewer or shorter values, in several calls if need be"
        );
        InputError::new(self.name, what)
    }
}

/// Formats a value for a URL or a header: lists joined by commas, objects as JSON, `null` not at
/// all.
pub(super) fn flatten_value(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => Some(
            items
                .iter()
                .filter_map(flatten_value)
                .collect::<Vec<_>>()
                .join(","),
        ),
        other => Some(other.to_string()),
    }
}

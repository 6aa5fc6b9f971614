//! Fuzzes the HTTP transport with anything that a client may send.
//!
//! The first byte is a set of flags. Bit 0 selects `--auth token` instead of no authentication. Bit
//! 1 sends the rest as raw bytes instead of parsing it as messages. Bit 2 adds a credential to
//! messages.
//!
//! Messages are separated by the byte 0x1e. Each consists of `METHOD target`, one line per header,
//! an empty line, and the body. A header value of `@` stands for the session of an earlier
//! response.
#![no_main]

use std::{pin::pin, time::Duration};

use axum::Router;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header, response::Parts,
};
use http_body_util::{BodyExt, Full};
use hyper::{client, server};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use libfuzzer_sys::fuzz_target;
use portkey_mcp_fuzz::{KEY, REQUEST_TIMEOUT, TOKEN, contains, router, run};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split},
    time::timeout,
};

const BY_TOKEN: u8 = 1;
const RAW: u8 = 2;
const CREDENTIAL: u8 = 4;

/// Longer than every timeout of the server: a response that has not come by then never comes.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(REQUEST_TIMEOUT.as_secs() * 10);

/// Size of the pipe between client and server, in bytes.
const PIPE_BYTES: usize = 16 << 10;

/// Maximum amount of a response that is read.
const MAX_FRAMES: usize = 64;
const MAX_RESPONSE_BYTES: usize = 64 << 10;

/// Headers of messages that are left to the HTTP client.
const FRAMING_HEADERS: [HeaderName; 6] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
];

fuzz_target!(|input: &[u8]| {
    let Some((&flags, rest)) = input.split_first() else {
        return;
    };
    run(async {
        let router = router(flags & BY_TOKEN != 0);
        if flags & RAW != 0 {
            send_raw(&router, rest).await;
        } else {
            send_messages(&router, rest, flags).await;
        }
    });
});

/// Connects to the routes, with the limits of the product.
fn connect(router: &Router) -> DuplexStream {
    let (near, far) = duplex(PIPE_BYTES);
    let service = TowerToHyperService::new(router.clone());
    let connection = server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(far), service);
    tokio::spawn(connection);
    near
}

/// Sends raw bytes. The server has to respond or to close the connection.
async fn send_raw(router: &Router, input: &[u8]) {
    let mut output = Vec::new();
    let mut closed = false;
    let (mut reader, mut writer) = split(connect(router));
    let writing = async {
        // The server may close the connection before the end of the input.
        _ = writer.write_all(input).await;
    };
    let reading = async {
        while output.len() < MAX_RESPONSE_BYTES {
            match timeout(RESPONSE_TIMEOUT, reader.read_buf(&mut output)).await {
                Ok(Ok(0) | Err(_)) => return closed = true,
                Ok(Ok(_)) => {}
                Err(_) => return,
            }
        }
    };
    // Open streams are kept alive forever.
    _ = timeout(RESPONSE_TIMEOUT * 2, async {
        tokio::join!(writing, reading)
    })
    .await;
    assert!(
        closed || !output.is_empty(),
        "neither a response nor a close"
    );
    assert!(
        output.is_empty() || output.starts_with(b"HTTP/1."),
        "the output is not an HTTP response"
    );
    check_secrets(&output, input);
}

/// Sends messages one after the other, each on a connection of its own.
async fn send_messages(router: &Router, input: &[u8], flags: u8) {
    let mut session = HeaderValue::from_static("none");
    for message in input.split(|byte| *byte == 0x1e).take(8) {
        let Some(mut request) = parse_message(message, &session) else {
            continue;
        };
        if flags & CREDENTIAL != 0 {
            let (name, value) = match flags & BY_TOKEN != 0 {
                true => (header::AUTHORIZATION, format!("Bearer {TOKEN}")),
                false => (
                    HeaderName::from_static("x-portkey-api-key"),
                    TOKEN.to_owned(),
                ),
            };
            request
                .headers_mut()
                .insert(name, value.try_into().expect("a header"));
        }
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let Some((head, body)) = exchange(router, request).await else {
            continue;
        };
        check_secrets(&body, input);
        for value in head.headers.values() {
            check_secrets(value.as_bytes(), input);
        }
        assert_ne!(head.status, StatusCode::INTERNAL_SERVER_ERROR);
        let is_error = head.status.is_client_error() || head.status.is_server_error();
        if is_error && path == "/mcp" && method != Method::HEAD {
            check_error_response(&head, &body);
        }
        if let Some(id) = head.headers.get("mcp-session-id") {
            session = id.clone();
        }
    }
}

/// Parses a message in the format above.
fn parse_message(message: &[u8], session: &HeaderValue) -> Option<Request<Full<Bytes>>> {
    let end = message.windows(2).position(|two| two == b"\n\n");
    let (head, body) = match end {
        Some(end) => (&message[..end], &message[end + 2..]),
        None => (message, &b""[..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let (method, target) = split_at_byte(lines.next()?, b' ')?;
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    for line in lines {
        let Some((name, value)) = split_at_byte(line, b':') else {
            continue;
        };
        let Ok(name) = HeaderName::from_bytes(name) else {
            continue;
        };
        let value = match value.trim_ascii() {
            b"@" => session.clone(),
            value => HeaderValue::from_bytes(value).ok()?,
        };
        if name == header::HOST {
            headers.insert(name, value);
        } else if !FRAMING_HEADERS.contains(&name) {
            headers.append(name, value);
        }
    }
    let method = Method::from_bytes(method)
        .ok()
        .filter(|method| *method != Method::CONNECT)?;
    let body = Full::new(Bytes::copy_from_slice(body));
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .body(body)
        .ok()?;
    *request.headers_mut() = headers;
    Some(request)
}

fn split_at_byte(line: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|byte| *byte == separator)?;
    Some((&line[..at], &line[at + 1..]))
}

/// Returns the response, as far as it comes; `None` if the server closes the connection instead.
async fn exchange(router: &Router, request: Request<Full<Bytes>>) -> Option<(Parts, Vec<u8>)> {
    let io = TokioIo::new(connect(router));
    let (mut sender, connection) = client::conn::http1::handshake(io)
        .await
        .expect("a handshake");
    tokio::spawn(connection);
    let response = timeout(RESPONSE_TIMEOUT, sender.send_request(request)).await;
    let response = match response.expect("neither a response nor a close") {
        Ok(response) => response,
        Err(error) => {
            assert!(!error.is_parse(), "the response is not HTTP: {error}");
            return None;
        }
    };
    let (head, body) = response.into_parts();
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    // A stream of notifications has no end. Its keep-alive follows the real clock, so that
    // keep-alives come without a pause once the paused clock is ahead.
    let whole = async {
        for _ in 0..MAX_FRAMES {
            let Some(Ok(frame)) = body.frame().await else {
                return;
            };
            bytes.extend(frame.into_data().unwrap_or_default());
        }
    };
    _ = timeout(REQUEST_TIMEOUT, whole).await;
    Some((head, bytes))
}

/// Checks that an error response is one that clients can display.
fn check_error_response(head: &Parts, body: &[u8]) {
    let shown = String::from_utf8_lossy(body);
    let media = head
        .headers
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes);
    assert_eq!(
        media,
        Some(&b"application/json"[..]),
        "{}: {shown}",
        head.status
    );
    let body: Value = serde_json::from_slice(body).expect("an error response is JSON");
    assert_eq!(body["jsonrpc"], "2.0", "{shown}");
    assert!(
        body["error"]["code"].is_i64() && body["error"]["message"].is_string(),
        "{shown}"
    );
}

/// Checks that the response contains nothing that only the server or the header knows.
fn check_secrets(output: &[u8], input: &[u8]) {
    for secret in [KEY, TOKEN] {
        let echoed = contains(input, secret);
        assert!(
            echoed || !contains(output, secret),
            "the output contains a secret"
        );
    }
}

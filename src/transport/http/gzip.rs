//! Compresses large JSON responses for clients that accept gzip (RFC 9110 §12.5.3).
//!
//! This is no layer, so that small responses cost one comparison of their size. Streams of events
//! are not compressed, because an event must not wait in a compressor.

use std::io::{self, Write};

use axum::{
    body::{Body, HttpBody, to_bytes},
    response::Response,
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, header};
use portkey_concurrency::worker_pool::{MAX_INLINE_BYTES, WorkerPool};

use super::accept::{JSON, has_media_type, split_unquoted};
/// Minimum size of a compressed response, in bytes. Smaller ones gain less than they cost.
const MIN_COMPRESSED_BYTES: u64 = 8 << 10;

/// Reduces the 167 KB of the list of tools to 27 KB. The highest level achieves no more.
const COMPRESSION_LEVEL: Compression = Compression::new(6);

/// Compresses a response if it is large and its client accepts gzip. `encodings` is
/// `Accept-Encoding`.
pub(super) async fn compress(response: Response, encodings: Option<&HeaderValue>) -> Response {
    let is_large = response
        .body()
        .size_hint()
        .exact()
        .is_some_and(|size| size >= MIN_COMPRESSED_BYTES);
    if !is_large || !has_media_type(&response, &JSON) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts
        .headers
        .insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let accepts_gzip = encodings
        .and_then(|value| value.to_str().ok())
        .is_some_and(accepts_gzip);
    if !accepts_gzip || parts.headers.contains_key(header::CONTENT_ENCODING) {
        return Response::from_parts(parts, body);
    }
    // The body is in memory as a whole.
    let Ok(json) = to_bytes(body, usize::MAX).await else {
        return Response::from_parts(parts, Body::empty());
    };
    let written = match json.len() <= MAX_INLINE_BYTES {
        true => gzip(&json).ok(),
        false => gzip_on_worker(&json, &WorkerPool::shared()).await,
    };
    let Some(written) = written else {
        return Response::from_parts(parts, json.into());
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts
        .headers
        .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(parts, written.into())
}

fn gzip(json: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(json.len() / 4), COMPRESSION_LEVEL);
    encoder.write_all(json)?;
    encoder.finish()
}

/// Compresses a large response on a worker thread. Returns `None` if no thread is free: the
/// response is then sent uncompressed rather than delayed.
async fn gzip_on_worker(json: &Bytes, workers: &WorkerPool) -> Option<Vec<u8>> {
    let json = json.clone();
    workers
        .try_run_finishing(move || gzip(&json).ok())
        .await
        .flatten()
}

/// Returns `true` if a client accepts gzip. An explicit `gzip` takes precedence over `*`.
pub(super) fn accepts_gzip(encodings: &str) -> bool {
    let mut accepts_any = false;
    for coding in split_unquoted(encodings, ',') {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = parameters
            .trim()
            .split_once('=')
            .map(|(_, weight)| weight.trim());
        let is_taken = weight.is_none_or(|weight| weight.parse() != Ok(0_f32));
        match name.trim() {
            "*" => accepts_any = is_taken,
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => {
                return is_taken;
            }
            _ => {}
        }
    }
    accepts_any
}

#[cfg(test)]
mod tests {
    use std::{io::Read, sync::mpsc};

    use flate2::read::GzDecoder;

    use super::*;

    #[tokio::test]
    async fn large_response_is_compressed_only_while_a_thread_is_free() {
        let workers = WorkerPool::new(1);
        let json = Bytes::from("x".repeat(MAX_INLINE_BYTES + 1));
        let compressed = gzip_on_worker(&json, &workers).await.unwrap();
        let mut text = Vec::new();
        GzDecoder::new(&*compressed).read_to_end(&mut text).unwrap();
        assert_eq!(text, json);
        let (release, held) = mpsc::channel::<()>();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let others = workers.clone();
        let busy = tokio::spawn(async move {
            let work = move || {
                _ = begun.send(());
                held.recv()
            };
            others.run_finishing(work).await
        });
        begins.await.unwrap();
        assert_eq!(gzip_on_worker(&json, &workers).await, None);
        drop(release);
        assert!(busy.await.unwrap().is_err(), "it was let go");
    }

    #[test]
    fn gzip_is_accepted_if_named() {
        for (encodings, expected) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("deflate, *", true),
            ("x-gzip", true),
            ("gzip;q=0, *", false),
            ("*;q=0", false),
            ("br, deflate", false),
            ("", false),
        ] {
            assert_eq!(accepts_gzip(encodings), expected, "{encodings}");
        }
    }
}

//! HTTP responses that clients do not read: their timeout and their limit.

use std::{io::Write, net::TcpStream, time::Duration};

use http::{StatusCode, Version};
use reqwest::{Client, ClientBuilder};
use serde_json::json;
use tokio::time::timeout;

use crate::support::{
    requests::{
        client_builder, initialize_request, send_request, stateless_request, stateless_request_by,
    },
    server::{ServerProcess, serve_sandbox},
};

/// Opens a connection that requests this many lists and reads none.
fn request_lists(server: &ServerProcess, lists: usize) -> TcpStream {
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/list",
        "params": { "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        } },
    })
    .to_string();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\n\
         mcp-method: tools/list\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let address = server.url.split('/').nth(2).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.repeat(lists).as_bytes()).unwrap();
    stream
}

/// More than the buffers of the system hold.
const MANY_LISTS: usize = 150;

/// Returns an HTTP/2 client that accepts this many bytes of a response and answers pings.
fn client_with_window(window: u32) -> Client {
    http_2_client_builder()
        .http2_initial_stream_window_size(window)
        .build()
        .unwrap()
}

fn http_2_client_builder() -> ClientBuilder {
    client_builder()
        .http2_prior_knowledge()
        .no_proxy()
        .no_gzip()
}

async fn list_with(client: &Client, server: &ServerProcess) -> reqwest::Response {
    stateless_request_by(client, server, "tools/list", json!({}))
        .send()
        .await
        .unwrap()
}

async fn wait_for_write_timeout(mut server: ServerProcess) -> ServerProcess {
    tokio::task::spawn_blocking(move || {
        server.read_until("did not take an answer within --write-timeout");
        server
    })
    .await
    .unwrap()
}

/// Returns the status of another request of the same caller.
async fn status(server: &ServerProcess) -> StatusCode {
    send_request(stateless_request(server, "tools/list", json!({})))
        .await
        .0
}

#[tokio::test]
async fn connection_that_reads_nothing_is_closed() {
    let server = serve_sandbox(&["--write-timeout", "0.3"]);
    let _unread = request_lists(&server, MANY_LISTS);
    let server = wait_for_write_timeout(server).await;
    assert_eq!(status(&server).await, StatusCode::OK);
}

#[tokio::test]
async fn stream_with_a_closed_window_frees_its_slot() {
    for window in [0, 1, 1000] {
        let server = serve_sandbox(&["--write-timeout", "0.3", "--concurrency", "1"]);
        let client = client_with_window(window);
        let unread = list_with(&client, &server).await;
        assert_eq!(
            (unread.status(), unread.version()),
            (StatusCode::OK, Version::HTTP_2)
        );
        assert_eq!(
            status(&server).await,
            StatusCode::TOO_MANY_REQUESTS,
            "window {window}"
        );
        let server = wait_for_write_timeout(server).await;
        assert!(unread.bytes().await.is_err(), "window {window}");
        // The connection is closed, but its last request may still count.
        let free = async {
            while status(&server).await != StatusCode::OK {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), free).await.unwrap();
    }
}

#[tokio::test]
async fn unread_small_response_times_out() {
    let server = serve_sandbox(&["--write-timeout", "0.3", "--concurrency", "1"]);
    let client = client_with_window(1);
    let params = json!({ "name": "list-labels", "arguments": {} });
    let request = stateless_request_by(&client, &server, "tools/call", params);
    let unread = request.send().await.unwrap();
    assert_eq!(status(&server).await, StatusCode::TOO_MANY_REQUESTS);
    _ = wait_for_write_timeout(server).await;
    assert!(unread.bytes().await.is_err());
}

/// A stream without data has nothing that could be unread.
#[tokio::test]
async fn idle_stream_is_not_closed() {
    let server = serve_sandbox(&["--write-timeout", "0.3"]);
    let begun = initialize_request(&server).send().await.unwrap();
    let listening = http_2_client_builder().build().unwrap().get(&server.url);
    let listening = listening
        .header("accept", "text/event-stream")
        .header("mcp-session-id", &begun.headers()["mcp-session-id"]);
    let mut idle = listening.send().await.unwrap();
    assert_eq!(
        (idle.status(), idle.version()),
        (StatusCode::OK, Version::HTTP_2)
    );
    // Another connection times out meanwhile, so the wait is longer than the timeout.
    let _unread = list_with(&client_with_window(0), &server).await;
    let _server = wait_for_write_timeout(server).await;
    let more = async {
        while let Some(chunk) = idle.chunk().await.unwrap() {
            assert!(!chunk.is_empty());
        }
    };
    assert!(
        timeout(Duration::ZERO, more).await.is_err(),
        "the stream has ended"
    );
}

#[tokio::test]
async fn http_2_response_arrives_complete() {
    let server = serve_sandbox(&[]);
    let answers = [
        list_with(&http_2_client_builder().build().unwrap(), &server).await,
        list_with(&client_with_window(1000), &server).await,
    ];
    let [whole, in_parts] = answers;
    // This client extends its window while it reads, so it receives the whole response in parts.
    assert_eq!(
        whole.headers()["content-length"],
        in_parts.headers()["content-length"]
    );
    let length: usize = whole.headers()["content-length"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(whole.bytes().await.unwrap().len(), length);
}

#[tokio::test]
async fn caller_with_too_many_unread_responses_is_rejected() {
    let server = serve_sandbox(&["--max-unread-bytes", "1048576"]);
    let unread = [
        request_lists(&server, MANY_LISTS),
        request_lists(&server, MANY_LISTS),
        request_lists(&server, MANY_LISTS),
    ];
    let until = async |expected: StatusCode| {
        let reached = async {
            while status(&server).await != expected {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), reached).await.unwrap();
    };
    until(StatusCode::TOO_MANY_REQUESTS).await;
    let (_, refused) = send_request(stateless_request(&server, "tools/list", json!({}))).await;
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("too many answers wait for this caller to read them"),
        "{message}"
    );
    drop(unread);
    until(StatusCode::OK).await;
}

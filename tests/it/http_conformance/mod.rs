//! Deviations from the protocol by clients and proxies, and the responses to them.

mod accept;
mod headers;
mod origins;
mod paths;
mod rejection_logs;
mod responses;

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::{Value, json};

use crate::support::server::ServerProcess;

/// Returns a `tools/list` request of revision 2026-07-28 as bytes, with further header lines.
fn list_request(path: &str, more: &[&str]) -> Vec<u8> {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    });
    let params = json!({ "_meta": meta });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params });
    let head = ["mcp-protocol-version: 2026-07-28", "mcp-method: tools/list"];
    raw_request(
        "POST",
        path,
        &[&head[..], more].concat(),
        body.to_string().as_bytes(),
    )
}

/// Returns a request as bytes, with the required headers and these lines.
fn raw_request(method: &str, path: &str, lines: &[&str], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if !lines.iter().any(|line| line.starts_with("host:")) {
        head += "host: localhost\r\n";
    }
    if !body.is_empty() {
        head += &format!(
            "content-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
    }
    for line in lines {
        head += &format!("{line}\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// A response that was read to its end.
#[derive(Debug)]
struct RawResponse {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl RawResponse {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .next()
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    /// Returns the message of a JSON body, or of the last event of a stream.
    fn message(&self) -> Value {
        let events = self
            .text()
            .lines()
            .filter_map(|line| line.strip_prefix("data:"));
        let last = events.map(str::trim).rfind(|data| data.starts_with('{'));
        serde_json::from_str(last.unwrap_or(self.text())).unwrap_or_default()
    }

    /// Returns the message of a JSON-RPC error.
    fn error_message(&self) -> String {
        self.message()["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

/// Sends a request over a new connection.
fn send_raw(server: &ServerProcess, request: &[u8]) -> RawResponse {
    let address = server.url.split('/').nth(2).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let at = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8(bytes[..at].to_vec()).unwrap();
    let mut body = bytes[at + 4..].to_vec();
    if head.to_lowercase().contains("transfer-encoding: chunked") {
        body = decode_chunked(&body);
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    RawResponse { status, head, body }
}

fn decode_chunked(mut rest: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let at = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = usize::from_str_radix(str::from_utf8(&rest[..at]).unwrap(), 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&rest[at + 2..at + 2 + size]);
        rest = &rest[at + 4 + size..];
    }
}

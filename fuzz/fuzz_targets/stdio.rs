//! Fuzzes the framing of standard input and output with anything that a client may write.
//!
//! Bit 0 of the first byte initializes the connection before the rest is written.
#![no_main]

use std::{future::pending, time::Duration};

use libfuzzer_sys::fuzz_target;
use portkey_mcp::transport::stdio::serve_on;
use portkey_mcp_fuzz::{KEY, contains, local_server, run};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, duplex},
    time::timeout,
};

const INITIALIZE_FLAG: u8 = 1;

/// Longer than every timeout of the server: a response that has not come by then never comes.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(600);

const INITIALIZE_MESSAGES: &str = concat!(
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","#,
    r#""capabilities":{},"clientInfo":{"name":"fuzz","version":"1"}}}"#,
    "\n",
    r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
    "\n"
);

/// A ping with an id that occurs nowhere else.
const PING: &str = "\n{\"jsonrpc\":\"2.0\",\"id\":\"still-there-7f3a\",\"method\":\"ping\"}\n";
const PING_ID: &str = "still-there-7f3a";

fuzz_target!(|input: &[u8]| {
    let Some((&flags, rest)) = input.split_first() else {
        return;
    };
    // The fuzzer learns the id from comparisons with it.
    if contains(rest, PING_ID) {
        return;
    }
    let is_initialized = flags & INITIALIZE_FLAG != 0;
    run(async {
        let (client, server) = duplex(16 << 10);
        let (from_client, to_client) = tokio::io::split(server);
        tokio::spawn(serve_on(local_server(), from_client, to_client, pending()));
        let (responses, mut writer) = tokio::io::split(client);
        let writing = async {
            let messages = if is_initialized {
                INITIALIZE_MESSAGES
            } else {
                ""
            };
            for bytes in [messages.as_bytes(), rest, PING.as_bytes()] {
                // The server closes the connection if the client does not begin with MCP.
                _ = writer.write_all(bytes).await;
            }
        };
        let reading = timeout(RESPONSE_TIMEOUT, read_until_pong(responses, rest));
        let (_, pinged) = tokio::join!(writing, reading);
        // Before initialization, the server need not respond even to a ping.
        assert!(
            !is_initialized || pinged.expect("neither a response nor an end"),
            "the ping got no response"
        );
    });
});

/// Reads responses, all of which have to be JSON-RPC, and returns true at the response to the ping.
async fn read_until_pong(responses: impl tokio::io::AsyncRead + Unpin, input: &[u8]) -> bool {
    let mut lines = BufReader::new(responses).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let message: Value = serde_json::from_slice(&line).expect("a line of JSON");
        assert_eq!(message["jsonrpc"], "2.0", "{message}");
        assert!(
            contains(input, KEY) || !contains(&line, KEY),
            "the output contains a secret"
        );
        if message["id"] == PING_ID {
            return true;
        }
    }
    false
}

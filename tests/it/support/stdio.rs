//! Messages over stdio, and a server that is ready for them.

use serde_json::{Value, json};

use crate::support::server::StdioServer;

pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;

pub(crate) fn start_initialized(args: &[&str]) -> StdioServer {
    let mut pipe = StdioServer::builder().args(args).start();
    pipe.send(INITIALIZE);
    assert_eq!(pipe.receive()["result"]["protocolVersion"], "2025-11-25");
    pipe.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    pipe
}

pub(crate) fn list_request(id: u32) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list" }).to_string()
}

pub(crate) fn call_request(id: u32, tool: &str, arguments: &Value) -> String {
    let params = json!({ "name": tool, "arguments": arguments });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }).to_string()
}

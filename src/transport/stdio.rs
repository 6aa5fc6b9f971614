//! The stdio transport: one client on a pipe, with one JSON-RPC message per line in each direction.
//!
//! The framing is implemented here because rmcp silently skips lines that it cannot parse, and the
//! client that sent one would wait for ever. Here every line that asks for something gets a
//! response.

use std::{io, sync::Arc, time::Duration};

use anyhow::{anyhow, bail};
use rmcp::{
    RoleServer, ServiceExt,
    model::{
        CallToolRequest, CallToolRequestMethod, CallToolRequestParams, ErrorCode, ErrorData,
        JsonRpcMessage, JsonRpcVersion2_0, RequestId, ServerResult,
    },
    service::{RxJsonRpcMessage, ServerInitializeError, TxJsonRpcMessage},
    transport::{Transport, io::stdio_pipes},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    sync::Mutex,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    backlog::{Backlog, MAX_OPEN_REQUESTS, RequestRejection},
    message_limits::{self, RejectedMessage},
    trim::trim_message,
};
use crate::mcp::{
    reply::{self, StructuredForm},
    server::Server,
};

/// Maximum length of a line, in bytes.
pub const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;

/// Initial capacity of the buffer for a response, in bytes. Most responses fit without growing it.
const INITIAL_LINE_BYTES: usize = 4 * 1024;

/// Error code of a request that is rejected for now. One of the codes that servers are free to use.
const BUSY: ErrorCode = ErrorCode(-32000);

/// Maximum capacity of a line buffer that is reused for the next line, in bytes.
const MAX_REUSED_BUFFER_BYTES: usize = 64 * 1024;

/// Time for calls in flight to finish after the process is asked to stop. Clients kill it soon
/// after they ask.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Time for calls in flight if the input was closed before the process is asked to stop. The client has waited already,
/// and the SDKs for Python and TypeScript kill two seconds after SIGTERM: the calls have to be on record before that.
const CLOSED_INPUT_GRACE: Duration = Duration::from_millis(500);

/// Timeout for writing the last responses.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Timeout for every step once standard output is closed. The process has to end within a second.
const CLOSED_OUTPUT_TIMEOUT: Duration = Duration::from_millis(250);

/// Serves one client over standard input and output, until it closes the input or the process is
/// interrupted.
///
/// # Errors
/// Returns an error if the client does not begin with MCP, or a stream fails.
pub async fn serve(server: Server) -> anyhow::Result<()> {
    let (input, output) = stdio_pipes();
    let lines = LineTransport::new(input, output);
    watch_output(lines.output_broken_token());
    serve_lines(server, lines, super::wait_for_shutdown_signal()).await
}

/// Serves one client over any pair of streams, until it closes the input or `interrupted`
/// completes.
///
/// # Errors
/// Returns an error as [`serve`] does, or if `interrupted` fails.
pub async fn serve_on(
    server: Server,
    input: impl AsyncRead + Unpin + Send + 'static,
    output: impl AsyncWrite + Unpin + Send + 'static,
    interrupted: impl Future<Output = io::Result<()>>,
) -> anyhow::Result<()> {
    serve_lines(server, LineTransport::new(input, output), interrupted).await
}

async fn serve_lines<R, W>(
    server: Server,
    lines: LineTransport<R, W>,
    interrupted: impl Future<Output = io::Result<()>>,
) -> anyhow::Result<()>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    // Open subscriptions would otherwise be waited for, as if they were calls.
    let hub = server.notifier().clone();
    let ended = lines.input_closed_token();
    tokio::spawn(async move {
        ended.cancelled().await;
        hub.close();
    });
    let (backlog, broken, hung_up) = (
        lines.backlog.clone(),
        lines.output_broken_token(),
        lines.input_closed_token(),
    );
    let calls = server.clone();
    let running = tokio::select! {
        running = server.serve(lines) => running,
        () = broken.cancelled() => bail!(CLOSED_OUTPUT_MESSAGE),
    };
    let running = match running {
        Ok(running) => running,
        // A client that closes the input before it sends anything only probes whether the server
        // starts.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(not_opened(error)),
    };
    let stop = running.cancellation_token();
    let ended = running.waiting();
    tokio::pin!(ended);
    let is_broken = tokio::select! {
        ended = &mut ended => {
            ended?;
            return Ok(());
        }
        signal = interrupted => {
            signal?;
            false
        }
        // A client that exits closes both ends, which is no error.
        () = broken.cancelled() => timeout(CLOSED_OUTPUT_TIMEOUT, hung_up.cancelled()).await.is_err(),
    };
    backlog.stop();
    // Calls in flight are finished rather than aborted: the outcome of an aborted write would be
    // unknown.
    let (grace, last_words) = if broken.is_cancelled() {
        (CLOSED_OUTPUT_TIMEOUT, CLOSED_OUTPUT_TIMEOUT)
    } else if hung_up.is_cancelled() {
        (CLOSED_INPUT_GRACE, FLUSH_TIMEOUT)
    } else {
        (SHUTDOWN_GRACE, FLUSH_TIMEOUT)
    };
    _ = timeout(grace, calls.drain()).await;
    stop.cancel();
    if let Ok(ended) = timeout(last_words, ended).await {
        ended?;
    }
    if is_broken {
        bail!(CLOSED_OUTPUT_MESSAGE);
    }
    Ok(())
}

/// Returns the message of a failed initialization, without rmcp's type names.
fn not_opened(error: ServerInitializeError) -> anyhow::Error {
    match error {
        ServerInitializeError::TransportError { error, .. } => {
            match error.error.downcast_ref().map(io::Error::kind) {
                Some(io::ErrorKind::BrokenPipe) => anyhow!(CLOSED_OUTPUT_MESSAGE),
                _ => anyhow!("standard output cannot be written: {}", error.error),
            }
        }
        ServerInitializeError::ExpectedInitializeRequest(_) => anyhow!(
            "the first message of the client is no request. A client opens with `initialize`, or with any \
             request of the revision 2026-07-28"
        ),
        ServerInitializeError::UnexpectedInitializeResponse(_) => {
            anyhow!("the request `initialize` has no answer; please report it")
        }
        error => error.into(),
    }
}

/// Error message of a process whose standard output was closed.
const CLOSED_OUTPUT_MESSAGE: &str = "standard output was closed, so no answer can reach the client. Calls under way were cut off: a write \
     among them may have taken effect";

/// Cancels a token once standard output is closed at the other end, which otherwise shows only at
/// the next response.
///
/// A thread waits for that, because no other way reports it without work for each response.
#[cfg(unix)]
fn watch_output(broken: CancellationToken) {
    use rustix::event::{PollFd, PollFlags, poll};
    let wait = move || {
        let output = io::stdout();
        // Errors and hang-ups are reported without being requested.
        let mut watched = [PollFd::new(&output, PollFlags::empty())];
        loop {
            match poll(&mut watched, None) {
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
                Ok(_) => break,
            }
        }
        broken.cancel();
    };
    let thread = std::thread::Builder::new()
        .name("stdout".to_owned())
        .stack_size(64 * 1024);
    if let Err(error) = thread.spawn(wait) {
        warn!(%error, "no thread to watch standard output; that it was closed shows at the next answer");
    }
}

#[cfg(not(unix))]
fn watch_output(_: CancellationToken) {}

/// Newline-delimited JSON-RPC over any pair of streams.
#[derive(Debug)]
pub struct LineTransport<R, W> {
    input: BufReader<R>,
    /// The line being read. It is a field because a read may be dropped half-way and resumed.
    line: Vec<u8>,
    /// The rest of an overlong line is being skipped.
    is_skipping: bool,
    /// A first request was received, so notifications may follow.
    has_received_request: bool,
    output: Arc<Mutex<W>>,
    backlog: Arc<Backlog>,
    input_closed: CancellationToken,
    /// Cancelled once nothing can be written any more.
    output_broken: CancellationToken,
}

/// Outcome of reading a line.
enum LineRead {
    Complete,
    TooLong,
    EndOfInput,
}

impl<R: AsyncRead + Unpin + Send, W: AsyncWrite + Unpin + Send + 'static> LineTransport<R, W> {
    /// Creates a transport that reads from one stream and writes to the other.
    pub fn new(input: R, output: W) -> Self {
        Self {
            input: BufReader::with_capacity(64 * 1024, input),
            line: Vec::new(),
            is_skipping: false,
            has_received_request: false,
            output: Arc::new(Mutex::new(output)),
            backlog: Arc::default(),
            input_closed: CancellationToken::new(),
            output_broken: CancellationToken::new(),
        }
    }

    /// Token that is cancelled when the client has closed the input. Its requests may still be
    /// answered.
    pub fn input_closed_token(&self) -> CancellationToken {
        self.input_closed.clone()
    }

    /// Token that is cancelled when nothing can be written any more. It may also be cancelled by
    /// code that learns of a closed output.
    pub fn output_broken_token(&self) -> CancellationToken {
        self.output_broken.clone()
    }

    async fn read_line(&mut self) -> io::Result<LineRead> {
        loop {
            let available = self.input.fill_buf().await?;
            if available.is_empty() {
                return Ok(LineRead::EndOfInput);
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = end
                .and_then(|end| available.get(..end))
                .unwrap_or(available);
            let used = end.map_or(part.len(), |end| end + 1);
            if !self.is_skipping {
                self.line.extend_from_slice(part);
            }
            // No await between copying and consuming, so dropping this read loses nothing.
            self.input.consume(used);
            if self.line.len() > MAX_LINE_BYTES {
                self.line = Vec::new();
                self.is_skipping = true;
            }
            if end.is_some() {
                let too_long = std::mem::take(&mut self.is_skipping);
                return Ok(if too_long {
                    LineRead::TooLong
                } else {
                    LineRead::Complete
                });
            }
        }
    }

    /// Sends an error for a line that is no message. Spawned, because this read may be dropped at
    /// any await.
    fn send_error(
        &mut self,
        LineError {
            code,
            message: what,
            id,
        }: LineError,
    ) {
        debug!(what, "unreadable line");
        let message = JsonRpcMessage::error(ErrorData::new(code, what, None), id);
        self.backlog.record_outgoing(&message, true);
        tokio::spawn(self.write_message(message));
    }

    /// Sends an error for a request that is not accepted.
    fn reject_request(&mut self, message: RxJsonRpcMessage<RoleServer>, why: RequestRejection) {
        let JsonRpcMessage::Request(request) = message else {
            return;
        };
        let id = request.id;
        let (code, what) = match why {
            RequestRejection::IdInUse => {
                let what = format!(
                    "the id {id} is in use by another request; give each request an id that none had before"
                );
                (ErrorCode::INVALID_REQUEST, what)
            }
            RequestRejection::TooManyRequests => {
                let what = format!(
                    "{MAX_OPEN_REQUESTS} requests are under way, and one of them asks this client something; answer that, \
                     or wait for some to end"
                );
                (BUSY, what)
            }
        };
        self.send_error(LineError {
            code,
            message: what,
            id: Some(id),
        });
    }

    /// Writes a message that the backlog already counts as unwritten.
    fn write_message(
        &self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        let output = self.output.clone();
        let broken = self.output_broken.clone();
        let mut waiting = PendingWrite {
            backlog: self.backlog.clone(),
            bytes: 0,
        };
        async move {
            let mut line = encode_message(message)?;
            line.push(b'\n');
            waiting.set_bytes(line.len());
            let mut output = output.lock().await;
            let written = async {
                output.write_all(&line).await?;
                output.flush().await
            };
            written.await.inspect_err(|_| broken.cancel())
        }
    }
}

impl<R, W> Transport<RoleServer> for LineTransport<R, W>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        self.backlog.record_outgoing(&message, false);
        self.write_message(message)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            self.backlog.wait_until_readable().await;
            match self.read_line().await {
                Ok(LineRead::Complete) => self.backlog.block_if_stopped().await,
                Ok(LineRead::TooLong) => {
                    let what = format!("the message is longer than {MAX_LINE_BYTES} bytes");
                    self.send_error(LineError {
                        code: ErrorCode::INVALID_REQUEST,
                        message: what,
                        id: None,
                    });
                    continue;
                }
                Ok(LineRead::EndOfInput) => {
                    self.input_closed.cancel();
                    return None;
                }
                Err(error) => {
                    warn!(%error, "standard input broke");
                    self.input_closed.cancel();
                    return None;
                }
            }
            let line = std::mem::take(&mut self.line);
            let message = line.strip_prefix(super::UTF8_BOM).unwrap_or(&line);
            match read_message(message.trim_ascii()) {
                Ok(Some(mut message)) => {
                    trim_message(&mut message);
                    // rmcp ends a connection that begins with a notification, and some clients
                    // probe that way.
                    let early = !self.has_received_request
                        && matches!(message, JsonRpcMessage::Notification(_));
                    self.has_received_request |= !early;
                    if !early {
                        if let Err(why) = self.backlog.record_received(&message, line.len()) {
                            self.reject_request(message, why);
                            continue;
                        }
                        if line.capacity() <= MAX_REUSED_BUFFER_BYTES {
                            // The buffer is reused for the next line.
                            self.line = line;
                            self.line.clear();
                        }
                        return Some(message);
                    }
                    debug!("a notification before the first request was passed over");
                }
                Ok(None) => {}
                Err(complaint) => self.send_error(complaint),
            }
        }
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        // A client that does not read would keep the process alive.
        match timeout(CLOSED_OUTPUT_TIMEOUT, self.output.lock()).await {
            Ok(mut output) => output.shutdown().await,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// A message that waits to be written.
struct PendingWrite {
    backlog: Arc<Backlog>,
    bytes: usize,
}

impl PendingWrite {
    fn set_bytes(&mut self, bytes: usize) {
        self.bytes = bytes;
        self.backlog.add_unwritten_bytes(bytes);
    }
}

impl Drop for PendingWrite {
    fn drop(&mut self) {
        self.backlog.record_written(self.bytes);
    }
}

/// Encodes a message.
fn encode_message(message: TxJsonRpcMessage<RoleServer>) -> serde_json::Result<Vec<u8>> {
    if let JsonRpcMessage::Response(response) = message {
        let (id, result) = (response.id, response.result);
        return match result {
            ServerResult::CallToolResult(result) => reply::encode_response(&id, result),
            result => to_line(&JsonRpcMessage::response(result, id)),
        };
    }
    to_line(&message)
}

fn to_line(message: &TxJsonRpcMessage<RoleServer>) -> serde_json::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(INITIAL_LINE_BYTES);
    serde_json::to_writer(&mut line, message)?;
    Ok(line)
}

/// Error for a line that is no message, with the id of its request if known.
struct LineError {
    code: ErrorCode,
    message: String,
    id: Option<RequestId>,
}

/// Parses a line as a message. Returns `None` if it needs no response.
fn read_message(line: &[u8]) -> Result<Option<RxJsonRpcMessage<RoleServer>>, LineError> {
    if line.is_empty() {
        return Ok(None);
    }
    message_limits::check(line).map_err(
        |RejectedMessage {
             is_json,
             reason: what,
             id,
         }| LineError {
            code: if is_json {
                ErrorCode::INVALID_REQUEST
            } else {
                ErrorCode::PARSE_ERROR
            },
            message: what,
            id: id.and_then(|id| serde_json::from_value(id).ok()),
        },
    )?;
    if let Some(call) = read_tool_call(line) {
        return Ok(Some(call));
    }
    serde_json::from_slice(line)
        .map(Some)
        .or_else(|_| invalid_line_error(line).map_or(Ok(None), Err))
}

/// Parses a `tools/call` as rmcp does, without trying every other kind of request first. Returns
/// `None` for everything else, which is left to rmcp.
///
/// Most lines are calls, and a call over a pipe takes 14 % fewer instructions.
fn read_tool_call(line: &[u8]) -> Option<RxJsonRpcMessage<RoleServer>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct ToolCall {
        #[serde(rename = "jsonrpc")]
        _version: JsonRpcVersion2_0,
        id: RequestId,
        #[serde(rename = "method")]
        _method: CallToolRequestMethod,
        params: CallToolRequestParams,
    }
    let ToolCall { id, mut params, .. } = serde_json::from_slice(line).ok()?;
    let metadata = params.meta.take();
    let mut request = CallToolRequest::new(params);
    // `encode_message` writes the result.
    request.extensions.insert(StructuredForm::Text);
    if let Some(metadata) = metadata {
        request.extensions.insert(metadata);
    }
    Some(JsonRpcMessage::request(request.into(), id))
}

/// Describes the error in a line that is no message. Returns `None` if it needs no response.
fn invalid_line_error(line: &[u8]) -> Option<LineError> {
    let invalid = |what: &str, id| {
        Some(LineError {
            code: ErrorCode::INVALID_REQUEST,
            message: what.to_owned(),
            id,
        })
    };
    match serde_json::from_slice(line) {
        Err(error) => {
            let what = format!("the line is no JSON: {error}; send one JSON-RPC message per line");
            Some(LineError {
                code: ErrorCode::PARSE_ERROR,
                message: what,
                id: None,
            })
        }
        Ok(Value::Object(message)) if message.contains_key("method") => {
            let what = "the message is no JSON-RPC 2.0 request; it has `jsonrpc`, `id`, `method` and \
                        `params`, an object";
            invalid(
                what,
                message
                    .get("id")
                    .and_then(|id| serde_json::from_value(id.clone()).ok()),
            )
        }
        // An object that may itself be a response gets none, because errors could go back and forth
        // for ever.
        Ok(Value::Object(_)) => None,
        Ok(_) => invalid(
            "the message is no JSON-RPC object; batches are not part of MCP",
            None,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_path_reads_tool_calls_like_rmcp() {
        let lines = [
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#,
            r#"{"params":{"arguments":{"n":1e400,"n":2.50,"n":3},"name":"a"},"method":"tools/call","id":"x","jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"big":18446744073709551615,"f":0.1,"o":{"b":1,"a":[null,true]}}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"progressToken":7,"io.example/x":{"y":1}},"name":"a","arguments":{}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","unknown":1,"task":{"ttl":5}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","requestState":"s","inputResponses":{"k":{"action":"accept","content":{"v":"approve"}}}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":null,"_meta":null}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":[1]}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"},"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"},"extra":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}}"#,
        ];
        let mut calls = 0;
        for line in lines {
            let by_rmcp: Option<RxJsonRpcMessage<RoleServer>> = serde_json::from_str(line).ok();
            let read = read_message(line.as_bytes()).ok().flatten();
            assert_eq!(format!("{read:?}"), format!("{by_rmcp:?}"), "{line}");
            calls += usize::from(read_tool_call(line.as_bytes()).is_some());
        }
        assert!(calls >= 5, "only {calls} of the lines were read as calls");
    }
}

//! One client on a pipe: a JSON-RPC message per line, in and out.
//!
//! The framing is ours because rmcp passes over what it cannot read in silence, and a client that
//! sent it would wait for ever. Here every line that asks for something is answered.

use std::{io, sync::Arc};

use rmcp::{
    RoleServer, ServiceExt,
    model::{ErrorCode, ErrorData, JsonRpcMessage, RequestId},
    service::{RxJsonRpcMessage, ServerInitializeError, TxJsonRpcMessage},
    transport::{Transport, io::stdio_pipes},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    sync::Mutex,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::server::Server;

/// The longest line that is read.
pub const LONGEST_LINE: usize = 16 * 1024 * 1024;

/// Room for most answers, so that writing one does not grow it again and again.
const USUAL_LINE: usize = 4 * 1024;

/// Serves one client over standard input and output, until it hangs up or we are interrupted.
///
/// # Errors
/// The client opened with something that is no MCP, or a stream broke.
pub async fn serve(server: Server) -> anyhow::Result<()> {
    let (input, output) = stdio_pipes();
    serve_on(server, input, output, super::interrupted()).await
}

/// Serves one client over any pair of streams, until it hangs up or `interrupted` is done.
///
/// # Errors
/// As for [`serve`], or `interrupted` failed.
pub async fn serve_on(
    server: Server,
    input: impl AsyncRead + Unpin + Send + 'static,
    output: impl AsyncWrite + Unpin + Send + 'static,
    interrupted: impl Future<Output = io::Result<()>>,
) -> anyhow::Result<()> {
    let lines = Lines::new(input, output);
    // Open subscriptions would otherwise be waited for, as if they were calls.
    let (hub, ended) = (server.hub().clone(), lines.ended());
    tokio::spawn(async move {
        ended.cancelled().await;
        hub.close();
    });
    let running = match server.serve(lines).await {
        Ok(running) => running,
        // Hanging up before saying anything is how a client probes whether we start.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let stop = running.cancellation_token();
    let ended = running.waiting();
    tokio::pin!(ended);
    tokio::select! {
        ended = &mut ended => { ended?; }
        signal = interrupted => {
            signal?;
            stop.cancel();
            ended.await?;
        }
    }
    Ok(())
}

/// Newline-delimited JSON-RPC over any pair of streams.
#[derive(Debug)]
pub struct Lines<R, W> {
    input: BufReader<R>,
    /// The line under way. It lives here because a read may be abandoned half-way and resumed.
    line: Vec<u8>,
    /// The rest of an overlong line is being passed over.
    skipping: bool,
    /// A request has come in, so notifications may follow.
    opened: bool,
    output: Arc<Mutex<W>>,
    ended: CancellationToken,
}

/// What reading a line came to.
enum Read {
    Whole,
    TooLong,
    End,
}

impl<R: AsyncRead + Unpin + Send, W: AsyncWrite + Unpin + Send + 'static> Lines<R, W> {
    /// Reads from one stream, writes to the other.
    pub fn new(input: R, output: W) -> Self {
        Self {
            input: BufReader::with_capacity(64 * 1024, input),
            line: Vec::new(),
            skipping: false,
            opened: false,
            output: Arc::new(Mutex::new(output)),
            ended: CancellationToken::new(),
        }
    }

    /// Cancelled when the client has hung up; what it asked for may still be answered.
    pub fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    async fn read_line(&mut self) -> io::Result<Read> {
        loop {
            let available = self.input.fill_buf().await?;
            if available.is_empty() {
                return Ok(Read::End);
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = end.and_then(|end| available.get(..end)).unwrap_or(available);
            let used = end.map_or(part.len(), |end| end + 1);
            if !self.skipping {
                self.line.extend_from_slice(part);
            }
            // No await between copying and consuming, so abandoning this read loses nothing.
            self.input.consume(used);
            if self.line.len() > LONGEST_LINE {
                self.line = Vec::new();
                self.skipping = true;
            }
            if end.is_some() {
                let too_long = std::mem::take(&mut self.skipping);
                return Ok(if too_long { Read::TooLong } else { Read::Whole });
            }
        }
    }

    /// Answers a line that is no message. Spawned, because this read may be abandoned at any await.
    fn complain(&mut self, Complaint { code, what, id }: Complaint) {
        debug!(what, "unreadable line");
        let error = ErrorData::new(code, what, None);
        tokio::spawn(self.send(JsonRpcMessage::error(error, id)));
    }
}

impl<R, W> Transport<RoleServer> for Lines<R, W>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        let output = self.output.clone();
        async move {
            let mut line = Vec::with_capacity(USUAL_LINE);
            serde_json::to_writer(&mut line, &message)?;
            line.push(b'\n');
            let mut output = output.lock().await;
            output.write_all(&line).await?;
            output.flush().await
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            match self.read_line().await {
                Ok(Read::Whole) => {}
                Ok(Read::TooLong) => {
                    let what = format!("the message is longer than {LONGEST_LINE} bytes");
                    self.complain(Complaint { code: ErrorCode::INVALID_REQUEST, what, id: None });
                    continue;
                }
                Ok(Read::End) => {
                    self.ended.cancel();
                    return None;
                }
                Err(error) => {
                    warn!(%error, "standard input broke");
                    self.ended.cancel();
                    return None;
                }
            }
            let line = std::mem::take(&mut self.line);
            let message = line.strip_prefix(super::MARK).unwrap_or(&line);
            match read_message(message.trim_ascii()) {
                Ok(Some(message)) => {
                    // rmcp ends a connection that begins with a notification; some clients probe so.
                    let early = !self.opened && matches!(message, JsonRpcMessage::Notification(_));
                    self.opened |= !early;
                    if !early {
                        // Its room serves the next line.
                        self.line = line;
                        self.line.clear();
                        return Some(message);
                    }
                    debug!("a notification before the first request was passed over");
                }
                Ok(None) => {}
                Err(complaint) => self.complain(complaint),
            }
        }
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        self.output.lock().await.shutdown().await
    }
}

/// Why a line is no message, and whose request it was if that can be told.
struct Complaint {
    code: ErrorCode,
    what: String,
    id: Option<RequestId>,
}

/// A line as a message; nothing where it needs no answer.
fn read_message(line: &[u8]) -> Result<Option<RxJsonRpcMessage<RoleServer>>, Complaint> {
    if line.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(line).map(Some).or_else(|_| complaint(line).map_or(Ok(None), Err))
}

/// What is wrong with a line that is no message.
fn complaint(line: &[u8]) -> Option<Complaint> {
    let invalid = |what: &str, id| {
        Some(Complaint { code: ErrorCode::INVALID_REQUEST, what: what.to_owned(), id })
    };
    match serde_json::from_slice(line) {
        Err(error) => {
            let what = format!("the line is no JSON: {error}; send one JSON-RPC message per line");
            Some(Complaint { code: ErrorCode::PARSE_ERROR, what, id: None })
        }
        Ok(Value::Object(message)) if message.contains_key("method") => {
            let what = "the message is no JSON-RPC 2.0 request; it has `jsonrpc`, `id`, `method` and \
                        `params`, an object";
            invalid(what, message.get("id").and_then(|id| serde_json::from_value(id.clone()).ok()))
        }
        // Answering what may itself be an answer could go back and forth for ever.
        Ok(Value::Object(_)) => None,
        Ok(_) => invalid("the message is no JSON-RPC object; batches are not part of MCP", None),
    }
}

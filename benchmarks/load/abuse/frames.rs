//! The part of HTTP/2 that an abuser needs: a client that accepts no response and stays alive.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// Connection preface of a client (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113 §6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// SETTINGS_INITIAL_WINDOW_SIZE with the value 0.
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];

/// Indexed header field `:status: 200` (RFC 7541, Appendix A).
const STATUS_200: u8 = 0x88;

/// Size of a frame header, in bytes.
const FRAME_HEADER_BYTES: usize = 9;

/// Event of a stream that the server reports.
pub(super) enum StreamEvent {
    /// Response headers with status 200.
    Answered,
    /// Response headers with another status.
    Refused,
    /// Stream ended by the server without a response.
    Reset,
}

/// A connection whose streams have no window, so that no response leaves the server.
pub(super) struct NoWindowConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
    next: u32,
}

impl NoWindowConnection {
    pub(super) async fn open(source: IpAddr, address: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        let mut stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        stream
            .write_all(&[PREFACE, &encode_frame(SETTINGS, 0, 0, &NO_WINDOW)].concat())
            .await?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
            next: 1,
        })
    }

    /// Sends a request whose body fits into one frame.
    pub(super) async fn post(
        &mut self,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<()> {
        let block: Vec<u8> = headers
            .iter()
            .flat_map(|(name, value)| encode_field(name, value))
            .collect();
        let head = encode_frame(HEADERS, END_HEADERS, self.next, &block);
        let body = encode_frame(DATA, END_STREAM, self.next, body);
        self.next += 2;
        Ok(self.stream.write_all(&[head, body].concat()).await?)
    }

    /// Waits for the next event of a stream. PING and SETTINGS frames are acknowledged immediately.
    pub(super) async fn event(&mut self) -> anyhow::Result<StreamEvent> {
        loop {
            let Some((kind, flags, payload)) = self.take() else {
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    bail!("the server closed the connection");
                }
                continue;
            };
            match kind {
                HEADERS if payload.first() == Some(&STATUS_200) => {
                    return Ok(StreamEvent::Answered);
                }
                HEADERS => return Ok(StreamEvent::Refused),
                RST_STREAM => return Ok(StreamEvent::Reset),
                GOAWAY => bail!("the server ends the connection"),
                PING | SETTINGS if flags & ACK == 0 => {
                    let payload = if kind == PING { payload } else { Vec::new() };
                    self.stream
                        .write_all(&encode_frame(kind, ACK, 0, &payload))
                        .await?;
                }
                _ => {}
            }
        }
    }

    /// Removes the next frame from the buffer, if it is complete.
    fn take(&mut self) -> Option<(u8, u8, Vec<u8>)> {
        let head: [u8; FRAME_HEADER_BYTES] =
            self.buffer.get(..FRAME_HEADER_BYTES)?.try_into().ok()?;
        let [a, b, c, kind, flags, ..] = head;
        let end = FRAME_HEADER_BYTES + u32::from_be_bytes([0, a, b, c]) as usize;
        let payload = self.buffer.get(FRAME_HEADER_BYTES..end)?.to_vec();
        self.buffer.drain(..end);
        Some((kind, flags, payload))
    }
}

/// Returns the header fields of a stateless request (2026-07-28) that calls no tool.
pub(super) fn request_fields<'a>(
    authority: &'a str,
    credential: &'a str,
    method: &'a str,
) -> anyhow::Result<Vec<(&'a str, &'a str)>> {
    let (name, value) = credential
        .trim_end()
        .split_once(": ")
        .context("no credential")?;
    Ok(vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/mcp"),
        (":authority", authority),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", method),
        (name, value),
    ])
}

fn encode_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// Encodes a field without indexing (RFC 7541 §6.2.2) and without Huffman coding.
fn encode_field(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        encode_length(text.len(), &mut field);
        field.extend_from_slice(text.as_bytes());
    }
    field
}

/// Encodes a length with a prefix of seven bits (RFC 7541 §5.1).
fn encode_length(length: usize, out: &mut Vec<u8>) {
    let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    let Some(mut rest) = length.checked_sub(127) else {
        return out.push(byte(length));
    };
    out.push(127);
    while rest >= 128 {
        out.push(byte(rest % 128 + 128));
        rest /= 128;
    }
    out.push(byte(rest));
}

//! A persistent HTTP/1.1 connection with the minimum of HTTP, so that the driver costs little.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// A connection and its last response.
pub(crate) struct HttpConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Headers of the last response.
    pub(crate) head: String,
    /// Body of the last response.
    pub(crate) body: Vec<u8>,
}

impl HttpConnection {
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        Self::new(TcpStream::connect(address).await?)
    }

    /// Connects from one of this machine's loopback addresses. A server sees each as another
    /// client.
    pub(crate) async fn connect_from(source: IpAddr, address: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        Self::new(socket.connect(address).await?)
    }

    fn new(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        let buffer = Vec::with_capacity(64 * 1024);
        Ok(Self {
            stream,
            buffer,
            head: String::new(),
            body: Vec::new(),
        })
    }

    /// Sends a request and reads its complete response, which must have this status.
    pub(crate) async fn exchange(&mut self, request: &[u8], status: &str) -> anyhow::Result<()> {
        self.send(request).await?;
        self.answer().await?;
        ensure!(
            self.head.starts_with(status),
            "{}\n{}",
            self.head,
            String::from_utf8_lossy(&self.body)
        );
        Ok(())
    }

    /// Sends a request, or a part of one.
    pub(crate) async fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(request).await?)
    }

    /// Reads a complete response.
    pub(crate) async fn answer(&mut self) -> anyhow::Result<()> {
        self.head().await?;
        self.body.clear();
        if let Some(length) = self.header("content-length") {
            let length = length.parse()?;
            self.body = self.take(length).await?;
        } else if self.header("transfer-encoding") == Some("chunked") {
            self.read_chunks().await?;
        }
        Ok(())
    }

    /// Reads the headers of a response.
    pub(crate) async fn head(&mut self) -> anyhow::Result<()> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            self.read().await?;
        };
        let head = self.take(end + 4).await?;
        self.head.clear();
        self.head.push_str(std::str::from_utf8(&head)?);
        Ok(())
    }

    /// Reads until the body contains `words`.
    pub(crate) async fn read_until(&mut self, words: &[u8]) -> anyhow::Result<()> {
        while find(&self.buffer, words).is_none() {
            self.read().await?;
        }
        Ok(())
    }

    /// Returns a header of the last response.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields
            .into_iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    async fn read_chunks(&mut self) -> anyhow::Result<()> {
        loop {
            let end = loop {
                if let Some(end) = find(&self.buffer, b"\r\n") {
                    break end;
                }
                self.read().await?;
            };
            let size = self.take(end + 2).await?;
            let size = usize::from_str_radix(std::str::from_utf8(&size)?.trim(), 16)
                .context("no size of a chunk")?;
            let chunk = self.take(size + 2).await?;
            if size == 0 {
                return Ok(());
            }
            self.body
                .extend_from_slice(chunk.get(..size).unwrap_or_default());
        }
    }

    /// Removes this number of bytes from the buffer.
    async fn take(&mut self, length: usize) -> anyhow::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.read().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// Reads the available bytes of a response, or waits for more.
    pub(crate) async fn read(&mut self) -> anyhow::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!(
                "the server closed the connection: {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        }
        Ok(())
    }
}

fn find(bytes: &[u8], words: &[u8]) -> Option<usize> {
    bytes
        .windows(words.len())
        .position(|window| window == words)
}

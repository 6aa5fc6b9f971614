//! Detects plain HTTP on a port with TLS, and answers with an explanation. TLS itself would close
//! the connection without one.

use std::{io, pin::Pin, time::Duration};

use axum_server::accept::Accept;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tracing::info;

use crate::transport::TLS_HANDSHAKE;

const PLAIN_HTTP_RESPONSE: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
    This port speaks TLS, and the request came in plain HTTP. Call an address that begins with https://\n";

/// Acceptor that checks the first byte of a connection before TLS does.
#[derive(Clone)]
pub(super) struct PlainHttpDetector<A> {
    inner: A,
    /// Timeout for that byte.
    timeout: Duration,
}

impl<A> PlainHttpDetector<A> {
    pub(super) fn new(inner: A, time: Duration) -> Self {
        Self {
            inner,
            timeout: time,
        }
    }
}

impl<A, S> Accept<TcpStream, S> for PlainHttpDetector<A>
where
    A: Accept<TcpStream, S> + Clone + Send + 'static,
    A::Future: Send,
    S: Send + 'static,
{
    type Stream = A::Stream;
    type Service = A::Service;
    type Future =
        Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send + 'static>>;

    fn accept(&self, mut stream: TcpStream, service: S) -> Self::Future {
        let Self {
            inner,
            timeout: time,
        } = self.clone();
        Box::pin(async move {
            let mut first = [0];
            let seen = timeout(time, stream.peek(&mut first)).await??;
            if seen == 0 || first == [TLS_HANDSHAKE] {
                return inner.accept(stream, service).await;
            }
            if first.iter().all(u8::is_ascii_uppercase) {
                let peer = stream.peer_addr()?.ip();
                info!(address = %peer, "connection refused: plain HTTP on a port with TLS");
                _ = timeout(time, respond_in_plain_http(&mut stream)).await;
            }
            Err(io::ErrorKind::InvalidData.into())
        })
    }
}

async fn respond_in_plain_http(stream: &mut TcpStream) -> io::Result<()> {
    // Unread data at the close of a connection would discard the response.
    _ = stream.read(&mut [0; 8 << 10]).await?;
    stream.write_all(PLAIN_HTTP_RESPONSE.as_bytes()).await?;
    stream.shutdown().await
}

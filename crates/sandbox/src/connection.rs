//! Connections that the sandbox can abort, for faults without a response.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener, ListenerExt, TapIo},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

/// Handle of one connection. After an abort, writes fail and the server drops the connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionHandle(Arc<AtomicBool>);

impl ConnectionHandle {
    /// Aborts the connection before its next response.
    pub(crate) fn abort(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn check_open(&self) -> io::Result<()> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }
}

impl<F: FnMut(&mut TcpStream) + Send + 'static> Connected<IncomingStream<'_, AbortableListener<F>>>
    for ConnectionHandle
{
    fn connect_info(stream: IncomingStream<'_, AbortableListener<F>>) -> Self {
        stream.io().handle.clone()
    }
}

/// A listener whose connections can be aborted.
pub(crate) struct AbortableListener<F>(TapIo<TcpListener, F>);

/// Listens on a socket. Responses are small, so the delay for collecting data is disabled.
pub(crate) fn abortable_listener(
    socket: TcpListener,
) -> AbortableListener<impl FnMut(&mut TcpStream) + Send + 'static> {
    AbortableListener(socket.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "connection keeps its delay");
        }
    }))
}

impl<F: FnMut(&mut TcpStream) + Send + 'static> Listener for AbortableListener<F> {
    type Io = AbortableConnection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (AbortableConnection, SocketAddr) {
        let (stream, peer) = self.0.accept().await;
        (
            AbortableConnection {
                stream,
                handle: ConnectionHandle::default(),
            },
            peer,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A connection and the handle for aborting it.
pub(crate) struct AbortableConnection {
    stream: TcpStream,
    handle: ConnectionHandle,
}

impl AsyncRead for AbortableConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for AbortableConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.handle.check_open()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.handle.check_open()?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

//! Transports: stdio, HTTP, and the server for humans who approve calls.

pub mod admin;
mod auxiliary;
mod backlog;
pub mod http;
mod message_limits;
pub mod stdio;
mod trim;

pub(crate) use self::backlog::{MAX_OPEN_REQUESTS, MAX_UNWRITTEN_BYTES};

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

/// The byte order mark in UTF-8, which some clients write before the first message.
const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";

/// Message of the error response to a request with several `Host` headers.
const SEVERAL_HOSTS: &str = "the request has more than one `Host` header; send one";

/// Returns `true` if a request has several `Host` headers.
///
/// A proxy before this server may have used another of them (RFC 9112 §3.2).
fn has_several_hosts(headers: &::http::HeaderMap) -> bool {
    headers
        .get_all(::http::header::HOST)
        .iter()
        .nth(1)
        .is_some()
}

/// Binds a TCP listener. `option` is the command-line option that sets the address, for error
/// messages.
///
/// # Errors
/// Returns an error if the address cannot be bound. The message says why, and what to do.
pub fn listen(address: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    let listener =
        TcpListener::bind(address).map_err(|error| listen_error(address, option, &error))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Describes why an address cannot be bound, and what to do.
pub fn listen_error(address: SocketAddr, option: &str, error: &io::Error) -> anyhow::Error {
    let reason = match error.kind() {
        io::ErrorKind::AddrInUse => {
            let port = address.port();
            format!(
                "another process listens there already. Stop that one (`ss -ltnp` shows which has port \
                 {port}), or choose another port with `{option}`; port 0 takes a free one"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("no interface of this machine has that address. Choose another with `{option}`")
        }
        io::ErrorKind::PermissionDenied => format!(
            "the system does not permit it; ports below 1024 take privileges. Choose another port with \
             `{option}`"
        ),
        _ => format!("{error}. Choose another address with `{option}`"),
    };
    anyhow::anyhow!("cannot listen on {address}: {reason}")
}

/// Calls `reload` for each SIGHUP from now on. Without a handler that signal ends the process.
///
/// In a process started from a terminal, SIGHUP means that the terminal is gone. It then ends the
/// process like SIGTERM.
///
/// # Errors
/// Returns an error if the system provides no signal handlers.
#[cfg(unix)]
pub fn reload_on_hangup(reload: impl Fn() + Send + 'static) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    if has_terminal() {
        return Ok(());
    }
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!("SIGHUP: the files in use are read again");
            reload();
        }
    });
    Ok(())
}

/// Does nothing on systems without SIGHUP.
///
/// # Errors
/// Never returns an error.
#[cfg(not(unix))]
pub fn reload_on_hangup(_: impl Fn() + Send + 'static) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn has_terminal() -> bool {
    use std::io::IsTerminal;
    io::stdin().is_terminal()
}

/// Waits until the operator stops the process: SIGTERM or Ctrl-C.
///
/// # Errors
/// Returns an error if the system provides no signal handlers.
pub async fn wait_for_shutdown_signal() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = match has_terminal() {
            true => Some(signal(SignalKind::hangup())?),
            false => None,
        };
        let terminal_is_gone = async {
            match &mut hangup {
                Some(hangup) => _ = hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            outcome = tokio::signal::ctrl_c() => outcome,
            _ = terminate.recv() => Ok(()),
            () = terminal_is_gone => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

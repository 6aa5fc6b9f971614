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
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::watch;

/// The byte order mark in UTF-8, which some clients write before the first message.
const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";

/// First byte of every TLS connection (RFC 8446 §5.1), and of no HTTP request.
const TLS_HANDSHAKE: u8 = 22;

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

/// Requests to stop that the process has received, once the handlers are installed.
static STOP_REQUESTS: OnceLock<StopRequests> = OnceLock::new();

/// Requests to stop, each of which one waiter consumes.
#[derive(Debug)]
struct StopRequests {
    received: watch::Receiver<u64>,
    consumed: AtomicU64,
}

impl StopRequests {
    async fn next(&self) {
        let mut received = self.received.clone();
        loop {
            let number = *received.borrow_and_update();
            let taken =
                self.consumed
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |consumed| {
                        (consumed < number).then_some(consumed + 1)
                    });
            if taken.is_ok() {
                return;
            }
            if received.changed().await.is_err() {
                // The handlers live as long as the process.
                return std::future::pending().await;
            }
        }
    }
}

/// Installs the handlers for SIGTERM and Ctrl-C, so that a signal during a slow start is not lost, and ends the
/// process as later ones do.
///
/// # Errors
/// Returns an error if the system provides no signal handlers.
pub fn install_stop_handlers() -> io::Result<()> {
    let mut signals = StopSignals::listen()?;
    let (sender, received) = watch::channel(0);
    let requests = StopRequests {
        received,
        consumed: AtomicU64::new(0),
    };
    if STOP_REQUESTS.set(requests).is_ok() {
        tokio::spawn(async move {
            while signals.next().await.is_ok() {
                sender.send_modify(|number| *number += 1);
            }
        });
    }
    Ok(())
}

/// Completes a step of the start. Returns `None` if the operator stops the process meanwhile.
///
/// # Errors
/// Returns the error of the step, or one if the system provides no signal handlers.
pub async fn unless_stopped<T>(
    step: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<Option<T>> {
    tokio::select! {
        biased;
        done = step => done.map(Some),
        stopped = wait_for_shutdown_signal() => {
            stopped?;
            tracing::info!("stopped during the start");
            Ok(None)
        }
    }
}

/// Waits until the operator stops the process: SIGTERM or Ctrl-C.
///
/// # Errors
/// Returns an error if the system provides no signal handlers.
pub async fn wait_for_shutdown_signal() -> io::Result<()> {
    match STOP_REQUESTS.get() {
        Some(requests) => {
            requests.next().await;
            Ok(())
        }
        None => StopSignals::listen()?.next().await,
    }
}

/// The signals that stop the process, received since this was created.
#[cfg(unix)]
#[derive(Debug)]
struct StopSignals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// The terminal is gone; only of a process that was started from one.
    hangup: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl StopSignals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: match has_terminal() {
                true => Some(signal(SignalKind::hangup())?),
                false => None,
            },
        })
    }

    async fn next(&mut self) -> io::Result<()> {
        let terminal_is_gone = async {
            match &mut self.hangup {
                Some(hangup) => _ = hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = terminal_is_gone => {}
        }
        Ok(())
    }
}

/// Ctrl-C, which other systems have alone.
#[cfg(not(unix))]
#[derive(Debug)]
struct StopSignals;

#[cfg(not(unix))]
impl StopSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> io::Result<()> {
        tokio::signal::ctrl_c().await
    }
}

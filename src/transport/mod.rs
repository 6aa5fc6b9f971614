//! How clients reach the server, and how a human does who approves their calls.

pub mod admin;
pub mod http;
pub mod stdio;

/// Waits for the operator's wish to stop: SIGTERM or Ctrl-C.
///
/// # Errors
/// The system hands out no signal handlers.
pub async fn interrupted() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            outcome = tokio::signal::ctrl_c() => outcome,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

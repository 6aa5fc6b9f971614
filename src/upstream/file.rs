//! Files at addresses that an upstream has signed: which addresses are fetched, and how.
//!
//! A signed address is a credential. It appears in no error, log or trace, and no key is sent to it.

use std::net::IpAddr;

use bytes::Bytes;
use http::StatusCode;
use portkey_operation::{ApiBase, Upstream};
use reqwest::Url;

use super::{SendError, TransportCause, UpstreamClient};
use crate::observability::metrics::AttemptTimer;

/// Name of downloads in metrics, where calls have the names of their operations.
const DOWNLOAD_NAME: &str = "download-file";

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The answer has no address.
    #[error("the answer names no file; look at the state of the job, and call again")]
    NoAddress,
    /// The address is not one that is fetched.
    #[error(
        "the file was not fetched, because its address {0}. Only addresses with https are, and those of a \
         sandbox on this machine"
    )]
    InvalidAddress(&'static str),
    /// No response came, or it ended early.
    #[error("the host of the file could not be read: {0}. The call can be made again")]
    Transport(TransportCause),
    /// The host answered with a redirect.
    #[error("the host of the file answered with a redirect, which is not followed")]
    Redirected,
    /// The host refused.
    #[error(
        "the host of the file answered with {}. Addresses of files expire; the call can be made again", .0.as_u16()
    )]
    Refused(StatusCode),
}

impl From<reqwest::Error> for FileError {
    fn from(error: reqwest::Error) -> Self {
        Self::Transport(error.into())
    }
}

/// A file that is being received.
pub struct FileDownload {
    response: reqwest::Response,
    /// Records the duration when it is dropped.
    _timer: AttemptTimer,
}

impl FileDownload {
    /// Returns the next bytes; `None` at the end.
    ///
    /// # Errors
    /// Returns an error if the connection breaks.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, FileError> {
        Ok(self.response.chunk().await?)
    }
}

impl UpstreamClient {
    /// Requests the file at an address that Portkey has signed: without a key, without redirects, and
    /// at no other address.
    ///
    /// # Errors
    /// Returns an error if the address is not fetched, or if its host does not answer with a file.
    pub async fn open_file(&self, address: &str) -> Result<FileDownload, SendError> {
        let url = self.check_file_address(address)?;
        let mut timer = self.metrics.start_attempt(DOWNLOAD_NAME, Upstream::Portkey);
        let sent = self.http()?.get(url).send().await;
        let response = sent.map_err(FileError::from)?;
        let status = response.status();
        timer.set_status(status);
        match status {
            StatusCode::OK => Ok(FileDownload {
                response,
                _timer: timer,
            }),
            status if status.is_redirection() => Err(FileError::Redirected.into()),
            status => Err(FileError::Refused(status).into()),
        }
    }

    fn check_file_address(&self, address: &str) -> Result<Url, FileError> {
        let url = Url::parse(address).map_err(|_| FileError::InvalidAddress("is no URL"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(FileError::InvalidAddress("has a user name"));
        }
        let control_plane = self.settings.addresses.base_url(ApiBase::ControlPlane);
        let is_sandbox =
            || is_loopback(&url) && control_plane.is_some_and(|own| own.origin() == url.origin());
        match url.scheme() {
            "https" => Ok(url),
            "http" if is_sandbox() => Ok(url),
            _ => Err(FileError::InvalidAddress("is not encrypted")),
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse();
    host == "localhost" || ip.is_ok_and(|ip: IpAddr| ip.is_loopback())
}

//! The HTTP client builder of the process, the causes of failed connections, checks of proxies,
//! and the client for outside decision points.

mod circuit_breaker;
pub mod decision_point;
pub(crate) mod network_error;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use reqwest::{Client, ClientBuilder};
use rustls::{ClientConfig, RootCertStore};

/// True once a client was built on a machine that trusts no certificate authority.
static HAS_NO_ROOTS: AtomicBool = AtomicBool::new(false);

/// An HTTP client cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be set up: {0}")]
pub struct ClientSetupError(String);

/// Builds a client from the builder that the function makes.
///
/// A machine without certificate authorities, such as an image that holds one program only, gets a client that trusts
/// no server: addresses that begin with `http://` can be called, and others fail with the cause.
///
/// # Errors
/// Returns an error if the builder cannot be made, or its settings cannot be used.
pub fn build_client<E: From<ClientSetupError>>(
    builder: impl Fn() -> Result<ClientBuilder, E>,
) -> Result<Client, E> {
    let failure = match builder()?.build() {
        Ok(client) => return Ok(client),
        Err(error) => error,
    };
    if !network_error::is_missing_roots(&failure) {
        return Err(ClientSetupError(network_error::describe_cause(&failure)).into());
    }
    HAS_NO_ROOTS.store(true, Ordering::Relaxed);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientSetupError(error.to_string()))?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let built = builder()?.tls_backend_preconfigured(config).build();
    built.map_err(|error| ClientSetupError(network_error::describe_cause(&error)).into())
}

/// Returns the builder that every HTTP client of the process starts from.
///
/// Selects ring as the TLS cryptography of the whole process.
pub fn client_builder() -> reqwest::ClientBuilder {
    // An error means that a provider is installed already, which is as well.
    _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}

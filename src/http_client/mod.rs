//! The HTTP client builder of the process, the causes of failed connections, checks of proxies,
//! and the client for outside decision points.

mod circuit_breaker;
pub mod decision_point;
pub(crate) mod network_error;

/// Returns the builder that every HTTP client of the process starts from.
///
/// Selects ring as the TLS cryptography of the whole process.
pub fn client_builder() -> reqwest::ClientBuilder {
    // An error means that a provider is installed already, which is as well.
    _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}

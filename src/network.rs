//! Why a connection failed, in words for whoever can act upon it.

use std::{error::Error, io};

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use rustls::{CertificateError, InvalidMessage};

/// Says why, by the innermost error: the outer ones say that sending failed.
pub(crate) fn cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    loop {
        if let Some(told) = told(innermost) {
            return told;
        }
        let Some(source) = source(innermost) else { return innermost.to_string() };
        innermost = source;
    }
}

/// What an error was caused by. That of the system passes over what is wrapped in it.
fn source<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn told(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(of_tls(error));
    }
    if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
        let told = "what answers there does not speak HTTP; if the port speaks TLS, the address has to \
                    begin with https://";
        return Some(told.to_owned());
    }
    match error.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::ConnectionRefused => {
            Some("nothing listens there (connection refused)".to_owned())
        }
        _ => None,
    }
}

fn of_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => of_certificate(error),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the address begins with https://, and what answers there does not speak TLS. Give the port \
             that does, or an address that begins with http://"
                .to_owned()
        }
        other => format!("TLS could not be set up: {other}"),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "its certificate is self-signed, or issued by an authority that is not trusted here. Give the \
             PEM file of that authority with --ca-file (PORTKEY_MCP_CA_FILE)"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired. Renew it, and see whether the clock of this machine is right"
                .to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet. See whether the clock of this machine is right".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another host name. Give the name that stands in it".to_owned()
        }
        CertificateError::Revoked => "its certificate is revoked".to_owned(),
        CertificateError::Other(error) if error.to_string() == CA_AS_SERVER => {
            "its certificate is that of an authority, as self-signed ones often are, and not of a server. \
             Give the server a certificate that is not (`CA:FALSE`), and have it trusted with --ca-file \
             (PORTKEY_MCP_CA_FILE)"
                .to_owned()
        }
        other => format!("its certificate is not accepted: {other}"),
    }
}

/// How the verifier names a certificate authority in the place of a server. It exports no type for that.
const CA_AS_SERVER: &str = "CaUsedAsEndEntity";

/// The proxy that the system has for an address, without what authenticates to it.
pub(crate) fn proxy_of(address: &str) -> Option<String> {
    let address: Uri = address.parse().ok()?;
    let proxy = Matcher::from_system().intercept(&address)?;
    let (scheme, authority) = (proxy.uri().scheme_str()?, proxy.uri().authority()?);
    let port = authority.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{scheme}://{}{port}", authority.host()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cause_is_told_by_what_is_wrapped_deepest() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        assert!(cause(&wrapped).contains("--ca-file"), "{}", cause(&wrapped));
        let plain = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
        assert!(cause(&plain).contains("does not speak TLS"), "{}", cause(&plain));
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(cause(&refused), "nothing listens there (connection refused)");
        let other = io::Error::other("the cable is cut");
        assert_eq!(cause(&other), "the cable is cut");
    }
}

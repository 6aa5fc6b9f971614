//! Describes failed connections to the people who can fix them, and checks the proxy variables.

use std::{env, error::Error, ffi::OsString, fmt, io, sync::atomic::Ordering};

use http::{StatusCode, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use rustls::{CertificateError, InvalidMessage};

use super::HAS_NO_ROOTS;

/// Describes the innermost cause of an error; the outer ones only say that sending failed.
pub(crate) fn describe_cause(error: &(dyn Error + 'static)) -> String {
    let request = error.downcast_ref::<reqwest::Error>();
    let is_plain_http = request.is_some_and(was_sent_in_plain_http);
    describe_innermost(error, is_plain_http)
}

/// Describes the failure of a request without its address.
pub(crate) fn describe_request_error(error: reqwest::Error) -> String {
    RequestError::from(error).to_string()
}

/// The failure of a request without its address, which may hold ids and passwords. It is displayed as
/// [`describe_cause`] describes it.
#[derive(Debug)]
pub(crate) struct RequestError {
    pub(crate) error: reqwest::Error,
    is_plain_http: bool,
}

impl From<reqwest::Error> for RequestError {
    fn from(error: reqwest::Error) -> Self {
        let is_plain_http = was_sent_in_plain_http(&error);
        let error = error.without_url();
        Self {
            error,
            is_plain_http,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&describe_innermost(&self.error, self.is_plain_http))
    }
}

fn was_sent_in_plain_http(error: &reqwest::Error) -> bool {
    error.url().is_some_and(|url| url.scheme() == "http")
}

fn describe_innermost(error: &(dyn Error + 'static), is_plain_http: bool) -> String {
    let mut innermost = error;
    loop {
        if let Some(description) = describe_known_error(innermost) {
            return description;
        }
        if is_plain_http && is_lost_connection(innermost) {
            return format!("{innermost}; {HTTPS_HINT}");
        }
        let Some(source) = next_cause(innermost) else {
            return innermost.to_string();
        };
        innermost = source;
    }
}

const HTTPS_HINT: &str = "if the port speaks TLS, the address has to begin with https://";

/// Returns true if the other end closed the connection before its answer, as many TLS servers do that get plain HTTP.
fn is_lost_connection(error: &(dyn Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return error.is_incomplete_message();
    }
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    matches!(
        kind,
        Some(
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
        )
    )
}

/// Parts of the answers of TLS servers to plain HTTP, lowercase: this program, Go, nginx, Apache httpd and Tomcat.
const PLAIN_HTTP_ANSWERS: &[&str] = &[
    "this port speaks tls, and the request came in plain http",
    "sent an http request to an https server",
    "plain http request was sent to https port",
    "speaking plain http to an ssl-enabled server port",
    "this combination of host and port requires tls",
];

/// Maximum length of the part of an answer that is searched for these texts, in bytes.
const MAX_SEARCHED_BYTES: usize = 4 << 10;

/// Explanation of such an answer.
pub(crate) const PLAIN_HTTP_ON_TLS_PORT: &str = "a request in plain HTTP came to a port that speaks TLS. Let the address \
    begin with https://; if it does, the proxy behind it uses plain HTTP";

/// Returns true if the answer comes from a port that speaks TLS, and that got plain HTTP.
pub(crate) fn is_plain_http_answer(status: StatusCode, body: &[u8]) -> bool {
    if status != StatusCode::BAD_REQUEST {
        return false;
    }
    let start = body.get(..MAX_SEARCHED_BYTES).unwrap_or(body);
    let text = String::from_utf8_lossy(start).to_ascii_lowercase();
    PLAIN_HTTP_ANSWERS
        .iter()
        .any(|answer| text.contains(answer))
}

/// Beginning of the verifier's error on a machine that trusts no authority. No type is exported for this error.
const NO_ROOTS: &str = "No CA certificates were loaded";

const NO_ROOTS_MESSAGE: &str = "no certificate authority is trusted on this machine. Install the system's package \
    `ca-certificates`, set SSL_CERT_FILE to a PEM file of authorities, or name one with --ca-file \
    (PORTKEY_MCP_CA_FILE)";

/// Returns true if a client cannot be built because the machine trusts no certificate authority.
pub(super) fn is_missing_roots(error: &(dyn Error + 'static)) -> bool {
    let mut innermost = error;
    loop {
        if let Some(rustls::Error::General(text)) = innermost.downcast_ref() {
            return text.starts_with(NO_ROOTS);
        }
        let Some(source) = next_cause(innermost) else {
            return false;
        };
        innermost = source;
    }
}

/// Returns the cause of an error. `source()` of an `io::Error` skips the error wrapped in it, so
/// that one is taken first.
fn next_cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn describe_known_error(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(describe_tls_error(error));
    }
    if error
        .downcast_ref::<hyper::Error>()
        .is_some_and(hyper::Error::is_parse)
    {
        return Some(format!(
            "what answers there does not speak HTTP; {HTTPS_HINT}"
        ));
    }
    match error.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::ConnectionRefused => {
            Some("nothing listens there (connection refused)".to_owned())
        }
        _ => None,
    }
}

fn describe_tls_error(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => describe_certificate_error(error),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the address begins with https://, and what answers there does not speak TLS. Give the port \
             that does, or an address that begins with http://"
                .to_owned()
        }
        rustls::Error::General(text) if text.starts_with(NO_ROOTS) => NO_ROOTS_MESSAGE.to_owned(),
        other => format!("TLS could not be set up: {other}"),
    }
}

fn describe_certificate_error(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer if HAS_NO_ROOTS.load(Ordering::Relaxed) => {
            NO_ROOTS_MESSAGE.to_owned()
        }
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
        CertificateError::BadSignature => {
            "its certificate is not signed by the authority that it names, which may have a new key. Give the PEM \
             file of that authority with --ca-file (PORTKEY_MCP_CA_FILE)"
                .to_owned()
        }
        CertificateError::Revoked => "its certificate is revoked".to_owned(),
        CertificateError::Other(error) if error.to_string() == CA_USED_AS_END_ENTITY => {
            "its certificate is that of an authority, as self-signed ones often are, and not of a server. \
             Give the server a certificate that is not (`CA:FALSE`), and have it trusted with --ca-file \
             (PORTKEY_MCP_CA_FILE)"
                .to_owned()
        }
        other => format!("its certificate is not accepted: {other}"),
    }
}

/// The verifier's name for a certificate authority used as a server. No type is exported for this
/// error.
const CA_USED_AS_END_ENTITY: &str = "CaUsedAsEndEntity";

/// Returns the system's proxy for an address, without its credentials.
pub(crate) fn system_proxy(address: &str) -> Option<String> {
    let address: Uri = address.parse().ok()?;
    let proxy = Matcher::from_system().intercept(&address)?;
    let scheme = proxy.uri().scheme_str()?;
    let authority = proxy.uri().authority()?;
    let port = authority
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    Some(format!("{scheme}://{}{port}", authority.host()))
}

/// An environment variable that is meant to name a proxy, and does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the variable `{0}` is not the address of a proxy that can be used. Give one such as \
     http://proxy.example.com:3128 or https://proxy.example.com, or unset the variable"
)]
pub(crate) struct InvalidProxy(&'static str);

/// The variables that name a proxy; in each pair the first one set is used.
const PROXY_VARIABLES: [[&str; 2]; 3] = [
    ["HTTPS_PROXY", "https_proxy"],
    ["HTTP_PROXY", "http_proxy"],
    ["ALL_PROXY", "all_proxy"],
];

/// Checks that each proxy variable holds a valid proxy. An HTTP client ignores an invalid one and
/// would connect without a proxy.
///
/// # Errors
/// Returns the name of the invalid variable. The value is omitted, because it may contain a
/// password.
pub(crate) fn check_proxies() -> Result<(), InvalidProxy> {
    check_proxies_in(|name| env::var_os(name))
}

fn check_proxies_in(variable: impl Fn(&str) -> Option<OsString>) -> Result<(), InvalidProxy> {
    // HTTP clients do the same: under CGI, `HTTP_PROXY` may come from a request header.
    if variable("REQUEST_METHOD").is_some() {
        return Ok(());
    }
    for names in PROXY_VARIABLES {
        let set = names
            .into_iter()
            .find_map(|name| Some((name, variable(name)?)));
        let Some((name, address)) = set else { continue };
        if !address.is_empty() && !address.to_str().is_some_and(is_proxy_address) {
            return Err(InvalidProxy(name));
        }
    }
    Ok(())
}

fn is_proxy_address(address: &str) -> bool {
    let Ok(uri) = address.parse::<Uri>() else {
        return false;
    };
    // A client takes an address without a scheme for an HTTP proxy, and does not support SOCKS.
    let is_http = matches!(uri.scheme_str(), None | Some("http" | "https"));
    let has_port = uri.authority().is_some_and(|authority| {
        let (_, host) = authority
            .as_str()
            .rsplit_once('@')
            .unwrap_or(("", authority.as_str()));
        let port = host
            .rsplit_once(':')
            .filter(|(_, port)| !port.ends_with(']'));
        port.is_none_or(|_| authority.port_u16().is_some())
    });
    let matcher = Matcher::builder().http(address.to_owned()).build();
    is_http
        && has_port
        && matcher
            .intercept(&Uri::from_static("http://portkey.invalid/"))
            .is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_proxy_variable_is_an_error() {
        struct Case {
            variables: &'static [(&'static str, &'static str)],
            invalid: Option<&'static str>,
        }
        let cases = [
            Case {
                variables: &[],
                invalid: None,
            },
            Case {
                variables: &[("HTTPS_PROXY", "")],
                invalid: None,
            },
            Case {
                variables: &[("HTTPS_PROXY", "http://proxy.invalid:3128")],
                invalid: None,
            },
            Case {
                variables: &[("HTTPS_PROXY", "https://a:b%40c@proxy.invalid")],
                invalid: None,
            },
            Case {
                variables: &[("http_proxy", "proxy.invalid:3128")],
                invalid: None,
            },
            Case {
                variables: &[("ALL_PROXY", "http://[::1]:3128/")],
                invalid: None,
            },
            Case {
                variables: &[("ALL_PROXY", "http://[::1]")],
                invalid: None,
            },
            Case {
                variables: &[("HTTPS_PROXY", "http://user:secret@proxy.invalid:99999")],
                invalid: Some("HTTPS_PROXY"),
            },
            Case {
                variables: &[("https_proxy", "http://proxy.invalid:x")],
                invalid: Some("https_proxy"),
            },
            Case {
                variables: &[("HTTP_PROXY", "http://a b")],
                invalid: Some("HTTP_PROXY"),
            },
            Case {
                variables: &[("HTTP_PROXY", "http://")],
                invalid: Some("HTTP_PROXY"),
            },
            Case {
                variables: &[("ALL_PROXY", "socks5://proxy.invalid:1080")],
                invalid: Some("ALL_PROXY"),
            },
            Case {
                variables: &[("all_proxy", "ftp://proxy.invalid")],
                invalid: Some("all_proxy"),
            },
            // The first variable of a pair is used, even if it is empty.
            Case {
                variables: &[("HTTP_PROXY", ""), ("http_proxy", "http://")],
                invalid: None,
            },
            Case {
                variables: &[("HTTP_PROXY", "http://"), ("REQUEST_METHOD", "GET")],
                invalid: None,
            },
        ];
        for Case { variables, invalid } in cases {
            let variable = |name: &str| {
                let set = variables.iter().find(|(set, _)| *set == name);
                set.map(|(_, value)| OsString::from(value))
            };
            let found = check_proxies_in(variable).err();
            assert_eq!(found, invalid.map(InvalidProxy), "{variables:?}");
            let message = found.map(|error| error.to_string()).unwrap_or_default();
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn answer_of_a_tls_port_is_recognised() {
        let nginx = "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>";
        let go = "Client sent an HTTP request to an HTTPS server.\n";
        let long = format!("{}{go}", " ".repeat(MAX_SEARCHED_BYTES));
        for (status, body, expected) in [
            (StatusCode::BAD_REQUEST, nginx, true),
            (StatusCode::BAD_REQUEST, go, true),
            (StatusCode::OK, go, false),
            (StatusCode::BAD_REQUEST, &long, false),
            (StatusCode::BAD_REQUEST, r#"{"message":"no"}"#, false),
            (StatusCode::BAD_REQUEST, "", false),
        ] {
            let found = is_plain_http_answer(status, body.as_bytes());
            assert_eq!(found, expected, "{status} {body}");
        }
    }

    #[test]
    fn cause_is_that_of_innermost_error() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        assert!(
            describe_cause(&wrapped).contains("--ca-file"),
            "{}",
            describe_cause(&wrapped)
        );
        let plain = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
        assert!(
            describe_cause(&plain).contains("does not speak TLS"),
            "{}",
            describe_cause(&plain)
        );
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(
            describe_cause(&refused),
            "nothing listens there (connection refused)"
        );
        let other = io::Error::other("the cable is cut");
        assert_eq!(describe_cause(&other), "the cable is cut");
    }
}

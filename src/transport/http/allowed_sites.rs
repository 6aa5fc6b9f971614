//! Checks the host name of a request, and the origin of the page that sends it.
//!
//! A page may have its own host name resolve to this machine (DNS rebinding). The host must
//! therefore be one of this server's names, and the page's origin must be allowed. On a loopback
//! listener, pages of this machine are allowed.

use std::net::IpAddr;

use axum::extract::Request;
use http::{HeaderValue, StatusCode, header};

use super::error_response::ErrorResponse;
use crate::transport::{SEVERAL_HOSTS, has_several_hosts};

/// Maximum length of a name that is repeated in an error, in characters.
const MAX_SHOWN_CHARS: usize = 200;

/// The allowed hosts and origins.
#[derive(Debug)]
pub(super) struct AllowedSites {
    hosts: Vec<AllowedHost>,
    origins: Vec<PageOrigin>,
}

/// A host name, with a port if only that one is allowed.
#[derive(Debug)]
struct AllowedHost {
    name: String,
    port: Option<u16>,
}

/// An origin. Without a port it matches any port.
#[derive(Debug, PartialEq, Eq)]
enum PageOrigin {
    /// The opaque origin, `null`.
    Null,
    Tuple {
        scheme: String,
        host: String,
        port: Option<u16>,
    },
}

impl AllowedSites {
    /// Parses the allowed hosts and origins. Invalid ones are skipped.
    pub(super) fn new(hosts: &[String], origins: &[String]) -> Self {
        let host = |text: &String| {
            let (name, port) = split_authority(text.trim())?;
            Some(AllowedHost {
                name: name.to_ascii_lowercase(),
                port,
            })
        };
        Self {
            hosts: hosts.iter().filter_map(host).collect(),
            origins: origins
                .iter()
                .filter_map(|text| PageOrigin::from_setting(text.trim()))
                .collect(),
        }
    }

    /// Checks host and origin of a request. A dot that ends the host name makes it absolute without
    /// another meaning, and is removed.
    ///
    /// # Errors
    /// Returns an error response if the host is missing, invalid or not allowed, or if the origin
    /// is not allowed.
    pub(super) fn check(&self, request: &mut Request) -> Result<(), ErrorResponse> {
        if has_several_hosts(request.headers()) {
            return Err(ErrorResponse::new(StatusCode::BAD_REQUEST, SEVERAL_HOSTS));
        }
        let given = match request.headers().get(header::HOST) {
            Some(value) => value.to_str().ok(),
            // HTTP/2 sends the host as the authority.
            None => request
                .uri()
                .authority()
                .map(|authority| authority.as_str()),
        };
        let Some((name, port)) = given.and_then(split_authority) else {
            let message =
                "the request names no host, or not as one is written: `name` or `name:port`";
            return Err(ErrorResponse::new(StatusCode::BAD_REQUEST, message));
        };
        let matches_request = |host: &AllowedHost| {
            host.name.eq_ignore_ascii_case(name) && host.port.is_none_or(|only| port == Some(only))
        };
        if !self.hosts.iter().any(matches_request) {
            let shown: String = name.chars().take(MAX_SHOWN_CHARS).collect();
            let message = format!(
                "this server does not answer to the host name `{shown}`. Its operator can allow it with \
                 `--allowed-host {shown}`"
            );
            return Err(
                ErrorResponse::new(StatusCode::FORBIDDEN, message).with_invalid_request_code()
            );
        }
        if given.is_some_and(|given| given.as_bytes().get(name.len()) == Some(&b'.')) {
            let plain = port.map_or(name.to_owned(), |port| format!("{name}:{port}"));
            // Text that was read from a header is valid in one.
            if let Ok(plain) = HeaderValue::from_str(&plain) {
                request.headers_mut().insert(header::HOST, plain);
            }
        }
        match request.headers().get(header::ORIGIN) {
            Some(origin) if !self.allows_origin(origin) => {
                let shown: String = origin
                    .to_str()
                    .unwrap_or_default()
                    .chars()
                    .take(MAX_SHOWN_CHARS)
                    .collect();
                let message = format!(
                    "pages of the origin `{shown}` may not call this server. Its operator can allow \
                     them with `--allowed-origin {shown}`"
                );
                Err(ErrorResponse::new(StatusCode::FORBIDDEN, message).with_invalid_request_code())
            }
            _ => Ok(()),
        }
    }

    /// Returns `true` if pages of an origin may call.
    pub(super) fn allows_origin(&self, origin: &HeaderValue) -> bool {
        let Some(given) = origin.to_str().ok().and_then(PageOrigin::from_header) else {
            return false;
        };
        self.origins.iter().any(|allowed| allowed.covers(&given))
    }

    /// Returns `true` if any origin is allowed.
    pub(super) fn has_origins(&self) -> bool {
        !self.origins.is_empty()
    }
}

impl PageOrigin {
    /// Parses an origin as browsers send it.
    fn from_header(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("null") {
            return Some(Self::Null);
        }
        let (scheme, rest) = text.split_once("://")?;
        let (host, port) = split_authority(rest)?;
        Some(Self::Tuple {
            scheme: scheme.to_ascii_lowercase(),
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    /// Parses an origin as operators write it: `:*` stands for any port, and a path is ignored.
    fn from_setting(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let host = rest.split('/').next().unwrap_or(rest);
        let (host, is_any_port) = match host.strip_suffix(":*") {
            Some(host) => (host, true),
            None => (host, false),
        };
        let origin = match scheme {
            "" => Self::from_header(host),
            _ => Self::from_header(&format!("{scheme}://{host}")),
        };
        origin.filter(|origin| !is_any_port || matches!(origin, Self::Tuple { port: None, .. }))
    }

    fn covers(&self, given: &Self) -> bool {
        match (self, given) {
            (
                Self::Tuple {
                    scheme,
                    host,
                    port: None,
                },
                Self::Tuple {
                    scheme: s, host: h, ..
                },
            ) => scheme == s && host == h,
            (
                Self::Tuple { scheme, host, port },
                Self::Tuple {
                    scheme: s,
                    host: h,
                    port: p,
                },
            ) => {
                // Browsers omit the default port (RFC 6454 §6.2).
                let default_port = match s.as_str() {
                    "https" => Some(443),
                    "http" => Some(80),
                    _ => None,
                };
                scheme == s && host == h && p.or(default_port) == *port
            }
            (one, other) => one == other,
        }
    }
}

/// Returns the origins of this machine's own pages, which are allowed if nobody else can connect.
pub(super) fn loopback_origins(listen: IpAddr) -> Vec<String> {
    if !listen.is_loopback() {
        return Vec::new();
    }
    let listen_host = match listen {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let mut hosts = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "[::1]".to_owned(),
    ];
    if !hosts.contains(&listen_host) {
        hosts.push(listen_host);
    }
    let with_scheme =
        |scheme: &'static str| hosts.iter().map(move |host| format!("{scheme}://{host}:*"));
    with_scheme("http").chain(with_scheme("https")).collect()
}

/// Splits `name:port`. The name is returned without the brackets of an address and without a final
/// dot.
fn split_authority(text: &str) -> Option<(&str, Option<u16>)> {
    let (name, rest) = match text.strip_prefix('[') {
        Some(text) => {
            let (name, rest) = text.split_once(']')?;
            name.parse::<std::net::Ipv6Addr>().ok()?;
            (name, rest)
        }
        // An IPv6 address may also be configured without brackets.
        None if text.parse::<std::net::Ipv6Addr>().is_ok() => (text, ""),
        None => {
            let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
            let fits =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            let name = name.strip_suffix('.').unwrap_or(name);
            if name.is_empty() || !name.bytes().all(fits) {
                return None;
            }
            (name, rest)
        }
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(port.parse().ok()?),
        None if rest.is_empty() => None,
        None => return None,
    };
    Some((name, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites(hosts: &[&str], origins: &[&str]) -> AllowedSites {
        let owned = |texts: &[&str]| {
            texts
                .iter()
                .map(|&text| text.to_owned())
                .collect::<Vec<_>>()
        };
        AllowedSites::new(&owned(hosts), &owned(origins))
    }

    #[test]
    fn hosts_are_compared_by_name_and_port() {
        struct Case {
            host: &'static str,
            passes: bool,
            seen_as: &'static str,
        }

        let sites = sites(
            &["localhost", "::1", "mcp.example.com", "one.example:8443"],
            &[],
        );
        for Case {
            host,
            passes,
            seen_as,
        } in [
            Case {
                host: "localhost",
                passes: true,
                seen_as: "localhost",
            },
            Case {
                host: "LOCALHOST:80",
                passes: true,
                seen_as: "LOCALHOST:80",
            },
            Case {
                host: "[::1]:8787",
                passes: true,
                seen_as: "[::1]:8787",
            },
            Case {
                host: "mcp.example.com.",
                passes: true,
                seen_as: "mcp.example.com",
            },
            Case {
                host: "mcp.example.com.:8443",
                passes: true,
                seen_as: "mcp.example.com:8443",
            },
            Case {
                host: "one.example:8443",
                passes: true,
                seen_as: "one.example:8443",
            },
            Case {
                host: "one.example",
                passes: false,
                seen_as: "",
            },
            Case {
                host: "one.example:8444",
                passes: false,
                seen_as: "",
            },
            Case {
                host: "evil.example",
                passes: false,
                seen_as: "",
            },
            Case {
                host: "localhost.evil.example",
                passes: false,
                seen_as: "",
            },
            Case {
                host: "mcp.example.com..",
                passes: false,
                seen_as: "",
            },
            Case {
                host: "evil.example:localhost",
                passes: false,
                seen_as: "",
            },
            Case {
                host: "evil@localhost",
                passes: false,
                seen_as: "",
            },
            Case {
                host: "localhost/evil",
                passes: false,
                seen_as: "",
            },
            Case {
                host: "",
                passes: false,
                seen_as: "",
            },
        ] {
            let request = Request::builder()
                .header(header::HOST, host)
                .body(axum::body::Body::empty());
            let Ok(mut request) = request else { continue };
            assert_eq!(sites.check(&mut request).is_ok(), passes, "{host}");
            if passes {
                assert_eq!(
                    request
                        .headers()
                        .get(header::HOST)
                        .map(HeaderValue::as_bytes),
                    Some(seen_as.as_bytes())
                );
            }
        }
    }

    #[test]
    fn origins_are_compared_by_scheme_host_and_port() {
        let sites = sites(
            &[],
            &[
                "https://a.example",
                "http://b.example:81",
                "https://c.example:443",
                "https://d.example/",
                "http://e.example:8/path",
                "http://[::1]:*",
            ],
        );
        for (origin, passes) in [
            ("https://a.example", true),
            ("https://A.example:9", true),
            ("http://a.example", false),
            ("http://b.example:81", true),
            ("http://b.example", false),
            ("https://c.example", true),
            ("https://d.example", true),
            ("http://e.example:9", false),
            ("http://[::1]:6274", true),
            ("http://[::2]:6274", false),
            ("https://a.example.evil.example", false),
            ("https://a.example@evil.example", false),
            ("null", false),
            ("", false),
        ] {
            let allowed =
                HeaderValue::from_str(origin).is_ok_and(|origin| sites.allows_origin(&origin));
            assert_eq!(allowed, passes, "{origin}");
        }
    }

    #[test]
    fn local_pages_are_allowed_only_on_loopback() {
        let loopback = AllowedSites::new(&[], &loopback_origins([127, 0, 0, 1].into()));
        for (origin, passes) in [
            ("http://localhost:6274", true),
            ("https://127.0.0.1", true),
            ("http://[::1]:1", true),
            ("http://localhost.evil.example:6274", false),
            ("http://10.0.0.1", false),
            ("null", false),
        ] {
            let allowed =
                HeaderValue::from_str(origin).is_ok_and(|origin| loopback.allows_origin(&origin));
            assert_eq!(allowed, passes, "{origin}");
        }
        for beyond in [IpAddr::from([0, 0, 0, 0]), IpAddr::from([10, 0, 0, 7])] {
            assert_eq!(loopback_origins(beyond), Vec::<String>::new());
        }
    }
}

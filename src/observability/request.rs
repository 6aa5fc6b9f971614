//! Information about a request, apart from its caller and its content: id, transport, protocol,
//! trace, client and session.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    net::IpAddr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{HeaderName, HeaderValue};

use crate::observability::traces::TraceParent;

pub use portkey_policy::Transport;

/// Label value for names that do not exist.
pub const UNKNOWN_NAME: &str = "_unknown";

/// Header with the id of a request, accepted from trusted proxies and returned in responses.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Maximum length of an accepted id, in characters.
const MAX_ID_CHARS: usize = 128;

/// The id of a request in logs and responses: visible ASCII.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Generates an id: a random part per process, then a counter. The id is unique and not secret.
    pub fn generate() -> Self {
        static PROCESS: LazyLock<String> =
            LazyLock::new(|| format!("{:016x}", RandomState::new().build_hasher().finish()));
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = HeaderValue::from_str(&format!("{}-{count:x}", *PROCESS));
        Self(id.unwrap_or(HeaderValue::from_static("none")))
    }

    /// Takes the id from a header, unless it is empty, longer than 128 characters, or not visible
    /// ASCII.
    pub fn from_header(header: &HeaderValue) -> Option<Self> {
        let fits = (1..=MAX_ID_CHARS).contains(&header.len())
            && header.as_bytes().iter().all(u8::is_ascii_graphic);
        fits.then(|| Self(header.clone()))
    }

    /// Copies the id into memory of its own. A header value would otherwise keep the whole head of
    /// its request in memory.
    pub fn to_detached(&self) -> Self {
        Self(HeaderValue::from_bytes(self.0.as_bytes()).unwrap_or(HeaderValue::from_static("none")))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// Returns the id as a header value.
    pub const fn as_header_value(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Information about how a request reached the server.
#[derive(Clone, Debug)]
pub struct RequestInfo {
    /// Id of the request in logs and responses.
    pub id: RequestId,
    /// Transport of the request.
    pub transport: Transport,
    /// MCP protocol version of the request; `_unknown` if there is none.
    pub protocol: &'static str,
    /// Trace that the request belongs to.
    pub trace_parent: TraceParent,
    /// Name and version that the client gives for itself.
    pub client: Option<Arc<str>>,
    /// Id of the session, if there is one; over standard input and output, the process's single
    /// session.
    pub session: Option<Arc<str>>,
    /// Address of the client, after trusted proxies. Standard input and output have none.
    pub source: Option<IpAddr>,
}

/// Address of the client of an HTTP request, as the transport determined it.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

impl RequestInfo {
    /// Creates the information for a call from the command line.
    pub fn local() -> Self {
        Self {
            id: RequestId::generate(),
            transport: Transport::Stdio,
            protocol: UNKNOWN_NAME,
            trace_parent: TraceParent::from_headers(None, None),
            client: Some(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")).into()),
            session: None,
            source: None,
        }
    }
}

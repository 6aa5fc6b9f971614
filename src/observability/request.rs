//! What is known of a request beside who makes it and what it asks for: its id, and how it came.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{HeaderName, HeaderValue};

use crate::observability::traces::Parent;

pub use portkey_policy::Transport;

/// What a label says for a name that is none of ours.
pub const UNKNOWN: &str = "_unknown";

/// Carries the id of a request, from trusted proxies and back.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken over, in characters.
const LONGEST_ID: usize = 128;

/// Names one request, in logs and answers: visible ASCII.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// An id of our own: a random part for the process, then a count. Unique, and no secret.
    pub fn make() -> Self {
        static PROCESS: LazyLock<String> =
            LazyLock::new(|| format!("{:016x}", RandomState::new().build_hasher().finish()));
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = HeaderValue::from_str(&format!("{}-{count:x}", *PROCESS));
        Self(id.unwrap_or(HeaderValue::from_static("none")))
    }

    /// The id in a header, unless it is empty, longer than 128 characters or not visible ASCII.
    pub fn read(header: &HeaderValue) -> Option<Self> {
        let fits = (1..=LONGEST_ID).contains(&header.len())
            && header.as_bytes().iter().all(u8::is_ascii_graphic);
        fits.then(|| Self(header.clone()))
    }

    /// The same in memory of its own: one that came in a header keeps all of its request's head.
    pub fn detached(&self) -> Self {
        Self(HeaderValue::from_bytes(self.0.as_bytes()).unwrap_or(HeaderValue::from_static("none")))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The id as the value of a header.
    pub const fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a request came to us.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its name in logs and answers.
    pub id: RequestId,
    /// What it came over.
    pub transport: Transport,
    /// The revision of MCP it is made in, `_unknown` where there is no such.
    pub protocol: &'static str,
    /// The trace that it belongs to.
    pub parent: Parent,
    /// What the client calls itself, as it says: name and version.
    pub client: Option<Arc<str>>,
    /// The session that it belongs to, where there is one: the process's own over standard input and output.
    pub session: Option<Arc<str>>,
}

impl Arrival {
    /// A call made from the shell.
    pub fn local() -> Self {
        Self {
            id: RequestId::make(),
            transport: Transport::Stdio,
            protocol: UNKNOWN,
            parent: Parent::read(None, None),
            client: Some(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")).into()),
            session: None,
        }
    }
}

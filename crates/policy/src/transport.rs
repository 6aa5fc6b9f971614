//! What a request came over, which rules can tell apart.

/// What a request came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Standard input and output, or the shell.
    Stdio,
    /// HTTP.
    Http,
}

impl Transport {
    /// All transports.
    pub const ALL: [Self; 2] = [Self::Stdio, Self::Http];

    /// The name in policies, logs and audits.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdio => "stdio",
            Self::Http => "http",
        }
    }

    /// The transport of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|transport| transport.as_str() == name)
    }

    /// The value of OpenTelemetry's `network.transport`, which that convention fixes for MCP.
    pub const fn network_transport(self) -> &'static str {
        match self {
            Self::Stdio => "pipe",
            Self::Http => "tcp",
        }
    }
}

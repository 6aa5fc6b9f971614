//! The transport of a request, which rules can distinguish.

/// Transport of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Standard input and output, or a call from the shell.
    Stdio,
    /// MCP over HTTP.
    Http,
    /// Requests to the endpoints of the API itself, over HTTP.
    Rest,
}

impl Transport {
    /// All transports in declaration order.
    pub const ALL: [Self; 3] = [Self::Stdio, Self::Http, Self::Rest];

    /// Returns the name in policies, logs and audit entries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdio => "stdio",
            Self::Http => "http",
            Self::Rest => "rest",
        }
    }

    /// Returns the transport with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|transport| transport.as_str() == name)
    }

    /// Returns the value of OpenTelemetry's `network.transport`, which its convention for MCP
    /// fixes.
    pub const fn network_transport(self) -> &'static str {
        match self {
            Self::Stdio => "pipe",
            Self::Http | Self::Rest => "tcp",
        }
    }
}

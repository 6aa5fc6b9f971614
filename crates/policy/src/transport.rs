//! The transport of a request, which rules can distinguish.

/// Transport of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Standard input and output, or a call from the shell.
    Stdio,
    /// HTTP.
    Http,
}

impl Transport {
    /// All transports in declaration order.
    pub const ALL: [Self; 2] = [Self::Stdio, Self::Http];

    /// Returns the name in policies, logs and audit entries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdio => "stdio",
            Self::Http => "http",
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
            Self::Http => "tcp",
        }
    }
}

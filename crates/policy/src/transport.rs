//! What a request came over, which rules can tell apart.

/// What a request came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Standard input and output.
    Pipe,
    /// HTTP.
    Tcp,
}

impl Transport {
    /// The word for it in logs and metrics, by OpenTelemetry's `network.transport`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pipe => "pipe",
            Self::Tcp => "tcp",
        }
    }
}

//! Options of the REST face of `portkey-mcp http`.

use std::net::SocketAddr;

use clap::{Args, ValueEnum, builder::BoolishValueParser};
use portkey_operation::UnknownFields;

use crate::transport::http::RestSettings;

/// Treatment of fields that this version does not know.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum UnknownRequestFields {
    /// Send them unchanged, and name them in a header of the answer.
    Warn,
    /// Reject the request.
    Deny,
    /// Send them unchanged.
    Allow,
}

/// Options of the REST face.
#[derive(Args, Debug)]
#[command(next_help_heading = "REST")]
pub(super) struct RestOptions {
    /// Serve the API itself at /v1 and /v2 beside MCP, for scripts, SDKs and Terraform; see docs/rest.md.
    #[arg(
        long,
        env = "PORTKEY_MCP_REST",
        value_parser = BoolishValueParser::new()
    )]
    rest: bool,
    /// Address of a listener for the API alone, which implies --rest.
    #[arg(long, env = "PORTKEY_MCP_REST_LISTEN", value_name = "ADDRESS")]
    rest_listen: Option<SocketAddr>,
    /// Treatment of fields in requests to the API that this version does not know. By default they are sent,
    /// because Portkey may know them.
    #[arg(
        long,
        env = "PORTKEY_MCP_REST_UNKNOWN",
        value_name = "MODE",
        default_value = "warn"
    )]
    rest_unknown: UnknownRequestFields,
}

impl RestOptions {
    /// Returns the settings of the REST face, if it is served.
    pub(super) fn settings(&self) -> Option<RestSettings> {
        (self.rest || self.rest_listen.is_some()).then_some(RestSettings {
            listen: self.rest_listen,
            unknown_fields: match self.rest_unknown {
                UnknownRequestFields::Warn => UnknownFields::Warn,
                UnknownRequestFields::Deny => UnknownFields::Deny,
                UnknownRequestFields::Allow => UnknownFields::Allow,
            },
        })
    }
}

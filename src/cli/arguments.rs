//! Options about how the arguments of calls are read.

use clap::{Args, ValueEnum};

use crate::operation::{Clock, UnknownFields, ValidationOptions};

/// How arguments that this version does not know are treated.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Unknown {
    /// Passed on as they are; the answer says so.
    Warn,
    /// Refused.
    Deny,
    /// Passed on as they are.
    Allow,
}

/// How the arguments of calls are read.
#[derive(Args, Debug)]
#[command(next_help_heading = "Arguments")]
pub(crate) struct ArgumentOptions {
    /// What becomes of arguments that this version does not know: Portkey may, so by default they travel,
    /// and the answer says so.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_UNKNOWN_FIELDS",
        value_name = "HOW",
        default_value = "warn"
    )]
    unknown_fields: Unknown,
    /// Time zone, such as Europe/Berlin, whose days and months `today`, `2026-11` or `last month` mean.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_TIMEZONE",
        value_name = "ZONE",
        default_value = "UTC",
        value_parser = zone
    )]
    timezone: Clock,
}

impl ArgumentOptions {
    /// How arguments are validated.
    pub(crate) fn validation(&self) -> ValidationOptions {
        let unknown_fields = match self.unknown_fields {
            Unknown::Warn => UnknownFields::Warn,
            Unknown::Deny => UnknownFields::Deny,
            Unknown::Allow => UnknownFields::Allow,
        };
        ValidationOptions { unknown_fields, clock: self.timezone.clone() }
    }
}

fn zone(name: &str) -> Result<Clock, String> {
    let told = || format!("there is no time zone `{name}`; give one such as UTC or Europe/Berlin");
    Clock::system().in_zone(name).ok_or_else(told)
}

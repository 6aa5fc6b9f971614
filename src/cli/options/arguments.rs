//! Options for the validation of arguments.

use clap::{Args, ValueEnum};
use portkey_operation::{Clock, UnknownFields, ValidationOptions};

use crate::security::sanitize::escape_to_one_line;

/// Treatment of arguments that this version does not know.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum UnknownArguments {
    /// Send unknown arguments, and name them in the result.
    Warn,
    /// Reject the call.
    Deny,
    /// Send unknown arguments.
    Allow,
}

/// Options for the validation of arguments.
#[derive(Args, Debug)]
#[command(next_help_heading = "Arguments")]
pub(crate) struct ArgumentOptions {
    /// Treatment of arguments that this version does not know. By default they are sent, because Portkey may
    /// know them.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_UNKNOWN_FIELDS",
        value_name = "MODE",
        default_value = "warn"
    )]
    unknown_fields: UnknownArguments,
    /// Time zone in which `today`, `2026-11` or `last month` are interpreted, such as Europe/Berlin.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_TIMEZONE",
        value_name = "ZONE",
        default_value = "UTC",
        value_parser = parse_time_zone
    )]
    timezone: Clock,
}

impl ArgumentOptions {
    /// Returns the options for argument validation. `now` is the upstream's time in seconds since 1970, if it
    /// differs from this machine's.
    pub(crate) fn validation_options(&self, now: Option<u64>) -> ValidationOptions {
        let unknown_fields = match self.unknown_fields {
            UnknownArguments::Warn => UnknownFields::Warn,
            UnknownArguments::Deny => UnknownFields::Deny,
            UnknownArguments::Allow => UnknownFields::Allow,
        };
        let clock = self.timezone.clone();
        let clock = match now.and_then(|now| i64::try_from(now).ok()) {
            Some(now) => clock.with_now(move || now),
            None => clock,
        };
        ValidationOptions {
            unknown_fields,
            clock,
        }
    }
}

fn parse_time_zone(name: &str) -> Result<Clock, String> {
    let invalid_zone = || {
        format!(
            "there is no time zone `{}`; give one such as UTC or Europe/Berlin",
            escape_to_one_line(name)
        )
    };
    Clock::system()
        .with_time_zone(name)
        .ok_or_else(invalid_zone)
}

//! Options about how the arguments of calls are read.

use clap::{Args, ValueEnum};
use portkey_operation::{Clock, UnknownFields, ValidationOptions};

use crate::security::sanitize::escape_to_one_line;

/// How arguments that this version does not know are treated.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum UnknownArguments {
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
    unknown_fields: UnknownArguments,
    /// Time zone, such as Europe/Berlin, whose days and months `today`, `2026-11` or `last month` mean.
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
    /// How arguments are validated. `now` is where the clock of what is called stands, in seconds since 1970,
    /// if it is not this machine's.
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

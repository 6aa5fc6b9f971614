//! Reports usage errors, without control sequences and without the credentials in addresses.

use std::{io::Write, process::ExitCode};

use clap::{
    Error,
    builder::StyledStr,
    error::{ContextKind, ContextValue},
};

use super::{config, terminal};
use crate::security::{sanitize::escape_to_one_line, secrets::mask_text};

/// Prints a usage error, or the help or version that was requested.
pub(super) fn report_usage_error(error: Error) -> ExitCode {
    if !error.use_stderr() {
        // This text contains no user input. An error of writing is ignored: the reader is gone.
        _ = error.print();
        return ExitCode::SUCCESS;
    }
    let error = sanitize(error);
    let text = error.render().to_string();
    _ = write!(terminal::stderr(), "{}", mask_text(&text));
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Removes from an error what a terminal would interpret, and credentials.
pub(super) fn sanitize(mut error: Error) -> Error {
    let given: Vec<_> = error
        .context()
        .map(|(kind, value)| (kind, sanitize_context(kind, value)))
        .collect();
    for (kind, value) in given {
        if let Some(value) = value {
            error.insert(kind, value);
        }
    }
    if let Some(ContextValue::String(usage)) = error.get(ContextKind::InvalidArg)
        && is_secret_option(usage)
    {
        let hidden = ContextValue::String("***".to_owned());
        error.insert(ContextKind::InvalidValue, hidden);
    }
    error
}

/// Returns true if the value of an option is a secret. `usage` is the option with its values, such as
/// `--api-key <KEY>`.
fn is_secret_option(usage: &str) -> bool {
    fn has_secret(command: &clap::Command, name: &str) -> bool {
        let mut own = command.get_arguments();
        own.any(|option| option.get_long() == Some(name) && config::is_secret(option))
            || command
                .get_subcommands()
                .any(|command| has_secret(command, name))
    }
    let name = usage.split([' ', '=']).next().unwrap_or_default();
    let name = name.strip_prefix("--");
    name.is_some_and(|name| has_secret(&super::command(), name))
}

/// Returns a value of the user's in a form that may be printed. Returns `None` for other values.
fn sanitize_context(kind: ContextKind, value: &ContextValue) -> Option<ContextValue> {
    let line = |text: &String| redact_credentials(&escape_to_one_line(text));
    match value {
        ContextValue::String(text) => Some(ContextValue::String(line(text))),
        ContextValue::Strings(texts) => {
            Some(ContextValue::Strings(texts.iter().map(line).collect()))
        }
        ContextValue::StyledStrs(texts) if kind == ContextKind::Suggested => {
            let texts = texts
                .iter()
                .map(|text| StyledStr::from(line(&text.to_string())));
            Some(ContextValue::StyledStrs(texts.collect()))
        }
        _ => None,
    }
}

/// Removes user, password, query and fragment from an invalid address. The text is not parsed as a URL, because it
/// may not be one.
fn redact_credentials(text: &str) -> String {
    let Some((before, after)) = text.split_once("://") else {
        return match text.rsplit_once('@') {
            Some((_, host)) => format!("***@{host}"),
            None => text.to_owned(),
        };
    };
    let (userinfo, rest) = match after.rsplit_once('@') {
        Some((_, rest)) => ("***@", rest),
        None => ("", after),
    };
    let (rest, more) = match rest.find(['?', '#']) {
        Some(at) => (rest.get(..at).unwrap_or_default(), "?***"),
        None => (rest, ""),
    };
    format!("{before}://{userinfo}{rest}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_an_address_are_masked() {
        struct Case {
            given: &'static str,
            shown: &'static str,
        }
        let cases = [
            Case {
                given: "https://user:pass@host:99999/v1",
                shown: "https://***@host:99999/v1",
            },
            Case {
                given: "https://user:p/a@ss@host:x",
                shown: "https://***@host:x",
            },
            Case {
                given: "user:pass@host",
                shown: "***@host",
            },
            Case {
                given: "ftp://host/a?token=secret",
                shown: "ftp://host/a?***",
            },
            Case {
                given: "https://host/#secret",
                shown: "https://host/?***",
            },
            Case {
                given: "https://host:99999/v1",
                shown: "https://host:99999/v1",
            },
            Case {
                given: "plain",
                shown: "plain",
            },
        ];
        for Case { given, shown } in cases {
            assert_eq!(redact_credentials(given), shown);
        }
    }
}

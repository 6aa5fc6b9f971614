//! The findings of the checks, as text and as JSON.

use std::{fmt::Display, io::Write};

use serde::Serialize;

use crate::security::{sanitize::escape_to_one_line, secrets::mask_line};

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// Nothing is wrong.
    Ok,
    /// Something may surprise the user.
    Warning,
    /// The server cannot work like this.
    Failure,
    /// The check does not apply, or builds on one that failed.
    Skipped,
}

impl Status {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
        }
    }
}

/// One thing that was found.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    status: Status,
    message: String,
    /// The next step for the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// All that was found, in the order of the checks.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    /// Adds a finding without advice. Secrets in the text are masked.
    pub(super) fn add(&mut self, check: &'static str, status: Status, message: impl Display) {
        self.push(check, status, message, None);
    }

    /// Adds a finding with the next step for the user.
    pub(super) fn advise(
        &mut self,
        check: &'static str,
        status: Status,
        message: impl Display,
        advice: impl Display,
    ) {
        self.push(check, status, message, Some(clean(advice)));
    }

    fn push(
        &mut self,
        check: &'static str,
        status: Status,
        message: impl Display,
        advice: Option<String>,
    ) {
        self.0.push(Finding {
            check,
            status,
            message: clean(message),
            advice,
        });
    }

    /// Returns the number of checks that failed.
    pub(super) fn failures(&self) -> usize {
        self.count(Status::Failure)
    }

    /// Returns true if the check has failed.
    pub(super) fn has_failed(&self, check: &str) -> bool {
        let mut findings = self.0.iter();
        findings.any(|finding| finding.check == check && finding.status == Status::Failure)
    }

    fn count(&self, status: Status) -> usize {
        let with_status = self.0.iter().filter(|finding| finding.status == status);
        with_status.count()
    }

    /// Prints a line per finding, the advice below it, and a summary.
    pub(super) fn print_text(&self, out: &mut impl Write) -> anyhow::Result<()> {
        for Finding {
            check,
            status,
            message,
            advice,
        } in &self.0
        {
            writeln!(out, "{:<9}{check:<12}{message}", status.word())?;
            if let Some(advice) = advice {
                writeln!(out, "{:<21}-> {advice}", "")?;
            }
        }
        let failures = count_of(self.failures(), "failure");
        let warnings = count_of(self.count(Status::Warning), "warning");
        writeln!(out, "\n{failures}, {warnings}")?;
        Ok(())
    }

    /// Prints `{checks: [{check, status, message, advice}], failures, warnings}`.
    pub(super) fn print_json(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let report = serde_json::json!({
            "checks": self.0,
            "failures": self.failures(),
            "warnings": self.count(Status::Warning),
        });
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
        Ok(())
    }
}

/// Masks secrets, and escapes what is not for one line.
fn clean(text: impl Display) -> String {
    let text = mask_line(&text.to_string()).into_owned();
    escape_to_one_line(&text).into_owned()
}

/// Writes a number of things, such as `1 failure` or `no warnings`.
fn count_of(number: usize, noun: &str) -> String {
    match number {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

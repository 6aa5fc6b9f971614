//! Result of a trial, as a row of a table.

use std::fmt::Write;

use super::{MAX_GROWTH, MAX_SLOWDOWN, Schedule};

/// A condition of a trial in addition to the figures that all trials have.
pub(super) struct Check {
    pub(super) what: String,
    pub(super) holds: bool,
}

impl Check {
    pub(super) fn new(what: impl Into<String>, holds: bool) -> Self {
        Self {
            what: what.into(),
            holds,
        }
    }
}

/// Result of a trial.
#[derive(Default)]
pub(super) struct TrialResult {
    pub(super) trial: &'static str,
    /// p99 of the other callers' latency, in milliseconds: alone, then during the abuse.
    pub(super) p99_alone: f64,
    pub(super) p99_abused: f64,
    /// Number of calls of the other callers during the abuse.
    pub(super) calls: usize,
    /// Errors of the other callers' failed calls.
    pub(super) failures: Vec<String>,
    /// Memory of the server, in megabytes: the maximum, before the abuse, and at the end.
    pub(super) peak: f64,
    pub(super) before: f64,
    pub(super) after: f64,
    /// Seconds of idling until the memory was released or the wait timed out.
    pub(super) idled: f64,
    /// Outcomes of the abuser's requests.
    pub(super) answered: u64,
    pub(super) refused: u64,
    pub(super) closed: u64,
    pub(super) checks: Vec<Check>,
}

impl TrialResult {
    /// Returns the result of a trial that could not be carried out.
    pub(super) fn broken(trial: &'static str, error: &anyhow::Error) -> Self {
        let check = Check::new(
            format!("the trial could not be carried out: {error:#}"),
            false,
        );
        Self {
            trial,
            checks: vec![check],
            ..Self::default()
        }
    }

    fn slowdown(&self) -> f64 {
        self.p99_abused / self.p99_alone
    }

    /// Returns the conditions that were not met.
    fn faults(&self, schedule: &Schedule) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(first) = self.failures.first() {
            let count = self.failures.len();
            faults.push(format!(
                "{count} calls of other callers failed, the first so: {first}"
            ));
        }
        if self.peak > schedule.max_megabytes {
            let bound = schedule.max_megabytes;
            faults.push(format!(
                "the server took {:.0} MB, more than {bound:.0}",
                self.peak
            ));
        }
        if schedule.is_measured && self.slowdown() > MAX_SLOWDOWN {
            let slowdown = self.slowdown();
            faults.push(format!(
                "other callers' p99 became {slowdown:.1} times as long"
            ));
        }
        if schedule.is_measured && self.after > self.before * MAX_GROWTH {
            let growth = 100.0 * (self.after / self.before - 1.0);
            faults.push(format!(
                "after {:.0} s of idling there were {growth:.0} % more memory than before",
                self.idled
            ));
        }
        let failed = self.checks.iter().filter(|check| !check.holds);
        faults.extend(failed.map(|check| check.what.clone()));
        faults
    }

    pub(super) fn has_passed(&self, schedule: &Schedule) -> bool {
        self.faults(schedule).is_empty()
    }

    /// Renders the row as Markdown.
    pub(super) fn line(&self, schedule: &Schedule) -> String {
        let verdict = if self.has_passed(schedule) {
            "pass"
        } else {
            "**fail**"
        };
        format!(
            "| {} | {:.1} MB | {:.1} ms | {:.1} ms | {:.1} | {:.1}, {:.1} MB ({:.0} s) | {}, {} | {}, {}, {} | {verdict} |",
            self.trial,
            self.peak,
            self.p99_alone,
            self.p99_abused,
            self.slowdown(),
            self.before,
            self.after,
            self.idled,
            self.calls,
            self.failures.len(),
            self.answered,
            self.refused,
            self.closed,
        )
    }
}

/// Renders all rows, and the additional conditions of each trial.
pub(super) fn to_markdown_table(rows: &[TrialResult], schedule: &Schedule) -> String {
    let mut table = String::from(
        "| trial | peak RSS | others' p99 alone | under abuse | ratio | RSS before, after idling | \
         others' calls, failed | abuser: answered, refused, closed | verdict |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let mut notes = String::new();
    for row in rows {
        // Writing to a string cannot fail.
        _ = writeln!(table, "{}", row.line(schedule));
        for check in row.checks.iter().filter(|check| check.holds) {
            _ = writeln!(notes, "- {}: {}", row.trial, check.what);
        }
        for fault in row.faults(schedule) {
            _ = writeln!(notes, "- {}: **{fault}**", row.trial);
        }
    }
    format!("{table}\n{notes}")
}

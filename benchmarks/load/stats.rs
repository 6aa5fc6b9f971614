//! Figures: collected once per round, reported as the median with the range.

use std::{fmt::Write, time::Duration};

/// Unit of a figure.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Millis,
    Micros,
    Kilobytes,
    Megabytes,
    PerSecond,
    Percent,
    Count,
}

/// Target of a figure.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// No target; the figure is for information.
    None,
}

struct Figure {
    name: String,
    unit: Unit,
    target: Target,
    rounds: Vec<f64>,
}

/// All figures of a run, in the order of their first value.
#[derive(Default)]
pub(crate) struct Figures(Vec<Figure>);

impl Figures {
    /// Adds the value of one round.
    pub(crate) fn add(&mut self, name: &str, unit: Unit, target: Target, value: f64) {
        match self.0.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.rounds.push(value),
            None => {
                let name = name.to_owned();
                self.0.push(Figure {
                    name,
                    unit,
                    target,
                    rounds: vec![value],
                });
            }
        }
    }

    /// Renders the table as Markdown.
    pub(crate) fn table(&self) -> String {
        let mut table = String::from("| figure | median (min–max) | target | verdict |\n");
        table.push_str("| --- | --- | --- | --- |\n");
        for Figure {
            name,
            unit,
            target,
            rounds,
        } in &self.0
        {
            let mut sorted = rounds.clone();
            sorted.sort_by(f64::total_cmp);
            let at = |part| unit.show(quantile(&sorted, part));
            let median = quantile(&sorted, 0.5);
            let (target, verdict) = match target {
                Target::AtMost(most) => (format!("≤ {}", unit.show(*most)), median <= *most),
                Target::AtLeast(least) => (format!("≥ {}", unit.show(*least)), median >= *least),
                Target::None => (String::new(), true),
            };
            let verdict = match (target.is_empty(), verdict) {
                (true, _) => "",
                (false, true) => "met",
                (false, false) => "**missed**",
            };
            let middle = at(0.5);
            let least = at(0.0);
            let most = at(1.0);
            let name_of_unit = unit.name();
            // Writing to a string cannot fail.
            _ = writeln!(
                table,
                "| {name} | {middle} ({least}–{most}) {name_of_unit} | {target} | {verdict} |"
            );
        }
        table
    }
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Millis => "ms",
            Self::Micros => "µs",
            Self::Kilobytes => "kB",
            Self::Megabytes => "MB",
            Self::PerSecond => "/s",
            Self::Percent => "%",
            Self::Count => "",
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Millis if value.abs() < 10.0 => format!("{value:.2}"),
            Self::Millis | Self::Kilobytes | Self::Megabytes => format!("{value:.1}"),
            Self::Micros | Self::PerSecond | Self::Percent | Self::Count => format!("{value:.0}"),
        }
    }
}

/// Latencies of single calls.
#[derive(Default)]
pub(crate) struct Latencies(Vec<f64>);

impl Latencies {
    pub(crate) fn add(&mut self, took: Duration) {
        self.0.push(to_millis(took));
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the median and the 99th percentile, in milliseconds.
    pub(crate) fn p50_p99(mut self) -> (f64, f64) {
        self.0.sort_by(f64::total_cmp);
        (quantile(&self.0, 0.5), quantile(&self.0, 0.99))
    }
}

/// Figures of a round that are compared with direct calls.
pub(crate) struct RoundResult {
    /// Median latency of sequential calls, in milliseconds.
    pub(crate) p50: f64,
    /// Throughput of concurrent calls.
    pub(crate) per_second: f64,
}

/// Figures of a load.
pub(crate) struct LoadResult {
    pub(crate) per_second: f64,
    /// CPU time of the server, in microseconds per call.
    pub(crate) cpu: f64,
}

impl LoadResult {
    pub(crate) fn new(calls: usize, took: Duration, cpu: Duration) -> Self {
        let calls = calls as f64;
        Self {
            per_second: calls / took.as_secs_f64(),
            cpu: cpu.as_secs_f64() * 1e6 / calls,
        }
    }
}

pub(crate) fn to_millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

/// Returns the interpolated quantile of a sorted list; NaN if the list is empty.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = sorted.len().saturating_sub(1) as f64 * part;
    let value = |at: f64| sorted.get(at as usize).copied().unwrap_or(f64::NAN);
    let below = value(at.floor());
    let above = value(at.ceil());
    below + (above - below) * at.fract()
}

//! Limits: the counter of a rule, the amount that a call adds, and the maximum.

use std::{fmt, time::Duration};

use portkey_store::{Budget, StoreKey, Window};

use super::{PolicyInput, document, path::FieldPath};
/// A counter that a policy declares.
#[derive(Clone, Debug)]
pub(super) struct PolicyCounter {
    /// Tool or glob that the counter is written under, `_global`, or the name of the rule.
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) window: Window,
    pub(super) scope: document::CounterScope,
}

/// Amount that a rule adds to a counter, and its maximum.
#[derive(Clone, Debug)]
pub(super) struct CounterLimit {
    /// Index into the policy's table of counters.
    pub(super) counter: usize,
    /// Maximum of the counter. Without it, calls are only counted.
    pub(super) max: Option<u64>,
    pub(super) amount: LimitAmount,
    pub(super) message: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) enum LimitAmount {
    Fixed(u64),
    /// Value of an argument: its path, and the path as written.
    FromArgument(FieldPath, String),
}

impl PolicyCounter {
    /// Returns the key of the counter in the store. The key survives a reload, so that no count is
    /// lost.
    pub(super) fn store_key(&self, policy: &str, input: &PolicyInput<'_>) -> StoreKey {
        let (kind, whose) = match self.scope {
            document::CounterScope::Global => ("all", ""),
            document::CounterScope::Principal => ("principal", input.principal),
            document::CounterScope::Session => match input.session {
                Some(session) => ("session", session),
                None => ("principal", input.principal),
            },
        };
        let key = StoreKey::new(
            "policy",
            &[policy, &self.namespace, &self.name, kind, whose],
        );
        match self.scope {
            document::CounterScope::Global => key,
            // A caller with many sessions has many counters. Owning them leaves capacity to other
            // callers.
            _ => key.owned_by(input.principal),
        }
    }
}

impl CounterLimit {
    /// Returns true if a single call exceeds the maximum.
    pub(super) fn denies_every_call(&self) -> bool {
        match (self.max, &self.amount) {
            (Some(max), LimitAmount::Fixed(amount)) => *amount > max,
            _ => false,
        }
    }

    /// Builds the reservation for a call.
    ///
    /// # Errors
    /// Returns an error if the argument that holds the amount is absent, negative or not a number.
    pub(super) fn budget(
        &self,
        counter: &PolicyCounter,
        policy: &str,
        input: &PolicyInput<'_>,
    ) -> Result<Budget, String> {
        let amount = match &self.amount {
            LimitAmount::Fixed(amount) => *amount,
            LimitAmount::FromArgument(path, text) => {
                // Several values, as in a list, are added up.
                let mut sum = None;
                path.visit_arguments(input.args, &mut |value| {
                    let amount = value.as_f64().filter(|amount| *amount >= 0.0);
                    sum = Some(sum.unwrap_or_default() + amount.unwrap_or(f64::NAN));
                });
                let value = sum.filter(|sum: &f64| !sum.is_nan());
                let value =
                    value.ok_or_else(|| format!("it counts `{text}`, which is not an amount"))?;
                // The cast saturates. Fractions are rounded up, so that small amounts add up.
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "≥ 0"
                )]
                let amount = value.ceil() as u64;
                amount
            }
        };
        let key = counter.store_key(policy, input);
        Ok(Budget {
            key,
            window: counter.window,
            max: self.max.unwrap_or(u64::MAX),
            amount,
        })
    }
}

/// Displays a window: `hour`, `600s`, `bucket of 60s`.
pub(super) struct WindowName(pub(super) Window);

impl fmt::Display for WindowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Window::Minute => f.write_str("minute"),
            Window::Hour => f.write_str("hour"),
            Window::Day => f.write_str("day"),
            Window::Week => f.write_str("week"),
            Window::Month => f.write_str("month"),
            Window::Sliding(length) => write!(f, "{}s", length.as_secs()),
            Window::Bucket(length) => write!(f, "bucket of {}s", length.as_secs()),
        }
    }
}

/// Parses a window: a calendar unit, or the duration of a sliding window.
pub(super) fn parse_window(span: &document::RawDuration) -> Result<Window, String> {
    match span {
        document::RawDuration::Words(word) => match word.as_str() {
            "minute" => Ok(Window::Minute),
            "hour" => Ok(Window::Hour),
            "day" => Ok(Window::Day),
            "week" => Ok(Window::Week),
            "month" => Ok(Window::Month),
            _ => parse_duration(span).map(Window::Sliding).map_err(|_| {
                format!("`{word}` is not a window; use minute, hour, day, week or month")
            }),
        },
        document::RawDuration::Seconds(60) => Ok(Window::Minute),
        document::RawDuration::Seconds(3_600) => Ok(Window::Hour),
        document::RawDuration::Seconds(86_400) => Ok(Window::Day),
        document::RawDuration::Seconds(_) => parse_duration(span).map(Window::Sliding),
    }
}

/// Parses a duration: a number of seconds, or a number with the unit s, m, h or d.
pub(super) fn parse_duration(span: &document::RawDuration) -> Result<Duration, String> {
    let seconds = match span {
        document::RawDuration::Seconds(seconds) => Some(*seconds),
        document::RawDuration::Words(text) => {
            let unit = match text.chars().last() {
                Some('s') => 1,
                Some('m') => 60,
                Some('h') => 3_600,
                Some('d') => 86_400,
                _ => 0,
            };
            let number = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
            number
                .parse::<u64>()
                .ok()
                .and_then(|number| number.checked_mul(unit))
        }
    };
    match seconds {
        Some(seconds @ 1..=31_536_000) => Ok(Duration::from_secs(seconds)),
        _ => Err("give a duration such as 30s, 10m, 2h or 7d, up to 365d".to_owned()),
    }
}

/// Parses a rate such as `5/hour`.
pub(super) fn parse_rate(rate: &document::RawRate) -> Result<(u64, Window), String> {
    match rate {
        document::RawRate::Short(text) => {
            let invalid_rate = || format!("`{text}` is not a rate; give one such as 5/hour");
            let (count, word) = text.split_once('/').ok_or_else(invalid_rate)?;
            let count = count.trim().parse().map_err(|_| invalid_rate())?;
            let window = parse_window(&document::RawDuration::Words(word.trim().to_owned()))?;
            if count == 0 {
                Err(invalid_rate())
            } else {
                Ok((count, window))
            }
        }
        document::RawRate::Long { max, window: span } => Ok((*max, parse_window(span)?)),
    }
}

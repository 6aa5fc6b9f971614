//! Injected faults: error responses, delays, reset connections and lost responses. They are random
//! but repeatable.

use std::{str::FromStr, time::Duration};

use http::StatusCode;

use super::noise::noise;

/// A valid fault list, shown in errors about invalid ones.
const EXAMPLE: &str = "429:0.2,503:0.1,latency:50ms,reset:0.05,lost:0.05,seed:7";

/// Maximum delay in a fault list.
const MAX_LATENCY: Duration = Duration::from_secs(60);

/// Faults to inject, and their probabilities. The default is none.
///
/// The text form has these parts, separated by commas:
///
/// - `<status>:<chance>`, with an optional `:retry-after=<seconds>`
/// - `latency:<n>ms` or `latency:<n>s`
/// - `reset:<chance>`: the request is not executed
/// - `lost:<chance>`: the request is executed, but its response is lost
/// - `seed:<n>`
///
/// A request gets at most one fault. The fault depends only on the seed and on the number of
/// previous requests.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    errors: Vec<InjectedError>,
    reset_chance: f64,
    lost_chance: f64,
    latency: Duration,
    seed: u64,
}

/// An injected error response and its probability.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InjectedError {
    /// Status of the response.
    pub(crate) status: StatusCode,
    /// Seconds for the header `Retry-After`.
    pub(crate) retry_after: Option<u32>,
    chance: f64,
}

/// A fault of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum InjectedFault {
    /// The request gets an error response and is not executed.
    Error(InjectedError),
    /// The request is not executed, and its connection is closed without a response.
    ConnectionReset,
    /// The request is executed, and its connection is closed without a response.
    ResponseLost,
}

impl Faults {
    /// Returns the fault of request number `count`, if any.
    pub(crate) fn fault_for_request(&self, count: u64) -> Option<InjectedFault> {
        let mut left = random_fraction(self.seed, count);
        for answer in &self.errors {
            if left < answer.chance {
                return Some(InjectedFault::Error(*answer));
            }
            left -= answer.chance;
        }
        if left < self.reset_chance {
            return Some(InjectedFault::ConnectionReset);
        }
        (left - self.reset_chance < self.lost_chance).then_some(InjectedFault::ResponseLost)
    }

    /// Returns the delay of every response.
    pub(crate) fn latency(&self) -> Duration {
        self.latency
    }
}

/// Returns a number in `0.0..1.0` that depends on `seed` and `count` only.
fn random_fraction(seed: u64, count: u64) -> f64 {
    // An `f64` holds 53 bits exactly.
    (noise(seed, count) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Error for an invalid fault list.
#[derive(Debug, thiserror::Error)]
#[error("`{part}`: {why}; write faults like `{EXAMPLE}`")]
pub struct InvalidFaults {
    part: String,
    why: &'static str,
}

impl FromStr for Faults {
    type Err = InvalidFaults;

    fn from_str(text: &str) -> Result<Self, InvalidFaults> {
        let mut faults = Self::default();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            faults.add(part).map_err(|why| InvalidFaults {
                part: part.to_owned(),
                why,
            })?;
        }
        let sum = faults
            .errors
            .iter()
            .map(|answer| answer.chance)
            .sum::<f64>();
        if sum + faults.reset_chance + faults.lost_chance > 1.0 {
            return Err(InvalidFaults {
                part: text.to_owned(),
                why: "chances add up to more than 1",
            });
        }
        Ok(faults)
    }
}

impl Faults {
    fn add(&mut self, part: &str) -> Result<(), &'static str> {
        let (name, value) = part.split_once(':').ok_or("needs a `:` and a value")?;
        match name {
            "latency" => self.latency = parse_latency(value)?,
            "reset" => self.reset_chance = parse_chance(value)?,
            "lost" => self.lost_chance = parse_chance(value)?,
            "seed" => self.seed = value.parse().map_err(|_| "the seed is a whole number")?,
            status => self.errors.push(parse_error(status, value)?),
        }
        Ok(())
    }
}

fn parse_error(status: &str, value: &str) -> Result<InjectedError, &'static str> {
    let status = status
        .parse()
        .ok()
        .filter(|status| (400..600).contains(status))
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or("starts with a status from 400 to 599, `latency`, `reset`, `lost` or `seed`")?;
    let (chance, retry_after) = match value.split_once(':') {
        None => (value, None),
        Some((chance, option)) => {
            let seconds = option
                .strip_prefix("retry-after=")
                .and_then(|text| text.parse().ok());
            (
                chance,
                Some(seconds.ok_or("after the chance only `retry-after=<seconds>` may follow")?),
            )
        }
    };
    Ok(InjectedError {
        status,
        retry_after,
        chance: parse_chance(chance)?,
    })
}

fn parse_chance(text: &str) -> Result<f64, &'static str> {
    text.parse()
        .ok()
        .filter(|chance| (0.0..=1.0).contains(chance))
        .ok_or("a chance is a number from 0 to 1")
}

fn parse_latency(text: &str) -> Result<Duration, &'static str> {
    const WHY: &str = "a latency is a whole number with `ms` or `s`, 60s at most";
    let latency = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => number.parse().map(Duration::from_millis),
        (None, Some(number)) => number.parse().map(Duration::from_secs),
        (None, None) => return Err(WHY),
    };
    latency
        .ok()
        .filter(|latency| *latency <= MAX_LATENCY)
        .ok_or(WHY)
}

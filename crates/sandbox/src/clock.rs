//! The sandbox's clock, real or pinned, and timestamps in Portkey's format.

use std::{
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

/// Seconds per day.
pub(crate) const SECONDS_PER_DAY: u64 = 86_400;

/// Earliest time that can be pinned, 2000-01-01T00:00:00Z. The seeded history of the sandbox lies
/// before the pinned time.
const MIN_PINNED_SECONDS: u64 = 946_684_800;

/// A time at which the sandbox's clock is pinned: an RFC 3339 date and time in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinnedTime(u64);

impl PinnedTime {
    /// Returns the time in seconds since 1970.
    pub const fn unix_seconds(self) -> u64 {
        self.0
    }
}

/// Error for a text that is not a valid pinned time.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no date and time from the year 2000 on; write it like `2026-05-31T12:00:00Z`")]
pub struct InvalidPinnedTime(String);

impl FromStr for PinnedTime {
    type Err = InvalidPinnedTime;

    fn from_str(text: &str) -> Result<Self, InvalidPinnedTime> {
        let seconds = parse_timestamp(text.trim()).filter(|seconds| *seconds >= MIN_PINNED_SECONDS);
        seconds
            .map(Self)
            .ok_or_else(|| InvalidPinnedTime(text.to_owned()))
    }
}

/// Time in the sandbox. A real clock is that of the machine. A pinned clock advances by one second
/// with each write, so that the same calls always produce the same timestamps.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    pinned: Option<u64>,
}

impl Clock {
    /// Creates a clock pinned at a time in seconds since 1970.
    pub(crate) fn from_unix_seconds(seconds: u64) -> Self {
        Self {
            pinned: Some(seconds),
        }
    }

    /// Creates a clock pinned at a time, or a real one.
    pub(crate) fn new(pinned: Option<PinnedTime>) -> Self {
        Self {
            pinned: pinned.map(PinnedTime::unix_seconds),
        }
    }

    /// Advances a pinned clock by one second.
    pub(crate) fn tick(&mut self) {
        if let Some(seconds) = &mut self.pinned {
            *seconds += 1;
        }
    }

    /// Returns the time in seconds since 1970, the format of the inference API.
    pub(crate) fn unix_seconds(&self) -> u64 {
        let real = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs()
        };
        self.pinned.unwrap_or_else(real)
    }

    /// Returns the time in Portkey's format, such as `2026-01-01T00:00:00.000Z`.
    pub(crate) fn now(&self) -> String {
        self.after_seconds(0)
    }

    /// Returns the time in a number of seconds from now. Timestamps sort as texts.
    pub(crate) fn after_seconds(&self, seconds: u64) -> String {
        format_timestamp(self.unix_seconds().saturating_add(seconds))
    }

    /// Returns the time in a number of days from now.
    pub(crate) fn after_days(&self, days: u64) -> String {
        self.after_seconds(days.saturating_mul(SECONDS_PER_DAY))
    }
}

/// Formats a time in seconds since 1970 as Portkey does.
pub(crate) fn format_timestamp(seconds: u64) -> String {
    let days = seconds / 86_400;
    let second = seconds % 86_400;
    let (year, month, day) = civil_from_days(days);
    let hour = second / 3600;
    let minute = second / 60 % 60;
    let second = second % 60;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z")
}

/// Parses a date and time as [`is_timestamp`] accepts it into seconds since 1970; 0 for times
/// before 1970.
pub(crate) fn parse_timestamp(text: &str) -> Option<u64> {
    if !is_timestamp(text) {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let year = number(0, 4)?;
    let month = number(5, 7)?;
    let day = number(8, 10)?;
    let hour = number(11, 13)?;
    let minute = number(14, 16)?;
    let second = number(17, 19)?;
    if day > days_in_month(year, month) {
        return None;
    }
    // As in `civil_from_days`, years begin on 1 March.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year = year.rem_euclid(400);
    let day = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + 365 * year + year / 4 - year / 100 + day - 719_468;
    let zone = text.get(19..)?;
    let offset = match zone.find(['+', '-']) {
        None => 0,
        Some(at) => {
            let minutes = zone.get(at + 1..at + 3)?.parse::<i64>().ok()? * 60
                + zone.get(at + 4..at + 6)?.parse::<i64>().ok()?;
            if zone.get(at..=at) == Some("-") {
                -60 * minutes
            } else {
                60 * minutes
            }
        }
    };
    let whole = days * 86_400 + hour * 3600 + minute * 60 + second - offset;
    Some(u64::try_from(whole).unwrap_or_default())
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Converts days since 1970-01-01 to year, month and day. The algorithm counts 400-year eras that
/// begin on 1 March, so that a leap day is the last day of its year.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day = days % 146_097;
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (
        day - (153 * month + 2) / 5 + 1,
        if month < 10 { month + 3 } else { month - 9 },
    );
    (400 * era + year + u64::from(month <= 2), month, day)
}

/// Returns true if a text is a date and time such as `2026-05-31T12:00:00Z` or `…+02:00`.
pub(crate) fn is_timestamp(text: &str) -> bool {
    let Some((date, time)) = text.split_once(['T', 't']) else {
        return false;
    };
    let zone = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at(zone);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let zone_is_right = match zone.strip_prefix(['+', '-']) {
        Some(offset) => are_numbers(offset, ':', &[(2, 0, 23), (2, 0, 59)]),
        None => zone.eq_ignore_ascii_case("z"),
    };
    are_numbers(date, '-', &[(4, 0, 9999), (2, 1, 12), (2, 1, 31)])
        && are_numbers(time, ':', &[(2, 0, 23), (2, 0, 59), (2, 0, 60)])
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
        && zone_is_right
}

/// Returns true if a text consists of numbers with these widths and ranges, separated by
/// `separator`.
fn are_numbers(text: &str, separator: char, expected: &[(usize, u32, u32)]) -> bool {
    let parts: Vec<&str> = text.split(separator).collect();
    parts.len() == expected.len()
        && parts
            .iter()
            .zip(expected)
            .all(|(part, &(width, min, max))| {
                part.len() == width
                    && part.bytes().all(|byte| byte.is_ascii_digit())
                    && part
                        .parse()
                        .is_ok_and(|number: u32| (min..=max).contains(&number))
            })
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what is wrong by panicking"
)]
mod tests {
    use super::*;

    #[test]
    fn timestamp_survives_a_round_trip() {
        for text in [
            "2000-01-01T00:00:00.000Z",
            "2026-02-28T23:59:59.000Z",
            "2028-02-29T12:30:00.000Z",
        ] {
            let pinned: PinnedTime = text.parse().unwrap();
            assert_eq!(format_timestamp(pinned.unix_seconds()), text);
        }
        let east: PinnedTime = "2026-05-31T12:00:00+02:00".parse().unwrap();
        assert_eq!(
            format_timestamp(east.unix_seconds()),
            "2026-05-31T10:00:00.000Z"
        );
    }

    #[test]
    fn invalid_time_is_rejected() {
        for text in [
            "",
            "now",
            "2026-05-31",
            "2026-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "1999-12-31T23:59:59Z",
        ] {
            let error = text.parse::<PinnedTime>().unwrap_err().to_string();
            assert!(
                error.contains(text) && error.contains("2026-05-31T12:00:00Z"),
                "{error}"
            );
        }
    }

    #[test]
    fn pinned_clock_advances_only_on_writes() {
        let mut clock = Clock::new(Some("2026-05-31T12:00:00Z".parse().unwrap()));
        assert_eq!(clock.now(), clock.now());
        clock.tick();
        assert_eq!(clock.now(), "2026-05-31T12:00:01.000Z");
    }

    #[test]
    fn default_clock_is_the_system_clock() {
        let mut clock = Clock::default();
        let before = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        clock.tick();
        assert!((before..=before + 60).contains(&clock.unix_seconds()));
    }
}

//! Points in time as callers write them: RFC 3339, a calendar period, or relative to now.

use std::{fmt, sync::Arc};

use jiff::{
    RoundMode, Span, Timestamp, ToSpan, Unit, Zoned, ZonedRound,
    civil::{Date, DateTime, Weekday},
    tz::TimeZone,
};
use serde_json::Value;

/// The role of a point in time. It decides which instant a period such as `2026-11` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeRole {
    /// The beginning of a range in the past. A period stands for its beginning.
    Start,
    /// The end of a range in the past. A period stands for its end.
    End,
    /// A point in the future, such as an expiry. A period stands for its beginning, and `30d` is in
    /// 30 days.
    Point,
}

impl TimeRole {
    /// The key of the marker in the schema.
    pub(super) const KEY: &'static str = "x-time";

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::End => "end",
            Self::Point => "point",
        }
    }

    /// Reads the role that a marker names.
    pub(super) fn from_marker(mark: &Value) -> Option<Self> {
        let roles = [Self::Start, Self::End, Self::Point];
        roles.into_iter().find(|role| mark == role.as_str())
    }

    /// Returns true if two field names are the beginning and the end of one range.
    pub(super) fn is_range_end(start: &str, end: &str) -> bool {
        const PAIRS: [(&str, &str); 5] = [
            ("min", "max"),
            ("start", "end"),
            ("from", "to"),
            ("after", "before"),
            ("since", "until"),
        ];
        start != end
            && PAIRS
                .iter()
                .any(|(from, to)| start.replace(from, to) == end)
    }
}

/// The clock and time zone that relative times refer to.
#[derive(Clone, Default)]
pub struct Clock {
    now: Option<Arc<dyn Fn() -> Timestamp + Send + Sync>>,
    zone: Option<TimeZone>,
}

impl Clock {
    /// Returns the clock of this machine, in UTC.
    pub fn system() -> Self {
        Self::default()
    }

    /// Replaces the source of the current time: seconds since 1970.
    pub fn with_now(self, now: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        let now = move || Timestamp::from_second(now()).unwrap_or_else(|_| Timestamp::now());
        Self {
            now: Some(Arc::new(now)),
            ..self
        }
    }

    /// Sets the time zone of days and months, by its IANA name. Returns `None` if there is no such
    /// zone.
    pub fn with_time_zone(self, name: &str) -> Option<Self> {
        // Looking UTC up would map the time-zone database at every start.
        if name.eq_ignore_ascii_case("UTC") {
            return Some(Self { zone: None, ..self });
        }
        let zone = TimeZone::get(name).ok()?;
        Some(Self {
            zone: Some(zone),
            ..self
        })
    }

    /// Returns the current time.
    pub(super) fn now(&self) -> Zoned {
        let now = self.now.as_ref().map_or_else(Timestamp::now, |now| now());
        now.to_zoned(self.zone.clone().unwrap_or(TimeZone::UTC))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock")
            .field("zone", &self.zone)
            .finish_non_exhaustive()
    }
}

/// A text that was parsed as a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ParsedTime {
    /// A time in RFC 3339. The text is sent unchanged.
    Absolute(Timestamp),
    /// A time in another form, resolved at the clock of the call.
    Resolved(Timestamp),
}

impl ParsedTime {
    pub(super) const fn timestamp(&self) -> Timestamp {
        match self {
            Self::Absolute(time) | Self::Resolved(time) => *time,
        }
    }
}

/// Describes the accepted forms, for a text that is not a time.
pub(super) fn expected_forms(role: TimeRole) -> &'static str {
    match role {
        TimeRole::Start | TimeRole::End => {
            "takes RFC 3339 such as `2026-11-01T00:00:00Z`, a date, a month (`2026-11`), `7d`, `-24h`, \
             `today`, `yesterday`, `last month`"
        }
        TimeRole::Point => {
            "takes RFC 3339 such as `2027-01-31T00:00:00Z`, a date, or a time from now such as `30d`"
        }
    }
}

/// Maximum length of a time or period, in bytes. No accepted form is longer.
const MAX_LEN: usize = 64;

/// Parses a time. Returns `None` if the text is not one.
pub(super) fn parse(text: &str, role: TimeRole, clock: &Clock) -> Option<ParsedTime> {
    let text = text.trim();
    if text.len() > MAX_LEN {
        return None;
    }
    match has_offset(text) {
        Some(true) => return text.parse().ok().map(ParsedTime::Absolute),
        // The API reads a time without an offset as UTC.
        Some(false) if clock.zone.is_none() => {
            let time = text
                .parse::<DateTime>()
                .ok()?
                .to_zoned(TimeZone::UTC)
                .ok()?;
            return Some(ParsedTime::Absolute(time.timestamp()));
        }
        _ => {}
    }
    let now = clock.now();
    let (text, words) = normalize(text);
    let time = match parse_period(&words, &now) {
        Some((start, _)) if role != TimeRole::End => Some(start),
        Some((start, length)) => start
            .checked_add(length)
            .and_then(|next| next.checked_sub(1.millisecond()))
            .ok(),
        None => parse_moment(&text, &words, role, &now),
    };
    let time = time
        .filter(|time| (1..=9999).contains(&time.year()))?
        .timestamp();
    Some(ParsedTime::Resolved(time))
}

/// Parses a calendar period, such as `last month` or `2026-11`. Returns its beginning and its length.
pub(super) fn calendar_period(text: &str, now: &Zoned) -> Option<(Zoned, Span)> {
    let text = Some(text.trim()).filter(|text| text.len() <= MAX_LEN)?;
    parse_period(&normalize(text).1, now)
}

/// Returns a text with months as `mo`, and the same in lower case with single spaces.
fn normalize(text: &str) -> (String, String) {
    // `1M` is a month, `1m` a minute.
    let months = text.strip_suffix('M').filter(|number| {
        number.ends_with(|c: char| c.is_ascii_digit()) && !number.starts_with(['P', 'p'])
    });
    let text = months.map_or_else(|| text.to_owned(), |number| format!("{number}mo"));
    let words = text.to_lowercase().replace('_', " ");
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    (text, words)
}

/// Formats a time as RFC 3339 in UTC. Milliseconds are written only if there are any.
pub(super) fn format_rfc3339(time: Timestamp) -> String {
    let rounded = time.round(Unit::Millisecond).unwrap_or(time);
    rounded.to_string()
}

/// Returns true if an offset follows a text of the form `2026-11-29T10:00:00`. Returns `None` for
/// other forms.
fn has_offset(text: &str) -> Option<bool> {
    let shape: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_digit() {
                '0'
            } else {
                c.to_ascii_uppercase()
            }
        })
        .collect();
    let rest = shape.strip_prefix("0000-00-00T00:00:00")?;
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => {
            let digits = fraction.len() - fraction.trim_start_matches('0').len();
            if digits == 0 {
                return None;
            }
            fraction.trim_start_matches('0')
        }
        None => rest,
    };
    // Each digit was replaced by a zero above.
    match rest {
        "" => Some(false),
        "Z" | "+00:00" | "-00:00" => Some(true),
        _ => None,
    }
}

/// Parses a calendar period. Returns its beginning and its length.
fn parse_period(words: &str, now: &Zoned) -> Option<(Zoned, Span)> {
    let day = start_of_day(now)?;
    let (start, length) = match words {
        "today" => (day, 1.day()),
        "yesterday" => (day.checked_sub(1.day()).ok()?, 1.day()),
        "tomorrow" => (day.checked_add(1.day()).ok()?, 1.day()),
        _ => match words.split_once(' ') {
            Some((which, unit)) => {
                let (start, length) = containing_unit(unit, &day)?;
                let start = match which {
                    "this" | "current" => start,
                    "last" | "previous" => start.checked_sub(length).ok()?,
                    "next" => start.checked_add(length).ok()?,
                    _ => return None,
                };
                (start, length)
            }
            None => parse_numeric_period(words, now)?,
        },
    };
    Some((start, length))
}

/// Returns the beginning and the length of the calendar unit that contains a day.
fn containing_unit(unit: &str, day: &Zoned) -> Option<(Zoned, Span)> {
    let date = day.date();
    let (first, length) = match unit {
        "day" => (date, 1.day()),
        // Weeks begin on Monday, as in ISO 8601.
        "week" => {
            let since_monday = date.weekday().since(Weekday::Monday);
            (
                date.checked_sub(i64::from(since_monday).days()).ok()?,
                1.week(),
            )
        }
        "month" => (date.first_of_month(), 1.month()),
        "quarter" => {
            let month = (date.month() - 1) / 3 * 3 + 1;
            (Date::new(date.year(), month, 1).ok()?, 3.months())
        }
        "year" => (date.first_of_year(), 1.year()),
        _ => return None,
    };
    Some((first.to_zoned(day.time_zone().clone()).ok()?, length))
}

/// Parses a period in digits: `2026-11-29`, `2026-11`, `2026-Q4` or `2026`.
fn parse_numeric_period(words: &str, now: &Zoned) -> Option<(Zoned, Span)> {
    let number = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse::<i16>().ok())
            .flatten()
    };
    let parts: Vec<&str> = words.split('-').collect();
    let year = |text: &str| number(text).filter(|_| text.len() == 4);
    let two = |text: &str| {
        number(text)
            .filter(|_| text.len() == 2)
            .and_then(|n| i8::try_from(n).ok())
    };
    let (date, length) = match parts.as_slice() {
        [y] => (Date::new(year(y)?, 1, 1).ok()?, 1.year()),
        [y, quarter] if quarter.starts_with('q') => {
            let quarter = number(quarter.get(1..)?).filter(|n| (1..=4).contains(n))?;
            let month = i8::try_from((quarter - 1) * 3 + 1).ok()?;
            (Date::new(year(y)?, month, 1).ok()?, 3.months())
        }
        [y, month] => (Date::new(year(y)?, two(month)?, 1).ok()?, 1.month()),
        [y, month, day] => (Date::new(year(y)?, two(month)?, two(day)?).ok()?, 1.day()),
        _ => return None,
    };
    Some((date.to_zoned(now.time_zone().clone()).ok()?, length))
}

/// Parses a moment: relative to now, or a date with a time of day and an optional offset.
fn parse_moment(text: &str, words: &str, role: TimeRole, now: &Zoned) -> Option<Zoned> {
    if words == "now" {
        return Some(now.clone());
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) && text.contains('-') {
        // The offset decides, or without one the zone of the clock.
        if let Ok(time) = text.parse::<Timestamp>() {
            return Some(time.to_zoned(now.time_zone().clone()));
        }
        return text
            .parse::<DateTime>()
            .ok()?
            .to_zoned(now.time_zone().clone())
            .ok();
    }
    let mut past = None;
    let mut span = words;
    if let Some(rest) = span.strip_prefix("now") {
        span = rest.trim_start();
        // `now7d` has no meaning.
        span.starts_with(['-', '+']).then_some(())?;
    }
    let prefixes = [
        ("-", true),
        ("+", false),
        ("in ", false),
        ("last ", true),
        ("past ", true),
        ("previous ", true),
        ("next ", false),
    ];
    if let Some((rest, is_past)) = prefixes
        .iter()
        .find_map(|(prefix, past)| Some((span.strip_prefix(prefix)?, *past)))
    {
        (past, span) = (Some(is_past), rest.trim_start());
    }
    if let Some(rest) = span.strip_suffix(" ago") {
        past.is_none().then_some(())?;
        (past, span) = (Some(true), rest);
    }
    // `m` is a minute, as in most tools, and a month is `mo`.
    let span: Span = span
        .starts_with(|c: char| c.is_ascii_digit() || c == 'p')
        .then(|| span.parse().ok())??;
    let past = past.unwrap_or(role != TimeRole::Point);
    let time = if past {
        now.checked_sub(span)
    } else {
        now.checked_add(span)
    };
    // Fractions of a second have no use in a relative time.
    let to_second = ZonedRound::new()
        .smallest(Unit::Second)
        .mode(RoundMode::Trunc);
    time.ok()?.round(to_second).ok()
}

fn start_of_day(time: &Zoned) -> Option<Zoned> {
    time.start_of_day().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a clock at Sunday, 29 November 2026, 10:30 UTC.
    fn test_clock() -> Clock {
        Clock::system().with_now(|| 1_795_948_200)
    }

    fn resolve(text: &str, role: TimeRole, clock: &Clock) -> Option<String> {
        match parse(text, role, clock) {
            Some(ParsedTime::Resolved(time)) => Some(format_rfc3339(time)),
            Some(ParsedTime::Absolute(_)) => Some("as it is".to_owned()),
            None => None,
        }
    }

    struct Case {
        text: &'static str,
        start: Option<&'static str>,
        end: Option<&'static str>,
        point: Option<&'static str>,
    }

    #[test]
    fn time_forms_are_resolved_by_their_role() {
        let moment = |text, past, future| Case {
            text,
            start: past,
            end: past,
            point: future,
        };
        let both = |text, time| moment(text, Some(time), Some(time));
        let period = |text, start, end| Case {
            text,
            start: Some(start),
            end: Some(end),
            point: Some(start),
        };
        let cases = [
            both("2026-11-29T10:00:00Z", "as it is"),
            both("2026-11-29t10:00:00.25z", "as it is"),
            both("2026-11-29T10:00:00+02:00", "as it is"),
            both("2026-11-29T10:00:00", "as it is"),
            both("2026-11-29T10:00:00.048716", "as it is"),
            both("2026-11-29 10:00", "2026-11-29T10:00:00Z"),
            both("now", "2026-11-29T10:30:00Z"),
            both("now-24h", "2026-11-28T10:30:00Z"),
            both("-24h", "2026-11-28T10:30:00Z"),
            both("24 hours ago", "2026-11-28T10:30:00Z"),
            both("Last 7 days", "2026-11-22T10:30:00Z"),
            both("in 30 days", "2026-12-29T10:30:00Z"),
            moment(
                "7d",
                Some("2026-11-22T10:30:00Z"),
                Some("2026-12-06T10:30:00Z"),
            ),
            moment(
                "P7D",
                Some("2026-11-22T10:30:00Z"),
                Some("2026-12-06T10:30:00Z"),
            ),
            moment(
                "1mo",
                Some("2026-10-29T10:30:00Z"),
                Some("2026-12-29T10:30:00Z"),
            ),
            moment(
                "1M",
                Some("2026-10-29T10:30:00Z"),
                Some("2026-12-29T10:30:00Z"),
            ),
            moment(
                "1m",
                Some("2026-11-29T10:29:00Z"),
                Some("2026-11-29T10:31:00Z"),
            ),
            period("today", "2026-11-29T00:00:00Z", "2026-11-29T23:59:59.999Z"),
            period(
                "yesterday",
                "2026-11-28T00:00:00Z",
                "2026-11-28T23:59:59.999Z",
            ),
            period(
                "this week",
                "2026-11-23T00:00:00Z",
                "2026-11-29T23:59:59.999Z",
            ),
            period(
                "last_month",
                "2026-10-01T00:00:00Z",
                "2026-10-31T23:59:59.999Z",
            ),
            period(
                "this month",
                "2026-11-01T00:00:00Z",
                "2026-11-30T23:59:59.999Z",
            ),
            period(
                "last quarter",
                "2026-07-01T00:00:00Z",
                "2026-09-30T23:59:59.999Z",
            ),
            period(
                "last year",
                "2025-01-01T00:00:00Z",
                "2025-12-31T23:59:59.999Z",
            ),
            period(
                "2026-11",
                "2026-11-01T00:00:00Z",
                "2026-11-30T23:59:59.999Z",
            ),
            period(
                "2026-02-28",
                "2026-02-28T00:00:00Z",
                "2026-02-28T23:59:59.999Z",
            ),
            period(
                "2026-Q1",
                "2026-01-01T00:00:00Z",
                "2026-03-31T23:59:59.999Z",
            ),
            period("2025", "2025-01-01T00:00:00Z", "2025-12-31T23:59:59.999Z"),
        ];
        for case in cases {
            let Case {
                text,
                start,
                end,
                point,
            } = case;
            let roles = [
                (TimeRole::Start, start),
                (TimeRole::End, end),
                (TimeRole::Point, point),
            ];
            for (role, expected) in roles {
                let got = resolve(text, role, &test_clock());
                assert_eq!(got.as_deref(), expected, "{text} as {}", role.as_str());
            }
        }
    }

    #[test]
    fn invalid_times_are_rejected() {
        let texts = [
            "",
            "2026-13-45T99:00:00Z",
            "2026-02-30",
            "1764374400000",
            "1764374400",
            "soon",
            "7",
            "d7",
            "now7d",
            "last",
            "last fortnight",
            "-24h ago",
            "9999999999999d",
            "99999 years ago",
            "2026-Q5",
            "20-11",
        ];
        for text in texts {
            assert_eq!(
                resolve(text, TimeRole::Start, &test_clock()),
                None,
                "{text}"
            );
        }
        let long = "1d".repeat(1000);
        assert_eq!(resolve(&long, TimeRole::Start, &test_clock()), None);
    }

    #[test]
    fn days_start_in_the_time_zone_of_the_clock() {
        let clock = test_clock().with_time_zone("America/New_York").unwrap();
        let start = |text| resolve(text, TimeRole::Start, &clock);
        assert_eq!(start("today").as_deref(), Some("2026-11-29T05:00:00Z"));
        assert_eq!(
            start("2026-11-29T10:00:00").as_deref(),
            Some("2026-11-29T15:00:00Z")
        );
    }
}

//! Ranges of time in the past, as callers name them: a calendar period, or a time until now.

use jiff::{Span, Timestamp, ToSpan, Zoned};

use super::time::{Clock, TimeRole, calendar_period, format_rfc3339, parse};

/// The forms of a range, for a text that is none.
pub const RANGE_FORMS: &str = "takes a period such as `last month`, `2026-10`, `2026-Q3`, `this week` or `yesterday`, or a time until \
     now such as `7d`";

/// A range of time that has begun.
#[derive(Clone, Debug)]
pub struct TimeRange {
    start: Zoned,
    /// The last instant of the range, or the current time if the range has not ended.
    end: Zoned,
    /// Length of the whole calendar period; `None` for other ranges.
    period: Option<Span>,
}

impl TimeRange {
    /// Parses a range. Returns `None` if the text is not one, or if the range has not begun.
    pub fn parse(text: &str, clock: &Clock) -> Option<Self> {
        let now = clock.now();
        let range = match calendar_period(text, &now) {
            Some((start, period)) => {
                let last = start.checked_add(period).ok()?.checked_sub(1.millisecond());
                Self {
                    start,
                    end: last.ok()?.min(now.clone()),
                    period: Some(period),
                }
            }
            None => {
                let start = parse(text, TimeRole::Start, clock)?.timestamp();
                Self {
                    start: start.to_zoned(now.time_zone().clone()),
                    end: now.clone(),
                    period: None,
                }
            }
        };
        (range.start < now).then_some(range)
    }

    /// Returns the range between two times in RFC 3339. Without an end it lasts until now. Returns
    /// `None` if a text is no such time, or if the end is not after the start.
    pub fn between(start: &str, end: Option<&str>, clock: &Clock) -> Option<Self> {
        let now = clock.now();
        let zoned = |text: &str| {
            let time = text.parse::<Timestamp>().ok()?;
            Some(time.to_zoned(now.time_zone().clone()))
        };
        let range = Self {
            start: zoned(start)?,
            end: match end {
                Some(end) => zoned(end)?,
                None => now,
            },
            period: None,
        };
        (range.start < range.end).then_some(range)
    }

    /// Returns the range before: the same part of the calendar period before, or the time of the same
    /// length before. Returns `None` before the first year.
    pub fn previous(&self) -> Option<Self> {
        let Some(period) = self.period else {
            let length = self.start.until(&self.end).ok()?;
            return Some(Self {
                start: self.start.checked_sub(length).ok()?,
                end: self.start.clone(),
                period: None,
            });
        };
        let next = self.start.checked_add(period).ok()?;
        let is_over = next.checked_sub(1.millisecond()).ok()? == self.end;
        Some(Self {
            start: self.start.checked_sub(period).ok()?,
            end: match is_over {
                true => self.start.checked_sub(1.millisecond()).ok()?,
                // A month of 30 days has no 31st; its last day stands for it.
                false => self.end.checked_sub(period).ok()?.min(self.start.clone()),
            },
            period: Some(period),
        })
    }

    /// Returns the length of the range.
    pub fn length(&self) -> std::time::Duration {
        let length = self.start.duration_until(&self.end);
        std::time::Duration::try_from(length).unwrap_or_default()
    }

    /// Returns the first instant in RFC 3339.
    pub fn start(&self) -> String {
        format_rfc3339(self.start.timestamp())
    }

    /// Returns true if the range ends with the current time, to the minute.
    pub fn ends_now(&self, clock: &Clock) -> bool {
        let left = clock.now().timestamp().duration_since(self.end.timestamp());
        left < jiff::SignedDuration::from_mins(1)
    }

    /// Returns the last instant in RFC 3339.
    pub fn end(&self) -> String {
        format_rfc3339(self.end.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a clock at Sunday, 29 November 2026, 10:30 UTC.
    fn test_clock() -> Clock {
        Clock::system().with_now(|| 1_795_948_200)
    }

    #[test]
    fn ranges_and_the_ones_before_are_found() {
        struct Case {
            text: &'static str,
            range: (&'static str, &'static str),
            before: (&'static str, &'static str),
        }
        let cases = [
            Case {
                text: "last month",
                range: ("2026-10-01T00:00:00Z", "2026-10-31T23:59:59.999Z"),
                before: ("2026-09-01T00:00:00Z", "2026-09-30T23:59:59.999Z"),
            },
            Case {
                text: "2026-Q3",
                range: ("2026-07-01T00:00:00Z", "2026-09-30T23:59:59.999Z"),
                before: ("2026-04-01T00:00:00Z", "2026-06-30T23:59:59.999Z"),
            },
            Case {
                text: "This Month",
                range: ("2026-11-01T00:00:00Z", "2026-11-29T10:30:00Z"),
                before: ("2026-10-01T00:00:00Z", "2026-10-29T10:30:00Z"),
            },
            Case {
                text: "7d",
                range: ("2026-11-22T10:30:00Z", "2026-11-29T10:30:00Z"),
                before: ("2026-11-15T10:30:00Z", "2026-11-22T10:30:00Z"),
            },
            Case {
                text: "last 24 hours",
                range: ("2026-11-28T10:30:00Z", "2026-11-29T10:30:00Z"),
                before: ("2026-11-27T10:30:00Z", "2026-11-28T10:30:00Z"),
            },
            Case {
                text: "2026-11-28T00:00:00Z",
                range: ("2026-11-28T00:00:00Z", "2026-11-29T10:30:00Z"),
                before: ("2026-11-26T13:30:00Z", "2026-11-28T00:00:00Z"),
            },
        ];
        for case in cases {
            let range = TimeRange::parse(case.text, &test_clock()).unwrap();
            assert_eq!(
                (&*range.start(), &*range.end()),
                case.range,
                "{}",
                case.text
            );
            let before = range.previous().unwrap();
            assert_eq!(
                (&*before.start(), &*before.end()),
                case.before,
                "{}",
                case.text
            );
        }
    }

    #[test]
    fn ranges_that_have_not_begun_are_rejected() {
        for text in ["next month", "2027", "in 3 days", "now", "soon", ""] {
            assert!(TimeRange::parse(text, &test_clock()).is_none(), "{text}");
        }
        let reversed = TimeRange::between(
            "2026-11-02T00:00:00Z",
            Some("2026-11-01T00:00:00Z"),
            &test_clock(),
        );
        assert!(reversed.is_none());
    }
}

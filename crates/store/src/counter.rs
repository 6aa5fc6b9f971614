//! Counters of windows of time: reserved before something is done, given back if it fails.

use std::time::Duration;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime};

use super::{Key, LONGEST, Owner};

/// Into how many parts a sliding window is cut. What is counted leaves it with its part, so that it is
/// counted for up to a thirtieth longer than the window, never shorter.
const PARTS: u64 = 30;

/// Bound on what is counted: numbers in Redis's scripts are exact up to here.
const MOST_COUNT: u64 = (1 << 53) - 1;

const SECOND: u64 = 1_000_000;
const DAY: u64 = 24 * 3600 * SECOND;

/// The time within which something is counted. Calendar windows are those of UTC, weeks begin on Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// A minute of the clock.
    Minute,
    /// An hour of the clock.
    Hour,
    /// A day of the calendar.
    Day,
    /// A week of the calendar.
    Week,
    /// A month of the calendar.
    Month,
    /// The time up to now, of this length.
    Sliding(Duration),
    /// A token bucket: all may come at once, and what is spent comes back evenly, all of it in this time.
    Bucket(Duration),
}

/// So many in a window, and how many of them are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Whose counter it is. Each window under a key has a counter of its own; budgets of one key and one
    /// window share it.
    pub key: Key,
    /// When what is counted is forgotten.
    pub window: Window,
    /// How many there may be. Without effect beyond 2⁵³.
    pub most: u64,
    /// How many are asked for; none asks only whether the budget was exceeded.
    pub amount: u64,
}

/// Whether all budgets allowed it.
#[derive(Debug, PartialEq, Eq)]
pub enum Reserved {
    /// Yes, and it is counted. Dropping the reservation keeps it so.
    Yes(Reservation),
    /// No, and nothing is counted.
    Exhausted {
        /// The first budget that did not allow it, by its place among those asked.
        index: usize,
        /// How many that budget has counted.
        counted: u64,
        /// When the budget would allow it, if nothing else came; never, if it asks for more than that.
        retry_after: Option<Duration>,
    },
}

/// What was counted, for [`roll_back`](super::Store::roll_back). There is no other way to give it back: if
/// the process ends before, it stays counted for its window.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "dropping it keeps it counted"]
pub struct Reservation(pub(super) Vec<(Asked, Granted)>);

/// A budget as it is counted: times are microseconds since 1970.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) owner: Option<Owner>,
    pub(super) most: u64,
    pub(super) amount: u64,
    pub(super) how: How,
}

/// How a window counts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Spans of one length, the first of which begins at `offset`; `former` ones count beside the
    /// current one.
    Even {
        width: u64,
        offset: u64,
        former: u64,
    },
    /// Spans between these points.
    Between([u64; 4]),
    /// As GCRA does: what is kept is when the bucket is full again.
    Bucket {
        interval: u64,
        capacity: u64,
        cost: u64,
    },
}

/// What was counted, where, and until when that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    /// The beginning of the span that it is counted in; of a bucket when it would be full again.
    pub(super) mark: u64,
    /// How many are counted with it.
    pub(super) counted: u64,
}

/// Why a budget does not allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Short {
    pub(super) counted: u64,
    /// In microseconds.
    pub(super) wait: u64,
}

/// What is kept of a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// How many in which span, by its beginning.
    Spans(Vec<(u64, u64)>),
    /// When a bucket is full again, and in which time one comes back.
    FullAt(u64, u64),
}

impl Window {
    /// The window's name, in the name of a counter.
    fn named(self) -> String {
        match self {
            Self::Minute => "minute".into(),
            Self::Hour => "hour".into(),
            Self::Day => "day".into(),
            Self::Week => "week".into(),
            Self::Month => "month".into(),
            Self::Sliding(length) => format!("sliding-{}", micros(length)),
            Self::Bucket(period) => format!("bucket-{}", micros(period)),
        }
    }

    fn how(self, most: u64, amount: u64, now: u64) -> How {
        let even = |width, offset| How::Even {
            width,
            offset,
            former: 0,
        };
        match self {
            Self::Minute => even(60 * SECOND, 0),
            Self::Hour => even(3600 * SECOND, 0),
            Self::Day => even(DAY, 0),
            // 1970 began on a Thursday.
            Self::Week => even(7 * DAY, 4 * DAY),
            Self::Month => How::Between(months(now)),
            Self::Sliding(length) => How::Even {
                width: micros(length).div_ceil(PARTS),
                offset: 0,
                former: PARTS,
            },
            Self::Bucket(period) => {
                let longest = micros(LONGEST);
                let interval = micros(period).div_ceil(most.max(1));
                let of = |count: u64| interval.saturating_mul(count).min(longest);
                // More than fits is never granted, whatever the bounds make of it.
                let cost = if amount > most {
                    2 * longest
                } else {
                    of(amount)
                };
                How::Bucket {
                    interval,
                    capacity: of(most),
                    cost,
                }
            }
        }
    }
}

impl Asked {
    /// The budget at this time, which matters for calendars only.
    pub(super) fn new(budget: &Budget, now: u64) -> Self {
        let Budget { key, window, .. } = budget;
        let (most, amount) = (budget.most.min(MOST_COUNT), budget.amount.min(MOST_COUNT));
        let name = format!("{key}:{}", window.named());
        Self {
            name,
            owner: key.owner,
            most,
            amount,
            how: window.how(most, amount, now),
        }
    }

    /// What it makes of the counter, with when that means nothing any more. The scripts for Redis do the
    /// same.
    pub(super) fn reserve(
        &self,
        held: Option<&State>,
        now: u64,
    ) -> Result<(State, u64, Granted), Short> {
        if let How::Bucket {
            interval,
            capacity,
            cost,
        } = self.how
        {
            let (known, each) = match held {
                Some(State::FullAt(full_at, each)) => (*full_at, *each),
                _ => (now, interval),
            };
            // No further off than this budget could have made it: it may have been another one before.
            let known = known.clamp(now, now + capacity);
            let full_at = known + cost;
            let of = |time: u64| (time - now).div_ceil(each);
            return match full_at.saturating_sub(now + capacity) {
                0 => {
                    let granted = Granted {
                        mark: full_at,
                        counted: of(full_at),
                    };
                    Ok((State::FullAt(full_at, interval), full_at, granted))
                }
                wait => Err(Short {
                    counted: of(known),
                    wait: wait.min(capacity),
                }),
            };
        }
        let (slot, since, end) = self.how.span(now);
        let mut spans = match held {
            Some(State::Spans(spans)) => spans.clone(),
            _ => Vec::new(),
        };
        spans.retain(|(start, _)| *start >= since);
        let counted = spans.iter().map(|(_, count)| count).sum::<u64>();
        let total = counted.saturating_add(self.amount);
        if total > self.most {
            let mut over = total - self.most;
            let freed = spans.iter().find_map(|(start, count)| {
                over = over.saturating_sub(*count);
                (over == 0).then_some(*start)
            });
            let wait = (freed.unwrap_or(slot) + end - slot).saturating_sub(now);
            return Err(Short { counted, wait });
        }
        match spans.iter_mut().find(|(start, _)| *start == slot) {
            Some((_, count)) => *count += self.amount,
            None => spans.push((slot, self.amount)),
        }
        Ok((
            State::Spans(spans),
            end,
            Granted {
                mark: slot,
                counted: total,
            },
        ))
    }

    /// What giving it back makes of the counter.
    pub(super) fn roll_back(&self, granted: &Granted, held: &State, now: u64) -> State {
        match (held, &self.how) {
            // Only what has not come back by itself: the rest may have been spent anew.
            (State::FullAt(full_at, each), How::Bucket { cost, .. }) => {
                let back = granted.mark.saturating_sub(now).min(*cost);
                State::FullAt(full_at.saturating_sub(back), *each)
            }
            (State::Spans(spans), _) => {
                let lowered = |(start, count): &(u64, u64)| match *start == granted.mark {
                    true => (*start, count.saturating_sub(self.amount)),
                    false => (*start, *count),
                };
                State::Spans(spans.iter().map(lowered).collect())
            }
            (held, _) => held.clone(),
        }
    }
}

impl State {
    /// Whether nothing is counted, so that it need not be kept.
    pub(super) fn is_empty(&self, now: u64) -> bool {
        match self {
            Self::Spans(spans) => spans.iter().all(|(_, count)| *count == 0),
            Self::FullAt(full_at, _) => *full_at <= now,
        }
    }
}

impl How {
    /// Where the current span begins, from where on spans count, and when the current one stops to.
    fn span(&self, now: u64) -> (u64, u64, u64) {
        match self {
            Self::Even {
                width,
                offset,
                former,
            } => {
                let slot = now - now.saturating_sub(*offset) % width;
                (
                    slot,
                    slot.saturating_sub(former * width),
                    slot + (former + 1) * width,
                )
            }
            Self::Between(points) => {
                let span = points.windows(2).rev().find_map(|pair| match pair {
                    [start, end] if *start <= now => Some((*start, *start, *end)),
                    _ => None,
                });
                span.unwrap_or((now, now, now))
            }
            Self::Bucket { .. } => (now, now, now),
        }
    }
}

/// In microseconds, within bounds.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.min(LONGEST).as_micros())
        .unwrap_or(u64::MAX)
        .max(1)
}

/// The beginnings of the month before, of this one, and of the next two.
fn months(now: u64) -> [u64; 4] {
    let date = i64::try_from(now)
        .ok()
        .and_then(DateTime::from_timestamp_micros);
    let first = date.and_then(|date| NaiveDate::from_ymd_opt(date.year(), date.month(), 1));
    let first = first.unwrap_or_default();
    let begin = |date: Option<NaiveDate>| {
        let begin = date.unwrap_or(first).and_time(NaiveTime::MIN).and_utc();
        u64::try_from(begin.timestamp_micros()).unwrap_or_default()
    };
    let later = |count| begin(first.checked_add_months(Months::new(count)));
    [
        begin(first.checked_sub_months(Months::new(1))),
        later(0),
        later(1),
        later(2),
    ]
}

//! Counters of time windows: reserved before an action, rolled back if the action fails.

use std::time::Duration;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime};

use super::{MAX_DURATION, Owner, StoreKey};

/// Number of parts of a sliding window. A count leaves the window together with its part, so that
/// it lasts up to a thirtieth longer than the window, never shorter.
const SLIDING_PARTS: u64 = 30;

/// Maximum of a counter: numbers in Redis scripts are exact up to this value.
const MAX_COUNT: u64 = (1 << 53) - 1;

const SECOND_MICROS: u64 = 1_000_000;
const DAY_MICROS: u64 = 24 * 3600 * SECOND_MICROS;

/// Time within which calls are counted. Calendar windows are in UTC, and weeks begin on Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// Clock minute.
    Minute,
    /// Clock hour.
    Hour,
    /// Calendar day.
    Day,
    /// Calendar week.
    Week,
    /// Calendar month.
    Month,
    /// The past period of this length.
    Sliding(Duration),
    /// A token bucket that permits a burst of the whole budget. An empty bucket refills evenly in
    /// this time.
    Bucket(Duration),
}

/// A maximum within a window, and the amount to reserve from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Key of the counter. Each window under a key has a counter of its own; budgets with the same
    /// key and window share it.
    pub key: StoreKey,
    /// Window after which counts expire.
    pub window: Window,
    /// Maximum count. Values above 2⁵³ have the same effect as 2⁵³.
    pub max: u64,
    /// Amount to reserve. Zero only checks whether the budget is exceeded.
    pub amount: u64,
}

/// Result of reserving budgets.
#[derive(Debug, PartialEq, Eq)]
pub enum ReserveOutcome {
    /// All budgets permitted their amounts, which are counted now. Dropping the reservation keeps
    /// the counts.
    Reserved(Reservation),
    /// One budget did not permit its amount, and nothing is counted.
    Exhausted {
        /// Index of the first such budget.
        index: usize,
        /// Current count of that budget.
        counted: u64,
        /// Time until the budget would permit the amount if nothing else is counted. `None` if the
        /// amount exceeds the maximum.
        retry_after: Option<Duration>,
    },
}

/// Counted amounts, for [`roll_back`](super::Store::roll_back). There is no other way to give them
/// back: if the process ends first, they stay counted for their window.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "dropping it keeps it counted"]
pub struct Reservation(pub(super) Vec<(CounterRequest, CounterGrant)>);

/// A budget in the form in which it is counted. Times are microseconds since 1970.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CounterRequest {
    pub(super) name: String,
    pub(super) owner: Option<Owner>,
    pub(super) max: u64,
    pub(super) amount: u64,
    pub(super) method: CountingMethod,
}

/// Counting method of a window.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CountingMethod {
    /// Spans of one length, the first of which begins at `offset`. The `previous` spans before the
    /// current one are counted as well.
    FixedSpans {
        width: u64,
        offset: u64,
        previous: u64,
    },
    /// Spans between these points in time.
    CalendarSpans([u64; 4]),
    /// The generic cell rate algorithm (GCRA), which stores only the time at which the bucket is
    /// full again.
    Bucket {
        interval: u64,
        capacity: u64,
        cost: u64,
    },
}

/// A counted amount and its place in the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CounterGrant {
    /// Start of the span that contains the amount; for a bucket, the time at which it is full
    /// again.
    pub(super) mark: u64,
    /// Count including this amount.
    pub(super) counted: u64,
}

/// Reason why a budget does not permit an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BudgetShortage {
    pub(super) counted: u64,
    /// Time to wait, in microseconds.
    pub(super) wait: u64,
}

/// Stored state of a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CounterState {
    /// Pairs of the start of a span and its count.
    Spans(Vec<(u64, u64)>),
    /// Time at which a bucket is full again, and interval in which one unit comes back.
    FullAt(u64, u64),
}

impl Window {
    /// Returns the name of the window, as a part of the counter's name.
    fn name(self) -> String {
        match self {
            Self::Minute => "minute".into(),
            Self::Hour => "hour".into(),
            Self::Day => "day".into(),
            Self::Week => "week".into(),
            Self::Month => "month".into(),
            Self::Sliding(length) => format!("sliding-{}", to_micros(length)),
            Self::Bucket(period) => format!("bucket-{}", to_micros(period)),
        }
    }

    fn counting_method(self, max: u64, amount: u64, now: u64) -> CountingMethod {
        let even = |width, offset| CountingMethod::FixedSpans {
            width,
            offset,
            previous: 0,
        };
        match self {
            Self::Minute => even(60 * SECOND_MICROS, 0),
            Self::Hour => even(3600 * SECOND_MICROS, 0),
            Self::Day => even(DAY_MICROS, 0),
            // 1970 began on a Thursday.
            Self::Week => even(7 * DAY_MICROS, 4 * DAY_MICROS),
            Self::Month => CountingMethod::CalendarSpans(month_starts(now)),
            Self::Sliding(length) => CountingMethod::FixedSpans {
                width: to_micros(length).div_ceil(SLIDING_PARTS),
                offset: 0,
                previous: SLIDING_PARTS,
            },
            Self::Bucket(period) => {
                let longest = to_micros(MAX_DURATION);
                let interval = to_micros(period).div_ceil(max.max(1));
                let of = |count: u64| interval.saturating_mul(count).min(longest);
                // An amount above the maximum is never granted, even if the bounds above shorten
                // its cost.
                let cost = if amount > max {
                    2 * longest
                } else {
                    of(amount)
                };
                CountingMethod::Bucket {
                    interval,
                    capacity: of(max),
                    cost,
                }
            }
        }
    }
}

impl CounterRequest {
    /// Converts a budget at this time, which matters for calendar windows only.
    pub(super) fn from_budget(budget: &Budget, now: u64) -> Self {
        let Budget { key, window, .. } = budget;
        let max = budget.max.min(MAX_COUNT);
        let amount = budget.amount.min(MAX_COUNT);
        let name = format!("{key}:{}", window.name());
        Self {
            name,
            owner: key.owner,
            max,
            amount,
            method: window.counting_method(max, amount, now),
        }
    }

    /// Returns the new state of the counter, the time at which it expires, and the grant. The Lua
    /// scripts for Redis do the same calculation.
    pub(super) fn reserve(
        &self,
        held: Option<&CounterState>,
        now: u64,
    ) -> Result<(CounterState, u64, CounterGrant), BudgetShortage> {
        if let CountingMethod::Bucket {
            interval,
            capacity,
            cost,
        } = self.method
        {
            let (known, each) = match held {
                Some(CounterState::FullAt(full_at, each)) => (*full_at, *each),
                _ => (now, interval),
            };
            // An earlier budget may have been larger. Clamp to the latest time that this one can
            // cause.
            let known = known.clamp(now, now + capacity);
            let full_at = known + cost;
            let of = |time: u64| (time - now).div_ceil(each);
            return match full_at.saturating_sub(now + capacity) {
                0 => {
                    let granted = CounterGrant {
                        mark: full_at,
                        counted: of(full_at),
                    };
                    Ok((CounterState::FullAt(full_at, interval), full_at, granted))
                }
                wait => Err(BudgetShortage {
                    counted: of(known),
                    wait: wait.min(capacity),
                }),
            };
        }
        let (slot, since, end) = self.method.current_span(now);
        let mut spans = match held {
            Some(CounterState::Spans(spans)) => spans.clone(),
            _ => Vec::new(),
        };
        spans.retain(|(start, _)| *start >= since);
        let counted = spans.iter().map(|(_, count)| count).sum::<u64>();
        let total = counted.saturating_add(self.amount);
        if total > self.max {
            let mut over = total - self.max;
            let freed = spans.iter().find_map(|(start, count)| {
                over = over.saturating_sub(*count);
                (over == 0).then_some(*start)
            });
            let wait = (freed.unwrap_or(slot) + end - slot).saturating_sub(now);
            return Err(BudgetShortage { counted, wait });
        }
        match spans.iter_mut().find(|(start, _)| *start == slot) {
            Some((_, count)) => *count += self.amount,
            None => spans.push((slot, self.amount)),
        }
        Ok((
            CounterState::Spans(spans),
            end,
            CounterGrant {
                mark: slot,
                counted: total,
            },
        ))
    }

    /// Returns the state of the counter after the grant is given back.
    pub(super) fn roll_back(
        &self,
        granted: &CounterGrant,
        held: &CounterState,
        now: u64,
    ) -> CounterState {
        match (held, &self.method) {
            // Only the part that has not refilled by itself, as the rest may have been spent again.
            (CounterState::FullAt(full_at, each), CountingMethod::Bucket { cost, .. }) => {
                let back = granted.mark.saturating_sub(now).min(*cost);
                CounterState::FullAt(full_at.saturating_sub(back), *each)
            }
            (CounterState::Spans(spans), _) => {
                let lowered = |(start, count): &(u64, u64)| match *start == granted.mark {
                    true => (*start, count.saturating_sub(self.amount)),
                    false => (*start, *count),
                };
                CounterState::Spans(spans.iter().map(lowered).collect())
            }
            (held, _) => held.clone(),
        }
    }
}

impl CounterState {
    /// Returns true if nothing is counted, so that the state need not be stored.
    pub(super) fn is_empty(&self, now: u64) -> bool {
        match self {
            Self::Spans(spans) => spans.iter().all(|(_, count)| *count == 0),
            Self::FullAt(full_at, _) => *full_at <= now,
        }
    }
}

impl CountingMethod {
    /// Returns the start of the current span, the start of the first span that counts, and the time
    /// at which the current span stops counting.
    fn current_span(&self, now: u64) -> (u64, u64, u64) {
        match self {
            Self::FixedSpans {
                width,
                offset,
                previous: former,
            } => {
                let slot = now - now.saturating_sub(*offset) % width;
                (
                    slot,
                    slot.saturating_sub(former * width),
                    slot + (former + 1) * width,
                )
            }
            Self::CalendarSpans(points) => {
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

/// Converts to microseconds, between 1 and [`MAX_DURATION`].
fn to_micros(time: Duration) -> u64 {
    u64::try_from(time.min(MAX_DURATION).as_micros())
        .unwrap_or(u64::MAX)
        .max(1)
}

/// Returns the starts of the previous month, of this month, and of the next two.
fn month_starts(now: u64) -> [u64; 4] {
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

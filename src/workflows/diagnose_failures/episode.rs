//! Episodes of failures in graphs of requests and errors.

use std::{collections::BTreeMap, ops::Range};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Window, number, rate};

/// Errors beyond the usual ones that make an episode at least.
const MIN_EXCESS: f64 = 5.0;
/// Share of failing requests, beyond the usual one, that is an episode at least.
const MIN_RISE: f64 = 0.03;
/// An episode is over once this many requests that succeed would have failed at its rate.
const MIN_MISSING_ERRORS: f64 = 5.0;

/// A share of failing requests above which they belong to an episode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Threshold(f64);

impl Threshold {
    /// Returns the threshold where a share is usual.
    pub(super) fn above(usual: f64) -> Self {
        Self((usual * 2.0).max(usual + MIN_RISE))
    }

    /// Returns the threshold where the share of a coarser graph is known. It is diluted there.
    pub(super) fn between(usual: f64, coarse: f64) -> Self {
        Self(f64::midpoint(usual, coarse).max(Self::above(usual).0))
    }

    /// Returns true if more fail than the threshold.
    pub(super) fn is_exceeded(self, errors: f64, requests: f64) -> bool {
        errors - self.0 * requests > 0.0
    }
}

/// Failing requests from a time to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Episode {
    pub(super) from: Timestamp,
    /// End of its last point; `None` if it had not ended.
    pub(super) to: Option<Timestamp>,
    pub(super) requests: f64,
    pub(super) errors: f64,
    /// Numbers of its first and last point.
    first: usize,
    last: usize,
}

impl Episode {
    pub(super) fn rate(&self) -> f64 {
        rate(self.errors, self.requests)
    }
}

/// A point of both graphs.
#[derive(Clone, Copy, Debug)]
struct Point {
    at: Timestamp,
    requests: f64,
    errors: f64,
}

/// Sums of points.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    requests: f64,
    errors: f64,
}

impl Sum {
    fn add(&mut self, point: &Point) {
        self.requests += point.requests;
        self.errors += point.errors;
    }

    /// Returns true if so many requests follow that some would fail if it went on.
    fn is_over_after(&self, rest: &Self) -> bool {
        rate(self.errors, self.requests) * rest.requests - rest.errors >= MIN_MISSING_ERRORS
    }
}

/// The points of a window, in their order.
pub(super) struct Points {
    points: Vec<Point>,
    window: Window,
}

impl Points {
    /// Joins the points of two graphs.
    pub(super) fn new(requests: &Value, errors: &Value, window: Window) -> Self {
        let mut points: BTreeMap<Timestamp, (f64, f64)> = BTreeMap::new();
        for (at, count) in counts(requests) {
            points.entry(at).or_default().0 += count;
        }
        for (at, count) in counts(errors) {
            points.entry(at).or_default().1 += count;
        }
        let point = |(at, (requests, errors)): (Timestamp, (f64, f64))| Point {
            at,
            // A graph may know errors that the other does not count.
            requests: requests.max(errors),
            errors,
        };
        Self {
            points: points.into_iter().map(point).collect(),
            window,
        }
    }

    pub(super) fn requests(&self) -> f64 {
        self.points.iter().map(|point| point.requests).sum()
    }

    pub(super) fn errors(&self) -> f64 {
        self.points.iter().map(|point| point.errors).sum()
    }

    /// Returns the time that a point covers. Points without requests may be left out.
    pub(super) fn width(&self) -> SignedDuration {
        let distances = self
            .points
            .windows(2)
            .filter_map(|pair| Some(pair.get(1)?.at.duration_since(pair.first()?.at)));
        distances
            .min()
            .unwrap_or_else(|| self.window.to.duration_since(self.window.from))
    }

    /// Returns the share of requests that usually fail: that of the quarter of points with the lowest
    /// ones, or that of the period before if it is lower.
    pub(super) fn usual_rate(&self, before: Option<f64>) -> f64 {
        let mut rates: Vec<f64> = self
            .points
            .iter()
            .filter(|point| point.requests > 0.0)
            .map(|point| rate(point.errors, point.requests))
            .collect();
        rates.sort_by(f64::total_cmp);
        let quarter = rates.get(rates.len() / 4).copied();
        // Small points show no errors by chance.
        let quarter = quarter.filter(|rate| *rate > 0.0 || before.is_none());
        match (quarter, before) {
            (Some(quarter), Some(before)) => quarter.min(before),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => 0.0,
        }
    }

    /// Returns the run of points with the most errors beyond a threshold.
    pub(super) fn worst_episode(&self, threshold: Threshold) -> Option<Episode> {
        self.worst_between(0, self.points.len(), threshold)
    }

    /// Returns the worst run of points before and the one after an episode.
    pub(super) fn other_episodes(&self, known: &Episode, threshold: Threshold) -> Vec<Episode> {
        let before = self.worst_between(0, known.first, threshold);
        let after = self.worst_between(known.last + 1, self.points.len(), threshold);
        before.into_iter().chain(after).collect()
    }

    fn worst_between(&self, from: usize, until: usize, threshold: Threshold) -> Option<Episode> {
        let runs = self.runs(from, until, threshold).into_iter();
        let best = runs.map(|run| self.worst_in(run, threshold));
        let (_, first, last) = best
            .max_by(|(left, ..), (right, ..)| left.total_cmp(right))
            .filter(|(excess, ..)| *excess >= MIN_EXCESS)?;
        let run = self.points.get(first..=last)?;
        let end = run.last()?.at + self.width();
        Some(Episode {
            from: run.first()?.at.max(self.window.from),
            to: Some(end.min(self.window.to)),
            requests: run.iter().map(|point| point.requests).sum(),
            errors: run.iter().map(|point| point.errors).sum(),
            first,
            last,
        })
    }

    /// Returns the runs of points with more errors than the threshold. A run ends where so many requests
    /// succeed that some would have failed.
    fn runs(&self, from: usize, until: usize, threshold: Threshold) -> Vec<Range<usize>> {
        let mut runs = Vec::new();
        let mut run: Option<(Range<usize>, Sum)> = None;
        let mut rest = Sum::default();
        for (number, point) in self.points.iter().enumerate().take(until).skip(from) {
            rest.add(point);
            if threshold.is_exceeded(point.errors, point.requests) {
                let (range, sum) = run.get_or_insert_with(|| {
                    rest = Sum::default();
                    rest.add(point);
                    (number..number, Sum::default())
                });
                range.end = number + 1;
                sum.requests += rest.requests;
                sum.errors += rest.errors;
                rest = Sum::default();
            } else if let Some((range, _)) = run.take_if(|(_, sum)| sum.is_over_after(&rest)) {
                runs.push(range);
                rest = Sum::default();
            }
        }
        runs.extend(run.map(|(range, _)| range));
        runs
    }

    /// Returns the part of a run with the most errors beyond the threshold, by Kadane, and how many.
    fn worst_in(&self, run: Range<usize>, threshold: Threshold) -> (f64, usize, usize) {
        let mut best = (f64::MIN, run.start, run.start);
        let mut start = run.start;
        let mut sum = 0.0;
        for (number, point) in self.points.iter().enumerate().take(run.end).skip(run.start) {
            if sum <= 0.0 {
                start = number;
                sum = 0.0;
            }
            sum += point.errors - threshold.0 * point.requests;
            if sum > best.0 {
                best = (sum, start, number);
            }
        }
        best
    }

    /// Returns true if so many requests follow an episode that some would fail if it went on, and no
    /// more of them fail than is usual.
    pub(super) fn is_over(&self, episode: &Episode, usual: Threshold) -> bool {
        let mut rest = Sum::default();
        let points = self.points.get(episode.last + 1..).unwrap_or_default();
        points.iter().for_each(|point| rest.add(point));
        let known = Sum {
            requests: episode.requests,
            errors: episode.errors,
        };
        let still_fail = rest.errors - usual.0 * rest.requests;
        known.is_over_after(&rest) && still_fail < MIN_EXCESS
    }
}

fn counts(graph: &Value) -> impl Iterator<Item = (Timestamp, f64)> {
    let points = graph.get("data_points").and_then(Value::as_array);
    points.into_iter().flatten().filter_map(|point| {
        let at = point.get("timestamp")?.as_str()?.parse().ok()?;
        Some((at, number(point.get("total")?)?))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    /// Returns points of an hour each, with requests and errors.
    fn hours(counts: &[(u64, u64)]) -> Points {
        let from: Timestamp = "2026-05-01T00:00:00Z".parse().unwrap();
        let at = |number: usize| from + SignedDuration::from_hours(i64::try_from(number).unwrap());
        let graph = |of: fn(&(u64, u64)) -> u64| {
            let points = counts.iter().enumerate();
            let points = points.map(
                |(number, pair)| json!({ "timestamp": at(number).to_string(), "total": of(pair) }),
            );
            json!({ "data_points": points.collect::<Vec<_>>() })
        };
        let window = Window {
            from,
            to: at(counts.len()),
        };
        Points::new(&graph(|pair| pair.0), &graph(|pair| pair.1), window)
    }

    #[test]
    fn worst_run_of_points_is_found() {
        struct Case {
            counts: &'static [(u64, u64)],
            /// First and last point.
            worst: Option<(usize, usize)>,
            is_over: bool,
        }
        for Case {
            counts,
            worst,
            is_over,
        } in [
            Case {
                counts: &[(100, 1), (100, 2), (100, 1)],
                worst: None,
                is_over: false,
            },
            Case {
                counts: &[(100, 1), (100, 60), (100, 80), (100, 1)],
                worst: Some((1, 2)),
                is_over: true,
            },
            Case {
                counts: &[(100, 1), (100, 30), (100, 1), (100, 80)],
                worst: Some((3, 3)),
                is_over: false,
            },
            // Too few requests to tell.
            Case {
                counts: &[(100, 1), (100, 80), (3, 0)],
                worst: Some((1, 1)),
                is_over: false,
            },
            Case {
                counts: &[(0, 0), (3, 3)],
                worst: None,
                is_over: false,
            },
        ] {
            let points = hours(counts);
            let usual = points.usual_rate(Some(0.01));
            let found = points.worst_episode(Threshold::above(usual));
            let run = found.map(|episode| (episode.first, episode.last));
            assert_eq!(run, worst, "{counts:?}");
            let above = Threshold::above(usual);
            let over = found.is_some_and(|episode| points.is_over(&episode, above));
            assert_eq!(over, is_over, "{counts:?}");
        }
    }

    #[test]
    fn episode_that_goes_on_with_fewer_failures_is_not_over() {
        let points = hours(&[(100, 1), (100, 80), (100, 30)]);
        let peak = points.worst_episode(Threshold::between(0.01, 0.8)).unwrap();
        assert_eq!((peak.first, peak.last), (1, 1));
        assert!(!points.is_over(&peak, Threshold::above(0.01)));
    }

    #[test]
    fn usual_rate_is_the_lower_one() {
        let points = hours(&[(100, 50), (100, 50), (100, 50), (100, 50)]);
        assert!((points.usual_rate(Some(0.01)) - 0.01).abs() < f64::EPSILON);
        assert!((points.usual_rate(None) - 0.5).abs() < f64::EPSILON);
    }
}

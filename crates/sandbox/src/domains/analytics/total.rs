//! Totals of traffic rows, from which all figures of analytics are derived.

use std::collections::BTreeMap;

use super::row::{CacheOutcome, TrafficRow, score_as_f64};
use crate::domains::logs::micro_cents_to_cents;

/// Sums over traffic rows.
#[derive(Clone, Debug, Default)]
pub(super) struct TrafficTotal {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) prompt_tokens: u64,
    pub(super) completion_tokens: u64,
    pub(super) simple_hits: u64,
    pub(super) semantic_hits: u64,
    pub(super) fallbacks: u64,
    pub(super) rated_requests: u64,
    pub(super) ratings: u64,
    pub(super) first_at: u64,
    pub(super) last_at: u64,
    /// Number of requests per error status.
    pub(super) statuses: BTreeMap<u16, u64>,
    /// Number of requests per user.
    pub(super) users: BTreeMap<String, u64>,
    /// Number of requests per number of retries before success.
    pub(super) retries: BTreeMap<u64, u64>,
    /// Number of ratings per score.
    pub(super) scores: BTreeMap<i64, u64>,
    /// Number of requests per latency in milliseconds.
    latencies: BTreeMap<u64, u64>,
    hit_latency_sum: u64,
    cost: u64,
    simple_savings: u64,
    semantic_savings: u64,
    weighted_sum: f64,
}

impl TrafficTotal {
    /// Sums up rows.
    pub(super) fn from_rows(rows: &[TrafficRow<'_>]) -> Self {
        let mut total = Self::default();
        rows.iter().for_each(|row| total.add(row));
        total
    }

    /// Adds one row.
    pub(super) fn add(&mut self, row: &TrafficRow<'_>) {
        let many = row.requests;
        self.first_at = if self.requests == 0 {
            row.at
        } else {
            self.first_at.min(row.at)
        };
        self.last_at = self.last_at.max(row.last_at);
        self.requests += many;
        self.cost += many * row.cost;
        self.prompt_tokens += many * row.prompt_tokens;
        self.completion_tokens += many * row.completion_tokens;
        *self.latencies.entry(row.latency_ms).or_default() += many;
        if row.status >= 400 {
            self.errors += many;
            *self.statuses.entry(row.status).or_default() += many;
        }
        match row.cache {
            CacheOutcome::Miss => {}
            CacheOutcome::Simple => {
                self.simple_hits += many;
                self.simple_savings += many * row.saved_cost;
                self.hit_latency_sum += many * row.latency_ms;
            }
            CacheOutcome::Semantic => {
                self.semantic_hits += many;
                self.semantic_savings += many * row.saved_cost;
                self.hit_latency_sum += many * row.latency_ms;
            }
        }
        if row.retries > 0 {
            *self.retries.entry(row.retries).or_default() += many;
        }
        if row.fallback {
            self.fallbacks += many;
        }
        if let Some(user) = row.origin.label("_user") {
            match self.users.get_mut(user) {
                Some(sent) => *sent += many,
                None => _ = self.users.insert(user.to_owned(), many),
            }
        }
        self.rated_requests += u64::from(!row.ratings.is_empty());
        for (value, weight) in &row.ratings {
            self.ratings += 1;
            self.weighted_sum += score_as_f64(*value) * weight;
            *self.scores.entry(*value).or_default() += 1;
        }
    }

    /// Returns the cost in US cents.
    pub(super) fn cost(&self) -> f64 {
        micro_cents_to_cents(self.cost)
    }

    /// Returns the cost that the cache saved in US cents: by identical requests, and by similar
    /// ones.
    pub(super) fn savings(&self) -> (f64, f64) {
        (
            micro_cents_to_cents(self.simple_savings),
            micro_cents_to_cents(self.semantic_savings),
        )
    }

    pub(super) fn tokens(&self) -> u64 {
        self.prompt_tokens + self.completion_tokens
    }

    pub(super) fn hits(&self) -> u64 {
        self.simple_hits + self.semantic_hits
    }

    /// Returns the number of requests that succeeded after retries.
    pub(super) fn retried_requests(&self) -> u64 {
        self.retries.values().sum()
    }

    /// Returns the mean latency in milliseconds.
    pub(super) fn mean_latency(&self) -> u64 {
        let time: u64 = self
            .latencies
            .iter()
            .map(|(latency, many)| latency * many)
            .sum();
        time / self.requests.max(1)
    }

    /// Returns the mean latency of cache hits in milliseconds.
    pub(super) fn mean_hit_latency(&self) -> u64 {
        self.hit_latency_sum / self.hits().max(1)
    }

    /// Returns the time that a cache hit saves, in percent of the mean latency of a miss.
    pub(super) fn speedup(&self) -> u64 {
        let misses = self.requests - self.hits();
        let time: u64 = self
            .latencies
            .iter()
            .map(|(latency, many)| latency * many)
            .sum();
        let slow = (time - self.hit_latency_sum) / misses.max(1);
        match self.hits() {
            0 => 0,
            _ => slow.saturating_sub(self.mean_hit_latency()) * 100 / slow.max(1),
        }
    }

    /// Returns a percentile of the latency in milliseconds.
    pub(super) fn percentile(&self, percent: u64) -> u64 {
        let rank = (self.requests * percent).div_ceil(100);
        let mut seen = 0;
        let within = self.latencies.iter().find(|(_, many)| {
            seen += **many;
            seen >= rank
        });
        within.map(|(latency, _)| *latency).unwrap_or_default()
    }

    /// Returns the mean of the scores multiplied by their weights.
    pub(super) fn weighted_feedback(&self) -> f64 {
        round_to_4_places(ratio(self.weighted_sum, self.ratings))
    }

    /// Divides an amount by the number of requests.
    pub(super) fn per_request(&self, amount: f64) -> f64 {
        round_to_4_places(ratio(amount, self.requests))
    }

    /// Returns a part of the requests in percent.
    pub(super) fn percent(&self, part: u64) -> f64 {
        self.per_request(count_as_f64(part) * 100.0)
    }
}

/// Converts a count for calculations.
pub(super) fn count_as_f64(count: u64) -> f64 {
    count as f64
}

fn ratio(amount: f64, parts: u64) -> f64 {
    if parts == 0 {
        0.0
    } else {
        amount / count_as_f64(parts)
    }
}

/// Rounds to four decimal places.
pub(super) fn round_to_4_places(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}

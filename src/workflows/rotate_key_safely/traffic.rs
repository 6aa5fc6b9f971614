//! Requests of an API key and its successor.

use jiff::{SignedDuration, Timestamp};
use portkey_operation::{InputError, JsonMap, TimeRange};
use serde_json::{Value, json};

use super::key_id;
use crate::{
    pipeline::CallError,
    workflows::{Steps, arguments},
};

/// Default time over which requests are counted, in hours.
const DEFAULT_HOURS: i64 = 24;

/// Requests of both keys.
pub(super) struct Traffic {
    hours: i64,
    /// Requests of the old key in the hours before the start; `None` if nobody could see them.
    old_before: Option<u64>,
    /// Requests since the start, in the last hours.
    old: Option<u64>,
    new: Option<u64>,
    /// Reason that a count is missing.
    unseen: Option<String>,
}

impl Traffic {
    pub(super) async fn read(
        args: &JsonMap,
        old: &str,
        new: &Value,
        steps: &Steps,
    ) -> Result<Self, CallError> {
        let out_of_range = || InputError::new("", "a time is out of range");
        let hours = args.get("hours").and_then(Value::as_i64);
        let hours = hours.unwrap_or(DEFAULT_HOURS);
        let window = SignedDuration::from_hours(hours);
        // Any range that has not ended ends now.
        let now = TimeRange::parse("1m", steps.clock());
        let now = now.and_then(|range| range.end().parse::<Timestamp>().ok());
        let now = now.ok_or_else(out_of_range)?;
        let started = new.get("created_at").and_then(Value::as_str);
        let Some(started) = started.and_then(|time| time.parse::<Timestamp>().ok()) else {
            let what = "`list-all-api-keys` does not show `created_at` of the successor, so that nobody knows since \
                        when to count";
            return Ok(Self {
                hours,
                old_before: None,
                old: None,
                new: None,
                unseen: Some(what.to_owned()),
            });
        };
        let before = |time: Timestamp| time.saturating_sub(window).map_err(|_| out_of_range());
        let since = before(now)?.max(started).min(now);
        let mut unseen = None;
        let mut see = |count: Result<u64, String>| count.map_err(|why| unseen = Some(why)).ok();
        let old_before = see(requests(steps, old, before(started)?, started.min(now)).await?);
        let old = see(requests(steps, old, since, now).await?);
        let new = see(requests(steps, key_id(new), since, now).await?);
        Ok(Self {
            hours,
            old_before,
            old,
            new,
            unseen,
        })
    }

    /// Says whether the requests have moved.
    fn state(&self) -> &'static str {
        let (Some(before), Some(old), Some(new)) = (self.old_before, self.old, self.new) else {
            return "not_seen";
        };
        match (before > 0, old > 0, new > 0) {
            (_, true, true) => "moving",
            (_, true, false) | (true, false, false) => "not_moved",
            (_, false, true) => "moved",
            (false, false, false) => "idle",
        }
    }

    pub(super) fn to_fields(&self) -> JsonMap {
        arguments([
            ("state", self.state().into()),
            (
                "requests",
                json!({ "hours": self.hours, "old_before_start": self.old_before,
                    "old_since_start": self.old, "new_since_start": self.new }),
            ),
            ("requests_not_seen", self.unseen.clone().into()),
        ])
    }

    fn explain_unseen(&self, what: &str) -> String {
        match &self.unseen {
            Some(why) => format!("{what} ({why})"),
            None => what.to_owned(),
        }
    }

    /// Says why the old key should not end yet.
    pub(super) fn objection_to_finish(&self) -> Option<String> {
        let why = match self.state() {
            "moved" | "idle" => return None,
            "moving" => "the old key still has requests".to_owned(),
            "not_moved" => "no request has come with the new key".to_owned(),
            _ => self.explain_unseen("nobody can see the requests of the keys"),
        };
        Some(format!(
            "cannot finish: {why}. Give the clients the new key, look again with `status`, or give `force`"
        ))
    }

    /// Says why the new key should not end.
    pub(super) fn objection_to_cancel(&self) -> Option<String> {
        let why = match self.new {
            Some(count) if count > 0 => "the new key has requests, which would fail".to_owned(),
            Some(_) => return None,
            None => self.explain_unseen("nobody can see the requests of the new key"),
        };
        Some(format!("cannot cancel: {why}. Give `force` to delete it"))
    }
}

/// Counts the requests of a key, or says why they cannot be seen.
async fn requests(
    steps: &Steps,
    id: &str,
    from: Timestamp,
    to: Timestamp,
) -> Result<Result<u64, String>, CallError> {
    if from >= to {
        return Ok(Ok(0));
    }
    let args = arguments([
        ("api_key_ids", id.into()),
        ("time_of_generation_min", from.to_string().into()),
        ("time_of_generation_max", to.to_string().into()),
    ]);
    let graph = match steps.read("get-requests-graph", args).await {
        Ok(graph) => graph,
        // A plan without analytics, or a policy that redacts the counts or the field that the filter is about.
        Err(error @ (CallError::Upstream(..) | CallError::InvalidArguments(_))) => {
            return Ok(Err(error.to_string()));
        }
        Err(error) => return Err(error),
    };
    let points = graph.get("data_points").and_then(Value::as_array);
    let totals = points.map(|points| points.iter().map(|point| point.get("total")?.as_f64()));
    // Portkey may write counts as decimal numbers; conversion rounds and has no negative zero.
    let sum: Option<u64> =
        totals.and_then(|totals| totals.map(|total| Some(total?.round() as u64)).sum());
    Ok(sum.ok_or_else(|| "`get-requests-graph` returned no counts".to_owned()))
}

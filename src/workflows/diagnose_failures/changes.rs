//! Changes near the onset of failures: those of the audit log, and versions of the configs concerned.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Diagnosis, MAX_NAME_CHARS, arguments, minute};

/// Time before an onset in which changes are looked for, and time after it.
const BEFORE: SignedDuration = SignedDuration::from_hours(24);
const AFTER: SignedDuration = SignedDuration::from_mins(10);
/// Maximum number of changes in an answer. The nearest ones stay.
const MAX_CHANGES: usize = 8;
/// Lowest HTTP status of a change that was rejected.
const FIRST_ERROR_STATUS: u64 = 400;

impl Diagnosis<'_> {
    /// Returns the changes near an onset, the latest first.
    pub(super) async fn changes_near(
        &mut self,
        onset: Timestamp,
        configs: &[String],
    ) -> Vec<Value> {
        let mut changes = self.audited(onset).await;
        for config in configs {
            changes.extend(self.versions(onset, config).await);
        }
        changes.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        changes.truncate(MAX_CHANGES);
        changes.into_iter().map(|(_, change)| change).collect()
    }

    /// Reads the changes of the audit log, as far as they took effect.
    async fn audited(&mut self, onset: Timestamp) -> Vec<(Timestamp, Value)> {
        let args = arguments([
            ("start_time", (onset - BEFORE).to_string().into()),
            ("end_time", (onset + AFTER).to_string().into()),
        ]);
        let list = self
            .reads
            .list("changes by the audit log", "list-audit-logs", args)
            .await;
        let records = list.map(|list| list.items).unwrap_or_default();
        let change = |record: &Value| {
            let status = record.get("response_status_code").and_then(Value::as_u64);
            if status.is_some_and(|status| status >= FIRST_ERROR_STATUS) {
                return None;
            }
            let at = record.get("timestamp")?.as_str()?.parse().ok()?;
            let change = arguments([
                ("at", minute(at)),
                ("minutes_before", minutes_before(onset, at)),
                ("action", short(record, "action")),
                ("resource", short(record, "resource_type")),
                ("uri", short(record, "uri")),
                ("user_id", short(record, "user_id")),
            ]);
            Some((at, Value::Object(change)))
        };
        records.iter().filter_map(change).collect()
    }

    /// Reads the versions of a config that were made near the onset.
    async fn versions(&mut self, onset: Timestamp, config: &str) -> Vec<(Timestamp, Value)> {
        let args = arguments([("slug", config.into())]);
        let part = format!("versions of `{config}`");
        let list = self.reads.list(&part, "list-config-versions", args).await;
        let versions = list.map(|list| list.items).unwrap_or_default();
        let change = |version: &Value| {
            let at: Timestamp = version.get("last_updated_at")?.as_str()?.parse().ok()?;
            if !(onset - BEFORE..=onset + AFTER).contains(&at) {
                return None;
            }
            let change = arguments([
                ("at", minute(at)),
                ("minutes_before", minutes_before(onset, at)),
                ("action", "version".into()),
                ("resource", "configs".into()),
                ("config", config.into()),
                ("version_id", short(version, "version_id")),
            ]);
            Some((at, Value::Object(change)))
        };
        versions.iter().filter_map(change).collect()
    }
}

/// Returns the minutes from a change to the onset; negative if it came after it.
fn minutes_before(onset: Timestamp, at: Timestamp) -> Value {
    onset.duration_since(at).as_mins().into()
}

fn short(record: &Value, field: &str) -> Value {
    let text = record.get(field).and_then(Value::as_str);
    text.map_or(Value::Null, |text| {
        text.chars().take(MAX_NAME_CHARS).collect::<String>().into()
    })
}

//! Changes near the onset of failures: those of the audit log, those of the journal of this server, and
//! versions of the configs concerned. Each says where it was seen.

use jiff::{SignedDuration, Timestamp};
use portkey_operation::JsonMap;
use serde_json::{Value, json};

use super::{Diagnosis, MAX_NAME_CHARS, arguments, minute};
use crate::workflows::HISTORY_TOOL;

/// Time before an onset in which changes are looked for, and time after it.
const BEFORE: SignedDuration = SignedDuration::from_hours(24);
const AFTER: SignedDuration = SignedDuration::from_mins(10);
/// Maximum number of changes in an answer. The nearest ones stay.
const MAX_CHANGES: usize = 8;
/// Maximum number of changes of the journal that are read.
const MAX_JOURNAL_CHANGES: u64 = 50;
/// Time within which the journal and the audit log tell of the same change. Their clocks differ.
const SAME_CHANGE: SignedDuration = SignedDuration::from_mins(1);
/// Lowest HTTP status of a change that was rejected.
const FIRST_ERROR_STATUS: u64 = 400;
/// Outcomes of changes that took no effect.
const WITHOUT_EFFECT: [&str; 2] = ["rejected", "failed"];

const AUDIT_LOG: &str = "audit_log";
const JOURNAL: &str = "journal";
const CONFIG_VERSIONS: &str = "config_versions";

/// Changes near an onset.
pub(super) struct NearChanges {
    /// The changes, the latest first.
    pub(super) changes: Vec<Value>,
    /// The state of each source: read, or the reason why it shows nothing.
    pub(super) sources: Value,
}

/// A change and where it was seen.
struct SeenChange {
    at: Timestamp,
    fields: JsonMap,
    seen_in: Vec<&'static str>,
}

impl SeenChange {
    /// Returns a change as an answer has it.
    fn into_value(mut self, onset: Timestamp) -> Value {
        let mut shown = arguments([
            ("at", minute(self.at)),
            ("minutes_before", minutes_before(onset, self.at)),
            ("seen_in", json!(self.seen_in)),
        ]);
        shown.append(&mut self.fields);
        shown.into()
    }
}

impl Diagnosis<'_> {
    /// Returns the changes near an onset.
    pub(super) async fn changes_near(
        &mut self,
        onset: Timestamp,
        configs: &[String],
    ) -> NearChanges {
        let mut sources = JsonMap::new();
        let audited = self.audited(onset).await;
        let what = match &audited {
            Some(_) => "read",
            None => "not read, see `not_seen`",
        };
        sources.insert(AUDIT_LOG.to_owned(), what.into());
        let mut changes = audited.unwrap_or_default();
        match self.journalled(onset).await {
            Ok(own) => {
                let what = "changes through this server with your key; it does not have others";
                sources.insert(JOURNAL.to_owned(), what.into());
                merge(&mut changes, own);
            }
            Err(reason) => _ = sources.insert(JOURNAL.to_owned(), reason.into()),
        }
        for config in configs {
            changes.extend(self.versions(onset, config).await);
        }
        sources.insert(CONFIG_VERSIONS.to_owned(), json!(configs));
        changes.sort_by_key(|change| std::cmp::Reverse(change.at));
        changes.truncate(MAX_CHANGES);
        let changes = changes.into_iter().map(|change| change.into_value(onset));
        NearChanges {
            changes: changes.collect(),
            sources: sources.into(),
        }
    }

    /// Reads the changes of the audit log, as far as they took effect. Returns `None`, and notes it, if it
    /// cannot be read.
    async fn audited(&mut self, onset: Timestamp) -> Option<Vec<SeenChange>> {
        let args = arguments([
            ("start_time", (onset - BEFORE).to_string().into()),
            ("end_time", (onset + AFTER).to_string().into()),
        ]);
        let list = self
            .reads
            .list("changes by the audit log", "list-audit-logs", args)
            .await?;
        let change = |record: &Value| {
            let status = record.get("response_status_code").and_then(Value::as_u64);
            if status.is_some_and(|status| status >= FIRST_ERROR_STATUS) {
                return None;
            }
            Some(SeenChange {
                at: record.get("timestamp")?.as_str()?.parse().ok()?,
                fields: arguments([
                    ("action", short(record, "action")),
                    ("resource", short(record, "resource_type")),
                    ("uri", short(record, "uri")),
                    ("user_id", short(record, "user_id")),
                ]),
                seen_in: vec![AUDIT_LOG],
            })
        };
        Some(list.items.iter().filter_map(change).collect())
    }

    /// Reads the caller's changes of the journal, as far as they may have taken effect.
    ///
    /// # Errors
    /// Returns the reason if there is no journal, or it cannot be read.
    async fn journalled(&mut self, onset: Timestamp) -> Result<Vec<SeenChange>, String> {
        let args = arguments([
            ("since", (onset - BEFORE).to_string().into()),
            ("until", (onset + AFTER).to_string().into()),
            ("limit", MAX_JOURNAL_CHANGES.into()),
        ]);
        let answer = self.steps.read(HISTORY_TOOL, args).await;
        let answer = answer.map_err(|error| truncate(&error.to_string()))?;
        if let Some(reason) = answer.get("absent").and_then(Value::as_str) {
            return Err(reason.to_owned());
        }
        if answer.get("next").is_some() {
            let latest = format!("the latest {MAX_JOURNAL_CHANGES} are read");
            self.reads.miss("changes by the journal", &latest);
        }
        let change = |entry: &Value| {
            let outcome = entry.get("outcome").and_then(Value::as_str);
            if outcome.is_some_and(|outcome| WITHOUT_EFFECT.contains(&outcome)) {
                return None;
            }
            let field = |name: &str| entry.get(name).cloned().unwrap_or_default();
            Some(SeenChange {
                at: entry.get("time")?.as_str()?.parse().ok()?,
                fields: arguments([
                    ("tool", short(entry, "tool")),
                    ("target", field("target")),
                    ("fields", field("fields")),
                    ("change", short(entry, "id")),
                ]),
                seen_in: vec![JOURNAL],
            })
        };
        let changes = answer.get("changes").and_then(Value::as_array);
        Ok(changes.into_iter().flatten().filter_map(change).collect())
    }

    /// Reads the versions of a config that were made near the onset.
    async fn versions(&mut self, onset: Timestamp, config: &str) -> Vec<SeenChange> {
        let args = arguments([("slug", config.into())]);
        let part = format!("versions of `{config}`");
        let list = self.reads.list(&part, "list-config-versions", args).await;
        let versions = list.map(|list| list.items).unwrap_or_default();
        let change = |version: &Value| {
            let at: Timestamp = version.get("last_updated_at")?.as_str()?.parse().ok()?;
            if !(onset - BEFORE..=onset + AFTER).contains(&at) {
                return None;
            }
            Some(SeenChange {
                at,
                fields: arguments([
                    ("action", "version".into()),
                    ("resource", "configs".into()),
                    ("config", config.into()),
                    ("version_id", short(version, "version_id")),
                ]),
                seen_in: vec![CONFIG_VERSIONS],
            })
        };
        versions.iter().filter_map(change).collect()
    }
}

/// Adds the changes of the journal. One that the audit log has, too, is one change.
fn merge(changes: &mut Vec<SeenChange>, own: Vec<SeenChange>) {
    let mut added = Vec::new();
    for mut change in own {
        let same = changes.iter_mut().find(|audited| is_same(audited, &change));
        match same {
            Some(audited) => {
                audited.seen_in.push(JOURNAL);
                audited.fields.append(&mut change.fields);
            }
            None => added.push(change),
        }
    }
    changes.append(&mut added);
}

/// Returns true if a record of the audit log and an entry of the journal, near in time, name the same resource.
fn is_same(audited: &SeenChange, own: &SeenChange) -> bool {
    let is_near = audited.at.duration_since(own.at).abs() <= SAME_CHANGE;
    let uri = audited.fields.get("uri").and_then(Value::as_str);
    let target = own.fields.get("target").and_then(Value::as_object);
    let names_it = |uri: &str| {
        let mut ids = target.into_iter().flatten();
        ids.any(|(_, id)| {
            id.as_str()
                .is_some_and(|id| uri.split('/').any(|part| part == id))
        })
    };
    is_near && !audited.seen_in.contains(&JOURNAL) && uri.is_some_and(names_it)
}

/// Returns the minutes from a change to the onset; negative if it came after it.
fn minutes_before(onset: Timestamp, at: Timestamp) -> Value {
    onset.duration_since(at).as_mins().into()
}

fn short(record: &Value, field: &str) -> Value {
    let text = record.get(field).and_then(Value::as_str);
    text.map_or(Value::Null, |text| truncate(text).into())
}

fn truncate(text: &str) -> String {
    text.chars().take(MAX_NAME_CHARS).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn new_change(at: &str, source: &'static str, fields: Value) -> SeenChange {
        SeenChange {
            at: at.parse().unwrap(),
            fields: fields.as_object().unwrap().clone(),
            seen_in: vec![source],
        }
    }

    #[test]
    fn change_of_both_sources_is_one() {
        let audited = || {
            new_change(
                "2026-01-10T08:00:05Z",
                AUDIT_LOG,
                json!({ "uri": "/v1/configs/pc-a", "action": "update" }),
            )
        };
        struct Case {
            at: &'static str,
            slug: &'static str,
            is_one: bool,
        }
        for case in [
            Case {
                at: "2026-01-10T08:00:01Z",
                slug: "pc-a",
                is_one: true,
            },
            Case {
                at: "2026-01-10T08:00:01Z",
                slug: "pc",
                is_one: false,
            },
            Case {
                at: "2026-01-10T08:05:00Z",
                slug: "pc-a",
                is_one: false,
            },
        ] {
            let mut changes = vec![audited()];
            let own = json!({ "tool": "update-config", "target": { "slug": case.slug } });
            merge(&mut changes, vec![new_change(case.at, JOURNAL, own)]);
            assert_eq!(changes.len() == 1, case.is_one, "{}", case.slug);
            let first = changes.remove(0);
            let seen_in: &[&str] = match case.is_one {
                true => &[AUDIT_LOG, JOURNAL],
                false => &[AUDIT_LOG],
            };
            assert_eq!(first.seen_in, seen_in);
            assert_eq!(first.fields.contains_key("tool"), case.is_one);
        }
    }
}

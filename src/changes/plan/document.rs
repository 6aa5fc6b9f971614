//! A plan that was computed: what will be sent, and the state that it builds on.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portkey_operation::JsonMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Time for which a plan can be applied.
pub const PLAN_TTL: Duration = Duration::from_secs(3600);

/// Form of plans. A plan of another form is not applied.
const FORM: u8 = 2;

/// A plan that was computed for one caller.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ChangePlan {
    form: u8,
    /// Random id, under which its progress is kept.
    pub id: String,
    /// Name of the caller.
    pub caller: String,
    /// Base URLs that its steps are sent to, without credentials. Plans of the form before have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<String>,
    /// Time until which it can be applied, in seconds since 1970.
    pub expires: u64,
    /// The steps, in the order in which they are made.
    pub steps: Vec<PlannedStep>,
}

/// A step of a plan.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedStep {
    /// Id within the plan.
    pub id: String,
    /// Name of the operation.
    pub tool: String,
    /// Arguments as written, with references.
    pub args: JsonMap,
    /// State on which the step builds.
    pub state: StepState,
    /// Digest of the arguments that are sent, if no reference stands in them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sent: Option<String>,
}

/// State on which a step builds.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// A resource that exists: digests of its address and of its state.
    Read {
        /// Digest of the read and its arguments.
        address: String,
        /// Digest of the answer.
        digest: String,
    },
    /// The number of resources that are named like the one to create.
    Named {
        /// Their number.
        count: usize,
    },
    /// An earlier step creates the resource.
    Created,
    /// Nothing shows it.
    Unknown,
}

impl ChangePlan {
    pub(super) fn new(
        id: String,
        caller: String,
        upstreams: Vec<String>,
        steps: Vec<PlannedStep>,
    ) -> Self {
        Self {
            form: FORM,
            id,
            caller,
            upstreams,
            expires: unix_seconds() + PLAN_TTL.as_secs(),
            steps,
        }
    }

    /// Returns true if this version can apply plans of this form.
    pub const fn is_known_form(&self) -> bool {
        self.form == FORM
    }

    /// Returns true if its time is over.
    pub fn is_expired(&self) -> bool {
        unix_seconds() > self.expires
    }

    /// Returns a digest of the whole plan.
    pub fn digest(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        hex::encode(Sha256::digest(text))
    }
}

/// Fields that change without anybody changing the resource.
const VOLATILE_FIELDS: &[&str] = &[
    "last_used_at",
    "last_reset_at",
    "last_synced_at",
    "last_resynced_at",
    "connection_status",
    "current_usage",
    "usage",
    "value_key_usage_map",
    "resolved_times",
];

/// Returns a digest of a state, without what changes by itself.
pub(super) fn digest_state(state: &Value) -> String {
    let mut digest = Sha256::new();
    hash_state(&mut digest, state);
    hex::encode(digest.finalize())
}

fn hash_state(digest: &mut Sha256, value: &Value) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields
                .iter()
                .filter(|(name, _)| !VOLATILE_FIELDS.contains(&name.as_str()))
                .collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            digest.update(b"{");
            for (name, inner) in fields {
                hash_text(digest, name);
                hash_state(digest, inner);
            }
            digest.update(b"}");
        }
        Value::Array(items) => {
            digest.update(b"[");
            items.iter().for_each(|item| hash_state(digest, item));
            digest.update(b"]");
        }
        other => hash_text(digest, &other.to_string()),
    }
}

fn hash_text(digest: &mut Sha256, text: &str) {
    digest.update((text.len() as u64).to_be_bytes());
    digest.update(text.as_bytes());
}

/// Returns a digest of arguments, in which the order of fields does not matter.
pub(super) fn digest_arguments(tool: &str, args: &JsonMap) -> String {
    let mut fields: Vec<_> = args.iter().collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    let mut digest = Sha256::new();
    hash_text(&mut digest, tool);
    for (name, value) in fields {
        hash_text(&mut digest, name);
        hash_text(&mut digest, &value.to_string());
    }
    hex::encode(digest.finalize())
}

/// Returns the time in seconds since 1970.
pub(super) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

//! The policy file as written: the format of PolicyLayer Intercept, its hosted dialect, and the
//! extensions of this project.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Budget, Options, Spanned, from_str_with_options};

use crate::outside::DecisionApi;

/// Maximum size of a policy file, in bytes.
pub const MAX_POLICY_BYTES: usize = 1 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyDocument {
    pub(super) version: Value,
    #[serde(rename = "description")]
    _description: Option<String>,
    pub(super) default: Option<DefaultAction>,
    pub(super) hide: Option<Vec<Spanned<String>>>,
    pub(super) tools: Option<BTreeMap<String, Option<ToolEntry>>>,
    pub(super) all_tools: Option<AllTools>,
    pub(super) rules: Option<Vec<Spanned<RawRule>>>,
}

/// Decision on a call that nothing in the file permits.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum DefaultAction {
    #[default]
    Allow,
    Deny,
}

/// Rules of one tool, or of the tools that match a glob.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToolEntry {
    pub(super) rules: Option<Vec<Spanned<RawRule>>>,
    pub(super) require: Option<Vec<Spanned<RawCondition>>>,
    pub(super) deny_if: Option<Vec<Spanned<RawCondition>>>,
    pub(super) limits: Option<Vec<Spanned<RawLimit>>>,
}

/// Counterpart of `"*"` in the hosted dialect.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AllTools {
    pub(super) limits: Option<Vec<Spanned<RawLimit>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    pub(super) name: Option<String>,
    pub(super) action: Option<RawAction>,
    /// Action that a shadow rule would take.
    pub(super) would: Option<RawAction>,
    #[serde(rename = "match")]
    pub(super) matches: Option<OperationFilter>,
    pub(super) when: Option<String>,
    pub(super) conditions: Option<Vec<RawCondition>>,
    pub(super) on_deny: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) state: Option<RawCounter>,
    pub(super) rate_limit: Option<RawRate>,
    pub(super) limits: Option<Vec<RawLimit>>,
    pub(super) scope: Option<CounterScope>,
    pub(super) cap: Option<BTreeMap<String, f64>>,
    pub(super) redact: Option<Vec<String>>,
    /// Treatment of unknown arguments by a rule that reads arguments.
    pub(super) unknown: Option<UnknownFieldPolicy>,
    /// Requires the approver to type the name of the affected object.
    pub(super) confirm: Option<bool>,
    /// Number of people who have to approve.
    pub(super) approvers: Option<u8>,
    /// Tools that the session has called before.
    pub(super) after: Option<OneOrMany>,
    /// Tools that the session has not called before.
    pub(super) before: Option<OneOrMany>,
    /// Networks of the caller.
    pub(super) source: Option<OneOrMany>,
    /// Time for the call.
    pub(super) timeout: Option<RawDuration>,
    /// Number of calls at the same time.
    pub(super) concurrency: Option<RawConcurrency>,
    /// Outside decision point.
    pub(super) decide: Option<RawDecide>,
}

/// A text, or a list of texts.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a text or a list of texts is expected")]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

/// Number of calls at the same time, alone or with the group that shares it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "`concurrency` takes a number, or an object such as {max: 2, scope: principal}"
)]
pub(super) enum RawConcurrency {
    Max(u32),
    Scoped {
        max: u32,
        scope: Option<CounterScope>,
    },
}

/// An outside decision point: its address, or all of its settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "`decide` takes the address of a decision point, or an object with `url` and, if wanted, `api` \
                 (authzen or opa), `timeout` and `token_env`"
)]
pub(super) enum RawDecide {
    Url(String),
    Point(RawDecisionPoint),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDecisionPoint {
    pub(super) url: String,
    pub(super) api: Option<DecisionApi>,
    pub(super) timeout: Option<RawDuration>,
    pub(super) token_env: Option<String>,
}

/// Treatment of a call with unknown arguments.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum UnknownFieldPolicy {
    /// Denies the call: an unknown field could do the very thing that the rule prevents.
    #[default]
    Deny,
    /// Evaluates the rule with the known arguments.
    Allow,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawAction {
    #[default]
    Evaluate,
    Allow,
    Deny,
    Approve,
    /// Shows the request. The alias is the spelling in files from before values were in snake_case.
    #[serde(alias = "dry-run")]
    DryRun,
    Shadow,
}

/// Selects the operations of a rule. An operation has to be in every list that is present.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OperationFilter {
    pub(super) tools: Option<Vec<String>>,
    pub(super) domains: Option<Vec<String>>,
    pub(super) effects: Option<Vec<RawEffect>>,
    pub(super) prompts: Option<Vec<String>>,
    pub(super) resources: Option<Vec<String>>,
}

impl OperationFilter {
    /// Returns true if the filter names prompts or resources and no tools.
    pub(super) fn has_items_only(&self) -> bool {
        let has_items = self.prompts.is_some() || self.resources.is_some();
        let has_tools = self.tools.is_some() || self.domains.is_some() || self.effects.is_some();
        has_items && !has_tools
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawEffect {
    Read,
    Create,
    Update,
    Delete,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCondition {
    pub(super) path: String,
    pub(super) op: String,
    #[serde(default)]
    pub(super) value: Value,
    pub(super) name: Option<String>,
    pub(super) on_deny: Option<String>,
    pub(super) reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCounter {
    pub(super) counter: String,
    pub(super) window: RawDuration,
    pub(super) increment: Option<u64>,
    pub(super) increment_from: Option<String>,
}

/// A rate, either as `5/hour` or as two fields.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "`rate_limit` takes a rate such as 5/hour, or an object such as {max: 5, window: hour}"
)]
pub(super) enum RawRate {
    Short(String),
    Long { max: u64, window: RawDuration },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimit {
    pub(super) name: Option<String>,
    pub(super) counter: Option<String>,
    pub(super) max: u64,
    pub(super) window: Option<RawDuration>,
    pub(super) sliding: Option<RawDuration>,
    pub(super) bucket: Option<RawDuration>,
    pub(super) scope: Option<CounterScope>,
    pub(super) increment: Option<u64>,
    pub(super) increment_from: Option<String>,
    pub(super) on_deny: Option<String>,
    pub(super) reason: Option<String>,
}

/// A duration: `hour`, `10m`, or a number of seconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a duration such as hour, 10m or 30 (seconds) is expected"
)]
pub(super) enum RawDuration {
    Seconds(u64),
    Words(String),
}

/// Group of calls that share a counter.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum CounterScope {
    /// One counter for each caller; the hosted dialect calls this scope `grant`.
    #[serde(alias = "grant")]
    Principal,
    /// One counter for each session, or for each caller if there is no session.
    Session,
    /// One counter for all calls.
    #[default]
    Global,
}

impl PolicyDocument {
    /// Parses the text of a policy file.
    ///
    /// # Errors
    /// Returns an error with line and column if the text does not have this format.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_POLICY_BYTES {
            return Err(format!("the file is larger than {MAX_POLICY_BYTES} bytes"));
        }
        if text.trim().is_empty() {
            return Err(
                "the file is empty; `portkey-mcp policy init` prints one to start with".to_owned(),
            );
        }
        from_str_with_options(text, yaml_options()).map_err(|error| {
            let error = error.without_snippet();
            error.to_string()
        })
    }
}

/// Options for reading policy files: YAML 1.2, with limits on what anchors may expand to.
pub(super) fn yaml_options() -> Options {
    let mut budget = Budget::default();
    budget.max_events = 200_000;
    budget.max_nodes = 100_000;
    budget.max_depth = 32;
    budget.max_aliases = 1_000;
    budget.max_documents = 1;
    let mut options = Options::default();
    options.strict_booleans = true;
    options.with_snippet = false;
    options.budget = Some(budget);
    options
}

//! The policy file as written: the format of PolicyLayer Intercept, its hosted dialect, and the
//! extensions of this project.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Budget, Options, Spanned, from_str_with_options};

/// Maximum size of a policy file, in bytes.
pub const MOST_BYTES: usize = 1 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) version: Value,
    #[serde(rename = "description")]
    _description: Option<String>,
    pub(super) default: Option<Posture>,
    pub(super) hide: Option<Vec<Spanned<String>>>,
    pub(super) tools: Option<BTreeMap<String, Option<Entry>>>,
    pub(super) all_tools: Option<AllTools>,
    pub(super) rules: Option<Vec<Spanned<Rule>>>,
}

/// Decision on a call that nothing in the file permits.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Posture {
    #[default]
    Allow,
    Deny,
}

/// Rules of one tool, or of the tools that match a glob.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) rules: Option<Vec<Spanned<Rule>>>,
    pub(super) require: Option<Vec<Spanned<Condition>>>,
    pub(super) deny_if: Option<Vec<Spanned<Condition>>>,
    pub(super) limits: Option<Vec<Spanned<Limit>>>,
}

/// Counterpart of `"*"` in the hosted dialect.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AllTools {
    pub(super) limits: Option<Vec<Spanned<Limit>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) name: Option<String>,
    pub(super) action: Option<Action>,
    /// Action that a shadow rule would take.
    pub(super) would: Option<Action>,
    #[serde(rename = "match")]
    pub(super) matches: Option<Match>,
    pub(super) when: Option<String>,
    pub(super) conditions: Option<Vec<Condition>>,
    pub(super) on_deny: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) state: Option<State>,
    pub(super) rate_limit: Option<Rate>,
    pub(super) limits: Option<Vec<Limit>>,
    pub(super) scope: Option<Scope>,
    pub(super) cap: Option<BTreeMap<String, f64>>,
    pub(super) redact: Option<Vec<String>>,
    /// Treatment of unknown arguments by a rule that reads arguments.
    pub(super) unknown: Option<Unknown>,
    /// Requires the approver to type the name of the affected object.
    pub(super) confirm: Option<bool>,
}

/// Treatment of a call with unknown arguments.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unknown {
    /// Denies the call: an unknown field could do the very thing that the rule prevents.
    #[default]
    Deny,
    /// Evaluates the rule with the known arguments.
    Allow,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
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
pub(super) struct Match {
    pub(super) tools: Option<Vec<String>>,
    pub(super) domains: Option<Vec<String>>,
    pub(super) effects: Option<Vec<Effect>>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Effect {
    Read,
    Create,
    Update,
    Delete,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Condition {
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
pub(super) struct State {
    pub(super) counter: String,
    pub(super) window: Span,
    pub(super) increment: Option<u64>,
    pub(super) increment_from: Option<String>,
}

/// A rate, either as `5/hour` or as two fields.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum Rate {
    Short(String),
    Long { max: u64, window: Span },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    pub(super) name: Option<String>,
    pub(super) counter: Option<String>,
    pub(super) max: u64,
    pub(super) window: Option<Span>,
    pub(super) sliding: Option<Span>,
    pub(super) bucket: Option<Span>,
    pub(super) scope: Option<Scope>,
    pub(super) increment: Option<u64>,
    pub(super) increment_from: Option<String>,
    pub(super) on_deny: Option<String>,
    pub(super) reason: Option<String>,
}

/// A duration: `hour`, `10m`, or a number of seconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Span {
    Seconds(u64),
    Words(String),
}

/// Group of calls that share a counter.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scope {
    /// One counter for each caller; the hosted dialect calls this scope `grant`.
    #[serde(alias = "grant")]
    Principal,
    /// One counter for each session, or for each caller if there is no session.
    Session,
    /// One counter for all calls.
    #[default]
    Global,
}

impl Document {
    /// Parses the text of a policy file.
    ///
    /// # Errors
    /// Returns an error with line and column if the text does not have this format.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MOST_BYTES {
            return Err(format!("the file is larger than {MOST_BYTES} bytes"));
        }
        from_str_with_options(text, options()).map_err(|error| {
            let error = error.without_snippet();
            error.to_string()
        })
    }
}

/// Options for reading policy files: YAML 1.2, with limits on what anchors may expand to.
pub(super) fn options() -> Options {
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

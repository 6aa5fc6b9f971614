//! The policy file as it is written: PolicyLayer Intercept's format, its hosted dialect, and what we add.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Budget, Options, Spanned, from_str_with_options};

/// Bound on a policy file, in bytes.
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

/// What becomes of a call that nothing in the file speaks for.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Posture {
    #[default]
    Allow,
    Deny,
}

/// What is said of one tool, or of those that a glob names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) rules: Option<Vec<Spanned<Rule>>>,
    pub(super) require: Option<Vec<Spanned<Condition>>>,
    pub(super) deny_if: Option<Vec<Spanned<Condition>>>,
    pub(super) limits: Option<Vec<Spanned<Limit>>>,
}

/// The hosted dialect's word for `"*"`.
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
    /// What a shadow rule would do.
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
    /// What becomes of arguments that are not known, where the rule looks at arguments.
    pub(super) unknown: Option<Unknown>,
    /// Whether whoever approves types the name of what the call is about.
    pub(super) confirm: Option<bool>,
}

/// What becomes of a call with arguments that are not known.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unknown {
    /// It is denied, because a field that nobody knows could do what the rule is there to prevent.
    #[default]
    Deny,
    /// It is judged by what is known.
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
    /// The alias is the spelling of files written before values were snake_case.
    #[serde(alias = "dry-run")]
    DryRun,
    Shadow,
}

/// Which operations a rule is about; every list that is there has to name the operation.
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

/// `5/hour`, or the same in two fields.
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

/// A length of time: `hour`, `10m`, or a number of seconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Span {
    Seconds(u64),
    Words(String),
}

/// Who shares a counter.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scope {
    /// Each caller has one; the hosted dialect calls it a grant.
    #[serde(alias = "grant")]
    Principal,
    /// Each session has one, and where there is no session, each caller.
    Session,
    /// All share one.
    #[default]
    Global,
}

impl Document {
    /// Reads the text.
    ///
    /// # Errors
    /// Where it is not of this form, with line and column.
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

/// How files of ours are read: as YAML 1.2, with bounds on what anchors may unfold to.
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

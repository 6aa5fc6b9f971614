//! Policy files and their evaluation: a call is hidden, denied, limited, sent for approval, shown
//! as a dry run, or allowed.
//!
//! The order is fixed, over all policies that apply to a call: hidden → default → deny → limits →
//! approve → dry_run → allow. A denial overrides everything after it. The module `document` holds
//! the file as written, `compile` turns it into rules per operation, and `decide` evaluates them.

pub mod cases;
mod compile;
mod condition;
mod decide;
mod document;
mod expression;
mod file;
mod limit;
mod path;
mod rule;
mod transport;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
    time::SystemTime,
};

use portkey_operation::{JsonMap, Operation};

use self::{limit::Counter, rule::Rule};

pub use self::{
    compile::PolicyError,
    decide::{
        Decision, DecisionKind, Denied, Noted, Stage, Step, Verdict, decide, explain, hidden,
    },
    document::MOST_BYTES,
    expression::{LONGEST as LONGEST_EXPRESSION, MOST_TEXT, MOST_VALUES},
    path::{Path, REDACTED},
    rule::{Cite, Verb},
    transport::Transport,
};

/// A compiled policy. Created by [`Policy::parse`].
pub struct Policy {
    name: Arc<str>,
    revision: String,
    /// True if calls are denied unless something in the file permits them.
    closed: bool,
    rules: Vec<Rule>,
    counters: Vec<Counter>,
    of: HashMap<&'static str, Resolved>,
    warnings: Vec<String>,
}

/// Compiled facts about one operation.
#[derive(Debug, Default)]
struct Resolved {
    hidden: bool,
    /// True if a call may pass, as far as that can be decided without its arguments.
    can_pass: bool,
    /// True if the operation is listed under `tools`, by name or by glob.
    listed: bool,
    /// Indexes of the rules that apply to the operation, in their order.
    rules: Vec<usize>,
    /// Counters that these rules compare. The value is true if at least one such rule is not a
    /// shadow rule.
    reads: BTreeMap<usize, bool>,
}

/// A call, as policies see it.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Called operation.
    pub operation: &'static Operation,
    /// Domain of the operation.
    pub domain: &'static str,
    /// Arguments, as they are sent upstream.
    pub args: &'a JsonMap,
    /// Paths of arguments that this version of the server does not know.
    pub unknown: &'a [String],
    /// Name of the caller.
    pub principal: &'a str,
    /// Name that the client claims in its client info; not verified.
    pub client: Option<&'a str>,
    /// Transport of the request.
    pub transport: Transport,
    /// Identifier of the session, if there is one.
    pub session: Option<&'a str>,
    /// Time at which the request arrived.
    pub time: SystemTime,
    /// True if the session has read untrusted content.
    pub tainted: bool,
}

impl Policy {
    /// Returns the file name of the policy.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the first twelve hexadecimal digits of the file's SHA-256, which tell versions of
    /// the file apart.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Returns true if the operation is hidden from callers under this policy.
    pub fn hides(&self, operation: &Operation) -> bool {
        self.of
            .get(operation.name())
            .is_some_and(|resolved| resolved.hidden)
    }

    /// Returns true if a call of the operation can pass this policy. The result depends on the
    /// default, names, globs, domains and effects alone. A rule with a condition is assumed to let
    /// a call pass.
    pub fn can_permit(&self, operation: &Operation) -> bool {
        self.permits_some(operation.name())
    }

    /// Returns true if both policies list the same operations.
    pub fn lists_as(&self, other: &Self) -> bool {
        self.of
            .keys()
            .all(|name| self.permits_some(name) == other.permits_some(name))
    }

    fn permits_some(&self, name: &str) -> bool {
        self.of
            .get(name)
            .map_or(!self.closed, |found| found.can_pass)
    }

    /// Returns true if a rule for the operation depends on whether the session has read untrusted
    /// content.
    pub fn minds_taint(&self, operation: &Operation) -> bool {
        self.about(operation)
            .any(|rule| rule.when.as_ref().is_some_and(|when| when.minds_taint))
    }

    /// Returns true if a rule for the operation can require an approval.
    pub fn asks(&self, operation: &Operation) -> bool {
        self.about(operation).any(|rule| rule.verb == Verb::Approve)
    }

    /// Returns true if a call of the operation can count towards a limit.
    pub fn counts(&self, operation: &Operation) -> bool {
        self.about(operation).any(|rule| !rule.limits.is_empty())
    }

    fn about(&self, operation: &Operation) -> impl Iterator<Item = &Rule> {
        let rules = self
            .of
            .get(operation.name())
            .into_iter()
            .flat_map(|found| &found.rules);
        rules.filter_map(|rule| self.rules.get(*rule))
    }

    /// Returns likely mistakes in the file: tools that do not exist, and paths that lead to nothing
    /// in any tool of their rule.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Returns true if the policy has no rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Policy({}, {})", self.name, self.revision)
    }
}

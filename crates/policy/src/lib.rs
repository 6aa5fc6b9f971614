//! What a policy file says of a call: hidden, denied, limited, to be approved, to be shown only, or allowed.
//!
//! The order is fixed, over all policies that concern a call: hidden → default → deny → limits → approve →
//! dry_run → allow. What forbids wins. `document` is the file as it is written, `compile` makes rules per
//! operation of it, `decide` asks them.

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

/// A policy, ready to be asked. Made by [`Policy::parse`].
pub struct Policy {
    name: Arc<str>,
    revision: String,
    /// Whether calls that nothing speaks for are denied.
    closed: bool,
    rules: Vec<Rule>,
    counters: Vec<Counter>,
    of: HashMap<&'static str, Resolved>,
    warnings: Vec<String>,
}

/// What there is about one operation.
#[derive(Debug, Default)]
struct Resolved {
    hidden: bool,
    /// Whether some call of it can pass, as far as that can be decided without a call.
    can_pass: bool,
    /// It stands under `tools`, by name or by glob.
    listed: bool,
    /// Which rules are about it, in their order.
    rules: Vec<usize>,
    /// The counters whose values these compare, and whether any does that has a say.
    reads: BTreeMap<usize, bool>,
}

/// A call, as policies see it.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What is called.
    pub operation: &'static Operation,
    /// The domain it belongs to.
    pub domain: &'static str,
    /// The arguments, as they travel.
    pub args: &'a JsonMap,
    /// Paths of arguments that this version does not know.
    pub unknown: &'a [String],
    /// Who calls.
    pub principal: &'a str,
    /// What the client calls itself; its word only.
    pub client: Option<&'a str>,
    /// What the call came over.
    pub transport: Transport,
    /// The session it belongs to.
    pub session: Option<&'a str>,
    /// When it came.
    pub time: SystemTime,
    /// Whether its session has read text that strangers wrote.
    pub tainted: bool,
}

impl Policy {
    /// What its file is called.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Tells versions of the file apart: the beginning of its SHA-256, in hexadecimal.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Whether the operation does not exist for those under this policy.
    pub fn hides(&self, operation: &Operation) -> bool {
        self.of
            .get(operation.name())
            .is_some_and(|resolved| resolved.hidden)
    }

    /// Whether some call of the operation can pass this policy. Decided from the default, names, globs,
    /// domains and effects alone: a rule with a condition is taken to let some call pass.
    pub fn can_permit(&self, operation: &Operation) -> bool {
        self.permits_some(operation.name())
    }

    /// Whether the same operations are listed under it as under another policy.
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

    /// Whether a rule about the operation asks who has read what strangers wrote.
    pub fn minds_taint(&self, operation: &Operation) -> bool {
        self.about(operation)
            .any(|rule| rule.when.as_ref().is_some_and(|when| when.minds_taint))
    }

    /// Whether a rule about the operation may have a human asked.
    pub fn asks(&self, operation: &Operation) -> bool {
        self.about(operation).any(|rule| rule.verb == Verb::Approve)
    }

    /// Whether a call of the operation may take from a counter.
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

    /// What the file says that is likely meant otherwise: names of tools that there are not, and paths that
    /// lead to nothing in any tool that their rule is about.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// How many rules it has.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether it has no rules at all.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Policy({}, {})", self.name, self.revision)
    }
}

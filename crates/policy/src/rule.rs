//! A rule ready to be asked: what it is about, what it demands, and what it does.

use std::{fmt, sync::Arc};

use super::{
    condition::{Condition, Of},
    expression::Expression,
    limit::Limit,
    path::Path,
};

/// A rule's place, for answers, logs and audits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cite {
    /// Which policy: the name of its file.
    pub policy: Arc<str>,
    /// What the rule is called.
    pub name: Arc<str>,
    /// Where it stands in the file, such as `tools.create-api-key.rules[0]`.
    pub place: Arc<str>,
    /// The line it begins in, from one; zero where none is known.
    pub line: u64,
}

impl fmt::Display for Cite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({}, {}", self.name, self.policy, self.place)?;
        match self.line {
            0 => f.write_str(")"),
            line => write!(f, ", line {line})"),
        }
    }
}

/// What a rule does where it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Demands that its conditions hold.
    Evaluate,
    /// Speaks for the call, where nothing else would.
    Allow,
    /// Forbids the call.
    Deny,
    /// Has a human asked.
    Approve,
    /// Shows what would be sent, and sends nothing.
    DryRun,
}

impl Verb {
    /// All verbs.
    pub const ALL: [Self; 5] = [
        Self::Evaluate,
        Self::Allow,
        Self::Deny,
        Self::Approve,
        Self::DryRun,
    ];

    /// The value in policies and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Evaluate => "evaluate",
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Approve => "approve",
            Self::DryRun => "dry_run",
        }
    }

    /// Whether such a rule lets a call in that the default would deny.
    pub(super) const fn opens(self) -> bool {
        matches!(self, Self::Allow | Self::Approve | Self::DryRun)
    }
}

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) cite: Cite,
    pub(super) verb: Verb,
    /// It only tells what it would do.
    pub(super) shadow: bool,
    /// It stands under `"*"`, which lets nothing in.
    pub(super) wildcard: bool,
    pub(super) when: Option<Expression>,
    /// The counters that `when` names, by their place in the table.
    pub(super) counters: Vec<usize>,
    /// With `evaluate` what has to hold, else what else has to be so for the rule to apply.
    pub(super) conditions: Vec<Condition>,
    pub(super) cap: Vec<Cap>,
    pub(super) limits: Vec<Limit>,
    pub(super) redact: Arc<[Path]>,
    /// Whether calls with arguments that are not known are denied, because the rule looks at arguments or at
    /// what they make of the answer.
    pub(super) denies_unknown: bool,
    /// Whether whoever approves types the name of what the call is about.
    pub(super) confirm: bool,
    /// What the caller is told.
    pub(super) words: Option<String>,
}

impl Rule {
    /// Whether it lets some call pass that the default would deny.
    pub(super) fn can_open(&self) -> bool {
        !self.shadow && !self.wildcard && self.verb.opens()
    }

    /// Whether it denies every call that it is about: without a condition, or by a limit that no call keeps.
    pub(super) fn always_denies(&self) -> bool {
        let is_conditional =
            self.when.is_some() || (self.verb != Verb::Evaluate && !self.conditions.is_empty());
        let denies = self.verb == Verb::Deny || self.limits.iter().any(Limit::admits_nothing);
        !self.shadow && !is_conditional && denies
    }

    /// The counters whose values it compares.
    pub(super) fn compares(&self) -> impl Iterator<Item = usize> {
        let compared = self
            .conditions
            .iter()
            .filter_map(|condition| match condition.of {
                Of::Counter(counter) => Some(counter),
                Of::Argument(_) => None,
            });
        compared.chain(self.counters.iter().copied())
    }
}

/// The largest that a numeric argument may be.
#[derive(Debug)]
pub(super) struct Cap {
    pub(super) path: Path,
    pub(super) text: String,
    pub(super) most: f64,
}

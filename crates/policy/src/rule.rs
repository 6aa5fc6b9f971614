//! A compiled rule: the calls that it applies to, its conditions and its action.

use std::{fmt, sync::Arc};

use super::{
    condition::{Condition, Operand},
    expression::Expression,
    limit::CounterLimit,
    path::FieldPath,
};

/// A reference to a rule in a policy file, for results, logs and audit entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRef {
    /// File name of the policy.
    pub policy: Arc<str>,
    /// Name of the rule.
    pub name: Arc<str>,
    /// Position of the rule in the file, such as `tools.create-api-key.rules[0]`.
    pub location: Arc<str>,
    /// First line of the rule, counted from one; zero if unknown.
    pub line: u64,
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({}, {}", self.name, self.policy, self.location)?;
        match self.line {
            0 => f.write_str(")"),
            line => write!(f, ", line {line})"),
        }
    }
}

/// Action of a rule on the calls that it applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// Requires that the conditions of the rule hold.
    Evaluate,
    /// Permits the call, if the default would deny it.
    Allow,
    /// Denies the call.
    Deny,
    /// Requires the approval of a human.
    Approve,
    /// Shows the request that would be sent, and sends nothing.
    DryRun,
}

impl RuleAction {
    /// All actions in declaration order.
    pub const ALL: [Self; 5] = [
        Self::Evaluate,
        Self::Allow,
        Self::Deny,
        Self::Approve,
        Self::DryRun,
    ];

    /// Returns the value in policies and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Evaluate => "evaluate",
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Approve => "approve",
            Self::DryRun => "dry_run",
        }
    }

    /// Returns true if a rule with this action permits calls that the default would deny.
    pub(super) const fn overrides_default_deny(self) -> bool {
        matches!(self, Self::Allow | Self::Approve | Self::DryRun)
    }
}

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) rule_ref: RuleRef,
    pub(super) action: RuleAction,
    /// True if the rule is only reported and does not change the decision.
    pub(super) is_shadow: bool,
    /// True if the rule is under `"*"`; such a rule never permits calls that the default denies.
    pub(super) is_wildcard: bool,
    pub(super) when: Option<Expression>,
    /// Counters that `when` names, as indexes into the policy's table.
    pub(super) counters: Vec<usize>,
    /// Requirements if the action is `evaluate`; otherwise further conditions for the rule to
    /// apply.
    pub(super) conditions: Vec<Condition>,
    pub(super) caps: Vec<ArgumentCap>,
    pub(super) limits: Vec<CounterLimit>,
    pub(super) redactions: Arc<[FieldPath]>,
    /// True if calls with unknown arguments are denied, because the rule reads arguments or redacts
    /// results.
    pub(super) denies_unknown: bool,
    /// True if the approver has to type the name of the affected object.
    pub(super) confirm: bool,
    /// Message for the caller.
    pub(super) message: Option<String>,
}

impl Rule {
    /// Returns true if the rule can permit calls that the default would deny.
    pub(super) fn can_override_default_deny(&self) -> bool {
        !self.is_shadow && !self.is_wildcard && self.action.overrides_default_deny()
    }

    /// Returns true if the rule denies every call that it applies to: without a condition, or by a
    /// limit that a single call exceeds.
    pub(super) fn always_denies(&self) -> bool {
        let is_conditional = self.when.is_some()
            || (self.action != RuleAction::Evaluate && !self.conditions.is_empty());
        let denies = self.action == RuleAction::Deny
            || self.limits.iter().any(CounterLimit::denies_every_call);
        !self.is_shadow && !is_conditional && denies
    }

    /// Returns the counters whose values the rule compares.
    pub(super) fn compared_counters(&self) -> impl Iterator<Item = usize> {
        let compared = self
            .conditions
            .iter()
            .filter_map(|condition| match condition.operand {
                Operand::Counter(counter) => Some(counter),
                Operand::Argument(_) => None,
            });
        compared.chain(self.counters.iter().copied())
    }
}

/// Maximum of a numeric argument.
#[derive(Debug)]
pub(super) struct ArgumentCap {
    pub(super) path: FieldPath,
    pub(super) text: String,
    pub(super) max: f64,
}

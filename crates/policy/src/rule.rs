//! A compiled rule: the calls that it applies to, its conditions and its action.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    condition::{Condition, Operand},
    document::CounterScope,
    expression::Expression,
    items::ItemPatterns,
    limit::CounterLimit,
    outside::DecisionPoint,
    path::FieldPath,
    source::SourceFilter,
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
    /// Number of people who have to approve, if the rule says so. The caller is none of them.
    pub(super) approvers: Option<u8>,
    /// Prompts and resources that the rule applies to.
    pub(super) items: ItemPatterns,
    /// Networks of the callers that the rule applies to.
    pub(super) source: Option<SourceFilter>,
    /// Earlier calls of the session that the rule depends on.
    pub(super) order: CallOrder,
    /// Maximum time of a call.
    pub(super) timeout: Option<Duration>,
    /// Maximum number of calls at the same time, and the group that shares it.
    pub(super) concurrency: Option<(u32, CounterScope)>,
    /// Service that has to permit the call.
    pub(super) decide: Option<Arc<DecisionPoint>>,
    /// Message for the caller.
    pub(super) message: Option<String>,
}

/// Earlier calls of the session that a rule depends on.
#[derive(Debug, Default)]
pub(super) struct CallOrder {
    /// Operations all of which have been called.
    pub(super) after: Vec<&'static str>,
    /// Operations none of which has been called.
    pub(super) before: Vec<&'static str>,
}

impl CallOrder {
    pub(super) fn is_empty(&self) -> bool {
        self.after.is_empty() && self.before.is_empty()
    }

    pub(super) fn operations(&self) -> impl Iterator<Item = &'static str> {
        self.after.iter().chain(&self.before).copied()
    }

    /// Returns true if the calls of a session satisfy the order; `None` if they are unknown.
    pub(super) fn is_satisfied(&self, called: Option<&[&'static str]>) -> Option<bool> {
        if self.is_empty() {
            return Some(true);
        }
        let called = called?;
        let was_called = |name: &&'static str| called.contains(name);
        Some(self.after.iter().all(was_called) && !self.before.iter().any(was_called))
    }
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
            || self.source.is_some()
            || !self.order.is_empty()
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
                Operand::Argument(_) | Operand::Claim(_) => None,
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

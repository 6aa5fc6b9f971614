//! Validates the parts of a rule against its action.

use crate::{document::RawAction, rule::RuleAction};

/// A part of a rule that only some actions take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RulePart {
    /// Conditions of a rule under `rules`.
    Conditions,
    /// Conditions of a rule in the hosted dialect, which can deny.
    HostedConditions,
    /// Upper bounds of the rule's own counter, which became its limit.
    CounterBounds,
    Cap,
    Limits,
    Redact,
    Confirm,
    Approvers,
    Timeout,
    Concurrency,
    Decide,
}

/// The parts that a rule may have.
struct ActionParts {
    action: RuleAction,
    /// True if the rule has to have one of the parts.
    is_part_required: bool,
    allowed: &'static [RulePart],
}

/// Parts of rules that let calls pass, if the parts are satisfied.
const CHECKS: &[RulePart] = &[
    RulePart::Conditions,
    RulePart::HostedConditions,
    RulePart::CounterBounds,
    RulePart::Cap,
    RulePart::Limits,
    RulePart::Redact,
    RulePart::Timeout,
    RulePart::Concurrency,
    RulePart::Decide,
];

const ACTIONS: [ActionParts; 5] = [
    ActionParts {
        action: RuleAction::Evaluate,
        is_part_required: true,
        allowed: CHECKS,
    },
    ActionParts {
        action: RuleAction::Allow,
        is_part_required: false,
        allowed: CHECKS,
    },
    ActionParts {
        action: RuleAction::Deny,
        is_part_required: false,
        allowed: &[RulePart::HostedConditions],
    },
    ActionParts {
        action: RuleAction::Approve,
        is_part_required: false,
        allowed: &[
            RulePart::Conditions,
            RulePart::HostedConditions,
            RulePart::CounterBounds,
            RulePart::Cap,
            RulePart::Limits,
            RulePart::Redact,
            RulePart::Confirm,
            RulePart::Approvers,
            RulePart::Timeout,
            RulePart::Concurrency,
            RulePart::Decide,
        ],
    },
    ActionParts {
        action: RuleAction::DryRun,
        is_part_required: false,
        allowed: CHECKS,
    },
];

/// Validates the parts of a rule against the table.
///
/// # Errors
/// Returns an error if the action does not take one of the parts, or if a required part is absent.
pub(super) fn validate_parts(action: RuleAction, parts: &[RulePart]) -> Result<(), String> {
    let Some(row) = ACTIONS.iter().find(|row| row.action == action) else {
        return Ok(());
    };
    if row.is_part_required && !parts.iter().any(|part| part.is_check()) {
        return Err("it checks nothing; give it conditions, or another `action`".to_owned());
    }
    match parts.iter().find(|part| !row.allowed.contains(part)) {
        Some(RulePart::Confirm) => Err("`confirm` goes with `action: approve`".to_owned()),
        Some(RulePart::Approvers) => Err("`approvers` goes with `action: approve`".to_owned()),
        Some(_) => Err("a rule that denies takes `when` and nothing to check".to_owned()),
        None => Ok(()),
    }
}

impl RulePart {
    /// Returns true if the part is something to check or to redact.
    pub(super) fn is_check(self) -> bool {
        CHECKS.contains(&self)
    }
}

/// Returns the action of a rule, and true for a shadow rule.
///
/// # Errors
/// Returns an error if `would` is without `action: shadow`, or names the action `shadow` itself.
pub(super) fn parse_action(
    action: Option<RawAction>,
    would: Option<RawAction>,
    has_checks: bool,
) -> Result<(RuleAction, bool), String> {
    match (action.unwrap_or_default(), would) {
        (RawAction::Shadow, Some(would)) => Ok((to_rule_action(would)?, true)),
        (RawAction::Shadow, None) if has_checks => Ok((RuleAction::Evaluate, true)),
        (RawAction::Shadow, None) => Ok((RuleAction::Deny, true)),
        (_, Some(_)) => Err("`would` goes with `action: shadow`".to_owned()),
        (action, None) => Ok((to_rule_action(action)?, false)),
    }
}

fn to_rule_action(action: RawAction) -> Result<RuleAction, String> {
    match action {
        RawAction::Evaluate => Ok(RuleAction::Evaluate),
        RawAction::Allow => Ok(RuleAction::Allow),
        RawAction::Deny => Ok(RuleAction::Deny),
        RawAction::Approve => Ok(RuleAction::Approve),
        RawAction::DryRun => Ok(RuleAction::DryRun),
        RawAction::Shadow => Err("`would` names another action than shadow".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_one_row_for_every_action() {
        assert_eq!(ACTIONS.map(|row| row.action), RuleAction::ALL);
    }

    #[test]
    fn denying_rule_takes_conditions_of_the_hosted_dialect_only() {
        assert_eq!(
            validate_parts(RuleAction::Deny, &[RulePart::HostedConditions]),
            Ok(())
        );
        for part in CHECKS {
            let is_hosted = *part == RulePart::HostedConditions;
            assert_eq!(
                validate_parts(RuleAction::Deny, &[*part]).is_ok(),
                is_hosted
            );
        }
    }

    #[test]
    fn confirm_is_no_check() {
        let result = validate_parts(RuleAction::Evaluate, &[RulePart::Confirm]);
        assert!(result.is_err_and(|error| error.starts_with("it checks nothing")));
    }
}

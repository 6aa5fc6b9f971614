//! Builds a rule from its draft: parses its paths, conditions and expression.

use std::{sync::Arc, time::Duration};

use super::{
    action::{RulePart, parse_action, validate_parts},
    limits::CounterTable,
    normalize::{GLOBAL_NAMESPACE, RuleDraft},
};
use crate::{
    DecisionPoint,
    condition::{Condition, Operand},
    document::{CounterScope, RawConcurrency, RawCondition, UnknownFieldPolicy},
    expression::Expression,
    items::ItemPatterns,
    limit::{CounterLimit, parse_duration},
    path::FieldPath,
    rule::{ArgumentCap, CallOrder, Rule, RuleAction, RuleRef},
    source::SourceFilter,
};

/// Prefix of the paths of claims.
const CLAIMS_PREFIX: &str = "principal.claims.";
/// Maximum number of approvers.
const MAX_APPROVERS: u8 = 10;
/// Maximum timeout of a rule. The server's own timeout still applies.
const MAX_TIMEOUT: Duration = Duration::from_secs(3_600);
/// Maximum of a limit of calls at the same time.
const MAX_CONCURRENCY: u32 = 10_000;

/// Compiles a rule whose limits are compiled already.
///
/// # Errors
/// Returns the first mistake in the rule.
pub(super) fn compile_rule(
    policy: &Arc<str>,
    draft: &RuleDraft,
    counters: &CounterTable,
    limits: Vec<CounterLimit>,
) -> Result<Rule, String> {
    let rule = &draft.rule;
    let name = rule.name.as_deref().filter(|name| !name.trim().is_empty());
    let name = name.ok_or("a rule has a name")?;
    let conditions = compile_conditions(draft, counters)?;
    let caps = compile_caps(draft)?;
    let redactions = compile_redactions(draft)?;

    let has_bounds = rule
        .conditions
        .iter()
        .flatten()
        .any(|condition| is_counter_bound(draft, condition));
    let conditions_part = match draft.is_hosted {
        true => RulePart::HostedConditions,
        false => RulePart::Conditions,
    };
    let source = rule.source.as_ref().map(|source| source.as_slice());
    let source = source.map(SourceFilter::parse).transpose()?;
    let timeout = rule.timeout.as_ref().map(parse_duration).transpose()?;
    if timeout.is_some_and(|timeout| timeout > MAX_TIMEOUT) {
        let max = MAX_TIMEOUT.as_secs();
        return Err(format!("`timeout` is at most {max}s"));
    }
    let concurrency = rule.concurrency.map(parse_concurrency).transpose()?;
    let decide = rule.decide.as_ref().map(DecisionPoint::compile);
    let decide = decide.transpose()?;
    let approvers = rule.approvers;
    if approvers.is_some_and(|count| !(1..=MAX_APPROVERS).contains(&count)) {
        return Err(format!("`approvers` is between 1 and {MAX_APPROVERS}"));
    }
    let parts: Vec<_> = [
        (RulePart::CounterBounds, has_bounds),
        (conditions_part, !conditions.is_empty()),
        (RulePart::Cap, !caps.is_empty()),
        (RulePart::Limits, !limits.is_empty()),
        (RulePart::Redact, !redactions.is_empty()),
        (RulePart::Confirm, rule.confirm.is_some()),
        (RulePart::Approvers, approvers.is_some()),
        (RulePart::Timeout, timeout.is_some()),
        (RulePart::Concurrency, concurrency.is_some()),
        (RulePart::Decide, decide.is_some()),
    ]
    .into_iter()
    .filter_map(|(part, is_present)| is_present.then_some(part))
    .collect();
    let has_checks = parts.iter().any(|part| part.is_check());
    let (action, is_shadow) = parse_action(rule.action, rule.would, has_checks)?;
    validate_parts(action, &parts)?;
    if is_shadow && decide.is_some() {
        return Err("a shadow rule asks no decision point".to_owned());
    }
    if !draft.items.is_empty() {
        validate_item_rule(action, &parts)?;
    }

    let when = rule.when.as_deref().map(Expression::compile).transpose();
    let when = when.map_err(|error| format!("`when`: {error}"))?;
    let named_counters = when.iter().flat_map(|when| &when.counters);
    let compared_counters = named_counters
        .map(|name| counters.find_by_name(draft, name))
        .collect::<Result<_, _>>()?;
    let reads_arguments = !caps.is_empty()
        || !redactions.is_empty()
        || when.as_ref().is_some_and(|when| when.uses_args)
        || conditions
            .iter()
            .any(|condition| matches!(condition.operand, Operand::Argument(_)));
    if rule.unknown.is_some() && !reads_arguments {
        return Err("`unknown` goes with a rule that looks at arguments".to_owned());
    }
    Ok(Rule {
        rule_ref: RuleRef {
            policy: Arc::clone(policy),
            name: name.into(),
            location: draft.location.as_str().into(),
            line: draft.line,
        },
        action,
        is_shadow,
        is_wildcard: draft.namespace == GLOBAL_NAMESPACE,
        when,
        counters: compared_counters,
        conditions,
        caps,
        limits,
        redactions,
        denies_unknown: reads_arguments
            && rule.unknown.unwrap_or_default() == UnknownFieldPolicy::Deny,
        confirm: rule.confirm.unwrap_or_default(),
        approvers,
        items: ItemPatterns::default(),
        source,
        order: CallOrder::default(),
        timeout,
        concurrency,
        decide,
        message: rule.on_deny.clone().or_else(|| rule.reason.clone()),
    })
}

/// Compiles the conditions that are checked when the rule is evaluated.
fn compile_conditions(
    draft: &RuleDraft,
    counters: &CounterTable,
) -> Result<Vec<Condition>, String> {
    let conditions = draft.rule.conditions.iter().flatten();
    conditions
        .filter(|condition| !is_counter_bound(draft, condition))
        .map(|condition| {
            let path = &condition.path;
            let op = &condition.op;
            let operand = parse_operand(path, counters)?;
            Condition::parse(operand, path, op, &condition.value)
        })
        .collect()
}

/// Returns true if a condition is an upper bound of the rule's own counter. It became the limit,
/// which is checked when it is reserved.
fn is_counter_bound(draft: &RuleDraft, condition: &RawCondition) -> bool {
    let declared = draft.rule.state.as_ref();
    let declared = declared.map(|state| state.counter.as_str());
    let compared = draft.own_counter(&condition.path);
    compared.is_some() && compared == declared && matches!(&*condition.op, "lt" | "lte")
}

fn compile_caps(draft: &RuleDraft) -> Result<Vec<ArgumentCap>, String> {
    let caps = draft.rule.cap.iter().flatten();
    caps.map(|(text, max)| {
        Ok(ArgumentCap {
            path: parse_argument_path(text)?,
            text: text.clone(),
            max: *max,
        })
    })
    .collect()
}

fn compile_redactions(draft: &RuleDraft) -> Result<Arc<[FieldPath]>, String> {
    let paths = draft.rule.redact.iter().flatten();
    paths
        .map(|text| {
            FieldPath::parse(text)
                .ok_or_else(|| format!("`{text}` is no path, such as data[].email"))
        })
        .collect()
}

/// Parses the path of a condition.
fn parse_operand(path: &str, counters: &CounterTable) -> Result<Operand, String> {
    if let Some(claim) = path.strip_prefix(CLAIMS_PREFIX) {
        return match claim.is_empty() {
            true => Err(format!("`{path}` names no claim")),
            false => Ok(Operand::Claim(claim.to_owned())),
        };
    }
    if !path.starts_with("args.") {
        return counters.find_by_path(path).map(Operand::Counter);
    }
    let argument = parse_argument_path(path)?;
    match argument.has_no_lists() {
        true => Ok(Operand::Argument(argument)),
        false => Err(invalid_operand(path)),
    }
}

/// Returns the error for a path that is neither that of an argument nor that of a counter.
pub(super) fn invalid_operand(path: &str) -> String {
    format!(
        "`{path}` is no path; write args.<name>, principal.claims.<name> or state.<tool>.<counter>"
    )
}

/// Parses the path of an argument, with or without the prefix `args.`.
pub(super) fn parse_argument_path(text: &str) -> Result<FieldPath, String> {
    let name = text.strip_prefix("args.").unwrap_or(text);
    FieldPath::parse(name).ok_or_else(|| format!("`{text}` is no path, such as args.name"))
}

/// Validates a rule about prompts or resources, which are texts: there is nothing to approve, to
/// show without sending, or to interrupt.
fn validate_item_rule(action: RuleAction, parts: &[RulePart]) -> Result<(), String> {
    let is_action = matches!(
        action,
        RuleAction::Allow | RuleAction::Deny | RuleAction::Evaluate
    );
    let is_part = |part: &RulePart| {
        matches!(
            part,
            RulePart::Conditions | RulePart::CounterBounds | RulePart::Limits | RulePart::Decide
        )
    };
    match is_action && parts.iter().all(is_part) {
        true => Ok(()),
        false => Err(
            "prompts and resources can be allowed, denied and limited, with `when` and `conditions`; make \
             a rule of its own for tools"
                .to_owned(),
        ),
    }
}

fn parse_concurrency(raw: RawConcurrency) -> Result<(u32, CounterScope), String> {
    let (max, scope) = match raw {
        RawConcurrency::Max(max) => (max, None),
        RawConcurrency::Scoped { max, scope } => (max, scope),
    };
    match (1..=MAX_CONCURRENCY).contains(&max) {
        true => Ok((max, scope.unwrap_or_default())),
        false => Err(format!("`concurrency` is between 1 and {MAX_CONCURRENCY}")),
    }
}

//! Builds a rule from its draft: parses its paths, conditions and expression.

use std::sync::Arc;

use super::{
    action::{RulePart, parse_action, validate_parts},
    limits::CounterTable,
    normalize::{GLOBAL_NAMESPACE, RuleDraft},
};
use crate::{
    condition::{Condition, Operand},
    document::{RawCondition, UnknownFieldPolicy},
    expression::Expression,
    limit::CounterLimit,
    path::FieldPath,
    rule::{ArgumentCap, Rule, RuleRef},
};

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
    let parts: Vec<_> = [
        (RulePart::CounterBounds, has_bounds),
        (conditions_part, !conditions.is_empty()),
        (RulePart::Cap, !caps.is_empty()),
        (RulePart::Limits, !limits.is_empty()),
        (RulePart::Redact, !redactions.is_empty()),
        (RulePart::Confirm, rule.confirm.is_some()),
    ]
    .into_iter()
    .filter_map(|(part, is_present)| is_present.then_some(part))
    .collect();
    let has_checks = parts.iter().any(|part| part.is_check());
    let (action, is_shadow) = parse_action(rule.action, rule.would, has_checks)?;
    validate_parts(action, &parts)?;

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
    format!("`{path}` is no path; write args.<name> or state.<tool>.<counter>")
}

/// Parses the path of an argument, with or without the prefix `args.`.
pub(super) fn parse_argument_path(text: &str) -> Result<FieldPath, String> {
    let name = text.strip_prefix("args.").unwrap_or(text);
    FieldPath::parse(name).ok_or_else(|| format!("`{text}` is no path, such as args.name"))
}

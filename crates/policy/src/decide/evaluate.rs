//! Evaluates each rule of an operation once and collects the results until all are known.

use std::{borrow::Cow, sync::Arc, time::Duration};

use portkey_store::{Store, StoreError};

use super::{
    ConcurrencyLimit, DenialStage, PolicyDenial, RuleMatch, RuleTrace, limits::LimitBudgets,
};
use crate::{
    DecisionPoint, Policy, PolicyInput, PolicyTarget,
    expression::CallVariables,
    path::FieldPath,
    rule::{Rule, RuleAction},
};

/// A policy's rules for an operation, with the current values of the counters that they compare.
pub(super) struct PolicyState<'a> {
    pub(super) policy: &'a Policy,
    /// Indexes of the rules that apply, in their order.
    rules: Cow<'a, [usize]>,
    /// True if the operation is listed under `tools`.
    is_listed: bool,
    /// The count is `None` if the counter cannot be read and only shadow rules compare it.
    counts: Vec<(usize, Option<u64>)>,
}

impl<'a> PolicyState<'a> {
    pub(super) async fn load(
        policy: &'a Policy,
        input: &PolicyInput<'_>,
        store: &Store,
    ) -> Result<Self, StoreError> {
        let rules = policy.rule_indexes(&input.target);
        let resolved = match &input.target {
            PolicyTarget::Tool { operation, .. } => policy.operations.get(operation.name()),
            PolicyTarget::Prompt(_) | PolicyTarget::Resource(_) => None,
        };
        let compared = match resolved {
            Some(resolved) => Cow::Borrowed(&resolved.compared_counters),
            None => {
                let rules = rules.iter().filter_map(|index| policy.rules.get(*index));
                Cow::Owned(compared_counters(rules))
            }
        };
        let mut counts = Vec::new();
        for (index, matters) in &*compared {
            let Some(counter) = policy.counters.get(*index) else {
                continue;
            };
            let key = counter.store_key(&policy.name, input);
            let count = match store.count(&key, counter.window).await {
                Err(error) if *matters => return Err(error),
                count => count.ok(),
            };
            counts.push((*index, count));
        }
        Ok(Self {
            policy,
            rules,
            is_listed: resolved.is_some_and(|resolved| resolved.is_listed),
            counts,
        })
    }

    /// Returns the rules that apply, in their order.
    fn rules(&self) -> impl Iterator<Item = &'a Rule> {
        let policy = self.policy;
        self.rules
            .iter()
            .filter_map(|index| policy.rules.get(*index))
    }

    fn count(&self, counter: usize) -> u64 {
        let found = self.counts.iter().find(|(index, _)| *index == counter);
        found.and_then(|(_, count)| *count).unwrap_or_default()
    }

    /// Returns true if the rule compares a counter that cannot be read now.
    fn has_unreadable_counter(&self, rule: &Rule) -> bool {
        let mut unknown = self.counts.iter().filter(|(_, count)| count.is_none());
        rule.is_shadow
            && unknown.any(|(counter, _)| rule.compared_counters().any(|one| one == *counter))
    }
}

/// Returns the counters that rules compare. The value is true if at least one such rule is not a
/// shadow rule.
pub(crate) fn compared_counters<'r>(
    rules: impl Iterator<Item = &'r Rule>,
) -> std::collections::BTreeMap<usize, bool> {
    let mut compared = std::collections::BTreeMap::new();
    for rule in rules {
        for counter in rule.compared_counters() {
            *compared.entry(counter).or_insert(false) |= !rule.is_shadow;
        }
    }
    compared
}

/// Collected results of all rules.
#[derive(Default)]
pub(super) struct CollectedResults<'a> {
    /// First policy whose default denies the call.
    pub(super) denied_by_default: Option<&'a Policy>,
    pub(super) denied: Option<PolicyDenial>,
    pub(super) approval: Option<RuleMatch>,
    pub(super) dry_run: Option<RuleMatch>,
    /// Budgets to reserve.
    pub(super) budgets: LimitBudgets<'a>,
    /// Budgets of shadow rules, each reserved by itself.
    pub(super) shadow_budgets: Vec<LimitBudgets<'a>>,
    pub(super) shadows: Vec<RuleMatch>,
    pub(super) redactions: Vec<Arc<[FieldPath]>>,
    /// Shortest timeout of a rule.
    pub(super) timeout: Option<Duration>,
    pub(super) concurrency: Vec<ConcurrencyLimit>,
    /// Services that have to permit the call, each with its rule.
    pub(super) outside: Vec<(&'a DecisionPoint, &'a Rule)>,
}

/// Result of a rule. The names follow XACML.
enum RuleResult {
    /// The rule does not apply to this call.
    NotApplicable,
    /// The rule applies, and its requirements are satisfied.
    Satisfied,
    /// The rule applies, and one of its requirements is violated.
    Violated(String),
    /// The rule reads arguments, and this argument is unknown.
    UnknownField(String),
    /// The rule cannot be evaluated.
    Indeterminate(String),
}

/// Evaluates every rule of these policies once. `trace` receives the result of each.
pub(super) fn evaluate_rules<'a>(
    states: &[PolicyState<'a>],
    input: &PolicyInput<'_>,
    mut trace: Option<&mut Vec<RuleTrace>>,
) -> CollectedResults<'a> {
    let variables = CallVariables::new(input);
    let mut collected = CollectedResults::default();
    for state in states {
        let mut is_open = !state.policy.denies_by_default || state.is_listed;
        for rule in state.rules() {
            let result = evaluate_rule(rule, state, input, &variables);
            is_open |= rule.can_override_default_deny()
                && matches!(result, RuleResult::Satisfied | RuleResult::Violated(_));
            if let Some(trace) = &mut trace {
                trace.push(result.to_trace(rule));
            }
            match rule.is_shadow {
                true => collected.apply_shadow_rule(rule, result, state, input),
                false => collected.apply_rule(rule, result, state, input),
            }
        }
        if !is_open && collected.denied_by_default.is_none() {
            collected.denied_by_default = Some(state.policy);
        }
    }
    collected
}

impl RuleResult {
    fn to_trace(&self, rule: &Rule) -> RuleTrace {
        let outcome = match self {
            Self::NotApplicable => "does not apply".to_owned(),
            Self::Satisfied if rule.action == RuleAction::Evaluate => "holds".to_owned(),
            Self::Satisfied => "applies".to_owned(),
            Self::Violated(reason) => format!("fails: {reason}"),
            Self::UnknownField(name) => format!("denies the unknown argument `{name}`"),
            Self::Indeterminate(reason) => format!("cannot be evaluated: {reason}"),
        };
        RuleTrace {
            rule: rule.rule_ref.clone(),
            action: rule.action,
            is_shadow: rule.is_shadow,
            outcome,
        }
    }
}

impl<'a> CollectedResults<'a> {
    fn apply_rule(
        &mut self,
        rule: &'a Rule,
        result: RuleResult,
        state: &PolicyState<'a>,
        input: &PolicyInput<'_>,
    ) {
        match result {
            RuleResult::NotApplicable => {}
            RuleResult::UnknownField(name) => {
                self.deny(rule, || unknown_field_message(rule, input, &name));
            }
            RuleResult::Indeterminate(reason) => {
                let reason = format!("it cannot be evaluated: {reason}");
                self.deny(rule, || denial_message(rule, input, &reason));
            }
            RuleResult::Violated(reason) => {
                self.deny(rule, || denial_message(rule, input, &reason));
            }
            RuleResult::Satisfied if rule.action == RuleAction::Deny => {
                self.deny(rule, || denial_message(rule, input, ""));
            }
            RuleResult::Satisfied => self.apply_satisfied_rule(rule, state, input),
        }
    }

    fn apply_satisfied_rule(
        &mut self,
        rule: &'a Rule,
        state: &PolicyState<'a>,
        input: &PolicyInput<'_>,
    ) {
        let build_match = || RuleMatch {
            rule: rule.rule_ref.clone(),
            action: rule.action,
            message: rule
                .message
                .clone()
                .unwrap_or_else(|| format!("the policy rule `{}`", rule.rule_ref.name)),
            confirm: rule.confirm,
            approvers: rule.approvers,
        };
        match rule.action {
            RuleAction::Approve => {
                let approval = self.approval.get_or_insert_with(build_match);
                // The first rule is named, and the strictest decides how many approve.
                approval.approvers = approval.approvers.max(rule.approvers);
            }
            RuleAction::DryRun => {
                self.dry_run.get_or_insert_with(build_match);
            }
            RuleAction::Evaluate | RuleAction::Allow | RuleAction::Deny => {}
        }
        if !rule.redactions.is_empty() {
            self.redactions.push(Arc::clone(&rule.redactions));
        }
        for limit in &rule.limits {
            if let Err(reason) = self.budgets.add(rule, limit, state, input) {
                self.deny(rule, || denial_message(rule, input, &reason));
            }
        }
        self.timeout = [self.timeout, rule.timeout].into_iter().flatten().min();
        if let Some((max, scope)) = rule.concurrency {
            self.concurrency
                .push(ConcurrencyLimit::new(rule, max, scope, input));
        }
        if let Some(point) = &rule.decide {
            self.outside.push((point, rule));
        }
    }

    /// Denies the call, unless an earlier rule denies it.
    fn deny(&mut self, rule: &Rule, build_message: impl FnOnce() -> String) {
        self.denied.get_or_insert_with(|| PolicyDenial {
            stage: DenialStage::Deny,
            rule: rule.rule_ref.clone(),
            message: build_message(),
            retry_after: None,
        });
    }

    fn apply_shadow_rule(
        &mut self,
        rule: &'a Rule,
        result: RuleResult,
        state: &PolicyState<'a>,
        input: &PolicyInput<'_>,
    ) {
        let message = match result {
            RuleResult::NotApplicable => return,
            RuleResult::UnknownField(name) => format!("`{name}` is not a known argument"),
            RuleResult::Indeterminate(reason) => format!("it cannot be evaluated: {reason}"),
            RuleResult::Violated(reason) => reason,
            RuleResult::Satisfied if rule.action == RuleAction::Evaluate => {
                self.add_shadow_limits(rule, state, input);
                return;
            }
            RuleResult::Satisfied => rule
                .message
                .clone()
                .unwrap_or_else(|| "it applies".to_owned()),
        };
        self.shadows.push(RuleMatch {
            rule: rule.rule_ref.clone(),
            action: rule.action,
            message,
            confirm: rule.confirm,
            approvers: rule.approvers,
        });
    }

    fn add_shadow_limits(
        &mut self,
        rule: &'a Rule,
        state: &PolicyState<'a>,
        input: &PolicyInput<'_>,
    ) {
        for limit in &rule.limits {
            let mut budgets = LimitBudgets::default();
            if budgets.add(rule, limit, state, input).is_ok() {
                self.shadow_budgets.push(budgets);
            }
        }
    }
}

/// Evaluates the parts of a rule: `when`, unknown arguments, conditions and caps, in this order.
fn evaluate_rule<'f>(
    rule: &Rule,
    state: &PolicyState<'_>,
    input: &PolicyInput<'f>,
    variables: &CallVariables<'f>,
) -> RuleResult {
    if state.has_unreadable_counter(rule) {
        return RuleResult::Indeterminate("a counter that it compares cannot be read".to_owned());
    }
    if let Some(source) = &rule.source
        && (!source.matches(input.source)
            || (input.source.is_none() && rule.action == RuleAction::Allow))
    {
        return RuleResult::NotApplicable;
    }
    match rule.order.is_satisfied(input.called) {
        Some(true) => {}
        // Without a session, nothing is known to have been called.
        None if rule.action != RuleAction::Allow => {
            let reason = "the earlier calls of this session are not known, and `after` and `before` need \
                          them";
            return RuleResult::Indeterminate(reason.to_owned());
        }
        Some(false) | None => return RuleResult::NotApplicable,
    }
    let unknown_field = input.unknown_fields.first().filter(|_| rule.denies_unknown);
    if let Some(when) = &rule.when {
        if let Some(unknown) = unknown_field.filter(|_| when.uses_args) {
            return RuleResult::UnknownField(unknown.clone());
        }
        let counters = rule.counters.iter();
        let counts: Vec<u64> = counters.map(|counter| state.count(*counter)).collect();
        match when.is_true(variables, &counts) {
            Ok(true) => {}
            Ok(false) => return RuleResult::NotApplicable,
            Err(reason) => return RuleResult::Indeterminate(format!("`when`: {reason}")),
        }
    }
    if let Some(unknown) = unknown_field {
        return RuleResult::UnknownField(unknown.clone());
    }
    match check_conditions(rule, state, input) {
        RuleResult::Satisfied => check_caps(rule, input),
        result => result,
    }
}

fn check_conditions(rule: &Rule, state: &PolicyState<'_>, input: &PolicyInput<'_>) -> RuleResult {
    // Conditions that permit a call have to hold for all values of an argument. Conditions that
    // stop it have to hold for one.
    let any = matches!(
        rule.action,
        RuleAction::Deny | RuleAction::Approve | RuleAction::DryRun
    );
    for condition in &rule.conditions {
        let values = (input.args, input.claims);
        match condition.is_satisfied(values, any, |counter| state.count(counter)) {
            Ok(true) => {}
            Err(reason) => {
                return RuleResult::Indeterminate(format!("`{}`: {reason}", condition.text));
            }
            Ok(false) if rule.action == RuleAction::Evaluate => {
                return RuleResult::Violated(format!("`{}` is not satisfied", condition.text));
            }
            Ok(false) => return RuleResult::NotApplicable,
        }
    }
    RuleResult::Satisfied
}

fn check_caps(rule: &Rule, input: &PolicyInput<'_>) -> RuleResult {
    for cap in &rule.caps {
        let mut is_within = true;
        cap.path.visit_arguments(input.args, &mut |value| {
            is_within &= value.is_null() || value.as_f64().is_some_and(|value| value <= cap.max);
        });
        if !is_within {
            return RuleResult::Violated(format!("`{}` may be at most {}", cap.text, cap.max));
        }
    }
    RuleResult::Satisfied
}

pub(super) fn denial_message(rule: &Rule, input: &PolicyInput<'_>, reason: &str) -> String {
    let name = &rule.rule_ref.name;
    let tool = input.target.name();
    match rule.message.as_deref().unwrap_or(reason) {
        _ if rule.message.is_none() && reason.is_empty() => {
            format!("the policy rule `{name}` denies `{tool}`")
        }
        reason => format!("the policy rule `{name}` denies `{tool}`: {reason}"),
    }
}

/// Returns the message for an unknown field, which could do the very thing that the rule prevents.
fn unknown_field_message(rule: &Rule, input: &PolicyInput<'_>, field: &str) -> String {
    format!(
        "the policy rule `{}` checks the arguments of `{}`, and `{field}` is not a known argument; \
         leave it out, or set `unknown: allow` in the rule",
        rule.rule_ref.name,
        input.target.name()
    )
}

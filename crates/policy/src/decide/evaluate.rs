//! Evaluates each rule of an operation once and collects the results until all are known.

use std::{borrow::Cow, sync::Arc, time::Duration};

use super::{DenialStage, PolicyDenial, RuleMatch, RuleTrace};
use crate::{
    Policy, PolicyInput, ResolvedOperation,
    expression::CallVariables,
    limit::{CounterLimit, WindowName},
    path::FieldPath,
    rule::{Rule, RuleAction, RuleRef},
};
use portkey_store::{Budget, Store, StoreError};

/// A policy's rules for an operation, with the current values of the counters that they compare.
pub(super) struct PolicyState<'a> {
    policy: &'a Policy,
    resolved: Option<&'a ResolvedOperation>,
    /// The count is `None` if the counter cannot be read and only shadow rules compare it.
    counts: Vec<(usize, Option<u64>)>,
}

impl<'a> PolicyState<'a> {
    pub(super) async fn load(
        policy: &'a Policy,
        facts: &PolicyInput<'_>,
        store: &Store,
    ) -> Result<Self, StoreError> {
        let resolved = policy.operations.get(facts.operation.name());
        let mut counted = Vec::new();
        for (index, matters) in resolved
            .iter()
            .flat_map(|resolved| &resolved.compared_counters)
        {
            let Some(counter) = policy.counters.get(*index) else {
                continue;
            };
            let key = counter.store_key(&policy.name, facts);
            let count = match store.count(&key, counter.window).await {
                Err(error) if *matters => return Err(error),
                count => count.ok(),
            };
            counted.push((*index, count));
        }
        Ok(Self {
            policy,
            resolved,
            counts: counted,
        })
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

/// Collected results of all rules.
pub(super) struct Evaluator<'a, 's> {
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
    trace: Option<&'s mut Vec<RuleTrace>>,
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

impl<'a, 's> Evaluator<'a, 's> {
    pub(super) fn new(steps: Option<&'s mut Vec<RuleTrace>>) -> Self {
        Self {
            denied_by_default: None,
            denied: None,
            approval: None,
            dry_run: None,
            budgets: LimitBudgets::default(),
            shadow_budgets: Vec::new(),
            shadows: Vec::new(),
            redactions: Vec::new(),
            trace: steps,
        }
    }

    /// Evaluates the rules of one policy.
    pub(super) fn evaluate<'f>(
        &mut self,
        reach: &PolicyState<'a>,
        facts: &PolicyInput<'f>,
        variables: &CallVariables<'f>,
    ) {
        let mut open =
            !reach.policy.denies_by_default || reach.resolved.is_some_and(|found| found.is_listed);
        for index in reach.resolved.iter().flat_map(|resolved| &resolved.rules) {
            let Some(rule) = reach.policy.rules.get(*index) else {
                continue;
            };
            let said = evaluate_rule(rule, reach, facts, variables);
            open |= rule.can_override_default_deny()
                && matches!(said, RuleResult::Satisfied | RuleResult::Violated(_));
            self.record_trace(rule, &said);
            match (rule.is_shadow, said) {
                (_, RuleResult::NotApplicable) => {}
                (true, said) => self.apply_shadow_rule(rule, said, reach, facts),
                (false, said) => self.apply_rule(rule, said, reach, facts),
            }
        }
        if !open && self.denied_by_default.is_none() {
            self.denied_by_default = Some(reach.policy);
        }
    }

    fn apply_rule(
        &mut self,
        rule: &'a Rule,
        said: RuleResult,
        reach: &PolicyState<'a>,
        facts: &PolicyInput<'_>,
    ) {
        let why = match (rule.action, said) {
            (_, RuleResult::NotApplicable) => return,
            (_, RuleResult::UnknownField(name)) => {
                self.deny_unknown(rule, facts, &name);
                return;
            }
            (_, RuleResult::Indeterminate(why)) => Some(format!("it cannot be evaluated: {why}")),
            (_, RuleResult::Violated(why)) => Some(why),
            (RuleAction::Deny, RuleResult::Satisfied) => Some(String::new()),
            (_, RuleResult::Satisfied) => None,
        };
        if let Some(why) = why {
            self.deny(rule, facts, &why);
            return;
        }
        let rule_match = || {
            let words = rule.message.clone();
            let words =
                words.unwrap_or_else(|| format!("the policy rule `{}`", rule.rule_ref.name));
            RuleMatch {
                rule: rule.rule_ref.clone(),
                action: rule.action,
                message: words,
                confirm: rule.confirm,
            }
        };
        match rule.action {
            RuleAction::Approve if self.approval.is_none() => self.approval = Some(rule_match()),
            RuleAction::DryRun if self.dry_run.is_none() => self.dry_run = Some(rule_match()),
            _ => {}
        }
        if !rule.redactions.is_empty() {
            self.redactions.push(Arc::clone(&rule.redactions));
        }
        for limit in &rule.limits {
            if let Err(why) = self.budgets.add(rule, limit, reach, facts) {
                self.deny(rule, facts, &why);
            }
        }
    }

    fn deny(&mut self, rule: &Rule, facts: &PolicyInput<'_>, why: &str) {
        if self.denied.is_none() {
            let words = denial_message(rule, facts, why);
            let (stage, rule) = (DenialStage::Deny, rule.rule_ref.clone());
            self.denied = Some(PolicyDenial {
                stage,
                rule,
                message: words,
                retry_after: None,
            });
        }
    }

    /// Denies the call because of an unknown field, which could do the very thing that the rule
    /// prevents.
    fn deny_unknown(&mut self, rule: &Rule, facts: &PolicyInput<'_>, name: &str) {
        if self.denied.is_none() {
            let words = format!(
                "the policy rule `{}` looks at the arguments of `{}`, and `{name}` is none that is known \
                 here; leave it out, or have the rule say `unknown: allow`",
                rule.rule_ref.name,
                facts.operation.name()
            );
            let (stage, rule) = (DenialStage::Deny, rule.rule_ref.clone());
            self.denied = Some(PolicyDenial {
                stage,
                rule,
                message: words,
                retry_after: None,
            });
        }
    }

    fn apply_shadow_rule(
        &mut self,
        rule: &'a Rule,
        said: RuleResult,
        reach: &PolicyState<'a>,
        facts: &PolicyInput<'_>,
    ) {
        let words = match said {
            RuleResult::NotApplicable => return,
            RuleResult::UnknownField(name) => format!("`{name}` is no argument that is known"),
            RuleResult::Indeterminate(why) => format!("it cannot be evaluated: {why}"),
            RuleResult::Violated(why) => why,
            RuleResult::Satisfied if rule.action == RuleAction::Evaluate => {
                for limit in &rule.limits {
                    let mut budgets = LimitBudgets::default();
                    if budgets.add(rule, limit, reach, facts).is_ok() {
                        self.shadow_budgets.push(budgets);
                    }
                }
                return;
            }
            RuleResult::Satisfied => rule
                .message
                .clone()
                .unwrap_or_else(|| "it applies".to_owned()),
        };
        let (rule, verb, confirm) = (rule.rule_ref.clone(), rule.action, rule.confirm);
        self.shadows.push(RuleMatch {
            rule,
            action: verb,
            message: words,
            confirm,
        });
    }

    fn record_trace(&mut self, rule: &Rule, said: &RuleResult) {
        let Some(steps) = &mut self.trace else { return };
        let outcome = match said {
            RuleResult::NotApplicable => Cow::Borrowed("does not apply"),
            RuleResult::Satisfied if rule.action == RuleAction::Evaluate => Cow::Borrowed("holds"),
            RuleResult::Satisfied => Cow::Borrowed("applies"),
            RuleResult::Violated(why) => Cow::Owned(format!("fails: {why}")),
            RuleResult::UnknownField(name) => {
                Cow::Owned(format!("denies the unknown argument `{name}`"))
            }
            RuleResult::Indeterminate(why) => Cow::Owned(format!("cannot be evaluated: {why}")),
        };
        let (rule, verb, shadow) = (rule.rule_ref.clone(), rule.action, rule.is_shadow);
        steps.push(RuleTrace {
            rule,
            action: verb,
            is_shadow: shadow,
            outcome: outcome.into_owned(),
        });
    }
}

fn evaluate_rule<'f>(
    rule: &Rule,
    reach: &PolicyState<'_>,
    facts: &PolicyInput<'f>,
    variables: &CallVariables<'f>,
) -> RuleResult {
    let counted = |counter| reach.count(counter);
    if reach.has_unreadable_counter(rule) {
        return RuleResult::Indeterminate("a counter that it compares cannot be read".to_owned());
    }
    if let Some(when) = &rule.when {
        if let (true, true, Some(unknown)) = (
            when.uses_args,
            rule.denies_unknown,
            facts.unknown_fields.first(),
        ) {
            return RuleResult::UnknownField(unknown.clone());
        }
        let values: Vec<u64> = rule
            .counters
            .iter()
            .map(|counter| counted(*counter))
            .collect();
        match when.is_true(variables, &values) {
            Ok(true) => {}
            Ok(false) => return RuleResult::NotApplicable,
            Err(why) => return RuleResult::Indeterminate(format!("`when`: {why}")),
        }
    }
    if let (true, Some(unknown)) = (rule.denies_unknown, facts.unknown_fields.first()) {
        return RuleResult::UnknownField(unknown.clone());
    }
    // Conditions that permit a call have to hold for all values of an argument. Conditions that
    // stop it have to hold for one.
    let any = matches!(
        rule.action,
        RuleAction::Deny | RuleAction::Approve | RuleAction::DryRun
    );
    for condition in &rule.conditions {
        match condition.is_satisfied(facts.args, any, counted) {
            Ok(true) => {}
            Err(why) => return RuleResult::Indeterminate(format!("`{}`: {why}", condition.text)),
            Ok(false) if rule.action == RuleAction::Evaluate => {
                return RuleResult::Violated(format!("`{}` does not hold", condition.text));
            }
            Ok(false) => return RuleResult::NotApplicable,
        }
    }
    for cap in &rule.caps {
        let mut within = true;
        let mut check = |value: &serde_json::Value| {
            within &= value.is_null() || value.as_f64().is_some_and(|value| value <= cap.max);
        };
        cap.path.visit_arguments(facts.args, &mut check);
        if !within {
            return RuleResult::Violated(format!("`{}` may be at most {}", cap.text, cap.max));
        }
    }
    RuleResult::Satisfied
}

fn denial_message(rule: &Rule, facts: &PolicyInput<'_>, why: &str) -> String {
    let (tool, name) = (facts.operation.name(), &rule.rule_ref.name);
    match (&rule.message, why) {
        (Some(words), _) => format!("the policy rule `{name}` denies `{tool}`: {words}"),
        (None, "") => format!("the policy rule `{name}` denies `{tool}`"),
        (None, why) => format!("the policy rule `{name}` denies `{tool}`: {why}"),
    }
}

/// Budgets to reserve, with their rules.
#[derive(Default)]
pub(super) struct LimitBudgets<'a> {
    pub(super) budgets: Vec<Budget>,
    sources: Vec<(&'a Rule, &'a CounterLimit)>,
}

impl<'a> LimitBudgets<'a> {
    fn add(
        &mut self,
        rule: &'a Rule,
        limit: &'a CounterLimit,
        reach: &PolicyState<'a>,
        facts: &PolicyInput<'_>,
    ) -> Result<(), String> {
        if let Some(counter) = reach.policy.counters.get(limit.counter) {
            self.budgets
                .push(limit.budget(counter, &reach.policy.name, facts)?);
            self.sources.push((rule, limit));
        }
        Ok(())
    }

    /// Returns the message for an exhausted limit.
    pub(super) fn message(&self, index: usize) -> String {
        let (Some((rule, limit)), Some(budget)) =
            (self.sources.get(index), self.budgets.get(index))
        else {
            return String::new();
        };
        let name = &rule.rule_ref.name;
        let default_message = || {
            format!(
                "no more than {} per {}",
                budget.max,
                WindowName(budget.window)
            )
        };
        let words = limit
            .message
            .clone()
            .or_else(|| rule.message.clone())
            .unwrap_or_else(default_message);
        format!("the policy rule `{name}` limits this: {words}")
    }

    pub(super) fn denial(
        &self,
        index: usize,
        words: String,
        retry_after: Option<Duration>,
    ) -> PolicyDenial {
        let missing_rule = || RuleRef {
            policy: "".into(),
            name: "".into(),
            location: "".into(),
            line: 0,
        };
        let rule = self
            .sources
            .get(index)
            .map_or_else(missing_rule, |(rule, _)| rule.rule_ref.clone());
        PolicyDenial {
            stage: DenialStage::Limits,
            rule,
            message: words,
            retry_after,
        }
    }
}

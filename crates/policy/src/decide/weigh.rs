//! Evaluates each rule of an operation once and collects the results until all are known.

use std::{borrow::Cow, sync::Arc, time::Duration};

use super::{Denied, Noted, Stage, Step};
use crate::{
    Facts, Policy, Resolved,
    expression::Variables,
    limit::{Limit, Words},
    path::Path,
    rule::{Cite, Rule, Verb},
};
use portkey_store::{Budget, Store, StoreError};

/// A policy's rules for an operation, with the current values of the counters that they compare.
pub(super) struct Reach<'a> {
    policy: &'a Policy,
    resolved: Option<&'a Resolved>,
    /// The count is `None` if the counter cannot be read and only shadow rules compare it.
    counted: Vec<(usize, Option<u64>)>,
}

impl<'a> Reach<'a> {
    pub(super) async fn of(
        policy: &'a Policy,
        facts: &Facts<'_>,
        store: &Store,
    ) -> Result<Self, StoreError> {
        let resolved = policy.of.get(facts.operation.name());
        let mut counted = Vec::new();
        for (index, matters) in resolved.iter().flat_map(|resolved| &resolved.reads) {
            let Some(counter) = policy.counters.get(*index) else {
                continue;
            };
            let key = counter.key(&policy.name, facts);
            let count = match store.counted(&key, counter.window).await {
                Err(error) if *matters => return Err(error),
                count => count.ok(),
            };
            counted.push((*index, count));
        }
        Ok(Self {
            policy,
            resolved,
            counted,
        })
    }

    fn counted(&self, counter: usize) -> u64 {
        let found = self.counted.iter().find(|(index, _)| *index == counter);
        found.and_then(|(_, count)| *count).unwrap_or_default()
    }

    /// Returns true if the rule compares a counter that cannot be read now.
    fn is_blind(&self, rule: &Rule) -> bool {
        let mut unknown = self.counted.iter().filter(|(_, count)| count.is_none());
        rule.shadow && unknown.any(|(counter, _)| rule.compares().any(|one| one == *counter))
    }
}

/// Collected results of all rules.
pub(super) struct Findings<'a, 's> {
    /// First policy whose default denies the call.
    pub(super) closed: Option<&'a Policy>,
    pub(super) denied: Option<Denied>,
    pub(super) approve: Option<Noted>,
    pub(super) dry_run: Option<Noted>,
    /// Budgets to reserve.
    pub(super) taken: Budgets<'a>,
    /// Budgets of shadow rules, each reserved by itself.
    pub(super) watched: Vec<Budgets<'a>>,
    pub(super) shadows: Vec<Noted>,
    pub(super) redact: Vec<Arc<[Path]>>,
    steps: Option<&'s mut Vec<Step>>,
}

/// Result of a rule. The names follow XACML.
enum Said {
    /// The rule does not apply to this call.
    Nothing,
    /// The rule applies, and its requirements are satisfied.
    Holds,
    /// The rule applies, and one of its requirements is violated.
    Fails(String),
    /// The rule reads arguments, and this argument is unknown.
    Unknown(String),
    /// The rule cannot be evaluated.
    Broken(String),
}

impl<'a, 's> Findings<'a, 's> {
    pub(super) fn new(steps: Option<&'s mut Vec<Step>>) -> Self {
        Self {
            closed: None,
            denied: None,
            approve: None,
            dry_run: None,
            taken: Budgets::default(),
            watched: Vec::new(),
            shadows: Vec::new(),
            redact: Vec::new(),
            steps,
        }
    }

    /// Evaluates the rules of one policy.
    pub(super) fn weigh<'f>(
        &mut self,
        reach: &Reach<'a>,
        facts: &Facts<'f>,
        variables: &Variables<'f>,
    ) {
        let mut open = !reach.policy.closed || reach.resolved.is_some_and(|found| found.listed);
        for index in reach.resolved.iter().flat_map(|resolved| &resolved.rules) {
            let Some(rule) = reach.policy.rules.get(*index) else {
                continue;
            };
            let said = ask(rule, reach, facts, variables);
            open |= rule.can_open() && matches!(said, Said::Holds | Said::Fails(_));
            self.note(rule, &said);
            match (rule.shadow, said) {
                (_, Said::Nothing) => {}
                (true, said) => self.shadow(rule, said, reach, facts),
                (false, said) => self.act(rule, said, reach, facts),
            }
        }
        if !open && self.closed.is_none() {
            self.closed = Some(reach.policy);
        }
    }

    fn act(&mut self, rule: &'a Rule, said: Said, reach: &Reach<'a>, facts: &Facts<'_>) {
        let why = match (rule.verb, said) {
            (_, Said::Nothing) => return,
            (_, Said::Unknown(name)) => {
                self.deny_unknown(rule, facts, &name);
                return;
            }
            (_, Said::Broken(why)) => Some(format!("it cannot be evaluated: {why}")),
            (_, Said::Fails(why)) => Some(why),
            (Verb::Deny, Said::Holds) => Some(String::new()),
            (_, Said::Holds) => None,
        };
        if let Some(why) = why {
            self.deny(rule, facts, &why);
            return;
        }
        let noted = || {
            let words = rule.words.clone();
            let words = words.unwrap_or_else(|| format!("the policy rule `{}`", rule.cite.name));
            Noted {
                rule: rule.cite.clone(),
                verb: rule.verb,
                words,
                confirm: rule.confirm,
            }
        };
        match rule.verb {
            Verb::Approve if self.approve.is_none() => self.approve = Some(noted()),
            Verb::DryRun if self.dry_run.is_none() => self.dry_run = Some(noted()),
            _ => {}
        }
        if !rule.redact.is_empty() {
            self.redact.push(Arc::clone(&rule.redact));
        }
        for limit in &rule.limits {
            if let Err(why) = self.taken.add(rule, limit, reach, facts) {
                self.deny(rule, facts, &why);
            }
        }
    }

    fn deny(&mut self, rule: &Rule, facts: &Facts<'_>, why: &str) {
        if self.denied.is_none() {
            let words = denial(rule, facts, why);
            let (stage, rule) = (Stage::Deny, rule.cite.clone());
            self.denied = Some(Denied {
                stage,
                rule,
                words,
                retry_after: None,
            });
        }
    }

    /// Denies the call because of an unknown field, which could do the very thing that the rule
    /// prevents.
    fn deny_unknown(&mut self, rule: &Rule, facts: &Facts<'_>, name: &str) {
        if self.denied.is_none() {
            let words = format!(
                "the policy rule `{}` looks at the arguments of `{}`, and `{name}` is none that is known \
                 here; leave it out, or have the rule say `unknown: allow`",
                rule.cite.name,
                facts.operation.name()
            );
            let (stage, rule) = (Stage::Deny, rule.cite.clone());
            self.denied = Some(Denied {
                stage,
                rule,
                words,
                retry_after: None,
            });
        }
    }

    fn shadow(&mut self, rule: &'a Rule, said: Said, reach: &Reach<'a>, facts: &Facts<'_>) {
        let words = match said {
            Said::Nothing => return,
            Said::Unknown(name) => format!("`{name}` is no argument that is known"),
            Said::Broken(why) => format!("it cannot be evaluated: {why}"),
            Said::Fails(why) => why,
            Said::Holds if rule.verb == Verb::Evaluate => {
                for limit in &rule.limits {
                    let mut budgets = Budgets::default();
                    if budgets.add(rule, limit, reach, facts).is_ok() {
                        self.watched.push(budgets);
                    }
                }
                return;
            }
            Said::Holds => rule
                .words
                .clone()
                .unwrap_or_else(|| "it applies".to_owned()),
        };
        let (rule, verb, confirm) = (rule.cite.clone(), rule.verb, rule.confirm);
        self.shadows.push(Noted {
            rule,
            verb,
            words,
            confirm,
        });
    }

    fn note(&mut self, rule: &Rule, said: &Said) {
        let Some(steps) = &mut self.steps else { return };
        let outcome = match said {
            Said::Nothing => Cow::Borrowed("does not apply"),
            Said::Holds if rule.verb == Verb::Evaluate => Cow::Borrowed("holds"),
            Said::Holds => Cow::Borrowed("applies"),
            Said::Fails(why) => Cow::Owned(format!("fails: {why}")),
            Said::Unknown(name) => Cow::Owned(format!("denies the unknown argument `{name}`")),
            Said::Broken(why) => Cow::Owned(format!("cannot be evaluated: {why}")),
        };
        let (rule, verb, shadow) = (rule.cite.clone(), rule.verb, rule.shadow);
        steps.push(Step {
            rule,
            verb,
            shadow,
            outcome: outcome.into_owned(),
        });
    }
}

fn ask<'f>(rule: &Rule, reach: &Reach<'_>, facts: &Facts<'f>, variables: &Variables<'f>) -> Said {
    let counted = |counter| reach.counted(counter);
    if reach.is_blind(rule) {
        return Said::Broken("a counter that it compares cannot be read".to_owned());
    }
    if let Some(when) = &rule.when {
        if let (true, true, Some(unknown)) =
            (when.uses_args, rule.denies_unknown, facts.unknown.first())
        {
            return Said::Unknown(unknown.clone());
        }
        let values: Vec<u64> = rule
            .counters
            .iter()
            .map(|counter| counted(*counter))
            .collect();
        match when.holds(variables, &values) {
            Ok(true) => {}
            Ok(false) => return Said::Nothing,
            Err(why) => return Said::Broken(format!("`when`: {why}")),
        }
    }
    if let (true, Some(unknown)) = (rule.denies_unknown, facts.unknown.first()) {
        return Said::Unknown(unknown.clone());
    }
    // Conditions that permit a call have to hold for all values of an argument. Conditions that
    // stop it have to hold for one.
    let any = matches!(rule.verb, Verb::Deny | Verb::Approve | Verb::DryRun);
    for condition in &rule.conditions {
        match condition.holds(facts.args, any, counted) {
            Ok(true) => {}
            Err(why) => return Said::Broken(format!("`{}`: {why}", condition.text)),
            Ok(false) if rule.verb == Verb::Evaluate => {
                return Said::Fails(format!("`{}` does not hold", condition.text));
            }
            Ok(false) => return Said::Nothing,
        }
    }
    for cap in &rule.cap {
        let mut within = true;
        let mut check = |value: &serde_json::Value| {
            within &= value.is_null() || value.as_f64().is_some_and(|value| value <= cap.most);
        };
        cap.path.arguments(facts.args, &mut check);
        if !within {
            return Said::Fails(format!("`{}` may be at most {}", cap.text, cap.most));
        }
    }
    Said::Holds
}

fn denial(rule: &Rule, facts: &Facts<'_>, why: &str) -> String {
    let (tool, name) = (facts.operation.name(), &rule.cite.name);
    match (&rule.words, why) {
        (Some(words), _) => format!("the policy rule `{name}` denies `{tool}`: {words}"),
        (None, "") => format!("the policy rule `{name}` denies `{tool}`"),
        (None, why) => format!("the policy rule `{name}` denies `{tool}`: {why}"),
    }
}

/// Budgets to reserve, with their rules.
#[derive(Default)]
pub(super) struct Budgets<'a> {
    pub(super) budgets: Vec<Budget>,
    of: Vec<(&'a Rule, &'a Limit)>,
}

impl<'a> Budgets<'a> {
    fn add(
        &mut self,
        rule: &'a Rule,
        limit: &'a Limit,
        reach: &Reach<'a>,
        facts: &Facts<'_>,
    ) -> Result<(), String> {
        if let Some(counter) = reach.policy.counters.get(limit.counter) {
            self.budgets
                .push(limit.budget(counter, &reach.policy.name, facts)?);
            self.of.push((rule, limit));
        }
        Ok(())
    }

    /// Returns the message for an exhausted limit.
    pub(super) fn words(&self, index: usize) -> String {
        let (Some((rule, limit)), Some(budget)) = (self.of.get(index), self.budgets.get(index))
        else {
            return String::new();
        };
        let name = &rule.cite.name;
        let usual = || format!("no more than {} per {}", budget.most, Words(budget.window));
        let words = limit
            .words
            .clone()
            .or_else(|| rule.words.clone())
            .unwrap_or_else(usual);
        format!("the policy rule `{name}` limits this: {words}")
    }

    pub(super) fn denied(
        &self,
        index: usize,
        words: String,
        retry_after: Option<Duration>,
    ) -> Denied {
        let nobody = || Cite {
            policy: "".into(),
            name: "".into(),
            place: "".into(),
            line: 0,
        };
        let rule = self
            .of
            .get(index)
            .map_or_else(nobody, |(rule, _)| rule.cite.clone());
        Denied {
            stage: Stage::Limits,
            rule,
            words,
            retry_after,
        }
    }
}

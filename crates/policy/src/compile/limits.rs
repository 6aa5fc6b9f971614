//! Compiles the limits of rules, and assigns a counter to each.
//!
//! `rate_limit`, `state` and `limits` declare the same thing. They are normalized to [`RawCount`]
//! first.

use portkey_store::Window;

use super::{
    normalize::{GLOBAL_NAMESPACE, RuleDraft, parse_counter_path},
    rule::{invalid_operand, parse_argument_path},
};
use crate::{
    condition::{Condition, Operand},
    document::{CounterScope, RawCounter, RawLimit, RawRate, RawRule},
    limit::{
        CounterLimit, LimitAmount, PolicyCounter, WindowName, parse_duration, parse_rate,
        parse_window,
    },
};

/// A counter with its maximum, in one form for all spellings.
struct RawCount<'a> {
    name: String,
    window: Window,
    scope: CounterScope,
    max: RawMax,
    increment: Option<u64>,
    increment_from: Option<&'a str>,
    message: Option<String>,
}

/// Maximum of a counter.
enum RawMax {
    Fixed(u64),
    /// The conditions of the rule compare the counter with the maximum.
    InConditions,
}

impl<'a> RawCount<'a> {
    fn from_rate(rate: &RawRate, rule: &RawRule) -> Result<Self, String> {
        let has_conditions = rule
            .conditions
            .as_ref()
            .is_some_and(|conditions| !conditions.is_empty());
        if rule.state.is_some() || has_conditions {
            return Err("`rate_limit` goes with neither `conditions` nor `state`".to_owned());
        }
        let (max, window) = parse_rate(rate)?;
        Ok(Self {
            name: format!("_rate_{}", WindowName(window)),
            window,
            scope: rule.scope.unwrap_or_default(),
            max: RawMax::Fixed(max),
            increment: None,
            increment_from: None,
            message: None,
        })
    }

    fn from_state(state: &'a RawCounter, rule: &RawRule) -> Result<Self, String> {
        Ok(Self {
            name: state.counter.clone(),
            window: parse_window(&state.window)?,
            scope: rule.scope.unwrap_or_default(),
            max: RawMax::InConditions,
            increment: state.increment,
            increment_from: state.increment_from.as_deref(),
            message: None,
        })
    }

    fn from_limit(limit: &'a RawLimit, rule: &RawRule) -> Result<Self, String> {
        let window = match (&limit.window, &limit.sliding, &limit.bucket) {
            (Some(window), None, None) => parse_window(window)?,
            (None, Some(length), None) => Window::Sliding(parse_duration(length)?),
            (None, None, Some(length)) => Window::Bucket(parse_duration(length)?),
            _ => return Err("a limit has one of `window`, `sliding` and `bucket`".to_owned()),
        };
        let default_name = || format!("_limit_{}", WindowName(window));
        Ok(Self {
            name: limit.counter.clone().unwrap_or_else(default_name),
            window,
            scope: limit.scope.or(rule.scope).unwrap_or_default(),
            max: RawMax::Fixed(limit.max),
            increment: limit.increment,
            increment_from: limit.increment_from.as_deref(),
            message: limit.on_deny.clone().or_else(|| limit.reason.clone()),
        })
    }

    fn parse_amount(&self) -> Result<LimitAmount, String> {
        let Some(text) = self.increment_from else {
            // An amount of zero would count nothing. Intercept treats it as absent, so it counts
            // as one.
            let increment = self.increment.filter(|increment| *increment > 0);
            return Ok(LimitAmount::Fixed(increment.unwrap_or(1)));
        };
        let path = parse_argument_path(text)?;
        if text.starts_with("args.") && path.has_no_lists() {
            Ok(LimitAmount::FromArgument(path, text.to_owned()))
        } else {
            Err("`increment_from` is such as args.amount".to_owned())
        }
    }
}

/// Normalizes the limits of a rule. The iterator is lazy: the counters before an invalid limit are
/// declared, so that rules which refer to them are not reported, too.
fn normalize_limits(rule: &RawRule) -> impl Iterator<Item = Result<RawCount<'_>, String>> {
    let rates = rule.rate_limit.iter();
    let states = rule.state.iter();
    let limits = rule.limits.iter().flatten();
    rates
        .map(|rate| RawCount::from_rate(rate, rule))
        .chain(states.map(|state| RawCount::from_state(state, rule)))
        .chain(limits.map(|limit| RawCount::from_limit(limit, rule)))
}

/// The counters that a policy declares. A counter is referred to by its index.
#[derive(Default)]
pub(super) struct CounterTable(Vec<PolicyCounter>);

impl CounterTable {
    /// Compiles the limits of a rule and adds their counters.
    pub(super) fn compile_limits(
        &mut self,
        draft: &RuleDraft,
    ) -> Result<Vec<CounterLimit>, String> {
        normalize_limits(&draft.rule)
            .map(|count| self.compile_limit(draft, count?))
            .collect()
    }

    fn compile_limit(
        &mut self,
        draft: &RuleDraft,
        count: RawCount<'_>,
    ) -> Result<CounterLimit, String> {
        let counter = self.add(PolicyCounter {
            namespace: draft.namespace.clone(),
            name: count.name.clone(),
            window: count.window,
            scope: count.scope,
        })?;
        Ok(CounterLimit {
            counter,
            max: match count.max {
                RawMax::Fixed(max) => Some(max),
                RawMax::InConditions => max_of_conditions(draft, counter, &count.name)?,
            },
            amount: count.parse_amount()?,
            message: count.message,
        })
    }

    fn add(&mut self, added: PolicyCounter) -> Result<usize, String> {
        if added.name.is_empty() {
            return Err("a counter has a name".to_owned());
        }
        let is_duplicate = |counter: &PolicyCounter| {
            counter.namespace == added.namespace
                && counter.name == added.name
                && counter.window == added.window
                && counter.scope == added.scope
        };
        if self.0.iter().any(is_duplicate) {
            return Err(format!(
                "another rule of `{}` counts `{}` already",
                added.namespace, added.name
            ));
        }
        self.0.push(added);
        Ok(self.0.len() - 1)
    }

    /// Finds the counter that the path of a condition names.
    ///
    /// # Errors
    /// Returns an error if the path is not `state.<tool>.<counter>`, or no rule declares the
    /// counter.
    pub(super) fn find_by_path(&self, path: &str) -> Result<usize, String> {
        let (namespace, name) = parse_counter_path(path).ok_or_else(|| invalid_operand(path))?;
        self.find(&namespace, name)
            .ok_or_else(|| format!("no rule of `{namespace}` counts `{name}`"))
    }

    /// Finds the counter that an expression names: that of the rule's own namespace, else the
    /// global one, else the first counter of this name.
    pub(super) fn find_by_name(&self, draft: &RuleDraft, name: &str) -> Result<usize, String> {
        self.find(&draft.namespace, name)
            .or_else(|| self.find(GLOBAL_NAMESPACE, name))
            .or_else(|| self.0.iter().position(|counter| counter.name == name))
            .ok_or_else(|| format!("no rule counts `{name}`"))
    }

    fn find(&self, namespace: &str, name: &str) -> Option<usize> {
        self.0
            .iter()
            .position(|counter| counter.namespace == namespace && counter.name == name)
    }

    pub(super) fn into_counters(self) -> Vec<PolicyCounter> {
        self.0
    }
}

/// Returns the lowest upper bound that the conditions of a rule set for its own counter.
fn max_of_conditions(draft: &RuleDraft, counter: usize, name: &str) -> Result<Option<u64>, String> {
    let mut max = None;
    for condition in draft.rule.conditions.iter().flatten() {
        if draft.own_counter(&condition.path) == Some(name) {
            let path = &condition.path;
            let op = &condition.op;
            let value = &condition.value;
            let condition = Condition::parse(Operand::Counter(counter), path, op, value)?;
            max = [max, condition.upper_bound()].into_iter().flatten().min();
        }
    }
    Ok(max)
}

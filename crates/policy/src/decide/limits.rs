//! Reserves the limits that apply to a call.

use std::time::Duration;

use portkey_store::{Budget, Reservation, ReserveOutcome, Store, StoreError};

use super::{DenialStage, PolicyDenial, RuleMatch, evaluate::PolicyState};
use crate::{
    PolicyInput,
    limit::{CounterLimit, WindowName},
    rule::{Rule, RuleAction, RuleRef},
};

/// Budgets to reserve, with their rules.
#[derive(Default)]
pub(super) struct LimitBudgets<'a> {
    budgets: Vec<Budget>,
    sources: Vec<(&'a Rule, &'a CounterLimit)>,
}

impl<'a> LimitBudgets<'a> {
    /// Adds the budget of a limit.
    ///
    /// # Errors
    /// Returns an error if the argument that holds the amount is absent or not an amount.
    pub(super) fn add(
        &mut self,
        rule: &'a Rule,
        limit: &'a CounterLimit,
        state: &PolicyState<'a>,
        input: &PolicyInput<'_>,
    ) -> Result<(), String> {
        if let Some(counter) = state.policy.counters.get(limit.counter) {
            self.budgets
                .push(limit.budget(counter, &state.policy.name, input)?);
            self.sources.push((rule, limit));
        }
        Ok(())
    }

    /// Returns the message for an exhausted limit.
    fn message(&self, index: usize) -> String {
        let (Some((rule, limit)), Some(budget)) =
            (self.sources.get(index), self.budgets.get(index))
        else {
            return String::new();
        };
        let name = &rule.rule_ref.name;
        let default_message =
            || format!("at most {} per {}", budget.max, WindowName(budget.window));
        let message = limit
            .message
            .clone()
            .or_else(|| rule.message.clone())
            .unwrap_or_else(default_message);
        format!("the policy rule `{name}` limits this: {message}")
    }

    fn denial(&self, index: usize, message: String, retry_after: Option<Duration>) -> PolicyDenial {
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
            message,
            retry_after,
        }
    }
}

/// Reserves all budgets, or none.
///
/// # Errors
/// Returns a denial if a limit is exhausted or cannot be counted.
pub(super) async fn reserve_limits(
    limits: LimitBudgets<'_>,
    store: &Store,
    tool: &str,
) -> Result<Option<Reservation>, PolicyDenial> {
    if limits.budgets.is_empty() {
        return Ok(None);
    }
    match store.reserve(&limits.budgets).await {
        Ok(ReserveOutcome::Reserved(reservation)) => Ok(Some(reservation)),
        Ok(ReserveOutcome::Exhausted {
            index, retry_after, ..
        }) => {
            let mut message = limits.message(index);
            message.push_str(&retry_hint(retry_after));
            Err(limits.denial(index, message, retry_after))
        }
        Err(error) => Err(limits.denial(0, counting_error_message(tool, &error), None)),
    }
}

/// Reserves the limits of shadow rules, and returns the exhausted ones as matches.
///
/// Each limit is reserved by itself, so that an exhausted one does not stop the others.
pub(super) async fn reserve_shadow_limits(
    limits: Vec<LimitBudgets<'_>>,
    store: &Store,
    tool: &str,
) -> (Vec<Reservation>, Vec<RuleMatch>) {
    let mut reservations = Vec::new();
    let mut exhausted = Vec::new();
    for limit in limits {
        match reserve_limits(limit, store, tool).await {
            Ok(reservation) => reservations.extend(reservation),
            Err(denial) => exhausted.push(RuleMatch {
                rule: denial.rule,
                action: RuleAction::Evaluate,
                message: denial.message,
                confirm: false,
                approvers: None,
            }),
        }
    }
    (reservations, exhausted)
}

/// Returns the message for a limit that cannot be counted. Such a limit denies the call.
pub(super) fn counting_error_message(tool: &str, error: &StoreError) -> String {
    match error {
        // This error concerns one caller only, who can cause it at will. Hence the level `debug`.
        StoreError::OwnerFull => tracing::debug!(%error, "limits cannot be counted"),
        _ => tracing::error!(%error, "limits cannot be counted"),
    }
    match error {
        StoreError::OwnerFull => format!(
            "`{tool}` has a limit that is counted for each session, and too many sessions of this caller are \
             counted already; use fewer sessions, or try again later"
        ),
        StoreError::NotPermitted { .. } => format!(
            "`{tool}` has a limit that cannot be counted: the Redis user of this server lacks a right. Tell \
             the operator of the server"
        ),
        _ => format!("`{tool}` has a limit that cannot be counted just now; try again later"),
    }
}

/// Returns the advice on when to try again, as the end of a sentence.
fn retry_hint(retry_after: Option<Duration>) -> String {
    match retry_after.map(|wait| wait.as_secs().max(1)) {
        None => String::new(),
        Some(seconds @ ..=119) => format!("; try again in {seconds} s"),
        Some(seconds @ ..=7_199) => format!("; try again in {} min", seconds.div_ceil(60)),
        Some(seconds) => format!("; try again in {} h", seconds.div_ceil(3_600)),
    }
}

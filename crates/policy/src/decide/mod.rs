//! Evaluates policies: every rule of the operation once, then the decision in the fixed order.

mod evaluate;

use std::{sync::Arc, time::Duration};

use portkey_operation::Operation;
use portkey_store::{Reservation, ReserveOutcome, Store, StoreError};

use super::{
    Policy, PolicyInput,
    expression::CallVariables,
    path::FieldPath,
    rule::{RuleAction, RuleRef},
};
use evaluate::{Evaluator, PolicyState};
use serde::Deserialize;

/// Result of evaluating policies for a call.
#[derive(Debug)]
pub struct PolicyEvaluation {
    /// Decision on the call.
    pub decision: Decision,
    /// Matches of shadow rules, with the actions that they would have taken.
    pub shadows: Vec<RuleMatch>,
    /// Reservations made for limits. The caller has to roll them back if the call fails or is not
    /// made.
    pub reservations: Vec<Reservation>,
    /// Paths that are redacted in the response.
    pub redactions: Vec<Arc<[FieldPath]>>,
}

/// Decision on a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The call is permitted.
    Allow,
    /// The call is denied.
    Deny(PolicyDenial),
    /// The call needs the approval of a human.
    Approve(RuleMatch),
    /// The request is shown and not sent.
    DryRun(RuleMatch),
}

/// Kind of a decision, as it is named in logs, audit entries and test cases.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// The call is permitted.
    Allow,
    /// The call is denied.
    Deny,
    /// The call needs the approval of a human.
    Approve,
    /// The request is shown and not sent. The alias is the spelling in files from before values
    /// were in snake_case.
    #[serde(alias = "dry-run")]
    DryRun,
}

impl DecisionKind {
    /// All kinds in declaration order.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Deny, Self::Approve, Self::DryRun];

    /// Returns the value in logs, audit entries and results.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Approve => "approve",
            Self::DryRun => "dry_run",
        }
    }
}

impl Decision {
    /// Returns the kind of the decision.
    pub const fn kind(&self) -> DecisionKind {
        match self {
            Self::Allow => DecisionKind::Allow,
            Self::Deny(_) => DecisionKind::Deny,
            Self::Approve(_) => DecisionKind::Approve,
            Self::DryRun(_) => DecisionKind::DryRun,
        }
    }

    /// Returns the rule that decided.
    pub const fn rule(&self) -> Option<&RuleRef> {
        match self {
            Self::Allow => None,
            Self::Deny(denied) => Some(&denied.rule),
            Self::Approve(noted) | Self::DryRun(noted) => Some(&noted.rule),
        }
    }
}

/// A rule that matched, and the action it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleMatch {
    /// Reference to the rule.
    pub rule: RuleRef,
    /// Action that the rule takes, or would take as a shadow rule.
    pub action: RuleAction,
    /// Reason, in a sentence.
    pub message: String,
    /// True if the approver has to type the name of the affected object.
    pub confirm: bool,
}

/// Stage of the fixed order at which a call was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialStage {
    /// The operation is hidden.
    Hidden,
    /// Nothing in the policy permits the call.
    Default,
    /// A rule denies the call.
    Deny,
    /// A limit is exhausted.
    Limits,
}

impl DenialStage {
    /// Returns the value in explanations. A denial without a rule uses it in place of a rule's
    /// name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hidden => "hidden",
            Self::Default => "default",
            Self::Deny => "deny",
            Self::Limits => "limits",
        }
    }
}

/// Denial of a call. The message names the reason, not a way around it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PolicyDenial {
    /// Stage at which the call was denied.
    pub stage: DenialStage,
    /// Rule that denied the call, or the part of the file that stands in for one.
    pub rule: RuleRef,
    /// Reason, in a sentence.
    pub message: String,
    /// Time until a call may succeed, if a limit is exhausted.
    pub retry_after: Option<Duration>,
}

/// Result of one rule, for explanations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleTrace {
    /// Reference to the rule.
    pub rule: RuleRef,
    /// Action of the rule.
    pub action: RuleAction,
    /// True for a shadow rule, which is only reported.
    pub is_shadow: bool,
    /// Result of the rule for the call, in words.
    pub outcome: String,
}

impl Policy {
    /// Evaluates this policy for a call.
    pub async fn decide(&self, facts: &PolicyInput<'_>, store: &Store) -> PolicyEvaluation {
        decide(&[self], facts, store).await
    }
}

/// Evaluates several policies together for a call.
pub async fn decide(
    policies: &[&Policy],
    facts: &PolicyInput<'_>,
    store: &Store,
) -> PolicyEvaluation {
    evaluate_policies(policies, facts, store, None).await
}

/// Evaluates several policies like [`decide`], and returns the result of every rule as well.
pub async fn explain(
    policies: &[&Policy],
    facts: &PolicyInput<'_>,
    store: &Store,
) -> (PolicyEvaluation, Vec<RuleTrace>) {
    let mut steps = Vec::new();
    let decision = evaluate_policies(policies, facts, store, Some(&mut steps)).await;
    (decision, steps)
}

async fn evaluate_policies(
    policies: &[&Policy],
    facts: &PolicyInput<'_>,
    store: &Store,
    steps: Option<&mut Vec<RuleTrace>>,
) -> PolicyEvaluation {
    let tool = facts.operation.name();
    if let Some(denied) = check_hidden(policies, facts.operation) {
        return PolicyEvaluation::from_decision(Decision::Deny(denied));
    }
    let mut states = Vec::with_capacity(policies.len());
    for policy in policies {
        match PolicyState::load(policy, facts, store).await {
            Ok(reach) => states.push(reach),
            Err(error) => {
                let words = counting_error_message(tool, &error);
                return PolicyEvaluation::from_decision(Decision::Deny(PolicyDenial::from_policy(
                    policy,
                    DenialStage::Limits,
                    words,
                )));
            }
        }
    }
    let mut evaluator = Evaluator::new(steps);
    {
        let variables = CallVariables::new(facts);
        for reach in &states {
            evaluator.evaluate(reach, facts, &variables);
        }
    }
    if let Some(policy) = evaluator.denied_by_default {
        let words = format!("the policy of this server does not permit `{tool}`");
        let verdict = Decision::Deny(PolicyDenial::from_policy(
            policy,
            DenialStage::Default,
            words,
        ));
        return PolicyEvaluation {
            shadows: evaluator.shadows,
            ..PolicyEvaluation::from_decision(verdict)
        };
    }
    let Evaluator {
        denied,
        approval: approve,
        dry_run,
        budgets: taken,
        shadow_budgets: watched,
        mut shadows,
        redactions: redact,
        ..
    } = evaluator;
    let mut reserved = Vec::new();
    let verdict = match denied {
        Some(denied) => Decision::Deny(denied),
        None => match taken.reserve(store, tool).await {
            Err(denied) => Decision::Deny(denied),
            Ok(reservation) => {
                reserved.extend(reservation);
                // Shadow limits are reserved one by one, so that none of them stops another.
                for one in watched {
                    match one.reserve(store, tool).await {
                        Ok(reservation) => reserved.extend(reservation),
                        Err(denied) => shadows.push(RuleMatch {
                            rule: denied.rule,
                            action: RuleAction::Evaluate,
                            message: denied.message,
                            confirm: false,
                        }),
                    }
                }
                match (approve, dry_run) {
                    (Some(noted), _) => Decision::Approve(noted),
                    (None, Some(noted)) => Decision::DryRun(noted),
                    (None, None) => Decision::Allow,
                }
            }
        },
    };
    PolicyEvaluation {
        decision: verdict,
        shadows,
        reservations: reserved,
        redactions: redact,
    }
}

/// Returns the denial of a hidden operation, if one of these policies hides it.
pub fn check_hidden(policies: &[&Policy], operation: &Operation) -> Option<PolicyDenial> {
    let policy = policies.iter().find(|policy| policy.hides(operation))?;
    let words = format!(
        "`{}` is hidden by the policy of this server",
        operation.name()
    );
    Some(PolicyDenial::from_policy(
        policy,
        DenialStage::Hidden,
        words,
    ))
}

impl PolicyDenial {
    /// Creates a denial by a part of the file that is not a rule.
    fn from_policy(policy: &Policy, stage: DenialStage, words: String) -> Self {
        let (policy, name) = (policy.name.clone(), Arc::from(stage.as_str()));
        let rule = RuleRef {
            policy,
            location: Arc::clone(&name),
            name,
            line: 0,
        };
        Self {
            stage,
            rule,
            message: words,
            retry_after: None,
        }
    }
}

impl PolicyEvaluation {
    fn from_decision(verdict: Decision) -> Self {
        Self {
            decision: verdict,
            shadows: Vec::new(),
            reservations: Vec::new(),
            redactions: Vec::new(),
        }
    }

    /// Rolls back reservations after a call that failed or was not made. If that is impossible, the
    /// call stays counted, which permits too few calls rather than too many.
    pub async fn roll_back(reserved: Vec<Reservation>, store: &Store) {
        for reservation in reserved {
            if let Err(error) = store.roll_back(reservation).await {
                tracing::warn!(%error, "a call that failed stays counted");
            }
        }
    }

    /// Redacts the values at these paths in a response.
    pub fn redact(redact: &[Arc<[FieldPath]>], answer: &mut serde_json::Value) {
        redact
            .iter()
            .flat_map(|paths| paths.iter())
            .for_each(|path| path.redact(answer));
    }
}

/// Returns the message for a limit that cannot be counted. Such a limit denies the call.
fn counting_error_message(tool: &str, error: &StoreError) -> String {
    match error {
        // This error concerns one caller only, who can cause it at will. Hence the level `debug`.
        StoreError::OwnerFull => tracing::debug!(%error, "limits cannot be counted"),
        _ => tracing::error!(%error, "limits cannot be counted"),
    }
    match error {
        StoreError::OwnerFull => format!(
            "`{tool}` has a limit that is counted for each session, and too many sessions of this caller are              counted already; use fewer sessions, or try again later"
        ),
        StoreError::NotPermitted { .. } => format!(
            "`{tool}` has a limit that cannot be counted: the Redis user of this server lacks a right. Tell \
             whoever runs the server"
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

impl evaluate::LimitBudgets<'_> {
    /// Reserves all budgets, or none.
    async fn reserve(self, store: &Store, tool: &str) -> Result<Option<Reservation>, PolicyDenial> {
        if self.budgets.is_empty() {
            return Ok(None);
        }
        let (index, retry_after) = match store.reserve(&self.budgets).await {
            Ok(ReserveOutcome::Reserved(reservation)) => return Ok(Some(reservation)),
            Ok(ReserveOutcome::Exhausted {
                index, retry_after, ..
            }) => (index, retry_after),
            Err(error) => {
                let words = counting_error_message(tool, &error);
                return Err(self.denial(0, words, None));
            }
        };
        let mut words = self.message(index);
        words.push_str(&retry_hint(retry_after));
        Err(self.denial(index, words, retry_after))
    }
}

//! Evaluates policies: every rule of the operation once, then the decision in the fixed order.

mod weigh;

use std::{sync::Arc, time::Duration};

use portkey_operation::Operation;
use portkey_store::{Reservation, Reserved, Store, StoreError};

use super::{
    Facts, Policy,
    expression::Variables,
    path::Path,
    rule::{Cite, Verb},
};
use serde::Deserialize;
use weigh::{Findings, Reach};

/// Result of evaluating policies for a call.
#[derive(Debug)]
pub struct Decision {
    /// Decision on the call.
    pub verdict: Verdict,
    /// Matches of shadow rules, with the actions that they would have taken.
    pub shadows: Vec<Noted>,
    /// Reservations made for limits. The caller has to roll them back if the call fails or is not
    /// made.
    pub reserved: Vec<Reservation>,
    /// Paths that are redacted in the response.
    pub redact: Vec<Arc<[Path]>>,
}

/// Decision on a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The call is permitted.
    Allow,
    /// The call is denied.
    Deny(Denied),
    /// The call needs the approval of a human.
    Approve(Noted),
    /// The request is shown and not sent.
    DryRun(Noted),
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

impl Verdict {
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
    pub const fn rule(&self) -> Option<&Cite> {
        match self {
            Self::Allow => None,
            Self::Deny(denied) => Some(&denied.rule),
            Self::Approve(noted) | Self::DryRun(noted) => Some(&noted.rule),
        }
    }
}

/// A rule that matched, and the action it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Reference to the rule.
    pub rule: Cite,
    /// Action that the rule takes, or would take as a shadow rule.
    pub verb: Verb,
    /// Reason, in a sentence.
    pub words: String,
    /// True if the approver has to type the name of the affected object.
    pub confirm: bool,
}

/// Stage of the fixed order at which a call was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The operation is hidden.
    Hidden,
    /// Nothing in the policy permits the call.
    Default,
    /// A rule denies the call.
    Deny,
    /// A limit is exhausted.
    Limits,
}

impl Stage {
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
#[error("{words}")]
pub struct Denied {
    /// Stage at which the call was denied.
    pub stage: Stage,
    /// Rule that denied the call, or the part of the file that stands in for one.
    pub rule: Cite,
    /// Reason, in a sentence.
    pub words: String,
    /// Time until a call may succeed, if a limit is exhausted.
    pub retry_after: Option<Duration>,
}

/// Result of one rule, for explanations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Reference to the rule.
    pub rule: Cite,
    /// Action of the rule.
    pub verb: Verb,
    /// True for a shadow rule, which is only reported.
    pub shadow: bool,
    /// Result of the rule for the call, in words.
    pub outcome: String,
}

impl Policy {
    /// Evaluates this policy for a call.
    pub async fn decide(&self, facts: &Facts<'_>, store: &Store) -> Decision {
        decide(&[self], facts, store).await
    }
}

/// Evaluates several policies together for a call.
pub async fn decide(policies: &[&Policy], facts: &Facts<'_>, store: &Store) -> Decision {
    decided(policies, facts, store, None).await
}

/// Evaluates several policies like [`decide`], and returns the result of every rule as well.
pub async fn explain(
    policies: &[&Policy],
    facts: &Facts<'_>,
    store: &Store,
) -> (Decision, Vec<Step>) {
    let mut steps = Vec::new();
    let decision = decided(policies, facts, store, Some(&mut steps)).await;
    (decision, steps)
}

async fn decided(
    policies: &[&Policy],
    facts: &Facts<'_>,
    store: &Store,
    steps: Option<&mut Vec<Step>>,
) -> Decision {
    let tool = facts.operation.name();
    if let Some(denied) = hidden(policies, facts.operation) {
        return Decision::of(Verdict::Deny(denied));
    }
    let mut reaches = Vec::with_capacity(policies.len());
    for policy in policies {
        match Reach::of(policy, facts, store).await {
            Ok(reach) => reaches.push(reach),
            Err(error) => {
                let words = uncounted(tool, &error);
                return Decision::of(Verdict::Deny(Denied::by(policy, Stage::Limits, words)));
            }
        }
    }
    let mut findings = Findings::new(steps);
    {
        let variables = Variables::of(facts);
        for reach in &reaches {
            findings.weigh(reach, facts, &variables);
        }
    }
    if let Some(policy) = findings.closed {
        let words = format!("the policy of this server does not permit `{tool}`");
        let verdict = Verdict::Deny(Denied::by(policy, Stage::Default, words));
        return Decision {
            shadows: findings.shadows,
            ..Decision::of(verdict)
        };
    }
    let Findings {
        denied,
        approve,
        dry_run,
        taken,
        watched,
        mut shadows,
        redact,
        ..
    } = findings;
    let mut reserved = Vec::new();
    let verdict = match denied {
        Some(denied) => Verdict::Deny(denied),
        None => match taken.reserve(store, tool).await {
            Err(denied) => Verdict::Deny(denied),
            Ok(reservation) => {
                reserved.extend(reservation);
                // Shadow limits are reserved one by one, so that none of them stops another.
                for one in watched {
                    match one.reserve(store, tool).await {
                        Ok(reservation) => reserved.extend(reservation),
                        Err(denied) => shadows.push(Noted {
                            rule: denied.rule,
                            verb: Verb::Evaluate,
                            words: denied.words,
                            confirm: false,
                        }),
                    }
                }
                match (approve, dry_run) {
                    (Some(noted), _) => Verdict::Approve(noted),
                    (None, Some(noted)) => Verdict::DryRun(noted),
                    (None, None) => Verdict::Allow,
                }
            }
        },
    };
    Decision {
        verdict,
        shadows,
        reserved,
        redact,
    }
}

/// Returns the denial of a hidden operation, if one of these policies hides it.
pub fn hidden(policies: &[&Policy], operation: &Operation) -> Option<Denied> {
    let policy = policies.iter().find(|policy| policy.hides(operation))?;
    let words = format!(
        "`{}` is hidden by the policy of this server",
        operation.name()
    );
    Some(Denied::by(policy, Stage::Hidden, words))
}

impl Denied {
    /// Creates a denial by a part of the file that is not a rule.
    fn by(policy: &Policy, stage: Stage, words: String) -> Self {
        let (policy, name) = (policy.name.clone(), Arc::from(stage.as_str()));
        let rule = Cite {
            policy,
            place: Arc::clone(&name),
            name,
            line: 0,
        };
        Self {
            stage,
            rule,
            words,
            retry_after: None,
        }
    }
}

impl Decision {
    fn of(verdict: Verdict) -> Self {
        Self {
            verdict,
            shadows: Vec::new(),
            reserved: Vec::new(),
            redact: Vec::new(),
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
    pub fn redact(redact: &[Arc<[Path]>], answer: &mut serde_json::Value) {
        redact
            .iter()
            .flat_map(|paths| paths.iter())
            .for_each(|path| path.redact(answer));
    }
}

/// Returns the message for a limit that cannot be counted. Such a limit denies the call.
fn uncounted(tool: &str, error: &StoreError) -> String {
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
fn wait(retry_after: Option<Duration>) -> String {
    match retry_after.map(|wait| wait.as_secs().max(1)) {
        None => String::new(),
        Some(seconds @ ..=119) => format!("; try again in {seconds} s"),
        Some(seconds @ ..=7_199) => format!("; try again in {} min", seconds.div_ceil(60)),
        Some(seconds) => format!("; try again in {} h", seconds.div_ceil(3_600)),
    }
}

impl weigh::Budgets<'_> {
    /// Reserves all budgets, or none.
    async fn reserve(self, store: &Store, tool: &str) -> Result<Option<Reservation>, Denied> {
        if self.budgets.is_empty() {
            return Ok(None);
        }
        let (index, retry_after) = match store.reserve(&self.budgets).await {
            Ok(Reserved::Yes(reservation)) => return Ok(Some(reservation)),
            Ok(Reserved::Exhausted {
                index, retry_after, ..
            }) => (index, retry_after),
            Err(error) => {
                let words = uncounted(tool, &error);
                return Err(self.denied(0, words, None));
            }
        };
        let mut words = self.words(index);
        words.push_str(&wait(retry_after));
        Err(self.denied(index, words, retry_after))
    }
}

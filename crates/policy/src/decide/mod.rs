//! Asking: every rule about the operation once, then the verdict in the fixed order.

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

/// What policies say of a call, and what comes with it.
#[derive(Debug)]
pub struct Decision {
    /// What becomes of the call.
    pub verdict: Verdict,
    /// What rules would have done that only tell.
    pub shadows: Vec<Noted>,
    /// What was taken of counters. It is to be given back where nothing comes of the call.
    pub reserved: Vec<Reservation>,
    /// What is kept from the caller in the answer.
    pub redact: Vec<Arc<[Path]>>,
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be made.
    Allow,
    /// It may not.
    Deny(Denied),
    /// A human has to be asked.
    Approve(Noted),
    /// It is to be shown what would be sent.
    DryRun(Noted),
}

/// The kind of a verdict, as logs, audits and cases name it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// The call may be made.
    Allow,
    /// The call is denied.
    Deny,
    /// A human has to approve the call.
    Approve,
    /// The call is shown, and not sent. The alias is the spelling of files written before values were
    /// snake_case.
    #[serde(alias = "dry-run")]
    DryRun,
}

impl DecisionKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Deny, Self::Approve, Self::DryRun];

    /// The value in logs, audits and answers.
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
    /// Which kind it is.
    pub const fn kind(&self) -> DecisionKind {
        match self {
            Self::Allow => DecisionKind::Allow,
            Self::Deny(_) => DecisionKind::Deny,
            Self::Approve(_) => DecisionKind::Approve,
            Self::DryRun(_) => DecisionKind::DryRun,
        }
    }

    /// The rule that decided.
    pub const fn rule(&self) -> Option<&Cite> {
        match self {
            Self::Allow => None,
            Self::Deny(denied) => Some(&denied.rule),
            Self::Approve(noted) | Self::DryRun(noted) => Some(&noted.rule),
        }
    }
}

/// A rule, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// The rule.
    pub rule: Cite,
    /// What it does, or would do.
    pub verb: Verb,
    /// Why, in a sentence.
    pub words: String,
    /// Whether whoever approves types the name of what the call is about.
    pub confirm: bool,
}

/// Where in the fixed order a call was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The operation is hidden.
    Hidden,
    /// Nothing speaks for it.
    Default,
    /// A rule forbids it.
    Deny,
    /// A limit is used up.
    Limits,
}

impl Stage {
    /// The value in explanations; it stands for a rule where none decided.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hidden => "hidden",
            Self::Default => "default",
            Self::Deny => "deny",
            Self::Limits => "limits",
        }
    }
}

/// Why a policy forbids a call. Says what forbids it, not how to get around.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Denied {
    /// Where in the order.
    pub stage: Stage,
    /// The rule, or the part of the file that stands for one.
    pub rule: Cite,
    /// Why, in a sentence.
    pub words: String,
    /// When it may be tried again, where a limit is used up.
    pub retry_after: Option<Duration>,
}

/// What one rule said, for explanations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The rule.
    pub rule: Cite,
    /// What it does where it applies.
    pub verb: Verb,
    /// Whether it only tells.
    pub shadow: bool,
    /// What it said of the call.
    pub outcome: String,
}

impl Policy {
    /// What this policy says of a call.
    pub async fn decide(&self, facts: &Facts<'_>, store: &Store) -> Decision {
        decide(&[self], facts, store).await
    }
}

/// What several policies say of a call together.
pub async fn decide(policies: &[&Policy], facts: &Facts<'_>, store: &Store) -> Decision {
    decided(policies, facts, store, None).await
}

/// The same, with what each rule said.
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
                // Limits that only tell are counted one by one: none of them may stop another.
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

/// Why the operation does not exist under these policies, where one of them hides it.
pub fn hidden(policies: &[&Policy], operation: &Operation) -> Option<Denied> {
    let policy = policies.iter().find(|policy| policy.hides(operation))?;
    let words = format!(
        "`{}` is hidden by the policy of this server",
        operation.name()
    );
    Some(Denied::by(policy, Stage::Hidden, words))
}

impl Denied {
    /// By a part of the file that is no rule.
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

    /// Gives back what was taken of counters, because nothing came of the call. What cannot be given back
    /// stays counted: too few calls rather than too many.
    pub async fn roll_back(reserved: Vec<Reservation>, store: &Store) {
        for reservation in reserved {
            if let Err(error) = store.roll_back(reservation).await {
                tracing::warn!(%error, "a call that failed stays counted");
            }
        }
    }

    /// Blanks what is kept from the caller in an answer.
    pub fn redact(redact: &[Arc<[Path]>], answer: &mut serde_json::Value) {
        redact
            .iter()
            .flat_map(|paths| paths.iter())
            .for_each(|path| path.redact(answer));
    }
}

/// A limit that cannot be asked lets nothing pass.
fn uncounted(tool: &str, error: &StoreError) -> String {
    match error {
        // A matter of this caller alone, which may bring it about as often as it likes.
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

/// How long to wait, in words.
fn wait(retry_after: Option<Duration>) -> String {
    match retry_after.map(|wait| wait.as_secs().max(1)) {
        None => String::new(),
        Some(seconds @ ..=119) => format!("; try again in {seconds} s"),
        Some(seconds @ ..=7_199) => format!("; try again in {} min", seconds.div_ceil(60)),
        Some(seconds) => format!("; try again in {} h", seconds.div_ceil(3_600)),
    }
}

impl weigh::Budgets<'_> {
    /// Takes them all, or none.
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

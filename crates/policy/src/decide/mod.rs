//! Evaluates policies: every rule of the operation once, then the decision in the fixed order.

mod evaluate;
mod limits;

use std::{sync::Arc, time::Duration};

use portkey_operation::{JsonMap, Operation};
use portkey_store::{Reservation, Store};
use serde::Deserialize;
use serde_json::Value;

use super::{
    FixedAnswer, OutsideDecisions, OutsideQuestion, Policy, PolicyInput, PolicyTarget,
    ResolvedAlias,
    document::CounterScope,
    path::FieldPath,
    rule::{Rule, RuleAction, RuleRef},
};
pub(crate) use evaluate::compared_counters;
use evaluate::{PolicyState, denial_message, evaluate_rules};
use limits::{counting_error_message, reserve_limits, reserve_shadow_limits};

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
    /// Maximum time of the call, if a rule sets one.
    pub timeout: Option<Duration>,
    /// Limits of the number of calls at the same time. The caller has to count them.
    pub concurrency: Vec<ConcurrencyLimit>,
}

/// Maximum number of calls at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConcurrencyLimit {
    /// The rule that sets the limit.
    pub rule: RuleRef,
    /// Key of the calls that share the limit.
    pub key: String,
    /// Maximum number of calls.
    pub max: u32,
    message: Option<String>,
}

impl ConcurrencyLimit {
    fn new(rule: &Rule, max: u32, scope: CounterScope, input: &PolicyInput<'_>) -> Self {
        let (kind, whose) = match (scope, input.session) {
            (CounterScope::Global, _) => ("all", ""),
            (CounterScope::Session, Some(session)) => ("session", session),
            (CounterScope::Principal | CounterScope::Session, _) => ("principal", input.principal),
        };
        let RuleRef {
            policy,
            name,
            location,
            ..
        } = &rule.rule_ref;
        Self {
            rule: rule.rule_ref.clone(),
            key: [policy, location, name, kind, whose].join("\n"),
            max,
            message: rule.message.clone(),
        }
    }

    /// Returns the denial of a call beyond the limit.
    pub fn denial(&self, tool: &str) -> PolicyDenial {
        let name = &self.rule.name;
        let reason = match &self.message {
            Some(message) => message.clone(),
            None => format!("at most {} at the same time", self.max),
        };
        PolicyDenial {
            stage: DenialStage::Limits,
            rule: self.rule.clone(),
            message: format!(
                "the policy rule `{name}` limits the calls of `{tool}` that are under way: {reason}. \
                 Nothing was sent; try again once one of them has ended"
            ),
            retry_after: Some(Duration::from_secs(1)),
        }
    }
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
    /// Number of people who have to approve, none of them the caller. `None` if whoever can decide
    /// about the call may approve it.
    pub approvers: Option<u8>,
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
    /// An outside decision point denies the call, or gives no decision.
    Outside,
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
            Self::Outside => "outside",
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
    pub async fn decide(&self, input: &PolicyInput<'_>, store: &Store) -> PolicyEvaluation {
        decide(&[self], input, store).await
    }
}

/// Evaluates several policies together for a call. A rule that asks an outside decision point denies
/// it.
pub async fn decide(
    policies: &[&Policy],
    input: &PolicyInput<'_>,
    store: &Store,
) -> PolicyEvaluation {
    decide_with(policies, input, store, &FixedAnswer(None)).await
}

/// Evaluates several policies together for a call, and asks the outside decision points that they
/// name.
pub async fn decide_with(
    policies: &[&Policy],
    input: &PolicyInput<'_>,
    store: &Store,
    outside: &dyn OutsideDecisions,
) -> PolicyEvaluation {
    evaluate_policies(policies, input, (store, outside), None).await
}

/// Evaluates several policies like [`decide`], and returns the result of every rule as well.
pub async fn explain(
    policies: &[&Policy],
    input: &PolicyInput<'_>,
    store: &Store,
    outside: &dyn OutsideDecisions,
) -> (PolicyEvaluation, Vec<RuleTrace>) {
    let mut trace = Vec::new();
    let evaluation = evaluate_policies(policies, input, (store, outside), Some(&mut trace)).await;
    (evaluation, trace)
}

/// Returns the first denial in the fixed order, or else what the call needs: an approval, a dry run,
/// or nothing.
async fn evaluate_policies(
    policies: &[&Policy],
    input: &PolicyInput<'_>,
    (store, outside): (&Store, &dyn OutsideDecisions),
    mut trace: Option<&mut Vec<RuleTrace>>,
) -> PolicyEvaluation {
    let tool = input.target.name();
    if let PolicyTarget::Tool { operation, .. } = input.target
        && let Some(denial) = check_hidden(policies, operation)
    {
        return PolicyEvaluation::from_decision(Decision::Deny(denial));
    }
    let aliased = add_aliases(policies, input);
    let input = &PolicyInput {
        args: aliased.as_ref().unwrap_or(input.args),
        ..*input
    };
    let states = match load_states(policies, input, store).await {
        Ok(states) => states,
        Err(denial) => return PolicyEvaluation::from_decision(Decision::Deny(denial)),
    };
    let results = evaluate_rules(&states, input, trace.as_deref_mut());
    let mut evaluation = PolicyEvaluation {
        shadows: results.shadows,
        ..PolicyEvaluation::from_decision(Decision::Allow)
    };
    if let Some(policy) = results.denied_by_default {
        let subject = match input.target {
            PolicyTarget::Tool { .. } => String::new(),
            PolicyTarget::Prompt(_) | PolicyTarget::Resource(_) => {
                format!("the {} ", input.target.kind())
            }
        };
        let message = format!("the policy of this server does not permit {subject}`{tool}`");
        let denial = PolicyDenial::from_policy(policy, DenialStage::Default, message);
        evaluation.decision = Decision::Deny(denial);
        return evaluation;
    }
    evaluation.redactions = results.redactions;
    if let Some(denial) = results.denied {
        evaluation.decision = Decision::Deny(denial);
        return evaluation;
    }
    for (point, rule) in results.outside {
        let question = OutsideQuestion {
            point,
            rule: &rule.rule_ref,
            input,
        };
        let answer = outside.ask(question).await;
        if let Some(trace) = &mut trace {
            let outcome = match &answer {
                Ok(true) => "permits".to_owned(),
                Ok(false) => "denies".to_owned(),
                Err(error) => format!("gives no decision: {error}"),
            };
            trace.push(RuleTrace {
                rule: rule.rule_ref.clone(),
                action: rule.action,
                is_shadow: false,
                outcome: format!("{point} {outcome}"),
            });
        }
        let reason = match answer {
            Ok(true) => continue,
            Ok(false) => "the decision point does not permit it".to_owned(),
            Err(error) => {
                let rule = &*rule.rule_ref.name;
                let at = point.origin();
                tracing::warn!(%error, rule, at, "a decision point gave no decision");
                "its decision point gave no decision; try again later".to_owned()
            }
        };
        evaluation.decision = Decision::Deny(PolicyDenial {
            stage: DenialStage::Outside,
            rule: rule.rule_ref.clone(),
            message: denial_message(rule, input, &reason),
            retry_after: None,
        });
        return evaluation;
    }
    evaluation.timeout = results.timeout;
    evaluation.concurrency = results.concurrency;
    match reserve_limits(results.budgets, store, tool).await {
        Ok(reservation) => evaluation.reservations.extend(reservation),
        Err(denial) => {
            evaluation.decision = Decision::Deny(denial);
            return evaluation;
        }
    }
    let (reservations, exhausted) =
        reserve_shadow_limits(results.shadow_budgets, store, tool).await;
    evaluation.reservations.extend(reservations);
    evaluation.shadows.extend(exhausted);
    evaluation.decision = match (results.approval, results.dry_run) {
        (Some(rule_match), _) => Decision::Approve(rule_match),
        (None, Some(rule_match)) => Decision::DryRun(rule_match),
        (None, None) => Decision::Allow,
    };
    evaluation
}

/// Returns the arguments with the other names that rules of these policies use for them, if there are
/// any.
fn add_aliases(policies: &[&Policy], input: &PolicyInput<'_>) -> Option<JsonMap> {
    let PolicyTarget::Tool { operation, .. } = input.target else {
        return None;
    };
    let tool = operation.name();
    let resolved = policies
        .iter()
        .filter_map(|policy| policy.operations.get(tool));
    let mut aliases = resolved.flat_map(|resolved| &resolved.aliases).peekable();
    aliases.peek()?;
    let mut args = input.args.clone();
    for alias in aliases {
        match alias.list {
            None => add_alias(alias, &mut args),
            Some(list) => {
                let items = args.get_mut(list).and_then(Value::as_array_mut);
                for item in items.into_iter().flatten().filter_map(Value::as_object_mut) {
                    add_alias(alias, item);
                }
            }
        }
    }
    Some(args)
}

/// Adds the other name of an argument to the object that holds it.
fn add_alias(alias: &ResolvedAlias, object: &mut JsonMap) {
    let mut values = Vec::new();
    alias
        .target
        .visit_arguments(object, &mut |value| values.push(value.clone()));
    let value = match values.len() {
        0 => return,
        1 => values.remove(0),
        _ => Value::Array(values),
    };
    object.entry(alias.name.clone()).or_insert(value);
}

/// Reads the counters that the rules of these policies compare.
async fn load_states<'a>(
    policies: &[&'a Policy],
    input: &PolicyInput<'_>,
    store: &Store,
) -> Result<Vec<PolicyState<'a>>, PolicyDenial> {
    let mut states = Vec::with_capacity(policies.len());
    for policy in policies {
        let state = PolicyState::load(policy, input, store).await;
        states.push(state.map_err(|error| {
            let message = counting_error_message(input.target.name(), &error);
            PolicyDenial::from_policy(policy, DenialStage::Limits, message)
        })?);
    }
    Ok(states)
}

/// Returns the denial of a hidden operation, if one of these policies hides it.
pub fn check_hidden(policies: &[&Policy], operation: &Operation) -> Option<PolicyDenial> {
    let policy = policies.iter().find(|policy| policy.hides(operation))?;
    let message = format!(
        "`{}` is hidden by the policy of this server",
        operation.name()
    );
    Some(PolicyDenial::from_policy(
        policy,
        DenialStage::Hidden,
        message,
    ))
}

impl PolicyDenial {
    /// Creates a denial by a part of the file that is not a rule.
    fn from_policy(policy: &Policy, stage: DenialStage, message: String) -> Self {
        let name: Arc<str> = Arc::from(stage.as_str());
        let rule = RuleRef {
            policy: Arc::clone(&policy.name),
            location: Arc::clone(&name),
            name,
            line: 0,
        };
        Self {
            stage,
            rule,
            message,
            retry_after: None,
        }
    }
}

impl PolicyEvaluation {
    /// Returns the evaluation with this decision and nothing else.
    pub fn from_decision(decision: Decision) -> Self {
        Self {
            decision,
            shadows: Vec::new(),
            reservations: Vec::new(),
            redactions: Vec::new(),
            timeout: None,
            concurrency: Vec::new(),
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

    /// Redacts the values at these paths in a response. Returns true if there were any.
    pub fn redact(redact: &[Arc<[FieldPath]>], answer: &mut serde_json::Value) -> bool {
        let paths = redact.iter().flat_map(|paths| paths.iter());
        // Every path is followed, whatever was redacted before.
        paths.fold(false, |redacted, path| path.redact(answer) | redacted)
    }
}

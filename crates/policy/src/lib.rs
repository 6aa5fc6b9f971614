//! Policy files and their evaluation: a call is hidden, denied, limited, sent for approval, shown
//! as a dry run, or allowed.
//!
//! The order is fixed, over all policies that apply to a call: hidden → default → deny → limits →
//! approve → dry_run → allow. A denial overrides everything after it. The module `document` holds
//! the file as written, `compile` turns it into rules per operation, and `decide` evaluates them.

pub mod cases;
mod claims;
mod compile;
mod condition;
mod decide;
mod document;
mod expression;
mod file;
pub mod import;
mod items;
mod limit;
mod outside;
mod path;
mod rule;
mod source;
mod target;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests;
mod transport;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::SystemTime,
};

use portkey_operation::{JsonMap, Operation};

use self::{limit::PolicyCounter, rule::Rule};

pub use self::{
    claims::{
        CallerClaims, ClaimsTooLarge, MAX_CLAIM_TEXT_BYTES, MAX_CLAIM_VALUES, NO_CLAIMS,
        OMITTED_CLAIMS,
    },
    compile::PolicyError,
    decide::{
        ConcurrencyLimit, Decision, DecisionKind, DenialStage, PolicyDenial, PolicyEvaluation,
        RuleMatch, RuleTrace, check_hidden, decide, decide_with, explain,
    },
    document::MAX_POLICY_BYTES,
    expression::{MAX_ARGUMENT_TEXT_BYTES, MAX_ARGUMENT_VALUES, MAX_EXPRESSION_BYTES},
    items::ItemPattern,
    outside::{
        DEFAULT_DECISION_TIMEOUT, DecisionApi, DecisionPoint, FixedAnswer, MAX_DECISION_TIMEOUT,
        OutsideAnswer, OutsideDecisions, OutsideError, OutsideQuestion,
    },
    path::{FieldPath, REDACTED},
    rule::{RuleAction, RuleRef},
    target::PolicyTarget,
    transport::Transport,
};

/// A compiled policy. Created by [`Policy::parse`].
pub struct Policy {
    name: Arc<str>,
    revision: String,
    /// True if calls are denied unless something in the file permits them.
    denies_by_default: bool,
    rules: Vec<Rule>,
    counters: Vec<PolicyCounter>,
    operations: HashMap<&'static str, ResolvedOperation>,
    hidden_tools: Vec<&'static str>,
    /// Operations that rules name in `after` or `before`.
    ordered: BTreeSet<&'static str>,
    warnings: Vec<String>,
    notes: Vec<String>,
}

/// Compiled properties of one operation.
#[derive(Debug, Default)]
struct ResolvedOperation {
    is_hidden: bool,
    /// True if a call may pass, as far as that can be decided without its arguments.
    can_pass: bool,
    /// True if the operation is listed under `tools`, by name or by glob.
    is_listed: bool,
    /// Indexes of the rules that apply to the operation, in their order.
    rules: Vec<usize>,
    /// Counters that these rules compare. The value is true if at least one such rule is not a
    /// shadow rule.
    compared_counters: BTreeMap<usize, bool>,
    /// Other names of arguments that these rules use.
    aliases: Vec<ResolvedAlias>,
}

/// Another name of an argument that a rule uses.
#[derive(Debug, PartialEq, Eq)]
struct ResolvedAlias {
    /// The list whose items have the name; `None` for a name among the arguments.
    list: Option<&'static str>,
    name: String,
    /// Path of the argument, from the item if there is a list.
    target: FieldPath,
}

/// Built-in tools that a policy can hide by name, beside operations: those of the history of changes.
pub const HIDEABLE_TOOLS: [&str; 3] = ["get-change", "list-changes", "undo-change"];

/// A call, as policies see it.
#[derive(Clone, Copy, Debug)]
pub struct PolicyInput<'a> {
    /// The tool that is called, or the prompt or resource that is read.
    pub target: PolicyTarget<'a>,
    /// Arguments, as they are sent upstream.
    pub args: &'a JsonMap,
    /// Paths of arguments that this version of the server does not know.
    pub unknown_fields: &'a [String],
    /// Name of the caller.
    pub principal: &'a str,
    /// Claims of the caller's token.
    pub claims: &'a CallerClaims,
    /// Address of the caller. Calls over standard input have none.
    pub source: Option<IpAddr>,
    /// Operations that this session has called before, of those that
    /// [`Policy::ordered_operations`] returns. `None` if that is unknown.
    pub called: Option<&'a [&'static str]>,
    /// Name that the client claims in its client info; not verified.
    pub client: Option<&'a str>,
    /// Transport of the request.
    pub transport: Transport,
    /// Identifier of the session, if there is one.
    pub session: Option<&'a str>,
    /// Time at which the request arrived.
    pub time: SystemTime,
    /// True if the session has read untrusted content.
    pub tainted: bool,
}

impl Policy {
    /// Returns the file name of the policy.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the first twelve hexadecimal digits of the file's SHA-256, which tell versions of
    /// the file apart.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Returns true if the operation is hidden from callers under this policy.
    pub fn hides(&self, operation: &Operation) -> bool {
        self.operations
            .get(operation.name())
            .is_some_and(|resolved| resolved.is_hidden)
    }

    /// Returns true if a built-in tool is hidden; see [`HIDEABLE_TOOLS`].
    pub fn hides_tool(&self, name: &str) -> bool {
        self.hidden_tools.contains(&name)
    }

    /// Returns true if a call of the operation can pass this policy. The result depends on the
    /// default, names, globs, domains and effects alone. A rule with a condition is assumed to let
    /// a call pass.
    pub fn can_permit(&self, operation: &Operation) -> bool {
        self.can_permit_name(operation.name())
    }

    /// Returns true if both policies list the same operations, prompts and resources.
    pub fn lists_same_operations_as(&self, other: &Self) -> bool {
        let is_same_operation =
            |name: &&'static str| self.can_permit_name(name) == other.can_permit_name(name);
        self.operations.keys().all(is_same_operation) && self.lists_same_items_as(other)
    }

    fn can_permit_name(&self, name: &str) -> bool {
        self.operations
            .get(name)
            .map_or(!self.denies_by_default, |found| found.can_pass)
    }

    /// Returns true if a rule for the operation depends on whether the session has read untrusted
    /// content.
    pub fn depends_on_taint(&self, operation: &Operation) -> bool {
        self.rules_for(operation)
            .any(|rule| rule.when.as_ref().is_some_and(|when| when.depends_on_taint))
    }

    /// Returns true if a rule for the operation can require an approval.
    pub fn can_require_approval(&self, operation: &Operation) -> bool {
        self.rules_for(operation)
            .any(|rule| rule.action == RuleAction::Approve)
    }

    /// Returns true if a rule for the operation can redact values of its result.
    pub fn can_redact(&self, operation: &Operation) -> bool {
        self.rules_for(operation)
            .any(|rule| !rule.redactions.is_empty())
    }

    /// Returns the paths of the values that rules for the operation can redact in its results, each with its
    /// rule.
    pub fn redaction_paths(
        &self,
        operation: &Operation,
    ) -> impl Iterator<Item = (&RuleRef, &FieldPath)> {
        let rules = self.rules_for(operation).filter(|rule| !rule.is_shadow);
        rules.flat_map(|rule| {
            let paths = rule.redactions.iter();
            paths.map(|path| (&rule.rule_ref, path))
        })
    }

    /// Returns true if a call of the operation can count towards a limit.
    pub fn uses_counters(&self, operation: &Operation) -> bool {
        self.rules_for(operation)
            .any(|rule| !rule.limits.is_empty())
    }

    /// Returns the operations whose earlier calls the rules for an operation compare.
    pub fn ordered_operations(
        &self,
        target: &PolicyTarget<'_>,
    ) -> impl Iterator<Item = &'static str> {
        let indexes = self.rule_indexes(target);
        let rules = indexes
            .iter()
            .filter_map(|index| self.rules.get(*index))
            .flat_map(|rule| rule.order.operations());
        rules.collect::<BTreeSet<_>>().into_iter()
    }

    /// Returns true if a rule depends on whether the operation was called before.
    pub fn orders_calls_of(&self, operation: &Operation) -> bool {
        self.ordered.contains(operation.name())
    }

    fn rules_for(&self, operation: &Operation) -> impl Iterator<Item = &Rule> {
        let rules = self
            .operations
            .get(operation.name())
            .into_iter()
            .flat_map(|found| &found.rules);
        rules.filter_map(|rule| self.rules.get(*rule))
    }

    /// Returns likely mistakes in the file: tools that do not exist, and paths that lead to nothing
    /// in any tool of their rule.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns effects of the file that its author may not expect, and that are no mistakes.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns the number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Returns true if the policy has no rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Policy({}, {})", self.name, self.revision)
    }
}

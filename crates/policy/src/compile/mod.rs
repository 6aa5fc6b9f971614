//! Compiles a policy file into rules per operation: resolves names, parses expressions and assigns
//! counters to limits.

mod draft;
mod path_check;
mod selection;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use portkey_api::catalog::Catalog;
use portkey_store::Window;
use sha2::{Digest, Sha256};

use self::{
    draft::{RuleDraft, build_drafts},
    path_check::{PathTarget, RulePath},
    selection::Selection,
};
use super::{
    Policy, ResolvedOperation,
    condition::{self, Condition},
    document::{CounterScope, DefaultAction, PolicyDocument, RawAction, UnknownFieldPolicy},
    expression::Expression,
    limit::{self, CounterLimit, LimitAmount, PolicyCounter},
    path::FieldPath,
    rule::{ArgumentCap, Rule, RuleAction, RuleRef},
};
/// Maximum number of rules in a policy.
const MAX_RULES: usize = 2_000;
/// Maximum number of warnings about paths that lead to nothing.
const MAX_PATH_WARNINGS: usize = 20;
/// Maximum number of errors that are reported at once.
const MAX_ERRORS: usize = 20;

/// All errors in a policy file, each with its line where it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError(Vec<String>);

impl std::error::Error for PolicyError {}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One line per error, even if a name in the file contains line breaks.
        let lines = self
            .0
            .iter()
            .map(|fault| fault.lines().collect::<Vec<_>>().join(" "));
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

impl Policy {
    /// Parses and compiles a policy. `name` is the name of its file. Rules are resolved against the
    /// operations of the catalog.
    ///
    /// # Errors
    /// Returns every error in the text, if there is any.
    pub fn parse(name: &str, text: &str, catalog: &Catalog) -> Result<Self, PolicyError> {
        let document = PolicyDocument::parse(text).map_err(|error| PolicyError(vec![error]))?;
        let selection = Selection::from_catalog(catalog);
        let mut compiler = Compiler::new(name, selection);
        let hidden = compiler.resolve_hidden(&document);
        let posture = document.default.unwrap_or_default();
        if document.version != "1" && document.version != 1 {
            compiler.errors.push("`version` is \"1\"".to_owned());
        }
        let (listed, drafts) =
            build_drafts(document, &mut compiler.selection, &mut compiler.errors);
        compiler.compile_rules(drafts);
        let Compiler {
            selection,
            rules,
            rule_operations: applies,
            counters,
            rule_paths: written,
            errors: mut faults,
            ..
        } = compiler;
        if !faults.is_empty() {
            let more = faults.len().saturating_sub(MAX_ERRORS);
            faults.truncate(MAX_ERRORS);
            if more > 0 {
                faults.push(format!("and {more} more"));
            }
            return Err(PolicyError(faults));
        }
        let mut of: HashMap<_, ResolvedOperation> = HashMap::new();
        for (index, entry) in selection.entries.iter().enumerate() {
            let here = applies
                .iter()
                .enumerate()
                .filter(|(_, at)| at.contains(&index));
            let rules_here: Vec<usize> = here.map(|(rule, _)| rule).collect();
            let mut reads = BTreeMap::new();
            for rule in rules_here.iter().filter_map(|rule| rules.get(*rule)) {
                for counter in rule.compared_counters() {
                    *reads.entry(counter).or_insert(false) |= !rule.is_shadow;
                }
            }
            let hidden = hidden.contains(&index);
            let listed = listed.contains(&index);
            let about = || rules_here.iter().filter_map(|rule| rules.get(*rule));
            let is_open = posture == DefaultAction::Allow
                || listed
                || about().any(Rule::can_override_default_deny);
            let can_pass = !hidden && is_open && !about().any(Rule::always_denies);
            of.insert(
                entry.name,
                ResolvedOperation {
                    is_hidden: hidden,
                    can_pass,
                    is_listed: listed,
                    rules: rules_here,
                    compared_counters: reads,
                },
            );
        }
        let mut revision = hex::encode(Sha256::digest(text));
        revision.truncate(12);
        let (closed, name) = (posture == DefaultAction::Deny, Arc::from(name));
        let mut warnings = selection.warnings;
        let tools: Vec<_> = selection.entries.iter().map(|entry| entry.name).collect();
        let mut ends = written
            .iter()
            .filter_map(|path| path.warning(catalog, &tools));
        warnings.extend(ends.by_ref().take(MAX_PATH_WARNINGS));
        if ends.next().is_some() {
            warnings.push("and more paths that lead to nothing".to_owned());
        }
        Ok(Self {
            name,
            revision,
            denies_by_default: closed,
            rules,
            counters,
            operations: of,
            warnings,
        })
    }
}

struct Compiler {
    policy: Arc<str>,
    selection: Selection,
    rules: Vec<Rule>,
    /// Operations of each rule, as indexes.
    rule_operations: Vec<Vec<usize>>,
    counters: Vec<PolicyCounter>,
    /// Paths of all rules.
    rule_paths: Vec<RulePath>,
    errors: Vec<String>,
}

impl Compiler {
    fn new(policy: &str, selection: Selection) -> Self {
        let policy = policy.into();
        let (rules, applies, counters) = (Vec::new(), Vec::new(), Vec::new());
        let (written, faults) = (Vec::new(), Vec::new());
        Self {
            policy,
            selection,
            rules,
            rule_operations: applies,
            counters,
            rule_paths: written,
            errors: faults,
        }
    }

    fn resolve_hidden(&mut self, document: &PolicyDocument) -> Vec<usize> {
        let mut hidden = Vec::new();
        for (index, name) in document.hide.iter().flatten().enumerate() {
            let line = name.referenced.line();
            match self
                .selection
                .resolve(&name.value, &format!("line {line}: hide[{index}]"))
            {
                Ok(found) => hidden.extend(found),
                Err(fault) => self.errors.push(fault),
            }
        }
        hidden
    }

    fn compile_rules(&mut self, drafts: Vec<RuleDraft>) {
        if drafts.len() > MAX_RULES {
            self.errors
                .push(format!("there are more than {MAX_RULES} rules"));
            return;
        }
        // Counters come first, because a rule may refer to the counter of another rule.
        let limits: Vec<_> = drafts
            .iter()
            .map(|draft| self.compile_limits(draft))
            .collect();
        for (draft, limits) in drafts.into_iter().zip(limits) {
            let at = draft.described_location();
            let built = limits.and_then(|limits| self.compile_rule(&draft, limits));
            match built {
                Ok(rule) => {
                    self.rule_paths.extend(collect_paths(&rule, &draft));
                    self.rules.push(rule);
                    self.rule_operations.push(draft.selected);
                }
                Err(fault) => self.errors.push(format!("{at}: {fault}")),
            }
        }
    }

    /// Compiles the limits of a rule and adds their counters.
    fn compile_limits(&mut self, draft: &RuleDraft) -> Result<Vec<CounterLimit>, String> {
        let (rule, mut limits) = (&draft.rule, Vec::new());
        let scope = rule.scope.unwrap_or_default();
        if let Some(rate) = &rule.rate_limit {
            if rule.state.is_some() || rule.conditions.as_ref().is_some_and(|all| !all.is_empty()) {
                return Err("`rate_limit` goes with neither `conditions` nor `state`".to_owned());
            }
            let (most, window) = limit::parse_rate(rate)?;
            let name = format!("_rate_{}", limit::WindowName(window));
            let counter = self.add_counter(draft, &name, window, scope)?;
            let (amount, words) = (LimitAmount::Fixed(1), None);
            limits.push(CounterLimit {
                counter,
                max: Some(most),
                amount,
                message: words,
            });
        }
        if let Some(state) = &rule.state {
            let amount = parse_amount(state.increment, state.increment_from.as_deref())?;
            let window = limit::parse_window(&state.window)?;
            let counter = self.add_counter(draft, &state.counter, window, scope)?;
            let own = rule.conditions.iter().flatten().filter(|condition| {
                draft
                    .own_counter(&condition.path)
                    .is_some_and(|name| name == state.counter)
            });
            let mut most = None;
            for condition in own {
                let (path, op, value) = (&condition.path, &condition.op, &condition.value);
                let bound =
                    Condition::parse(condition::Operand::Counter(counter), path, op, value)?
                        .upper_bound();
                most = [most, bound].into_iter().flatten().min();
            }
            limits.push(CounterLimit {
                counter,
                max: most,
                amount,
                message: None,
            });
        }
        for given in rule.limits.iter().flatten() {
            let window = match (&given.window, &given.sliding, &given.bucket) {
                (Some(window), None, None) => limit::parse_window(window)?,
                (None, Some(length), None) => Window::Sliding(limit::parse_duration(length)?),
                (None, None, Some(length)) => Window::Bucket(limit::parse_duration(length)?),
                _ => return Err("a limit has one of `window`, `sliding` and `bucket`".to_owned()),
            };
            let scope = given.scope.or(rule.scope).unwrap_or_default();
            let usual = format!("_limit_{}", limit::WindowName(window));
            let name = given.counter.as_deref().unwrap_or(&usual);
            let counter = self.add_counter(draft, name, window, scope)?;
            let amount = parse_amount(given.increment, given.increment_from.as_deref())?;
            let words = given.on_deny.clone().or_else(|| given.reason.clone());
            limits.push(CounterLimit {
                counter,
                max: Some(given.max),
                amount,
                message: words,
            });
        }
        Ok(limits)
    }

    fn add_counter(
        &mut self,
        draft: &RuleDraft,
        name: &str,
        window: Window,
        scope: CounterScope,
    ) -> Result<usize, String> {
        if name.is_empty() {
            return Err("a counter has a name".to_owned());
        }
        let is_duplicate = |counter: &PolicyCounter| {
            counter.namespace == draft.namespace
                && counter.name == name
                && counter.window == window
                && counter.scope == scope
        };
        if self.counters.iter().any(is_duplicate) {
            return Err(format!(
                "another rule of `{}` counts `{name}` already",
                draft.namespace
            ));
        }
        self.counters.push(PolicyCounter {
            namespace: draft.namespace.clone(),
            name: name.to_owned(),
            window,
            scope,
        });
        Ok(self.counters.len() - 1)
    }

    fn compile_rule(&self, draft: &RuleDraft, limits: Vec<CounterLimit>) -> Result<Rule, String> {
        let rule = &draft.rule;
        let Some(name) = rule.name.as_deref().filter(|name| !name.trim().is_empty()) else {
            return Err("a rule has a name".to_owned());
        };
        let (mut conditions, mut own) = (Vec::new(), 0);
        for condition in rule.conditions.iter().flatten() {
            let state = rule.state.as_ref().map(|state| state.counter.as_str());
            let of_own = draft
                .own_counter(&condition.path)
                .is_some_and(|name| Some(name) == state);
            // These conditions became the limit, which is checked when it is reserved.
            if of_own && ["lt", "lte"].contains(&condition.op.as_str()) {
                own += 1;
                continue;
            }
            let of = self.parse_operand(&condition.path)?;
            let (path, op) = (&condition.path, &condition.op);
            conditions.push(Condition::parse(of, path, op, &condition.value)?);
        }
        let mut cap = Vec::new();
        for (text, most) in rule.cap.iter().flatten() {
            let path = parse_argument_path(text)?;
            cap.push(ArgumentCap {
                path,
                text: text.clone(),
                max: *most,
            });
        }
        let paths = rule.redact.iter().flatten().map(|text| {
            FieldPath::parse(text)
                .ok_or_else(|| format!("`{text}` is no path, such as data[].email"))
        });
        let redact: Arc<[FieldPath]> = paths.collect::<Result<_, _>>()?;
        let demands = own + conditions.len() + cap.len() + limits.len() + redact.len() > 0;
        let (verb, shadow) = parse_action(rule.action, rule.would, demands)?;
        let more = cap.len() + limits.len() + redact.len() > 0;
        match verb {
            RuleAction::Evaluate if !demands => {
                return Err("it checks nothing; give it conditions, or another `action`".to_owned());
            }
            RuleAction::Deny if more || (!conditions.is_empty() && !draft.is_hosted) => {
                return Err("a rule that denies takes `when` and nothing to check".to_owned());
            }
            _ if rule.confirm.is_some() && verb != RuleAction::Approve => {
                return Err("`confirm` goes with `action: approve`".to_owned());
            }
            _ => {}
        }
        let when = rule.when.as_deref().map(Expression::compile).transpose();
        let when = when.map_err(|fault| format!("`when`: {fault}"))?;
        let named = when.iter().flat_map(|when| &when.counters);
        let counters = named
            .map(|name| self.find_counter(draft, name))
            .collect::<Result<_, _>>()?;
        let looks = !cap.is_empty()
            || !redact.is_empty()
            || when.as_ref().is_some_and(|when| when.uses_args)
            || conditions
                .iter()
                .any(|condition| matches!(condition.operand, condition::Operand::Argument(_)));
        if rule.unknown.is_some() && !looks {
            return Err("`unknown` goes with a rule that looks at arguments".to_owned());
        }
        let denies_unknown = looks && rule.unknown.unwrap_or_default() == UnknownFieldPolicy::Deny;
        let cite = RuleRef {
            policy: self.policy.clone(),
            name: name.into(),
            location: draft.location.as_str().into(),
            line: draft.line,
        };
        let words = rule.on_deny.clone().or_else(|| rule.reason.clone());
        let confirm = rule.confirm.unwrap_or_default();
        let wildcard = draft.namespace == draft::GLOBAL_NAMESPACE;
        Ok(Rule {
            rule_ref: cite,
            action: verb,
            is_shadow: shadow,
            is_wildcard: wildcard,
            when,
            counters,
            conditions,
            caps: cap,
            limits,
            redactions: redact,
            denies_unknown,
            confirm,
            message: words,
        })
    }

    /// Parses the path of a condition.
    fn parse_operand(&self, path: &str) -> Result<condition::Operand, String> {
        let invalid_path =
            || format!("`{path}` is no path; write args.<name> or state.<tool>.<counter>");
        if path.starts_with("args.") {
            let argument = parse_argument_path(path)?;
            return if argument.has_no_lists() {
                Ok(condition::Operand::Argument(argument))
            } else {
                Err(invalid_path())
            };
        }
        let (of, name) = draft::parse_counter_path(path).ok_or_else(invalid_path)?;
        let counter = self
            .counters
            .iter()
            .position(|one| one.namespace == of && one.name == name);
        counter
            .map(condition::Operand::Counter)
            .ok_or_else(|| format!("no rule of `{of}` counts `{name}`"))
    }

    /// Finds the counter that an expression names: that of the rule's own namespace, else the
    /// global one, else the first counter of this name.
    fn find_counter(&self, draft: &RuleDraft, name: &str) -> Result<usize, String> {
        let find = |of: &str| {
            self.counters
                .iter()
                .position(|counter| counter.namespace == of && counter.name == name)
        };
        let only = || {
            self.counters
                .iter()
                .position(|counter| counter.name == name)
        };
        find(&draft.namespace)
            .or_else(|| find(draft::GLOBAL_NAMESPACE))
            .or_else(only)
            .ok_or_else(|| format!("no rule counts `{name}`"))
    }
}

/// Collects the paths of a rule with their locations.
fn collect_paths(rule: &Rule, draft: &RuleDraft) -> Vec<RulePath> {
    let at = draft.described_location();
    let written = |field: &str, text: &str, names: Vec<String>, of| RulePath {
        location: format!("{at}: {field}"),
        text: text.to_owned(),
        names,
        target: of,
        tools: draft.selected.clone(),
    };
    let named = |path: &FieldPath| path.names().map(str::to_owned).collect();
    let mut all = Vec::new();
    for cap in &rule.caps {
        all.push(written(
            "cap",
            &cap.text,
            named(&cap.path),
            PathTarget::Arguments,
        ));
    }
    for condition in &rule.conditions {
        if let condition::Operand::Argument(path) = &condition.operand {
            all.push(written(
                "conditions",
                &condition.path,
                named(path),
                PathTarget::Arguments,
            ));
        }
    }
    for limit in &rule.limits {
        if let LimitAmount::FromArgument(path, text) = &limit.amount {
            all.push(written(
                "increment_from",
                text,
                named(path),
                PathTarget::Arguments,
            ));
        }
    }
    for names in rule.when.iter().flat_map(|when| &when.arguments) {
        let text = format!("args.{}", names.join("."));
        all.push(written(
            "when",
            &text,
            names.clone(),
            PathTarget::ExpressionArguments,
        ));
    }
    for (path, text) in rule
        .redactions
        .iter()
        .zip(draft.rule.redact.iter().flatten())
    {
        all.push(written("redact", text, named(path), PathTarget::Responses));
    }
    all
}

/// Returns the action of a rule, and true for a shadow rule.
fn parse_action(
    action: Option<RawAction>,
    would: Option<RawAction>,
    demands: bool,
) -> Result<(RuleAction, bool), String> {
    let to_rule_action = |action| match action {
        RawAction::Evaluate => Ok(RuleAction::Evaluate),
        RawAction::Allow => Ok(RuleAction::Allow),
        RawAction::Deny => Ok(RuleAction::Deny),
        RawAction::Approve => Ok(RuleAction::Approve),
        RawAction::DryRun => Ok(RuleAction::DryRun),
        RawAction::Shadow => Err("`would` names another action than shadow".to_owned()),
    };
    match (action.unwrap_or_default(), would) {
        (RawAction::Shadow, Some(would)) => Ok((to_rule_action(would)?, true)),
        (RawAction::Shadow, None) if demands => Ok((RuleAction::Evaluate, true)),
        (RawAction::Shadow, None) => Ok((RuleAction::Deny, true)),
        (_, Some(_)) => Err("`would` goes with `action: shadow`".to_owned()),
        (action, None) => Ok((to_rule_action(action)?, false)),
    }
}

fn parse_amount(increment: Option<u64>, from: Option<&str>) -> Result<LimitAmount, String> {
    match from {
        Some(text) => {
            let path = parse_argument_path(text)?;
            match text.starts_with("args.") && path.has_no_lists() {
                true => Ok(LimitAmount::FromArgument(path, text.to_owned())),
                false => Err("`increment_from` is such as args.amount".to_owned()),
            }
        }
        // An amount of zero would count nothing. Intercept treats it as absent, so it counts as
        // one.
        None => Ok(LimitAmount::Fixed(
            increment.filter(|more| *more > 0).unwrap_or(1),
        )),
    }
}

/// Parses the path of an argument, with or without the prefix `args.`.
fn parse_argument_path(text: &str) -> Result<FieldPath, String> {
    let name = text.strip_prefix("args.").unwrap_or(text);
    FieldPath::parse(name).ok_or_else(|| format!("`{text}` is no path, such as args.name"))
}

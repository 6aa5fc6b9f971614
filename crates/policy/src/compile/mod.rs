//! Compiles a policy file into rules per operation: resolves names, parses expressions and assigns
//! counters to limits.

mod draft;
mod lead;
mod select;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use portkey_api::catalog::Catalog;
use portkey_store::Window;
use sha2::{Digest, Sha256};

use self::{
    draft::{Draft, drafts},
    lead::{Of, Written},
    select::Selection,
};
use super::{
    Policy, Resolved,
    condition::{self, Condition},
    document::{Action, Document, Posture, Scope, Unknown},
    expression::Expression,
    limit::{self, Amount, Counter, Limit},
    path::Path,
    rule::{Cap, Cite, Rule, Verb},
};
/// Maximum number of rules in a policy.
const MOST_RULES: usize = 2_000;
/// Maximum number of warnings about paths that lead to nothing.
const MOST_DEAD_ENDS: usize = 20;
/// Maximum number of errors that are reported at once.
const MOST_FAULTS: usize = 20;

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
        let document = Document::parse(text).map_err(|error| PolicyError(vec![error]))?;
        let selection = Selection::over(catalog);
        let mut compiler = Compiler::new(name, selection);
        let hidden = compiler.hidden(&document);
        let posture = document.default.unwrap_or_default();
        if document.version != "1" && document.version != 1 {
            compiler.faults.push("`version` is \"1\"".to_owned());
        }
        let (listed, drafts) = drafts(document, &mut compiler.selection, &mut compiler.faults);
        compiler.rules(drafts);
        let Compiler {
            selection,
            rules,
            applies,
            counters,
            written,
            mut faults,
            ..
        } = compiler;
        if !faults.is_empty() {
            let more = faults.len().saturating_sub(MOST_FAULTS);
            faults.truncate(MOST_FAULTS);
            if more > 0 {
                faults.push(format!("and {more} more"));
            }
            return Err(PolicyError(faults));
        }
        let mut of: HashMap<_, Resolved> = HashMap::new();
        for (index, entry) in selection.entries.iter().enumerate() {
            let here = applies
                .iter()
                .enumerate()
                .filter(|(_, at)| at.contains(&index));
            let rules_here: Vec<usize> = here.map(|(rule, _)| rule).collect();
            let mut reads = BTreeMap::new();
            for rule in rules_here.iter().filter_map(|rule| rules.get(*rule)) {
                for counter in rule.compares() {
                    *reads.entry(counter).or_insert(false) |= !rule.shadow;
                }
            }
            let hidden = hidden.contains(&index);
            let listed = listed.contains(&index);
            let about = || rules_here.iter().filter_map(|rule| rules.get(*rule));
            let is_open = posture == Posture::Allow || listed || about().any(Rule::can_open);
            let can_pass = !hidden && is_open && !about().any(Rule::always_denies);
            of.insert(
                entry.name,
                Resolved {
                    hidden,
                    can_pass,
                    listed,
                    rules: rules_here,
                    reads,
                },
            );
        }
        let mut revision = hex::encode(Sha256::digest(text));
        revision.truncate(12);
        let (closed, name) = (posture == Posture::Deny, Arc::from(name));
        let mut warnings = selection.warnings;
        let tools: Vec<_> = selection.entries.iter().map(|entry| entry.name).collect();
        let mut ends = written
            .iter()
            .filter_map(|path| path.warning(catalog, &tools));
        warnings.extend(ends.by_ref().take(MOST_DEAD_ENDS));
        if ends.next().is_some() {
            warnings.push("and more paths that lead to nothing".to_owned());
        }
        Ok(Self {
            name,
            revision,
            closed,
            rules,
            counters,
            of,
            warnings,
        })
    }
}

struct Compiler {
    policy: Arc<str>,
    selection: Selection,
    rules: Vec<Rule>,
    /// Operations of each rule, as indexes.
    applies: Vec<Vec<usize>>,
    counters: Vec<Counter>,
    /// Paths of all rules.
    written: Vec<Written>,
    faults: Vec<String>,
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
            applies,
            counters,
            written,
            faults,
        }
    }

    fn hidden(&mut self, document: &Document) -> Vec<usize> {
        let mut hidden = Vec::new();
        for (index, name) in document.hide.iter().flatten().enumerate() {
            let line = name.referenced.line();
            match self
                .selection
                .names(&name.value, &format!("line {line}: hide[{index}]"))
            {
                Ok(found) => hidden.extend(found),
                Err(fault) => self.faults.push(fault),
            }
        }
        hidden
    }

    fn rules(&mut self, drafts: Vec<Draft>) {
        if drafts.len() > MOST_RULES {
            self.faults
                .push(format!("there are more than {MOST_RULES} rules"));
            return;
        }
        // Counters come first, because a rule may refer to the counter of another rule.
        let limits: Vec<_> = drafts.iter().map(|draft| self.limits(draft)).collect();
        for (draft, limits) in drafts.into_iter().zip(limits) {
            let at = draft.at();
            let built = limits.and_then(|limits| self.rule(&draft, limits));
            match built {
                Ok(rule) => {
                    self.written.extend(paths(&rule, &draft));
                    self.rules.push(rule);
                    self.applies.push(draft.selected);
                }
                Err(fault) => self.faults.push(format!("{at}: {fault}")),
            }
        }
    }

    /// Compiles the limits of a rule and adds their counters.
    fn limits(&mut self, draft: &Draft) -> Result<Vec<Limit>, String> {
        let (rule, mut limits) = (&draft.rule, Vec::new());
        let scope = rule.scope.unwrap_or_default();
        if let Some(rate) = &rule.rate_limit {
            if rule.state.is_some() || rule.conditions.as_ref().is_some_and(|all| !all.is_empty()) {
                return Err("`rate_limit` goes with neither `conditions` nor `state`".to_owned());
            }
            let (most, window) = limit::rate(rate)?;
            let name = format!("_rate_{}", limit::Words(window));
            let counter = self.counter(draft, &name, window, scope)?;
            let (amount, words) = (Amount::Fixed(1), None);
            limits.push(Limit {
                counter,
                most: Some(most),
                amount,
                words,
            });
        }
        if let Some(state) = &rule.state {
            let amount = amount(state.increment, state.increment_from.as_deref())?;
            let window = limit::window(&state.window)?;
            let counter = self.counter(draft, &state.counter, window, scope)?;
            let own = rule.conditions.iter().flatten().filter(|condition| {
                draft
                    .counter_of(&condition.path)
                    .is_some_and(|name| name == state.counter)
            });
            let mut most = None;
            for condition in own {
                let (path, op, value) = (&condition.path, &condition.op, &condition.value);
                let bound =
                    Condition::read(condition::Of::Counter(counter), path, op, value)?.most();
                most = [most, bound].into_iter().flatten().min();
            }
            limits.push(Limit {
                counter,
                most,
                amount,
                words: None,
            });
        }
        for given in rule.limits.iter().flatten() {
            let window = match (&given.window, &given.sliding, &given.bucket) {
                (Some(window), None, None) => limit::window(window)?,
                (None, Some(length), None) => Window::Sliding(limit::length(length)?),
                (None, None, Some(length)) => Window::Bucket(limit::length(length)?),
                _ => return Err("a limit has one of `window`, `sliding` and `bucket`".to_owned()),
            };
            let scope = given.scope.or(rule.scope).unwrap_or_default();
            let usual = format!("_limit_{}", limit::Words(window));
            let name = given.counter.as_deref().unwrap_or(&usual);
            let counter = self.counter(draft, name, window, scope)?;
            let amount = amount(given.increment, given.increment_from.as_deref())?;
            let words = given.on_deny.clone().or_else(|| given.reason.clone());
            limits.push(Limit {
                counter,
                most: Some(given.max),
                amount,
                words,
            });
        }
        Ok(limits)
    }

    fn counter(
        &mut self,
        draft: &Draft,
        name: &str,
        window: Window,
        scope: Scope,
    ) -> Result<usize, String> {
        if name.is_empty() {
            return Err("a counter has a name".to_owned());
        }
        let twin = |counter: &Counter| {
            counter.of == draft.of
                && counter.name == name
                && counter.window == window
                && counter.scope == scope
        };
        if self.counters.iter().any(twin) {
            return Err(format!(
                "another rule of `{}` counts `{name}` already",
                draft.of
            ));
        }
        self.counters.push(Counter {
            of: draft.of.clone(),
            name: name.to_owned(),
            window,
            scope,
        });
        Ok(self.counters.len() - 1)
    }

    fn rule(&self, draft: &Draft, limits: Vec<Limit>) -> Result<Rule, String> {
        let rule = &draft.rule;
        let Some(name) = rule.name.as_deref().filter(|name| !name.trim().is_empty()) else {
            return Err("a rule has a name".to_owned());
        };
        let (mut conditions, mut own) = (Vec::new(), 0);
        for condition in rule.conditions.iter().flatten() {
            let state = rule.state.as_ref().map(|state| state.counter.as_str());
            let of_own = draft
                .counter_of(&condition.path)
                .is_some_and(|name| Some(name) == state);
            // These conditions became the limit, which is checked when it is reserved.
            if of_own && ["lt", "lte"].contains(&condition.op.as_str()) {
                own += 1;
                continue;
            }
            let of = self.of(&condition.path)?;
            let (path, op) = (&condition.path, &condition.op);
            conditions.push(Condition::read(of, path, op, &condition.value)?);
        }
        let mut cap = Vec::new();
        for (text, most) in rule.cap.iter().flatten() {
            let path = argument(text)?;
            cap.push(Cap {
                path,
                text: text.clone(),
                most: *most,
            });
        }
        let paths = rule.redact.iter().flatten().map(|text| {
            Path::read(text).ok_or_else(|| format!("`{text}` is no path, such as data[].email"))
        });
        let redact: Arc<[Path]> = paths.collect::<Result<_, _>>()?;
        let demands = own + conditions.len() + cap.len() + limits.len() + redact.len() > 0;
        let (verb, shadow) = verb(rule.action, rule.would, demands)?;
        let more = cap.len() + limits.len() + redact.len() > 0;
        match verb {
            Verb::Evaluate if !demands => {
                return Err("it checks nothing; give it conditions, or another `action`".to_owned());
            }
            Verb::Deny if more || (!conditions.is_empty() && !draft.hosted) => {
                return Err("a rule that denies takes `when` and nothing to check".to_owned());
            }
            _ if rule.confirm.is_some() && verb != Verb::Approve => {
                return Err("`confirm` goes with `action: approve`".to_owned());
            }
            _ => {}
        }
        let when = rule.when.as_deref().map(Expression::compile).transpose();
        let when = when.map_err(|fault| format!("`when`: {fault}"))?;
        let named = when.iter().flat_map(|when| &when.counters);
        let counters = named
            .map(|name| self.named(draft, name))
            .collect::<Result<_, _>>()?;
        let looks = !cap.is_empty()
            || !redact.is_empty()
            || when.as_ref().is_some_and(|when| when.uses_args)
            || conditions
                .iter()
                .any(|condition| matches!(condition.of, condition::Of::Argument(_)));
        if rule.unknown.is_some() && !looks {
            return Err("`unknown` goes with a rule that looks at arguments".to_owned());
        }
        let denies_unknown = looks && rule.unknown.unwrap_or_default() == Unknown::Deny;
        let cite = Cite {
            policy: self.policy.clone(),
            name: name.into(),
            place: draft.place.as_str().into(),
            line: draft.line,
        };
        let words = rule.on_deny.clone().or_else(|| rule.reason.clone());
        let confirm = rule.confirm.unwrap_or_default();
        let wildcard = draft.of == draft::EVERYTHING;
        Ok(Rule {
            cite,
            verb,
            shadow,
            wildcard,
            when,
            counters,
            conditions,
            cap,
            limits,
            redact,
            denies_unknown,
            confirm,
            words,
        })
    }

    /// Parses the path of a condition.
    fn of(&self, path: &str) -> Result<condition::Of, String> {
        let told = || format!("`{path}` is no path; write args.<name> or state.<tool>.<counter>");
        if path.starts_with("args.") {
            let argument = argument(path)?;
            return if argument.is_single() {
                Ok(condition::Of::Argument(argument))
            } else {
                Err(told())
            };
        }
        let (of, name) = draft::counter(path).ok_or_else(told)?;
        let counter = self
            .counters
            .iter()
            .position(|one| one.of == of && one.name == name);
        counter
            .map(condition::Of::Counter)
            .ok_or_else(|| format!("no rule of `{of}` counts `{name}`"))
    }

    /// Finds the counter that an expression names: that of the rule's own namespace, else the
    /// global one, else the first counter of this name.
    fn named(&self, draft: &Draft, name: &str) -> Result<usize, String> {
        let find = |of: &str| {
            self.counters
                .iter()
                .position(|counter| counter.of == of && counter.name == name)
        };
        let only = || {
            self.counters
                .iter()
                .position(|counter| counter.name == name)
        };
        find(&draft.of)
            .or_else(|| find(draft::EVERYTHING))
            .or_else(only)
            .ok_or_else(|| format!("no rule counts `{name}`"))
    }
}

/// Collects the paths of a rule with their locations.
fn paths(rule: &Rule, draft: &Draft) -> Vec<Written> {
    let at = draft.at();
    let written = |field: &str, text: &str, names: Vec<String>, of| Written {
        at: format!("{at}: {field}"),
        text: text.to_owned(),
        names,
        of,
        tools: draft.selected.clone(),
    };
    let named = |path: &Path| path.names().map(str::to_owned).collect();
    let mut all = Vec::new();
    for cap in &rule.cap {
        all.push(written("cap", &cap.text, named(&cap.path), Of::Arguments));
    }
    for condition in &rule.conditions {
        if let condition::Of::Argument(path) = &condition.of {
            all.push(written(
                "conditions",
                &condition.path,
                named(path),
                Of::Arguments,
            ));
        }
    }
    for limit in &rule.limits {
        if let Amount::From(path, text) = &limit.amount {
            all.push(written("increment_from", text, named(path), Of::Arguments));
        }
    }
    for names in rule.when.iter().flat_map(|when| &when.arguments) {
        let text = format!("args.{}", names.join("."));
        all.push(written("when", &text, names.clone(), Of::Expression));
    }
    for (path, text) in rule.redact.iter().zip(draft.rule.redact.iter().flatten()) {
        all.push(written("redact", text, named(path), Of::Answers));
    }
    all
}

/// Returns the action of a rule, and true for a shadow rule.
fn verb(
    action: Option<Action>,
    would: Option<Action>,
    demands: bool,
) -> Result<(Verb, bool), String> {
    let plain = |action| match action {
        Action::Evaluate => Ok(Verb::Evaluate),
        Action::Allow => Ok(Verb::Allow),
        Action::Deny => Ok(Verb::Deny),
        Action::Approve => Ok(Verb::Approve),
        Action::DryRun => Ok(Verb::DryRun),
        Action::Shadow => Err("`would` names another action than shadow".to_owned()),
    };
    match (action.unwrap_or_default(), would) {
        (Action::Shadow, Some(would)) => Ok((plain(would)?, true)),
        (Action::Shadow, None) if demands => Ok((Verb::Evaluate, true)),
        (Action::Shadow, None) => Ok((Verb::Deny, true)),
        (_, Some(_)) => Err("`would` goes with `action: shadow`".to_owned()),
        (action, None) => Ok((plain(action)?, false)),
    }
}

fn amount(increment: Option<u64>, from: Option<&str>) -> Result<Amount, String> {
    match from {
        Some(text) => {
            let path = argument(text)?;
            match text.starts_with("args.") && path.is_single() {
                true => Ok(Amount::From(path, text.to_owned())),
                false => Err("`increment_from` is such as args.amount".to_owned()),
            }
        }
        // An amount of zero would count nothing. Intercept treats it as absent, so it counts as
        // one.
        None => Ok(Amount::Fixed(
            increment.filter(|more| *more > 0).unwrap_or(1),
        )),
    }
}

/// Parses the path of an argument, with or without the prefix `args.`.
fn argument(text: &str) -> Result<Path, String> {
    let name = text.strip_prefix("args.").unwrap_or(text);
    Path::read(name).ok_or_else(|| format!("`{text}` is no path, such as args.name"))
}

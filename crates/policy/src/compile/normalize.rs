//! Normalizes the rules of a file: brings the dialects into one form, in evaluation order.
//!
//! The dialects are the rules of PolicyLayer Intercept (`tools.<name>.rules`), the hosted dialect
//! (`require`, `deny_if`, `limits`, `all_tools`), and this project's `rules` with a `match`.

use serde_saphyr::Spanned;

use super::selection::{Selection, compile_glob, is_glob, to_kebab_case};
use crate::{
    document::{OneOrMany, PolicyDocument, RawAction, RawCondition, RawLimit, RawRule, ToolEntry},
    items::ItemPatterns,
    rule::CallOrder,
};

/// Namespace of the counters under `"*"`.
pub(super) const GLOBAL_NAMESPACE: &str = "_global";

/// A rule as written, with the operations that it applies to.
pub(super) struct RuleDraft {
    pub(super) location: String,
    pub(super) line: u64,
    /// Namespace of the rule's counters.
    pub(super) namespace: String,
    pub(super) selected: Vec<usize>,
    pub(super) rule: RawRule,
    /// True for rules of the hosted dialect, whose conditions can deny.
    pub(super) is_hosted: bool,
    /// Prompts and resources that the rule applies to.
    pub(super) items: ItemPatterns,
    /// Earlier calls that the rule depends on.
    pub(super) order: CallOrder,
}

impl RuleDraft {
    pub(super) fn described_location(&self) -> String {
        match self.line {
            0 => self.location.clone(),
            line => format!("line {line}: {}", self.location),
        }
    }

    /// Returns the name of the counter if the path is within this rule's own namespace.
    pub(super) fn own_counter<'a>(&self, path: &'a str) -> Option<&'a str> {
        parse_counter_path(path)
            .filter(|(namespace, _)| *namespace == self.namespace)
            .map(|(_, name)| name)
    }
}

/// Parses `state.<tool>.<counter>` into namespace and name.
pub(super) fn parse_counter_path(path: &str) -> Option<(String, &str)> {
    let (tool, name) = path.strip_prefix("state.")?.split_once('.')?;
    let namespace = match tool {
        GLOBAL_NAMESPACE => tool.to_owned(),
        tool => to_kebab_case(tool),
    };
    (!name.is_empty()).then_some((namespace, name))
}

/// Returns the operations that entries under `tools` name, and all rules in order. Tools by name
/// come first, then tools by glob, then rules with a `match`, and `"*"` last.
pub(super) fn build_drafts(
    document: PolicyDocument,
    selection: &mut Selection,
    errors: &mut Vec<String>,
) -> (Vec<usize>, Vec<RuleDraft>) {
    let mut entries: Vec<_> = document.tools.unwrap_or_default().into_iter().collect();
    entries.sort_by_key(|(name, _)| is_glob(name));
    let (wildcard, named): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(name, _)| name == "*");
    let mut listed = Vec::new();
    let mut drafts = Vec::new();
    for (name, entry) in named {
        let location = format!("tools.{name}");
        match selection.resolve(&name, &location) {
            Ok(selected) => {
                listed.extend(selected.iter().copied());
                let group = RuleGroup {
                    location,
                    namespace: selection.canonical_name(&name),
                    selected,
                };
                group.add_entry(entry.unwrap_or_default(), &mut drafts);
            }
            Err(error) => errors.push(error),
        }
    }
    for (index, rule) in document.rules.into_iter().flatten().enumerate() {
        let group = RuleGroup {
            location: format!("rules[{index}]"),
            namespace: rule.value.name.clone().unwrap_or_default(),
            selected: selection.all(),
        };
        drafts.push(group.into_draft(rule));
    }
    let build_global_group = |location: &str, selection: &Selection| RuleGroup {
        location: location.to_owned(),
        namespace: GLOBAL_NAMESPACE.to_owned(),
        selected: selection.all(),
    };
    for (_, entry) in wildcard {
        build_global_group("tools.*", selection).add_entry(entry.unwrap_or_default(), &mut drafts);
    }
    let limits = document.all_tools.and_then(|all_tools| all_tools.limits);
    build_global_group("all_tools", selection).add_limits(limits, &mut drafts);
    for draft in &mut drafts {
        apply_filter(draft, selection, errors);
        apply_order(draft, selection, errors);
    }
    (listed, drafts)
}

/// Resolves the tools of `after` and `before`.
fn apply_order(draft: &mut RuleDraft, selection: &Selection, errors: &mut Vec<String>) {
    let at = draft.described_location();
    let mut resolve = |field: &str, names: Option<OneOrMany>| {
        let mut resolved = Vec::new();
        if names
            .as_ref()
            .is_some_and(|names| names.as_slice().is_empty())
        {
            errors.push(format!(
                "{at}: `{field}` names no tool; leave it out, or name one"
            ));
        }
        for name in names.iter().flat_map(OneOrMany::as_slice) {
            match selection.find(name) {
                Ok(name) => resolved.push(name),
                Err(error) => errors.push(format!("{at}: `{field}`: {error}")),
            }
        }
        resolved
    };
    draft.order = CallOrder {
        after: resolve("after", draft.rule.after.take()),
        before: resolve("before", draft.rule.before.take()),
    };
}

/// Narrows the operations of a rule to those that its `match` selects.
fn apply_filter(draft: &mut RuleDraft, selection: &mut Selection, errors: &mut Vec<String>) {
    let Some(filter) = draft.rule.matches.take() else {
        return;
    };
    let at = draft.described_location();
    match selection.filter(&draft.selected, &filter, &at) {
        Ok(selected) => draft.selected = selected,
        Err(error) => errors.push(error),
    }
    let mut compile = |patterns: &Option<Vec<String>>| {
        let compiled = patterns.iter().flatten().map(|text| compile_glob(text));
        compiled
            .collect::<Result<Vec<_>, _>>()
            .unwrap_or_else(|error| {
                errors.push(format!("{at}: {error}"));
                Vec::new()
            })
    };
    draft.items = ItemPatterns {
        prompts: compile(&filter.prompts),
        resources: compile(&filter.resources),
    };
    if !draft.items.is_empty() && !draft.location.starts_with("rules[") {
        errors.push(format!(
            "{at}: a rule under `tools` is about tools; move it under `rules` for prompts and resources"
        ));
    }
}

/// A place in the file with rules: what its rules have in common.
struct RuleGroup {
    location: String,
    namespace: String,
    selected: Vec<usize>,
}

impl RuleGroup {
    /// Adds the rules of an entry under `tools`.
    fn add_entry(&self, entry: ToolEntry, drafts: &mut Vec<RuleDraft>) {
        for (index, rule) in entry.rules.into_iter().flatten().enumerate() {
            let line = rule.referenced.line();
            let draft = self.build_draft(&format!("rules[{index}]"), line, rule.value);
            drafts.push(RuleDraft {
                is_hosted: false,
                ..draft
            });
        }
        self.add_conditions("require", RawAction::Evaluate, entry.require, drafts);
        self.add_conditions("deny_if", RawAction::Deny, entry.deny_if, drafts);
        self.add_limits(entry.limits, drafts);
    }

    /// Adds a rule for each condition of the hosted dialect.
    fn add_conditions(
        &self,
        key: &str,
        action: RawAction,
        conditions: Option<Vec<Spanned<RawCondition>>>,
        drafts: &mut Vec<RuleDraft>,
    ) {
        for (index, condition) in conditions.into_iter().flatten().enumerate() {
            let line = condition.referenced.line();
            let mut condition = condition.value;
            let rule = RawRule {
                name: Some(condition.name.take().unwrap_or_else(|| key.to_owned())),
                action: Some(action),
                on_deny: condition.on_deny.take(),
                reason: condition.reason.take(),
                conditions: Some(vec![condition]),
                ..RawRule::default()
            };
            drafts.push(self.build_draft(&format!("{key}[{index}]"), line, rule));
        }
    }

    /// Adds a rule for each limit of the hosted dialect.
    fn add_limits(&self, limits: Option<Vec<Spanned<RawLimit>>>, drafts: &mut Vec<RuleDraft>) {
        for (index, limit) in limits.into_iter().flatten().enumerate() {
            let line = limit.referenced.line();
            let mut limit = limit.value;
            let name = limit.name.take().or_else(|| limit.counter.clone());
            let rule = RawRule {
                name: Some(name.unwrap_or_else(|| "limit".to_owned())),
                limits: Some(vec![limit]),
                ..RawRule::default()
            };
            drafts.push(self.build_draft(&format!("limits[{index}]"), line, rule));
        }
    }

    /// Builds the draft of a rule in the hosted dialect.
    fn build_draft(&self, key: &str, line: u64, rule: RawRule) -> RuleDraft {
        RuleDraft {
            location: format!("{}.{key}", self.location),
            line,
            namespace: self.namespace.clone(),
            selected: self.selected.clone(),
            rule,
            is_hosted: true,
            items: ItemPatterns::default(),
            order: CallOrder::default(),
        }
    }

    /// Returns the draft of the only rule at this place.
    fn into_draft(self, rule: Spanned<RawRule>) -> RuleDraft {
        RuleDraft {
            location: self.location,
            line: rule.referenced.line(),
            namespace: self.namespace,
            selected: self.selected,
            rule: rule.value,
            is_hosted: false,
            items: ItemPatterns::default(),
            order: CallOrder::default(),
        }
    }
}

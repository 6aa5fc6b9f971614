//! The rules of a file in evaluation order, with all dialects brought into one form.

use serde_saphyr::Spanned;

use super::selection::{Selection, is_glob, to_kebab_case};
use crate::document::{PolicyDocument, RawAction, RawLimit, RawRule, ToolEntry};

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
            .filter(|(of, _)| *of == self.namespace)
            .map(|(_, name)| name)
    }
}

/// Parses `state.<tool>.<counter>` into namespace and name.
pub(super) fn parse_counter_path(path: &str) -> Option<(String, &str)> {
    let (of, name) = path.strip_prefix("state.")?.split_once('.')?;
    let of = if of == GLOBAL_NAMESPACE {
        of.to_owned()
    } else {
        to_kebab_case(of)
    };
    (!name.is_empty()).then_some((of, name))
}

/// Returns the operations that entries under `tools` name, and all rules in order. Tools by name
/// come first, then tools by glob, then rules with a `match`, and `"*"` last.
pub(super) fn build_drafts(
    document: PolicyDocument,
    selection: &mut Selection,
    faults: &mut Vec<String>,
) -> (Vec<usize>, Vec<RuleDraft>) {
    let mut entries: Vec<_> = document.tools.unwrap_or_default().into_iter().collect();
    entries.sort_by_key(|(name, _)| is_glob(name));
    let (everything, named): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(name, _)| name == "*");
    let (mut listed, mut drafts) = (Vec::new(), Vec::new());
    for (name, entry) in named {
        let place = format!("tools.{name}");
        match selection.resolve(&name, &place) {
            Ok(selected) => {
                listed.extend(selected.iter().copied());
                let of = selection.canonical_name(&name);
                let entry = entry.unwrap_or_default();
                add_entry_drafts(entry, &place, &of, &selected, &mut drafts);
            }
            Err(fault) => faults.push(fault),
        }
    }
    let all = selection.all();
    for (index, rule) in document.rules.into_iter().flatten().enumerate() {
        let of = rule.value.name.clone().unwrap_or_default();
        drafts.push(build_draft(rule, format!("rules[{index}]"), &of, &all));
    }
    for (_, entry) in everything {
        add_entry_drafts(
            entry.unwrap_or_default(),
            "tools.*",
            GLOBAL_NAMESPACE,
            &all,
            &mut drafts,
        );
    }
    let limits = document.all_tools.and_then(|all_tools| all_tools.limits);
    add_limit_drafts(limits, "all_tools", GLOBAL_NAMESPACE, &all, &mut drafts);
    for draft in &mut drafts {
        if let Some(matches) = draft.rule.matches.take() {
            let at = draft.described_location();
            match selection.filter(&draft.selected, &matches, &at) {
                Ok(selected) => draft.selected = selected,
                Err(fault) => faults.push(fault),
            }
        }
    }
    (listed, drafts)
}

fn add_entry_drafts(
    entry: ToolEntry,
    place: &str,
    of: &str,
    selected: &[usize],
    to: &mut Vec<RuleDraft>,
) {
    for (index, rule) in entry.rules.into_iter().flatten().enumerate() {
        to.push(build_draft(
            rule,
            format!("{place}.rules[{index}]"),
            of,
            selected,
        ));
    }
    let dialect = [
        ("require", RawAction::Evaluate, entry.require),
        ("deny_if", RawAction::Deny, entry.deny_if),
    ];
    for (word, action, conditions) in dialect {
        for (index, condition) in conditions.into_iter().flatten().enumerate() {
            let line = condition.referenced.line();
            let mut condition = condition.value;
            let rule = RawRule {
                name: Some(condition.name.take().unwrap_or_else(|| word.to_owned())),
                action: Some(action),
                on_deny: condition.on_deny.take(),
                reason: condition.reason.take(),
                conditions: Some(vec![condition]),
                ..RawRule::default()
            };
            let (place, of) = (format!("{place}.{word}[{index}]"), of.to_owned());
            to.push(RuleDraft {
                location: place,
                line,
                namespace: of,
                selected: selected.to_vec(),
                rule,
                is_hosted: true,
            });
        }
    }
    add_limit_drafts(entry.limits, place, of, selected, to);
}

fn add_limit_drafts(
    limits: Option<Vec<Spanned<RawLimit>>>,
    place: &str,
    of: &str,
    selected: &[usize],
    to: &mut Vec<RuleDraft>,
) {
    for (index, limit) in limits.into_iter().flatten().enumerate() {
        let line = limit.referenced.line();
        let mut limit = limit.value;
        let name = limit.name.take().or_else(|| limit.counter.clone());
        let rule = RawRule {
            name: Some(name.unwrap_or_else(|| "limit".to_owned())),
            limits: Some(vec![limit]),
            ..RawRule::default()
        };
        let (place, of) = (format!("{place}.limits[{index}]"), of.to_owned());
        to.push(RuleDraft {
            location: place,
            line,
            namespace: of,
            selected: selected.to_vec(),
            rule,
            is_hosted: true,
        });
    }
}

fn build_draft(rule: Spanned<RawRule>, place: String, of: &str, selected: &[usize]) -> RuleDraft {
    let line = rule.referenced.line();
    let (of, selected) = (of.to_owned(), selected.to_vec());
    RuleDraft {
        location: place,
        line,
        namespace: of,
        selected,
        rule: rule.value,
        is_hosted: false,
    }
}

//! The rules of a file in evaluation order, with all dialects brought into one form.

use serde_saphyr::Spanned;

use super::select::{Selection, is_glob, kebab};
use crate::document::{Action, Document, Entry, Limit, Rule};

/// Namespace of the counters under `"*"`.
pub(super) const EVERYTHING: &str = "_global";

/// A rule as written, with the operations that it applies to.
pub(super) struct Draft {
    pub(super) place: String,
    pub(super) line: u64,
    /// Namespace of the rule's counters.
    pub(super) of: String,
    pub(super) selected: Vec<usize>,
    pub(super) rule: Rule,
    /// True for rules of the hosted dialect, whose conditions can deny.
    pub(super) hosted: bool,
}

impl Draft {
    pub(super) fn at(&self) -> String {
        match self.line {
            0 => self.place.clone(),
            line => format!("line {line}: {}", self.place),
        }
    }

    /// Returns the name of the counter if the path is within this rule's own namespace.
    pub(super) fn counter_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        counter(path)
            .filter(|(of, _)| *of == self.of)
            .map(|(_, name)| name)
    }
}

/// Parses `state.<tool>.<counter>` into namespace and name.
pub(super) fn counter(path: &str) -> Option<(String, &str)> {
    let (of, name) = path.strip_prefix("state.")?.split_once('.')?;
    let of = if of == EVERYTHING {
        of.to_owned()
    } else {
        kebab(of)
    };
    (!name.is_empty()).then_some((of, name))
}

/// Returns the operations that entries under `tools` name, and all rules in order. Tools by name
/// come first, then tools by glob, then rules with a `match`, and `"*"` last.
pub(super) fn drafts(
    document: Document,
    selection: &mut Selection,
    faults: &mut Vec<String>,
) -> (Vec<usize>, Vec<Draft>) {
    let mut entries: Vec<_> = document.tools.unwrap_or_default().into_iter().collect();
    entries.sort_by_key(|(name, _)| is_glob(name));
    let (everything, named): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(name, _)| name == "*");
    let (mut listed, mut drafts) = (Vec::new(), Vec::new());
    for (name, entry) in named {
        let place = format!("tools.{name}");
        match selection.names(&name, &place) {
            Ok(selected) => {
                listed.extend(selected.iter().copied());
                let of = selection.canonical(&name);
                let entry = entry.unwrap_or_default();
                entry_drafts(entry, &place, &of, &selected, &mut drafts);
            }
            Err(fault) => faults.push(fault),
        }
    }
    let all = selection.all();
    for (index, rule) in document.rules.into_iter().flatten().enumerate() {
        let of = rule.value.name.clone().unwrap_or_default();
        drafts.push(draft(rule, format!("rules[{index}]"), &of, &all));
    }
    for (_, entry) in everything {
        entry_drafts(
            entry.unwrap_or_default(),
            "tools.*",
            EVERYTHING,
            &all,
            &mut drafts,
        );
    }
    let limits = document.all_tools.and_then(|all_tools| all_tools.limits);
    limit_drafts(limits, "all_tools", EVERYTHING, &all, &mut drafts);
    for draft in &mut drafts {
        if let Some(matches) = draft.rule.matches.take() {
            let at = draft.at();
            match selection.narrowed(&draft.selected, &matches, &at) {
                Ok(selected) => draft.selected = selected,
                Err(fault) => faults.push(fault),
            }
        }
    }
    (listed, drafts)
}

fn entry_drafts(entry: Entry, place: &str, of: &str, selected: &[usize], to: &mut Vec<Draft>) {
    for (index, rule) in entry.rules.into_iter().flatten().enumerate() {
        to.push(draft(rule, format!("{place}.rules[{index}]"), of, selected));
    }
    let dialect = [
        ("require", Action::Evaluate, entry.require),
        ("deny_if", Action::Deny, entry.deny_if),
    ];
    for (word, action, conditions) in dialect {
        for (index, condition) in conditions.into_iter().flatten().enumerate() {
            let line = condition.referenced.line();
            let mut condition = condition.value;
            let rule = Rule {
                name: Some(condition.name.take().unwrap_or_else(|| word.to_owned())),
                action: Some(action),
                on_deny: condition.on_deny.take(),
                reason: condition.reason.take(),
                conditions: Some(vec![condition]),
                ..Rule::default()
            };
            let (place, of) = (format!("{place}.{word}[{index}]"), of.to_owned());
            to.push(Draft {
                place,
                line,
                of,
                selected: selected.to_vec(),
                rule,
                hosted: true,
            });
        }
    }
    limit_drafts(entry.limits, place, of, selected, to);
}

fn limit_drafts(
    limits: Option<Vec<Spanned<Limit>>>,
    place: &str,
    of: &str,
    selected: &[usize],
    to: &mut Vec<Draft>,
) {
    for (index, limit) in limits.into_iter().flatten().enumerate() {
        let line = limit.referenced.line();
        let mut limit = limit.value;
        let name = limit.name.take().or_else(|| limit.counter.clone());
        let rule = Rule {
            name: Some(name.unwrap_or_else(|| "limit".to_owned())),
            limits: Some(vec![limit]),
            ..Rule::default()
        };
        let (place, of) = (format!("{place}.limits[{index}]"), of.to_owned());
        to.push(Draft {
            place,
            line,
            of,
            selected: selected.to_vec(),
            rule,
            hosted: true,
        });
    }
}

fn draft(rule: Spanned<Rule>, place: String, of: &str, selected: &[usize]) -> Draft {
    let line = rule.referenced.line();
    let (of, selected) = (of.to_owned(), selected.to_vec());
    Draft {
        place,
        line,
        of,
        selected,
        rule: rule.value,
        hosted: false,
    }
}

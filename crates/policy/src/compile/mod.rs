//! Compiles a policy file into rules per operation.
//!
//! [`normalize`] brings all dialects into one form, [`limits`] assigns counters, [`action`]
//! validates the parts of each rule, and [`rule`] builds it.

mod action;
mod limits;
mod normalize;
mod path_check;
mod rule;
mod selection;

use std::{collections::HashMap, fmt, sync::Arc};

use portkey_api::catalog::Catalog;
use sha2::{Digest, Sha256};

pub(crate) use self::selection::MAX_NAME_BYTES;
use self::{
    limits::CounterTable,
    normalize::{RuleDraft, build_drafts},
    path_check::{RulePath, collect_paths},
    rule::compile_rule,
    selection::Selection,
};
use super::{
    HIDEABLE_TOOLS, Policy, ResolvedAlias, ResolvedOperation,
    decide::compared_counters,
    document::{DefaultAction, PolicyDocument},
    limit::CounterLimit,
    path::FieldPath,
    rule::Rule,
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

impl PolicyError {
    /// Returns the first errors, and the number of the others, if there is an error.
    fn check(mut errors: Vec<String>) -> Result<(), Self> {
        if errors.is_empty() {
            return Ok(());
        }
        let more = errors.len().saturating_sub(MAX_ERRORS);
        errors.truncate(MAX_ERRORS);
        if more > 0 {
            errors.push(format!("and {more} more"));
        }
        Err(Self(errors))
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
        let name: Arc<str> = Arc::from(name);
        let mut selection = Selection::from_catalog(catalog);
        let mut errors = Vec::new();
        let hidden_tools = hidden_tools(&document);
        let hidden = resolve_hidden(&document, &mut selection, &mut errors);
        let default = document.default.unwrap_or_default();
        if document.version != "1" && document.version != 1 {
            errors.push("`version` is \"1\"".to_owned());
        }
        let (listed, drafts) = build_drafts(document, &mut selection, &mut errors);
        let compiled = compile_rules(&name, drafts, &mut errors);
        PolicyError::check(errors)?;

        let notes = collect_notes(default, &compiled.rules);
        let ordered = compiled
            .rules
            .iter()
            .flat_map(|rule| rule.order.operations());
        let ordered = ordered.collect();
        let warnings = collect_warnings(&selection, &compiled.paths, catalog);
        let mut operations = resolve_operations(&selection, &compiled, default, &hidden, &listed);
        resolve_aliases(&selection, &compiled.paths, catalog, &mut operations);
        let mut revision = hex::encode(Sha256::digest(text));
        revision.truncate(12);
        Ok(Self {
            name,
            revision,
            denies_by_default: default == DefaultAction::Deny,
            rules: compiled.rules,
            counters: compiled.counters.into_counters(),
            operations,
            hidden_tools,
            ordered,
            warnings,
            notes,
        })
    }
}

/// Returns the built-in tools under `hide`.
fn hidden_tools(document: &PolicyDocument) -> Vec<&'static str> {
    let hidden = document.hide.iter().flatten();
    hidden
        .filter_map(|name| {
            let tools = HIDEABLE_TOOLS.iter();
            tools.copied().find(|tool| *tool == name.value)
        })
        .collect()
}

/// Returns the operations under `hide`, as indexes.
fn resolve_hidden(
    document: &PolicyDocument,
    selection: &mut Selection,
    errors: &mut Vec<String>,
) -> Vec<usize> {
    let mut hidden = Vec::new();
    for (index, name) in document.hide.iter().flatten().enumerate() {
        if HIDEABLE_TOOLS.contains(&name.value.as_str()) {
            continue;
        }
        let location = format!("line {}: hide[{index}]", name.referenced.line());
        match selection.resolve(&name.value, &location) {
            Ok(found) => hidden.extend(found),
            Err(error) => errors.push(error),
        }
    }
    hidden
}

/// The rules of a policy.
#[derive(Default)]
struct CompiledRules {
    rules: Vec<Rule>,
    /// Operations of each rule, as indexes.
    operations: Vec<Vec<usize>>,
    counters: CounterTable,
    /// Paths of all rules.
    paths: Vec<RulePath>,
}

fn compile_rules(
    policy: &Arc<str>,
    drafts: Vec<RuleDraft>,
    errors: &mut Vec<String>,
) -> CompiledRules {
    let mut compiled = CompiledRules::default();
    if drafts.len() > MAX_RULES {
        errors.push(format!("there are more than {MAX_RULES} rules"));
        return compiled;
    }
    // Counters come first, because a rule may refer to the counter of another rule.
    let limits: Vec<Result<Vec<CounterLimit>, String>> = drafts
        .iter()
        .map(|draft| compiled.counters.compile_limits(draft))
        .collect();
    for (mut draft, limits) in drafts.into_iter().zip(limits) {
        let rule =
            limits.and_then(|limits| compile_rule(policy, &draft, &compiled.counters, limits));
        match rule {
            Ok(rule) => {
                let rule = Rule {
                    items: std::mem::take(&mut draft.items),
                    order: std::mem::take(&mut draft.order),
                    ..rule
                };
                compiled.paths.extend(collect_paths(&rule, &draft));
                compiled.rules.push(rule);
                compiled.operations.push(draft.selected);
            }
            Err(error) => errors.push(format!("{}: {error}", draft.described_location())),
        }
    }
    compiled
}

/// Assigns the rules to the operations that they apply to.
fn resolve_operations(
    selection: &Selection,
    compiled: &CompiledRules,
    default: DefaultAction,
    hidden: &[usize],
    listed: &[usize],
) -> HashMap<&'static str, ResolvedOperation> {
    let mut operations = HashMap::new();
    for (index, entry) in selection.entries.iter().enumerate() {
        let applying = compiled
            .operations
            .iter()
            .zip(&compiled.rules)
            .enumerate()
            .filter(|(_, (operations, _))| operations.contains(&index));
        let (indexes, rules): (Vec<usize>, Vec<&Rule>) = applying
            .map(|(rule, (_, compiled))| (rule, compiled))
            .unzip();
        let compared_counters = compared_counters(rules.iter().copied());
        let is_hidden = hidden.contains(&index);
        let is_listed = listed.contains(&index);
        let is_open = default == DefaultAction::Allow
            || is_listed
            || rules.iter().any(|rule| rule.can_override_default_deny());
        let can_pass = !is_hidden && is_open && !rules.iter().any(|rule| rule.always_denies());
        let resolved = ResolvedOperation {
            is_hidden,
            can_pass,
            is_listed,
            rules: indexes,
            compared_counters,
            aliases: Vec::new(),
        };
        operations.insert(entry.name, resolved);
    }
    operations
}

/// Resolves other names of arguments, which rules may use like the names themselves.
fn resolve_aliases(
    selection: &Selection,
    paths: &[RulePath],
    catalog: &Catalog,
    operations: &mut HashMap<&'static str, ResolvedOperation>,
) {
    for path in paths {
        for tool in &path.tools {
            let entry = selection.entries.get(*tool);
            let Some(alias) = entry
                .and_then(|entry| catalog.find(entry.name).ok())
                .and_then(|entry| path.alias_of(entry))
            else {
                continue;
            };
            let (Some(resolved), Some(target)) = (
                entry.and_then(|entry| operations.get_mut(entry.name)),
                FieldPath::parse(alias.target),
            ) else {
                continue;
            };
            let resolved_alias = ResolvedAlias {
                list: alias.list,
                name: alias.name.to_owned(),
                target,
            };
            if !resolved.aliases.contains(&resolved_alias) {
                resolved.aliases.push(resolved_alias);
            }
        }
    }
}

/// Returns effects of the default that authors may not expect.
fn collect_notes(default: DefaultAction, rules: &[Rule]) -> Vec<String> {
    let names_items = rules.iter().any(|rule| !rule.items.is_empty());
    if default == DefaultAction::Allow || names_items {
        return Vec::new();
    }
    let note = "`default: deny` closes all prompts and resources, because no rule has `prompts` or `resources` \
                in its `match`; to open them, add a rule such as { name: texts, action: allow, match: { \
                prompts: [\"*\"], resources: [\"*\"] } }";
    vec![note.to_owned()]
}

/// Returns likely mistakes: names that match no tool, and paths that lead to nothing.
fn collect_warnings(selection: &Selection, paths: &[RulePath], catalog: &Catalog) -> Vec<String> {
    let mut warnings = selection.warnings.clone();
    let tools: Vec<_> = selection.entries.iter().map(|entry| entry.name).collect();
    let mut path_warnings = paths
        .iter()
        .filter_map(|path| path.warning(catalog, &tools));
    warnings.extend(path_warnings.by_ref().take(MAX_PATH_WARNINGS));
    if path_warnings.next().is_some() {
        warnings.push("and more paths that lead to nothing".to_owned());
    }
    warnings
}

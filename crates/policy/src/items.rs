//! Rules for prompts and resources: which apply to a name or URI, and what is listed.

use std::borrow::Cow;

use globset::GlobMatcher;

use super::{Policy, PolicyTarget, RuleRef, rule::Rule};

/// The prompts and resources that a rule applies to.
#[derive(Debug, Default)]
pub(super) struct ItemPatterns {
    pub(super) prompts: Vec<GlobMatcher>,
    pub(super) resources: Vec<GlobMatcher>,
}

impl ItemPatterns {
    pub(super) fn is_empty(&self) -> bool {
        self.prompts.is_empty() && self.resources.is_empty()
    }

    fn matches(&self, target: &PolicyTarget<'_>) -> bool {
        let patterns = match target {
            PolicyTarget::Tool { .. } => return false,
            PolicyTarget::Prompt(_) => &self.prompts,
            PolicyTarget::Resource(_) => &self.resources,
        };
        patterns
            .iter()
            .any(|pattern| pattern.is_match(target.name()))
    }
}

/// A pattern of a rule for prompts or resources.
#[derive(Clone, Copy, Debug)]
pub struct ItemPattern<'a>(&'a GlobMatcher);

impl ItemPattern<'_> {
    /// Returns the pattern as it is written.
    pub fn as_str(&self) -> &str {
        self.0.glob().glob()
    }

    /// Returns true if it matches the name of a prompt or the URI of a resource.
    pub fn is_match(&self, target: &PolicyTarget<'_>) -> bool {
        self.0.is_match(target.name())
    }
}

impl Policy {
    /// Returns the patterns for prompts, each with its rule.
    pub fn prompt_patterns(&self) -> impl Iterator<Item = (&RuleRef, ItemPattern<'_>)> {
        self.rules.iter().flat_map(|rule| {
            let patterns = rule.items.prompts.iter();
            patterns.map(|pattern| (&rule.rule_ref, ItemPattern(pattern)))
        })
    }

    /// Returns the patterns for resources, each with its rule.
    pub fn resource_patterns(&self) -> impl Iterator<Item = (&RuleRef, ItemPattern<'_>)> {
        self.rules.iter().flat_map(|rule| {
            let patterns = rule.items.resources.iter();
            patterns.map(|pattern| (&rule.rule_ref, ItemPattern(pattern)))
        })
    }

    /// Returns true if the caller can get the prompt or read the resource, as far as that can be
    /// decided without the call. A rule with a condition is assumed to let it pass.
    pub fn can_permit_item(&self, target: &PolicyTarget<'_>) -> bool {
        let rules = || self.rules.iter().filter(|rule| rule.items.matches(target));
        let is_open = !self.denies_by_default || rules().any(Rule::can_override_default_deny);
        is_open && !rules().any(Rule::always_denies)
    }

    /// Returns true if a rule for the prompt or resource depends on whether the session has read
    /// untrusted content.
    pub fn item_depends_on_taint(&self, target: &PolicyTarget<'_>) -> bool {
        let mut rules = self.rules.iter().filter(|rule| rule.items.matches(target));
        rules.any(|rule| rule.when.as_ref().is_some_and(|when| when.depends_on_taint))
    }

    /// Returns the indexes of the rules that apply to a call or an item, in their order.
    pub(super) fn rule_indexes(&self, target: &PolicyTarget<'_>) -> Cow<'_, [usize]> {
        if let PolicyTarget::Tool { operation, .. } = target {
            let resolved = self.operations.get(operation.name());
            return Cow::Borrowed(resolved.map_or(&[], |resolved| &resolved.rules));
        }
        let applying = self
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.items.matches(target));
        Cow::Owned(applying.map(|(index, _)| index).collect())
    }

    /// Returns true if both policies list the same prompts and resources, whatever there is.
    pub(super) fn lists_same_items_as(&self, other: &Self) -> bool {
        self.denies_by_default == other.denies_by_default
            && self.item_listing().eq(other.item_listing())
    }

    /// Returns what of each rule decides the lists of prompts and resources.
    fn item_listing(&self) -> impl Iterator<Item = (bool, bool, Vec<&str>, Vec<&str>)> {
        self.rules
            .iter()
            .filter(|rule| !rule.items.is_empty())
            .map(|rule| {
                (
                    rule.can_override_default_deny(),
                    rule.always_denies(),
                    glob_texts(&rule.items.prompts),
                    glob_texts(&rule.items.resources),
                )
            })
    }
}

fn glob_texts(patterns: &[GlobMatcher]) -> Vec<&str> {
    let texts = patterns.iter().map(|pattern| pattern.glob().glob());
    texts.collect()
}

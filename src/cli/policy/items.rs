//! Prompts and resources that the rules of a policy name, and this server does not have.

use portkey_api::domains::DOMAINS;
use portkey_policy::{Policy as Rules, PolicyTarget};

use crate::mcp::{
    cards::{CARDS, Card},
    prompts::PromptLibrary,
};

/// Segments of URIs that stand in the place of a domain.
const SEGMENTS: [&str; 3] = ["guide", "operations", "results"];

/// Returns a note for each pattern that matches no prompt, or no resource.
pub(super) fn find_unknown(rules: &Rules) -> Vec<String> {
    let prompts = PromptLibrary::built_in();
    let mut notes = Vec::new();
    for (rule, pattern) in rules.prompt_patterns() {
        let is_known = prompts
            .iter()
            .any(|prompt| pattern.is_match(&PolicyTarget::Prompt(prompt.name())));
        if !is_known {
            notes.push(format!(
                "{rule}: this server has no prompt `{}`, unless a file of --prompts adds it",
                pattern.as_str()
            ));
        }
    }
    for (rule, pattern) in rules.resource_patterns() {
        let text = pattern.as_str();
        // What a pattern says before its first wildcard.
        let start = text.split(['*', '?', '[', '{', '\\']).next();
        let start = start.unwrap_or_default();
        let domains = DOMAINS.iter().map(|domain| domain.name);
        let is_known = SEGMENTS.into_iter().chain(domains).any(|segment| {
            let uri = format!("portkey://{segment}/");
            uri.starts_with(start) || start.starts_with(&uri)
        });
        let is_card = || {
            let mut uris = CARDS.iter().map(Card::uri);
            uris.any(|uri| pattern.is_match(&PolicyTarget::Resource(&uri)))
        };
        if !is_known && !is_card() {
            notes.push(format!("{rule}: this server has no resource `{text}`"));
        }
    }
    notes
}

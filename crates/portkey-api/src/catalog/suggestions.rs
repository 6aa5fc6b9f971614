//! Suggests tools for an unknown name, and only such as do what the name's verb says.
//!
//! A name that is nearly a tool's is treated as a misspelling. In any other name, the verb decides
//! which effect is meant. A caller who wants to create or to read is therefore never pointed at a
//! tool that deletes.

use portkey_operation::{Effect, Operation};

/// The maximum number of suggested tools.
const MAX_SUGGESTIONS: usize = 3;
/// The maximum length of a compared name. Comparison takes quadratic time, and no caller means a
/// name by a page of text.
const MAX_NAME_BYTES: usize = 100;

const READ_VERBS: &[&str] = &[
    "get", "list", "show", "find", "search", "read", "fetch", "describe", "view", "count", "check",
    "query", "lookup", "retrieve", "display", "see", "who", "inspect",
];
const CREATE_VERBS: &[&str] = &[
    "create", "add", "new", "make", "insert", "invite", "register", "issue", "generate", "post",
    "store",
];
const UPDATE_VERBS: &[&str] = &[
    "update", "edit", "set", "change", "modify", "patch", "enable", "disable", "rename", "reset",
    "assign", "publish", "put", "replace", "move", "adjust", "raise", "increase", "lower",
    "upsert", // An archived resource still exists, so archiving is an update.
    "archive",
];
const DELETE_VERBS: &[&str] = &[
    "delete",
    "remove",
    "revoke",
    "drop",
    "destroy",
    "kick",
    "erase",
    "unregister",
    "detach",
];

/// Words that do not help to find a tool.
const STOP_WORDS: &[&str] = &[
    "a", "all", "an", "by", "for", "from", "in", "of", "on", "the", "to", "with",
];

/// An unknown tool name, split into verb and nouns.
#[derive(Clone, Debug)]
pub struct ParsedToolName {
    name: String,
    verb: Option<String>,
    effect: Option<Effect>,
    nouns: Vec<String>,
    /// True if one of the nouns is a plural.
    is_plural: bool,
}

impl ParsedToolName {
    /// Splits a name in any spelling.
    pub fn new(name: &str) -> Self {
        let name: String = name.chars().take(MAX_NAME_BYTES).collect();
        let words = split_words(&name);
        let verb = words
            .iter()
            .find(|word| verb_effect(word).is_some())
            .cloned();
        let effect = verb.as_deref().and_then(verb_effect);
        let verb = verb.or_else(|| words.first().cloned());
        let is_noun = |word: &&String| effect.is_none() || Some(*word) != verb.as_ref();
        let nouns: Vec<_> = words
            .iter()
            .filter(is_noun)
            .map(|word| singularize(word))
            .collect();
        let is_plural = words
            .iter()
            .filter(is_noun)
            .zip(&nouns)
            .any(|(word, noun)| word != noun);
        Self {
            name: words.join("-"),
            verb,
            effect,
            nouns,
            is_plural,
        }
    }

    /// Returns the nouns, without the verb.
    pub fn nouns(&self) -> String {
        self.nouns.join(" ")
    }

    /// Returns true if the name may mean an operation: the operation has the verb, or the effect of
    /// the verb.
    ///
    /// A name without a verb can mean reads only.
    pub fn may_mean(&self, operation: &Operation) -> bool {
        let has_verb = self.verb.as_deref() == operation.name().split('-').next();
        let is_meant = self.effect.unwrap_or(Effect::Read) == operation.effect();
        match operation.effect() {
            // A deletion must be named in full: of two kinds of resource, the other would be the
            // wrong one.
            Effect::Delete => is_meant && self.matches_all_nouns(operation),
            Effect::Create => has_verb || is_meant && !operation.hints().destructive,
            Effect::Read | Effect::Update => has_verb || is_meant,
        }
    }

    /// Returns the operation with the most similar name, if the name is a misspelling of it.
    pub fn find_misspelled<'a>(
        &self,
        operations: impl Iterator<Item = &'a Operation>,
    ) -> Option<&'a Operation> {
        let max_distance = if self.name.len() < 8 { 1 } else { 2 };
        let near = operations.filter_map(|operation| {
            let names = [operation.name()]
                .into_iter()
                .chain(operation.alias_names().iter().copied());
            let distance = names.filter_map(|name| self.edit_distance(name)).min()?;
            (distance <= max_distance).then_some((distance, operation))
        });
        near.min_by_key(|(distance, _)| *distance)
            .map(|(_, operation)| operation)
    }

    /// Returns the edit distance to a name with the same verb.
    fn edit_distance(&self, name: &str) -> Option<usize> {
        if self.name.len().abs_diff(name.len()) > 2 {
            return None;
        }
        let verb = |name: &str| name.split('-').next().unwrap_or_default().to_owned();
        let ours = verb(&self.name);
        let theirs = verb(name);
        let is_same = ours == theirs
            || verb_effect(&ours).is_none() && strsim::osa_distance(&ours, &theirs) <= 1;
        is_same.then(|| strsim::osa_distance(&self.name, name))
    }

    /// Scores the match with the names of an operation, if they contain all nouns.
    fn score(&self, operation: &Operation) -> Option<usize> {
        let own = split_words(operation.name());
        let also: Vec<_> = operation
            .alias_names()
            .iter()
            .flat_map(|name| split_words(name))
            .collect();
        let mut fit = 0_usize;
        for noun in &self.nouns {
            fit += match (contains_noun(&own, noun), contains_noun(&also, noun)) {
                (true, _) => 10,
                (false, true) => 6,
                (false, false) => return None,
            };
        }
        let verb = own.first().map(String::as_str);
        let is_verb = self.verb.as_deref() == verb;
        let lists = self.is_plural && verb == Some("list");
        // Among equal matches, the operation with fewer words in its name is more likely.
        let fit = fit + if is_verb { 3 } else { 0 } + if lists { 2 } else { 0 };
        (!self.nouns.is_empty()).then_some(fit.saturating_sub(own.len()))
    }

    /// Returns true if names and search terms of an operation contain all nouns.
    fn matches_all_nouns(&self, operation: &Operation) -> bool {
        let names = [operation.name()]
            .into_iter()
            .chain(operation.alias_names().iter().copied());
        let all: Vec<_> = names
            .chain(operation.search_terms().iter().copied())
            .flat_map(split_words)
            .collect();
        !self.nouns.is_empty() && self.nouns.iter().all(|noun| contains_noun(&all, noun))
    }

    /// Returns the operations that the name may mean, by their names, best match first.
    pub fn rank_by_name<'a>(
        &self,
        operations: impl Iterator<Item = &'a Operation>,
    ) -> Vec<&'a Operation> {
        let mut candidates: Vec<_> = operations
            .filter(|operation| self.may_mean(operation))
            .filter_map(|operation| Some((self.score(operation)?, operation)))
            .collect();
        candidates.sort_by(|(a, one), (b, other)| b.cmp(a).then(one.name().cmp(other.name())));
        candidates
            .into_iter()
            .map(|(_, operation)| operation)
            .take(MAX_SUGGESTIONS)
            .collect()
    }
}

/// Suggests operations as the end of a sentence. Returns an empty text if there are none.
pub fn did_you_mean_one_of<'a>(operations: impl IntoIterator<Item = &'a Operation>) -> String {
    let mut names = operations
        .into_iter()
        .take(MAX_SUGGESTIONS)
        .map(|one| format!("`{}`", one.name()));
    let Some(first) = names.next() else {
        return String::new();
    };
    let others: Vec<_> = names.collect();
    match others.is_empty() {
        true => format!(", did you mean {first}?"),
        false => format!(", did you mean {first}? Or {}?", others.join(" or ")),
    }
}

/// Suggests operations for an unknown name, as the end of a sentence.
pub fn suggest_tools<'a>(
    name: &str,
    operations: impl Iterator<Item = &'a Operation> + Clone,
) -> String {
    let guess = ParsedToolName::new(name);
    match guess.find_misspelled(operations.clone()) {
        Some(operation) => did_you_mean_one_of([operation]),
        None => did_you_mean_one_of(guess.rank_by_name(operations)),
    }
}

fn verb_effect(verb: &str) -> Option<Effect> {
    let verbs = [
        (READ_VERBS, Effect::Read),
        (CREATE_VERBS, Effect::Create),
        (UPDATE_VERBS, Effect::Update),
        (DELETE_VERBS, Effect::Delete),
    ];
    verbs
        .into_iter()
        .find(|(words, _)| words.contains(&verb))
        .map(|(_, effect)| effect)
}

/// Splits a name in any spelling into lower-case words.
fn split_words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_is_small = false;
    for c in name.chars() {
        let begins = !c.is_alphanumeric() || before_is_small && c.is_uppercase();
        if begins && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        before_is_small = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty() && !STOP_WORDS.contains(&word.as_str()));
    words
}

/// Returns true if one of the words is the noun, in the singular or the plural.
fn contains_noun(words: &[String], noun: &str) -> bool {
    words.iter().any(|word| singularize(word) == noun)
}

/// Removes the plural ending of a noun.
fn singularize(word: &str) -> String {
    match word.strip_suffix("ies") {
        Some(stem) if stem.len() > 1 => format!("{stem}y"),
        _ if word.len() < 4 || word.ends_with("ss") => word.to_owned(),
        _ => word.strip_suffix('s').unwrap_or(word).to_owned(),
    }
}

//! Lexicon of search: what words and phrases of many languages stand for.
//!
//! `lexicon.txt` has the entries and describes their form. Knows no operation but by name.

use std::{
    collections::{BTreeSet, HashMap},
    sync::LazyLock,
};

use super::{
    OperationKind,
    tokens::{Token, fold, is_run, is_stop_word, stem},
};

/// Maximum number of words that a gap in a phrase passes over.
const MAX_GAP: usize = 5;

/// Minimum length of the beginning of a word, in characters.
const MIN_PREFIX_CHARS: usize = 3;

/// Meaning of a phrase, or a condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Terms of operations, all of one subject.
    Terms(Vec<String>),
    /// Kind of an operation that a verb asks for.
    Verb(OperationKind),
    /// Kind of an operation that a word suggests if there is no verb.
    Hint(OperationKind),
    /// Name of a tool.
    Tool(&'static str),
    /// Name that rules refer to.
    Tag(&'static str),
    /// The query asks and does not command.
    Question,
    /// The query asks, not by nouns alone. For rules.
    Asked,
    /// The query asks how to do something, or politely for something to be done.
    Polite,
    /// Something was changed.
    Past,
    /// The verb that follows is not what is to be done.
    Negation,
}

/// A part of a phrase.
#[derive(Debug)]
enum Pattern {
    Word(String),
    Prefix(String),
    Gap,
}

impl Pattern {
    fn matches(&self, token: &Token) -> bool {
        !token.is_run
            && match self {
                Self::Word(word) => *word == token.stem || *word == token.text,
                Self::Prefix(prefix) => token.text.starts_with(prefix),
                Self::Gap => false,
            }
    }
}

/// The words of a phrase after its first, and the line that has it.
#[derive(Debug)]
struct Phrase {
    rest: Vec<Pattern>,
    line: usize,
}

/// Conditions, all of which a query has to meet, and what is then meant.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) conditions: Vec<Condition>,
    pub(super) targets: Vec<Target>,
}

/// A condition of a rule.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) target: Target,
    /// `true` if the query must not meet it.
    pub(super) is_negated: bool,
}

/// A part of a query that the lexicon has.
#[derive(Debug)]
pub(super) struct Match {
    /// Indices of the tokens that the phrase consists of.
    pub(super) tokens: Vec<usize>,
    /// Lines of the lexicon that have the phrase.
    pub(super) lines: BTreeSet<usize>,
}

/// Words and phrases with their meaning.
#[derive(Debug)]
pub(super) struct Lexicon {
    lines: Vec<Vec<Target>>,
    by_word: HashMap<String, Vec<Phrase>>,
    by_prefix: HashMap<String, Vec<Phrase>>,
    /// Single words with their lines, by their first letter.
    singles: HashMap<char, Vec<(String, usize)>>,
    /// Phrases in scripts without spaces, by their first character, the longest first.
    runs: HashMap<char, Vec<(String, usize)>>,
    pub(super) rules: Vec<Rule>,
}

impl Lexicon {
    /// Returns the lexicon, which is read when first asked for.
    pub(super) fn get() -> &'static Self {
        static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
            Lexicon::parse(&[
                include_str!("lexicon.txt"),
                include_str!("lexicon_world.txt"),
            ])
        });
        &LEXICON
    }

    fn parse(texts: &[&'static str]) -> Self {
        let mut lexicon = Self {
            lines: Vec::new(),
            by_word: HashMap::new(),
            by_prefix: HashMap::new(),
            singles: HashMap::new(),
            runs: HashMap::new(),
            rules: Vec::new(),
        };
        let lines = texts.iter().flat_map(|text| text.lines());
        for line in lines.filter(|line| !line.starts_with("# ")) {
            if let Some((conditions, targets)) = line.split_once("=>") {
                let conditions = conditions.split('&').map(|condition| {
                    let condition = condition.trim();
                    let positive = condition.strip_prefix('-');
                    Condition {
                        target: parse_target(positive.unwrap_or(condition)),
                        is_negated: positive.is_some(),
                    }
                });
                lexicon.rules.push(Rule {
                    conditions: conditions.collect(),
                    targets: parse_targets(targets),
                });
            } else if let Some((targets, phrases)) = line.split_once('=') {
                let number = lexicon.lines.len();
                lexicon.lines.push(parse_targets(targets));
                for phrase in phrases.split(',') {
                    lexicon.insert(phrase.trim(), number);
                }
            }
        }
        for phrases in lexicon.runs.values_mut() {
            phrases.sort_by_key(|(phrase, _)| std::cmp::Reverse(phrase.len()));
        }
        lexicon
    }

    fn insert(&mut self, phrase: &str, line: usize) {
        if is_run(phrase) {
            let phrase: String = fold(phrase).split_whitespace().collect();
            if let Some(first) = phrase.chars().next() {
                self.runs.entry(first).or_default().push((phrase, line));
            }
            return;
        }
        // As a query is split, with gaps and beginnings in addition.
        let is_part = |c: char| c.is_alphanumeric() || c == '*';
        let words = phrase.split_whitespace().flat_map(|word| match word {
            ".." => vec![word],
            _ => word
                .split(|c| !is_part(c))
                .filter(|part| !part.is_empty())
                .collect(),
        });
        let mut patterns = words.map(|word| match word {
            ".." => Pattern::Gap,
            _ => match word.strip_suffix('*') {
                Some(prefix) => Pattern::Prefix(fold(prefix)),
                None => Pattern::Word(stem(&fold(word))),
            },
        });
        let first = patterns.next();
        let rest: Vec<_> = patterns.collect();
        match first {
            Some(Pattern::Word(word)) => {
                if let Some(first) = word.chars().next().filter(|_| rest.is_empty()) {
                    let singles = self.singles.entry(first).or_default();
                    singles.push((word.clone(), line));
                }
                self.by_word
                    .entry(word)
                    .or_default()
                    .push(Phrase { rest, line });
            }
            Some(Pattern::Prefix(prefix)) => {
                let of = self.by_prefix.entry(prefix).or_default();
                of.push(Phrase { rest, line });
            }
            Some(Pattern::Gap) | None => {}
        }
    }

    /// Returns the targets of a line.
    pub(super) fn targets(&self, line: usize) -> &[Target] {
        self.lines.get(line).map_or(&[], Vec::as_slice)
    }

    /// Returns the single words that begin with a letter and that a misspelled word may stand for.
    pub(super) fn words(&self, first: char) -> impl Iterator<Item = (&str, usize)> {
        let of = self.singles.get(&first).into_iter().flatten();
        of.map(|(word, line)| (&**word, *line))
    }

    /// Finds the longest phrase that begins with a token. A word as it stands comes before a beginning,
    /// and a long beginning before a short one.
    pub(super) fn find(&self, tokens: &[Token], at: usize) -> Option<Match> {
        let token = tokens.get(at).filter(|token| !token.is_run)?;
        let mut best: Option<((usize, usize), Match)> = None;
        let mut consider = |phrases: &[Phrase], strength: usize| {
            for phrase in phrases {
                let Some(found) = match_rest(&phrase.rest, tokens, at) else {
                    continue;
                };
                let rank = (found.len(), strength);
                match &mut best {
                    Some((known, of)) if *known == rank => {
                        if of.tokens == found {
                            of.lines.insert(phrase.line);
                        }
                    }
                    Some((known, _)) if *known > rank => {}
                    _ => {
                        best = Some((
                            rank,
                            Match {
                                tokens: found,
                                lines: BTreeSet::from([phrase.line]),
                            },
                        ));
                    }
                }
            }
        };
        let spellings = [
            Some(&token.stem),
            (token.text != token.stem).then_some(&token.text),
        ];
        for word in spellings.into_iter().flatten() {
            consider(
                self.by_word.get(word).map_or(&[], Vec::as_slice),
                usize::MAX,
            );
        }
        let ends = token.text.char_indices().map(|(end, _)| end);
        for end in ends.chain([token.text.len()]).skip(MIN_PREFIX_CHARS) {
            let prefix = token.text.get(..end).unwrap_or_default();
            consider(self.by_prefix.get(prefix).map_or(&[], Vec::as_slice), end);
        }
        best.map(|(_, found)| found)
    }

    /// Splits a run into the phrases that it has. What the lexicon lacks is passed over.
    pub(super) fn segment(&self, run: &str) -> Vec<BTreeSet<usize>> {
        let mut found = Vec::new();
        let mut rest = run;
        while let Some(first) = rest.chars().next() {
            let phrases = self.runs.get(&first).into_iter().flatten();
            let mut phrases = phrases.filter(|(phrase, _)| {
                let after = rest.strip_prefix(&**phrase);
                after.is_some_and(|after| !is_wish(phrase, after))
            });
            let length = match phrases.next() {
                None => first.len_utf8(),
                Some((longest, line)) => {
                    let same = phrases.take_while(|(phrase, _)| phrase.len() == longest.len());
                    found.push(same.map(|(_, line)| *line).chain([*line]).collect());
                    longest.len()
                }
            };
            rest = rest.get(length..).unwrap_or_default();
        }
        found
    }
}

/// Returns true if a Japanese verb in the form of the past is the beginning of a wish: 削除したい wants what 削除した has
/// done.
fn is_wish(phrase: &str, after: &str) -> bool {
    phrase.ends_with('た') && after.starts_with('い')
}

/// Returns the tokens of a phrase whose first word is the token at `at`.
fn match_rest(rest: &[Pattern], tokens: &[Token], at: usize) -> Option<Vec<usize>> {
    let mut found = vec![at];
    let mut next = at + 1;
    let mut patterns = rest.iter();
    while let Some(pattern) = patterns.next() {
        let (pattern, gap) = match pattern {
            Pattern::Gap => (patterns.next()?, MAX_GAP),
            other => (other, 0),
        };
        let here = tokens.get(next..)?.iter().take(gap + 1);
        let place = next + here.into_iter().position(|token| pattern.matches(token))?;
        found.push(place);
        next = place + 1;
    }
    Some(found)
}

fn parse_targets(text: &'static str) -> Vec<Target> {
    text.split(',')
        .map(|target| parse_target(target.trim()))
        .collect()
}

fn parse_target(text: &'static str) -> Target {
    let kind = |name: &str| match name {
        "list" => OperationKind::List,
        "create" => OperationKind::Create,
        "update" => OperationKind::Update,
        "delete" => OperationKind::Delete,
        _ => OperationKind::Get,
    };
    match text.split_at_checked(1) {
        Some(("@", name)) => Target::Verb(kind(name)),
        Some(("~", name)) => Target::Hint(kind(name)),
        Some((">", name)) => Target::Tool(name),
        Some(("#", name)) => Target::Tag(name),
        Some(("!", "polite")) => Target::Polite,
        Some(("!", "past")) => Target::Past,
        Some(("!", "not")) => Target::Negation,
        Some(("?", "")) => Target::Question,
        Some(("?", "?")) => Target::Asked,
        _ => {
            let words = text.split_whitespace().filter(|word| !is_stop_word(word));
            Target::Terms(words.map(stem).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "tests")]

    use std::collections::HashSet;

    use portkey_api::catalog::Catalog;

    use super::*;
    use crate::mcp::surface::find_builtin;

    #[test]
    fn every_target_of_the_lexicon_exists() {
        let catalog = Catalog::full();
        let lexicon = Lexicon::get();
        let rules = lexicon.rules.iter();
        let targets = lexicon
            .lines
            .iter()
            .chain(rules.clone().map(|rule| &rule.targets));
        let tags: HashSet<_> = lexicon
            .lines
            .iter()
            .flatten()
            .filter_map(|target| match target {
                Target::Tag(tag) => Some(*tag),
                _ => None,
            })
            .chain(["number"])
            .collect();
        for target in targets.flatten() {
            if let Target::Tool(name) = target {
                assert!(
                    catalog.find(name).is_ok() || find_builtin(name).is_some(),
                    "there is no `{name}`"
                );
            }
            if let Target::Terms(words) = target {
                let text = words.concat();
                assert!(
                    !text.is_empty() && text.chars().all(char::is_alphanumeric),
                    "{text}"
                );
            }
        }
        for condition in rules.flat_map(|rule| &rule.conditions) {
            match &condition.target {
                Target::Tag(tag) => {
                    for tag in tag.split("<#") {
                        assert!(tags.contains(tag), "no line has #{tag}");
                    }
                }
                Target::Verb(_) | Target::Question | Target::Asked | Target::Past => {}
                other => panic!("no rule can ask for {other:?}"),
            }
        }
    }
}

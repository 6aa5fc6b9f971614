//! Analysis of a query: subjects, the kind of operation that its verbs ask for, and the tools that it
//! paraphrases.
//!
//! A question asks for reads, whatever its verbs are: "who deleted the workspace" deletes nothing.

use std::collections::BTreeMap;

use super::{
    OperationKind,
    lexicon::{Condition, Lexicon, Target},
    tokens::{self, Token},
    units::{Unit, Vocabulary, find_units},
};

/// Share of a verb that follows another.
const FURTHER_VERB_SHARE: f32 = 0.4;

/// Share of what suggests a kind without a verb.
const HINT_SHARE: f32 = 0.5;

/// Share of reads in a query of nouns only.
const NOUN_SHARE: f32 = 0.25;

/// Share of the subjects of a question about what was done to them.
const PAST_OBJECT_SHARE: f32 = 0.5;

/// Share of what rules for the past add to a question about it.
const PAST_RULE_SHARE: f32 = 1.4;

/// Share of what follows words such as "without".
const NEGATED_SHARE: f32 = 0.4;

/// Share of a verb as a term.
const VERB_AS_TERM_SHARE: f32 = 0.6;

/// Share of a further phrase that stands for the same tool.
const FURTHER_PHRASE_SHARE: f32 = 0.35;

/// Words that say how things are now, in the form of the past.
const STATES: &[&str] = &[
    "allowed",
    "assigned",
    "attached",
    "blocked",
    "connected",
    "enabled",
    "expired",
    "leaked",
    "permitted",
    "registered",
    "restricted",
    "shared",
    "stored",
    "switched",
    "used",
];

/// Words with the ending of the past that do not ask for it.
const OTHER_PAST: &[&str] = &[
    "based",
    "burned",
    "called",
    "consumed",
    "exceeded",
    "failed",
    "hosted",
    "interested",
    "limited",
    "missed",
    "needed",
    "reached",
    "related",
    "supported",
];

/// Words before a noun.
const DETERMINERS: &[&str] = &[
    "the", "a", "an", "this", "that", "our", "my", "your", "his", "her", "their", "last", "any",
    "these", "those", "every", "each",
];

/// Words that begin a question without a question word.
const AUXILIARIES: &[&str] = &[
    "is", "are", "was", "were", "does", "do", "did", "has", "have", "had", "will", "should", "may",
    "am", "how", "isn", "aren", "who", "what", "which", "when", "where", "why", "hat", "haben",
    "hast", "gibt", "ist", "sind", "est", "sont", "hay", "esta", "estan", "tem", "есть",
];

/// Words that ask what may be done, and not what was done.
const MODALS: &[&str] = &[
    "kann",
    "konnen",
    "darf",
    "durfen",
    "soll",
    "muss",
    "puede",
    "pueden",
    "debe",
    "deben",
    "podria",
    "peut",
    "peuvent",
    "doit",
    "doivent",
    "pode",
    "podem",
    "deve",
    "devem",
    "puo",
    "possono",
    "devono",
    "может",
    "могут",
    "должен",
    "должны",
    "нужно",
    "bisa",
    "boleh",
    "dapat",
    "harus",
];

/// Parts of scripts without spaces that do the same.
const MODAL_RUNS: &[&str] = &[
    "できる",
    "できます",
    "可能",
    "可以",
    "能够",
    "应该",
    "谁能",
    "할 수",
    "수 있",
    "सकता",
    "सकते",
    "सकती",
    "চাই",
    "পারে",
    "يستطيع",
    "يمكن",
];

/// A word or a phrase of a query.
#[derive(Debug)]
pub(super) struct Part {
    /// Sets of terms, of which the best counts for each operation.
    pub(super) alternatives: Vec<Vec<String>>,
    /// Share of the score.
    pub(super) share: f32,
}

/// Meaning of a query.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) parts: Vec<Part>,
    /// Kinds that verbs ask for, and the share of each.
    pub(super) kinds: Vec<(OperationKind, f32)>,
    /// Tools that phrases stand for, and the share of each.
    pub(super) tools: BTreeMap<&'static str, f32>,
    /// `true` if nothing is to be changed.
    pub(super) is_question: bool,
    /// `true` if a verb commands.
    pub(super) has_verb: bool,
}

impl Query {
    /// Analyzes a query.
    pub(super) fn parse(text: &str, vocabulary: &impl Vocabulary) -> Self {
        let lexicon = Lexicon::get();
        let tokens = tokens::parse_query(text);
        let units = find_units(lexicon, &tokens, vocabulary);
        let (mut meanings, units) = Meanings::collect(units, &tokens);
        let is_asked = meanings.is_question
            || text.trim_end().ends_with(['?', '？', '؟'])
            || tokens
                .first()
                .is_some_and(|first| AUXILIARIES.contains(&&*first.text));
        let begins_with_write = meanings.first_write == Some(0);
        let is_question = is_asked && !meanings.is_polite && !begins_with_write;
        if is_question {
            // "did anybody delete" asks for what was done, too.
            let has_write = meanings.verbs.iter().any(|(kind, _)| !kind.is_read());
            let is_possible = tokens.iter().any(|token| match token.is_run {
                true => MODAL_RUNS.iter().any(|modal| token.text.contains(modal)),
                false => MODALS.contains(&&*token.text),
            });
            let tells_past = tokens.iter().any(|token| token.text == "did")
                || meanings.is_foreign && meanings.asks_who() && !is_possible;
            meanings.has_past |= has_write && tells_past;
            meanings.verbs.retain(|(kind, _)| kind.is_read());
        }
        let mut query = Self {
            is_question,
            has_verb: !meanings.verbs.is_empty(),
            ..Self::default()
        };
        query.apply_rules(lexicon, &meanings);
        query.add_parts(units, vocabulary);
        if is_question && meanings.asks_for_past() {
            for part in &mut query.parts {
                part.share *= PAST_OBJECT_SHARE;
            }
        }
        let tool_share = match is_question && meanings.asks_for_past() {
            true => PAST_OBJECT_SHARE,
            false => 1.0,
        };
        for (tool, share) in &meanings.tools {
            query.add_tool(tool, *share * tool_share);
        }
        query.add_kinds(&meanings, &tokens);
        query
    }

    fn apply_rules(&mut self, lexicon: &'static Lexicon, meanings: &Meanings) {
        let holds = |target: &Target| match target {
            Target::Tag(tag) => match tag.split_once("<#") {
                Some((one, other)) => {
                    let place = |name| meanings.tags.iter().position(|tag| *tag == name);
                    place(one).is_some_and(|at| place(other).is_some_and(|after| at < after))
                }
                None => meanings.tags.contains(tag),
            },
            Target::Verb(kind) => {
                !self.is_question && meanings.verbs.iter().any(|(verb, _)| verb == kind)
                    || *kind == OperationKind::List
                        && meanings.verbs.iter().any(|(verb, _)| verb.is_read())
            }
            Target::Question | Target::Asked => {
                self.is_question
                    || meanings
                        .verbs
                        .first()
                        .is_some_and(|(verb, _)| verb.is_read())
            }
            Target::Past => meanings.has_past,
            _ => false,
        };
        let is_past_question = self.is_question && meanings.asks_for_past();
        let mut tools = Vec::new();
        for rule in &lexicon.rules {
            let mut conditions = rule.conditions.iter();
            // "older versions of a partial" asks, too.
            let is_implied = |condition: &Condition| {
                condition.target == Target::Question
                    && !condition.is_negated
                    && !self.has_verb
                    && meanings.hints.is_empty()
            };
            if !conditions.all(|condition| {
                holds(&condition.target) != condition.is_negated || is_implied(condition)
            }) {
                continue;
            }
            let asks_for_past = rule
                .conditions
                .iter()
                .any(|condition| condition.target == Target::Past && !condition.is_negated);
            let share = match (is_past_question, asks_for_past) {
                (true, true) => PAST_RULE_SHARE,
                (true, false) => PAST_OBJECT_SHARE,
                (false, _) => 1.0,
            };
            for target in &rule.targets {
                match target {
                    Target::Tool(name) => tools.push((*name, share)),
                    Target::Terms(words) => self.parts.push(Part {
                        alternatives: vec![words.clone()],
                        share: 0.7,
                    }),
                    _ => {}
                }
            }
        }
        for (name, share) in tools {
            self.add_tool(name, share);
        }
    }

    fn add_tool(&mut self, name: &'static str, share: f32) {
        let known = self.tools.entry(name).or_default();
        *known = known.max(share) + known.min(share) * FURTHER_PHRASE_SHARE;
    }

    /// Adds the subjects, each once.
    fn add_parts(&mut self, units: Vec<Unit<'_>>, vocabulary: &impl Vocabulary) {
        for unit in units {
            let mut alternatives: Vec<Vec<String>> = Vec::new();
            let own = unit.own.into_iter().map(|word| vec![word]);
            let meant = unit.targets.iter().filter_map(|target| match target {
                Target::Terms(words) => Some(words.clone()),
                _ => None,
            });
            for words in own.chain(meant) {
                if !words.is_empty() && words.iter().any(|word| vocabulary.has(word)) {
                    alternatives.push(words);
                }
            }
            let is_known = |words: &Vec<String>| {
                self.parts
                    .iter()
                    .any(|part| part.alternatives.contains(words))
            };
            if alternatives.iter().any(is_known) || alternatives.is_empty() {
                continue;
            }
            self.parts.push(Part {
                alternatives,
                share: unit.share,
            });
        }
    }

    fn add_kinds(&mut self, meanings: &Meanings, tokens: &[Token]) {
        for (place, (kind, share)) in meanings.verbs.iter().enumerate() {
            let rank = if place == 0 { 1.0 } else { FURTHER_VERB_SHARE };
            self.kinds.push((*kind, share * rank));
        }
        if self.parts.is_empty() && self.tools.is_empty() {
            return;
        }
        if self.is_question {
            let asks_who = meanings.tags.contains(&"who");
            let share = if asks_who { 0.8 } else { 0.5 };
            self.kinds.push((OperationKind::List, share));
            self.kinds.push((OperationKind::Get, 0.5));
        } else if !self.has_verb {
            self.kinds
                .extend(meanings.hints.iter().map(|kind| (*kind, HINT_SHARE)));
            if meanings.hints.is_empty() {
                self.kinds.push((OperationKind::List, NOUN_SHARE));
                self.kinds.push((OperationKind::Get, NOUN_SHARE));
            }
        }
        let is_plural = |token: &Token| {
            token.text.ends_with('s') && !token.text.ends_with("ss") && token.text != token.stem
        };
        if (self.is_question || !self.has_verb) && tokens.iter().any(is_plural) {
            self.kinds.push((OperationKind::List, 0.6));
        }
    }
}

/// Meanings of all units.
#[derive(Default)]
struct Meanings {
    verbs: Vec<(OperationKind, f32)>,
    hints: Vec<OperationKind>,
    tags: Vec<&'static str>,
    tools: Vec<(&'static str, f32)>,
    is_question: bool,
    is_polite: bool,
    has_past: bool,
    /// `true` if the question word is not English. Then the form of a verb is not looked at.
    is_foreign: bool,
    /// Token of the first verb that changes something.
    first_write: Option<usize>,
}

impl Meanings {
    /// Collects the meanings, and lowers the shares of units that say less about what is to be done.
    fn collect<'a>(mut units: Vec<Unit<'a>>, tokens: &[Token]) -> (Self, Vec<Unit<'a>>) {
        let mut meanings = Self::default();
        let mut negated_in_clause = false;
        for unit in &mut units {
            let token = tokens.get(unit.at);
            if token.is_some_and(|token| token.starts_clause) {
                negated_in_clause = false;
            }
            let before = unit.at.checked_sub(1).and_then(|before| tokens.get(before));
            let is_noun = unit.length == 1
                && before.is_some_and(|before| DETERMINERS.contains(&&*before.text));
            let is_joined = unit.length == 1 && token.is_some_and(|token| token.is_joined);
            let written = token.map_or("", |token| token.text.as_str());
            let is_past = unit.length > 0
                && !unit.is_misspelled
                && written.ends_with("ed")
                && token.is_some_and(|token| token.stem != written);
            let has_past = unit.targets.contains(&&Target::Past);
            if negated_in_clause {
                unit.share *= NEGATED_SHARE;
            }
            let is_verb = |target: &&Target| matches!(target, Target::Verb(_));
            let verb_share = unit.share;
            let is_verb_unit = unit.targets.iter().any(is_verb);
            if unit.length == 1 && is_verb_unit {
                unit.share *= VERB_AS_TERM_SHARE;
            }
            for &target in &unit.targets {
                match target {
                    Target::Verb(kind) => {
                        if is_past && !kind.is_read() {
                            meanings.has_past |= !STATES.contains(&written);
                        } else if !is_noun && !is_joined && !negated_in_clause && !has_past {
                            if !kind.is_read() && meanings.first_write.is_none() {
                                meanings.first_write = Some(unit.at);
                            }
                            meanings.verbs.push((*kind, verb_share));
                        }
                    }
                    Target::Hint(kind) => meanings.hints.push(*kind),
                    Target::Tag(tag) => meanings.tags.push(tag),
                    Target::Tool(tool) if !is_noun || !is_verb_unit => {
                        meanings.tools.push((tool, verb_share));
                    }
                    Target::Question => {
                        let follows_read = meanings
                            .verbs
                            .last()
                            .is_some_and(|(kind, _)| kind.is_read());
                        // "fallback when azure fails" asks nothing.
                        let is_conjunction = matches!(written, "when" | "where") && unit.at > 0;
                        let is_at_start = unit.length == 0
                            || unit.at <= 2 && !is_conjunction
                            || token.is_some_and(|token| token.starts_clause)
                            || follows_read;
                        if is_at_start && meanings.first_write.is_none() {
                            meanings.is_question = true;
                            meanings.is_foreign |= unit.targets.contains(&&Target::Tag("who"))
                                && !written.starts_with("who")
                                || unit.targets.contains(&&Target::Tag("when"))
                                    && written != "when";
                        }
                    }
                    Target::Polite => meanings.is_polite = true,
                    Target::Past => meanings.has_past = true,
                    Target::Negation => negated_in_clause = true,
                    Target::Tool(_) | Target::Asked | Target::Terms(_) => {}
                }
            }
        }
        if tokens.iter().any(|token| token.is_identifier) {
            meanings.tags.push("tool");
        }
        let asks_who = meanings.asks_who();
        let is_past = |token: &Token| {
            let text = token.text.as_str();
            !token.is_run
                && text.len() > 4
                && text.ends_with("ed")
                && token.stem != text
                && !STATES.contains(&text)
                && !OTHER_PAST.contains(&text)
        };
        meanings.has_past |= asks_who && tokens.iter().any(is_past);
        if tokens
            .iter()
            .any(|token| token.text.starts_with(|c: char| c.is_ascii_digit()))
        {
            meanings.tags.push("number");
        }
        (meanings, units)
    }

    /// Returns `true` for questions about a person or a time.
    fn asks_who(&self) -> bool {
        self.tags.iter().any(|tag| matches!(*tag, "who" | "when"))
    }

    /// Returns `true` for questions about who did something, or when.
    fn asks_for_past(&self) -> bool {
        self.has_past
            && ["who", "when", "somebody", "passive"]
                .iter()
                .any(|tag| self.tags.contains(tag))
    }
}

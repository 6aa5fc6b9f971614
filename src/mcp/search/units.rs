//! Words and phrases of a query with their meaning, misspelled ones among them.

use super::{
    lexicon::{Lexicon, Target},
    tokens::{Token, is_stop_word},
};

/// Share of what a misspelled word stands for.
const MISSPELLED_SHARE: f32 = 0.75;

/// Minimum length of the stem of a misspelled verb.
const MIN_MISSPELLED_VERB_LENGTH: usize = 4;

/// Maximum length of a word that is common enough to be another word with one letter changed.
const MAX_SHORT_WORD: usize = 5;

/// A word or a phrase with its meaning.
pub(super) struct Unit<'a> {
    pub(super) at: usize,
    /// Number of words; 0 for a part of a run.
    pub(super) length: usize,
    pub(super) targets: Vec<&'a Target>,
    pub(super) own: Vec<String>,
    pub(super) share: f32,
    pub(super) is_misspelled: bool,
}

/// Terms of the index, for words that the lexicon lacks.
pub(super) trait Vocabulary {
    /// Returns `true` if operations have the term.
    fn has(&self, term: &str) -> bool;
    /// Returns the terms that a misspelled or cut word may stand for, with the number of slips.
    fn near(&self, word: &str) -> (usize, Vec<String>);
}

/// Splits the tokens into phrases and words with a meaning.
pub(super) fn find_units<'a>(
    lexicon: &'a Lexicon,
    tokens: &[Token],
    vocabulary: &impl Vocabulary,
) -> Vec<Unit<'a>> {
    let mut units = Vec::new();
    let mut used = vec![false; tokens.len()];
    for (at, token) in tokens.iter().enumerate() {
        if used.get(at) == Some(&true) {
            continue;
        }
        let meanings = |lines: &mut dyn Iterator<Item = usize>| {
            lines
                .flat_map(|line| lexicon.targets(line))
                .collect::<Vec<_>>()
        };
        if token.is_run {
            for lines in lexicon.segment(&token.text) {
                units.push(Unit {
                    at,
                    length: 0,
                    targets: meanings(&mut lines.into_iter()),
                    own: Vec::new(),
                    share: 1.0,
                    is_misspelled: false,
                });
            }
            continue;
        }
        if let Some(found) = lexicon.find(tokens, at) {
            let length = found.tokens.len();
            let own = match length {
                1 => vec![token.stem.clone()],
                _ => Vec::new(),
            };
            for place in found.tokens {
                if let Some(used) = used.get_mut(place) {
                    *used = true;
                }
            }
            units.push(Unit {
                at,
                length,
                targets: meanings(&mut found.lines.into_iter()),
                own,
                share: 1.0,
                is_misspelled: false,
            });
            continue;
        }
        if is_stop_word(&token.text) {
            continue;
        }
        let mut unit = Unit {
            at,
            length: 1,
            targets: Vec::new(),
            own: vec![token.stem.clone()],
            share: 1.0,
            is_misspelled: false,
        };
        if !vocabulary.has(&token.stem) {
            (unit.own, unit.targets) = find_near(lexicon, token, vocabulary);
            unit.share = MISSPELLED_SHARE;
            unit.is_misspelled = true;
        }
        units.push(unit);
    }
    units
}

/// Finds what an unknown word may stand for, in the lexicon and in the index.
fn find_near<'a>(
    lexicon: &'a Lexicon,
    token: &Token,
    vocabulary: &impl Vocabulary,
) -> (Vec<String>, Vec<&'a Target>) {
    let (slips, mut own) = vocabulary.near(&token.stem);
    let mut targets = Vec::new();
    let Some(first) = token.text.chars().next() else {
        return (own, targets);
    };
    let max = max_slips(&token.text);
    let mut best = if own.is_empty() { max } else { slips.min(max) };
    for (word, line) in lexicon.words(first) {
        let Some(away) = count_slips(word, &token.stem, best) else {
            continue;
        };
        if away < best {
            best = away;
            targets.clear();
            if away < slips {
                own.clear();
            }
        }
        targets.extend(lexicon.targets(line));
        if !own.iter().any(|known| known == word) {
            own.push(word.to_owned());
        }
    }
    if token.stem.len() < MIN_MISSPELLED_VERB_LENGTH {
        // Too many short words are alike for one to command.
        targets.retain(|target| !matches!(target, Target::Verb(_)));
    }
    (own, targets)
}

/// Maximum number of typing errors in a word.
pub(super) fn max_slips(word: &str) -> usize {
    match word.chars().count() {
        0..4 => 0,
        4..8 => 1,
        8..=40 => 2,
        _ => 0,
    }
}

/// Counts the typing errors between two words, if they are not more than the maximum.
pub(super) fn count_slips(known: &str, written: &str, max: usize) -> Option<usize> {
    if max == 0 || known.len() < 3 || known.len().abs_diff(written.len()) > max {
        return None;
    }
    if known.len() == written.len() && known.len() <= MAX_SHORT_WORD && !is_anagram(known, written)
    {
        // "five" is no slip of "fire".
        return None;
    }
    let away = strsim::osa_distance(known, written);
    (away <= max).then_some(away)
}

/// Returns `true` if two words have the same letters.
fn is_anagram(one: &str, other: &str) -> bool {
    let sorted = |word: &str| {
        let mut letters: Vec<char> = word.chars().collect();
        letters.sort_unstable();
        letters
    };
    sorted(one) == sorted(other)
}

//! Ranking of documents by the terms of a query: BM25 over several fields (BM25F).
//!
//! A term counts by the weight of its field, less in a long field, and less the more documents have it.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
};

use super::{
    OperationKind,
    query::{Part, Query},
    tokens,
    units::{Vocabulary, count_slips, max_slips},
};

/// Saturation of the term frequency: the lower, the sooner further occurrences stop to count.
const K1: f32 = 1.2;

/// Score that a verb in the query adds to documents of its kind.
const VERB_WEIGHT: f32 = 3.0;

/// Score that a phrase adds to the tool that it stands for.
const TOOL_WEIGHT: f32 = 7.0;

/// Score that a query adds to the document whose name it has, but for the verb.
const NAME_WEIGHT: f32 = 2.0;

/// Words in names that people leave out.
const FILLERS: &[&str] = &["all", "bulk", "default", "graph", "grouped", "data"];

/// Factor for the score of a document that does not do what the verb says.
const OTHER_VERB_FACTOR: f32 = 0.8;

/// Factor for the score of what deletes, if nothing is said to be deleted.
const UNASKED_DELETE_FACTOR: f32 = 0.6;

/// Factor for the score of what changes something, if a question is asked.
const QUESTION_WRITE_FACTOR: f32 = 0.7;

/// Score that a query adds to the document whose name it is. No sum of terms is as high.
pub(super) const EXACT_NAME_WEIGHT: f32 = 1_000.0;

/// Number of indexed texts of a document.
pub(super) const FIELD_COUNT: usize = 7;

/// Weight of each field, and the effect of its length.
const FIELDS: [(f32, f32); FIELD_COUNT] = [
    // Name.
    (6.0, 0.6),
    // Search terms.
    (3.0, 0.3),
    // Title.
    (1.5, 0.3),
    // Domain.
    (1.2, 0.3),
    // Purpose of the domain.
    (0.8, 0.5),
    // Description.
    (1.0, 0.75),
    // Parameters.
    (0.5, 0.75),
];

/// Documents that match a query.
#[derive(Debug)]
pub(super) struct Ranking {
    /// The best first.
    pub(super) hits: Vec<RankedDocument>,
    /// `true` if the query asks and does not command.
    pub(super) is_question: bool,
}

/// A document that matches.
#[derive(Debug)]
pub(super) struct RankedDocument {
    /// Number of the document.
    pub(super) at: usize,
    pub(super) score: f32,
    /// `true` if a phrase of the query stands for the document.
    pub(super) is_meant: bool,
}

/// A document to index.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) name: &'static str,
    pub(super) alias_names: &'static [&'static str],
    pub(super) kind: OperationKind,
    /// The terms of each field.
    pub(super) terms: [Vec<String>; FIELD_COUNT],
}

/// The part of a document that the index keeps.
#[derive(Debug)]
struct Indexed {
    name: &'static str,
    /// Terms of the name but its verb.
    nouns: Vec<String>,
    alias_names: &'static [&'static str],
    kind: OperationKind,
}

/// A term and the documents that have it.
#[derive(Debug)]
struct Term {
    word: Box<str>,
    postings: Range<usize>,
}

/// Index of documents.
#[derive(Debug)]
pub(super) struct Index {
    documents: Vec<Indexed>,
    /// Terms, sorted by word.
    terms: Vec<Term>,
    /// Documents of each term in turn, with the score of the term for each.
    postings: Vec<(u16, f32)>,
}

impl Index {
    pub(super) fn new(documents: Vec<Document>) -> Self {
        let mut weights: BTreeMap<&str, BTreeMap<u16, f32>> = BTreeMap::new();
        for (field, (field_weight, b)) in FIELDS.iter().enumerate() {
            let lists = || documents.iter().filter_map(|of| of.terms.get(field));
            let mean = lists().map(Vec::len).sum::<usize>() as f32 / documents.len() as f32;
            for (document, list) in (0..).zip(lists()) {
                let weight = field_weight / (1.0 - b + b * list.len() as f32 / mean);
                for word in list {
                    let of = weights.entry(word).or_default();
                    *of.entry(document).or_default() += weight;
                }
            }
        }
        let mut terms = Vec::new();
        let mut postings = Vec::new();
        for (word, of) in weights {
            let all = documents.len() as f32;
            let having = of.len() as f32;
            let rarity = (1.0 + (all - having + 0.5) / (having + 0.5)).ln();
            let start = postings.len();
            postings.extend(
                of.into_iter()
                    .map(|(at, weight)| (at, rarity * weight * (K1 + 1.0) / (K1 + weight))),
            );
            terms.push(Term {
                word: word.into(),
                postings: start..postings.len(),
            });
        }
        let documents = documents.into_iter().map(|document| Indexed {
            name: document.name,
            nouns: find_nouns(document.name),
            alias_names: document.alias_names,
            kind: document.kind,
        });
        Self {
            documents: documents.collect(),
            terms,
            postings,
        }
    }

    /// Returns the documents that match, the best first. Equal scores are ordered by name.
    pub(super) fn search(&self, text: &str) -> Ranking {
        let query = Query::parse(text, self);
        let mut scores = vec![0.0_f32; self.documents.len()];
        for part in &query.parts {
            for (at, score) in self.score_part(part) {
                if let Some(sum) = scores.get_mut(usize::from(at)) {
                    *sum += score;
                }
            }
        }
        let asked: HashSet<&str> = query
            .parts
            .iter()
            .filter(|part| part.share > 0.5)
            .flat_map(|part| part.alternatives.iter().flatten())
            .map(String::as_str)
            .collect();
        let name = text.trim().to_lowercase().replace([' ', '_'], "-");
        let mut hits: Vec<RankedDocument> = Vec::new();
        for (at, (document, score)) in self.documents.iter().zip(scores).enumerate() {
            let has_name = !document.nouns.is_empty()
                && document.nouns.iter().all(|noun| asked.contains(&**noun));
            let score = if has_name { score + NAME_WEIGHT } else { score };
            let mut score = weigh(&query, document, score);
            if query.is_question && !document.kind.is_read() {
                score *= QUESTION_WRITE_FACTOR;
            }
            let is_named = document.name == name || document.alias_names.contains(&name.as_str());
            if is_named {
                score += EXACT_NAME_WEIGHT;
            }
            hits.push(RankedDocument {
                at,
                score,
                is_meant: is_named || query.tools.contains_key(document.name),
            });
        }
        hits.retain(|hit| hit.score > 0.0);
        let name = |hit: &RankedDocument| self.documents.get(hit.at).map(|of| of.name);
        hits.sort_by(|a, b| {
            b.score
                .total_cmp(&a.score)
                .then_with(|| name(a).cmp(&name(b)))
        });
        Ranking {
            hits,
            is_question: query.is_question,
        }
    }

    /// Returns the documents that have a part of a query, with their scores.
    fn score_part(&self, part: &Part) -> BTreeMap<u16, f32> {
        let mut best: BTreeMap<u16, f32> = BTreeMap::new();
        for words in &part.alternatives {
            let mut sums: BTreeMap<u16, f32> = BTreeMap::new();
            for term in words.iter().filter_map(|word| self.find_term(word)) {
                let postings = self.postings.get(term.postings.clone());
                for (at, score) in postings.into_iter().flatten() {
                    *sums.entry(*at).or_default() += score * part.share;
                }
            }
            for (at, sum) in sums {
                let of = best.entry(at).or_default();
                *of = of.max(sum);
            }
        }
        best
    }

    fn find_term(&self, word: &str) -> Option<&Term> {
        let at = self
            .terms
            .binary_search_by(|term| (*term.word).cmp(word))
            .ok()?;
        self.terms.get(at)
    }
}

/// Returns the score of a document, in which verbs and phrases count, too.
fn weigh(query: &Query, document: &Indexed, score: f32) -> f32 {
    let of = query
        .kinds
        .iter()
        .filter(|(kind, _)| *kind == document.kind);
    // A verb counts once, however often the query has it.
    let verb = of.map(|(_, share)| *share).fold(0.0, f32::max);
    let tool = query.tools.get(document.name).copied().unwrap_or(0.0);
    let score = score + tool * TOOL_WEIGHT;
    if query
        .kinds
        .iter()
        .all(|(kind, _)| *kind != OperationKind::Delete)
        && document.kind == OperationKind::Delete
    {
        return (score + verb * VERB_WEIGHT) * UNASKED_DELETE_FACTOR;
    }
    if query.has_verb && verb == 0.0 && !query.is_question {
        return score * OTHER_VERB_FACTOR;
    }
    score + verb * VERB_WEIGHT
}

impl Vocabulary for Index {
    fn has(&self, term: &str) -> bool {
        self.find_term(term).is_some()
    }

    /// Returns terms with few typing errors, else those that begin with the word or that it begins
    /// with. The first letter is assumed to be correct, so that few terms are compared.
    fn near(&self, word: &str) -> (usize, Vec<String>) {
        let none = (usize::MAX, Vec::new());
        let Some(first) = word
            .chars()
            .next()
            .filter(|_| (3..=40).contains(&word.len()))
        else {
            return none;
        };
        let start = self
            .terms
            .partition_point(|term| *term.word < *word.get(..first.len_utf8()).unwrap_or_default());
        let alike = || {
            let from = self.terms.iter().skip(start);
            from.take_while(|term| term.word.starts_with(first))
        };
        let slips = max_slips(word);
        let away = |term: &Term| count_slips(&term.word, word, slips);
        if let Some(least) = alike().filter_map(away).min() {
            let nearest = alike().filter(|term| away(term) == Some(least));
            return (least, nearest.map(|term| term.word.to_string()).collect());
        }
        let begins = |term: &&Term| {
            word.len() >= 4 && term.word.starts_with(word)
                || term.word.len() >= 5 && word.starts_with(&*term.word)
        };
        let found: Vec<_> = alike()
            .filter(begins)
            .map(|term| term.word.to_string())
            .collect();
        (usize::MAX, found)
    }
}

/// Returns the terms of each field.
pub(super) fn terms_of_fields(fields: [String; FIELD_COUNT]) -> [Vec<String>; FIELD_COUNT] {
    fields.map(|text| tokens::index_terms(&text))
}

/// Returns the terms of a name but its verb and fillers.
fn find_nouns(name: &str) -> Vec<String> {
    let words = name.split('-').skip(1);
    let words = words.filter(|word| !FILLERS.contains(word));
    words.map(tokens::stem).collect()
}

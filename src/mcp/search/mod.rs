//! Search for operations by the terms that people use.
//!
//! Uses BM25 over several fields (BM25F). A term counts by the weight of its field, less in a long
//! field, and less the more operations have it.
//!
//! Written here because the available crates do not fit. They either support a single field without
//! weights, or bring a trie and a tokenizer that need more memory than all the texts.

mod tokens;

use std::{collections::BTreeMap, ops::Range};

use portkey_api::catalog::CatalogEntry;
use portkey_operation::{CompiledOperation, Effect, Operation};

/// Saturation of the term frequency: the lower, the sooner further occurrences stop to count.
const K1: f32 = 1.2;

/// Score that a verb in the query adds to operations of its kind.
const VERB_WEIGHT: f32 = 2.0;

/// Score that a plural noun in the query adds to operations that list.
const PLURAL_WEIGHT: f32 = 0.6;

/// Score that a query adds to the operation whose name it is. No sum of terms is as high.
const EXACT_NAME_WEIGHT: f32 = 1_000.0;

/// Factor for the score of a term that matches only approximately.
const NEAR_MATCH_FACTOR: f32 = 0.7;

/// An indexed text of an operation: its weight, the effect of its length, and its accessor.
struct IndexedField {
    weight: f32,
    b: f32,
    text: fn(&CatalogEntry, &CompiledOperation) -> String,
}

const INDEXED_FIELDS: [IndexedField; 7] = [
    IndexedField {
        weight: 6.0,
        b: 0.6,
        text: |entry, _| entry.operation.name().to_owned(),
    },
    IndexedField {
        weight: 3.0,
        b: 0.3,
        text: |entry, _| entry.operation.search_terms().join(" "),
    },
    IndexedField {
        weight: 1.5,
        b: 0.3,
        text: |_, published| published.title().to_owned(),
    },
    IndexedField {
        weight: 1.2,
        b: 0.3,
        text: |entry, _| entry.domain.name.to_owned(),
    },
    IndexedField {
        weight: 0.8,
        b: 0.5,
        text: |entry, _| entry.domain.about.to_owned(),
    },
    IndexedField {
        weight: 1.0,
        b: 0.75,
        text: |_, published| published.summary().to_owned(),
    },
    IndexedField {
        weight: 0.5,
        b: 0.75,
        text: |_, published| parameter_names(published).join(" "),
    },
];

fn parameter_names(published: &CompiledOperation) -> Vec<&str> {
    let properties = published
        .schema()
        .get("properties")
        .and_then(|names| names.as_object());
    properties
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect()
}

/// Kind of an operation, as a verb expresses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OperationKind {
    List,
    Get,
    Create,
    Update,
    Delete,
}

impl OperationKind {
    fn for_operation(operation: &Operation) -> Self {
        match operation.effect() {
            Effect::Read if operation.name().starts_with("list-") => Self::List,
            Effect::Read => Self::Get,
            Effect::Create => Self::Create,
            Effect::Update => Self::Update,
            Effect::Delete => Self::Delete,
        }
    }
}

/// An operation that matches a query.
#[derive(Clone, Debug)]
pub struct SearchHit {
    /// The operation that matches.
    pub operation: &'static Operation,
    /// Relevance; comparable only between hits of one search.
    pub score: f32,
}

/// A term, the operations that have it, and the kinds of operation that it is a verb for.
#[derive(Debug)]
struct Term {
    word: Box<str>,
    postings: Range<usize>,
    kinds: Vec<OperationKind>,
}

/// Search index of operations. Built once in a few milliseconds; takes about 100 kB for all
/// operations.
#[derive(Debug)]
pub struct SearchIndex {
    operations: Vec<&'static Operation>,
    /// Terms, sorted by word.
    terms: Vec<Term>,
    /// Operations of each term in turn, with the score of the term for each.
    postings: Vec<(u16, f32)>,
}

impl SearchIndex {
    /// Builds the index of these operations.
    pub fn from_entries<'a>(entries: impl IntoIterator<Item = &'a CatalogEntry>) -> Self {
        let mut operations = Vec::new();
        let mut texts = Vec::new();
        for entry in entries {
            operations.push(entry.operation);
            // Only a glance at each, because few schemas are needed if few tools are listed.
            texts.push(entry.inspect(|published| {
                INDEXED_FIELDS.map(|field| tokens::index_terms(&(field.text)(entry, published)))
            }));
        }
        let mut weights: BTreeMap<String, BTreeMap<u16, f32>> = BTreeMap::new();
        for (at, field) in INDEXED_FIELDS.iter().enumerate() {
            let lists = || texts.iter().filter_map(|of| of.get(at));
            let mean = lists().map(Vec::len).sum::<usize>() as f32 / operations.len() as f32;
            for (operation, list) in (0..).zip(lists()) {
                let weight = field.weight / (1.0 - field.b + field.b * list.len() as f32 / mean);
                for word in list {
                    let of = weights.entry(word.clone()).or_default();
                    *of.entry(operation).or_default() += weight;
                }
            }
        }
        Self::from_weights(operations, weights)
    }

    fn from_weights(
        operations: Vec<&'static Operation>,
        mut weights: BTreeMap<String, BTreeMap<u16, f32>>,
    ) -> Self {
        let verbs: Vec<(String, OperationKind)> = tokens::verb_terms().collect();
        for (word, _) in &verbs {
            weights.entry(word.clone()).or_default();
        }
        let mut terms = Vec::new();
        let mut postings = Vec::new();
        for (word, of) in weights {
            let all = operations.len() as f32;
            let having = of.len() as f32;
            let rarity = (1.0 + (all - having + 0.5) / (having + 0.5)).ln();
            let start = postings.len();
            postings.extend(
                of.into_iter()
                    .map(|(at, weight)| (at, rarity * weight * (K1 + 1.0) / (K1 + weight))),
            );
            let kinds = verbs
                .iter()
                .filter(|(verb, _)| *verb == word)
                .map(|(_, kind)| *kind);
            terms.push(Term {
                kinds: kinds.collect(),
                word: word.into(),
                postings: start..postings.len(),
            });
        }
        Self {
            operations,
            terms,
            postings,
        }
    }

    /// Returns at most `limit` operations that match the query, the best first. Equal scores are
    /// ordered by name, and a query without known terms finds nothing.
    ///
    /// To respect what a caller may see, request all hits (`usize::MAX`), filter, then take.
    pub fn search(&self, words: &str, limit: usize) -> Vec<SearchHit> {
        let mut scores = vec![0.0; self.operations.len()];
        let mut kinds: Vec<(OperationKind, f32)> = Vec::new();
        for asked in tokens::parse_query(words, |word| self.find_term(word).is_some()) {
            let (meant, share) = match self.find_term(&asked.word) {
                Some(term) => (vec![term], 1.0),
                None if asked.is_stop_word => (Vec::new(), 0.0),
                None => (self.near_terms(&asked.word), NEAR_MATCH_FACTOR),
            };
            if asked.is_plural && !meant.is_empty() {
                kinds.push((OperationKind::List, PLURAL_WEIGHT));
            }
            let mut best: BTreeMap<u16, f32> = BTreeMap::new();
            for term in meant {
                kinds.extend(term.kinds.iter().map(|kind| (*kind, VERB_WEIGHT * share)));
                for (at, score) in self
                    .postings
                    .get(term.postings.clone())
                    .into_iter()
                    .flatten()
                {
                    let best = best.entry(*at).or_default();
                    *best = best.max(score * share);
                }
            }
            for (at, score) in best {
                if let Some(sum) = scores.get_mut(usize::from(at)) {
                    *sum += score;
                }
            }
        }
        // A verb counts once, however often the query has it.
        let verb = |operation: &Operation| {
            let of = kinds
                .iter()
                .filter(|(kind, _)| *kind == OperationKind::for_operation(operation));
            of.map(|(_, worth)| *worth).fold(0.0, f32::max)
        };
        let name = words.trim().to_lowercase().replace([' ', '_'], "-");
        let is_named = |operation: &Operation| {
            operation.name() == name || operation.alias_names().contains(&name.as_str())
        };
        let scored = self.operations.iter().zip(scores);
        let mut hits: Vec<_> = scored
            .map(|(&operation, score)| SearchHit {
                operation,
                score: match is_named(operation) {
                    true => score + verb(operation) + EXACT_NAME_WEIGHT,
                    false => score + verb(operation),
                },
            })
            .filter(|hit| hit.score > 0.0)
            .collect();
        hits.sort_by(|a, b| {
            b.score
                .total_cmp(&a.score)
                .then_with(|| a.operation.name().cmp(b.operation.name()))
        });
        hits.truncate(limit);
        hits
    }

    fn find_term(&self, word: &str) -> Option<&Term> {
        let at = self
            .terms
            .binary_search_by(|term| (*term.word).cmp(word))
            .ok()?;
        self.terms.get(at)
    }

    /// Returns the terms that an unknown word may stand for.
    ///
    /// These are terms with few typing errors, else those that begin with the word or that it
    /// begins with. The first letter is assumed to be correct, so that few terms are compared.
    fn near_terms(&self, word: &str) -> Vec<&Term> {
        let Some(first) = word
            .chars()
            .next()
            .filter(|_| (4..=40).contains(&word.len()))
        else {
            return Vec::new();
        };
        let start = self
            .terms
            .partition_point(|term| *term.word < *word.get(..first.len_utf8()).unwrap_or_default());
        let alike = || {
            self.terms
                .iter()
                .skip(start)
                .take_while(|term| term.word.starts_with(first))
        };
        let slips = if word.len() >= 8 { 2 } else { 1 };
        let away = |term: &Term| {
            let long = term.word.len() >= 3 && term.word.len().abs_diff(word.len()) <= slips;
            let away = if long {
                strsim::osa_distance(&term.word, word)
            } else {
                usize::MAX
            };
            (away <= slips).then_some(away)
        };
        match alike().filter_map(away).min() {
            Some(least) => alike().filter(|term| away(term) == Some(least)).collect(),
            None => {
                let begins = |term: &&Term| {
                    term.word.len() >= 4 && term.word.starts_with(word)
                        || term.word.len() >= 5 && word.starts_with(&*term.word)
                };
                alike().filter(begins).collect()
            }
        }
    }
}

//! Search for operations and tools by what people say.
//!
//! A query is split into words and phrases, which the lexicon translates into terms of operations, kinds
//! of operations and names of tools. The index ranks by them.
//!
//! Written here because the available crates do not fit. They either support a single field without
//! weights, or bring a trie and a tokenizer that need more memory than all the texts.

mod index;
mod lexicon;
mod query;
mod tokens;
mod units;

use portkey_api::catalog::CatalogEntry;
use portkey_operation::{CompiledOperation, Effect, Operation};

use self::index::{
    Document, EXACT_NAME_WEIGHT, FIELD_COUNT, Index, RankedDocument, terms_of_fields,
};
use super::surface::{BuiltinAction, BuiltinTool};
use crate::workflows::Listing;

/// Share of the best operation's score that a tool needs to be named beside it.
const MIN_TOOL_SHARE: f32 = 0.15;

/// Share of the best operation's score below which an operation is left out: it has hardly more in common with the
/// query than the kind of its verb.
const MIN_OPERATION_SHARE: f32 = 0.12;

/// Maximum share of the best read's score that a write has, if a question is asked.
const BEST_WRITE_SHARE: f32 = 0.95;

/// Maximum number of tools that are named beside operations.
const MAX_TOOLS: usize = 3;

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

    const fn is_read(self) -> bool {
        matches!(self, Self::List | Self::Get)
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

/// Results of a query.
#[derive(Clone, Debug, Default)]
pub struct SearchHits {
    /// Operations, the best first.
    pub operations: Vec<SearchHit>,
    /// Workflows and other tools of this server that a phrase of the query stands for, the best first.
    pub tools: Vec<SearchHit>,
}

/// Search index of operations and tools. Built once in a few milliseconds; takes about 100 kB for all
/// operations, and the lexicon about 500 kB for all indexes.
#[derive(Debug)]
pub struct SearchIndex {
    indexed: Vec<&'static Operation>,
    /// Number of operations; tools follow them.
    operation_count: usize,
    index: Index,
}

impl SearchIndex {
    /// Builds the index of these operations.
    pub fn from_entries<'a>(entries: impl IntoIterator<Item = &'a CatalogEntry>) -> Self {
        Self::from_entries_and_tools(entries, [])
    }

    /// Builds the index of these operations and tools. Tools that find or call operations are left out.
    pub fn from_entries_and_tools<'a>(
        entries: impl IntoIterator<Item = &'a CatalogEntry>,
        tools: impl IntoIterator<Item = &'static BuiltinTool>,
    ) -> Self {
        let mut indexed = Vec::new();
        let mut documents = Vec::new();
        for entry in entries {
            indexed.push(entry.operation);
            // Only a glance at each, because few schemas are needed if few tools are listed.
            let domain = (entry.domain.name, entry.domain.about);
            documents.push(entry.inspect(|published| describe(entry.operation, domain, published)));
        }
        let operation_count = indexed.len();
        for tool in tools.into_iter().filter(|tool| is_indexed(tool)) {
            indexed.push(tool.operation);
            documents.push(describe(tool.operation, ("", ""), &tool.published));
        }
        Self {
            indexed,
            operation_count,
            index: Index::new(documents),
        }
    }

    /// Returns at most `limit` operations that match the query, the best first. Equal scores are
    /// ordered by name, and a query without known terms finds nothing.
    ///
    /// To respect what a caller may see, request all hits (`usize::MAX`), filter, then take.
    pub fn search(&self, words: &str, limit: usize) -> Vec<SearchHit> {
        let mut operations = self.search_all(words, |_| true).operations;
        operations.truncate(limit);
        operations
    }

    /// Returns all visible operations that match the query, and the visible tools that fit as well.
    pub fn search_all(
        &self,
        words: &str,
        is_visible: impl Fn(&'static Operation) -> bool,
    ) -> SearchHits {
        let mut hits = SearchHits::default();
        let ranking = self.index.search(words);
        for RankedDocument {
            at,
            score,
            is_meant,
        } in ranking.hits
        {
            let Some(&operation) = self.indexed.get(at) else {
                continue;
            };
            if at >= self.operation_count && !is_meant {
                continue;
            }
            if is_visible(operation) {
                let is_operation = at < self.operation_count;
                let of = if is_operation {
                    &mut hits.operations
                } else {
                    &mut hits.tools
                };
                of.push(SearchHit { operation, score });
            }
        }
        if ranking.is_question {
            put_reads_first(&mut hits.operations);
        }
        let best = hits.operations.first().map_or(0.0, |hit| hit.score);
        hits.tools.retain(|hit| hit.score >= best * MIN_TOOL_SHARE);
        hits.tools.truncate(MAX_TOOLS);
        drop_unrelated(&mut hits.operations);
        hits
    }
}

/// Drops the operations whose scores are far below the best one. What a query adds as an exact name does not count.
fn drop_unrelated(hits: &mut Vec<SearchHit>) {
    let without_name = |score: f32| match score >= EXACT_NAME_WEIGHT {
        true => score - EXACT_NAME_WEIGHT,
        false => score,
    };
    let scores = hits.iter().map(|hit| without_name(hit.score));
    let min = scores.fold(0.0, f32::max) * MIN_OPERATION_SHARE;
    hits.retain(|hit| hit.score >= min);
}

/// Orders the hits of a question: no write comes before all reads, unless the query is its name.
fn put_reads_first(hits: &mut [SearchHit]) {
    let is_read = |hit: &SearchHit| hit.operation.effect() == Effect::Read;
    let best_read = hits.iter().find(|hit| is_read(hit)).map(|hit| hit.score);
    let Some(best_read) = best_read else {
        return;
    };
    for hit in hits.iter_mut() {
        if !is_read(hit) && hit.score < EXACT_NAME_WEIGHT {
            hit.score = hit.score.min(best_read * BEST_WRITE_SHARE);
        }
    }
    hits.sort_by(|a, b| b.score.total_cmp(&a.score));
}

const fn is_indexed(tool: &BuiltinTool) -> bool {
    match tool.action {
        BuiltinAction::Workflow(workflow) => !matches!(workflow.listing, Listing::Nowhere),
        BuiltinAction::History(_)
        | BuiltinAction::PlanChanges
        | BuiltinAction::ApplyPlan
        | BuiltinAction::WhoAmI => true,
        BuiltinAction::Search
        | BuiltinAction::Describe
        | BuiltinAction::Execute(_)
        | BuiltinAction::ReadResult => false,
    }
}

fn describe(
    operation: &'static Operation,
    (domain, purpose): (&str, &str),
    published: &CompiledOperation,
) -> Document {
    let fields: [String; FIELD_COUNT] = [
        operation.name().to_owned(),
        operation.search_terms().join(" "),
        published.title().to_owned(),
        domain.to_owned(),
        purpose.to_owned(),
        published.summary().to_owned(),
        parameter_names(published).join(" "),
    ];
    Document {
        name: operation.name(),
        alias_names: operation.alias_names(),
        kind: OperationKind::for_operation(operation),
        terms: terms_of_fields(fields),
    }
}

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

//! The questions that a journal answers.

use std::time::SystemTime;

use super::entry::{Change, ChangeOutcome};

/// Maximum number of changes on a page.
pub const MAX_PAGE_CHANGES: usize = 100;

/// Criteria for listing changes, the latest first.
#[derive(Clone, Debug, Default)]
pub struct ChangeFilter {
    /// The callers whose changes are listed.
    pub scope: ChangeScope,
    /// Base URLs of the upstreams whose changes are listed, and those of unknown ones. `None` lists
    /// all.
    pub upstreams: Option<Vec<String>>,
    /// Name of the operation.
    pub operation: Option<String>,
    /// Value of one of the ids that say which resource is meant, or of what was created.
    pub target: Option<String>,
    /// Part of the caller's name, or of its client's.
    pub caller: Option<String>,
    /// Earliest time.
    pub since: Option<SystemTime>,
    /// Latest time, exclusive.
    pub until: Option<SystemTime>,
    /// Outcome.
    pub outcome: Option<ChangeOutcome>,
    /// Id of the change after which the page begins: all on it are older.
    pub before: Option<String>,
    /// Maximum number of changes; at most [`MAX_PAGE_CHANGES`].
    pub limit: usize,
}

/// The callers whose changes can be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ChangeScope {
    /// None.
    #[default]
    Nobody,
    /// The callers with this key.
    Owner(String),
    /// All callers: for the operator of the server.
    Everybody,
}

/// A page of changes, the latest first.
#[derive(Clone, Debug, Default)]
pub struct ChangePage {
    /// The changes, without their documents.
    pub changes: Vec<Change>,
    /// True if older ones follow.
    pub has_more: bool,
}

//! Tells a resource that is not there from one that the caller may not read: Portkey answers 403 for
//! both, for some kinds.

use portkey_api::references::{ListScope, ResourceKind, SOURCES, find_kind};
use portkey_operation::JsonMap;
use serde_json::Value;

use super::{NoSuchTarget, ReadFailure, UsageReads, reads::BoundedReads};

/// Maximum number of pages that are read of a list.
const MAX_PAGES: usize = 8;

/// Returns false if a list that the caller can read as a whole lacks the resource. Returns `None` if
/// the list does not tell.
pub(super) async fn is_listed<R: UsageReads>(
    reads: &BoundedReads<'_, R>,
    kind: ResourceKind,
    handle: &str,
) -> Option<bool> {
    let is_of_kind = |source: &&portkey_api::references::Source| {
        source.referrer == kind
            && !source.rows.is_empty()
            && !matches!(source.scope, ListScope::Target(_))
    };
    let source = SOURCES.iter().find(is_of_kind)?;
    let mut args = JsonMap::new();
    let mut read = 0;
    for page in 1..=MAX_PAGES {
        let answer = reads.read(source.list, args.clone()).await.ok()?;
        let rows = answer.get(source.rows).unwrap_or(&answer).as_array()?;
        let is_this = |row: &Value| {
            ["id", "slug"]
                .iter()
                .any(|name| row.get(*name).and_then(Value::as_str) == Some(handle))
        };
        if rows.iter().any(is_this) {
            return Some(true);
        }
        read += rows.len();
        let total = answer.get("total").and_then(Value::as_u64);
        if rows.is_empty() || total.is_none_or(|total| total <= read as u64) {
            return Some(false);
        }
        args.insert("page_size".to_owned(), rows.len().into());
        args.insert("current_page".to_owned(), page.into());
    }
    None
}

/// Returns an error if there is no such workspace, to which a search is limited.
pub(super) async fn check_workspace<R: UsageReads>(
    reads: &BoundedReads<'_, R>,
    workspace: &str,
) -> Result<(), NoSuchTarget> {
    let Some(row) = find_kind(ResourceKind::Workspace.as_str()) else {
        return Ok(());
    };
    let args = [(row.argument.to_owned(), workspace.into())];
    let is_missing = match reads.read(row.read, args.into_iter().collect()).await {
        Ok(_) => false,
        Err(ReadFailure::Refused { status: 404, .. } | ReadFailure::Invalid(_)) => true,
        Err(failure) => {
            let is_closed = matches!(failure, ReadFailure::Refused { status: 403, .. });
            let is_listed = match is_closed {
                true => is_listed(reads, row.kind, workspace).await,
                false => None,
            };
            // A key of a workspace answers for its own one, whatever workspace is named.
            if is_listed.is_none() {
                reads.add_unseen(row.read, &failure);
            }
            is_listed == Some(false)
        }
    };
    match is_missing {
        true => Err(NoSuchTarget {
            kind: row.kind.noun(1),
            target: workspace.to_owned(),
            argument: "workspace_id",
        }),
        false => Ok(()),
    }
}

//! Lists of all workspaces, if a caller requests them: one call for each workspace and page.

use portkey_operation::{InputError, JsonMap};
use rmcp::{RoleServer, model::ProgressNotificationParam, service::RequestContext};
use serde_json::Value;

use super::{pages::ListRequest, tool_call::ToolCallFlow};
use crate::{
    mcp::{
        reply,
        results::{
            ALL_WORKSPACES_ARGUMENT, ListedWorkspace, MAX_LIST_ITEMS, MAX_LIST_WORKSPACES,
            MAX_WORKSPACE_CALLS, PageCollector, WORKSPACE_ARGUMENT, WorkspaceCollector,
        },
    },
    observability::call_record::OutcomeKind,
    pipeline::{CallError, CallRecord},
};

/// Operation that lists the workspaces.
const WORKSPACES_OPERATION: &str = "list-all-workspaces";

/// The calls of one list of all workspaces.
struct WorkspaceCalls<'a, 'f> {
    flow: &'a ToolCallFlow<'f>,
    count: usize,
    is_untrusted: bool,
}

impl ToolCallFlow<'_> {
    /// Returns the lists of all workspaces as one.
    ///
    /// Each page of each workspace is a call of its own, which policies, limits and the audit log see.
    /// A workspace whose list cannot be read is named in the answer.
    ///
    /// # Errors
    /// Returns the error of the workspaces, or of the first list if none can be read.
    pub(super) async fn collect_workspaces(
        &self,
        name: &str,
        wanted: &ListRequest,
        record: &mut CallRecord,
    ) -> Result<Value, CallError> {
        record.operation = Some(self.server.dispatcher().catalog().find(name)?.operation);
        let mut calls = WorkspaceCalls {
            flow: self,
            count: 0,
            is_untrusted: false,
        };
        let workspaces = calls.call(WORKSPACES_OPERATION, JsonMap::new()).await?;
        let workspaces = ListedWorkspace::from_list(workspaces);
        let mut lists = WorkspaceCollector::default();
        let mut first_error = None;
        let mut done = 0;
        for workspace in workspaces.iter().take(MAX_LIST_WORKSPACES) {
            if lists.is_full() || calls.is_exhausted() {
                break;
            }
            done += 1;
            match calls.list(name, wanted, workspace).await {
                Ok(answer) => lists.add(workspace, answer),
                Err(error) => {
                    lists.miss(workspace, reply::error_message(&error));
                    first_error.get_or_insert(error);
                }
            }
            if let Some(client) = self.client {
                notify_workspace(client, done, workspaces.len(), &workspace.slug).await;
            }
        }
        if let Some(error) = first_error.filter(|_| lists.has_failed()) {
            return Err(error);
        }
        if done < workspaces.len() {
            let count = workspaces.len();
            lists.warn(format!(
                "{done} of {count} workspaces were read: the bounds are {MAX_LIST_WORKSPACES} workspaces, \
                 {MAX_LIST_ITEMS} items and {MAX_WORKSPACE_CALLS} requests. Name the others by `{WORKSPACE_ARGUMENT}`"
            ));
        }
        record.untrusted |= calls.is_untrusted;
        record.outcome = OutcomeKind::Answered.into();
        Ok(lists.finish())
    }
}

impl WorkspaceCalls<'_, '_> {
    const fn is_exhausted(&self) -> bool {
        self.count >= MAX_WORKSPACE_CALLS
    }

    /// Reads the list of a workspace, with the pages that are wanted.
    async fn list(
        &mut self,
        name: &str,
        wanted: &ListRequest,
        workspace: &ListedWorkspace,
    ) -> Result<Value, CallError> {
        let mut args = wanted.args.clone();
        args.insert(WORKSPACE_ARGUMENT.to_owned(), workspace.id.as_str().into());
        let first = self.call(name, args.clone()).await?;
        let mut pages = PageCollector::new(&wanted.listing, &wanted.options, &args, first);
        while let Some(args) = pages.next_page().cloned() {
            if self.is_exhausted() {
                pages.stop(format!(
                    "the bound of {MAX_WORKSPACE_CALLS} requests is reached"
                ));
                break;
            }
            match self.call(name, args).await {
                Ok(page) => pages.add_page(page),
                Err(error) => pages.stop(reply::error_message(&error)),
            }
        }
        Ok(pages.finish())
    }

    async fn call(&mut self, name: &str, args: JsonMap) -> Result<Value, CallError> {
        self.count += 1;
        let mut page = CallRecord::default();
        let call = self.flow.pipeline_call(name, args, None);
        let answer = Box::pin(self.flow.server.dispatcher().call(call, &mut page)).await;
        self.is_untrusted |= page.untrusted;
        match page.outcome.kind {
            OutcomeKind::DryRun => {
                let what = format!("a policy wants a dry run of `{name}`, so that it was not sent");
                Err(InputError::new(ALL_WORKSPACES_ARGUMENT, what).into())
            }
            _ => answer,
        }
    }
}

/// Notifies the client of progress, if it asked for that.
async fn notify_workspace(
    client: &RequestContext<RoleServer>,
    done: usize,
    total: usize,
    slug: &str,
) {
    let Some(token) = client.meta.get_progress_token() else {
        return;
    };
    let note = ProgressNotificationParam::new(token, done as f64)
        .with_total(total as f64)
        .with_message(slug);
    // A client that misses the notification still gets the list.
    _ = client.peer.notify_progress(note).await;
}

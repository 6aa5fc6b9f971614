//! Collection of the pages of a list, if a caller requests all of them.

use portkey_operation::{InputError, JsonMap};
use rmcp::{RoleServer, model::ProgressNotificationParam, service::RequestContext};

use super::tool_call::ToolCallFlow;
use crate::{
    mcp::{
        reply,
        results::{ListOptions, Listing, PageCollector, ToolAnswer},
    },
    pipeline::{Answer, CallRecord},
};

/// Request for a list, with its options.
pub(super) struct ListRequest {
    pub(super) listing: Listing,
    pub(super) options: ListOptions,
    /// Arguments of the operation itself.
    pub(super) args: JsonMap,
}

impl ListRequest {
    /// Returns true if the lists of all workspaces are requested.
    pub(super) const fn wants_all_workspaces(&self) -> bool {
        self.options.wants_all_workspaces()
    }
}

impl ToolCallFlow<'_> {
    /// Removes the list options from the arguments of a call; `None` if the operation does not
    /// list.
    ///
    /// # Errors
    /// Returns an error if an option has an invalid value. The call is then audited as rejected.
    pub(super) fn take_list_request(
        &self,
        name: &str,
        args: &mut JsonMap,
        record: &mut CallRecord,
    ) -> Result<Option<ListRequest>, InputError> {
        let dispatcher = self.server.dispatcher();
        let entry = dispatcher.catalog().find(name).ok();
        // An operation that the caller may not call is rejected later, with its original arguments.
        let entry = entry.filter(|entry| dispatcher.is_authorized(self.principal, entry));
        let Some(entry) = entry else { return Ok(None) };
        let Some(listing) = Listing::for_operation(entry.compiled()) else {
            return Ok(None);
        };
        let received = args.clone();
        match listing.take_options(args) {
            Ok(wishes) => {
                // The next page is requested with the arguments in the form in which this one is
                // sent.
                let args = dispatcher.normalize_arguments(entry, args.clone());
                Ok(Some(ListRequest {
                    listing,
                    options: wishes,
                    args,
                }))
            }
            Err(error) => {
                record.operation = Some(entry.operation);
                dispatcher.record_rejected_call(
                    self.principal,
                    self.request_info,
                    &received,
                    record,
                );
                Err(error)
            }
        }
    }

    /// Returns the list that begins with a response, with the following pages if they are
    /// requested.
    ///
    /// Each page is a call of its own, which policies, limits and the audit log see. A page that
    /// fails ends the list, and the list says so.
    pub(super) async fn collect_pages(
        &self,
        name: &str,
        wanted: &ListRequest,
        first: Answer,
        record: &mut CallRecord,
    ) -> ToolAnswer {
        let page = ToolAnswer::from_page(&wanted.listing, &wanted.options, &wanted.args, first);
        let first = match page {
            Ok(list) => return list,
            Err(first) => first,
        };
        let mut gathered =
            PageCollector::new(&wanted.listing, &wanted.options, &wanted.args, first);
        while let Some(args) = gathered.next_page().cloned() {
            if let Some(client) = self.client {
                Box::pin(notify_progress(client, &gathered)).await;
            }
            let mut page = CallRecord::default();
            let call = self.pipeline_call(name, args, None);
            // Boxed: most lists end with their first page, and every call would otherwise reserve
            // the space.
            match Box::pin(self.server.dispatcher.call(call, &mut page)).await {
                Ok(answer) => gathered.add_page(answer),
                Err(error) => gathered.stop(reply::error_message(&error)),
            }
            record.untrusted |= page.untrusted;
        }
        gathered.finish().into()
    }
}

/// Notifies the client of progress, if it asked for that.
async fn notify_progress(client: &RequestContext<RoleServer>, gathered: &PageCollector<'_>) {
    let Some(token) = client.meta.get_progress_token() else {
        return;
    };
    let (items, total) = gathered.progress();
    let note = ProgressNotificationParam::new(token, items as f64)
        .with_message(format!("{items} items so far"));
    let note = match total {
        Some(total) => note.with_total(total as f64),
        None => note,
    };
    // A client that misses the notification still gets the list.
    _ = client.peer.notify_progress(note).await;
}

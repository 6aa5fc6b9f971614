//! The pages of a list, put together where a caller wishes for all of them.

use rmcp::{RoleServer, model::ProgressNotificationParam, service::RequestContext};
use serde_json::Value;

use super::Server;
use crate::{
    dispatch::{Call, Record},
    principal::Principal,
    reply,
    request::Arrival,
    results::{Gathered, Listing},
};

/// The call that a list began with.
pub(super) struct Source<'a> {
    pub(super) context: &'a RequestContext<RoleServer>,
    pub(super) principal: &'a Principal,
    pub(super) arrival: &'a Arrival,
    pub(super) name: &'a str,
}

impl Server {
    /// How the operation of that name lists, if it does.
    pub(super) fn listing(&self, name: &str) -> Option<Listing> {
        Listing::of(self.dispatcher.catalog().find(name).ok()?.published())
    }

    /// The list, with the pages that are still wished for. Each is a call of its own: policy, limits and
    /// the audit log see every one. One that fails ends the list, and says so in it.
    pub(super) async fn gather(
        &self,
        source: Source<'_>,
        mut gathered: Gathered<'_>,
        record: &mut Record,
    ) -> Value {
        let Source { context, principal, arrival, name } = source;
        while let Some(args) = gathered.wants().cloned() {
            progress(context, &gathered).await;
            let mut page = Record::default();
            let call = Call { principal, arrival, name, args, answer: None };
            match self.dispatcher.recorded(call, &mut page).await {
                Ok(answer) => gathered.add(answer),
                Err(error) => gathered.stop(reply::words(&error)),
            }
            record.untrusted |= page.untrusted;
        }
        gathered.finish()
    }
}

/// Tells the client how far it is, if it wants to know.
async fn progress(context: &RequestContext<RoleServer>, gathered: &Gathered<'_>) {
    let Some(token) = context.meta.get_progress_token() else { return };
    let (items, total) = gathered.progress();
    let note = ProgressNotificationParam::new(token, items as f64)
        .with_message(format!("{items} items so far"));
    let note = match total {
        Some(total) => note.with_total(total as f64),
        None => note,
    };
    // Whoever does not hear it gets the list all the same.
    _ = context.peer.notify_progress(note).await;
}

//! The pages of a list, put together where a caller wishes for all of them.

use portkey_operation::{InputError, JsonMap};
use rmcp::{RoleServer, model::ProgressNotificationParam, service::RequestContext};
use serde_json::Value;

use super::Server;
use crate::{
    auth::principal::Principal,
    mcp::{
        reply,
        results::{Gathered, Listing, Wishes},
    },
    observability::request::Arrival,
    pipeline::{Call, Record},
};

/// A call of an operation, which may list.
pub(super) struct Source<'a> {
    /// Who hears how far it is; nobody in the shell.
    pub(super) client: Option<&'a RequestContext<RoleServer>>,
    pub(super) principal: &'a Principal,
    pub(super) arrival: &'a Arrival,
    pub(super) name: &'a str,
}

/// What is wanted of a list.
pub(super) struct Wanted {
    listing: Listing,
    wishes: Wishes,
    /// The operation's own arguments.
    args: JsonMap,
}

impl Server {
    /// Takes out of the arguments of a call what is wished beyond those of its operation; none where that
    /// lists nothing.
    ///
    /// # Errors
    /// A wish is not of its kind; the call is on record then.
    pub(super) fn wanted(
        &self,
        source: &Source<'_>,
        args: &mut JsonMap,
        record: &mut Record,
    ) -> Result<Option<Wanted>, InputError> {
        let Source {
            principal,
            arrival,
            name,
            ..
        } = *source;
        let entry = self.dispatcher.catalog().find(name).ok();
        // What is not open to the caller is refused as it came.
        let entry = entry.filter(|entry| self.dispatcher.is_open(principal, entry));
        let Some(entry) = entry else { return Ok(None) };
        let Some(listing) = Listing::of(entry.published()) else {
            return Ok(None);
        };
        let came = args.clone();
        match listing.take_wishes(args) {
            Ok(wishes) => {
                // The next page is asked for in the form in which this one is sent.
                let args = self.dispatcher.as_sent(entry, args.clone());
                Ok(Some(Wanted {
                    listing,
                    wishes,
                    args,
                }))
            }
            Err(error) => {
                record.operation = Some(entry.operation);
                self.dispatcher
                    .record_rejected_call(principal, arrival, &came, record);
                Err(error)
            }
        }
    }

    /// The list that begins with an answer, with the pages that are still wished for. Each is a call of its
    /// own: policy, limits and the audit log see every one. One that fails ends the list, and says so in it.
    pub(super) async fn gather(
        &self,
        source: &Source<'_>,
        wanted: &Wanted,
        first: Value,
        record: &mut Record,
    ) -> Value {
        let Source {
            client,
            principal,
            arrival,
            name,
        } = *source;
        let mut gathered = Gathered::begin(&wanted.listing, &wanted.wishes, &wanted.args, first);
        while let Some(args) = gathered.wants().cloned() {
            if let Some(client) = client {
                progress(client, &gathered).await;
            }
            let mut page = Record::default();
            let call = Call {
                principal,
                arrival,
                name,
                args,
                answer: None,
            };
            // In a box: most lists end with their first page, and all calls would make room for more.
            match Box::pin(self.dispatcher.recorded(call, &mut page)).await {
                Ok(answer) => gathered.add(answer),
                Err(error) => gathered.stop(reply::words(&error)),
            }
            record.untrusted |= page.untrusted;
        }
        gathered.finish()
    }
}

/// Tells the client how far it is, if it wants to know.
async fn progress(client: &RequestContext<RoleServer>, gathered: &Gathered<'_>) {
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
    // Whoever does not hear it gets the list all the same.
    _ = client.peer.notify_progress(note).await;
}

//! Options about what calls may do, on every transport.

mod approval;

use std::{path::Path, sync::Arc};

use clap::Args;

use self::approval::Approval;
use crate::{
    approval::Approvals, dispatch::Dispatcher, seal::Keyring, store::Store, transport::admin::Desk,
    watch::Watched,
};

/// What stands between a call and its upstream.
#[derive(Args, Debug)]
pub struct Guard {
    #[command(flatten)]
    approval: Approval,
}

impl Guard {
    /// Puts what the options say in the way of each call.
    pub(crate) fn over(&self, dispatcher: Dispatcher) -> Dispatcher {
        self.approval.over(dispatcher)
    }

    /// Where humans answer. Replicas share keys and store.
    pub(crate) fn approvals(&self, keys: Arc<Watched<Keyring>>, store: Store) -> Arc<Approvals> {
        self.approval.approvals(keys, store)
    }

    /// Opens the place where humans decide elsewhere, if one is wanted; it closes when it is dropped.
    pub(crate) fn desk(&self, approvals: &Arc<Approvals>) -> anyhow::Result<Option<Desk>> {
        self.approval.desk(approvals)
    }

    /// Where its address and token are written.
    pub(crate) fn admin_file(&self) -> Option<&Path> {
        self.approval.admin_file()
    }
}

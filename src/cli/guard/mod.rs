//! Options about what calls may do, on every transport.

mod approval;
mod policy;

use std::{path::Path, sync::Arc};

use clap::Args;
use portkey_file_watch::Watched;
use portkey_store::Store;

use self::{approval::Approval, policy::Policy};
use crate::{
    pipeline::{Dispatcher, approval::Approvals},
    security::signed_state::Keyring,
    transport::admin::Desk,
};

/// What stands between a call and its upstream.
#[derive(Args, Debug)]
pub struct Guard {
    #[command(flatten)]
    approval: Approval,
    #[command(flatten)]
    policy: Policy,
}

impl Guard {
    /// Puts what the options say in the way of each call.
    ///
    /// # Errors
    /// A file that an option names cannot be read or does not hold.
    pub(crate) fn over(&self, dispatcher: Dispatcher) -> anyhow::Result<Dispatcher> {
        self.policy.over(self.approval.over(dispatcher))
    }

    /// The policy as it is in its file now.
    ///
    /// # Errors
    /// The file cannot be read or does not hold.
    pub(crate) fn policy(&self) -> anyhow::Result<Option<portkey_policy::Policy>> {
        self.policy.load()
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

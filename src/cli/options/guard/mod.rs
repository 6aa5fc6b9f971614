//! Options that restrict calls, on every transport.

mod approval;
mod policy;

use std::path::{Path, PathBuf};

use clap::Args;

use self::{approval::ApprovalOptions, policy::PolicyOptions};
use crate::{app::ApprovalSettings, pipeline::approval::ApprovalDefaults};

/// Options that restrict calls.
#[derive(Args, Debug)]
pub(crate) struct GuardOptions {
    #[command(flatten)]
    approval: ApprovalOptions,
    #[command(flatten)]
    policy: PolicyOptions,
}

impl GuardOptions {
    /// Returns true if writes are previewed instead of sent.
    pub(super) const fn dry_run(&self) -> bool {
        self.approval.dry_run
    }

    /// Returns the kinds of calls that always need approval.
    pub(super) const fn approval_defaults(&self) -> ApprovalDefaults {
        self.approval.defaults()
    }

    /// Returns the settings of approvals by humans.
    pub(crate) fn approval(&self) -> ApprovalSettings {
        self.approval.settings()
    }

    /// Returns the path of the policy file, if there is one.
    pub(super) fn policy_file(&self) -> Option<PathBuf> {
        self.policy.policy.clone()
    }

    /// Reads the policy file once.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is invalid.
    pub(crate) fn policy(&self) -> anyhow::Result<Option<portkey_policy::Policy>> {
        self.policy
            .policy
            .as_deref()
            .map(portkey_policy::Policy::load_without_warnings)
            .transpose()
    }

    /// Returns the file with the address and the token of the approval server.
    pub(crate) fn admin_file(&self) -> Option<&Path> {
        self.approval.admin_file.as_deref()
    }
}

//! Options that restrict calls, on every transport.

mod approval;
mod console;
mod policy;

use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::ClientBuilder;

use self::{approval::ApprovalOptions, console::ConsoleOptions, policy::PolicyOptions};
use crate::{
    app::ApprovalSettings, observability::audit::AuditTrail, pipeline::approval::ApprovalDefaults,
    transport::admin::ApprovalServerSettings,
};

/// Options that restrict calls.
#[derive(Args, Debug)]
pub(crate) struct GuardOptions {
    #[command(flatten)]
    approval: ApprovalOptions,
    #[command(flatten)]
    console: ConsoleOptions,
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

    /// Returns the settings of approvals by humans. `audit` is the audit log that the console shows, and
    /// `client` makes the HTTP client of the webhook.
    ///
    /// # Errors
    /// Returns an error if the key of the webhook cannot be used.
    pub(super) fn approval(
        &self,
        audit: Option<AuditTrail>,
        client: impl FnOnce() -> anyhow::Result<ClientBuilder>,
    ) -> anyhow::Result<ApprovalSettings> {
        let server = self.approval.listen().map(|listen| ApprovalServerSettings {
            listen,
            file: self.approval.admin_file.clone(),
            public_url: self.console.public_url(),
            proxy_name: self.console.proxy_name(),
            requires_tokens: self.console.requires_tokens(),
            audit,
        });
        Ok(ApprovalSettings {
            timeout: self.approval.timeout(),
            server,
            webhook: self.console.webhook(client)?,
        })
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

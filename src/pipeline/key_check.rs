//! Checks that a key which a caller brings along exists, where a made-up one would do harm.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use portkey_operation::{ApiBase, Operation};
use portkey_policy::Policy;
use portkey_store::{RateLimitOutcome, StoreKey, TokenBucket};

use super::Dispatcher;
use crate::auth::principal::{AuthMethod, KeyProver, Principal, ProofError, ProofFuture};

/// The rate of key checks per network.
pub const MAX_KEY_CHECKS: TokenBucket = TokenBucket {
    burst: NonZeroU32::new(60).unwrap(),
    period: Duration::from_secs(60),
};

impl Dispatcher {
    /// Requires a proven key for operations that keep state in the caller's name whether they
    /// succeed or not.
    ///
    /// Such state is a counter of a limit, or the taint of untrusted content read from a host
    /// that does not check the key.
    pub(super) async fn require_proven_key(
        &self,
        principal: &Principal,
        operation: &Operation,
        policies: &[&Policy],
    ) -> Result<(), ProofError> {
        if principal.method != AuthMethod::Key {
            return Ok(());
        }
        let counts = policies
            .iter()
            .any(|policy| policy.uses_counters(operation) || policy.orders_calls_of(operation));
        let taints = operation.has_untrusted_content() && !verifies_key(operation.base());
        if counts || taints {
            self.prove(principal).await
        } else {
            Ok(())
        }
    }

    /// Returns true if the result of a successful call may be stored for its caller.
    pub(crate) async fn can_store_result(
        &self,
        principal: &Principal,
        operation: Option<&Operation>,
    ) -> bool {
        principal.method != AuthMethod::Key
            || operation.is_some_and(|operation| verifies_key(operation.base()))
            || self.prove(principal).await.is_ok()
    }

    /// Remembers that the upstream accepted the caller's key.
    pub(super) fn record_accepted_key(&self, principal: &Principal, operation: &Operation) {
        if principal.method == AuthMethod::Key && verifies_key(operation.base()) {
            self.proofs.record_accepted(&principal.name);
        }
    }

    /// Limits the key checks per network.
    ///
    /// # Errors
    /// Returns `TooManyKeys` if the network has used up its checks, or `Unknown` if the store is
    /// unavailable.
    async fn limit_key_checks(&self, network: Option<IpAddr>) -> Result<(), ProofError> {
        let network = network
            .map(|network| network.to_string())
            .unwrap_or_default();
        match self
            .store
            .take(&StoreKey::new("key-check", &[&network]), &MAX_KEY_CHECKS)
            .await
        {
            Ok(RateLimitOutcome::Allowed) => Ok(()),
            Ok(RateLimitOutcome::RetryAfter(_)) => Err(ProofError::TooManyKeys),
            Err(_) => Err(ProofError::Unknown),
        }
    }
}

impl KeyProver for Dispatcher {
    fn is_proven(&self, name: &str) -> bool {
        self.proofs.is_accepted(name)
    }

    fn prove<'a>(&'a self, principal: &'a Principal) -> ProofFuture<'a> {
        Box::pin(async move {
            if principal.method != AuthMethod::Key {
                return Ok(());
            }
            let admit = self.limit_key_checks(principal.network);
            let ask = self.upstream.check_key(&principal.credentials);
            self.proofs.check(&principal.name, admit, ask).await
        })
    }
}

/// Returns true if a response from this host shows that the caller's key exists. The other hosts
/// take no key, or a different one.
fn verifies_key(base: ApiBase) -> bool {
    matches!(base, ApiBase::ControlPlane | ApiBase::ControlPlaneV2)
}

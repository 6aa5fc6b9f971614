//! Makes sure that callers who bring a key of their own are none that were made up, where it matters.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use portkey_operation::{Base, Operation};
use portkey_policy::Policy;
use portkey_store::{Key, Limit, Taken};

use super::Dispatcher;
use crate::auth::principal::{Method, Principal, Prover, Proving, Unproven};

/// How many keys of one network are checked.
pub const MAX_KEY_CHECKS: Limit = Limit {
    burst: NonZeroU32::new(60).unwrap(),
    period: Duration::from_secs(60),
};

impl Dispatcher {
    /// Makes sure that a caller is proven before an operation that keeps something in its name whatever comes
    /// of it: counters of a limit, or that it read what strangers wrote where nobody looked at its key.
    pub(super) async fn demand_proof(
        &self,
        principal: &Principal,
        operation: &Operation,
        policies: &[&Policy],
    ) -> Result<(), Unproven> {
        if principal.method != Method::Key {
            return Ok(());
        }
        let counts = policies.iter().any(|policy| policy.counts(operation));
        let taints = operation.is_untrusted() && !proves(operation.base());
        if counts || taints {
            self.prove(principal).await
        } else {
            Ok(())
        }
    }

    /// Whether the answer of a call that succeeded may be kept for its caller.
    pub(crate) async fn may_keep(
        &self,
        principal: &Principal,
        operation: Option<&Operation>,
    ) -> bool {
        principal.method != Method::Key
            || operation.is_some_and(|operation| proves(operation.base()))
            || self.prove(principal).await.is_ok()
    }

    /// Notes that the upstream accepted the key of a caller.
    pub(super) fn note_success(&self, principal: &Principal, operation: &Operation) {
        if principal.method == Method::Key && proves(operation.base()) {
            self.proofs.accept(&principal.name);
        }
    }

    /// Whether the upstream may be asked about one more key that comes from this network.
    async fn admit_check(&self, network: Option<IpAddr>) -> Result<(), Unproven> {
        let network = network
            .map(|network| network.to_string())
            .unwrap_or_default();
        match self
            .store
            .take(&Key::new("key-check", &[&network]), &MAX_KEY_CHECKS)
            .await
        {
            Ok(Taken::Yes) => Ok(()),
            Ok(Taken::RetryAfter(_)) => Err(Unproven::TooMany),
            Err(_) => Err(Unproven::Unknown),
        }
    }
}

impl Prover for Dispatcher {
    fn is_proven(&self, name: &str) -> bool {
        self.proofs.is_accepted(name)
    }

    fn prove<'a>(&'a self, principal: &'a Principal) -> Proving<'a> {
        Box::pin(async move {
            if principal.method != Method::Key {
                return Ok(());
            }
            let admit = self.admit_check(principal.network);
            let ask = self.portkey.check_key(&principal.credentials);
            self.proofs.check(&principal.name, admit, ask).await
        })
    }
}

/// Whether an answer from there shows that the key is known: others take no key, or another one.
fn proves(base: Base) -> bool {
    matches!(base, Base::ControlPlane | Base::ControlPlaneV2)
}

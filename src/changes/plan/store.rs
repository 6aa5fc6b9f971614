//! Plans as their callers hold them: an encrypted and signed token, or a handle of a plan that is kept because its token
//! would be long.

use std::sync::Arc;

use portkey_file_watch::WatchedValue;
use portkey_operation::InputError;
use portkey_store::{Store, StoreKey};
use sha2::{Digest, Sha256};

use super::document::{ChangePlan, PLAN_TTL};
use crate::{
    auth::principal::Principal,
    security::{
        encrypted_store::EncryptedStore,
        signed_state::{Keyring, StatePurpose, random_bytes},
    },
};

/// Maximum length of a token, in bytes. A model has to repeat it. A longer plan is kept.
pub const MAX_TOKEN_BYTES: usize = 2_048;
/// Maximum size of a kept plan, in bytes.
const MAX_KEPT_BYTES: usize = 512 << 10;
/// Beginning of a handle.
const HANDLE_PREFIX: &str = "plan_";
/// Purpose of the key that encrypts the plan in a token.
const TOKEN_PLACE: &str = "plan token";
/// Argument that holds a plan.
const PLAN_ARGUMENT: &str = "plan";

/// Signs plans, and keeps those that are too long for a token.
#[derive(Clone, Debug)]
pub struct PlanStore {
    keys: Arc<WatchedValue<Keyring>>,
    values: EncryptedStore,
}

impl PlanStore {
    /// Creates the store. Replicas share keys and store.
    pub fn new(keys: Arc<WatchedValue<Keyring>>, store: Store) -> Self {
        Self {
            values: EncryptedStore::new(store, keys.clone()),
            keys,
        }
    }

    pub(super) const fn values(&self) -> &EncryptedStore {
        &self.values
    }

    /// Encrypts and signs a plan for its caller, because its arguments may hold secrets, and keeps it if the token would be long.
    ///
    /// # Errors
    /// Returns an error if the plan is too large, or the store is unavailable.
    pub async fn issue(
        &self,
        principal: &Principal,
        plan: &ChangePlan,
    ) -> Result<String, InputError> {
        let failed = |what: &str| InputError::new(PLAN_ARGUMENT, format!("cannot be kept: {what}"));
        let payload = serde_json::to_vec(plan).map_err(|error| failed(&error.to_string()))?;
        let keys = self.keys.get();
        let sealed = keys.encrypt(TOKEN_PLACE, &payload);
        let sealed = sealed.map_err(|_| failed("no random numbers"))?;
        let token = keys.sign(StatePurpose::Plan, &principal.name, b"", &sealed, PLAN_TTL);
        if token.len() <= MAX_TOKEN_BYTES {
            return Ok(token);
        }
        if token.len() > MAX_KEPT_BYTES {
            return Err(failed("it is too large; make several plans of it"));
        }
        let random = random_bytes::<16>().map_err(|_| failed("no random numbers"))?;
        let handle = format!("{HANDLE_PREFIX}{}", hex::encode(random));
        let key = kept_key(principal, &handle);
        let kept = self
            .values
            .put(&key, token.into_bytes().into(), PLAN_TTL)
            .await;
        kept.map_err(|error| failed(&error.to_string()))?;
        Ok(handle)
    }

    /// Returns the plan of a token or a handle.
    ///
    /// # Errors
    /// Returns an error if it is not a plan of this caller, or is no longer valid.
    pub async fn open(&self, principal: &Principal, given: &str) -> Result<ChangePlan, InputError> {
        let invalid = || {
            let what = "is no plan that this server made for you, or its time is over; make it again with \
                        `plan-changes`";
            InputError::new(PLAN_ARGUMENT, what)
        };
        let kept;
        let token = match given.starts_with(HANDLE_PREFIX) {
            false => given,
            true => {
                let found = self.values.get(&kept_key(principal, given)).await;
                let found = found.map_err(|error| {
                    InputError::new(PLAN_ARGUMENT, format!("cannot be read now: {error}"))
                })?;
                kept = String::from_utf8(found.ok_or_else(invalid)?.to_vec())
                    .map_err(|_| invalid())?;
                &kept
            }
        };
        let keys = self.keys.get();
        let sealed = keys
            .verify(StatePurpose::Plan, &principal.name, b"", token)
            .map_err(|_| invalid())?;
        let payload = keys.decrypt(TOKEN_PLACE, &sealed).map_err(|_| invalid())?;
        let plan: ChangePlan = serde_json::from_slice(&payload).map_err(|_| invalid())?;
        match plan.is_known_form() && plan.caller == *principal.name {
            true => Ok(plan),
            false => Err(invalid()),
        }
    }
}

fn kept_key(principal: &Principal, handle: &str) -> StoreKey {
    let digest = hex::encode(Sha256::digest(handle));
    StoreKey::new("plan", &[&principal.name, &digest]).owned_by(&principal.name)
}

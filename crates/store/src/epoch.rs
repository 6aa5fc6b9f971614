//! Timestamps of values for single use, issued by the store that marks their use.
//!
//! A store that loses its marks must not permit a second use. Each store therefore has an epoch, a
//! random value that it loses together with its marks. A value for single use names the epoch in
//! which it was issued.
//!
//! The age of such a value is measured by the store's clock, which is also the clock that marks
//! expire by. A mark outlives its value, no matter how that clock is set.

use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

/// Length of an epoch, in bytes.
pub(super) const EPOCH_BYTES: usize = 16;

/// A random value that a store loses together with all other data.
pub(super) type Epoch = [u8; EPOCH_BYTES];

/// Time of issue: an epoch of the store, and a time of the store's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub(super) epoch: Epoch,
    /// Milliseconds of the store's clock, which never goes back.
    pub(super) issued_at_millis: u64,
}

/// Result of marking a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UseOutcome {
    /// This is the first use, which is permitted.
    First,
    /// An earlier use was marked.
    AlreadyUsed,
    /// The value is too old.
    Expired,
    /// The store has lost data since the value was issued, so an earlier use cannot be ruled out.
    DataLost,
}

impl Stamp {
    /// Length of the encoded timestamp, in bytes.
    pub const BYTES: usize = EPOCH_BYTES + 8;

    /// Encodes the timestamp, to be stored with the value that it belongs to.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (epoch, at) = bytes.split_at_mut(EPOCH_BYTES);
        epoch.copy_from_slice(&self.epoch);
        at.copy_from_slice(&self.issued_at_millis.to_be_bytes());
        bytes
    }

    /// Decodes a timestamp.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let mut epoch = [0; EPOCH_BYTES];
        let mut at = [0; 8];
        let (first, last) = bytes.split_at(EPOCH_BYTES);
        epoch.copy_from_slice(first);
        at.copy_from_slice(last);
        Self {
            epoch,
            issued_at_millis: u64::from_be_bytes(at),
        }
    }

    /// Returns true if both timestamps are of one epoch: the store lost no data in between.
    pub fn is_same_epoch(&self, other: &Self) -> bool {
        self.epoch == other.epoch
    }
}

/// Returns an epoch that no other store has.
pub(super) fn random_epoch() -> Epoch {
    let mut epoch = [0; EPOCH_BYTES];
    if SystemRandom::new().fill(&mut epoch).is_err() {
        // Epochs have to be distinct, and need not be secret.
        let now = std::time::SystemTime::now();
        let digest = Sha256::digest(format!("{now:?} {}", std::process::id()));
        epoch
            .iter_mut()
            .zip(digest)
            .for_each(|(to, from)| *to = from);
    }
    epoch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamp_round_trips_through_bytes() {
        let stamp = Stamp {
            epoch: random_epoch(),
            issued_at_millis: 0x0102_0304_0506_0708,
        };
        assert_eq!(Stamp::from_bytes(stamp.to_bytes()), stamp);
    }
}

//! When something for single use was issued, by the store that marks its use.
//!
//! A store that loses its marks must not let anything be used again. So each store has an epoch, a random
//! value that it loses together with its marks, and what is for single use names the epoch it was issued in.
//! Its age goes by the store's clock, which is also the clock that marks expire by: whichever way that clock
//! is set, a mark outlives what it marks.

use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

/// Bytes of an epoch.
pub(super) const EPOCH_BYTES: usize = 16;

/// A random value that a store loses together with everything else.
pub(super) type Epoch = [u8; EPOCH_BYTES];

/// When something was issued: in which epoch of its store, and at which time of the store's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub(super) epoch: Epoch,
    /// Milliseconds. Never goes back.
    pub(super) at: u64,
}

/// What marking a use came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It was the first use.
    First,
    /// It was used before.
    Again,
    /// It is too old.
    Expired,
    /// The store has forgotten since it was issued, so nobody knows whether it was used.
    Forgotten,
}

impl Stamp {
    /// How many bytes it has.
    pub const BYTES: usize = EPOCH_BYTES + 8;

    /// Its bytes, to be kept with what it stamps.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (epoch, at) = bytes.split_at_mut(EPOCH_BYTES);
        epoch.copy_from_slice(&self.epoch);
        at.copy_from_slice(&self.at.to_be_bytes());
        bytes
    }

    /// Reads its bytes.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let (mut epoch, mut at) = ([0; EPOCH_BYTES], [0; 8]);
        let (first, last) = bytes.split_at(EPOCH_BYTES);
        epoch.copy_from_slice(first);
        at.copy_from_slice(last);
        Self {
            epoch,
            at: u64::from_be_bytes(at),
        }
    }

    /// Whether both are of one epoch: the store has not forgotten in between.
    pub fn is_of_epoch_of(&self, other: &Self) -> bool {
        self.epoch == other.epoch
    }
}

/// An epoch that no other store has.
pub(super) fn random_epoch() -> Epoch {
    let mut epoch = [0; EPOCH_BYTES];
    if SystemRandom::new().fill(&mut epoch).is_err() {
        // Epochs have to differ, and nothing depends on their being secret.
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
    fn stamp_is_read_as_it_was_written() {
        let stamp = Stamp {
            epoch: random_epoch(),
            at: 0x0102_0304_0506_0708,
        };
        assert_eq!(Stamp::from_bytes(stamp.to_bytes()), stamp);
    }
}

//! What let a caller in: what outlasts a request ends with it.

use std::time::SystemTime;

/// What a caller was let in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Nothing that could end.
    Standing,
    /// A key of its own, for as long as the upstream accepts it.
    Key,
    /// A token of the operator's file, by its hash, for as long as it is there.
    Token([u8; 32]),
    /// An access token, until this time at most, and for as long as these settings are in effect.
    OAuth {
        /// When it ends.
        until: Option<SystemTime>,
        /// Tells the settings apart from later ones.
        settings: u64,
    },
}

impl Grant {
    /// Whether it can end.
    pub const fn can_end(&self) -> bool {
        !matches!(self, Self::Standing)
    }
}

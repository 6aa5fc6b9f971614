//! Grants: the basis on which a caller was authenticated. Streams end with their caller's grant.

use std::time::SystemTime;

/// Basis on which a caller was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// A grant that cannot end.
    Permanent,
    /// The caller's own key, valid while the upstream accepts it.
    Key,
    /// A token of the operator's file, by its hash, valid while the file contains it.
    Token([u8; 32]),
    /// An access token, valid until its expiry and while these settings are in effect.
    OAuth {
        /// Expiry of the token, if known.
        until: Option<SystemTime>,
        /// Number that distinguishes these settings from later ones.
        settings: u64,
    },
}

impl Grant {
    /// Returns true if the grant can end.
    pub const fn can_end(&self) -> bool {
        !matches!(self, Self::Permanent)
    }
}

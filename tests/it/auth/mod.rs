//! Who may call.

mod oauth;

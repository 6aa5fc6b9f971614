//! What the tests share: servers, clients, upstreams, programs and files.

pub(crate) mod generated;
pub(crate) mod mcp_client;
pub(crate) mod oauth_issuer;
pub(crate) mod process;
pub(crate) mod programs;
pub(crate) mod redis;
pub(crate) mod requests;
pub(crate) mod token_signer;
pub(crate) mod upstream;

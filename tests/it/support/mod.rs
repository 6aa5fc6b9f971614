//! What the tests share: servers, clients, upstreams, programs and files.

pub(crate) mod approvals;
pub(crate) mod arguments;
pub(crate) mod audit;
pub(crate) mod catalogs;
pub(crate) mod clock;
pub(crate) mod console;
pub(crate) mod exported;
pub(crate) mod form_client;
pub(crate) mod generated;
pub(crate) mod in_process;
pub(crate) mod mcp_client;
pub(crate) mod metered_server;
pub(crate) mod oauth_issuer;
pub(crate) mod official_client;
pub(crate) mod planted_secrets;
pub(crate) mod policy;
#[cfg(all(unix, feature = "postgres"))]
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod programs;
pub(crate) mod redis;
pub(crate) mod requests;
pub(crate) mod rotation;
pub(crate) mod server;
pub(crate) mod stdio;
pub(crate) mod store;
pub(crate) mod token_signer;
pub(crate) mod upstream;

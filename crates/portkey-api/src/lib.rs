//! Operations of the Portkey Admin API and of Enkrypt AI's MCP gateway: declared by domain, found
//! by name.

pub mod catalog;
pub mod domains;
pub mod handles;
pub mod references;

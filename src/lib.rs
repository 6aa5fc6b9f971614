//! An MCP server for the Portkey Admin API.
//!
//! A call goes one way through the house, and never back:
//!
//! ```text
//! transport ─▶ server ─▶ dispatch ─▶ operation ─▶ portkey ─▶ reply
//!  stdio, http   MCP     one call    gate, wire    HTTP      in words
//! ```
//!
//! | room | knows | must not know |
//! | --- | --- | --- |
//! | [`transport`] | sockets and pipes | operations |
//! | [`server`] | MCP | HTTP towards Portkey |
//! | [`dispatch`] | the order of the steps | any one endpoint |
//! | [`operation`] | what a declaration is | MCP, the network |
//! | [`admin`] | Portkey's endpoints | everything but [`operation`] |
//! | [`portkey`] | how a request is answered | why it was asked |
//! | [`reply`] | what a model should see | where it came from |
//! | [`sandbox`] | how Portkey behaves | every other room |
//! | [`cli`] | the command line | how any of it works |

pub mod admin;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod dispatch;
pub mod operation;
pub mod portkey;
pub mod reply;
pub mod sandbox;
pub mod server;
pub mod transport;

//! An MCP server for the Portkey Admin API, and for Enkrypt AI's MCP gateway beside it.
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
//! | [`auth`] | who may call, and as whom | how a call is made |
//! | [`audit`] | what is put on record of a call | why it was made |
//! | [`principal`] | one caller | how it was recognised |
//! | [`server`] | MCP | HTTP towards upstreams |
//! | [`hub`] | who listens for changes | what changes |
//! | [`prompts`] | what administrators do often, in words | who asks |
//! | [`guide`] | what holds of many operations | any one of them |
//! | [`resources`] | what an address leads to | how it is read |
//! | [`completion`] | what an id can be | MCP |
//! | [`dispatch`] | the order of the steps | any one endpoint |
//! | [`approval`] | what a human is asked, and what the answer is good for | how a human is reached |
//! | [`dry_run`] | what a write would come to | who asks |
//! | [`operation`] | what a declaration is | MCP, the network |
//! | [`admin`] | the endpoints there are | all but [`operation`] and [`gateway_patch`] |
//! | [`search`] | what people call operations | who searches |
//! | [`portkey`] | how a request is answered | why it was asked |
//! | [`gateway_patch`] | what a patch makes of a gateway | everything else |
//! | [`request`] | how a request came | who makes it |
//! | [`record`] | what is found out about a call | who asks |
//! | `network` | why a connection failed | who was called |
//! | [`observe`] | what a request came to | why |
//! | [`metrics`] | what is counted | callers |
//! | [`readiness`] | which dependencies work | what they are for |
//! | [`telemetry`] | how traces are told | what is in a call |
//! | [`reply`] | what a model should see | where it came from |
//! | [`results`] | what of an answer is shown, and keeping the rest | who answers |
//! | [`sandbox`] | how the upstreams behave | every room but [`gateway_patch`] |
//! | [`files`] | how a file is read within bounds | what is in it |
//! | [`watch`] | when a file has changed | what is made of it |
//! | [`seal`] | who may bring back what was given out | what it is for |
//! | [`store`] | what replicas share, and how | what for |
//! | `single_flight` | what is under way already | what it is |
//! | [`taint`] | who has read what strangers wrote | what follows from it |
//! | [`secrets`] | what is secret, and its way | who asks |
//! | [`untrusted`] | what cannot be seen in a text | what a text says |
//! | [`kept`] | what is kept because of callers, and its bounds | how it is kept |
//! | [`workers`] | what takes long | what it is for |
//! | [`cli`] | the command line | how any of it works |

pub use portkey_mcp_admin as admin;
pub use portkey_mcp_catalog as catalog;
pub use portkey_mcp_files as files;
pub use portkey_mcp_gateway_patch as gateway_patch;
pub use portkey_mcp_operation as operation;
pub use portkey_mcp_policy as policy;
pub use portkey_mcp_sandbox as sandbox;
pub use portkey_mcp_store as store;
pub use portkey_mcp_watch as watch;

pub mod approval;
pub mod audit;
pub mod auth;
pub mod cli;
pub mod completion;
pub mod config;
pub mod dispatch;
pub mod dry_run;
pub mod guide;
pub mod hub;
pub mod kept;
pub mod metrics;
mod network;
pub mod observe;
pub mod portkey;
pub mod principal;
pub mod prompts;
pub mod readiness;
pub mod record;
pub mod reply;
pub mod request;
pub mod resources;
pub mod results;
pub mod seal;
mod sealed_store;
pub mod search;
pub mod secrets;
pub mod server;
mod single_flight;
pub mod surface;
pub mod taint;
pub mod telemetry;
pub mod transport;
pub mod untrusted;
pub mod workers;

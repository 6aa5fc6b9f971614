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
//! | [`search`] | what people call operations | who searches |
//! | [`portkey`] | how a request is answered | why it was asked |
//! | [`request`] | how a request came | who makes it |
//! | [`record`] | what is found out about a call | who asks |
//! | `network` | why a connection failed | who was called |
//! | [`observe`] | what a request came to | why |
//! | [`metrics`] | what is counted | callers |
//! | [`readiness`] | which dependencies work | what they are for |
//! | [`telemetry`] | how traces are told | what is in a call |
//! | [`reply`] | what a model should see | where it came from |
//! | [`results`] | what of an answer is shown, and keeping the rest | who answers |
//! | [`seal`] | who may bring back what was given out | what it is for |
//! | [`taint`] | who has read what strangers wrote | what follows from it |
//! | [`secrets`] | what is secret, and its way | who asks |
//! | [`untrusted`] | what cannot be seen in a text | what a text says |
//! | [`kept`] | what is kept because of callers, and its bounds | how it is kept |
//! | [`cli`] | the command line | how any of it works |

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
pub mod surface;
pub mod taint;
pub mod telemetry;
pub mod transport;
pub mod untrusted;

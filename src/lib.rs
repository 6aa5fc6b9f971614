//! An MCP server for the Portkey Admin API, and for Enkrypt AI's MCP gateway beside it.
//!
//! A layer uses only those to its right:
//!
//! ```text
//! cli > app > transport > mcp > workflows > changes > pipeline > upstream > observability > auth, security > http_client > crates
//! ```
//!
//! | layer | responsibility | must not know |
//! | --- | --- | --- |
//! | [`cli`] | arguments and subcommands | |
//! | [`app`] | settings and the parts built from them | clap |
//! | [`transport`] | stdio, HTTP, the approval server; sessions | operations, policies |
//! | [`mcp`] | the protocol: tools, prompts, resources, results | HTTP, upstream addresses |
//! | [`workflows`] | tasks of several operations, each offered as one tool | the protocol, upstreams |
//! | [`changes`] | patches: the current state, the request that changes it, and what came of it | the protocol, an endpoint by name |
//! | [`pipeline`] | one tool call: authorize, validate, evaluate policies, approve, send | the protocol, an endpoint by name |
//! | [`upstream`] | the HTTP client for Portkey and Enkrypt AI | why a call is made |
//! | [`observability`] | call records, audit log, metrics, traces | upstreams, rmcp |
//! | [`auth`] | authentication, callers, tool filters | how a call is made |
//! | [`security`] | secrets, sanitized text, signed state | callers' intentions |
//! | [`http_client`] | TLS, proxies and causes of failed connections | what is sent |
//! | `crates/*` | operations, policies, stores, the journal, the sandbox and others | the application |

pub mod app;
pub mod auth;
pub mod changes;
pub mod cli;
pub mod http_client;
pub mod mcp;
pub mod observability;
pub mod pipeline;
pub mod security;
pub mod transport;
pub mod upstream;
pub mod workflows;

//! The Model Context Protocol: tools, prompts, resources, completion, elicitation, notifications
//! and results.
//!
//! Knows rmcp's models and the layers below; no HTTP, and no upstream address.

pub mod cards;
pub mod completion;
pub mod guide;
pub mod notifications;
pub mod prompts;
pub mod reply;
pub mod resources;
pub mod results;
pub mod search;
pub mod server;
pub mod surface;
pub(crate) mod tool_names;

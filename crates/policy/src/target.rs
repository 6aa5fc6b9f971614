//! The subject of a decision: a tool, a prompt or a resource.

use portkey_operation::Operation;

/// The tool, prompt or resource that a caller asks for.
#[derive(Clone, Copy, Debug)]
pub enum PolicyTarget<'a> {
    /// A call of an operation.
    Tool {
        /// Called operation.
        operation: &'static Operation,
        /// Domain of the operation.
        domain: &'static str,
    },
    /// A prompt, by its name.
    Prompt(&'a str),
    /// A resource, by its URI without percent-encoding.
    Resource(&'a str),
}

impl<'a> PolicyTarget<'a> {
    /// Returns the name of the tool or the prompt, or the URI of the resource.
    pub fn name(&self) -> &'a str {
        match self {
            Self::Tool { operation, .. } => operation.name(),
            Self::Prompt(name) => name,
            Self::Resource(uri) => uri,
        }
    }

    /// Returns the kind of the subject, as it is named in expressions and decisions.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Tool { .. } => "tool",
            Self::Prompt(_) => "prompt",
            Self::Resource(_) => "resource",
        }
    }

    /// Returns the domain of a tool; an empty text for anything else.
    pub const fn domain(&self) -> &'static str {
        match self {
            Self::Tool { domain, .. } => domain,
            Self::Prompt(_) | Self::Resource(_) => "",
        }
    }

    /// Returns the effect of a tool. Prompts and resources are read.
    pub fn effect(&self) -> &'static str {
        match self {
            Self::Tool { operation, .. } => operation.effect().as_str(),
            Self::Prompt(_) | Self::Resource(_) => "read",
        }
    }

    /// Returns the name if the subject is of this kind; an empty text otherwise.
    pub(crate) fn name_as(&self, kind: &str) -> &'a str {
        match self.kind() == kind {
            true => self.name(),
            false => "",
        }
    }
}

//! Options that select tools and their presentation.

use std::path::PathBuf;

use anyhow::Context;
use clap::{
    Args, ValueEnum,
    builder::{BoolishValueParser, PossibleValuesParser, TypedValueParser},
};
use portkey_api::catalog::Catalog;
use portkey_operation::{Presentation, Profile, ToolNames};

use super::descriptions;
use crate::{
    auth::principal::{FilterSource, ToolFilter, ToolSelection, Toolsets},
    mcp::surface::Surface,
};

/// Parses the name of a schema profile.
fn profile_parser() -> impl TypedValueParser<Value = Profile> {
    let named = |name: String| {
        Profile::ALL
            .into_iter()
            .find(|profile| profile.as_str() == name)
    };
    PossibleValuesParser::new(Profile::ALL.map(Profile::as_str))
        .try_map(move |name| named(name).ok_or("there is no such profile"))
}

/// Presentation of the operations in the tool list.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SurfaceMode {
    /// Each operation is a tool.
    Operations,
    /// A few tools find, describe and call the operations.
    Compact,
}

/// Spelling of tool names in the tool list.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ToolNameMode {
    /// As in list-all-configs.
    Hyphen,
    /// As in list_all_configs, for clients that accept no hyphens.
    Underscore,
}

/// Options that restrict the tools and select their presentation.
#[derive(Args, Debug)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessOptions {
    /// Presentation of the operations in the tool list.
    #[arg(
        long,
        value_name = "MODE",
        global = true,
        env = "PORTKEY_MCP_SURFACE",
        default_value = "operations"
    )]
    surface: SurfaceMode,
    /// Profile of the tool schemas, chosen for the client; see docs/surfaces.md.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_SCHEMA_PROFILE",
        value_name = "PROFILE",
        default_value = Profile::default().as_str(),
        value_parser = profile_parser()
    )]
    schema_profile: Profile,
    /// Spelling of tool names in the tool list. Calls accept both.
    #[arg(
        long,
        value_name = "MODE",
        global = true,
        env = "PORTKEY_MCP_TOOL_NAMES",
        default_value = "hyphen"
    )]
    tool_names: ToolNameMode,
    /// TOML file of titles and descriptions that replace the built-in ones. Export the built-in ones with
    /// `portkey-mcp tools --export-descriptions`.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_DESCRIPTIONS",
        value_name = "FILE"
    )]
    descriptions: Option<PathBuf>,
    /// Offer preview operations, too: those of endpoints that Portkey has not documented and may change. Without
    /// it, --toolsets offers those of a domain that has no others, and --tools those that it names.
    #[arg(long, global = true, env = "PORTKEY_MCP_PREVIEW", value_parser = BoolishValueParser::new())]
    preview: bool,
    /// Offer only read-only tools.
    #[arg(long, global = true, env = "PORTKEY_MCP_READ_ONLY", value_parser = BoolishValueParser::new())]
    read_only: bool,
    /// Offer no tools that delete.
    #[arg(long, global = true, env = "PORTKEY_MCP_NO_DELETE", value_parser = BoolishValueParser::new())]
    no_delete: bool,
    /// Offer only tools of these domains or groups of domains, such as prompts,people; repeatable.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_TOOLSETS",
        value_delimiter = ',',
        value_name = "DOMAIN"
    )]
    toolsets: Vec<String>,
    /// Offer only these tools, by name or glob, such as list-*,get-*; repeatable.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_TOOLS",
        value_delimiter = ',',
        value_name = "GLOB"
    )]
    tools: Vec<String>,
    /// Offer none of these tools, by name or glob; repeatable.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_EXCLUDE_TOOLS",
        value_delimiter = ',',
        value_name = "GLOB"
    )]
    exclude_tools: Vec<String>,
}

impl AccessOptions {
    /// Returns the surface that lists the operations.
    pub(crate) const fn surface(&self) -> Surface {
        match self.surface {
            SurfaceMode::Operations => Surface::Operations,
            SurfaceMode::Compact => Surface::Compact,
        }
    }

    /// Returns the presentation of the operations.
    ///
    /// # Errors
    /// Returns an error if the descriptions file cannot be read or is invalid.
    pub(crate) fn presentation(&self) -> anyhow::Result<Presentation> {
        let plain = Presentation {
            profile: self.schema_profile,
            tool_names: match self.tool_names {
                ToolNameMode::Hyphen => ToolNames::Hyphen,
                ToolNameMode::Underscore => ToolNames::Underscore,
            },
            ..Presentation::default()
        };
        match &self.descriptions {
            Some(file) => descriptions::read_descriptions(file, plain),
            None => Ok(plain),
        }
    }

    /// Disables the preview operations that no option asks for.
    pub(crate) fn without_unwanted_previews(&self, catalog: Catalog) -> Catalog {
        if self.preview {
            return catalog;
        }
        catalog.without_previews(|domain, operation| {
            let is_named = |given: &[String], name: &str| {
                let spelled = |given: &String| given.trim().replace('_', "-") == name;
                given.iter().any(spelled)
            };
            let is_all_preview = domain.stable_operations().next().is_none();
            is_all_preview && is_named(&self.toolsets, domain.name)
                || is_named(&self.tools, operation.name())
        })
    }

    /// Returns the tool filter that the options select.
    ///
    /// # Errors
    /// Returns an error if a name or a glob matches nothing. The error suggests a similar name.
    pub(crate) fn tool_filter(&self) -> anyhow::Result<ToolFilter> {
        let trimmed = |given: &'_ [String]| -> Vec<String> {
            given.iter().map(|one| one.trim().to_owned()).collect()
        };
        let tools = |option, given: &[String]| {
            let given = trimmed(given);
            let chosen = ToolSelection::from_patterns(
                given.iter().map(String::as_str),
                Catalog::operations(),
            );
            (!given.is_empty())
                .then(|| chosen.context(option))
                .transpose()
        };
        let toolsets = trimmed(&self.toolsets);
        let named = Toolsets::from_names(toolsets.iter().map(String::as_str), &Catalog::domains());
        Ok(ToolFilter {
            source: FilterSource::Operator,
            read_only: self.read_only,
            no_delete: self.no_delete,
            toolsets: (!toolsets.is_empty())
                .then(|| named.context("--toolsets"))
                .transpose()?,
            tools: tools("--tools", &self.tools)?,
            excluded_tools: tools("--exclude-tools", &self.exclude_tools)?,
        })
    }
}

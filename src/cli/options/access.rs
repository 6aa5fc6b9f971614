//! Options about which tools there are at all, and how they are shown.

use std::path::PathBuf;

use anyhow::Context;
use clap::{
    Args, ValueEnum,
    builder::{BoolishValueParser, PossibleValuesParser, TypedValueParser},
};
use portkey_api::catalog::Catalog;
use portkey_operation::{Presentation, Profile};

use super::descriptions;
use crate::{
    auth::principal::{FilterSource, ToolFilter, ToolSelection, Toolsets},
    mcp::surface::Surface,
};

/// The profiles by their names.
fn profile_parser() -> impl TypedValueParser<Value = Profile> {
    let named = |name: String| {
        Profile::ALL
            .into_iter()
            .find(|profile| profile.as_str() == name)
    };
    PossibleValuesParser::new(Profile::ALL.map(Profile::as_str))
        .try_map(move |name| named(name).ok_or("there is no such profile"))
}

/// How operations are shown.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SurfaceMode {
    /// Each as a tool of its own.
    Operations,
    /// By a few tools that find, describe and call them.
    Compact,
}

/// What is left on offer; each option narrows. And how it is shown.
#[derive(Args, Debug)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessOptions {
    /// How the list of tools shows operations.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_SURFACE",
        default_value = "operations"
    )]
    surface: SurfaceMode,
    /// Form of the tools' schemas, for the client at hand; see docs/surfaces.md.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_SCHEMA_PROFILE",
        value_name = "PROFILE",
        default_value = Profile::default().as_str(),
        value_parser = profile_parser()
    )]
    schema_profile: Profile,
    /// TOML file of titles and descriptions to show in the place of ours; begin with
    /// tools --export-descriptions.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_DESCRIPTIONS",
        value_name = "FILE"
    )]
    descriptions: Option<PathBuf>,
    /// Offer only tools that read.
    #[arg(long, global = true, env = "PORTKEY_MCP_READ_ONLY", value_parser = BoolishValueParser::new())]
    read_only: bool,
    /// Offer no tools that delete.
    #[arg(long, global = true, env = "PORTKEY_MCP_NO_DELETE", value_parser = BoolishValueParser::new())]
    no_delete: bool,
    /// Offer only the tools of these groups of domains, or domains, such as prompts,people; repeatable.
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
    /// How operations are shown.
    pub(crate) const fn surface(&self) -> Surface {
        match self.surface {
            SurfaceMode::Operations => Surface::Operations,
            SurfaceMode::Compact => Surface::Compact,
        }
    }

    /// How operations are presented.
    ///
    /// # Errors
    /// The words to show cannot be read, or used.
    pub(crate) fn presentation(&self) -> anyhow::Result<Presentation> {
        let profile = self.schema_profile;
        match &self.descriptions {
            Some(file) => descriptions::read_descriptions(file, profile),
            None => Ok(Presentation {
                profile,
                ..Presentation::default()
            }),
        }
    }

    /// What the options say.
    ///
    /// # Errors
    /// A name or a glob means nothing; says which one is near.
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

//! `--descriptions`: titles and descriptions of an operator's own, and the file to begin with.

use std::{collections::BTreeMap, io::Write, path::Path};

use anyhow::{Context, anyhow, bail};
use portkey_api::catalog::Catalog;
use portkey_bounded_file::{MAX_CONFIG_BYTES, display_path, read_to_string};
use portkey_operation::{
    CompiledOperation, Operation, Presentation, Profile, Wording, did_you_mean,
};

use crate::mcp::surface;

/// What stands above the words.
const FILE_HEADER: &str = "\
# Titles and descriptions of tools, for --descriptions. Keep what you change, and leave out the rest: what is not
# here stays as it is.
";

/// Reads the words, each of which has to be of something that is shown.
pub(super) fn read_descriptions(file: &Path, profile: Profile) -> anyhow::Result<Presentation> {
    let context = || format!("--descriptions {}", display_path(file));
    let text = read_to_string(file, MAX_CONFIG_BYTES).with_context(context)?;
    let wording: BTreeMap<String, Wording> = toml::from_str(&text).with_context(context)?;
    let presentation = Presentation { profile, wording };
    validate(&presentation).with_context(context)?;
    Ok(presentation)
}

fn validate(presentation: &Presentation) -> anyhow::Result<()> {
    let known =
        || Catalog::operations().chain(surface::builtin_tools().iter().map(|own| own.operation));
    let plain = Presentation {
        profile: presentation.profile,
        ..Presentation::default()
    };
    for (name, wording) in &presentation.wording {
        let Some(operation) = known().find(|operation| operation.name() == name) else {
            let near = did_you_mean(name, known().map(Operation::name));
            bail!("there is no tool `{name}`{near}");
        };
        let published = CompiledOperation::with_presentation(operation.clone(), &plain);
        wording
            .check(&published)
            .map_err(|error| anyhow!("{name}: {error}"))?;
    }
    Ok(())
}

/// Prints the words of some tools as they are.
pub(in crate::cli) fn write_descriptions<'a>(
    tools: impl Iterator<Item = &'a CompiledOperation>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let wording: BTreeMap<&str, Wording> = tools
        .map(|tool| (tool.operation().name(), Wording::from_operation(tool)))
        .collect();
    write!(out, "{FILE_HEADER}\n{}", toml::to_string(&wording)?)?;
    Ok(())
}

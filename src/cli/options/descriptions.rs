//! `--descriptions`: titles and descriptions by the operator, and the export of the built-in ones.

use std::{collections::BTreeMap, io::Write, path::Path};

use anyhow::{Context, anyhow, bail};
use portkey_api::catalog::Catalog;
use portkey_bounded_file::{MAX_CONFIG_BYTES, display_path, read_to_string};
use portkey_operation::{CompiledOperation, Operation, Presentation, Wording, did_you_mean};

use crate::mcp::surface;

/// Header of an exported descriptions file.
const FILE_HEADER: &str = "\
# Titles and descriptions of tools, for --descriptions. Change some and remove the others: tools that are not listed
# here retain the built-in texts.
";

/// Reads a descriptions file. Each entry has to name a tool and fields of that tool.
pub(super) fn read_descriptions(file: &Path, plain: Presentation) -> anyhow::Result<Presentation> {
    let context = || format!("--descriptions {}", display_path(file));
    let text = read_to_string(file, MAX_CONFIG_BYTES).with_context(context)?;
    let wording: BTreeMap<String, Wording> = toml::from_str(&text).with_context(context)?;
    let presentation = Presentation { wording, ..plain };
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

/// Prints the descriptions of some tools in the format of the file.
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

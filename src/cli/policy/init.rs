//! The starter policy: a preset, followed by all tools in comments, grouped by effect.

use std::io::{self, Write};

use clap::ValueEnum;
use portkey_api::catalog::Catalog;
use portkey_operation::Effect;

/// A predefined policy.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum Preset {
    /// Allows reads only.
    ReadOnly,
    /// Limits writes, and requires approval for risky ones.
    Careful,
    /// Allows deployments by a pipeline only.
    Ci,
}

const EMPTY_POLICY: &str = "\
# Allows everything. See docs/policy.md for the file format.
version: \"1\"
description: Allows everything

# Decision on calls without a matching rule: allow or deny.
default: allow

# Tools that are hidden from agents, by name or glob.
hide: []

# Rules that select their calls with `match`.
rules: []
";

impl Preset {
    const fn text(self) -> &'static str {
        match self {
            Self::ReadOnly => include_str!("../../../policies/read-only.yaml"),
            Self::Careful => include_str!("../../../policies/careful.yaml"),
            Self::Ci => include_str!("../../../policies/ci.yaml"),
        }
    }
}

pub(super) fn print_policy(
    preset: Option<Preset>,
    catalog: &Catalog,
    out: &mut impl Write,
) -> io::Result<()> {
    write!(out, "{}", preset.map_or(EMPTY_POLICY, Preset::text))?;
    writeln!(
        out,
        "\n# Rules for single tools. All tools are listed here, grouped by effect; uncomment a tool"
    )?;
    writeln!(
        out,
        "# to add rules for it. Under `default: deny`, an uncommented tool is allowed."
    )?;
    writeln!(out, "# tools:")?;
    let effects = [
        (Effect::Read, "reads, without changes"),
        (Effect::Create, "adds something"),
        (Effect::Update, "changes something that exists"),
        (Effect::Delete, "removes something"),
    ];
    for (effect, about) in effects {
        writeln!(out, "#   # {}: {about}", effect.as_str())?;
        for entry in catalog
            .iter()
            .filter(|entry| entry.operation.effect() == effect)
        {
            let name = entry.operation.name();
            let title = entry.compiled().title();
            writeln!(out, "#   {name}: {{ rules: [] }} # {title}")?;
        }
    }
    Ok(())
}

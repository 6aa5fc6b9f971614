//! A policy to begin with: one of the ready-made, then every tool by what it does, in comments.

use std::io::{self, Write};

use clap::ValueEnum;
use portkey_api::catalog::Catalog;
use portkey_operation::Effect;

/// A ready-made policy.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum Preset {
    /// Looks, and changes nothing.
    ReadOnly,
    /// Works, with a human beside it.
    Careful,
    /// What a pipeline does, and nothing else.
    Ci,
}

const EMPTY_POLICY: &str = "\
# Allows everything. See docs/policy.md for what can be said.
version: \"1\"
description: Allows everything

# What becomes of a call that nothing speaks for: allow or deny.
default: allow

# Tools that do not exist for agents, by name or glob.
hide: []

# Rules that say by themselves what they are about.
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
        "\n# Rules for tools by name. Every tool, by what it does; take a mark away to say"
    )?;
    writeln!(
        out,
        "# something of one. Under `default: deny` a tool that stands here is allowed."
    )?;
    writeln!(out, "# tools:")?;
    let effects = [
        (Effect::Read, "look, and change nothing"),
        (Effect::Create, "add something"),
        (Effect::Update, "change what is there"),
        (Effect::Delete, "take something away"),
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

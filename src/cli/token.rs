//! `portkey-mcp token`: tokens for `http --auth token`.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Args, Subcommand};
use portkey_api::catalog::Catalog;
use portkey_bounded_file::{
    MAX_CONFIG_BYTES, decode_utf8, display_path, open_with, read_open_file,
};
use secrecy::ExposeSecret;

use crate::auth::{
    NewToken, TokenEntry, Tokens,
    principal::{Credentials, MissingKey},
};

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token: its entry for the token file, and the token itself, which is shown this once.
    #[command(after_help = "\
Examples:
  portkey-mcp token new --name support --scope portkey:read --portkey-key env:SUPPORT_KEY \\
    --file tokens.toml                         adds the entry, prints the token
  portkey-mcp token new --name ci --scope portkey:read --scope portkey:prompts:write \\
    --portkey-key file:/run/secrets/ci >> tokens.toml    the token goes to standard error")]
    New(NewTokenArgs),
}

#[derive(Args, Debug)]
pub(super) struct NewTokenArgs {
    /// What the caller is called in logs and limits.
    #[arg(long)]
    name: String,
    /// What it may do: portkey:read, portkey:write, portkey:delete, or portkey:<domain>:read and so on;
    /// repeatable.
    #[arg(long, required = true, value_delimiter = ',', value_name = "SCOPE")]
    scope: Vec<String>,
    /// Domain whose tools it sees; all when left out; repeatable.
    #[arg(long, value_delimiter = ',', value_name = "DOMAIN")]
    toolset: Vec<String>,
    /// Portkey key that acts for it: env:VARIABLE or file:PATH, read when the server starts.
    #[arg(long, value_name = "REFERENCE")]
    portkey_key: Option<String>,
    /// Enkrypt AI key that acts for it.
    #[arg(long, value_name = "REFERENCE")]
    enkrypt_key: Option<String>,
    /// When it ends, such as 2027-01-31T00:00:00Z; never when left out.
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// Policy file that it is under, beside the server's; from the folder of the token file.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Token file to add the entry to; made if it is not there.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl TokenCommand {
    pub(super) fn run(self, out: &mut impl Write, err: &mut impl Write) -> anyhow::Result<()> {
        let Self::New(new) = self;
        let domains = Catalog::domains();
        let toolsets = Some(new.toolset).filter(|toolsets| !toolsets.is_empty());
        let entry = TokenEntry {
            name: new.name,
            scopes: new.scope,
            toolsets,
            portkey_key: new.portkey_key,
            enkrypt_key: new.enkrypt_key,
            expires: new.expires,
            policy: new.policy,
            ..TokenEntry::default()
        };
        let folder = new
            .file
            .as_deref()
            .and_then(Path::parent)
            .unwrap_or(Path::new(""));
        let made = NewToken::generate(entry, folder, &domains)?;
        let Some(path) = &new.file else {
            write!(out, "{}", made.entry)?;
            writeln!(
                err,
                "the token, shown this once: {}",
                made.token.expose_secret()
            )?;
            return Ok(());
        };
        let context = || format!("cannot add to {}", display_path(path));
        let mut file = open_token_file(path).with_context(context)?;
        let before = read_open_file(&file, MAX_CONFIG_BYTES)
            .and_then(decode_utf8)
            .with_context(context)?;
        let gap = if before.is_empty() { "" } else { "\n" };
        let added = format!("{gap}{}", made.entry);
        // A name may be taken, and a file that does not hold would keep the server from starting.
        let elsewhere = Credentials {
            portkey: None,
            enkrypt: None,
            missing_key: MissingKey::Caller,
        };
        Tokens::parse(
            &format!("{before}{added}"),
            folder,
            &domains,
            Some(&elsewhere),
        )
        .with_context(context)?;
        file.write_all(added.as_bytes()).with_context(context)?;
        writeln!(out, "{}", made.token.expose_secret())?;
        Ok(())
    }
}

/// The file, made if it is not there. Locked, so that what is added at the same time is looked at, too.
fn open_token_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = open_with(path, options)?;
    file.lock()?;
    Ok(file)
}

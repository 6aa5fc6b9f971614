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
    /// Create a token and its entry for the token file. The token is shown only once.
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
    /// Name of the caller in logs and limits.
    #[arg(long)]
    name: String,
    /// Scope of the caller: portkey:read, portkey:write, portkey:delete, or one for a domain, such as
    /// portkey:<domain>:read; repeatable.
    #[arg(long, required = true, value_delimiter = ',', value_name = "SCOPE")]
    scope: Vec<String>,
    /// Domain whose tools the caller can use; without it, all domains; repeatable.
    #[arg(long, value_delimiter = ',', value_name = "DOMAIN")]
    toolset: Vec<String>,
    /// Portkey key for the caller's calls: env:VARIABLE or file:PATH, read when the server starts.
    #[arg(long, value_name = "REFERENCE")]
    portkey_key: Option<String>,
    /// Enkrypt AI key for the caller's calls: env:VARIABLE or file:PATH.
    #[arg(long, value_name = "REFERENCE")]
    enkrypt_key: Option<String>,
    /// Time at which the token expires, such as 2027-01-31T00:00:00Z; without it, the token does not expire.
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// Policy file for the caller, in addition to the server's; relative to the folder of the token file.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Token file to add the entry to; created if missing.
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
        // The name may be taken, and the server does not start with an invalid file.
        let no_credentials = Credentials {
            portkey: None,
            enkrypt: None,
            missing_key: MissingKey::Caller,
        };
        Tokens::parse(
            &format!("{before}{added}"),
            folder,
            &domains,
            Some(&no_credentials),
        )
        .with_context(context)?;
        file.write_all(added.as_bytes()).with_context(context)?;
        writeln!(out, "{}", made.token.expose_secret())?;
        Ok(())
    }
}

/// Opens the file, or creates it. The lock makes sure that the check sees entries added by other processes.
fn open_token_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = open_with(path, options)?;
    file.lock()?;
    Ok(file)
}

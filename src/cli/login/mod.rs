//! `portkey-mcp login`, `logout` and `whoami`: the stored key.

mod keychain;
mod prompt;
mod store;

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Read, Write},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Args, builder::BoolishValueParser};
use portkey_bounded_file::{MAX_KEY_BYTES, decode_utf8};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

pub(super) use self::store::Place;
use self::store::Store;
use super::{doctor::ask_about_key, options::Options};
use crate::{
    app::{AppSettings, Backend},
    auth::principal::{KeyDefect, KeySource, UpstreamKey},
    mcp::server::{KEY_MISSING_FIELD, KEY_REFUSED_FIELD, UNREACHABLE_FIELD},
    security::secrets,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  portkey-mcp login                            asks for the key
  portkey-mcp login --verify                   asks Portkey about it before it is stored
  portkey-mcp login --stdin < key.txt
  portkey-mcp login --base-url https://portkey.example.com/v1    a key for this address only";

/// Options for the stored key.
#[derive(Args, Debug)]
pub(super) struct LoginOptions {
    /// Do not use the key that `portkey-mcp login` stored.
    #[arg(
        long,
        global = true,
        env = "PORTKEY_MCP_NO_LOGIN",
        value_parser = BoolishValueParser::new()
    )]
    no_login: bool,
}

#[derive(Args, Debug)]
pub(super) struct LoginCommand {
    /// Read the key from standard input.
    #[arg(long)]
    stdin: bool,
    /// Ask Portkey about the key first, and store it only if Portkey accepts it.
    #[arg(long)]
    verify: bool,
    /// Store the key in a file that only you can read, and not in the keychain.
    #[arg(long)]
    in_file: bool,
}

#[derive(Args, Debug)]
pub(super) struct WhoamiCommand {
    /// Print all that was found, as JSON.
    #[arg(long)]
    json: bool,
}

impl LoginCommand {
    pub(super) async fn run(self, options: &Options, out: &mut impl Write) -> anyhow::Result<()> {
        // A variable or a file may set it, too.
        if options.uses_sandbox() {
            bail!(
                "the sandbox knows no keys of Portkey, and needs none; leave out --sandbox (PORTKEY_MCP_SANDBOX)"
            );
        }
        options.check_addresses()?;
        let text = match self.stdin {
            true => read_from_stdin()?,
            false => ask_on_terminal("Portkey API key")?,
        };
        let key = UpstreamKey::new(KeySource::Login, &text)?;
        if self.verify {
            verify(options, key).await?;
        }
        let store = Store::open()?;
        let account = account(options.base_url());
        let stored = store.put(&account, text.expose_secret().trim(), self.in_file)?;
        if let Some(cause) = &stored.no_keychain {
            writeln!(out, "there is no keychain here ({cause})")?;
        }
        let protection = match stored.place {
            Place::Keychain => "",
            Place::File(_) => ", which only you can read",
        };
        writeln!(
            out,
            "the key for {account} is stored in {}{protection}",
            stored.place
        )?;
        if let Some(cause) = &stored.not_removed {
            writeln!(out, "the key before is still in the keychain: {cause}")?;
        }
        if let Some(setting) = options.key_setting() {
            writeln!(out, "{setting} is set, and takes precedence over it")?;
        }
        Ok(())
    }
}

/// Asks Portkey about a key that is not stored yet.
async fn verify(options: &Options, key: UpstreamKey) -> anyhow::Result<()> {
    const NOT_ASKED: &str = "Portkey could not be asked about the key, so nothing was stored";
    let mut settings = options.app_settings()?;
    // The sandbox is ruled out before.
    if let Backend::Live { credentials, .. } = &mut settings.backend {
        credentials.portkey = Some(key);
    }
    let answer = ask_about_key(settings).await.context(NOT_ASKED)?;
    let is_set = |field: &str| answer.get(field) == Some(&Value::Bool(true));
    if is_set(UNREACHABLE_FIELD) {
        let errors = lists_by_error(&answer);
        let error = errors.keys().next().copied().unwrap_or("no answer");
        bail!("{NOT_ASKED}: {error}");
    }
    match is_set(KEY_REFUSED_FIELD) {
        true => bail!("Portkey rejects this key, so nothing was stored"),
        false => Ok(()),
    }
}

/// Removes the stored key.
pub(super) fn log_out(options: &Options, out: &mut impl Write) -> anyhow::Result<()> {
    let account = account(options.base_url());
    match Store::open()?.remove(&account)? {
        Some(place) => writeln!(out, "the key for {account} is removed from {place}")?,
        None => writeln!(out, "no key for {account} is stored")?,
    }
    Ok(())
}

impl WhoamiCommand {
    pub(super) async fn run(
        &self,
        options: &Options,
        out: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        let mut settings = options.app_settings()?;
        add_stored_key(&mut settings, options)?;
        let source = match (&settings.backend, options.key_setting()) {
            (Backend::Sandbox { .. }, _) => "the sandbox".to_owned(),
            (_, Some(setting)) => setting.to_owned(),
            (_, None) => match find(options)? {
                Some(place) => format!("`portkey-mcp login`, in {place}"),
                None => "nowhere; run `portkey-mcp login`".to_owned(),
            },
        };
        let answer = ask_about_key(settings).await?;
        let is_set = |field: &str| answer.get(field) == Some(&Value::Bool(true));
        let text = |field: &str| answer.get(field).and_then(Value::as_str);
        if self.json {
            serde_json::to_writer_pretty(&mut *out, &answer)?;
            writeln!(out)?;
        } else {
            match options.uses_sandbox() {
                true => writeln!(out, "{:<9}the embedded sandbox", "address")?,
                false => writeln!(out, "{:<9}{}", "address", options.base_url())?,
            }
            writeln!(out, "{:<9}{source}", "key from")?;
            for (title, field, note) in [
                ("key", "portkey_key", "portkey_key_note"),
                ("plan", "plan", "plan_note"),
            ] {
                // A key that is refused says nothing about the plan.
                if title == "plan" && is_set(KEY_REFUSED_FIELD) {
                    continue;
                }
                let value = text(field).unwrap_or("unknown");
                let note = text(note).unwrap_or_default();
                let colon = if note.is_empty() { "" } else { ": " };
                writeln!(out, "{title:<9}{value}{colon}{note}")?;
            }
            for (error, lists) in lists_by_error(&answer) {
                writeln!(out, "{:<9}{} ({error})", "not read", lists.join(", "))?;
            }
        }
        let failures = [KEY_MISSING_FIELD, KEY_REFUSED_FIELD, UNREACHABLE_FIELD];
        Ok(match failures.into_iter().any(is_set) {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        })
    }
}

/// Returns each error of the reads, with the lists that were not read for it.
fn lists_by_error(answer: &Value) -> BTreeMap<&str, Vec<&str>> {
    let errors = answer.get("read_errors").and_then(Value::as_object);
    let mut lists: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (list, error) in errors.into_iter().flatten() {
        let error = error.as_str().unwrap_or("failed");
        lists.entry(error).or_default().push(list);
    }
    lists
}

/// Adds the stored key to settings that have none. Without a stored key, this costs one look for a file.
///
/// # Errors
/// Returns an error if a key is stored and cannot be read.
pub(super) fn add_stored_key(settings: &mut AppSettings, options: &Options) -> anyhow::Result<()> {
    let Backend::Live { credentials, .. } = &mut settings.backend else {
        return Ok(());
    };
    if credentials.portkey.is_some() || options.login.no_login {
        return Ok(());
    }
    let Some(store) = Store::of_user() else {
        return Ok(());
    };
    if let Some(text) = store.get(&account(options.base_url()))? {
        credentials.portkey = Some(UpstreamKey::new(KeySource::Login, &text)?);
    }
    Ok(())
}

/// Returns where the stored key is, without reading it.
///
/// # Errors
/// Returns an error if the list of stored keys cannot be read.
pub(super) fn find(options: &Options) -> anyhow::Result<Option<Place>> {
    match Store::of_user() {
        Some(store) if !options.login.no_login => Ok(store.find(&account(options.base_url()))?),
        _ => Ok(None),
    }
}

/// Returns true if a key is stored for the address of the Admin API.
///
/// # Errors
/// As [`find`].
pub(super) fn is_stored(options: &Options) -> anyhow::Result<bool> {
    Ok(find(options)?.is_some())
}

/// Returns the name under which a key is stored: a key is for one address.
fn account(base_url: &Url) -> String {
    base_url.as_str().trim_end_matches('/').to_owned()
}

/// Reads a credential that is not to be stored by this program: on a terminal without echo, or else from standard
/// input.
///
/// # Errors
/// Returns an error if there is none, or if it has a form that no credential has.
pub(super) fn read_secret(what: &str) -> anyhow::Result<SecretString> {
    let text = match io::stdin().is_terminal() {
        true => ask_on_terminal(what)?,
        false => read_from_stdin()?,
    };
    let text = text.expose_secret().trim();
    if text.is_empty() {
        bail!("there is no {what} on standard input");
    }
    if let Some(defect) = KeyDefect::detect(text) {
        bail!("the {what} {defect}");
    }
    secrets::learn_key(text);
    Ok(text.to_owned().into())
}

fn ask_on_terminal(what: &str) -> anyhow::Result<SecretString> {
    if !io::stdin().is_terminal() {
        bail!(
            "there is no terminal to ask for the {what} on; give it on standard input, with --stdin"
        );
    }
    prompt::ask(what)
}

fn read_from_stdin() -> anyhow::Result<SecretString> {
    let mut bytes = Vec::new();
    let input = io::stdin().lock();
    // One byte more than a key may have, to notice what is longer.
    input.take(MAX_KEY_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_KEY_BYTES {
        bail!("standard input has more than a key");
    }
    Ok(decode_utf8(bytes)
        .context("cannot read the key from standard input")?
        .into())
}

//! `portkey-mcp setup`: adds this server to the configuration of an MCP client.

mod edit;
mod entry;
mod options;
mod show;
mod write;

use std::{env, ffi::OsString, io::Write, path::PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::{Args, FromArgMatches, ValueEnum};
use portkey_bounded_file::display_path;
use reqwest::Url;
use secrecy::ExposeSecret;
use serde_json::Value;

use self::{
    edit::Change,
    entry::{Credential, Entry, KEY_VARIABLE, Start, Transport},
};
pub(super) use self::{edit::describe_syntax_error, options::ServerOptions};
use super::{
    Cli,
    clients::{CLIENTS, Client, ClientName, References},
    login,
    options::{Options, parse_http_url},
    parse, usage,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  portkey-mcp setup                            the clients of this machine, and what each would get
  portkey-mcp setup claude-code --sandbox      shows the change, asks, and writes it
  portkey-mcp setup cursor --read-only --toolsets prompts,configs
  portkey-mcp setup vscode --project --yes
  portkey-mcp setup codex --url https://mcp.example.com/mcp --token reference
  portkey-mcp setup zed --print

Options of the server, such as --read-only or --policy FILE, are passed on to it.";

/// Variable that a reference to the token names.
const TOKEN_VARIABLE: &str = "PORTKEY_MCP_TOKEN";

/// Where the server takes its key from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KeyChoice {
    /// From a variable that the entry names, or from a question of the client.
    Reference,
    /// From what `portkey-mcp login` stored; the entry has no key.
    Login,
    /// From the entry, which has the key itself. It is asked for.
    Clear,
}

/// Where the client takes the token from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TokenChoice {
    /// From a variable that the entry names, or from a question of the client.
    Reference,
    /// From the entry, which has the token itself. It is asked for.
    Clear,
}

#[derive(Args, Debug)]
pub(super) struct SetupCommand {
    /// Client to set up. Without one, the clients of this machine are listed.
    #[arg(value_name = "CLIENT")]
    client: Option<ClientName>,
    /// Print the entry, and leave the file alone.
    #[arg(long, requires = "client")]
    print: bool,
    /// Write without asking.
    #[arg(long, requires = "client")]
    yes: bool,
    /// Change the file of the project in the current folder, and not that of the user.
    #[arg(long, requires = "client")]
    project: bool,
    /// Name of the server in the client.
    #[arg(long, value_name = "NAME", default_value = "portkey", value_parser = parse_name)]
    name: String,
    /// Address of a running `portkey-mcp http` server. Without it, the client starts a server of its own.
    #[arg(long, value_name = "URL", value_parser = parse_http_url, requires = "client")]
    url: Option<Url>,
    /// Where the server takes its key from. By default login if a key is stored, or else a reference where the
    /// client takes one.
    #[arg(
        long,
        value_name = "SOURCE",
        conflicts_with = "url",
        requires = "client"
    )]
    key: Option<KeyChoice>,
    /// Where the client takes the token for --url from. Without it, it sends none.
    #[arg(long, value_name = "SOURCE", requires = "url")]
    token: Option<TokenChoice>,
    /// Variable that a reference names; by default PORTKEY_API_KEY, or PORTKEY_MCP_TOKEN with --url.
    #[arg(long, value_name = "NAME", value_parser = parse_variable, requires = "client")]
    variable: Option<String>,
    /// Options for the server.
    #[arg(skip)]
    pub(super) server: ServerOptions,
}

impl SetupCommand {
    pub(super) fn run(
        self,
        options: &Options,
        out: &mut impl Write,
        err: &mut impl Write,
    ) -> anyhow::Result<()> {
        if let Some(secret) = &self.server.secret {
            bail!(
                "{secret} would write a secret into the client's file; store it with `portkey-mcp login`, or give \
                 --key clear to write it there"
            );
        }
        if self.url.is_none() {
            self.check_server()?;
        }
        let Some(client) = self.client.and_then(ClientName::client) else {
            return self.list(options, out);
        };
        let entry = self.entry(client, options)?;
        if self.print {
            return show::print(client, &self.name, &entry, out);
        }
        let file = self.file(client)?;
        let before = write::read(&file)?;
        let change = Change {
            client,
            name: &self.name,
            entry: &entry,
        };
        let unusable = || {
            format!(
                "{} cannot be changed, and nothing was written",
                display_path(&file)
            )
        };
        let old = before.as_deref().unwrap_or_default();
        let new = change.apply(old).with_context(unusable)?;
        if before.is_some() && old == new {
            writeln!(
                out,
                "nothing to change: {} has this entry",
                display_path(&file)
            )?;
            return Ok(());
        }
        show::show(&change, &file, old, &new, out)?;
        for note in self.notes(client, &entry, options) {
            writeln!(out, "- {note}")?;
        }
        out.flush()?;
        if !self.yes && !show::ask(&file, err)? {
            writeln!(out, "nothing was written")?;
            return Ok(());
        }
        let backup = write::replace(&file, before.as_deref(), &new, self.writes_secret())?;
        writeln!(out, "wrote {}", display_path(&file))?;
        if let Some(backup) = backup {
            writeln!(out, "the file before is {}", display_path(&backup))?;
        }
        writeln!(out, "next: {}", client.next)?;
        Ok(())
    }

    /// Checks that the server starts with the options that the client is to give it. Other files than the
    /// configuration are not read, because the client may run on another machine.
    fn check_server(&self) -> anyhow::Result<()> {
        let line = [env!("CARGO_PKG_NAME"), "stdio"].map(OsString::from);
        let line = line
            .into_iter()
            .chain(self.server.args.iter().map(OsString::from));
        let server = parse::parse(line.collect())
            .and_then(|line| Cli::from_arg_matches(&line.matches))
            .map_err(|error| {
                let text = usage::sanitize(error).render().to_string();
                let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
                anyhow!("the server would not start: {text}")
            })?;
        let checked = server.options.check_without_files();
        checked.context("the server would not start")
    }

    /// Builds the entry.
    fn entry(&self, client: &Client, options: &Options) -> anyhow::Result<Entry> {
        let start = match self.project {
            true => Start::by_name(),
            false => Start::of_this_program(),
        };
        let transport = match &self.url {
            Some(url) => self.http(url)?,
            None => Transport::Stdio {
                args: self.args(client)?,
                key: self.key(client, options)?,
            },
        };
        Ok(entry::build(client, &transport, &start)?)
    }

    fn http(&self, url: &Url) -> anyhow::Result<Transport> {
        if let Some(name) = self.server.names.first() {
            bail!(
                "{name} is an option of the server, and the server at --url runs already. Start it with this \
                 option, and leave it out here"
            );
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            bail!("an address may not hold credentials; use --token reference or --token clear");
        }
        let token = match self.token {
            None => Credential::Absent,
            Some(TokenChoice::Reference) => Credential::Reference(self.variable(TOKEN_VARIABLE)),
            Some(TokenChoice::Clear) => self.secret("token")?,
        };
        Ok(Transport::Http {
            url: url.clone(),
            token,
        })
    }

    /// Returns the arguments of the server.
    fn args(&self, client: &Client) -> anyhow::Result<Vec<String>> {
        let given = match self.project {
            true => {
                let replaced = client.project_folder;
                self.server.args_of_project(&project_folder()?, replaced).0
            }
            false => self.server.args.clone(),
        };
        let mut args: Vec<_> = ["stdio".to_owned()].into_iter().chain(given).collect();
        if self.is_compact_by_default(client) {
            args.extend(["--surface".to_owned(), "compact".to_owned()]);
        }
        Ok(args)
    }

    fn is_compact_by_default(&self, client: &Client) -> bool {
        // The file may set it, and the command line would take precedence.
        let is_given = |name: &String| name == "--surface" || name == "--config";
        client.shows_all_tools && self.url.is_none() && !self.server.names.iter().any(is_given)
    }

    fn key(&self, client: &Client, options: &Options) -> anyhow::Result<Credential> {
        let choice = match self.key {
            Some(_) if self.needs_no_key() => {
                bail!("--sandbox and --api-key-file need no other key; leave --key out")
            }
            None if self.needs_no_key() => KeyChoice::Login,
            Some(choice) => choice,
            None if client.references == References::None => KeyChoice::Login,
            None if login::is_stored(options)? => KeyChoice::Login,
            None => KeyChoice::Reference,
        };
        Ok(match choice {
            KeyChoice::Login => Credential::Absent,
            KeyChoice::Reference => Credential::Reference(self.variable(KEY_VARIABLE)),
            KeyChoice::Clear => self.secret("Portkey API key")?,
        })
    }

    /// Returns true if the arguments of the server say where its key is, or that it needs none.
    fn needs_no_key(&self) -> bool {
        let is_one = |name: &String| name == "--sandbox" || name == "--api-key-file";
        self.server.names.iter().any(is_one)
    }

    fn variable(&self, default: &str) -> String {
        self.variable.clone().unwrap_or_else(|| default.to_owned())
    }

    /// Returns true if the file gets a credential itself.
    fn writes_secret(&self) -> bool {
        self.key == Some(KeyChoice::Clear) || self.token == Some(TokenChoice::Clear)
    }

    /// Asks for a credential that is written into the file.
    fn secret(&self, what: &str) -> anyhow::Result<Credential> {
        if self.print {
            bail!("--print shows no {what}; leave `clear` out");
        }
        let secret = login::read_secret(what)?;
        Ok(Credential::Clear(secret.expose_secret().to_owned()))
    }

    /// Returns the file to change.
    fn file(&self, client: &Client) -> anyhow::Result<PathBuf> {
        if !self.project {
            return client
                .user_file()
                .context("there is no home folder; set HOME, or give --project");
        }
        client.project_file(&project_folder()?).with_context(|| {
            format!(
                "{} has no file for one project; leave --project out",
                client.title
            )
        })
    }

    /// Returns what the user should know before the change.
    fn notes(&self, client: &Client, entry: &Entry, options: &Options) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_compact_by_default(client) {
            notes.push(format!(
                "{} gives its model every tool, so the server lists a few that reach the others; \
                 `--surface operations` lists each operation",
                client.title
            ));
        }
        if self.project
            && let Ok(project) = project_folder()
        {
            let replaced = client.project_folder;
            let (_, local) = self.server.args_of_project(&project, replaced);
            notes.extend(local.into_iter().map(|path| {
                let cause = match replaced {
                    None => format!("{} has no name for the folder of a project", client.title),
                    Some(_) => "it is not in the folder of the project".to_owned(),
                };
                let path = display_path(path);
                format!("others who use this file need {path} at the same place: {cause}")
            }));
        }
        let has_key =
            entry.fields.contains_key(entry::ENV) || entry.fields.contains_key(entry::ENV_VARS);
        let set_variable = |default| {
            let variable = self.variable(default);
            format!("set {variable} where {} is started", client.title)
        };
        match (&self.url, self.key) {
            // The client asks.
            _ if !entry.inputs.is_empty() => {}
            (Some(_), _) => {
                if self.token == Some(TokenChoice::Reference) {
                    notes.push(set_variable(TOKEN_VARIABLE));
                }
            }
            (None, Some(KeyChoice::Clear)) => {
                notes.push("the key stands in this file; keep the file to yourself".to_owned());
            }
            (None, _) if self.needs_no_key() => {}
            (None, _) if has_key => notes.push(set_variable(KEY_VARIABLE)),
            (None, _) => notes.push(match login::is_stored(options) {
                Ok(true) => "the server takes the key that `portkey-mcp login` stored".to_owned(),
                _ => "the entry has no key; store one with `portkey-mcp login`".to_owned(),
            }),
        }
        notes
    }

    /// Lists the clients that are found, and what each would get.
    fn list(&self, options: &Options, out: &mut impl Write) -> anyhow::Result<()> {
        let mut found = false;
        for client in CLIENTS.iter().filter(|client| client.is_installed()) {
            let Some(file) = client.user_file() else {
                continue;
            };
            found = true;
            let name = client.name.text();
            let text = write::read(&file);
            let state = match self.state(client, options, text) {
                Ok(state) => state,
                Err(error) => portkey_bounded_file::with_causes(error.as_ref()),
            };
            writeln!(
                out,
                "{name:<15} {}\n{:<15} {state}",
                display_path(&file),
                ""
            )?;
        }
        let names: Vec<_> = CLIENTS.iter().map(|client| client.name.text()).collect();
        match found {
            true => writeln!(
                out,
                "\n`portkey-mcp setup CLIENT` shows the change, and asks"
            ),
            false => writeln!(
                out,
                "no known client was found. `portkey-mcp setup CLIENT` writes the file of one of {}",
                names.join(", ")
            ),
        }?;
        Ok(())
    }

    fn state(
        &self,
        client: &Client,
        options: &Options,
        text: Result<Option<String>, write::WriteError>,
    ) -> anyhow::Result<String> {
        let text = text?.unwrap_or_default();
        let entry = self.entry(client, options)?;
        let change = Change {
            client,
            name: &self.name,
            entry: &entry,
        };
        let name = &self.name;
        if change.apply(&text)? == text {
            return Ok(format!("has `{name}`, as this command would write it"));
        }
        let words = [entry.fields.get("command"), entry.fields.get("args")];
        let words = words.into_iter().flatten().flat_map(|value| match value {
            Value::Array(list) => list.as_slice(),
            value => std::slice::from_ref(value),
        });
        let words: Vec<_> = words.filter_map(Value::as_str).collect();
        let variables = entry.fields.get(entry::ENV);
        let reference = variables.and_then(|variables| variables.get(KEY_VARIABLE)?.as_str());
        let key = match reference {
            Some(reference) => format!("; key: {reference}"),
            None if entry.fields.contains_key(entry::ENV_VARS) => format!("; key: {KEY_VARIABLE}"),
            None if self.needs_no_key() => String::new(),
            None => "; key: `portkey-mcp login`".to_owned(),
        };
        Ok(format!("would get `{name}`: {}{key}", words.join(" ")))
    }
}

/// Returns the folder of the project, which is the current one.
fn project_folder() -> anyhow::Result<PathBuf> {
    env::current_dir().context("there is no current folder")
}

/// Parses the name of a server. Clients build the names of tools from it.
fn parse_name(text: &str) -> anyhow::Result<String> {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match !text.is_empty() && text.len() <= 24 && text.bytes().all(is_valid) {
        true => Ok(text.to_owned()),
        false => bail!("give at most 24 letters, digits, hyphens and underscores"),
    }
}

/// Parses the name of a variable.
fn parse_variable(text: &str) -> anyhow::Result<String> {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match !text.is_empty() && text.bytes().all(is_valid) {
        true => Ok(text.to_owned()),
        false => bail!("give the name of a variable, such as PORTKEY_API_KEY"),
    }
}

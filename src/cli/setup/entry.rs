//! The entry of this server in the configuration of a client.

use std::{
    env,
    path::{Path, PathBuf},
};

use reqwest::Url;
use serde_json::{Map, Value, json};

use crate::cli::clients::{Client, ClientName, References, Syntax};

/// Variable from which the server reads its key.
pub(super) const KEY_VARIABLE: &str = "PORTKEY_API_KEY";

/// Field of an entry for the variables of the server.
pub(super) const ENV: &str = "env";
/// Fields of an entry for the headers of requests.
pub(super) const HEADERS: [&str; 2] = ["headers", "http_headers"];
/// Field of an entry for the names of variables that are handed on.
pub(super) const ENV_VARS: &str = "env_vars";
/// Header of the token.
pub(super) const AUTHORIZATION: &str = "Authorization";

/// Name of the program on the path.
const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// Where the client takes a credential from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// The entry holds none.
    Absent,
    /// The entry names the variable that holds it.
    Reference(String),
    /// The entry holds it.
    Clear(String),
}

/// How the client reaches the server.
#[derive(Debug)]
pub(super) enum Transport {
    /// The client starts it, with these arguments.
    Stdio {
        /// Arguments of the server, from `stdio` on.
        args: Vec<String>,
        key: Credential,
    },
    /// The server runs already.
    Http { url: Url, token: Credential },
}

/// An entry, and what has to be beside it.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) fields: Map<String, Value>,
    /// Values that the client asks for: `inputs` of VS Code.
    pub(super) inputs: Vec<Value>,
}

/// Reason why a client cannot be set up like this.
#[derive(Debug, thiserror::Error)]
pub(super) enum EntryError {
    #[error(
        "{0} starts its servers itself, and this program knows no entry of its for a server elsewhere. \
         Leave --url out{1}"
    )]
    NoHttp(&'static str, &'static str),
    #[error("{0} puts no variable in the place of a reference. {1}")]
    NoReference(&'static str, &'static str),
    #[error("{0} hands variables on under their own names, so the key has to be in {KEY_VARIABLE}")]
    OtherName(&'static str),
}

/// Builds the entry of a client.
pub(super) fn build(
    client: &Client,
    transport: &Transport,
    start: &Start,
) -> Result<Entry, EntryError> {
    match transport {
        Transport::Stdio { args, key } => build_stdio(client, args, key, start),
        Transport::Http { url, token } => build_http(client, url, token),
    }
}

fn build_stdio(
    client: &Client,
    args: &[String],
    key: &Credential,
    start: &Start,
) -> Result<Entry, EntryError> {
    let mut fields = Map::new();
    if let Some(kind) = client.stdio_kind {
        fields.insert("type".to_owned(), kind.into());
    }
    fields.insert("command".to_owned(), start.command.as_str().into());
    let args: Vec<_> = start.args.iter().chain(args).cloned().collect();
    fields.insert("args".to_owned(), args.into());
    let mut inputs = Vec::new();
    let value = match key {
        Credential::Absent => None,
        Credential::Clear(key) => Some(key.clone()),
        Credential::Reference(name) => match client.references {
            References::Names if name != KEY_VARIABLE => {
                return Err(EntryError::OtherName(client.title));
            }
            References::Names => {
                fields.insert(ENV_VARS.to_owned(), json!([name]));
                None
            }
            References::Inputs => {
                inputs.push(input("portkey-key", "Portkey API key"));
                Some("${input:portkey-key}".to_owned())
            }
            _ => Some(reference(client, name).ok_or(EntryError::NoReference(
                client.title,
                "Store the key by `portkey-mcp login`, and give --key login",
            ))?),
        },
    };
    if let Some(value) = value {
        fields.insert(ENV.to_owned(), json!({ KEY_VARIABLE: value }));
    }
    Ok(Entry { fields, inputs })
}

fn build_http(client: &Client, url: &Url, token: &Credential) -> Result<Entry, EntryError> {
    let Some(form) = client.http else {
        let more = match client.name {
            ClientName::ClaudeDesktop => {
                "; remote servers are added in its settings, under Connectors"
            }
            _ => "",
        };
        return Err(EntryError::NoHttp(client.title, more));
    };
    let mut fields = Map::new();
    if let Some(kind) = form.kind {
        fields.insert("type".to_owned(), kind.into());
    }
    fields.insert(form.url.to_owned(), url.as_str().into());
    let mut inputs = Vec::new();
    let [headers, http_headers] = HEADERS;
    let headers = match client.syntax {
        Syntax::Json => headers,
        Syntax::Toml => http_headers,
    };
    let value = match token {
        Credential::Absent => None,
        Credential::Clear(token) => Some(token.clone()),
        Credential::Reference(name) => match client.references {
            References::Names => {
                fields.insert("bearer_token_env_var".to_owned(), name.as_str().into());
                None
            }
            References::Inputs => {
                inputs.push(input("portkey-token", "Portkey MCP token"));
                Some("${input:portkey-token}".to_owned())
            }
            _ => Some(reference(client, name).ok_or(EntryError::NoReference(
                client.title,
                "--token clear writes the token itself into the file",
            ))?),
        },
    };
    if let Some(value) = value {
        let value = format!("Bearer {value}");
        fields.insert(headers.to_owned(), json!({ AUTHORIZATION: value }));
    }
    Ok(Entry { fields, inputs })
}

fn reference(client: &Client, name: &str) -> Option<String> {
    match client.references {
        References::Braces => Some(format!("${{{name}}}")),
        References::EnvBraces => Some(format!("${{env:{name}}}")),
        References::None | References::Inputs | References::Names => None,
    }
}

fn input(id: &str, description: &str) -> Value {
    json!({ "id": id, "type": "promptString", "description": description, "password": true })
}

/// How a client starts this program.
#[derive(Debug)]
pub(super) struct Start {
    command: String,
    args: Vec<String>,
}

impl Start {
    /// Returns the start by name, for files that other machines read as well.
    pub(super) fn by_name() -> Self {
        Self {
            command: PROGRAM.to_owned(),
            args: Vec::new(),
        }
    }

    /// Returns the start of the program that runs now.
    ///
    /// It is named by its path, because clients with a window often lack the path of the shell. A path in a cache
    /// would vanish, so the program is then started as it was now, by `npx` or `uvx`.
    pub(super) fn of_this_program() -> Self {
        let Ok(program) = env::current_exe() else {
            return Self::by_name();
        };
        let is_below = |name: &str| program.components().any(|part| part.as_os_str() == name);
        let by = |command: &str, args: &[&str]| Self {
            command: command.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        };
        if is_below("_npx") {
            return by("npx", &["-y", PROGRAM]);
        }
        if is_below("archive-v0") {
            return by("uvx", &[PROGRAM]);
        }
        let command = find_on_path(&program).unwrap_or(program);
        by(&command.to_string_lossy(), &[])
    }
}

/// Returns the path under which the shell finds this program. A link stays valid when a package is upgraded.
fn find_on_path(program: &Path) -> Option<PathBuf> {
    let program = program.canonicalize().ok()?;
    let name = format!("{PROGRAM}{}", env::consts::EXE_SUFFIX);
    let folders = env::var_os("PATH")?;
    let mut found = env::split_paths(&folders).filter(|folder| folder.is_absolute());
    found.find_map(|folder| {
        let path = folder.join(&name);
        (path.canonicalize().ok()? == program).then_some(path)
    })
}

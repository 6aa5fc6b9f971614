//! `portkey-mcp approvals`: a human decides about calls that wait, at the server that asks.

use std::{
    borrow::Cow,
    io::{self, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, anyhow, bail};
use clap::Subcommand;
use reqwest::{Client, Method, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    config::Options,
    files::shown,
    secrets::{Guarded, read_guarded},
    untrusted::one_line,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  portkey-mcp http --approve-deletes --admin-listen 127.0.0.1:0 --admin-file admin.json    the server
  portkey-mcp approvals list --admin-file admin.json
  portkey-mcp approvals show 3f9a --admin-file admin.json
  portkey-mcp approvals approve 3f9a --admin-file admin.json";

/// Longer than a server that is up ever takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bound on an answer, in bytes: more than all calls that can wait at once.
const MAX_ANSWER_BYTES: usize = 32 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum Approvals {
    /// List the calls that wait, or were decided of late.
    List,
    /// Show one call: what it would change, and the risk.
    Show {
        /// Its ticket, or enough of the beginning to tell it from others.
        ticket: String,
    },
    /// Approve one call; it is carried out when its caller makes it again.
    Approve {
        /// Its ticket, or enough of the beginning to tell it from others.
        ticket: String,
        /// Name of what the call is about, where that has to be typed.
        #[arg(long)]
        name: Option<String>,
        /// Name of whoever decides, for the record; the user of the shell when left out.
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
    /// Deny one call.
    Deny {
        /// Its ticket, or enough of the beginning to tell it from others.
        ticket: String,
        /// Name of whoever decides, for the record; the user of the shell when left out.
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
}

/// What the server wrote down for us.
#[derive(Deserialize)]
struct Access {
    url: String,
    token: String,
}

struct Desk {
    url: Url,
    token: SecretString,
    client: Client,
}

impl Approvals {
    pub(super) async fn run(&self, options: &Options, out: &mut impl Write) -> anyhow::Result<()> {
        let desk = Desk::reach(options)?;
        let tickets = desk.ask(Method::GET, "approvals", None).await?;
        let tickets = tickets.as_array().map_or(&[][..], Vec::as_slice);
        match self {
            Self::List => list(tickets, out)?,
            Self::Show { ticket } => {
                let ticket = one(tickets, ticket)?;
                writeln!(
                    out,
                    "{}\n\nTicket: {}, {}",
                    lines(ticket, "text"),
                    text(ticket, "id"),
                    state(ticket)
                )?;
            }
            Self::Approve { ticket, name, by } => {
                let decision = json!({ "approve": true, "name": name, "by": who(by.as_deref()) });
                desk.decide(one(tickets, ticket)?, decision, out).await?;
            }
            Self::Deny { ticket, by } => {
                let decision = json!({ "approve": false, "by": who(by.as_deref()) });
                desk.decide(one(tickets, ticket)?, decision, out).await?;
            }
        }
        Ok(())
    }
}

impl Desk {
    fn reach(options: &Options) -> anyhow::Result<Self> {
        let file = options.guard.admin_file().ok_or_else(|| {
            anyhow!("give --admin-file, the file that the server with --admin-listen wrote")
        })?;
        let told = || format!("cannot use {}; does the server run?", shown(file));
        let text = read_guarded(file, Guarded::Private).with_context(told)?;
        // Not the error itself, for it may repeat the token.
        let foreign = || anyhow!("{} was not written by a server of ours", shown(file));
        let Access { url, token } =
            serde_json::from_str(text.expose_secret()).map_err(|_| foreign())?;
        let (url, token) = (url.parse().map_err(|_| foreign())?, token.into());
        Ok(Self { url, token, client: options.http()?.no_proxy().timeout(PATIENCE).build()? })
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let mut request = self
            .client
            .request(method, self.url.join(path)?)
            .bearer_auth(self.token.expose_secret());
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.map_err(reqwest::Error::without_url);
        let mut answer = answer.context("the server cannot be reached; does it still run?")?;
        let (status, mut bytes) = (answer.status(), Vec::new());
        while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
            if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
                bail!(
                    "the answer has more than {MAX_ANSWER_BYTES} bytes, so it is not from a server of ours; \
                     is the address in --admin-file right?"
                );
            }
            bytes.extend_from_slice(&chunk);
        }
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if !status.is_success() {
            let why = body.get("error").and_then(Value::as_str).unwrap_or(status.as_str());
            bail!("{}", one_line(why));
        }
        Ok(body)
    }

    async fn decide(
        &self,
        ticket: &Value,
        decision: Value,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        // What no name of a ticket is made of might lead elsewhere.
        let id = text(ticket, "id");
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            bail!("the server named a ticket in a way that no server of ours does");
        }
        let path = format!("approvals/{id}");
        let decided = self.ask(Method::POST, &path, Some(decision)).await?;
        writeln!(out, "{} {}: {}", text(&decided, "id"), text(&decided, "tool"), state(&decided))?;
        Ok(())
    }
}

fn list(tickets: &[Value], out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{:32}  {:24}  {:>7}  {:16}  TOOL", "TICKET", "STATE", "SECONDS", "CALLER")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for ticket in tickets {
        let left = ticket.get("expires").and_then(Value::as_u64).unwrap_or(now).saturating_sub(now);
        let (id, state) = (text(ticket, "id"), state(ticket));
        let (caller, tool) = (text(ticket, "principal"), text(ticket, "tool"));
        writeln!(out, "{id:32}  {state:24}  {left:>7}  {caller:16}  {tool}")?;
    }
    Ok(())
}

/// The one ticket whose name begins so.
fn one<'a>(tickets: &'a [Value], start: &str) -> anyhow::Result<&'a Value> {
    let mut found = tickets.iter().filter(|ticket| text(ticket, "id").starts_with(start));
    let start = one_line(start);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => bail!("there is no ticket {start}; it may have expired"),
        (Some(_), Some(_)) => bail!("several tickets begin with {start}; give more of it"),
    }
}

/// A text of the server's that has lines.
fn lines<'a>(ticket: &'a Value, field: &str) -> &'a str {
    ticket.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A text of the server's, on one line.
fn text<'a>(ticket: &'a Value, field: &str) -> Cow<'a, str> {
    one_line(lines(ticket, field))
}

/// `pending`, or what was decided and by whom.
fn state(ticket: &Value) -> String {
    match ticket.get("state") {
        Some(Value::String(word)) => one_line(word).into_owned(),
        Some(Value::Object(decided)) => {
            let said = decided.iter().map(|(word, by)| match by.as_str() {
                Some(by) => format!("{word} by {by}"),
                None => word.clone(),
            });
            one_line(&said.collect::<String>()).into_owned()
        }
        _ => String::new(),
    }
}

/// Whoever is named, or else is logged in.
fn who(by: Option<&str>) -> String {
    let named = by.map(str::trim).filter(|by| !by.is_empty()).map(str::to_owned);
    named.or_else(logged_in).unwrap_or_else(|| "approvals".to_owned())
}

/// Whoever is logged in, as far as the environment says.
pub(super) fn logged_in() -> Option<String> {
    let mut names = ["USER", "LOGNAME"].iter().filter_map(|name| std::env::var(name).ok());
    names.find(|name| !name.is_empty())
}

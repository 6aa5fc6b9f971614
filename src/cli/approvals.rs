//! `portkey-mcp approvals`: a human decides about calls that wait, at the server that asks.

use std::{
    borrow::Cow,
    io::{self, Write},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand, ValueEnum};
use portkey_bounded_file::display_path;
use reqwest::{Client, Method, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::options::Options;
use crate::security::{
    sanitize::escape_to_one_line,
    secrets::{FileProtection, read_protected_file},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  portkey-mcp http --approve-deletes --admin-listen 127.0.0.1:0 --admin-file admin.json    the server
  portkey-mcp approvals list --admin-file admin.json
  portkey-mcp approvals list --state pending --caller support --admin-file admin.json
  portkey-mcp approvals show 3f9a51 --admin-file admin.json
  portkey-mcp approvals approve 3f9a51 --admin-file admin.json";

/// Longer than a server that is up ever takes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Bound on an answer, in bytes: more than all calls that can wait at once.
const MAX_RESPONSE_BYTES: usize = 32 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum ApprovalsCommand {
    /// List the calls that wait, or were decided of late, the oldest first.
    #[command(after_help = "\
Examples:
  portkey-mcp approvals list --admin-file admin.json
  portkey-mcp approvals list --state pending --caller support --admin-file admin.json
  portkey-mcp approvals list --limit 10 --after 3f9a51 --admin-file admin.json")]
    List(ListArgs),
    /// Show one call: what it would change, and the risk.
    #[command(after_help = "\
Example:
  portkey-mcp approvals show 3f9a51 --admin-file admin.json")]
    Show {
        /// Its ticket, or at least six digits of the beginning that no other ticket of the last hour has.
        ticket: String,
    },
    /// Approve one call; it is carried out when its caller makes it again.
    #[command(after_help = "\
Examples:
  portkey-mcp approvals approve 3f9a51 --admin-file admin.json
  portkey-mcp approvals approve 3f9a51 --by ann --digest DIGEST --admin-file admin.json
  portkey-mcp approvals approve 3f9a51 --name openai-production --admin-file admin.json")]
    Approve {
        #[command(flatten)]
        about: DecisionArgs,
        /// Name of what the call is about, where that has to be typed.
        #[arg(long)]
        name: Option<String>,
    },
    /// Deny one call.
    #[command(after_help = "\
Example:
  portkey-mcp approvals deny 3f9a51 --by ann --admin-file admin.json")]
    Deny {
        #[command(flatten)]
        about: DecisionArgs,
    },
}

// No rustdoc: clap would show it as the command's help.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Only calls of this caller.
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// Only calls of this tool.
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// Only calls that wait, or were decided so.
    #[arg(long)]
    state: Option<TicketState>,
    /// How many to list, up to 200.
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: u16,
    /// List those that come after this ticket.
    #[arg(long, value_name = "TICKET")]
    after: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TicketState {
    Pending,
    Approved,
    Denied,
}

impl TicketState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
        }
    }
}

// No rustdoc: clap would show it as the command's help.
#[derive(Args, Debug)]
pub(super) struct DecisionArgs {
    /// Its ticket, or at least six digits of the beginning that no other ticket of the last hour has.
    ticket: String,
    /// Digest that `show` told: a ticket that says something else is not decided about.
    #[arg(long)]
    digest: Option<String>,
    /// Name of whoever decides, for the record; the user of the shell when left out.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// What the server wrote down for us.
#[derive(Deserialize)]
struct AdminAccess {
    url: String,
    token: String,
}

struct ApprovalClient {
    url: Url,
    token: SecretString,
    client: Client,
}

impl ApprovalsCommand {
    pub(super) async fn run(&self, options: &Options, out: &mut impl Write) -> anyhow::Result<()> {
        let desk = ApprovalClient::from_options(options)?;
        match self {
            Self::List(wanted) => print_tickets(&desk.list_tickets(wanted).await?, out)?,
            Self::Show { ticket } => {
                let ticket = desk.find_ticket(ticket).await?;
                writeln!(
                    out,
                    "{}\n\nTicket: {}, {}\nDigest: {}",
                    multiline_field(&ticket, "text"),
                    single_line_field(&ticket, "id"),
                    format_state(&ticket),
                    single_line_field(&ticket, "digest")
                )?;
            }
            Self::Approve { about, name } => desk.decide(about, true, name.as_deref(), out).await?,
            Self::Deny { about } => desk.decide(about, false, None, out).await?,
        }
        Ok(())
    }
}

impl ApprovalClient {
    fn from_options(options: &Options) -> anyhow::Result<Self> {
        let file = options.guard.admin_file().ok_or_else(|| {
            anyhow!("give --admin-file, the file that the server with --admin-listen wrote")
        })?;
        let context = |error: io::Error| match error.kind() {
            // The server removes it when it ends.
            io::ErrorKind::NotFound => {
                anyhow!(
                    "there is no file {}; does the server run?",
                    display_path(file)
                )
            }
            _ => anyhow!(error).context(format!("cannot use {}", display_path(file))),
        };
        let text = read_protected_file(file, FileProtection::Private).map_err(context)?;
        // Not the error itself, for it may repeat the token.
        let invalid_file = || anyhow!("{} was not written by a server of ours", display_path(file));
        let AdminAccess { url, token } =
            serde_json::from_str(text.expose_secret()).map_err(|_| invalid_file())?;
        let (url, token) = (url.parse().map_err(|_| invalid_file())?, token.into());
        Ok(Self {
            url,
            token,
            client: options
                .http_client_builder()?
                .no_proxy()
                .timeout(REQUEST_TIMEOUT)
                .build()?,
        })
    }

    /// The tickets that are wanted, and which comes next.
    async fn list_tickets(&self, wanted: &ListArgs) -> anyhow::Result<Value> {
        let mut url = self.url.join("approvals")?;
        let limit = wanted.limit.to_string();
        let fields = [
            ("caller", wanted.caller.as_deref()),
            ("tool", wanted.tool.as_deref()),
            ("state", wanted.state.map(TicketState::as_str)),
            ("after", wanted.after.as_deref()),
            ("limit", Some(&limit)),
        ];
        let given = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        url.query_pairs_mut().extend_pairs(given);
        self.send_request(Method::GET, url, None).await
    }

    /// The one ticket whose name begins so.
    async fn find_ticket(&self, start: &str) -> anyhow::Result<Value> {
        self.send_request(Method::GET, self.ticket_url(start)?, None)
            .await
    }

    /// The address of a ticket.
    fn ticket_url(&self, id: &str) -> anyhow::Result<Url> {
        // Nothing else may become a part of the path.
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            bail!(
                "`{}` is no ticket: those have hexadecimal digits only",
                id.escape_debug()
            );
        }
        Ok(self.url.join(&format!("approvals/{id}"))?)
    }

    async fn send_request(
        &self,
        method: Method,
        url: Url,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let mut request = self
            .client
            .request(method, url)
            .bearer_auth(self.token.expose_secret());
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await.map_err(reqwest::Error::without_url);
        let mut answer = answer.context("the server cannot be reached; does it still run?")?;
        let status = answer.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
            if bytes.len() + chunk.len() > MAX_RESPONSE_BYTES {
                bail!(
                    "the answer has more than {MAX_RESPONSE_BYTES} bytes, so it is not from a server of ours; \
                     is the address in --admin-file right?"
                );
            }
            bytes.extend_from_slice(&chunk);
        }
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if !status.is_success() {
            let why = body
                .get("error")
                .and_then(Value::as_str)
                .unwrap_or(status.as_str());
            bail!("{}", escape_to_one_line(why));
        }
        Ok(body)
    }

    /// Decides about a ticket as it is now, or as it was when its digest was told.
    async fn decide(
        &self,
        about: &DecisionArgs,
        approve: bool,
        name: Option<&str>,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let ticket = self.find_ticket(&about.ticket).await?;
        let shown = single_line_field(&ticket, "digest");
        let digest = about.digest.as_deref().unwrap_or(&shown);
        let by = approver_name(about.by.as_deref());
        let decision = json!({ "approve": approve, "digest": digest, "name": name, "by": by });
        let url = self.ticket_url(&single_line_field(&ticket, "id"))?;
        let decided = self.send_request(Method::POST, url, Some(decision)).await?;
        writeln!(
            out,
            "{} {}: {}",
            single_line_field(&decided, "id"),
            single_line_field(&decided, "tool"),
            format_state(&decided)
        )?;
        Ok(())
    }
}

fn print_tickets(page: &Value, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{:32}  {:24}  {:>7}  {:16}  TOOL",
        "TICKET", "STATE", "SECONDS", "CALLER"
    )?;
    let tickets = page
        .get("tickets")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    for ticket in tickets {
        let left = ticket
            .get("seconds_left")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let id = single_line_field(ticket, "id");
        let state = format_state(ticket);
        let (caller, tool) = (
            single_line_field(ticket, "principal"),
            single_line_field(ticket, "tool"),
        );
        writeln!(out, "{id:32}  {state:24}  {left:>7}  {caller:16}  {tool}")?;
    }
    match &*single_line_field(page, "next") {
        "" => Ok(()),
        next => writeln!(out, "\nThere are more: go on with --after {next}"),
    }
}

/// A text of the server's that has lines.
fn multiline_field<'a>(ticket: &'a Value, field: &str) -> &'a str {
    ticket
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A text of the server's, on one line.
fn single_line_field<'a>(ticket: &'a Value, field: &str) -> Cow<'a, str> {
    escape_to_one_line(multiline_field(ticket, field))
}

/// `pending`, or what was decided and by whom.
fn format_state(ticket: &Value) -> String {
    match ticket.get("state") {
        Some(Value::String(word)) => escape_to_one_line(word).into_owned(),
        Some(Value::Object(decided)) => {
            let said = decided.iter().map(|(word, by)| match by.as_str() {
                Some(by) => format!("{word} by {by}"),
                None => word.clone(),
            });
            escape_to_one_line(&said.collect::<String>()).into_owned()
        }
        _ => String::new(),
    }
}

/// Whoever is named, or else is logged in.
fn approver_name(by: Option<&str>) -> String {
    let named = by
        .map(str::trim)
        .filter(|by| !by.is_empty())
        .map(str::to_owned);
    named
        .or_else(login_name)
        .unwrap_or_else(|| "approvals".to_owned())
}

/// Whoever is logged in, as far as the environment says.
pub(super) fn login_name() -> Option<String> {
    let mut names = ["USER", "LOGNAME"]
        .iter()
        .filter_map(|name| std::env::var(name).ok());
    names.find(|name| !name.is_empty())
}

//! The command line: definition and execution of the subcommands.

mod approvals;
mod audit;
mod call;
mod changes;
mod clients;
mod config;
mod doctor;
mod effect;
mod generate;
mod health;
mod help;
mod login;
mod memory;
mod options;
mod parse;
mod plan;
mod policy;
mod setup;
mod snapshots;
mod state_key;
mod terminal;
mod token;
mod tools;
mod usage;
mod user_name;

use std::{
    env,
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use portkey_api::catalog::CatalogEntry;
use portkey_bounded_file::with_causes;
use portkey_journal::JournalPlace;
use portkey_sandbox::Sandbox;
use reqwest::Url;
use tokio::runtime::{Builder, Runtime};

use self::{doctor::ConfiguredOption, options::parse_http_url, parse::ParsedLine};
use crate::{
    app::{AppContext, HttpServerParts, LocalServerParts},
    auth::principal::Principal,
    mcp::server::Server,
    observability::{logging, traces},
    security::secrets::mask_line,
    transport,
};

pub use options::{Options, http::HttpOptions};

const EXAMPLES: &str = "\
Examples:
  portkey-mcp http --sandbox                   MCP at http://127.0.0.1:8787/mcp, no account needed
  PORTKEY_API_KEY=… portkey-mcp                MCP on standard input and output
  portkey-mcp tools                            the available tools
  portkey-mcp call list-all-integrations page_size=5 --sandbox
  portkey-mcp help options                     all options, by groups";

/// Maximum width of the help, in characters.
const MAX_TERM_WIDTH: usize = 100;

/// Maximum time that the process waits for a pending read of standard input when it ends.
const STDIN_READ_TIMEOUT: Duration = Duration::from_millis(100);

/// An MCP server for the Portkey Admin API, with a validated tool for every operation.
#[derive(Debug, Parser)]
#[command(
    name = "portkey-mcp",
    version,
    after_help = EXAMPLES,
    max_term_width = MAX_TERM_WIDTH,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve MCP over standard input and output; the default without a subcommand.
    #[command(after_help = "\
Examples:
  PORTKEY_API_KEY=… portkey-mcp stdio
  portkey-mcp stdio --sandbox --log-level debug")]
    Stdio,
    /// Serve MCP over streamable HTTP at /mcp, with /healthz and /readyz.
    #[command(after_help = options::http::EXAMPLES)]
    Http(Box<HttpOptions>),
    /// Verify audit logs.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Create tokens for `http --auth token`.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Create keys for `http --state-key-file`.
    #[command(subcommand)]
    StateKey(state_key::StateKeyCommand),
    /// Check, explain, test and create policy files.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// List the tools with their domain, hints and size, or search for tools.
    #[command(after_help = "\
Examples:
  portkey-mcp tools
  portkey-mcp tools --sandbox                  with tools that need a key of Enkrypt AI
  portkey-mcp tools --read-only                only read-only tools
  portkey-mcp tools --search \"turn off a model\"
  portkey-mcp tools --export-descriptions > descriptions.toml    a file for --descriptions
  portkey-mcp tools --format json > tools.json")]
    Tools(tools::ToolsCommand),
    /// Call one tool and print its result as JSON; exit with 1 if it fails.
    #[command(after_help = call::EXAMPLES)]
    Call(call::CallCommand),
    /// List, show and undo changes that this program made.
    #[command(subcommand, after_help = changes::EXAMPLES)]
    Changes(changes::ChangesCommand),
    /// Show what the changes in a file would do; nothing is sent.
    #[command(after_help = plan::PLAN_EXAMPLES)]
    Plan(plan::PlanCommand),
    /// Make the changes of a plan or a file, in their order.
    #[command(after_help = plan::APPLY_EXAMPLES)]
    Apply(plan::ApplyCommand),
    /// Write the settings of the organisation as YAML, one file for each resource, without secrets.
    #[command(after_help = snapshots::EXPORT_EXAMPLES)]
    Export(snapshots::ExportCommand),
    /// Show what changed since an export.
    #[command(after_help = snapshots::DRIFT_EXAMPLES)]
    Drift(snapshots::DriftCommand),
    /// List, approve and deny calls that need approval.
    #[command(subcommand, after_help = approvals::EXAMPLES)]
    Approvals(approvals::ApprovalsCommand),
    /// Serve the embedded Portkey Admin API for other clients.
    #[command(after_help = "\
Examples:
  portkey-mcp sandbox
  portkey-mcp sandbox --sandbox-faults 429:0.2,latency:50ms
  portkey-mcp sandbox --sandbox-now 2026-05-31T12:00:00Z         the same results every time
  curl -H 'x-portkey-api-key: any' http://127.0.0.1:8788/v1/integrations
  curl -H 'x-portkey-api-key: sandbox-admin' http://127.0.0.1:8788/v1/configs
  curl -H 'x-portkey-api-key: sandbox-workspace-ws-research' http://127.0.0.1:8788/v1/configs
  curl -H 'apikey: any' -H 'x-enkrypt-mcp-gateway: support-tools' \\
    http://127.0.0.1:8788/mcp-gateway/get-gateway

Keys:
  sandbox-admin               an Admin key
  sandbox-workspace-<slug>    a key of that workspace
  any other                   a key with every right
With the suffix -read, a key allows reads only. See docs/sandbox.md.")]
    Sandbox(SandboxArgs),
    /// Add this server to the configuration of an MCP client.
    #[command(after_help = setup::EXAMPLES)]
    Setup(setup::SetupCommand),
    /// Store a Portkey API key in the system's keychain, for servers and commands without another key.
    #[command(after_help = login::EXAMPLES)]
    Login(login::LoginCommand),
    /// Remove the stored key.
    Logout,
    /// Show which key is used, where it comes from, and what it may do; exit with 1 if there is none, or if Portkey
    /// rejects it or cannot be reached.
    Whoami(login::WhoamiCommand),
    /// Check configuration, connection and key, and tell what to do; exit with 1 if a check fails.
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::DoctorCommand),
    /// Check the health of a portkey-mcp server; exit with 1 if it is unavailable.
    #[command(after_help = "\
Examples:
  portkey-mcp health
  portkey-mcp health --url http://127.0.0.1:9000/readyz
  portkey-mcp health --url https://mcp.example.com/healthz --ca-file ca.pem")]
    Health {
        /// Address of the health check.
        #[arg(long, default_value = "http://127.0.0.1:8787/healthz", value_parser = parse_http_url)]
        url: Url,
    },
    /// Show the options in effect with their sources, or print an example of a configuration file.
    #[command(subcommand, after_help = config::EXAMPLES)]
    Config(config::ConfigCommand),
    /// Print the help of a command, the groups of options, or one group.
    #[command(after_help = help::EXAMPLES)]
    Help(help::HelpCommand),
    /// Print the completions for a shell.
    #[command(hide = true)]
    Completions {
        /// Shell that the completions are for.
        shell: Shell,
    },
    /// Write the man pages, one file for each command.
    #[command(hide = true)]
    Man {
        /// Folder for the pages; it must exist.
        folder: PathBuf,
    },
}

#[derive(Args, Debug)]
struct SandboxArgs {
    /// Address to listen on.
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "PORTKEY_MCP_SANDBOX_LISTEN",
        default_value = "127.0.0.1:8788"
    )]
    listen: SocketAddr,
}

/// Returns the definition of the command line, for the reference in `docs/options.md`.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Returns the same for readers: each command has the options that it uses, and no others.
pub fn described_command() -> clap::Command {
    help::described_command()
}

/// Parses the command line and runs the subcommand.
pub fn main() -> ExitCode {
    let parsed = parse::parse(env::args_os().collect()).and_then(|line| {
        let ParsedLine {
            matches,
            sources,
            file,
            unused,
        } = line;
        let mut cli = Cli::from_arg_matches(&matches)?;
        if let Some(Command::Doctor(doctor)) = &mut cli.command {
            let (_, matches) = parse::innermost(&matches);
            doctor.configured = ConfiguredOption::all(&command(), matches, &sources);
            doctor.unused.clone_from(&unused);
        }
        cli.options.set_unused(unused);
        if let Some(Command::Config(config)) = &mut cli.command {
            let (_, matches) = parse::innermost(&matches);
            config.find_options(&command(), matches, file.as_ref())?;
        }
        if let Some(Command::Setup(setup)) = &mut cli.command {
            setup.server = setup::ServerOptions::new(&command(), &matches);
        }
        Ok(cli)
    });
    let Cli { options, command } = match parsed {
        Ok(cli) => cli,
        Err(error) => return usage::report_usage_error(error),
    };
    let ran =
        logging::init_logging(&options.log_level, options.log_format.into()).and_then(|guard| {
            let _flush_on_drop = guard;
            let is_stdio = matches!(command, None | Some(Command::Stdio));
            let runtime = build_runtime(command.as_ref())?;
            let ran = runtime.block_on(run_command(options, command));
            if is_stdio {
                // A pending read of standard input would prevent the process from ending.
                runtime.shutdown_timeout(STDIN_READ_TIMEOUT);
            }
            ran
        });
    match ran {
        Ok(code) => code,
        // The reader of the output, such as `head`, needs no more of it.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // A value with line breaks must not imitate another message.
            // An error of writing is ignored, because standard error may be closed.
            let text =
                format!("portkey-mcp: {}", with_causes(error.as_ref())).replace('\n', "\n  ");
            _ = writeln!(terminal::stderr(), "{}", mask_line(&text));
            ExitCode::FAILURE
        }
    }
}

/// Returns true if the error is a closed standard output.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = match error.downcast_ref::<serde_json::Error>() {
        Some(error) => error.io_error_kind(),
        None => error.downcast_ref().map(io::Error::kind),
    };
    kind == Some(io::ErrorKind::BrokenPipe)
}

/// Builds a runtime with one thread, unless the options select more. Moving work between threads costs more than
/// the work, and one thread handles more calls than Portkey answers.
fn build_runtime(command: Option<&Command>) -> anyhow::Result<Runtime> {
    let threads = match command {
        Some(Command::Http(http)) => usize::from(http.threads),
        _ => 1,
    };
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    // Ignored by the single-threaded runtime.
    builder.worker_threads(threads);
    Ok(builder.enable_all().build()?)
}

async fn run_command(options: Options, command: Option<Command>) -> anyhow::Result<ExitCode> {
    match command {
        None | Some(Command::Stdio) => {
            transport::install_stop_handlers()?;
            terminal::announce_stdio();
            transport::reload_on_hangup(portkey_file_watch::reload)?;
            options.log_warnings();
            memory::spawn_memory_purge();
            let exports = traces::start()?;
            let parts = LocalServerParts::build(
                options.local_app_settings()?,
                options.mcp_settings()?,
                options.approval_settings()?,
                exports.has_metrics(),
            );
            let Some(LocalServerParts {
                server,
                sandbox: _sandbox,
                approval_server: _approval_server,
            }) = transport::unless_stopped(parts).await?
            else {
                return Ok(ExitCode::SUCCESS);
            };
            let served = transport::stdio::serve(server).await;
            exports.flush().await;
            served?;
        }
        Some(Command::Http(http)) => {
            transport::install_stop_handlers()?;
            memory::spawn_memory_purge();
            transport::reload_on_hangup(portkey_file_watch::reload)?;
            options.log_warnings();
            let exports = traces::start()?;
            let mut app_settings = options.app_settings()?;
            if http.uses_own_key() {
                login::add_stored_key(&mut app_settings, &options)?;
            }
            let settings = http.settings(&options, exports.has_metrics())?;
            let parts = HttpServerParts::build(app_settings, settings);
            let Some(parts) = transport::unless_stopped(parts).await? else {
                return Ok(ExitCode::SUCCESS);
            };
            let served = parts.serve().await;
            exports.flush().await;
            served?;
        }
        Some(Command::Audit(audit)) => return audit.run(&options.audit, &mut terminal::stdout()),
        Some(Command::Token(token)) => {
            token.run(&mut terminal::stdout(), &mut terminal::stderr())?;
        }
        Some(Command::Policy(policy)) => return policy.run(&mut terminal::stdout()).await,
        Some(Command::StateKey(key)) => key.run(&mut terminal::stdout())?,
        Some(Command::Tools(tools)) => {
            let catalog = options.catalog()?;
            let tool_filter = options.access.tool_filter()?;
            let surface = options.access.surface();
            let policy = options.guard.policy()?;
            let is_listed = |entry: &CatalogEntry| {
                let permits = |policy: &portkey_policy::Policy| policy.can_permit(entry.operation);
                tool_filter
                    .check(entry.domain.name, entry.operation)
                    .is_ok()
                    && policy.as_ref().is_none_or(permits)
            };
            let has_history = options.keeps_history();
            tools.print(
                &catalog,
                is_listed,
                surface,
                has_history,
                &mut terminal::stdout(),
            )?;
        }
        Some(
            command @ (Command::Call(_)
            | Command::Plan(_)
            | Command::Apply(_)
            | Command::Export(_)
            | Command::Drift(_)),
        ) => {
            let AppContext {
                dispatcher,
                credentials,
                sandbox: _sandbox,
            } = options.local_app_settings()?.build().await?;
            let (approvals, _approval_server) = options.approval_settings()?.build_alone()?;
            let server = Server::new(Arc::new(dispatcher.with_approvals(approvals)), None);
            let local = Principal::local(credentials);
            let out = &mut terminal::stdout();
            return match command {
                Command::Plan(plan) => plan.run(&server, &local, out).await,
                Command::Apply(apply) => {
                    apply.run(&server, &local, options.is_dry_run(), out).await
                }
                Command::Call(call) => call.run(&server, &local, out).await,
                Command::Export(export) => export.run(&server, &local, out).await,
                Command::Drift(drift) => drift.run(&server, &local, out).await,
                // No other command comes here; this keeps the match complete.
                _ => Ok(ExitCode::SUCCESS),
            };
        }
        Some(Command::Changes(changes)) => {
            let settings = options.local_app_settings()?;
            if let Some(journal) = &settings.journal
                && let JournalPlace::File {
                    path,
                    is_default: false,
                } = &journal.place
                && !path.exists()
            {
                anyhow::bail!(
                    "there is no journal {}",
                    portkey_bounded_file::display_path(path)
                );
            }
            let AppContext {
                dispatcher,
                credentials,
                sandbox: _sandbox,
            } = settings.build().await?;
            let (approvals, _approval_server) = options.approval_settings()?.build_alone()?;
            let server = Server::new(Arc::new(dispatcher.with_approvals(approvals)), None);
            let local = Principal::local(credentials);
            return changes.run(&server, &local, &mut terminal::stdout()).await;
        }
        Some(Command::Approvals(approvals)) => {
            approvals.run(&options, &mut terminal::stdout()).await?;
        }
        Some(Command::Sandbox(sandbox)) => run_sandbox(&options, sandbox.listen).await?,
        Some(Command::Setup(setup)) => {
            setup.run(&options, &mut terminal::stdout(), &mut terminal::stderr())?;
        }
        Some(Command::Login(login)) => login.run(&options, &mut terminal::stdout()).await?,
        Some(Command::Logout) => login::log_out(&options, &mut terminal::stdout())?,
        Some(Command::Whoami(whoami)) => {
            return whoami.run(&options, &mut terminal::stdout()).await;
        }
        Some(Command::Doctor(doctor)) => {
            return doctor.run(&options, &mut terminal::stdout()).await;
        }
        Some(Command::Health { url }) => {
            health::check(url, || options.http_client_builder()).await?;
        }
        Some(Command::Config(config)) => config.run(&self::command(), &mut terminal::stdout())?,
        Some(Command::Help(help)) => help.run(&mut terminal::stdout())?,
        Some(Command::Completions { shell }) => {
            generate::print_completions(shell, &mut terminal::stdout())?;
        }
        Some(Command::Man { folder }) => generate::write_man_pages(&folder)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn run_sandbox(options: &Options, listen: SocketAddr) -> anyhow::Result<()> {
    let faults = options.sandbox_faults.clone();
    let now = options.sandbox_now;
    let sandbox = Sandbox::start_with_clock(listen, faults, now).await;
    let sandbox = sandbox.map_err(|error| transport::listen_error(listen, "--listen", &error))?;
    tracing::info!(
        "serving a Portkey Admin API at {}; any key is accepted",
        sandbox.base_url()
    );
    transport::wait_for_shutdown_signal().await?;
    sandbox.stop().await;
    Ok(())
}

//! Cost of authentication, limits and metrics: the same calls without and with them, in pairs.

use std::{io::Write, time::Instant};

use portkey_api::catalog::Catalog;
use portkey_mcp::auth::{NewToken, TokenEntry};
use secrecy::ExposeSecret;
use tempfile::TempDir;

use crate::{
    CONNECTIONS,
    http::{Client, Generation, call_concurrently},
    process::Process,
    stats::{Figures, LoadResult, Target, Unit},
};

/// A token file in its own folder, and the authentication header of each token.
pub(crate) struct Tokens {
    folder: TempDir,
    pub(crate) headers: Vec<String>,
}

impl Tokens {
    /// Creates one token per name; all use the same key.
    pub(crate) fn make(names: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let key = folder.path().join("key");
        std::fs::write(&key, "bench")?;
        let key = format!("file:{}", key.display());
        let mut file = std::fs::File::create(folder.path().join("tokens.toml"))?;
        let mut headers = Vec::new();
        for name in names {
            let scopes = vec!["portkey:read".to_owned(), "portkey:write".to_owned()];
            let entry = TokenEntry {
                name: (*name).to_owned(),
                scopes,
                portkey_key: Some(key.clone()),
                ..TokenEntry::default()
            };
            let new = NewToken::generate(entry, folder.path(), &Catalog::domains())?;
            writeln!(file, "{}", new.entry)?;
            headers.push(format!(
                "authorization: Bearer {}\r\n",
                new.token.expose_secret()
            ));
        }
        Ok(Self { folder, headers })
    }

    pub(crate) fn path(&self) -> String {
        self.folder.path().join("tokens.toml").display().to_string()
    }
}

/// Runs rounds in both protocols, each without and with the guards, in direct succession.
pub(crate) async fn run(quick: bool, figures: &mut Figures) -> anyhow::Result<()> {
    let (rounds, calls) = if quick { (1, 1600) } else { (9, 32_000) };
    let (_sandbox, upstream) = Process::listening(&["sandbox", "--listen", "127.0.0.1:0"])?;
    let url = format!("http://{upstream}/v1");
    let tokens = Tokens::make(&["bench"])?;
    let path = tokens.path();
    let credential = tokens
        .headers
        .first()
        .map(String::as_str)
        .unwrap_or_default();
    let common = ["http", "--listen", "127.0.0.1:0", "--base-url", &url];
    let open = [&common[..], &["--api-key", "bench"]].concat();
    let guarded = [
        "--auth",
        "token",
        "--auth-file",
        &path,
        "--metrics-listen",
        "127.0.0.1:0",
    ];
    // The limits are counted at each call and never reached.
    let limits = [
        "--rate-limit",
        "100000000/s",
        "--address-rate-limit",
        "100000000/s",
    ];
    let guarded = [&common[..], &guarded, &limits].concat();
    for generation in [Generation::Modern, Generation::Legacy] {
        for round in 0..rounds {
            let open = async || measure_load(&open, generation, "", calls).await;
            let guarded = async || measure_load(&guarded, generation, credential, calls).await;
            // The order alternates.
            let (without, with) = if round % 2 == 0 {
                let without = open().await?;
                (without, guarded().await?)
            } else {
                let with = guarded().await?;
                (open().await?, with)
            };
            let name = generation.name();
            let mut add = |what: &str, unit, target, value| {
                figures.add(&format!("{name}: {what}"), unit, target, value);
            };
            add(
                "throughput without",
                Unit::PerSecond,
                Target::None,
                without.per_second,
            );
            add(
                "throughput with",
                Unit::PerSecond,
                Target::None,
                with.per_second,
            );
            add(
                "CPU per call without",
                Unit::Micros,
                Target::None,
                without.cpu,
            );
            add("CPU per call with", Unit::Micros, Target::None, with.cpu);
            let share = 100.0 * with.per_second / without.per_second;
            add(
                "share that is left",
                Unit::Percent,
                Target::AtLeast(80.0),
                share,
            );
        }
    }
    Ok(())
}

/// Measures the number of calls per second of a new server.
async fn measure_load(
    args: &[&str],
    generation: Generation,
    more: &str,
    calls: usize,
) -> anyhow::Result<LoadResult> {
    let (server, address) = Process::listening(args)?;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Client::connect(address, generation, more).await?);
    }
    let (clients, _) = call_concurrently(clients, calls / 10).await?;
    let cpu = server.cpu()?;
    let started = Instant::now();
    call_concurrently(clients, calls).await?;
    Ok(LoadResult::new(
        calls,
        started.elapsed(),
        server.cpu()? - cpu,
    ))
}

//! A server under test, its upstream, its callers, and the course of a trial.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use futures_util::future::join_all;
use tokio::time::{sleep, timeout_at};

use super::{
    MAX_GROWTH, Schedule, callers,
    report::{Check, TrialResult},
};
use crate::{guards::Tokens, http::stateless_request, line::HttpConnection, mcp, process::Process};

/// Number of other callers.
const OTHER_CALLERS: usize = 8;

/// Number of callers, or addresses, that abuse the server.
pub(super) const ABUSERS: usize = 4;

/// A server under test and its callers.
pub(super) struct Setup {
    pub(super) server: Process,
    pub(super) address: SocketAddr,
    /// Address of the sandbox.
    pub(super) upstream: SocketAddr,
    /// Authentication header of each other caller.
    pub(super) others: Vec<String>,
    /// Authentication header of each abuser that the server knows.
    pub(super) abusers: Vec<String>,
    _sandbox: Process,
    _tokens: Option<Tokens>,
}

impl Setup {
    /// Starts a server for callers with tokens, with additional options.
    pub(super) fn with_tokens(more: &[&str]) -> anyhow::Result<Self> {
        let names: Vec<_> = (0..OTHER_CALLERS + ABUSERS)
            .map(|number| format!("c{number}"))
            .collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let tokens = Tokens::make(&names)?;
        let (others, abusers) = tokens.headers.split_at(OTHER_CALLERS);
        let others = others.to_vec();
        let abusers = abusers.to_vec();
        let auth = ["--auth", "token", "--auth-file", &tokens.path()];
        let mut setup = Self::start(&[&auth, more].concat(), others)?;
        (setup.abusers, setup._tokens) = (abusers, Some(tokens));
        Ok(setup)
    }

    /// Starts a server for callers with Portkey keys, with additional options.
    pub(super) fn with_keys(more: &[&str]) -> anyhow::Result<Self> {
        let others = (0..OTHER_CALLERS)
            .map(|number| key_header(&format!("bench-{number}")))
            .collect();
        Self::start(&[&["--auth", "key"], more].concat(), others)
    }

    /// Starts a server with these options; `others` are the credentials of the other callers.
    pub(super) fn start(more: &[&str], others: Vec<String>) -> anyhow::Result<Self> {
        let (sandbox, upstream) = Process::listening(&["sandbox", "--listen", "127.0.0.1:0"])?;
        let url = format!("http://{upstream}/v1");
        let args = ["http", "--listen", "127.0.0.1:0", "--base-url", &url];
        let (server, address) = Process::listening(&[&args, more].concat())?;
        let abusers = Vec::new();
        let _tokens = None;
        Ok(Self {
            server,
            address,
            upstream,
            others,
            abusers,
            _sandbox: sandbox,
            _tokens,
        })
    }

    /// Makes the server build and cache its tool list.
    async fn list_tools(&self) -> anyhow::Result<()> {
        let credential = self.others.first().map(String::as_str).unwrap_or_default();
        let mut line = HttpConnection::connect(self.address).await?;
        let list = stateless_request(self.address, credential, "tools/list", "");
        line.exchange(&list, "HTTP/1.1 200").await?;
        mcp::check(&line.body, mcp::LIST_RESPONSE_TEXT)
    }

    /// Measures the other callers alone, then during an attack, then waits until the memory is
    /// released.
    ///
    /// The attack has its own thread, so that its work does not count as the server's. The probe
    /// runs beside the other callers and returns further conditions.
    ///
    /// Pages of the executable that the attack made the kernel load do not count as retained: the
    /// kernel can drop them at any time, and they do not grow with a second attack.
    pub(super) async fn observe<F: Future<Output = ()>>(
        &self,
        trial: &'static str,
        schedule: &Schedule,
        attack: impl FnOnce(Attack) -> F + Send + 'static,
        probe: impl AsyncFnOnce(Instant) -> Vec<Check>,
    ) -> anyhow::Result<TrialResult> {
        self.list_tools().await?;
        let work = |time| callers::make_calls(self.address, &self.others, time);
        work(schedule.warm_up).await?;
        let alone = work(schedule.alone).await?;
        if let Some(failure) = alone.failures.first() {
            return Err(anyhow!("a call failed before the abuse: {failure}"));
        }
        let before = self.server.memory("VmRSS")?;
        let code = self.server.memory("RssFile")?;
        let retained = || anyhow::Ok(self.server.memory("RssAnon")? + code);
        let until = Instant::now() + schedule.abuse;
        let counts = Arc::new(Counts::default());
        let abuse = Attack {
            address: self.address,
            until,
            counts: counts.clone(),
        };
        let attacking = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(attack(abuse));
            anyhow::Ok(())
        });
        let (abused, mut checks) = tokio::join!(work(schedule.abuse), probe(until));
        let abused = abused?;
        attacking
            .join()
            .map_err(|_| anyhow!("the abuser failed"))??;
        let idle = Instant::now();
        let mut after = retained()?;
        while after > before * MAX_GROWTH && idle.elapsed() < schedule.idle {
            sleep(Duration::from_secs(1)).await;
            after = retained()?;
        }
        let idled = idle.elapsed().as_secs_f64();
        let late = work(schedule.warm_up).await.context("after the abuse")?;
        let mut failures = abused.failures;
        failures.extend(late.failures);
        let calls = abused.latencies.len() + failures.len();
        checks.extend(
            counts
                .checks
                .lock()
                .map_err(|_| anyhow!("a check failed"))?
                .drain(..),
        );
        Ok(TrialResult {
            trial,
            p99_alone: alone.latencies.p50_p99().1,
            p99_abused: abused.latencies.p50_p99().1,
            calls,
            failures,
            peak: self.server.memory("VmHWM")?,
            before,
            after,
            idled,
            answered: counts.answered.load(Relaxed),
            refused: counts.refused.load(Relaxed),
            closed: counts.closed.load(Relaxed),
            checks,
        })
    }
}

/// Returns the header of a Portkey key. The sandbox accepts any.
pub(super) fn key_header(key: &str) -> String {
    format!("x-portkey-api-key: {key}\r\n")
}

/// Returns the header of an unused key that the sandbox rejects with 401.
pub(super) fn unknown_key_header() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    key_header(&format!(
        "sandbox-workspace-none-{}",
        COUNT.fetch_add(1, Relaxed)
    ))
}

/// Outcomes of the requests of an attack.
#[derive(Default)]
pub(super) struct Counts {
    /// Responses with a success status.
    pub(super) answered: AtomicU64,
    /// Responses with an error status.
    pub(super) refused: AtomicU64,
    /// Connections or streams closed by the server.
    pub(super) closed: AtomicU64,
    /// Size of the largest response, in bytes.
    pub(super) largest: AtomicU64,
    /// Longest time to a response, in milliseconds.
    pub(super) slowest: AtomicU64,
    /// Conditions that the attack itself checked.
    pub(super) checks: std::sync::Mutex<Vec<Check>>,
}

impl Counts {
    /// Counts a response by its status line.
    pub(super) fn count(&self, head: &str) {
        let is_answered = head.starts_with("HTTP/1.1 2");
        let counter = if is_answered {
            &self.answered
        } else {
            &self.refused
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn check(&self, what: impl Into<String>, holds: bool) {
        if let Ok(mut checks) = self.checks.lock() {
            checks.push(Check::new(what, holds));
        }
    }
}

/// A pending request. One that never gets a response counts as well.
struct PendingRequest<'a> {
    since: Instant,
    counts: &'a Counts,
}

impl Drop for PendingRequest<'_> {
    fn drop(&mut self) {
        let waited = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.counts.slowest.fetch_max(waited, Relaxed);
    }
}

/// A running attack.
#[derive(Clone)]
pub(super) struct Attack {
    pub(super) address: SocketAddr,
    pub(super) until: Instant,
    pub(super) counts: Arc<Counts>,
}

impl Attack {
    /// Repeats a step in several tasks, with a pause after each; the starts are spread over one
    /// pause.
    ///
    /// A failed step counts as closed by the server. Steps in flight at the end are dropped.
    pub(super) async fn repeat(
        &self,
        tasks: usize,
        pause: Duration,
        step: impl AsyncFn(usize) -> anyhow::Result<()>,
    ) {
        let step = &step;
        let all = (0..tasks).map(|task| async move {
            sleep(pause.mul_f64(task as f64 / tasks as f64)).await;
            loop {
                if step(task).await.is_err() {
                    self.counts.closed.fetch_add(1, Relaxed);
                }
                sleep(pause).await;
            }
        });
        _ = timeout_at(self.until.into(), join_all(all)).await;
    }

    /// Repeatedly sends requests, each on the connection of its task, and reads their responses.
    pub(super) async fn send(
        &self,
        tasks: usize,
        pause: Duration,
        request: impl Fn(usize) -> Vec<u8>,
    ) {
        let lines: Vec<_> = (0..tasks).map(|_| tokio::sync::Mutex::new(None)).collect();
        self.repeat(tasks, pause, async |task| {
            let Some(line) = lines.get(task) else {
                return Ok(());
            };
            let mut line = line.lock().await;
            let mut open = match line.take() {
                Some(open) => open,
                None => HttpConnection::connect_from(source_address(task), self.address).await?,
            };
            let waiting = PendingRequest {
                since: Instant::now(),
                counts: &self.counts,
            };
            open.send(&request(task)).await?;
            open.answer().await?;
            drop(waiting);
            self.counts
                .largest
                .fetch_max(open.body.len() as u64, Relaxed);
            self.counts.count(&open.head);
            if open.header("connection") != Some("close") {
                *line = Some(open);
            }
            Ok(())
        })
        .await;
    }
}

/// Returns the source address of a task of an attack: one of [`ABUSERS`].
pub(super) fn source_address(task: usize) -> IpAddr {
    let last = u8::try_from(2 + task % ABUSERS).unwrap_or(2);
    IpAddr::from(Ipv4Addr::new(127, 0, 0, last))
}

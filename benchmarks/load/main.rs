//! Whole-process figures of the release binary, with its sandbox in another process.
//!
//! `cargo bench --bench load -- [faults|sessions|abuse [name…]|guards|compare [option…] -- command…] [--quick]
//! [--only start|direct|stdio|modern|legacy|rest|list]`. `benchmarks/README.md` explains the figures.

mod abuse;
mod compare;
mod direct;
mod faults;
mod guards;
mod http;
mod line;
mod list;
mod mcp;
mod process;
mod rest;
mod sessions;
mod stats;
mod stdio;

use std::io::{self, Write};

use anyhow::{Context, bail};

use crate::{
    compare::Comparison,
    http::Generation,
    process::Process,
    stats::{Figures, RoundResult, Target, Unit},
};

/// Number of connections under load.
const CONNECTIONS: usize = 32;

/// Numbers of rounds, starts and calls. Loads are multiples of [`CONNECTIONS`].
struct Plan {
    rounds: usize,
    warm_starts: usize,
    starts: usize,
    warm_up: usize,
    sequential: usize,
    load: usize,
    /// Numbers of large bodies: before the memory counts as settled, and after.
    large_bodies: [usize; 2],
}

const FULL: Plan = Plan {
    rounds: 7,
    warm_starts: 3,
    starts: 6,
    warm_up: 960,
    sequential: 2000,
    load: 19_200,
    large_bodies: [8, 24],
};
const QUICK: Plan = Plan {
    rounds: 2,
    warm_starts: 1,
    starts: 4,
    warm_up: 320,
    sequential: 300,
    load: 3200,
    large_bodies: [1, 1],
};

struct Options {
    /// Trial to run instead of the figures.
    trial: Option<String>,
    /// Kinds of abuse to run; empty for all.
    kinds: Vec<String>,
    /// The other server of a comparison.
    comparison: Option<Comparison>,
    plan: Plan,
    quick: bool,
    only: Option<String>,
}

impl Options {
    fn read(args: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut plan = FULL;
        let mut quick = false;
        let mut only = None;
        let mut trial = None;
        let mut kinds = Vec::new();
        let mut comparison = None;
        let mut args = args.skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => (plan, quick) = (QUICK, true),
                // Before the others, because one kind has the name of another trial.
                kind if trial.as_deref() == Some("abuse") && abuse::is_trial(kind) => {
                    kinds.push(arg)
                }
                "compare" => {
                    let mut rest: Vec<_> = args.by_ref().collect();
                    // Cargo passes this option to every benchmark, at the end.
                    rest.pop_if(|last| last == "--bench");
                    if rest.first().is_some_and(|first| first == "--quick") {
                        rest.remove(0);
                        quick = true;
                    }
                    comparison = Some(Comparison::read(rest)?);
                    trial = Some(arg);
                }
                "faults" | "sessions" | "abuse" | "guards" => trial = Some(arg),
                "--only" => only = Some(args.next().context("--only what?")?),
                // Cargo passes this option to every benchmark.
                "--bench" => {}
                other => bail!("there is no option {other}"),
            }
        }
        let parts = [
            "start", "direct", "stdio", "modern", "legacy", "rest", "list",
        ];
        if let Some(only) = only.as_deref().filter(|only| !parts.contains(only)) {
            bail!("there is no {only}; there are {}", parts.join(", "));
        }
        Ok(Self {
            trial,
            kinds,
            comparison,
            plan,
            quick,
            only,
        })
    }

    fn wants(&self, part: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == part)
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::read(std::env::args())?;
    // One thread, because the driver shares the machine with the measured process.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    if options.trial.as_deref() == Some("abuse") {
        return runtime.block_on(abuse::run(options.quick, &options.kinds));
    }
    if let Some(trial) = &options.trial {
        let mut figures = Figures::default();
        runtime.block_on(async {
            match trial.as_str() {
                "faults" => faults::run(options.quick, &mut figures).await,
                "compare" => match &options.comparison {
                    Some(comparison) => comparison.run(options.quick, &mut figures).await,
                    None => Ok(()),
                },
                "sessions" => sessions::run(options.quick, &mut figures).await,
                _ => guards::run(options.quick, &mut figures).await,
            }
        })?;
        write!(io::stdout(), "\n{}", figures.table())?;
        return Ok(());
    }
    let figures = runtime.block_on(measure(&options))?;
    let Plan {
        rounds,
        starts,
        sequential,
        load,
        warm_up,
        ..
    } = options.plan;
    let cores = std::thread::available_parallelism()?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "\n{rounds} rounds, interleaved; each: {starts} starts, {warm_up} warm-up calls, \
         {sequential} calls one at a time, {load} calls under load. {cores} cores.\n\n{}",
        figures.table()
    )?;
    Ok(())
}

async fn measure(options: &Options) -> anyhow::Result<Figures> {
    let plan = &options.plan;
    let (_sandbox, address) = Process::listening(&["sandbox", "--listen", "127.0.0.1:0"])?;
    let url = format!("http://{address}/v1");
    let mut figures = Figures::default();
    if options.only.as_deref() == Some("list") {
        list::fill(&url).await?;
    }
    for round in 1..=plan.rounds {
        writeln!(io::stderr(), "round {round} of {}", plan.rounds)?;
        if options.wants("start") {
            stdio::start(&url, plan, &mut figures)?;
        }
        let mut direct = None;
        if options.wants("direct") {
            direct = Some(direct::round(&url, plan, &mut figures).await?);
        }
        if options.wants("stdio") {
            let found = stdio::round(&url, plan, &mut figures)?;
            add_comparison("stdio", direct.as_ref(), &found, &mut figures);
        }
        for (part, generation) in [
            ("modern", Generation::Modern),
            ("legacy", Generation::Legacy),
        ] {
            if options.wants(part) {
                let found = http::round(&url, generation, plan, &mut figures).await?;
                add_comparison(generation.name(), direct.as_ref(), &found, &mut figures);
            }
        }
        // Only by itself: other parts measure a sandbox as it starts.
        if options.only.as_deref() == Some("list") {
            list::round(&url, plan, &mut figures).await?;
        }
        if options.wants("rest") {
            rest::round(&url, address, plan, &mut figures).await?;
        }
    }
    Ok(figures)
}

/// Adds the comparison of a round with the direct calls just before.
fn add_comparison(
    name: &str,
    direct: Option<&RoundResult>,
    found: &RoundResult,
    figures: &mut Figures,
) {
    let Some(direct) = direct else { return };
    let added = format!("{name}: added latency, median, one at a time");
    figures.add(
        &added,
        Unit::Millis,
        Target::AtMost(0.3),
        found.p50 - direct.p50,
    );
    let share = format!("{name}: throughput, share of direct");
    let percent = 100.0 * found.per_second / direct.per_second;
    figures.add(&share, Unit::Percent, Target::AtLeast(25.0), percent);
}

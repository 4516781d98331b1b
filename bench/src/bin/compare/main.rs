//! Larder beside nginx, HAProxy and Varnish: the same work, in one run, in turns.
//!
//! Reading order: `scenario` (what is measured, and what is asked of it), `server` (how each is
//! started), `cell` (how one figure is taken), `load`, `proc`, `table`.

mod cell;
mod load;
mod proc;
mod scenario;
mod server;
mod table;

use std::cell::Cell;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::SystemTime;

use clap::Parser;
use table::{Run, Table};

/// What can go wrong is told to whoever runs this, and nobody else.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// Larder beside nginx, HAProxy and Varnish: the same work, in one run, in turns.
#[derive(Parser, Debug)]
#[command(name = "bench/compare")]
pub struct Options {
    /// A second per cell and two rounds: below five minutes, and good for a first look.
    #[arg(long)]
    quick: bool,
    /// Only these scenarios: 1 to 11, memory, growth.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Threads (or worker processes) of every server. Varnish has no such setting.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Seconds per cell [default: 5, or 1 with --quick].
    #[arg(long)]
    seconds: Option<f64>,
    /// Rounds, of which the median is shown [default: 3, or 2 with --quick].
    #[arg(long)]
    rounds: Option<usize>,
    /// Entries of the scenario `memory` [default: 1000000, or 100000 with --quick].
    #[arg(long)]
    entries: Option<usize>,
    /// Servers on the first core, load and origin on the second.
    #[arg(long)]
    pin: bool,
    /// Print only; keep nothing in bench/results/.
    #[arg(long)]
    discard: bool,
    /// The binary to measure; else the one that is built from this tree.
    #[arg(long)]
    larder: PathBuf,
    /// Where configurations and files go while this runs. bench/compare makes it and removes it.
    #[arg(long, hide = true)]
    work: PathBuf,
}

/// What every scenario needs.
pub struct Bench {
    options: Options,
    work: PathBuf,
    /// The folder bench/ of the repository.
    bench: PathBuf,
    /// Where this program and its siblings are.
    programs: PathBuf,
    origin: SocketAddr,
    /// Servers so far, for names of directories.
    started: Cell<usize>,
}

impl Bench {
    fn seconds(&self) -> f64 {
        self.options.seconds.unwrap_or(if self.options.quick { 1.0 } else { 5.0 })
    }

    fn rounds(&self) -> usize {
        self.options.rounds.unwrap_or(if self.options.quick { 2 } else { 3 })
    }

    /// Of scenarios whose cells have a length of their own.
    fn long_rounds(&self) -> usize {
        self.options.rounds.unwrap_or(if self.options.quick { 1 } else { 3 })
    }

    fn entries(&self) -> usize {
        self.options.entries.unwrap_or(if self.options.quick { 100_000 } else { 1_000_000 })
    }
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut options: Options) -> Outcome<()> {
    // Servers are started in directories of their own.
    options.larder = options.larder.canonicalize()?;
    let mut bench = Bench {
        work: options.work.canonicalize()?,
        bench: PathBuf::from("bench").canonicalize()?,
        programs: std::env::current_exe()?.parent().ok_or("no directory")?.to_owned(),
        origin: SocketAddr::from(([127, 0, 0, 1], 0)),
        started: Cell::new(0),
        options,
    };
    let wanted = scenario::wanted(&bench.options.only)?;
    let _origin = bench.start_origin()?;
    let began = SystemTime::now();
    let mut run = Run::new(began, &bench);
    println!("{}", run.heading());
    let mut failed = Vec::new();
    for scenario in wanted {
        eprintln!("compare: {} {}", scenario.id, scenario.title);
        match (scenario.run)(&bench) {
            Ok(tables) => {
                tables.iter().for_each(|table| println!("{}", table.markdown()));
                run.tables.extend(tables);
            }
            // One server that does not start must not cost the figures of the others.
            Err(error) => failed.push(format!("{}: {error}", scenario.id)),
        }
    }
    run.seconds = began.elapsed().map_or(0.0, |elapsed| elapsed.as_secs_f64());
    run.failed.clone_from(&failed);
    println!("{}", run.summary());
    if !bench.options.discard {
        keep(&bench, &run)?;
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

/// The run as it was printed, and every single cell.
fn keep(bench: &Bench, run: &Run) -> Outcome<()> {
    let folder = bench.bench.join("results");
    fs::create_dir_all(&folder)?;
    let tables: Vec<String> = run.tables.iter().map(Table::markdown).collect();
    let text = format!("{}\n{}\n{}", run.heading(), tables.join("\n"), run.summary());
    fs::write(folder.join(format!("{}.md", run.name)), text)?;
    fs::write(
        folder.join(format!("{}.json", run.name)),
        serde_json::to_string_pretty(run)? + "\n",
    )?;
    eprintln!("compare: kept as bench/results/{}.md and .json", run.name);
    Ok(())
}

/// The first line of what a program tells, wherever it tells it; empty if there is no such program.
fn first_line(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else { return String::new() };
    let told = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&told).lines().next().unwrap_or_default().trim().to_owned()
}

//! The binary: from the arguments to an exit code, and nothing else.

use std::future::Future;
use std::process::ExitCode;

use larder::app::{App, LoadError, Source, environment};
use larder::cli::{self, Command, FAILED, USAGE, print};
use larder::config::{self, Config, Overrides};
use larder::demo;
use larder::server::DrainReport;
use larder::telemetry::{self, EventFormat};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

// Many small allocations of short life on all threads, and a process that lives for months: what
// the system's allocator gives back late, if at all.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = match cli::parse() {
        Ok(command) => command,
        Err(code) => return code,
    };
    match command {
        Command::Run(run) => self::run(&run),
        Command::Check(check) => self::check(&check),
        Command::Schema => schema(),
        Command::Demo(demo) => self::demo(demo),
        Command::Ask(ask) => with_runtime(async move { cli::client::ask(&ask).await }),
    }
}

/// The shape of the runtime: one place, so that it can be measured anew.
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build()
}

fn with_runtime(future: impl Future<Output = ExitCode>) -> ExitCode {
    match runtime() {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => fail(FAILED, &format!("cannot start: {error}")),
    }
}

fn run(run: &cli::Run) -> ExitCode {
    let file = match run.file() {
        Ok(file) => file,
        Err(usage) => return fail(USAGE, &usage),
    };
    let overrides = Overrides {
        origin: run.origin.clone(),
        listen: run.listen.map(|address| address.to_string()),
    };
    let source = Source { file, overrides };
    let (config, warnings) = match source.read() {
        Ok(read) => read,
        Err(error) => return unreadable(&error),
    };
    if let Err(error) = telemetry::init(&config.log.level, EventFormat::Text) {
        return fail(USAGE, &format!("log.level: {error}"));
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    with_runtime(serve(config, source))
}

async fn serve(config: Config, source: Source) -> ExitCode {
    let app = match App::build(config).await {
        Ok(app) => app,
        Err(error) => return fail(FAILED, &error.to_string()),
    };
    match app.run(source, stop_signal()).await {
        Ok(report) => drained(&report),
        Err(error) => fail(FAILED, &error.to_string()),
    }
}

fn drained(report: &DrainReport) -> ExitCode {
    tracing::info!(cut = report.cut, "stopped");
    ExitCode::SUCCESS
}

/// SIGTERM or SIGINT.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

fn check(check: &cli::Check) -> ExitCode {
    let source = Source { file: Some(check.file.clone()), overrides: Overrides::default() };
    match source.read() {
        Ok((config, warnings)) => {
            for warning in warnings {
                print::error(&format!("warning: {warning}"));
            }
            let (routes, bridges) = (config.routes.len(), config.bridges.len());
            let bridges = match bridges {
                0 => String::new(),
                1 => ", 1 bridge".to_owned(),
                more => format!(", {more} bridges"),
            };
            print::out(&format!("{}: valid, {routes} routes{bridges}", check.file.display()));
            ExitCode::SUCCESS
        }
        Err(error) => unreadable(&error),
    }
}

fn schema() -> ExitCode {
    print::out(&format!("{:#}", config::schema::schema()));
    ExitCode::SUCCESS
}

fn demo(options: cli::Demo) -> ExitCode {
    if let Err(error) = telemetry::init("larder=info,warn", EventFormat::Text) {
        return fail(FAILED, &error.to_string());
    }
    with_runtime(async move {
        if options.origin_only { serve_toy(&options).await } else { serve_demo(&options).await }
    })
}

async fn serve_toy(options: &cli::Demo) -> ExitCode {
    let listener = match TcpListener::bind(options.listen).await {
        Ok(listener) => listener,
        Err(error) => {
            return fail(FAILED, &format!("cannot listen on {}: {error}", options.listen));
        }
    };
    tracing::info!(address = %options.listen, "toy origin listening");
    let router = demo::origin(options.delay);
    match axum::serve(listener, router).with_graceful_shutdown(stop_signal()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, &error.to_string()),
    }
}

async fn serve_demo(options: &cli::Demo) -> ExitCode {
    let toy = match TcpListener::bind(("127.0.0.1", 0)).await {
        Ok(listener) => listener,
        Err(error) => return fail(FAILED, &format!("cannot start the toy origin: {error}")),
    };
    let Ok(toy_address) = toy.local_addr() else {
        return fail(FAILED, "the toy origin has no address");
    };
    let router = demo::origin(options.delay);
    tokio::spawn(async move { axum::serve(toy, router).await });

    let text = demo::config(options.listen, options.admin, toy_address);
    let config = match Config::load(Some(("demo", &text)), &Overrides::default(), &environment) {
        Ok((config, _)) => config,
        Err(errors) => return fail(USAGE, &errors.to_string()),
    };
    let app = match App::build(config).await {
        Ok(app) => app,
        Err(error) => {
            let cure = "take other addresses with --listen and --admin";
            return fail(FAILED, &format!("{error}\n{cure}"));
        }
    };
    let addresses = app.address().zip(app.admin_address());
    let (listen, admin) = addresses.unwrap_or((options.listen, options.admin));
    print::out(&demo::tour(listen, admin));
    match app.run(Source::default(), stop_signal()).await {
        Ok(report) => drained(&report),
        Err(error) => fail(FAILED, &error.to_string()),
    }
}

fn unreadable(error: &LoadError) -> ExitCode {
    fail(USAGE, &error.to_string())
}

fn fail(code: u8, what: &str) -> ExitCode {
    print::error(what);
    ExitCode::from(code)
}

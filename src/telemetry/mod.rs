//! The meters: events on standard error, one access line per request on standard output, and the
//! page of metrics. Any room on the busy floor may use this one; it uses none.

pub mod access;
pub mod meter;
pub mod metrics;
pub mod outcome;
pub mod redact;
pub mod scrape;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::Subscriber;

/// Media type of [`metrics::Metrics::encode`].
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EventFormat {
    /// For people: coloured if standard error is a terminal.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why events cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The filter does not parse.
    #[error("not a filter such as `info` or `larder=debug,info`: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody set a subscriber before.
    #[error("events are already being shown: {0}")]
    Twice(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Shows events on standard error from now on: those that `filter` lets through.
///
/// # Errors
/// If the filter does not parse, or if this was called before.
pub fn init(filter: &str, format: EventFormat) -> Result<(), SetupError> {
    let filter = EnvFilter::try_new(filter)?;
    let events = Subscriber::builder().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        EventFormat::Text => {
            let events = events.with_ansi(std::io::stderr().is_terminal());
            tracing::subscriber::set_global_default(events.finish())?;
        }
        EventFormat::Json => {
            let events = events.json().flatten_event(true).with_current_span(false);
            tracing::subscriber::set_global_default(events.finish())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_does_not_parse_is_refused_with_an_example() {
        let error = init("larder=loud", EventFormat::Text).unwrap_err();
        assert!(error.to_string().contains("larder=debug"), "{error}");
    }
}

//! One JSON line per request on standard output, written by a thread of its own.
//!
//! | field | holds |
//! |---|---|
//! | `ts` | when the request came, RFC 3339 in UTC |
//! | `client` | its address |
//! | `method`, `host`, `path` | what it asked for; values of suspicious query parameters are `***` |
//! | `status`, `bytes`, `duration_ms` | what it got, and how long that took to the last byte |
//! | `route`, `verdict`, `reason` | what the cache decided, and why |
//! | `cache_status` | the `Cache-Status` field of the response |
//! | `origin_ms` | how long the origin took, if it was asked |
//! | `request_id` | the request's own id, if it came with one |
//!
//! Never a header field but these, never content. A request never waits for its line: if standard
//! output does not keep up, lines are dropped and counted.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use super::metrics::LOG_DROPPED;
use super::redact::{push_json, push_target};
use super::scrape::{Sample, Scrape};

/// Most bytes of one field.
const FIELD_LIMIT: usize = 2048;

/// Lines that may wait to be written: a fifth of a second at 50,000 requests per second.
const WAITING: usize = 10_000;

/// How often a flush looks again while the queue is full.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What is said about one request.
#[derive(Clone, Copy, Debug)]
pub struct AccessLine<'a> {
    /// When its head had arrived.
    pub at: SystemTime,
    /// Who asked.
    pub client: Option<IpAddr>,
    /// Its method.
    pub method: &'a str,
    /// Its `Host` or `:authority`, as it came.
    pub host: &'a [u8],
    /// Path and query, as they came.
    pub path: &'a str,
    /// Status of the response.
    pub status: u16,
    /// Content bytes sent.
    pub bytes: u64,
    /// To the end of the response.
    pub duration: Duration,
    /// Name of the route.
    pub route: &'a str,
    /// What the cache decided.
    pub verdict: &'a str,
    /// Why; empty if it goes without saying.
    pub reason: &'a str,
    /// The `Cache-Status` field of the response; empty if there was none.
    pub cache_status: &'a [u8],
    /// How long the origin took.
    pub origin: Option<Duration>,
    /// `X-Request-Id` or the like, as it came.
    pub request_id: Option<&'a [u8]>,
}

/// The access log. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct AccessLog {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(String),
    /// Write out what came before, then say so.
    Flush(SyncSender<()>),
}

impl AccessLog {
    /// To standard output.
    pub fn stdout() -> Self {
        Self::to(io::stdout(), WAITING)
    }

    /// To anywhere, with at most `waiting` lines not yet written.
    pub fn to(out: impl Write + Send + 'static, waiting: usize) -> Self {
        let (queue, lines) = sync_channel(waiting);
        let dropped = Arc::new(AtomicU64::new(0));
        let theirs = Arc::clone(&dropped);
        let writer = move || write_all(&lines, out, &theirs);
        // Without its thread the log drops, and counts, every line.
        if let Err(error) = thread::Builder::new().name("access-log".into()).spawn(writer) {
            tracing::error!(%error, "no access log: its thread cannot be started");
        }
        Self { queue, dropped }
    }

    /// Logs a request. Never waits.
    pub fn record(&self, line: AccessLine<'_>) {
        if self.queue.try_send(Message::Line(line.to_json())).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Lines dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Waits, at most so long, until everything recorded before is written. Blocks its thread: for
    /// the end of the process. False if it was not all written.
    pub fn flush(&self, patience: Duration) -> bool {
        let (done, written) = sync_channel(1);
        let mut message = Message::Flush(done);
        let mut left = patience;
        loop {
            match self.queue.try_send(message) {
                Ok(()) => return written.recv_timeout(left).is_ok(),
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(back)) => message = back,
            }
            let Some(rest) = left.checked_sub(LOOK_AGAIN) else { return false };
            left = rest;
            thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Scrape for AccessLog {
    fn scrape(&self) -> Vec<Sample> {
        vec![LOG_DROPPED.sample(&[], self.dropped())]
    }
}

/// The writer's life: until the last [`AccessLog`] is gone.
fn write_all(lines: &Receiver<Message>, out: impl Write, dropped: &AtomicU64) {
    /// What is gathered before it is written, if more lines are waiting.
    const BATCH: usize = 64 * 1024;
    let mut out = out;
    let mut batch = String::with_capacity(BATCH);
    let mut gathered = 0;
    loop {
        // Write as soon as nobody is waiting, and not line by line while somebody is.
        let next = lines.recv_timeout(if gathered == 0 { Duration::MAX } else { Duration::ZERO });
        match next {
            Ok(Message::Line(line)) => {
                batch.push_str(&line);
                gathered += 1;
                if batch.len() < BATCH {
                    continue;
                }
            }
            Ok(Message::Flush(done)) => {
                write_batch(&mut out, &mut batch, &mut gathered, dropped);
                // Whoever asked may have lost patience.
                let _ = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return write_batch(&mut out, &mut batch, &mut gathered, dropped);
            }
        }
        write_batch(&mut out, &mut batch, &mut gathered, dropped);
    }
}

/// Standard output may be gone for good (a closed pipe): the lines are counted, the thread lives.
fn write_batch(out: &mut impl Write, batch: &mut String, gathered: &mut u64, dropped: &AtomicU64) {
    if out.write_all(batch.as_bytes()).and_then(|()| out.flush()).is_err() {
        dropped.fetch_add(*gathered, Relaxed);
    }
    batch.clear();
    *gathered = 0;
}

impl AccessLine<'_> {
    /// The line, with its newline.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(448);
        // Writing into a string does not fail.
        let _ = write!(out, "{{\"ts\":\"{}\"", humantime::format_rfc3339_millis(self.at));
        if let Some(client) = self.client {
            let _ = write!(out, ",\"client\":\"{client}\"");
        }
        text(&mut out, "method", self.method);
        text(&mut out, "host", &String::from_utf8_lossy(capped(self.host)));
        target(&mut out, self.path);
        let _ = write!(out, ",\"status\":{},\"bytes\":{}", self.status, self.bytes);
        millis(&mut out, "duration_ms", self.duration);
        text(&mut out, "route", self.route);
        text(&mut out, "verdict", self.verdict);
        if !self.reason.is_empty() {
            text(&mut out, "reason", self.reason);
        }
        if !self.cache_status.is_empty() {
            text(&mut out, "cache_status", &String::from_utf8_lossy(capped(self.cache_status)));
        }
        if let Some(origin) = self.origin {
            millis(&mut out, "origin_ms", origin);
        }
        if let Some(id) = self.request_id {
            text(&mut out, "request_id", &String::from_utf8_lossy(capped(id)));
        }
        out.push_str("}\n");
        out
    }
}

fn text(out: &mut String, name: &str, value: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":\"");
    push_json(out, value, FIELD_LIMIT);
    out.push('"');
}

fn target(out: &mut String, path: &str) {
    if !path.contains('?') {
        return text(out, "path", path);
    }
    // Hidden values make it shorter, hence the allowance; what is cut off is not looked at.
    let cut = path.floor_char_boundary(2 * FIELD_LIMIT);
    let mut shown = String::with_capacity(cut);
    push_target(&mut shown, &path[..cut]);
    if cut < path.len() {
        shown.push('…');
    }
    text(out, "path", &shown);
}

fn millis(out: &mut String, name: &str, duration: Duration) {
    let _ = write!(out, ",\"{name}\":{:.3}", duration.as_secs_f64() * 1000.0);
}

/// More than is shown (so that the cut shows), less than a megabyte.
fn capped(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(2 * FIELD_LIMIT)]
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};
    use std::time::UNIX_EPOCH;

    use super::*;

    fn line() -> AccessLine<'static> {
        AccessLine {
            at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            client: Some([192, 0, 2, 7].into()),
            method: "GET",
            host: b"shop.test",
            path: "/products/7?token=abc&page=2",
            status: 200,
            bytes: 512,
            duration: Duration::from_micros(1234),
            route: "/products/{id}",
            verdict: "serve",
            reason: "",
            cache_status: b"larder; hit; ttl=42",
            origin: None,
            request_id: None,
        }
    }

    fn parsed(line: AccessLine<'_>) -> serde_json::Value {
        let text = line.to_json();
        assert_eq!(text.find('\n'), Some(text.len() - 1), "one line: {text:?}");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    #[test]
    fn a_line_says_what_was_asked_and_what_became_of_it() {
        assert_eq!(
            line().to_json(),
            "{\"ts\":\"2023-11-14T22:13:20.123Z\",\"client\":\"192.0.2.7\",\"method\":\"GET\",\
             \"host\":\"shop.test\",\"path\":\"/products/7?token=***&page=2\",\"status\":200,\
             \"bytes\":512,\"duration_ms\":1.234,\"route\":\"/products/{id}\",\
             \"verdict\":\"serve\",\"cache_status\":\"larder; hit; ttl=42\"}\n"
        );
        let more = parsed(AccessLine {
            reason: "uri-miss",
            origin: Some(Duration::from_millis(300)),
            request_id: Some(b"abc"),
            client: None,
            ..line()
        });
        assert_eq!(more["reason"], "uri-miss");
        assert_eq!(more["origin_ms"], 300.0);
        assert_eq!(more["request_id"], "abc");
        assert_eq!(more.get("client"), None);
    }

    #[test]
    fn hostile_bytes_stay_inside_their_field() {
        let hostile = b"x\x1b[31m\r\n{\"status\":500}\"\\\xff\xfe\x00".as_slice();
        let text = AccessLine {
            host: hostile,
            request_id: Some(hostile),
            cache_status: hostile,
            path: "/\u{1b}]0;x\u{7}\r\n\"?a=\"\\",
            route: "a\"b",
            ..line()
        };
        let json = text.to_json();
        assert!(!json.contains('\x1b') && !json.contains('\r'), "{json:?}");
        let back = parsed(text);
        assert_eq!(back["status"], 200);
        assert_eq!(back["host"], String::from_utf8_lossy(hostile).as_ref());
        assert_eq!(back["path"], "/\u{1b}]0;x\u{7}\r\n\"?a=\"\\");
    }

    #[test]
    fn a_megabyte_in_any_field_is_cut() {
        let long = "é".repeat(1 << 19);
        let query = format!("/p?secret={long}&q={long}");
        for line in [
            AccessLine { path: &long, ..line() },
            AccessLine { path: &query, ..line() },
            AccessLine { host: long.as_bytes(), ..line() },
            AccessLine { request_id: Some(long.as_bytes()), ..line() },
            AccessLine { cache_status: long.as_bytes(), ..line() },
            AccessLine { method: &long, ..line() },
        ] {
            let json = line.to_json();
            assert!(json.len() < FIELD_LIMIT + 600, "{}", json.len());
            assert!(json.contains('…'), "{json}");
            parsed(line);
        }
        let hidden = parsed(AccessLine { path: &query, ..line() });
        assert_eq!(hidden["path"], "/p?secret=***…");
    }

    /// Takes nothing until it is opened.
    #[derive(Clone, Default)]
    struct Gate(Arc<Inside>);

    #[derive(Default)]
    struct Inside {
        open: Mutex<bool>,
        opened: Condvar,
        written: Mutex<Vec<u8>>,
    }

    impl Gate {
        fn open(&self) {
            *self.0.open.lock().unwrap() = true;
            self.0.opened.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.written.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let open = self.0.open.lock().unwrap();
            drop(self.0.opened.wait_while(open, |open| !*open).unwrap());
            self.0.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn what_was_recorded_is_written_by_the_time_of_a_flush() {
        let gate = Gate::default();
        gate.open();
        let log = AccessLog::to(gate.clone(), 1000);
        for _ in 0..500 {
            log.record(line());
        }
        assert!(log.flush(PATIENCE));
        assert_eq!(gate.text().lines().count(), 500);
        assert_eq!(log.dropped(), 0);
    }

    #[test]
    fn when_nobody_reads_lines_are_dropped_and_counted_and_nobody_waits() {
        let gate = Gate::default();
        let log = AccessLog::to(gate.clone(), 4);
        for _ in 0..100 {
            log.record(line());
        }
        assert!(!log.flush(Duration::ZERO), "nothing can have been written");
        let dropped = log.dropped();
        assert!(dropped > 0);
        assert_eq!(log.scrape()[0].value, dropped.into());
        gate.open();
        assert!(log.flush(PATIENCE));
        assert_eq!(gate.text().lines().count() as u64 + dropped, 100);
    }

    #[test]
    fn a_closed_output_costs_lines_and_nothing_else() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let log = AccessLog::to(Closed, 100);
        for _ in 0..3 {
            log.record(line());
            assert!(log.flush(PATIENCE));
        }
        assert_eq!(log.dropped(), 3);
    }
}

//! The doors between the rooms of `src/`, and the words that quiet rooms do not use.
//!
//! Reads the sources as text: comments, literals and `#[cfg(test)]` items are left out, paths are
//! followed through `use` groups. An alias (`use std::time as t`) would get past it; the ban on
//! methods in `clippy.toml` would not.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The floor plan: each room, and the rooms that it may name (besides itself). `room::Item` allows
/// that item alone, `*` everything.
#[rustfmt::skip]
const ROOMS: &[Room] = &[
    // The quiet floor: nobody awaits, reads a clock or opens a socket.
    quiet("semantics", ""),
    quiet("ledger",    "semantics"),
    quiet("config",    "semantics"),
    quiet("key",       "semantics ledger config"),
    quiet("plan",      "semantics ledger config key error store::Entry store::Record store::Varies"),
    // Between the floors: what both need.
    busy("body",       ""),
    busy("error",      ""),
    busy("clock",      "semantics"),
    busy("peer",       ""),
    busy("fast",       ""),
    busy("idle",       "body"),
    // The busy floor.
    busy("telemetry",  "semantics config clock"),
    busy("server",     "config body error clock peer fast idle telemetry"),
    busy("origin",     "semantics config body error clock peer idle telemetry"),
    busy("store",      "semantics ledger config key clock"),
    busy("layers",     "semantics ledger config key plan store body error clock peer fast idle telemetry"),
    busy("admin",      "semantics ledger config key plan store error clock telemetry"),
    busy("demo",       "body clock"),
    // Where it is put together.
    busy("stack",      "*"),
    busy("app",        "*"),
    busy("cli",        "*"),
    busy("main",       "*"),
    busy("lib",        "*"),
];

/// Words that have no business on the quiet floor, and what they do.
#[rustfmt::skip]
const LOUD: &[(&str, &[&str])] = &[
    ("waits",           &["async", "await", "tokio"]),
    ("asks the time",   &["SystemTime", "Instant"]),
    ("opens a socket",  &["TcpStream", "TcpListener", "UdpSocket", "UnixStream", "hyper", "redis"]),
    ("speaks",          &["tracing", "println", "eprintln", "dbg"]),
];

/// Paths that only few places may use, and which (separated by blanks).
#[rustfmt::skip]
const RESERVED: &[(&str, &str)] = &[
    ("redis",           "store/valkey"),
    ("hyper::server",   "server admin/listener"),
    ("SystemTime::now", "clock"),
];

struct Room {
    name: &'static str,
    is_quiet: bool,
    /// Separated by blanks.
    may_name: &'static str,
}

const fn quiet(name: &'static str, may_name: &'static str) -> Room {
    Room { name, is_quiet: true, may_name }
}

const fn busy(name: &'static str, may_name: &'static str) -> Room {
    Room { name, is_quiet: false, may_name }
}

#[test]
fn every_arrow_points_the_way_the_floor_plan_says() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&src);
    assert!(files.len() >= 10, "only {} files found below {}", files.len(), src.display());
    let mut offences = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file is readable");
        let name = file.strip_prefix(&src).expect("it was found there");
        offences.extend(inspect(&name.to_string_lossy().replace('\\', "/"), &text));
    }
    let list: Vec<String> = offences.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{} offences:\n{}", list.len(), list.join("\n"));
}

#[test]
fn planted_offences_are_found() {
    for (file, text, expected) in PLANTED {
        let found: Vec<String> = inspect(file, text).iter().map(ToString::to_string).collect();
        assert_eq!(found, *expected, "in\n{text}");
    }
}

/// File, text, and the offences to be found in it.
#[rustfmt::skip]
const PLANTED: &[(&str, &str, &[&str])] = &[
    // Arrows.
    (
        "key/mod.rs",
        "use crate::ledger::Position;\nuse crate::store::Entry;",
        &["src/key/mod.rs:2: key may not name crate::store::Entry"],
    ),
    (
        "key/url.rs",
        "use crate::{\n    config::Route,\n    store::{self, Record},\n};",
        &[
            "src/key/url.rs:3: key may not name crate::store::self",
            "src/key/url.rs:3: key may not name crate::store::Record",
        ],
    ),
    (
        "semantics/age.rs",
        "fn f() -> u8 { crate::clock::now() }",
        &["src/semantics/age.rs:1: semantics may not name crate::clock::now"],
    ),
    ("plan/mod.rs", "use crate::store::{Entry, Record, Varies};", &[]),
    (
        "plan/mod.rs",
        "use crate::store::Store;",
        &["src/plan/mod.rs:1: plan may not name crate::store::Store"],
    ),
    (
        "plan/mod.rs",
        "use crate::store::*;",
        &["src/plan/mod.rs:1: plan may not name crate::store::*"],
    ),
    (
        "origin/pool.rs",
        "use super::super::store::Store;",
        &["src/origin/pool.rs:1: origin may not name crate::store::Store"],
    ),
    (
        "store.rs",
        "use super::layers::cache;",
        &["src/store.rs:1: store may not name crate::layers::cache"],
    ),
    ("key/url.rs", "use super::query; mod inner { use super::super::Key; }", &[]),
    (
        "admin/mod.rs",
        "use larder::layers;",
        &["src/admin/mod.rs:1: admin may not name crate::layers"],
    ),
    ("key/mod.rs", "use crate::Config;", &["src/key/mod.rs:1: key may not name crate::Config"]),
    ("app.rs", "use crate::anything::at::all;", &[]),
    ("attic/mod.rs", "", &["src/attic/mod.rs:1: attic has no row in the floor plan of this test"]),
    // Loud words.
    (
        "ledger/mod.rs",
        "pub async fn f() {\n    g().await\n}",
        &[
            "src/ledger/mod.rs:1: ledger is quiet, and async waits",
            "src/ledger/mod.rs:2: ledger is quiet, and await waits",
        ],
    ),
    (
        "config/file.rs",
        "use std::net::{SocketAddr, TcpStream};\nuse std::time::Instant;",
        &[
            "src/config/file.rs:1: config is quiet, and TcpStream opens a socket",
            "src/config/file.rs:2: config is quiet, and Instant asks the time",
        ],
    ),
    (
        "plan/mod.rs",
        "fn f() { tracing::warn!(\"x\"); println!(); tokio::spawn(g()); }",
        &[
            "src/plan/mod.rs:1: plan is quiet, and tracing speaks",
            "src/plan/mod.rs:1: plan is quiet, and println speaks",
            "src/plan/mod.rs:1: plan is quiet, and tokio waits",
        ],
    ),
    ("server/mod.rs", "pub async fn f() { tokio::spawn(g()).await }", &[]),
    // Reserved paths.
    (
        "store/tiered.rs",
        "use redis::aio;",
        &["src/store/tiered.rs:1: redis belongs to src/store/valkey"],
    ),
    ("store/valkey/mod.rs", "use redis::aio;", &[]),
    ("store/valkey.rs", "use redis::aio;", &[]),
    ("store/mod.rs", "fn redis() { redis() }", &[]),
    (
        "layers/mod.rs",
        "use hyper::{body::Body, server::conn};",
        &["src/layers/mod.rs:1: hyper::server belongs to src/server"],
    ),
    ("server/mod.rs", "use hyper::server::conn;", &[]),
    (
        "admin/mod.rs",
        "fn f() { std::time::SystemTime::now(); }",
        &["src/admin/mod.rs:1: SystemTime::now belongs to src/clock"],
    ),
    ("clock.rs", "fn f() { SystemTime::now(); }", &[]),
    // What is no code, or not shipped.
    ("semantics/mod.rs", "//! [`crate::store`] async\n/* crate::app /* tokio */ await */", &[]),
    (
        "semantics/mod.rs",
        r##"const A: &str = "crate::app \" tokio"; const B: &str = r#"" await"#;"##,
        &[],
    ),
    (
        "semantics/mod.rs",
        "fn f<'a>(x: &'a str) -> char { '\"' } use crate::app::App;",
        &["src/semantics/mod.rs:1: semantics may not name crate::app::App"],
    ),
    (
        "semantics/mod.rs",
        "#[cfg(test)]\nmod tests { use crate::app; fn f() { tokio } }\nuse crate::app::App;",
        &["src/semantics/mod.rs:3: semantics may not name crate::app::App"],
    ),
    (
        "semantics/mod.rs",
        "#[cfg(test)]\n#[path = \"x\"]\nmod tests;\nuse crate::app::App;",
        &["src/semantics/mod.rs:4: semantics may not name crate::app::App"],
    ),
    ("semantics/tests.rs", "use crate::app::App;", &[]),
];

/// One broken rule.
struct Offence {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: {}", self.file, self.line, self.what)
    }
}

/// All offences in a file, by line. `file` is relative to `src`.
fn inspect(file: &str, text: &str) -> Vec<Offence> {
    if file.split('/').any(|piece| matches!(piece, "tests.rs" | "tests")) {
        return Vec::new();
    }
    let offence = |line, what| Offence { file: file.to_owned(), line, what };
    let place = file.trim_end_matches(".rs").trim_end_matches("/mod");
    let here = place.split('/').next().unwrap_or(place);
    let Some(room) = ROOMS.iter().find(|room| room.name == here) else {
        return vec![offence(1, format!("{here} has no row in the floor plan of this test"))];
    };

    let words = without_tests(words(text));
    let mut offences = Vec::new();
    if room.is_quiet {
        for (line, word, does) in words.iter().filter_map(loud) {
            offences.push(offence(line, format!("{here} is quiet, and {word} {does}")));
        }
    }
    for path in paths(&words) {
        if let Some(target) = path.in_house(place)
            && !room.may_name(&target)
        {
            offences.push(offence(path.line, format!("{here} may not name crate::{target}")));
        }
        for (reserved, owners) in RESERVED {
            let is_owner = owners
                .split(' ')
                .any(|owner| place == owner || place.starts_with(&format!("{owner}/")));
            if !is_owner && path.runs_through(reserved) {
                let owner = owners.split(' ').next().unwrap_or_default();
                offences.push(offence(path.line, format!("{reserved} belongs to src/{owner}")));
            }
        }
    }
    offences.sort_by_key(|offence| offence.line);
    offences
}

/// Line, word and what it does, if it is loud.
fn loud(word: &Word) -> Option<(usize, &str, &'static str)> {
    let (does, _) = LOUD.iter().find(|(_, words)| words.contains(&word.text.as_str()))?;
    Some((word.line, &word.text, does))
}

impl Room {
    /// `target` is a path below the crate's root.
    fn may_name(&self, target: &str) -> bool {
        let is_below = |allowed: &str| {
            let rest = target.strip_prefix(allowed);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let mut allowed = self.may_name.split_whitespace();
        is_below(self.name) || allowed.any(|allowed| allowed == "*" || is_below(allowed))
    }
}

/// A path as it stands in the code, `use` groups spread out.
struct Found {
    steps: Vec<String>,
    line: usize,
    /// Inline modules around it.
    depth: usize,
}

impl Found {
    /// The path below the crate's root, if it starts there or climbs up to it.
    fn in_house(&self, place: &str) -> Option<String> {
        let climbs = self.steps.iter().take_while(|step| *step == "super").count();
        let to_root = place.split('/').count() + self.depth;
        let skipped = match self.steps.first()?.as_str() {
            "crate" | "larder" => 1,
            "super" if climbs == to_root => climbs,
            _ => return None,
        };
        Some(self.steps[skipped..].join("::")).filter(|target| !target.is_empty())
    }

    /// Does the path start with, or contain behind other steps, `reserved::`… or its last step?
    fn runs_through(&self, reserved: &str) -> bool {
        let wanted: Vec<&str> = reserved.split("::").collect();
        let starts = match wanted.len() {
            // A single name is a crate: it counts where a path begins.
            1 => 1,
            _ => self.steps.len(),
        };
        (0..starts).any(|at| {
            self.steps.len() >= at + wanted.len()
                && self.steps[at..].iter().zip(&wanted).all(|(step, wanted)| step == wanted)
        })
    }
}

/// All paths of two steps or more.
fn paths(words: &[Word]) -> Vec<Found> {
    let mut found = Vec::new();
    // For each open brace: is it an inline module's?
    let mut braces = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        match word.text.as_str() {
            "{" => braces.push(at >= 2 && words[at - 2].text == "mod"),
            "}" => drop(braces.pop()),
            _ => {}
        }
        if word.is_name() && words.get(at + 1).is_some_and(|next| next.text == "::") {
            let depth = braces.iter().filter(|is_module| **is_module).count();
            at = spread(words, at, &[], depth, &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Follows one path or branch of a `use` tree; returns where the text goes on.
fn spread(
    words: &[Word],
    mut at: usize,
    stem: &[String],
    depth: usize,
    found: &mut Vec<Found>,
) -> usize {
    let mut steps = stem.to_vec();
    let mut line = 0;
    while let Some(word) = words.get(at) {
        if word.text == "{" {
            at += 1;
            while words.get(at).is_some_and(|word| word.text != "}") {
                let is_branch = words[at].is_name() || matches!(words[at].text.as_str(), "*" | "{");
                at = if is_branch { spread(words, at, &steps, depth, found) } else { at + 1 };
            }
            return at + 1;
        }
        if !word.is_name() && word.text != "*" {
            break;
        }
        steps.push(word.text.clone());
        line = word.line;
        at += 1;
        let goes_on = words.get(at).is_some_and(|word| word.text == "::");
        let next_is_step = words
            .get(at + 1)
            .is_some_and(|next| next.is_name() || matches!(next.text.as_str(), "{" | "*"));
        if !(goes_on && next_is_step) {
            break;
        }
        at += 1;
    }
    found.push(Found { steps, line, depth });
    at
}

/// A name or a mark of the source, without blanks, comments and literals.
struct Word {
    text: String,
    line: usize,
}

impl Word {
    fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let skipped = blank_len(rest);
        let length = skipped.unwrap_or_else(|| word_len(rest, first));
        let (piece, after) = rest.split_at(length);
        if skipped.is_none() {
            words.push(Word { text: piece.to_owned(), line });
        }
        line += piece.matches('\n').count();
        rest = after;
    }
    words
}

/// Length of a name, a number, `::`, or a single character.
fn word_len(rest: &str, first: char) -> usize {
    if rest.starts_with("::") {
        return 2;
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    end.max(first.len_utf8())
}

/// Length of what is no code at the start of the text: blanks, a comment, a literal, a lifetime.
fn blank_len(rest: &str) -> Option<usize> {
    let all = rest.len();
    let first = rest.chars().next()?;
    if first.is_whitespace() {
        return Some(first.len_utf8());
    }
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(all));
    }
    if rest.starts_with("/*") {
        return Some(block_comment_len(rest));
    }
    if let Some(opening) = raw_opening(rest) {
        let closing = opening.trim_start_matches(['b', 'c', 'r']).chars().rev().collect::<String>();
        let end = rest[opening.len()..].find(&closing).map(|at| at + closing.len());
        return Some(opening.len() + end.unwrap_or(all - opening.len()));
    }
    let prefix = rest.len() - rest.trim_start_matches(['b', 'c']).len();
    match rest[prefix..].chars().next() {
        Some('"') if prefix <= 1 => Some(prefix + quoted_len(&rest[prefix..], '"')),
        Some('\'') if prefix <= 1 => Some(prefix + char_or_lifetime_len(&rest[prefix..])),
        _ => None,
    }
}

fn block_comment_len(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let tail = &rest.as_bytes()[at..];
        at += if tail.starts_with(b"/*") {
            depth += 1;
            2
        } else if tail.starts_with(b"*/") {
            depth -= 1;
            2
        } else {
            1
        };
        if depth == 0 {
            break;
        }
    }
    at
}

/// `r"`, `br#"` and the like.
fn raw_opening(rest: &str) -> Option<&str> {
    let start = ["r", "br", "cr"].into_iter().find(|start| {
        let after = rest.strip_prefix(start);
        after.is_some_and(|after| after.trim_start_matches('#').starts_with('"'))
    })?;
    rest.get(..=start.len() + rest[start.len()..].find('"')?)
}

fn quoted_len(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn char_or_lifetime_len(rest: &str) -> usize {
    let mut chars = rest.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) | (_, Some('\'')) => quoted_len(rest, '\''),
        _ => 1 + word_len(&rest[1..], 'x'),
    }
}

/// Leaves out the item behind each `#[cfg(test)]`.
fn without_tests(words: Vec<Word>) -> Vec<Word> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        kept.push(word);
        let start = kept.len().saturating_sub(MARK.len());
        if !kept[start..].iter().map(|word| word.text.as_str()).eq(MARK) {
            continue;
        }
        kept.truncate(start);
        let mut depth = 0;
        // Up to the end of the item, or to that of what it stands in.
        while words.peek().is_some_and(|next| depth > 0 || next.text != "}") {
            let Some(word) = words.next() else { break };
            match word.text.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            if depth == 0 && matches!(word.text.as_str(), "}" | ";") {
                break;
            }
        }
    }
    kept
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("src is readable") {
        let path = entry.expect("its entries are readable").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

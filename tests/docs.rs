//! The documentation speaks of what is there: metrics, words, files, configurations, lifetimes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use larder::config::{Config, Overrides};
use larder::key::Digest;
use larder::plan::Outcome;
use larder::plan::response::{Answer, Asked, settle};
use larder::semantics::time::Timestamp;
use larder::telemetry::metrics::TABLE;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    let full = root().join(path);
    fs::read_to_string(&full).unwrap_or_else(|why| panic!("{}: {why}", full.display()))
}

/// The files of a folder that end so, as paths from the root.
fn files(folder: &str, ending: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|why| panic!("{folder}: {why}"));
    let mut found: Vec<String> = entries
        .map(|entry| entry.expect("a readable folder").file_name().into_string().expect("UTF-8"))
        .filter(|name| name.ends_with(ending))
        .map(|name| if folder == "." { name } else { format!("{folder}/{name}") })
        .collect();
    found.sort();
    found
}

/// Everything that is prose.
fn pages() -> Vec<String> {
    [".", "docs", "docs/decisions"].iter().flat_map(|folder| files(folder, ".md")).collect()
}

/// Text between backquotes, fenced blocks left out.
fn code_spans(text: &str) -> BTreeSet<&str> {
    text.split("\n```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2)).collect()
}

// --- metrics ---

#[test]
fn every_metric_is_explained_and_nothing_is_explained_that_is_no_metric() {
    let page = read("docs/operations.md");
    let explained: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `larder_")?.split('`').next())
        .collect();
    let exposed: BTreeSet<&str> =
        TABLE.iter().filter_map(|metric| metric.name.strip_prefix("larder_")).collect();
    assert_eq!(explained, exposed);
}

#[test]
fn every_metric_is_explained_with_its_labels() {
    let page = read("docs/operations.md");
    for metric in TABLE {
        let start = format!("| `{}` |", metric.name);
        let row = page.lines().find(|line| line.starts_with(&start)).unwrap_or(&start);
        let labels = row.split('|').nth(2).unwrap_or_default();
        let told: Vec<&str> = labels.split('`').skip(1).step_by(2).collect();
        assert_eq!(told, metric.labels, "{row}");
    }
}

#[test]
fn alerts_and_queries_name_metrics_that_exist() {
    for page in pages() {
        let text = read(&page);
        for (at, _) in text.match_indices("larder_") {
            let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
            let name = text[at..].split(|c| !is_name(c)).next().unwrap_or_default();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let known = |name: &str| TABLE.iter().any(|metric| metric.name == name);
            assert!(known(name) || base.is_some_and(known), "{page} names {name}");
        }
    }
}

// --- words ---

/// The words that an enum's `as_str` gives out, read from its source: what is added there must be
/// explained here.
fn words(file: &str, start: &str) -> Vec<String> {
    let text = read(file);
    let from = text.find(start).unwrap_or_else(|| panic!("{file} has no {start:?}"));
    let body = &text[from..];
    let body = &body[..body.find("\n}\n").unwrap_or(body.len())];
    let arms =
        body.lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split_once("=> \""));
    let found: Vec<String> =
        arms.map(|(_, rest)| rest.split('"').next().unwrap_or_default().to_owned()).collect();
    assert!(!found.is_empty(), "{file}: no words behind {start:?}");
    found
}

#[test]
fn every_reason_is_explained() {
    let explained = [read("docs/troubleshooting.md"), read("docs/life-of-a-request.md")];
    let explained: BTreeSet<&str> = explained.iter().flat_map(|text| code_spans(text)).collect();
    for (file, start) in [
        ("src/plan/mod.rs", "impl PassReason"),
        ("src/plan/mod.rs", "impl StaleReason"),
        ("src/plan/mod.rs", "impl FetchReason"),
        ("src/plan/mod.rs", "impl NotShared"),
        ("src/semantics/storable.rs", "impl NotStorable"),
        ("src/ledger/mod.rs", "impl Doubt"),
    ] {
        for word in words(file, start) {
            assert!(explained.contains(&*word), "{word}, of {start} in {file}, is not explained");
        }
    }
}

#[test]
fn every_plan_is_explained() {
    let text = read("src/plan/mod.rs");
    let from = text.find("pub enum Plan {").expect("plan has its enum");
    let body = &text[from..];
    let body = &body[..body.find("\n}").expect("an enum ends")];
    let names: Vec<&str> = body
        .lines()
        .skip(1)
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
        .map(|line| line.trim_end_matches(',').split('(').next().unwrap_or_default())
        .collect();
    assert!(names.len() >= 6, "{names:?}");
    let page = read("docs/life-of-a-request.md");
    for name in names {
        assert!(page.contains(name), "{name} is not in docs/life-of-a-request.md");
    }
}

// --- files ---

#[test]
fn every_link_leads_somewhere() {
    for page in pages() {
        let text = read(&page);
        let folder = Path::new(&page).parent().unwrap_or_else(|| Path::new(""));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = if path.is_empty() { page.clone().into() } else { folder.join(path) };
            assert!(root().join(&file).exists(), "{page} links to {link}");
            if !anchor.is_empty() {
                let target = read(file.to_str().expect("UTF-8"));
                let known = target.lines().any(|line| heading(line).as_deref() == Some(anchor));
                assert!(known, "{page} links to {link}: there is no such heading");
            }
        }
    }
}

/// The anchor of a heading.
fn heading(line: &str) -> Option<String> {
    let title = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?;
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    Some(kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect())
}

// --- configurations ---

fn load(name: &str, text: &str) -> Config {
    let env = |_: &str| Some("from-the-environment".to_owned());
    match Config::load(Some((name, text)), &Overrides::default(), &env) {
        Ok((config, warnings)) if warnings.is_empty() => config,
        Ok((_, warnings)) => {
            let told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
            panic!("{}", told.join("\n"));
        }
        Err(errors) => panic!("{errors}"),
    }
}

#[test]
fn every_configuration_that_we_hand_out_is_valid_and_without_warnings() {
    let mut all = files("examples", ".toml");
    assert!(all.len() >= 5, "{all:?}");
    all.extend(["proxy.toml".to_owned(), "deploy/compose.toml".to_owned()]);
    for file in all {
        load(&file, &read(&file));
    }
}

#[test]
fn every_example_is_named_in_the_documentation() {
    let page = read("docs/configuration.md");
    for file in files("examples", "") {
        assert!(page.contains(&format!("(../{file})")), "{file} is not in docs/configuration.md");
    }
}

#[test]
fn configurations_in_the_text_are_valid() {
    for page in pages() {
        let text = read(&page);
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap_or_default();
            // A part of a file is shown without what every file has.
            let origin = "[origin]\nurl = \"http://127.0.0.1:3000\"\n";
            let whole = if block.contains("[origin]") {
                block.to_owned()
            } else {
                format!("{block}\n{origin}")
            };
            load(&page, &whole);
        }
    }
}

// --- lifetimes ---

/// Soft and hard expiry and the end of stale-if-error of a response that says this, in seconds.
fn lifetimes(config: &Config, cache_control: &str) -> String {
    let route = config.routes.first().expect("a route");
    let received = Timestamp::from_millis(1_000_000);
    let mut headers = HeaderMap::new();
    if !cache_control.starts_with('(') {
        let value = HeaderValue::from_str(cache_control).expect("a field value");
        headers.append(CACHE_CONTROL, value);
    }
    let asked = Asked {
        route,
        digest: Digest([7; 16]),
        method: &Method::GET,
        headers: &HeaderMap::new(),
        sent: received,
        validating: None,
    };
    let answer = Answer {
        status: StatusCode::OK,
        headers: &headers,
        length: Some(2),
        close_delimited: false,
        received,
    };
    match settle(&asked, &answer) {
        Outcome::Store(times) => {
            let seconds = |until: Timestamp| until.since(received).as_secs();
            let [fresh, stale, error] =
                [times.fresh_until, times.stale_until, times.error_until].map(seconds);
            format!("{fresh} / {stale} / {error}")
        }
        _ => "not stored".to_owned(),
    }
}

#[test]
fn the_table_of_lifetimes_is_what_is_computed() {
    let page = read("docs/configuration.md");
    let rows: Vec<&str> = page
        .lines()
        .skip_while(|line| !line.starts_with("| `Cache-Control` of the response"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(rows.len() >= 10, "{rows:?}");
    let config = |authority: &str| {
        let text = format!(
            "[origin]\nurl = \"http://127.0.0.1:3000\"\n[[route]]\npath = \"/p\"\n\
             soft_ttl = \"60s\"\nhard_ttl = \"10m\"\nstale_if_error = \"1h\"\njitter = 0\n\
             freshness = \"{authority}\"\n"
        );
        let config = load("the table", &text);
        let freshness = &config.routes.first().expect("a route").freshness;
        assert_eq!(freshness.hard_ttl, Some(Duration::from_secs(600)));
        config
    };
    let (by_origin, by_route) = (config("origin"), config("route"));
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, said, origin, route, _] = cells[..] else { panic!("{row}") };
        let said = said.trim_matches('`');
        assert_eq!(lifetimes(&by_origin, said), origin, "{row}");
        assert_eq!(lifetimes(&by_route, said), route, "{row}");
    }
}

// --- races ---

/// All functions that there are, by name.
fn functions() -> BTreeSet<String> {
    fn collect(folder: &Path, into: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                collect(&path, into);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).expect("a readable file");
                let names =
                    text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
                into.extend(names.map(str::to_owned));
            }
        }
    }
    let mut names = BTreeSet::new();
    ["src", "tests"].iter().for_each(|folder| collect(&root().join(folder), &mut names));
    names
}

#[test]
fn every_race_is_shown_closed_by_tests_that_exist_or_says_in_what_it_is_not() {
    let (page, functions) = (read("docs/consistency.md"), functions());
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| {
            line.starts_with("| ") && line.as_bytes().get(2).is_some_and(u8::is_ascii_digit)
        })
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let numbers: Vec<String> = rows.iter().map(|row| row[0].to_owned()).collect();
    assert_eq!(numbers, (1..=31).map(|n| n.to_string()).collect::<Vec<_>>());
    for row in &rows {
        let shown = row.last().expect("four cells");
        let names = code_spans(shown);
        let missing: Vec<_> = names.iter().filter(|name| !functions.contains(**name)).collect();
        assert!(missing.is_empty(), "race {}: there is no {missing:?}", row[0]);
        let said = row[2].contains("not closed") || row[2].contains("not used");
        assert!(!names.is_empty() || (said && shown.starts_with('–')), "race {}: {shown}", row[0]);
    }
}

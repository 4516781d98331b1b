//! What an operator meets: the reference file, and the answer to a file full of mistakes.

use std::collections::BTreeSet;

use larder::config::knobs::{Preset, SECTIONS, Section, Shape};
use larder::config::{Config, ConfigErrors, Overrides, Warning, reference, schema};
use proptest::prelude::*;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/proxy.toml");

fn load(text: &str) -> Result<(Config, Vec<Warning>), ConfigErrors> {
    Config::load(Some(("proxy.toml", text)), &Overrides::default(), &|_| None)
}

fn reference_file() -> String {
    std::fs::read_to_string(REFERENCE).expect("proxy.toml at the root")
}

#[test]
fn the_reference_says_what_the_knobs_say() {
    if std::env::var_os("LARDER_WRITE_REFERENCE").is_some() {
        std::fs::write(REFERENCE, reference::reference()).unwrap();
    }
    let same = reference_file() == reference::reference();
    assert!(same, "run LARDER_WRITE_REFERENCE=1 cargo test --test config, and look at the change");
}

#[test]
fn the_reference_is_a_configuration_and_warns_of_nothing() {
    let (config, warnings) = load(&reference_file()).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(warnings.is_empty(), "{warnings:?}");
    let names: Vec<_> = config.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names, ["/products/{id}", "/products", "/search", "/account/{*rest}"]);
}

#[test]
fn what_the_reference_sets_is_what_holds_without_it() {
    let (reference, _) = load(&reference_file()).unwrap();
    let (bare, _) = load("[origin]\nurl = \"http://127.0.0.1:3000\"\n").unwrap();
    let settings = |c: &Config| {
        format!(
            "{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}",
            c.listen, c.origin, c.store, c.admin, c.limits, c.log
        )
    };
    assert_eq!(settings(&reference), settings(&bare));
}

/// The lines of a table of the reference, comments stripped of their `# `.
fn lines_of<'t>(text: &'t str, section: &Section) -> Vec<&'t str> {
    let plain = |line: &'t str| line.strip_prefix("# ").unwrap_or(line);
    let mut within = section.shape == Shape::Top;
    let mut lines = Vec::new();
    for line in text.lines().map(plain) {
        if let Some(header) = line.strip_prefix('[').filter(|_| line.ends_with(']')) {
            let name = header.trim_matches(['[', ']']).split('.').next().unwrap_or_default();
            within = name == section.name;
        } else if within {
            lines.push(line);
        }
    }
    lines
}

#[test]
fn the_reference_shows_every_knob_with_its_default_and_its_sentences() {
    let text = reference_file();
    // What a class may say stands there once, not again under the routes.
    let shared = SECTIONS.iter().find(|s| s.shape == Shape::Named).unwrap();
    for section in SECTIONS {
        let lines = lines_of(&text, section);
        for knob in section.knobs() {
            if section.shape == Shape::Many && shared.knob(knob.key).is_some() {
                continue;
            }
            let place = format!("{} {}", section.title(), knob.key);
            let start = format!("{} = ", knob.key);
            let at = lines.iter().position(|l| l.starts_with(&start)).expect(&place);
            let above = lines[..at].join(" ");
            assert!(above.contains(knob.says) && above.contains(knob.turn), "{place}");
            let (Preset::Is(value) | Preset::Unset(value) | Preset::Required(value)) = knob.preset;
            let shown = lines[at] == format!("{start}{value}");
            let told = above.ends_with(&format!("Default: {value}."));
            assert!(shown || told, "{place}: {}", lines[at]);
        }
    }
}

/// Every key in the reference, given or behind a `#`.
#[test]
fn the_schema_knows_every_key_of_the_reference() {
    let schema = schema::schema();
    let table: toml::Table = toml::from_str(&uncommented(&reference_file())).unwrap();
    let mut seen = BTreeSet::new();
    walk(&toml::Value::Table(table), &schema, "", &mut seen);
    let known: usize = SECTIONS.iter().map(|section| section.knobs().count()).sum();
    let shared = SECTIONS.iter().find(|s| s.shape == Shape::Named).unwrap().knobs().count();
    assert!(seen.len() >= known - shared, "{} of {known}", seen.len());
}

/// The reference with every key given, those of one route all in one.
fn uncommented(text: &str) -> String {
    let mut full = String::new();
    let mut given = BTreeSet::new();
    for line in text.lines() {
        let plain = line.strip_prefix("# ").unwrap_or(line);
        let is_header = plain.starts_with('[') && plain.ends_with(']') && !plain.contains(' ');
        let key = plain.split_once(" = ").map(|(key, _)| key);
        let is_key = key.is_some_and(|key| {
            key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'.')
        });
        if is_header {
            given.clear();
        }
        if is_header || (is_key && given.insert(key)) {
            full.push_str(plain);
            full.push('\n');
        }
    }
    full
}

/// A validator for as much of JSON Schema as ours uses, but for the forms of texts.
fn walk(value: &toml::Value, schema: &serde_json::Value, at: &str, seen: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            assert_eq!(schema["type"], "object", "{at}");
            for (key, value) in table {
                let place = format!("{at}/{key}");
                let known = schema["properties"].get(key).or_else(|| {
                    schema.get("additionalProperties").filter(|schema| schema.is_object())
                });
                let known = known.unwrap_or_else(|| panic!("{place} is not in the schema"));
                walk(value, known, &place, seen);
            }
        }
        toml::Value::Array(items) => {
            assert_eq!(schema["type"], "array", "{at}");
            seen.insert(at.to_owned());
            items.iter().for_each(|item| walk(item, &schema["items"], at, seen));
        }
        scalar => {
            seen.insert(at.to_owned());
            let takes = |schema: &serde_json::Value| match scalar {
                toml::Value::String(text) => {
                    let words = schema["enum"].as_array();
                    schema["type"] == "string"
                        && words.is_none_or(|words| words.iter().any(|word| word == text.as_str()))
                }
                toml::Value::Integer(_) => schema["type"] == "integer",
                toml::Value::Boolean(_) => schema["type"] == "boolean",
                _ => false,
            };
            let any = schema["anyOf"].as_array();
            assert!(any.map_or_else(|| takes(schema), |any| any.iter().any(takes)), "{at}");
        }
    }
}

fn expect_report(name: &str, expected: &str) {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("a fixture");
    let loaded = Config::load(Some((name, &text)), &Overrides::default(), &|_| None);
    let said = loaded.expect_err("mistakes").to_string();
    assert!(said == expected, "expected\n\n{expected}\n\nfound\n\n{said}");
}

#[test]
fn six_mistakes_are_told_at_once() {
    expect_report("six_mistakes.toml", SIX_MISTAKES);
}

#[test]
fn broken_syntax_does_not_hide_other_mistakes() {
    expect_report("broken_syntax.toml", BROKEN_SYNTAX);
}

#[test]
fn colours_are_only_there_when_asked_for() {
    let errors = load("listen = 1").unwrap_err();
    assert!(errors.render(true).contains('\u{1b}'));
    assert!(!errors.render(false).contains('\u{1b}'));
    assert_eq!(errors.count(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = load(&text).map_err(|errors| errors.render(true));
    }

    #[test]
    fn no_damage_to_the_reference_makes_it_panic(
        at in any::<prop::sample::Index>(),
        length in 0_usize..40,
        with in prop::sample::select(vec![
            "", "\"", "[", "]", "{", "}", "=", "\n", "${", "$${X}", "é", "\u{feff}", "0", "-1", "[[",
            "'''", "\"\"\"", "#", ".", "{*", "{$.", "\r\n", "nan", "\\u0000",
        ]),
    ) {
        let text = uncommented(&reference::reference());
        let start = text.floor_char_boundary(at.index(text.len()));
        let end = text.floor_char_boundary((start + length).min(text.len()));
        let damaged = format!("{}{with}{}", &text[..start], &text[end..]);
        let _ = load(&damaged).map_err(|errors| errors.render(false));
    }
}

const SIX_MISTAKES: &str = r#"error: `listen` does not take this value
 --> six_mistakes.toml:1:10
  |
1 | listen = "localhost:8080"
  |          ^^^^^^^^^^^^^^^^ expected an address and port, such as "127.0.0.1:8080"
  |
  = help: write "127.0.0.1:8080"

error: unknown key `tiemout` in [origin]
 --> six_mistakes.toml:5:1
  |
5 | tiemout = "30s"
  | ^^^^^^^ no such key
  |
  = help: did you mean `timeout`?

error: `memory` does not take this value
 --> six_mistakes.toml:8:10
  |
8 | memory = "lots"
  |          ^^^^^^ expected a size, such as "256MiB"
  |
  = help: units are B, KiB, MiB, GiB, and KB, MB, GB for powers of ten

error: `soft_ttl` (10m) is longer than `hard_ttl` (1m)
  --> six_mistakes.toml:11:12
   |
11 | soft_ttl = "10m"
   |            ^^^^^ expected 1m or less
12 | hard_ttl = "60s"
   |            ----- an entry is gone by then
   |
   = help: past `soft_ttl` an entry is stale, past `hard_ttl` it is not served

error: unknown class "catlog"
  --> six_mistakes.toml:16:9
   |
16 | class = "catlog"
   |         ^^^^^^^^ expected "catalog"
   |
   = help: did you mean `catalog`?

error: the path does not capture {key}
  --> six_mistakes.toml:17:9
   |
15 | path = "/products/{id}"
   |        ---------------- this path
16 | class = "catlog"
17 | tags = ["product:{key}"]
   |         ^^^^^^^^^^^^^^^ expected {id}

6 mistakes in the configuration"#;

const BROKEN_SYNTAX: &str = r#"error: invalid float
 --> broken_syntax.toml:1:15
  |
1 | listen = 127.0.0.1:8080
  |               ^^^^^^^^^ did not expect this
  |
  = help: text stands in quotes: "…"

error: invalid basic string
 --> broken_syntax.toml:4:29
  |
4 | url = "http://127.0.0.1:3000
  |                             ^ expected `"`

error: `timeout` does not take this value
 --> broken_syntax.toml:5:11
  |
5 | timeout = "50"
  |           ^^^^ expected a duration, such as "30s" or "1h 30m"
  |
  = help: add a unit: "50s" or "50ms"

error: key with no value
 --> broken_syntax.toml:8:8
  |
8 | memory "256MiB"
  |        ^ expected `=`

4 mistakes in the configuration"#;

//! `docs/rfc-map.md` tells of what is there: each function and test that it names exists, each row
//! has a test or a reason, and no file of `src/semantics` is left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A row of the map.
struct Row<'a> {
    /// As it stands.
    line: &'a str,
    /// What obeys the requirement.
    code: Vec<&'a str>,
    /// What shows it.
    tests: Vec<&'a str>,
    /// `yes`, `pending`, or a reason.
    done: &'a str,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn map() -> String {
    fs::read_to_string(root().join("docs/rfc-map.md")).unwrap()
}

/// The rows of all tables that have the map's five columns.
fn rows(map: &str) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for line in map.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| §")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, _, code, tests, done] = cells[..] else { panic!("not five cells: {line}") };
        rows.push(Row { line, code: code_spans(code), tests: code_spans(tests), done });
    }
    assert!(rows.len() > 100, "only {} rows", rows.len());
    rows
}

fn code_spans(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Sources that `path` may stand in, and what of it is then to be found there.
fn places<'p>(folders: &[&str], path: &'p str) -> Vec<(PathBuf, &'p str)> {
    let mut found = Vec::new();
    for (at, _) in path.match_indices("::") {
        let (module, item) = (path[..at].replace("::", "/"), &path[at + 2..]);
        for folder in folders {
            for end in [".rs", "/mod.rs", "/tests.rs", "_tests.rs"] {
                let file = root().join(format!("{folder}/{module}{end}"));
                if file.is_file() {
                    found.push((file, item));
                }
            }
        }
    }
    found
}

/// Is this path (below `src`) the name of something?
fn is_code(path: &str) -> bool {
    places(&["src"], path).iter().any(|(file, item)| {
        let text = fs::read_to_string(file).unwrap();
        item.split("::").all(|name| {
            ["fn ", "struct ", "enum ", "trait ", "const "].iter().any(|kind| {
                text.match_indices(&format!("{kind}{name}")).any(|(at, found)| {
                    !text[at + found.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
                })
            })
        })
    })
}

/// Is this path the name of a test, below `tests`, or beside the code it tests?
fn is_test(path: &str) -> bool {
    places(&["tests", "src"], path)
        .iter()
        .any(|(file, item)| fs::read_to_string(file).unwrap().contains(&format!("fn {item}(")))
}

#[test]
fn every_function_that_is_named_exists() {
    let map = map();
    for row in rows(&map).iter().filter(|row| row.done != "pending") {
        for path in &row.code {
            assert!(is_code(path), "there is no {path}:\n{}", row.line);
        }
    }
}

#[test]
fn every_test_that_is_named_exists() {
    let map = map();
    for row in rows(&map).iter().filter(|row| row.done != "pending") {
        for path in &row.tests {
            assert!(is_test(path), "there is no test {path}:\n{}", row.line);
        }
    }
}

#[test]
fn every_row_has_a_test_or_a_reason() {
    let map = map();
    for row in rows(&map) {
        match row.done {
            "yes" => {
                assert!(!row.code.is_empty() && !row.tests.is_empty(), "{}", row.line);
            }
            "pending" => assert!(!row.code.is_empty(), "{}", row.line),
            reason => {
                let told = ["no: ", "departs: ", "not ours: "]
                    .iter()
                    .any(|start| reason.strip_prefix(start).is_some_and(|why| why.len() > 10));
                assert!(told, "neither done nor a reason:\n{}", row.line);
            }
        }
    }
}

#[test]
fn what_is_there_is_no_longer_called_pending() {
    let map = map();
    let there: Vec<&str> = rows(&map)
        .iter()
        .filter(|row| row.done == "pending" && row.code.iter().all(|path| is_code(path)))
        .map(|row| row.line)
        .collect();
    assert!(there.is_empty(), "say `yes` in the last column:\n{}", there.join("\n"));
}

#[test]
fn every_file_of_semantics_is_in_the_map() {
    let map = map();
    let named: BTreeSet<&str> = rows(&map).iter().flat_map(|row| row.code.clone()).collect();
    for module in modules(&root().join("src/semantics"), "semantics") {
        let start = format!("{module}::");
        assert!(
            named.iter().any(|path| path.starts_with(&start)),
            "nothing of {module} is in docs/rfc-map.md"
        );
    }
}

/// Modules with code of their own, as paths.
fn modules(folder: &Path, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap().path();
        let name = entry.file_stem().unwrap().to_string_lossy().into_owned();
        if entry.is_dir() {
            found.extend(modules(&entry, &format!("{path}::{name}")));
        } else if !matches!(&*name, "mod" | "tests") {
            found.push(format!("{path}::{name}"));
        }
    }
    found
}

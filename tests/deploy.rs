//! What stands in `deploy/` speaks of the same things as the code: metrics, labels, files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use larder::telemetry::metrics::{BUILD, STARTED, TABLE, UPTIME};
use larder::telemetry::outcome::Outcome;
use larder::telemetry::scrape::{Kind, Metric};
use serde_json::Value;

const DASHBOARD: &str = "deploy/grafana/dashboards/larder.json";

fn read(path: &str) -> String {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&full).unwrap_or_else(|why| panic!("{}: {why}", full.display()))
}

/// Every query of the dashboard.
fn queries() -> Vec<String> {
    fn collect(value: &Value, out: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    match member {
                        Value::String(text) if name == "expr" || name == "definition" => {
                            out.push(text.clone());
                        }
                        _ => collect(member, out),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, out)),
            _ => {}
        }
    }
    let dashboard = serde_json::from_str(&read(DASHBOARD)).expect("the dashboard is JSON");
    let mut out = Vec::new();
    collect(&dashboard, &mut out);
    assert!(out.len() > 30, "{out:?}");
    out
}

/// The metrics that a query names, each with the selector behind it.
fn named(query: &str) -> Vec<(&str, &str)> {
    query
        .match_indices("larder_")
        .map(|(at, _)| {
            let rest = &query[at..];
            let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            let (name, rest) = rest.split_at(end);
            let selector = rest.strip_prefix('{').and_then(|rest| rest.split('}').next());
            (name, selector.unwrap_or_default())
        })
        .collect()
}

fn metric(name: &str) -> Option<&'static Metric> {
    TABLE.iter().find(|metric| match metric.kind {
        Kind::Histogram => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|suffix| name.strip_suffix(suffix) == Some(metric.name)),
        _ => metric.name == name,
    })
}

#[test]
fn every_metric_on_the_dashboard_exists_with_the_labels_it_is_asked_by() {
    for query in queries() {
        for (name, selector) in named(&query) {
            let metric = metric(name).unwrap_or_else(|| panic!("no metric {name}: {query}"));
            for matcher in selector.split(',').filter(|matcher| !matcher.is_empty()) {
                let label = matcher.split(['=', '!']).next().unwrap_or_default();
                let known = label == "instance" || metric.labels.contains(&label);
                assert!(known, "{name} has no label {label}: {query}");
            }
            for labels in query.split("by (").skip(1).filter_map(|rest| rest.split(')').next()) {
                for label in labels.split(", ") {
                    let known =
                        matches!(label, "instance" | "le") || metric.labels.contains(&label);
                    assert!(known, "{name} has no label {label}: {query}");
                }
            }
        }
    }
}

#[test]
fn every_metric_can_be_seen_on_the_dashboard() {
    let queries = queries();
    let shown: BTreeSet<&str> = queries
        .iter()
        .flat_map(|query| named(query))
        .filter_map(|(name, _)| metric(name).map(|metric| metric.name))
        .collect();
    // Of no use as a curve.
    let left_out = [STARTED.name, UPTIME.name];
    for metric in TABLE.iter().filter(|metric| !left_out.contains(&metric.name)) {
        assert!(shown.contains(metric.name), "{} is on no panel", metric.name);
    }
    assert!(shown.contains(BUILD.name));
}

#[test]
fn the_dashboard_computes_the_hit_ratio_that_the_code_defines() {
    let words = |wanted: fn(Outcome) -> bool| -> Vec<&str> {
        Outcome::ALL.into_iter().filter(|o| wanted(*o)).map(Outcome::as_str).collect()
    };
    let hits = format!("outcome=~\"{}\"", words(Outcome::spared_the_origin).join("|"));
    let rest = format!("outcome!~\"{}\"", words(|outcome| !outcome.cacheable()).join("|"));
    let ratios = queries().into_iter().filter(|query| query.contains("outcome=~"));
    let ratios: Vec<_> = ratios.collect();
    assert_eq!(ratios.len(), 2, "{ratios:?}");
    for query in ratios {
        assert!(query.contains(&hits) && query.contains(&rest), "{query}\n{hits}\n{rest}");
    }
}

#[test]
fn compose_mounts_only_what_is_there() {
    let compose = read("docker-compose.yml");
    let mounts: Vec<&str> = compose
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- ./")?.split(':').next())
        .collect();
    assert!(mounts.len() >= 4, "{mounts:?}");
    for mount in mounts {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(mount);
        assert!(path.exists(), "docker-compose.yml mounts {mount}");
    }
}

#[test]
fn compose_runs_the_classes_and_routes_of_the_demo() {
    let compose: toml::Table = read("deploy/compose.toml").parse().expect("compose.toml is TOML");
    let demo: toml::Table = larder::demo::CONFIG.parse().expect("the demo's is TOML");
    for part in ["class", "route"] {
        assert_eq!(compose.get(part), demo.get(part), "{part}");
    }
}

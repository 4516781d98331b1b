//! Routes, with their classes merged in: a route's own keys win over its class, and the class
//! over the presets.

use std::sync::Arc;

use http::Method;
use http::header::HeaderName;

use super::super::error::{Findings, Mistake, Span};
use super::super::matcher::{Conflict, Routes};
use super::super::pattern::Pattern;
use super::super::suggest::did_you_mean;
use super::super::table::{FromValue, Table};
use super::super::template::{NameRule, Part, Template};
use super::super::{
    Authority, Consistency, Freshness, KeyRules, OnDoubt, OnStoreDown, QueryRule,
    RequestDirectives, Route, SetCookie, Store, knobs,
};

type Classes = [(String, Table)];

/// The routes in the order of the file, and the fallback.
pub(super) fn resolve(
    tables: &[Table],
    classes: &Classes,
    store: &Store,
    out: &mut Findings,
) -> (Vec<Arc<Route>>, Arc<Route>) {
    for (_, class) in classes {
        check_freshness(&Layers { route: class, class: None }, out);
    }
    warn_unused(tables, classes, out);
    let mut routes = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let layers = Layers { route: table, class: class_of(table, classes, out) };
        check_freshness(&layers, out);
        check_authority(&layers, out);
        warn_idle(&layers, store, out);
        match layers.given::<Pattern>("path") {
            Some(pattern) => routes.push(Arc::new(route(index, &layers, pattern, out))),
            None if table.given("path").is_none() => {
                let at = table.at.clone().unwrap_or_default();
                let mistake = Mistake::at(at, "a route without a path", "expected `path` below");
                out.absence(mistake.help("write path = \"/products/{id}\""));
            }
            None => {}
        }
    }
    let fallback = Arc::new(fallback(tables.len()));
    let conflicts = Routes::build(&routes, &fallback).1;
    check_names(&routes, &conflicts, tables, out);
    for conflict in conflicts {
        report(&conflict, tables, &routes, out);
    }
    (routes, fallback)
}

/// Where a route's keys are looked up.
struct Layers<'t> {
    route: &'t Table,
    class: Option<&'t Table>,
}

impl Layers<'_> {
    /// The table in which a key was given.
    fn table(&self, key: &str) -> Option<&Table> {
        [Some(self.route), self.class].into_iter().flatten().find(|t| t.given(key).is_some())
    }

    fn get<T: FromValue>(&self, key: &str) -> Option<T> {
        self.table(key).unwrap_or(self.route).get(key)
    }

    fn get_or_default<T: FromValue + Default>(&self, key: &str) -> T {
        self.get(key).unwrap_or_default()
    }

    /// Only what was given, whatever the preset.
    fn given<T: FromValue>(&self, key: &str) -> Option<T> {
        self.table(key).and_then(|table| table.get(key))
    }

    fn span(&self, key: &str) -> Option<Span> {
        self.table(key).and_then(|table| table.span(key))
    }

    fn list<T: FromValue>(&self, key: &str) -> Vec<(T, Span)> {
        self.get_or_default(key)
    }
}

fn class_of<'c>(table: &Table, classes: &'c Classes, out: &mut Findings) -> Option<&'c Table> {
    let name: Arc<str> = table.get("class")?;
    if let Some((_, class)) = classes.iter().find(|(class, _)| **class == *name) {
        return Some(class);
    }
    let names = classes.iter().map(|(class, _)| class.as_str());
    let help = did_you_mean(&name, names.clone());
    let known: Vec<_> = names.map(|name| format!("\"{name}\"")).collect();
    let label = match known.as_slice() {
        [] => "there is no class in this file".to_owned(),
        known => format!("expected {}", known.join(" or ")),
    };
    let help = help.unwrap_or_else(|| format!("write [class.{name}], and its keys below"));
    let span = table.span("class").unwrap_or_default();
    out.absence(Mistake::at(span, format!("unknown class \"{name}\""), label).help(help));
    None
}

fn route(index: usize, layers: &Layers<'_>, pattern: Pattern, out: &mut Findings) -> Route {
    let named: Option<Arc<str>> = layers.given("name");
    let name = named.unwrap_or_else(|| Arc::clone(&pattern.text));
    let namespace: Option<Template> = layers.given("namespace");
    let tags: Vec<(Template, Span)> = layers.list("tags");
    let on_write: Vec<(NameRule, Span)> = layers.list("on_write");
    let of_namespace = namespace.iter().zip(layers.span("namespace"));
    let of_tags = tags.iter().map(|(template, span)| (template, span.clone()));
    let of_writes = on_write.iter().map(|(rule, span)| (&rule.template, span.clone()));
    for (template, span) in of_namespace.chain(of_tags).chain(of_writes) {
        check_captures(template, span, &pattern, layers, out);
    }
    Route {
        index,
        namespace: namespace.unwrap_or_else(|| Template::text(&safe(&name))),
        name,
        host: layers.given("host"),
        path: pattern.text,
        methods: methods(layers, out),
        tags: tags.into_iter().map(|(template, _)| template).collect(),
        on_write: on_write.into_iter().map(|(rule, _)| rule).collect(),
        key: key_rules(layers, out),
        ..contract(layers)
    }
}

/// A route of which only what a class may say is filled in.
fn contract(layers: &Layers<'_>) -> Route {
    let word = |key| layers.get::<&'static str>(key);
    Route {
        name: "-".into(),
        index: 0,
        host: None,
        path: "/{*rest}".into(),
        methods: Vec::new(),
        cache: word("cache") != Some("off"),
        freshness: freshness(layers),
        namespace: Template::text("-"),
        tags: Vec::new(),
        on_write: Vec::new(),
        invalidate_parent: layers.get_or_default("parent"),
        key: KeyRules::default(),
        max_entry: layers.get_or_default("max_entry"),
        max_variants: count(layers, "max_variants"),
        max_tags: count(layers, "max_tags"),
        on_doubt: match word("on_doubt") {
            Some("serve") => OnDoubt::Serve,
            _ => OnDoubt::Revalidate,
        },
        collapse: layers.get_or_default("collapse"),
        collapse_timeout: layers.get_or_default("collapse_timeout"),
        request_directives: match word("request_directives") {
            Some("honour") => RequestDirectives::Honour,
            _ => RequestDirectives::Ignore,
        },
        set_cookie: match word("set_cookie") {
            Some("strip") => SetCookie::Strip,
            Some("store") => SetCookie::Store,
            _ => SetCookie::Refuse,
        },
        write_through: layers.get_or_default("write_through"),
        no_vary_search: layers.get_or_default("no_vary_search"),
        max_query_content: layers.get_or_default("max_query_content"),
        show_key: layers.get_or_default("show_key"),
        consistency: match word("consistency") {
            Some("strict") => Consistency::Strict,
            _ => Consistency::Bounded,
        },
        announce: layers.get_or_default("announce"),
        settle: layers.get_or_default("settle"),
        on_store_down: match word("on_store_down") {
            Some("refuse") => OnStoreDown::Refuse,
            _ => OnStoreDown::Forward,
        },
    }
}

fn freshness(layers: &Layers<'_>) -> Freshness {
    Freshness {
        authority: match layers.get("freshness") {
            Some("route") => Authority::Route,
            _ => Authority::Origin,
        },
        soft_ttl: layers.get("soft_ttl"),
        hard_ttl: layers.get("hard_ttl"),
        stale_if_error: layers.get_or_default("stale_if_error"),
        negative_ttl: layers.get("negative_ttl"),
        jitter: layers.get_or_default("jitter"),
        heuristic: layers.get("heuristic"),
    }
}

/// What applies to a request that no route matches: all presets, and no lifetime of ours, so
/// that there is nothing to spread either. Its name and its namespace are `-`, which no route
/// can have.
fn fallback(index: usize) -> Route {
    let nothing = Table::empty(&knobs::ROUTE);
    let mut route = contract(&Layers { route: &nothing, class: None });
    route.index = index;
    route.freshness.jitter = 0.0;
    route.request_directives = RequestDirectives::Honour;
    route
}

fn count(layers: &Layers<'_>, key: &str) -> usize {
    usize::try_from(layers.get_or_default::<u64>(key)).unwrap_or(usize::MAX)
}

/// A namespace from a route's name: what is not a letter, a digit or one of `-_.` becomes a
/// slash, so that `/products/{id}` lives under `products/id`, below `products`.
fn safe(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let names: Vec<_> = name.split(|c| !plain(c)).filter(|part| !part.is_empty()).collect();
    if names.is_empty() { "root".to_owned() } else { names.join("/") }
}

fn methods(layers: &Layers<'_>, out: &mut Findings) -> Vec<Method> {
    let mut methods: Vec<Method> = Vec::new();
    for (method, span) in layers.list("methods") {
        if methods.contains(&method) {
            let title = format!("{method} is listed twice");
            out.mistake(Mistake::at(span, title, "expected each method once"));
        } else {
            methods.push(method);
        }
    }
    methods
}

fn key_rules(layers: &Layers<'_>, out: &mut Findings) -> KeyRules {
    let texts = |key| -> Vec<Box<str>> {
        let list: Vec<(Arc<str>, Span)> = layers.list(key);
        list.into_iter().map(|(text, _)| Box::from(&*text)).collect()
    };
    let query = match (layers.span("query.ignore"), layers.span("query.only")) {
        (Some(ignore), Some(only)) => {
            let title = "both `query.ignore` and `query.only` are given";
            let mistake =
                Mistake::at(only, title, "expected one of them").also(ignore, "the other one");
            out.mistake(mistake.help("`query.only` ignores everything else already"));
            QueryRule::All
        }
        (Some(_), None) => QueryRule::Ignore(texts("query.ignore")),
        (None, Some(_)) => QueryRule::Only(texts("query.only")),
        (None, None) => QueryRule::All,
    };
    let headers: Vec<(HeaderName, Span)> = layers.list("key.headers");
    let mut headers: Vec<_> = headers.into_iter().map(|(name, _)| name).collect();
    // The order in which they were typed does not make another key.
    headers.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    headers.dedup();
    let mut cookies = texts("key.cookies");
    cookies.sort();
    cookies.dedup();
    KeyRules { query, headers, cookies }
}

fn check_captures(
    template: &Template,
    span: Span,
    pattern: &Pattern,
    layers: &Layers<'_>,
    out: &mut Findings,
) {
    let known = || pattern.captures.iter().map(|name| &**name);
    for part in &template.parts {
        let Part::Capture(name) = part else { continue };
        if known().any(|capture| *capture == **name) {
            continue;
        }
        let captures: Vec<_> = known().map(|name| format!("{{{name}}}")).collect();
        let label = match captures.as_slice() {
            [] => "expected no capture: the path has none".to_owned(),
            names => format!("expected {}", names.join(" or ")),
        };
        let title = format!("the path does not capture {{{name}}}");
        let mut mistake = Mistake::at(span.clone(), title, label);
        if let Some(path) = layers.span("path") {
            mistake = mistake.also(path, "this path");
        }
        out.mistake(mistake.maybe_help(did_you_mean(name, known())));
    }
}

fn check_freshness(layers: &Layers<'_>, out: &mut Findings) {
    let ttls: Option<(std::time::Duration, std::time::Duration)> =
        layers.given("soft_ttl").zip(layers.given("hard_ttl"));
    let Some((soft, hard)) = ttls.filter(|(soft, hard)| soft > hard) else { return };
    let (soft, hard) = (humantime::format_duration(soft), humantime::format_duration(hard));
    let title = format!("`soft_ttl` ({soft}) is longer than `hard_ttl` ({hard})");
    let (Some(at), Some(other)) = (layers.span("soft_ttl"), layers.span("hard_ttl")) else {
        return;
    };
    let label = format!("expected {hard} or less");
    let mistake = Mistake::at(at, title, label).also(other, "an entry is gone by then");
    out.mistake(
        mistake.help("past `soft_ttl` an entry is stale, past `hard_ttl` it is not served"),
    );
}

fn check_authority(layers: &Layers<'_>, out: &mut Findings) {
    let ours = layers.given("freshness") == Some("route");
    if !ours || layers.table("soft_ttl").is_some() {
        return;
    }
    let span = layers.span("freshness").unwrap_or_default();
    let title = "the route shall decide on freshness, and has no `soft_ttl`";
    let mut mistake = Mistake::at(span, title, "expected `soft_ttl` beside it");
    if let (Some(_), Some(path)) = (layers.class, layers.span("path")) {
        mistake = mistake.also(path, "in this route");
    }
    out.absence(mistake.help("write soft_ttl = \"60s\", or leave `freshness` out"));
}

fn check_names(
    routes: &[Arc<Route>],
    conflicts: &[Conflict],
    tables: &[Table],
    out: &mut Findings,
) {
    for (at, route) in routes.iter().enumerate() {
        // The same route twice is one mistake, and not about its name.
        if conflicts.iter().any(|conflict| conflict.same && conflict.route == route.index) {
            continue;
        }
        let Some(first) = routes.iter().take(at).find(|other| other.name == route.name) else {
            continue;
        };
        let place = |route: &Route| {
            let table = tables.get(route.index);
            table.and_then(|t| t.span("name").or_else(|| t.span("path"))).unwrap_or_default()
        };
        let title = format!("two routes are named \"{}\"", route.name);
        let mistake = Mistake::at(place(route), title, "expected a name of its own");
        out.mistake(
            mistake
                .also(place(first), "the first of them")
                .help("write name = \"…\" in one of them; without it the path is the name"),
        );
    }
}

fn report(conflict: &Conflict, tables: &[Table], routes: &[Arc<Route>], out: &mut Findings) {
    let place =
        |index: usize| tables.get(index).and_then(|table| table.span("path")).unwrap_or_default();
    let path = |index: usize| {
        let route = routes.iter().find(|route| route.index == index);
        route.map_or("", |route| &*route.path)
    };
    let (title, label, help) = match conflict.same {
        true => (
            format!("two routes match {} with the same methods", path(conflict.route)),
            "expected another path, host, or list of methods",
            "give them different `methods`, or make them one",
        ),
        false => (
            format!("the path {} overlaps another", path(conflict.route)),
            "expected a path of which it is clear which one is more specific",
            "at one place of a path there can be {name}, or {*name}, or text around a capture",
        ),
    };
    let mut mistake = Mistake::at(place(conflict.route), title, label).help(help);
    if let Some(with) = conflict.with {
        mistake = mistake.also(place(with), "the other one");
    }
    out.mistake(mistake);
}

fn warn_unused(tables: &[Table], classes: &Classes, out: &mut Findings) {
    for (name, class) in classes {
        let used = tables.iter().any(|t| t.get::<Arc<str>>("class").as_deref() == Some(name));
        if let Some(at) = class.at.clone().filter(|_| !used) {
            let title = format!("no route is of class \"{name}\"");
            out.warning(Mistake::at(at, title, "its keys have no effect"));
        }
    }
}

fn warn_idle(layers: &Layers<'_>, store: &Store, out: &mut Findings) {
    if layers.get("cache") == Some("off") {
        let idle = ["soft_ttl", "hard_ttl", "stale_if_error", "negative_ttl", "heuristic", "tags"];
        for span in idle.iter().filter_map(|key| layers.route.span(key)) {
            let title = "this key has no effect: the route is not cached";
            out.warning(Mistake::at(span, title, "`cache` is \"off\""));
        }
    }
    let largest: u64 = layers.get_or_default("max_entry");
    let (true, Some(span)) = (largest > store.memory, layers.span("max_entry")) else { return };
    if store.valkey.is_none() && store.memory > 0 {
        let title = "entries of this size fit nowhere";
        out.warning(Mistake::at(span, title, "larger than `memory`, and there is no `valkey`"));
    }
}

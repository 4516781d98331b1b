use std::time::Duration;

use super::*;
use crate::config::event::EventRule;
use crate::config::template::Template;
use crate::config::valkey::{Login, Place};
use crate::config::{Authority, HostPolicy, OnDoubt, QueryRule, Route};

fn env(name: &str) -> Option<String> {
    match name {
        "TOKEN" => Some("s3cret".to_owned()),
        "PORT" => Some("3000".to_owned()),
        _ => None,
    }
}

fn load(text: &str) -> Result<(Config, Vec<Warning>), ConfigErrors> {
    Config::load(Some(("proxy.toml", text)), &Overrides::default(), &env)
}

fn config(text: &str) -> Config {
    match load(&format!("{ORIGIN}{text}")) {
        Ok((config, _)) => config,
        Err(errors) => panic!("{errors}"),
    }
}

const ORIGIN: &str = "[origin]\nurl = \"http://api:3000\"\n";

/// Titles of the mistakes in a file with an origin.
fn mistakes(text: &str) -> Vec<String> {
    titles(load(&format!("{ORIGIN}{text}")))
}

fn titles(loaded: Result<(Config, Vec<Warning>), ConfigErrors>) -> Vec<String> {
    match loaded {
        Ok(_) => Vec::new(),
        Err(errors) => errors.titles().map(str::to_owned).collect(),
    }
}

fn warnings(text: &str) -> Vec<String> {
    let (_, warnings) = load(&format!("{ORIGIN}{text}")).unwrap();
    warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn an_origin_is_all_that_is_needed() {
    let overrides = Overrides { origin: Some("http://b:1".into()), listen: None };
    let (config, warnings) = Config::load(None, &overrides, &env).unwrap();
    assert!(warnings.is_empty());
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.origin.urls[0].to_string(), "http://b:1");
    assert_eq!(config.origin.timeout, Duration::from_secs(30));
    assert_eq!(config.origin.host, HostPolicy::Preserve);
    assert_eq!(config.store.memory, 256 << 20);
    assert!(config.store.valkey.is_none());
    assert_eq!(config.admin.unwrap().listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.limits.max_target, 8192);
    assert!(config.log.access && config.routes.is_empty());
}

#[test]
fn the_fallback_adds_nothing_to_what_the_origin_says() {
    let fallback = config("").fallback;
    assert_eq!((&*fallback.name, fallback.namespace.as_text()), ("-", Some("-")));
    assert!(fallback.cache && fallback.collapse);
    let f = &fallback.freshness;
    assert_eq!((f.authority, f.soft_ttl, f.hard_ttl), (Authority::Origin, None, None));
    assert_eq!((f.negative_ttl, f.stale_if_error), (None, Duration::ZERO));
    assert!(f.jitter.abs() < f64::EPSILON);
    assert_eq!(fallback.max_entry, 8 << 20);
}

#[test]
fn the_command_line_wins_over_the_file() {
    let overrides =
        Overrides { origin: Some("http://b".into()), listen: Some("0.0.0.0:81".into()) };
    let text = format!("listen = \"127.0.0.1:80\"\n{ORIGIN}");
    let (config, _) = Config::load(Some(("proxy.toml", &text)), &overrides, &env).unwrap();
    assert_eq!(config.listen.to_string(), "0.0.0.0:81");
    assert_eq!(config.origin.urls.len(), 1);
    assert!(config.origin.urls[0].port == 80);
}

#[test]
fn a_mistake_on_the_command_line_says_so() {
    let overrides = Overrides { origin: Some("ftp://b".into()), listen: Some("80".into()) };
    let errors = Config::load(None, &overrides, &env).unwrap_err().to_string();
    assert!(errors.contains("--> command line"), "{errors}");
    assert!(errors.contains("| --origin ftp://b\n"), "{errors}");
    assert!(errors.contains("| --listen 80\n"), "{errors}");
    assert!(errors.ends_with("2 mistakes in the configuration"), "{errors}");
}

#[test]
fn without_an_origin_there_is_one_mistake() {
    assert_eq!(titles(load("")), ["there is no origin"]);
    assert_eq!(titles(load("[origin]\ntimeout = \"1s\"")), ["there is no origin"]);
    assert_eq!(titles(load("[origin]\nurls = []")), ["there is no origin"]);
    let none = Config::load(None, &Overrides::default(), &env);
    assert_eq!(titles(none), ["there is no origin"]);
}

#[test]
fn a_bad_value_is_not_called_missing_as_well() {
    assert_eq!(titles(load("[origin]\nurl = 1")), ["`url` does not take this value"]);
    let said = mistakes("[[route]]\npath = \"a\"\nfreshness = \"route\"\nsoft_ttl = 1");
    assert_eq!(said, ["`path` does not take this value", "`soft_ttl` does not take this value"]);
}

#[test]
fn broken_syntax_makes_nothing_seem_absent() {
    let text = "[origin\nurl = \"http://a\"\n[class.a\n[[route]]\npath = \"/a\"\nclass = \"a\"\n[store]\nmemory = 0\nvalkey =";
    let errors = load(text).unwrap_err();
    let lines: Vec<_> = errors.titles().collect();
    assert!(
        lines.iter().all(|title| !title.contains("class") && !title.contains("origin")),
        "{errors}"
    );
    assert!(!lines.contains(&"entries could be kept nowhere"), "{errors}");
}

#[test]
fn several_origins_are_kept_in_order() {
    let (config, _) = load("[origin]\nurls = [\"http://a:1\", \"http://b\"]").unwrap();
    let urls: Vec<_> = config.origin.urls.iter().map(ToString::to_string).collect();
    assert_eq!(urls, ["http://a:1", "http://b"]);
    let both = "[origin]\nurl = \"http://a\"\nurls = [\"http://b\"]";
    assert_eq!(titles(load(both)), ["both `url` and `urls` are given"]);
}

#[test]
fn the_environment_is_asked_and_its_secrets_are_kept() {
    let text = "[origin]\nurl = \"http://a:${PORT}\"\n[admin]\nlisten = \"0.0.0.0:9090\"\ntoken = \"${TOKEN}\"";
    let (config, _) = load(text).unwrap();
    assert_eq!(config.origin.urls[0].port, 3000);
    let admin = config.admin.clone().unwrap();
    assert_eq!(admin.token.unwrap().reveal(), "s3cret");
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn no_message_shows_a_secret() {
    let texts = [
        "[store]\nvalkey = \"valkey://me:hunter2@h:99999\"",
        "[store]\nvalkey = \"valkey://me:hunter2@${PORT}:x\"",
        "[store]\nvalky = \"valkey://me:hunter2@h\"",
        "[store]\nvalkey = \"unix:///a?db=x&pass=me:hunter2\"",
        "[store]\nvalkey = \"unix:///a?db=x&pass=p@hunter2\"",
        "[store]\nvalkey = \"valkey-sentinel://me:hunter2@a,b\"",
        "[store]\nvalkey = \"http://h\"\npassword = \"hunter2\"",
        "[store]\npassword = \"hunter2\"",
        "[store]\nvalkey = \"valkey://h\"\nsentinel_password = \"hunter2\"",
        "[admin]\ntoken = \"hunter2 \"",
        "[admin]\ntokn = \"hunter2\"",
        "[admin]\npassword = 'hunter2'",
        "[admin]\ntoken = \"hunter2",
        "[admin]\ntoken = [\"hunter2\"]",
        "[admin]\ntoken = \"\"\"hunter2\n\"\"\"",
    ];
    for text in texts {
        let said = load(&format!("{ORIGIN}{text}\n")).unwrap_err().to_string();
        assert!(!said.contains("hunter2") && !said.contains("me:"), "{said}");
    }
    let said = load(texts[0]).unwrap_err().to_string();
    assert!(said.contains("@h:99999"), "what is wrong can still be seen: {said}");
}

#[test]
fn a_route_wins_over_its_class_and_the_class_over_the_presets() {
    let config = config(
        r#"
[class.catalog]
soft_ttl = "60s"
hard_ttl = "10m"
stale_if_error = "1h"
jitter = "20%"
on_doubt = "serve"
collapse = false
max_entry = "1KiB"
[[route]]
name = "a"
path = "/a"
class = "catalog"
[[route]]
path = "/b"
class = "catalog"
soft_ttl = "5s"
on_doubt = "revalidate"
collapse = true
[[route]]
path = "/c"
"#,
    );
    let [a, b, c] = config.routes.as_slice() else { panic!("three routes") };
    let seconds = Duration::from_secs;
    let ttls = |route: &Route| (route.freshness.soft_ttl, route.freshness.hard_ttl);
    assert_eq!(ttls(a), (Some(seconds(60)), Some(seconds(600))));
    assert_eq!(ttls(b), (Some(seconds(5)), Some(seconds(600))));
    assert_eq!(ttls(c), (None, None));
    assert_eq!((a.on_doubt, b.on_doubt), (OnDoubt::Serve, OnDoubt::Revalidate));
    assert_eq!((a.collapse, b.collapse, c.collapse), (false, true, true));
    assert_eq!((a.max_entry, c.max_entry), (1024, 8 << 20));
    assert!((b.freshness.jitter - 0.2).abs() < 1e-9 && (c.freshness.jitter - 0.1).abs() < 1e-9);
    assert_eq!((&*a.name, &*b.name, c.index, config.fallback.index), ("a", "/b", 2, 3));
}

#[test]
fn a_namespace_comes_from_the_name_if_there_is_none() {
    let config = config(
        r#"
[[route]]
path = "/products/{id}"
[[route]]
path = "/"
[[route]]
name = "shop.list"
path = "/l"
"#,
    );
    let namespaces: Vec<_> = config.routes.iter().map(|r| r.namespace.to_string()).collect();
    assert_eq!(namespaces, ["products/id", "root", "shop.list"]);
}

#[test]
fn all_keys_of_a_route_arrive() {
    let config = config(
        r#"
[[route]]
name = "p"
host = "*.Example.com"
path = "/t/{tenant}/p/{id}"
methods = ["GET", "PUT"]
namespace = "t/{tenant}"
tags = ["p:{id}", "x:{$.items[*].id}"]
on_write = ["path:/t/{tenant}/p", "namespace:search"]
query.only = ["q", "page*"]
key.headers = ["X-B", "x-a", "X-b"]
key.cookies = ["currency"]
parent = false
freshness = "route"
soft_ttl = "1s"
negative_ttl = "2s"
max_variants = 3
max_tags = 4
collapse_timeout = "3s"
"#,
    );
    let route = &config.routes[0];
    assert_eq!(route.host.as_ref().unwrap().to_string(), "*.example.com");
    assert_eq!(route.methods, [http::Method::GET, http::Method::PUT]);
    assert_eq!(route.namespace, "t/{tenant}".parse::<Template>().unwrap());
    assert_eq!((route.tags.len(), route.on_write.len()), (2, 2));
    assert_eq!(route.key.query, QueryRule::Only(vec!["q".into(), "page*".into()]));
    assert_eq!(route.key.headers, ["x-a", "x-b"]);
    assert_eq!(route.key.cookies, [Box::<str>::from("currency")]);
    assert!(!route.invalidate_parent);
    assert_eq!(route.freshness.authority, Authority::Route);
    assert_eq!(route.freshness.negative_ttl, Some(Duration::from_secs(2)));
    assert_eq!((route.max_variants, route.max_tags), (3, 4));
    assert_eq!(route.collapse_timeout, Duration::from_secs(3));
}

#[test]
fn contradictions_are_mistakes() {
    let rows: &[(&str, &str)] = &[
        ("[[route]]\nsoft_ttl = \"1s\"", "a route without a path"),
        ("[[route]]\npath = \"/a\"\nclass = \"x\"", "unknown class \"x\""),
        (
            "[[route]]\npath = \"/a\"\nsoft_ttl = \"2m\"\nhard_ttl = \"1m\"",
            "`soft_ttl` (2m) is longer than `hard_ttl` (1m)",
        ),
        (
            "[class.a]\nsoft_ttl = \"2m\"\nhard_ttl = \"1m\"\n[[route]]\npath = \"/a\"\nclass = \"a\"",
            "`soft_ttl` (2m) is longer than `hard_ttl` (1m)",
        ),
        (
            "[class.a]\nhard_ttl = \"1m\"\n[[route]]\npath = \"/a\"\nclass = \"a\"\nsoft_ttl = \"2m\"",
            "`soft_ttl` (2m) is longer than `hard_ttl` (1m)",
        ),
        (
            "[[route]]\npath = \"/a\"\nfreshness = \"route\"",
            "the route shall decide on freshness, and has no `soft_ttl`",
        ),
        ("[[route]]\npath = \"/a\"\nnamespace = \"{id}\"", "the path does not capture {id}"),
        ("[[route]]\npath = \"/{id}\"\ntags = [\"{ids}\"]", "the path does not capture {ids}"),
        ("[[route]]\npath = \"/a\"\non_write = [\"tag:{x}\"]", "the path does not capture {x}"),
        (
            "[[route]]\npath = \"/a\"\nquery.only = [\"a\"]\nquery.ignore = [\"b\"]",
            "both `query.ignore` and `query.only` are given",
        ),
        (
            "[[route]]\npath = \"/a\"\nnamespace = \"{$.id}\"",
            "`namespace` does not take this value",
        ),
        (
            "[[route]]\npath = \"/a\"\non_write = [\"tag:{$.id}\"]",
            "`on_write` does not take this value",
        ),
        ("[[route]]\npath = \"/a\"\nmethods = [\"GET\", \"GET\"]", "GET is listed twice"),
        (
            "[[route]]\npath = \"/a\"\n[[route]]\npath = \"/a\"",
            "two routes match /a with the same methods",
        ),
        (
            "[[route]]\npath = \"/a/{x}\"\n[[route]]\npath = \"/a/{y}\"",
            "two routes match /a/{y} with the same methods",
        ),
        (
            "[[route]]\npath = \"/a\"\nmethods = [\"GET\"]\n[[route]]\npath = \"/a\"",
            "two routes are named \"/a\"",
        ),
        (
            "[[route]]\nname = \"x\"\npath = \"/a\"\n[[route]]\nname = \"x\"\npath = \"/b\"",
            "two routes are named \"x\"",
        ),
        (
            "[[route]]\npath = \"/a/{x}\"\n[[route]]\npath = \"/a/{*y}\"",
            "the path /a/{*y} overlaps another",
        ),
        ("[store]\nmemory = 0", "entries could be kept nowhere"),
        (
            "[admin]\nlisten = \"0.0.0.0:9090\"",
            "the admin listener is open to other machines, and has no token",
        ),
        ("[admin]\nlisten = \"127.0.0.1:8080\"", "clients and the admin listener share port 8080"),
    ];
    for (text, title) in rows {
        assert_eq!(mistakes(text), [*title], "{text}");
    }
    let to_itself = "listen = \"0.0.0.0:3000\"\n[origin]\nurl = \"http://localhost:3000\"";
    assert_eq!(titles(load(to_itself)), ["the origin http://localhost:3000 is this proxy itself"]);
}

#[test]
fn what_only_looks_contradictory_is_taken() {
    for text in [
        "[store]\nmemory = 0\nvalkey = \"valkey://h\"",
        "[admin]\nlisten = \"off\"",
        "[admin]\nlisten = \"0.0.0.0:9090\"\ntoken = \"x\"",
        "[admin]\nlisten = \"[::1]:9090\"",
        "[class.a]\nfreshness = \"route\"\n[[route]]\npath = \"/a\"\nclass = \"a\"\nsoft_ttl = \"1s\"",
        "[class.a]\nsoft_ttl = \"2m\"\nhard_ttl = \"3m\"\n[[route]]\npath = \"/a\"\nclass = \"a\"\nhard_ttl = \"2m\"",
        "[[route]]\npath = \"/a\"\n[[route]]\nname = \"b\"\npath = \"/a\"\nhost = \"h\"",
        "[[route]]\npath = \"/a/{x}\"\nmethods = [\"GET\"]\n[[route]]\npath = \"/a/{*y}\"\nmethods = [\"PUT\"]",
    ] {
        assert_eq!(mistakes(text), [""; 0], "{text}");
    }
    assert!(config("[admin]\nlisten = \"off\"").admin.is_none());
}

#[test]
fn dubious_things_are_warned_about() {
    let rows = [
        ("[class.a]\nsoft_ttl = \"1s\"", "proxy.toml:3: no route is of class \"a\""),
        (
            "[store]\nmemory = 0\nvalkey = \"valkey://h\"",
            "proxy.toml:4: without memory every hit costs a round trip to Valkey",
        ),
        ("[admin]\nlisten = \"off\"\ntoken = \"x\"", "proxy.toml:5: this token is never asked for"),
        (
            "[limits]\ntrusted_proxies = [\"0.0.0.0/0\"]",
            "proxy.toml:4: every client may say who it is",
        ),
        (
            "[[route]]\npath = \"/a\"\ncache = \"off\"\nsoft_ttl = \"1s\"",
            "proxy.toml:6: this key has no effect: the route is not cached",
        ),
        (
            "[store]\nmemory = \"1KiB\"\n[[route]]\npath = \"/a\"\nmax_entry = \"2KiB\"",
            "proxy.toml:7: entries of this size fit nowhere",
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(warnings(text), [expected], "{text}");
    }
}

/// A bridge with these keys below its channel, in a file with a Valkey.
fn bridged(keys: &str) -> String {
    format!(
        "{ORIGIN}[store]\nvalkey = \"valkey://v\"\n[[bridge]]\nchannel = \"products.*\"\n{keys}\n"
    )
}

#[test]
fn a_bridge_is_a_channel_and_names() {
    let text = "names = [\"tag:product:{$.id}\", \"{message}\", \"tag:{1}\"]\non_gap = [\"namespace:c\"]\nmode = \"soft\"\nurl = \"redis://else\"";
    let (config, warnings) = load(&bridged(text)).unwrap_or_else(|e| panic!("{e}"));
    assert!(warnings.is_empty(), "{warnings:?}");
    let [bridge] = config.bridges.as_slice() else { panic!("{:?}", config.bridges) };
    assert_eq!((&*bridge.channel.text, bridge.soft), ("products.*", true));
    let texts = |rules: &[EventRule]| rules.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&bridge.names), ["tag:product:{$.id}", "{message}", "tag:{1}"]);
    assert_eq!(texts(&bridge.on_gap), ["namespace:c"]);
    assert_eq!(bridge.valkey, "redis://else".parse().ok());
    // In the order of the file; without Valkey of its own there is that of the store.
    let two = "names = [\"all\"]\non_gap = []\n[[bridge]]\nchannel = \"a\"\nnames = [\"all\"]\non_gap = [\"all\"]";
    let (config, warnings) = load(&bridged(two)).unwrap_or_else(|e| panic!("{e}"));
    assert!(warnings.is_empty(), "{warnings:?}");
    let channels: Vec<_> = config.bridges.iter().map(|b| &*b.channel.text).collect();
    assert_eq!(channels, ["products.*", "a"]);
    assert!(config.bridges.iter().all(|b| !b.soft && b.valkey.is_none()));
}

#[test]
fn mistakes_of_bridges() {
    let rows: &[(&str, &[&str])] = &[
        ("names = [\"tag:{id}\"]", &["nothing fills {id}"]),
        ("names = [\"tag:{mesage}\"]", &["nothing fills {mesage}"]),
        ("names = [\"tag:{2}\", \"tag:{1}\"]", &["{2} stands for no * of the channel"]),
        ("names = [\"tag:{0}\"]", &["{0} stands for no * of the channel"]),
        ("names = []", &["this bridge invalidates nothing"]),
        ("names = [\"colour:red\"]", &["`names` does not take this value"]),
        ("names = [\"tag:{$.a[*]}{$.b[*]}\"]", &["`names` does not take this value"]),
        ("names = \"all\"", &["`names` does not take this value"]),
        ("", &["a bridge without names"]),
        (
            "names = [\"all\"]\non_gap = [\"tag:{$.id}\"]",
            &["{$.id} stands for nothing here: there is no message"],
        ),
        ("names = [\"all\"]\nmode = \"firm\"", &["`mode` does not take this value"]),
        ("names = [\"all\"]\nurl = \"http://h\"", &["`url` does not take this value"]),
        ("names = [\"all\"]\ngap = []", &["unknown key `gap` in [[bridge]]"]),
    ];
    for (keys, expected) in rows {
        assert_eq!(titles(load(&bridged(keys))), *expected, "{keys}");
    }
    let rows: &[(&str, &[&str])] = &[
        ("[[bridge]]\nchannel = \"a\"\nnames = [\"all\"]", &["there is no Valkey to listen to"]),
        (
            "[[bridge]]\nchannel = \"a[\"\nnames = [\"all\"]\nurl = \"valkey://h\"",
            &["`channel` does not take this value"],
        ),
        ("[[bridge]]\nurl = \"valkey://h\"\nnames = [\"all\"]", &["a bridge without a channel"]),
        ("[bridge]\nchannel = \"a\"", &["`bridge` is not a list of tables"]),
        // Of two mistakes one must not seem to be the other.
        (
            "[store]\nvalkey = \"v\"\n[[bridge]]\nchannel = \"a\"\nnames = [\"all\"]",
            &["`valkey` does not take this value"],
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(mistakes(text), *expected, "{text}");
    }
}

#[test]
fn a_mistake_of_a_bridge_shows_its_place_and_not_its_password() {
    let text = bridged("names = [\"tag:{3}\"]\nurl = \"valkey://u:hunter2@h\"");
    let said = load(&text).unwrap_err().to_string();
    assert!(said.contains("| names = [\"tag:{3}\"]\n"), "{said}");
    assert!(said.contains("expected {channel}, {message}, {1} or {$.path}"), "{said}");
    assert!(said.contains("this channel") && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_bridge_that_says_nothing_of_gaps_is_warned_of() {
    let (_, said) = load(&bridged("names = [\"all\"]")).unwrap();
    let [warning] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!(warning.message(), "what is sent while nobody listens is lost");
}

#[test]
fn keys_beside_the_url_of_valkey_add_to_it() {
    let text = "[store]\nvalkey = \"valkeys-sentinel://a,b/m\"\nusername = \"u\"\n\
                password = \"p@ss word\"\ndatabase = 2\nca_file = \"/ca\"\ncert_file = \"/c\"\n\
                key_file = \"/k\"\nsentinel_username = \"s\"\nsentinel_password = \"${TOKEN}\"";
    let valkey = config(text).store.valkey.unwrap();
    assert_eq!(valkey.login.username.as_deref(), Some("u"));
    assert_eq!(valkey.login.password.unwrap().reveal(), "p@ss word");
    assert_eq!(valkey.database, 2);
    let tls = valkey.tls.unwrap();
    assert_eq!(tls.ca_file, Some("/ca".into()));
    assert_eq!(tls.certificate, Some(("/c".into(), "/k".into())));
    let Place::Sentinel { sentinels, primary, login } = valkey.place else { panic!("Sentinels") };
    assert_eq!((sentinels.len(), &*primary), (2, "m"));
    assert_eq!(login.username.as_deref(), Some("s"));
    assert_eq!(login.password.unwrap().reveal(), "s3cret");
    let plain = config("[store]\nvalkey = \"valkey://h/3\"").store.valkey.unwrap();
    assert!(plain.tls.is_none() && plain.database == 3);
    assert_eq!(plain.login, Login::default());
}

#[test]
fn what_contradicts_the_url_of_valkey_is_told() {
    let no_use = |key: &str| format!("`{key}` has no use here");
    let twice = |what: &str| format!("the {what} of Valkey is given twice");
    let alone = "a user without a password cannot log in".to_owned();
    for (url, keys, expected) in [
        ("", "password = \"p\"\ndatabase = 1", vec![no_use("password"), no_use("database")]),
        ("valkey://u:p@h", "password = \"p\"", vec![twice("password")]),
        ("valkey://u:p@h", "username = \"u\"", vec![twice("user")]),
        ("valkey://h/1", "database = 1", vec![twice("database")]),
        ("valkey://u@h", "password = \"p\"", vec![]),
        ("valkey://u@h", "", vec![alone.clone()]),
        ("valkey://h", "username = \"u\"", vec![alone.clone()]),
        ("valkey-cluster://h", "database = 1", vec![no_use("database")]),
        ("valkey-cluster://h", "database = 0", vec![]),
        ("valkey://h", "ca_file = \"/a\"", vec![no_use("ca_file")]),
        ("unix:///a", "key_file = \"/a\"", vec![no_use("key_file")]),
        (
            "valkeys://h",
            "cert_file = \"/a\"",
            vec!["`cert_file` is given without `key_file`".to_owned()],
        ),
        (
            "valkeys://h",
            "key_file = \"/a\"",
            vec!["`key_file` is given without `cert_file`".to_owned()],
        ),
        ("valkeys://h", "sentinel_password = \"p\"", vec![no_use("sentinel_password")]),
        ("valkey-sentinel://h/m", "sentinel_username = \"u\"", vec![alone]),
        // One mistake is enough.
        ("valkey://", "database = 1", vec!["`valkey` does not take this value".to_owned()]),
    ] {
        let url = if url.is_empty() { String::new() } else { format!("valkey = \"{url}\"\n") };
        assert_eq!(mistakes(&format!("[store]\n{url}{keys}")), expected, "{url}{keys}");
    }
}

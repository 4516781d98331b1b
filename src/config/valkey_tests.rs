use proptest::prelude::*;

use super::*;

fn read(text: &str) -> ValkeyUrl {
    text.parse().unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"))
}

/// A URL as one line: place, TLS, user, password, database.
fn shown(text: &str) -> String {
    let ValkeyUrl { place, tls, login, database } = read(text);
    let place = match place {
        Place::Server(address) => address.to_string(),
        Place::Socket(path) => path.display().to_string(),
        Place::Sentinel { sentinels, primary, .. } => format!("{primary} of {sentinels:?}"),
        Place::Cluster(seeds) => format!("cluster {seeds:?}"),
    };
    let tls = if tls { "tls" } else { "plain" };
    let user = login.username.as_deref().unwrap_or("-");
    let password = login.password.as_ref().map_or("-", Secret::reveal);
    let database = database.map_or_else(|| "-".to_owned(), |number| number.to_string());
    format!("{place} {tls} {user} {password} {database}")
}

#[test]
fn every_form_is_understood() {
    for (text, expected) in [
        ("valkey://127.0.0.1:6380", "127.0.0.1:6380 plain - - -"),
        ("redis://h", "h:6379 plain - - -"),
        ("valkey://h/", "h:6379 plain - - -"),
        ("valkeys://u:p%40s%2Fs@H.example/2", "h.example:6379 tls u p@s/s 2"),
        ("rediss://:p@[::1]:1/0", "[::1]:1 tls - p 0"),
        ("valkey://u@h", "h:6379 plain u - -"),
        ("unix:///run/valkey.sock", "/run/valkey.sock plain - - -"),
        ("unix:///a%20b?db=1&user=u&pass=p%26q", "/a b plain u p&q 1"),
        ("valkey-sentinel://a,b:1/mymaster", "mymaster of [a:26379, b:1] plain - - -"),
        ("rediss-sentinel://u:p@a/my%2Fmaster/3", "my/master of [a:26379] tls u p 3"),
        ("valkeys-cluster://a:7000,[::2]:7001", "cluster [a:7000, [::2]:7001] tls - - -"),
        ("redis-cluster://:p@a/0", "cluster [a:6379] plain - p -"),
    ] {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn what_cannot_be_used_is_refused_without_being_repeated() {
    for text in [
        "",
        "hunter2",
        "127.0.0.1:6379",
        "http://hunter2@h",
        "valkey-proxy://hunter2@h",
        "valkeyz://hunter2@h",
        "valkey://",
        "valkey://:hunter2@",
        "valkey://hunter2@h:0",
        "valkey://hunter2@h:99999",
        "valkey://h/hunter2",
        "valkey://h/+1",
        "valkey://h/1/2",
        "valkey://h?hunter2",
        "valkey://h#hunter2",
        "valkey://hunter2@h h",
        "valkey://hunter2@a,b",
        "valkey://u:%ff@h",
        "unix://hunter2",
        "unix:///a?hunter2=1",
        "unix:///a?db=hunter2",
        "valkey-sentinel://hunter2@a",
        "valkey-sentinel://hunter2@a/",
        "valkey-sentinel://hunter2@a,,b/m",
        "valkey-sentinel://hunter2@a/m/x",
        "valkey-cluster://hunter2@a/1",
        "valkey-cluster://",
    ] {
        let wrong = ValkeyUrl::from_str(text).expect_err(text);
        assert!(!format!("{wrong:?}").contains("hunter2"), "{wrong:?}");
        assert!(Valkey::from_str(text).is_err());
    }
    assert!(Valkey::from_str("valkey://u@h").is_err(), "who logs in needs a password");
}

#[test]
fn no_dump_shows_a_password() {
    let valkey: Valkey = "valkey://me:hunter2@h".parse().unwrap();
    assert!(!format!("{valkey:?}").contains("hunter2"), "{valkey:?}");
    assert_eq!(valkey.login.password.unwrap().reveal(), "hunter2");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_or_shows_itself(
        scheme in prop::sample::select(vec![
            "valkey://", "rediss://", "unix:///", "valkey-sentinel://", "valkeys-cluster://", "",
        ]),
        rest in "[a-z0-9:@/,?=&%#\\[\\]. é-]{0,40}",
    ) {
        let text = format!("{scheme}hunter2{rest}");
        if let Err(wrong) = text.parse::<Valkey>() {
            prop_assert!(!wrong.to_string().contains("hunter2"));
        }
    }
}

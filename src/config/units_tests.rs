use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn refused(kind: &Kind, texts: &[&str]) {
    for text in texts {
        assert!(kind.read(text).is_err(), "{kind:?} took {text:?}");
    }
}

fn help(kind: &Kind, text: &str) -> String {
    kind.read(text).unwrap_err().help.unwrap_or_default()
}

#[test]
fn durations_have_a_unit_and_bounds() {
    let kind = Kind::Duration(SECOND, SECOND * 3600);
    for (text, seconds) in [("1s", 1), ("30s", 30), (" 5m ", 300), ("30m 1s", 1801), ("1h", 3600)] {
        let Value::Duration(read) = kind.read(text).unwrap() else { panic!("{text}") };
        assert_eq!(read, SECOND * seconds, "{text}");
    }
    refused(&kind, &["", "30", "s", "-1s", "999ms", "2h", "1x", "99999999999999999999y", "30 s x"]);
    assert_eq!(help(&kind, "30"), "add a unit: \"30s\" or \"30ms\"");
    let error = kind.read("2h").unwrap_err();
    assert_eq!(error.expected, "a duration from 1s to 1h");
}

#[test]
fn sizes_count_bytes_in_units_of_both_kinds() {
    let kind = Kind::Size(0, 1 << 30);
    for (text, bytes) in
        [("0", 0), ("1024", 1024), ("8MiB", 8 << 20), ("1 MB", 1_000_000), ("1GiB", 1 << 30)]
    {
        let Value::Number(read) = kind.read(text).unwrap() else { panic!("{text}") };
        assert_eq!(read, bytes, "{text}");
    }
    refused(
        &kind,
        &["", "-1", "MiB", "2GiB", "1e9", "nanMB", "8 apples", "99999999999999999999TB"],
    );
    assert_eq!(kind.read("2GiB").unwrap_err().expected, "a size from 0B to 1GiB");
}

#[test]
fn shares_end_in_per_cent() {
    let kind = Kind::Ratio(0.5);
    for (text, share) in [("0%", 0.0), ("10%", 0.1), ("12.5 %", 0.125), ("50%", 0.5)] {
        let Value::Ratio(read) = kind.read(text).unwrap() else { panic!("{text}") };
        assert!((read - share).abs() < 1e-9, "{text}");
    }
    refused(&kind, &["", "%", "10", "51%", "-1%", "nan%", "inf%", "ten%"]);
}

#[test]
fn words_are_known_or_guessed() {
    let kind = Kind::Words(&["revalidate", "serve"]);
    assert!(matches!(kind.read("serve"), Ok(Value::Word("serve"))));
    assert_eq!(help(&kind, "sreve"), "did you mean `serve`?");
    assert_eq!(kind.read("x").unwrap_err().expected, "\"revalidate\" or \"serve\"");
}

#[test]
fn addresses_have_a_port_and_a_cure() {
    for text in ["127.0.0.1:8080", "[::1]:0", "0.0.0.0:80"] {
        assert!(matches!(Kind::Address.read(text), Ok(Value::Address(Some(_)))), "{text}");
    }
    assert!(matches!(Kind::AddressOrOff.read("off"), Ok(Value::Address(None))));
    refused(&Kind::Address, &["", "off", "127.0.0.1", "a:80", "127.0.0.1:65536", "[::1]"]);
    assert_eq!(help(&Kind::Address, "localhost:80"), "write \"127.0.0.1:80\"");
    assert_eq!(help(&Kind::Address, ":80"), "write \"0.0.0.0:80\" to listen on every interface");
    assert_eq!(help(&Kind::Address, "::1"), "");
    assert_eq!(help(&Kind::Address, "127.0.0.1"), "add the port");
}

#[test]
fn small_kinds_take_what_they_say() {
    let rows: &[(Kind, &[&str], &[&str])] = &[
        (Kind::Secret, &["x", "a-b_c.d~e+f/g="], &["", "a b", "é", "a\n"]),
        (Kind::Password, &["x", "a b", "é@/"], &[""]),
        (Kind::Username, &["default", "é"], &["", "a b", "a\n"]),
        (Kind::File, &["/etc/ca.pem", "ca.pem", "a b"], &["", "a\0"]),
        (
            Kind::ValkeyUrl,
            &["valkey://h", "valkeys://u:p@h/2", "unix:///a", "valkey-sentinel://a,b/m"],
            &["", "h:6379", "http://h", "valkey-sentinel://a,b", "valkey-cluster://a/1"],
        ),
        (
            Kind::HostPolicy,
            &["preserve", "origin", "api.internal", "api:8080", "[::1]:80"],
            &["", "a b", "http://a", "a:x", "preserv", "orign", "a/b"],
        ),
        (Kind::Prefix, &["larder", "a.b-c_1"], &["", "a:b", "a b", "{x}", "é"]),
        (
            Kind::LogFilter,
            &["info", "WARN", "off", "info,larder::store=debug", "larder::a"],
            &["", "loud", "=info", "a=loud", "info,"],
        ),
        (Kind::RouteName, &["product", "a/b.c-d_e"], &["", "-", "a b", "{id}", "a:b"]),
        (Kind::Method, &["GET", "PURGE", "M-SEARCH"], &["", "get", "CONNECT", "TRACE", "A B"]),
        (
            Kind::Namespace,
            &["a", "catalog/products", "t/{tenant}/x"],
            &["", "/a", "a/", "a//b", "a b", "{$.id}", "{"],
        ),
        (Kind::Tag, &["product:{id}", "p:{$.items[*].id}", "x"], &["", "a b", "{", "{$id}"]),
        (Kind::Parameter, &["utm_*", "q", "*", "a[b]"], &["", "*a", "a*b", "a=b", "a&b", "a b"]),
        (Kind::FieldName, &["Accept-Language", "x-y"], &["", "a b", "cookie", "é"]),
        (Kind::CookieName, &["currency", "a.b"], &["", "a b", "a=b", "a;b", "é"]),
        (Kind::Network, &["10.0.0.0/8", "::1"], &["", "10.0.0.0/64", "a"]),
    ];
    for (kind, good, bad) in rows {
        for text in *good {
            assert!(kind.read(text).is_ok(), "{kind:?} refused {text:?}: {:?}", kind.read(text));
        }
        refused(kind, bad);
    }
    assert_eq!(help(&Kind::Method, "get"), "write \"GET\"");
}

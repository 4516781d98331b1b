use http::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::config::QueryRule;

/// Everything that a key may depend on.
#[derive(Clone, Debug)]
struct Asked {
    route: &'static str,
    namespace: &'static str,
    version: Position,
    uri: String,
    lines: Vec<(&'static str, &'static str)>,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            route: "r",
            namespace: "n",
            version: Position::ZERO,
            uri: "http://h.test/p".into(),
            lines: vec![],
        }
    }
}

impl Asked {
    fn at(uri: &str) -> Self {
        Self { uri: uri.into(), ..Self::default() }
    }

    fn with(lines: &[(&'static str, &'static str)]) -> Self {
        Self { lines: lines.to_vec(), ..Self::default() }
    }

    fn uri(&self) -> http::Uri {
        self.uri.parse().unwrap()
    }

    fn headers(&self) -> HeaderMap {
        self.lines
            .iter()
            .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
            .collect()
    }

    fn key(&self, rules: &KeyRules) -> Key {
        let (route, namespace) = (Arc::from(self.route), Arc::from(self.namespace));
        let place =
            Place { route: &route, namespace: &namespace, version: self.version, tags: [0; 8] };
        Key::primary(&place, rules, &self.uri(), &self.headers())
    }
}

fn rules(query: QueryRule) -> KeyRules {
    KeyRules {
        query,
        headers: vec![HeaderName::from_static("x-a"), HeaderName::from_static("x-b")],
        cookies: vec!["c".into(), "d".into()],
    }
}

/// The parts of a key, read back by the grammar at the head of the room; `None` if it is broken.
fn parts(full: &[u8]) -> Option<Vec<(char, Vec<u8>)>> {
    let mut rest = full.strip_prefix(&[FORMAT])?;
    let mut parts = vec![];
    while let Some((kind, after)) = rest.split_first() {
        let end = after.iter().position(|byte| *byte < 0x80)?;
        let length =
            after[..=end].iter().rev().fold(0, |sum, b| (sum << 7) | usize::from(b & 0x7f));
        let (bytes, next) = after[end + 1..].split_at_checked(length)?;
        parts.push((char::from(*kind), bytes.to_vec()));
        rest = next;
    }
    Some(parts)
}

/// As `semantics::vary` might: the lines joined, letters in lower case.
fn lowered(name: &HeaderName, headers: &HeaderMap) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    (!lines.is_empty()).then(|| lines.join(&b", "[..]).to_ascii_lowercase())
}

#[test]
fn requests_that_differ_have_different_keys() {
    let long_a = "a".repeat(200);
    let all = [
        Asked::default(),
        Asked { route: "rn", namespace: "", ..Asked::default() },
        Asked { route: "", namespace: "rn", ..Asked::default() },
        Asked { version: Position { millis: 0, sequence: 1 }, ..Asked::default() },
        Asked { version: Position { millis: 1, sequence: 0 }, ..Asked::default() },
        Asked::at("https://h.test/p"),
        Asked::at("http://h.test:8080/p"),
        Asked::at("http://other.test/p"),
        Asked::at("http://h.test/P"),
        Asked::at("http://h.test/p/"),
        Asked::at("http://h.test//p"),
        Asked::at("http://h.test/./p"),
        Asked::at("http://h.test/%70"),
        Asked::at("http://h.test/p%2f"),
        Asked::at("http://h.test/p%2F"),
        Asked::at("http://h.test/p?a"),
        Asked::at("http://h.test/p?a="),
        Asked::at("http://h.test/p?a=1&a=2"),
        Asked::at("http://h.test/p?a=2&a=1"),
        Asked::at("http://h.test/p?a=1;a=2"),
        Asked::at("http://h.test/p%3Fa"),
        Asked::at(&format!("http://h.test/{long_a}")),
        Asked::at(&format!("http://h.test/{long_a}a")),
        Asked::with(&[("x-a", "")]),
        Asked::with(&[("x-a", "1")]),
        Asked::with(&[("x-b", "1")]),
        Asked::with(&[("x-a", "1, 2")]),
        Asked::with(&[("x-a", "1"), ("x-a", "2")]),
        Asked::with(&[("x-a", "2"), ("x-a", "1")]),
        Asked::with(&[("x-a", "1"), ("x-b", "2")]),
        Asked::with(&[("x-a", "1h2")]),
        Asked::with(&[("cookie", "c")]),
        Asked::with(&[("cookie", "c=")]),
        Asked::with(&[("cookie", "c=1")]),
        Asked::with(&[("cookie", "d=1")]),
        Asked::with(&[("cookie", "c=1; d=1")]),
        Asked::with(&[("cookie", "c=1; c=2")]),
        Asked::with(&[("cookie", "c=2; c=1")]),
        Asked::with(&[("cookie", "c =1")]),
        Asked::with(&[("cookie", "c=1 ;e")]),
    ];
    let keys: Vec<Key> = all.iter().map(|asked| asked.key(&rules(QueryRule::All))).collect();
    for (at, one) in keys.iter().enumerate() {
        for two in &keys[..at] {
            assert_ne!(one.full, two.full, "{:?}", parts(&one.full));
            assert_ne!(one.digest, two.digest);
        }
    }
}

#[test]
fn requests_that_mean_the_same_share_a_key() {
    for (one, two) in [
        (Asked::at("http://h.test/p?a=1&b=2"), Asked::at("http://h.test/p?b=2&a=1")),
        (Asked::at("http://h.test/p?"), Asked::at("http://h.test/p")),
        (Asked::at("http://h.test/p?utm_x=1"), Asked::at("http://h.test/p")),
        (Asked::with(&[("x-c", "1")]), Asked::default()),
        (Asked::with(&[("cookie", "e=1; cc=2; =c")]), Asked::default()),
        (Asked::with(&[("cookie", "e=1; c=2")]), Asked::with(&[("cookie", "c=2;e=3")])),
        (
            Asked::with(&[("cookie", "c=1"), ("cookie", "d=2")]),
            Asked::with(&[("cookie", "d=2; c=1")]),
        ),
        (Asked::with(&[("x-b", "1"), ("x-a", "2")]), Asked::with(&[("x-a", "2"), ("x-b", "1")])),
    ] {
        let rules = rules(QueryRule::Ignore(vec!["utm_*".into()]));
        assert_eq!(one.key(&rules), two.key(&rules), "{one:?} {two:?}");
    }
}

#[test]
fn a_key_reads_back_as_its_parts() {
    let asked = Asked {
        uri: "http://h.test:81/p/%2F?b=2&a=1".into(),
        lines: vec![("x-b", ""), ("cookie", "c=1; d"), ("cookie", "c")],
        ..Asked::default()
    };
    let text =
        |(kind, bytes): (char, Vec<u8>)| format!("{kind}{}", String::from_utf8(bytes).unwrap());
    let found: Vec<String> =
        parts(&asked.key(&rules(QueryRule::All)).full).unwrap().into_iter().map(text).collect();
    let version = format!("@{}", "\0".repeat(16));
    assert_eq!(
        found,
        [
            "rr",
            "nn",
            &version,
            "t\0\0\0\0\0\0\0\0",
            "shttp",
            "ah.test:81",
            "p/p/%2F",
            "qa=1&b=2",
            "Hx-a",
            "Hx-b",
            "h",
            "Cc",
            "c=1",
            "c",
            "Cd",
            "c",
        ]
    );
}

#[test]
fn the_digest_is_the_start_of_blake3() {
    let key = Asked::default().key(&KeyRules::default());
    assert_eq!(key.digest.0, blake3::hash(&key.full).as_bytes()[..16]);
    assert_eq!(key.digest.to_string().len(), 32);
}

#[test]
fn the_bytes_of_format_1_do_not_change_unnoticed() {
    let key = Asked::at("https://h.test/p?q").key(&rules(QueryRule::All));
    let expected = b"\x01r\x01rn\x01n@\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0t\x08\0\0\0\0\0\0\0\0s\x05httpsa\x06h.test\
        p\x02/pq\x01qH\x03x-aH\x03x-bC\x01cC\x01d";
    assert_eq!(key.full[..], expected[..]);
}

#[test]
fn a_variant_tells_absent_from_empty_and_shares_what_is_normalised_away() {
    let names = ["accept", "accept-language"].map(HeaderName::from_static);
    let primary = Asked::default().key(&KeyRules::default());
    let variant = |lines: &[(&'static str, &'static str)]| {
        primary.variant(&names, &Asked::with(lines).headers(), lowered)
    };
    let (accept, language) = ("accept", "accept-language");
    let different = [
        variant(&[]),
        variant(&[(accept, "")]),
        variant(&[(language, "")]),
        variant(&[(accept, "en")]),
        variant(&[(language, "en")]),
        primary.clone(),
        primary.variant(&names[..1], &HeaderMap::new(), lowered),
    ];
    for (at, one) in different.iter().enumerate() {
        assert!(different[..at].iter().all(|two| one.full != two.full), "{one:?}");
        assert!(one.full.starts_with(&primary.full));
        assert_eq!((&one.route, &one.namespace), (&primary.route, &primary.namespace));
    }
    assert_eq!(variant(&[(accept, "EN")]), variant(&[(accept, "en")]));
    assert_eq!(variant(&[(accept, "a"), (accept, "b")]), variant(&[(accept, "a, b")]));
    assert_eq!(variant(&[("x-other", "a")]), variant(&[]));
}

#[test]
fn an_invalid_uri_form_still_has_a_key() {
    for uri in ["*", "/p?q", "h.test:80"] {
        assert!(parts(&Asked::at(uri).key(&KeyRules::default()).full).is_some(), "{uri}");
    }
}

/// Short texts that a key without lengths would run together.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "a", "aa", "n\u{1}a", "r", "/", "?", "&", "a&a", "h\u{1}"])
}

fn value() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "", "a", "a, a", "h", "H", "c=a", "c=a; c", "c=; d=a", "d", ",", ";c", "c =a", "c=a ;d ",
        "cd",
    ])
}

fn asked() -> impl Strategy<Value = Asked> {
    let authority = prop::sample::select(vec!["h", "h:81", "hp", "a"]);
    let scheme = prop::sample::select(vec!["http", "https"]);
    let field = prop::sample::select(vec!["x-a", "x-b", "cookie"]);
    let lines = prop::collection::vec((field, value()), 0..4);
    let sequence = 0..2_u64;
    (
        piece(),
        piece(),
        sequence,
        scheme,
        authority,
        "(/[ap%2]{0,2}){0,2}",
        "(\\?[ab=&;1]{0,6})?",
        lines,
    )
        .prop_map(|(route, namespace, sequence, scheme, authority, path, query, lines)| {
            Asked {
                route,
                namespace,
                version: Position { millis: sequence, sequence },
                uri: format!("{scheme}://{authority}{path}{query}"),
                lines,
            }
        })
}

/// What should tell two requests apart, told without a key.
fn identity(asked: &Asked, rule: &QueryRule) -> impl PartialEq + fmt::Debug + use<> {
    let uri = asked.uri();
    let lines = |name: &str| -> Vec<String> {
        asked.lines.iter().filter(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()).collect()
    };
    let cookies = lines("cookie").join(";");
    let cookie = |name: &str| -> Vec<String> {
        cookies
            .split(';')
            .map(str::trim_start)
            .filter(|pair| pair.split('=').next().map(str::trim_end) == Some(name))
            .map(str::to_owned)
            .collect()
    };
    (
        (asked.route, asked.namespace, asked.version),
        (uri.scheme().cloned(), uri.authority().cloned(), uri.path().to_owned()),
        query::canonical(rule, uri.query()).map(|q| q.into_owned()),
        (lines("x-a"), lines("x-b"), cookie("c"), cookie("d")),
    )
}

fn query_rule() -> impl Strategy<Value = QueryRule> {
    prop_oneof![
        Just(QueryRule::All),
        Just(QueryRule::Ignore(vec!["b*".into()])),
        Just(QueryRule::Only(vec!["a".into()])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn keys_are_equal_exactly_when_the_requests_are(
        one in asked(),
        two in asked(),
        take in any::<[bool; 6]>(),
        rule in query_rule(),
    ) {
        // The second request takes over some of the first one, so that equal and nearly equal
        // pairs are as common as strangers.
        let mut two = two;
        if take[0] { two.route = one.route; }
        if take[1] { two.namespace = one.namespace; }
        if take[2] { two.version = one.version; }
        if take[3] { two.uri.clone_from(&one.uri); }
        if take[4] { two.lines.clone_from(&one.lines); }
        if take[5] { two = Asked { uri: two.uri, ..one.clone() }; }
        let rules = rules(rule);
        let same = identity(&one, &rules.query) == identity(&two, &rules.query);
        let (one, two) = (one.key(&rules), two.key(&rules));
        prop_assert_eq!(one.full == two.full, same);
        prop_assert_eq!(one.digest == two.digest, same);
    }

    #[test]
    fn requests_with_one_key_are_forwarded_with_the_same_bytes(
        one in asked(),
        query in "(\\?[ab=&;1]{0,6})?",
        rule in query_rule(),
    ) {
        let path = one.uri.split('?').next().unwrap().to_owned();
        let two = Asked { uri: format!("{path}{query}"), ..one.clone() };
        let rules = rules(rule);
        let forwarded = |asked: &Asked| {
            let uri = asked.uri();
            let query = query::canonical(&rules.query, uri.query());
            url::canonical_uri(&uri, query.as_deref()).to_string()
        };
        prop_assert_eq!(one.key(&rules) == two.key(&rules), forwarded(&one) == forwarded(&two));
        // A request that has been made canonical already keeps its key.
        let canonical = Asked { uri: forwarded(&one), ..one.clone() };
        prop_assert_eq!(canonical.key(&rules), one.key(&rules));
    }

    #[test]
    fn every_key_reads_back(asked in asked(), rule in query_rule()) {
        let (key, uri) = (asked.key(&rules(rule)), asked.uri());
        let read = parts(&key.full).unwrap();
        let find = |kind| read.iter().find(|(k, _)| *k == kind).map(|(_, bytes)| bytes.as_slice());
        prop_assert_eq!(find('r'), Some(asked.route.as_bytes()));
        prop_assert_eq!(find('n'), Some(asked.namespace.as_bytes()));
        prop_assert_eq!(find('p'), Some(uri.path().as_bytes()));
        prop_assert_eq!(read.iter().filter(|(kind, _)| "rn@sapHHCC".contains(*kind)).count(), 10);
    }

    #[test]
    fn variants_are_equal_exactly_when_what_they_vary_on_is(
        one in prop::collection::vec(prop::option::of("[aAV\u{1}]{0,3}"), 3),
        two in prop::collection::vec(prop::option::of("[aAV\u{1}]{0,3}"), 3),
    ) {
        let names = ["v", "v-a", "a"].map(HeaderName::from_static);
        let primary = Asked::default().key(&KeyRules::default());
        let of = |values: &[Option<String>]| {
            primary.variant(&names, &HeaderMap::new(), |name, _| {
                let at = names.iter().position(|n| n == name).unwrap();
                values[at].clone().map(String::into_bytes)
            })
        };
        prop_assert_eq!(of(&one).full == of(&two).full, one == two);
    }

    #[test]
    fn lengths_of_any_size_read_back(length in prop::sample::select(
        vec![0_usize, 1, 127, 128, 129, 16_383, 16_384, 70_000],
    )) {
        let mut text = Parts::with_capacity(0);
        text.push(Kind::Path, &vec![0xff; length]);
        text.push(Kind::Query, b"q");
        let read = parts(&text.0).unwrap();
        prop_assert_eq!(read, vec![('p', vec![0xff; length]), ('q', b"q".to_vec())]);
    }
}

#[test]
fn parts_have_a_key_of_their_own_and_variants_under_it() {
    let asked = Asked::with(&[("x-lang", "de")]);
    let key = asked.key(&rules(QueryRule::All));
    let names = [HeaderName::from_static("x-lang")];
    let of = |key: &Key| key.variant(&names, &asked.headers(), lowered);
    let keys = [key.clone(), key.parts(), of(&key), of(&key.parts()), of(&key).parts()];
    for (n, one) in keys.iter().enumerate() {
        for other in &keys[n + 1..] {
            assert_ne!(one.full, other.full);
            assert_ne!(one.digest, other.digest);
        }
        assert_eq!(one.namespace, key.namespace);
        assert_eq!(one.version, key.version);
    }
    let last = parts(&key.parts().full).unwrap().pop();
    assert_eq!(last, Some(('P', Vec::new())));
}

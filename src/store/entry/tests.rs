use http::header::{HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::config::{KeyRules, QueryRule};
use crate::key::{Key, Place, url};

/// The full text of the key of `http://h.test/p?b=2&a=1` on a route of one query parameter.
fn key() -> Key {
    let (route, namespace) = (Arc::from("a route"), Arc::from("catalog/products"));
    let version = Position { millis: 7, sequence: 1 };
    let place = Place { route: &route, namespace: &namespace, version, tags: *b"nNpPqQaA" };
    let rules = KeyRules {
        query: QueryRule::All,
        headers: vec![HeaderName::from_static("x-a")],
        cookies: Vec::new(),
    };
    let mut headers = HeaderMap::new();
    headers.append("x-a", HeaderValue::from_static("p\tq"));
    Key::primary(&place, &rules, &"http://h.test/p?b=2&a=1".parse().unwrap(), &headers)
}

fn draft() -> Draft {
    let moment = Timestamp::from_millis;
    let mut headers = HeaderMap::new();
    for (name, value) in [("link", "</a>"), ("etag", "\"1\""), ("link", "</b>")] {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.append("x-odd", HeaderValue::from_bytes(b" \xe9\t").unwrap());
    Draft {
        key: key().full,
        response: StoredResponse {
            status: StatusCode::NOT_FOUND,
            headers,
            body: Bytes::from_static(b"seven"),
            times: Times {
                response_time: moment(1),
                initial_age: Duration::from_millis(2),
                fresh_until: moment(3),
                stale_until: moment(4),
                error_until: moment(5),
                keep_until: moment(6),
            },
        },
        namespace: "catalog/products".into(),
        url: "//h.test/p?a=1&b=2".into(),
        tags: Vec::new(),
        groups: Vec::new(),
        as_of: Position { millis: 9, sequence: 3 },
        vouched: moment(8),
        fill_time: Duration::from_micros(12_345),
    }
}

fn assert_same(read: &Draft, written: &Draft) {
    assert_eq!(read.key, written.key);
    assert_eq!(read.response.status, written.response.status);
    assert_eq!(read.response.headers, written.response.headers);
    assert_eq!(read.response.body, written.response.body);
    assert_eq!(read.response.times, written.response.times);
    assert_eq!((&read.namespace, &read.url), (&written.namespace, &written.url));
    assert_eq!((&read.tags, &read.groups), (&written.tags, &written.groups));
    assert_eq!((read.as_of, read.vouched), (written.as_of, written.vouched));
    assert_eq!(read.fill_time, written.fill_time);
}

#[test]
fn the_key_says_where_an_entry_is() {
    let entry = Entry::from(draft());
    assert!(entry.block().names.is_empty(), "kept twice");
    assert_eq!((&*entry.namespace(), &*entry.url()), ("catalog/products", "//h.test/p?a=1&b=2"));
    assert_same(&entry.draft(), &draft());
    let uri = "http://h.test/p".parse().unwrap();
    for url in ["//h.test/p", "//h.test/p?a=2&b=1", "", &url::entry_url(&uri, Some(""))] {
        let by_rule = Draft { url: url.into(), ..draft() };
        assert_same(&Entry::from(by_rule.clone()).draft(), &by_rule);
    }
}

#[test]
fn lines_end_and_content_are_one_piece() {
    let lines = b"etag: \"1\"\r\nlink: </a>\r\nlink: </b>\r\nx-odd:  \xe9\t\r\n";
    let mut draft = draft();
    let entry = Entry::from(draft.clone());
    assert_eq!(entry.lines().as_bytes(), lines);
    assert_eq!((entry.content(), entry.body()), (&b"seven"[..], Bytes::from_static(b"seven")));
    assert!(entry.at_a_glance().of_304.is_none(), "neither date nor length");
    draft.response.headers.append("date", HeaderValue::from_static("x"));
    draft.response.headers.append("content-length", HeaderValue::from_static("5"));
    let entry = Entry::from(draft);
    let (tail, content) = entry.at_a_glance().tail;
    let of_304 = [lines, &b"date: x\r\n"[..]].concat();
    assert_eq!(entry.at_a_glance().of_304.map(Lines::as_bytes), Some(&of_304[..]));
    let expected = [b"content-length: 5\r\n", &of_304[..], b"\r\nseven"].concat();
    assert_eq!((tail, content), (expected.into(), None));
}

#[test]
fn a_large_content_is_not_copied() {
    for (length, together) in [(1, true), (TOGETHER, true), (TOGETHER + 1, false)] {
        let mut large = draft();
        large.response.body = vec![7; length].into();
        large.response.headers.append("date", HeaderValue::from_static("x"));
        large.response.headers.append("content-length", HeaderValue::from(length));
        let at = large.response.body.as_ptr();
        let entry = Entry::from(large.clone());
        let (_, content) = entry.at_a_glance().tail;
        assert_eq!(content.is_none(), together);
        assert_eq!(entry.body().as_ptr() == at, !together);
        assert_same(&entry.draft(), &large);
    }
}

#[test]
fn another_one_is_made_from_it() {
    let tags: [Box<str>; 2] = ["product:7".into(), "é".into()];
    let entry = Entry::from(Draft { groups: vec!["".into()], ..draft() });
    entry.judged.found_good(None);
    let mut expected = Draft { tags: tags.to_vec(), groups: vec!["".into()], ..draft() };
    expected.response.body = Bytes::from_static(b"eight");
    let filled = entry.with_content(Bytes::from_static(b"eight"), &tags);
    assert_same(&filled.draft(), &expected);
    let times = Times::none(Timestamp::from_millis(77));
    expected.response.times = times;
    assert_same(&filled.with_times(times).draft(), &expected);
}

/// A million of them are what memory is for.
#[test]
fn it_is_small() {
    assert!(size_of::<Entry>() <= 96, "{}", size_of::<Entry>());
    let entry = Entry::from(draft());
    let [block, apart] = entry.allocated();
    let said = entry.key().len() + entry.lines().as_bytes().len() + entry.content().len();
    assert_eq!((block, apart), (said + 2 + 2 + 2 + 2 + 3 + 2, 0));
}

proptest! {
    #[test]
    fn whatever_is_packed_comes_back(
        key in vec(any::<u8>(), 0..300), known: bool, status in 100..1000_u16,
        body in vec(any::<u8>(), 0..300), texts in [".{0,9}", ".{0,9}"],
        tags in vec(".{0,9}", 0..4), groups in vec(".{0,9}", 0..4), fill in any::<u64>(),
    ) {
        let boxed = |list: Vec<String>| list.into_iter().map(String::into_boxed_str).collect();
        let [namespace, url] = texts.map(String::into_boxed_str);
        let mut written = Draft {
            namespace, url, tags: boxed(tags), groups: boxed(groups),
            fill_time: Duration::from_micros(fill), ..draft()
        };
        if !known {
            written.key = key.into();
        }
        written.response.status = StatusCode::from_u16(status).unwrap();
        written.response.body = body.into();
        assert_same(&Entry::from(written.clone()).draft(), &written);
    }

    #[test]
    fn any_block_does_no_harm(bytes in vec(any::<u8>(), 0..60)) {
        let draft = draft();
        let mut entry = Entry::from(draft);
        entry.data = Data::Together(bytes.into());
        let _ = (entry.draft(), entry.at_a_glance().tail, entry.belongs());
    }
}

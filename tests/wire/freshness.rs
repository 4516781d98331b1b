//! For how long (RFC 9111 §4.2, RFC 9213)? Nothing here waits: `Age`, `Date` and `Expires` of the
//! origin make things old at once.

use crate::stage::{Place, Stage, date};
use crate::support::client::Reply;
use crate::support::origin::{Answer, ok};

/// Seconds of freshness that a reply has left.
fn left(reply: &Reply) -> i64 {
    let told = reply.status();
    told.value("ttl").and_then(|ttl| ttl.parse().ok()).unwrap_or_else(|| panic!("{reply:?}"))
}

/// Fetches it, and asks again: how many seconds it has left then. A busy machine takes its time, so
/// what comes out is compared with ten of them to spare.
async fn lasts(stage: &Stage, path: &str, answer: Answer, expected: i64) {
    stage.on(path, answer);
    stage.stores(path).await;
    let hit = stage.hit(path).await;
    let left = left(&hit);
    // Valkey keeps nothing for longer than a year.
    let kept = if stage.world.cache.place == Place::Valkey { 366 * 86_400 } else { i64::MAX };
    let expected = expected.min(kept);
    assert!((expected - 10..=expected).contains(&left), "{path}: {expected}, {hit:?}");
    assert_eq!(stage.saw(path), 1, "{path}");
}

/// It has a validator, so it is stored; but each use is asked about.
async fn is_stale_at_once(stage: &Stage, path: &str, answer: Answer) {
    stage.on(path, answer.header("etag", "\"1\""));
    stage.stores(path).await;
    let next = stage.get(path).await;
    assert_eq!(next.status().value("fwd"), Some("stale"), "{path}: {next:?}");
    assert_eq!(stage.asked(path)[1].field("if-none-match"), "\"1\"", "{path}");
}

pub(crate) async fn s_maxage_comes_before_max_age_and_that_before_expires(stage: &Stage) {
    let (later, before) = (date(5_000), date(-5_000));
    let control = |said: &str| ok("x").header("cache-control", said);
    lasts(
        stage,
        "/s-maxage",
        control("max-age=1, s-maxage=1000").header("expires", &before),
        1_000,
    )
    .await;
    lasts(stage, "/max-age", control("max-age=1000").header("expires", &later), 1_000).await;
    lasts(stage, "/expires", ok("x").header("expires", &later).header("date", &date(0)), 5_000)
        .await;
    lasts(stage, "/smallest", control("max-age=2000, max-age=1000"), 1_000).await;
    is_stale_at_once(stage, "/s-maxage-0", control("max-age=1000, s-maxage=0")).await;
    is_stale_at_once(stage, "/max-age-0", control("max-age=0").header("expires", &later)).await;
}

pub(crate) async fn age_and_date_count_against_the_lifetime(stage: &Stage) {
    lasts(stage, "/age", ok("x").max_age(1_000).header("age", "400"), 600).await;
    lasts(stage, "/date", ok("x").max_age(1_000).header("date", &date(-300)), 700).await;
    let both = ok("x").max_age(1_000).header("date", &date(-300)).header("age", "400");
    lasts(stage, "/larger", both, 600).await;
    // Of several the first counts; what is no age is none (§5.1).
    lasts(stage, "/first-age", ok("x").max_age(1_000).header("age", "400, 900"), 600).await;
    lasts(stage, "/odd-age", ok("x").max_age(1_000).header("age", "old"), 1_000).await;
    lasts(stage, "/early", ok("x").max_age(1_000).header("date", &date(300)), 1_000).await;
    let dated = ok("x").header("date", &date(-300)).header("expires", &date(700));
    lasts(stage, "/expires", dated, 700).await;
    is_stale_at_once(stage, "/old", ok("x").max_age(60).header("age", "61")).await;
    is_stale_at_once(stage, "/older", ok("x").max_age(60).header("date", &date(-100))).await;
    is_stale_at_once(stage, "/ancient", ok("x").max_age(60).header("age", &"9".repeat(30))).await;
}

pub(crate) async fn what_is_no_lifetime_is_none(stage: &Stage) {
    for (path, name, said) in [
        ("/letters", "cache-control", "max-age=a"),
        ("/empty", "cache-control", "max-age="),
        ("/bare", "cache-control", "max-age"),
        ("/negative", "cache-control", "max-age=-5"),
        ("/fraction", "cache-control", "max-age=60.5"),
        ("/one-of-two", "cache-control", "max-age=60, max-age=x"),
        ("/expires-0", "expires", "0"),
        ("/expires-word", "expires", "later"),
        ("/expires-zone", "expires", "Fri, 31 Dec 2100 23:59:59 CET"),
    ] {
        is_stale_at_once(stage, path, ok("x").header(name, said)).await;
    }
    // What cannot be read at all may hide a prohibition.
    stage.on("/space", ok("x").header("cache-control", "max-age= 60").header("etag", "\"1\""));
    stage.never_stores("/space", &[]).await;
    let twice = ok("x").header("expires", &date(60)).header("expires", &date(90));
    is_stale_at_once(stage, "/expires-twice", twice).await;
}

pub(crate) async fn numbers_may_be_quoted_and_large(stage: &Stage) {
    let control = |said: &str| ok("x").header("cache-control", said);
    lasts(stage, "/quoted", control("max-age=\"1000\""), 1_000).await;
    lasts(stage, "/zeros", control("max-age=0001000"), 1_000).await;
    lasts(stage, "/largest", control("max-age=2147483648"), 2_147_483_648).await;
    lasts(stage, "/too-large", control("max-age=99999999999999999999"), 2_147_483_648).await;
    lasts(stage, "/old-date", ok("x").header("expires", "Thursday, 31-Dec-65 23:59:59 GMT"), {
        let end = httpdate::parse_http_date("Thu, 31 Dec 2065 23:59:59 GMT").unwrap();
        let now = httpdate::parse_http_date(&date(0)).unwrap();
        i64::try_from(end.duration_since(now).unwrap().as_secs()).unwrap()
    })
    .await;
}

pub(crate) async fn a_field_for_caches_like_this_one_comes_first(stage: &Stage) {
    let all = |larder: &str, cdn: &str, plain: &str| {
        [("larder-cache-control", larder), ("cdn-cache-control", cdn), ("cache-control", plain)]
            .into_iter()
            .filter(|(_, said)| !said.is_empty())
            .fold(ok("x"), |answer, (name, said)| answer.header(name, said))
    };
    lasts(stage, "/larder", all("max-age=3000", "max-age=2000", "max-age=1000"), 3_000).await;
    lasts(stage, "/cdn", all("", "max-age=2000", "max-age=1000"), 2_000).await;
    lasts(stage, "/opens", all("", "max-age=2000", "no-store, private"), 2_000).await;
    lasts(stage, "/expires", all("max-age=2000", "", "").header("expires", "0"), 2_000).await;
    for (path, answer) in [
        ("/closes", all("", "no-store", "max-age=1000")),
        ("/silent", all("", "must-revalidate", "max-age=1000")),
        ("/first", all("private", "max-age=2000", "max-age=1000")),
    ] {
        stage.on(path, answer);
        stage.never_stores(path, &[]).await;
    }
    // A targeted field is passed on: caches behind this one may be meant too (RFC 9213 §2.2).
    stage.hit("/cdn").await;
    assert_eq!(stage.get("/cdn").await.field("cdn-cache-control"), "max-age=2000");
}

pub(crate) async fn a_targeted_field_that_is_broken_is_not_there(stage: &Stage) {
    for (path, said) in [
        ("/comma", "no-store,"),
        ("/capitals", "No-Store"),
        ("/equals", "no-store=, max-age=5"),
        ("/octets", "no-store, \u{e4}"),
        ("/empty", ""),
    ] {
        let answer = ok("x").header("cdn-cache-control", said).max_age(1_000);
        lasts(stage, path, answer, 1_000).await;
    }
    // A dictionary's last word counts.
    let twice = ok("x").header("cdn-cache-control", "max-age=5, max-age=2000");
    lasts(stage, "/twice", twice.max_age(1_000), 2_000).await;
}

pub(crate) async fn immutable_is_no_lifetime(stage: &Stage) {
    stage.on("/alone", ok("x").header("cache-control", "immutable"));
    stage.never_stores("/alone", &[]).await;
    let control = ok("x").header("cache-control", "immutable, max-age=1000");
    lasts(stage, "/lasting", control, 1_000).await;
    // RFC 8246 §2: once stale it is like anything else.
    let stale = ok("x").header("cache-control", "immutable, max-age=60").header("age", "61");
    is_stale_at_once(stage, "/stale", stale).await;
}

//! How often is the origin asked when all processes are asked at once?

use crate::Fleet;
use crate::support::origin::{Gate, ok, status};
use crate::support::wait::eventually;

const KEEPS: &str = "soft_ttl = \"1h\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_over_three_processes_are_one_request_to_the_origin() {
    let fleet = Fleet::of(3, KEEPS).await;
    let gate = Gate::closed();
    let content = "0123456789".repeat(1_000);
    fleet.origin.on("/cold").replies(ok(content.clone()).after(&gate));
    let crowds: Vec<_> = [334, 333, 333]
        .into_iter()
        .enumerate()
        .map(|(of, size)| {
            let client = fleet.client(of);
            tokio::spawn(async move { client.crowd(size, "/cold").await })
        })
        .collect();
    eventually("all clients wait", async || fleet.waiting().await == 997).await;
    gate.open();
    for crowd in crowds {
        for reply in crowd.await.unwrap() {
            assert!(
                reply.whole && reply.text() == content,
                "{} {:?}",
                reply.status,
                reply.status()
            );
        }
    }
    assert_eq!(fleet.origin.saw("/cold"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_filled_the_others_find() {
    let fleet = Fleet::of(3, &format!("{KEEPS}\ntags = [\"t\"]")).await;
    let answer =
        ok("one").header("age", "30").header("etag", "\"v1\"").header("vary", "accept-language");
    fleet.origin.on("/a").replies(answer);
    let first = fleet.warm(0, "/a").await;
    fleet.until_stored(2).await;
    for of in 1..3 {
        let hit = fleet.client(of).get("/a").await.expect(200, "one");
        assert!(hit.is_hit(), "{of}: {:?}", hit.status());
        assert!(hit.age() >= first.age() && hit.age() < Some(60), "{:?}", hit.age());
        assert_eq!(hit.field("etag"), "\"v1\"");
        let again = fleet.client(of).get("/a").await;
        assert!(again.age() >= hit.age(), "an age never goes back");
    }
    assert_eq!(fleet.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refresh_is_made_for_the_whole_fleet() {
    let fleet = Fleet::of(3, "soft_ttl = \"1s\"\nhard_ttl = \"1h\"").await;
    let gate = Gate::closed();
    let held = gate.clone();
    fleet.origin.on("/a").answers(move |asked| match asked.before {
        0 => ok("old"),
        _ => ok("new").max_age(3600).after(&held),
    });
    fleet.client(0).get("/a").await.expect(200, "old");
    fleet.until_stored(1).await;
    for larder in &fleet.larders {
        larder.until_verdict("/a", "serve-and-refresh").await;
    }
    for _ in 0..3 {
        for of in 0..3 {
            for reply in fleet.client(of).crowd(30, "/a").await {
                assert!(reply.expect(200, "old").is_stale());
            }
        }
    }
    assert_eq!(fleet.origin.saw("/a"), 2, "one fill, one refresh");
    gate.open();
    for of in 0..3 {
        eventually("the new is everywhere", async || {
            fleet.client(of).get("/a").await.text() == "new"
        })
        .await;
    }
    assert_eq!(fleet.origin.saw("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn variants_that_are_cold_everywhere_are_one_request_each() {
    let fleet = Fleet::of(2, KEEPS).await;
    fleet.origin.on("/a").answers(|asked| {
        ok(format!("in {}", asked.field("accept-language")))
            .header("vary", "accept-language")
            .delay(std::time::Duration::from_millis(50))
    });
    let crowds: Vec<_> = (0..2)
        .map(|of| {
            let client = fleet.client(of);
            tokio::spawn(async move {
                client
                    .crowd_of(50, |client, n| {
                        let language = if n.is_multiple_of(2) { "de" } else { "en" };
                        client.asks("GET", "/a").header("accept-language", language)
                    })
                    .await
            })
        })
        .collect();
    for crowd in crowds {
        for (n, reply) in crowd.await.unwrap().into_iter().enumerate() {
            reply.expect(200, if n.is_multiple_of(2) { "in de" } else { "in en" });
        }
    }
    assert_eq!(fleet.origin.saw("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_private_is_shared_with_nobody_and_no_process_waits_for_another() {
    let fleet = Fleet::of(2, KEEPS).await;
    let gate = Gate::closed();
    let held = gate.clone();
    fleet.origin.on("/me").answers(move |asked| {
        let answer = ok(format!("canary of {}", asked.field("x-user")));
        let answer = answer.header("cache-control", "private");
        if asked.before == 0 { answer } else { answer.after(&held) }
    });
    let crowds: Vec<_> = (0..2)
        .map(|of| {
            let client = fleet.client(of);
            tokio::spawn(async move {
                client
                    .crowd_of(20, |client, n| {
                        client.asks("GET", "/me").header("x-user", &format!("{of}/{n}"))
                    })
                    .await
            })
        })
        .collect();
    eventually("the origin has all of them at once", async || fleet.origin.saw("/me") == 40).await;
    gate.open();
    for (of, crowd) in crowds.into_iter().enumerate() {
        for (n, reply) in crowd.await.unwrap().into_iter().enumerate() {
            reply.expect(200, &format!("canary of {of}/{n}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_origin_is_probed_once_for_all() {
    let keys = "soft_ttl = \"300ms\"\nhard_ttl = \"301ms\"\nstale_if_error = \"1h\"";
    let fleet =
        Fleet::set_up(2, |setup| setup.route("/{*rest}", keys).origin("retry_after = \"1h\""))
            .await;
    fleet.origin.on("/a").answers(|asked| match asked.before {
        0 => ok("old"),
        _ => status(503),
    });
    fleet.client(0).get("/a").await.expect(200, "old");
    fleet.until_stored(1).await;
    fleet.larders[0].until_verdict("/a", "fetch").await;
    for _ in 0..3 {
        for of in 0..2 {
            for reply in fleet.client(of).crowd(20, "/a").await {
                reply.expect(200, "old");
            }
        }
    }
    assert_eq!(fleet.origin.saw("/a"), 2, "one fill, one probe");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_everything_comes_from_valkey() {
    let fleet = Fleet::set_up(2, |s| s.route("/{*rest}", KEEPS).store("memory = 0")).await;
    let gate = Gate::closed();
    fleet.origin.on("/a").replies(ok("one").header("etag", "\"v1\"").after(&gate));
    let crowds: Vec<_> = (0..2)
        .map(|of| {
            let client = fleet.client(of);
            tokio::spawn(async move { client.crowd(50, "/a").await })
        })
        .collect();
    eventually("all clients wait", async || fleet.waiting().await == 98).await;
    gate.open();
    for crowd in crowds {
        for reply in crowd.await.unwrap() {
            reply.expect(200, "one");
        }
    }
    fleet.until_stored(1).await;
    for of in [0, 1, 0, 1] {
        assert!(fleet.client(of).get("/a").await.expect(200, "one").is_hit());
        let asking = fleet.client(of).asks("GET", "/a").header("if-none-match", "\"v1\"");
        assert_eq!(asking.send().await.status, 304);
    }
    assert_eq!(fleet.origin.saw("/a"), 1);
    fleet.client(0).asks("PUT", "/a").content("x").send().await;
    assert!(fleet.client(0).get("/a").await.is_forwarded());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_joins_later_finds_what_there_is() {
    let mut fleet = Fleet::of(1, KEEPS).await;
    fleet.origin.on("/a").answers(|asked| ok(asked.before.to_string()));
    fleet.warm(0, "/a").await;
    fleet.until_stored(1).await;
    let url = format!("valkey = \"{}\"", fleet.valkey.url());
    let setup = crate::Setup::before(&fleet.origin.url()).store(&url).route("/{*rest}", KEEPS);
    fleet.larders.push(setup.start().await);
    fleet.until_connected().await;
    let reply = fleet.client(1).get("/a").await;
    assert_eq!(reply.status, 200);
    assert!(fleet.warm(1, "/a").await.is_hit());
    assert!(fleet.origin.saw("/a") <= 2, "at most asked about once, being new");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_in_valkey_without_an_end() {
    let fleet = Fleet::of(2, "soft_ttl = \"1h\"\nhard_ttl = \"2h\"\nstale_if_error = \"3h\"").await;
    for n in 0..20 {
        let path = format!("/{n}");
        fleet.origin.on(&path).replies(ok("x").header("vary", "accept"));
        fleet.client(n % 2).get(&path).await;
    }
    fleet.until_stored(40).await;
    let mut connection = fleet.valkey.client();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    for key in keys.iter().filter(|key| !key.contains("{l}")) {
        let left: i64 = redis::cmd("PTTL").arg(key).query(&mut connection).unwrap();
        // -1: for ever; -2: it has just gone.
        assert!(left != -1 && left <= 7 * 3_600_000, "{key} lives for {left} ms");
    }
}

//! How often the origin is asked when many ask at once, and who gets what.

use crate::World;
use crate::support::origin::{Answer, Asked, Gate, Tap, ok, status};
use crate::support::wait::eventually;

const KEEPS: &str = "soft_ttl = \"1h\"";

/// Opens the gate when this many clients wait for what one of them has asked for.
async fn open_when(world: &World, gate: &Gate, clients: usize) {
    eventually("all clients wait", async || waiting(world).await + 1 >= clients).await;
    gate.open();
}

/// How many have waited, or wait, for somebody else's fill.
async fn waiting(world: &World) -> usize {
    world.larder.metrics().await.sum("larder_collapsed_waiters_total", &[]) as usize
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_at_once_are_one_request_to_the_origin() {
    let world = World::with(KEEPS).await;
    let gate = Gate::closed();
    let content = "0123456789".repeat(2_000);
    world.origin.on("/cold").replies(ok(content.clone()).after(&gate));
    let client = world.client.clone();
    let crowd = tokio::spawn(async move { client.crowd(1_000, "/cold").await });
    open_when(&world, &gate, 1_000).await;
    let replies = crowd.await.unwrap();
    assert_eq!(replies.len(), 1_000);
    let mut collapsed = 0;
    for reply in replies {
        collapsed += usize::from(reply.status().has("collapsed"));
        assert!(reply.whole && reply.text() == content, "{} bytes", reply.text().len());
    }
    assert_eq!(collapsed, 999, "one asked, the others say that they waited for it");
    assert_eq!(world.origin.saw("/cold"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn however_quick_the_origin_it_is_asked_once() {
    let world = World::with(KEEPS).await;
    for n in 0..150 {
        let path = format!("/{n}");
        world.origin.on(&path).replies(ok("x"));
        for reply in world.client.crowd(8, &path).await {
            reply.expect(200, "x");
        }
        // Some come when the answer is just being stored: neither before it nor after it.
        assert_eq!(world.origin.saw(&path), 1, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_arrives_in_the_middle_of_the_content_gets_all_of_it() {
    let world = World::with(KEEPS).await;
    let tap = Tap::new();
    world.origin.on("/a").replies(ok("").told_by(&tap));
    let mut first = world.client.asks("GET", "/a").open_after(|| tap.send("one ")).await;
    assert_eq!(first.text(4).await, "one ");
    let mut second = world.client.asks("GET", "/a").open().await;
    assert_eq!(second.text(4).await, "one ", "from the beginning, before the end is known");
    tap.send("two");
    tap.end();
    assert_eq!(first.rest().await.text(), "two");
    assert_eq!(second.rest().await.text(), "two");
    world.warm("/a").await.expect(200, "one two");
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_does_not_hold_up_a_fast_one() {
    let world = World::with(KEEPS).await;
    let content = "x".repeat(7 << 20);
    world.origin.on("/a").replies(ok(content.clone()));
    // It has the head and reads no further.
    let slow = world.client.asks("GET", "/a").open().await;
    let fast = world.client.get("/a").await;
    assert_eq!(fast.text().len(), content.len());
    world.warm("/a").await;
    assert_eq!(world.origin.saw("/a"), 1);
    let slow = slow.rest().await;
    assert!(slow.whole && slow.text() == content, "and it gets everything in the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_goes_on_when_the_client_that_caused_it_leaves() {
    let world = World::with(KEEPS).await;
    let (before_head, in_content) = (Gate::closed(), Tap::new());
    world.origin.on("/head").replies(ok("stored").after(&before_head));
    world.origin.on("/content").replies(ok("").told_by(&in_content));

    let client = world.client.clone();
    let leaves = tokio::spawn(async move { client.get("/head").await });
    eventually("the origin is asked", async || world.origin.saw("/head") == 1).await;
    leaves.abort();
    let _ = leaves.await;
    before_head.open();

    let mut leaves =
        world.client.asks("GET", "/content").open_after(|| in_content.send("one ")).await;
    leaves.text(4).await;
    drop(leaves);
    in_content.send("two");
    in_content.end();

    world.warm("/head").await.expect(200, "stored");
    world.warm("/content").await.expect(200, "one two");
    assert_eq!((world.origin.saw("/head"), world.origin.saw("/content")), (1, 1));
}

/// What the origin says to a user, and to nobody else.
fn personal(asked: &Asked) -> Answer {
    ok(format!("canary of {}", asked.field("x-user")))
}

/// Many users ask for the same at once. Everybody gets their own, and the origin has all of them
/// before it at the same time (but for the first, if `after_the_first`): nobody waits in a queue.
async fn everybody_gets_their_own(
    fields: &'static [(&'static str, &'static str)],
    answer: impl Fn(Answer, &Asked) -> Answer + Send + Sync + 'static,
    after_the_first: bool,
) {
    const USERS: usize = 50;
    let world = World::with(KEEPS).await;
    let gate = Gate::closed();
    let held = gate.clone();
    world.origin.on("/me").answers(move |asked| {
        let answer = answer(personal(asked), asked);
        if after_the_first && asked.before == 0 { answer } else { answer.after(&held) }
    });
    let client = world.client.clone();
    let crowd = tokio::spawn(async move {
        client
            .crowd_of(USERS, |client, n| {
                let asking = client.asks("GET", "/me").header("x-user", &n.to_string());
                fields.iter().fold(asking, |asking, (name, value)| asking.header(name, value))
            })
            .await
    });
    eventually("the origin has all of them at once", async || world.origin.saw("/me") == USERS)
        .await;
    gate.open();
    for (user, reply) in crowd.await.unwrap().into_iter().enumerate() {
        let reply = reply.expect(200, &format!("canary of {user}"));
        assert!(!reply.status().has("stored"), "{:?}", reply.status());
    }
    let after = world.client.asks("GET", "/me").header("x-user", "late").send().await;
    after.expect(200, "canary of late");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_private_is_shared_with_nobody_and_nobody_queues_for_it() {
    everybody_gets_their_own(&[], |a, _| a.header("cache-control", "private, max-age=60"), true)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_to_be_stored_is_shared_with_nobody_and_nobody_queues_for_it() {
    everybody_gets_their_own(&[], |a, _| a.header("cache-control", "No-Store"), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sets_a_cookie_is_shared_with_nobody_and_nobody_queues_for_it() {
    let answer = |a: Answer, asked: &Asked| {
        a.max_age(60).header("set-cookie", &format!("session={}", asked.field("x-user")))
    };
    everybody_gets_their_own(&[], answer, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_varies_on_everything_is_shared_with_nobody_and_nobody_queues_for_it() {
    everybody_gets_their_own(&[], |a, _| a.max_age(60).header("vary", "*"), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_authorized_never_joins_others() {
    everybody_gets_their_own(&[("authorization", "Bearer x")], |a, _| a.max_age(60), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_for_one_alone_is_told_to_the_others_without_its_words() {
    let world = World::with(KEEPS).await;
    let gate = Gate::closed();
    let held = gate.clone();
    world.origin.on("/me").answers(move |asked| {
        personal(asked).code(500).header("cache-control", "no-store").after(&held)
    });
    let client = world.client.clone();
    let crowd = tokio::spawn(async move {
        let asking = |client: &crate::Client, n: usize| {
            client.asks("GET", "/me").header("x-user", &n.to_string())
        };
        client.crowd_of(30, asking).await
    });
    eventually("all but one wait", async || waiting(&world).await == 29).await;
    gate.open();
    let replies = crowd.await.unwrap();
    let mut own = 0;
    for (user, reply) in replies.into_iter().enumerate() {
        assert_eq!(reply.status, 500);
        let text = reply.text();
        if text == format!("canary of {user}") {
            own += 1;
        } else {
            assert!(!text.contains("canary"), "{text}");
        }
    }
    assert_eq!(own, 1, "who asked gets the origin's words");
    assert_eq!(world.origin.saw("/me"), 1, "a failing origin is asked once");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_answers_proved_personal_the_next_crowd_does_not_wait_for_one_first() {
    let world = World::with(KEEPS).await;
    let gate = Gate::closed();
    let held = gate.clone();
    world.origin.on("/me").answers(move |asked| {
        let answer = personal(asked).header("cache-control", "private");
        if asked.before == 0 { answer } else { answer.after(&held) }
    });
    world.client.asks("GET", "/me").header("x-user", "first").send().await;
    let client = world.client.clone();
    let crowd = tokio::spawn(async move {
        let asking = |client: &crate::Client, n: usize| {
            client.asks("GET", "/me").header("x-user", &n.to_string())
        };
        client.crowd_of(40, asking).await
    });
    eventually("all are with the origin", async || world.origin.saw("/me") == 41).await;
    gate.open();
    for (user, reply) in crowd.await.unwrap().into_iter().enumerate() {
        reply.expect(200, &format!("canary of {user}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn variants_that_are_cold_at_once_are_one_request_each() {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").answers(|asked| {
        ok(format!("in {}", asked.field("accept-language"))).header("vary", "accept-language")
    });
    let asking = |client: &crate::Client, n: usize| {
        client
            .asks("GET", "/a")
            .header("accept-language", if n.is_multiple_of(2) { "de" } else { "en" })
    };
    for (n, reply) in world.client.crowd_of(100, asking).await.into_iter().enumerate() {
        reply.expect(200, if n.is_multiple_of(2) { "in de" } else { "in en" });
    }
    assert_eq!(world.origin.saw("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_arrives_in_the_middle_of_a_variant_gets_all_of_it() {
    let world = World::with(KEEPS).await;
    let tap = Tap::new();
    let told = tap.clone();
    world.origin.on("/a").answers(move |asked| match asked.before {
        0 => ok("").header("vary", "accept-language").told_by(&told),
        _ => ok("asked again").header("vary", "accept-language"),
    });
    let german = || world.client.asks("GET", "/a").header("accept-language", "de");
    let mut first = german().open_after(|| tap.send("one ")).await;
    first.text(4).await;
    let mut second = german().open().await;
    assert_eq!(second.text(4).await, "one ");
    tap.send("two");
    tap.end();
    assert_eq!(first.rest().await.text(), "two");
    assert_eq!(second.rest().await.text(), "two");
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_origin_is_shared_by_those_who_wait_and_stored_for_nobody() {
    let world = World::with(KEEPS).await;
    let gate = Gate::closed();
    world.origin.on("/a").replies(status(500).after(&gate));
    let client = world.client.clone();
    let crowd = tokio::spawn(async move { client.crowd(100, "/a").await });
    open_when(&world, &gate, 100).await;
    for reply in crowd.await.unwrap() {
        reply.expect(500, "500");
    }
    assert_eq!(world.origin.saw("/a"), 1);
    world.client.get("/a").await.expect(500, "500");
    assert_eq!(world.origin.saw("/a"), 2, "who comes after it asks again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_may_turn_it_off() {
    let world = World::with(&format!("{KEEPS}\ncollapse = false")).await;
    let gate = Gate::closed();
    world.origin.on("/a").replies(ok("x").after(&gate));
    let client = world.client.clone();
    let crowd = tokio::spawn(async move { client.crowd(20, "/a").await });
    eventually("everybody asks", async || world.origin.saw("/a") == 20).await;
    gate.open();
    for reply in crowd.await.unwrap() {
        reply.expect(200, "x");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_is_bounded() {
    let world = World::with(&format!("{KEEPS}\ncollapse_timeout = \"100ms\"")).await;
    let gate = Gate::closed();
    let held = gate.clone();
    world.origin.on("/a").answers(move |asked| match asked.before {
        0 => ok("slow").after(&held),
        _ => ok("quick"),
    });
    let client = world.client.clone();
    let stuck = tokio::spawn(async move { client.get("/a").await });
    eventually("the origin is asked", async || world.origin.saw("/a") == 1).await;
    world.client.get("/a").await.expect(200, "quick");
    gate.open();
    stuck.await.unwrap().expect(200, "slow");
}

#[tokio::test(flavor = "multi_thread")]
async fn different_keys_do_not_wait_for_each_other() {
    let world = World::with(KEEPS).await;
    let gate = Gate::closed();
    world.origin.on("/slow").replies(ok("slow").after(&gate));
    world.origin.on("/quick").replies(ok("quick"));
    let client = world.client.clone();
    let stuck = tokio::spawn(async move { client.get("/slow").await });
    eventually("the origin is asked", async || world.origin.saw("/slow") == 1).await;
    world.client.get("/quick").await.expect(200, "quick");
    gate.open();
    stuck.await.unwrap().expect(200, "slow");
}

//! Does everybody get the variant that is meant for them?

use crate::World;
use crate::support::origin::ok;

const KEEPS: &str = "soft_ttl = \"1h\"";

#[tokio::test(flavor = "multi_thread")]
async fn each_variant_is_stored_beside_the_others() {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").answers(|asked| {
        ok(format!("in {}", asked.field("accept-language"))).header("vary", "Accept-Language")
    });
    let ask =
        |language: &str| world.client.asks("GET", "/a").header("accept-language", language).send();
    for language in ["de", "en", "fr"] {
        let first = ask(language).await.expect(200, &format!("in {language}"));
        assert!(first.is_forwarded(), "{:?}", first.status());
    }
    for language in ["fr", "de", "en"] {
        let again = ask(language).await.expect(200, &format!("in {language}"));
        assert!(again.is_shared(), "{:?}", again.status());
    }
    world.client.get("/a").await.expect(200, "in ");
    assert_eq!(world.origin.saw("/a"), 4, "no such field is a variant of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_it_does_not_vary_on_do_not_matter() {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").replies(ok("x").header("vary", "accept"));
    world.warm("/a").await;
    for agent in ["one", "two"] {
        let reply = world.client.asks("GET", "/a").header("user-agent", agent).send().await;
        assert!(reply.is_shared(), "{agent}");
    }
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_vary_lines_count_together() {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").answers(|asked| {
        ok(format!("{}/{}", asked.field("accept-language"), asked.field("x-plan")))
            .header("vary", "Accept-Language")
            .header("vary", "X-Plan")
    });
    let ask = |language: &str, plan: &str| {
        world
            .client
            .asks("GET", "/a")
            .header("accept-language", language)
            .header("x-plan", plan)
            .send()
    };
    for (language, plan) in [("de", "free"), ("de", "paid"), ("en", "free"), ("en", "paid")] {
        ask(language, plan).await.expect(200, &format!("{language}/{plan}"));
    }
    for (language, plan) in [("de", "free"), ("de", "paid"), ("en", "free"), ("en", "paid")] {
        assert!(ask(language, plan).await.expect(200, &format!("{language}/{plan}")).is_shared());
    }
    assert_eq!(world.origin.saw("/a"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_varies_on_everything_is_never_stored() {
    let world = World::with(KEEPS).await;
    for (n, vary) in ["*", "accept, *", "*, accept"].into_iter().enumerate() {
        let path = format!("/{n}");
        world.origin.on(&path).replies(ok("x").max_age(60).header("vary", vary));
        for asked in 1..4 {
            world.client.get(&path).await.expect(200, "x");
            assert_eq!(world.origin.saw(&path), asked, "{vary}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_varies_on_credentials_is_never_served_to_another() {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").answers(|asked| {
        ok(format!("for {}", asked.field("cookie"))).max_age(60).header("vary", "Cookie")
    });
    for user in ["user=1", "user=2", "user=1", "user=2"] {
        let reply = world.client.asks("GET", "/a").header("cookie", user).send().await;
        reply.expect(200, &format!("for {user}"));
    }
    world.client.get("/a").await.expect(200, "for ");
}

#[tokio::test(flavor = "multi_thread")]
async fn variants_of_one_key_are_capped() {
    let world = World::with(&format!("{KEEPS}\nmax_variants = 4")).await;
    world
        .origin
        .on("/a")
        .answers(|asked| ok(asked.field("x-noise").to_owned()).header("vary", "x-noise"));
    let ask = |noise: usize| {
        let noise = noise.to_string();
        let asking = world.client.asks("GET", "/a").header("x-noise", &noise);
        async move { asking.send().await.expect(200, &noise) }
    };
    for noise in 0..40 {
        ask(noise).await;
    }
    let entries = world.larder.metrics().await.sum("larder_memory_entries", &[]);
    assert!(entries <= 5.0, "four variants, and the way to them: {entries}");
    let mut hits = 0;
    for noise in 0..4 {
        hits += usize::from(ask(noise).await.is_shared());
    }
    assert_eq!(hits, 4, "the first are still served");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_may_come_to_vary_on_something_else() {
    let world = World::with("soft_ttl = \"1h\"").await;
    world.origin.on("/a").answers(|asked| {
        let vary =
            if asked.field("accept-language") == "de" { "accept-language" } else { "accept" };
        ok(format!("{} {}", asked.field("accept-language"), asked.field("accept")))
            .header("vary", vary)
    });
    for _ in 0..3 {
        for (language, accept) in [("de", "a/a"), ("en", "b/b"), ("fr", "c/c"), ("de", "b/b")] {
            let asking = world.client.asks("GET", "/a").header("accept-language", language);
            let reply = asking.header("accept", accept).send().await;
            let text = reply.text();
            let (l, a) = text.split_once(' ').unwrap();
            let right = if l == "de" { language == "de" } else { a == accept };
            assert!(right, "asked for {language} {accept}, got what was chosen for {text}");
        }
    }
}

//! Do processes put together what each has of a whole?

use std::time::Duration;

use crate::Fleet;
use crate::support::client::Reply;
use crate::support::origin::{ok, status};
use crate::support::wait::eventually;

const WHOLE: &str = "0123456789abcdef";

async fn part(fleet: &Fleet, of: usize, range: &str) -> Reply {
    fleet.client(of).asks("GET", "/a").header("range", range).send().await
}

/// Waits until this process would answer from what is stored. Asks without being noticed.
async fn until_found(fleet: &Fleet, of: usize, range: &str) {
    eventually(&format!("{range} is found in {of}"), async || {
        let told = fleet.larders[of].explain_with("GET", "/a", &[("range", range)]).await;
        told["verdict"] == "serve"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_found_combined_and_thrown_away_together() {
    for memory in ["", "memory = 0"] {
        let keys = "soft_ttl = \"1h\"";
        let fleet = Fleet::set_up(2, |s| s.store(memory).route("/{*rest}", keys)).await;
        fleet.origin.when("GET", "/a").answers(|asked| {
            let range = asked.field("range").strip_prefix("bytes=").unwrap_or("0-15");
            let (first, last) = range.split_once('-').unwrap();
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            let extent = format!("bytes {first}-{last}/16");
            let part = ok(&WHOLE[first..=last]).header("etag", "\"v1\"");
            if asked.field("range").is_empty() {
                part
            } else {
                // Processes tell the newer of two entries by milliseconds.
                let pause = Duration::from_millis(50);
                part.code(206).header("content-range", &extent).delay(pause)
            }
        });
        fleet.origin.when("PUT", "/a").replies(status(204));

        part(&fleet, 0, "bytes=0-7").await.expect(206, "01234567");
        fleet.until_stored(1).await;
        assert!(part(&fleet, 1, "bytes=2-5").await.expect(206, "2345").is_hit(), "{memory}");
        assert_eq!(fleet.origin.saw("/a"), 1);

        fleet.client(0).asks("PUT", "/a").content("x").send().await;
        let after = part(&fleet, 1, "bytes=2-7").await.expect(206, "234567");
        assert!(after.is_forwarded(), "{memory}: {:?}", after.status());
        until_found(&fleet, 0, "bytes=2-7").await;
        part(&fleet, 0, "bytes=8-15").await.expect(206, "89abcdef");
        until_found(&fleet, 1, "bytes=2-15").await;
        part(&fleet, 1, "bytes=0-2").await.expect(206, "012");
        let asked = fleet.origin.saw("/a");
        for (of, larder) in fleet.larders.iter().enumerate() {
            larder.until_verdict("/a", "serve").await;
            assert!(fleet.client(of).get("/a").await.expect(200, WHOLE).is_hit(), "{memory}");
        }
        assert_eq!(fleet.origin.saw("/a"), asked, "{memory}: nobody asked for the whole");
    }
}
